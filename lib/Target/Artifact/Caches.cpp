//===- Caches.cpp - Arguments that a function writes ----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Caches.h"

#include "qlinear/Dialect/QLinear.h"

using namespace mlir;
using mlir::qlinear::cacheBefore;
using mlir::qlinear::cachesOf;

namespace qlinear {

bool isCache(BlockArgument argument) {
  return llvm::any_of(argument.getUses(), [](OpOperand &use) {
    return llvm::is_contained(cachesOf(use.getOwner()), use.get());
  });
}

BlockArgument updatedCache(Value value) {
  Value before = cacheBefore(value);
  if (!before)
    return {};
  while (Value earlier = cacheBefore(before))
    before = earlier;
  return dyn_cast<BlockArgument>(before);
}

LogicalResult checkCaches(func::FuncOp function) {
  for (Operation &op : function.getBody().front()) {
    OperandRange caches = cachesOf(&op);
    size_t first = op.getNumResults() - caches.size();
    for (auto [index, cache] : llvm::enumerate(caches)) {
      auto wrong = [&](StringRef why) {
        return op.emitError("cache ")
               << index << " in function '" << function.getName() << "' " << why;
      };
      if (!isa<BlockArgument>(cache) && !updatedCache(cache))
        return wrong("is not an argument of the function; a compiled function writes "
                     "caches where they lie, so pass it");
      if (!cache.hasOneUse())
        return wrong("is read elsewhere, too, and is written where it lies; use what "
                     "it becomes instead");
      Value after = op.getResult(unsigned(first + index));
      if (!after.hasOneUse() ||
          (!after.getUses().begin()->getOwner()->hasTrait<OpTrait::IsTerminator>() &&
           !llvm::is_contained(cachesOf(*after.getUsers().begin()), after)))
        return wrong("becomes a value that the function does not return once and use "
                     "for nothing else; return it, since the argument is written in "
                     "place");
    }
  }
  return success();
}

} // namespace qlinear
