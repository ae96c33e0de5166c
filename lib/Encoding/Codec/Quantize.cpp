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
// Codes that index a table get the nearest of its values, in the symmetric form; for
// them a scale may also be a power of two, or an e4m3 times a step of its row.
//
// The search tries ranges from the full one down to about half of it (clipping
// the extremes costs less than a coarse step, the more so the fewer the bits)
// and refits scale and offset to the codes by least squares, where the range is
// among the better ones.
//
//===----------------------------------------------------------------------===//
#include "../Files/Json.h"
#include "Float.h"
#include "Metadata.h"
#include "qlinear/Encoding/Packer.h"

#include <algorithm>
#include <cstring>
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

constexpr float kRound = 0x1.8p23f; // x + kRound - kRound rounds |x| < 2^22

/// Fits that are tried together, each in a lane of vectors, and for each the sums over
/// its codes: of (w - w')^2, f, f^2, f w.
struct Trials {
  static constexpr int kLanes = 16;
  int count = 0;
  double s[kLanes], m[kLanes];
  alignas(64) float inverse[kLanes] = {}, zero[kLanes] = {}, scale[kLanes] = {},
                    shift[kLanes] = {};
  alignas(64) double error[kLanes], f[kLanes], ff[kLanes], fw[kLanes];

  bool isFull() const { return count == kLanes; }
  /// Adds scale * (f - z).
  void add(double scaleOf, double z) {
    s[count] = scaleOf, m[count] = scaleOf * z;
    scale[count] = float(scaleOf), shift[count] = float(m[count]);
    inverse[count] = float(1 / scaleOf), zero[count] = float(z);
    ++count;
  }
};

/// The sums of trials. The same bits on every machine: nothing is contracted, and lanes
/// do not meet.
[[gnu::always_inline]] inline void sumUp(const float *x, size_t size, float largest,
                                         Trials &trials) {
#pragma clang fp contract(off)
  using Floats [[gnu::vector_size(4 * Trials::kLanes)]] = float;
  Floats inverse, zero, scale, shift;
  memcpy(&inverse, trials.inverse, sizeof inverse);
  memcpy(&zero, trials.zero, sizeof zero);
  memcpy(&scale, trials.scale, sizeof scale);
  memcpy(&shift, trials.shift, sizeof shift);
  using Doubles [[gnu::vector_size(8 * Trials::kLanes)]] = double;
  Doubles errors{}, sums{}, squares{}, products{};
  // Float sums stay exact enough over a part of a long row.
  for (size_t at = 0; at < size; at += 1024) {
    Floats error{}, f1{}, ff{}, fw{}, least{}, most = least + largest;
    for (size_t i = at, end = std::min(size, at + 1024); i < end; ++i) {
      Floats v = least + x[i], f = v * inverse + zero;
      f = f < least ? least : f;
      f = f > most ? most : f;
      f = f + kRound - kRound;
      Floats d = v - (scale * f - shift);
      error += d * d;
      f1 += f;
      ff += f * f;
      fw += f * v;
    }
    errors += __builtin_convertvector(error, Doubles);
    sums += __builtin_convertvector(f1, Doubles);
    squares += __builtin_convertvector(ff, Doubles);
    products += __builtin_convertvector(fw, Doubles);
  }
  memcpy(trials.error, &errors, sizeof errors);
  memcpy(trials.f, &sums, sizeof sums);
  memcpy(trials.ff, &squares, sizeof squares);
  memcpy(trials.fw, &products, sizeof products);
}

using SumUp = void (*)(const float *, size_t, float, Trials &);
void sumUpAnywhere(const float *x, size_t size, float largest, Trials &trials) {
  sumUp(x, size, largest, trials);
}
#ifdef __x86_64__
[[gnu::target("avx2")]] void sumUpAvx2(const float *x, size_t size, float largest,
                                       Trials &trials) {
  sumUp(x, size, largest, trials);
}
[[gnu::target("avx512f,avx512vl,avx512dq,avx512bw")]] void
sumUpAvx512(const float *x, size_t size, float largest, Trials &trials) {
  sumUp(x, size, largest, trials);
}
SumUp sumUpHere() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return sumUpAvx512;
  return __builtin_cpu_supports("avx2") ? sumUpAvx2 : sumUpAnywhere;
}
#else
SumUp sumUpHere() { return sumUpAnywhere; }
#endif

