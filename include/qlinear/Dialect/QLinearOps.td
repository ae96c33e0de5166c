//===- QLinearOps.td - Operations of the qlinear dialect ---*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEAROPS_TD
#define QLINEAR_DIALECT_QLINEAROPS_TD

include "qlinear/Dialect/QLinearEmbeddingOp.td"
include "qlinear/Dialect/QLinearRotaryOp.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/TilingInterface.td"
include "qlinear/Dialect/QLinearExpertOps.td"

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def QLinear_ParameterOp : QLinear_Op<"parameter", [Symbol]> {
  let summary = "a weight that lies in an archive outside the module";
  let description = [{
    Declares a weight by its type. The bytes are found under the name after
    `from` (the symbol's name if there is none) in the archive that the program is
    run with, or that a pass which re-encodes parameters is given.

    Constraints:

    - (C1) The name after `from` is not empty.

    Example:

    ```mlir
    #q4_k = #qlinear.encoding<u4, group = 32, min, scale = u6 * block<256, f16>,
                              offset = u6 * block<256, f16>>
    qlinear.parameter @ffn_up : !qlinear.weight<21504x5376, #q4_k> from "blk.0.ffn_up"
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name,
                       OptionalAttr<StrAttr>:$sym_visibility,
                       TypeAttrOf<QLinear_WeightType>:$type,
                       OptionalAttr<StrAttr>:$source);
  let assemblyFormat = [{
    ($sym_visibility^)? $sym_name `:` $type (`from` $source^)? attr-dict
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::qlinear::WeightType getWeightType() {
      return ::llvm::cast<WeightType>(getType());
    }
    /// The name in the archive.
    ::llvm::StringRef getArchiveName() {
      return getSource().value_or(getSymName());
    }
  }];
}

def QLinear_LoadOp : QLinear_Op<"load", [
    Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "the value of a parameter";
  let description = [{
    Parameters never change, so loading has no effects and equal loads are one.

    Constraints:

    - (C1) `parameter` is the name of a `qlinear.parameter` in the same module.
    - (C2) The result has the type of the parameter.

    Example:

    ```mlir
    qlinear.parameter @ffn_up : !qlinear.weight<21504x5376, #q4_k>
    %ffn_up = qlinear.load @ffn_up : !qlinear.weight<21504x5376, #q4_k>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter);
  let results = (outs QLinear_WeightType:$result);
  let assemblyFormat = "$parameter `:` qualified(type($result)) attr-dict";
}

def QLinear_PackOp : QLinear_ComputeOp<"pack", [AttrSizedOperandSegments]> {
  let summary = "a weight from its components";
  let description = [{
    With an N x K weight of G groups per row the components are

    | operand | shape | element type |
    | --- | --- | --- |
    | `codes` | N x K | `iB` for B-bit codes, or `i8`; of a table, the place from 0 on |
    | `scales`, `offsets` | N x G | plain: the float, or `i8`; coded: `iB`, or `i8`, `i16` |
    | a row step, or a delta base | N | the step's type |
    | a block step | N x ceil(K / 256) | the step's type |
    | a log base and step | N x 2 | the step's type |

    Codes are values as the encoding says: unsigned, or two's complement.
    `offsets` is there unless the form is symmetric. `steps` are as many as
    the encoding needs, the scale's first. The components may be buffers; the weight has
    their contents at the time when the operation runs.

    Constraints:

    - (C1) All components are tensors, or all are buffers.
    - (C2) Each component has the shape in the table.
    - (C3) Each component has the element type in the table.
    - (C4) `offsets` are there if the form has them, and only then.
    - (C5) `steps` are one for each of the two storages that has steps.

    Example:

    ```mlir
    %w = qlinear.pack %codes, %scales offsets(%zeros) steps(%ss, %zs)
        : (tensor<64x128xi4>, tensor<64x4xi8>, tensor<64x4xi8>, tensor<64xbf16>,
           tensor<64xbf16>) -> !qlinear.weight<64x128, #q4_row>
    ```
  }];
  let arguments = (ins QLinear_Codes:$codes, QLinear_Meta:$scales,
                       Optional<QLinear_Meta>:$offsets,
                       Variadic<QLinear_Steps>:$steps);
  let results = (outs QLinear_WeightType:$result);
  let assemblyFormat = [{
    $codes `,` $scales (`offsets` `(` $offsets^ `)`)? (`steps` `(` $steps^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = computeDeclarations # [{
    /// The step tensor of the scales, or of the offsets; null if the encoding
    /// has none.
    ::mlir::Value getScaleSteps();
    ::mlir::Value getOffsetSteps();
  }];
}

def QLinear_ReencodeOp : QLinear_Op<"reencode", [Pure]> {
  let summary = "the same codes with metadata stored another way";
  let description = [{
    The scales and offsets are coded as the result's encoding says, with the least
    squared error. The codes stay as they are, and with them N, K, the bits of a
    code and the group size. The form may change where it can express the weight.

    Constraints:

    - (C1) N and K stay the same.
    - (C2) The bits of a code stay the same, and so do the values of a table.
    - (C3) The group size stays the same.

    Example:

    ```mlir
    %v = qlinear.reencode %w : !qlinear.weight<64x128, #q4> to !qlinear.weight<64x128, #q4_row>
    ```
  }];
  let arguments = (ins QLinear_WeightType:$weight);
  let results = (outs QLinear_WeightType:$result);
  let assemblyFormat = [{
    $weight attr-dict `:` qualified(type($weight)) `to` qualified(type($result))
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def QLinear_DequantizeOp : QLinear_ComputeOp<"dequantize", [
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>]> {
  let summary = "the values that a weight or activations stand for";
  let description = [{
    This is the reference meaning of the types. The metadata is decoded to f32
    (each coded field as its storage says), then each value is computed
    exactly and rounded once, to nearest even, to the element type of the result.

    With `outs` the result is written there; on tensors that says which tensor it
    replaces and has no other meaning.

    Constraints:

  }] # formConstraints # [{
    - (C5) The result (or `out`) has as many rows and columns as the input.
    - (C6) An input that is a buffer of activations has the bytes of their K per row.

    Example:

    ```mlir
    %d = qlinear.dequantize %w : !qlinear.weight<64x128, #q4> -> tensor<64x128xf64>
    %e = qlinear.dequantize %a : !qlinear.activations<?x128> -> tensor<?x128xf32>
    // After bufferization.
    qlinear.dequantize %w outs(%m : memref<64x128xf64>) : !qlinear.weight<64x128, #q4>
    ```
  }];
  let arguments = (ins AnyTypeOf<[QLinear_WeightType,
                                  QLinear_AnyActivations]>:$input,
                       Optional<QLinear_Shaped<[F64, F32, F16, BF16], [2], "2D">>:$out);
  let results = (outs Optional<2DTensorOf<[F64, F32, F16, BF16]>>:$result);
  let assemblyFormat = [{
    $input (`outs` `(` $out^ `:` type($out) `)`)? attr-dict
    `:` qualified(type($input)) (`->` qualified(type($result))^)?
  }];
  let builders = [
    OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$input), [{
      build($_builder, $_state, result, input, ::mlir::Value());
    }]>
  ];
  let hasVerifier = 1;
  let hasFolder = 1;
  let extraClassDeclaration = computeDeclarations # [{
    ::mlir::OperandRange getOuts() { return getODSOperands(1); }
    ::mlir::MutableOperandRange getOutsMutable() { return getOutMutable(); }
    /// Type of the result, or of the buffer.
    ::mlir::ShapedType getValueType() {
      return ::llvm::cast<::mlir::ShapedType>(
          getResult() ? getResult().getType() : getOut().getType());
    }
  }];
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

def QLinear_QuantizeActivationsOp : QLinear_ComputeOp<"quantize_activations", [
    InferTypeOpAdaptor, DeclareOpInterfaceMethods<QLinear_KernelOpInterface>]> {
  let summary = "activations as int8 codes and a scale per 32 columns";
  let description = [{
    Per row and per chunk of 32 columns: `d = max|x| / 127` and
    `q = rint(x * (127 / max|x|))`, to nearest even; `d` and `127 / max|x|` are rounded
    to f32, the product is exact. A chunk with `max|x|` below
    2^-119, whose reciprocal would overflow, is zero; one with an infinity or a NaN
    stands for NaN.

    Constraints:

  }] # formConstraints # [{
    - (C5) `out` has as many bytes per row as activations of the input's K have.

    Example:

    ```mlir
    %a = qlinear.quantize_activations %x : tensor<?x5376xbf16> -> !qlinear.activations<?x5376>
    // After bufferization: the bytes of each row.
    qlinear.quantize_activations %rows outs(%b : memref<?x6720xi8>) : memref<?x5376xbf16>
    ```
  }];
  let arguments = (ins QLinear_Rows:$input, Optional<QLinear_ActivationBytes>:$out);
  let results = (outs Optional<QLinear_ActivationsType>:$result);
  let assemblyFormat = [{
    $input (`outs` `(` $out^ `:` type($out) `)`)? attr-dict
    `:` qualified(type($input)) (`->` qualified(type($result))^)?
  }];
  let builders = [
    OpBuilder<(ins "::mlir::Value":$input), [{
      build($_builder, $_state, input, ::mlir::Value());
    }]>
  ];
  let hasVerifier = 1;
  let extraClassDeclaration = computeDeclarations # [{
    ::mlir::OperandRange getOuts() { return getODSOperands(1); }
    ::mlir::MutableOperandRange getOutsMutable() { return getOutMutable(); }
  }];
}

