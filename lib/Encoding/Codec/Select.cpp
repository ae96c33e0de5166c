//===- Select.cpp - Which encoding a weight gets --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// "auto": first the codes that may be exact (no offset or an integer one, and a
// bf16 scale within a window of its row), then the ladder: all candidates by
// bits per weight, and the first that keeps the rule. A candidate that fails on
// a sample of the rows is not tried on the others.
//
//===----------------------------------------------------------------------===//
#include "Metadata.h"
#include "qlinear/Encoding/Packer.h"
#include "qlinear/Support/Suggest.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <numeric>
#include <optional>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

using namespace qlinear;
using namespace qlinear::detail;

using Kind = MetaStorage::Kind;

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

namespace {

constexpr FloatType kFloats[] = {FloatType::bf16, FloatType::f16, FloatType::f32};

MetaStorage rowStep(uint8_t bits, bool isSigned) {
  return MetaStorage::linear(bits, isSigned, StepScope::row);
}
// A bf16 step: an f16 one would be subnormal for small scales.
MetaStorage blockStep(uint8_t bits, bool isSigned) {
  return MetaStorage::linear(bits, isSigned, StepScope::block);
}

/// The properties of a source that the candidates depend on.
struct Source {
  CodeType codes;
  unsigned group;
  Form form;
  bool negativeScales;
  bool negativeOffsets;
  bool powersOfTwo;                ///< scales are, or 0
  std::optional<MetaStorage> grid; ///< integer codes that hold every zero
};

/// The narrowest integer grid for zeros of this range.
std::optional<MetaStorage> gridFor(float low, float high) {
  for (uint8_t bits : {4, 6, 8})
    for (bool isSigned : {false, true}) {
      float least = isSigned ? -float(1 << (bits - 1)) : 0;
      if (low >= least && high <= least + float((1 << bits) - 1))
        return MetaStorage::linear(bits, isSigned, StepScope::constant);
    }
  return std::nullopt;
}

Source describe(const AffineWeight &w) {
  Source s{w.codes, w.group, w.form, false, false, true, std::nullopt};
  for (float v : w.scales) {
    int exponent;
    s.negativeScales |= v < 0;
    s.powersOfTwo &= v == 0 || std::frexp(v, &exponent) == 0.5f;
  }
  float low = INFINITY, high = -INFINITY;
  bool integers = !w.offsets.empty();
  for (float v : w.offsets) {
    low = std::min(low, v);
    high = std::max(high, v);
    integers &= v == std::nearbyint(v);
  }
  s.negativeOffsets = low < 0;
  if (integers && (w.form == Form::zero || w.form == Form::centred))
    s.grid = gridFor(low, high);
  return s;
}

using Encodings = std::vector<Encoding>;

/// Scale codes that are exact for bf16 scales, powers of two, or the scales of NVFP4,
/// with offsets that are kept.
Encodings exactCandidates(const Source &s, const MetaStorage &offset) {
  Encodings list;
  if (s.powersOfTwo)
    list.push_back(
        {s.codes, s.group, s.form, MetaStorage::plain(FloatType::e8m0), offset});
  if (s.codes.kind == CodeKind::e2m1 && s.group != kWholeRow)
    list.push_back({s.codes, s.group, s.form, MetaStorage::scaled(), offset});
  if (s.group != kWholeRow)
    for (uint8_t bits : {8, 10, 12})
      list.push_back({s.codes, s.group, s.form, MetaStorage::delta(bits), offset});
  return list;
}

/// Scale codes by themselves, for sources without offset or with integer ones.
Encodings scaleLadder(const Source &s, const MetaStorage &offset) {
  std::vector<MetaStorage> scales;
  bool isSigned = s.negativeScales;
  if (s.group != kWholeRow)
    scales = {MetaStorage::log(6),    rowStep(6, isSigned),  blockStep(6, isSigned),
              MetaStorage::log(8),    rowStep(8, isSigned),  blockStep(8, isSigned),
              MetaStorage::delta(10), MetaStorage::delta(12)};
  for (FloatType t : kFloats)
    scales.push_back(MetaStorage::plain(t));
  Encodings list;
  for (const MetaStorage &m : scales)
    list.push_back({s.codes, s.group, s.form, m, offset});
  return list;
}

/// Scale and offset codes for sources with float offsets, in the source's form
/// and in the one that suits where it does not: centred zeros are small and of
/// both signs; a min stays small where a zero is far outside the codes.
Encodings affineLadder(const Source &s) {
  Encodings list;
  auto add = [&](Form form, MetaStorage scale, MetaStorage offset) {
    list.push_back({s.codes, s.group, form, scale, offset});
  };
  if (s.group != kWholeRow) {
    Form zeroForm = s.codes.isSigned ? Form::zero : Form::centred;
    std::array forms{s.form == Form::min ? Form::min : zeroForm,
                     s.form == Form::min ? zeroForm : Form::min};
    for (Form form : forms) {
      bool x = s.negativeScales;
      // Mins of a min source have a known sign; others may have both.
      bool o = form != Form::min || s.form != Form::min || s.negativeOffsets;
      add(form, MetaStorage::log(6), rowStep(6, o));
      add(form, rowStep(6, x), rowStep(6, o));
      add(form, blockStep(6, x), blockStep(6, o));
      add(form, MetaStorage::log(8), rowStep(6, o));
      add(form, MetaStorage::log(8), rowStep(8, o));
      add(form, rowStep(8, x), rowStep(8, o));
      add(form, blockStep(8, x), rowStep(8, o));
      add(form, MetaStorage::log(8), blockStep(8, o));
      add(form, blockStep(8, x), blockStep(8, o));
      add(form, MetaStorage::delta(10), blockStep(8, o));
      add(form, MetaStorage::delta(12), MetaStorage::plain(FloatType::bf16));
    }
  }
  for (FloatType t : kFloats)
    add(s.form, MetaStorage::plain(t), MetaStorage::plain(t));
  return list;
}

Encodings losslessCandidates(const Source &s) {
  std::vector<MetaStorage> offsets;
  if (s.form == Form::symmetric)
    offsets.push_back({});
  if (s.grid)
    offsets.push_back(*s.grid);
  if (s.form != Form::symmetric)
    for (FloatType t : kFloats)
      offsets.push_back(MetaStorage::plain(t));
  Encodings list;
  for (const MetaStorage &offset : offsets) {
    Encodings exact = exactCandidates(s, offset);
    list.insert(list.end(), exact.begin(), exact.end());
    for (FloatType t : kFloats)
      list.push_back({s.codes, s.group, s.form, MetaStorage::plain(t), offset});
  }
  return list;
}

/// Smallest first; of equals the first listed.
Encodings sortedByBits(const Encodings &list, uint64_t N, uint64_t K) {
  std::vector<std::pair<uint64_t, size_t>> order;
  for (const Encoding &e : list)
    order.emplace_back(layoutOf(e, N, K).bytes(), order.size());
  std::sort(order.begin(), order.end());
  Encodings sorted;
  for (auto [bytes, index] : order)
    sorted.push_back(list[index]);
  return sorted;
}

//===----------------------------------------------------------------------===//
// Trials
//===----------------------------------------------------------------------===//

/// A candidate has to pass on this many rows, then on a quarter of the rows,
/// before it is tried on all.
constexpr uint64_t kSampleRows = 64;

/// sum a / sum b over all rows, estimated from a sample of them.
struct Estimate {
  double ratio = 0, standardError = 0;

