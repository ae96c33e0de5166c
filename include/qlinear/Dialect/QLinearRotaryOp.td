//===- QLinearRotaryOp.td - Rotary embeddings --------------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEARROTARYOP_TD
#define QLINEAR_DIALECT_QLINEARROTARYOP_TD

include "qlinear/Dialect/QLinearOpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"

def QLinear_RotaryOp : QLinear_ComputeOp<"rotary", [
    AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<QLinear_KernelOpInterface>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface,
                              ["reifyResultShapes"]>]> {
  let summary = "rotary position embeddings of queries and keys, and into caches";
  let description = [{
    The columns of an input are heads of `head` columns each. Models that normalize
    queries and keys have `norms`, a vector of scales for each input, or for each but the
    `unrotated` ones: then each head x of these first becomes

    - `x[i] / sqrt(mean(x^2) + epsilon) * scale[i]`,
    - `x[i] / sqrt(mean(x^2) + epsilon) * (1 + scale[i])` with `zero_centered`.

    With R the columns of `cos` and `sin`, of which row m belongs to the token of row m,
    column i of each head x becomes

    - `x[i] * cos[i] - x[i + R/2] * sin[i]` for i below R/2,
    - `x[i] * cos[i] + x[i - R/2] * sin[i]` from there to R,
    - `x[i]` from R on,

    all computed in f32, and rounded once to the type of the input. The last `unrotated`
    inputs are only normalized, as the values of Gemma 4 are, or only go into a cache. So
    halves of a head are rotated against each other, as transformers' `apply_rotary_pos_emb`
    does it, where `cos` and `sin` have each angle twice.

    The last inputs, as many as there are `caches`, have no results of their own: what
    becomes of them is written into the caches, of which the last results are the new
    values. A cache is a matrix of R x C. A row of its input is cut into P pieces of C
    columns, and piece p of row m becomes row `at[m, p]` of the cache; of a number below 0
    or from R on nothing is written, as of tokens that only pad a batch. Elsewhere the cache
    is what it was. No two pieces go to one row. So

    - a cache of tokens, R x heads * `head`, takes one place for each token, and
    - one that has the tokens of each head one after the other, as transformers'
      `StaticCache` (batch x heads x R x `head`) or pages do, a place for each head.

    Bufferization writes caches in place, where nothing reads what they were. A compiled
    function whose argument is a cache, and which returns what it becomes, writes it where
    it lies.

    Constraints:

  }] # formConstraints # [{
    - (C5) There is at least one input.
    - (C6) The inputs have the same number of rows and the same element type.
    - (C7) The columns of each input are known, and a multiple of `head`, which is
      positive.
    - (C8) `cos` and `sin` have the same type, and as many rows as the inputs.
    - (C9) R is known, even, and from 2 to `head`.
    - (C10) There is one result (or one of `outs`) for each input that has no cache, of its
      shape and element type, then on tensors one for each cache, of its type.
    - (C11) `norms` are none, or one of `head` elements for each input, or for each but the
      `unrotated` ones, of one type.
    - (C12) `epsilon`, finite and not negative, is there with `norms` and not without;
      `zero_centered` is not there without.
    - (C13) `unrotated` is from 1 to fewer than there are inputs, and each of these has a
      norm or a cache.
    - (C14) There are no more caches than inputs, and no cache is there twice. A cache has
      the element type of its input, and C is known, a multiple of `head`, of which the
      columns of the input are a multiple.
    - (C15) `at` is there with caches and not without, and is M x P, of i32; P is the same
      for all caches.

    Example:

    ```mlir
    %a, %b = qlinear.rotary %q, %k by %cos, %sin head = 128
        : (tensor<?x4096xbf16>, tensor<?x1024xbf16>, tensor<?x128xf32>, tensor<?x128xf32>)
          -> (tensor<?x4096xbf16>, tensor<?x1024xbf16>)

    // Of normalized heads.
    %e, %f = qlinear.rotary %q, %k norms(%qs, %ks) epsilon = 1.0e-06 by %cos, %sin head = 128
        : (tensor<?x4096xbf16>, tensor<?x1024xbf16>, tensor<128xbf16>, tensor<128xbf16>,
           tensor<?x128xf32>, tensor<?x128xf32>)
          -> (tensor<?x4096xbf16>, tensor<?x1024xbf16>)

    // Values are normalized, too, but not rotated.
    %g, %h, %i = qlinear.rotary %q, %k, %v norms(%qs, %ks, %vs) epsilon = 1.0e-06
        by %cos, %sin head = 128 unrotated = 1
        : (tensor<?x4096xbf16>, tensor<?x1024xbf16>, tensor<?x1024xbf16>,
           tensor<128xbf16>, tensor<128xbf16>, tensor<128xbf16>,
           tensor<?x128xf32>, tensor<?x128xf32>)
          -> (tensor<?x4096xbf16>, tensor<?x1024xbf16>, tensor<?x1024xbf16>)

    // Keys and values of 8 heads into caches, that have the tokens of a head side by side.
    %l, %kc, %vc = qlinear.rotary %q, %k, %v by %cos, %sin head = 128 unrotated = 1
        into(%keys, %values at %places)
        : (tensor<?x4096xbf16>, tensor<?x1024xbf16>, tensor<?x1024xbf16>,
           tensor<?x128xf32>, tensor<?x128xf32>,
           tensor<?x128xbf16>, tensor<?x128xbf16>, tensor<?x8xi32>)
          -> (tensor<?x4096xbf16>, tensor<?x128xbf16>, tensor<?x128xbf16>)

    // After bufferization.
    qlinear.rotary %rows by %c, %s head = 64 outs(%out)
        : (memref<?x512xf16>, memref<?x64xf16>, memref<?x64xf16>, memref<?x512xf16>) -> ()
    ```
  }];
  let arguments = (ins Variadic<QLinear_Rows>:$inputs, Variadic<QLinear_Vector>:$norms,
                       QLinear_Rows:$cos, QLinear_Rows:$sin,
                       Variadic<QLinear_Rows>:$caches, Optional<QLinear_Places>:$at,
                       Variadic<QLinear_Rows>:$outs, I64Attr:$head,
                       OptionalAttr<F32Attr>:$epsilon, UnitAttr:$zero_centered,
                       OptionalAttr<I64Attr>:$unrotated);
  let results = (outs Variadic<QLinear_RowsTensor>:$results);
  let assemblyFormat = [{
    $inputs (`norms` `(` $norms^ `)`)? (`zero_centered` $zero_centered^)?
    (`epsilon` `=` $epsilon^)? `by` $cos `,` $sin `head` `=` $head
    (`unrotated` `=` $unrotated^)? (`into` `(` $caches^ `at` $at `)`)?
    (`outs` `(` $outs^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = computeDeclarations # [{
    /// Columns of input `index`; M is the interface's.
    int64_t getColumns(unsigned index);
    /// R, the columns that are rotated of each head; of those of input `index`.
    int64_t getRotated();
    int64_t getRotated(unsigned index);
    /// The element types of the inputs, and of `cos` and `sin`.
    ::mlir::FloatType getElement();
    ::mlir::FloatType getTableElement();
    /// The element type of the norms, of which there are some.
    ::mlir::FloatType getNormElement();
    /// The inputs that have results of their own; cache i is of input getNumRows() + i.
    unsigned getNumRows() { return unsigned(getInputs().size() - getCaches().size()); }
    /// P, the pieces of a row of an input that has a cache.
    int64_t getPieces();
  }];
}

#endif
