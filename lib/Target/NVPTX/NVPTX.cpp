//===- NVPTX.cpp - From a gpu.module to PTX and cubin ---------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Target/NVPTX.h"

#include "../MicroKernels.h"
#include "../Optimizer.h"
#include "qlinear/Support/Chips.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/IR/DebugInfo.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;

namespace qlinear {

void registerNVPTXTranslations(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
}

//===----------------------------------------------------------------------===//
// To the LLVM dialect
//===----------------------------------------------------------------------===//

namespace {
/// math.rsqrt as 1 / sqrt: upstream expands it for AVX2 only.
struct ExpandRsqrt : OpRewritePattern<math::RsqrtOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::RsqrtOp op,
                                PatternRewriter &rewriter) const override {
    Value one = arith::ConstantOp::create(rewriter, op.getLoc(),
                                          rewriter.getFloatAttr(op.getType(), 1.0));
    Value root = math::SqrtOp::create(rewriter, op.getLoc(), op.getOperand());
    rewriter.replaceOpWithNewOp<arith::DivFOp>(op, one, root);
    return success();
  }
};

/// Expands math functions into arithmetic, so that no device library is needed.
/// Functions that the hardware or LLVM has as an instruction stay.
struct ExpandMath : PassWrapper<ExpandMath, OperationPass<gpu::GPUModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExpandMath)
  void runOnOperation() override {
    auto expand = [](StringRef name) {
      return llvm::StringSwitch<bool>(name)
          .Cases({"math.exp", "math.expm1", "math.log", "math.log2", "math.log1p"},
                 true)
          .Cases({"math.tanh", "math.erf", "math.sin", "math.cos"}, true)
          .Cases({"math.atan", "math.atan2", "math.asin", "math.acos"}, true)
          .Default(false);
    };
    RewritePatternSet patterns(&getContext());
    populateMathF32ExpansionPatterns(patterns, expand);
    populateMathPolynomialApproximationPatterns(patterns, expand);
    math::populateExpansionPatterns(patterns,
                                    {"exp2f", "powf", "fpowi", "roundf", "sinh", "cosh",
                                     "tan", "asinh", "acosh", "atanh"});
    patterns.add<ExpandRsqrt>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    // The remaining ones must be instructions of the device.
    WalkResult result =
        getOperation().walk(
            [](Operation *op) {
              if (!isa_and_nonnull<math::MathDialect>(op->getDialect()) ||
                  isa<math::AbsFOp, math::CeilOp, math::CopySignOp, math::FloorOp,
                      math::FmaOp, math::RoundEvenOp, math::SqrtOp, math::TruncOp>(op))
                return WalkResult::advance();
              op->emitError("'")
                  << op->getName() << "' on " << op->getResult(0).getType()
                  << " has no expansion for GPU kernels; express it by exp, log, "
                     "tanh, erf, sin, cos or sqrt on f32";
              return WalkResult::interrupt();
            });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

/// gpu.func to llvm.func, with the attributes that make it an NVPTX kernel. The
/// skeletons use nothing else of the gpu dialect.
struct LowerKernels : PassWrapper<LowerKernels, OperationPass<gpu::GPUModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LowerKernels)
  void runOnOperation() override {
    for (auto f : llvm::make_early_inc_range(getOperation().getOps<gpu::GPUFuncOp>())) {
      OpBuilder b(f);
      auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                              f.getArgumentTypes());
      auto kernel = LLVM::LLVMFuncOp::create(b, f.getLoc(), f.getName(), type);
      kernel->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), b.getUnitAttr());
      if (auto block = f.getKnownBlockSizeAttr())
        kernel->setAttr(NVVM::NVVMDialect::getReqntidAttrName(), block);
      for (StringRef name : {NVVM::NVVMDialect::getMinctasmAttrName(),
                             NVVM::NVVMDialect::getClusterDimAttrName()})
        if (Attribute value = f->getAttr(name))
          kernel->setAttr(name, value);
      kernel.getBody().takeBody(f.getBody());
      kernel.walk([](gpu::ReturnOp op) {
        OpBuilder at(op);
        LLVM::ReturnOp::create(at, op.getLoc(), ValueRange());
        op.erase();
      });
      f.erase();
    }
  }
};
} // namespace