//===----------------------------------------------------------------------===//
// Linear
//===----------------------------------------------------------------------===//

def QLinear_LinearOp : QLinear_ComputeOp<"linear", [
    AttrSizedOperandSegments, IsolatedFromAbove,
    DeclareOpInterfaceMethods<QLinear_KernelOpInterface>,
    DeclareOpInterfaceMethods<QLinear_EpilogueOpInterface, [
        "getNumComputed", "describeComputed"]>,
    DeclareOpInterfaceMethods<TilingInterface, [
        "getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
        "getResultTilePosition", "generateResultTileValue",
        "getIterationDomainTileFromResultTile"]>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>]> {
  let summary = "products of shared activations with quantized weights";
  let description = [{
    `x` is M x K: floats, or activations that are quantized already. Without a
    region, result i is `x * dequantize(W_i)^T`, M x N_i, rounded to its element
    type; the N of the weights may differ.

    With a region (the epilogue) all weights have the same N, and for each row m
    and column n the region computes the elements of the results: its arguments
    are, per weight, the f32 product, then per extra its element: a `tensor<N>`
    extra is broadcast over the rows, a `tensor<MxN>` extra is read at (m, n), that of a
    `tensor<1>` is the same everywhere. The region is elementwise: operations on scalars
    without side effects (`arith`, `math`), and isolated, so that constants are inside.

    `activations` says what becomes of an `x` of floats: `int8, block = 32`, the default,
    quantizes it as `qlinear.quantize_activations` does; `float` multiplies with the
    numbers that `x` has. `qlinear-set-activations` sets it. A row with an infinity or a
    NaN has results that are not finite.

    `schedule` says how the linear is computed; `qlinear-schedule` sets it.

    `outs`, if there, are one per result, the tensors that the results replace: their
    contents are not read. After bufferization all operands but the weights are
    buffers, the results are written into `outs`, which no other operand may
    overlap, and the operation has no results.

    It can be tiled along M, its one loop: the rows are independent. It has no loop
    over N, since a weight is a whole, whose layout and metadata belong together;
    the kernels divide N among themselves as the schedule says.

    Constraints:

  }] # formConstraints # [{
    - (C5) There is at least one weight.
    - (C6) K of `x` is known, and is the K of every weight.
    - (C7) `x`, if it is a buffer of activations, has the bytes of their K per row.
    - (C8) Without a region there are no extras, and one result per weight.
    - (C9) With a region all weights have the same N.
    - (C10) An extra is of N, of M x N, or of 1 element.
    - (C11) A result has M rows, and as many columns as its weight has rows (with a
      region: as all weights have).
    - (C12) The arguments of the region are one `f32` per weight, then one per extra
      of its element type.
    - (C13) The region ends with `qlinear.yield`.
    - (C14) `qlinear.yield` has one value per result, of its element type.
    - (C15) The operations in the region are on scalars, and have neither side effects
      nor regions.
    - (C16) `activations`, where an `x` is quantized already, is its format.

    Example:

    ```mlir
    // q, k and v of an attention block: one pass over x.
    %q, %k, %v = qlinear.linear %x, %wq, %wk, %wv
        : (tensor<?x64xbf16>, !qlinear.weight<64x64, #q4>, !qlinear.weight<16x64, #q4>,
           !qlinear.weight<16x64, #q4>)
          -> (tensor<?x64xbf16>, tensor<?x16xbf16>, tensor<?x16xbf16>)

    // A bias, and the product of two weights: one tensor leaves the kernel.
    %y = qlinear.linear %x, %wg, %wu extras(%bias)
        : (tensor<?x64xbf16>, !qlinear.weight<256x64, #q4>, !qlinear.weight<256x64, #q4>,
           tensor<256xf32>) -> tensor<?x256xbf16> {
    ^bb0(%gate: f32, %up: f32, %b: f32):
      %0 = arith.addf %gate, %b : f32
      %1 = arith.mulf %0, %up : f32
      %2 = arith.truncf %1 : f32 to bf16
      qlinear.yield %2 : bf16
    }

    // After bufferization.
    qlinear.linear %rows, %w outs(%out)
        : (memref<?x64xbf16>, !qlinear.weight<256x64, #q4>, memref<?x256xbf16>) -> ()
    ```
  }];
  let arguments = (ins QLinear_Input:$x, Variadic<QLinear_WeightType>:$weights,
                       Variadic<QLinear_Extra>:$extras,
                       Variadic<QLinear_Rows>:$outs,
                       OptionalAttr<QLinear_ActivationFormatAttr>:$activations,
                       OptionalAttr<QLinear_ScheduleAttr>:$schedule);
  let useCustomPropertiesEncoding = 1; // bytecode before version 3 has no activations
  let results = (outs Variadic<QLinear_RowsTensor>:$results);
  let regions = (region MaxSizedRegion<1>:$epilogue);
  let assemblyFormat = [{
    $x `,` $weights (`extras` `(` $extras^ `)`)? (`outs` `(` $outs^ `)`)? attr-dict
    `:` functional-type(operands, results) ($epilogue^)?
  }];
  let builders = [
    OpBuilder<(ins "::mlir::TypeRange":$results, "::mlir::Value":$x,
                   "::mlir::ValueRange":$weights,
                   CArg<"::mlir::ValueRange", "{}">:$extras,
                   CArg<"::mlir::ValueRange", "{}">:$outs), [{
      build($_builder, $_state, results, x, weights, extras, outs, nullptr, nullptr);
    }]>,
    // With all attributes of another linear: its schedule, what becomes of its
    // activations, and the user's.
    OpBuilder<(ins "::mlir::TypeRange":$results, "::mlir::Value":$x,
                   "::mlir::ValueRange":$weights, "::mlir::ValueRange":$extras,
                   "::mlir::ValueRange":$outs,
                   "::mlir::qlinear::LinearOp":$like)>
  ];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = computeDeclarations # [{
    /// K of x; M is the interface's.
    int64_t getK();
    /// What x is multiplied as: said by its type, by `activations`, or the default.
    ::mlir::qlinear::ActivationFormatAttr getFormat();
    bool multipliesFloats() { return getFormat().isFloat(); }
    ::mlir::qlinear::WeightType getWeightType(unsigned index) {
      return ::llvm::cast<WeightType>(getWeights()[index].getType());
    }
  }];
}