  template <typename A, typename B>
  Estimate(const std::vector<RowQuality> &rows, A a, B b) {
    double sumA = 0, sumB = 0, squares = 0;
    for (const RowQuality &r : rows) {
      sumA += a(r);
      sumB += b(r);
    }
    if (sumB == 0)
      return;
    ratio = sumA / sumB;
    for (const RowQuality &r : rows) {
      double d = a(r) - ratio * b(r);
      squares += d * d;
    }
    standardError = std::sqrt(squares) / sumB;
  }
  /// Hardly below `bound`: four standard errors.
  bool above(double bound) const { return ratio - 4 * standardError > bound; }
};

std::string snrText(double snr) {
  return std::isinf(snr) && snr > 0 ? "exact" : fmt::format("{:.1f} dB", snr);
}

/// The bound that `q` breaks, or nothing. The worst row of a sample counts
/// for all rows; a sample breaks a bound of the whole tensor only beyond its noise.
std::string brokenBound(const Quality &q, const SelectionRule &rule,
                        const std::vector<RowQuality> *sample = nullptr) {
  bool snrBroken = !(q.tensorSnr >= rule.minSnr);
  bool errorBroken = !(q.groupErrorP999 <= rule.maxGroupError);
  if (sample) {
    Estimate noise(
        *sample, [](const RowQuality &r) { return r.noise; },
        [](const RowQuality &r) { return r.signal; });
    Estimate coarse(
        *sample, [](const RowQuality &r) { return r.coarseGroups; },
        [](const RowQuality &) { return 1.0; });
    snrBroken &= noise.above(std::pow(10, -rule.minSnr / 10));
    errorBroken &= coarse.above(0.001);
  }
  if (snrBroken)
    return fmt::format("tensor SNR {} < {:.1f} dB", snrText(q.tensorSnr), rule.minSnr);
  double worstRow = rule.minSnr - rule.worstRowMargin;
  if (!(q.worstRowSnr >= worstRow))
    return fmt::format("SNR of row {} {} < {:.1f} dB", q.worstRow,
                       snrText(q.worstRowSnr), worstRow);
  if (errorBroken)
    return fmt::format("99.9th percentile group error {:.1f}% > {:.1f}%",
                       100 * q.groupErrorP999, 100 * rule.maxGroupError);
  if (!(q.worstRowGroupError <= rule.maxRowGroupError))
    return fmt::format("RMS group error of a row {:.1f}% > {:.1f}%",
                       100 * q.worstRowGroupError, 100 * rule.maxRowGroupError);
  return {};
}

class Selector {
  const AffineWeight &w;
  const SelectionRule &rule;
  Moments moments;
  std::vector<Candidate> declined;
  std::vector<std::vector<uint64_t>> samples; ///< none where rows are few

