//===- Emulated.h - Run device code on this CPU -----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The emulated device runs the code of a GPU kernel, retargeted to the host by
// the compiler: slow, exact and strict. Thread blocks are independent tasks;
// the threads of a block are fibers of one OS thread that run until they wait.
// Behaviour that the hardware leaves undefined is an error here, naming kernel, block
// and thread: mismatched shuffles and barriers, deadlocks, misaligned accesses,
// mbarriers that were never initialised, copies still in flight at the end, and
// accesses of shared memory that nothing orders (Races.h), and accesses of global
// memory before a dependent launch has waited for those before it.
// The destination of an asynchronous copy holds all-ones bytes until it lands,
// and is poisoned under AddressSanitizer.
//
// The functions that retargeted code calls are in Intrinsics.h.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_EMULATED_EMULATED_H
#define QLINEAR_RUNTIME_EMULATED_EMULATED_H

#include "qlinear/Encoding/Result.h"

#include <cstdint>
#include <span>

namespace qlinear::emulated {

/// One thread of a kernel: params[i] is the address of argument i. What the image
/// of an emulated kernel points to (docs/artifact.md).
using ThreadFunction = void (*)(void *const *params);

/// Memory that a launch gets, from `at` on up to the next one.
struct Buffer {
  const void *at;
  /// Whether nothing before in the stream writes it, and nothing reads what this launch
  /// writes there: a weight.
  bool constant;
  const char *earlier; ///< the last kernel before that has it too, or null
};

struct Launch {
  const char *kernel = "kernel"; ///< named in errors
  uint32_t grid = 1;             ///< blocks
  uint32_t block = 32;           ///< threads of a block, at most 1024
  uint64_t smem = 0;             ///< bytes of dynamic shared memory
  /// 0: threads run in the order of their index, and blocks may run in parallel.
  /// Else the seed of a random order of threads and blocks, one block at a time, and of
  /// random times at which copies land: the same seed repeats them.
  uint64_t seed = 0;
  /// Programmatic dependent launch: the kernel may start while those before it run, so
  /// until it waits for them (griddepcontrol.wait) it accesses constant buffers only.
  /// It has to wait, as the next kernel's wait is only for this one to end.
  bool dependent = false;
  std::span<const Buffer> buffers = {}; ///< of a dependent launch
};

/// Runs all blocks and returns when they have finished. On an error the other
/// blocks may have run or not.
Result<void> run(const Launch &launch, ThreadFunction thread, void *const *params);

/// Shared memory that a block can have: that of the largest GPU (sm_90).
inline constexpr uint64_t kMaxSharedBytes = 227 * 1024;

} // namespace qlinear::emulated
#endif
