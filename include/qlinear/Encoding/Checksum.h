//===- Checksum.h - Checksums of packed weights -----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// XXH3 of 64 bits, as xxhsum -H3 prints it: 16 hexadecimal digits. It finds damage and
// tells one model's weights from another's; it is no defence against forgery.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_CHECKSUM_H
#define QLINEAR_ENCODING_CHECKSUM_H

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace qlinear {

std::string checksum(std::span<const std::byte> bytes);
/// Whether `text` could be what checksum() returns.
bool isChecksum(std::string_view text);

} // namespace qlinear
#endif
