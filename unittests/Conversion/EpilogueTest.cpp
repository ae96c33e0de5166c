//===- EpilogueTest.cpp - Epilogues on products of any shape --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "../../lib/Conversion/Epilogue.h"
#include "Parse.h"

#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::qlinear;

namespace {

constexpr const char *kModule = R"mlir(
#q = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
!w = !qlinear.weight<16x64, #q>
func.func @f(%x: tensor<4x64xf32>, %w: !w, %b: tensor<16xbf16>) -> tensor<4x16xbf16> {
  %y = qlinear.linear %x, %w extras(%b) : (tensor<4x64xf32>, !w, tensor<16xbf16>)
      -> tensor<4x16xbf16> {
  ^bb0(%p: f32, %e: bf16):
    %c = arith.constant 2.0 : f32
    %0 = arith.extf %e : bf16 to f32
    %1 = arith.addf %p, %0 : f32
    %2 = arith.cmpf ogt, %1, %c : f32
    %3 = arith.select %2, %c, %1 : f32
    %4 = arith.truncf %3 : f32 to bf16
    qlinear.yield %4 : bf16
  }
  return %y : tensor<4x16xbf16>
}
)mlir";

/// The epilogue on a product of `type`: the operations it makes, and their types.
std::string emitted(Parser &parser, Type type, Type &result) {
  OwningOpRef<ModuleOp> module = parser.parse(kModule);
  LinearOp linear;
  module->walk([&](LinearOp op) { linear = op; });
  Block block;
  Location loc = linear.getLoc();
  Value product = block.addArgument(type, loc);
  Value extra = block.addArgument(vectorLike(BFloat16Type::get(&parser.context), type),
                                  loc);
  OpBuilder b(&parser.context);
  b.setInsertionPointToStart(&block);
  SmallVector<Value> values = emitEpilogue(b, linear, {product}, [&](unsigned i) {
    EXPECT_EQ(i, 0u);
    return extra;
  });
  EXPECT_EQ(values.size(), 1u);
  result = values.front().getType();
  std::string text;
  llvm::raw_string_ostream out(text);
  for (Operation &op : block)
    out << op.getName() << ' ' << op.getResult(0).getType() << '\n';
  block.clear(); // values of a block that is in no region
  return text;
}

TEST(Epilogue, ScalarsStayAsTheyAre) {
  Parser parser;
  Type result;
  std::string text = emitted(parser, Float32Type::get(&parser.context), result);
  EXPECT_TRUE(result.isBF16());
  EXPECT_NE(text.find("arith.extf"), std::string::npos) << text;
  EXPECT_NE(text.find("arith.truncf"), std::string::npos) << text;
  EXPECT_EQ(text.find("vector<"), std::string::npos) << text;
}

// A fragment of a matrix product: any shape, narrow floats as f32.
TEST(Epilogue, Fragments) {
  Parser parser;
  for (const SmallVector<int64_t> &shape :
       {SmallVector<int64_t>{4}, SmallVector<int64_t>{2, 8}}) {
    auto type = VectorType::get(shape, Float32Type::get(&parser.context));
    Type result;
    std::string text = emitted(parser, type, result);
    EXPECT_EQ(result, type);
    EXPECT_EQ(text.find("bf16"), std::string::npos) << text;
    EXPECT_NE(text.find("arith.select"), std::string::npos) << text;
    auto mask = VectorType::get(shape, IntegerType::get(&parser.context, 1));
    std::string spelled;
    llvm::raw_string_ostream(spelled) << mask;
    EXPECT_NE(text.find(spelled), std::string::npos) << text;
  }
}

} // namespace
