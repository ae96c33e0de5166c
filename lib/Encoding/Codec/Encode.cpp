//===- Encode.cpp - Coding scales and offsets -----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// With the moments of Metadata.h the squared weight error of a group splits:
//
//   (s - s')^2 * spread  +  n * (mean(w) - mean(w'))^2
//
// so the scales are coded first, each weighted by its group's spread, and then
// the offsets, aimed at the value that keeps the mean of the group under the
// coded scale. Both are the same problem: code values with given weights.
//
//===----------------------------------------------------------------------===//
#include "Float.h"
#include "Metadata.h"

#include <algorithm>
#include <atomic>
#include <fmt/core.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::detail;

using Kind = MetaStorage::Kind;

//===----------------------------------------------------------------------===//
// Rows of a weight
//===----------------------------------------------------------------------===//

RowSource detail::rowOf(const AffineWeight &w, const Moments &m, uint64_t n) {
  uint64_t at = n * w.groups();
  return {w.scales.data() + at, w.offsets.empty() ? nullptr : w.offsets.data() + at,
          m.mean.data() + at, m.spread.data() + at};
}

RowBuffer::RowBuffer(const Encoding &e, uint64_t K) {
  uint64_t G = e.groupsPerRow(K);
  uint64_t scaleSteps = constantsPerRow(e.scale, K);
  words.resize(2 * G + scaleSteps + constantsPerRow(e.offset, K));
  values.resize(2 * G);
  uint32_t *p = words.data();
  coded = {
      p, p + G, p + 2 * G, p + 2 * G + scaleSteps, values.data(), values.data() + G};
}

//===----------------------------------------------------------------------===//
// Steps of linear codes
//===----------------------------------------------------------------------===//

namespace {

/// Candidate steps lie around max / largest code, from 0.8 to 1.3 times it. A
/// few values reward a fine search, with many the choices differ little.
constexpr int kCandidates = 64;
constexpr int kFewCandidates = 32;
constexpr uint64_t kManyValues = 32;

struct CodeRange {
  double low, high;
};

CodeRange rangeOf(const MetaStorage &m) {
  double half = double(1 << (m.bits - 1));
  return m.isSigned ? CodeRange{-half, half - 1} : CodeRange{0, 2 * half - 1};
}

double codeOf(double value, double step, CodeRange range) {
  if (step == 0)
    return 0;
  constexpr double magic = 0x1.8p52; // x + magic - magic rounds x, without a call
  return std::clamp(value / step, range.low, range.high) + magic - magic;
}

/// Values of one step, as multiples of the largest that matters.
struct Segment {
  const float *values, *weights;
  uint64_t count;
  CodeRange range;

  int candidates() const { return count > kManyValues ? kFewCandidates : kCandidates; }

  /// Summed weighted squared errors of the candidates.
  template <int Candidates> void errors(const float *steps, float *sums) const {
    float inverse[Candidates];
    for (int i = 0; i < Candidates; ++i) {
      inverse[i] = 1 / steps[i];
      sums[i] = 0;
    }
    float low = float(range.low), high = float(range.high);
    constexpr float magic = 0x1.8p23f; // x + magic - magic rounds x
    for (uint64_t g = 0; g < count; ++g) {
      float v = values[g], weight = weights[g];
      for (int i = 0; i < Candidates; ++i) {
        float c = v * inverse[i];
        c = c < low ? low : c;
        c = c > high ? high : c;
        c = c + magic - magic;
        float d = v - c * steps[i];
        sums[i] += weight * d * d;
      }
    }
  }
  /// The least squares step for the codes that `step` gives.
  double refit(double step) const {
    double vc = 0, cc = 0;
    for (uint64_t g = 0; g < count; ++g) {
      double c = codeOf(values[g], step, range);
      vc += weights[g] * values[g] * c;
      cc += weights[g] * c * c;
    }
    return cc == 0 ? step : vc / cc;
  }
};

int mantissaBits(FloatType t) {
  return t == FloatType::bf16 ? 7 : t == FloatType::f16 ? 10 : 23;
}
uint32_t signBit(FloatType t) { return t == FloatType::f32 ? 1u << 31 : 0x8000; }

/// Magnitude bits of a positive step: never 0, never infinite. A subnormal one
/// is rounded up, so that the largest value keeps its code.
uint32_t stepBits(FloatType type, double step) {
  uint32_t largest = largestBits(type);
  if (step >= fromBits(type, largest))
    return largest;
  uint32_t bits = toBits(type, float(step));
  if (bits < 1u << mantissaBits(type) && fromBits(type, bits) < step)
    ++bits;
  return std::clamp(bits, 1u, largest);
}

class StepSearch {
  Segment segment;
  FloatType type;
  double unit; ///< the largest value that matters: values are multiples of it
  uint32_t best = 0;
  float bestError = INFINITY;