static LogicalResult lowerToLLVMDialect(ModuleOp module) {
  PassManager pm(module.getContext(), ModuleOp::getOperationName());
  // Nested in a caller's pass: its instrumentation and printing are not ours.
  pm.enableVerifier(false);
  OpPassManager &gpuPM = pm.nest<gpu::GPUModuleOp>();
  gpuPM.addPass(std::make_unique<ExpandMath>());
  gpuPM.addPass(createSCFToControlFlowPass());
  gpuPM.addPass(std::make_unique<LowerKernels>());
  gpuPM.addPass(createConvertMathToLLVMPass());
  gpuPM.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(module);
}

//===----------------------------------------------------------------------===//
// Linking and optimisation
//===----------------------------------------------------------------------===//

constexpr llvm::StringLiteral kTriple = "nvptx64-nvidia-cuda";

static const llvm::Target *findBackEnd() {
  static const bool initialized = [] {
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)initialized;
  std::string error;
  return llvm::TargetRegistry::lookupTarget(llvm::Triple(kTriple), error);
}

static std::unique_ptr<llvm::TargetMachine> createMachine(StringRef chip,
                                                          StringRef ptxVersion) {
  const llvm::Target *target = findBackEnd();
  if (!target)
    return nullptr;
  std::string features;
  if (!ptxVersion.empty()) {
    auto [major, minor] = ptxVersion.split('.');
    features = ("+ptx" + major + minor).str();
  }
  return std::unique_ptr<llvm::TargetMachine>(
      target->createTargetMachine(llvm::Triple(kTriple), chip, features, {}, {}, {},
                                  llvm::CodeGenOptLevel::Aggressive));
}

static bool isKernel(const llvm::Function &f) {
  return f.getCallingConv() == llvm::CallingConv::PTX_Kernel;
}

/// The constants of a kernel fold first, in small steps, so that code which they rule
/// out is gone before it costs anything: the micro-kernels' outer parts are inlined and
/// simplified, then those marked QL_INLINE_LATE; loops unroll; then the usual. Tables
/// of codes stay only where a kernel looks them up.
static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  Optimizer optimizer(machine);
  for (llvm::Function &f : module)
    if (!f.isDeclaration() && !isKernel(f) &&
        !f.hasFnAttribute(llvm::Attribute::NoInline))
      f.addFnAttr(llvm::Attribute::AlwaysInline);
  optimizer.run(module,
                "always-inline,globaldce,function(sroa,early-cse,sccp,simplifycfg)");
  for (llvm::Function &f : module)
    if (!f.isDeclaration() && !isKernel(f)) {
      f.removeFnAttr(llvm::Attribute::NoInline);
      f.addFnAttr(llvm::Attribute::AlwaysInline);
    }
  optimizer.run(
      module,
      "always-inline,globaldce,function("
      "sroa,early-cse,sccp,simplifycfg,instcombine<no-verify-fixpoint>,simplifycfg,"
      "loop(loop-rotate,loop-deletion,loop-unroll-full),"
      "sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,"
      "loop-mssa(loop-rotate,licm),loop(indvars,loop-deletion,loop-unroll-full),"
      "sroa,gvn,sccp,instcombine<no-verify-fixpoint>,dse,loop-mssa(licm),adce,"
      "simplifycfg,instcombine<no-verify-fixpoint>),globaldce");
}

static std::string chipOf(gpu::GPUModuleOp module, StringRef chosen) {
  if (!chosen.empty())
    return chosen.str();
  if (ArrayAttr targets = module.getTargetsAttr())
    for (Attribute target : targets)
      if (auto nvvm = dyn_cast<NVVM::NVVMTargetAttr>(target))
        return nvvm.getChip().str();
  return "sm_80";
}

static constexpr StringLiteral kNoBackEnd = "this build of LLVM has no NVPTX back end";

FailureOr<std::unique_ptr<llvm::Module>>
translateDeviceKernels(gpu::GPUModuleOp module, llvm::LLVMContext &context) {
  auto machine = createMachine(chipOf(module, ""), "");
  if (!machine)
    return module.emitError(kNoBackEnd);
  OwningOpRef<ModuleOp> scratch = ModuleOp::create(module.getLoc());
  scratch->getBody()->push_back(module->clone());
  if (failed(lowerToLLVMDialect(*scratch)))
    return module.emitError("kernels cannot be lowered to the LLVM dialect");
  auto clone = cast<gpu::GPUModuleOp>(scratch->getBody()->front());
  std::unique_ptr<llvm::Module> result =
      translateModuleToLLVMIR(clone, context, module.getName());
  if (!result)
    return module.emitError("kernels cannot be translated to LLVM IR");
  result->setTargetTriple(machine->getTargetTriple());
  result->setDataLayout(machine->createDataLayout());
  return result;
}

