//===- Codec.cpp - Decoding and dequantizing ------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Float.h"
#include "Metadata.h"

#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::detail;

//===----------------------------------------------------------------------===//
// Float conversions
//===----------------------------------------------------------------------===//

float qlinear::bf16ToFloat(uint16_t bits) { return fromBf16(bits); }
float qlinear::f16ToFloat(uint16_t bits) { return fromF16(bits); }
uint16_t qlinear::floatToBf16(float value) { return uint16_t(toBf16(value)); }
uint16_t qlinear::floatToF16(float value) { return uint16_t(toF16(value)); }

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

std::string detail::groupName(uint64_t row, uint64_t g, unsigned group, uint64_t K) {
  uint64_t size = group == kWholeRow ? K : group;
  return "row " + std::to_string(row) + ", group " + std::to_string(g) + " (columns " +
         std::to_string(g * size) + " to " + std::to_string((g + 1) * size - 1) + ")";
}

static Result<void> checkSize(const char *what, size_t have, uint64_t want) {
  if (have == want)
    return {};
  return error("the weight has " + std::to_string(have) + " " + what +
               ", its shape and encoding need " + std::to_string(want));
}

static Result<void> checkFields(const std::vector<uint8_t> &fields, CodeType codes,
                                uint64_t K) {
  uint8_t all = 0;
  for (uint8_t f : fields)
    all |= f;
  if (all >> codes.bits == 0)
    return {};
  size_t i = 0;
  while (fields[i] >> codes.bits == 0)
    ++i;
  return error("code field " + std::to_string(fields[i]) + " at row " +
               std::to_string(i / K) + ", column " + std::to_string(i % K) +
               " does not fit " + std::to_string(codes.bits) + " bits");
}

Result<void> detail::check(const AffineWeight &w) {
  // Any storage will do: only codes, group, form and shape are checked.
  MetaStorage f32 = MetaStorage::plain(FloatType::f32);
  bool affine = w.form != Form::symmetric;
  Encoding e{w.codes, w.group, w.form, f32, affine ? f32 : MetaStorage{}};
  if (auto r = e.verifyShape(w.N, w.K); !r)
    return r;
  if (auto r = checkSize("code fields", w.fields.size(), w.N * w.K); !r)
    return r;
  uint64_t groups = w.N * w.groups();
  if (auto r = checkSize("scales", w.scales.size(), groups); !r)
    return r;
  if (auto r = checkSize("offsets", w.offsets.size(), affine ? groups : 0); !r)
    return r;
  return checkFields(w.fields, w.codes, w.K);
}

static Result<void> checkMeta(const char *what, const MetaStorage &m,
                              const std::vector<uint32_t> &fields,
                              const std::vector<uint32_t> &constants, uint64_t N,
                              uint64_t K, uint64_t G) {
  std::string name = what;
  bool present = m.kind != MetaStorage::Kind::none;
  if (auto r =
          checkSize((name + " fields").c_str(), fields.size(), present ? N * G : 0);
      !r)
    return r;
  if (auto r = checkSize((name + " steps").c_str(), constants.size(),
                         N * constantsPerRow(m, K));
      !r)
    return r;
  uint32_t all = 0;
  for (uint32_t f : fields)
    all |= f;
  if (m.fieldBits() < 32 && all >> m.fieldBits() != 0)
    return error("a " + name + " field does not fit " + std::to_string(m.fieldBits()) +
                 " bits");
  return {};
}

