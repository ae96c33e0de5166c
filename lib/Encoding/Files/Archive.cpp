//===- Archive.cpp - Weight files: checkpoints and packed archives --------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Json.h"
#include "Readers.h"
#include "qlinear/Encoding/Checksum.h"
#include "qlinear/Encoding/Slice.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <fmt/core.h>
#include <memory>
#include <mutex>
#include <set>

using namespace qlinear;
using nlohmann::json;
namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little,
              "GGUF v3 and safetensors are read in place");

//===----------------------------------------------------------------------===//
// Checkpoint
//===----------------------------------------------------------------------===//

static std::string_view textOf(const MappedFile &file) {
  return {reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size()};
}

std::vector<const Tensor *> Checkpoint::startingWith(std::string_view prefix) const {
  std::vector<const Tensor *> out;
  for (auto at = index.lower_bound(prefix);
       at != index.end() && at->first.starts_with(prefix); ++at)
    out.push_back(&list[at->second]);
  return out;
}

const Tensor *Checkpoint::find(std::string_view name) const {
  auto at = index.find(name);
  return at == index.end() ? nullptr : &list[at->second];
}

Result<void> Checkpoint::buildIndex() {
  index.clear();
  for (size_t i = 0; i < list.size(); ++i)
    if (!index.emplace(list[i].name, i).second)
      return error(fmt::format("'{}': two tensors are named {}", mapped.front()->path(),
                               inQuotes(list[i].name)));
  return {};
}

/// {"weight_map": {NAME: FILE}}: every file once, all tensors where it says.
Result<Checkpoint> qlinear::readShards(std::shared_ptr<MappedFile> indexFile) {
  const std::string &path = indexFile->path();
  auto document = parseJson(textOf(*indexFile), /*maxDepth=*/4);
  if (!document)
    return error(fmt::format("'{}': {}", path, document.error()));
  auto map = document->value.is_object() ? document->value.find("weight_map")
                                         : document->value.end();
  if (map == document->value.end() || !map->is_object())
    return error(
        fmt::format("'{}': neither GGUF nor safetensors, and as an index it lacks "
                    "the object 'weight_map'",
                    path));
  std::map<std::string, std::vector<std::string>> shards;
  for (auto &[name, file] : map->items()) {
    if (!file.is_string() || fs::path(file.get<std::string>()).has_parent_path() ||
        !isText(file.get<std::string>()) || file.get<std::string>().empty())
      return error(
          fmt::format("'{}': weight_map of {} is not the name of a file in the same "
                      "directory",
                      path, inQuotes(name)));
    shards[file.get<std::string>()].push_back(name);
  }

  Checkpoint out;
  for (auto &[fileName, names] : shards) {
    auto file = MappedFile::open((fs::path(path).parent_path() / fileName).string());
    if (!file)
      return error(fmt::format("'{}': {}", path, file.error()));
    auto shard = readSafetensors(*file);
    if (!shard)
      return shard.takeError();
    for (const std::string &name : names)
      if (!shard->find(name))
        return error(
            fmt::format("'{}': weight_map places {} in '{}', which does not have it",
                        path, inQuotes(name), fileName));
    out.mapped.push_back(std::move(*file));
    out.list.insert(out.list.end(), shard->list.begin(), shard->list.end());
    for (auto &[key, value] : shard->meta)
      out.meta.emplace(key, value);
  }
  if (out.mapped.empty())
    return error(fmt::format("'{}': weight_map is empty", path));
  if (auto r = out.buildIndex(); !r)
    return r.takeError();
  return out;
}

