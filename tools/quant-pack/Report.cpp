//===- Report.cpp - What quant-pack prints --------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Report.h"

#include "common/Progress.h"
#include "common/Table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <tbb/parallel_for.h>

using namespace qlinear;
using nlohmann::json;

namespace {

std::string shapeOf(const std::vector<uint64_t> &shape) {
  std::string out;
  for (uint64_t d : shape)
    out += (out.empty() ? "" : "x") + std::to_string(d);
  return out.empty() ? "scalar" : out;
}

std::string decibels(double snr) {
  return std::isinf(snr) ? "exact" : fmt::format("{:.2f}", snr);
}

/// Sums over the weights that were packed or dequantized, and the rest.
struct Totals {
  uint64_t count = 0, before = 0, after = 0, carried = 0, carriedBytes = 0;
  double weights = 0, worstSnr = std::numeric_limits<double>::infinity();

  explicit Totals(const PackReport &report) {
    for (const TensorReport &t : report.tensors) {
      if (t.encodingName.empty()) {
        ++carried;
        carriedBytes += t.bytesAfter;
        continue;
      }
      ++count;
      before += t.bytesBefore;
      after += t.bytesAfter;
      weights += t.weights();
      if (t.packed)
        worstSnr = std::min(worstSnr, t.quality.tensorSnr);
    }
  }
};

/// What weights were taken for, with how many of them it is.
std::string assumptionText(const Assumption &a, uint64_t count) {
  return fmt::format("{} weight{} taken for {}{}, by {}{}", count,
                     count == 1 ? "" : "s", a.convention,
                     a.version.empty() ? "" : fmt::format(" ({})", a.version),
                     a.saidBy.empty() ? "the tensors alone" : a.saidBy,
                     a.zeros.empty() ? "" : ", zeros " + a.zeros);
}

/// A number, or null where it is not finite.
json number(double v) { return std::isfinite(v) ? json(v) : json(nullptr); }

json qualityOf(const Quality &q) {
  return {{"exact", std::isinf(q.tensorSnr)},
          {"tensor_snr_db", number(q.tensorSnr)},
          {"worst_row_snr_db", number(q.worstRowSnr)},
          {"worst_row", q.worstRow},
          {"group_error_p999", number(q.groupErrorP999)},
          {"worst_row_group_error", number(q.worstRowGroupError)},
          {"coherent_snr_db", number(q.coherentSnr)},
          {"differing_weights", q.differingWeights}};
}

json reportOf(const TensorReport &t) {
  json out = {{"name", t.name},
              {"shape", t.shape},
              {"source", t.source},
              {"action", t.packed                 ? "packed"
                         : t.encodingName.empty() ? "carried"
                                                  : "dequantized"},
              {"reason", t.reason},
              {"bytes_before", t.bytesBefore},
              {"bytes_after", t.bytesAfter},
              {"bpw_before", number(t.bitsBefore())},
              {"bpw_after", number(t.bitsAfter())}};
  if (!t.sourceName.empty())
    out["source_name"] = t.sourceName;
  if (t.reorderedHeads)
    out["rows"] = fmt::format("put from llama.cpp's order into transformers', {} heads",
                              t.reorderedHeads);
  if (const Assumption &a = t.assumed; !a.convention.empty())
    out["assumed"] = {{"convention", a.convention},
                      {"version", a.version.empty() ? json(nullptr) : json(a.version)},
                      {"said_by", a.saidBy.empty() ? json(nullptr) : json(a.saidBy)},
                      {"zeros", a.zeros.empty() ? json(nullptr) : json(a.zeros)}};
  if (!t.packed)
    return out;
  out["encoding"] = t.encoding->str();
  out["encoding_name"] = t.encodingName;
  out["xxh3"] = t.checksum;
  out["quality"] = qualityOf(t.quality);
  if (t.floatSnr)
    out["float_snr_db"] = number(*t.floatSnr);
  if (t.requantized)
    out["requantized"] = true;
  out["declined"] = json::array();
  for (const Candidate &c : t.declined)
    out["declined"].push_back({{"encoding", c.encoding.str()},
                               {"bpw", number(c.quality.bitsPerWeight)},
                               {"rows_measured", c.rowsMeasured},
                               {"quality", qualityOf(c.quality)},
                               {"reason", c.reason}});
  return out;
}

} // namespace

