//===- Manifest.cpp - Read and check a manifest ---------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Manifest.h"
#include "qlinear/Encoding/Checksum.h"
#include "qlinear/Encoding/JsonDepth.h"
#include "qlinear/Encoding/Layout.h"

#include <nlohmann/json.hpp>
#include <set>

using namespace qlinear;
using namespace qlinear::runtime;
using nlohmann::json;

namespace {

constexpr int64_t kMaxDimension = int64_t(1) << 40;
constexpr int64_t kMaxBytes = int64_t(1) << 48;
constexpr int64_t kMaxInt32 = 0x7FFFFFFF;

struct Defect {
  std::string message;
};

template <typename... Ts> [[noreturn]] void defect(const Ts &...parts) {
  throw Defect{text(parts...)};
}

/// A value of the manifest and where it stands; every accessor checks the type.
class Field {
  const json &value;
  std::string path;

public:
  Field(const json &value, std::string path) : value(value), path(std::move(path)) {}
  const std::string &where() const { return path; }

  bool has(const char *key) const { return object().contains(key); }
  Field operator[](const char *key) const {
    auto it = object().find(key);
    if (it == object().end())
      defect(path.empty() ? "the manifest" : path, " has no \"", key, "\"");
    return {*it, path.empty() ? key : path + "." + key};
  }

