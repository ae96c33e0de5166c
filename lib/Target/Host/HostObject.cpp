//===- HostObject.cpp - Object files and shared libraries -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Target/HostObject.h"
#include "../Optimizer.h"
#include "HalfFloats.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/Transforms/Instrumentation/AddressSanitizer.h"
#include "llvm/Transforms/Scalar.h"

#include <sys/auxv.h>

using namespace llvm;

namespace qlinear {

/// The triple of an architecture on Linux, its code generator being registered.
static Triple useArchitecture(Architecture architecture) {
  if (architecture == kHostArchitecture) {
    InitializeNativeTarget();
    InitializeNativeTargetAsmPrinter();
    return Triple(sys::getDefaultTargetTriple());
  }
  if (architecture == Architecture::arm64) {
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    return Triple("aarch64-unknown-linux-gnu");
  }
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  return Triple("x86_64-pc-linux-gnu");
}

Expected<std::unique_ptr<TargetMachine>>
createHostMachine(Architecture architecture, StringRef cpu, StringRef features) {
  Triple triple = useArchitecture(architecture);
  std::string message;
  const Target *target = TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return createStringError("no code generator for %s: %s", triple.str().c_str(),
                             message.c_str());
  if (cpu.empty() && triple.getArch() == Triple::x86_64)
    cpu = "x86-64";
  TargetOptions options;
  std::unique_ptr<TargetMachine> machine(
      target->createTargetMachine(triple, cpu, features, options, Reloc::PIC_,
                                  std::nullopt, CodeGenOptLevel::Default));
  if (!machine)
    return createStringError("no code generator for %s with the CPU '%s'",
                             triple.str().c_str(), cpu.str().c_str());
  return machine;
}

void addAddressSanitizer(Module &module, TargetMachine &machine) {
  for (Function &function : module)
    if (!function.isDeclaration())
      function.addFnAttr(Attribute::SanitizeAddress);
  AddressSanitizerOptions options;
  options.UseAfterReturn = AsanDetectStackUseAfterReturnMode::Never;
  ModulePassManager passes;
  passes.addPass(AddressSanitizerPass(options));
  Optimizer(machine).run(module, std::move(passes));
  for (Function &function : module)
    keepHalvesAsIntegers(function); // the checks have split blocks
}

namespace {
/// The passes of code generation, on x86 without loop strength reduction: of kernels,
/// whose units are hundreds of addresses with one base, it takes two thirds of the
/// time, and what it makes of them wants more registers than there are (3 to 8% more
/// instructions for few rows, 1% fewer for many). With the addresses of arm64 few rows
/// gain by it.
class KernelPasses : public legacy::PassManager {
public:
  explicit KernelPasses(const TargetMachine &machine)
      : left(machine.getTargetTriple().isX86() ? createLoopStrengthReducePass()
                                               : nullptr) {}
  void add(Pass *pass) override {
    if (left && pass->getPassName() == left->getPassName())
      delete pass;
    else
      legacy::PassManager::add(pass);
  }

private:
  std::unique_ptr<Pass> left; ///< what is left out
};
} // namespace

Expected<SmallVector<char, 0>> emitObject(Module &module, TargetMachine &machine) {
  SmallVector<char, 0> object;
  raw_svector_ostream stream(object);
  KernelPasses passes(machine);
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  module.setPICLevel(PICLevel::BigPIC);
  if (machine.addPassesToEmitFile(passes, stream, nullptr, CodeGenFileType::ObjectFile))
    return createStringError("object files of %s cannot be written",
                             machine.getTargetTriple().str().c_str());
  passes.run(module);
  return object;
}

llvm::Error toError(Result<void> result) {
  return result ? llvm::Error::success() : createStringError(result.error());
}

/// The first lines of a failed linker's output.
static std::string linkerMessage(StringRef log) {
  auto buffer = MemoryBuffer::getFile(log);
  if (!buffer)
    return "";
  StringRef text = (*buffer)->getBuffer().trim();
  return (": " + text.take_front(2000)).str();
}

/// A linker: the one beside this program, else one on PATH, or a C compiler, which
/// knows one for this machine.
static std::string findLinker(bool isForeign) {
  // The name it was started by serves where /proc is not mounted.
  std::string program = sys::fs::getMainExecutable(
      reinterpret_cast<const char *>(getauxval(AT_EXECFN)), nullptr);
  if (auto own = sys::findProgramByName("ld.lld", {sys::path::parent_path(program)}))
    return *own;
  for (StringRef name : {"ld.lld-22", "ld.lld", "cc", "gcc", "clang-22", "clang"})
    if (!isForeign || name.starts_with("ld"))
      if (auto found = sys::findProgramByName(name))
        return *found;
  return "";
}

/// The C library as programs load it: what a C compiler would link instead is not on
/// every machine. Its folder, or nothing if it has another name here.
static std::string findCLibrary() {
  Triple triple(sys::getDefaultTargetTriple());
  std::string debian = (triple.getArchName() + "-" + triple.getOSName() + "-" +
                        triple.getEnvironmentName())
                           .str();
  for (const std::string &dir :
       {"/usr/lib/" + debian, "/lib/" + debian, std::string("/usr/lib64"),
        std::string("/lib64"), std::string("/usr/lib"), std::string("/lib")})
    if (sys::fs::exists(dir + "/libc.so.6"))
      return dir;
  return "";
}

llvm::Error linkSharedLibrary(const OutputFile &file, ArrayRef<std::string> objects,
                              const LinkOptions &options) {
  const std::string &path = file.path();
  bool isForeign = options.architecture != kHostArchitecture;
  std::string linker = findLinker(isForeign);
  bool isDriver = !sys::path::filename(linker).starts_with("ld.");
  if (linker.empty() && isForeign)
    return createStringError("no linker for %s: neither ld.lld-22 nor ld.lld is on "
                             "PATH; install lld, or use --emit=obj",
                             spell(options.architecture).data());
  if (linker.empty())
    return createStringError("no linker for %s: none of ld.lld-22, ld.lld, cc, gcc, "
                             "clang is on PATH; install lld, or use --emit=obj",
                             path.c_str());

  SmallString<128> log;
  sys::RemoveFileOnSignal(file.name());
  scope_exit remove([&] {
    sys::DontRemoveFileOnSignal(file.name());
    if (!log.empty())
      sys::fs::remove(log);
  });
  if (std::error_code ec = sys::fs::createTemporaryFile("qlinear-link", "log", log))
    return createStringError(ec, "cannot create a temporary file: %s",
                             ec.message().c_str());

  SmallVector<std::string> command = {linker, "-shared", "-o", file.name()};
  auto add = [&](const Twine &flag) {
    command.push_back(((isDriver ? "-Wl," : "") + flag).str());
  };
  llvm::append_range(command, objects);
  llvm::append_range(command, options.libraries);
  // Of another architecture's code the C library is the one of whoever loads it.
  if (std::string dir = isDriver || isForeign ? "" : findCLibrary(); !dir.empty())
    command.append({dir + "/libm.so.6", dir + "/libc.so.6"});
  else if (!isForeign)
    command.append({"-lm", "-lc"});
  // No rpath: where libraries lie on this machine is of no use on another.
  if (!options.soname.empty())
    add("-soname=" + options.soname);
  add("--as-needed");
  add("--build-id=sha1");
  command.push_back(isDriver ? "-Wl,-z,noexecstack" : "-znoexecstack");
  if (!options.allowUndefined && !isForeign)
    add("--no-undefined");

  SmallVector<StringRef> args(command.begin(), command.end());
  std::string message;
  std::optional<StringRef> redirects[] = {StringRef(), log.str(), log.str()};
  int status =
      sys::ExecuteAndWait(linker, args, std::nullopt, redirects, 0, 0, &message);
  if (status != 0)
    return createStringError("%s failed to link %s%s%s", linker.c_str(), path.c_str(),
                             linkerMessage(log).c_str(), message.c_str());
  return llvm::Error::success();
}

} // namespace qlinear
