//===- Quantize.cpp - Float weights to codes ------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Scales are rounded to bf16 before the codes are chosen, so that a bf16 or
// delta scale keeps them exactly at no loss, and the zeros of the zero form are
// integers within the code range: such weights re-encode losslessly at 4 bits
// per zero. The mins and the centred zeros are floats.
//
// The search tries ranges from the full one down to about half of it (clipping
// the extremes costs less than a coarse step, the more so the fewer the bits)
// and refits scale and offset to the codes by least squares.
//
//===----------------------------------------------------------------------===//
#include "Float.h"
#include "Metadata.h"

#include <algorithm>
#include <fmt/core.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::detail;

namespace {

/// w' = s * f - m with f = clamp(round((w + m) / s), 0, largest).
struct Fit {
  double s = 0, m = 0;
  double error = INFINITY;
};

constexpr double kRound = 0x1.8p52; // x + kRound - kRound rounds |x| < 2^51

class GroupQuantizer {
  const QuantizeOptions &options;
  double largest; ///< of a code field
  double bias;
  std::vector<double> x; ///< the group's weights
  double sum = 0;        ///< of x

  double fieldOf(double v, double s, double m) const {
    double f = (v + m) / s;
    f = f < 0 ? 0 : f;
    f = f > largest ? largest : f;
    return f + kRound - kRound;
  }
  /// Sums over the codes of (s, m): of (w - w')^2, f, f^2, f w.
  struct Sums {
    double error = 0, f = 0, ff = 0, fw = 0;
  };
  Sums sums(double s, double m) const {
    constexpr size_t lanes = 8; // sums that the compiler can keep in vectors
    double error[lanes] = {}, f1[lanes] = {}, ff[lanes] = {}, fw[lanes] = {};
    auto add = [&](size_t lane, double v) {
      double f = fieldOf(v, s, m), d = v - (s * f - m);
      error[lane] += d * d;
      f1[lane] += f;
      ff[lane] += f * f;
      fw[lane] += f * v;
    };
    size_t i = 0;
    for (; i + lanes <= x.size(); i += lanes)
      for (size_t lane = 0; lane < lanes; ++lane)
        add(lane, x[i + lane]);
    for (; i < x.size(); ++i)
      add(0, x[i]);
    Sums total;
    for (size_t lane = 0; lane < lanes; ++lane) {
      total.error += error[lane];
      total.f += f1[lane];
      total.ff += ff[lane];
      total.fw += fw[lane];
    }
    return total;
  }

  static double scaleAs(double s) { return fromBf16(toBf16(float(s))); }

  /// Takes (s, m) if it is better than `best`; returns its sums.
  Sums consider(double s, double m, Fit &best) const {
    Sums r = sums(s, m);
    if (r.error < best.error)
      best = {s, m, r.error};
    return r;
  }

  /// Fractions of the full range that are tried.
  int candidates() const { return options.search ? 20 : 1; }
  static double fraction(int i) { return 1 - 0.025 * i; }

  /// Takes s and the zero z, and the scale refitted to their codes.
  void considerZero(double s, double z, Fit &best) const {
    Sums r = consider(s, s * z, best);
    if (!options.search)
      return;
    double qq = r.ff - 2 * z * r.f + z * z * double(x.size());
    double qw = r.fw - z * sum;
    if (double refit = qq > 0 ? scaleAs(qw / qq) : 0; refit > 0 && refit != s)
      consider(refit, refit * z, best);
  }

  Fit symmetric() const {
    double high = 0;
    for (double v : x)
      high = std::max(high, std::fabs(v));
    Fit best;
    for (int i = 0; i < candidates(); ++i) {
      double s = scaleAs(high * fraction(i) / (bias - 1));
      if (s == 0)
        break;
      considerZero(s, bias, best);
    }
    return best;
  }

  /// Integer zero: the range is made to include 0.
  Fit integerZero() const {
    double low = 0, high = 0;
    for (double v : x) {
      low = std::min(low, v);
      high = std::max(high, v);
    }
    Fit best;
    for (int i = 0; i < candidates(); ++i) {
      double s = scaleAs((high - low) * fraction(i) / largest);
      if (s == 0)
        break;
      // Clipped on both sides alike, or on one side only.
      double both = -low * fraction(i) / s;
      for (double z : {both, -low / s, largest - high / s})
        if (z == both || options.search)
          considerZero(s, std::clamp(std::nearbyint(z), 0., largest), best);
    }
    return best;
  }

