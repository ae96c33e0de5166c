//===- Packer.cpp - Checkpoints to packed archives ------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every tensor becomes a job: pack, dequantize or carry over. Jobs run in
// batches of at most as many bytes as the largest one, and while one batch is
// worked on, the one before is written.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Packer.h"
#include "../Files/Json.h"
#include "../Files/Readers.h"
#include "../Import/ModelNames.h"
#include "LayerGroups.h"
#include "PackRules.h"
#include "qlinear/Encoding/Checksum.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fmt/core.h>
#include <future>
#include <limits>
#include <set>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_reduce.h>
#include <tbb/task_arena.h>

using namespace qlinear;
using nlohmann::json;

double TensorReport::weights() const {
  if (isGgufArray(source))
    return 0;
  double product = 1;
  for (uint64_t d : shape)
    product *= double(d);
  return product;
}

namespace {

//===----------------------------------------------------------------------===//
// Jobs
//===----------------------------------------------------------------------===//

/// Bytes of a tensor to write: made here, or in a mapped file.
struct Output {
  std::string name, type;
  std::vector<uint64_t> shape;
  std::unique_ptr<std::byte[]> owned;
  std::span<const std::byte> bytes;
  const Tensor *carried = nullptr; ///< whose bytes they are, if not owned

  void allocate(uint64_t size) {
    owned = std::make_unique_for_overwrite<std::byte[]>(size);
    bytes = {owned.get(), size};
  }
  std::span<std::byte> writable() { return {owned.get(), bytes.size()}; }
};

struct Job {
  const SourceWeight *weight = nullptr; ///< null: `tensor` is carried over
  const Tensor *tensor = nullptr;
  Treatment treatment;
  std::string floatType;   ///< dequantize to it; else pack
  uint64_t cost = 0;       ///< its weights: memory is in proportion
  uint64_t alignment = 0;  ///< of the data that comes after its own
  Counterpart counterpart; ///< in transformers
  TensorReport report;

