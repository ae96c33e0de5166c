//===- Mutants.h - Device code with synchronisation taken out ---*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A site is a call of a synchronising operation of kernels/cuda/Intrinsics.h as it is
// written in the micro-kernels, or as the skeleton has it. All mutants of a kernel are
// compiled at once: each call asks which mutant runs.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_TARGET_MUTANTS_H
#define QLINEAR_UNITTESTS_TARGET_MUTANTS_H

#include "llvm/ADT/StringMap.h"
#include "llvm/IR/InstrTypes.h"
#include "llvm/IR/Module.h"

#include <map>
#include <set>
#include <string>
#include <vector>

/// The mutant that runs; 0: none. Compiled code reads it.
extern "C" __attribute__((visibility("default"))) uint32_t qlinear_mutant;

namespace qlinear {

/// What a mutant does with a call.
enum class Mutation {
  remove,
  more,   ///< 16 bytes more are expected
  fewer,  ///< 16 bytes less
  flip,   ///< waits for the other parity
  stuck,  ///< waits for parity 0 always
  sooner, ///< waits until one group more is still under way
};
const char *spelling(Mutation mutation);

/// The mutations of an operation; null for a name that is no synchronisation.
const std::vector<Mutation> *mutationsOf(llvm::StringRef operation);
/// Operations that only compute, load, store or copy.
bool isData(llvm::StringRef operation);

class Sites {
public:
  /// Those of the micro-kernels, from their bitcode.
  explicit Sites(llvm::Module &microKernels);
  /// "take: ql_ptx_warp_barrier 2": the function in which it stands, and the number
  /// among its like there. A call without a location is the skeleton's: "".
  std::string nameOf(const llvm::CallBase &call) const;
  const std::set<std::string> &names() const { return all; }

private:
  struct Place {
    std::string function, callee;
    unsigned line, column;
    auto operator<=>(const Place &) const = default;
  };
  static Place placeOf(const llvm::CallBase &call);
  std::map<Place, std::string> places;
  std::set<std::string> all;
};

/// Makes each call of a synchronising operation in `device` subject to
/// `qlinear_mutant`, and returns the mutants' names, "take: ql_ptx_warp_barrier 2,
/// remove", by their numbers less one.
std::vector<std::string> addMutants(llvm::Module &device, const Sites &sites);

} // namespace qlinear
#endif
