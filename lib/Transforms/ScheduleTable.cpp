//===- ScheduleTable.cpp - Measured schedules -----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ScheduleTable.h"
#include "qlinear/Encoding/JsonDepth.h"

#include "mlir/AsmParser/AsmParser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <dlfcn.h>

using namespace mlir;
using namespace mlir::qlinear;
using namespace ::qlinear;
namespace fs = llvm::sys::fs;

//===----------------------------------------------------------------------===//
// Where tables lie
//===----------------------------------------------------------------------===//

/// share/qlinear/schedules beside the folder of the program or library that this code
/// is in: of the build or of an installed package.
static std::string shippedTables() {
  SmallVector<std::string, 2> places;
  Dl_info info;
  if (dladdr(reinterpret_cast<void *>(&shippedTables), &info) && info.dli_fname)
    places.push_back(info.dli_fname);
  places.push_back(
      fs::getMainExecutable(nullptr, reinterpret_cast<void *>(&shippedTables)));
  for (const std::string &place : places) {
    SmallString<256> path;
    if (fs::real_path(place, path))
      continue;
    path = llvm::sys::path::parent_path(llvm::sys::path::parent_path(path));
    llvm::sys::path::append(path, "share", "qlinear", "schedules");
    if (fs::is_directory(path))
      return path.str().str();
  }
  return "";
}

/// The names of the tables in a folder.
static std::string namesIn(const std::string &folder) {
  SmallVector<std::string> names;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; it != end && !ec; it.increment(ec))
    if (llvm::sys::path::extension(it->path()) == ".json")
      names.push_back(llvm::sys::path::stem(it->path()).str());
  llvm::sort(names);
  return llvm::join(names, ", ");
}

/// The contents of a table given by file or by name.
static FailureOr<std::unique_ptr<llvm::MemoryBuffer>> open(StringRef table,
                                                           Location loc) {
  auto file = llvm::MemoryBuffer::getFile(table);
  if (file)
    return std::move(*file);
  bool isName = !table.contains('/') && !table.contains('.');
  std::string folder = isName ? shippedTables() : "";
  if (!folder.empty())
    if (auto shipped = llvm::MemoryBuffer::getFile(folder + "/" + table + ".json"))
      return std::move(*shipped);
  InFlightDiagnostic error = emitError(loc, "cannot read the schedule table ")
                             << table << ": " << file.getError().message();
  if (isName)
    error << "; the compiler comes with: "
          << (folder.empty() ? std::string("none") : namesIn(folder));
  return error;
}

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

/// What an entry for the target is found by: what x is multiplied as, then the weights.
static void addWeight(std::string &key, StringRef encoding, uint64_t n, uint64_t k) {
  key += ("|" + encoding + "|" + Twine(n) + "|" + Twine(k)).str();
}

/// "cuda:sm_90" for "cuda:sm_90a": kernels for that run on this.
static StringRef withoutSuffix(StringRef target) {
  return target.starts_with("cuda:sm_") ? target.rtrim("af") : target;
}