  /// Puts the rows of a loaded weight in the order that is asked for.
  void order(LoadedWeight &loaded) const {
    if (report.reorderedHeads)
      permuteRows(loaded, rotaryOrder(weight->N, report.reorderedHeads));
  }
};

constexpr double kExact = std::numeric_limits<double>::infinity();

Error named(const SourceWeight &w, const std::string &message) {
  return error(fmt::format("tensor {}: {}", inQuotes(w.name), message));
}

/// Whether the rule keeps a native form as it is.
bool keepsNative(const SelectionRule &rule, const Encoding &native) {
  return rule.name == "auto" || rule.name == "lossless" || rule.name == native.str();
}

Result<Output> packJob(Job &job) {
  const SourceWeight &w = *job.weight;
  TensorReport &report = job.report;
  Output out{report.name, "U8", {}, nullptr, {}, nullptr};
  report.packed = true;
  if (w.native && !job.treatment.quantize &&
      keepsNative(job.treatment.rule, *w.native)) {
    report.encoding = w.native;
    report.encodingName = w.isPacked ? "as packed" : w.format;
    report.quality.tensorSnr = report.quality.worstRowSnr = kExact;
    report.quality.coherentSnr = kExact;
    report.reason = "the source's own form, bit-exact";
    auto layout = layoutOf(*w.native, w.N, w.K);
    report.quality.bitsPerWeight = layout.bitsPerWeight();
    out.allocate(layout.bytes());
    if (!report.reorderedHeads) {
      if (auto r = w.packNative(out.writable()); !r)
        return r.takeError();
    } else {
      auto loaded = w.load();
      if (!loaded)
        return loaded.takeError();
      job.order(*loaded);
      if (auto r = pack(std::get<EncodedWeight>(*loaded), out.writable()); !r)
        return named(w, r.error());
    }
  } else {
    auto loaded = w.load();
    if (!loaded)
      return loaded.takeError();
    job.order(*loaded);
    auto floats = valuesToQuantize(*loaded, job.treatment);
    if (!floats)
      return named(w, floats.error());
    auto selection = selectFor(w, *loaded, *floats, job.treatment);
    if (!selection)
      return named(w, selection.error());
    report.encoding = selection->weight.encoding;
    report.encodingName = selection->name;
    report.quality = selection->quality;
    report.reason = selection->reason;
    report.declined = std::move(selection->declined);
    if (*floats) {
      report.floatSnr = snrOf(**floats, selection->weight);
      report.requantized = !w.isFloat;
    }
    out.allocate(layoutOf(*report.encoding, w.N, w.K).bytes());
    if (auto r = pack(selection->weight, out.writable()); !r)
      return named(w, r.error());
  }
  out.shape = {out.bytes.size()};
  report.checksum = checksum(out.bytes);
  return out;
}

Result<Output> dequantizeJob(Job &job) {
  const SourceWeight &w = *job.weight;
  auto loaded = w.load();
  if (!loaded)
    return loaded.takeError();
  job.order(*loaded);
  auto floats = std::holds_alternative<EncodedWeight>(*loaded)
                    ? dequantize(std::get<EncodedWeight>(*loaded))
                    : dequantize(std::get<AffineWeight>(*loaded));
  if (!floats)
    return named(w, floats.error());
  Output out{job.report.name, job.floatType, {w.N, w.K}, nullptr, {}, nullptr};
  out.allocate(floats->size() * (job.floatType == "F32" ? 4 : 2));
  std::atomic<bool> overflow = false;
  tbb::parallel_for(tbb::blocked_range<size_t>(0, floats->size(), 1 << 16),
                    [&](const auto &range) {
                      const float *from = floats->data();
                      auto *halves = reinterpret_cast<uint16_t *>(out.owned.get());
                      if (job.floatType == "F32")
                        memcpy(out.owned.get() + 4 * range.begin(),
                               from + range.begin(), 4 * range.size());
                      else if (job.floatType == "BF16")
                        for (size_t i = range.begin(); i < range.end(); ++i)
                          halves[i] = floatToBf16(from[i]);
                      else
                        for (size_t i = range.begin(); i < range.end(); ++i) {
                          halves[i] = floatToF16(from[i]);
                          if ((halves[i] & 0x7FFF) == 0x7C00)
                            overflow = true;
                        }
                    });
  if (overflow)
    return named(w,
                 "weights beyond 65504 do not fit in f16; dequantize to bf16 or f32");
  job.report.encodingName = job.floatType;
  job.report.reason = "dequantized";
  return out;
}

Output carryJob(const Job &job, bool isGguf) {
  const Tensor &t = *job.tensor;
  Output out{job.report.name, t.type, t.shape, nullptr, t.bytes, &t};
  if (uint64_t heads = job.report.reorderedHeads) {
    std::vector<std::byte> rows(t.bytes.begin(), t.bytes.end());
    permuteRows(rows, rotaryOrder(t.shape.front(), heads));
    out.allocate(rows.size());
    std::copy(rows.begin(), rows.end(), out.owned.get());
    out.carried = nullptr;
  }
  const GgufType *type = isGguf ? ggufType(t.type) : nullptr;
  if (isGguf && (isGgufUnknown(t.type) || isGgufArray(t.type))) {
    out.type = "U8";
    out.shape = {t.bytes.size()};
  } else if (type && type->block > 1) { // no such type in safetensors
    out.type = "U8";
    if (out.shape.empty())
      out.shape = {1};
    out.shape.back() = out.shape.back() / type->block * type->bytes;
  }
  return out;
}

//===----------------------------------------------------------------------===//
// The archive
//===----------------------------------------------------------------------===//

/// Longer than any spelling of an encoding.
constexpr size_t kLongestSpelling = 256;

/// The value of "qlinear" in __metadata__; empty if there is nothing to say.
/// `bound`: with the longest spellings.
Result<std::string> describe(const std::vector<Job> &jobs, const Checkpoint &checkpoint,
                             const std::optional<ModelNames> &names, bool areRenamed,
                             bool bound) {
  json weights = json::object(), carried = json::object();
  std::map<std::string, Archive::Carried> before;
  if (!checkpoint.isGguf() && checkpoint.metadata().contains("qlinear")) {
    auto archive = Archive::open(checkpoint);
    if (!archive)
      return archive.takeError();
    before = archive->carried();
  }
  for (const Job &job : jobs) {
    if (job.weight && job.floatType.empty()) {
      std::string spelling =
          bound ? std::string(kLongestSpelling, 'x') : job.report.encoding->str();
      json &entry = weights[job.report.name] = {{"encoding", spelling},
                                                {"n", job.weight->N},
                                                {"k", job.weight->K},
                                                {"source", job.report.source}};
      entry["xxh3"] = bound ? std::string(16, '0') : job.report.checksum;
      const Counterpart &c = job.counterpart;
      if (!areRenamed && !c.name.empty() && c.difference.empty()) {
        entry["hf"] = c.name;
        if (c.heads)
          entry["permuted"] = c.heads;
      }
    } else if (job.tensor) {
      const Tensor &t = *job.tensor;
      if (checkpoint.isGguf() && isGgufAlone(t.type))
        carried[job.report.name] = {{"type", t.type}, {"shape", t.shape}};
      else if (auto at = before.find(t.name); at != before.end())
        carried[job.report.name] = {{"type", at->second.type},
                                    {"shape", at->second.shape}};
    }
  }
  if (weights.empty() && carried.empty())
    return std::string();
  json root = {{"version", layout::kVersion}, {"weights", std::move(weights)}};
  if (!carried.empty())
    root["carried"] = std::move(carried);
  if (names)
    root["model"] = names->about(areRenamed);
  else if (auto kind = ModelKind::of(checkpoint))
    root["model"] = kind->about();
  return root.dump();
}

/// What the packed weights of a report compute.
std::vector<Layer> packedLayers(const PackReport &report,
                                const Checkpoint &checkpoint) {
  std::vector<LayerWeight> weights;
  std::map<std::string, LayerTensor> others;
  for (const TensorReport &t : report.tensors)
    if (t.packed)
      weights.push_back({t.name, t.shape[0], t.shape[1], *t.encoding, "", ""});
    else
      others.emplace(t.name, LayerTensor{t.source, t.shape});
  return groupLayers(std::move(weights), others, ModelKind::of(checkpoint));
}

Result<PackReport> runJobs(std::vector<Job> jobs, const Checkpoint &checkpoint,
                           const std::optional<ModelNames> &modelNames,
                           const std::vector<std::string> &notes,
                           const std::string &path, const PackOptions &options) {
  std::vector<size_t> order(jobs.size());
  std::vector<std::string> names;
  size_t rank = 2;
  uint64_t largest = 0, total = 0, done = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    order[i] = i;
    names.push_back(jobs[i].report.name);
    rank = std::max(rank, jobs[i].report.shape.size());
    largest = std::max(largest, jobs[i].cost);
    total += jobs[i].report.bytesBefore;
  }
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(jobs[b].alignment, a) < std::pair(jobs[a].alignment, b);
  });

  auto metadata = checkpoint.metadata();
  metadata.erase("qlinear");
  for (const Job &job : jobs)
    if (job.weight && metadata.erase(job.weight->metadataKey))
      metadata.erase("tensor_names"); // torchao's list of such keys
  auto bound = describe(jobs, checkpoint, modelNames, options.useHuggingFaceNames,
                        /*bound=*/true);
  if (!bound)
    return bound.takeError();
  if (!bound->empty())
    metadata["qlinear"] = *bound;
  std::optional<SafetensorsWriter> writer;
  if (!options.isDryRun) {
    auto created = SafetensorsWriter::create(
        path, SafetensorsWriter::headerBytes(names, rank, metadata));
    if (!created)
      return created.takeError();
    writer.emplace(std::move(*created));
  }

  // One weight alone does not keep many cores busy: some of what is done with it, none
  // of it long, is done by one thread.
  constexpr uint64_t kPerThread = 32 << 20;
  uint64_t together =
      std::max(largest, kPerThread * uint64_t(tbb::this_task_arena::max_concurrency()));

  std::future<Result<void>> writing;
  auto written = [&]() { return writing.valid() ? writing.get() : Result<void>(); };
  for (size_t begin = 0, end; begin < order.size(); begin = end) {
    uint64_t cost = 0;
    for (end = begin; end < order.size(); ++end) {
      cost += jobs[order[end]].cost;
      if (end > begin && cost > together)
        break;
    }
    std::vector<std::optional<Result<Output>>> outputs(end - begin);
    tbb::parallel_for(size_t(0), end - begin, [&](size_t i) {
      Job &job = jobs[order[begin + i]];
      if (!job.weight)
        outputs[i] = carryJob(job, checkpoint.isGguf());
      else
        outputs[i] = job.floatType.empty() ? packJob(job) : dequantizeJob(job);
    });
    if (auto r = written(); !r)
      return r.takeError();
    std::vector<Output> ready;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!*outputs[i])
        return outputs[i]->takeError();
      Job &job = jobs[order[begin + i]];
      if (job.weight)
        for (const Tensor *t : job.weight->parts)
          checkpoint.release(*t);
      job.report.bytesAfter = (**outputs[i]).bytes.size();
      done += job.report.bytesBefore;
      ready.push_back(std::move(**outputs[i]));
    }
    writing =
        std::async(std::launch::async, [&, ready = std::move(ready)]() -> Result<void> {
          for (const Output &o : ready) {
            if (writer)
              if (auto r = writer->append(o.name, o.type, o.shape, o.bytes); !r)
                return r;
            if (o.carried)
              checkpoint.release(*o.carried);
          }
          return {};
        });
    if (options.progress)
      options.progress(done, total);
  }
  if (auto r = written(); !r)
    return r.takeError();

  auto description = describe(jobs, checkpoint, modelNames, options.useHuggingFaceNames,
                              /*bound=*/false);
  if (!description)
    return description.takeError();
  if (!description->empty())
    metadata["qlinear"] = *description;
  if (writer)
    if (auto r = writer->finish(metadata); !r)
      return r.takeError();
  PackReport report;
  report.notes = notes;
  for (Job &job : jobs) {
    report.fileBytes += job.report.bytesAfter;
    report.tensors.push_back(std::move(job.report));
  }
  if (writer)
    report.fileBytes = writer->bytes();
  report.layers = packedLayers(report, checkpoint);
  std::vector<OutputFile> files;
  if (options.finish)
    if (auto r = options.finish(report, files); !r)
      return r.takeError();
  if (writer)
    files.push_back(std::move(writer->output()));
  if (auto r = OutputFile::publish(files); !r)
    return r.takeError();
  return report;
}