/// NAME-00001-of-00003.gguf and its siblings, whichever of them `one` is.
Result<Checkpoint> qlinear::readGgufParts(Checkpoint one) {
  std::string path = one.mapped.front()->path();
  const std::string &text = one.meta.at("split.count");
  uint64_t count = 0;
  for (char c : text.substr(0, 6))
    count = c >= '0' && c <= '9' ? count * 10 + uint64_t(c - '0') : 100000;
  std::string end = fmt::format("-of-{:05}.gguf", count);
  if (count > 99999 || path.size() < end.size() + 5 || !path.ends_with(end))
    return error(fmt::format("'{}': split.count is {}, but the name does not end in "
                             "-00001-of-{:05}.gguf, by which the other parts are found",
                             path, text, std::min<uint64_t>(count, 99999)));
  std::string stem = path.substr(0, path.size() - end.size() - 5);
  Checkpoint out;
  out.gguf = true;
  for (uint64_t i = 1; i <= count; ++i) {
    auto file = MappedFile::open(fmt::format("{}{:05}{}", stem, i, end));
    if (!file)
      return file.takeError();
    auto part = readGguf(*file);
    if (!part)
      return part.takeError();
    auto parts = part->meta.find("split.count");
    if (parts == part->meta.end() || parts->second != text)
      return error(fmt::format("'{}': its split.count is not {}, as it is in '{}'",
                               (*file)->path(), text, path));
    out.version = part->version;
    out.mapped.push_back(*file);
    out.list.insert(out.list.end(), part->list.begin(), part->list.end());
    for (auto &[key, value] : part->meta)
      if (!key.starts_with("split."))
        out.meta.emplace(key, value);
  }
  if (auto r = out.buildIndex(); !r)
    return r.takeError();
  return out;
}

/// In a directory: the one file that stands for it.
static Result<std::string> resolveDirectory(const std::string &path) {
  std::error_code ec;
  if (!fs::is_directory(path, ec))
    return path;
  for (const char *name : {"model.safetensors.index.json", "model.safetensors"})
    if (fs::path file = fs::path(path) / name; fs::exists(file, ec))
      return file.string();
  return error(
      fmt::format("the directory '{}' has neither model.safetensors.index.json nor "
                  "model.safetensors; name the file",
                  path));
}

Result<Checkpoint> Checkpoint::open(const std::string &name) {
  auto path = resolveDirectory(name);
  if (!path)
    return path.takeError();
  auto file = MappedFile::open(*path);
  if (!file)
    return file.takeError();
  auto bytes = (*file)->bytes();
  if (bytes.empty())
    return error(fmt::format("'{}' is empty", *path));
  uint32_t magic = 0;
  if (bytes.size() >= 4)
    memcpy(&magic, bytes.data(), 4);
  if (magic == kGgufMagic) {
    auto one = readGguf(*file);
    if (!one)
      return one;
    auto parts = one->meta.find("split.count");
    if (parts == one->meta.end() || parts->second == "1" || parts->second == "0")
      return one;
    return readGgufParts(std::move(*one));
  }
  if (magic == 0x04034B50) // "PK": torch.save's zip
    return error(fmt::format(
        "'{}' is a zip file as torch.save writes it, and reading its pickle would run "
        "code from it; load it with torch and write it with "
        "safetensors.torch.save_file",
        *path));
  if (path->ends_with(".onnx"))
    return error(
        fmt::format("'{}' is an ONNX model by its name; quant-import-onnx makes "
                    "a packed archive of its linear layers",
                    *path));
  // The ninth byte of safetensors opens the header; an index is a JSON object.
  bool isIndex = path->ends_with(".json");
  auto out = isIndex ? readShards(*file) : readSafetensors(*file);
  if (!out)
    return isIndex ? out.takeError() : error(out.error() + " (nor is it GGUF)");
  // GPTQ's older tools write the second, AutoAWQ's the third, ModelOpt the last.
  for (const char *name : {"config.json", "quantize_config.json", "quant_config.json",
                           "hf_quant_config.json"}) {
    fs::path config = fs::path(*path).parent_path() / name;
    std::error_code ec;
    if (!fs::is_regular_file(config, ec))
      continue;
    auto text = MappedFile::open(config.string());
    if (!text)
      return text.takeError();
    out->beside.emplace(name, textOf(**text));
  }
  return out;
}

//===----------------------------------------------------------------------===//
// Archive
//===----------------------------------------------------------------------===//

