//===- QLinearExpertOps.td - Mixtures of experts -----------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEAREXPERTOPS_TD
#define QLINEAR_DIALECT_QLINEAREXPERTOPS_TD

include "qlinear/Dialect/QLinearOpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"

def QLinear_GroupedLinearOp : QLinear_ComputeOp<"grouped_linear", [
    AttrSizedOperandSegments, IsolatedFromAbove,
    DeclareOpInterfaceMethods<QLinear_KernelOpInterface>,
    DeclareOpInterfaceMethods<QLinear_EpilogueOpInterface, [
        "getNumComputed", "describeComputed"]>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>]> {
  let summary = "products with the weights of the experts that each token has chosen";
  let description = [{
    A weight has the rows of all `experts`, one expert after the other: with E experts
    of N rows it is E*N x K. So it is a weight like any other, which is declared, packed,
    compacted, dequantized and cut as such.

    Row m of `ids` has the T experts of token m, which a router has chosen before, on the
    device. With `x` of M x K all of them multiply the same row; with `x` of M x T*K, as
    another `grouped_linear` leaves it, choice t multiplies piece t of the row, K columns.
    A result is M x T*N: piece t of its row m, N columns, is

    `x[m] (or its piece t) * dequantize(W[ids[m, t]*N .. ids[m, t]*N + N - 1])^T`.

    With a region (the epilogue, as `qlinear.linear` has it) its arguments are, per
    weight, the f32 product, then per extra its element: for row m, piece t, column n and
    expert e = `ids[m, t]` that of a `tensor<N>` at n, of a `tensor<E*N>` at e*N + n (a
    bias of each expert), of a `tensor<MxT>` at (m, t) (a factor of each choice), of a
    `tensor<MxT*N>` at (m, t*N + n); that of a `tensor<1>` is the same everywhere.

    An id below 0 says that there is no such choice, as in a batch that is padded, or
    where another process has the expert: its piece is 0 in all results, whatever the
    epilogue. One from E on is a mistake: its piece is NaN. Neither reads weights.

    `activations` is that of `qlinear.linear`. `qlinear.combine` adds the pieces up.

    Kernels read the bytes of the chosen experts alone. On GPUs each choice of each token
    is by itself, so of a prompt's many tokens those that share an expert read it again;
    CPUs take many tokens expert by expert.

    Constraints:

  }] # formConstraints # [{
    - (C5) There is at least one weight, and all have the same rows and columns.
    - (C6) `experts` is positive and divides the rows of a weight, and N, the rows of an
      expert, is a multiple of 16.
    - (C7) `ids` has as many rows as `x`, and T, its columns, is known and positive.
    - (C8) `x` has K or T*K columns. In the latter case, and if T is more than 1, K is a
      multiple of 32.
    - (C9) Without a region there are no extras, and one result per weight.
    - (C10) An extra is of N, of E*N, of M x T, of M x T*N, or of 1 element.
    - (C11) A result has M rows and T*N columns.
    - (C12) The arguments of the region are one `f32` per weight, then one per extra
      of its element type.
    - (C13) The region ends with `qlinear.yield`.
    - (C14) `qlinear.yield` has one value per result, of its element type.
    - (C15) The operations in the region are on scalars, and have neither side effects
      nor regions.

    Example:

    ```mlir
    // 8 of 128 experts of 32 rows: gate and up for each choice, then down.
    %h = qlinear.grouped_linear %x by %ids, %gate, %up experts = 128
        : (tensor<?x64xbf16>, tensor<?x8xi32>, !qlinear.weight<4096x64, #q4>,
           !qlinear.weight<4096x64, #q4>) -> tensor<?x256xbf16> {
    ^bb0(%g: f32, %u: f32):
      %0 = arith.mulf %g, %u : f32
      %1 = arith.truncf %0 : f32 to bf16
      qlinear.yield %1 : bf16
    }
    %d = qlinear.grouped_linear %h by %ids, %down experts = 128
        : (tensor<?x256xbf16>, tensor<?x8xi32>, !qlinear.weight<8192x32, #q4>)
          -> tensor<?x512xf32>

    // After bufferization.
    qlinear.grouped_linear %rows by %b, %gate experts = 128 outs(%out)
        : (memref<?x64xbf16>, memref<?x8xi32>, !qlinear.weight<4096x64, #q4>,
           memref<?x256xbf16>) -> ()
    ```
  }];
  let arguments = (ins QLinear_Rows:$x, QLinear_Places:$ids,
                       Variadic<QLinear_WeightType>:$weights,
                       Variadic<QLinear_Extra>:$extras,
                       Variadic<QLinear_Rows>:$outs, I64Attr:$experts,
                       OptionalAttr<QLinear_ActivationFormatAttr>:$activations);
  let results = (outs Variadic<QLinear_RowsTensor>:$results);
  let regions = (region MaxSizedRegion<1>:$epilogue);
  let assemblyFormat = [{
    $x `by` $ids `,` $weights `experts` `=` $experts (`extras` `(` $extras^ `)`)?
    (`outs` `(` $outs^ `)`)? attr-dict
    `:` functional-type(operands, results) ($epilogue^)?
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = computeDeclarations # [{
    /// N and K of one expert, and T, the choices of a token; M is the interface's.
    int64_t getN();
    int64_t getK();
    int64_t getChoices();
    /// Whether x has a piece for each choice, rather than one row for all.
    bool hasPieces();
    /// What x is multiplied as.
    ::mlir::qlinear::ActivationFormatAttr getFormat();
    bool multipliesFloats() { return getFormat().isFloat(); }
    ::mlir::qlinear::WeightType getWeightType() {
      return ::llvm::cast<WeightType>(getWeights().front().getType());
    }
    /// What an extra has an element for.
    enum class ExtraKind { one, column, expertColumn, choice, element };
    ExtraKind getExtraKind(unsigned index);
    /// In words of the manifest.
    ::llvm::StringRef getExtraKindName(unsigned index);
  }];
}

