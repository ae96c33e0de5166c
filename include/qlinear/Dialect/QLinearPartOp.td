//===- QLinearPartOp.td - What a process has of a weight ---*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEARPARTOP_TD
#define QLINEAR_DIALECT_QLINEARPARTOP_TD

include "qlinear/Dialect/QLinearOpBase.td"
include "mlir/IR/SymbolInterfaces.td"

def QLinear_PartOp : QLinear_Op<"part", [
    Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "what a process has of a weight that is divided";
  let description = [{
    The rows (outputs), or the columns (inputs), of a weight are divided evenly among the
    processes along `grid_axes` of a grid of the `shard` dialect; the result is the part
    of the process that runs the program. `shard-partition` makes it of linears that
    are sharded along N or K, and `qlinear-select-process` a parameter of it.

    Constraints:

    - (C1) `grid` is a `shard.grid` of the module, of a known shape with `grid_axes`.
    - (C2) The result has the encoding of the weight, the same columns (rows), and its
      rows (columns) times the processes are the weight's.
    - (C3) The result has a multiple of 16 rows, or a multiple of columns at which the
      encoding can be cut: of the group, or of 256 where there are steps per block.

    Example:

    ```mlir
    shard.grid @gpus(shape = 2)
    qlinear.parameter @up : !qlinear.weight<512x256, #q4>
    %w = qlinear.load @up : !qlinear.weight<512x256, #q4>
    %mine = qlinear.part rows of %w on @gpus grid_axes = [0]
        : !qlinear.weight<512x256, #q4> -> !qlinear.weight<256x256, #q4>
    ```
  }];
  let arguments = (ins QLinear_WeightType:$weight, UnitAttr:$columns,
                       FlatSymbolRefAttr:$grid, DenseI16ArrayAttr:$grid_axes);
  let results = (outs QLinear_WeightType:$result);
  let assemblyFormat = [{
    (`columns` $columns^) : (`rows`)? `of` $weight `on` $grid `grid_axes` `=` $grid_axes attr-dict
    `:` qualified(type($weight)) `->` qualified(type($result))
  }];
  let extraClassDeclaration = [{
    ::qlinear::Axis getAxis() {
      return getColumns() ? ::qlinear::Axis::columns : ::qlinear::Axis::rows;
    }
  }];
}

#endif
