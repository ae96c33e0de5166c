//===- Reference.cpp - What a compiled function means, in float64 ---------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Reference.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <functional>
#include <numeric>

using namespace qlinear;
using namespace qlinear::run;
using nlohmann::json;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

Result<const AffineWeight *> Weights::get(size_t index) {
  if (auto it = unpacked.find(index); it != unpacked.end())
    return &it->second;
  const json &entries = manifest.at("weights");
  if (index >= entries.size())
    return error(
        fmt::format("the reference names weight {} of {}", index, entries.size()));
  Result<std::span<const std::byte>> bytes = blob(index);
  if (!bytes)
    return bytes.takeError();
  const json &entry = entries[index];
  std::string name = entry.at("name");
  Result<Encoding> encoding = Encoding::parse(entry.at("encoding").get<std::string>());
  if (!encoding)
    return error(fmt::format("weight '{}': {}", name, encoding.error()));
  Result<EncodedWeight> coded = unpack(*encoding, entry.at("n"), entry.at("k"), *bytes);
  if (!coded)
    return error(fmt::format("weight '{}': {}", name, coded.error()));
  Result<AffineWeight> exact = decode(*coded);
  if (!exact)
    return error(fmt::format("weight '{}': {}", name, exact.error()));
  return &unpacked.emplace(index, std::move(*exact)).first->second;
}

//===----------------------------------------------------------------------===//
// Scalar operations
//===----------------------------------------------------------------------===//

