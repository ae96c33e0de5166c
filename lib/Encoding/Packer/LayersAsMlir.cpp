//===- LayersAsMlir.cpp - Layers as a module ------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// As text, since nothing here knows MLIR: the dialect's syntax in this file is what
// users would write by hand.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Layers.h"

#include <algorithm>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <set>
#include <span>

using namespace qlinear;

namespace {

bool isWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         c == '_' || c == '.' || c == '$';
}

std::string quoted(const std::string &text) {
  std::string out = "\"";
  for (char c : text)
    out += c == '"' || c == '\\' || c < ' ' || c == '\x7f'
               ? fmt::format("\\{:02X}", static_cast<unsigned char>(c))
               : std::string(1, c);
  return out + "\"";
}

std::string symbol(const std::string &name) {
  bool isBare = !name.empty() && std::ranges::all_of(name, isWord) &&
                !(name[0] >= '0' && name[0] <= '9') && name[0] != '.' && name[0] != '$';
  return "@" + (isBare ? name : quoted(name));
}

/// The lines of an epilogue, on scalars of f32.
class Epilogue {
public:
  explicit Epilogue(std::string dtype) : dtype(std::move(dtype)) {}

  std::string add(const std::string &operation) {
    std::string value = fmt::format("%{}", count++);
    text += fmt::format("    {} = {}\n", value, operation);
    return value;
  }
  std::string constant(const std::string &number) {
    return add(fmt::format("arith.constant {} : f32", number));
  }
  std::string binary(const char *op, const std::string &a, const std::string &b) {
    return add(fmt::format("{} {}, {} : f32", op, a, b));
  }
  std::string unary(const char *op, const std::string &a) {
    return add(fmt::format("{} {} : f32", op, a));
  }
  std::string extend(const std::string &x, const std::string &type) {
    return type == "f32" ? x : add(fmt::format("arith.extf {} : {} to f32", x, type));
  }
  std::string activate(GateActivation gate, const std::string &x) {
    std::string one = constant("1.0");
    if (gate == GateActivation::silu) { // x / (1 + exp(-x))
      std::string e = unary("math.exp", unary("arith.negf", x));
      return binary("arith.divf", x, binary("arith.addf", e, one));
    }
    // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
    std::string cube = binary("arith.mulf", binary("arith.mulf", x, x), x);
    std::string inner =
        binary("arith.addf", x, binary("arith.mulf", cube, constant("0.044715")));
    std::string t =
        unary("math.tanh", binary("arith.mulf", inner, constant("0.7978845608028654")));
    std::string half = binary("arith.mulf", x, constant("0.5"));
    return binary("arith.mulf", half, binary("arith.addf", t, one));
  }
  std::string finish(std::string value) {
    if (dtype != "f32")
      value = add(fmt::format("arith.truncf {} : f32 to {}", value, dtype));
    return text + fmt::format("    qlinear.yield {} : {}\n  }}\n", value, dtype);
  }

private:
  std::string dtype, text;
  int count = 0;
};

class Writer {
public:
  Writer(const std::vector<Layer> &layers, std::string dtype)
      : layers(layers), dtype(std::move(dtype)) {}

  std::string run(const std::string &source) {
    std::string functions;
    for (const Layer &layer : layers)
      functions += function(layer);
    return fmt::format("// The linear layers of {}.\n\n{}{}", oneLine(source),
                       aliasText, functions);
  }

private:
  static std::string oneLine(std::string text) {
    std::ranges::replace_if(text, [](char c) { return c >= 0 && c < ' '; }, '?');
    return text;
  }
  std::string rows(uint64_t columns) const {
    return fmt::format("tensor<?x{}x{}>", columns, dtype);
  }
  /// #u4_32 of the first encoding of these codes and groups, #u4_32_2 of the next.
  std::string alias(const Encoding &encoding) {
    std::string spelling = encoding.str();
    auto [at, isNew] = aliases.try_emplace(spelling);
    if (isNew) {
      std::string name =
          fmt::format("{}_{}", encoding.codes.str(),
                      encoding.group == kWholeRow ? std::string("row")
                                                  : std::to_string(encoding.group));
      int count = ++aliasCounts[name];
      at->second =
          fmt::format("#{}{}", name, count > 1 ? fmt::format("_{}", count) : "");
      aliasText += fmt::format("{} = #qlinear.encoding<{}>\n", at->second, spelling);
    }
    return at->second;
  }

  /// A weight as operations refer to it, with its bias.
  struct Operand {
    std::string value, type, bias, biasElement;
    uint64_t N;

    std::string biasType() const {
      return fmt::format("tensor<{}x{}>", N, biasElement);
    }
  };

