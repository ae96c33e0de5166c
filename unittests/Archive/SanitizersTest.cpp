//===- SanitizersTest.cpp - What the sanitizers find fails a test ---------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include <gtest/gtest.h>

namespace {

#if __has_feature(undefined_behavior_sanitizer)
TEST(Sanitizers, UndefinedBehaviorEndsTheProgram) {
  volatile int large = 0x7FFFFFFF;
  EXPECT_DEATH(large = large + 1, "signed integer overflow");
}
#endif

#if __has_feature(address_sanitizer)
TEST(Sanitizers, AnAddressBesideAnObjectEndsTheProgram) {
  volatile int at = 4;
  EXPECT_DEATH(
      {
        volatile char bytes[4] = {};
        volatile char *first = bytes; // UBSan knows the bounds of an array itself
        first[at] = 1;
      },
      "stack-buffer-overflow");
}
#endif

} // namespace
