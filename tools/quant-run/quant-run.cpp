//===- quant-run.cpp - Run compiled linear layers -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// quant-run layer.so --weights model.safetensors [--verify] [--bench]
//
// Runs functions of a compiled artifact on a device, on given or random inputs;
// compares the results with float64, and measures.
//
//===----------------------------------------------------------------------===//

#include "Bench.h"
#include "Errors.h"
#include "Reference.h"

#include "common/CommandLine.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <numeric>
#include <random>
#include <sys/stat.h>
#include <unistd.h>

using namespace qlinear;
using namespace qlinear::run;
using nlohmann::json;

namespace {

struct Options {
  std::string artifact, weights, function, device = "cpu";
  std::vector<int64_t> rows;
  std::vector<std::string> inputs, outputs;
  uint64_t seed = 0;
  bool verify = false, checkWeights = false, bench = false, asJson = false;
};

/// One function at one number of rows.
struct Run {
  std::string function;
  int64_t rows = 0;
  std::vector<Array> inputs, outputs;
};

int64_t product(std::span<const int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t(1), std::multiplies<>());
}

bool isSafetensors(const std::string &path) { return path.ends_with(".safetensors"); }

//===----------------------------------------------------------------------===//
// Inputs and outputs
//===----------------------------------------------------------------------===//

/// Numbers of rows of a cache, no two the same, but for one below all and one above.
void setPlaces(Array &array, int64_t count, std::mt19937_64 &random) {
  std::vector<float> places(static_cast<size_t>(count));
  std::iota(places.begin(), places.end(), 0.0f);
  std::shuffle(places.begin(), places.end(), random);
  places.resize(static_cast<size_t>(array.elements()));
  if (places.size() > 3) {
    places[1] = -1;
    places[2] = float(count);
  }
  array.setFloats(places);
}

/// Numbers of experts, but for one that says that there is none.
void setExperts(Array &array, int64_t count, std::mt19937_64 &random) {
  std::uniform_int_distribution<int64_t> any(0, count - 1);
  std::vector<float> ids(static_cast<size_t>(array.elements()));
  for (float &id : ids)
    id = float(any(random));
  if (ids.size() > 3)
    ids[2] = -1;
  array.setFloats(ids);
}

/// Normal values; quantized ones for activations that arrive as int8.
Result<Array> randomInput(Session &session, const json &function, size_t index,
                          int64_t rows, std::mt19937_64 &random) {
  const json &spec = function.at("inputs").at(index);
  bool isCache = spec.at("shape").at(0) == -2;
  Array array(dtypeOf(spec),
              shapeOf(spec, isCache ? placesOf(function, index, rows, false) : rows));
  if (int64_t places = placesOf(function, index, rows, true)) {
    setPlaces(array, places, random);
    return array;
  }
  if (int64_t count = rowsToIndex(function, session.manifest(), index)) {
    // From one below all to one above.
    std::uniform_int_distribution<int64_t> any(-1, count);
    std::vector<float> indices(static_cast<size_t>(array.elements()));
    std::ranges::generate(indices, [&] { return float(any(random)); });
    array.setFloats(indices);
    return array;
  }
  if (int64_t experts = expertsOf(function, index)) {
    setExperts(array, experts, random);
    return array;
  }
  std::normal_distribution<float> normal;
  auto draw = [&](int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float &v : values)
      v = normal(random);
    return values;
  };
  if (array.dtype != QLR_I8) {
    array.setFloats(draw(array.elements()));
    return array;
  }
  int64_t columns = activationColumns(function, session.manifest(), "input", index);
  if (!columns)
    return error(
        fmt::format("input {} of '{}' is i8 and its reference does not say for "
                    "how many columns; pass it with --input",
                    index, function.value("name", "")));
  int64_t tokens = array.shape.size() > 1 ? array.shape[0] : 1;
  Array quantized = quantizeActivations(draw(tokens * columns), tokens, columns);
  quantized.shape = array.shape;
  if (quantized.bytes.size() != array.bytes.size())
    return error(
        fmt::format("input {} of '{}' has {} bytes, but {} tokens of {} columns "
                    "have {}",
                    index, function.value("name", ""), array.bytes.size(), tokens,
                    columns, quantized.bytes.size()));
  return quantized;
}