uint64_t alignmentOf(uint64_t size) {
  return size ? std::min<uint64_t>(size & (~size + 1), layout::kLine) : layout::kLine;
}

/// Finds the counterpart of the job's tensor in transformers, and renames and reorders
/// the tensor to match if that is asked for. Fails where it cannot.
Result<void> rename(Job &job, const ModelNames &names, const Tensor &tensor,
                    const PackOptions &options) {
  job.counterpart =
      names.of(tensor, job.report.shape.empty() ? 0 : job.report.shape[0]);
  const Counterpart &c = job.counterpart;
  if (!options.useHuggingFaceNames || (c.name.empty() && c.difference.empty()))
    return {};
  if (c.name.empty()) {
    job.report.reason += (job.report.reason.empty() ? "" : "; ") + c.difference +
                         ", so it keeps its name";
    return {};
  }
  if (c.heads && isGgufUnknown(tensor.type))
    return error(fmt::format("tensor {}: the rows of {} cannot be put in transformers' "
                             "order; pack it without --names=hf",
                             inQuotes(tensor.name), tensor.type));
  if (!c.difference.empty())
    return error(fmt::format("tensor {}: {}; pack it without --names=hf",
                             inQuotes(tensor.name), c.difference));
  job.report.sourceName = job.report.name;
  job.report.name = c.name;
  job.report.reorderedHeads = c.heads;
  return {};
}

