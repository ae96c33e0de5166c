//===- EmulatedIntrinsics.cpp - NVVM intrinsics on the host ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Arithmetic intrinsics become plain IR with the meaning that the PTX manual
// gives them (approximations become exact operations); whatever concerns other
// threads or time becomes a call into the emulated device.
//
//===----------------------------------------------------------------------===//
#include "EmulatedIntrinsics.h"
#include "EmulatedSites.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/Module.h"

using namespace llvm;

namespace qlinear {

Value *plainPointer(IRBuilderBase &b, Value *pointer) {
  auto *type = dyn_cast<PointerType>(pointer->getType());
  if (!type || type->getAddressSpace() == 0)
    return pointer;
  return b.CreateAddrSpaceCast(pointer, b.getPtrTy());
}

CallInst *callEmulated(IRBuilderBase &b, StringRef name, Type *result,
                       ArrayRef<Value *> args) {
  SmallVector<Value *> operands;
  SmallVector<Type *> types;
  for (Value *arg : args) {
    operands.push_back(plainPointer(b, arg));
    types.push_back(operands.back()->getType());
  }
  Module *module = b.GetInsertBlock()->getModule();
  FunctionCallee callee = module->getOrInsertFunction(
      ("qlr_emu_" + name).str(), FunctionType::get(result, types, false));
  return b.CreateCall(callee, operands);
}

namespace {

/// Lowers one call. `name` is the intrinsic's without "llvm.nvvm.", or "ql_ptx_...".
class Lowering {
public:
  Lowering(CallInst &call, StringRef name)
      : call(call), b(&call), name(name), i32(b.getInt32Ty()) {}

  /// The replacement of the result (any value if it is void), or null if the
  /// intrinsic is unknown.
  Value *lower();

private:
  Value *arg(unsigned i) { return call.getArgOperand(i); }
  Value *num(uint32_t v) { return b.getInt32(v); }
  Value *emu(StringRef function, Type *type, ArrayRef<Value *> args) {
    return callEmulated(b, function, type, args);
  }
  Value *ask(StringRef function) { return emu(function, i32, {}); }
  Value *act(StringRef function, ArrayRef<Value *> args) {
    return emu(function, b.getVoidTy(), args);
  }
  /// The same for those that access shared memory: as `what`, of `bytes` bytes.
  Value *actAt(StringRef function, SmallVector<Value *> args, StringRef what,
               uint64_t bytes = 0) {
    args.push_back(site(what, bytes));
    return act(function, args);
  }
  Value *site(StringRef what, uint64_t bytes = 0) {
    return emulatedSite(*call.getModule(), what, bytes, call.getDebugLoc());
  }
  Value *nothing() { return PoisonValue::get(i32); }
  Value *flag(Value *v) { return b.CreateICmpNE(v, num(0)); }
  Value *widen(Value *v) { return b.CreateZExt(v, i32); }
  Value *unary(Intrinsic::ID id) { return b.CreateUnaryIntrinsic(id, arg(0)); }
  Value *binary(Intrinsic::ID id) {
    return b.CreateBinaryIntrinsic(id, arg(0), arg(1));
  }
  Value *arriveAt(Value *count, Value *bytes, bool drop) {
    return emu("mbarrier_arrive", b.getInt64Ty(),
               {arg(0), count, bytes, num(drop), site("mbarrier arrival", 8)});
  }
  Value *waitAt(StringRef function) {
    return emu(function, i32, {arg(0), arg(1), site("mbarrier wait", 8)});
  }
  Value *laneMask(CmpInst::Predicate predicate);
  /// A place on the stack that holds `v`.
  Value *inMemory(Value *v) {
    IRBuilder<> entry(&*call.getFunction()->getEntryBlock().getFirstInsertionPt());
    Value *at = entry.CreateAlloca(v->getType());
    b.CreateStore(v, at);
    return at;
  }
  /// Calls an emulated function that gets, after `args` and before `more`, where its
  /// result goes and `initial` is before.
  Value *onMemory(StringRef function, SmallVector<Value *> args, Value *initial,
                  ArrayRef<Value *> more = {}) {
    Value *result = inMemory(initial);
    args.push_back(result);
    llvm::append_range(args, more);
    act(function, args);
    return b.CreateLoad(initial->getType(), result);
  }

