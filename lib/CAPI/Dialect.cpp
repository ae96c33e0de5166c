//===- Dialect.cpp - C API of the qlinear dialect -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear-c/Dialect.h"
#include "qlinear/Dialect/QLinear.h"

#include "mlir/CAPI/IR.h"
#include "mlir/CAPI/Registration.h"
#include "mlir/CAPI/Support.h"
#include "mlir/IR/Diagnostics.h"

#include <algorithm>
#include <bit>

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::Encoding;
using ::qlinear::MetaStorage;

MLIR_DEFINE_CAPI_DIALECT_REGISTRATION(QLinear, qlinear, mlir::qlinear::QLinearDialect)

/// The context of a location, with the dialect loaded: attributes and types of a
/// dialect that is only registered cannot be made.
static MLIRContext *getContext(Location loc) {
  loc.getContext()->getOrLoadDialect<QLinearDialect>();
  return loc.getContext();
}

//===----------------------------------------------------------------------===//
// Encoding
//===----------------------------------------------------------------------===//

// Enumerators of both sides have the same values.
#define SAME(C, Cpp) static_assert(int(C) == int(::qlinear::Cpp))
SAME(MLIR_QLINEAR_FORM_SYMMETRIC, Form::symmetric);
SAME(MLIR_QLINEAR_FORM_ZERO, Form::zero);
SAME(MLIR_QLINEAR_FORM_MIN, Form::min);
SAME(MLIR_QLINEAR_FORM_CENTRED, Form::centred);
SAME(MLIR_QLINEAR_CODES_INTEGER, CodeKind::integer);
SAME(MLIR_QLINEAR_CODES_EXAMPLE4, CodeKind::example4);
SAME(MLIR_QLINEAR_CODES_EXAMPLE2, CodeKind::example2);
SAME(MLIR_QLINEAR_CODES_EXAMPLE3, CodeKind::example3);
SAME(MLIR_QLINEAR_CODES_EXAMPLE8, CodeKind::example8);
SAME(MLIR_QLINEAR_CODES_IQ4NL, CodeKind::iq4nl);
SAME(MLIR_QLINEAR_CODES_E2M1, CodeKind::e2m1);
SAME(MLIR_QLINEAR_CODES_NF4, CodeKind::nf4);
static_assert(MLIR_QLINEAR_CODES_NF4 + 1 == ::qlinear::layout::kCodeKinds);
SAME(MLIR_QLINEAR_FLOAT_BF16, FloatType::bf16);
SAME(MLIR_QLINEAR_FLOAT_F16, FloatType::f16);
SAME(MLIR_QLINEAR_FLOAT_F32, FloatType::f32);
SAME(MLIR_QLINEAR_FLOAT_E8M0, FloatType::e8m0);
SAME(MLIR_QLINEAR_FLOAT_E4M3, FloatType::e4m3);
SAME(MLIR_QLINEAR_STORAGE_NONE, MetaStorage::Kind::none);
SAME(MLIR_QLINEAR_STORAGE_PLAIN, MetaStorage::Kind::plain);
SAME(MLIR_QLINEAR_STORAGE_LINEAR, MetaStorage::Kind::linear);
SAME(MLIR_QLINEAR_STORAGE_LOG, MetaStorage::Kind::log);
SAME(MLIR_QLINEAR_STORAGE_DELTA, MetaStorage::Kind::delta);
SAME(MLIR_QLINEAR_STORAGE_SCALED, MetaStorage::Kind::scaled);
static_assert(MLIR_QLINEAR_STORAGE_SCALED + 1 == ::qlinear::layout::kMetaKinds);
SAME(MLIR_QLINEAR_STEP_CONSTANT, StepScope::constant);
SAME(MLIR_QLINEAR_STEP_ROW, StepScope::row);
SAME(MLIR_QLINEAR_STEP_BLOCK, StepScope::block);
SAME(MLIR_QLINEAR_STEP_TENSOR, StepScope::tensor);
#undef SAME
static_assert(int(MLIR_QLINEAR_COPY_BULK) == int(CopyKind::bulk) &&
              int(MLIR_QLINEAR_COPY_ASYNC) == int(CopyKind::async) &&
              int(MLIR_QLINEAR_COPY_LOAD) == int(CopyKind::load) &&
              int(MLIR_QLINEAR_QUANTIZE_INSIDE) == int(QuantizeKind::inside) &&
              int(MLIR_QLINEAR_QUANTIZE_SEPARATE) == int(QuantizeKind::separate) &&
              int(MLIR_QLINEAR_QUANTIZE_NORM) == int(QuantizeKind::norm));