llvm::Error completeDeviceKernels(llvm::Module &module, DeviceIntrinsics intrinsics,
                                  StringRef chip, StringRef ptxVersion) {
  auto machine = createMachine(chip, ptxVersion);
  if (!machine)
    return llvm::createStringError(kNoBackEnd);
  if (llvm::Error error = linkMicroKernels(module, "cuda"))
    return error;
  if (intrinsics == DeviceIntrinsics::nvptx) {
    if (llvm::Error error = linkMicroKernels(module, "cuda-intrinsics"))
      return error;
    llvm::StripDebugInfo(module); // only the emulated device names lines
  }
  for (llvm::Function &f : module) {
    f.removeFnAttr("target-cpu");
    f.removeFnAttr("target-features");
    if (f.isDeclaration() || isKernel(f))
      continue;
    f.setLinkage(llvm::GlobalValue::InternalLinkage);
    f.setComdat(nullptr);
  }
  optimize(module, *machine);

  for (const llvm::Function &f : module)
    if (f.isDeclaration() && !f.isIntrinsic() && !f.use_empty() &&
        !(intrinsics == DeviceIntrinsics::external &&
          f.getName().starts_with("ql_ptx_")))
      return llvm::createStringError(
          "kernels call '" + f.getName() +
          "', which no device code defines; the epilogue uses an operation of the math "
          "dialect without a GPU expansion");
  return llvm::Error::success();
}

static FailureOr<std::unique_ptr<llvm::Module>>
toLLVM(gpu::GPUModuleOp module, llvm::LLVMContext &context, DeviceIntrinsics intrinsics,
       StringRef chip, StringRef ptxVersion) {
  auto result = translateDeviceKernels(module, context);
  if (failed(result))
    return failure();
  if (llvm::Error error = completeDeviceKernels(**result, intrinsics, chip, ptxVersion))
    return module.emitError(llvm::toString(std::move(error)));
  return result;
}

FailureOr<std::unique_ptr<llvm::Module>> toLLVM(gpu::GPUModuleOp module,
                                                llvm::LLVMContext &context,
                                                DeviceIntrinsics intrinsics) {
  return toLLVM(module, context, intrinsics, chipOf(module, ""), "");
}

//===----------------------------------------------------------------------===//
// PTX and cubin
//===----------------------------------------------------------------------===//

/// "8.7" as 87; nothing for other text.
static std::optional<int> numberOf(StringRef version) {
  auto [major, minor] = version.split('.');
  int m, n;
  if (major.size() != 1 || minor.size() != 1 || major.getAsInteger(10, m) ||
      minor.getAsInteger(10, n))
    return std::nullopt;
  return 10 * m + n;
}

/// The oldest PTX version for a chip; none for an unknown one.
static std::optional<int> oldestPtxVersion(StringRef chip) {
  std::optional<ChipName> name = ChipName::parse(chip);
  const Chip *known = name ? name->chip() : nullptr;
  return known ? std::optional(oldestPtxVersion(*known, name->suffix)) : std::nullopt;
}

/// The versions that LLVM writes, oldest first.
static SmallVector<int> knownPtxVersions() {
  SmallVector<int> versions;
  const llvm::Target *target = findBackEnd();
  if (!target)
    return versions;
  std::unique_ptr<llvm::MCSubtargetInfo> info(
      target->createMCSubtargetInfo(llvm::Triple(kTriple), "", ""));
  for (const llvm::SubtargetFeatureKV &feature : info->getAllProcessorFeatures()) {
    int version;
    StringRef key = feature.Key;
    if (key.consume_front("ptx") && !key.getAsInteger(10, version))
      versions.push_back(version);
  }
  llvm::sort(versions);
  return versions;
}

bool isNVPTXChip(StringRef chip) {
  const llvm::Target *target = findBackEnd();
  if (!target || !oldestPtxVersion(chip))
    return false;
  std::unique_ptr<llvm::MCSubtargetInfo> info(
      target->createMCSubtargetInfo(llvm::Triple(kTriple), "", ""));
  return info->isCPUStringValid(chip);
}