def QLinear_CombineOp : QLinear_ComputeOp<"combine", [
    AttrSizedOperandSegments, IsolatedFromAbove,
    DeclareOpInterfaceMethods<QLinear_KernelOpInterface>,
    DeclareOpInterfaceMethods<QLinear_EpilogueOpInterface, [
        "getNumComputed", "describeComputed"]>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>]> {
  let summary = "the weighted sum of what the chosen experts of a token have made";
  let description = [{
    With `x` of M x T*N and `scales` of M x T, row m and column n of the result is

    `sum over t of scales[m, t] * x[m, t*N + n]`

    in f32, added in the order of t, so that it is the same every time, and rounded to the
    element type of the result. With a region (the epilogue) the arguments are the sum,
    then per extra its element: that of a `tensor<N>` is broadcast over the rows, of a
    `tensor<MxN>` read at (m, n) (a residual), that of a `tensor<1>` is the same
    everywhere.

    Constraints:

  }] # formConstraints # [{
    - (C5) `scales` has as many rows as `x`, and T, its columns, is known, positive and
      divides those of `x`, which are known.
    - (C6) Without a region there are no extras, and one result.
    - (C7) An extra is of N, of M x N, or of 1 element.
    - (C8) A result has M rows and N columns.
    - (C9) The arguments of the region are an `f32`, then one per extra of its
      element type.
    - (C10) The region ends with `qlinear.yield`.
    - (C11) `qlinear.yield` has one value per result, of its element type.
    - (C12) The operations in the region are on scalars, and have neither side effects
      nor regions.

    Example:

    ```mlir
    %y = qlinear.combine %d by %scales extras(%residual)
        : (tensor<?x512xf32>, tensor<?x8xf32>, tensor<?x64xbf16>) -> tensor<?x64xbf16> {
    ^bb0(%s: f32, %r: bf16):
      %0 = arith.extf %r : bf16 to f32
      %1 = arith.addf %s, %0 : f32
      %2 = arith.truncf %1 : f32 to bf16
      qlinear.yield %2 : bf16
    }

    // After bufferization.
    qlinear.combine %rows by %b outs(%out)
        : (memref<?x512xf32>, memref<?x8xf32>, memref<?x64xf32>) -> ()
    ```
  }];
  let arguments = (ins QLinear_Rows:$x, QLinear_Rows:$scales,
                       Variadic<QLinear_Extra>:$extras,
                       Variadic<QLinear_Rows>:$outs);
  let results = (outs Variadic<QLinear_RowsTensor>:$results);
  let regions = (region MaxSizedRegion<1>:$epilogue);
  let assemblyFormat = [{
    $x `by` $scales (`extras` `(` $extras^ `)`)? (`outs` `(` $outs^ `)`)? attr-dict
    `:` functional-type(operands, results) ($epilogue^)?
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = computeDeclarations # [{
    /// T and N; M is the interface's.
    int64_t getChoices();
    int64_t getN();
  }];
}

#endif
