//===- AdoptFunctions.cpp - Functions of other dialects -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlir::qlinear {
#define GEN_PASS_DEF_ADOPTFUNCTIONS
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

/// The builtin type that all uses of an argument convert it to, and those uses; null if
/// there is another use.
static Type convertedType(BlockArgument argument) {
  Type type;
  for (Operation *user : argument.getUsers()) {
    if (user->getName().getStringRef() != "torch_c.to_builtin_tensor" ||
        (type && user->getResult(0).getType() != type))
      return {};
    type = user->getResult(0).getType();
  }
  return type;
}

namespace {
struct AdoptFunctionsPass
    : mlir::qlinear::impl::AdoptFunctionsBase<AdoptFunctionsPass> {
  void runOnOperation() override {
    for (Operation &op : llvm::make_early_inc_range(*getOperation().getBody()))
      if (op.getName().getStringRef() == "util.func")
        adopt(&op);
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isDeclaration() && llvm::hasSingleElement(function.getBody()))
        convertSignature(function);
  }

private:
  /// IREE's util.func, in generic form if that dialect is not linked.
  void adopt(Operation *op) {
    auto name = op->getAttrOfType<StringAttr>("sym_name");
    auto type = op->getAttrOfType<TypeAttr>("function_type");
    auto functionType = type ? dyn_cast<FunctionType>(type.getValue()) : nullptr;
    if (!name || !functionType || op->getNumRegions() != 1 ||
        !llvm::hasSingleElement(op->getRegion(0)))
      return;
    Operation *end = &op->getRegion(0).front().back();
    if (end->getName().getStringRef() != "util.return")
      return;
    OpBuilder b(op);
    auto function = func::FuncOp::create(b, op->getLoc(), name, functionType);
    if (auto visibility = op->getAttrOfType<StringAttr>("sym_visibility");
        visibility && visibility != "public")
      function.setSymVisibilityAttr(visibility);
    function.getBody().takeBody(op->getRegion(0));
    b.setInsertionPoint(end);
    func::ReturnOp::create(b, end->getLoc(), end->getOperands());
    end->erase();
    op->erase();
  }

  /// !torch.vtensor becomes the builtin tensor that it is converted to or from.
  void convertSignature(func::FuncOp function) {
    SmallVector<Type> inputs(function.getArgumentTypes()),
        results(function.getResultTypes());
    for (BlockArgument argument : function.getArguments()) {
      Type type = convertedType(argument);
      if (!type)
        continue;
      inputs[argument.getArgNumber()] = type;
      argument.setType(type);
      for (Operation *user : llvm::make_early_inc_range(argument.getUsers())) {
        user->getResult(0).replaceAllUsesWith(argument);
        user->erase();
      }
    }
    for (OpOperand &operand :
         function.getBody().front().getTerminator()->getOpOperands()) {
      Operation *def = operand.get().getDefiningOp();
      if (!def || def->getName().getStringRef() != "torch_c.from_builtin_tensor" ||
          !operand.get().hasOneUse())
        continue;
      operand.set(def->getOperand(0));
      results[operand.getOperandNumber()] = operand.get().getType();
      def->erase();
    }
    function.setType(FunctionType::get(&getContext(), inputs, results));
  }
};
} // namespace
