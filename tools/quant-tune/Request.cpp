//===- Request.cpp - Shapes to tune, and schedules as text ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tune.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <regex>

using namespace qlinear;
using namespace qlinear::tune;
using nlohmann::json;

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

namespace {

constexpr std::array<const char *, 5> kFamilies = {"gemv", "gemm", "cpu_gemv",
                                                   "cpu_gemm", "schedule"};

/// A mistake in the request, thrown inside this file.
struct Bad {
  std::string what;
};

const json &need(const json &object, const char *key, const std::string &where) {
  if (!object.is_object() || !object.contains(key))
    throw Bad{fmt::format("{} has no \"{}\"", where, key)};
  return object[key];
}

int64_t positive(const json &value, const std::string &where) {
  if (!value.is_number_integer() || value.get<int64_t>() <= 0)
    throw Bad{fmt::format("{} is {}, not a positive integer", where, value.dump())};
  return value.get<int64_t>();
}

std::string word(const json &value, const std::string &where) {
  if (!value.is_string())
    throw Bad{fmt::format("{} is {}, not a string", where, value.dump())};
  return value.get<std::string>();
}

/// One of `names`.
std::string oneOf(const json &object, const char *key, const std::string &otherwise,
                  std::initializer_list<const char *> names, const std::string &where) {
  if (!object.contains(key))
    return otherwise;
  std::string value = word(object[key], fmt::format("{}: \"{}\"", where, key)), list;
  for (const char *name : names) {
    if (value == name)
      return value;
    list += (list.empty() ? "" : ", ") + std::string(name);
  }
  throw Bad{fmt::format("{}: \"{}\" is '{}'; there are {}", where, key, value, list)};
}

Layer::Weight weightOf(const json &w, const std::string &encoding,
                       const std::string &where) {
  Result<Encoding> parsed = Encoding::parse(encoding);
  if (!parsed)
    throw Bad{fmt::format("{}: encoding '{}': {}", where, encoding, parsed.error())};
  Layer::Weight weight{parsed->str(), positive(need(w, "n", where), where + ": \"n\""),
                       positive(need(w, "k", where), where + ": \"k\"")};
  if (Result<void> fits = parsed->verifyShape(uint64_t(weight.n), uint64_t(weight.k));
      !fits)
    throw Bad{fmt::format("{}: {}", where, fits.error())};
  return weight;
}

/// The layers of one item: one per encoding of its "encodings".
void addLayers(const json &item, size_t index, std::vector<Layer> &layers) {
  std::string where = fmt::format("layer {}", index);
  Layer layer;
  layer.name = word(need(item, "name", where), where + ": \"name\"");
  where = fmt::format("layer '{}'", layer.name);
  layer.input = oneOf(item, "input", "bf16", {"bf16", "f16", "f32", "int8"}, where);
  layer.output = oneOf(item, "output", "bf16", {"bf16", "f16", "f32"}, where);
  layer.activations = oneOf(item, "activations", "int8", {"int8", "float"}, where);
  if (layer.input == "int8" && layer.activations == "float")
    throw Bad{fmt::format("{}: \"input\" is int8 already, and \"activations\" are "
                          "float; give an input of floats",
                          where)};
  if (item.contains("m"))
    throw Bad{fmt::format("{}: \"m\" is not known; give \"rows\", each of which gets a "
                          "kernel of its own",
                          where)};
  if (item.contains("rows"))
    for (const json &m : item["rows"])
      layer.rows.push_back(positive(m, where + ": \"rows\""));
  if (layer.rows.empty())
    layer.rows = {1};
  const json &weights = need(item, "weights", where);
  if (!weights.is_array() || weights.empty())
    throw Bad{fmt::format("{}: \"weights\" is not a list of weights", where)};
  std::vector<std::string> shared;
  if (item.contains("encodings"))
    for (const json &e : item["encodings"])
      shared.push_back(word(e, where + ": \"encodings\""));
  if (shared.empty())
    shared.push_back("");
  for (const std::string &encoding : shared) {
    Layer each = layer;
    for (const json &w : weights)
      each.weights.push_back(
          weightOf(w,
                   !encoding.empty() && !w.contains("encoding")
                       ? encoding
                       : word(need(w, "encoding", where), where + ": \"encoding\""),
                   where));
    layers.push_back(std::move(each));
  }
}

Space spaceOf(const json &vary) {
  Space space;
  for (auto &[family, fields] : vary.items()) {
    std::string where = fmt::format("\"vary\": \"{}\"", family);
    if (std::find(kFamilies.begin(), kFamilies.end(), family) == kFamilies.end())
      throw Bad{fmt::format("{} is no family of kernels; there are {}", where,
                            fmt::join(kFamilies, ", "))};
    if (!fields.is_object())
      throw Bad{fmt::format("{} is {}, not an object of fields", where, fields.dump())};
    for (auto &[field, values] : fields.items()) {
      if (!values.is_array())
        throw Bad{fmt::format("{}: \"{}\" is not a list of values", where, field)};
      for (const json &v : values)
        space[family][field].push_back(v.is_string() ? v.get<std::string>() : v.dump());
    }
  }
  return space;
}

} // namespace

