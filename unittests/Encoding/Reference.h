//===- Reference.h - An independent scalar decoder --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The formulas of docs/encodings.md in float64, one weight at a time, written
// without the code under test; and random weights of any encoding.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_UNITTESTS_ENCODING_REFERENCE_H
#define QLINEAR_UNITTESTS_ENCODING_REFERENCE_H

#include "qlinear/Encoding/Codec.h"

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace reference {

using namespace qlinear;

/// A float with `exponentBits` and `mantissaBits`, from its bits, by the
/// definition of IEEE formats.
inline double floatFromFields(uint64_t bits, int exponentBits, int mantissaBits) {
  int bias = (1 << (exponentBits - 1)) - 1;
  double sign = bits >> (exponentBits + mantissaBits) & 1 ? -1 : 1;
  int exponent = int(bits >> mantissaBits & ((1u << exponentBits) - 1));
  double mantissa = double(bits & ((1ull << mantissaBits) - 1));
  if (exponent == (1 << exponentBits) - 1)
    return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0)
    return sign * std::ldexp(mantissa, 1 - bias - mantissaBits);
  return sign * std::ldexp(mantissa + std::ldexp(1.0, mantissaBits),
                           exponent - bias - mantissaBits);
}

inline double value(FloatType type, uint32_t bits) {
  switch (type) {
  case FloatType::bf16:
    return floatFromFields(bits, 8, 7);
  case FloatType::f16:
    return floatFromFields(bits, 5, 10);
  case FloatType::f32:
    return floatFromFields(bits, 8, 23);
  case FloatType::e8m0: // an exponent alone
    return bits == 255 ? NAN : std::ldexp(1, int(bits) - 127);
  case FloatType::e4m3: // only all ones are not finite
    return (bits & 127) == 127   ? NAN
           : (bits & 120) == 120 ? (bits & 128 ? -32.0 : 32.0) * double(8 + (bits & 7))
                                 : floatFromFields(bits, 4, 3);
  }
  return NAN;
}

/// Value of the metadata field of (row n, group g).
inline double metaValue(const MetaStorage &m, const Encoding &e, uint64_t K,
                        const std::vector<uint32_t> &fields,
                        const std::vector<uint32_t> &steps, uint64_t n, uint64_t g,
                        uint64_t G) {
  uint32_t field = fields[n * G + g];
  double code = field;
  if (m.isSigned && field >= (1u << (m.bits - 1)))
    code -= double(1u << m.bits);
  switch (m.kind) {
  case MetaStorage::Kind::none:
    return 0;
  case MetaStorage::Kind::plain:
    return value(m.type, field);
  case MetaStorage::Kind::linear:
    if (m.scope == StepScope::constant)
      return code;
    if (m.scope == StepScope::row)
      return float(code * value(m.type, steps[n]));
    return float(code *
                 value(m.type, steps[n * ((K + 255) / 256) + g * e.group / 256]));
  case MetaStorage::Kind::log:
    return float(value(m.type, steps[2 * n]) *
                 std::pow(2.0, code * value(m.type, steps[2 * n + 1])));
  case MetaStorage::Kind::delta:
    return value(FloatType::bf16, (steps[n] + field) & 0xFFFF);
  case MetaStorage::Kind::scaled:
    return float(value(FloatType::e4m3, field) * value(m.type, steps[n]));
  }
  return NAN;
}

/// The kinds of codes that index a table.
inline constexpr CodeKind kTables[] = {
    CodeKind::example2, CodeKind::example3, CodeKind::example4, CodeKind::example8,
    CodeKind::iq4nl,    CodeKind::e2m1,     CodeKind::nf4};