/// The least and the largest of some numbers and `of`. In lanes, as a chain of minima
/// is as slow as its latency.
std::pair<float, float> extremes(const float *x, size_t size, float of) {
  constexpr size_t kLanes = 16;
  float low[kLanes], high[kLanes];
  std::fill_n(low, kLanes, of), std::fill_n(high, kLanes, of);
  auto meet = [&](size_t lane, float v) {
    low[lane] = v < low[lane] ? v : low[lane];
    high[lane] = v > high[lane] ? v : high[lane];
  };
  size_t i = 0;
  for (; i + kLanes <= size; i += kLanes)
    for (size_t l = 0; l < kLanes; ++l)
      meet(l, x[i + l]);
  for (; i < size; ++i)
    meet(0, x[i]);
  return {*std::min_element(low, low + kLanes), *std::max_element(high, high + kLanes)};
}

class GroupQuantizer {
  const QuantizeOptions &options;
  float largest; ///< of a code field
  double bias;
  /// The group's weights as multiples of `unit`, a power of two, less `middle`
  /// (0 in the forms whose range includes 0), and their sum: of size 1, so that
  /// float arithmetic does for the search.
  std::vector<float> x;
  double unit = 1, perUnit = 1, middle = 0, sum = 0;
  SumUp sumUp = sumUpHere();
  /// What is tried, in as many as are full and one more, and what follows from its
  /// sums.
  std::vector<Trials> tried;
  size_t last = 0;
  Trials refits;
  Fit best;
  /// Whether the range has become so small that less of it will not be better.
  bool isTooSmall = false;
  /// The error beyond which a refit will not be the best: it saves less than a fifth.
  double limit() const { return best.error * 1.25; }

  float fieldOf(float v, float inverse, float z) const {
    float f = v * inverse + z;
    f = f < 0 ? 0 : f;
    f = f > largest ? largest : f;
    return f + kRound - kRound;
  }

  /// The nearest scale that is a bf16 number in the weight's own unit.
  double scaleAs(double s) const {
    return double(fromBf16(toBf16(float(s * unit)))) * perUnit;
  }

  /// Takes those that are better than `best`.
  void take(Trials &trials) {
    if (trials.count)
      sumUp(x.data(), x.size(), largest, trials);
    for (int i = 0; i < trials.count; ++i)
      if (trials.error[i] < best.error)
        best = {trials.s[i], trials.m[i], trials.error[i]};
  }

  /// Tries scale s and zero z, and at the end what `refit(s, z, sums of f, f^2, f w)`
  /// makes of their sums; without a search they are the result as they are.
  void consider(double s, double z) {
    if (!options.search) {
      best = {s, s * z, 0};
      return;
    }
    Trials &trials = tried[last];
    trials.add(s, z);
    if (!trials.isFull())
      return;
    take(trials);
    // A range has up to three zeros.
    const double *end = trials.error + Trials::kLanes;
    isTooSmall = *std::min_element(end - 3, end) > limit();
    if (++last == tried.size())
      tried.emplace_back();
  }
  template <typename Refit> void finish(Refit refit) {
    take(tried[last]);
    for (size_t at = 0; at <= last; ++at) {
      Trials &trials = tried[at];
      for (int i = 0; i < trials.count; ++i) {
        if (trials.error[i] > limit())
          continue;
        if (auto [s, z] = refit(trials.s[i], trials.zero[i], trials.f[i], trials.ff[i],
                                trials.fw[i]);
            s > 0)
          refits.add(s, z);
        if (refits.isFull())
          takeRefits();
      }
      trials.count = 0;
    }
    takeRefits();
    last = 0;
    isTooSmall = false;
  }
  void takeRefits() {
    take(refits);
    refits.count = 0;
  }

  /// Fractions of the full range that are tried: the fewer the bits, the more
  /// clipping can pay.
  int candidates() const {
    return !options.search           ? 1
           : options.codes.bits <= 3 ? 20
           : options.codes.bits == 4 ? 14
           : options.codes.bits == 5 ? 10
                                     : 6;
  }
  static double fraction(int i) { return 1 - 0.03 * i; }

  /// The scale refitted to the codes, with the same zero.
  auto refitScale() {
    return [this](double s, double z, double f, double ff, double fw) {
      double qq = ff - 2 * z * f + z * z * double(x.size()), qw = fw - z * sum;
      double refit = qq > 0 ? scaleAs(qw / qq) : 0;
      return std::pair(refit == s ? 0. : refit, z);
    };
  }

