//===- Packer.h - Checkpoints to packed archives ----------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   Checkpoint --takeInventory--> Inventory --packArchive--> packed safetensors
//                                           --dequantizeTo--> plain safetensors
//
// An inventory lists the linear weights of a checkpoint, each with a way to
// load it, and the tensors that are something else. Quantized checkpoints come
// in many conventions; each has an importer that recognises its tensors (see
// lib/Encoding/Import/Importers.h), and nothing else knows about it.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_PACKER_H
#define QLINEAR_ENCODING_PACKER_H

#include "qlinear/Encoding/Layers.h"

#include <functional>
#include <optional>
#include <variant>

namespace qlinear {

/// N x K float weights, row-major.
using FloatWeight = std::vector<float>;
using LoadedWeight = std::variant<FloatWeight, AffineWeight, EncodedWeight>;

/// The convention that a weight was assumed to follow, and why.
struct Assumption {
  std::string convention; ///< "GPTQ"
  std::string version;    ///< "gptq_v2", as the source says it; empty if it does not
  std::string saidBy;     ///< "quantization_config of config.json"; empty: its tensors
  std::string zeros;      ///< "stored less one"; empty if there are none

  auto operator<=>(const Assumption &) const = default;
};

/// A linear weight of a checkpoint.
struct SourceWeight {
  std::string name;   ///< in the archive
  std::string format; ///< "Q4_K", "BF16", "AWQ u4:128": for reports
  uint64_t N = 0, K = 0;
  bool isFloat = false;  ///< needs quantizing
  bool isPacked = false; ///< of a packed archive: cannot be carried over as it is
  /// Why its codes cannot be read; if not empty there is no shape, `load` fails, and it
  /// can only be carried over.
  std::string defect;
  /// Why it is always carried over; there is no shape, and `load` fails.
  std::string foreign;
  /// Why a float weight must not be quantized: it may be another than it seems.
  std::string doubt;
  Assumption assumed;
  /// The key of __metadata__ that describes `parts`, and nothing without them.
  std::string metadataKey;
  /// The tensors of the checkpoint that it is made of.
  std::vector<const Tensor *> parts;
  std::function<Result<LoadedWeight>()> load;
  /// Where the source's own form is an encoding, and how to lay it out straight.
  std::optional<Encoding> native;
  std::function<Result<void>(std::span<std::byte> blob)> packNative;

  uint64_t bytes() const;
};

/// The contents of a checkpoint, which must outlive this.
struct Inventory {
  std::vector<SourceWeight> weights;
  std::vector<const Tensor *> others;
  std::vector<std::string> notes; ///< what the user should know
};
Result<Inventory> takeInventory(const Checkpoint &checkpoint);

/// Whether a matrix is a linear layer, by the names that models use: it is no
/// embedding, position or norm.
bool hasLinearName(const std::string &name);

/// A value for the names that a regular expression finds; the first that
/// matches decides.
template <typename T> struct Override {
  std::string pattern;
  T value;
};

/// Fails where a text is no SelectionRule::name.
Result<void> verifyRuleName(const std::string &name);

/// Fails where a SelectionRule::minSnr is not a number of dB from 0 to 200.
Result<void> verifyMinSnr(double snr);

/// SNR of the weights `coded` against as many floats, dB; infinity if nothing differs.
double snrOf(std::span<const float> exact, std::span<const float> coded);
double snrOf(std::span<const float> exact, const EncodedWeight &coded);

/// "int4:32", "int6:16", "int8:row", "int4:128:symmetric".
Result<QuantizeOptions> parseQuantize(std::string_view text);

struct PackReport;

struct PackOptions {
  SelectionRule rule;
  std::vector<Override<SelectionRule>> rules;
  /// How float weights are quantized; nothing: they are carried over.
  std::optional<QuantizeOptions> quantize;
  std::vector<Override<QuantizeOptions>> quantizers;
  /// Weights that are quantized already are quantized anew, too, from their values.
  bool requantize = false;
  /// Weights whose name none of `include` (if any) or one of `exclude` finds are
  /// carried over. Without `include`, float weights are quantized if their name
  /// ends in ".weight" and is not that of an embedding or a norm.
  std::vector<std::string> include, exclude;
  /// Of GGUF, or an archive of it: tensors get transformers' names, and rows that
  /// llama.cpp orders otherwise transformers' order. Fails if the model is none whose
  /// names are known. The expressions above find the source's names.
  bool useHuggingFaceNames = false;
  /// Everything is done but writing the archive.
  bool isDryRun = false;
  /// Told after each weight: bytes of the source done, and their total.
  std::function<void(uint64_t done, uint64_t total)> progress;
  /// Called when all is written, before the archive appears: the files that it adds
  /// appear with the archive.
  std::function<Result<void>(const PackReport &, std::vector<OutputFile> &files)>
      finish;
};

/// What became of one tensor.
struct TensorReport {
  std::string name, source;
  std::string sourceName;      ///< if it has another name now
  uint64_t reorderedHeads = 0; ///< whose rows were put in transformers' order
  Assumption assumed;
  std::vector<uint64_t> shape;
  bool packed = false;
  std::string encodingName;         ///< "row-u8", "Q4_K"; empty if carried over
  std::optional<Encoding> encoding; ///< if packed
  std::string checksum;             ///< if packed: of its bytes
  uint64_t bytesBefore = 0, bytesAfter = 0;
  /// If packed: against the exact weights of the source (of float sources,
  /// against the quantized ones).
  Quality quality;
  bool requantized = false; ///< its codes are not the source's
  /// Of what was quantized here: the packed weights against the source's values, dB.
  std::optional<double> floatSnr;
  std::string reason;
  std::vector<Candidate> declined;

  double weights() const; ///< none in an array of key-values
  double bitsBefore() const { return 8.0 * double(bytesBefore) / weights(); }
  double bitsAfter() const { return 8.0 * double(bytesAfter) / weights(); }
};

struct PackReport {
  std::vector<TensorReport> tensors; ///< the weights, then the other tensors
  std::vector<std::string> notes;    ///< what the user should know
  std::vector<Layer> layers;         ///< what the packed weights compute
  uint64_t fileBytes = 0;            ///< of a dry run: of the tensors alone
};

/// Packs the weights and carries over the rest. Memory is bounded by the largest
/// weight; all cores of the current TBB arena work. Fails without leaving
/// anything behind.
Result<PackReport> packArchive(const Checkpoint &checkpoint, const Inventory &inventory,
                               const std::string &path, const PackOptions &options);

/// Writes the weights as floats of type "F32", "BF16" or "F16", under their
/// names, and carries over the rest.
Result<PackReport> dequantizeTo(const std::string &type, const Checkpoint &checkpoint,
                                const Inventory &inventory, const std::string &path,
                                const PackOptions &options);

} // namespace qlinear
#endif
