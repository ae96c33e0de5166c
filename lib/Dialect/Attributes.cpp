//===- Attributes.cpp - Encoding, activation format, variant, temp --------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "DialectImpl.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::CodeType;
using ::qlinear::Encoding;
using ::qlinear::Form;
using ::qlinear::MetaStorage;
using ::qlinear::StepScope;

#include "qlinear/Dialect/QLinearAttrInterfaces.cpp.inc"
#include "qlinear/Dialect/QLinearEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "qlinear/Dialect/QLinearAttrs.cpp.inc"

void QLinearDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "qlinear/Dialect/QLinearAttrs.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Encoding
//===----------------------------------------------------------------------===//

StringRef mlir::qlinear::stringifyForm(Form form) {
  switch (form) {
  case Form::symmetric:
    return "symmetric";
  case Form::zero:
    return "zero";
  case Form::min:
    return "min";
  case Form::centred:
    return "centred";
  }
  llvm_unreachable("unknown form");
}

StringRef mlir::qlinear::stringifyFloat(::qlinear::FloatType type) {
  switch (type) {
  case ::qlinear::FloatType::bf16:
    return "bf16";
  case ::qlinear::FloatType::f16:
    return "f16";
  case ::qlinear::FloatType::f32:
    return "f32";
  case ::qlinear::FloatType::e8m0:
    return "e8m0";
  case ::qlinear::FloatType::e4m3:
    return "e4m3";
  }
  llvm_unreachable("unknown float type");
}

mlir::FloatType mlir::qlinear::toMLIR(::qlinear::FloatType type, MLIRContext *context) {
  switch (type) {
  case ::qlinear::FloatType::bf16:
    return BFloat16Type::get(context);
  case ::qlinear::FloatType::f16:
    return Float16Type::get(context);
  case ::qlinear::FloatType::f32:
    return Float32Type::get(context);
  case ::qlinear::FloatType::e8m0:
    return Float8E8M0FNUType::get(context);
  case ::qlinear::FloatType::e4m3:
    return Float8E4M3FNType::get(context);
  }
  llvm_unreachable("unknown float type");
}

static std::optional<::qlinear::FloatType> symbolizeFloat(StringRef text) {
  return llvm::StringSwitch<std::optional<::qlinear::FloatType>>(text)
      .Case("bf16", ::qlinear::FloatType::bf16)
      .Case("f16", ::qlinear::FloatType::f16)
      .Case("f32", ::qlinear::FloatType::f32)
      .Case("e8m0", ::qlinear::FloatType::e8m0)
      .Case("e4m3", ::qlinear::FloatType::e4m3)
      .Default(std::nullopt);
}

static ParseResult parseFloatType(AsmParser &parser, ::qlinear::FloatType &type) {
  SMLoc loc = parser.getCurrentLocation();
  StringRef text;
  if (failed(parser.parseOptionalKeyword(&text)) || !symbolizeFloat(text))
    return parser.emitError(loc, "expected bf16, f16 or f32");
  type = *symbolizeFloat(text);
  return success();
}

/// storage ::= float | code (`*` (`row` `<` float `>` |
///                                `block` `<` integer `,` float `>`))?
/// code ::= (`u` | `i` | `log` | `delta`) bits | `e4m3`, and what else parseCode takes
static ParseResult parseStorage(AsmParser &parser, MetaStorage &storage) {
  SMLoc loc = parser.getCurrentLocation();
  StringRef text;
  auto expected = [&] {
    return parser.emitError(
        loc,
        "expected how the metadata is stored: bf16, f16, f32, e8m0, e4m3, or codes "
        "such as u8 * row<bf16>, i8 * block<256, f16>, u4, "
        "log8 * row<f32>, delta10 * row<bf16>, e4m3 * row<f32>");
  };
  if (failed(parser.parseOptionalKeyword(&text)))
    return expected();
  std::optional<::qlinear::FloatType> type = symbolizeFloat(text);
  std::optional<MetaStorage> code = MetaStorage::parseCode(text);
  if (!type && !code)
    return expected();
  if (type && !code) {
    storage = MetaStorage::plain(*type);
    return success();
  }
  storage = *code;
  if (failed(parser.parseOptionalStar())) {
    if (type) { // e4m3 by itself
      storage = MetaStorage::plain(*type);
      return success();
    }
    if (storage.kind == MetaStorage::Kind::linear)
      return success();
    return parser.emitError(parser.getCurrentLocation(), "")
           << text << " needs a base per row: " << text << " * row<"
           << stringifyFloat(storage.type) << ">";
  }
  SMLoc scopeLoc = parser.getCurrentLocation();
  StringRef scope;
  if (failed(parser.parseOptionalKeyword(&scope)) ||
      (scope != "row" && scope != "block" &&
       (scope != "tensor" || storage.kind != MetaStorage::Kind::linear)))
    return parser.emitError(scopeLoc, "expected row or block");
  if (parser.parseLess())
    return failure();
  storage.scope = scope == "tensor" ? StepScope::tensor : StepScope::row;
  if (scope == "block") {
    storage.scope = StepScope::block;
    uint64_t block = 0;
    SMLoc blockLoc = parser.getCurrentLocation();
    if (parser.parseInteger(block) || parser.parseComma())
      return failure();
    if (block != ::qlinear::kStepBlock)
      return parser.emitError(blockLoc, "a step per ")
             << block << " weights is not supported; steps are per row<...> "
             << "or per block<" << ::qlinear::kStepBlock << ", ...>";
  }
  return failure(parseFloatType(parser, storage.type) || parser.parseGreater());
}

