//===- Kernels.h - The fields of kernels in a schedule ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the attributes #qlinear.gemv, #qlinear.gemm, #qlinear.cpu_gemv and
// #qlinear.cpu_gemm hold. A field without a value is left to the cost model. visit()
// names each field once: the text form, bytecode and checks all come from it.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_KERNELS_H
#define QLINEAR_DIALECT_KERNELS_H

#include "llvm/ADT/Hashing.h"

#include <cstdint>
#include <optional>

namespace mlir::qlinear {

enum class CopyKind : uint32_t;
enum class DotKind : uint32_t;

/// A GPU kernel; the description of #qlinear.gemv explains the fields.
struct Gemv {
  int64_t rows = 1;
  std::optional<DotKind> dot;
  std::optional<CopyKind> copy;
  std::optional<int64_t> grid, warps, stages, early;
  std::optional<bool> ahead;
  std::optional<CopyKind> xCopy;
  std::optional<int64_t> resident, phases, splitK;

  /// Calls f(name, field, least, most) for each field but rows; the range is of
  /// integers.
  template <typename Self, typename Visitor>
  static void visit(Self &self, Visitor &&f) {
    f("dot", self.dot, 0, 0);
    f("copy", self.copy, 0, 0);
    f("grid", self.grid, 1, INT32_MAX);
    f("warps", self.warps, 1, 32);
    f("stages", self.stages, 1, 8);
    f("early", self.early, 1, 8);
    f("ahead", self.ahead, 0, 0);
    f("x_copy", self.xCopy, 0, 0);
    f("resident", self.resident, 0, 4);
    f("phases", self.phases, 1, 64);
    f("split_k", self.splitK, 1, 8);
  }
  bool operator==(const Gemv &) const = default;
};

/// The rows of a kernel that takes any number.
inline constexpr int64_t kAnyRows = INT32_MAX;

/// A GPU kernel for many rows; the description of #qlinear.gemm explains the fields.
struct Gemm {
  int64_t rows = kAnyRows;
  std::optional<int64_t> tokens;
  std::optional<DotKind> dot;
  std::optional<CopyKind> copy;
  std::optional<int64_t> grid, warps, tiles, stages, splitK;

  template <typename Self, typename Visitor>
  static void visit(Self &self, Visitor &&f) {
    f("tokens", self.tokens, 16, 256);
    f("dot", self.dot, 0, 0);
    f("copy", self.copy, 0, 0);
    f("grid", self.grid, 1, INT32_MAX);
    f("warps", self.warps, 1, 16);
    f("tiles", self.tiles, 1, 4);
    f("stages", self.stages, 2, 8);
    f("split_k", self.splitK, 1, 8);
  }
  bool operator==(const Gemm &) const = default;
};

/// A CPU kernel for few rows.
struct CpuGemv {
  int64_t rows = 1;
  std::optional<int64_t> tiles;

  template <typename Self, typename Visitor>
  static void visit(Self &self, Visitor &&f) {
    f("tiles", self.tiles, 1, 65535);
  }
  bool operator==(const CpuGemv &) const = default;
};

/// Kernels for many rows on CPUs take them in blocks.
inline constexpr int64_t kTokenBlock = 8;

/// A CPU kernel for many rows; the description of #qlinear.cpu_gemm explains the
/// fields.
struct CpuGemm {
  int64_t rows = kAnyRows;
  std::optional<int64_t> tokens, tiles;

  template <typename Self, typename Visitor>
  static void visit(Self &self, Visitor &&f) {
    f("tokens", self.tokens, kTokenBlock, 512);
    f("tiles", self.tiles, 1, 65535);
  }
  bool operator==(const CpuGemm &) const = default;
};

/// The most rows of one kernel for few.
inline constexpr int64_t kMaxGemvRows = 8;

/// Whether every field has a value.
template <typename Kernel> bool isComplete(const Kernel &kernel) {
  bool complete = true;
  Kernel::visit(kernel, [&](const char *, const auto &field, int64_t, int64_t) {
    complete &= field.has_value();
  });
  return complete;
}

template <typename Kernel> llvm::hash_code hashOf(const Kernel &kernel) {
  llvm::hash_code hash = llvm::hash_value(kernel.rows);
  Kernel::visit(kernel, [&](const char *, const auto &field, int64_t, int64_t) {
    hash = llvm::hash_combine(hash, field ? int64_t(*field) : int64_t(-1));
  });
  return hash;
}
inline llvm::hash_code hash_value(const Gemv &kernel) { return hashOf(kernel); }
inline llvm::hash_code hash_value(const Gemm &kernel) { return hashOf(kernel); }
inline llvm::hash_code hash_value(const CpuGemv &kernel) { return hashOf(kernel); }
inline llvm::hash_code hash_value(const CpuGemm &kernel) { return hashOf(kernel); }

} // namespace mlir::qlinear
#endif