  /// Codes and measures some rows; keeps the metadata if `keep` is given, and
  /// then differing weights are not counted (measureAll does).
  Quality tryRows(const Encoding &e, const std::vector<uint64_t> &rows,
                  std::vector<RowQuality> &figures, EncodedWeight *keep) {
    uint64_t G = w.groups();
    uint64_t scaleSteps = constantsPerRow(e.scale, w.K);
    uint64_t offsetSteps = constantsPerRow(e.offset, w.K);
    if (keep) {
      *keep = {e, w.N, w.K, {}, {}, {}, {}, {}};
      keep->scaleFields.resize(w.N * G);
      keep->offsetFields.resize(e.form == Form::symmetric ? 0 : w.N * G);
      keep->scaleSteps.resize(w.N * scaleSteps);
      keep->offsetSteps.resize(w.N * offsetSteps);
    }
    figures.assign(rows.size(), {});
    std::vector<float> groupErrors(rows.size() * G);
    tbb::parallel_for(
        tbb::blocked_range<size_t>(0, rows.size(), 8), [&](const auto &range) {
          RowCoder coder(w, e, {});
          RowBuffer buffer(e, w.K);
          for (size_t i = range.begin(); i < range.end(); ++i) {
            uint64_t n = rows[i];
            RowCoded coded = buffer.coded;
            if (keep) {
              coded.scaleFields = keep->scaleFields.data() + n * G;
              coded.offsetFields = elementOrNull(keep->offsetFields, n * G);
              coded.scaleSteps = keep->scaleSteps.data() + n * scaleSteps;
              coded.offsetSteps = keep->offsetSteps.data() + n * offsetSteps;
            }
            RowSource source = rowOf(w, moments, n);
            coder.code(source, coded);
            figures[i] = measureRow(w, n, source, e, coded.scales, coded.offsets, !keep,
                                    groupErrors.data() + i * G);
            uint64_t coarse = 0;
            for (uint64_t g = 0; g < G; ++g)
              coarse += groupErrors[i * G + g] > float(rule.maxGroupError);
            figures[i].coarseGroups = double(coarse) / double(G);
          }
        });
    Quality q = summarize(figures, rows, groupErrors);
    q.bitsPerWeight = layoutOf(e, w.N, w.K).bitsPerWeight();
    return q;
  }

