//===- Module.cpp - Load, bind and call -----------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Module.h"
#include "qlinear/Encoding/Archive.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <optional>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::runtime;

static constexpr uint64_t kTempAlign = 256;

//===----------------------------------------------------------------------===//
// Load and bind
//===----------------------------------------------------------------------===//

/// Whether the environment asks for weights to be checked.
static bool wantsChecks() {
  const char *value = std::getenv("QLINEAR_CHECK_WEIGHTS");
  return value && *value && std::string_view(value) != "0";
}

Expected<std::unique_ptr<Module>> Module::load(std::shared_ptr<Device> device,
                                               std::shared_ptr<const Artifact> artifact,
                                               const char *weights, bool checkWeights) {
  std::unique_ptr<Module> m(new Module);
  m->device = std::move(device);
  m->artifact = std::move(artifact);
  Expected<std::unique_ptr<Code>> code = m->device->load(*m->artifact);
  if (!code)
    return code.status();
  m->code = std::move(*code);
  for (const FunctionInfo &f : m->functions()) {
    BoundFunction b{&f, {}, {}};
    for (const StepInfo &step : f.steps) {
      for (const KernelInfo &k : step.kernels)
        b.entries.push_back(
            {k.before.empty() ? nullptr : m->code->kernels.at(k.before[0].name),
             m->code->kernels.at(k.name)});
      for (const ArgInfo &a : step.args)
        if (a.kind == ArgInfo::Kind::weight)
          b.weights.push_back(a.index);
    }
    m->bound.push_back(std::move(b));
  }
  m->weights.resize(m->artifact->manifest().weights.size());
  m->constants.resize(m->artifact->manifest().constants.size());
  QLR_TRY(m->bindImages());
  if (weights)
    QLR_TRY(m->bindArchive(weights, checkWeights || wantsChecks()));
  return m;
}

Module::~Module() {
  for (auto *list : {&weights, &constants})
    for (const BoundWeight &w : *list)
      if (w.owned)
        device->free(w.data);
}

/// Binds the weights and constants that lie in the artifact.
Status Module::bindImages() {
  std::vector<std::span<const std::byte>> blobs;
  std::vector<BoundWeight *> places;
  auto add = [&](const std::string &name, uint64_t bytes,
                 BoundWeight &place) -> Status {
    const qlinear_image *image = artifact->image(name);
    if (!image || image->size != bytes)
      return fail(QLR_BAD_ARTIFACT, "the artifact's image \"", name, "\" ",
                  image ? text("has ", image->size, " bytes, not ", bytes)
                        : "is missing");
    blobs.push_back({static_cast<const std::byte *>(image->data), bytes});
    places.push_back(&place);
    return {};
  };
  const Manifest &manifest = artifact->manifest();
  for (size_t i = 0; i < weights.size(); ++i)
    if (const WeightInfo &w = manifest.weights[i]; !w.image.empty())
      QLR_TRY(add(w.image, w.bytes, weights[i]));
  for (size_t i = 0; i < constants.size(); ++i)
    QLR_TRY(
        add(manifest.constants[i].image, manifest.constants[i].bytes, constants[i]));
  if (blobs.empty())
    return {};
  std::vector<void *> placed;
  std::vector<bool> owned;
  QLR_TRY(device->place(blobs, placed, owned));
  for (size_t i = 0; i < places.size(); ++i)
    *places[i] = {placed[i], owned[i]};
  return {};
}

/// Whether two spellings say the same encoding.
static bool sameEncoding(const std::string &spelling, const Encoding &other) {
  Result<Encoding> parsed = Encoding::parse(spelling);
  return parsed && *parsed == other;
}

/// Whether the weights are those that were packed, and those that were compiled for.
static Status verifyWeights(const char *path, const std::vector<WeightInfo> &infos,
                            const std::vector<const PackedWeight *> &found) {
  std::vector<Status> status(found.size());
  tbb::parallel_for(size_t(0), found.size(), [&](size_t i) {
    if (!found[i])
      return;
    if (auto verified = found[i]->verify(); !verified)
      status[i] = fail(QLR_BAD_WEIGHTS, "'", path, "': ", verified.error());
    else if (!infos[i].checksum.empty() && infos[i].checksum != found[i]->checksum)
      status[i] =
          fail(QLR_BAD_WEIGHTS, "weight '", infos[i].name, "' of '", path,
               "' is another than the artifact was compiled for: its checksum is ",
               found[i]->checksum, ", not ", infos[i].checksum,
               "; pass that archive, or compile again with --params of this one");
  });
  for (Status &s : status)
    QLR_TRY(std::move(s));
  return {};
}

