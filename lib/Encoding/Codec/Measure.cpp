//===- Measure.cpp - What a re-encoding costs -----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Float.h"
#include "Metadata.h"

#include <algorithm>
#include <numeric>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::detail;

//===----------------------------------------------------------------------===//
// Moments
//===----------------------------------------------------------------------===//

/// Of the values of a table. They are taken relative to the first, so that a group that
/// is all one value has no spread.
static void tableMoments(const Points &points, const uint8_t *f, uint64_t size,
                         double &mean, double &spread) {
  double first = points[f[0]], n = double(size), sum = 0, squares = 0;
  for (uint64_t i = 0; i < size; ++i) {
    double d = points[f[i]] - first;
    sum += d;
    squares += d * d;
  }
  mean = first + sum / n;
  spread = std::max(0., squares - sum * sum / n);
}

Moments detail::momentsOf(const AffineWeight &w) {
  uint64_t G = w.groups(), size = w.K / G;
  Moments m{std::vector<double>(w.N * G), std::vector<double>(w.N * G)};
  const Points points(w.codes);
  tbb::parallel_for(tbb::blocked_range<uint64_t>(0, w.N, 8), [&](const auto &range) {
    for (uint64_t g = range.begin() * G; g < range.end() * G; ++g) {
      const uint8_t *f = w.fields.data() + g * size;
      if (w.codes.isTable()) {
        tableMoments(points, f, size, m.mean[g], m.spread[g]);
        continue;
      }
      uint64_t sum = 0, squares = 0;
      for (uint64_t at = 0; at < size; at += 1 << 16) { // 32-bit sums
        uint32_t partSum = 0, partSquares = 0;
        uint64_t end = std::min<uint64_t>(size, at + (1 << 16));
        for (uint64_t i = at; i < end; ++i) {
          partSum += f[i];
          partSquares += uint32_t(f[i]) * f[i];
        }
        sum += partSum;
        squares += partSquares;
      }
      double n = double(size), mean = double(sum) / n;
      m.mean[g] = mean;
      // n * squares - sum^2 is exact in 64 bits for rows up to 2^24.
      m.spread[g] = size < 1u << 24 ? double(size * squares - sum * sum) / n
                                    : double(squares) - double(sum) * mean;
    }
  });
  return m;
}

//===----------------------------------------------------------------------===//
// Quality
//===----------------------------------------------------------------------===//

static double decibels(double signal, double noise) {
  if (noise == 0)
    return INFINITY;
  return signal == 0 ? -INFINITY : 10 * std::log10(signal / noise);
}

/// One group: w = s * (f - center) - r, with the point f of a code.
struct Line {
  double s, center, r;
  double at(double f) const { return s * (f - center) - r; }
  float rounded(double f) const { return subtractRounded(s * (f - center), r); }
};

/// Weights of the group whose values differ once rounded to f32.
static uint64_t countDiffering(const uint8_t *fields, uint64_t size, int codes,
                               const Points &points, const Line &a, const Line &b) {
  uint8_t differs[256];
  int count = 0;
  for (int f = 0; f < codes; ++f) {
    // A difference of several ulps needs no rounding to be seen.
    double x = a.at(points.of[f]), y = b.at(points.of[f]);
    differs[f] = std::fabs(x - y) > 0x1p-21 * (std::fabs(x) + std::fabs(y));
    count += differs[f];
  }
  if (count != codes)
    for (int f = 0; f < codes; ++f)
      if (!differs[f])
        count += differs[f] = a.rounded(points.of[f]) != b.rounded(points.of[f]);
  if (count == 0 || count == codes)
    return count ? size : 0;
  uint64_t total = 0;
  for (uint64_t i = 0; i < size; ++i)
    total += differs[fields[i]];
  return total;
}

RowQuality detail::measureRow(const AffineWeight &w, uint64_t n, const RowSource &exact,
                              const Encoding &e, const float *scales,
                              const float *offsets, bool countAll, float *groupErrors) {
  uint64_t G = w.groups(), size = w.K / G;
  const uint8_t *fields = w.fields.data() + n * w.K;
  double count = double(size), squares = 0; // of the group errors
  const Points points(w.codes);
  Line a{0, centerOf(w.form, w.codes), 0}, b{0, centerOf(e.form, e.codes), 0};
  RowQuality q;
  for (uint64_t g = 0; g < G; ++g) {
    a.s = exact.scales[g];
    a.r = shiftOf(w.form, exact.scales[g], exact.offsets ? exact.offsets[g] : 0);
    b.s = scales[g];
    b.r = shiftOf(e.form, scales[g], e.form == Form::symmetric ? 0 : offsets[g]);
    double mean = a.at(exact.mean[g]);
    double signal = a.s * a.s * exact.spread[g] + count * mean * mean;
    q.signal += signal;
    q.rowSum += count * mean;
    groupErrors[g] = 0;
    if (a.s == b.s && a.r == b.r && a.center == b.center)
      continue;
    double error = mean - b.at(exact.mean[g]), ds = a.s - b.s;
    double noise = ds * ds * exact.spread[g] + count * error * error;
    // With an error this large some weight must differ.
    if (countAll || noise <= 0x1p-40 * signal) {
      uint64_t differing = countDiffering(fields + g * size, size,
                                          w.codes.layout().count(), points, a, b);
      if (!differing) // what f32 cannot tell is no error
        continue;
      q.differing += differing;
    } else {
      ++q.differing;
    }
    q.noise += noise;
    q.rowSumError += count * error;
    double relative = signal == 0 ? noise == 0 ? 0 : INFINITY : noise / signal;
    groupErrors[g] = float(std::sqrt(relative));
    squares += std::min(1.0, relative);
  }
  q.groupError = std::sqrt(squares / double(G));
  return q;
}