  uint32_t strideAt(uint32_t magnitude) const {
    uint32_t mantissa = uint32_t(mantissaBits(type));
    uint32_t stride =
        magnitude >> mantissa ? 1u << (mantissa - 7) : std::max(1u, magnitude >> 7);
    return stride * uint32_t(kCandidates / segment.candidates());
  }
  void consider(uint32_t center, uint32_t sign) {
    uint32_t stride = strideAt(center);
    int count = segment.candidates(), plain = count * 3 / 8;
    uint32_t bits[kCandidates];
    float steps[kCandidates], sums[kCandidates];
    for (int i = 0; i < count; ++i) {
      int64_t b = int64_t(center) + int64_t(i - plain) * stride;
      bits[i] = uint32_t(std::clamp<int64_t>(b, 1, largestBits(type))) | sign;
      steps[i] = float(double(fromBits(type, bits[i])) / unit);
    }
    if (count == kCandidates)
      segment.errors<kCandidates>(steps, sums);
    else
      segment.errors<kFewCandidates>(steps, sums);
    // The plain choice first: the others have to beat it.
    take(bits[plain], sums[plain]);
    for (int i = 0; i < count; ++i)
      take(bits[i], sums[i]);
  }
  void take(uint32_t bits, float error) {
    if (error < bestError) {
      bestError = error;
      best = bits;
    }
  }
  /// Tries the floats half way to the neighbours, the step that fits the codes of
  /// the best one, and the one at which the largest value has the largest code.
  void refine(double largest) {
    uint32_t sign = best & signBit(type), magnitude = best & ~sign;
    uint32_t half = std::max(1u, strideAt(magnitude) / 2);
    double fit = segment.refit(double(fromBits(type, best)) / unit) * unit;
    uint32_t bits[4] = {stepBits(type, largest / segment.range.high * unit) |
                            (segment.range.low == 0 ? sign : 0),
                        (magnitude > half ? magnitude - half : 1) | sign,
                        std::min(magnitude + half, largestBits(type)) | sign,
                        stepBits(type, std::fabs(fit)) | sign};
    float steps[4], sums[4];
    for (int i = 0; i < 4; ++i)
      steps[i] = float(double(fromBits(type, bits[i])) / unit);
    segment.errors<4>(steps, sums);
    for (int i = 0; i < 4; ++i)
      take(bits[i], sums[i]);
  }

public:
  StepSearch(const Segment &s, FloatType type, double unit)
      : segment(s), type(type), unit(unit) {}