Status Module::bindArchive(const char *path, bool check) {
  Result<Archive> opened = Archive::open(path);
  if (!opened)
    return fail(QLR_BAD_WEIGHTS, opened.error());
  archive = std::make_unique<Archive>(std::move(*opened));

  std::vector<std::span<const std::byte>> blobs;
  std::vector<BoundWeight *> places;
  std::vector<const PackedWeight *> all(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    const WeightInfo &want = artifact->manifest().weights[i];
    if (!want.image.empty())
      continue; // bound already
    const PackedWeight *found = archive->find(want.name);
    auto mismatch = [&](const auto &...what) {
      return fail(QLR_BAD_WEIGHTS, "weight '", want.name, "' of '", path, "' ",
                  what...);
    };
    if (!found) {
      if (archive->checkpoint().find(want.name))
        return mismatch("is not quantized in the archive; pack it with quant-pack "
                        "--quantize as ",
                        want.encoding);
      return fail(QLR_BAD_WEIGHTS, "the artifact needs the weight '", want.name,
                  "', which '", path,
                  "' does not have; pass the archive that it "
                  "was compiled for, or pack that tensor with quant-pack");
    }
    const PackedWeight &have = *found;
    if (have.N != want.n || have.K != want.k)
      return mismatch("is ", have.N, "x", have.K,
                      ", but the artifact was compiled "
                      "for ",
                      want.n, "x", want.k, "; compile it for this archive");
    if (!sameEncoding(want.encoding, have.encoding))
      return mismatch("has the encoding <", have.encoding.str(),
                      ">, but the artifact was compiled for <", want.encoding,
                      ">; compile it for this archive, or pack the weight with "
                      "that encoding");
    if (have.blob.size() != want.bytes)
      return mismatch("has ", have.blob.size(),
                      " bytes, but the artifact was "
                      "compiled for ",
                      want.bytes,
                      "; both come from different "
                      "versions of the layout: pack and compile again");
    blobs.push_back(have.blob);
    places.push_back(&weights[i]);
    all[i] = found;
  }
  if (check)
    QLR_TRY(verifyWeights(path, artifact->manifest().weights, all));
  std::vector<void *> placed;
  std::vector<bool> owned;
  QLR_TRY(device->place(blobs, placed, owned));
  for (size_t i = 0; i < places.size(); ++i)
    *places[i] = {placed[i], owned[i]};
  // Where every blob was copied, the mapping is not needed any more.
  if (std::find(owned.begin(), owned.end(), false) == owned.end())
    archive.reset();
  return {};
}

Status Module::checkWeight(const std::string &name, const WeightInfo &want,
                           const void *blob, size_t bytes) const {
  if (bytes != want.bytes)
    return fail(QLR_BAD_WEIGHTS, "weight '", name, "': the blob has ", bytes,
                " bytes, but ", want.n, "x", want.k, " as <", want.encoding, "> has ",
                want.bytes);
  if (!blob)
    return fail(QLR_INVALID_ARGUMENT, "weight '", name, "': the blob is NULL");
  if (reinterpret_cast<uintptr_t>(blob) % device->weightAlignment())
    return fail(QLR_INVALID_ARGUMENT, "weight '", name, "': the blob is at ", blob,
                ", not at a multiple of ", device->weightAlignment(),
                " bytes; memory of qlr_alloc is");
  return {};
}

Status Module::setWeight(const std::string &name, const void *blob, size_t bytes) {
  int32_t index = weightIndex(name);
  if (index < 0)
    return fail(QLR_NOT_FOUND, "the artifact has no weight '", name, "'");
  QLR_TRY(checkWeight(name, weightInfos()[size_t(index)], blob, bytes));
  BoundWeight &w = weights[size_t(index)];
  if (w.owned)
    device->free(w.data);
  w = {const_cast<void *>(blob), false};
  return {};
}

int32_t Module::weightIndex(std::string_view name) const {
  for (size_t i = 0; i < weightInfos().size(); ++i)
    if (weightInfos()[i].name == name)
      return int32_t(i);
  return -1;
}

Status Module::describeWeight(int32_t index, qlr_weight &out) const {
  if (index < 0 || size_t(index) >= weightInfos().size())
    return fail(QLR_NOT_FOUND, "weight ", index, " of an artifact with ",
                weightInfos().size());
  const WeightInfo &w = weightInfos()[size_t(index)];
  out = {w.name.c_str(), w.encoding.c_str(),         int64_t(w.n), int64_t(w.k),
         w.bytes,        weights[size_t(index)].data};
  return {};
}

