//===- QLinearDialect.td - The qlinear dialect -------------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEARDIALECT_TD
#define QLINEAR_DIALECT_QLINEARDIALECT_TD

include "mlir/IR/OpBase.td"

def QLinear_Dialect : Dialect {
  let name = "qlinear";
  let cppNamespace = "::mlir::qlinear";
  let summary = "quantized linear layers with their storage in the types";
  let description = [{
    A linear layer computes `y = x * W^T` for M rows (tokens) `x` of K elements
    and a weight `W` of N rows and K columns. In this dialect the weight is
    group-quantized, and its type says exactly how it is stored:

    ```mlir
    #q4_row = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>,
                                offset = u8 * row<bf16>>

    qlinear.parameter @up : !qlinear.weight<21504x5376, #q4_row> from "blk.0.ffn_up"

    func.func @ffn_up(%x: tensor<?x5376xbf16>) -> tensor<?x21504xbf16> {
      %w = qlinear.load @up : !qlinear.weight<21504x5376, #q4_row>
      %y = qlinear.linear %x, %w
          : (tensor<?x5376xbf16>, !qlinear.weight<21504x5376, #q4_row>)
            -> tensor<?x21504xbf16>
      return %y : tensor<?x21504xbf16>
    }
    ```

    So a change of storage is a change of type that everybody can see
    (`qlinear.reencode`), and code generation needs to look at nothing else.

    The meaning of every operation is given by `qlinear.dequantize`: a linear is
    the product with the dequantized weight, followed by its epilogue. The pass
    `qlinear-to-reference` writes that meaning out in `linalg` and `arith`.

    A weight is a value: it comes from the components (`qlinear.pack`), or from
    an archive outside the module (`qlinear.parameter` and `qlinear.load`), so
    that gigabytes of weights never pass through the compiler.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasConstantMaterializer = 1;
  let extraClassDeclaration = [{
    void registerAttributes();
    void registerTypes();
  }];
}

class QLinear_Op<string mnemonic, list<Trait> traits = []>
    : Op<QLinear_Dialect, mnemonic, traits>;

#endif