  /// `up`, `down`: the largest positive and negative value, as multiples.
  uint32_t run(double up, double down, bool search) {
    CodeRange r = segment.range;
    uint32_t negative = signBit(type);
    if (r.low == 0) {
      uint32_t sign = down > up ? negative : 0;
      uint32_t plain = stepBits(type, std::max(up, down) / r.high * unit);
      if (!search)
        return plain | sign;
      consider(plain, sign);
      // An unsigned code keeps only the values of one sign.
      if (up > 0 && down > 0)
        consider(stepBits(type, std::min(up, down) / r.high * unit), sign ^ negative);
    } else {
      double step = std::max(up / r.high, down / -r.low);
      uint32_t sign = 0;
      // The code range has one more value below 0.
      double turned = std::max(up / -r.low, down / r.high);
      if (search && down > 0 && turned < step) {
        step = turned;
        sign = negative;
      }
      uint32_t plain = stepBits(type, step * unit);
      if (!search)
        return plain;
      consider(plain, sign);
    }
    refine(std::max(up, down));
    return best;
  }
};

/// Codes `count` values that share one step; returns the step's bits.
uint32_t codeLinear(const MetaStorage &m, const double *values, const double *weights,
                    uint64_t count, bool search, std::vector<float> &scratch,
                    uint32_t *fields) {
  double up = 0, down = 0, heaviest = 0;
  for (uint64_t g = 0; g < count; ++g)
    if (weights[g] > 0) {
      up = std::max(up, values[g]);
      down = std::max(down, -values[g]);
      heaviest = std::max(heaviest, weights[g]);
    }
  double unit = std::max(up, down);
  CodeRange range = rangeOf(m);
  uint32_t bits = 0;
  double step = m.scope == StepScope::constant ? 1 : 0;
  if (m.scope != StepScope::constant && unit > 0) {
    scratch.resize(2 * count);
    float *v = scratch.data(), *weight = v + count;
    for (uint64_t g = 0; g < count; ++g) {
      v[g] = float(values[g] / unit);
      weight[g] = float(weights[g] / heaviest);
      if (weights[g] <= 0)
        v[g] = weight[g] = 0;
    }
    StepSearch steps({v, weight, count, range}, m.type, unit);
    bits = steps.run(up / unit, down / unit, search);
    step = fromBits(m.type, bits);
  }
  uint32_t mask = (1u << m.bits) - 1;
  for (uint64_t g = 0; g < count; ++g)
    fields[g] = uint32_t(int32_t(codeOf(values[g], step, range))) & mask;
  return bits;
}

//===----------------------------------------------------------------------===//
// Plain, log and delta storage
//===----------------------------------------------------------------------===//

/// Bits of the nearest value of the type; larger values become its largest.
uint32_t nearestBits(FloatType type, double value) {
  double largest = fromBits(type, largestBits(type));
  double least = type == FloatType::e8m0 ? 0x1p-127 : -largest; // a power of two
  return toBits(type, float(std::clamp(value, least, largest)));
}

/// The sign that carries most weight, for codes that can have only one.
bool mostlyNegative(const double *values, const double *weights, uint64_t G) {
  double sum = 0;
  for (uint64_t g = 0; g < G; ++g)
    sum += weights[g] * values[g] * std::fabs(values[g]);
  return sum < 0;
}

void codeLog(const MetaStorage &m, const double *values, const double *weights,
             uint64_t G, uint32_t *fields, uint32_t *constants) {
  double sign = mostlyNegative(values, weights, G) ? -1 : 1;
  double low = INFINITY, high = 0;
  for (uint64_t g = 0; g < G; ++g)
    if (double v = sign * values[g]; weights[g] > 0 && v > 0) {
      low = std::min(low, v);
      high = std::max(high, v);
    }
  std::fill_n(fields, G, 0);
  constants[0] = constants[1] = 0;
  if (high == 0)
    return;
  uint32_t largest = (1u << m.bits) - 1;
  constants[0] = stepBits(m.type, low) | (sign < 0 ? signBit(m.type) : 0);
  double logBase = std::log2(std::fabs(double(fromBits(m.type, constants[0]))));
  double span = std::log2(high) - logBase;
  if (span <= 0)
    return;
  constants[1] = stepBits(m.type, span / largest);
  double step = fromBits(m.type, constants[1]);
  for (uint64_t g = 0; g < G; ++g)
    if (double v = sign * values[g]; v > 0)
      fields[g] = uint32_t(std::clamp(std::nearbyint((std::log2(v) - logBase) / step),
                                      0., double(largest)));
}

void codeDelta(const MetaStorage &m, const double *values, const double *weights,
               uint64_t G, uint32_t *fields, uint32_t *constants) {
  bool negative = mostlyNegative(values, weights, G);
  // Bits of the magnitude; values of the other sign count as 0.
  auto bitsOf = [&](double v) {
    return (v < 0) == negative ? nearestBits(FloatType::bf16, std::fabs(v)) : 0;
  };
  uint32_t low = 0x7F7F, high = 0, largest = (1u << m.bits) - 1;
  for (uint64_t g = 0; g < G; ++g)
    if (weights[g] > 0) {
      uint32_t b = fields[g] = bitsOf(values[g]);
      low = std::min(low, b);
      high = std::max(high, b);
    } else {
      fields[g] = bitsOf(values[g]);
    }
  // Where the window is too narrow, the small values are the ones to move.
  uint32_t base =
      high - std::min(low, high) <= largest ? std::min(low, high) : high - largest;
  for (uint64_t g = 0; g < G; ++g)
    fields[g] = std::clamp(fields[g], base, base + largest) - base;
  constants[0] = base | (negative ? 0x8000 : 0);
}

/// Floats of 8 bits, relative to a step at which the largest is one of the largest that
/// e4m3 has: if the values came from such floats and another step, one of these steps,
/// or a neighbour, gives them exactly.
void codeScaled(const MetaStorage &m, const double *values, const double *weights,
                uint64_t G, bool search, uint32_t *fields, uint32_t *constants) {
  double largest = 0;
  for (uint64_t g = 0; g < G; ++g)
    if (weights[g] > 0)
      largest = std::max(largest, std::fabs(values[g]));
  std::fill_n(fields, G, 0);
  constants[0] = 0;
  if (largest == 0)
    return;
  double best = INFINITY;
  auto codeOf = [](double value, double step) {
    return nearestBits(FloatType::e4m3, value / step);
  };
  auto consider = [&](uint32_t bits) {
    float step = fromBits(m.type, bits);
    if (!(step > 0) || !std::isfinite(step))
      return;
    double error = 0;
    for (uint64_t g = 0; g < G && error < best; ++g) {
      double d = values[g] - layout::scaledValue(codeOf(values[g], step), step);
      error += std::max(weights[g], 0.) * d * d;
    }
    if (error < best) {
      best = error;
      constants[0] = bits;
    }
  };
  uint32_t top = largestBits(FloatType::e4m3);
  for (uint32_t c = top; c > top - (search ? 8 : 1); --c) {
    uint32_t bits = stepBits(m.type, largest / fromBits(FloatType::e4m3, c));
    for (uint32_t near : {bits, bits - 1, bits + 1})
      if (best > 0)
        consider(near);
  }
  float step = fromBits(m.type, constants[0]);
  for (uint64_t g = 0; g < G; ++g)
    fields[g] = codeOf(values[g], step);
}

} // namespace

