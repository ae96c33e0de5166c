//===- Result.h - A value or an error message -------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The libraries below MLIR report failure as a value: no exceptions cross
// their API, and nothing aborts on bad input. A message starts in lower case,
// has no final period, and names the thing, the numbers, the rule and the way
// out.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_RESULT_H
#define QLINEAR_ENCODING_RESULT_H

#include <string>
#include <utility>
#include <variant>

namespace qlinear {

struct Error {
  std::string message;
  /// The number of the constraint that is broken, where the specification has a list.
  unsigned constraint = 0;
};

inline Error error(std::string message, unsigned constraint = 0) {
  return Error{std::move(message), constraint};
}

/// A T or an Error; test with `if (!r)`, then read `r.error()`.
template <typename T> class [[nodiscard]] Result {
  std::variant<T, Error> state;

public:
  Result(T value) : state(std::move(value)) {}
  Result(Error e) : state(std::move(e)) {}
  explicit operator bool() const { return state.index() == 0; }
  T &operator*() { return std::get<0>(state); }
  const T &operator*() const { return std::get<0>(state); }
  T *operator->() { return &std::get<0>(state); }
  const T *operator->() const { return &std::get<0>(state); }
  const std::string &error() const { return std::get<1>(state).message; }
  Error takeError() { return std::move(std::get<1>(state)); }
};

template <> class [[nodiscard]] Result<void> {
  std::variant<std::monostate, Error> state;

public:
  Result() = default;
  Result(Error e) : state(std::move(e)) {}
  explicit operator bool() const { return state.index() == 0; }
  const std::string &error() const { return std::get<1>(state).message; }
  unsigned constraint() const { return std::get<1>(state).constraint; }
  Error takeError() { return std::move(std::get<1>(state)); }
};

} // namespace qlinear
#endif