/// One job per weight to pack, and per tensor to carry over as it is.
Result<PackReport> run(const std::string &floatType, const Checkpoint &checkpoint,
                       const Inventory &inventory, const std::string &path,
                       const PackOptions &options) {
  auto rules = PackRules::compile(options);
  if (!rules)
    return rules.takeError();
  auto names = ModelNames::of(checkpoint);
  if (options.useHuggingFaceNames) {
    if (!names)
      return error("--names=hf is for GGUF and archives of it; the names of this "
                   "checkpoint are its own");
    if (std::string defect = names->defect(); !defect.empty())
      return error(std::move(defect));
  }
  std::vector<Job> jobs;
  auto carry = [&](const Tensor *t, const std::string &reason) {
    Job job;
    job.tensor = t;
    job.alignment = alignmentOf(t->bytes.size());
    job.report.name = t->name;
    job.report.source = t->type;
    job.report.shape = t->shape;
    job.report.bytesBefore = t->bytes.size();
    job.report.reason = reason;
    jobs.push_back(std::move(job));
  };
  for (const SourceWeight &w : inventory.weights) {
    auto treatment = rules->treat(w);
    if (!treatment)
      return treatment.takeError();
    bool isKept = !treatment->pack;
    if (isKept && w.isPacked) { // a blob can only be kept as a blob
      treatment->pack = true;
      treatment->rule.name = "lossless";
    }
    if (!treatment->pack || (w.isFloat && !floatType.empty())) {
      for (const Tensor *t : w.parts)
        carry(t, w.isFloat && !floatType.empty() ? "float already" : treatment->reason);
      continue;
    }
    Job job;
    job.weight = &w;
    job.treatment = std::move(*treatment);
    job.floatType = isKept ? "" : floatType;
    job.cost = w.N * w.K;
    job.alignment = job.floatType.empty()
                        ? layout::kLine
                        : alignmentOf(w.N * w.K * (floatType == "F32" ? 4 : 2));
    job.report.name = w.name;
    job.report.source = w.format;
    job.report.assumed = w.assumed;
    job.report.shape = {w.N, w.K};
    job.report.bytesBefore = w.bytes();
    jobs.push_back(std::move(job));
  }
  for (const Tensor *t : inventory.others)
    carry(t, isGgufUnknown(t->type) && checkpoint.isGguf()
                 ? fmt::format("GGUF's {} is not known here", t->type)
             : t->shape.size() == 2
                 ? fmt::format("type {} is carried over as it is", t->type)
                 : fmt::format("{} dimensions, not 2", t->shape.size()));
  if (floatType.empty())
    for (const Tensor &array : checkpoint.arrays())
      carry(&array, "key-values of GGUF");
  std::set<std::string> taken;
  for (Job &job : jobs) {
    const Tensor &t = job.weight ? *job.weight->parts.front() : *job.tensor;
    if (names)
      if (auto r = rename(job, *names, t, options); !r)
        return r.takeError();
    if (!taken.insert(job.report.name).second)
      return error(fmt::format("two tensors would be named {}; pack without --names=hf",
                               inQuotes(job.report.name)));
  }
  return runJobs(std::move(jobs), checkpoint, names, inventory.notes, path, options);
}

} // namespace

