//===- Artifacts.cpp - What quant-compile wrote ---------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ArtifactFile.h"
#include "Inspect.h"

#include "common/Progress.h"
#include "common/Table.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace qlinear;
using namespace qlinear::inspect;
using llvm::formatv;
using llvm::StringRef;
using llvm::json::Array;
using llvm::json::Value;

bool inspect::isArtifact(const std::string &path) {
  auto file = MappedFile::open(path);
  if (!file || (*file)->bytes().size() < 4)
    return false;
  auto bytes = (*file)->bytes();
  return bytes[0] == std::byte(0x7f) && bytes[1] == std::byte('E') &&
         bytes[2] == std::byte('L') && bytes[3] == std::byte('F');
}

Result<Object> inspect::describeArtifact(const std::string &path) {
  auto file = ArtifactFile::open(path);
  if (!file)
    return error(toString(file.takeError()));
  auto manifest = llvm::json::parse(file->manifest);
  if (!manifest || !manifest->getAsObject()) {
    llvm::consumeError(manifest.takeError());
    return error("'" + path + "' is not an artifact: its manifest is no JSON object");
  }
  Array images;
  Object registers;
  for (const ArtifactImage &image : file->images) {
    if (image.data.empty())
      continue;
    images.push_back(Object{{"name", image.name}, {"bytes", image.data.size()}});
    if (StringRef target = image.name; target.consume_back("/cubin")) {
      Object counts;
      for (const auto &entry : registersOf(image.data))
        counts[entry.getKey().str()] = entry.getValue();
      registers[target.str()] = std::move(counts);
    }
  }
  return Object{{"file", path},
                {"kind", "artifact"},
                {"architecture", file->architecture},
                {"bytes", file->file->getBufferSize()},
                {"images", std::move(images)},
                {"registers", std::move(registers)},
                {"manifest", std::move(*manifest)}};
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

/// A manifest may be anything that is JSON: what is not there is left out.
static std::string text(const Value *value) {
  if (!value)
    return "-";
  if (auto string = value->getAsString())
    return string->str();
  return formatv("{0}", *value);
}
static const Array &list(const Object &object, StringRef key) {
  static const Array empty;
  const Array *array = object.getArray(key);
  return array ? *array : empty;
}
static const Object &object(const Value &value) {
  static const Object empty;
  const Object *found = value.getAsObject();
  return found ? *found : empty;
}

/// "f32 [M,256]".
static std::string tensorText(const Value &value) {
  std::string shape;
  for (const Value &d : list(object(value), "shape"))
    shape += (shape.empty() ? "" : ",") +
             (d.getAsInteger() == -1   ? std::string("M")
              : d.getAsInteger() == -2 ? std::string("R") // of a cache
                                       : text(&d));
  return text(object(value).get("dtype")) + " [" + shape + "]";
}

static std::string tensorsText(const Object &function, StringRef key) {
  std::vector<std::string> parts;
  for (const Value &tensor : list(function, key))
    parts.push_back(tensorText(tensor));
  return llvm::join(parts, ", ");
}

/// The weights that a function multiplies with.
static std::string weightsText(const Object &function, const Array &weights) {
  std::vector<std::string> names;
  for (const Value &step : list(function, "steps"))
    for (const Value &arg : list(object(step), "args"))
      if (auto number = object(arg).getInteger("weight");
          number && *number >= 0 && size_t(*number) < weights.size())
        names.push_back(text(object(weights[size_t(*number)]).get("name")));
  return llvm::join(names, ", ");
}

static void addKernels(Table &table, const Object &function, const Object &registers) {
  for (const Value &step : list(function, "steps"))
    for (const Value &value : list(object(step), "kernels")) {
      const Object &kernel = object(value);
      auto rows = kernel.getInteger("rows");
      std::string name = text(kernel.get("name"));
      table.add({text(function.get("name")), name,
                 rows == 0x7fffffff ? "any" : text(kernel.get("rows")),
                 text(kernel.get(kernel.get("items") ? "items" : "grid")),
                 text(kernel.get("block")), text(kernel.get("smem")),
                 text(registers.get(name)), ""});
    }
}

std::string inspect::artifactText(const Object &artifact) {
  const Object &manifest = *artifact.getObject("manifest");
  const Array &weights = list(manifest, "weights"),
              &targets = list(manifest, "targets");
  std::string out = formatv(
      "{0}: artifact of {1} for {2}, layout {3}, {4}\n\n", *artifact.getString("file"),
      text(manifest.get("producer")), *artifact.getString("architecture"),
      text(manifest.get("layout")), sizeText(double(*artifact.getInteger("bytes"))));
  Table weightTable({"weight", "encoding", "shape", "bytes", "xxh3"}, 3);
  for (const Value &value : weights) {
    const Object &w = object(value);
    weightTable.add({text(w.get("name")), text(w.get("encoding")),
                     text(w.get("n")) + " x " + text(w.get("k")), text(w.get("bytes")),
                     w.get("image") ? "in the artifact" : text(w.get("xxh3"))});
  }
  if (!weights.empty())
    out += weightTable.text() + "\n";
  // Signatures are the same for all targets.
  Table functions({"function", "inputs", "outputs", "weights"}, 4);
  if (!targets.empty())
    for (const Value &value : list(object(targets[0]), "functions")) {
      const Object &function = object(value);
      functions.add({text(function.get("name")), tensorsText(function, "inputs"),
                     tensorsText(function, "outputs"),
                     ::weightsText(function, weights)});
    }
  out += functions.text();
  for (const Value &value : targets) {
    const Object &target = object(value);
    std::string name = text(target.get("target"));
    const Object *registers = artifact.getObject("registers")->getObject(name);
    bool isCpu = StringRef(name).starts_with("cpu");
    Table kernels({name, "kernel", "rows up to", isCpu ? "items" : "blocks", "threads",
                   "shared", "registers", ""},
                  2);
    for (const Value &function : list(target, "functions"))
      addKernels(kernels, object(function), registers ? *registers : Object());
    out += "\n" + kernels.text();
  }
  if (const Array &images = list(artifact, "images"); !images.empty()) {
    Table table({"image", "bytes", ""}, 1);
    for (const Value &image : images)
      table.add(
          {text(object(image).get("name")), text(object(image).get("bytes")), ""});
    out += "\n" + table.text();
  }
  return out;
}