namespace {

using Unary = double (*)(double);
using Binary = double (*)(double, double);

const std::map<std::string, Unary> kUnary = {
    {"arith.negf", [](double a) { return -a; }},
    {"arith.extf", [](double a) { return a; }},
    {"arith.truncf", [](double a) { return a; }},
    {"math.absf", [](double a) { return std::fabs(a); }},
    {"math.exp", [](double a) { return std::exp(a); }},
    {"math.exp2", [](double a) { return std::exp2(a); }},
    {"math.expm1", [](double a) { return std::expm1(a); }},
    {"math.log", [](double a) { return std::log(a); }},
    {"math.log2", [](double a) { return std::log2(a); }},
    {"math.log1p", [](double a) { return std::log1p(a); }},
    {"math.sqrt", [](double a) { return std::sqrt(a); }},
    {"math.rsqrt", [](double a) { return 1 / std::sqrt(a); }},
    {"math.tanh", [](double a) { return std::tanh(a); }},
    {"math.erf", [](double a) { return std::erf(a); }},
    {"math.sin", [](double a) { return std::sin(a); }},
    {"math.cos", [](double a) { return std::cos(a); }},
    {"math.floor", [](double a) { return std::floor(a); }},
    {"math.ceil", [](double a) { return std::ceil(a); }},
    {"math.roundeven", [](double a) { return std::nearbyint(a); }},
};
const std::map<std::string, Binary> kBinary = {
    {"arith.addf", [](double a, double b) { return a + b; }},
    {"arith.subf", [](double a, double b) { return a - b; }},
    {"arith.mulf", [](double a, double b) { return a * b; }},
    {"arith.divf", [](double a, double b) { return a / b; }},
    {"arith.remf", [](double a, double b) { return std::fmod(a, b); }},
    // maximumf and minimumf keep a NaN, maxnumf and minnumf drop it.
    {"arith.maximumf",
     [](double a, double b) { return a != a || b != b ? NAN : std::fmax(a, b); }},
    {"arith.minimumf",
     [](double a, double b) { return a != a || b != b ? NAN : std::fmin(a, b); }},
    {"arith.maxnumf", [](double a, double b) { return std::fmax(a, b); }},
    {"arith.minnumf", [](double a, double b) { return std::fmin(a, b); }},
    {"math.powf", [](double a, double b) { return std::pow(a, b); }},
};

/// Ordered predicates are false on a NaN, unordered ones true.
bool compare(const std::string &predicate, double a, double b) {
  bool unordered = std::isnan(a) || std::isnan(b);
  if (predicate == "ord" || predicate == "uno")
    return unordered == (predicate == "uno");
  if (unordered)
    return predicate[0] == 'u';
  std::string relation = predicate.substr(1);
  return relation == "eq"   ? a == b
         : relation == "ne" ? a != b
         : relation == "gt" ? a > b
         : relation == "ge" ? a >= b
         : relation == "lt" ? a < b
                            : a <= b;
}

struct Failure {
  std::string message;
};
template <typename... Ts>
[[noreturn]] void failed(fmt::format_string<Ts...> format, Ts &&...args) {
  throw Failure{fmt::format(format, std::forward<Ts>(args)...)};
}

/// One operation of a body, checked against the number of values before it.
std::function<double(const double *)> compileOp(const json &op, size_t known) {
  std::string name = op.at("op");
  if (name == "arith.constant")
    return [value = op.at("value").get<double>()](const double *) { return value; };
  std::vector<size_t> args = op.at("args");
  for (size_t a : args)
    if (a >= known)
      failed("{} uses value {}, but only {} come before it", name, a, known);
  auto needs = [&](size_t count) {
    if (args.size() != count)
      failed("{} has {} arguments, not {}", name, args.size(), count);
  };
  if (auto it = kUnary.find(name); it != kUnary.end()) {
    needs(1);
    return [f = it->second, a = args[0]](const double *v) { return f(v[a]); };
  }
  if (auto it = kBinary.find(name); it != kBinary.end()) {
    needs(2);
    return [f = it->second, a = args[0], b = args[1]](const double *v) {
      return f(v[a], v[b]);
    };
  }
  if (name == "math.fma") {
    needs(3);
    return [=](const double *v) { return v[args[0]] * v[args[1]] + v[args[2]]; };
  }
  if (name == "arith.select") {
    needs(3);
    return [=](const double *v) { return v[args[0]] != 0 ? v[args[1]] : v[args[2]]; };
  }
  if (name == "arith.cmpf") {
    needs(2);
    std::string predicate = op.at("predicate");
    static const std::map<std::string, int> known = {
        {"oeq", 0}, {"ogt", 0}, {"oge", 0}, {"olt", 0}, {"ole", 0},
        {"one", 0}, {"ord", 0}, {"ueq", 0}, {"ugt", 0}, {"uge", 0},
        {"ult", 0}, {"ule", 0}, {"une", 0}, {"uno", 0}};
    if (!known.count(predicate))
      failed("arith.cmpf has the unknown predicate '{}'", predicate);
    return [=](const double *v) {
      return double(compare(predicate, v[args[0]], v[args[1]]));
    };
  }
  failed("the operation '{}' is not one that docs/artifact.md lists", name);
}

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

class Evaluator {
  const json &function;
  std::span<const Array> inputs;
  Weights &weights;
  Quantized quantized;
  bool asBytes;
  std::vector<Matrix> results; ///< rounded to their types, as later ops read them
  std::vector<Matrix> exact;   ///< the same before rounding: what outputs are

public:
  Evaluator(const json &function, std::span<const Array> inputs, Weights &weights,
            Quantized quantized, bool asBytes)
      : function(function), inputs(inputs), weights(weights), quantized(quantized),
        asBytes(asBytes) {}

  std::vector<Matrix> run() {
    const json &reference = function.at("reference");
    for (const json &op : reference.at("ops")) {
      std::string name = op.at("op");
      if (name == "linear")
        linear(op);
      else if (name == "quantize")
        quantizeOp(op);
      else if (name == "grouped_linear")
        groupedLinear(op);
      else if (name == "combine")
        combine(op);
      else if (name == "norm")
        norm(op);
      else if (name == "embedding")
        embedding(op);
      else if (name == "rotary")
        rotary(op);
      else
        failed("the reference has the unknown op '{}'", name);
    }
    std::vector<Matrix> outputs;
    for (const json &output : reference.at("outputs")) {
      if (output.contains("result"))
        outputs.push_back(exact.at(output.at("result").get<size_t>()));
      else
        outputs.push_back(value(output, 0));
    }
    for (const json &cache : reference.value("caches", json::array()))
      outputs.push_back(exact.at(cache.at("result").get<size_t>()));
    return outputs;
  }

private:
  /// A value as a matrix; `columns` matters for quantized activations.
  Matrix value(const json &v, int64_t columns) {
    if (v.contains("result")) {
      size_t r = v.at("result");
      if (r >= results.size())
        failed("the reference reads result {} of {}", r, results.size());
      return results[r];
    }
    if (v.contains("constant")) {
      Result<Array> constant = weights.constant(v.at("constant"));
      if (!constant)
        failed("{}", constant.error());
      return matrix(*constant);
    }
    size_t i = v.at("input");
    if (i >= inputs.size())
      failed("the reference reads input {} of {}", i, inputs.size());
    const Array &a = inputs[i];
    if (a.dtype == QLR_I8 && columns) {
      int64_t rowBytes =
          int64_t(layout::ActivationLayout{layout::u64(columns)}.bytes());
      if (a.elements() % rowBytes)
        failed("input {} is {} as i8; rows of {} columns have {} bytes", i,
               a.shapeText(), columns, rowBytes);
      return dequantizeActivations(a, columns);
    }
    return matrix(a);
  }

