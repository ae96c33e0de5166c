//===- Chips.h - The table of CUDA architectures ----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Facts about each CUDA architecture, for the compiler and the runtime. A new one is a
// line of kChips. Neither MLIR, LLVM nor CUDA is needed to include this.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_SUPPORT_CHIPS_H
#define QLINEAR_SUPPORT_CHIPS_H

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace qlinear {

/// Pointer arguments of one kernel: weights, x, extras and results.
inline constexpr size_t kMaxKernelArgs = 64;
/// Weights of one kernel: the code of each is inlined, and the time to compile grows
/// faster than their number. On a CPU nothing is gained by more, as the kernels of a
/// block share quantized activations anyway.
inline constexpr size_t kMaxGpuWeights = 8, kMaxCpuWeights = 4;

/// Instructions that kernels may use, as bits.
struct Feature {
  enum : uint32_t {
    mma = 1 << 0,     ///< mma.m16n8k32 of 8-bit and m16n8k16 of 16-bit operands
    async = 1 << 1,   ///< cp.async
    fp8 = 1 << 2,     ///< mma of e4m3 and e5m2
    bulk = 1 << 3,    ///< cp.async.bulk and mbarriers
    cluster = 1 << 4, ///< clusters of blocks, which read each other's shared memory
    pdl = 1 << 5,     ///< programmatic dependent launch
    wgmma = 1 << 6,   ///< mma by warp groups, of operands in shared memory
    tcgen05 = 1 << 7, ///< mma with results in tensor memory
    ampere = mma | async,
    ada = ampere | fp8,
    hopper = ada | bulk | cluster | pdl,
  };
};

/// One architecture, sm_NN; all have dp4a. Two variants of it may have more: sm_NNa is
/// code for exactly this chip, sm_NNf for chips of its major version from it on.
struct Chip {
  int number;             ///< 90: compute capability 9.0
  int ptx;                ///< 80: PTX 8.0 is the oldest with all that its kernels use
  int multiprocessors;    ///< of the data-centre chip, or of the largest
  int sharedBytes;        ///< most dynamic shared memory of a block
  int threads, registers; ///< most on a multiprocessor at once
  int warps;              ///< of a block that shares it, for the cost model
  uint32_t features;      ///< Feature
  uint32_t more;          ///< what only the variants have
  std::string_view variants; ///< "", "a" or "af"

  bool has(uint32_t feature) const { return (features & feature) == feature; }
};

inline constexpr Chip kChips[] = {
    {75, 74, 40, 64 << 10, 1024, 65536, 8, 0, 0, ""}, // PTX 7.4: loads past L1
    {80, 74, 108, 163 << 10, 2048, 65536, 12, Feature::ampere, 0, ""},
    {86, 74, 84, 99 << 10, 1536, 65536, 12, Feature::ampere, 0, ""},
    {87, 74, 16, 163 << 10, 1536, 65536, 12, Feature::ampere, 0, ""},
    {89, 78, 128, 99 << 10, 1536, 65536, 12, Feature::ada, 0, ""},
    {90, 80, 132, 227 << 10, 2048, 65536, 12, Feature::hopper, Feature::wgmma, "a"},
    {100, 86, 148, 227 << 10, 2048, 65536, 12, Feature::hopper, Feature::tcgen05, "af"},
    {103, 90, 148, 227 << 10, 2048, 65536, 12, Feature::hopper, Feature::tcgen05, "af"},
    {110, 90, 20, 227 << 10, 1536, 65536, 12, Feature::hopper, Feature::tcgen05, "af"},
    {120, 87, 170, 99 << 10, 1536, 65536, 12, Feature::hopper, 0, "af"},
    {121, 90, 48, 99 << 10, 1536, 65536, 12, Feature::hopper, 0, "af"},
};

/// The emulated device: what sm_90 has, with few multiprocessors and warps, which are
/// threads of the host.
inline constexpr Chip kEmulatedChip = {
    90, 80, 4, 227 << 10, 2048, 65536, 4, Feature::hopper | Feature::wgmma, 0, ""};

/// The name of an architecture: "sm_90", "sm_90a", "sm_100f".
struct ChipName {
  int number = 0;
  char suffix = 0; ///< 'a', 'f' or none

  /// Any number, in the table or not: artifacts outlive it.
  static std::optional<ChipName> parse(std::string_view text) {
    ChipName name;
    if (!text.starts_with("sm_"))
      return std::nullopt;
    const char *end = text.data() + text.size();
    auto [rest, error] = std::from_chars(text.data() + 3, end, name.number);
    if (error != std::errc() || name.number < 10 || name.number > 999)
      return std::nullopt;
    if (rest != end)
      name.suffix = *rest++;
    bool known = name.suffix == 0 || name.suffix == 'a' || name.suffix == 'f';
    return rest == end && known ? std::optional(name) : std::nullopt;
  }

  /// The chip of the table, if it has one with this suffix.
  const Chip *chip() const {
    for (const Chip &chip : kChips)
      if (chip.number == number &&
          (suffix == 0 || chip.variants.find(suffix) != chip.variants.npos))
        return &chip;
    return nullptr;
  }

  /// Whether code for this chip runs on the device sm_`device`. Machine code runs on
  /// devices of its major version and at least its minor one, PTX is compiled for any
  /// device from its version on; with 'a' both run on exactly their device, with 'f' on
  /// its family.
  bool runsOn(int device, bool isMachineCode) const {
    if (suffix == 'a')
      return number == device;
    bool sameMajor = number / 10 == device / 10;
    return number <= device && (sameMajor || (suffix == 0 && !isMachineCode));
  }
};

/// What kernels make use of among the features that only variants have.
inline constexpr uint32_t kUsedOfVariants = Feature::wgmma;

/// The architecture that code for a device of this number is best made for: "sm_90a",
/// whose code runs on no other, "sm_89".
inline std::string bestArchitecture(int device) {
  std::string name = "sm_" + std::to_string(device);
  for (const Chip &chip : kChips)
    if (chip.number == device && (chip.more & kUsedOfVariants))
      name += 'a';
  return name;
}

/// "8.7" for 87.
inline std::string spellPtxVersion(int version) {
  return std::to_string(version / 10) + "." + std::to_string(version % 10);
}

/// The oldest PTX version for a chip with code generation; chips of a family came with
/// PTX 8.8. An old driver refuses PTX newer than itself.
inline int oldestPtxVersion(const Chip &chip, char suffix) {
  return suffix == 'f' ? std::max(chip.ptx, 88) : chip.ptx;
}

/// "sm_75, sm_80 and sm_90; with a after it sm_90, ...", for messages.
inline std::string listChips() {
  auto list = [](std::string_view variant) {
    std::string text, last;
    for (const Chip &chip : kChips)
      if (chip.variants.find(variant) != chip.variants.npos) {
        if (!last.empty())
          text += (text.empty() ? "" : ", ") + last;
        last = "sm_" + std::to_string(chip.number);
      }
    return text.empty() ? last : text + " and " + last;
  };
  return list("") + "; with a at the end " + list("a") + "; with f " + list("f");
}

/// "sm_90 or later": the chips that have a feature, for messages.
inline std::string chipsWith(uint32_t feature) {
  for (const Chip &chip : kChips)
    if (chip.has(feature))
      return "sm_" + std::to_string(chip.number) + " or later";
  for (const Chip &chip : kChips)
    if ((chip.more & feature) == feature)
      return "sm_" + std::to_string(chip.number) + "a";
  return "a chip that is not known";
}

} // namespace qlinear
#endif
