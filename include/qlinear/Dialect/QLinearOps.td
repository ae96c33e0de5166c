//===- QLinearOps.td - Operations of the qlinear dialect ---*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEAROPS_TD
#define QLINEAR_DIALECT_QLINEAROPS_TD

include "qlinear/Dialect/QLinearTypes.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

def QLinear_Float : AnyTypeOf<[F32, F16, BF16]>;
/// M x K activations or M x N results; M may be dynamic.
def QLinear_RowsTensor : 2DTensorOf<[QLinear_Float]>;
def QLinear_Input : AnyTypeOf<[QLinear_RowsTensor, QLinear_ActivationsType]>;
def QLinear_Extra : RankedTensorOf<[QLinear_Float], [HasAnyRankOfPred<[1, 2]>],
                                   "1D or 2D tensor">;
def QLinear_CodeTensor : 2DTensorOf<[AnySignlessInteger]>;
def QLinear_MetaTensor : 2DTensorOf<[AnySignlessInteger, QLinear_Float]>;
def QLinear_StepTensor
    : RankedTensorOf<[QLinear_Float], [HasAnyRankOfPred<[1, 2]>],
                     "1D or 2D tensor">;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def QLinear_ParameterOp : QLinear_Op<"parameter", [Symbol]> {
  let summary = "a weight that lies in an archive outside the module";
  let description = [{
    Declares a weight by its type. The bytes are found under the name after
    `from` (the symbol's name if there is none) in the archive that the program is
    run with, or that a pass which re-encodes parameters is given.

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

def QLinear_PackOp : QLinear_Op<"pack", [Pure, AttrSizedOperandSegments]> {
  let summary = "a weight from its components";
  let description = [{
    With an N x K weight of G groups per row the components are

    | operand | shape | element type |
    | --- | --- | --- |
    | `codes` | N x K | `iB` for B-bit codes, or `i8` |
    | `scales`, `offsets` | N x G | plain: the float; coded: `iB`, or the next of `i8`, `i16` |
    | a row step, or a delta base | N | the step's type |
    | a block step | N x ceil(K / 256) | the step's type |
    | a log base and step | N x 2 | the step's type |

    Codes are values as the encoding says: unsigned, or two's complement.
    `offsets` is there unless the form is symmetric. `steps` are those that the
    encoding needs, the scale's first.

    Example:

    ```mlir
    %w = qlinear.pack %codes, %scales offsets(%zeros) steps(%ss, %zs)
        : (tensor<64x128xi4>, tensor<64x4xi8>, tensor<64x4xi8>, tensor<64xbf16>,
           tensor<64xbf16>) -> !qlinear.weight<64x128, #q4_row>
    ```
  }];
  let arguments = (ins QLinear_CodeTensor:$codes, QLinear_MetaTensor:$scales,
                       Optional<QLinear_MetaTensor>:$offsets,
                       Variadic<QLinear_StepTensor>:$steps);
  let results = (outs QLinear_WeightType:$result);
  let assemblyFormat = [{
    $codes `,` $scales (`offsets` `(` $offsets^ `)`)? (`steps` `(` $steps^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
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

def QLinear_DequantizeOp : QLinear_Op<"dequantize", [
    Pure, DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>]> {
  let summary = "the values that a weight or activations stand for";
  let description = [{
    This is the reference meaning of the types. The metadata is decoded to f32
    (each coded field as its storage says), then each value is computed
    exactly and rounded once, to nearest even, to the element type of the result.

    Example:

    ```mlir
    %d = qlinear.dequantize %w : !qlinear.weight<64x128, #q4> -> tensor<64x128xf64>
    %e = qlinear.dequantize %a : !qlinear.activations<?x128> -> tensor<?x128xf32>
    ```
  }];
  let arguments = (ins AnyTypeOf<[QLinear_WeightType,
                                  QLinear_ActivationsType]>:$input);
  let results = (outs 2DTensorOf<[F64, F32, F16, BF16]>:$result);
  let assemblyFormat = [{
    $input attr-dict `:` qualified(type($input)) `->` qualified(type($result))
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

def QLinear_QuantizeActivationsOp : QLinear_Op<"quantize_activations", [
    Pure, InferTypeOpAdaptor]> {
  let summary = "activations as int8 codes and a scale per 32 columns";
  let description = [{
    In f32, per row and per chunk of 32 columns: `d = max|x| / 127` and
    `q = rint(x * (127 / max|x|))`, to nearest even. A chunk with `max|x|` below
    2^-119, whose reciprocal would overflow, is zero; one with an infinity or a NaN
    stands for NaN.

    Example:

    ```mlir
    %a = qlinear.quantize_activations %x : tensor<?x5376xbf16> -> !qlinear.activations<?x5376>
    ```
  }];
  let arguments = (ins QLinear_RowsTensor:$input);
  let results = (outs QLinear_ActivationsType:$result);
  let assemblyFormat = [{
    $input attr-dict `:` qualified(type($input)) `->` qualified(type($result))
  }];
}

//===----------------------------------------------------------------------===//
// Linear
//===----------------------------------------------------------------------===//

def QLinear_LinearOp : QLinear_Op<"linear", [
    Pure, AttrSizedOperandSegments, IsolatedFromAbove,
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
    extra is broadcast over the rows, a `tensor<MxN>` extra is read at (m, n). The
    region is elementwise: operations on scalars without side effects (`arith`,
    `math`), and it is isolated, so that constants are inside.

    Activations given as floats may be quantized to int8 per 32 columns by the
    implementation, as `qlinear.quantize_activations` does it.

    `schedule` says how the linear is computed; `qlinear-schedule` sets it.

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
    ```
  }];
  let arguments = (ins QLinear_Input:$x, Variadic<QLinear_WeightType>:$weights,
                       Variadic<QLinear_Extra>:$extras,
                       OptionalAttr<QLinear_ScheduleAttr>:$schedule);
  let results = (outs Variadic<QLinear_RowsTensor>:$results);
  let regions = (region MaxSizedRegion<1>:$epilogue);
  let assemblyFormat = [{
    $x `,` $weights (`extras` `(` $extras^ `)`)? attr-dict
    `:` functional-type(operands, results) ($epilogue^)?
  }];
  let builders = [
    OpBuilder<(ins "::mlir::TypeRange":$results, "::mlir::Value":$x,
                   "::mlir::ValueRange":$weights)>
  ];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    bool hasEpilogue() { return !getEpilogue().empty(); }
    ::mlir::Block &getBody() { return getEpilogue().front(); }
    /// M (or ShapedType::kDynamic) and K of x.
    int64_t getM();
    int64_t getK();
    ::mlir::qlinear::WeightType getWeightType(unsigned index) {
      return ::llvm::cast<WeightType>(getWeights()[index].getType());
    }
    /// Arguments of the epilogue: of the weights, and of the extras.
    ::mlir::MutableArrayRef<::mlir::BlockArgument> getProductArguments() {
      return getBody().getArguments().take_front(getWeights().size());
    }
    ::mlir::MutableArrayRef<::mlir::BlockArgument> getExtraArguments() {
      return getBody().getArguments().drop_front(getWeights().size());
    }
  }];
}

def QLinear_YieldOp : QLinear_Op<"yield", [
    Pure, Terminator, HasParent<"LinearOp">]> {
  let summary = "ends the epilogue of a linear";
  let description = [{
    Yields one scalar per result of the `qlinear.linear`.

    Example:

    ```mlir
    qlinear.yield %0, %1 : bf16, bf16
    ```
  }];
  let arguments = (ins Variadic<QLinear_Float>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

//===----------------------------------------------------------------------===//
// Launch
//===----------------------------------------------------------------------===//

def QLinear_LaunchOp : QLinear_Op<"launch", [
    Pure, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>]> {
  let summary = "a compiled kernel, on tensors";
  let description = [{
    What the lowering makes of a linear (or of `qlinear.quantize_activations`):
    a step that the runtime runs. `variants` are the kernels for up to 1, 2, ...
    rows, ascending; M rows are done in chunks of the largest, each by the
    smallest that covers it. A kernel takes one pointer per weight, per input,
    per result and per temporary, in this order, then the number of rows.

    Inputs and results whose first dimension is M move on by the rows that are
    done: 2D tensors and activations. A 1D tensor is the same for all rows.

    `temps` are scratch buffers of this launch. `pdl` asks for programmatic
    dependent launch after the launch before it.

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
                       Variadic<AnyTypeOf<[AnyRankedTensor,
                                           QLinear_ActivationsType]>>:$inputs,
                       OptionalAttr<QLinear_TempArrayAttr>:$temps, UnitAttr:$pdl);
  let results = (outs Variadic<AnyTypeOf<[AnyRankedTensor,
                                          QLinear_ActivationsType]>>:$results);
  let assemblyFormat = [{
    $variants (`weights` `(` $weights^ `)`)? `ins` `(` $inputs `)`
    (`temps` $temps^)? (`pdl` $pdl^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// M of the inputs and results, or ShapedType::kDynamic.
    int64_t getM();
    auto getVariantList() {
      return getVariants().getAsRange<VariantAttr>();
    }
  }];
}

#endif
