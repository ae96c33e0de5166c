//===- InstructionSets.h - The table of CPU instruction sets ----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The instruction sets that CPU kernels are compiled for: for the compiler, for the
// runtime, and for the build, which makes the micro-kernels of each
// (cmake/QLinearInstructionSets.cmake reads the lines of kInstructionSets). Neither
// MLIR nor LLVM is needed to include this.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_SUPPORT_INSTRUCTIONSETS_H
#define QLINEAR_SUPPORT_INSTRUCTIONSETS_H

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace qlinear {

enum class Architecture { x86_64, arm64, other };

#if defined(__x86_64__)
inline constexpr Architecture kHostArchitecture = Architecture::x86_64;
#elif defined(__aarch64__)
inline constexpr Architecture kHostArchitecture = Architecture::arm64;
#else
inline constexpr Architecture kHostArchitecture = Architecture::other;
#endif

/// "x86-64", "arm64": also what "cpu:" may be followed by, for all of its instruction
/// sets.
constexpr std::string_view spell(Architecture architecture) {
  switch (architecture) {
  case Architecture::x86_64:
    return "x86-64";
  case Architecture::arm64:
    return "arm64";
  case Architecture::other:
    break;
  }
  return "another architecture";
}

struct InstructionSet {
  std::string_view name; ///< the target is "cpu:" and this
  Architecture architecture;
  /// As LLVM spells them, "" being the baseline of the architecture.
  std::string_view cpu, features;

  /// Whether there are fused multiply-add and rounding instructions.
  constexpr bool isModern() const {
    return architecture == Architecture::arm64 || !cpu.empty();
  }
};

/// Of each architecture the best first.
inline constexpr InstructionSet kInstructionSets[] = {
    {"amx", Architecture::x86_64, "x86-64-v4", "+avx512vnni,+amx-tile,+amx-int8"},
    {"avx512vnni", Architecture::x86_64, "x86-64-v4", "+avx512vnni"},
    {"avxvnni", Architecture::x86_64, "x86-64-v3", "+avxvnni"},
    {"avx2", Architecture::x86_64, "x86-64-v3", ""},
    {"neon-i8mm", Architecture::arm64, "", "+dotprod,+i8mm"},
    {"neon-dotprod", Architecture::arm64, "", "+dotprod"},
    {"neon", Architecture::arm64, "", ""},
    {"portable", kHostArchitecture, "", ""},
};

constexpr const InstructionSet *findInstructionSet(std::string_view name) {
  for (const InstructionSet &set : kInstructionSets)
    if (set.name == name)
      return &set;
  return nullptr;
}

/// Those of an architecture, best first.
inline std::vector<const InstructionSet *> instructionSetsOf(Architecture of) {
  std::vector<const InstructionSet *> sets;
  for (const InstructionSet &set : kInstructionSets)
    if (set.architecture == of)
      sets.push_back(&set);
  return sets;
}

/// The architecture all of whose instruction sets a target stands for: of "cpu" this
/// machine's, of "cpu:arm64" that.
constexpr std::optional<Architecture> architectureOfTarget(std::string_view target) {
  if (target == "cpu")
    return kHostArchitecture;
  for (Architecture a : {Architecture::x86_64, Architecture::arm64})
    if (target.starts_with("cpu:") && target.substr(4) == spell(a))
      return a;
  return std::nullopt;
}

/// "avx512vnni, avx2, portable", for messages.
inline std::string listInstructionSets() {
  std::string text;
  for (const InstructionSet &set : kInstructionSets)
    text += (text.empty() ? "" : ", ") + std::string(set.name);
  return text;
}

#if defined(__x86_64__)
/// Whether there are matrix tiles and Linux lets this process use them, for which it
/// has to be asked, once for all threads: with 8 KiB of registers they are no part of
/// what it gives each process.
inline bool mayUseTiles() {
#if defined(__linux__)
  // Numbers of the kernel's interface; older headers lack their names.
  constexpr int kRequestPermission = 0x1023; // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;              // XFEATURE_XTILEDATA
  return __builtin_cpu_supports("amx-tile") &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

/// Whether this machine has what kInstructionSets calls so, a CPU or a feature.
inline bool machineHas(std::string_view what) {
#if defined(__x86_64__)
  if (what == "x86-64-v4")
    return __builtin_cpu_supports("x86-64-v4");
  if (what == "x86-64-v3")
    return __builtin_cpu_supports("x86-64-v3");
  if (what == "+avx512vnni")
    return __builtin_cpu_supports("avx512vnni");
  if (what == "+avxvnni")
    return __builtin_cpu_supports("avxvnni");
  if (what == "+amx-tile")
    return mayUseTiles();
  if (what == "+amx-int8")
    return __builtin_cpu_supports("amx-int8");
#elif defined(__aarch64__) && defined(__linux__)
  // Bits of the kernel's interface; older headers lack their names.
  if (what == "+dotprod")
    return getauxval(AT_HWCAP) >> 20 & 1; // HWCAP_ASIMDDP
  if (what == "+i8mm")
    return getauxval(AT_HWCAP2) >> 13 & 1; // HWCAP2_I8MM
#endif
  return what.empty();
}

/// Whether this machine runs code for the instruction set.
inline bool machineRuns(const InstructionSet &set) {
  if (set.architecture != kHostArchitecture || !machineHas(set.cpu))
    return false;
  for (std::string_view rest = set.features; !rest.empty();) {
    size_t comma = rest.find(',');
    if (!machineHas(rest.substr(0, comma)))
      return false;
    rest = comma == rest.npos ? "" : rest.substr(comma + 1);
  }
  return true;
}

/// The index of the best instruction set that this machine runs: the first.
inline size_t bestInstructionSet() {
  size_t best = 0; // the last one, portable, runs everywhere
  while (!machineRuns(kInstructionSets[best]))
    ++best;
  return best;
}

} // namespace qlinear
#endif