  /// The encoded weight if it passes, else an entry of `declined`.
  std::optional<Selection> tryEncoding(const Encoding &e, bool exactOnly) {
    std::vector<RowQuality> figures;
    auto broken = [&](const Quality &q, bool onSample) {
      if (exactOnly)
        return q.differingWeights == 0 ? std::string()
                                       : std::string("not exact: weights differ");
      return brokenBound(q, rule, onSample ? &figures : nullptr);
    };
    for (const std::vector<uint64_t> &sample : samples) {
      Quality q = tryRows(e, sample, figures, nullptr);
      if (std::string reason = broken(q, true); !reason.empty()) {
        declined.push_back(
            {e, q, sample.size(),
             reason + fmt::format(" (in {} sampled rows)", sample.size())});
        return std::nullopt;
      }
    }
    Selection s;
    s.quality = tryRows(e, allRows(), figures, &s.weight);
    if (std::string reason = broken(s.quality, false); !reason.empty()) {
      s.quality = measureAll(w, moments, s.weight);
      declined.push_back({e, s.quality, w.N, reason});
      return std::nullopt;
    }
    return s;
  }

  std::optional<Selection> walk(const Encodings &list, bool exactOnly) {
    for (const Encoding &e : sortedByBits(list, w.N, w.K))
      if (auto s = tryEncoding(e, exactOnly))
        return s;
    return std::nullopt;
  }

  std::vector<uint64_t> allRows() const {
    std::vector<uint64_t> rows(w.N);
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
  }

  std::string keptBounds(const Quality &q) const {
    if (q.differingWeights == 0)
      return fmt::format("exact at {:.3f} bits per weight", q.bitsPerWeight);
    return fmt::format(
        "{} at {:.3f} bits per weight: tensor {} >= {:.1f}, worst row {} >= "
        "{:.1f}, 99.9% of groups within {:.2f}% <= {:.1f}%",
        declined.empty() ? "first" : "first within the rule", q.bitsPerWeight,
        snrText(q.tensorSnr), rule.minSnr, snrText(q.worstRowSnr),
        rule.minSnr - rule.worstRowMargin, 100 * q.groupErrorP999,
        100 * rule.maxGroupError);
  }

public:
  Selector(const AffineWeight &w, const SelectionRule &rule)
      : w(w), rule(rule), moments(momentsOf(w)) {
    for (uint64_t size : {kSampleRows, w.N / 4}) {
      if (w.N < 4 * size || size < kSampleRows)
        continue;
      std::vector<uint64_t> &sample = samples.emplace_back();
      for (uint64_t i = 0; i < size; ++i)
        sample.push_back((2 * i + 1) * w.N / (2 * size));
    }
  }

  Selection finish(Selection s, std::string name, std::string reason) {
    s.weight.fields = w.fields;
    s.quality = measureAll(w, moments, s.weight);
    s.name = std::move(name);
    s.reason = std::move(reason);
    s.declined = std::move(declined);
    return s;
  }