int32_t Module::functionIndex(std::string_view name) const {
  for (size_t i = 0; i < functions().size(); ++i)
    if (functions()[i].name == name)
      return int32_t(i);
  return -1;
}

//===----------------------------------------------------------------------===//
// Workspaces
//===----------------------------------------------------------------------===//

Workspace::~Workspace() {
  if (owned)
    device->free(owned);
}

Status Module::checkFunction(int32_t function) const {
  if (function < 0 || size_t(function) >= bound.size())
    return fail(QLR_NOT_FOUND, "there is no function ", function, "; the module has ",
                bound.size(), " for ", device->target());
  return {};
}

Expected<Module::WorkspaceLayout> Module::layoutWorkspace(int32_t function,
                                                          int64_t maxRows) const {
  QLR_TRY(checkFunction(function));
  const FunctionInfo &f = *bound[size_t(function)].info;
  int64_t rows = f.rows == kDynamic ? maxRows : f.rows;
  if (maxRows < rows || rows < 0 || rows > INT32_MAX)
    return fail(
        QLR_INVALID_ARGUMENT, "a workspace of '", f.name, "' for ", maxRows, " rows; ",
        f.rows == kDynamic ? "0 to 2^31 - 1 are possible" : "it always runs on ",
        f.rows == kDynamic ? "" : text(rows));
  // The temps that start as zero first.
  WorkspaceLayout layout;
  layout.rows = rows;
  layout.offsets.resize(f.temps.size());
  for (bool zero : {true, false})
    for (size_t i = 0; i < f.temps.size(); ++i) {
      const TempInfo &t = f.temps[i];
      if (t.zero != zero)
        continue;
      uint64_t bytes;
      if (__builtin_mul_overflow(t.bytesPerRow, uint64_t(rows), &bytes) ||
          __builtin_add_overflow(bytes, t.bytes, &bytes) ||
          bytes > (uint64_t(1) << 56) || layout.bytes > (uint64_t(1) << 56))
        return fail(QLR_OUT_OF_MEMORY, "a workspace of '", f.name, "' for ", rows,
                    " rows is larger than any memory");
      layout.offsets[i] = layout.bytes;
      layout.bytes += (bytes + kTempAlign - 1) / kTempAlign * kTempAlign;
      layout.zeros = zero ? layout.bytes : layout.zeros;
    }
  return layout;
}

Expected<uint64_t> Module::workspaceBytes(int32_t function, int64_t maxRows) const {
  Expected<WorkspaceLayout> layout = layoutWorkspace(function, maxRows);
  if (!layout)
    return layout.status();
  return layout->bytes;
}

Expected<std::unique_ptr<Workspace>> Module::createWorkspace(int32_t function,
                                                             int64_t maxRows) const {
  Expected<WorkspaceLayout> layout = layoutWorkspace(function, maxRows);
  if (!layout)
    return layout.status();
  void *memory = nullptr;
  if (layout->bytes)
    QLR_TRY(device->alloc(layout->bytes + kTempAlign, &memory));
  auto base = reinterpret_cast<uintptr_t>(memory);
  base = (base + kTempAlign - 1) / kTempAlign * kTempAlign;
  auto ws = createWorkspaceIn(function, maxRows, reinterpret_cast<void *>(base),
                              layout->bytes, nullptr);
  if (ws)
    (*ws)->owned = memory;
  else if (memory)
    device->free(memory);
  // The first call may come on any stream.
  if (ws && layout->zeros)
    QLR_TRY(device->synchronize(nullptr));
  return ws;
}