static Result<PackedWeight> readWeight(const Checkpoint &file, const std::string &name,
                                       const json &entry) {
  auto bad = [&](std::string_view what) {
    return error(fmt::format("weight {}: {}", inQuotes(name), what));
  };
  if (!entry.is_object())
    return bad("must be an object");
  PackedWeight w;
  w.name = name;
  w.source = jsonString(entry, "source").value_or("");
  auto spelling = jsonString(entry, "encoding");
  auto n = jsonUnsigned(entry, "n"), k = jsonUnsigned(entry, "k");
  if (!spelling || !n || !k)
    return bad("needs 'encoding' (text), 'n' and 'k' (unsigned integers)");
  w.N = *n;
  w.K = *k;
  auto encoding = Encoding::parse(*spelling);
  if (!encoding)
    return bad(fmt::format("encoding {}: {}", inQuotes(*spelling), encoding.error()));
  w.encoding = *encoding;
  if (auto r = w.encoding.verifyShape(w.N, w.K); !r)
    return bad(r.error());
  const Tensor *tensor = file.find(name);
  if (!tensor)
    return bad("the file has no such tensor");
  // More weights than pairs of bits in the file, which are the shortest codes: refuse
  // before the layout's arithmetic could overflow.
  uint64_t weights;
  if (__builtin_mul_overflow(w.N, w.K, &weights) || weights / 4 > tensor->bytes.size())
    return bad(fmt::format("{}x{} weights do not fit in its {} bytes", w.N, w.K,
                           tensor->bytes.size()));
  uint64_t expected = layoutOf(w.encoding, w.N, w.K).bytes();
  if (tensor->type != "U8" || tensor->bytes.size() != expected)
    return bad(
        fmt::format("{}x{} of this encoding takes {} bytes (U8), but the tensor has "
                    "{} bytes ({})",
                    w.N, w.K, expected, tensor->bytes.size(), tensor->type));
  if (tensor->offset % layout::kLine)
    return bad(fmt::format("its data at offset {} is not aligned to {} bytes",
                           tensor->offset, layout::kLine));
  w.blob = tensor->bytes;
  if (entry.contains("xxh3")) {
    w.checksum = jsonString(entry, "xxh3").value_or("");
    if (!isChecksum(w.checksum))
      return bad("'xxh3' must be 16 hexadecimal digits");
  }
  return w;
}

Result<void> PackedWeight::verify() const {
  if (whole)
    return whole->verify();
  if (checksum.empty())
    return error(
        fmt::format("weight {} has no checksum; pack it again with quant-pack, "
                    "which adds it",
                    inQuotes(name)));
  std::string found = qlinear::checksum(blob);
  if (found == checksum)
    return {};
  return error(
      fmt::format("weight {} is damaged: its {} bytes have the checksum {}, and "
                  "the archive says {}; fetch or pack the archive again",
                  inQuotes(name), blob.size(), found, checksum));
}

static Result<Archive::Carried>
readCarried(const Checkpoint &file, const std::string &name, const json &entry) {
  auto bad = [&](std::string_view what) {
    return error(fmt::format("carried tensor {}: {}", inQuotes(name), what));
  };
  Archive::Carried c;
  auto type = entry.is_object() ? jsonString(entry, "type") : std::nullopt;
  auto shape = entry.is_object() ? jsonNumbers(entry, "shape") : std::nullopt;
  if (!type || !shape)
    return bad("needs 'type' (text) and 'shape' (unsigned integers)");
  c = {*type, *shape};
  const GgufType *format = ggufType(*type);
  const Tensor *tensor = file.find(name);
  bool isUnknown = isGgufUnknown(*type), isArray = isGgufArray(*type);
  bool isKnown = format || isUnknown || isArray;
  if (!isKnown || !tensor || tensor->type != "U8")
    return bad(!isKnown ? fmt::format("unknown type {}", inQuotes(*type))
                        : "the file has no such tensor of type U8");
  auto count = checkedProduct(c.shape);
  if (isUnknown) // nor are the bytes that it takes known
    return c;
  if (isArray) { // the elements' type, and how many there are
    uint32_t element;
    uint64_t elements = 0;
    if (tensor->bytes.size() >= sizeof element + sizeof elements)
      memcpy(&elements, tensor->bytes.data() + sizeof element, sizeof elements);
    if (count != elements)
      return bad(fmt::format("shape {} of {} is not its {} elements",
                             shapeText(c.shape), *type, elements));
    return c;
  }
  if (!count || *count % format->block ||
      *count / format->block != tensor->bytes.size() / format->bytes ||
      tensor->bytes.size() % format->bytes)
    return bad(fmt::format("shape {} of {} does not take its {} bytes",
                           shapeText(c.shape), *type, tensor->bytes.size()));
  return c;
}

std::string
qlinear::resolveWeightName(std::string_view name,
                           const std::function<bool(const std::string &)> &has) {
  for (const char *part : {"", ".weight"})
    if (std::string full = std::string(name) + part; has(full))
      return full;
  return "";
}

