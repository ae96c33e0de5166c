//===- Encoding.cpp - What a quantized weight is --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Encoding.h"
#include "qlinear/Encoding/Layout.h"

using namespace qlinear;

static layout::Meta toLayout(const MetaStorage &m) {
  return {int(m.kind), int(m.type), m.bits, m.isSigned, int(m.scope)};
}

uint64_t Encoding::spec() const {
  return layout::Spec{codes.bits,  codes.isSigned,  int(group),
                      int(form),   toLayout(scale), toLayout(offset)}
      .pack();
}
