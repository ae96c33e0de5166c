//===- Bytecode.cpp - Versioned bytecode ----------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The wire format of attributes and types. Each starts with its code; the rest
// is fields in the order in which they are written here. A change of the format
// raises kVersion, and the reader goes on reading every older version: the
// frozen files in test/Dialect/QLinear/Inputs hold it to that.
//
//===----------------------------------------------------------------------===//
#include "DialectImpl.h"

#include "mlir/Bytecode/BytecodeImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::Encoding;
using ::qlinear::MetaStorage;

namespace {

/// Version 2: a schedule is a list of kernels. Before, it was one set of fields for
/// several numbers of rows. Version 3: activations have a format. Version 4: codes have
/// a kind, those of older versions are integers. Version 5: a variant may have a kernel
/// before it, and a schedule kernels for many rows. Version 6: on CPUs too. Version 7:
/// norms are launched with linears, so the kernel before it is not for many rows only.
/// Version 8:
/// codes and scales of IQ4_NL, MXFP4, NVFP4 and NF4.
constexpr uint64_t kVersion = 8;

enum class AttrCode : uint64_t {
  encoding = 0,
  schedule,
  variant,
  temp,
  gemv,
  cpuGemv,
  activationFormat,
  gemm,
  cpuGemm
};
enum class TypeCode : uint64_t { weight = 0, activations };

struct QLinearVersion : DialectVersion {
  explicit QLinearVersion(uint64_t number) : number(number) {}
  uint64_t number;
};

/// The version that the file at hand was written with.
uint64_t versionOf(DialectBytecodeReader &reader) {
  auto version = reader.getDialectVersion<QLinearDialect>();
  return succeeded(version) ? static_cast<const QLinearVersion *>(*version)->number
                            : kVersion;
}

/// Reads fields one by one and remembers whether all could be read.
class Fields {
public:
  explicit Fields(DialectBytecodeReader &reader) : reader(reader) {}