/// The values of such codes.
inline const std::vector<double> &tableOf(CodeKind kind) {
  static const std::vector<double> none;
  static const std::vector<double> example2 = {-77, -20, 31, 109};
  static const std::vector<double> example3 = {-111, -63, -28, -9, 6, 24, 55, 101};
  static const std::vector<double> example4 = {-120, -95, -74, -57, -42, -29, -18, -8,
                                               1,    11,  22,  34,  48,  65,  86,  113};
  static const std::vector<double> iq4nl = {-127, -104, -83, -65, -49, -35, -22, -10,
                                            1,    13,   25,  38,  53,  69,  89,  113};
  static const std::vector<double> e2m1 = {0,   0.5,  1,  1.5,  2,  3,  4,  6,
                                           -0., -0.5, -1, -1.5, -2, -3, -4, -6};
  // The f32 numbers of bitsandbytes.
  static const std::vector<double> nf4 = {-1.0f,
                                          -0.6961928009986877f,
                                          -0.5250730514526367f,
                                          -0.39491748809814453f,
                                          -0.28444138169288635f,
                                          -0.18477343022823334f,
                                          -0.09105003625154495f,
                                          0.0f,
                                          0.07958029955625534f,
                                          0.16093020141124725f,
                                          0.24611230194568634f,
                                          0.33791524171829224f,
                                          0.44070982933044434f,
                                          0.5626170039176941f,
                                          0.7229568362236023f,
                                          1.0f};
  static const std::vector<double> example8 = [] {
    std::vector<double> values;
    for (double sign : {1, -1})
      for (int m = 0; m < 128; ++m)
        values.push_back(sign * std::round(m * m / 127.0) - (sign < 0));
    return values;
  }();
  switch (kind) {
  case CodeKind::integer:
    break;
  case CodeKind::example2:
    return example2;
  case CodeKind::example3:
    return example3;
  case CodeKind::example4:
    return example4;
  case CodeKind::example8:
    return example8;
  case CodeKind::iq4nl:
    return iq4nl;
  case CodeKind::e2m1:
    return e2m1;
  case CodeKind::nf4:
    return nf4;
  }
  return none;
}

/// What products with int8 have for the values of NF4: integers times a float.
inline const std::vector<double> &bytesOfNf4() {
  static const std::vector<double> values = [] {
    std::vector<double> v;
    for (int i :
         {-112, -78, -59, -44, -32, -21, -10, 0, 9, 18, 28, 38, 49, 63, 81, 112})
      v.push_back(i * double(0.008926163f));
    return v;
  }();
  return values;
}

/// The four formulas.
inline double affine(Form form, CodeType codes, int field, double s, double o,
                     bool asBytes = false) {
  double q = codes.isTable()
                 ? (asBytes && codes.kind == CodeKind::nf4 ? bytesOfNf4()
                                                           : tableOf(codes.kind))
                       .at(size_t(field))
             : codes.isSigned ? field - (1 << (codes.bits - 1))
                              : field;
  switch (form) {
  case Form::symmetric:
    return s * q;
  case Form::zero:
    return s * (q - o);
  case Form::min:
    return s * q - o;
  case Form::centred:
    return s * (q - (1 << (codes.bits - 1)) - o);
  }
  return NAN;
}

inline double scale(const EncodedWeight &w, uint64_t n, uint64_t k) {
  const Encoding &e = w.encoding;
  uint64_t G = e.group ? w.K / e.group : 1;
  uint64_t g = e.group ? k / e.group : 0;
  return metaValue(e.scale, e, w.K, w.scaleFields, w.scaleSteps, n, g, G);
}

inline double weight(const EncodedWeight &w, uint64_t n, uint64_t k,
                     bool asBytes = false) {
  const Encoding &e = w.encoding;
  uint64_t G = e.group ? w.K / e.group : 1;
  uint64_t g = e.group ? k / e.group : 0;
  double o = e.form == Form::symmetric
                 ? 0
                 : metaValue(e.offset, e, w.K, w.offsetFields, w.offsetSteps, n, g, G);
  return affine(e.form, e.codes, w.fields[n * w.K + k], scale(w, n, k), o, asBytes);
}