/// Whether an enumerator that came from C is one; emits an error if not. C may put any
/// number there, which C++ must not read as the enumeration.
template <typename Enum>
static bool isOneOf(Location loc, const Enum &enumerator, int last, StringRef what) {
  int value = std::bit_cast<int>(enumerator);
  if (value >= 0 && value <= last)
    return true;
  emitError(loc) << what << " " << value << " does not exist; the last one is " << last;
  return false;
}

/// A number of bits as the encoding has it, so large that it is refused if it does
/// not fit.
static uint8_t toBits(unsigned bits) { return uint8_t(std::min(bits, 255u)); }

static bool fromC(Location loc, const MlirQLinearStorage &c, MetaStorage &storage) {
  if (!isOneOf(loc, c.kind, ::qlinear::layout::kMetaKinds - 1,
               "MlirQLinearStorageKind") ||
      !isOneOf(loc, c.type, MLIR_QLINEAR_FLOAT_E4M3, "MlirQLinearFloat") ||
      !isOneOf(loc, c.scope, MLIR_QLINEAR_STEP_TENSOR, "MlirQLinearStepScope"))
    return false;
  storage = {MetaStorage::Kind(c.kind), ::qlinear::FloatType(c.type), toBits(c.bits),
             c.isSigned, ::qlinear::StepScope(c.scope)};
  // An absent storage is one value, whatever the other fields say.
  if (storage.kind == MetaStorage::Kind::none)
    storage = {};
  return true;
}

static MlirQLinearStorage toC(const MetaStorage &storage) {
  return {MlirQLinearStorageKind(storage.kind), MlirQLinearFloat(storage.type),
          storage.bits, storage.isSigned, MlirQLinearStepScope(storage.scope)};
}

static EncodingAttr getEncoding(Location loc,
                                const ::qlinear::Result<Encoding> &value) {
  if (!value) {
    emitError(loc) << value.error();
    return {};
  }
  return EncodingAttr::getChecked([&] { return emitError(loc); }, getContext(loc),
                                  *value);
}

bool mlirAttributeIsAQLinearEncoding(MlirAttribute attr) {
  return isa<EncodingAttr>(unwrap(attr));
}

MlirTypeID mlirQLinearEncodingAttrGetTypeID(void) {
  return wrap(EncodingAttr::getTypeID());
}

MlirAttribute mlirQLinearEncodingAttrGet(MlirLocation loc, MlirQLinearEncoding c) {
  Location at = unwrap(loc);
  Encoding encoding;
  if (!isOneOf(at, c.form, MLIR_QLINEAR_FORM_CENTRED, "MlirQLinearForm") ||
      !isOneOf(at, c.codeKind, ::qlinear::layout::kCodeKinds - 1,
               "MlirQLinearCodeKind") ||
      !fromC(at, c.scale, encoding.scale) || !fromC(at, c.offset, encoding.offset))
    return wrap(Attribute());
  encoding.codes = {toBits(c.codeBits), c.codesSigned, ::qlinear::CodeKind(c.codeKind)};
  encoding.group = c.group;
  encoding.form = ::qlinear::Form(c.form);
  return wrap(getEncoding(at, encoding));
}

MlirAttribute mlirQLinearEncodingAttrParse(MlirLocation loc, MlirStringRef spelling) {
  return wrap(getEncoding(unwrap(loc), Encoding::parse(unwrap(spelling))));
}

MlirAttribute mlirQLinearEncodingAttrGetGGUF(MlirLocation loc, MlirStringRef ggufType) {
  return wrap(getEncoding(unwrap(loc), ::qlinear::ggufEncoding(unwrap(ggufType))));
}

MlirQLinearEncoding mlirQLinearEncodingAttrGetValue(MlirAttribute attr) {
  const Encoding &e = cast<EncodingAttr>(unwrap(attr)).getValue();
  return {e.codes.bits,
          e.codes.isSigned,
          e.group,
          MlirQLinearForm(e.form),
          toC(e.scale),
          toC(e.offset),
          MlirQLinearCodeKind(e.codes.kind)};
}