  uint64_t number() {
    uint64_t value = 0;
    ok = ok && succeeded(reader.readVarInt(value));
    return value;
  }
  int64_t integer() {
    int64_t value = 0;
    ok = ok && succeeded(reader.readSignedVarInt(value));
    return value;
  }
  /// An enumerator or a small number, at most `max`.
  uint64_t upTo(uint64_t max, StringRef what) {
    uint64_t value = number();
    if (ok && value > max) {
      reader.emitError() << what << " = " << value << " in the bytecode is not in 0.."
                         << max;
      ok = false;
    }
    return ok ? value : 0;
  }
  MetaStorage storage() {
    MetaStorage m;
    m.kind =
        MetaStorage::Kind(upTo(::qlinear::layout::kMetaKinds - 1, "metadata kind"));
    m.type = ::qlinear::FloatType(upTo(4, "metadata float type"));
    m.bits = uint8_t(upTo(32, "metadata bits"));
    m.isSigned = upTo(1, "metadata signedness");
    m.scope = ::qlinear::StepScope(upTo(3, "metadata step scope"));
    return m;
  }
  /// A field that may be left out: 0, or the value and one.
  template <typename T>
  void optional(std::optional<T> &field, uint64_t max, StringRef what) {
    field.reset();
    if (uint64_t value = upTo(max + 1, what))
      field = T(value - 1);
  }
  explicit operator bool() const { return ok; }

private:
  DialectBytecodeReader &reader;
  bool ok = true;
};

/// The largest value that a field of a kernel can have, for reading it.
uint64_t largest(const std::optional<DotKind> &) { return getMaxEnumValForDotKind(); }
uint64_t largest(const std::optional<CopyKind> &) { return getMaxEnumValForCopyKind(); }
uint64_t largest(const std::optional<bool> &) { return 1; }
uint64_t largest(const std::optional<int64_t> &) { return INT32_MAX; }

template <typename T>
void writeOptional(DialectBytecodeWriter &writer, const std::optional<T> &field) {
  writer.writeVarInt(field ? uint64_t(*field) + 1 : 0);
}

template <typename Kernel>
void writeKernel(DialectBytecodeWriter &writer, AttrCode code, const Kernel &kernel) {
  writer.writeVarInt(uint64_t(code));
  writer.writeSignedVarInt(kernel.rows);
  Kernel::visit(kernel, [&](const char *, const auto &field, int64_t, int64_t) {
    writeOptional(writer, field);
  });
}

template <typename Kernel> Kernel readKernel(Fields &in) {
  Kernel kernel;
  kernel.rows = in.integer();
  Kernel::visit(kernel, [&](const char *name, auto &field, int64_t, int64_t) {
    in.optional(field, largest(field), name);
  });
  return kernel;
}

/// A schedule of version 0 or 1: its fields were for all numbers of rows, for GPUs or
/// CPUs, and the lowering gave way where they did not fit. Fields that were set to
/// other than the default are now given for each kernel; the rest is left to the cost
/// model.
Attribute readOldSchedule(Fields &in, DialectBytecodeReader &reader,
                          MLIRContext *context,
                          function_ref<InFlightDiagnostic()> emitError) {
  SmallVector<int64_t> rows;
  if (failed(reader.readSignedVarInts(rows)))
    return {};
  int64_t grid = in.integer(), warps = in.integer(), stages = in.integer();
  auto copy = CopyKind(in.upTo(getMaxEnumValForCopyKind(), "copy"));
  auto quantize = QuantizeKind(in.upTo(getMaxEnumValForQuantizeKind(), "quantize"));
  bool pdl = in.upTo(1, "pdl");
  int64_t splitK = in.integer();
  StringRef isa;
  if (!in || failed(reader.readString(isa)))
    return {};
  int64_t tiles = in.integer();
  if (!in)
    return {};
  bool cpu = !isa.empty() || tiles != 1;
  SmallVector<KernelAttrInterface> kernels;
  for (int64_t r : rows) {
    Attribute kernel;
    if (cpu) {
      kernel = CpuGemvAttr::getChecked(emitError, context, CpuGemv{r, tiles});
    } else {
      Gemv gemv;
      gemv.rows = r;
      gemv.copy = copy;
      if (grid)
        gemv.grid = splitK > 1 && r > 1 ? grid / splitK * splitK : grid;
      if (warps)
        gemv.warps = warps;
      if (copy != CopyKind::load && stages != 3)
        gemv.stages = std::min<int64_t>(stages, 8);
      if (splitK > 1 && r > 1)
        gemv.splitK = splitK;
      kernel = GemvAttr::getChecked(emitError, context, gemv);
    }
    if (!kernel)
      return {};
    kernels.push_back(cast<KernelAttrInterface>(kernel));
  }
  return ScheduleAttr::getChecked(emitError, context,
                                  ArrayRef<KernelAttrInterface>(kernels),
                                  cpu ? std::nullopt : std::optional(quantize),
                                  cpu ? std::nullopt : std::optional(pdl));
}

struct QLinearBytecodeInterface : BytecodeDialectInterface {
  QLinearBytecodeInterface(Dialect *dialect) : BytecodeDialectInterface(dialect) {}

  void writeVersion(DialectBytecodeWriter &writer) const override {
    writer.writeVarInt(kVersion);
  }

  std::unique_ptr<DialectVersion>
  readVersion(DialectBytecodeReader &reader) const override {
    uint64_t number;
    if (failed(reader.readVarInt(number)))
      return nullptr;
    if (number > kVersion) {
      reader.emitError() << "version " << number
                         << " of the qlinear bytecode is newer than " << kVersion
                         << ", the newest that this build reads; use a newer "
                            "build";
      return nullptr;
    }
    return std::make_unique<QLinearVersion>(number);
  }

