//===- QLinearEmbeddingOp.td - Rows of weights -------------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEAREMBEDDINGOP_TD
#define QLINEAR_DIALECT_QLINEAREMBEDDINGOP_TD

include "qlinear/Dialect/QLinearOpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"

def QLinear_EmbeddingOp : QLinear_ComputeOp<"embedding", [
    DeclareOpInterfaceMethods<QLinear_KernelOpInterface>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>]> {
  let summary = "rows of a quantized weight";
  let description = [{
    Row m of the result is row `indices[m, 0]` of the weight, N x K: the values that
    `qlinear.dequantize` gives, computed in f32 and rounded to the element type of the
    result. An index below 0 or from N on gives a row of NaNs.

    So a model whose embedding is tied to its head has the weight once, packed.

    Constraints:

  }] # formConstraints # [{
    - (C5) `indices` are M x 1.
    - (C6) The result (or `out`) has M rows, and as many columns as the weight.

    Example:

    ```mlir
    %x = qlinear.embedding %tokens of %w
        : (tensor<?x1xi32>, !qlinear.weight<512x64, #q4>) -> tensor<?x64xbf16>

    // After bufferization.
    qlinear.embedding %places of %w outs(%rows)
        : (memref<?x1xi32>, !qlinear.weight<512x64, #q4>, memref<?x64xbf16>) -> ()
    ```
  }];
  let arguments = (ins QLinear_Places:$indices, QLinear_WeightType:$weight,
                       Optional<QLinear_Rows>:$out);
  let results = (outs Optional<QLinear_RowsTensor>:$result);
  let assemblyFormat = [{
    $indices `of` $weight (`outs` `(` $out^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = computeDeclarations # [{
    ::mlir::OperandRange getOuts() { return getODSOperands(2); }
    ::mlir::MutableOperandRange getOutsMutable() { return getOutMutable(); }
    ::mlir::qlinear::WeightType getWeightType() {
      return ::llvm::cast<WeightType>(getWeight().getType());
    }
    /// The element type of the result, or of the buffer.
    ::mlir::FloatType getElement();
  }];
}

#endif
