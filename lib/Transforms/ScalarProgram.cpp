//===- ScalarProgram.cpp - Scalar code on many elements -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ScalarProgram.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>
#include <cstring>

using namespace mlir;
using namespace mlir::qlinear;

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

/// Bits of an integer or a float; an index has 64.
static unsigned bitsOf(Type type) {
  return isa<IndexType>(type) ? 64 : type.getIntOrFloatBitWidth();
}
static Type elementOf(Value value) { return getElementTypeOrSelf(value.getType()); }
static uint64_t maskOf(unsigned bits) {
  return bits >= 64 ? ~uint64_t(0) : (uint64_t(1) << bits) - 1;
}
static int64_t signExtend(uint64_t value, unsigned bits) {
  return llvm::SignExtend64(value, bits);
}

bool mlir::qlinear::isComputable(Type type) {
  if (auto integer = dyn_cast<IntegerType>(type))
    return integer.getWidth() <= 64;
  return isa<IndexType, Float64Type, Float32Type, Float16Type, BFloat16Type>(type);
}
bool mlir::qlinear::isLoadable(Type type) {
  return isComputable(type) ||
         (isa<FloatType>(type) && type.getIntOrFloatBitWidth() <= 8);
}

//===----------------------------------------------------------------------===//
// Floats
//===----------------------------------------------------------------------===//

/// To the nearest float of `precision` bits and exponents from `least` to `most`, to
/// even when halfway.
template <int precision, int least, int most> static double roundTo(double value) {
  if (!std::isfinite(value) || value == 0)
    return value;
  int unit = std::max(std::ilogb(value), least) - (precision - 1);
  double rounded = std::ldexp(std::nearbyint(std::ldexp(value, -unit)), unit);
  return std::fabs(rounded) < std::ldexp(1.0, most + 1)
             ? rounded
             : std::copysign(INFINITY, value);
}

/// The bits of such a float, which has 16 of them.
template <int precision, int least, int most> static uint16_t encode(double value) {
  unsigned sign = unsigned(std::signbit(value)) << 15;
  unsigned top = unsigned(most - least + 2) << (precision - 1);
  double size = std::fabs(value);
  if (std::isnan(value))
    return uint16_t(sign | top | (1u << (precision - 2)));
  if (std::isinf(value))
    return uint16_t(sign | top);
  if (size < std::ldexp(1.0, least))
    return uint16_t(sign | unsigned(std::ldexp(size, precision - 1 - least)));
  int exponent = std::ilogb(size);
  unsigned mantissa = unsigned(std::ldexp(size, precision - 1 - exponent));
  return uint16_t(sign | ((unsigned(exponent - least) << (precision - 1)) + mantissa));
}

/// All values of a float of at most 16 bits.
static std::vector<double> tableOf(const llvm::fltSemantics &semantics) {
  unsigned bits = APFloat::semanticsSizeInBits(semantics);
  std::vector<double> table(size_t(1) << bits);
  for (size_t i = 0; i < table.size(); ++i) {
    APFloat value(semantics, APInt(bits, i));
    bool losesInfo;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &losesInfo);
    table[i] = value.convertToDouble();
  }
  return table;
}

using Rounding = double (*)(double);