  LogicalResult writeAttribute(Attribute attr,
                               DialectBytecodeWriter &writer) const override {
    return TypeSwitch<Attribute, LogicalResult>(attr)
        .Case([&](EncodingAttr a) {
          const Encoding e = a.getValue();
          writer.writeVarInt(uint64_t(AttrCode::encoding));
          writer.writeVarInt(e.codes.bits);
          writer.writeVarInt(e.codes.isSigned);
          writer.writeVarInt(uint64_t(e.codes.kind));
          writer.writeVarInt(e.group);
          writer.writeVarInt(uint64_t(e.form));
          for (const MetaStorage &m : {e.scale, e.offset}) {
            writer.writeVarInt(uint64_t(m.kind));
            writer.writeVarInt(uint64_t(m.type));
            writer.writeVarInt(m.bits);
            writer.writeVarInt(m.isSigned);
            writer.writeVarInt(uint64_t(m.scope));
          }
          return success();
        })
        .Case([&](ScheduleAttr a) {
          writer.writeVarInt(uint64_t(AttrCode::schedule));
          writer.writeList(a.getKernels(), [&](KernelAttrInterface kernel) {
            writer.writeAttribute(kernel);
          });
          writeOptional(writer, a.getQuantize());
          writeOptional(writer, a.getPdl());
          return success();
        })
        .Case([&](GemvAttr a) {
          writeKernel(writer, AttrCode::gemv, a.getValue());
          return success();
        })
        .Case([&](GemmAttr a) {
          writeKernel(writer, AttrCode::gemm, a.getValue());
          return success();
        })
        .Case([&](CpuGemvAttr a) {
          writeKernel(writer, AttrCode::cpuGemv, a.getValue());
          return success();
        })
        .Case([&](CpuGemmAttr a) {
          writeKernel(writer, AttrCode::cpuGemm, a.getValue());
          return success();
        })
        .Case([&](ActivationFormatAttr a) {
          writer.writeVarInt(uint64_t(AttrCode::activationFormat));
          writer.writeVarInt(uint64_t(a.getKind()));
          writer.writeSignedVarInt(a.getBlock());
          return success();
        })
        .Case([&](VariantAttr a) {
          writer.writeVarInt(uint64_t(AttrCode::variant));
          writer.writeSignedVarInt(a.getRows());
          writer.writeAttribute(a.getKernel());
          for (int64_t field : {a.getGrid(), a.getBlock(), a.getSmem(), a.getItems()})
            writer.writeSignedVarInt(field);
          writer.writeOptionalAttribute(a.getBefore());
          writer.writeVarInt(a.getF16());
          return success();
        })
        .Case([&](TempAttr a) {
          writer.writeVarInt(uint64_t(AttrCode::temp));
          writer.writeSignedVarInt(a.getBytes());
          writer.writeSignedVarInt(a.getBytesPerRow());
          writer.writeVarInt(a.getZero());
          return success();
        })
        .Default([](Attribute) { return failure(); });
  }

  Attribute readAttribute(DialectBytecodeReader &reader) const override {
    MLIRContext *context = getContext();
    auto emitError = [&] { return reader.emitError(); };
    Fields in(reader);
    uint64_t code = in.number();
    if (!in)
      return {};
    switch (AttrCode(code)) {
    case AttrCode::encoding: {
      Encoding e;
      e.codes.bits = uint8_t(in.upTo(32, "code bits"));
      e.codes.isSigned = in.upTo(1, "code signedness");
      if (versionOf(reader) >= 4)
        e.codes.kind = ::qlinear::CodeKind(
            in.upTo(::qlinear::layout::kCodeKinds - 1, "code kind"));
      e.group = unsigned(in.upTo(1 << 20, "group"));
      e.form = ::qlinear::Form(in.upTo(3, "form"));
      e.scale = in.storage();
      e.offset = in.storage();
      return in ? EncodingAttr::getChecked(emitError, context, e) : Attribute();
    }
    case AttrCode::schedule: {
      if (versionOf(reader) < 2)
        return readOldSchedule(in, reader, context, emitError);
      SmallVector<KernelAttrInterface> kernels;
      if (failed(reader.readList(kernels, [&](KernelAttrInterface &kernel) {
            return reader.readAttribute(kernel);
          })))
        return {};
      std::optional<QuantizeKind> quantize;
      std::optional<bool> pdl;
      in.optional(quantize, getMaxEnumValForQuantizeKind(), "quantize");
      in.optional(pdl, 1, "pdl");
      return in ? ScheduleAttr::getChecked(emitError, context,
                                           ArrayRef<KernelAttrInterface>(kernels),
                                           quantize, pdl)
                : Attribute();
    }
    case AttrCode::gemv: {
      auto kernel = readKernel<Gemv>(in);
      return in ? GemvAttr::getChecked(emitError, context, kernel) : Attribute();
    }
    case AttrCode::gemm: {
      auto kernel = readKernel<Gemm>(in);
      return in ? GemmAttr::getChecked(emitError, context, kernel) : Attribute();
    }
    case AttrCode::cpuGemv: {
      auto kernel = readKernel<CpuGemv>(in);
      return in ? CpuGemvAttr::getChecked(emitError, context, kernel) : Attribute();
    }
    case AttrCode::cpuGemm: {
      auto kernel = readKernel<CpuGemm>(in);
      return in ? CpuGemmAttr::getChecked(emitError, context, kernel) : Attribute();
    }
    case AttrCode::activationFormat: {
      auto kind = ActivationKind(in.upTo(getMaxEnumValForActivationKind(), "format"));
      int64_t block = in.integer();
      return in ? ActivationFormatAttr::getChecked(emitError, context, kind, block)
                : Attribute();
    }
    case AttrCode::variant: {
      int64_t rows = in.integer();
      SymbolRefAttr kernel;
      if (!in || failed(reader.readAttribute(kernel)))
        return {};
      int64_t grid = in.integer(), block = in.integer(), smem = in.integer(),
              items = in.integer();
      VariantAttr before;
      if (!in ||
          (versionOf(reader) >= 5 && failed(reader.readOptionalAttribute(before))))
        return {};
      bool f16 = versionOf(reader) >= 7 ? in.upTo(1, "f16") : bool(before);
      return in ? VariantAttr::getChecked(emitError, context, rows, kernel, grid, block,
                                          smem, items, before, f16)
                : Attribute();
    }
    case AttrCode::temp: {
      int64_t bytes = in.integer(), bytesPerRow = in.integer();
      bool zero = in.upTo(1, "zero");
      return in ? TempAttr::getChecked(emitError, context, bytes, bytesPerRow, zero)
                : Attribute();
    }
    }
    reader.emitError() << "unknown qlinear attribute code " << code
                       << " in the bytecode";
    return {};
  }

