//===- GpuSkeleton.cpp - What generated GPU kernels are made of -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "GpuSkeleton.h"
#include "Epilogue.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace qlinear {

layout::Float elementOf(Type type) {
  return type.isF32() ? layout::kF32 : type.isF16() ? layout::kF16 : layout::kBF16;
}

Value GpuSkeleton::call(StringRef name, Type result, ValueRange args) {
  auto module =
      b.getInsertionBlock()->getParentOp()->getParentOfType<gpu::GPUModuleOp>();
  if (!module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    auto type = LLVM::LLVMFunctionType::get(
        result ? result : LLVM::LLVMVoidType::get(b.getContext()),
        llvm::to_vector(args.getTypes()));
    LLVM::LLVMFuncOp::create(b, loc, name, type);
  }
  auto op = LLVM::CallOp::create(b, loc, result ? TypeRange(result) : TypeRange(),
                                 FlatSymbolRefAttr::get(b.getContext(), name), args);
  return result ? op.getResult() : Value();
}

Value GpuSkeleton::shared(int64_t offset) {
  constexpr StringLiteral name = "qlinear_shared";
  auto module =
      b.getInsertionBlock()->getParentOp()->getParentOfType<gpu::GPUModuleOp>();
  if (!module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    LLVM::GlobalOp::create(b, loc, LLVM::LLVMArrayType::get(b.getI8Type(), 0),
                           /*isConstant=*/false, LLVM::Linkage::External, name,
                           Attribute(), layout::kLine, kShared);
  }
  Value base = LLVM::AddressOfOp::create(b, loc, sharedPtr, name);
  return LLVM::GEPOp::create(b, loc, sharedPtr, b.getI8Type(), base,
                             ArrayRef<LLVM::GEPArg>{int32_t(offset)});
}

Value GpuSkeleton::element(Value base, Value index, Type type) {
  return LLVM::GEPOp::create(b, loc, ptr, type, base, ArrayRef<LLVM::GEPArg>{index});
}

gpu::GPUFuncOp GpuSkeleton::open(StringRef name, const KernelArgs &args,
                                 int64_t threads, int minBlocks) {
  SmallVector<Type> types(args.count, ptr);
  types.push_back(i32);
  auto f = gpu::GPUFuncOp::create(b, loc, name, b.getFunctionType(types, {}));
  f->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
  f.setKnownBlockSizeAttr(b.getDenseI32ArrayAttr({int32_t(threads), 1, 1}));
  f->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(), b.getI32IntegerAttr(minBlocks));
  b.setInsertionPointToStart(&f.getBody().front());
  thread = call("ql_ptx_thread", i32, {});
  rows = f.getArguments().back();
  if (args.count)
    temporary = f.getArgument(args.count - 1);
  for (unsigned number : args.own)
    pointers.push_back(f.getArgument(number));
  if (args.x)
    pointers[args.x->index] = inTemporary(args.x->offset);
  return f;
}

void GpuSkeleton::close(gpu::GPUFuncOp f) {
  b.setInsertionPointToEnd(&f.getBody().front());
  gpu::ReturnOp::create(b, loc);
}

void GpuSkeleton::awaitPrior(bool pdl) {
  if (!pdl)
    return;
  call("ql_ptx_launch_dependents", {});
  call("ql_ptx_wait_prior_grids", {});
}

Value GpuSkeleton::indexOf(const KernelSegment &segment, Value n, Value m) {
  Value row = arith::MulIOp::create(b, loc, arith::ExtUIOp::create(b, loc, i64, m),
                                    constant64(segment.N));
  return arith::AddIOp::create(b, loc, arith::ExtUIOp::create(b, loc, i64, n), row);
}

SmallVector<Value> GpuSkeleton::valuesOf(LinearOp op, const KernelSegment &segment,
                                         SmallVector<Value> products, Value n,
                                         Value m) {
  unsigned firstExtra = unsigned(op.getWeights().size()) + 1;
  Value n64 = arith::ExtUIOp::create(b, loc, i64, n), at = indexOf(segment, n, m);
  if (!op.hasEpilogue())
    products = {products[segment.walks.front().weights.front()]};
  SmallVector<Value> values = emitEpilogue(b, op, products, [&](unsigned i) -> Value {
    auto type = cast<RankedTensorType>(op.getExtras()[i].getType());
    Value index = isOneElement(type) ? constant64(0) : type.getRank() == 1 ? n64 : at;
    Value address = element(pointers[firstExtra + i], index, type.getElementType());
    return LLVM::LoadOp::create(b, loc, type.getElementType(), address);
  });
  for (auto [result, value] : llvm::zip(segment.results, values)) {
    Type type = cast<RankedTensorType>(op.getResult(result).getType()).getElementType();
    if (value.getType() != type)
      value = arith::TruncFOp::create(b, loc, type, value);
  }
  return values;
}

void GpuSkeleton::finish(LinearOp op, const KernelSegment &segment,
                         SmallVector<Value> products, Value n, Value m) {
  if (segment.N % layout::kTileRows) {
    Value inside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, n,
                                         constant(segment.N));
    auto guard = scf::IfOp::create(b, loc, inside, /*withElseRegion=*/false);
    b.setInsertionPointToStart(guard.thenBlock());
  }
  SmallVector<Value> values = valuesOf(op, segment, std::move(products), n, m);
  Value at = indexOf(segment, n, m);
  for (auto [result, value] : llvm::zip(segment.results, values))
    LLVM::StoreOp::create(b, loc, value,
                          element(resultOf(op, result), at, value.getType()));
}

} // namespace qlinear
