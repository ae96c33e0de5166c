//===- ImportCommon.h - What importers share --------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_ENCODING_IMPORT_IMPORTCOMMON_H
#define QLINEAR_LIB_ENCODING_IMPORT_IMPORTCOMMON_H

#include "../Files/Json.h"
#include "Importers.h"

#include <fmt/core.h>
#include <optional>

namespace qlinear {

/// Runs of integers of `bits` bits in 32-bit words, as one stream of bits per run,
/// lowest first: what 4 and 8 bits packed one word at a time are, too.
struct PackedWords {
  std::span<const std::byte> bytes;
  unsigned bits;

  unsigned perWord() const { return 32 / bits; }
  uint64_t wordsOf(uint64_t count) const { return (count * bits + 31) / 32; }
  uint32_t mask() const { return (1u << bits) - 1; }
  uint32_t word(uint64_t index) const {
    uint32_t w;
    __builtin_memcpy(&w, bytes.data() + 4 * index, 4);
    return w;
  }
  /// Integer `index` of the run whose words are `first`, `first + stride`, ...
  uint32_t at(uint64_t index, uint64_t first = 0, uint64_t stride = 1) const {
    uint64_t bit = index * bits, place = first + bit / 32 * stride;
    unsigned shift = unsigned(bit % 32);
    uint32_t value = word(place) >> shift;
    if (shift + bits > 32)
      value |= word(place + stride) << (32 - shift);
    return value & mask();
  }
};

/// The codes of N rows of K, each row a run of such words.
std::vector<uint8_t> unpackRows(const Tensor &packed, unsigned bits, uint64_t N,
                                uint64_t K);

/// Codes as wide as integers of `bits` bits need: 2, 3, 4, 5, 6 or 8; 0 above 8.
unsigned codeBitsFor(uint64_t bits);

/// The tensors of one weight of a convention, checked as they are asked for.
class Parts {
public:
  Parts(const Checkpoint &checkpoint, std::string prefix)
      : checkpoint(checkpoint), prefix(std::move(prefix)) {}

  const Tensor *find(std::string_view suffix) const {
    return checkpoint.find(prefix + std::string(suffix));
  }
  const std::string &layer() const { return prefix; }
  /// The first tensor X.PART (PART without a dot) that is neither `known` nor the bias.
  /// It is of an unknown convention, in which the others may mean something else.
  const Tensor *findOther(std::initializer_list<std::string_view> known) const;
  /// The weight's name in the archive.
  std::string name() const { return prefix + ".weight"; }
  /// Every tensor below the prefix but its bias.
  std::vector<const Tensor *> all() const;
  Error bad(std::string_view what) const {
    return error(fmt::format("weight {}: {}", inQuotes(prefix), what));
  }

private:
  const Checkpoint &checkpoint;
  std::string prefix;
};

/// Calls `importOne` for the weights that have a tensor X + `suffix` and satisfy
/// `isOne`, if given, in file order. A weight that fails, or that the
/// files beside the checkpoint contradict, is kept in the inventory with the reason, so
/// that the others can be used without it.
void importEach(ImportContext &context, Family family, std::string_view suffix,
                std::string_view convention,
                const std::function<Result<void>(const Parts &)> &importOne,
                const std::function<bool(const Parts &)> &isOne = {});

/// Refuses the layers that have a tensor X + `suffix`, which says what codes mean, and
/// no X + one of `codes`.
void refuseWithoutCodes(ImportContext &context, Family family, std::string_view suffix,
                        std::string_view convention,
                        std::initializer_list<std::string_view> codes);

bool isMatrix(const Tensor *t, uint64_t rows, uint64_t columns);
bool isInt32(const Tensor *t);
bool isFloat(const Tensor *t);

/// Element `index` of an integer tensor; negative numbers come out as huge ones.
uint64_t integerAt(const Tensor &t, uint64_t index);

/// The group of K columns in G groups as `Encoding` has it; nothing if it has no
/// such group.
std::optional<unsigned> groupOf(uint64_t K, uint64_t G);

/// "4 groups of K = 400 columns; ..."
std::string unknownGroups(uint64_t G, uint64_t K);

/// The rules for a layer, of which its shapes must choose one.
Result<std::vector<LayerRule>> rulesFor(const ImportContext &context,
                                        const Parts &parts);

/// The group that a rule names, as `Encoding` has it; `group` if it names none.
bool hasGroup(const LayerRule &rule, uint64_t K, uint64_t G);

/// "bits = 4, group_size = 32 ('x' of quantization_config of config.json)".
std::string ruleText(const LayerRule &rule, const std::string &where);

/// "AWQ u4:128".
std::string formatName(std::string_view convention, CodeType codes, unsigned group);

/// Adds a weight that `load` decodes. One of the zero form whose zeros are all in the
/// middle of unsigned codes becomes symmetric, which is the same without offsets.
void addAffine(ImportContext &context, const Parts &parts, Assumption assumed,
               std::string format, uint64_t N, uint64_t K,
               std::vector<const Tensor *> tensors,
               std::function<Result<AffineWeight>()> load);

/// Floats of 4 bits (e2m1), two to a byte, with scales of 8 bits.
struct Float4Tensors {
  const Tensor *codes;  ///< N * K / 2 bytes: the even column in the low nibble
  const Tensor *scales; ///< N x K / group bytes
  FloatType type;       ///< of the scales: e8m0 or e4m3
  unsigned group;
  std::optional<float> step = {}; ///< that all scales are multiplied with

  /// Rows of the codes; fails where types or shapes are others.
  Result<uint64_t> rows(const Parts &parts) const;
  /// Adds the weight.
  void add(ImportContext &context, const Parts &parts, Assumption assumed,
           std::string_view convention, std::vector<const Tensor *> tensors) const;
};
/// The number of a tensor of one F32.
Result<float> oneFloat(const Parts &parts, const Tensor &t, std::string_view suffix);

/// Signed integers one to a byte, with scales and zeros per block of rows and columns.
struct IntTensors {
  const Tensor *codes;  ///< I8 [N, K]
  const Tensor *scales; ///< floats [N / rows, K / columns]
  const Tensor *zeros;  ///< I8 or floats of that shape; null: none
  unsigned bits = 8;    ///< that the codes' values need
  uint64_t columns = 0; ///< of a block; 0: as the scales' shape says

  struct Plan {
    uint64_t N, K, G, rows; ///< `rows` of a block: mostly 1
    unsigned group;
  };
  /// Checks types and shapes.
  Result<Plan> plan(const Parts &parts) const;
  Result<AffineWeight> load(const Plan &plan, const std::string &name) const;
};

} // namespace qlinear
#endif