  template <typename T, typename Read>
  std::vector<T> list(size_t most, Read &&read) const {
    if (!value.is_array())
      defect(path, " is not an array");
    if (value.size() > most)
      defect(path, " has ", value.size(), " entries, more than ", most);
    std::vector<T> result;
    result.reserve(value.size());
    for (size_t i = 0; i < value.size(); ++i)
      result.push_back(read(Field(value[i], text(path, "[", i, "]"))));
    return result;
  }
  int64_t integer(int64_t low, int64_t high) const {
    if (!value.is_number_integer() ||
        (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX))
      defect(path, " is ", value.dump().substr(0, 40), ", not an integer from ", low,
             " to ", high);
    int64_t v = value.get<int64_t>();
    if (v < low || v > high)
      defect(path, " is ", v, ", not an integer from ", low, " to ", high);
    return v;
  }
  int64_t integer(const char *key, int64_t low, int64_t high, int64_t absent) const {
    return has(key) ? (*this)[key].integer(low, high) : absent;
  }
  bool boolean(const char *key) const {
    if (!has(key))
      return false;
    Field f = (*this)[key];
    if (!f.value.is_boolean())
      defect(f.path, " is neither true nor false");
    return f.value.get<bool>();
  }
  std::string string() const {
    if (!value.is_string())
      defect(path, " is not a string");
    return value.get<std::string>();
  }
  std::string nonEmpty() const {
    std::string s = string();
    if (s.empty() || s.find('\0') != std::string::npos)
      defect(path, s.empty() ? " is empty" : " has a zero byte inside");
    return s;
  }

private:
  const json &object() const {
    if (!value.is_object())
      defect(path.empty() ? "the manifest" : path, " is not a JSON object");
    return value;
  }
};

WeightInfo readWeight(const Field &f) {
  WeightInfo w;
  w.name = f["name"].nonEmpty();
  w.encoding = f["encoding"].nonEmpty();
  w.n = f["n"].integer(1, kMaxDimension);
  w.k = f["k"].integer(1, kMaxDimension);
  w.bytes = f["bytes"].integer(1, kMaxBytes);
  if (f.has("image"))
    w.image = f["image"].nonEmpty();
  if (f.has("xxh3")) {
    Field checksum = f["xxh3"];
    w.checksum = checksum.string();
    if (!qlinear::isChecksum(w.checksum))
      defect(checksum.where(), " is no checksum, 16 hexadecimal digits");
  }
  return w;
}

qlr_dtype readDtype(const Field &f) {
  std::string s = f.string();
  for (int i = QLR_F32; i <= QLR_I32; ++i)
    if (s == name(qlr_dtype(i)))
      return qlr_dtype(i);
  defect(f.where(), " is \"", s, "\", not one of f32, f16, bf16, i8, i32");
}

TensorInfo readTensor(const Field &f) {
  TensorInfo t;
  t.dtype = readDtype(f["dtype"]);
  Field shape = f["shape"];
  t.shape = shape.list<int64_t>(
      4, [](const Field &d) { return d.integer(kPlaces, kMaxDimension); });
  if (t.shape.empty())
    defect(shape.where(), " has no dimensions");
  double elements = 1;
  for (size_t i = 0; i < t.shape.size(); ++i) {
    if (t.shape[i] == 0 || (i > 0 && t.shape[i] < 0))
      defect(shape.where(), "[", i, "] is ", t.shape[i],
             "; a dimension is positive, and only the first one may be -1, or -2 of a "
             "cache");
    elements *= t.shape[i] < 0 ? 1 : double(t.shape[i]);
  }
  if (elements > double(kMaxBytes))
    defect(shape.where(), " has more than 2^48 elements");
  t.align = f.integer("align", 1, 4096, 16);
  if (t.align & (t.align - 1))
    defect(f.where(), ".align is ", t.align, ", not a power of two");
  return t;
}

ConstantInfo readConstant(const Field &f) {
  TensorInfo t = readTensor(f);
  if (t.isDynamic() || t.isCache())
    defect(f["shape"].where(), "[0] is ", t.shape[0],
           "; a constant has no rows of a call");
  uint64_t bytes = byteWidth(t.dtype);
  for (int64_t size : t.shape)
    bytes *= uint64_t(size);
  return {f["image"].nonEmpty(), bytes};
}

TempInfo readTemp(const Field &f) {
  return {uint64_t(f.integer("bytes", 0, kMaxBytes, 0)),
          uint64_t(f.integer("bytes_per_row", 0, kMaxBytes, 0)), f.boolean("zero")};
}

KernelInfo readKernel(const Field &f, const TargetInfo &target, bool isBefore = false) {
  KernelInfo k;
  if (!isBefore)
    k.rows = f["rows"].integer(1, kMaxInt32);
  k.name = f["name"].nonEmpty();
  if (target.isCpu()) {
    k.items = f["items"].integer(1, kMaxBytes);
    return k;
  }
  k.grid = uint32_t(f["grid"].integer(1, kMaxInt32));
  k.block = uint32_t(f["block"].integer(1, 1024));
  k.smem = uint32_t(f.integer("smem", 0, 1 << 20, 0));
  if (!isBefore && f.has("before"))
    k.before.push_back(readKernel(f["before"], target, true));
  return k;
}

ArgInfo readArg(const Field &f, const FunctionInfo &function,
                const Manifest &manifest) {
  struct {
    const char *key;
    ArgInfo::Kind kind;
    size_t count;
  } kinds[] = {{"weight", ArgInfo::Kind::weight, manifest.weights.size()},
               {"constant", ArgInfo::Kind::constant, manifest.constants.size()},
               {"input", ArgInfo::Kind::input, function.inputs.size()},
               {"output", ArgInfo::Kind::output, function.outputs.size()},
               {"temp", ArgInfo::Kind::temp, function.temps.size()},
               {"places", ArgInfo::Kind::places, function.inputs.size()}};
  ArgInfo arg;
  int found = 0;
  for (auto &k : kinds) {
    if (!f.has(k.key))
      continue;
    ++found;
    Field index = f[k.key];
    arg.kind = k.kind;
    arg.index = uint32_t(index.integer(0, kMaxInt32));
    if (arg.index >= k.count)
      defect(index.where(), " is ", arg.index, ", but there are ", k.count, " ", k.key,
             "s");
    if (arg.kind == ArgInfo::Kind::places && !function.inputs[arg.index].isCache())
      defect(index.where(), " is ", arg.index, ", an input that is no cache");
  }
  if (found != 1)
    defect(f.where(), " has ", found,
           " of \"weight\", \"constant\", \"input\", \"output\", \"temp\", \"places\"; it "
           "needs exactly one");
  arg.rowStride = f.integer("row_stride", 0, kMaxBytes, 0);
  return arg;
}

/// A step that takes its rows in several chunks moves through every dynamic
/// tensor; without a stride each chunk would overwrite the first.
void checkStride(const ArgInfo &arg, const FunctionInfo &function,
                 const std::string &where) {
  const TensorInfo *t = arg.kind == ArgInfo::Kind::input ? &function.inputs[arg.index]
                        : arg.kind == ArgInfo::Kind::output
                            ? &function.outputs[arg.index]
                            : nullptr;
  if (!t || !t->isDynamic())
    return;
  uint64_t rowBytes = byteWidth(t->dtype);
  for (size_t i = 1; i < t->shape.size(); ++i)
    rowBytes *= uint64_t(t->shape[i]);
  if (arg.rowStride != rowBytes)
    defect(where, ".row_stride is ", arg.rowStride, ", but a row of this tensor has ",
           rowBytes, " bytes");
}

StepInfo readStep(const Field &f, const FunctionInfo &function,
                  const TargetInfo &target, const Manifest &manifest) {
  StepInfo step;
  Field kernels = f["kernels"];
  step.kernels = kernels.list<KernelInfo>(
      64, [&](const Field &k) { return readKernel(k, target); });
  if (step.kernels.empty())
    defect(kernels.where(), " is empty");
  for (size_t i = 1; i < step.kernels.size(); ++i)
    if (step.kernels[i].rows <= step.kernels[i - 1].rows)
      defect(kernels.where(), "[", i, "].rows is ", step.kernels[i].rows, " after ",
             step.kernels[i - 1].rows, "; variants come by ascending rows");
  step.args = f["args"].list<ArgInfo>(kMaxKernelArgs, [&](const Field &a) {
    ArgInfo arg = readArg(a, function, manifest);
    checkStride(arg, function, a.where());
    return arg;
  });
  step.pdl = f.boolean("pdl");
  return step;
}

FunctionInfo readFunction(const Field &f, const TargetInfo &target,
                          const Manifest &manifest) {
  FunctionInfo fn;
  fn.name = f["name"].nonEmpty();
  fn.inputs = f["inputs"].list<TensorInfo>(kMaxKernelArgs, readTensor);
  fn.outputs = f["outputs"].list<TensorInfo>(kMaxKernelArgs, [](const Field &o) {
    TensorInfo t = readTensor(o);
    if (t.isCache())
      defect(o["shape"].where(), "[0] is -2; a cache is an input");
    return t;
  });
  if (f.has("temps"))
    fn.temps = f["temps"].list<TempInfo>(kMaxKernelArgs, readTemp);
  bool dynamic = false;
  for (auto *tensors : {&fn.inputs, &fn.outputs})
    for (const TensorInfo &t : *tensors)
      dynamic |= t.isDynamic();
  if (dynamic == f.has("rows"))
    defect(f.where(), dynamic ? " has \"rows\" besides a dimension of -1"
                              : " has neither a dimension of -1 nor \"rows\"");
  if (!dynamic)
    fn.rows = f["rows"].integer(1, kMaxInt32);
  fn.steps = f["steps"].list<StepInfo>(
      4096, [&](const Field &s) { return readStep(s, fn, target, manifest); });
  return fn;
}

ImageInfo readImage(const Field &f) {
  ImageInfo image;
  Field kind = f["kind"];
  if (kind.string() == "ptx")
    image.kind = ImageInfo::Kind::ptx;
  else if (kind.string() != "cubin")
    defect(kind.where(), " is \"", kind.string(), "\", not \"cubin\" or \"ptx\"");
  image.name = f["name"].nonEmpty();
  if (image.kind == ImageInfo::Kind::ptx)
    image.version = f["version"].nonEmpty();
  return image;
}

TargetInfo readTarget(const Field &f, const Manifest &manifest) {
  TargetInfo target;
  Field name = f["target"];
  target.target = name.nonEmpty();
  if (target.isCuda()) {
    if (!target.chip())
      defect(name.where(), " is \"", target.target,
             "\", not cuda:sm_NN, cuda:emulated or cpu:ISA");
    Field images = f["images"];
    target.images = images.list<ImageInfo>(16, readImage);
    if (target.images.empty())
      defect(images.where(), " is empty");
  }
  target.functions = f["functions"].list<FunctionInfo>(
      65536, [&](const Field &fn) { return readFunction(fn, target, manifest); });
  std::set<std::string_view> names;
  for (const FunctionInfo &fn : target.functions)
    if (!names.insert(fn.name).second)
      defect(f.where(), " has two functions named \"", fn.name, "\"");
  return target;
}

} // namespace