  static Matrix matrix(const Array &a) {
    std::vector<float> floats = a.floats();
    int64_t width = a.shape.empty() ? 1 : a.shape.back();
    return {width ? a.elements() / width : 0, width,
            std::vector<double>(floats.begin(), floats.end())};
  }

  /// By way of f32.
  static double rounded(double v, const std::string &dtype) {
    return dtype == "bf16"  ? bf16ToFloat(floatToBf16(float(v)))
           : dtype == "f16" ? f16ToFloat(floatToF16(float(v)))
                            : double(float(v));
  }

  void addResult(Matrix m, const json &op, size_t index) {
    exact.push_back(m);
    std::string dtype = op.contains("dtypes") ? op.at("dtypes").at(index) : json("f32");
    for (double &v : m.values)
      v = rounded(v, dtype);
    results.push_back(std::move(m));
  }

  static void normalize(std::span<double> v, bool layer, double epsilon) {
    double mean = 0, square = 0;
    if (layer)
      mean = std::accumulate(v.begin(), v.end(), 0.0) / double(v.size());
    for (double x : v)
      square += (x - mean) * (x - mean) / double(v.size());
    for (double &x : v)
      x = (x - mean) / std::sqrt(square + epsilon);
  }

  void norm(const json &op) {
    const json &inputs = op.at("inputs");
    Matrix s = value(inputs.at(0), 0);
    if (inputs.size() > 1) {
      Matrix added = value(inputs.at(1), 0);
      if (added.values.size() != s.values.size())
        failed("a norm of the reference adds {} and {} elements", s.values.size(),
               added.values.size());
      for (size_t i = 0; i < s.values.size(); ++i)
        s.values[i] = rounded(s.values[i] + added.values[i], op.at("dtype"));
    }
    Matrix n = s;
    for (int64_t row = 0; row < s.rows; ++row)
      normalize({n.values.data() + row * s.columns, size_t(s.columns)},
                op.at("kind") == "layer", op.at("epsilon"));
    if (op.contains("yield"))
      body(op, s.rows, {n, s});
    else
      addResult(std::move(n), op, 0);
  }

  void embedding(const json &op) {
    Result<const AffineWeight *> weight = weights.get(op.at("weight"));
    if (!weight)
      failed("{}", weight.error());
    Matrix indices = value(op.at("indices"), 0);
    Matrix m{indices.rows, int64_t((*weight)->K), {}};
    for (double index : indices.values)
      for (int64_t k = 0; k < m.columns; ++k)
        m.values.push_back(index < 0 || index >= double((*weight)->N)
                               ? std::numeric_limits<double>::quiet_NaN()
                               : (*weight)->weight(uint64_t(index), uint64_t(k)));
    addResult(std::move(m), op, 0);
  }