  Value *specialRegister(StringRef reg);
  Value *warp();
  Value *barrier();
  Value *copy();
  Value *mbarrier();
  Value *floats();
  Value *integers();
  Value *dp4a(bool signedA, bool signedB);
  Value *permute();
  Value *wrapper(StringRef function);

  CallInst &call;
  IRBuilder<> b;
  StringRef name;
  Type *i32;
};

} // namespace

/// Bits of the lanes l of a warp with `l predicate own lane`.
Value *Lowering::laneMask(CmpInst::Predicate predicate) {
  Value *own = b.CreateShl(num(1), b.CreateAnd(ask("tid"), num(31)));
  Value *below = b.CreateSub(own, num(1));
  switch (predicate) {
  case CmpInst::ICMP_EQ:
    return own;
  case CmpInst::ICMP_ULT:
    return below;
  case CmpInst::ICMP_ULE:
    return b.CreateOr(below, own);
  case CmpInst::ICMP_UGT:
    return b.CreateNot(b.CreateOr(below, own));
  default:
    return b.CreateNot(below);
  }
}

Value *Lowering::specialRegister(StringRef reg) {
  if (reg.ends_with(".y") || reg.ends_with(".z"))
    return reg.starts_with("n") ? num(1) : num(0);
  if (reg == "tid.x" || reg == "ntid.x" || reg == "ctaid.x" || reg == "nctaid.x")
    return ask(reg.drop_back(2));
  if (reg == "laneid")
    return b.CreateAnd(ask("tid"), num(31));
  if (reg == "warpid")
    return b.CreateLShr(ask("tid"), num(5));
  if (reg == "nwarpid")
    return b.CreateLShr(b.CreateAdd(ask("ntid"), num(31)), num(5));
  if (reg == "warpsize")
    return num(32);
  if (reg == "smid")
    return ask("ctaid");
  if (reg == "nsmid")
    return ask("nctaid");
  if (reg == "dynamic_smem_size" || reg == "dynamic.smem.size")
    return ask("dynamic_smem_size");
  if (reg.starts_with("lanemask."))
    return laneMask(StringSwitch<CmpInst::Predicate>(reg.drop_front(9))
                        .Case("eq", CmpInst::ICMP_EQ)
                        .Case("lt", CmpInst::ICMP_ULT)
                        .Case("le", CmpInst::ICMP_ULE)
                        .Case("gt", CmpInst::ICMP_UGT)
                        .Default(CmpInst::ICMP_UGE));
  if (reg.starts_with("clock") || reg.starts_with("globaltimer"))
    return b.CreateTrunc(emu("clock", b.getInt64Ty(), {}), call.getType());
  return nullptr;
}

Value *Lowering::warp() {
  if (name == "activemask")
    return ask("activemask");
  if (name == "bar.warp.sync")
    return act("bar_warp_sync", {arg(0)});
  if (name == "match.any.sync.i32")
    return emu("match_any_sync", i32, {arg(0), arg(1)});
  if (name == "elect.sync") { // the lowest lane of the mask is the leader
    emu("vote_sync", i32, {num(3), arg(0), num(1)}); // meets, and orders no memory
    Value *leader = b.CreateBinaryIntrinsic(Intrinsic::cttz, arg(0), b.getFalse());
    Value *mine = b.CreateICmpEQ(leader, b.CreateAnd(ask("tid"), num(31)));
    Value *pair = PoisonValue::get(call.getType());
    return b.CreateInsertValue(b.CreateInsertValue(pair, leader, 0), mine, 1);
  }
  if (StringRef rest = name; rest.consume_front("vote.")) {
    int kind = StringSwitch<int>(rest)
                   .Case("all.sync", 0)
                   .Case("any.sync", 1)
                   .Case("uni.sync", 2)
                   .Case("ballot.sync", 3)
                   .Default(-1);
    if (kind < 0)
      return nullptr;
    Value *result = emu("vote_sync", i32, {num(kind), arg(0), widen(arg(1))});
    return kind == 3 ? result : flag(result);
  }
  if (StringRef rest = name; rest.consume_front("redux.sync.")) {
    int kind = StringSwitch<int>(rest)
                   .Case("add", 0)
                   .Case("and", 1)
                   .Case("or", 2)
                   .Case("xor", 3)
                   .Case("min", 4)
                   .Case("max", 5)
                   .Case("umin", 6)
                   .Case("umax", 7)
                   .Default(-1);
    return kind < 0 ? nullptr : emu("redux_sync", i32, {num(kind), arg(1), arg(0)});
  }
  StringRef rest = name;
  if (!rest.consume_front("shfl.sync."))
    return nullptr;
  auto [way, type] = rest.split('.');
  int mode =
      StringSwitch<int>(way).Case("up", 0).Case("down", 1).Case("bfly", 2).Default(3);
  bool wantsFlag = type.ends_with("p");
  Value *valid = ConstantPointerNull::get(b.getPtrTy());
  if (wantsFlag) {
    IRBuilder<> entry(&*call.getFunction()->getEntryBlock().getFirstInsertionPt());
    valid = entry.CreateAlloca(b.getInt8Ty());
  }
  Value *bits =
      emu("shfl_sync", i32,
          {num(mode), arg(0), b.CreateBitCast(arg(1), i32), arg(2), arg(3), valid});
  Value *value = b.CreateBitCast(bits, arg(1)->getType());
  if (!wantsFlag)
    return value;
  Value *isValid = b.CreateICmpNE(b.CreateLoad(b.getInt8Ty(), valid), b.getInt8(0));
  Value *pair = PoisonValue::get(call.getType());
  return b.CreateInsertValue(b.CreateInsertValue(pair, value, 0), isValid, 1);
}

Value *Lowering::barrier() {
  StringRef rest = name;
  if (!rest.consume_front("barrier.cta."))
    return nullptr;
  bool hasCount = rest.ends_with(".count");
  Value *count = hasCount ? arg(1) : num(0);
  if (rest.starts_with("sync."))
    return act("barrier_sync", {arg(0), count});
  if (rest.starts_with("arrive."))
    return act("barrier_arrive", {arg(0), count});
  if (!rest.consume_front("red."))
    return nullptr;
  int kind = rest.starts_with("and") ? 0 : rest.starts_with("or") ? 1 : 2;
  Value *predicate = widen(arg(hasCount ? 2 : 1));
  Value *result = emu("barrier_red", i32, {num(kind), arg(0), count, predicate});
  return kind == 2 ? result : flag(result);
}

Value *Lowering::copy() {
  StringRef rest = name;
  if (rest.starts_with("prefetch") || rest.starts_with("applypriority") ||
      rest.starts_with("discard") || rest.starts_with("cp.async.bulk.prefetch"))
    return nothing();
  if (!rest.consume_front("cp.async."))
    return nullptr;
  if (rest.consume_front("ca.shared.global.") ||
      rest.consume_front("cg.shared.global.")) {
    bool sized = rest.consume_back(".s");
    unsigned bytes = 0;
    if (rest.getAsInteger(10, bytes))
      return nullptr;
    return actAt("cp_async", {arg(0), arg(1), num(bytes), sized ? arg(2) : num(bytes)},
                 "cp.async", bytes);
  }
  if (rest == "commit.group")
    return act("cp_async_commit", {});
  if (rest == "wait.group")
    return act("cp_async_wait", {arg(0)});
  if (rest == "wait.all")
    return act("cp_async_wait", {b.getInt32(-1)});
  if (rest.starts_with("mbarrier.arrive"))
    return actAt("cp_async_mbarrier_arrive", {arg(0), num(rest.contains("noinc"))},
                 "mbarrier arrival");
  if (!rest.consume_front("bulk."))
    return nullptr;
  // Destination, mbarrier, source, size; then the cluster mask and cache hints.
  if (rest == "global.to.shared.cta" || rest == "global.to.shared.cluster")
    return actAt("bulk_load", {arg(0), arg(2), arg(3), arg(1)}, "bulk copy");
  if (rest == "shared.cta.to.global")
    return actAt("bulk_store", {arg(0), arg(1), arg(2)}, "bulk copy");
  if (rest == "commit.group")
    return act("bulk_commit", {});
  if (rest == "wait.group" || rest == "wait.group.read")
    return act("bulk_wait", {arg(0)});
  return nullptr;
}

Value *Lowering::mbarrier() {
  StringRef rest = name;
  if (!rest.consume_front("mbarrier."))
    return nullptr;
  bool scoped = rest.contains("scope.");
  if (rest.starts_with("init"))
    return actAt("mbarrier_init", {arg(0), arg(1)}, "mbarrier.init", 8);
  if (rest.starts_with("inval"))
    return actAt("mbarrier_inval", {arg(0)}, "mbarrier.inval", 8);
  if (rest == "pending.count")
    return emu("mbarrier_pending_count", i32, {arg(0)});
  if (rest.starts_with("expect.tx"))
    return arriveAt(num(0), arg(1), false);
  if (rest.starts_with("complete.tx"))
    return actAt("mbarrier_complete_tx", {arg(0), arg(1)}, "mbarrier.complete_tx", 8);
  if (rest.starts_with("arrive")) {
    bool drop = rest.contains(".drop"), expect = rest.contains("expect.tx");
    bool counted = scoped || rest.contains("noComplete");
    return arriveAt(expect || !counted ? num(1) : arg(1), expect ? arg(1) : num(0),
                    drop);
  }
  bool parity = rest.contains("parity");
  std::string function =
      rest.starts_with("try") ? "mbarrier_try_wait" : "mbarrier_test_wait";
  return flag(waitAt(function + (parity ? "_parity" : "")));
}

Value *Lowering::dp4a(bool signedA, bool signedB) {
  auto *bytes = FixedVectorType::get(b.getInt8Ty(), 4);
  auto *words = FixedVectorType::get(i32, 4);
  auto lanes = [&](Value *v, bool isSigned) {
    return b.CreateIntCast(b.CreateBitCast(v, bytes), words, isSigned);
  };
  Value *products = b.CreateMul(lanes(arg(0), signedA), lanes(arg(1), signedB));
  return b.CreateAdd(b.CreateAddReduce(products), arg(2));
}

/// prmt: each nibble of the selector names a byte of b:a; its top bit asks for
/// that byte's sign instead.
Value *Lowering::permute() {
  Type *i64 = b.getInt64Ty();
  Value *pair =
      b.CreateOr(b.CreateZExt(arg(0), i64), b.CreateShl(b.CreateZExt(arg(1), i64), 32));
  Value *result = num(0);
  for (unsigned i = 0; i < 4; ++i) {
    Value *nibble = b.CreateLShr(arg(2), 4 * i);
    Value *shift = b.CreateShl(b.CreateAnd(nibble, num(7)), 3);
    Value *byte =
        b.CreateTrunc(b.CreateLShr(pair, b.CreateZExt(shift, i64)), b.getInt8Ty());
    Value *sign = b.CreateAShr(byte, b.getInt8(7));
    Value *wantsSign = flag(b.CreateAnd(nibble, num(8)));
    Value *chosen = b.CreateZExt(b.CreateSelect(wantsSign, sign, byte), i32);
    result = b.CreateOr(result, b.CreateShl(chosen, 8 * i));
  }
  return result;
}

Value *Lowering::integers() {
  if (StringRef rest = name; rest.consume_front("idp4a."))
    return rest.size() == 3 ? dp4a(rest[0] == 's', rest[2] == 's') : nullptr;
  if (name == "prmt")
    return permute();
  if (name == "mul24.i" || name == "mul24.ui") {
    bool isSigned = name.ends_with(".i");
    auto low24 = [&](Value *v) {
      v = b.CreateShl(v, 8);
      return isSigned ? b.CreateAShr(v, 8) : b.CreateLShr(v, 8);
    };
    return b.CreateMul(low24(arg(0)), low24(arg(1)));
  }
  if (name == "mulhi.i" || name == "mulhi.ui" || name == "mulhi.ll" ||
      name == "mulhi.ull") {
    bool isSigned = !name.contains(".u");
    unsigned bits = call.getType()->getIntegerBitWidth();
    Type *wide = b.getIntNTy(2 * bits);
    Value *product = b.CreateMul(b.CreateIntCast(arg(0), wide, isSigned),
                                 b.CreateIntCast(arg(1), wide, isSigned));
    return b.CreateTrunc(b.CreateLShr(product, bits), call.getType());
  }
  return nullptr;
}

Value *Lowering::floats() {
  Type *type = call.getType();
  // Types and flush-to-zero do not matter: f32 and f64 have one meaning here, and
  // a flushed subnormal is not worth a difference.
  SmallVector<StringRef> words;
  name.split(words, '.');
  StringRef op = words[0];
  StringRef rounding = words.size() > 1 ? words[1] : "";
  bool nearest = rounding == "rn" || rounding == "approx" || rounding == "full";
  bool saturates = llvm::is_contained(words, "sat") ||
                   llvm::is_contained(words, "relu") ||
                   llvm::is_contained(words, "satfinite");
  if (saturates)
    return nullptr;
  if (op == "ex2")
    return unary(Intrinsic::exp2);
  if (op == "lg2")
    return unary(Intrinsic::log2);
  if (op == "sin" || op == "cos")
    return unary(op == "sin" ? Intrinsic::sin : Intrinsic::cos);
  if (op == "tanh")
    return unary(Intrinsic::tanh);
  if (op == "fabs")
    return unary(Intrinsic::fabs);
  if (op == "trunc")
    return unary(Intrinsic::trunc);
  if (op == "round")
    return unary(Intrinsic::roundeven);
  if (op == "sqrt" && (nearest || rounding == "f"))
    return unary(Intrinsic::sqrt);
  if (op == "rsqrt")
    return b.CreateFDiv(ConstantFP::get(type, 1.0), unary(Intrinsic::sqrt));
  if (op == "rcp" && nearest)
    return b.CreateFDiv(ConstantFP::get(type, 1.0), arg(0));
  if (op == "div" && nearest)
    return b.CreateFDiv(arg(0), arg(1));
  if (op == "add" && nearest)
    return b.CreateFAdd(arg(0), arg(1));
  if (op == "mul" && nearest)
    return b.CreateFMul(arg(0), arg(1));
  if (op == "fma" && nearest)
    return b.CreateIntrinsic(Intrinsic::fma, {type}, {arg(0), arg(1), arg(2)});
  if ((op == "fmin" || op == "fmax") && !name.contains("nan") &&
      !name.contains("xorsign"))
    return binary(op == "fmin" ? Intrinsic::minnum : Intrinsic::maxnum);
  if (op == "saturate")
    return b.CreateMinNum(b.CreateMaxNum(arg(0), ConstantFP::get(type, 0.0)),
                          ConstantFP::get(type, 1.0));
  if (op == "f2i" || op == "f2ui" || op == "f2ll" || op == "f2ull" || op == "d2i" ||
      op == "d2ui") {
    Intrinsic::ID round = StringSwitch<Intrinsic::ID>(rounding)
                              .Case("rn", Intrinsic::roundeven)
                              .Case("rz", Intrinsic::trunc)
                              .Case("rm", Intrinsic::floor)
                              .Default(Intrinsic::ceil);
    Intrinsic::ID convert =
        op.contains('u') ? Intrinsic::fptoui_sat : Intrinsic::fptosi_sat;
    return b.CreateIntrinsic(convert, {type, arg(0)->getType()}, {unary(round)});
  }
  if (rounding == "rn" && (op == "i2f" || op == "i2d"))
    return b.CreateSIToFP(arg(0), type);
  if (rounding == "rn" && (op == "ui2f" || op == "ui2d"))
    return b.CreateUIToFP(arg(0), type);
  if (rounding == "rn" && (op == "f2bf16" || op == "f2f16"))
    return convertHalf(b, arg(0), type);
  if (rounding == "rn" && (op == "ff2bf16x2" || op == "ff2f16x2")) {
    Type *element = cast<FixedVectorType>(type)->getElementType();
    Value *pair = PoisonValue::get(type); // the first operand is the upper half
    pair = b.CreateInsertElement(pair, convertHalf(b, arg(1), element), uint64_t(0));
    return b.CreateInsertElement(pair, convertHalf(b, arg(0), element), 1);
  }
  return nullptr;
}

/// The operations of kernels/cuda/Intrinsics.h. Loads stay loads, so that they are
/// checked as others are.
Value *Lowering::wrapper(StringRef function) {
  Type *type = call.getType();
  auto load = [&](unsigned bytes) {
    return b.CreateAlignedLoad(type, arg(0), Align(bytes));
  };
  if (function == "thread" || function == "block" || function == "blocks")
    return ask(function == "thread" ? "tid" : function == "block" ? "ctaid" : "nctaid");
  if (function == "barrier")
    return act("barrier_sync", {num(0), num(0)});
  if (function == "warp_barrier")
    return act("bar_warp_sync", {num(~0u)});
  if (function == "group_barrier")
    return act("barrier_sync", {arg(0), num(128)});
  if (bool xors = function == "shuffle_xor"; xors || function == "uniform")
    return emu("shfl_sync", i32,
               {num(xors ? 2 : 3), num(~0u), arg(0), xors ? arg(1) : num(0), num(31),
                ConstantPointerNull::get(b.getPtrTy())});
  if (function == "any")
    return emu("vote_sync", i32, {num(1), num(~0u), widen(flag(arg(0)))});
  if (function == "dp4a")
    return dp4a(false, true);
  if (function == "byte_permute")
    return permute();
  if (function == "exp2") {
    Value *power = unary(Intrinsic::exp2);
    Value *subnormal = b.CreateFCmpOLT(power, ConstantFP::get(type, 0x1p-126));
    return b.CreateSelect(subnormal, ConstantFP::get(type, 0.0), power);
  }
  if (function == "mma32" || function == "mma16" || function == "mma_half") {
    int kind = function == "mma16" ? 0 : function == "mma32" ? 1 : 2;
    return onMemory("mma", {num(kind), inMemory(arg(0)), inMemory(arg(1))}, arg(2));
  }
  if (function == "wgmma")
    return act("wgmma", {arg(0), arg(1), inMemory(arg(2)),
                         b.CreateIntToPtr(arg(3), b.getPtrTy()), site("wgmma", 4)});
  if (function == "wgmma_descriptor")
    return b.CreatePtrToInt(plainPointer(b, arg(0)), b.getInt64Ty());
  if (function == "wgmma_columns")
    return b.CreateAdd(arg(0), b.CreateZExt(b.CreateMul(arg(1), num(2)), type));
  if (function == "wgmma_fence")
    return nothing();
  if (function == "wgmma_commit" || function == "wgmma_wait" ||
      function == "await_count")
    return act(function, SmallVector<Value *>(call.args()));
  if (function == "pin")
    return arg(0);
  if (function == "count")
    return emu("count", i32, {arg(0)});
  if (function == "half_fma" || function == "half_pair")
    return halfPair(b, SmallVector<Value *>(call.args()));
  if (function == "load_matrices")
    return onMemory("ldmatrix", {arg(0)}, PoisonValue::get(type),
                    {site("ldmatrix", 16)});
  if (function == "reciprocal")
    return b.CreateFDiv(ConstantFP::get(type, 1.0), arg(0));
  if (function == "stream16" || function == "load16_l2")
    return load(16);
  if (function == "stream8" || function == "stream4")
    return load(function == "stream8" ? 8 : 4);
  if (function == "cluster_rank")
    return emu("cluster_rank", i32, {arg(0)});
  if (function == "cluster_arrive")
    return act("cluster_arrive", {arg(0)});
  if (function == "cluster_wait")
    return act("cluster_wait", {});
  if (function == "cluster_store")
    return actAt("cluster_store", {arg(0), arg(1), arg(2)}, "cluster store", 4);
  if (function == "cluster_load")
    return emu("cluster_load", type, {arg(0), arg(1), site("cluster load", 4)});
  if (function == "cluster_mbarrier_arrive")
    return actAt("cluster_mbarrier_arrive", {arg(0), arg(1)}, "mbarrier arrival", 8);
  if (function == "bulk_copy_pair")
    return actAt("bulk_load_pair", {arg(0), arg(1), arg(2), arg(3)}, "bulk copy");
  if (function == "launch_dependents")
    return act("griddep_launch", {});
  if (function == "wait_prior_grids")
    return act("griddep_wait", {});
  if (bool one = function == "mbarrier_init"; one || function == "mbarrier_init_count")
    return actAt("mbarrier_init", {arg(0), one ? num(1) : arg(1)}, "mbarrier.init", 8);
  if (function == "mbarrier_arrive")
    return arriveAt(num(1), num(0), false);
  if (function == "mbarrier_fence" || function == "proxy_fence")
    return act(function, {});
  if (function == "mbarrier_expect")
    return arriveAt(num(1), arg(1), false);
  if (function == "mbarrier_wait" || function == "mbarrier_poll")
    return waitAt("mbarrier_try_wait_parity");
  if (function == "evict_first")
    return b.getInt64(0);
  if (function == "bulk_copy" || function == "bulk_copy_hint")
    return actAt("bulk_load", {arg(0), arg(1), arg(2), arg(3)}, "bulk copy");
  if (function == "async_copy16")
    return actAt("cp_async", {arg(0), arg(1), num(16), num(16)}, "cp.async", 16);
  if (function == "async_commit")
    return act("cp_async_commit", {});
  if (function == "async_wait")
    return act("cp_async_wait", {arg(0)});
  return nullptr;
}

Value *Lowering::lower() {
  if (StringRef function = name; function.consume_front("ql_ptx_"))
    return wrapper(function);
  if (StringRef reg = name; reg.consume_front("read.ptx.sreg."))
    return specialRegister(reg);
  if (name.starts_with("fence.mbarrier"))
    return act("mbarrier_fence", {});
  if (name.starts_with("setmaxnreg"))
    return nothing();
  if (name.starts_with("fence.proxy.async"))
    return act("proxy_fence", {});
  // Fences order atomics, which order nothing else here.
  if (name.starts_with("membar") || name.starts_with("fence") || name == "nanosleep")
    return nothing();
  if (name == "griddepcontrol.launch.dependents")
    return act("griddep_launch", {});
  if (name == "griddepcontrol.wait")
    return act("griddep_wait", {});
  for (auto lowering : {&Lowering::barrier, &Lowering::mbarrier, &Lowering::copy,
                        &Lowering::warp, &Lowering::integers, &Lowering::floats})
    if (Value *v = (this->*lowering)())
      return v;
  return nullptr;
}

Error lowerIntrinsic(CallInst &call) {
  Function *callee = call.getCalledFunction();
  StringRef name = callee->getName();
  if (callee->isIntrinsic())
    name = Intrinsic::getBaseName(callee->getIntrinsicID());
  name.consume_front("llvm.nvvm.");
  Lowering lowering(call, name);
  Value *result = lowering.lower();
  if (!result)
    return createStringError(
        "function %s: %s has no counterpart on the emulated device; add one to "
        "EmulatedIntrinsics.cpp, or leave it out of code that is to be emulated",
        call.getFunction()->getName().str().c_str(), callee->getName().str().c_str());
  if (!call.getType()->isVoidTy())
    call.replaceAllUsesWith(result);
  call.eraseFromParent();
  return Error::success();
}

} // namespace qlinear