std::optional<ChipName> TargetInfo::chip() const {
  constexpr std::string_view prefix = "cuda:";
  return target.starts_with(prefix)
             ? ChipName::parse(std::string_view(target).substr(prefix.size()))
             : std::nullopt;
}

Expected<Manifest> Manifest::parse(std::string_view text) {
  if (auto shallow = checkJsonDepth(text); !shallow)
    return fail(QLR_BAD_ARTIFACT, "the manifest ", shallow.error());
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded())
    return fail(QLR_BAD_ARTIFACT, "the manifest is not JSON");
  try {
    Field root(parsed, "");
    int64_t version = root["version"].integer(0, kMaxInt32);
    if (version != 1)
      defect("version is ", version,
             ", but this runtime reads version 1; use the runtime of the compiler "
             "that wrote the artifact");
    int64_t packing = root.integer("layout", 0, kMaxInt32, qlinear::layout::kVersion);
    if (packing != qlinear::layout::kVersion)
      defect(
          "layout is ", packing, ", but this runtime reads version ",
          qlinear::layout::kVersion,
          " of the layout of packed weights; compile and pack again with one version");
    Manifest m;
    if (root.has("producer"))
      m.producer = root["producer"].string();
    m.weights = root["weights"].list<WeightInfo>(1 << 20, readWeight);
    if (root.has("constants"))
      m.constants = root["constants"].list<ConstantInfo>(1 << 20, readConstant);
    m.targets = root["targets"].list<TargetInfo>(
        64, [&](const Field &t) { return readTarget(t, m); });
    std::set<std::string_view> names;
    for (const WeightInfo &w : m.weights)
      if (!names.insert(w.name).second)
        defect("there are two weights named \"", w.name, "\"");
    return m;
  } catch (const Defect &d) {
    return fail(QLR_BAD_ARTIFACT, "manifest: ", d.message);
  }
}

const char *qlinear::runtime::name(int32_t dtype) {
  constexpr const char *names[] = {"f32", "f16", "bf16", "i8", "i32"};
  return size_t(dtype) < std::size(names) ? names[dtype] : "unknown";
}

size_t qlinear::runtime::byteWidth(int32_t dtype) {
  constexpr size_t widths[] = {4, 2, 2, 1, 4};
  return size_t(dtype) < std::size(widths) ? widths[dtype] : 0;
}
