//===- llm-opt.cpp - A driver downstream of QLinear -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A dialect of one's own, a pass from it into `qlinear`, and an opt that has both
// and the passes of QLinear. Only the installed package is used.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

#include "LlmDialect.h.inc"
#define GET_OP_CLASSES
#include "LlmOps.h.inc"

#include "LlmDialect.cpp.inc"
#define GET_OP_CLASSES
#include "LlmOps.cpp.inc"

void llm::LlmDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "LlmOps.cpp.inc"
      >();
}

namespace llm {
#define GEN_PASS_DEF_LOWERGATED
#define GEN_PASS_REGISTRATION
#include "LlmPasses.h.inc"

namespace {
using namespace mlir;

struct LowerGated : impl::LowerGatedBase<LowerGated> {
  void runOnOperation() override {
    getOperation()->walk([](GatedOp op) {
      OpBuilder builder(op);
      Location loc = op.getLoc();
      auto linear = mlir::qlinear::LinearOp::create(
          builder, loc, TypeRange(op.getType()), op.getX(),
          ValueRange{op.getGate(), op.getUp()});

      // Both products are f32 scalars here: the rest stays in registers.
      Type f32 = builder.getF32Type();
      Block *body = builder.createBlock(&linear.getEpilogue(), {}, {f32, f32}, {loc, loc});
      Value zero = arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(0));
      Value relu = arith::MaximumFOp::create(builder, loc, body->getArgument(0), zero);
      Value product = arith::MulFOp::create(builder, loc, relu, body->getArgument(1));
      mlir::qlinear::YieldOp::create(builder, loc, product);

      op.getResult().replaceAllUsesWith(linear.getResult(0));
      op.erase();
    });
  }
};
} // namespace
} // namespace llm

int main(int argc, char **argv) {
  mlir::registerTransformsPasses();
  mlir::qlinear::registerQLinearPasses();
  llm::registerLlmPasses();

  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlir::qlinear::QLinearDialect, llm::LlmDialect>();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "downstream of QLinear\n", registry));
}