def QLinear_YieldOp : QLinear_Op<"yield", [Pure, Terminator,
    ParentOneOf<["LinearOp", "NormOp", "GroupedLinearOp", "CombineOp"]>]> {
  let summary = "ends an epilogue";
  let description = [{
    Yields one scalar per result of the operation whose epilogue it ends.

    Example:

    ```mlir
    qlinear.yield %0, %1 : bf16, bf16
    ```
  }];
  let arguments = (ins Variadic<QLinear_Float>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

//===----------------------------------------------------------------------===//
// Norm
//===----------------------------------------------------------------------===//

def QLinear_NormOp : QLinear_ComputeOp<"norm", [
    AttrSizedOperandSegments, IsolatedFromAbove,
    DeclareOpInterfaceMethods<QLinear_KernelOpInterface>,
    DeclareOpInterfaceMethods<QLinear_EpilogueOpInterface, [
        "getNumComputed", "describeComputed"]>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>]> {
  let summary = "rows of the same size: RMS norm and layer norm";
  let description = [{
    With `s` the input, M x K, or the sum of the two inputs, computed in f32 and rounded
    to their element type (a residual and what is added to it), and for each of its rows

    - `rms`: `n = s / sqrt(mean(s^2) + epsilon)`
    - `layer`: `n = (s - mean(s)) / sqrt(mean((s - mean(s))^2) + epsilon)`

    in f32. Without a region the result is `n`, rounded to its element type. With a region
    (the epilogue, as `qlinear.linear` has it) the arguments for row m and column k are
    `n` and `s` there, then per extra its element: a `tensor<K>` extra is broadcast over
    the rows, a `tensor<MxK>` extra is read at (m, k), that of a `tensor<1>` is the same
    everywhere. So scales, shifts, a residual that
    is added after the norm, and the sum itself are a matter of the region.

    Constraints:

  }] # formConstraints # [{
    - (C5) There are one or two inputs.
    - (C6) Two inputs have the same shape and element type.
    - (C7) K of the inputs is known.
    - (C8) `epsilon` is finite and not negative.
    - (C9) Without a region there are no extras, and one result.
    - (C10) An extra is of K, of M x K, or of 1 element.
    - (C11) A result has as many rows and columns as the first input.
    - (C12) The arguments of the region are two `f32`, then one per extra of its
      element type.
    - (C13) The region ends with `qlinear.yield`.
    - (C14) `qlinear.yield` has one value per result, of its element type.
    - (C15) The operations in the region are on scalars, and have neither side effects
      nor regions.

    Example:

    ```mlir
    // The residual stream and the input of the next linears.
    %s, %y = qlinear.norm rms %x, %residual extras(%scale) epsilon = 1.0e-05
        : (tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<64xbf16>)
          -> (tensor<?x64xbf16>, tensor<?x64xbf16>) {
    ^bb0(%n: f32, %sum: f32, %g: bf16):
      %0 = arith.truncf %sum : f32 to bf16
      %1 = arith.truncf %n : f32 to bf16
      %2 = arith.mulf %1, %g : bf16
      qlinear.yield %0, %2 : bf16, bf16
    }

    // After bufferization.
    qlinear.norm layer %rows epsilon = 1.0e-05 outs(%out)
        : (memref<?x64xf32>, memref<?x64xf32>) -> ()
    ```
  }];
  let arguments = (ins QLinear_Norm:$kind, Variadic<QLinear_Rows>:$inputs,
                       Variadic<QLinear_Extra>:$extras,
                       Variadic<QLinear_Rows>:$outs, F32Attr:$epsilon);
  let results = (outs Variadic<QLinear_RowsTensor>:$results);
  let regions = (region MaxSizedRegion<1>:$epilogue);
  let assemblyFormat = [{
    $kind $inputs (`extras` `(` $extras^ `)`)? `epsilon` `=` $epsilon
    (`outs` `(` $outs^ `)`)? attr-dict
    `:` functional-type(operands, results) ($epilogue^)?
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = computeDeclarations # [{
    /// K of the inputs; M is the interface's.
    int64_t getK();
    /// The element type of the inputs.
    ::mlir::FloatType getInputElement();
  }];
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

def QLinear_SpecOp : QLinear_Op<"spec", [
    Pure, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "an encoding as a kernel gets it: a constant of 64 bits";
  let description = [{
    All that a kernel knows of a weight besides N and K (`Spec` in Layout.h). Micro-kernels
    take it as an argument, and everything derived from it folds once they are inlined.
    The operation folds to an `arith.constant`, a number that tells a reader nothing.

    Example:

    ```mlir
    %u4_g32_zero = qlinear.spec #q4_row
    ```
  }];
  let arguments = (ins QLinear_EncodingAttr:$encoding);
  let results = (outs I64:$result);
  let assemblyFormat = "$encoding attr-dict";
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Launch
//===----------------------------------------------------------------------===//

def QLinear_LaunchOp : QLinear_ComputeOp<"launch", [
    AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>]> {
  let summary = "a compiled kernel";
  let description = [{
    The lowering turns a linear (or `qlinear.quantize_activations`) into this step of
    the runtime. `variants` are the kernels for up to 1, 2, ...
    rows, ascending; M rows are done in chunks of the largest, each by the
    smallest that covers it. A kernel takes one pointer per weight, per input,
    per cache (and after it, as another, how many rows this has), per result that
    is of no cache, and per temporary, in this order, then the number of rows.

    Inputs and results whose first dimension is M move on by the rows that are
    done: 2D tensors and activations. A 1D tensor is the same for all rows.

    `temps` are scratch buffers of this launch. `pdl` asks for programmatic
    dependent launch after the launch before it.

    `outs` are as in `qlinear.linear`: tensors that the results replace, or after
    bufferization the buffers that the kernel writes. `caches` are as in `qlinear.rotary`:
    the kernel writes some of their rows, and the last results are what they become.

    Constraints:

  }] # formConstraints # [{
    - (C5) There is at least one variant, and their `rows` ascend.
    - (C6) The kernel of each variant is in the module, or in a binary of the module.
    - (C7) Inputs and results are 1D or 2D, and only their M may be `?`.
    - (C8) All 2D inputs and results but those of caches have the same M.

    Example:

    ```mlir
    %y = qlinear.launch [
        #qlinear.variant<rows = 1, kernel = @kernels::@k0_m1, grid = 132, block = 384>,
        #qlinear.variant<rows = 4, kernel = @kernels::@k0_m4, grid = 132, block = 384>]
        weights(%w) ins(%x, %bias) temps [#qlinear.temp<bytes_per_row = 6720>] pdl
        : (!qlinear.weight<21504x5376, #q4_row>, tensor<?x5376xbf16>, tensor<21504xf32>)
          -> tensor<?x21504xbf16>
    ```
  }];
  let arguments = (ins QLinear_VariantArrayAttr:$variants,
                       Variadic<QLinear_WeightType>:$weights,
                       Variadic<AnyTypeOf<[AnyRankedTensor, AnyNon0RankedMemRef,
                                           QLinear_ActivationsType]>>:$inputs,
                       Variadic<QLinear_Rows>:$caches,
                       Variadic<AnyTypeOf<[AnyRankedTensor, AnyNon0RankedMemRef]>>:$outs,
                       OptionalAttr<QLinear_TempArrayAttr>:$temps, UnitAttr:$pdl);
  let results = (outs Variadic<AnyTypeOf<[AnyRankedTensor,
                                          QLinear_ActivationsType]>>:$results);
  let assemblyFormat = [{
    $variants (`weights` `(` $weights^ `)`)? `ins` `(` $inputs `)`
    (`caches` `(` $caches^ `)`)? (`outs` `(` $outs^ `)`)?
    (`temps` $temps^)? (`pdl` $pdl^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let builders = [
    OpBuilder<(ins "::mlir::TypeRange":$results, "::mlir::ArrayAttr":$variants,
                   "::mlir::ValueRange":$weights, "::mlir::ValueRange":$inputs,
                   "::mlir::ArrayAttr":$temps, "bool":$pdl), [{
      build($_builder, $_state, results, variants, weights, inputs,
            ::mlir::ValueRange(), ::mlir::ValueRange(), temps, pdl);
    }]>
  ];
  let hasVerifier = 1;
  let extraClassDeclaration = computeDeclarations # [{
    /// Types of the results that are of no cache, or of the buffers that take their place.
    ::mlir::TypeRange getValueTypes() {
      return hasTensorSemantics()
                 ? ::mlir::TypeRange(getResultTypes()).drop_back(getCaches().size())
                 : ::mlir::TypeRange(getOuts().getTypes());
    }
    /// M of the inputs and results, or ShapedType::kDynamic.
    int64_t getM();
    auto getVariantList() {
      return getVariants().getAsRange<VariantAttr>();
    }
  }];
}

#endif