  void symmetric() {
    auto [least, most] = extremes(x.data(), x.size(), 0);
    double high = std::max(most, -least);
    for (int i = 0; i < candidates() && !isTooSmall; ++i) {
      double s = scaleAs(high * fraction(i) / (bias - 1));
      if (s == 0)
        break;
      consider(s, bias);
    }
    finish(refitScale());
  }

  /// Integer zero: the range is made to include 0.
  void integerZero() {
    auto [least, most] = extremes(x.data(), x.size(), 0);
    double low = least, high = most;
    for (int i = 0; i < candidates() && !isTooSmall; ++i) {
      double s = scaleAs((high - low) * fraction(i) / largest);
      if (s == 0)
        break;
      // Clipped on both sides alike, or on one side only.
      double both = -low * fraction(i) / s;
      double last = -1;
      for (double z : {both, -low / s, largest - high / s}) {
        constexpr double kRoundDouble = 0x1.8p52; // to even, as nearbyint
        z = std::clamp(z + kRoundDouble - kRoundDouble, 0., double(largest));
        if (z != last)
          consider(s, z);
        last = z;
        if (!options.search)
          break;
      }
    }
    finish(refitScale());
  }

  void floatOffset() {
    auto [least, most] = extremes(x.data(), x.size(), 0);
    double high = std::max(most, -least); // -high to high, as the middle is 0
    double n = double(x.size());
    auto refit = [&](double, double, double f, double ff, double fw) {
      double spread = ff - f * f / n;
      double s = spread > 0 ? scaleAs((fw - f * sum / n) / spread) : 0;
      return std::pair(s, (f - sum / s) / n);
    };
    for (int i = 0; i < candidates() && !isTooSmall; ++i) {
      double range = 2 * high * fraction(i);
      double s = scaleAs(range / largest);
      if (s == 0)
        break;
      consider(s, range / 2 / s);
    }
    finish(refit);
  }

  void load(const float *weights, uint64_t size) {
    auto [least, most] = extremes(weights, size, weights[0]);
    double low = least, high = most;
    bool shifted = options.form == Form::min || options.form == Form::centred;
    double base = shifted ? (low + high) / 2 : 0;
    double largest = std::max(high - base, base - low);
    int exponent = largest == 0 ? 0 : std::ilogb(largest);
    unit = std::ldexp(1, exponent), perUnit = std::ldexp(1, -exponent);
    middle = base / unit;
    sum = 0;
    x.resize(size);
    for (uint64_t i = 0; i < size; ++i) {
      x[i] = float((weights[i] - base) * perUnit);
      sum += x[i];
    }
  }

public:
  GroupQuantizer(const QuantizeOptions &options)
      : options(options), largest(float((1 << options.codes.bits) - 1)),
        bias(double(options.codes.bias())), tried(1) {}

  void run(const float *weights, uint64_t size, uint8_t *fields, float &scale,
           float *offset) {
    load(weights, size);
    Form form = options.form;
    best = {};
    if (form == Form::symmetric)
      symmetric();
    else if (form == Form::zero)
      integerZero();
    else
      floatOffset();
    Fit fit = best;
    // The offsets of the form count from this code.
    double center =
        form == Form::centred ? double(1 << (options.codes.bits - 1)) : bias;
    double base = middle * unit; // what remains of a group without a scale
    if (fit.s == 0) {
      // The centred form needs a scale for it: s * (0 - z) with z = +-1.
      scale = form == Form::centred ? std::fabs(float(base)) : 0;
      if (form == Form::zero)
        *offset = 0;
      else if (form == Form::min)
        *offset = float(-base);
      else if (form == Form::centred)
        *offset = base > 0 ? -1 : base < 0 ? 1 : 0;
      std::fill_n(fields, size, uint8_t(center));
      return;
    }
    scale = float(fit.s * unit);
    if (form == Form::min)
      *offset = float((fit.m - middle - fit.s * bias) * unit);
    else if (form != Form::symmetric)
      *offset = float((fit.m - middle) / fit.s - center);
    float inverse = float(1 / fit.s), z = float(fit.m / fit.s);
    for (uint64_t i = 0; i < size; ++i)
      fields[i] = uint8_t(fieldOf(x[i], inverse, z));
  }
};

/// The same for the codes of a table: w' = s * values[f], s never negative.
class TableQuantizer {
  bool search;
  MetaStorage storage;         ///< of scales
  float step = 1;              ///< of the row's, where they have one
  std::vector<double> values;  ///< of the fields
  std::vector<uint8_t> fields; ///< in the order of their values
  std::vector<double> limits;  ///< half way between neighbours