Result<Request> tune::readRequest(const std::string &path) {
  Result<std::string> text = readJsonText(path);
  if (!text)
    return text.takeError();
  try {
    json document = json::parse(*text);
    Request request;
    if (document.contains("target"))
      request.target = word(document["target"], "\"target\"");
    if (document.contains("vary"))
      request.vary = spaceOf(document["vary"]);
    else
      request.vary = {
          {"gemv",
           {{"warps", {"8", "12", "16"}},
            {"stages", {"2", "3", "4"}},
            {"grid", {"even"}}}},
          {"gemm", {{"warps", {"4", "8", "12"}}, {"stages", {"2", "3", "4"}}}},
          {"cpu_gemv", {{"tiles", {"1", "2", "4"}}}},
          {"cpu_gemm",
           {{"tiles", {"1", "2", "4", "8"}}, {"tokens", {"32", "64", "128"}}}}};
    const json &layers = need(document, "layers", "the file");
    if (!layers.is_array() || layers.empty())
      throw Bad{"\"layers\" is not a list of layers"};
    for (size_t i = 0; i < layers.size(); ++i)
      addLayers(layers[i], i, request.layers);
    return request;
  } catch (const json::exception &e) {
    return error(fmt::format("'{}': {}", path, e.what()));
  } catch (const Bad &bad) {
    return error(fmt::format("'{}': {}", path, bad.what));
  }
}

//===----------------------------------------------------------------------===//
// Schedules as text
//===----------------------------------------------------------------------===//

std::string Kernel::text(const std::string &fields) const {
  return fmt::format("#qlinear.{}<rows = {}{}>", family, rows, fields);
}

std::vector<Kernel> tune::kernelsOf(const std::string &schedule) {
  static const std::regex kernel("#qlinear\\.(\\w+)<rows = (\\w+)");
  std::vector<Kernel> kernels;
  for (std::sregex_iterator it(schedule.begin(), schedule.end(), kernel), end;
       it != end; ++it)
    kernels.push_back({(*it)[1], (*it)[2]});
  return kernels;
}

const Kernel &tune::kernelFor(const std::vector<Kernel> &kernels, int64_t M) {
  auto takes = [&](const Kernel &kernel) {
    return kernel.rows == "any" || std::atoll(kernel.rows.c_str()) >= M;
  };
  auto found = std::find_if(kernels.begin(), kernels.end(), takes);
  return found == kernels.end() ? kernels.back() : *found;
}

std::string tune::scheduleText(const std::vector<std::string> &kernels,
                               const std::string &setting) {
  return fmt::format("#qlinear.schedule<kernels = [{}]{}>", fmt::join(kernels, ", "),
                     setting);
}

std::string tune::scheduleText(const Candidate &candidate) {
  return scheduleText({candidate.kernel.text(candidate.fields)}, candidate.setting);
}

std::string tune::fieldOf(const std::string &schedule, const std::string &field) {
  size_t at = schedule.find(" " + field + " = ");
  if (at == std::string::npos)
    return "";
  at += field.size() + 4;
  return schedule.substr(at, schedule.find_first_of(",>", at) - at);
}

/// As many blocks as share the tiles of 16 rows evenly, at most `blocks`.
static std::string evenGrid(const Layer &layer, const std::string &blocks) {
  int64_t tiles = 0, most = std::max<int64_t>(1, std::atoll(blocks.c_str()));
  for (const Layer::Weight &w : layer.weights)
    tiles += (w.n + 15) / 16;
  int64_t each = (tiles + most - 1) / most;
  return std::to_string((tiles + each - 1) / each);
}

std::vector<Candidate> tune::candidatesOf(const std::string &model, const Layer &layer,
                                          const Kernel &kernel, const Space &space) {
  std::vector<Candidate> all = {{"", kernel, "", ""}};
  auto vary = [&](const std::string &family, std::string Candidate::*text) {
    auto fields = space.find(family);
    if (fields == space.end())
      return;
    for (auto &[field, values] : fields->second) {
      // What there is so far, with this field left to the model and with each value.
      std::vector<Candidate> more;
      for (const Candidate &c : all) {
        more.push_back(c);
        for (const std::string &value : values) {
          more.push_back(c);
          bool even = field == "grid" && value == "even";
          more.back().*text +=
              fmt::format(", {} = {}", field,
                          even ? evenGrid(layer, fieldOf(model, "grid")) : value);
        }
      }
      all = std::move(more);
    }
  };
  vary(kernel.family, &Candidate::fields);
  vary("schedule", &Candidate::setting);
  return all;
}