void qlinear::printTable(const PackReport &report) {
  bool hasFloats = std::any_of(report.tensors.begin(), report.tensors.end(),
                               [](const auto &t) { return t.floatSnr.has_value(); });
  std::vector<std::string> header = {"tensor", "shape",  "source", "encoding",
                                     "bpw",    "-> bpw", "SNR dB", "worst row"};
  if (hasFloats)
    header.push_back("vs floats");
  header.push_back("");
  Table table(header, 4);
  for (const TensorReport &t : report.tensors) {
    std::string after = fmt::format("{:.3f}", t.bitsAfter());
    std::vector<std::string> row = {t.name,
                                    shapeOf(t.shape),
                                    t.source,
                                    t.encodingName.empty() ? "-" : t.encodingName,
                                    t.weights() ? fmt::format("{:.3f}", t.bitsBefore())
                                                : "-",
                                    t.weights() ? after : "-"};
    row.push_back(t.packed ? decibels(t.quality.tensorSnr) : "");
    row.push_back(t.packed ? decibels(t.quality.worstRowSnr) : "");
    if (hasFloats)
      row.push_back(t.floatSnr ? decibels(*t.floatSnr) : "");
    row.push_back(t.packed ? "" : t.reason);
    table.add(std::move(row));
  }
  fmt::print("{}", table.text());

  Totals totals(report);
  fmt::print("\n{} weights: {} -> {}", totals.count, sizeText(double(totals.before)),
             sizeText(double(totals.after)));
  if (totals.weights)
    fmt::print(", {:.3f} -> {:.3f} bits per weight",
               8.0 * double(totals.before) / totals.weights,
               8.0 * double(totals.after) / totals.weights);
  fmt::print("; {} tensors carried over, {}; file {}\n", totals.carried,
             sizeText(double(totals.carriedBytes)), sizeText(double(report.fileBytes)));
  auto count = [&](auto is) {
    return std::count_if(report.tensors.begin(), report.tensors.end(), is);
  };
  if (auto renamed = count([](auto &t) { return !t.sourceName.empty(); }))
    fmt::print("{} tensors have transformers' names; the rows of {} were put from "
               "llama.cpp's order for rotary embeddings into transformers'\n",
               renamed, count([](auto &t) { return t.reorderedHeads != 0; }));
  double worst = std::numeric_limits<double>::infinity();
  for (const TensorReport &t : report.tensors)
    if (t.requantized)
      worst = std::min(worst, *t.floatSnr);
  if (auto anew = count([](auto &t) { return t.requantized; }))
    fmt::print("{} quantized weights were quantized anew; the worst of them keeps {} "
               "dB of the source's values\n",
               anew, decibels(worst));
  std::map<Assumption, uint64_t> assumed;
  for (const TensorReport &t : report.tensors)
    if (!t.assumed.convention.empty() && t.assumed.convention != "GGUF")
      ++assumed[t.assumed];
  for (const auto &[assumption, count] : assumed)
    fmt::print("{}\n", assumptionText(assumption, count));
}

Result<void> qlinear::writeReport(const PackReport &report, const std::string &input,
                                  const std::string &output, const SelectionRule &rule,
                                  OutputFile &file) {
  Totals totals(report);
  json out = {{"version", 1},
              {"input", input},
              {"output", output},
              {"encoding", rule.name},
              {"min_snr_db", rule.minSnr},
              {"totals",
               {{"weights", totals.count},
                {"carried", totals.carried},
                {"bytes_before", totals.before},
                {"bytes_after", totals.after},
                {"carried_bytes", totals.carriedBytes},
                {"file_bytes", report.fileBytes}}},
              {"tensors", json::array()}};
  if (totals.weights) {
    out["totals"]["bpw_before"] = 8.0 * double(totals.before) / totals.weights;
    out["totals"]["bpw_after"] = 8.0 * double(totals.after) / totals.weights;
    out["totals"]["worst_tensor_snr_db"] = number(totals.worstSnr);
  }
  out["notes"] = report.notes;
  for (const TensorReport &t : report.tensors)
    out["tensors"].push_back(reportOf(t));

  std::string text = out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  return file.append(text);
}