  LogicalResult writeType(Type type, DialectBytecodeWriter &writer) const override {
    return TypeSwitch<Type, LogicalResult>(type)
        .Case([&](WeightType t) {
          writer.writeVarInt(uint64_t(TypeCode::weight));
          writer.writeSignedVarInt(t.getN());
          writer.writeSignedVarInt(t.getK());
          writer.writeAttribute(t.getEncoding());
          return success();
        })
        .Case([&](ActivationsType t) {
          writer.writeVarInt(uint64_t(TypeCode::activations));
          writer.writeSignedVarInt(t.getM());
          writer.writeSignedVarInt(t.getK());
          writer.writeAttribute(t.getFormat());
          return success();
        })
        .Default([](Type) { return failure(); });
  }

  Type readType(DialectBytecodeReader &reader) const override {
    MLIRContext *context = getContext();
    auto emitError = [&] { return reader.emitError(); };
    Fields in(reader);
    uint64_t code = in.number();
    if (!in)
      return {};
    switch (TypeCode(code)) {
    case TypeCode::weight: {
      int64_t n = in.integer(), k = in.integer();
      EncodingAttr encoding;
      if (!in || failed(reader.readAttribute(encoding)))
        return {};
      return WeightType::getChecked(emitError, context, n, k, encoding);
    }
    case TypeCode::activations: {
      int64_t m = in.integer(), k = in.integer();
      auto format = ActivationFormatAttr::getDefault(context);
      if (!in || (versionOf(reader) >= 3 && failed(reader.readAttribute(format))))
        return {};
      return ActivationsType::getChecked(emitError, context, m, k, format);
    }
    }
    reader.emitError() << "unknown qlinear type code " << code << " in the bytecode";
    return {};
  }
};

} // namespace

LogicalResult LinearOp::readProperties(DialectBytecodeReader &reader,
                                       OperationState &state) {
  auto &fields = state.getOrAddProperties<Properties>();
  if (versionOf(reader) >= 3 &&
      failed(reader.readOptionalAttribute(fields.activations)))
    return failure();
  if (failed(reader.readOptionalAttribute(fields.schedule)))
    return failure();
  return reader.readSparseArray(MutableArrayRef<int32_t>(fields.operandSegmentSizes));
}

void LinearOp::writeProperties(DialectBytecodeWriter &writer) {
  const Properties &fields = getProperties();
  writer.writeOptionalAttribute(fields.activations);
  writer.writeOptionalAttribute(fields.schedule);
  writer.writeSparseArray(ArrayRef<int32_t>(fields.operandSegmentSizes));
}

void mlir::qlinear::addBytecodeInterface(QLinearDialect *dialect) {
  dialect->addInterfaces<QLinearBytecodeInterface>();
}