/// Where a matrix is wanted, all dimensions but the last are rows; `lead` are those of
/// the first input.
Result<std::vector<Array>> readInputs(const Options &options, const json &function,
                                      std::vector<int64_t> &lead) {
  const json &specs = function.at("inputs");
  std::vector<Array> arrays;
  if (options.inputs.size() == 1 && specs.size() > 1 &&
      isSafetensors(options.inputs[0])) {
    Result<std::vector<Array>> all =
        readArrays(options.inputs[0], "input", specs.size());
    if (!all)
      return all.takeError();
    arrays = std::move(*all);
  } else {
    if (options.inputs.size() != specs.size())
      return error(fmt::format("'{}' has {} inputs, but {} were given with --input",
                               function.value("name", ""), specs.size(),
                               options.inputs.size()));
    for (size_t i = 0; i < specs.size(); ++i) {
      qlr_dtype wanted = dtypeOf(specs[i]);
      Result<Array> array =
          readArray(options.inputs[i], wanted == QLR_F16 ? QLR_F16 : QLR_BF16);
      if (!array)
        return array.takeError();
      arrays.push_back(std::move(*array));
    }
  }
  for (size_t i = 0; i < specs.size(); ++i) {
    Result<Array> converted = convert(std::move(arrays[i]), dtypeOf(specs[i]));
    if (!converted)
      return error(fmt::format("input {} {}", i, converted.error()));
    arrays[i] = std::move(*converted);
    const json &shape = specs[i].at("shape");
    std::vector<int64_t> sizes = arrays[i].shape;
    if (shape.size() == 2 && sizes.size() >= 2) {
      std::span first(sizes.data(), sizes.size() - 1);
      if (lead.empty() && shape[0] != -2)
        lead.assign(first.begin(), first.end());
      sizes = {product(first), sizes.back()};
    }
    bool fits = sizes.size() == shape.size();
    for (size_t d = 0; fits && d < shape.size(); ++d)
      fits = shape[d] == -1 || shape[d] == -2 || shape[d] == sizes[d];
    if (!fits)
      return error(fmt::format(
          "input {} has the shape {}, but '{}' was compiled for {} "
          "(-1: any number of rows)",
          i, arrays[i].shapeText(), function.value("name", ""), shape.dump()));
    arrays[i].shape = sizes;
  }
  return arrays;
}

/// M as the inputs say it: the leading dimension of the first dynamic one.
int64_t rowsOf(const json &function, const std::vector<Array> &inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (function.at("inputs")[i].at("shape")[0] == -1)
      return inputs[i].shape[0];
  return function.value("rows", int64_t(1));
}

/// Whether --output is a directory, which takes a file for each function and M.
bool intoDirectory(const Options &options) {
  std::error_code ignored;
  return options.outputs.size() == 1 &&
         std::filesystem::is_directory(options.outputs[0], ignored);
}

std::string pathInDirectory(const Options &options, const std::string &function,
                            int64_t rows) {
  std::string name = fmt::format("{}.{}.safetensors", function, rows);
  return (std::filesystem::path(options.outputs[0]) / name).string();
}

/// Fails if there can be no such files, which is to be known before the work.
Result<void> checkWritable(const std::vector<std::string> &paths) {
  for (const std::string &path : paths)
    if (Result<OutputFile> file = OutputFile::create(path); !file)
      return file.takeError();
  return {};
}

/// The files of one run appear together.
Result<void> writeOutputs(const Options &options, const Run &run) {
  std::span<const Array> outputs = run.outputs;
  std::vector<std::pair<std::string, std::span<const Array>>> parts;
  if (intoDirectory(options)) {
    parts.emplace_back(pathInDirectory(options, run.function, run.rows), outputs);
  } else if (options.outputs.size() == 1 && isSafetensors(options.outputs[0])) {
    parts.emplace_back(options.outputs[0], outputs);
  } else if (options.outputs.size() != outputs.size()) {
    return error(fmt::format("there are {} outputs, but {} files were given with "
                             "--output; give one file for each, or one .safetensors",
                             outputs.size(), options.outputs.size()));
  } else {
    for (size_t i = 0; i < outputs.size(); ++i)
      parts.emplace_back(options.outputs[i], outputs.subspan(i, 1));
  }
  std::vector<OutputFile> files;
  for (const auto &[path, arrays] : parts) {
    Result<OutputFile> file = isSafetensors(path) ? makeTensors(path, "output", arrays)
                                                  : makeNpy(path, arrays[0]);
    if (!file)
      return file.takeError();
    files.push_back(std::move(*file));
  }
  return OutputFile::publish(files);
}