Result<void> detail::check(const EncodedWeight &w) {
  if (auto r = w.encoding.verifyShape(w.N, w.K); !r)
    return r;
  if (auto r = checkSize("code fields", w.fields.size(), w.N * w.K); !r)
    return r;
  uint64_t G = w.encoding.groupsPerRow(w.K);
  if (auto r = checkMeta("scale", w.encoding.scale, w.scaleFields, w.scaleSteps, w.N,
                         w.K, G);
      !r)
    return r;
  if (auto r = checkMeta("offset", w.encoding.offset, w.offsetFields, w.offsetSteps,
                         w.N, w.K, G);
      !r)
    return r;
  return checkFields(w.fields, w.encoding.codes, w.K);
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

Points::Points(CodeType codes) {
  layout::Codes meaning = codes.layout();
  for (int f = 0; f < meaning.count(); ++f)
    of[f] = codes.isTable() ? double(meaning.value(f)) : f;
}

void detail::decodeRow(const MetaStorage &m, unsigned group, const uint32_t *fields,
                       const uint32_t *constants, uint64_t G, float *values) {
  switch (m.kind) {
  case MetaStorage::Kind::none:
    return;
  case MetaStorage::Kind::plain:
    for (uint64_t g = 0; g < G; ++g)
      values[g] = fromBits(m.type, fields[g]);
    return;
  case MetaStorage::Kind::linear:
    if (m.scope == StepScope::block) {
      uint64_t perBlock = kStepBlock / group;
      for (uint64_t g = 0; g < G; ++g)
        values[g] =
            linearValue(m, fields[g], fromBits(m.type, constants[g / perBlock]));
    } else {
      float step = m.scope == StepScope::row ? fromBits(m.type, constants[0]) : 1.0f;
      for (uint64_t g = 0; g < G; ++g)
        values[g] = linearValue(m, fields[g], step);
    }
    return;
  case MetaStorage::Kind::log: {
    float base = fromBits(m.type, constants[0]);
    float step = fromBits(m.type, constants[1]);
    float table[256]; // a log code has 8 bits at most
    for (uint32_t code = 0; code < 1u << m.bits; ++code)
      table[code] = layout::logValue(base, step, code);
    for (uint64_t g = 0; g < G; ++g)
      values[g] = table[fields[g] & 255];
    return;
  }
  case MetaStorage::Kind::delta:
    for (uint64_t g = 0; g < G; ++g)
      values[g] = layout::deltaValue(constants[0], fields[g]);
    return;
  case MetaStorage::Kind::scaled: {
    float step = fromBits(m.type, constants[0]);
    for (uint64_t g = 0; g < G; ++g)
      values[g] = layout::scaledValue(fields[g], step);
    return;
  }
  }
}

Result<AffineWeight> qlinear::decode(const EncodedWeight &w) {
  if (auto r = check(w); !r)
    return r.takeError();
  const Encoding &e = w.encoding;
  AffineWeight a{w.N, w.K, e.codes, e.group, e.form, w.fields, {}, {}};
  uint64_t G = a.groups();
  a.scales.resize(w.scaleFields.size());
  a.offsets.resize(w.offsetFields.size());
  uint64_t scaleConstants = constantsPerRow(e.scale, w.K);
  uint64_t offsetConstants = constantsPerRow(e.offset, w.K);
  for (uint64_t n = 0; n < w.N; ++n) {
    decodeRow(e.scale, e.group, w.scaleFields.data() + n * G,
              w.scaleSteps.data() + n * scaleConstants, G, a.scales.data() + n * G);
    if (!a.offsets.empty())
      decodeRow(e.offset, e.group, w.offsetFields.data() + n * G,
                w.offsetSteps.data() + n * offsetConstants, G,
                a.offsets.data() + n * G);
  }
  return a;
}

double AffineWeight::weight(uint64_t n, uint64_t k, bool asBytes) const {
  uint64_t g = n * groups() + (group == kWholeRow ? 0 : k / group);
  uint8_t field = fields[n * K + k];
  double q = asBytes ? codes.layout().byteValue(field) : codes.layout().value(field);
  double s = scales[g];
  switch (form) {
  case Form::symmetric:
    return s * q;
  case Form::zero:
    return s * (q - offsets[g]);
  case Form::min:
    return s * q - offsets[g];
  case Form::centred:
    return s * (q - (1 << (codes.bits - 1)) - offsets[g]);
  }
  return 0;
}

/// at(i) is the point of weight i.
template <typename At>
static void dequantizePoints(At at, uint64_t size, double s, double center, double r,
                             float *to) {
  if (r == 0)
    for (uint64_t i = 0; i < size; ++i)
      to[i] = float(s * (at(i) - center));
  else
    for (uint64_t i = 0; i < size; ++i)
      to[i] = subtractRounded(s * (at(i) - center), r);
}

static void dequantizeGroup(Form form, CodeType codes, const Points &points,
                            const uint8_t *fields, uint64_t size, float scale,
                            float offset, float *to) {
  double r = shiftOf(form, scale, offset), center = centerOf(form, codes);
  if (codes.isTable())
    dequantizePoints([&](uint64_t i) { return points[fields[i]]; }, size, scale, center,
                     r, to);
  else
    dequantizePoints([&](uint64_t i) { return double(fields[i]); }, size, scale, center,
                     r, to);
}

Result<std::vector<float>> qlinear::dequantize(const AffineWeight &w) {
  if (auto r = check(w); !r)
    return r.takeError();
  std::vector<float> out(w.fields.size());
  uint64_t size = w.group == kWholeRow ? w.K : w.group;
  const Points points(w.codes);
  tbb::parallel_for(size_t(0), w.scales.size(), [&](size_t g) {
    dequantizeGroup(w.form, w.codes, points, w.fields.data() + g * size, size,
                    w.scales[g], w.offsets.empty() ? 0 : w.offsets[g],
                    out.data() + g * size);
  });
  return out;
}

void qlinear::dequantizeRow(const EncodedWeight &w, uint64_t n, float *to) {
  thread_local std::vector<float> scales, offsets;
  const Encoding &e = w.encoding;
  const Points points(e.codes);
  uint64_t size = e.group == kWholeRow ? w.K : e.group, G = w.K / size;
  scales.resize(G);
  offsets.assign(G, 0);
  decodeRow(e.scale, e.group, w.scaleFields.data() + n * G,
            w.scaleSteps.data() + n * constantsPerRow(e.scale, w.K), G, scales.data());
  if (!w.offsetFields.empty())
    decodeRow(e.offset, e.group, w.offsetFields.data() + n * G,
              w.offsetSteps.data() + n * constantsPerRow(e.offset, w.K), G,
              offsets.data());
  for (uint64_t g = 0; g < G; ++g)
    dequantizeGroup(e.form, e.codes, points, w.fields.data() + n * w.K + g * size, size,
                    scales[g], offsets[g], to + g * size);
}

Result<std::vector<float>> qlinear::dequantize(const EncodedWeight &w) {
  auto a = decode(w);
  if (!a)
    return a.takeError();
  return dequantize(*a);
}