  uint8_t nearest(double v) const {
    auto above = std::lower_bound(limits.begin(), limits.end(), v);
    return fields[size_t(above - limits.begin())];
  }
  /// Sums over the weights of (w - w')^2, q w and q^2.
  struct Sums {
    double error = 0, qw = 0, qq = 0;
  };
  Sums sums(const float *weights, uint64_t size, double s) const {
    Sums total;
    for (uint64_t i = 0; i < size; ++i) {
      double w = weights[i], q = values[nearest(w / s)], d = w - s * q;
      total.error += d * d;
      total.qw += q * w;
      total.qq += q * q;
    }
    return total;
  }

  /// A scale as it can be stored; 0 if it is too small, or too large.
  float stored(double wanted) const {
    if (!(wanted > 0))
      return 0;
    if (storage.kind == MetaStorage::Kind::scaled) {
      double most = fromBits(FloatType::e4m3, largestBits(FloatType::e4m3));
      uint32_t bits =
          toBits(FloatType::e4m3, float(std::min(wanted / double(step), most)));
      return step > 0 ? layout::scaledValue(bits, step) : 0;
    }
    float s = fromBits(storage.type, toBits(storage.type, float(wanted)));
    return std::isfinite(s) ? s : 0;
  }
  /// The least scale at which nothing of these weights is clipped.
  double fullScale(const float *weights, uint64_t size) const {
    double up = 0, down = 0;
    for (uint64_t i = 0; i < size; ++i) {
      up = std::max(up, double(weights[i]));
      down = std::max(down, -double(weights[i]));
    }
    return std::max(up / values[fields.back()], down / -values[fields.front()]);
  }

public:
  TableQuantizer(const QuantizeOptions &options)
      : search(options.search), storage(options.scale) {
    layout::Codes codes = options.codes.layout();
    for (int f = 0; f < codes.count(); ++f) {
      values.push_back(codes.value(f));
      fields.push_back(uint8_t(f));
    }
    std::sort(fields.begin(), fields.end(), [&](uint8_t a, uint8_t b) {
      return std::pair(values[a], a) < std::pair(values[b], b);
    });
    for (size_t i = 1; i < fields.size(); ++i)
      limits.push_back((values[fields[i - 1]] + values[fields[i]]) / 2);
  }

  /// Before the groups of a row of K weights.
  void startRow(const float *weights, uint64_t K) {
    if (storage.kind == MetaStorage::Kind::scaled)
      step = float(fullScale(weights, K) /
                   fromBits(FloatType::e4m3, largestBits(FloatType::e4m3)));
  }

  void run(const float *weights, uint64_t size, uint8_t *out, float &scale) const {
    double full = fullScale(weights, size);
    double best = INFINITY;
    scale = 0;
    auto consider = [&](double wanted) {
      float s = stored(wanted);
      if (s == 0)
        return Sums();
      Sums r = sums(weights, size, s);
      if (r.error < best) {
        best = r.error;
        scale = s;
      }
      return r;
    };
    // Powers of two are too far apart to take the nearest, which may clip much.
    if (storage.type == FloatType::e8m0 && full > 0)
      consider(std::exp2(std::ceil(std::log2(full))));
    bool isDone = best < INFINITY && !search;
    for (int i = 0; i < (search ? 20 : isDone ? 0 : 1); ++i) {
      Sums r = consider(full * (1 - 0.03 * i));
      if (search && r.qq > 0 && r.qw > 0)
        consider(r.qw / r.qq);
    }
    for (uint64_t i = 0; i < size; ++i)
      out[i] = nearest(scale == 0 ? 0 : weights[i] / double(scale));
  }
};

} // namespace

