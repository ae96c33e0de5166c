//===- QLinearTypes.td - Types of the qlinear dialect ------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEARTYPES_TD
#define QLINEAR_DIALECT_QLINEARTYPES_TD

include "qlinear/Dialect/QLinearAttrs.td"
include "mlir/Dialect/Bufferization/IR/BufferizationTypeInterfaces.td"

class QLinear_Type<string name, string mnem, list<Trait> traits = []>
    : TypeDef<QLinear_Dialect, name, traits> {
  let mnemonic = mnem;
}

def QLinear_WeightType : QLinear_Type<"Weight", "weight"> {
  let summary = "a group-quantized weight of N rows and K columns";
  let description = [{
    The weight of a linear layer with N outputs and K inputs, stored as the
    encoding says. In memory it is one blob whose byte layout is a function of
    the type alone.

    Constraints:

    - (C1) N and K are in 1..2^32, and N * K is at most 2^44.
    - (C2) K is a multiple of the group size, unless the group is the row.

    Example:

    ```mlir
    !qlinear.weight<21504x5376, #qlinear.encoding<i6, group = 16, symmetric,
                                scale = i8 * block<256, f16>>>
    ```
  }];
  let parameters = (ins AttrParameter<"int64_t", "outputs">:$n,
                        AttrParameter<"int64_t", "inputs">:$k,
                        "::mlir::qlinear::EncodingAttr":$encoding);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Groups in a row: the second dimension of the metadata tensors.
    int64_t getGroups() const {
      return getEncoding().getValue().groupsPerRow(getK());
    }
    /// Where each byte of the blob lies; its size is layout().bytes().
    ::qlinear::layout::WeightLayout getLayout() const;
    /// The same weight with other metadata.
    WeightType withEncoding(EncodingAttr encoding) const {
      return get(getContext(), getN(), getK(), encoding);
    }
  }];
}

def QLinear_ActivationsType : QLinear_Type<"Activations", "activations", [
    DeclareTypeInterfaceMethods<Bufferization_TensorLikeTypeInterface>]> {
  let summary = "M rows of K quantized activations";
  let description = [{
    Dynamically quantized activations: per row and per 32 columns a float `d` and
    int8 codes `q`, which stand for `d * q`, and the sums of the codes. M may be
    dynamic. A last chunk of fewer than 32 columns is padded with zeros. The format,
    `int8, block = 32`, is the only one so far and need not be written.

    Bufferization turns them into a memref of i8 with one row of bytes per row.

    Constraints:

    - (C1) K is known; only M may be `?`.
    - (C2) K is in 1..2^28, and M is not negative.
    - (C3) The format has codes: it is not `float`.

    Example:

    ```mlir
    // Twice the same.
    !qlinear.activations<?x5376>
    !qlinear.activations<?x5376, int8, block = 32>
    ```
  }];
  let parameters = (ins AttrParameter<"int64_t", "rows, or ShapedType::kDynamic">:$m,
                        AttrParameter<"int64_t", "columns">:$k,
                        "::mlir::qlinear::ActivationFormatAttr":$format);
  let builders = [TypeBuilder<(ins "int64_t":$m, "int64_t":$k), [{
    return $_get($_ctxt, m, k, ActivationFormatAttr::getDefault($_ctxt));
  }]>];
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    bool isDynamic() const { return ::mlir::ShapedType::isDynamic(getM()); }
    /// Where each byte of a row lies; a row takes getLayout().bytes().
    ::qlinear::layout::ActivationLayout getLayout() const;
  }];
}

#endif
