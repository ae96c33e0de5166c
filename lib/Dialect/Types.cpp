//===- Types.cpp - Weight and activations ---------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "DialectImpl.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::qlinear;

#define GET_TYPEDEF_CLASSES
#include "qlinear/Dialect/QLinearTypes.cpp.inc"

void QLinearDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "qlinear/Dialect/QLinearTypes.cpp.inc"
      >();
}

/// Parses `AxB`.
static ParseResult parseTwoDimensions(AsmParser &parser, SmallVectorImpl<int64_t> &dims,
                                      bool allowDynamic, StringRef spelling) {
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseDimensionList(dims, allowDynamic, /*withTrailingX=*/false))
    return failure();
  if (dims.size() != 2)
    return parser.emitError(loc, "expected 2 dimensions, ")
           << spelling << ", but got " << dims.size();
  return success();
}

//===----------------------------------------------------------------------===//
// Weight
//===----------------------------------------------------------------------===//

::qlinear::layout::WeightLayout WeightType::getLayout() const {
  return {::qlinear::layout::Spec::unpack(getEncoding().getValue().spec()),
          uint64_t(getN()), uint64_t(getK())};
}

Type WeightType::parse(AsmParser &parser) {
  SMLoc loc = parser.getCurrentLocation();
  SmallVector<int64_t> dims;
  EncodingAttr encoding;
  if (parser.parseLess() ||
      parseTwoDimensions(parser, dims, /*allowDynamic=*/false, "NxK") ||
      parser.parseComma() || parser.parseCustomAttributeWithFallback(encoding) ||
      parser.parseGreater())
    return {};
  return parser.getChecked<WeightType>(loc, parser.getContext(), dims[0], dims[1],
                                       encoding);
}

void WeightType::print(AsmPrinter &printer) const {
  printer << '<' << getN() << 'x' << getK() << ", " << getEncoding() << '>';
}

LogicalResult WeightType::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t n, int64_t k, EncodingAttr encoding) {
  if (auto valid = encoding.getValue().verifyShape(n, k); !valid)
    return emitError() << valid.error() << cite<WeightType>(valid.constraint());
  return success();
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

::qlinear::layout::ActivationLayout ActivationsType::getLayout() const {
  return {uint64_t(getK())};
}

Type ActivationsType::parse(AsmParser &parser) {
  SMLoc loc = parser.getCurrentLocation();
  SmallVector<int64_t> dims;
  if (parser.parseLess() ||
      parseTwoDimensions(parser, dims, /*allowDynamic=*/true, "MxK"))
    return {};
  auto format = ActivationFormatAttr::getDefault(parser.getContext());
  if (succeeded(parser.parseOptionalComma()) &&
      !(format = ActivationFormatAttr::parseBody(parser)))
    return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<ActivationsType>(loc, parser.getContext(), dims[0], dims[1],
                                            format);
}

void ActivationsType::print(AsmPrinter &printer) const {
  printer << '<';
  printer.printDimensionList({getM(), getK()});
  if (getFormat() != ActivationFormatAttr::getDefault(getContext())) {
    printer << ", ";
    getFormat().printBody(printer);
  }
  printer << '>';
}

LogicalResult ActivationsType::verify(function_ref<InFlightDiagnostic()> emitError,
                                      int64_t m, int64_t k,
                                      ActivationFormatAttr format) {
  if (format.isFloat())
    return emitError() << "activations that are not quantized are a tensor of floats; "
                          "this type is for codes, such as int8, block = 32"
                       << cite<ActivationsType>(3);
  if (ShapedType::isDynamic(k))
    return emitError() << "K of activations must be known; only M may be ?"
                       << cite<ActivationsType>(1);
  // K is bounded so that a row's bytes, and offsets in it, fit the kernels'
  // 32-bit arithmetic.
  constexpr int64_t kMaxK = int64_t(1) << 28;
  if (k < 1 || k > kMaxK || (!ShapedType::isDynamic(m) && m < 0))
    return emitError() << "activations of " << m << " x " << k
                       << " are out of range; K must be in 1.." << kMaxK
                       << " and M not negative" << cite<ActivationsType>(2);
  return success();
}