  Selection forced(const Encoding &e, std::string name, std::string reason) {
    Selection s;
    std::vector<RowQuality> figures;
    s.quality = tryRows(e, allRows(), figures, &s.weight);
    if (std::string broken = brokenBound(s.quality, rule); !broken.empty())
      reason += "; outside the rule: " + broken;
    return finish(std::move(s), std::move(name), std::move(reason));
  }

  Result<Selection> automatic(bool lossless);
};

/// "u8/row", "i8/256", "log8", "delta10", "u4", "bf16", "e4m3/row".
std::string shortName(const MetaStorage &m) {
  Encoding e{{4, true}, 32, Form::symmetric, m, {}};
  std::string text = e.str();
  text = text.substr(text.rfind("scale = ") + 8);
  size_t star = text.find(" *");
  if (star == std::string::npos)
    return text;
  std::string code = text.substr(0, star);
  return m.kind == Kind::scaled        ? code + "/row"
         : m.kind != Kind::linear      ? code
         : m.scope == StepScope::block ? code + "/256"
                                       : code + "/row";
}

/// The name people know the encoding by, if it has one.
std::string nameOf(const Encoding &e) {
  for (const char *name : {"row-u8", "block-u8", "bf16", "f16", "f32"})
    if (auto named = namedEncoding(name, e.codes, e.group, e.form);
        named && *named == e)
      return name;
  std::string name = shortName(e.scale);
  if (e.offset.kind != Kind::none)
    name += "+" + shortName(e.offset);
  return name;
}

Result<Selection> Selector::automatic(bool lossless) {
  Source source = describe(w);
  std::optional<Selection> s;
  if (lossless) {
    s = walk(losslessCandidates(source), true);
  } else {
    bool gridded = source.grid || source.form == Form::symmetric;
    MetaStorage offset = source.grid.value_or(MetaStorage{});
    if (gridded) {
      s = walk(exactCandidates(source, offset), true);
      if (!s)
        s = walk(scaleLadder(source, offset), false);
    } else {
      s = walk(affineLadder(source), false);
    }
  }
  if (!s) {
    // Plain f32 metadata of the source's own form is exact: only a rule that
    // nothing can satisfy leads here.
    return error(fmt::format("no encoding keeps the rule (tensor SNR >= {} dB, "
                             "group error <= {}); lower the bounds",
                             rule.minSnr, rule.maxGroupError));
  }
  std::string reason = keptBounds(s->quality);
  if (!lossless && s->weight.encoding.scale.kind == Kind::plain)
    reason = "no coded metadata keeps the rule; left as floats, " + reason;
  std::string name = nameOf(s->weight.encoding);
  return finish(std::move(*s), std::move(name), std::move(reason));
}

/// A name gives the storages; where the values have signs that its codes lack,
/// the nearest relative that has them is used.
Result<Encoding> suited(std::string_view name, const AffineWeight &w,
                        std::string &reason) {
  auto e = namedEncoding(name, w.codes, w.group, w.form);
  if (!e || e->scale.kind == Kind::plain)
    return e;
  Source s = describe(w);
  if (s.negativeScales && !e->scale.isSigned) {
    e->scale.isSigned = true;
    reason += "; scales of both signs: signed scale codes";
  }
  if (s.negativeOffsets && !e->offset.isSigned && w.form != Form::symmetric) {
    if (w.form == Form::zero) {
      e->form = Form::centred;
      reason += "; negative zeros: centred form";
    } else {
      reason += "; negative mins: signed offset codes";
    }
    e->offset.isSigned = true;
  }
  return e;
}

} // namespace

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

Result<void> qlinear::verifyRuleName(const std::string &name) {
  static const std::vector<std::string> kNames = {
      "auto", "lossless", "row-u8", "block-u8", "bf16", "f16", "f32"};
  if (std::ranges::find(kNames, name) != kNames.end())
    return {};
  if (name.find(',') != std::string::npos) {
    auto spelled = Encoding::parse(name);
    return spelled ? Result<void>() : spelled.takeError();
  }
  return error(fmt::format("unknown encoding '{}'; known are {}, and spellings such as "
                           "'u4, group = 32, zero, scale = bf16, offset = u4'{}",
                           name, fmt::join(kNames, ", "), didYouMean(name, kNames)));
}