LogicalResult ScheduleTable::read(StringRef table, StringRef target,
                                  MLIRContext *context) {
  Location loc = UnknownLoc::get(context);
  auto file = open(table, loc);
  if (failed(file))
    return failure();
  if (auto shallow = checkJsonDepth(std::string_view((*file)->getBuffer())); !shallow)
    return emitError(loc, "schedule table ") << table << " " << shallow.error();
  auto json = llvm::json::parse((*file)->getBuffer());
  if (!json)
    return emitError(loc, "schedule table ")
           << table << ": " << llvm::toString(json.takeError());
  const llvm::json::Array *list = json->getAsArray();
  if (!list)
    return emitError(loc, "schedule table ") << table << " is not a JSON array";
  std::optional<GpuChip> chip = GpuChip::ofTarget(target);
  llvm::StringMap<ScheduleAttr> ofChip; // of sm_90, where sm_90a is compiled for
  for (auto [index, value] : llvm::enumerate(*list)) {
    std::string name = ("schedule table " + table + ", entry " + Twine(index)).str();
    const llvm::json::Object *entry = value.getAsObject();
    const llvm::json::Array *weights = entry ? entry->getArray("weights") : nullptr;
    auto where = entry ? entry->getString("target") : std::nullopt;
    auto text = entry ? entry->getString("schedule") : std::nullopt;
    if (!weights || !where || !text)
      return emitError(loc, name) << " needs \"target\", \"weights\" and \"schedule\"";
    if (!where->starts_with("cpu") && !GpuChip::ofTarget(*where))
      return emitError(loc, name) << ": unknown target '" << *where
                                  << "'; targets are cuda:sm_NN, cuda:emulated and "
                                     "cpu:ISA";
    if (entry->get("m"))
      return emitError(loc, name)
             << " has \"m\", but an entry is for any M; its schedule has a kernel for "
                "each number of rows";
    StringRef activations = entry->getString("activations").value_or("int8");
    if (!symbolizeActivationKind(activations))
      return emitError(loc, name) << ": \"activations\" is '" << activations
                                  << "'; it is int8 (the default) or float";
    std::string key = activations.str();
    name += " (" + where->str();
    for (const llvm::json::Value &weight : *weights) {
      const llvm::json::Object *w = weight.getAsObject();
      auto spelled = w ? w->getString("encoding") : std::nullopt;
      auto n = w ? w->getInteger("n") : std::nullopt;
      auto k = w ? w->getInteger("k") : std::nullopt;
      if (!spelled || !n || !k)
        return emitError(loc, name)
               << "): a weight needs \"encoding\", \"n\" and \"k\"";
      name += (", " + Twine(*n) + "x" + Twine(*k) + " <" + *spelled + ">").str();
      auto encoding = ::qlinear::Encoding::parse(std::string_view(*spelled));
      if (!encoding)
        return emitError(loc, name) << "): " << encoding.error();
      if (*n < 1 || *k < 1)
        return emitError(loc, name) << "): \"n\" and \"k\" have to be positive";
      if (auto fits = encoding->verifyShape(uint64_t(*n), uint64_t(*k)); !fits)
        return emitError(loc, name) << "): " << fits.error();
      addWeight(key, encoding->str(), uint64_t(*n), uint64_t(*k));
    }
    auto schedule = dyn_cast_if_present<ScheduleAttr>(parseAttribute(*text, context));
    if (!schedule)
      return emitError(loc, name) << "): '" << *text << "' is not a #qlinear.schedule";
    bool exact = *where == target;
    if (!exact && *where != withoutSuffix(target))
      continue;
    if (std::string why = whyMisfit(schedule, chip, target); !why.empty())
      return emitError(loc, name) << "): " << why << "; measure the table on it";
    if (exact)
      entries[key] = schedule;
    else // what is measured on the variant itself goes first
      ofChip[key] = schedule;
  }
  for (const auto &entry : ofChip)
    entries.try_emplace(entry.first(), entry.second);
  if (entries.empty() && chip)
    emitWarning(loc, "schedule table ")
        << table << " has no entry for the target " << target
        << "; the cost model chooses all schedules";
  return success();
}

ScheduleAttr ScheduleTable::find(LinearOp op) const {
  if (entries.empty())
    return {};
  std::string key = stringifyActivationKind(op.getFormat().getKind()).str();
  for (Value weight : op.getWeights()) {
    auto type = cast<WeightType>(weight.getType());
    addWeight(key, type.getEncoding().getValue().str(), uint64_t(type.getN()),
              uint64_t(type.getK()));
  }
  ScheduleAttr schedule = entries.lookup(key);
  if (!schedule || ShapedType::isDynamic(op.getM()))
    return schedule;
  // Kernels up to the first that takes all rows.
  ArrayRef<KernelAttrInterface> kernels = schedule.getKernels();
  size_t count = 0;
  while (count < kernels.size() && kernels[count++].getRows() < op.getM())
    ;
  return ScheduleAttr::get(op.getContext(), kernels.take_front(count),
                           schedule.getQuantize(), schedule.getPdl());
}