Result<AffineWeight> qlinear::quantize(std::span<const float> weights, uint64_t N,
                                       uint64_t K, const QuantizeOptions &options) {
  MetaStorage plain = MetaStorage::plain(FloatType::f32);
  bool affine = options.form != Form::symmetric;
  Encoding e{options.codes, options.group, options.form, plain,
             affine ? plain : MetaStorage{}};
  if (auto r = e.verifyShape(N, K); !r)
    return r.takeError();
  if (options.codes.isTable() && affine)
    return error(fmt::format("weights are quantized to {} in the symmetric form only; "
                             "drop the form, or use integer codes",
                             options.codes.str()));
  if (weights.size() != N * K)
    return error(
        fmt::format("{} weights given for the shape {} x {}", weights.size(), N, K));
  bool finite = true;
  for (float v : weights)
    finite &= std::fabs(v) <= 0x1.fffffep127f;
  for (uint64_t i = 0; !finite && i < weights.size(); ++i)
    if (!std::isfinite(weights[i]))
      return error(fmt::format("weight is {} at row {}, group {} (column {}); only "
                               "finite weights can be quantized",
                               weights[i], i / K,
                               options.group ? i % K / options.group : 0, i % K));

  AffineWeight w{N, K, options.codes, options.group, options.form, {}, {}, {}};
  uint64_t G = w.groups(), size = K / G;
  w.fields.resize(N * K);
  w.scales.resize(N * G);
  w.offsets.resize(affine ? N * G : 0);
  tbb::parallel_for(tbb::blocked_range<uint64_t>(0, N, 4), [&](const auto &range) {
    if (options.codes.isTable()) {
      TableQuantizer q(options);
      for (uint64_t n = range.begin(); n < range.end(); ++n) {
        q.startRow(weights.data() + n * K, K);
        for (uint64_t g = n * G; g < (n + 1) * G; ++g)
          q.run(weights.data() + g * size, size, w.fields.data() + g * size,
                w.scales[g]);
      }
      return;
    }
    GroupQuantizer q(options);
    for (uint64_t g = range.begin() * G; g < range.end() * G; ++g)
      q.run(weights.data() + g * size, size, w.fields.data() + g * size, w.scales[g],
            affine ? &w.offsets[g] : nullptr);
  });
  return w;
}

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

Result<void> qlinear::verifyMinSnr(double snr) {
  if (snr >= 0 && snr <= 200) // a NaN is neither
    return {};
  return error(fmt::format("min-snr = {:g} is not a number of dB from 0 to 200", snr));
}

Result<QuantizeOptions> qlinear::parseQuantize(std::string_view text) {
  auto bad = [&]() {
    return error(fmt::format(
        "{} is not CODES:GROUP[:FORM]: CODES one of int2, int3, int4, int5, int6, "
        "int8{}; GROUP 16, 32, 64, 128, 256 or row; FORM symmetric, zero, min or "
        "centred; as in "
        "int4:32; nor is it mxfp4, nvfp4 or nf4",
        inQuotes(text), CodeType::tables()));
  };
  if (text == "mxfp4" || text == "nvfp4") {
    QuantizeOptions out;
    out.codes = CodeType::table(CodeKind::e2m1);
    out.group = text == "mxfp4" ? 32 : 16;
    out.form = Form::symmetric;
    out.scale =
        text == "mxfp4" ? MetaStorage::plain(FloatType::e8m0) : MetaStorage::scaled();
    return out;
  }
  if (text == "nf4")
    text = "nf4:64";
  size_t colon = text.find(':'), second = text.find(':', colon + 1);
  if (colon == text.npos)
    return bad();
  std::string_view codes = text.substr(0, colon);
  std::string_view group =
      text.substr(colon + 1, second == text.npos ? text.npos : second - colon - 1);
  std::string_view form = second == text.npos ? "" : text.substr(second + 1);

  QuantizeOptions out;
  // Spelled as the codes are, but for the sign, which the form has.
  auto integer = codes.starts_with("int") && codes.size() == 4
                     ? CodeType::parse("u" + std::string(codes.substr(3)))
                     : std::nullopt;
  if (integer && layout::hasPlanes(integer->bits))
    out.codes = {integer->bits, integer->bits >= 6};
  else if (auto table = CodeType::parse(codes); table && table->isTable())
    out.codes = *table;
  else
    return bad();
  out.form = out.codes.isSigned ? Form::symmetric : Form::zero;
  if (form == "symmetric" || form == "zero" || form == "min" || form == "centred")
    out.form = form == "symmetric" ? Form::symmetric
               : form == "zero"    ? Form::zero
               : form == "min"     ? Form::min
                                   : Form::centred;
  else if (!form.empty())
    return bad();
  if (!out.codes.isTable())
    out.codes.isSigned = out.form == Form::symmetric;

  out.group = 1;
  for (unsigned g : {16u, 32u, 64u, 128u, 256u})
    if (group == std::to_string(g))
      out.group = g;
  if (group == "row")
    out.group = kWholeRow;
  if (out.group == 1)
    return bad();
  return out;
}