/// encoding ::= `<` code `,` `group` `=` (integer | `row`) `,` form
///              `,` `scale` `=` storage (`,` `offset` `=` storage)? `>`
Attribute EncodingAttr::parse(AsmParser &parser, Type) {
  SMLoc start = parser.getCurrentLocation();
  Encoding e;
  if (parser.parseLess())
    return {};

  SMLoc loc = parser.getCurrentLocation();
  StringRef text;
  std::optional<CodeType> codes;
  if (failed(parser.parseOptionalKeyword(&text)) || !(codes = CodeType::parse(text))) {
    parser.emitError(loc,
                     "expected the code of a weight: one of u2, i2, u3, i3, u4, i4, "
                     "u5, i5, u6, i6, u8, i8")
        << CodeType::tables();
    return {};
  }
  e.codes = *codes;

  if (parser.parseComma() || parser.parseKeyword("group") || parser.parseEqual())
    return {};
  if (succeeded(parser.parseOptionalKeyword("row"))) {
    e.group = ::qlinear::kWholeRow;
  } else {
    loc = parser.getCurrentLocation();
    uint64_t group = 0;
    OptionalParseResult parsed = parser.parseOptionalInteger(group);
    if (!parsed.has_value() || failed(*parsed) || group == 0 || group > (1u << 20)) {
      parser.emitError(loc, "expected the group size: 16, 32, 64, 128, 256, "
                            "or row for one group per row");
      return {};
    }
    e.group = unsigned(group);
  }

  if (parser.parseComma())
    return {};
  loc = parser.getCurrentLocation();
  std::optional<Form> form;
  if (succeeded(parser.parseOptionalKeyword(&text)))
    form = llvm::StringSwitch<std::optional<Form>>(text)
               .Case("symmetric", Form::symmetric)
               .Case("zero", Form::zero)
               .Case("min", Form::min)
               .Case("centred", Form::centred)
               .Default(std::nullopt);
  if (!form) {
    parser.emitError(loc, "expected the form: symmetric, zero, min or centred");
    return {};
  }
  e.form = *form;

  if (parser.parseComma() || parser.parseKeyword("scale") || parser.parseEqual() ||
      parseStorage(parser, e.scale))
    return {};
  if (succeeded(parser.parseOptionalComma()))
    if (parser.parseKeyword("offset") || parser.parseEqual() ||
        parseStorage(parser, e.offset))
      return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<EncodingAttr>(start, parser.getContext(), e);
}

void EncodingAttr::print(AsmPrinter &printer) const {
  printer << '<' << getValue().str() << '>';
}

LogicalResult EncodingAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   Encoding value) {
  if (auto valid = value.verify(); !valid)
    return emitError() << valid.error() << cite<EncodingAttr>(valid.constraint());
  return success();
}

/// Whether every value that `from` can store is exactly one that `to` stores.
/// Metadata values are f32, so plain f32 holds them all, except for products
/// of a code and a step, or powers, that f32 would have to round.
static bool holdsExactly(const MetaStorage &from, const MetaStorage &to) {
  using Kind = MetaStorage::Kind;
  if (from == to)
    return true;
  if (to.kind != Kind::plain)
    return false;
  auto precision = [](::qlinear::FloatType type) {
    return type == ::qlinear::FloatType::bf16   ? 8
           : type == ::qlinear::FloatType::f16  ? 11
           : type == ::qlinear::FloatType::e8m0 ? 0 // has no 0
           : type == ::qlinear::FloatType::e4m3 ? 4
                                                : 24;
  };
  bool toF32 = to.type == ::qlinear::FloatType::f32;
  switch (from.kind) {
  case Kind::none:
  case Kind::log:
    return false;
  case Kind::plain:
    return toF32 ||
           (from.type == ::qlinear::FloatType::e8m0 &&
            to.type == ::qlinear::FloatType::bf16) ||
           (from.type == ::qlinear::FloatType::e4m3 &&
            (to.type == ::qlinear::FloatType::bf16 ||
             to.type == ::qlinear::FloatType::f16));
  case Kind::scaled:
    return toF32 && precision(::qlinear::FloatType::e4m3) + precision(from.type) <= 24;
  case Kind::linear:
    if (from.scope == StepScope::constant)
      return from.bits <= precision(to.type);
    return toF32 && from.bits + precision(from.type) <= 24;
  case Kind::delta:
    return toF32 || to.type == ::qlinear::FloatType::bf16;
  }
  llvm_unreachable("unknown metadata kind");
}