Result<Selection> qlinear::select(const AffineWeight &w, const SelectionRule &rule) {
  MetaStorage f32 = MetaStorage::plain(FloatType::f32);
  Encoding own{w.codes, w.group, w.form, f32,
               w.form == Form::symmetric ? MetaStorage{} : f32};
  if (auto r = checkEncodable(w, own); !r)
    return r.takeError();
  if (rule.name == "auto" || rule.name == "lossless")
    return Selector(w, rule).automatic(rule.name == "lossless");

  if (rule.name.find(',') != std::string::npos) {
    auto e = Encoding::parse(rule.name);
    if (!e)
      return e.takeError();
    if (auto r = checkEncodable(w, *e); !r)
      return r.takeError();
    return Selector(w, rule).forced(*e, nameOf(*e), "asked for by spelling");
  }
  std::string reason = "asked for by name";
  auto e = suited(rule.name, w, reason);
  if (!e) {
    if (namedEncoding(rule.name, {4, false}, 32, Form::zero))
      return e.takeError();
    return verifyRuleName(rule.name).takeError();
  }
  return Selector(w, rule).forced(*e, rule.name, reason);
}

/// The metadata of a coded weight must be finite too.
static Result<void> checkFinite(const EncodedWeight &w) {
  const Encoding &e = w.encoding;
  uint64_t G = e.groupsPerRow(w.K);
  std::vector<float> values(G);
  for (auto [what, m, fields, steps] :
       {std::tuple{"scale", &e.scale, &w.scaleFields, &w.scaleSteps},
        std::tuple{"offset", &e.offset, &w.offsetFields, &w.offsetSteps}}) {
    uint64_t constants = constantsPerRow(*m, w.K);
    for (uint64_t n = 0; n < w.N && m->kind != Kind::none; ++n) {
      decodeRow(*m, e.group, fields->data() + n * G, steps->data() + n * constants, G,
                values.data());
      for (uint64_t g = 0; g < G; ++g)
        if (!std::isfinite(values[g]))
          return error(fmt::format(
              "{} is {} at {}; repair or requantize the weight: only finite "
              "metadata can be used",
              what, values[g], groupName(n, g, e.group, w.K)));
    }
  }
  return {};
}

Result<Selection> qlinear::select(const EncodedWeight &native,
                                  const SelectionRule &rule) {
  if (auto r = check(native); !r)
    return r.takeError();
  if (auto r = checkFinite(native); !r)
    return r.takeError();
  std::string name(ggufTypeOf(native.encoding));
  bool gguf = !name.empty();
  if (!gguf)
    name = nameOf(native.encoding);
  // Plain metadata is what there is to be compacted; codes, and floats that are as
  // small, were chosen by someone.
  const MetaStorage &scale = native.encoding.scale;
  bool plain = scale.kind == MetaStorage::Kind::plain && byteWidth(scale.type) > 1;
  bool keep = (rule.name == "auto" || rule.name == "lossless") && (gguf || !plain);
  if (rule.name.find(',') != std::string::npos)
    if (auto e = Encoding::parse(rule.name))
      keep = *e == native.encoding;
  if (keep) {
    Selection s;
    s.weight = native;
    s.quality.tensorSnr = s.quality.worstRowSnr = s.quality.coherentSnr = INFINITY;
    s.quality.bitsPerWeight =
        layoutOf(native.encoding, native.N, native.K).bitsPerWeight();
    s.name = name;
    s.reason = "the source's own coding, kept bit for bit";
    return s;
  }
  auto exact = decode(native);
  if (!exact)
    return exact.takeError();
  return select(*exact, rule);
}
