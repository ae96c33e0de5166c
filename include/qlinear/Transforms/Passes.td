//===- Passes.td - Passes from qlinear to qlinear ----------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TRANSFORMS_PASSES_TD
#define QLINEAR_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def ToReference : Pass<"qlinear-to-reference"> {
  let summary = "write out the meaning of the qlinear operations in linalg";
  let description = [{
    Lowers `qlinear.linear`, `dequantize` and `quantize_activations` to plain
    `linalg`, `tensor`, `arith` and `math`, which upstream's passes lower further.
    This is what every other lowering is tested against, so it follows the
    definitions literally and does nothing for speed:

    - a weight is decoded from its components, code by code;
    - a linear is a matrix product with the decoded weight, accumulated in
      `accumulate`; then its epilogue, with the products rounded to f32; then
      each result rounded to its element type;
    - activations are quantized in f32, per 32 columns, as
      `qlinear.quantize_activations` says.

    A weight must come from `qlinear.pack`, directly or through
    `qlinear.reencode` of constants: what lies in an archive is not there to be
    decoded. Values of `qlinear` types may not cross functions.

    ```mlir
    %y = qlinear.linear %x, %w : (tensor<?x64xf32>, !qlinear.weight<8x64, #q4>)
                                 -> tensor<?x8xf32>
    // becomes
    %d = linalg.generic ... ins(%codes, ...) outs(... : tensor<8x64xf64>)
    %e = linalg.generic ... ins(%x, ...) { arith.extf : f32 to f64 }
    %p = linalg.matmul ... ins(%e, %d ...) outs(... : tensor<?x8xf64>)
    %y = linalg.generic ... ins(%p ...) { arith.truncf : f64 to f32 }
    ```
  }];
  let options = [
    Option<"accumulate", "accumulate", "std::string", "\"f64\"",
           "Type of the products and sums: f64 or f32">,
    Option<"int8", "int8", "bool", "false",
           "Quantize float activations of a linear to int8 per 32 columns, as "
           "the kernels do">];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect",
                           "::mlir::tensor::TensorDialect"];
}

#endif
