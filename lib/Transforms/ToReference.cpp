//===- ToReference.cpp - The meaning of qlinear in linalg -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::qlinear {
#define GEN_PASS_DEF_TOREFERENCE
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

namespace {
struct ToReference : mlir::qlinear::impl::ToReferenceBase<ToReference> {
  using ToReferenceBase::ToReferenceBase;
  void runOnOperation() override {}
};
} // namespace
