//===- CodeMaker.cpp - Code of the kernels of all targets -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "CodeMaker.h"
#include "Artifact/Artifact.h"
#include "KernelParts.h"
#include "Optimizer.h"
#include "qlinear/Target/Emulated.h"
#include "qlinear/Target/HostCode.h"
#include "qlinear/Target/HostObject.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/EndianStream.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using llvm::Expected;

namespace qlinear {

std::string symbolPrefix(const Target &target) {
  return cIdentifier(target.str()) + ".";
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

std::function<Expected<std::string>()>
CodeMaker::compileKernel(std::string bitcode, Form form,
                         std::function<llvm::Error(llvm::Module &)> complete) const {
  bool sanitize = settings.sanitizeAddress;
  return [bitcode = std::move(bitcode), form, complete = std::move(complete), sanitize,
          architecture = architecture]() -> Expected<std::string> {
    llvm::LLVMContext context;
    auto module = readBitcode(bitcode, context);
    if (!module)
      return module.takeError();
    if (llvm::Error error = complete(**module))
      return std::move(error);
    if (form == Form::ir)
      return writeBitcode(**module);
    // Of one artifact with the other objects, and of no other.
    for (llvm::Function &function : **module)
      if (!function.isDeclaration() && !function.hasLocalLinkage())
        function.setVisibility(llvm::GlobalValue::HiddenVisibility);
    auto machine = createHostMachine(architecture);
    if (!machine)
      return machine.takeError();
    if (sanitize) {
      (*module)->setTargetTriple((*machine)->getTargetTriple());
      (*module)->setDataLayout((*machine)->createDataLayout());
      addAddressSanitizer(**module, **machine);
    }
    auto object = emitObject(**module, **machine);
    if (!object)
      return object.takeError();
    return std::string(object->data(), object->size());
  };
}

void CodeMaker::addKernels(const llvm::Module &skeletons, const Target &target,
                           StringRef keyOfTarget,
                           std::function<llvm::Error(llvm::Module &)> complete,
                           Added &added) {
  for (KernelPart &part : splitKernels(skeletons)) {
    Kernel &kernel = added.kernels.emplace_back();
    kernel.name = std::move(part.name);
    auto add = [&](Form form) {
      StringRef formKey = form == Form::ir           ? "ir"
                          : settings.sanitizeAddress ? "object, sanitized"
                                                     : "object";
      works.push_back(
          {workKey({formKey, keyOfTarget, spell(architecture), part.bitcode}),
           part.bitcode.size(), compileKernel(part.bitcode, form, complete)});
      return works.size() - 1;
    };
    if (wantsIR(target))
      kernel.ir = add(Form::ir);
    if (wantsObjects(target))
      kernel.object = add(Form::object);
  }
}

LogicalResult CodeMaker::addHost(const TargetCode &code, Added &added) {
  const Target &target = code.target;
  llvm::LLVMContext context;
  auto skeletons = translateHostKernels(code.module.get(), context,
                                        {target.detail, symbolPrefix(target)});
  if (failed(skeletons))
    return failure();
  const InstructionSet *set = findInstructionSet(target.detail);
  addKernels(
      **skeletons, target, target.str(),
      [set](llvm::Module &module) { return completeHostKernels(module, *set); }, added);
  return success();
}

LogicalResult CodeMaker::addDevice(const TargetCode &code, Added &added) {
  auto modules = llvm::to_vector(code.module.get().getOps<gpu::GPUModuleOp>());
  if (modules.empty())
    return success(); // no launches
  if (modules.size() > 1)
    return modules[1].emitError("a second gpu.module in a module to compile; only "
                                "the one that qlinear-to-gpu makes can be there");
  bool isEmulated = code.target.kind == Target::Kind::emulated;
  NVPTXOptions options = settings.nvptx;
  options.chip = isEmulated ? "" : code.target.detail;
  if (isEmulated)
    options.ptxVersion = "";
  FailureOr<NVPTXImage> image = prepareImage(modules[0], options);
  if (failed(image))
    return failure();
  added.image = *image;
  added.hasKernels = true;
  llvm::LLVMContext context;
  auto skeletons = translateDeviceKernels(modules[0], context);
  if (failed(skeletons))
    return failure();
  std::string chip = image->chip, version = image->ptxVersion;
  std::string key = code.target.str() + " " + chip + " " + version;
  if (!isEmulated) {
    if (stage != Stage::llvm)
      added.ptxas = choosePtxas(modules[0], options);
    addKernels(
        **skeletons, code.target, key,
        [chip, version](llvm::Module &module) {
          return completeDeviceKernels(module, DeviceIntrinsics::nvptx, chip, version);
        },
        added);
    return success();
  }
  addKernels(
      **skeletons, code.target, key,
      [chip, version, prefix = symbolPrefix(code.target),
       architecture = architecture](llvm::Module &module) -> llvm::Error {
        if (llvm::Error error = completeDeviceKernels(
                module, DeviceIntrinsics::external, chip, version))
          return error;
        auto machine = createHostMachine(architecture);
        if (!machine)
          return machine.takeError();
        if (llvm::Error error = retargetToEmulated(module, **machine))
          return error;
        for (llvm::Function &function : module)
          if (!function.isDeclaration() && !function.hasLocalLinkage())
            function.setName(prefix + function.getName());
        return llvm::Error::success();
      },
      added);
  for (Kernel &kernel : added.kernels)
    kernel.name = symbolPrefix(code.target) + kernel.name;
  return success();
}

LogicalResult CodeMaker::add(const TargetCode &code) {
  Added &added = targets.emplace_back();
  return code.target.kind == Target::Kind::cpu ? addHost(code, added)
                                               : addDevice(code, added);
}

WorkSettings CodeMaker::workSettings(StringRef what) const {
  WorkSettings result{settings.threads, settings.cache, nullptr};
  if (settings.progress)
    result.progress = [this, what](size_t done, size_t total) {
      settings.progress(what, done, total);
    };
  return result;
}

LogicalResult CodeMaker::run(MutableArrayRef<TargetCode> codes,
                             llvm::LLVMContext &context) {
  if (codes.empty())
    return success();
  Operation *top = codes.front().module.get();
  auto results = runWork(works, workSettings("kernel"), report);
  if (!results)
    return top->emitError() << llvm::toString(results.takeError());
  for (auto [code, added] : llvm::zip_equal(codes, targets)) {
    std::vector<StringRef> ir;
    for (const Kernel &kernel : added.kernels) {
      KernelCode &made = code.kernels.emplace_back();
      made.symbol = kernel.name;
      if (kernel.object)
        made.object = std::move((*results)[*kernel.object]);
      if (kernel.ir)
        ir.push_back((*results)[*kernel.ir]);
    }
    bool isImage = code.target.kind == Target::Kind::cuda;
    bool hasModule = code.target.kind == Target::Kind::cpu || added.hasKernels;
    if (!hasModule || !wantsIR(code.target) || (isImage && stage != Stage::llvm))
      continue;
    auto joined = joinBitcode(ir, code.target.str(), context);
    if (!joined)
      return top->emitError() << llvm::toString(joined.takeError());
    code.llvm = std::move(*joined);
  }
  return stage == Stage::llvm ? success() : makeImages(codes, *results);
}

//===----------------------------------------------------------------------===//
// Images of GPUs
//===----------------------------------------------------------------------===//

static std::string packImage(const NVPTXImage &image) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::support::endian::Writer out(stream, llvm::endianness::little);
  out.write<uint64_t>(image.ptx.size());
  out.write<uint64_t>(image.cubin.size());
  stream << image.ptx << StringRef(image.cubin.data(), image.cubin.size())
         << image.ptxasLog;
  return text;
}

static void unpackImage(StringRef text, NVPTXImage &image) {
  auto size = [&](size_t at) {
    return size_t(llvm::support::endian::read64le(text.data() + at));
  };
  size_t ptx = size(0), cubin = size(8);
  text = text.drop_front(16);
  image.ptx = text.take_front(ptx).str();
  text = text.drop_front(ptx);
  image.cubin.assign(text.begin(), text.begin() + cubin);
  image.ptxasLog = text.drop_front(cubin).str();
}

/// What changes when a program does.
static std::string identify(const std::string &program) {
  llvm::sys::fs::file_status status;
  if (program.empty() || llvm::sys::fs::status(program, status))
    return "";
  return program + " " + llvm::utostr(status.getSize()) + " " +
         llvm::itostr(status.getLastModificationTime().time_since_epoch().count());
}

LogicalResult CodeMaker::makeImages(MutableArrayRef<TargetCode> codes,
                                    ArrayRef<std::string> results) {
  std::vector<Work> images;
  std::vector<size_t> owners;
  for (auto [i, code, added] : llvm::enumerate(codes, targets)) {
    if (code.target.kind != Target::Kind::cuda || !added.hasKernels)
      continue;
    std::vector<StringRef> ir;
    for (const Kernel &kernel : added.kernels)
      ir.push_back(results[*kernel.ir]);
    std::string ptxas = identify(added.ptxas);
    std::vector<StringRef> key = {"image", added.image.chip, added.image.ptxVersion,
                                  ptxas};
    llvm::append_range(key, ir);
    size_t weight = 0;
    for (StringRef part : ir)
      weight += part.size();
    auto make = [ir, &added = added]() -> Expected<std::string> {
      NVPTXImage image = added.image;
      llvm::LLVMContext context;
      auto module = joinBitcode(ir, "kernels", context);
      if (!module)
        return module.takeError();
      if (llvm::Error error = writePtx(**module, image))
        return std::move(error);
      if (!added.ptxas.empty())
        if (llvm::Error error = assemblePtx(image, added.ptxas))
          return std::move(error);
      return packImage(image);
    };
    images.push_back({workKey(key), weight, make});
    owners.push_back(i);
  }
  auto made = runWork(images, workSettings("image"), report);
  if (!made)
    return codes.front().module.get().emitError() << llvm::toString(made.takeError());
  for (auto [owner, text] : llvm::zip_equal(owners, *made)) {
    codes[owner].image = targets[owner].image;
    unpackImage(text, codes[owner].image);
  }
  return success();
}

} // namespace qlinear