llvm::Error checkPtxVersion(StringRef chip, StringRef version) {
  std::optional<int> oldest = oldestPtxVersion(chip), asked = numberOf(version);
  SmallVector<int> known = knownPtxVersions();
  if (!oldest || known.empty() ||
      (asked && *asked >= *oldest && llvm::is_contained(known, *asked)))
    return llvm::Error::success();
  std::string list;
  for (int v : known)
    if (v >= *oldest)
      list += (list.empty() ? "" : ", ") + spellPtxVersion(v);
  return llvm::createStringError("there is no PTX version '%s' for kernels on %s; "
                                 "there are %s",
                                 version.str().c_str(), chip.str().c_str(),
                                 list.c_str());
}

std::string findPtxas() {
  if (auto path = llvm::sys::findProgramByName("ptxas"))
    return *path;
  // The usual place counts only where nobody says another.
  SmallVector<std::string> roots;
  for (const char *variable : {"CUDA_ROOT", "CUDA_HOME", "CUDA_PATH"})
    if (auto root = llvm::sys::Process::GetEnv(variable); root && !root->empty())
      roots.push_back(*root);
  if (roots.empty())
    roots.push_back("/usr/local/cuda");
  for (StringRef root : roots) {
    SmallString<128> bin(root);
    llvm::sys::path::append(bin, "bin");
    if (auto path = llvm::sys::findProgramByName("ptxas", {bin.str()}))
      return *path;
  }
  return "";
}

llvm::Error assemblePtx(NVPTXImage &image, StringRef ptxas) {
  SmallString<128> ptxPath, cubinPath, logPath;
  llvm::scope_exit cleanUp([&] {
    for (StringRef path : {ptxPath.str(), cubinPath.str(), logPath.str()})
      if (!path.empty())
        llvm::sys::fs::remove(path);
  });
  std::error_code error;
  if ((error = llvm::sys::fs::createTemporaryFile("qlinear", "ptx", ptxPath)) ||
      (error = llvm::sys::fs::createTemporaryFile("qlinear", "cubin", cubinPath)) ||
      (error = llvm::sys::fs::createTemporaryFile("qlinear", "log", logPath)))
    return llvm::createStringError("cannot make a temporary file for ptxas: " +
                                   error.message());
  {
    llvm::raw_fd_ostream out(ptxPath, error);
    out << image.ptx;
    out.close();
    if (error || out.has_error())
      return llvm::createStringError("cannot write " + ptxPath);
  }
  std::string message;
  std::optional<StringRef> redirects[] = {std::nullopt, logPath.str(), logPath.str()};
  int status = llvm::sys::ExecuteAndWait(
      ptxas, {ptxas, "-v", "-arch", image.chip, ptxPath, "-o", cubinPath}, std::nullopt,
      redirects, 0, 0, &message);
  if (auto log = llvm::MemoryBuffer::getFile(logPath))
    image.ptxasLog = (*log)->getBuffer().str();
  if (status != 0)
    return llvm::createStringError("ptxas (" + ptxas + ") failed for " + image.chip +
                                   ": " + message + image.ptxasLog);
  auto cubin = llvm::MemoryBuffer::getFile(cubinPath, false, false);
  if (!cubin)
    return llvm::createStringError("cannot read what ptxas wrote: " +
                                   cubin.getError().message());
  image.cubin.assign((*cubin)->getBufferStart(), (*cubin)->getBufferEnd());
  return llvm::Error::success();
}

FailureOr<NVPTXImage> prepareImage(gpu::GPUModuleOp module,
                                   const NVPTXOptions &options) {
  NVPTXImage image;
  image.chip = chipOf(module, options.chip);
  if (!isNVPTXChip(image.chip))
    return module.emitError("unknown chip '")
           << image.chip << "'; known are " << listChips();
  image.ptxVersion = options.ptxVersion.empty()
                         ? spellPtxVersion(*oldestPtxVersion(image.chip))
                         : options.ptxVersion;
  if (llvm::Error error = checkPtxVersion(image.chip, image.ptxVersion))
    return module.emitError() << llvm::toString(std::move(error));
  return image;
}

