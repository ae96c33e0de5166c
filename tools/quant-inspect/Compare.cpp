//===- Compare.cpp - What differs between two files of weights ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Inspect.h"

#include "common/Table.h"

#include "llvm/Support/FormatVariadic.h"

#include <algorithm>
#include <cmath>

using namespace qlinear;
using namespace qlinear::inspect;
using llvm::json::Array;
using llvm::json::Value;

namespace {

/// A weight, or a tensor that is none.
struct Entry {
  const SourceWeight *weight = nullptr;
  const Tensor *tensor = nullptr;

  std::string text() const {
    if (!weight)
      return tensor->type + " " + inspect::shapeText(tensor->shape);
    std::string kind = weight->native ? weight->native->str() : weight->format;
    return kind + " " + inspect::shapeText({weight->N, weight->K});
  }
  bool isReadable() const { return weight && weight->N && weight->K; }
  /// The bytes, if they are in one piece.
  std::span<const std::byte> bytes() const {
    if (!weight)
      return tensor->bytes;
    return weight->parts.size() == 1 ? weight->parts.front()->bytes
                                     : std::span<const std::byte>();
  }
};

/// All but key-values: in archives, GGUF's arrays are tensors.
std::map<std::string, Entry> entriesOf(const Checkpoint &checkpoint,
                                       const Inventory &inventory) {
  std::map<std::string, Entry> out;
  for (const SourceWeight &w : inventory.weights)
    out[w.name] = {&w, nullptr};
  for (const Tensor *t : inventory.others)
    out[t->name] = {nullptr, t};
  if (checkpoint.metadata().contains("qlinear"))
    if (auto archive = Archive::open(checkpoint))
      for (const auto &[name, carried] : archive->carried())
        if (carried.type.starts_with("array["))
          out.erase(name);
  return out;
}

/// How `b` differs from `a`; nothing if it does not.
Result<std::optional<Object>> difference(const Entry &a, const Entry &b) {
  bool sameForm = a.text() == b.text();
  if (sameForm && !a.bytes().empty() && std::ranges::equal(a.bytes(), b.bytes()))
    return std::optional<Object>();
  Object out{{"a", a.text()}, {"b", b.text()}};
  bool comparable = a.isReadable() && b.isReadable() && a.weight->N == b.weight->N &&
                    a.weight->K == b.weight->K;
  if (comparable) {
    auto x = floatsOf(*a.weight), y = x ? floatsOf(*b.weight) : x;
    if (!x || !y)
      return x ? y.takeError() : x.takeError();
    double quality = snrOf(*x, *y);
    if (std::isfinite(quality))
      out["snr_db"] = quality;
    else if (quality > 0)
      out["same_values"] = true;
    if (sameForm && quality == INFINITY)
      return std::optional<Object>();
  }
  return std::optional(std::move(out));
}

} // namespace

Result<Object> inspect::compare(const Checkpoint &a, const Checkpoint &b) {
  auto first = takeInventory(a), second = takeInventory(b);
  if (!first || !second)
    return first ? second.takeError() : first.takeError();
  std::map<std::string, Entry> left = entriesOf(a, *first),
                               right = entriesOf(b, *second);
  Array changes;
  int64_t same = 0;
  for (const auto &[name, entry] : left) {
    std::string key = llvm::json::fixUTF8(name);
    auto other = right.find(name);
    if (other == right.end()) {
      changes.push_back(Object{{"name", key}, {"a", entry.text()}});
      continue;
    }
    auto found = difference(entry, other->second);
    if (!found)
      return found.takeError();
    if (!*found) {
      ++same;
      continue;
    }
    (**found)["name"] = key;
    changes.push_back(std::move(**found));
  }
  for (const auto &[name, entry] : right)
    if (!left.contains(name))
      changes.push_back(
          Object{{"name", llvm::json::fixUTF8(name)}, {"b", entry.text()}});
  return Object{{"a", a.files().front()->path()},
                {"b", b.files().front()->path()},
                {"same", same},
                {"differences", std::move(changes)}};
}

std::string inspect::comparisonText(const Object &comparison) {
  const Array &changes = *comparison.getArray("differences");
  std::string out;
  if (!changes.empty()) {
    Table table({"tensor", comparison.getString("a")->str(),
                 comparison.getString("b")->str(), "SNR dB"},
                3);
    for (const Value &value : changes) {
      const Object &change = *value.getAsObject();
      auto quality = change.getNumber("snr_db");
      table.add({change.getString("name")->str(),
                 change.getString("a").value_or("-").str(),
                 change.getString("b").value_or("-").str(),
                 quality                     ? llvm::formatv("{0:f2}", *quality).str()
                 : change.get("same_values") ? "exact"
                                             : ""});
    }
    out = table.text() + "\n";
  }
  return out + llvm::formatv("{0} differ, {1} are the same\n", changes.size(),
                             *comparison.getInteger("same"))
                   .str();
}
