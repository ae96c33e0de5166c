//===- NormTail.cpp - Elementwise operations behind a norm ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   n = norm x {f};  z = g(n, b, c)     g elementwise; b: K, c: M x K
//   -> z = norm x extras(b, c) {g . f}
//
// where nothing else reads n. What is computed of vectors alone (1 + scale) is computed
// in the epilogue, too.
//
//===----------------------------------------------------------------------===//
#include "Tail.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::qlinear;

static bool isFloat(Type type) {
  Type element = getElementTypeOrSelf(type);
  return element.isF32() || element.isF16() || element.isBF16();
}

/// The operation that computes a vector element by element; null if it is read as it
/// is.
static Operation *vectorMaker(Value tensor) {
  Operation *def = tensor.getDefiningOp();
  auto type = dyn_cast<RankedTensorType>(tensor.getType());
  if (!def || !type || type.getRank() != 1 || def->getNumResults() != 1)
    return nullptr;
  if (OpTrait::hasElementwiseMappableTraits(def) && isPure(def))
    return def;
  auto op = dyn_cast<linalg::LinalgOp>(def);
  bool isVector =
      op && op.getNumLoops() == 1 && op.getNumParallelLoops() == 1 &&
      op.hasPureTensorSemantics() && !isa<linalg::FillOp>(def) &&
      llvm::all_of(op.getIndexingMapsArray(),
                   [](AffineMap map) { return map.isIdentity(); }) &&
      !op.payloadUsesValueFromOperand(op.getDpsInitOperand(0)) &&
      llvm::all_of(op.getBlock()->without_terminator(), [](Operation &inner) {
        return isPure(&inner) && inner.getNumRegions() == 0;
      });
  return isVector ? def : nullptr;
}

/// Collects the tensors that `tensor` is read from, before `norm`; false if it cannot
/// be.
static bool collect(NormOp norm, Value tensor, DominanceInfo &dominance,
                    llvm::SetVector<Value> &extras) {
  if (Operation *maker = vectorMaker(tensor))
    return llvm::all_of(inputsOf(maker), [&](Value input) {
      return sourceOf(input).constant || collect(norm, input, dominance, extras);
    });
  auto type = dyn_cast<RankedTensorType>(tensor.getType());
  auto rows = cast<RankedTensorType>(norm->getResult(0).getType());
  bool perColumn = type && type.getRank() == 1 && type.getDimSize(0) == norm.getK();
  if (!type || (!perColumn && type.getShape() != rows.getShape()) || !isFloat(type) ||
      !hoistBefore(tensor, norm, dominance, /*move=*/false))
    return false;
  extras.insert(tensor);
  return true;
}

NormOp mlir::qlinear::fuseIntoNorm(IRRewriter &rewriter, NormOp norm,
                                   DominanceInfo &dominance) {
  if (!norm.hasTensorSemantics() || norm->getNumResults() != 1 ||
      !norm.getOuts().empty())
    return nullptr;
  Value result = norm->getResult(0);
  if (!result.hasOneUse())
    return nullptr;
  Operation *user = *result.user_begin();
  if (user->getBlock() != norm->getBlock() || user->getNumResults() != 1 ||
      !whyNotElementwise(user).empty() || !isFloat(user->getResult(0).getType()) ||
      cast<RankedTensorType>(user->getResult(0).getType()).getShape() !=
          cast<RankedTensorType>(result.getType()).getShape())
    return nullptr;
  llvm::SetVector<Value> extras(norm.getExtras().begin(), norm.getExtras().end());
  for (Value input : inputsOf(user)) {
    ScalarSource source = sourceOf(input);
    if (!source.constant && input != result &&
        !collect(norm, source.tensor, dominance, extras))
      return nullptr;
  }
  for (Value extra : extras)
    hoistBefore(extra, norm, dominance, /*move=*/true);

  rewriter.setInsertionPoint(norm);
  Location loc = rewriter.getFusedLoc({norm.getLoc(), user->getLoc()});
  auto fused = NormOp::create(rewriter, loc, user->getResultTypes(), norm.getKind(),
                              norm.getInputs(), extras.getArrayRef(), ValueRange(),
                              norm.getEpsilon());
  fused->setDiscardableAttrs(norm->getDiscardableAttrDictionary());
  Block &body = fused.getEpilogue().emplaceBlock();
  for (unsigned i = 0; i < norm.getNumComputed(); ++i)
    body.addArgument(rewriter.getF32Type(), loc);
  for (Value extra : extras)
    body.addArgument(getElementTypeOrSelf(extra.getType()), loc);
  rewriter.setInsertionPointToEnd(&body);
  IRMapping scalars;
  if (norm.hasEpilogue()) {
    IRMapping map;
    map.map(norm.getBody().getArguments(),
            body.getArguments().take_front(norm.getBody().getNumArguments()));
    for (Operation &op : norm.getBody().without_terminator())
      rewriter.clone(op, map);
    scalars.map(result,
                map.lookupOrDefault(norm.getBody().getTerminator()->getOperand(0)));
  } else {
    Value n = body.getArgument(0);
    Type element = getElementTypeOrSelf(result.getType());
    scalars.map(result, element.isF32()
                            ? n
                            : arith::TruncFOp::create(rewriter, loc, element, n));
  }
  auto elements = body.getArguments().drop_front(norm.getNumComputed());
  auto elementOf = [&](Value tensor, auto elementOf) -> Value {
    if (Value known = scalars.lookupOrNull(tensor))
      return known;
    if (TypedAttr constant = sourceOf(tensor).constant)
      return arith::ConstantOp::create(rewriter, loc, constant);
    if (Operation *maker = vectorMaker(tensor)) {
      SmallVector<Value> inputs;
      for (Value input : inputsOf(maker))
        inputs.push_back(elementOf(input, elementOf));
      emitScalars(rewriter, maker, inputs, scalars);
      return scalars.lookup(tensor);
    }
    return elements[llvm::find(extras, tensor) - extras.begin()];
  };
  SmallVector<Value> inputs;
  for (Value input : inputsOf(user)) {
    ScalarSource source = sourceOf(input);
    inputs.push_back(elementOf(
        source.constant || input == result ? input : source.tensor, elementOf));
  }
  emitScalars(rewriter, user, inputs, scalars);
  YieldOp::create(rewriter, loc, ValueRange{scalars.lookup(user->getResult(0))});
  rewriter.replaceOp(user, fused);
  rewriter.eraseOp(norm);
  return fused;
}
