//===- Status.h - A status with its message ---------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// How the runtime reports failure inside: a qlr_status with the message that
// qlr_last_error() returns. The C entry points turn it into both.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_STATUS_H
#define QLINEAR_RUNTIME_STATUS_H

#include "qlinear-runtime/runtime.h"

#include <sstream>
#include <string>
#include <utility>
#include <variant>

namespace qlinear::runtime {

struct [[nodiscard]] Status {
  qlr_status code = QLR_OK;
  std::string message;
  explicit operator bool() const { return code == QLR_OK; }
};

/// The arguments, printed one after the other.
template <typename... Ts> std::string text(const Ts &...parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

template <typename... Ts> Status fail(qlr_status code, const Ts &...parts) {
  return {code, text(parts...)};
}

/// A T or the Status that says why there is none.
template <typename T> class [[nodiscard]] Expected {
  std::variant<T, Status> state;

public:
  Expected(T value) : state(std::move(value)) {}
  Expected(Status failure) : state(std::move(failure)) {}
  explicit operator bool() const { return state.index() == 0; }
  T &operator*() { return std::get<0>(state); }
  T *operator->() { return &std::get<0>(state); }
  const Status &status() const { return std::get<1>(state); }
};

/// Returns from the enclosing function if `expression` failed.
#define QLR_TRY(expression)                                                            \
  do {                                                                                 \
    if (::qlinear::runtime::Status qlrStatus = (expression); !qlrStatus)               \
      return qlrStatus;                                                                \
  } while (false)

/// Sets qlr_last_error() of this thread and returns the code.
qlr_status report(const Status &status);

/// Runs `body` (a callable returning Status) behind the C ABI: no exception
/// leaves it, and the message is kept for qlr_last_error().
template <typename Body> qlr_status guarded(Body &&body) {
  try {
    Status status = body();
    return status ? QLR_OK : report(status);
  } catch (const std::bad_alloc &) {
    return report({QLR_OUT_OF_MEMORY, "out of host memory"});
  } catch (const std::exception &e) {
    return report({QLR_DEVICE_ERROR, text("internal error: ", e.what())});
  }
}

} // namespace qlinear::runtime
#endif
