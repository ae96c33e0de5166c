//===- QLinearOpInterfaces.td - What operations share ------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEAROPINTERFACES_TD
#define QLINEAR_DIALECT_QLINEAROPINTERFACES_TD

include "mlir/IR/Interfaces.td"

def QLinear_KernelOpInterface : OpInterface<"KernelOpInterface"> {
  let cppNamespace = "::mlir::qlinear";
  let description = [{
    An operation on M rows that kernels compute: a lowering makes the kernels, and puts a
    `qlinear.launch` in its place. All that is not about one operation's kernels works
    on this interface. A new operation implements it and has a builder of kernels for each
    family of targets (KernelTarget in lib/Conversion).
  }];
  let methods = [
    InterfaceMethod<"M, or ShapedType::kDynamic", "int64_t", "getM">,
    InterfaceMethod<"weights: the first arguments of a kernel",
                    "::mlir::SmallVector<::mlir::Value>", "getKernelWeights">,
    InterfaceMethod<"inputs: the arguments of a kernel after the weights",
                    "::mlir::SmallVector<::mlir::Value>", "getKernelInputs">,
    InterfaceMethod<"what the results replace, or the buffers that take their place",
                    "::mlir::SmallVector<::mlir::Value>", "getKernelOuts">];
}

def QLinear_EpilogueOpInterface : OpInterface<"EpilogueOpInterface"> {
  let cppNamespace = "::mlir::qlinear";
  let description = [{
    An operation that computes elements, and may have an epilogue: a region of one block,
    elementwise on scalars, whose arguments are what was computed (f32), then an element
    of each extra, and which yields the elements of the results.
  }];
  let methods = [
    InterfaceMethod<"the region; empty without an epilogue", "::mlir::Region &",
                    "getEpilogue">,
    InterfaceMethod<"the extras", "::mlir::OperandRange", "getExtras">,
    InterfaceMethod<"types of the results, or of the buffers that take their place",
                    "::mlir::TypeRange", "getValueTypes">,
    InterfaceMethod<"how many arguments are computed", "unsigned", "getNumComputed">,
    InterfaceMethod<"what the computed arguments are, for messages", "::llvm::StringRef",
                    "describeComputed">];
  let extraSharedClassDeclaration = [{
    bool hasEpilogue() { return !$_op.getEpilogue().empty(); }
    ::mlir::Block &getBody() { return $_op.getEpilogue().front(); }
    ::mlir::MutableArrayRef<::mlir::BlockArgument> getComputedArguments() {
      return getBody().getArguments().take_front($_op.getNumComputed());
    }
    ::mlir::MutableArrayRef<::mlir::BlockArgument> getExtraArguments() {
      return getBody().getArguments().drop_front($_op.getNumComputed());
    }
  }];
}

#endif
