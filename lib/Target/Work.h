//===- Work.h - Compiling in threads, and once only -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_TARGET_WORK_H
#define QLINEAR_LIB_TARGET_WORK_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <string>
#include <vector>

namespace qlinear {

/// Something whose result depends on its key alone, and on nothing else that happens
/// in the process.
struct Work {
  std::string key;   ///< workKey()
  size_t weight = 0; ///< about how much it is: the most is begun first
  std::function<llvm::Expected<std::string>()> run; ///< in any thread
};

/// A digest of the parts, and of the compiler: of the code of this library and of LLVM.
/// Equal keys are results of equal code for equal input.
std::string workKey(llvm::ArrayRef<llvm::StringRef> parts);

struct WorkSettings {
  unsigned threads = 0; ///< 0: as many as there are cores
  std::string cache;    ///< the folder of results; "": nothing is kept
  /// Told after each, one at a time, in any thread.
  std::function<void(size_t done, size_t total)> progress;
};

struct WorkReport {
  size_t done = 0, cached = 0; ///< the latter of the former
  /// Why the cache was not used, or not for all: one reason of possibly many.
  std::string cacheProblem;
};

/// The results, in order; or the error of the first work that failed. They are the same
/// for any number of threads, and with the cache: what lies in it is taken only if it
/// is whole, else made anew.
llvm::Expected<std::vector<std::string>>
runWork(llvm::ArrayRef<Work> works, const WorkSettings &settings, WorkReport &report);

} // namespace qlinear
#endif
