//===- Split.cpp - Several linears instead of one -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Transforms/Split.h"

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlir::qlinear;

/// The operations of the epilogue that compute these results, in order.
static llvm::SetVector<Operation *> epilogueOf(LinearOp op,
                                               ArrayRef<unsigned> results) {
  llvm::SetVector<Operation *> slice;
  BackwardSliceOptions options;
  options.inclusive = true;
  for (unsigned result : results)
    (void)getBackwardSlice(op.getBody().getTerminator()->getOperand(result), &slice,
                           options);
  return topologicalSort(slice);
}

/// The arguments of the epilogue that some of the elements are computed from.
static llvm::SmallBitVector argumentsOf(LinearOp op, ArrayRef<unsigned> results) {
  llvm::SmallBitVector used(op.getBody().getNumArguments());
  auto add = [&](Value value) {
    if (auto argument = dyn_cast<BlockArgument>(value))
      used.set(argument.getArgNumber());
  };
  for (unsigned result : results)
    add(op.getBody().getTerminator()->getOperand(result));
  for (Operation *inner : epilogueOf(op, results))
    llvm::for_each(inner->getOperands(), add);
  return used;
}

SmallVector<SmallVector<unsigned>> mlir::qlinear::getIndependentResults(LinearOp op) {
  SmallVector<SmallVector<unsigned>> groups;
  if (!op.hasEpilogue()) {
    for (unsigned i = 0; i < op.getNumResults(); ++i)
      groups.push_back({i});
    return groups;
  }
  unsigned weights = op.getWeights().size();
  llvm::EquivalenceClasses<unsigned> together;
  SmallVector<unsigned> firstWeight; // of each result
  for (unsigned i = 0; i < op.getNumResults(); ++i) {
    llvm::SmallBitVector used = argumentsOf(op, {i});
    used.resize(weights);
    // An element that is computed from no product goes with the first.
    unsigned first = used.none() ? 0 : unsigned(used.find_first());
    firstWeight.push_back(first);
    together.insert(first);
    for (unsigned weight : used.set_bits())
      together.unionSets(first, weight);
  }
  llvm::MapVector<unsigned, SmallVector<unsigned>> byLeader;
  for (auto [result, weight] : llvm::enumerate(firstWeight))
    byLeader[together.getLeaderValue(weight)].push_back(unsigned(result));
  for (auto &[leader, results] : byLeader)
    groups.push_back(results);
  return groups;
}

SmallVector<SmallVector<unsigned>>
mlir::qlinear::divideResults(ArrayRef<SmallVector<unsigned>> groups, size_t parts) {
  SmallVector<SmallVector<unsigned>> divided(parts);
  for (auto [index, group] : llvm::enumerate(groups))
    llvm::append_range(divided[index * parts / groups.size()], group);
  for (SmallVector<unsigned> &results : divided)
    llvm::sort(results);
  return divided;
}

LinearOp mlir::qlinear::createPart(OpBuilder &builder, LinearOp op,
                                   ArrayRef<unsigned> results) {
  OpBuilder::InsertionGuard guard(builder);
  size_t count = op.getWeights().size();
  llvm::SmallBitVector used;
  if (op.hasEpilogue()) {
    used = argumentsOf(op, results);
    if (llvm::SmallBitVector products = used; (products.resize(count), products.none()))
      used.set(0); // a linear has a weight
  } else {
    used.resize(count);
    for (unsigned result : results)
      used.set(result);
  }
  SmallVector<Value> weights, extras, outs;
  for (unsigned index : used.set_bits())
    if (index < count)
      weights.push_back(op.getWeights()[index]);
    else
      extras.push_back(op.getExtras()[index - count]);
  SmallVector<Type> types;
  for (unsigned result : results) {
    types.push_back(op.getResultTypes()[result]);
    if (!op.getOuts().empty())
      outs.push_back(op.getOuts()[result]);
  }
  auto part = LinearOp::create(builder, op.getLoc(), types, op.getX(), weights, extras,
                               outs, op);
  if (!op.hasEpilogue())
    return part;
  Block &block = part.getEpilogue().emplaceBlock();
  IRMapping map;
  for (unsigned index : used.set_bits()) {
    BlockArgument argument = op.getBody().getArgument(index);
    map.map(argument, block.addArgument(argument.getType(), argument.getLoc()));
  }
  builder.setInsertionPointToEnd(&block);
  for (Operation *inner : epilogueOf(op, results))
    builder.clone(*inner, map);
  SmallVector<Value> elements;
  for (unsigned result : results)
    elements.push_back(map.lookup(op.getBody().getTerminator()->getOperand(result)));
  YieldOp::create(builder, op.getLoc(), elements);
  return part;
}

SmallVector<LinearOp> mlir::qlinear::splitUntil(RewriterBase &rewriter, LinearOp op,
                                                function_ref<bool(LinearOp)> takes) {
  if (takes(op))
    return {op};
  SmallVector<SmallVector<unsigned>> groups = getIndependentResults(op);
  rewriter.setInsertionPoint(op);
  for (size_t count = 2; count <= groups.size(); ++count) {
    SmallVector<SmallVector<unsigned>> divided = divideResults(groups, count);
    SmallVector<LinearOp> parts;
    for (ArrayRef<unsigned> results : divided)
      parts.push_back(createPart(rewriter, op, results));
    if (!llvm::all_of(parts, takes)) {
      for (LinearOp part : parts)
        rewriter.eraseOp(part);
      continue;
    }
    SmallVector<Value> values(op->getNumResults());
    for (auto [part, results] : llvm::zip_equal(parts, divided))
      for (auto [own, result] : llvm::enumerate(results))
        values[result] = part.getResult(own);
    rewriter.replaceOp(op, values);
    return parts;
  }
  return {op};
}
