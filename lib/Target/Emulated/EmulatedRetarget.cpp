//===- EmulatedRetarget.cpp - Device code for the emulated device ---------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "../Host/HalfFloats.h"
#include "EmulatedIntrinsics.h"
#include "EmulatedSites.h"
#include "qlinear/Target/Emulated.h"

#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/DebugInfo.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/ReplaceConstant.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Target/TargetMachine.h"

using namespace llvm;

namespace qlinear {
namespace {

constexpr unsigned kSharedSpace = 3;

class Retarget {
public:
  Retarget(Module &module, TargetMachine &host) : module(module), host(host) {}

  Error run();

private:
  void retargetFunctions();
  void makeEntry(Function &kernel);
  void materialise(GlobalVariable &variable);
  Error lowerCalls(Function &function);
  void lowerConversions(Function &function);
  void flattenAccesses(Function &function);
  void checkAlignment(Instruction &at, Value *pointer, Align align);
  void noteAccess(Instruction &at, Value *pointer, Value *bytes, bool writes);
  Error checkExternals();

  Module &module;
  TargetMachine &host;
};

} // namespace

static Error failIn(const Function &function, const Twine &message) {
  return make_error<StringError>("function " + function.getName() + ": " + message,
                                 inconvertibleErrorCode());
}

/// The host's triple and calling convention, and nothing said about a GPU.
void Retarget::retargetFunctions() {
  module.setTargetTriple(host.getTargetTriple());
  module.setDataLayout(host.createDataLayout());
  for (Function &function : module) {
    if (function.isIntrinsic())
      continue;
    function.setAttributes(AttributeList::get(module.getContext(), AttributeSet(),
                                              function.getAttributes().getRetAttrs(),
                                              {}));
    function.addFnAttr(Attribute::NoUnwind);
  }
  // Debug information names PTX; module flags may forbid the host's.
  if (NamedMDNode *annotations = module.getNamedMetadata("nvvm.annotations"))
    annotations->eraseFromParent();
}

/// One thread of the kernel under its name, its arguments read from `params`.
void Retarget::makeEntry(Function &kernel) {
  LLVMContext &context = module.getContext();
  std::string name = kernel.getName().str();
  kernel.setName(name + ".thread");
  kernel.setCallingConv(CallingConv::C);
  kernel.setLinkage(GlobalValue::InternalLinkage);
  kernel.setVisibility(GlobalValue::DefaultVisibility);
  kernel.setComdat(nullptr);

  auto *pointer = PointerType::get(context, 0);
  auto *entry =
      Function::Create(FunctionType::get(Type::getVoidTy(context), {pointer}, false),
                       GlobalValue::ExternalLinkage, name, module);
  entry->addFnAttr(Attribute::NoUnwind);
  IRBuilder<> b(BasicBlock::Create(context, "", entry));
  SmallVector<Value *> args;
  for (Argument &arg : kernel.args()) {
    Value *slot =
        b.CreateConstInBoundsGEP1_64(pointer, entry->getArg(0), arg.getArgNo());
    args.push_back(
        b.CreateLoad(arg.getType(), b.CreateLoad(pointer, slot), arg.getName()));
  }
  b.CreateCall(&kernel, args);
  b.CreateRetVoid();
}

/// Replaces a variable in a device address space: shared memory belongs to the
/// block, the rest moves to address space 0.
void Retarget::materialise(GlobalVariable &variable) {
  LLVMContext &context = module.getContext();
  if (variable.getAddressSpace() != kSharedSpace) {
    auto *copy = new GlobalVariable(
        module, variable.getValueType(), variable.isConstant(), variable.getLinkage(),
        variable.hasInitializer() ? variable.getInitializer() : nullptr, "", &variable);
    copy->takeName(&variable);
    copy->setAlignment(variable.getAlign());
    variable.replaceAllUsesWith(
        ConstantExpr::getAddrSpaceCast(copy, variable.getType()));
    variable.eraseFromParent();
    return;
  }
  convertUsersOfConstantsToInstructions({&variable});
  uint64_t bytes = module.getDataLayout().getTypeAllocSize(variable.getValueType());
  bool dynamic = variable.isDeclaration() || bytes == 0;
  Constant *key = nullptr;
  if (!dynamic)
    key = new GlobalVariable(
        module, Type::getInt8Ty(context), true, GlobalValue::PrivateLinkage,
        ConstantInt::get(Type::getInt8Ty(context), 0), variable.getName() + ".key");

  DenseMap<Function *, Value *> bases;
  for (Use &use : make_early_inc_range(variable.uses())) {
    auto *user = cast<Instruction>(use.getUser());
    Value *&base = bases[user->getFunction()];
    if (!base) {
      IRBuilder<> b(
          &*user->getFunction()->getEntryBlock().getFirstNonPHIOrDbgOrAlloca());
      uint64_t align = variable.getAlign().valueOrOne().value();
      Value *plain = dynamic
                         ? callEmulated(b, "shared", b.getPtrTy(), {})
                         : callEmulated(b, "static_shared", b.getPtrTy(),
                                        {key, b.getInt64(bytes), b.getInt32(align)});
      base = b.CreateAddrSpaceCast(plain, variable.getType());
    }
    use.set(base);
  }
  variable.eraseFromParent();
}

/// Intrinsics and inline assembly.
Error Retarget::lowerCalls(Function &function) {
  for (Instruction &inst : make_early_inc_range(instructions(function))) {
    auto *call = dyn_cast<CallInst>(&inst);
    if (!call)
      continue;
    if (auto *assembly = dyn_cast<InlineAsm>(call->getCalledOperand())) {
      if (assembly->getAsmString().empty() && call->getType()->isVoidTy())
        continue; // a compiler barrier
      return failIn(function, "inline assembly '" + assembly->getAsmString() +
                                  "' cannot be emulated; put it into a wrapper "
                                  "with an emulated twin");
    }
    Function *callee = call->getCalledFunction();
    if (!callee)
      return failIn(function, "an indirect call cannot be emulated");
    if (callee->getIntrinsicID() == Intrinsic::trap) {
      IRBuilder<> b(call);
      callEmulated(b, "trap", b.getVoidTy(), {});
    } else if (callee->getName().starts_with("llvm.nvvm.") ||
               callee->getName().starts_with("ql_ptx_")) {
      if (Error error = lowerIntrinsic(*call))
        return error;
    }
  }
  return Error::success();
}

/// The bits of a value as `type`.
static Value *bitsOf(IRBuilderBase &b, Value *value, Type *type) {
  auto *cast = dyn_cast<BitCastInst>(value);
  return cast && cast->getSrcTy() == type ? cast->getOperand(0)
                                          : b.CreateBitCast(value, type);
}

/// Vectors of bf16 are put together and stored as integers of 16 bits: LLVM would widen
/// and narrow each element on a host, the latter by a function of a library.
static bool lowerVectorOfBfloat(Instruction &inst) {
  Value *value = isa<StoreInst>(inst) ? inst.getOperand(0) : &inst;
  auto *vector = dyn_cast<FixedVectorType>(value->getType());
  if (!vector || !vector->getElementType()->isBFloatTy() ||
      !(isa<StoreInst>(inst) || isa<InsertElementInst>(inst)))
    return false;
  IRBuilder<> b(&inst);
  auto *bits = FixedVectorType::get(b.getInt16Ty(), vector->getNumElements());
  if (isa<StoreInst>(inst)) {
    inst.setOperand(0, bitsOf(b, value, bits));
    return true;
  }
  Value *whole = b.CreateInsertElement(bitsOf(b, inst.getOperand(0), bits),
                                       bitsOf(b, inst.getOperand(1), b.getInt16Ty()),
                                       inst.getOperand(2));
  inst.replaceAllUsesWith(b.CreateBitCast(whole, vector));
  inst.eraseFromParent();
  return true;
}

void Retarget::lowerConversions(Function &function) {
  for (Instruction &inst : make_early_inc_range(instructions(function))) {
    if (lowerVectorOfBfloat(inst))
      continue;
    bool narrows =
        isa<FPTruncInst>(inst) && inst.getType()->getScalarSizeInBits() == 16;
    bool widens = isa<FPExtInst>(inst) &&
                  inst.getOperand(0)->getType()->getScalarType()->isHalfTy();
    if (!narrows && !widens)
      continue; // bf16 -> f32 is a shift everywhere
    IRBuilder<> b(&inst);
    inst.replaceAllUsesWith(convertHalf(b, inst.getOperand(0), inst.getType()));
    inst.eraseFromParent();
  }
}

/// A GPU faults where a value is not aligned; a host often does not.
void Retarget::checkAlignment(Instruction &at, Value *pointer, Align align) {
  if (align.value() < 2 || isa<AllocaInst>(getUnderlyingObject(pointer)))
    return;
  LLVMContext &context = module.getContext();
  FunctionCallee check = module.getOrInsertFunction(
      "qlr_emu_check_alignment", Type::getVoidTy(context), PointerType::get(context, 0),
      Type::getInt32Ty(context));
  auto *function = cast<Function>(check.getCallee());
  if (function->isDeclaration()) {
    function->setLinkage(GlobalValue::InternalLinkage);
    function->addFnAttr(Attribute::AlwaysInline);
    function->addFnAttr(Attribute::NoUnwind);
    auto *entry = BasicBlock::Create(context, "", function);
    auto *bad = BasicBlock::Create(context, "misaligned", function);
    auto *good = BasicBlock::Create(context, "aligned", function);
    IRBuilder<> b(entry);
    Value *address = b.CreatePtrToInt(function->getArg(0), b.getInt64Ty());
    Value *mask =
        b.CreateZExt(b.CreateSub(function->getArg(1), b.getInt32(1)), b.getInt64Ty());
    b.CreateCondBr(b.CreateICmpEQ(b.CreateAnd(address, mask), b.getInt64(0)), good,
                   bad);
    b.SetInsertPoint(bad);
    callEmulated(b, "misaligned", b.getVoidTy(),
                 {function->getArg(0), function->getArg(1)});
    b.CreateBr(good);
    b.SetInsertPoint(good);
    b.CreateRetVoid();
  }
  IRBuilder<> b(&at);
  b.CreateCall(check, {plainPointer(b, pointer), b.getInt32(align.value())});
}

/// Tells the emulated device of an access of shared memory, or of what may be it. What
/// is a thread's own, or constant, is no memory that others access.
void Retarget::noteAccess(Instruction &at, Value *pointer, Value *bytes, bool writes) {
  bool shared = pointer->getType()->getPointerAddressSpace() == kSharedSpace;
  Value *object = getUnderlyingObject(pointer);
  if (auto *variable = dyn_cast<GlobalVariable>(object);
      isa<AllocaInst>(object) || (variable && variable->isConstant()))
    return;
  IRBuilder<> b(&at);
  auto *length = dyn_cast<ConstantInt>(bytes);
  Constant *site = emulatedSite(module, writes ? "store" : "load",
                                length ? length->getZExtValue() : 0, at.getDebugLoc());
  callEmulated(b, std::string(writes ? "store" : "load") + (shared ? "" : "_generic"),
               b.getVoidTy(), {pointer, b.CreateZExt(bytes, b.getInt64Ty()), site});
}

/// Loads and stores through plain pointers: only those are instrumented by
/// AddressSanitizer, and all memory is host memory.
void Retarget::flattenAccesses(Function &function) {
  SmallVector<Instruction *> accesses;
  for (Instruction &inst : instructions(function))
    if (isa<LoadInst, StoreInst, AtomicRMWInst, AtomicCmpXchgInst, MemIntrinsic>(inst))
      accesses.push_back(&inst);
  for (Instruction *inst : accesses) {
    IRBuilder<> b(inst);
    if (auto *memory = dyn_cast<MemIntrinsic>(inst)) {
      noteAccess(*inst, memory->getRawDest(), memory->getLength(), true);
      if (auto *move = dyn_cast<MemTransferInst>(memory))
        noteAccess(*inst, move->getRawSource(), memory->getLength(), false);
      // The intrinsic's name carries the address spaces: call it anew.
      Value *dst = plainPointer(b, memory->getRawDest());
      MaybeAlign dstAlign = memory->getDestAlign();
      if (auto *set = dyn_cast<MemSetInst>(memory))
        b.CreateMemSet(dst, set->getValue(), set->getLength(), dstAlign,
                       set->isVolatile());
      else {
        auto *move = cast<MemTransferInst>(memory);
        Value *src = plainPointer(b, move->getRawSource());
        if (isa<MemMoveInst>(move))
          b.CreateMemMove(dst, dstAlign, src, move->getSourceAlign(), move->getLength(),
                          move->isVolatile());
        else
          b.CreateMemCpy(dst, dstAlign, src, move->getSourceAlign(), move->getLength(),
                         move->isVolatile());
      }
      memory->eraseFromParent();
      continue;
    }
    Value *pointer = getPointerOperand(inst);
    Align align = isa<LoadInst>(inst)    ? cast<LoadInst>(inst)->getAlign()
                  : isa<StoreInst>(inst) ? cast<StoreInst>(inst)->getAlign()
                  : isa<AtomicRMWInst>(inst)
                      ? cast<AtomicRMWInst>(inst)->getAlign()
                      : cast<AtomicCmpXchgInst>(inst)->getAlign();
    checkAlignment(*inst, pointer, align);
    if (isa<LoadInst, StoreInst>(inst)) { // atomics race with nothing
      Type *type = getLoadStoreType(inst);
      noteAccess(*inst, pointer,
                 b.getInt64(module.getDataLayout().getTypeStoreSize(type)),
                 isa<StoreInst>(inst));
    }
    inst->setOperand(isa<StoreInst>(inst) ? StoreInst::getPointerOperandIndex() : 0,
                     plainPointer(b, pointer));
  }
}

/// Everything that is called must exist on the host.
Error Retarget::checkExternals() {
  for (Function &function : module) {
    if (!function.isDeclaration() || function.use_empty())
      continue;
    StringRef name = function.getName();
    if (function.isIntrinsic() ? !name.starts_with("llvm.nvvm.")
                               : name.starts_with("qlr_emu_"))
      continue;
    std::string caller = "?";
    for (User *user : function.users())
      if (auto *call = dyn_cast<CallInst>(user))
        caller = call->getFunction()->getName().str();
    return createStringError("function %s calls %s, which neither the kernels nor "
                             "the emulated device define",
                             caller.c_str(), name.str().c_str());
  }
  return Error::success();
}

Error Retarget::run() {
  SmallVector<Function *> kernels, bodies;
  for (Function &function : module) {
    if (function.getCallingConv() == CallingConv::PTX_Kernel)
      kernels.push_back(&function);
    else if (!function.isDeclaration())
      function.setLinkage(GlobalValue::InternalLinkage);
    if (!function.isDeclaration())
      bodies.push_back(&function);
    for (Argument &arg : function.args())
      if (arg.hasByValAttr())
        return failIn(function, "a by-value aggregate cannot be emulated; pass "
                                "pointers and scalars");
  }
  retargetFunctions();
  for (GlobalVariable &variable : make_early_inc_range(module.globals()))
    if (variable.getAddressSpace() != 0)
      materialise(variable);
  for (Function *function : bodies) {
    for (Instruction &inst : instructions(*function))
      if (auto *cast = dyn_cast<PtrToIntInst>(&inst))
        if (cast->getPointerAddressSpace() == kSharedSpace &&
            cast->getType()->getIntegerBitWidth() < 64)
          return failIn(*function, "an address in shared memory is cut to " +
                                       Twine(cast->getType()->getIntegerBitWidth()) +
                                       " bits; pass it as a pointer where the code "
                                       "is to be emulated");
    if (Error error = lowerCalls(*function))
      return error;
    widenHalfArithmetic(*function);
    lowerConversions(*function);
    keepHalvesAsIntegers(*function);
    flattenAccesses(*function);
  }
  for (Function &declaration : make_early_inc_range(module))
    if (declaration.isDeclaration() && declaration.use_empty())
      declaration.eraseFromParent();
  if (Error error = checkExternals())
    return error;
  StripDebugInfo(module); // the sites keep the lines that messages need
  for (Function *kernel : kernels)
    makeEntry(*kernel);
  std::string text;
  raw_string_ostream stream(text);
  if (verifyModule(module, &stream))
    return createStringError("retargeted module %s is broken: %s",
                             module.getName().str().c_str(), text.c_str());
  return Error::success();
}

Error retargetToEmulated(Module &device, TargetMachine &host) {
  return Retarget(device, host).run();
}

} // namespace qlinear