Result<void> qlinear::printContents(const Checkpoint &checkpoint) {
  // A file that cannot be packed can still be looked at.
  auto inventory = takeInventory(checkpoint);
  std::map<const Tensor *, const SourceWeight *> weightOf;
  std::map<std::string, uint64_t> formats;
  bool isArchive = !checkpoint.isGguf() && checkpoint.metadata().contains("qlinear");
  if (isArchive && !inventory)
    return inventory.takeError();
  if (inventory)
    for (const SourceWeight &w : inventory->weights) {
      if (!w.isFloat)
        ++formats[!w.foreign.empty() ? w.format + ", carried over"
                  : w.defect.empty() ? w.format
                                     : w.format + ", cannot be read"];
      for (const Tensor *t : w.parts)
        weightOf.emplace(t, &w);
    }
  Table table({"tensor", "type", "shape", "encoding", "bytes", ""}, 4);
  uint64_t total = 0;
  for (const Tensor &t : checkpoint.tensors()) {
    total += t.bytes.size();
    auto at = weightOf.find(&t);
    const SourceWeight *w = at == weightOf.end() ? nullptr : at->second;
    std::string type = t.type, shape = shapeOf(t.shape), encoding = "-", note;
    if (w && w->isPacked) {
      type = w->format;
      shape = shapeOf({w->N, w->K});
      encoding = w->native->str();
    } else if (w && !(w->defect + w->foreign).empty()) {
      encoding = w->format;
      note = w->parts.front() == &t ? w->defect + w->foreign : "";
    } else if (w && !w->isFloat && !checkpoint.isGguf()) {
      encoding = w->format;
      note = fmt::format("of {}, {}", w->name, shapeOf({w->N, w->K}));
    }
    table.add({t.name, type, shape, encoding, std::to_string(t.bytes.size()), note});
  }
  fmt::print("{}", table.text());
  std::string kind = checkpoint.isGguf()
                         ? fmt::format("GGUF v{}", checkpoint.ggufVersion())
                         : "safetensors";
  uint64_t count = 0;
  std::string list;
  for (const auto &[format, n] : formats) {
    count += n;
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", n, format);
  }
  if (isArchive)
    kind = fmt::format("packed archive, {} weights", count);
  else if (count && !checkpoint.isGguf())
    kind += fmt::format(", {} quantized weights ({})", count, list);
  fmt::print("\n{}: {} tensors, {}\n", kind, checkpoint.tensors().size(),
             sizeText(double(total)));
  if (!inventory)
    fmt::print("cannot be packed: {}\n", inventory.error());
  return {};
}

Result<void> qlinear::checkArchive(const Checkpoint &checkpoint) {
  auto archive = Archive::open(checkpoint);
  if (!archive)
    return archive.takeError();
  std::vector<const PackedWeight *> weights;
  uint64_t bytes = 0;
  for (const auto &[name, weight] : archive->weights()) {
    weights.push_back(&weight);
    bytes += weight.blob.size();
  }
  std::vector<std::string> wrong(weights.size());
  tbb::parallel_for(size_t(0), weights.size(), [&](size_t i) {
    if (auto r = weights[i]->verify(); !r)
      wrong[i] = r.error();
    checkpoint.release(*checkpoint.find(weights[i]->name));
  });
  std::string text;
  size_t count = 0;
  for (const std::string &message : wrong)
    if (!message.empty() && ++count <= 10)
      text += (text.empty() ? "" : "\n  ") + message;
  if (count > 10)
    text += fmt::format("\n  and {} more", count - 10);
  if (count)
    return error(fmt::format("'{}': {}", checkpoint.files().front()->path(), text));
  fmt::print("{} weights, {}: all as packed\n", weights.size(),
             sizeText(double(bytes)));
  return {};
}