  void rotary(const json &op) {
    const json &inputs = op.at("inputs");
    int64_t head = op.at("head");
    size_t count = op.at("dtypes").size();
    json caches = op.value("caches", json::array());
    size_t plain = count - caches.size();
    size_t norms = inputs.size() - count - 2 - (caches.empty() ? 0 : 1);
    Matrix cos = value(inputs.at(count), 0), sin = value(inputs.at(count + 1), 0);
    size_t rotated = count - op.value("unrotated", size_t(0));
    for (size_t n = 0; n < count; ++n) {
      int64_t half = n < rotated ? cos.columns / 2 : 0;
      Matrix x = value(inputs.at(n), 0), norm{};
      if (n < norms)
        norm = value(inputs.at(count + 2 + n), 0);
      if (x.rows != cos.rows || x.rows != sin.rows || sin.columns != cos.columns)
        failed("rotary embeddings of {} rows have tables of {} and {}", x.rows,
               cos.rows, sin.rows);
      for (int64_t row = 0; row < x.rows; ++row)
        for (int64_t start = 0; start + head <= x.columns; start += head) {
          double *v = x.values.data() + row * x.columns + start;
          const double *c = cos.values.data() + row * cos.columns;
          const double *s = sin.values.data() + row * sin.columns;
          if (!norm.values.empty()) {
            normalize({v, size_t(head)}, /*layer=*/false, op.at("epsilon"));
            for (int64_t i = 0; i < head; ++i)
              v[i] *= norm.values.at(size_t(i)) + op.at("zero_centered").get<bool>();
          }
          for (int64_t i = 0; i < half; ++i) {
            double low = v[i], high = v[i + half];
            v[i] = low * c[i] - high * s[i];
            v[i + half] = high * c[i + half] + low * s[i + half];
          }
        }
      if (n >= plain) {
        // After the norms, if there are any.
        Matrix at = value(inputs.at(inputs.size() - 1), 0);
        x = placed(std::move(x), value(caches.at(n - plain), 0), at);
      }
      addResult(std::move(x), op, n);
    }
  }

  /// The cache with the pieces of x in the rows that `at` names.
  static Matrix placed(Matrix x, Matrix cache, const Matrix &at) {
    if (at.rows != x.rows || at.columns * cache.columns != x.columns)
      failed("{} x {} places are for {} x {} elements and a cache of {} columns",
             at.rows, at.columns, x.rows, x.columns, cache.columns);
    for (size_t piece = 0; piece < at.values.size(); ++piece) {
      double place = at.values[piece];
      if (place < 0 || place >= double(cache.rows))
        continue;
      auto from = x.values.begin() + int64_t(piece) * cache.columns;
      std::copy(from, from + cache.columns,
                cache.values.begin() + int64_t(place) * cache.columns);
    }
    return cache;
  }

  void quantizeOp(const json &op) {
    Matrix x = value(op.at("x"), op.at("k").get<int64_t>());
    Matrix q = quantized != Quantized::nowhere ? quantizedValues(x) : std::move(x);
    exact.push_back(q);
    results.push_back(std::move(q));
  }

  void linear(const json &op) {
    std::vector<const AffineWeight *> ws;
    for (size_t index : op.at("weights").get<std::vector<size_t>>()) {
      Result<const AffineWeight *> w = weights.get(index);
      if (!w)
        failed("{}", w.error());
      ws.push_back(*w);
    }
    if (ws.empty())
      failed("a linear of the reference has no weights");
    int64_t K = int64_t(ws[0]->K);
    Matrix x = value(op.at("x"), K);
    if (quantized == Quantized::asForFewRows && op.value("int8", false))
      x = quantizedValues(x);
    std::vector<Matrix> sums;
    for (const AffineWeight *w : ws) {
      if (x.columns != int64_t(w->K))
        failed(
            "a linear of the reference multiplies {} columns with a weight of K = {}",
            x.columns, w->K);
      sums.push_back(product(x, *w, asBytes));
    }

    if (!op.contains("yield")) {
      for (size_t i = 0; i < sums.size(); ++i)
        addResult(std::move(sums[i]), op, i);
      return;
    }
    for (const Matrix &s : sums)
      if (s.columns != sums[0].columns)
        failed("weights of a linear with a body have {} and {} rows", sums[0].columns,
               s.columns);
    body(op, x.rows, sums);
  }

