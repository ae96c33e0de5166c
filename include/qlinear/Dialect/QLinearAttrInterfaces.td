//===- QLinearAttrInterfaces.td - What attributes share ----*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEARATTRINTERFACES_TD
#define QLINEAR_DIALECT_QLINEARATTRINTERFACES_TD

include "mlir/IR/Interfaces.td"

def QLinear_KernelAttrInterface : AttrInterface<"KernelAttrInterface"> {
  let cppNamespace = "::mlir::qlinear";
  let description = [{
    One kernel of a schedule. Each family of kernels is an attribute with fields of
    its own; this is common to all.
  }];
  let methods = [
    InterfaceMethod<"the most rows of `x` that it takes", "int64_t", "getRows">,
    InterfaceMethod<"whether it is for GPUs, else for CPUs", "bool", "isForGpu">,
    InterfaceMethod<"whether nothing is left to the cost model", "bool",
                    "isComplete">];
}

#endif