void detail::codeRow(const MetaStorage &m, unsigned group, uint64_t K,
                     const double *values, const double *weights, uint64_t G,
                     bool search, uint32_t *fields, uint32_t *constants) {
  thread_local std::vector<float> scratch;
  switch (m.kind) {
  case Kind::none:
    return;
  case Kind::plain:
    for (uint64_t g = 0; g < G; ++g)
      fields[g] = nearestBits(m.type, values[g]);
    return;
  case Kind::linear: {
    uint64_t perStep = m.scope == StepScope::block ? kStepBlock / group : G;
    for (uint64_t g = 0; g < G; g += perStep) {
      uint32_t bits = codeLinear(m, values + g, weights + g, std::min(perStep, G - g),
                                 search, scratch, fields + g);
      if (m.scope != StepScope::constant)
        constants[g / perStep] = bits;
    }
    return;
  }
  case Kind::log:
    return codeLog(m, values, weights, G, fields, constants);
  case Kind::delta:
    return codeDelta(m, values, weights, G, fields, constants);
  case Kind::scaled:
    return codeScaled(m, values, weights, G, search, fields, constants);
  }
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

RowCoder::RowCoder(const AffineWeight &w, const Encoding &encoding,
                   const EncodeOptions &options)
    : form(w.form), e(encoding), search(options.searchSteps), K(w.K), G(w.groups()),
      n(double(w.K / w.groups())), center(centerOf(w.form, w.codes)),
      newCenter(centerOf(encoding.form, encoding.codes)), targets(G), weights(G) {}

void RowCoder::codeScales(const RowSource &row, const RowCoded &out) {
  for (uint64_t g = 0; g < G; ++g) {
    double s = row.scales[g], above = row.mean[g] - center;
    double mean =
        s * above - shiftOf(form, row.scales[g], row.offsets ? row.offsets[g] : 0);
    targets[g] = s;
    if (e.form == Form::symmetric)
      weights[g] = row.spread[g] + n * above * above;
    else // the offset takes care of the mean; a group of zeros needs no scale
      weights[g] = row.spread[g] + (mean != 0 ? n / 1024 : 0);
  }
  codeRow(e.scale, e.group, K, targets.data(), weights.data(), G, search,
          out.scaleFields, out.scaleSteps);
  // Code 0 loses all of a group whose offset is a multiple of the scale; code 1
  // and the right offset may lose less.
  if (search && e.scale.kind == Kind::linear &&
      (e.form == Form::zero || e.form == Form::centred))
    for (uint64_t g = 0; g < G; ++g) {
      if (out.scaleFields[g] != 0 || row.scales[g] == 0)
        continue;
      uint64_t at = e.scale.scope == StepScope::block ? g * e.group / kStepBlock : 0;
      double s = row.scales[g];
      double step = fromBits(e.scale.type, out.scaleSteps[at]);
      if (!e.scale.isSigned && s * step < 0)
        continue;
      double mean = s * (row.mean[g] - center) -
                    shiftOf(form, row.scales[g], row.offsets ? row.offsets[g] : 0);
      bool opposite = s * step < 0;
      double error = std::fabs(step) - std::fabs(s);
      if (error * error * row.spread[g] < s * s * row.spread[g] + n * mean * mean)
        out.scaleFields[g] = opposite ? (1u << e.scale.bits) - 1 : 1;
    }
  decodeRow(e.scale, e.group, out.scaleFields, out.scaleSteps, G, out.scales);
}

void RowCoder::codeOffsets(const RowSource &row, const RowCoded &out) {
  for (uint64_t g = 0; g < G; ++g) {
    double s = row.scales[g], now = out.scales[g];
    float offset = row.offsets ? row.offsets[g] : 0;
    double shift = shiftOf(form, row.scales[g], offset);
    if (e.form == Form::min) {
      double m = form == Form::min && center == newCenter
                     ? double(offset)
                     : s * (center - newCenter) + shift;
      targets[g] = search ? m + (now - s) * (row.mean[g] - newCenter) : m;
      weights[g] = n;
    } else {
      double z = form != Form::min ? center - newCenter + double(offset)
                 : s != 0          ? center - newCenter + double(offset) / s
                                   : 0;
      if (search && now != s && now != 0) {
        double mean = s * (row.mean[g] - center) - shift;
        z = row.mean[g] - newCenter - mean / now;
      }
      targets[g] = z;
      weights[g] = n * now * now;
    }
  }
  codeRow(e.offset, e.group, K, targets.data(), weights.data(), G, search,
          out.offsetFields, out.offsetSteps);
  decodeRow(e.offset, e.group, out.offsetFields, out.offsetSteps, G, out.offsets);
}

void RowCoder::code(const RowSource &row, const RowCoded &out) {
  codeScales(row, out);
  if (e.form != Form::symmetric)
    codeOffsets(row, out);
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

Result<void> detail::checkEncodable(const AffineWeight &w, const Encoding &e) {
  if (auto r = check(w); !r)
    return r;
  if (auto r = e.verifyShape(w.N, w.K); !r)
    return r;
  if (e.codes.bits != w.codes.bits || e.codes.kind != w.codes.kind ||
      e.group != w.group) {
    auto text = [](CodeType c, unsigned group) {
      return fmt::format("{} codes in {}",
                         c.isTable() ? c.str() : fmt::format("{}-bit", c.bits),
                         group == kWholeRow ? "one group per row"
                                            : fmt::format("groups of {}", group));
    };
    return error(fmt::format(
        "the weight has {}, the encoding {}; an encoding changes the metadata "
        "only, so quantize again to change codes or groups",
        text(w.codes, w.group), text(e.codes, e.group)));
  }
  uint64_t G = w.groups();
  for (auto [what, values] :
       {std::pair{"scale", &w.scales}, std::pair{"offset", &w.offsets}}) {
    bool finite = true;
    for (float v : *values)
      finite &= std::fabs(v) <= 0x1.fffffep127f;
    for (uint64_t i = 0; !finite && i < values->size(); ++i)
      if (!std::isfinite((*values)[i]))
        return error(fmt::format("{} is {} at {}; repair or requantize the "
                                 "weight: only finite metadata can be coded",
                                 what, (*values)[i],
                                 groupName(i / G, i % G, w.group, w.K)));
  }
  if (e.form == Form::symmetric && w.form != Form::symmetric) {
    double move = centerOf(w.form, w.codes) - centerOf(e.form, e.codes);
    for (uint64_t i = 0; i < w.scales.size(); ++i)
      if (w.scales[i] * move + shiftOf(w.form, w.scales[i], w.offsets[i]) != 0)
        return error(
            fmt::format("the symmetric form has no offset, but {} has one that matters "
                        "({}); use the zero, min or centred form",
                        groupName(i / G, i % G, w.group, w.K), w.offsets[i]));
  }
  return {};
}

Result<EncodedWeight> qlinear::encode(const AffineWeight &w, const Encoding &e,
                                      const EncodeOptions &options) {
  if (auto r = checkEncodable(w, e); !r)
    return r.takeError();
  uint64_t G = w.groups();
  uint64_t scaleSteps = constantsPerRow(e.scale, w.K);
  uint64_t offsetSteps = constantsPerRow(e.offset, w.K);
  EncodedWeight out{e, w.N, w.K, w.fields, {}, {}, {}, {}};
  out.scaleFields.resize(w.N * G);
  out.offsetFields.resize(e.form == Form::symmetric ? 0 : w.N * G);
  out.scaleSteps.resize(w.N * scaleSteps);
  out.offsetSteps.resize(w.N * offsetSteps);
  Moments moments = momentsOf(w);
  tbb::parallel_for(tbb::blocked_range<uint64_t>(0, w.N, 8), [&](const auto &range) {
    RowCoder coder(w, e, options);
    std::vector<float> values(2 * G);
    for (uint64_t n = range.begin(); n < range.end(); ++n)
      coder.code(rowOf(w, moments, n), {out.scaleFields.data() + n * G,
                                        elementOrNull(out.offsetFields, n * G),
                                        out.scaleSteps.data() + n * scaleSteps,
                                        out.offsetSteps.data() + n * offsetSteps,
                                        values.data(), values.data() + G});
  });
  return out;
}