namespace {
/// Sums of w^2 and of (w - coded)^2.
struct Powers {
  double signal = 0, noise = 0;
  Powers operator+(const Powers &other) const {
    return {signal + other.signal, noise + other.noise};
  }
  static Powers of(const float *exact, const float *coded, size_t count) {
    constexpr size_t kLanes = 8; // that do not wait for each other
    double signal[kLanes] = {}, noise[kLanes] = {};
    auto add = [&](size_t lane, double w, double c) {
      signal[lane] += w * w;
      noise[lane] += (w - c) * (w - c);
    };
    size_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
      for (size_t lane = 0; lane < kLanes; ++lane)
        add(lane, exact[i + lane], coded[i + lane]);
    for (; i < count; ++i)
      add(0, exact[i], coded[i]);
    Powers sum;
    for (size_t lane = 0; lane < kLanes; ++lane)
      sum = sum + Powers{signal[lane], noise[lane]};
    return sum;
  }
  double snr() const { return noise == 0 ? kExact : 10 * std::log10(signal / noise); }
};

template <typename Of> double snrOfParts(size_t size, size_t grain, Of powersOf) {
  return tbb::parallel_deterministic_reduce(
             tbb::blocked_range<size_t>(0, size, grain), Powers(),
             [&](const auto &range, Powers sum) {
               return sum + powersOf(range.begin(), range.end());
             },
             std::plus<Powers>())
      .snr();
}
} // namespace

double qlinear::snrOf(std::span<const float> exact, std::span<const float> coded) {
  return snrOfParts(exact.size(), 1 << 16, [&](size_t begin, size_t end) {
    return Powers::of(exact.data() + begin, coded.data() + begin, end - begin);
  });
}

double qlinear::snrOf(std::span<const float> exact, const EncodedWeight &coded) {
  return snrOfParts(coded.N, 8, [&](size_t begin, size_t end) {
    thread_local std::vector<float> row;
    row.resize(coded.K);
    Powers sum;
    for (size_t n = begin; n < end; ++n) {
      dequantizeRow(coded, n, row.data());
      sum = sum + Powers::of(exact.data() + n * coded.K, row.data(), coded.K);
    }
    return sum;
  });
}

Result<PackReport> qlinear::packArchive(const Checkpoint &checkpoint,
                                        const Inventory &inventory,
                                        const std::string &path,
                                        const PackOptions &options) {
  return run("", checkpoint, inventory, path, options);
}

Result<PackReport> qlinear::dequantizeTo(const std::string &type,
                                         const Checkpoint &checkpoint,
                                         const Inventory &inventory,
                                         const std::string &path,
                                         const PackOptions &options) {
  if (type != "F32" && type != "BF16" && type != "F16")
    return error(fmt::format("{} is not F32, BF16 or F16", inQuotes(type)));
  return run(type, checkpoint, inventory, path, options);
}
