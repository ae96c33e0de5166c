//===- JsonDepth.h - JSON that nests too deeply -----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_JSONDEPTH_H
#define QLINEAR_ENCODING_JSONDEPTH_H

#include "qlinear/Encoding/Result.h"

#include <string_view>

namespace qlinear {

/// Fails if arrays and objects of a JSON text nest more than `most` deep: parsers and
/// printers that call themselves would run out of stack. None of our files nests more
/// than 16 deep. The message continues a sentence: "nests more than ...".
Result<void> checkJsonDepth(std::string_view text, unsigned most = 64);

} // namespace qlinear
#endif
