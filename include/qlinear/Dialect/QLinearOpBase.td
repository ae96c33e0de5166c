//===- QLinearOpBase.td - What operations are made of ------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEAROPBASE_TD
#define QLINEAR_DIALECT_QLINEAROPBASE_TD

include "qlinear/Dialect/QLinearOpInterfaces.td"
include "qlinear/Dialect/QLinearTypes.td"
include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

def QLinear_Float : AnyTypeOf<[F32, F16, BF16]>;
/// A tensor, or after bufferization a buffer, of one of the ranks.
class QLinear_Shaped<list<Type> elements, list<int> ranks, string rankText>
    : AnyTypeOf<[RankedTensorOf<elements, [HasAnyRankOfPred<ranks>],
                                rankText # " tensor">,
                 MemRefRankOf<elements, ranks>]>;
/// M x K activations or M x N results; M may be dynamic.
def QLinear_RowsTensor : 2DTensorOf<[QLinear_Float]>;
def QLinear_Rows : QLinear_Shaped<[QLinear_Float], [2], "2D">;
/// The rows of a cache that pieces of M rows go to.
def QLinear_Places : QLinear_Shaped<[I32], [2], "2D">;
def QLinear_Vector : QLinear_Shaped<[QLinear_Float], [1], "1D">;
/// Quantized activations: a value, or after bufferization M rows of their bytes.
def QLinear_ActivationBytes : MemRefRankOf<[I8], [2]>;
def QLinear_AnyActivations : AnyTypeOf<[QLinear_ActivationsType,
                                        QLinear_ActivationBytes]>;
def QLinear_Input : AnyTypeOf<[QLinear_Rows, QLinear_AnyActivations]>;
def QLinear_Extra : QLinear_Shaped<[QLinear_Float], [1, 2], "1D or 2D">;
def QLinear_Codes : QLinear_Shaped<[AnySignlessInteger], [2], "2D">;
def QLinear_Meta : QLinear_Shaped<[AnySignlessInteger, QLinear_Float], [2], "2D">;
def QLinear_Steps : QLinear_Shaped<[QLinear_Float], [1, 2], "1D or 2D">;

//===----------------------------------------------------------------------===//
// Interfaces
//===----------------------------------------------------------------------===//

def QLinear_Bufferizable : DeclareOpInterfaceMethods<BufferizableOpInterface, [
    "bufferizesToAllocation", "bufferizesToMemoryRead", "bufferizesToMemoryWrite",
    "getAliasingValues", "bufferize", "getBufferType",
    "verifyAnalysis"]>;

/// An operation that computes tensors from tensors, or after bufferization writes
/// into buffers: without effects in the first form, and only then to be moved.
class QLinear_ComputeOp<string mnemonic, list<Trait> traits = []>
    : QLinear_Op<mnemonic, traits # [
        QLinear_Bufferizable, ConditionallySpeculatable,
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface, ["getEffects"]>]> {
  /// The first constraints of such an operation; its own are numbered from C5.
  string formConstraints = [{
    - (C1) All operands are values, or none but weights are: the others are buffers.
    - (C2) On buffers there are no results, and at least one of `outs` or a cache.
    - (C3) On values there is at least one result, and `outs` are one per result (that is
      of no cache) or none.
    - (C4) On values each of `outs` and of the caches has the type of its result.
  }];
  code computeDeclarations = [{
    /// Whether operands and results are values; otherwise they are buffers, and
    /// there are no results.
    bool hasTensorSemantics();
    ::mlir::Speculation::Speculatability getSpeculatability() {
      return hasTensorSemantics() ? ::mlir::Speculation::Speculatable
                                  : ::mlir::Speculation::NotSpeculatable;
    }
  }];
}

#endif