  /// Declares a weight; `body` loads it.
  Operand load(const LayerWeight &w, size_t number, std::string &body) {
    // A dot keeps it apart from the functions, whose names are identifiers of C.
    std::string name = w.name.ends_with(".weight") ? w.name : w.name + ".weight";
    while (!parameters.insert(name).second)
      name += ".weight";
    Operand out{fmt::format("%w{}", number),
                fmt::format("!qlinear.weight<{}x{}, {}>", w.N, w.K, alias(w.encoding)),
                w.bias.empty() ? "" : fmt::format("%b{}", number),
                mlirFloatType(w.biasType), w.N};
    declarations += fmt::format("qlinear.parameter {} : {} from {}\n", symbol(name),
                                out.type, quoted(w.name));
    body +=
        fmt::format("  {} = qlinear.load {} : {}\n", out.value, symbol(name), out.type);
    return out;
  }

  std::string function(const Layer &layer) {
    declarations = "\n";
    std::string x = rows(layer.weights[0].K), signature = "%x: " + x, body;
    std::vector<Operand> operands;
    for (const LayerWeight &w : layer.weights) {
      operands.push_back(load(w, operands.size(), body));
      if (const Operand &o = operands.back(); !o.bias.empty())
        signature += fmt::format(", {}: {}", o.bias, o.biasType());
    }
    std::vector<std::string> values, types;
    bool hasBias =
        std::ranges::any_of(operands, [](auto &o) { return !o.bias.empty(); });
    // An epilogue is for one N: without a gate, it is one linear for each weight.
    size_t each = hasBias && !layer.gate ? 1 : operands.size();
    for (size_t i = 0; i < operands.size(); i += each)
      body += linear(layer, x, std::span(operands).subspan(i, each), values, types);
    return fmt::format("{}func.func @{}({}) -> {} {{\n{}  return {} : {}\n}}\n",
                       declarations, layer.name, signature, inParentheses(types), body,
                       fmt::join(values, ", "), fmt::join(types, ", "));
  }

  static std::string inParentheses(std::span<const std::string> types) {
    return types.size() == 1 ? types[0] : fmt::format("({})", fmt::join(types, ", "));
  }

  /// Adds the results to `values` and `types`.
  std::string linear(const Layer &layer, const std::string &x,
                     std::span<const Operand> operands,
                     std::vector<std::string> &values,
                     std::vector<std::string> &types) {
    Epilogue epilogue(dtype);
    std::vector<std::string> weights, inputs{x}, arguments, products, extras;
    for (const Operand &o : operands) {
      weights.push_back(o.value);
      inputs.push_back(o.type);
      products.push_back(fmt::format("%p{}", products.size()));
      arguments.push_back(products.back() + ": f32");
    }
    for (size_t i = 0; i < operands.size(); ++i) {
      const Operand &o = operands[i];
      if (o.bias.empty())
        continue;
      std::string element = fmt::format("%e{}", i);
      extras.push_back(o.bias);
      inputs.push_back(o.biasType());
      arguments.push_back(fmt::format("{}: {}", element, o.biasElement));
      products[i] = epilogue.binary("arith.addf", products[i],
                                    epilogue.extend(element, o.biasElement));
    }
    size_t first = values.size();
    for (const Operand &o : layer.gate ? operands.first(1) : operands) {
      values.push_back(fmt::format("%y{}", values.size()));
      types.push_back(rows(o.N));
    }
    std::string text = fmt::format(
        "  {} = qlinear.linear %x, {}{}\n      : ({})\n        -> {}",
        fmt::join(std::span(values).subspan(first), ", "), fmt::join(weights, ", "),
        extras.empty() ? "" : fmt::format(" extras({})", fmt::join(extras, ", ")),
        fmt::join(inputs, ", "), inParentheses(std::span(types).subspan(first)));
    if (!layer.gate && extras.empty())
      return text + "\n";
    std::string value = products[0];
    if (layer.gate)
      value = epilogue.binary("arith.mulf", epilogue.activate(*layer.gate, value),
                              products[1]);
    return fmt::format("{} {{\n  ^bb0({}):\n{}", text, fmt::join(arguments, ", "),
                       epilogue.finish(value));
  }

  const std::vector<Layer> &layers;
  std::string dtype, aliasText, declarations;
  std::map<std::string, std::string> aliases; ///< by spelling
  std::map<std::string, int> aliasCounts;
  std::set<std::string> parameters;
};

} // namespace

std::string qlinear::mlirFloatType(const std::string &type) {
  return type == "F32" ? "f32" : type == "F16" ? "f16" : type == "BF16" ? "bf16" : "";
}

std::string qlinear::layersAsMlir(const std::vector<Layer> &layers,
                                  const std::string &dtype, const std::string &source) {
  return Writer(layers, dtype).run(source);
}
