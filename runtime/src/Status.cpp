//===- Status.cpp - A status with its message -----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Status.h"

using namespace qlinear::runtime;

static thread_local std::string lastError;

qlr_status qlinear::runtime::report(const Status &status) {
  lastError = status.message;
  return status.code;
}

const char *qlr_last_error(void) { return lastError.c_str(); }