void mlirQLinearEncodingAttrPrint(MlirAttribute attr, MlirStringCallback callback,
                                  void *userData) {
  callback(wrap(StringRef(cast<EncodingAttr>(unwrap(attr)).getValue().str())),
           userData);
}

bool mlirQLinearEncodingAttrIsLossless(MlirAttribute from, MlirAttribute to) {
  return cast<EncodingAttr>(unwrap(from)).isLosslessTo(cast<EncodingAttr>(unwrap(to)));
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// A field from C. Integers are checked by the attribute; other fields here, where
/// `largest` is their largest value.
template <typename T>
static bool fromC(Location at, int64_t value, int64_t largest, const char *name,
                  std::optional<T> &field) {
  field.reset();
  if (value == MLIR_QLINEAR_CHOOSE)
    return true;
  if constexpr (!std::is_same_v<T, int64_t>)
    if (value < 0 || value > largest) {
      emitError(at) << name << " = " << value << " is not in 0.." << largest
                    << ", and not MLIR_QLINEAR_CHOOSE";
      return false;
    }
  field = T(value);
  return true;
}

template <typename T> static int64_t toC(const std::optional<T> &field) {
  return field ? int64_t(*field) : MLIR_QLINEAR_CHOOSE;
}

/// The checked attribute of a kernel whose fields are `good`; else null.
template <typename Attr, typename Kernel>
static MlirAttribute getKernel(Location at, bool good, const Kernel &kernel) {
  return wrap(good ? Attribute(Attr::getChecked([&] { return emitError(at); },
                                                getContext(at), kernel))
                   : Attribute());
}

bool mlirAttributeIsAQLinearGemv(MlirAttribute attr) {
  return isa<GemvAttr>(unwrap(attr));
}

MlirTypeID mlirQLinearGemvAttrGetTypeID(void) { return wrap(GemvAttr::getTypeID()); }

MlirQLinearGemv mlirQLinearGemvGetDefault(int64_t rows) {
  constexpr int64_t none = MLIR_QLINEAR_CHOOSE;
  return {rows, none, none, none, none, none, none, none, none, none, none, none};
}

MlirAttribute mlirQLinearGemvAttrGet(MlirLocation loc, MlirQLinearGemv c) {
  Location at = unwrap(loc);
  Gemv g;
  g.rows = c.rows;
  bool good = fromC(at, c.dot, MLIR_QLINEAR_DOT_WGMMA, "dot", g.dot) &&
              fromC(at, c.copy, MLIR_QLINEAR_COPY_LOAD, "copy", g.copy) &&
              fromC(at, c.grid, 0, "grid", g.grid) &&
              fromC(at, c.warps, 0, "warps", g.warps) &&
              fromC(at, c.stages, 0, "stages", g.stages) &&
              fromC(at, c.early, 0, "early", g.early) &&
              fromC(at, c.ahead, 1, "ahead", g.ahead) &&
              fromC(at, c.xCopy, MLIR_QLINEAR_COPY_LOAD, "x_copy", g.xCopy) &&
              fromC(at, c.resident, 0, "resident", g.resident) &&
              fromC(at, c.phases, 0, "phases", g.phases) &&
              fromC(at, c.splitK, 0, "split_k", g.splitK);
  return getKernel<GemvAttr>(at, good, g);
}

MlirQLinearGemv mlirQLinearGemvAttrGetValue(MlirAttribute attr) {
  const Gemv &g = cast<GemvAttr>(unwrap(attr)).getValue();
  return {g.rows,       toC(g.dot),      toC(g.copy),   toC(g.grid),
          toC(g.warps), toC(g.stages),   toC(g.early),  toC(g.ahead),
          toC(g.xCopy), toC(g.resident), toC(g.phases), toC(g.splitK)};
}

bool mlirAttributeIsAQLinearGemm(MlirAttribute attr) {
  return isa<GemmAttr>(unwrap(attr));
}

MlirTypeID mlirQLinearGemmAttrGetTypeID(void) { return wrap(GemmAttr::getTypeID()); }

MlirQLinearGemm mlirQLinearGemmGetDefault(int64_t rows) {
  constexpr int64_t none = MLIR_QLINEAR_CHOOSE;
  return {rows, none, none, none, none, none, none, none, none};
}

MlirAttribute mlirQLinearGemmAttrGet(MlirLocation loc, MlirQLinearGemm c) {
  Location at = unwrap(loc);
  Gemm g;
  g.rows = c.rows;
  bool good = fromC(at, c.tokens, 0, "tokens", g.tokens) &&
              fromC(at, c.dot, MLIR_QLINEAR_DOT_WGMMA, "dot", g.dot) &&
              fromC(at, c.copy, MLIR_QLINEAR_COPY_LOAD, "copy", g.copy) &&
              fromC(at, c.grid, 0, "grid", g.grid) &&
              fromC(at, c.warps, 0, "warps", g.warps) &&
              fromC(at, c.tiles, 0, "tiles", g.tiles) &&
              fromC(at, c.stages, 0, "stages", g.stages) &&
              fromC(at, c.splitK, 0, "split_k", g.splitK);
  return getKernel<GemmAttr>(at, good, g);
}

MlirQLinearGemm mlirQLinearGemmAttrGetValue(MlirAttribute attr) {
  const Gemm &g = cast<GemmAttr>(unwrap(attr)).getValue();
  return {g.rows,       toC(g.tokens), toC(g.dot),    toC(g.copy),  toC(g.grid),
          toC(g.warps), toC(g.tiles),  toC(g.stages), toC(g.splitK)};
}

bool mlirAttributeIsAQLinearCpuGemv(MlirAttribute attr) {
  return isa<CpuGemvAttr>(unwrap(attr));
}

MlirTypeID mlirQLinearCpuGemvAttrGetTypeID(void) {
  return wrap(CpuGemvAttr::getTypeID());
}

MlirAttribute mlirQLinearCpuGemvAttrGet(MlirLocation loc, MlirQLinearCpuGemv c) {
  Location at = unwrap(loc);
  CpuGemv kernel{c.rows, std::nullopt};
  bool good = fromC(at, c.tiles, 0, "tiles", kernel.tiles);
  return getKernel<CpuGemvAttr>(at, good, kernel);
}

MlirQLinearCpuGemv mlirQLinearCpuGemvAttrGetValue(MlirAttribute attr) {
  const CpuGemv &kernel = cast<CpuGemvAttr>(unwrap(attr)).getValue();
  return {kernel.rows, toC(kernel.tiles)};
}

bool mlirAttributeIsAQLinearCpuGemm(MlirAttribute attr) {
  return isa<CpuGemmAttr>(unwrap(attr));
}

MlirTypeID mlirQLinearCpuGemmAttrGetTypeID(void) {
  return wrap(CpuGemmAttr::getTypeID());
}

MlirAttribute mlirQLinearCpuGemmAttrGet(MlirLocation loc, MlirQLinearCpuGemm c) {
  Location at = unwrap(loc);
  CpuGemm kernel;
  kernel.rows = c.rows;
  bool good = fromC(at, c.tokens, 0, "tokens", kernel.tokens) &&
              fromC(at, c.tiles, 0, "tiles", kernel.tiles);
  return getKernel<CpuGemmAttr>(at, good, kernel);
}

MlirQLinearCpuGemm mlirQLinearCpuGemmAttrGetValue(MlirAttribute attr) {
  const CpuGemm &kernel = cast<CpuGemmAttr>(unwrap(attr)).getValue();
  return {kernel.rows, toC(kernel.tokens), toC(kernel.tiles)};
}

bool mlirAttributeIsAQLinearKernel(MlirAttribute attr) {
  return isa<KernelAttrInterface>(unwrap(attr));
}

int64_t mlirQLinearKernelAttrGetRows(MlirAttribute kernel) {
  return cast<KernelAttrInterface>(unwrap(kernel)).getRows();
}

//===----------------------------------------------------------------------===//
// Schedule
//===----------------------------------------------------------------------===//

bool mlirAttributeIsAQLinearSchedule(MlirAttribute attr) {
  return isa<ScheduleAttr>(unwrap(attr));
}

MlirTypeID mlirQLinearScheduleAttrGetTypeID(void) {
  return wrap(ScheduleAttr::getTypeID());
}

MlirAttribute mlirQLinearScheduleAttrGet(MlirLocation loc, intptr_t numKernels,
                                         MlirAttribute const *kernels, int64_t quantize,
                                         int64_t pdl) {
  Location at = unwrap(loc);
  SmallVector<KernelAttrInterface> list;
  for (MlirAttribute attr : ArrayRef(kernels, size_t(numKernels))) {
    list.push_back(dyn_cast_if_present<KernelAttrInterface>(unwrap(attr)));
    if (!list.back()) {
      emitError(at) << "kernel " << list.size() - 1
                    << " of the schedule is not a kernel attribute";
      return wrap(Attribute());
    }
  }
  std::optional<QuantizeKind> where;
  std::optional<bool> isPdl;
  if (!fromC(at, quantize, MLIR_QLINEAR_QUANTIZE_NORM, "quantize", where) ||
      !fromC(at, pdl, 1, "pdl", isPdl))
    return wrap(Attribute());
  return wrap(Attribute(
      ScheduleAttr::getChecked([&] { return emitError(at); }, getContext(at),
                               ArrayRef<KernelAttrInterface>(list), where, isPdl)));
}

intptr_t mlirQLinearScheduleAttrGetNumKernels(MlirAttribute schedule) {
  return intptr_t(cast<ScheduleAttr>(unwrap(schedule)).getKernels().size());
}

MlirAttribute mlirQLinearScheduleAttrGetKernel(MlirAttribute schedule, intptr_t pos) {
  return wrap(
      Attribute(cast<ScheduleAttr>(unwrap(schedule)).getKernels()[size_t(pos)]));
}

int64_t mlirQLinearScheduleAttrGetQuantize(MlirAttribute schedule) {
  return toC(cast<ScheduleAttr>(unwrap(schedule)).getQuantize());
}

int64_t mlirQLinearScheduleAttrGetPdl(MlirAttribute schedule) {
  return toC(cast<ScheduleAttr>(unwrap(schedule)).getPdl());
}

bool mlirQLinearScheduleAttrIsComplete(MlirAttribute schedule) {
  return cast<ScheduleAttr>(unwrap(schedule)).isComplete();
}

//===----------------------------------------------------------------------===//
// Variant, temp
//===----------------------------------------------------------------------===//

bool mlirAttributeIsAQLinearVariant(MlirAttribute attr) {
  return isa<VariantAttr>(unwrap(attr));
}

MlirTypeID mlirQLinearVariantAttrGetTypeID(void) {
  return wrap(VariantAttr::getTypeID());
}

int64_t mlirQLinearVariantAttrGetRows(MlirAttribute attr) {
  return cast<VariantAttr>(unwrap(attr)).getRows();
}

MlirAttribute mlirQLinearVariantAttrGetKernel(MlirAttribute attr) {
  return wrap(Attribute(cast<VariantAttr>(unwrap(attr)).getKernel()));
}

int64_t mlirQLinearVariantAttrGetGrid(MlirAttribute attr) {
  return cast<VariantAttr>(unwrap(attr)).getGrid();
}

int64_t mlirQLinearVariantAttrGetBlock(MlirAttribute attr) {
  return cast<VariantAttr>(unwrap(attr)).getBlock();
}

int64_t mlirQLinearVariantAttrGetSmem(MlirAttribute attr) {
  return cast<VariantAttr>(unwrap(attr)).getSmem();
}

int64_t mlirQLinearVariantAttrGetItems(MlirAttribute attr) {
  return cast<VariantAttr>(unwrap(attr)).getItems();
}

bool mlirAttributeIsAQLinearTemp(MlirAttribute attr) {
  return isa<TempAttr>(unwrap(attr));
}

MlirTypeID mlirQLinearTempAttrGetTypeID(void) { return wrap(TempAttr::getTypeID()); }

int64_t mlirQLinearTempAttrGetBytes(MlirAttribute attr) {
  return cast<TempAttr>(unwrap(attr)).getBytes();
}

int64_t mlirQLinearTempAttrGetBytesPerRow(MlirAttribute attr) {
  return cast<TempAttr>(unwrap(attr)).getBytesPerRow();
}

bool mlirQLinearTempAttrIsZero(MlirAttribute attr) {
  return cast<TempAttr>(unwrap(attr)).getZero();
}

//===----------------------------------------------------------------------===//
// Weight
//===----------------------------------------------------------------------===//

bool mlirTypeIsAQLinearWeight(MlirType type) { return isa<WeightType>(unwrap(type)); }

MlirTypeID mlirQLinearWeightTypeGetTypeID(void) {
  return wrap(WeightType::getTypeID());
}

MlirType mlirQLinearWeightTypeGet(MlirLocation loc, int64_t n, int64_t k,
                                  MlirAttribute encoding) {
  Location at = unwrap(loc);
  if (n < 1 || k < 1) { // the library's own check is of unsigned numbers
    emitError(at) << "a weight cannot be " << n << " x " << k
                  << "; N and K are at least 1";
    return wrap(Type());
  }
  return wrap(WeightType::getChecked([&] { return emitError(at); }, getContext(at), n,
                                     k, cast<EncodingAttr>(unwrap(encoding))));
}

int64_t mlirQLinearWeightTypeGetN(MlirType type) {
  return cast<WeightType>(unwrap(type)).getN();
}

int64_t mlirQLinearWeightTypeGetK(MlirType type) {
  return cast<WeightType>(unwrap(type)).getK();
}

MlirAttribute mlirQLinearWeightTypeGetEncoding(MlirType type) {
  return wrap(Attribute(cast<WeightType>(unwrap(type)).getEncoding()));
}

int64_t mlirQLinearWeightTypeGetGroups(MlirType type) {
  return cast<WeightType>(unwrap(type)).getGroups();
}

int64_t mlirQLinearWeightTypeGetBytes(MlirType type) {
  return int64_t(cast<WeightType>(unwrap(type)).getLayout().bytes());
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

static_assert(int(MLIR_QLINEAR_ACTIVATIONS_FLOAT) == int(ActivationKind::as_given) &&
              int(MLIR_QLINEAR_DOT_FMA) == int(DotKind::fma));

bool mlirAttributeIsAQLinearActivationFormat(MlirAttribute attr) {
  return isa<ActivationFormatAttr>(unwrap(attr));
}

MlirTypeID mlirQLinearActivationFormatAttrGetTypeID(void) {
  return wrap(ActivationFormatAttr::getTypeID());
}

MlirAttribute mlirQLinearActivationFormatAttrGet(MlirContext context,
                                                 MlirQLinearActivationKind kind) {
  return wrap(Attribute(ActivationFormatAttr::get(
      unwrap(context), kind == MLIR_QLINEAR_ACTIVATIONS_FLOAT ? ActivationKind::as_given
                                                              : ActivationKind::int8)));
}

MlirQLinearActivationKind mlirQLinearActivationFormatAttrGetKind(MlirAttribute format) {
  return cast<ActivationFormatAttr>(unwrap(format)).isFloat()
             ? MLIR_QLINEAR_ACTIVATIONS_FLOAT
             : MLIR_QLINEAR_ACTIVATIONS_INT8;
}

bool mlirTypeIsAQLinearActivations(MlirType type) {
  return isa<ActivationsType>(unwrap(type));
}

MlirTypeID mlirQLinearActivationsTypeGetTypeID(void) {
  return wrap(ActivationsType::getTypeID());
}

MlirType mlirQLinearActivationsTypeGet(MlirLocation loc, int64_t m, int64_t k) {
  Location at = unwrap(loc);
  return wrap(Type(ActivationsType::getChecked([&] { return emitError(at); },
                                               getContext(at), m, k)));
}

MlirAttribute mlirQLinearActivationsTypeGetFormat(MlirType type) {
  return wrap(Attribute(cast<ActivationsType>(unwrap(type)).getFormat()));
}

int64_t mlirQLinearActivationsTypeGetM(MlirType type) {
  return cast<ActivationsType>(unwrap(type)).getM();
}

int64_t mlirQLinearActivationsTypeGetK(MlirType type) {
  return cast<ActivationsType>(unwrap(type)).getK();
}

int64_t mlirQLinearActivationsTypeGetRowBytes(MlirType type) {
  return int64_t(cast<ActivationsType>(unwrap(type)).getLayout().bytes());
}