  void groupedLinear(const json &op) {
    Matrix x = value(op.at("inputs").at(0), 0), ids = value(op.at("inputs").at(1), 0);
    Choices choices{op.at("experts").get<int64_t>(), ids.columns, ids.values};
    size_t first = exact.size();
    std::vector<Matrix> sums;
    for (size_t index : op.at("weights").get<std::vector<size_t>>()) {
      Result<const AffineWeight *> w = weights.get(index);
      if (!w)
        failed("{}", w.error());
      auto K = int64_t((*w)->K);
      if ((x.columns != K && x.columns != K * ids.columns) || ids.rows != x.rows)
        failed("{} x {} ids of experts of K = {} are for {} x {} elements", ids.rows,
               ids.columns, K, x.rows, x.columns);
      if (sums.empty() && quantized == Quantized::asForFewRows &&
          op.at("int8").get<bool>())
        x = quantizedValues(x);
      sums.push_back(groupedProduct(x, choices, **w, asBytes));
    }
    std::vector<Matrix> extras = extrasOf(op);
    for (size_t i = 0; i < extras.size(); ++i)
      extras[i] =
          elementsOfChoices(extras[i], op.at("extra_kinds").at(i).get<std::string>(),
                            choices, sums.at(0).columns / ids.columns);
    if (op.contains("yield"))
      body(op, x.rows, sums, extras);
    else
      for (size_t i = 0; i < sums.size(); ++i)
        addResult(std::move(sums[i]), op, i);
    for (size_t i = first; i < exact.size(); ++i) {
      fillUnknown(exact[i], choices);
      fillUnknown(results[i], choices);
    }
  }

  void combine(const json &op) {
    Matrix x = value(op.at("inputs").at(0), 0),
           scales = value(op.at("inputs").at(1), 0);
    if (scales.rows != x.rows || x.columns % scales.columns)
      failed("{} x {} scales are for {} x {} elements", scales.rows, scales.columns,
             x.rows, x.columns);
    Matrix sum = combined(x, scales);
    if (op.contains("yield"))
      body(op, sum.rows, {sum});
    else
      addResult(std::move(sum), op, 0);
  }

  std::vector<Matrix> extrasOf(const json &op) {
    std::vector<Matrix> extras;
    for (const json &e : op.value("extras", json::array()))
      extras.push_back(value(e, 0));
    return extras;
  }

  void body(const json &op, int64_t rows, const std::vector<Matrix> &sums) {
    body(op, rows, sums, extrasOf(op));
  }

  void body(const json &op, int64_t rows, const std::vector<Matrix> &sums,
            const std::vector<Matrix> &extras) {
    int64_t N = sums[0].columns;
    for (const Matrix &extra : extras) {
      size_t have = extra.values.size();
      if (have != 1 && have != size_t(N) && have != size_t(rows * N))
        failed("an extra has {} elements, neither 1, nor {}, nor {} x {}", have, N,
               rows, N);
    }
    size_t known = sums.size() + extras.size();
    std::vector<std::function<double(const double *)>> ops;
    if (op.contains("body"))
      for (const json &o : op.at("body"))
        ops.push_back(compileOp(o, known + ops.size()));
    std::vector<size_t> yields = op.at("yield");
    for (size_t y : yields)
      if (y >= known + ops.size())
        failed("a body yields value {} of {}", y, known + ops.size());
    std::vector<Matrix> out(yields.size(),
                            {rows, N, std::vector<double>(size_t(rows * N))});
    std::vector<double> v(known + ops.size());
    for (size_t at = 0; at < size_t(rows * N); ++at) {
      size_t i = 0;
      for (const Matrix &s : sums)
        v[i++] = s.values[at];
      for (const Matrix &e : extras)
        v[i++] = e.values[e.values.size() == 1           ? 0
                          : e.values.size() == size_t(N) ? at % size_t(N)
                                                         : at];
      for (auto &o : ops) {
        v[i] = o(v.data());
        ++i;
      }
      for (size_t y = 0; y < yields.size(); ++y)
        out[y].values[at] = v[yields[y]];
    }
    for (size_t y = 0; y < out.size(); ++y)
      addResult(std::move(out[y]), op, y);
  }
};

} // namespace

Result<std::vector<Matrix>> qlinear::run::evaluate(const json &function,
                                                   std::span<const Array> inputs,
                                                   Weights &weights,
                                                   Quantized quantized, bool asBytes) {
  if (!function.contains("reference"))
    return error(fmt::format("function '{}' carries no reference to verify against; "
                             "compile the artifact again",
                             function.value("name", "")));
  try {
    return Evaluator(function, inputs, weights, quantized, asBytes).run();
  } catch (const Failure &f) {
    return error(f.message);
  } catch (const std::exception &e) { // json's, and at()'s
    return error(fmt::format("the reference of function '{}' is malformed: {}",
                             function.value("name", ""), e.what()));
  }
}