bool EncodingAttr::isLosslessTo(EncodingAttr other) const {
  const Encoding &a = getValue(), &b = other.getValue();
  return a.codes == b.codes && a.group == b.group && a.form == b.form &&
         holdsExactly(a.scale, b.scale) && holdsExactly(a.offset, b.offset);
}

//===----------------------------------------------------------------------===//
// Activation format
//===----------------------------------------------------------------------===//

/// format ::= `float` | `int8` `,` `block` `=` integer
ActivationFormatAttr ActivationFormatAttr::parseBody(AsmParser &parser) {
  SMLoc loc = parser.getCurrentLocation();
  StringRef text;
  std::optional<ActivationKind> kind;
  if (failed(parser.parseOptionalKeyword(&text)) ||
      !(kind = symbolizeActivationKind(text))) {
    parser.emitError(loc, "expected the format of activations: float, or int8 with "
                          "block = 32");
    return {};
  }
  int64_t block = 0;
  if (*kind == ActivationKind::int8 &&
      (parser.parseComma() || parser.parseKeyword("block") || parser.parseEqual() ||
       parser.parseInteger(block)))
    return {};
  return parser.getChecked<ActivationFormatAttr>(loc, parser.getContext(), *kind,
                                                 block);
}

void ActivationFormatAttr::printBody(AsmPrinter &printer) const {
  printer << stringifyActivationKind(getKind());
  if (getBlock())
    printer << ", block = " << getBlock();
}

Attribute ActivationFormatAttr::parse(AsmParser &parser, Type) {
  ActivationFormatAttr format;
  if (parser.parseLess() || !(format = parseBody(parser)) || parser.parseGreater())
    return {};
  return format;
}

void ActivationFormatAttr::print(AsmPrinter &printer) const {
  printer << '<';
  printBody(printer);
  printer << '>';
}

LogicalResult ActivationFormatAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                           ActivationKind kind, int64_t block) {
  int64_t wanted = kind == ActivationKind::int8 ? kInt8Block : 0;
  if (block != wanted)
    return emitError() << "activations of " << stringifyActivationKind(kind)
                       << " with block = " << block
                       << " have no kernels; use block = " << wanted
                       << cite<ActivationFormatAttr>(1);
  return success();
}

//===----------------------------------------------------------------------===//
// Variant, temp
//===----------------------------------------------------------------------===//

LogicalResult VariantAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t rows, SymbolRefAttr kernel, int64_t grid,
                                  int64_t block, int64_t smem, int64_t items,
                                  VariantAttr before, bool f16) {
  if (rows < 1)
    return emitError() << "rows = " << rows
                       << " is not positive; a kernel does at least one row"
                       << cite<VariantAttr>(1);
  if (smem < 0)
    return emitError() << "smem = " << smem << " is negative" << cite<VariantAttr>(2);
  bool gpu = grid > 0 && block > 0 && items == 0;
  bool cpu = items > 0 && grid == 0 && block == 0 && smem == 0;
  if (!gpu && !cpu)
    return emitError() << "grid = " << grid << ", block = " << block
                       << ", smem = " << smem << ", items = " << items
                       << " is neither a GPU kernel (grid and block positive) "
                          "nor a CPU kernel (only items)"
                       << cite<VariantAttr>(3);
  if (before &&
      (!gpu || before.getItems() || before.getRows() != rows || before.getBefore()))
    return emitError() << "before = " << before << " of a kernel for " << rows
                       << " rows; the kernel before is for a GPU and as many rows, and "
                          "has none before it"
                       << cite<VariantAttr>(4);
  if (f16 && !before)
    return emitError() << "f16 = true, but no kernel before it makes f16 numbers; add "
                          "before = <...>"
                       << cite<VariantAttr>(5);
  return success();
}

LogicalResult TempAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                               int64_t bytes, int64_t bytesPerRow, bool) {
  if (bytes < 0 || bytesPerRow < 0 || (bytes == 0 && bytesPerRow == 0))
    return emitError() << "bytes = " << bytes << ", bytes_per_row = " << bytesPerRow
                       << " is no memory; one of them must be positive and "
                          "none negative"
                       << cite<TempAttr>(1);
  return success();
}
