//===- CheckpointFuzzer.cpp - Weight files that lie -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Opens the bytes as a checkpoint, and decodes every weight found in it. Any
// outcome but a crash, a sanitizer's report or much memory is fine.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Packer.h"

#include <sys/mman.h>
#include <unistd.h>

using namespace qlinear;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static int memory = memfd_create("checkpoint", MFD_CLOEXEC);
  if (ftruncate(memory, off_t(size)) != 0 ||
      pwrite(memory, data, size, 0) != ssize_t(size))
    return 0;
  auto checkpoint = Checkpoint::open("/proc/self/fd/" + std::to_string(memory));
  if (!checkpoint)
    return 0;
  auto inventory = takeInventory(*checkpoint);
  if (!inventory)
    return 0;
  for (const SourceWeight &w : inventory->weights)
    if (auto loaded = w.load(); !loaded)
      return 0;
  return 0;
}
