//===- Function.cpp - What a manifest says of its functions ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Reference.h"

#include <algorithm>
#include <string_view>

using namespace qlinear;
using namespace qlinear::run;
using nlohmann::json;

Products qlinear::run::productsOf(const json &function, int64_t rows) {
  Products products;
  for (const json &step : function.at("steps")) {
    const json &kernels = step.at("kernels");
    for (const json &kernel : kernels) {
      if (kernel.at("rows") < rows && &kernel != &kernels.back())
        continue;
      products.half |= kernel.value("product", "") == "f16";
      products.floats |= kernel.value("activations", "") == "float";
      break;
    }
  }
  return products;
}

/// The results that an op of a reference has.
static size_t resultsOf(const json &op) {
  for (const char *each : {"yield", "weights", "dtypes"})
    if (op.contains(each))
      return op.at(each).size();
  return 1;
}

/// What an op of a reference reads.
static std::vector<json> inputsOf(const json &op) {
  std::vector<json> inputs = op.value("inputs", std::vector<json>());
  if (op.contains("x"))
    inputs.push_back(op.at("x"));
  for (const json &extra : op.value("extras", json::array()))
    inputs.push_back(extra);
  return inputs;
}

Behind qlinear::run::behindOutput(const json &function, size_t output) {
  const json &reference = function.at("reference");
  std::vector<Behind> behind; // of each result
  auto of = [&](const json &value) {
    return value.contains("result") ? behind.at(value.at("result").get<size_t>())
                                    : Behind();
  };
  for (const json &op : reference.at("ops")) {
    Behind most;
    for (const json &input : inputsOf(op)) {
      Behind before = of(input);
      most.products = std::max(most.products, before.products);
      most.linears = std::max(most.linears, before.linears);
    }
    if (op.at("op") == "linear" || op.at("op") == "grouped_linear") {
      most.products += op.contains("yield") ? op.at("weights").size() : 1;
      ++most.linears;
    }
    behind.insert(behind.end(), resultsOf(op), most);
  }
  size_t count = reference.at("outputs").size();
  return of(output < count ? reference.at("outputs").at(output)
                           : reference.at("caches").at(output - count));
}

/// The op that writes a cache, or that has an input as the places in its caches.
static const json *opWithCache(const json &function, size_t input, bool asPlaces) {
  if (!function.contains("reference"))
    return nullptr;
  for (const json &op : function.at("reference").at("ops"))
    if (op.contains("caches"))
      for (const json &value : asPlaces ? op.at("inputs") : op.at("caches"))
        if (value == json{{"input", input}} &&
            (!asPlaces || &value == &op.at("inputs").back()))
          return &op;
  return nullptr;
}

int64_t qlinear::run::placesOf(const json &function, size_t input, int64_t rows,
                               bool asPlaces) {
  const json *op = opWithCache(function, input, asPlaces);
  if (!op || !op->at("inputs").back().contains("input"))
    return 0;
  size_t at = op->at("inputs").back().at("input");
  const json &shape = function.at("inputs").at(at).at("shape");
  int64_t m = shape.at(0);
  return (m < 0 ? rows : m) * shape.at(1).get<int64_t>() + 3;
}

int64_t qlinear::run::rowsToIndex(const json &function, const json &manifest,
                                  size_t input) {
  if (function.contains("reference"))
    for (const json &op : function.at("reference").at("ops"))
      if (op.at("op") == "embedding" && op.at("indices") == json{{"input", input}})
        return manifest.at("weights").at(op.at("weight").get<size_t>()).at("n");
  return 0;
}

int64_t qlinear::run::expertsOf(const json &function, size_t input) {
  if (function.contains("reference"))
    for (const json &op : function.at("reference").at("ops"))
      if (op.contains("experts") && op.at("inputs").at(1) == json{{"input", input}})
        return op.at("experts");
  return 0;
}

bool qlinear::run::quantizes(const json &function, Quantized quantized) {
  for (const json &op : function.at("reference").at("ops"))
    if (op.at("op") == "quantize" ||
        (quantized == Quantized::asForFewRows && op.value("int8", false)))
      return true;
  for (const json &input : function.at("inputs"))
    if (input.at("dtype") == "i8")
      return true;
  return false;
}

int64_t qlinear::run::activationColumns(const json &function, const json &manifest,
                                        const char *kind, size_t index) {
  bool input = std::string_view(kind) == "input";
  try {
    const json &reference = function.at("reference");
    size_t result = 0;
    json wanted = input ? json{{"input", index}} : reference.at("outputs").at(index);
    for (const json &op : reference.at("ops")) {
      bool linear = op.at("op") == "linear", quantize = op.at("op") == "quantize";
      bool reads = (linear || quantize) && op.at("x") == wanted;
      bool makes = !input && quantize && wanted == json{{"result", result}};
      if ((reads && input) || makes)
        return linear ? manifest.at("weights")
                            .at(op.at("weights").at(0).get<size_t>())
                            .at("k")
                            .get<int64_t>()
                      : op.at("k").get<int64_t>();
      result += resultsOf(op);
    }
  } catch (const std::exception &) { // evaluate() says what is wrong
  }
  return 0;
}