  Fit floatOffset() const {
    double low = x[0], high = x[0];
    for (double v : x) {
      low = std::min(low, v);
      high = std::max(high, v);
    }
    double n = double(x.size()), middle = (low + high) / 2;
    Fit best;
    for (int i = 0; i < candidates(); ++i) {
      double range = (high - low) * fraction(i);
      double s = scaleAs(range / largest);
      if (s == 0)
        break;
      Sums r = consider(s, float(range / 2 - middle), best);
      if (!options.search)
        break;
      double spread = r.ff - r.f * r.f / n;
      double refit =
          spread > 0 ? scaleAs((r.fw - r.f * sum / n) / spread) : 0;
      if (refit > 0)
        consider(refit, float((refit * r.f - sum) / n), best);
    }
    return best;
  }

public:
  GroupQuantizer(const QuantizeOptions &options)
      : options(options), largest(double((1 << options.codes.bits) - 1)),
        bias(double(options.codes.bias())) {}

  void run(const float *weights, uint64_t size, uint8_t *fields, float &scale,
           float *offset) {
    x.assign(weights, weights + size);
    sum = 0;
    for (double v : x)
      sum += v;
    Form form = options.form;
    Fit fit = form == Form::symmetric ? symmetric()
              : form == Form::zero    ? integerZero()
                                      : floatOffset();
    scale = float(fit.s);
    // What the metadata of the form stores, relative to biased fields.
    double center = form == Form::centred ? double(1 << (options.codes.bits - 1))
                                          : bias;
    if (fit.s == 0) { // all weights (nearly) the same
      double value = form == Form::symmetric || form == Form::zero ? 0 : x[0];
      if (form == Form::centred && value != 0)
        scale = std::fabs(float(value));
      if (offset)
        *offset = form == Form::centred ? (value == 0 ? 0.f
                                           : value < 0 ? 1.f
                                                       : -1.f)
                  : form == Form::min ? float(-value)
                                      : 0.f;
      std::fill_n(fields, size, uint8_t(center));
      return;
    }
    if (form == Form::min)
      *offset = float(fit.m - fit.s * bias);
    else if (form != Form::symmetric)
      *offset = float(fit.m / fit.s - center);
    for (uint64_t i = 0; i < size; ++i)
      fields[i] = uint8_t(fieldOf(x[i], fit.s, fit.m));
  }
};

} // namespace

Result<AffineWeight> qlinear::quantize(std::span<const float> weights,
                                       uint64_t N, uint64_t K,
                                       const QuantizeOptions &options) {
  MetaStorage plain = MetaStorage::plain(FloatType::f32);
  bool affine = options.form != Form::symmetric;
  Encoding e{options.codes, options.group, options.form, plain,
             affine ? plain : MetaStorage{}};
  if (auto r = e.verifyShape(N, K); !r)
    return r.takeError();
  if (weights.size() != N * K)
    return error(fmt::format("{} weights given for the shape {} x {}",
                             weights.size(), N, K));
  bool finite = true;
  for (float v : weights)
    finite &= std::fabs(v) <= 0x1.fffffep127f;
  for (uint64_t i = 0; !finite && i < weights.size(); ++i)
    if (!std::isfinite(weights[i]))
      return error(fmt::format("weight is {} at row {}, column {}; only finite "
                               "weights can be quantized",
                               weights[i], i / K, i % K));

  AffineWeight w{N, K, options.codes, options.group, options.form, {}, {}, {}};
  uint64_t G = w.groups(), size = K / G;
  w.fields.resize(N * K);
  w.scales.resize(N * G);
  w.offsets.resize(affine ? N * G : 0);
  tbb::parallel_for(
      tbb::blocked_range<uint64_t>(0, N, 4), [&](const auto &range) {
        GroupQuantizer q(options);
        for (uint64_t g = range.begin() * G; g < range.end() * G; ++g)
          q.run(weights.data() + g * size, size, w.fields.data() + g * size,
                w.scales[g], affine ? &w.offsets[g] : nullptr);
      });
  return w;
}
