//===- Asan.cpp - AddressSanitizer, where the process has it -------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The runtime itself is not instrumented: sanitised device code is run in a
// process that has AddressSanitizer's runtime preloaded (or is built with it),
// so its interface is looked up weakly.
//
//===----------------------------------------------------------------------===//
#include "Block.h"

extern "C" {
#define QLR_WEAK __attribute__((weak))
QLR_WEAK void __asan_poison_memory_region(const volatile void *, size_t);
QLR_WEAK void __asan_unpoison_memory_region(const volatile void *, size_t);
QLR_WEAK void *__asan_region_is_poisoned(void *, size_t);
QLR_WEAK void __sanitizer_start_switch_fiber(void **, const void *, size_t);
QLR_WEAK void __sanitizer_finish_switch_fiber(void *, const void **, size_t *);
}

namespace qlinear::emulated::asan {

void poison(const void *address, size_t bytes) {
  if (__asan_poison_memory_region)
    __asan_poison_memory_region(address, bytes);
}

void unpoison(const void *address, size_t bytes) {
  if (__asan_unpoison_memory_region)
    __asan_unpoison_memory_region(address, bytes);
}

const void *poisonedByte(const void *address, size_t bytes) {
  if (!__asan_region_is_poisoned || !bytes)
    return nullptr;
  return __asan_region_is_poisoned(const_cast<void *>(address), bytes);
}

void startSwitch(void **fakeStack, const void *bottom, size_t bytes) {
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(fakeStack, bottom, bytes);
}

void finishSwitch(void *fakeStack, const void **bottom, size_t *bytes) {
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(fakeStack, bottom, bytes);
}

} // namespace qlinear::emulated::asan