std::string choosePtxas(gpu::GPUModuleOp module, const NVPTXOptions &options) {
  if (!options.assemble)
    return "";
  std::string ptxas = options.ptxas.empty() ? findPtxas() : options.ptxas;
  if (ptxas.empty())
    module.emitWarning("ptxas was not found on PATH, in CUDA_ROOT, CUDA_HOME or "
                       "CUDA_PATH, or else in /usr/local/cuda: only PTX is emitted, "
                       "which the driver compiles when it is loaded; install the "
                       "CUDA toolkit for machine code");
  return ptxas;
}

llvm::Error writePtx(llvm::Module &module, NVPTXImage &image) {
  auto machine = createMachine(image.chip, image.ptxVersion);
  if (!machine)
    return llvm::createStringError(kNoBackEnd);
  module.setTargetTriple(machine->getTargetTriple());
  module.setDataLayout(machine->createDataLayout());
  // Kernels that were compiled apart have tables of their own.
  Optimizer(*machine).run(module, "constmerge");
  SmallString<0> ptx;
  llvm::raw_svector_ostream out(ptx);
  llvm::legacy::PassManager codegen;
  if (machine->addPassesToEmitFile(codegen, out, nullptr,
                                   llvm::CodeGenFileType::AssemblyFile))
    return llvm::createStringError("the NVPTX back end cannot emit assembly");
  codegen.run(module);
  image.ptx = ptx.str().str();
  return llvm::Error::success();
}

FailureOr<NVPTXImage> serialize(gpu::GPUModuleOp module, const NVPTXOptions &options) {
  FailureOr<NVPTXImage> image = prepareImage(module, options);
  if (failed(image))
    return failure();
  llvm::LLVMContext context;
  auto code =
      toLLVM(module, context, DeviceIntrinsics::nvptx, image->chip, image->ptxVersion);
  if (failed(code))
    return failure();
  llvm::Error error = writePtx(**code, *image);
  if (!error)
    if (std::string ptxas = choosePtxas(module, options); !ptxas.empty())
      error = assemblePtx(*image, ptxas);
  if (error)
    return module.emitError(llvm::toString(std::move(error)));
  return image;
}

//===----------------------------------------------------------------------===//
// Passes for quant-opt
//===----------------------------------------------------------------------===//

namespace {
struct PrintPtx : PassWrapper<PrintPtx, OperationPass<gpu::GPUModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PrintPtx)
  PrintPtx() = default;
  PrintPtx(const PrintPtx &other) : PassWrapper(other) {}
  StringRef getArgument() const override { return "qlinear-print-ptx"; }
  StringRef getDescription() const override {
    return "print the PTX of a gpu.module, or what ptxas says about it";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<LLVM::LLVMDialect, NVVM::NVVMDialect>();
    registerNVPTXTranslations(registry);
  }
  void runOnOperation() override {
    NVPTXOptions options;
    options.chip = chip;
    options.ptxVersion = version;
    options.assemble = log;
    FailureOr<NVPTXImage> image = serialize(getOperation(), options);
    if (failed(image))
      return signalPassFailure();
    llvm::outs() << (log ? image->ptxasLog : image->ptx);
    llvm::outs().flush();
  }
  Option<std::string> chip{*this, "chip",
                           llvm::cl::desc("The chip; default: the module's")};
  Option<std::string> version{*this, "ptx-version", llvm::cl::desc("The PTX version")};
  Option<bool> log{*this, "ptxas-log", llvm::cl::init(false),
                   llvm::cl::desc("Print the output of ptxas -v instead")};
};

struct PrintDeviceLLVM : PassWrapper<PrintDeviceLLVM, OperationPass<gpu::GPUModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PrintDeviceLLVM)
  StringRef getArgument() const override { return "qlinear-print-device-llvm"; }
  StringRef getDescription() const override {
    return "print the LLVM IR of a gpu.module, as the emulated device gets it";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<LLVM::LLVMDialect, NVVM::NVVMDialect>();
    registerNVPTXTranslations(registry);
  }
  void runOnOperation() override {
    llvm::LLVMContext context;
    auto module = toLLVM(getOperation(), context, DeviceIntrinsics::external);
    if (failed(module))
      return signalPassFailure();
    llvm::StripDebugInfo(**module);
    (*module)->print(llvm::outs(), nullptr);
    llvm::outs().flush();
  }
};
} // namespace

void registerNVPTXPasses() {
  PassRegistration<PrintPtx>();
  PassRegistration<PrintDeviceLLVM>();
}

} // namespace qlinear