/// The smallest value that 99.9% do not exceed.
static float percentile999(std::vector<float> &values) {
  size_t rank = (values.size() * 999 + 999) / 1000 - 1;
  // Most values can be left out: those below the 98th percentile of a part.
  if (values.size() > 10000) {
    std::vector<float> part;
    for (size_t i = 0; i < values.size(); i += 64)
      part.push_back(values[i]);
    auto cut = part.begin() + ptrdiff_t(part.size() * 98 / 100);
    std::nth_element(part.begin(), cut, part.end());
    std::vector<float> top;
    for (float v : values)
      if (v >= *cut)
        top.push_back(v);
    size_t left = values.size() - top.size();
    if (left <= rank) {
      auto at = top.begin() + ptrdiff_t(rank - left);
      std::nth_element(top.begin(), at, top.end());
      return *at;
    }
  }
  auto at = values.begin() + ptrdiff_t(rank);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

Quality detail::summarize(const std::vector<RowQuality> &rows,
                          const std::vector<uint64_t> &rowNumbers,
                          std::vector<float> &groupErrors) {
  Quality q;
  q.worstRowSnr = INFINITY;
  double signal = 0, noise = 0, sums = 0, sumErrors = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const RowQuality &r = rows[i];
    signal += r.signal;
    noise += r.noise;
    sums += r.rowSum * r.rowSum;
    sumErrors += r.rowSumError * r.rowSumError;
    q.differingWeights += r.differing;
    q.worstRowGroupError = std::max(q.worstRowGroupError, r.groupError);
    if (double snr = decibels(r.signal, r.noise); i == 0 || snr < q.worstRowSnr) {
      q.worstRowSnr = snr;
      q.worstRow = rowNumbers[i];
    }
  }
  q.tensorSnr = decibels(signal, noise);
  q.coherentSnr = decibels(sums, sumErrors);
  q.groupErrorP999 = percentile999(groupErrors);
  return q;
}

Quality detail::measureAll(const AffineWeight &w, const Moments &moments,
                           const EncodedWeight &coded) {
  const Encoding &e = coded.encoding;
  uint64_t G = w.groups();
  std::vector<RowQuality> rows(w.N);
  std::vector<float> groupErrors(w.N * G);
  std::vector<uint64_t> numbers(w.N);
  std::iota(numbers.begin(), numbers.end(), 0);
  uint64_t scaleSteps = constantsPerRow(e.scale, w.K);
  uint64_t offsetSteps = constantsPerRow(e.offset, w.K);
  tbb::parallel_for(tbb::blocked_range<uint64_t>(0, w.N, 8), [&](const auto &range) {
    std::vector<float> scales(G), offsets(G);
    for (uint64_t n = range.begin(); n < range.end(); ++n) {
      decodeRow(e.scale, e.group, coded.scaleFields.data() + n * G,
                coded.scaleSteps.data() + n * scaleSteps, G, scales.data());
      decodeRow(e.offset, e.group, elementOrNull(coded.offsetFields, n * G),
                coded.offsetSteps.data() + n * offsetSteps, G, offsets.data());
      rows[n] = measureRow(w, n, rowOf(w, moments, n), e, scales.data(), offsets.data(),
                           true, groupErrors.data() + n * G);
    }
  });
  Quality q = summarize(rows, numbers, groupErrors);
  q.bitsPerWeight = layoutOf(e, w.N, w.K).bitsPerWeight();
  return q;
}

Result<Quality> qlinear::measure(const AffineWeight &w, const EncodedWeight &coded) {
  if (auto r = checkEncodable(w, coded.encoding); !r)
    return r.takeError();
  if (auto r = check(coded); !r)
    return r.takeError();
  if (w.fields != coded.fields)
    return error("the weights to compare have different codes; only metadata "
                 "may differ");
  return measureAll(w, momentsOf(w), coded);
}
