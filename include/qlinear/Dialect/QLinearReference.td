//===- QLinearReference.td - What the reference is of ------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEARREFERENCE_TD
#define QLINEAR_DIALECT_QLINEARREFERENCE_TD

include "qlinear/Dialect/QLinearOps.td"
include "qlinear/Dialect/QLinearPartOp.td"

#endif