/// How results of a type are rounded.
static Rounding roundingOf(Type type) {
  if (type.isF32())
    return [](double value) { return double(float(value)); };
  if (type.isF16())
    return roundTo<11, -14, 15>;
  if (type.isBF16())
    return roundTo<8, -126, 127>;
  return [](double value) { return value; };
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

template <typename T, typename Convert>
static void loadAs(const Elements &from, const int64_t *offsets, size_t begin,
                   size_t count, Lanes &to, Convert convert) {
  auto read = [&](size_t at) {
    T raw;
    std::memcpy(&raw, from.data.data() + at * sizeof(T), sizeof(T));
    return raw;
  };
  if (from.isSplat()) {
    Lane lane;
    convert(lane, read(0));
    std::fill_n(to.begin(), count, lane);
  } else if (offsets) {
    for (size_t i = 0; i < count; ++i)
      convert(to[i], read(size_t(offsets[i])));
  } else {
    for (size_t i = 0; i < count; ++i)
      convert(to[i], read(begin + i));
  }
}

void mlir::qlinear::load(const Elements &from, const int64_t *offsets, size_t begin,
                         size_t count, Lanes &to) {
  Type type = from.type.getElementType();
  auto as = [&](auto raw, auto convert) {
    loadAs<decltype(raw)>(from, offsets, begin, count, to, convert);
  };
  if (type.isF64())
    return as(double(), [](Lane &lane, double raw) { lane.number = raw; });
  if (type.isF32())
    return as(float(), [](Lane &lane, float raw) { lane.number = raw; });
  if (type.isBF16())
    return as(uint16_t(), [](Lane &lane, uint16_t raw) {
      lane.number = llvm::bit_cast<float>(uint32_t(raw) << 16);
    });
  if (type.isF16()) {
    static const std::vector<double> table = tableOf(APFloat::IEEEhalf());
    return as(uint16_t(), [](Lane &lane, uint16_t raw) { lane.number = table[raw]; });
  }
  if (auto tiny = dyn_cast<mlir::FloatType>(type)) {
    std::vector<double> table = tableOf(tiny.getFloatSemantics());
    return as(uint8_t(), [&](Lane &lane, uint8_t raw) {
      lane.number = table[raw & (table.size() - 1)];
    });
  }
  auto keep = [](Lane &lane, uint64_t raw) { lane.bits = raw; };
  switch (from.width()) {
  case 1:
    return as(uint8_t(), keep);
  case 2:
    return as(uint16_t(), keep);
  case 4:
    return as(uint32_t(), keep);
  default:
    return as(uint64_t(), keep);
  }
}

template <typename T, typename Convert>
static void storeAs(const Lanes &from, size_t begin, size_t count, Elements &to,
                    Convert convert) {
  for (size_t i = 0; i < count; ++i) {
    T raw = T(convert(from[i]));
    std::memcpy(to.bytes() + (begin + i) * sizeof(T), &raw, sizeof(T));
  }
}

void mlir::qlinear::store(const Lanes &from, size_t begin, size_t count, Elements &to) {
  Type type = to.type.getElementType();
  auto number = [](Lane lane) { return lane.number; };
  auto bits = [](Lane lane) { return lane.bits; };
  if (type.isF64())
    return storeAs<double>(from, begin, count, to, number);
  if (type.isF32())
    return storeAs<float>(from, begin, count, to, number);
  if (type.isBF16())
    return storeAs<uint16_t>(from, begin, count, to, [](Lane lane) {
      return encode<8, -126, 127>(lane.number);
    });
  if (type.isF16())
    return storeAs<uint16_t>(from, begin, count, to, [](Lane lane) {
      return encode<11, -14, 15>(lane.number);
    });
  switch (to.width()) {
  case 1:
    return storeAs<uint8_t>(from, begin, count, to, bits);
  case 2:
    return storeAs<uint16_t>(from, begin, count, to, bits);
  case 4:
    return storeAs<uint32_t>(from, begin, count, to, bits);
  default:
    return storeAs<uint64_t>(from, begin, count, to, bits);
  }
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

Lanes &ScalarProgram::lanesOf(Value value) {
  Lanes *&slot = slots[value];
  if (!slot)
    slot = &storage.emplace_back(kLanes);
  return *slot;
}

Lanes *ScalarProgram::operandOf(Value value) {
  if (Lanes *slot = slots.lookup(value))
    return slot;
  Attribute attribute;
  if (!isComputable(elementOf(value)) || !matchPattern(value, m_Constant(&attribute)))
    return nullptr;
  Lane lane;
  if (auto number = dyn_cast<FloatAttr>(attribute)) {
    APFloat wide = number.getValue();
    bool losesInfo;
    wide.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &losesInfo);
    lane.number = wide.convertToDouble();
  } else if (auto integer = dyn_cast<IntegerAttr>(attribute)) {
    lane.bits = integer.getValue().getZExtValue();
  } else {
    return nullptr;
  }
  Lanes &slot = lanesOf(value);
  std::fill(slot.begin(), slot.end(), lane);
  return &slot;
}

/// `function` sets a lane from one; false where the result is undefined.
template <typename Function>
bool ScalarProgram::unary(Value a, Value result, Function function) {
  Lanes *from = operandOf(a), *to = &lanesOf(result);
  if (!from)
    return false;
  steps.push_back([=](const Context &context) {
    bool isDefined = true;
    for (size_t i = 0; i < context.count; ++i)
      isDefined &= function((*to)[i], (*from)[i]);
    return isDefined;
  });
  return true;
}

/// `function` sets a lane from two; false where the result is undefined.
template <typename Function>
bool ScalarProgram::binary(ValueRange operands, Value result, Function function) {
  Lanes *a = operandOf(operands[0]), *b = operandOf(operands[1]),
        *to = &lanesOf(result);
  if (!a || !b)
    return false;
  steps.push_back([=](const Context &context) {
    bool isDefined = true;
    for (size_t i = 0; i < context.count; ++i)
      isDefined &= function((*to)[i], (*a)[i], (*b)[i]);
    return isDefined;
  });
  return true;
}

bool ScalarProgram::addInteger(Operation *op, ValueRange operands, Value result) {
  unsigned width = bitsOf(elementOf(operands[0]));
  uint64_t mask = maskOf(width);
  // Of bits, which are cut to the width.
  auto plain = [&](auto function) {
    return binary(operands, result, [=](Lane &to, Lane a, Lane b) {
      to.bits = function(a.bits, b.bits) & mask;
      return true;
    });
  };
  auto asSigned = [&](auto function) {
    return binary(operands, result, [=](Lane &to, Lane a, Lane b) {
      int64_t value = 0;
      bool isDefined =
          function(value, signExtend(a.bits, width), signExtend(b.bits, width));
      to.bits = uint64_t(value) & mask;
      return isDefined;
    });
  };
  auto divide = [&](auto function) {
    return asSigned([=](int64_t &to, int64_t a, int64_t b) {
      if (b == 0 || (b == -1 && a == llvm::minIntN(width)))
        return false;
      to = function(a, b);
      return true;
    });
  };
  auto choose = [&](auto function) {
    return asSigned([=](int64_t &to, int64_t a, int64_t b) {
      to = function(a, b);
      return true;
    });
  };
  auto shift = [&](auto function) {
    return binary(operands, result, [=](Lane &to, Lane a, Lane by) {
      to.bits = function(a.bits, unsigned(by.bits % 64)) & mask;
      return by.bits < width;
    });
  };
  using U = uint64_t;
  using S = int64_t;
  return TypeSwitch<Operation *, bool>(op)
      .Case([&](arith::AddIOp) { return plain([](U a, U b) { return a + b; }); })
      .Case([&](arith::SubIOp) { return plain([](U a, U b) { return a - b; }); })
      .Case([&](arith::MulIOp) { return plain([](U a, U b) { return a * b; }); })
      .Case([&](arith::AndIOp) { return plain([](U a, U b) { return a & b; }); })
      .Case([&](arith::OrIOp) { return plain([](U a, U b) { return a | b; }); })
      .Case([&](arith::XOrIOp) { return plain([](U a, U b) { return a ^ b; }); })
      .Case([&](arith::MinUIOp) {
        return plain([](U a, U b) { return std::min(a, b); });
      })
      .Case([&](arith::MaxUIOp) {
        return plain([](U a, U b) { return std::max(a, b); });
      })
      .Case([&](arith::MinSIOp) {
        return choose([](S a, S b) { return std::min(a, b); });
      })
      .Case([&](arith::MaxSIOp) {
        return choose([](S a, S b) { return std::max(a, b); });
      })
      .Case([&](arith::ShLIOp) {
        return shift([](U a, unsigned by) { return a << by; });
      })
      .Case([&](arith::ShRUIOp) {
        return shift([](U a, unsigned by) { return a >> by; });
      })
      .Case([&](arith::ShRSIOp) {
        return shift(
            [=](U a, unsigned by) { return uint64_t(signExtend(a, width) >> by); });
      })
      .Case([&](arith::DivSIOp) { return divide([](S a, S b) { return a / b; }); })
      .Case([&](arith::RemSIOp) { return divide([](S a, S b) { return a % b; }); })
      .Case([&](arith::FloorDivSIOp) {
        return divide([](S a, S b) { return a / b - (a % b && (a < 0) != (b < 0)); });
      })
      .Case<arith::DivUIOp, arith::RemUIOp>([&](Operation *divided) {
        bool isRest = isa<arith::RemUIOp>(divided);
        return binary(operands, result, [=](Lane &to, Lane a, Lane b) {
          if (b.bits)
            to.bits = isRest ? a.bits % b.bits : a.bits / b.bits;
          return b.bits != 0;
        });
      })
      .Case([&](arith::CmpIOp compare) {
        arith::CmpIPredicate predicate = compare.getPredicate();
        return binary(operands, result, [=](Lane &to, Lane a, Lane b) {
          to.bits = arith::applyCmpPredicate(predicate, APInt(width, a.bits),
                                             APInt(width, b.bits));
          return true;
        });
      })
      .Default(false);
}

bool ScalarProgram::addFloat(Operation *op, ValueRange operands, Value result) {
  Rounding round = roundingOf(elementOf(result));
  using D = double;
  auto of1 = [&](auto function) {
    return unary(operands[0], result, [=](Lane &to, Lane a) {
      to.number = round(function(a.number));
      return true;
    });
  };
  auto of2 = [&](auto function) {
    return binary(operands, result, [=](Lane &to, Lane a, Lane b) {
      to.number = round(function(a.number, b.number));
      return true;
    });
  };
  return TypeSwitch<Operation *, bool>(op)
      .Case([&](arith::AddFOp) { return of2([](D a, D b) { return a + b; }); })
      .Case([&](arith::SubFOp) { return of2([](D a, D b) { return a - b; }); })
      .Case([&](arith::MulFOp) { return of2([](D a, D b) { return a * b; }); })
      .Case([&](arith::DivFOp) { return of2([](D a, D b) { return a / b; }); })
      .Case<arith::MaximumFOp, arith::MinimumFOp>([&](Operation *chosen) {
        bool isMost = isa<arith::MaximumFOp>(chosen);
        return of2([=](D a, D b) {
          if (std::isnan(a) || std::isnan(b))
            return double(NAN);
          if (a == b) // the zeros differ
            return std::signbit(a) == isMost ? b : a;
          return (a > b) == isMost ? a : b;
        });
      })
      .Case([&](arith::MaxNumFOp) {
        return of2([](D a, D b) { return std::fmax(a, b); });
      })
      .Case([&](arith::MinNumFOp) {
        return of2([](D a, D b) { return std::fmin(a, b); });
      })
      .Case([&](arith::NegFOp) { return of1([](D a) { return -a; }); })
      .Case([&](math::AbsFOp) { return of1([](D a) { return std::fabs(a); }); })
      .Case([&](math::FloorOp) { return of1([](D a) { return std::floor(a); }); })
      .Case([&](math::CeilOp) { return of1([](D a) { return std::ceil(a); }); })
      .Case([&](math::TruncOp) { return of1([](D a) { return std::trunc(a); }); })
      .Case([&](math::RoundOp) { return of1([](D a) { return std::round(a); }); })
      .Case(
          [&](math::RoundEvenOp) { return of1([](D a) { return std::nearbyint(a); }); })
      .Case([&](math::SqrtOp) { return of1([](D a) { return std::sqrt(a); }); })
      .Case([&](arith::CmpFOp compare) {
        arith::CmpFPredicate predicate = compare.getPredicate();
        return binary(operands, result, [=](Lane &to, Lane a, Lane b) {
          to.bits =
              arith::applyCmpPredicate(predicate, APFloat(a.number), APFloat(b.number));
          return true;
        });
      })
      .Default(false);
}

bool ScalarProgram::addConversion(Operation *op, ValueRange operands, Value result) {
  Type from = elementOf(operands[0]), to = elementOf(result);
  unsigned width = bitsOf(from);
  uint64_t mask = maskOf(bitsOf(to));
  auto keep = [&] {
    return unary(operands[0], result, [=](Lane &to, Lane a) {
      to = a;
      return true;
    });
  };
  auto integer = [&](bool isSigned) {
    return unary(operands[0], result, [=](Lane &to, Lane a) {
      to.bits = (isSigned ? uint64_t(signExtend(a.bits, width)) : a.bits) & mask;
      return true;
    });
  };
  Rounding round = roundingOf(to);
  // Integers beyond 53 bits would be rounded twice.
  constexpr double exact = double(int64_t(1) << 53);
  auto toInteger = [&](double least, double most) {
    return unary(operands[0], result, [=](Lane &to, Lane a) {
      double value = std::trunc(a.number);
      if (!(value >= least && value <= most))
        return false; // also a NaN
      to.bits = (value < 0 ? uint64_t(int64_t(value)) : uint64_t(value)) & mask;
      return true;
    });
  };
  return TypeSwitch<Operation *, bool>(op)
      .Case<arith::ExtFOp>([&](Operation *) { return keep(); })
      .Case([&](arith::TruncFOp truncation) {
        auto mode =
            truncation.getRoundingmode().value_or(arith::RoundingMode::to_nearest_even);
        if (mode != arith::RoundingMode::to_nearest_even)
          return false;
        return unary(operands[0], result, [=](Lane &to, Lane a) {
          to.number = round(a.number);
          return true;
        });
      })
      .Case<arith::ExtSIOp, arith::IndexCastOp>(
          [&](Operation *) { return integer(true); })
      .Case<arith::ExtUIOp, arith::TruncIOp, arith::IndexCastUIOp>(
          [&](Operation *) { return integer(false); })
      .Case([&](arith::SIToFPOp) {
        return unary(operands[0], result, [=](Lane &to, Lane a) {
          double value = double(signExtend(a.bits, width));
          to.number = round(value);
          return std::fabs(value) <= exact;
        });
      })
      .Case([&](arith::UIToFPOp) {
        return unary(operands[0], result, [=](Lane &to, Lane a) {
          to.number = round(double(a.bits));
          return a.bits <= uint64_t(1) << 53;
        });
      })
      .Case([&](arith::FPToSIOp) {
        unsigned bits = std::min(bitsOf(to), 54u);
        return toInteger(-std::ldexp(1.0, bits - 1), std::ldexp(1.0, bits - 1) - 1);
      })
      .Case([&](arith::FPToUIOp) {
        return toInteger(0, std::ldexp(1.0, std::min(bitsOf(to), 53u)) - 1);
      })
      .Case([&](arith::BitcastOp) {
        // Between types of integers there is nothing to do.
        return !isa<FloatType>(from) && !isa<FloatType>(to) && keep();
      })
      .Default(false);
}

/// The most lanes of an operation that is folded lane by lane, by its own folder.
static constexpr size_t kMaxFolded = 1 << 16;

/// Any other pure operation that can fold constants, such as math.exp.
bool ScalarProgram::addFolded(Operation *op, ValueRange operands, Value result) {
  SmallVector<Lanes *> from;
  for (Value operand : operands)
    from.push_back(operandOf(operand));
  if (llvm::is_contained(from, nullptr) || op->getNumRegions() || !isPure(op))
    return false;
  SmallVector<Type> types;
  for (Value operand : operands)
    types.push_back(elementOf(operand));
  Type type = elementOf(result);
  Lanes *to = &lanesOf(result);
  if (isa<ShapedType>(result.getType()))
    return false; // folds to a tensor
  auto folded = std::make_shared<size_t>(0);
  steps.push_back([=](const Context &context) {
    if ((*folded += context.count) > kMaxFolded)
      return false;
    for (size_t i = 0; i < context.count; ++i) {
      SmallVector<Attribute> constants;
      for (auto [lanes, type] : llvm::zip_equal(from, types)) {
        Lane lane = (*lanes)[i];
        if (auto kind = dyn_cast<FloatType>(type))
          constants.push_back(FloatAttr::get(kind, lane.number));
        else
          constants.push_back(IntegerAttr::get(
              type, APInt(bitsOf(type), lane.bits, /*isSigned=*/false)));
      }
      SmallVector<OpFoldResult> results;
      if (failed(op->fold(constants, results)) || results.size() != 1)
        return false;
      auto attribute = dyn_cast<Attribute>(results.front());
      if (auto number = dyn_cast_or_null<FloatAttr>(attribute);
          number && isa<FloatType>(type))
        (*to)[i].number = number.getValueAsDouble();
      else if (auto integer = dyn_cast_or_null<IntegerAttr>(attribute);
               integer && !isa<FloatType>(type))
        (*to)[i].bits = integer.getValue().getZExtValue();
      else
        return false;
    }
    return true;
  });
  return true;
}

bool ScalarProgram::add(Operation *op, ValueRange operands, Value result) {
  if (auto index = dyn_cast<linalg::IndexOp>(op)) {
    usesIndices = true;
    size_t dim = index.getDim();
    Lanes *to = &lanesOf(result);
    steps.push_back([=](const Context &context) {
      for (size_t i = 0; i < context.count; ++i)
        (*to)[i].bits = uint64_t(context.loops[dim][i]);
      return true;
    });
    return true;
  }
  for (Value operand : operands)
    if (!isLoadable(elementOf(operand)))
      return false;
  if (operands.empty() || !isComputable(elementOf(result)))
    return false;
  if (isa<arith::SelectOp>(op)) {
    Lanes *condition = operandOf(operands[0]), *a = operandOf(operands[1]),
          *b = operandOf(operands[2]), *to = &lanesOf(result);
    // A scalar condition of whole tensors has no lanes of its own.
    if (!condition || !a || !b)
      return false;
    steps.push_back([=](const Context &context) {
      for (size_t i = 0; i < context.count; ++i)
        (*to)[i] = (*condition)[i].bits ? (*a)[i] : (*b)[i];
      return true;
    });
    return true;
  }
  if (auto fma = dyn_cast<math::FmaOp>(op)) {
    Type type = elementOf(result);
    Lanes *a = operandOf(operands[0]), *b = operandOf(operands[1]),
          *c = operandOf(operands[2]), *to = &lanesOf(result);
    if (!a || !b || !c || !(type.isF32() || type.isF64()))
      return false;
    bool isFloat = type.isF32();
    steps.push_back([=](const Context &context) {
      for (size_t i = 0; i < context.count; ++i) {
        double x = (*a)[i].number, y = (*b)[i].number, z = (*c)[i].number;
        (*to)[i].number = isFloat ? double(std::fma(float(x), float(y), float(z)))
                                  : std::fma(x, y, z);
      }
      return true;
    });
    return true;
  }
  return addInteger(op, operands, result) || addFloat(op, operands, result) ||
         addConversion(op, operands, result) || addFolded(op, operands, result);
}

bool ScalarProgram::run(size_t count, const LaneIndices &loops) {
  Context context{count, loops};
  return llvm::all_of(steps, [&](const Step &step) { return step(context); });
}
