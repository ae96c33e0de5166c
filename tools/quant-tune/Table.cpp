//===- Table.cpp - Plans and tables as files ------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tune.h"
#include "qlinear/Encoding/JsonDepth.h"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>

using namespace qlinear;
using namespace qlinear::tune;
using nlohmann::json;
using nlohmann::ordered_json;

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

Result<std::string> tune::readJsonText(const std::string &path,
                                       const std::string &hint) {
  std::ifstream in(path);
  if (!in)
    return error(fmt::format("cannot read '{}'{}", path, hint));
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (Result<void> shallow = checkJsonDepth(text); !shallow)
    return error(fmt::format("'{}' {}", path, shallow.error()));
  return text;
}

//===----------------------------------------------------------------------===//
// Plans
//===----------------------------------------------------------------------===//

Result<void> tune::writePlan(const std::string &folder, const Plan &plan) {
  ordered_json layers = ordered_json::array();
  for (const Generated &g : plan.layers) {
    ordered_json layer = {{"name", g.layer.name}, {"artifact", g.artifact}};
    layer["rows"] = g.layer.rows;
    layer["input"] = g.layer.input;
    layer["output"] = g.layer.output;
    layer["activations"] = g.layer.activations;
    for (const Layer::Weight &w : g.layer.weights)
      layer["weights"].push_back({{"encoding", w.encoding}, {"n", w.n}, {"k", w.k}});
    for (const Kernel &kernel : g.kernels)
      layer["kernels"].push_back({{"family", kernel.family}, {"rows", kernel.rows}});
    for (const Candidate &c : g.candidates)
      layer["candidates"].push_back({{"function", c.function},
                                     {"family", c.kernel.family},
                                     {"rows", c.kernel.rows},
                                     {"fields", c.fields},
                                     {"setting", c.setting}});
    layers.push_back(layer);
  }
  ordered_json document = {{"version", 4}, {"target", plan.target}, {"layers", layers}};
  return writeOutput(folder + "/tune.json", document.dump(1) + "\n");
}

Result<Plan> tune::readPlan(const std::string &folder) {
  std::string path = folder + "/tune.json";
  Result<std::string> text = readJsonText(path, "; make it with quant-tune generate");
  if (!text)
    return text.takeError();
  try {
    json document = json::parse(*text);
    if (document.at("version") != 4)
      return error(fmt::format("'{}' is of version {}, not 4; generate it again", path,
                               document["version"].dump()));
    Plan plan{document.at("target"), {}};
    for (const json &item : document.at("layers")) {
      Generated g;
      g.layer.name = item.at("name");
      g.artifact = item.at("artifact");
      g.layer.rows = item.at("rows").get<std::vector<int64_t>>();
      g.layer.input = item.at("input");
      g.layer.output = item.at("output");
      g.layer.activations = item.at("activations");
      for (const json &w : item.at("weights")) {
        std::string encoding = w.at("encoding");
        if (Result<Encoding> parsed = Encoding::parse(encoding); !parsed)
          return error(
              fmt::format("'{}': encoding '{}': {}", path, encoding, parsed.error()));
        g.layer.weights.push_back({encoding, w.at("n"), w.at("k")});
      }
      for (const json &k : item.at("kernels"))
        g.kernels.push_back({k.at("family"), k.at("rows")});
      for (const json &c : item.at("candidates"))
        g.candidates.push_back({c.at("function"),
                                {c.at("family"), c.at("rows")},
                                c.at("fields"),
                                c.at("setting")});
      if (g.layer.rows.empty() || g.layer.weights.empty() || g.kernels.empty() ||
          g.candidates.empty())
        return error(fmt::format("'{}': layer '{}' has no rows, weights or candidates",
                                 path, g.layer.name));
      plan.layers.push_back(std::move(g));
    }
    return plan;
  } catch (const json::exception &e) {
    return error(fmt::format("'{}': {}", path, e.what()));
  }
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

/// What an entry is for: target, activations, weights.
static std::string keyOf(const ordered_json &entry) {
  std::string key =
      entry.at("target").get<std::string>() + "|" + entry.value("activations", "int8");
  for (const ordered_json &w : entry.at("weights")) {
    Result<Encoding> parsed = Encoding::parse(w.at("encoding").get<std::string>());
    key += fmt::format("|{}|{}|{}",
                       parsed ? parsed->str() : w.at("encoding").get<std::string>(),
                       w.at("n").get<int64_t>(), w.at("k").get<int64_t>());
  }
  return key;
}

Result<ordered_json> tune::readTable(const std::string &path) {
  Result<std::string> text = readJsonText(path);
  if (!text)
    return text.takeError();
  size_t index = 0;
  try {
    ordered_json table = ordered_json::parse(*text);
    if (!table.is_array())
      return error(fmt::format("'{}' is not a schedule table: no JSON array", path));
    for (const ordered_json &entry : table) {
      (void)keyOf(entry);
      (void)entry.at("schedule").get<std::string>();
      ++index;
    }
    return table;
  } catch (const json::parse_error &e) {
    return error(fmt::format("'{}': {}", path, e.what()));
  } catch (const json::exception &e) {
    return error(fmt::format("'{}', entry {}: {}", path, index, e.what()));
  }
}

ordered_json tune::merge(const std::vector<ordered_json> &tables) {
  ordered_json merged = ordered_json::array();
  std::map<std::string, size_t> places;
  for (const ordered_json &table : tables)
    for (const ordered_json &entry : table) {
      auto [it, added] = places.try_emplace(keyOf(entry), merged.size());
      if (added)
        merged.push_back(entry);
      else
        merged[it->second] = entry;
    }
  return merged;
}

Result<void> tune::writeTable(OutputFile &file, const ordered_json &table) {
  std::string text = "[";
  for (const ordered_json &entry : table)
    text += (text.size() > 1 ? ",\n " : "") + entry.dump();
  if (Result<void> written = file.append(text + "]\n"); !written)
    return written;
  return file.publish();
}