Expected<std::unique_ptr<Workspace>>
Module::createWorkspaceIn(int32_t function, int64_t maxRows, void *memory,
                          uint64_t bytes, void *stream) const {
  Expected<WorkspaceLayout> layout = layoutWorkspace(function, maxRows);
  if (!layout)
    return layout.status();
  const std::string &name = bound[size_t(function)].info->name;
  auto base = reinterpret_cast<uintptr_t>(memory);
  if (bytes < layout->bytes || (layout->bytes && !memory))
    return fail(QLR_INVALID_ARGUMENT, "a workspace of '", name, "' for ", layout->rows,
                " rows needs ", layout->bytes, " bytes, but the memory has ",
                memory ? bytes : 0, "; ask qlr_workspace_bytes for the size");
  if (layout->bytes && base % kTempAlign)
    return fail(QLR_INVALID_ARGUMENT, "the memory for a workspace of '", name,
                "' is at ", memory, ", not at a multiple of ", kTempAlign, " bytes");
  auto ws = std::make_unique<Workspace>();
  ws->device = device;
  ws->module = this;
  ws->function = function;
  ws->maxRows = layout->rows;
  if (layout->zeros)
    QLR_TRY(device->zero(memory, layout->zeros, stream));
  for (uint64_t offset : layout->offsets)
    ws->temps.push_back(reinterpret_cast<void *>(base + offset));
  return ws;
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

/// `known`: of a function, whose -1 and -2 are numbers of rows that a call has.
static std::string shapeText(const int64_t *shape, size_t rank, bool known) {
  std::string s = "[";
  for (size_t i = 0; i < rank; ++i)
    s += (i ? ", " : "") + (known && shape[i] == kDynamic  ? "M"
                            : known && shape[i] == kPlaces ? "R"
                                                           : std::to_string(shape[i]));
  return s + "]";
}

namespace {
/// M, and the tensor that said so first.
struct Rows {
  int64_t count = 0;
  const char *kind = nullptr;
  int32_t index = 0;
};
} // namespace

/// The rows of a tensor that has the shape `want`; none if it has not. Where a matrix
/// is wanted, all dimensions but the last are rows.
static std::optional<int64_t> rowsOf(const qlr_tensor &t, const TensorInfo &want) {
  int32_t rank = int32_t(want.shape.size()), first = t.rank - rank + 1;
  if (t.rank < rank || t.rank > (rank == 2 ? 4 : rank))
    return std::nullopt;
  int64_t rows = 1;
  for (int32_t d = 0; d < first; ++d)
    if (t.shape[d] < 0 || __builtin_mul_overflow(rows, t.shape[d], &rows))
      return std::nullopt;
  bool isFree = want.isDynamic() || want.isCache();
  if (isFree ? rows > INT32_MAX : rows != want.shape[0])
    return std::nullopt;
  for (int32_t d = 1; d < rank; ++d)
    if (t.shape[first + d - 1] != want.shape[size_t(d)])
      return std::nullopt;
  return rows;
}

/// Checks the tensors of one kind. Allocates only to report an error.
static Status checkTensors(const FunctionInfo &f, const char *kind,
                           const std::vector<TensorInfo> &wanted,
                           const qlr_tensor *tensors, int32_t count, Rows &said) {
  if (count < 0 || size_t(count) != wanted.size() || (count > 0 && !tensors))
    return fail(QLR_INVALID_ARGUMENT, "'", f.name, "' has ", wanted.size(), " ", kind,
                "s, not ", tensors || count <= 0 ? count : 0);
  for (int32_t i = 0; i < count; ++i) {
    const qlr_tensor &t = tensors[i];
    const TensorInfo &want = wanted[size_t(i)];
    auto wrong = [&](const auto &...what) {
      return fail(QLR_INVALID_ARGUMENT, kind, " ", i, " of '", f.name, "' ", what...);
    };
    // The caller may have put any number there, which C++ must not read as a qlr_dtype.
    int32_t dtype = std::bit_cast<int32_t>(t.dtype);
    if (dtype != want.dtype)
      return wrong("is ", name(dtype), ", but it was compiled for ", name(want.dtype));
    std::optional<int64_t> rows = rowsOf(t, want);
    if (!rows)
      return wrong(
          "has the shape ",
          shapeText(t.shape, size_t(std::clamp(t.rank, 0, 4)), /*known=*/false),
          t.rank > 4 ? " (rank > 4)" : "", ", but it was compiled for ",
          shapeText(want.shape.data(), want.shape.size(), /*known=*/true));
    if (want.isDynamic()) {
      if (!said.kind)
        said = {*rows, kind, i};
      else if (said.count != *rows)
        return wrong("has ", *rows, " rows, but ", said.kind, " ", said.index, " has ",
                     said.count, "; all tensors of a call share M");
    }
    bool empty = (want.isDynamic() || want.isCache()) && *rows == 0;
    if (!t.data && !empty)
      return wrong("has no data");
    if (reinterpret_cast<uintptr_t>(t.data) % want.align)
      return wrong("is at ", t.data, ", not at a multiple of ", want.align,
                   " bytes; copy it to aligned memory");
  }
  return {};
}

Status Module::call(int32_t function, const Workspace *workspace,
                    const qlr_tensor *inputs, int32_t inputCount,
                    const qlr_tensor *outputs, int32_t outputCount,
                    std::span<const qlr_blob> own, void *stream) const {
  QLR_TRY(checkFunction(function));
  const BoundFunction &b = bound[size_t(function)];
  const FunctionInfo &f = *b.info;
  Rows said;
  QLR_TRY(checkTensors(f, "input", f.inputs, inputs, inputCount, said));
  QLR_TRY(checkTensors(f, "output", f.outputs, outputs, outputCount, said));
  int64_t rows = f.rows == kDynamic ? said.count : f.rows;
  if (workspace && (workspace->module != this || workspace->function != function))
    return fail(QLR_INVALID_ARGUMENT, "the workspace is not one of '", f.name,
                "'; create one for this function of this module");
  if (!workspace && !f.temps.empty())
    return fail(QLR_INVALID_ARGUMENT, "'", f.name,
                "' needs a workspace; create one with qlr_workspace_create");
  if (workspace && rows > workspace->maxRows)
    return fail(QLR_INVALID_ARGUMENT, "a call of '", f.name, "' with M = ", rows,
                " rows, but its workspace is for ", workspace->maxRows,
                "; create a larger one");
  const std::vector<WeightInfo> &infos = artifact->manifest().weights;
  if (!own.empty() && own.size() != infos.size())
    return fail(QLR_INVALID_ARGUMENT, "a call of '", f.name, "' with ", own.size(),
                " weights, but the artifact has ", infos.size(),
                "; give all of them, with data = NULL for those that are bound");
  for (uint32_t w : b.weights) {
    if (!own.empty() && own[w].data)
      QLR_TRY(checkWeight(infos[w].name, infos[w], own[w].data, own[w].bytes));
    else if (!weights[w].data)
      return fail(QLR_BAD_WEIGHTS, "weight '", infos[w].name, "' of '", f.name,
                  "' is not bound; load the module with an archive "
                  "or call qlr_module_set_weight");
  }
  if (rows == 0)
    return {};

  QLR_TRY(device->enter());
  Status status = [&]() -> Status {
    size_t firstEntry = 0;
    for (const StepInfo &step : f.steps) {
      char *base[kMaxKernelArgs];
      for (size_t a = 0; a < step.args.size(); ++a) {
        uint32_t i = step.args[a].index;
        switch (step.args[a].kind) {
        case ArgInfo::Kind::weight:
          base[a] = !own.empty() && own[i].data
                        ? static_cast<char *>(const_cast<void *>(own[i].data))
                        : static_cast<char *>(weights[i].data);
          break;
        case ArgInfo::Kind::constant:
          base[a] = static_cast<char *>(constants[i].data);
          break;
        case ArgInfo::Kind::input:
          base[a] = static_cast<char *>(inputs[i].data);
          break;
        case ArgInfo::Kind::output:
          base[a] = static_cast<char *>(outputs[i].data);
          break;
        case ArgInfo::Kind::temp:
          base[a] = static_cast<char *>(workspace->temps[i]);
          break;
        case ArgInfo::Kind::places:
          base[a] = reinterpret_cast<char *>(*rowsOf(inputs[i], f.inputs[i]));
          break;
        }
      }
      // The last piece is at least half as large as a full one: a smaller one costs
      // almost as much, and its kernel may share multiprocessors where a large piece's
      // does not.
      int64_t most = step.kernels.back().rows;
      for (int64_t done = 0; done < rows;) {
        int64_t chunk = std::min(most, rows - done), left = rows - done - chunk;
        if (left > 0 && left < most / 2)
          chunk -= most / 2 - left;
        size_t v = 0;
        while (step.kernels[v].rows < chunk)
          ++v;
        void *args[kMaxKernelArgs];
        for (size_t a = 0; a < step.args.size(); ++a)
          args[a] = base[a] + uint64_t(done) * step.args[a].rowStride;
        auto launch = [&](const KernelInfo &kernel, void *entry) {
          return device->launch({&kernel, entry, args, step.args.size(), int32_t(chunk),
                                 step.pdl, step.args.data()},
                                stream);
        };
        const KernelInfo &kernel = step.kernels[v];
        const BoundFunction::Entry &entry = b.entries[firstEntry + v];
        if (entry.before)
          QLR_TRY(launch(kernel.before[0], entry.before));
        QLR_TRY(launch(kernel, entry.kernel));
        done += chunk;
      }
      firstEntry += step.kernels.size();
    }
    return {};
  }();
  Status left = device->leave();
  return status ? left : status;
}
