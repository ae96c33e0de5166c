//===- Llm.td - A model's own dialect, downstream of QLinear -*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLM_TD
#define LLM_TD

include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Pass/PassBase.td"
include "qlinear/Dialect/QLinearTypes.td"

def LlmDialect : Dialect {
  let name = "llm";
  let cppNamespace = "::llm";
  let dependentDialects = ["::mlir::qlinear::QLinearDialect"];
}

def Llm_RmsNormOp : Op<LlmDialect, "rms_norm", [Pure, SameOperandsAndResultType]> {
  let summary = "x / sqrt(mean(x^2)), per row: for other passes than ours";
  let arguments = (ins 2DTensorOf<[F32]>:$x);
  let results = (outs 2DTensorOf<[F32]>:$result);
  let assemblyFormat = "$x attr-dict `:` type($x)";
}

def Llm_GatedOp : Op<LlmDialect, "gated", [Pure]> {
  let summary = "max(x gate^T, 0) * (x up^T)";
  let arguments = (ins 2DTensorOf<[F32]>:$x, QLinear_WeightType:$gate,
                       QLinear_WeightType:$up);
  let results = (outs 2DTensorOf<[F32]>:$result);
  let assemblyFormat = [{
    $x `,` $gate `,` $up attr-dict `:` functional-type(operands, results)
  }];
}

def LowerGated : Pass<"llm-lower-gated"> {
  let summary = "llm.gated to one qlinear.linear with an epilogue";
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::qlinear::QLinearDialect"];
}

#endif
