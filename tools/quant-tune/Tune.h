//===- Tune.h - Candidates, their times, the table --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Tuning in two steps. `generate` needs the compiler: it writes each layer's candidate
// schedules as MLIR and has quant-compile make one artifact of them. `measure` needs
// the runtime and the device: it times the candidates and writes the table that the
// compiler reads. What goes from one to the other is a folder with tune.json and the
// artifacts.
//
// Each kernel of a schedule is tuned by itself. Its fields are text here, given by name
// ("warps = 16"), so a new field needs no change of this tool; what is not given is
// left to the cost model, in the table, too.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANTTUNE_TUNE_H
#define QLINEAR_TOOLS_QUANTTUNE_TUNE_H

#include "qlinear/Encoding/Encoding.h"
#include "qlinear/Encoding/OutputFile.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qlinear::tune {

/// A linear to tune: the key of its entry in a table, and how it is measured.
struct Layer {
  struct Weight {
    std::string encoding; ///< as Encoding::str() spells it
    int64_t n = 0, k = 0;
  };
  std::string name;
  std::vector<Weight> weights;
  std::vector<int64_t> rows; ///< values of M to measure
  std::string input = "bf16", output = "bf16";
  std::string activations = "int8"; ///< what x is multiplied as; or "float"
};

/// Values to try per field: every combination of them.
using Fields = std::map<std::string, std::vector<std::string>>;
/// Those of each family of kernels (`gemv`, `gemm`, `cpu_gemv`, `cpu_gemm`), and of the
/// schedule itself (`schedule`).
using Space = std::map<std::string, Fields>;

/// The contents of a shapes file.
struct Request {
  std::string target = "cuda:sm_90";
  Space vary;
  std::vector<Layer> layers;
};
/// Reads a shapes file; errors name the file, the layer and the field.
Result<Request> readRequest(const std::string &path);

/// One kernel of a schedule.
struct Kernel {
  std::string family; ///< "gemv"
  std::string rows;   ///< at most: "8", or "any"
  /// "#qlinear.gemv<rows = 1, warps = 16>"
  std::string text(const std::string &fields) const;
  auto operator<=>(const Kernel &) const = default;
};
/// The kernels of a schedule as the compiler prints it.
std::vector<Kernel> kernelsOf(const std::string &schedule);
/// The one that a call of M rows uses: the first that takes as many, or the last.
const Kernel &kernelFor(const std::vector<Kernel> &kernels, int64_t M);

/// A candidate: one kernel, and the fields of its schedule.
struct Candidate {
  std::string function; ///< in the artifact
  Kernel kernel;
  std::string fields;  ///< ", warps = 16"; "" is all the cost model's
  std::string setting; ///< ", pdl = false"; "" is the cost model's
};
/// "#qlinear.schedule<kernels = [...], pdl = false>"
std::string scheduleText(const std::vector<std::string> &kernels,
                         const std::string &setting);
std::string scheduleText(const Candidate &candidate);
/// The value of a kernel's field in a schedule as the compiler prints it.
std::string fieldOf(const std::string &schedule, const std::string &field);
/// The cost model's kernel and its combinations with the space; `model` is the cost
/// model's schedule of this kernel alone.
std::vector<Candidate> candidatesOf(const std::string &model, const Layer &layer,
                                    const Kernel &kernel, const Space &space);

/// What goes from generating to measuring: tune.json.
struct Generated {
  Layer layer;
  std::string artifact;              ///< file in the folder
  std::vector<Kernel> kernels;       ///< that the cost model has
  std::vector<Candidate> candidates; ///< of each kernel the cost model's first
};
struct Plan {
  std::string target;
  std::vector<Generated> layers;
};
Result<void> writePlan(const std::string &folder, const Plan &plan);
Result<Plan> readPlan(const std::string &folder);

/// Compiles the candidates into `folder`. `tools` is where quant-opt and quant-compile
/// lie.
Result<Plan> generate(const Request &request, const std::string &folder,
                      const std::string &tools, bool verbose);

struct MeasureOptions {
  std::string device = "cuda";
  int rounds = 3;  ///< over all candidates
  int replays = 5; ///< of a graph per round
  bool verbose = false;
};
/// Entries of a table, one per layer. On a device without a speed of its own it only
/// runs everything once and returns an empty array.
Result<nlohmann::ordered_json> measure(const Plan &plan, const std::string &folder,
                                       const MeasureOptions &options);

/// Reads a table; each entry is checked.
Result<nlohmann::ordered_json> readTable(const std::string &path);
/// The entries of all; of those for the same linear the last one stays.
nlohmann::ordered_json merge(const std::vector<nlohmann::ordered_json> &tables);
/// The text of a JSON file, not nested too deeply to be parsed; `hint` follows where
/// it cannot be read.
Result<std::string> readJsonText(const std::string &path, const std::string &hint = "");
/// One entry per line; publishes the file.
Result<void> writeTable(OutputFile &file, const nlohmann::ordered_json &table);

} // namespace qlinear::tune
#endif
