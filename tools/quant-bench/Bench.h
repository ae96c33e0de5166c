//===- Bench.h - What an encoding costs and gains ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   inputs --chooseWeights--> Source --encode--> Coded --measure--> Row
//
// A weight is encoded as quant-pack does it, compiled by the quant-compile beside this
// tool, and timed as quant-tune times: in a series of calls, each of which is checked.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANTBENCH_BENCH_H
#define QLINEAR_TOOLS_QUANTBENCH_BENCH_H

#include "qlinear/Encoding/Packer.h"

#include <nlohmann/json.hpp>
#include <span>

namespace qlinear::bench {

/// How weights are encoded: by a rule, and before that, if they are floats or
/// `quantize` is given, quantized.
struct Method {
  std::string text; ///< as it was given
  std::optional<QuantizeOptions> quantize;
  SelectionRule rule;
};
/// "row-u8", "Q4_K", "int4:32", "int4:32/row-u8", or a spelling.
Result<Method> parseMethod(const std::string &text, double minSnr);
/// The methods of a comma-separated list of names, or of one spelling.
Result<std::vector<Method>> parseMethods(const std::string &text, double minSnr);

/// A weight to measure, loaded when it is its turn.
struct Source {
  std::string name, format; ///< "blk.0.ffn_up.weight", "Q4_K"
  uint64_t N = 0, K = 0;
  std::function<Result<LoadedWeight>()> load;
};

/// Which weights of the files; each is a checkpoint or an archive, or a shape "NxK" of
/// random weights.
struct Choice {
  std::vector<std::string> inputs, tensors; ///< expressions that find names
  unsigned largest = 1; ///< of different shapes, without expressions
};
/// The weights, and the checkpoints that they are in.
struct Sources {
  std::vector<std::unique_ptr<Checkpoint>> files;
  std::vector<std::unique_ptr<Inventory>> inventories;
  std::vector<Source> weights;
};
Result<Sources> chooseWeights(const Choice &choice);

/// A weight in one encoding.
struct Coded {
  std::string method;
  EncodedWeight weight;
  double bits = 0; ///< per weight
  double snr = 0;  ///< dB, against the source's values
};
/// `fallback`: how floats are quantized where the method does not say.
Result<Coded> encode(const LoadedWeight &loaded, std::span<const float> floats,
                     uint64_t N, uint64_t K, const Method &method,
                     const QuantizeOptions &fallback);
/// A loaded weight's values.
Result<std::vector<float>> valuesOf(const LoadedWeight &loaded);

struct MeasureOptions {
  std::string device = "cpu";
  std::string target; ///< empty: what is best for the device
  std::string dtype = "f32", activations = "int8";
  std::vector<int64_t> rows = {1};
};

/// One line of the report.
struct Row {
  std::string weight, format, method, encoding;
  uint64_t N = 0, K = 0, bytes = 0;
  double bits = 0, snr = 0;
  int64_t rows = 0;
  double error = 0;       ///< of a call, against float64 of the source: rowError()
  double kernelError = 0; ///< the same of the encoded weight, as timing::Judgement
  size_t calls = 0;       ///< that were checked
  double us = 0;          ///< of one call; 0 on a device without a speed
};

/// A device, its speed, and the lines that are measured on it.
class Measurement {
public:
  static Result<std::unique_ptr<Measurement>> open(const MeasureOptions &options);
  virtual ~Measurement() = default;
  /// "cpu:avx512vnni, 2 threads"
  virtual std::string description() const = 0;
  /// What plain reading reaches, bytes per second; 0 on a device without a speed.
  virtual double readRate() const = 0;
  /// The lines of one weight. Fails where a result is wrong.
  virtual Result<std::vector<Row>> measure(const Source &source,
                                           std::span<const float> floats,
                                           const std::vector<Coded> &coded) = 0;
};

/// The report: {"device", "read_gb_per_s", "results": [...]}.
nlohmann::ordered_json reportOf(const Measurement &on, const std::vector<Row> &rows);
enum class Format { table, markdown, csv };
std::string textOf(const nlohmann::ordered_json &report, Format format);

} // namespace qlinear::bench
#endif