/// Whether results go to standard output, by its name or another, so that a report
/// cannot.
bool isPrinted(const Options &options) {
  struct stat printed, other;
  bool known = fstat(STDOUT_FILENO, &printed) == 0 && !S_ISCHR(printed.st_mode);
  return std::ranges::any_of(options.outputs, [&](const std::string &path) {
    return path == "-" ||
           (known && stat(path.c_str(), &other) == 0 &&
            other.st_dev == printed.st_dev && other.st_ino == printed.st_ino);
  });
}

Result<void> checkFiles(const Options &options) {
  if (isPrinted(options) && options.asJson)
    return error("--json and --output - both write to standard output; give a file to "
                 "one of them");
  std::vector<std::string> inputs = options.inputs;
  for (const std::string &input : options.inputs) // FILE:TENSOR
    inputs.push_back(input.substr(0, input.rfind(':')));
  inputs.push_back(options.artifact);
  inputs.push_back(options.weights);
  if (Result<void> apart = checkOutputs(options.outputs, inputs); !apart)
    return apart;
  return intoDirectory(options) ? Result<void>() : checkWritable(options.outputs);
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

/// {"outputs": [{"error", "float_error", "bound"}], "activations", "ok"}.
Result<json> verify(Session &session, const json &function, const Run &run,
                    Weights &weights) {
  Products products = productsOf(function, run.rows);
  Quantized quantized =
      products.floats ? Quantized::asForManyRows : Quantized::asForFewRows;
  bool int8 = quantizes(function, quantized);
  bool asBytes = int8 && !products.floats && !products.half;
  Result<std::vector<Matrix>> exact =
      evaluate(function, run.inputs, weights, quantized, asBytes);
  if (!exact)
    return exact.takeError();
  Result<std::vector<Matrix>> floats =
      evaluate(function, run.inputs, weights, Quantized::nowhere);
  if (!floats)
    return floats.takeError();
  if (exact->size() != run.outputs.size())
    return error(fmt::format("the reference has {} outputs, the function {}",
                             exact->size(), run.outputs.size()));
  json outputs = json::array();
  bool ok = true;
  for (size_t i = 0; i < exact->size(); ++i) {
    const Array &array = run.outputs[i];
    const Matrix &want = (*exact)[i];
    Matrix y{want.rows, want.columns, {}};
    if (array.dtype == QLR_I8 &&
        activationColumns(function, session.manifest(), "output", i)) {
      y = dequantizeActivations(array, want.columns);
    } else {
      std::vector<float> values = array.floats();
      y.values.assign(values.begin(), values.end());
    }
    double bound = boundOf(array.dtype, int8, products.half, behindOutput(function, i));
    double relative = rowError(y, want, !int8, products.half);
    bool good = relative <= bound;
    ok &= good;
    outputs.push_back({{"error", std::isfinite(relative) ? json(relative) : json()},
                       {"float_error", rowError(y, (*floats)[i], true, false)},
                       {"bound", bound},
                       {"ok", good}});
  }
  return json{
      {"outputs", outputs}, {"activations", int8 ? "int8" : "float"}, {"ok", ok}};
}

json benchmarkJson(const Benchmark &b) {
  json j = {{"median_us", b.call.median * 1e6},
            {"min_us", b.call.least * 1e6},
            {"max_us", b.call.most * 1e6},
            {"samples", b.call.samples},
            {"weight_bytes", b.weightBytes},
            {"weight_copies", b.copies},
            {"gb_per_s", double(b.weightBytes) / b.call.median * 1e-9}};
  if (b.readRate > 0) {
    j["read_gb_per_s"] = b.readRate * 1e-9;
    j["of_read"] = double(b.weightBytes) / b.call.median / b.readRate;
  }
  return j;
}

//===----------------------------------------------------------------------===//
// Report
//===----------------------------------------------------------------------===//

json summary(const Array &array) {
  json j = {{"dtype", dtypeName(array.dtype)}, {"shape", array.shape}};
  double sum = 0, squares = 0;
  for (float v : array.floats()) {
    sum += v;
    squares += double(v) * v;
  }
  double n = double(std::max<int64_t>(array.elements(), 1));
  j["mean"] = sum / n;
  j["rms"] = std::sqrt(squares / n);
  return j;
}

std::string number(const json &value) {
  return value.is_number() ? fmt::format("{:.3g}", value.get<double>()) : "not finite";
}

void print(const json &report) {
  fmt::print("{}  M = {}  {} ({})\n", report.at("function").get<std::string>(),
             report.at("rows").get<int64_t>(), report.at("device").get<std::string>(),
             report.at("code").get<std::string>());
  size_t i = 0;
  for (const json &o : report.at("outputs"))
    fmt::print("  output {}  {} {}  mean {}  rms {}\n", i++,
               o.at("dtype").get<std::string>(), o.at("shape").dump(),
               number(o.at("mean")), number(o.at("rms")));
  if (report.contains("verify")) {
    i = 0;
    std::string format = report.at("verify").at("activations");
    for (const json &o : report.at("verify").at("outputs")) {
      fmt::print("  verify {}  relative error {} against float64 with {} activations "
                 "(bound {}): {}{}\n",
                 i++, number(o.at("error")), format, number(o.at("bound")),
                 o.at("ok").get<bool>() ? "ok" : "FAILED",
                 format == "float" ? ""
                                   : fmt::format("; {} against float activations",
                                                 number(o.at("float_error"))));
    }
  }
  if (!report.contains("bench"))
    return;
  const json &b = report.at("bench");
  fmt::print(
      "  bench     {:.1f} us median (min {:.1f}, max {:.1f}, {} samples), {:.2f} GB/s "
      "of weights",
      b.at("median_us").get<double>(), b.at("min_us").get<double>(),
      b.at("max_us").get<double>(), b.at("samples").get<size_t>(),
      b.at("gb_per_s").get<double>());
  if (b.contains("of_read"))
    fmt::print("; plain read {:.2f} GB/s: {:.1f}%", b.at("read_gb_per_s").get<double>(),
               100 * b.at("of_read").get<double>());
  fmt::print("\n");
}

//===----------------------------------------------------------------------===//
// The job
//===----------------------------------------------------------------------===//

/// Runs one function for one M; adds a report.
Result<void> runOne(Session &session, const Options &options, const std::string &name,
                    int64_t rows, Weights *weights, WeightCopies *copies,
                    json &reports) {
  const json &function = session.function(name);
  Run run{name, rows, {}, {}};
  std::vector<int64_t> lead;
  if (!options.inputs.empty()) {
    Result<std::vector<Array>> read = readInputs(options, function, lead);
    if (!read)
      return read.takeError();
    run.inputs = std::move(*read);
    run.rows = rowsOf(function, run.inputs);
  } else {
    for (size_t i = 0; i < function.at("inputs").size(); ++i) {
      // By itself, so that the first rows are the same for any number of them.
      std::mt19937_64 random(options.seed + (uint64_t(i) << 32));
      Result<Array> input = randomInput(session, function, i, rows, random);
      if (!input)
        return input.takeError();
      run.inputs.push_back(std::move(*input));
    }
  }
  Result<Call> call = Call::create(session, name, run.inputs, run.rows);
  if (!call)
    return call.takeError();
  if (Result<void> ran = call->enqueue(nullptr); !ran)
    return ran;
  Result<std::vector<Array>> outputs = call->outputs();
  if (!outputs)
    return outputs.takeError();
  run.outputs = std::move(*outputs);
  for (Array &output : run.outputs)
    if (output.shape.size() == 2 && !lead.empty() && output.shape[0] == product(lead)) {
      int64_t columns = output.shape[1];
      output.shape = lead;
      output.shape.push_back(columns);
    }
  if (!options.outputs.empty())
    if (Result<void> written = writeOutputs(options, run); !written)
      return written;

  json report = {{"function", name},
                 {"rows", run.rows},
                 {"device", session.deviceName()},
                 {"target", session.target()},
                 {"code", session.code()},
                 {"outputs", json::array()}};
  for (const Array &output : run.outputs)
    report["outputs"].push_back(summary(output));
  if (weights) {
    Result<json> verified = verify(session, function, run, *weights);
    if (!verified)
      return verified.takeError();
    report["verify"] = std::move(*verified);
  }
  if (copies) {
    Result<Benchmark> measured = benchmark(session, *call, *copies);
    if (!measured)
      return measured.takeError();
    report["bench"] = benchmarkJson(*measured);
  }
  if (!options.asJson && !isPrinted(options)) {
    print(report);
    std::fflush(stdout);
  }
  reports.push_back(std::move(report));
  return {};
}

/// Fills `reports`; fails where something could not be run at all.
Result<void> runAll(const Options &options, json &reports) {
  if (Result<void> checked = checkFiles(options); !checked)
    return checked;
  Result<std::unique_ptr<Session>> opened =
      Session::open(options.artifact, options.device, options.weights,
                    options.checkWeights ? WeightChecks::all
                    : options.verify     ? WeightChecks::ifThere
                                         : WeightChecks::none);
  if (!opened)
    return opened.takeError();
  Session &session = **opened;
  std::vector<std::string> names = session.functionNames();
  if (!options.function.empty()) {
    if (qlr_function_index(session.module(), options.function.c_str()) < 0) {
      std::string all;
      for (const std::string &n : names)
        all += (all.empty() ? "" : ", ") + n;
      return error(fmt::format("'{}' has no function '{}'; it has {}", options.artifact,
                               options.function, all));
    }
    names = {options.function};
  }
  if (names.size() != 1 && (!options.inputs.empty() || !options.outputs.empty()) &&
      !intoDirectory(options))
    return error(fmt::format("'{}' has {} functions; name one with --function to use "
                             "--input or --output, or let --output be a directory",
                             options.artifact, names.size()));
  if (intoDirectory(options))
    for (const std::string &name : names)
      for (int64_t m : options.rows)
        if (Result<void> checked = checkWritable({pathInDirectory(options, name, m)});
            !checked)
          return checked;
  std::optional<Weights> weights;
  if (options.verify)
    weights.emplace(
        session.manifest(), [&](size_t weight) { return session.blob(weight); },
        [&](size_t index) { return session.constant(index); });
  for (const std::string &name : names) {
    std::optional<WeightCopies> copies;
    std::vector<int64_t> rows = options.rows;
    const json &function = session.function(name);
    for (size_t weight : session.weightsOf(name))
      if (auto blob = session.blob(weight); !blob)
        return blob.takeError();
    if (function.contains("rows"))
      rows = {function.at("rows").get<int64_t>()};
    for (int64_t m : rows) {
      if (options.bench && !copies) {
        Result<WeightCopies> made = WeightCopies::create(session, name);
        if (!made)
          return made.takeError();
        copies.emplace(std::move(*made));
        if (Result<void> bound = copies->bind(0); !bound)
          return bound;
      }
      if (Result<void> ran =
              runOne(session, options, name, m, weights ? &*weights : nullptr,
                     copies ? &*copies : nullptr, reports);
          !ran)
        return ran;
    }
  }
  return {};
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  CLI::App app("Runs compiled quantized linear layers, compares them with float64 and "
               "measures them.",
               "quant-run");
  app.add_option("artifact", options.artifact,
                 "Shared library that quant-compile wrote")
      ->required();
  app.add_option("-w,--weights", options.weights,
                 "Packed archive that quant-pack wrote");
  app.add_option("-f,--function", options.function, "Function to run (default: all)");
  app.add_option("-d,--device", options.device,
                 "cpu, cpu:THREADS, emulated, cuda or cuda:ORDINAL")
      ->capture_default_str();
  app.add_option("-M,--rows", options.rows,
                 "Rows (tokens) of random inputs; several: 1,2,4")
      ->delimiter(',')
      ->check(CLI::Range(int64_t(0), int64_t(1) << 24));
  app.add_option("-i,--input", options.inputs,
                 "Input as .npy or .safetensors[:TENSOR], one for each input, or one "
                 ".safetensors with input0, input1, ... (default: random)")
      ->allow_extra_args(false);
  app.add_option("-o,--output", options.outputs,
                 "Where to write the results: .npy files (- is standard output), one "
                 ".safetensors, or a directory, which gets a FUNCTION.M.safetensors "
                 "for each run")
      ->allow_extra_args(false);
  app.add_option("--seed", options.seed, "Seed of random inputs")
      ->capture_default_str()
      ->check(CLI::Number);
  app.add_flag(
      "--verify", options.verify,
      "Check the weights and compare with float64; exit with 1 where an error exceeds "
      "its bound (1e-3 for each linear on the way, and 3e-3 for 16-bit results; less "
      "where activations are not quantized)");
  app.add_flag("--check-weights", options.checkWeights,
               "Read all weights first: fail where one is damaged, or another than the "
               "artifact was compiled for (quant-compile --params)");
  app.add_flag("--bench", options.bench,
               "Measure calls with weights rotating past the caches");
  app.add_flag("--json", options.asJson, "Print JSON");
  bool isWrong = false;
  int status = runCommand(app, argc, argv, [&]() -> Result<void> {
    if (options.rows.empty())
      options.rows = {1};
    json reports = json::array();
    Result<void> done = runAll(options, reports);
    if (options.asJson)
      fmt::print("{}\n", reports.dump(1));
    isWrong = std::ranges::any_of(reports, [](const json &report) {
      return report.contains("verify") && !report["verify"]["ok"].get<bool>();
    });
    return done;
  });
  return status ? status : int(isWrong);
}