inline double weight(const AffineWeight &w, uint64_t n, uint64_t k) {
  uint64_t G = w.group ? w.K / w.group : 1;
  uint64_t g = n * G + (w.group ? k / w.group : 0);
  return affine(w.form, w.codes, w.fields[n * w.K + k], w.scales[g],
                w.form == Form::symmetric ? 0 : double(w.offsets[g]));
}

/// Random finite bits of a float type, of moderate size.
inline uint32_t randomFloatBits(FloatType type, std::mt19937_64 &rng) {
  float v = std::ldexp(float(int(rng() % 2001) - 1000), -14);
  uint32_t b;
  std::memcpy(&b, &v, 4);
  switch (type) {
  case FloatType::bf16:
    return b >> 16;
  case FloatType::f16:
    return uint32_t((rng() & 1) << 15 | rng() % 0x4400);
  case FloatType::f32: {
    uint32_t low = rng() & 0xFFF;
    return v == 0 ? b : b ^ low; // no denormal: a result could not be relatively right
  }
  case FloatType::e8m0:
    return uint32_t(110 + rng() % 24);
  case FloatType::e4m3:
    return uint32_t((rng() & 1) << 7 | rng() % 127);
  }
  return 0;
}

inline void randomMeta(const MetaStorage &m, uint64_t N, uint64_t K, uint64_t G,
                       std::vector<uint32_t> &fields, std::vector<uint32_t> &steps,
                       std::mt19937_64 &rng) {
  using Kind = MetaStorage::Kind;
  if (m.kind == Kind::none)
    return;
  fields.resize(N * G);
  for (uint32_t &f : fields)
    f = m.kind == Kind::plain    ? randomFloatBits(m.type, rng)
        : m.kind == Kind::scaled ? randomFloatBits(FloatType::e4m3, rng)
                                 : uint32_t(rng() & ((1ull << m.bits) - 1));
  uint64_t perRow = m.scope == StepScope::block ? (K + 255) / 256
                    : m.scope == StepScope::row ? (m.kind == Kind::log ? 2 : 1)
                                                : 0;
  steps.resize(N * perRow);
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i] = randomFloatBits(m.type, rng);
    if (m.kind == Kind::delta)
      steps[i] = 0x3000 + uint32_t(rng() % 0x800); // room for 12 bits above
    if (m.kind == Kind::log && i % 2) // a step that keeps 2^(255 step) finite
      steps[i] = m.type == FloatType::bf16  ? 0x3D00 // 2^-5
                 : m.type == FloatType::f16 ? 0x2800
                                            : 0x3D012345;
  }
}

inline EncodedWeight randomEncoded(const Encoding &e, uint64_t N, uint64_t K,
                                   std::mt19937_64 &rng) {
  EncodedWeight w{e, N, K, {}, {}, {}, {}, {}};
  w.fields.resize(N * K);
  for (uint8_t &f : w.fields)
    f = uint8_t(rng() & ((1u << e.codes.bits) - 1));
  uint64_t G = e.group ? K / e.group : 1;
  randomMeta(e.scale, N, K, G, w.scaleFields, w.scaleSteps, rng);
  randomMeta(e.offset, N, K, G, w.offsetFields, w.offsetSteps, rng);
  return w;
}

/// Every storage that an encoding may use for its scale or its offset.
inline std::vector<MetaStorage> allStorages(bool forScale, unsigned group) {
  std::vector<MetaStorage> all;
  for (FloatType t : {FloatType::bf16, FloatType::f16, FloatType::f32}) {
    all.push_back(MetaStorage::plain(t));
    all.push_back(MetaStorage::scaled(t));
    for (uint8_t bits : {4, 6, 8}) {
      all.push_back(MetaStorage::log(bits, t));
      for (bool isSigned : {false, true}) {
        all.push_back(MetaStorage::linear(bits, isSigned, StepScope::row, t));
        if (group)
          all.push_back(MetaStorage::linear(bits, isSigned, StepScope::block, t));
        if (!forScale && t == FloatType::bf16)
          all.push_back(MetaStorage::linear(bits, isSigned, StepScope::constant));
      }
    }
  }
  for (uint8_t bits : {8, 10, 12})
    all.push_back(MetaStorage::delta(bits));
  for (FloatType t : {FloatType::e8m0, FloatType::e4m3})
    all.push_back(MetaStorage::plain(t));
  return all;
}