const PackedWeight *Archive::find(std::string_view name) const {
  std::string key = resolveWeightName(
      name, [&](const std::string &full) { return packed.count(full) != 0; });
  auto it = packed.find(key);
  return it == packed.end() ? findPart(name) : &it->second;
}

/// Parts that were cut out, by the names that they were asked for by.
struct Archive::Parts {
  struct Made {
    std::vector<std::byte> bytes;
    PackedWeight weight;
  };
  std::mutex mutex;
  std::map<std::string, Made, std::less<>> made;
};

const PackedWeight *Archive::findPart(std::string_view name) const {
  std::optional<NamedPart> part = NamedPart::parse(name);
  const PackedWeight *whole = part ? find(part->weight) : nullptr;
  bool isRows = part && part->axis == Axis::rows;
  if (!whole || part->size != (isRows ? whole->N : whole->K))
    return nullptr;
  std::lock_guard lock(parts->mutex);
  auto it = parts->made.find(name);
  if (it != parts->made.end())
    return &it->second.weight;
  Range rows = isRows ? part->range : Range{0, whole->N};
  Range columns = isRows ? Range{0, whole->K} : part->range;
  auto bytes = packedBytes(whole->encoding, rows.size(), columns.size());
  if (!bytes)
    return nullptr;
  // Where the bytes of a mapped file may begin, so may these.
  constexpr size_t align = 128;
  Parts::Made made{std::vector<std::byte>(*bytes + align), *whole};
  void *begin = made.bytes.data();
  size_t room = made.bytes.size();
  std::span<std::byte> blob(
      static_cast<std::byte *>(std::align(align, *bytes, begin, room)), *bytes);
  if (!slice(whole->encoding, whole->N, whole->K, whole->blob, rows, columns, blob))
    return nullptr;
  PackedWeight &weight = made.weight;
  weight.name = name;
  weight.N = rows.size(), weight.K = columns.size();
  weight.blob = blob;
  weight.checksum.clear();
  weight.whole = whole;
  return &parts->made.emplace(name, std::move(made)).first->second.weight;
}

Result<Archive> Archive::open(const std::string &path) {
  auto checkpoint = Checkpoint::open(path);
  if (!checkpoint)
    return checkpoint.takeError();
  return open(std::move(*checkpoint));
}

Result<Archive> Archive::open(Checkpoint checkpoint) {
  Archive out;
  out.parts = std::make_shared<Parts>();
  out.file = std::move(checkpoint);
  std::string where = fmt::format("'{}'", out.file.files().front()->path());
  auto text = out.file.metadata().find("qlinear");
  if (out.file.isGguf() || text == out.file.metadata().end())
    return error(
        fmt::format("{} is not a packed archive (no 'qlinear' in its __metadata__); "
                    "pack it with quant-pack",
                    where));
  where += ": 'qlinear' of __metadata__";
  auto document = parseJson(text->second, /*maxDepth=*/5);
  if (!document)
    return error(fmt::format("{}: {}", where, document.error()));
  const json &root = document->value;
  if (!root.is_object())
    return error(fmt::format("{}: must be an object", where));
  auto version = jsonUnsigned(root, "version");
  if (!version)
    return error(fmt::format("{}: 'version' must be a number", where));
  if (*version != layout::kVersion)
    return error(fmt::format("{}: the layout of packed weights is version {}, and this "
                             "is version {}'s; pack the weights again with this "
                             "quant-pack",
                             where, *version, layout::kVersion));
  auto weights = root.find("weights");
  if (weights == root.end() || !weights->is_object())
    return error(fmt::format("{}: 'weights' must be an object", where));
  for (auto &[name, entry] : weights->items()) {
    auto w = readWeight(out.file, name, entry);
    if (!w)
      return error(fmt::format("{}: {}", where, w.error()));
    out.packed.emplace(name, std::move(*w));
  }
  auto carried = root.find("carried");
  if (carried == root.end())
    return out;
  if (!carried->is_object())
    return error(fmt::format("{}: 'carried' must be an object", where));
  for (auto &[name, entry] : carried->items()) {
    auto c = readCarried(out.file, name, entry);
    if (!c)
      return error(fmt::format("{}: {}", where, c.error()));
    out.blocks.emplace(name, std::move(*c));
  }
  return out;
}