/// Every width and kind of codes, signed where the form lets one choose.
inline std::vector<CodeType> allCodes(Form form) {
  std::vector<CodeType> all;
  for (uint8_t bits : {2, 3, 4, 5, 6, 8})
    all.push_back({bits, form != Form::centred});
  if (form != Form::centred)
    for (CodeKind kind : kTables)
      all.push_back(CodeType::table(kind));
  return all;
}

/// A random valid encoding.
inline Encoding randomEncoding(std::mt19937_64 &rng) {
  static constexpr unsigned groups[] = {16, 32, 64, 128, 256, 0};
  static constexpr uint8_t bits[] = {2, 3, 4, 5, 6, 8};
  Encoding e;
  e.group = groups[rng() % 6];
  e.form = Form(rng() % 4);
  e.codes = {bits[rng() % std::size(bits)],
             e.form == Form::symmetric || (e.form != Form::centred && rng() % 2)};
  if (e.form != Form::centred && rng() % 5 == 0)
    e.codes = CodeType::table(kTables[rng() % std::size(kTables)]);
  auto scales = allStorages(true, e.group), offsets = allStorages(false, e.group);
  e.scale = scales[rng() % scales.size()];
  if (e.form != Form::symmetric)
    e.offset = offsets[rng() % offsets.size()];
  return e;
}

/// Shapes whose tiles, units, chunks and groups are partial in every way.
struct Shape {
  uint64_t N, K;
};
inline std::vector<Shape> oddShapes(unsigned group) {
  uint64_t g = group ? group : 1;
  std::vector<Shape> shapes{{1, g},    {7, 3 * g},    {16, 256},
                            {17, 384}, {33, 512},     {5, 7 * g},
                            {3, 768},  {19, 256 + g}, {20, 5 * 256}};
  if (group == 0)
    for (uint64_t K : {1, 31, 33, 100, 257, 7393})
      shapes.push_back({18, K});
  else if (7392 % group == 0)
    shapes.push_back({18, 7392});
  std::erase_if(shapes, [&](Shape s) { return s.K % g != 0; });
  return shapes;
}

inline double normal(std::mt19937_64 &rng) {
  // Box-Muller on the generator's own bits, the same everywhere.
  double u = (double(rng() >> 11) + 1) * 0x1p-53, v = double(rng() >> 11) * 0x1p-53;
  return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
}

/// Log-normal scales around `size`, or around what gives weights of a table the same
/// size, zeros (or mins) in the middle of the codes.
inline AffineWeight randomAffine(CodeType codes, unsigned group, Form form, uint64_t N,
                                 uint64_t K, std::mt19937_64 &rng, double size = 0.01,
                                 double sigma = 0.3) {
  AffineWeight w{N, K, codes, group, form, {}, {}, {}};
  w.fields.resize(N * K);
  for (uint8_t &f : w.fields)
    f = uint8_t(rng() & ((1u << codes.bits) - 1));
  double half = codes.kind == CodeKind::e2m1  ? 8
                : codes.kind == CodeKind::nf4 ? 1
                : codes.isTable()             ? 128
                                              : 1 << (codes.bits - 1);
  double middle = codes.isSigned ? 0 : half;
  if (codes.isTable())
    size *= 8 / half;
  for (uint64_t i = 0; i < N * w.groups(); ++i) {
    double s = size * std::exp(sigma * normal(rng));
    w.scales.push_back(float(s));
    double z = half / 8 * normal(rng);
    if (form == Form::zero)
      w.offsets.push_back(float(middle + z));
    if (form == Form::centred)
      w.offsets.push_back(float(z));
    if (form == Form::min)
      w.offsets.push_back(float(s * (middle + z)));
  }
  return w;
}

} // namespace reference
#endif
