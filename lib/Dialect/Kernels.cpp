//===- Kernels.cpp - Schedules and their kernels --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "DialectImpl.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace mlir::qlinear;

//===----------------------------------------------------------------------===//
// Fields
//===----------------------------------------------------------------------===//

namespace {
using EmitError = llvm::function_ref<InFlightDiagnostic()>;

template <typename Enum>
ParseResult parseEnum(AsmParser &parser, std::optional<Enum> &field,
                      std::optional<Enum> (*symbolize)(StringRef), StringRef choices) {
  SMLoc loc = parser.getCurrentLocation();
  StringRef text;
  if (failed(parser.parseOptionalKeyword(&text)) || !(field = symbolize(text)))
    return parser.emitError(loc, "expected ") << choices;
  return success();
}

ParseResult parseValue(AsmParser &parser, std::optional<DotKind> &field) {
  return parseEnum<DotKind>(parser, field, symbolizeDotKind, "dp4a, mma, fma or wgmma");
}
ParseResult parseValue(AsmParser &parser, std::optional<CopyKind> &field) {
  return parseEnum<CopyKind>(parser, field, symbolizeCopyKind, "bulk, async or load");
}
ParseResult parseValue(AsmParser &parser, std::optional<QuantizeKind> &field) {
  return parseEnum<QuantizeKind>(parser, field, symbolizeQuantizeKind,
                                 "inside, separate or norm");
}
ParseResult parseValue(AsmParser &parser, std::optional<bool> &field) {
  SMLoc loc = parser.getCurrentLocation();
  StringRef text;
  if (failed(parser.parseOptionalKeyword(&text)) || (text != "true" && text != "false"))
    return parser.emitError(loc, "expected true or false");
  field = text == "true";
  return success();
}
ParseResult parseValue(AsmParser &parser, std::optional<int64_t> &field) {
  return parser.parseInteger(field.emplace());
}

/// A number, or `any`.
ParseResult parseRows(AsmParser &parser, std::optional<int64_t> &rows) {
  if (succeeded(parser.parseOptionalKeyword("any"))) {
    rows = kAnyRows;
    return success();
  }
  return parser.parseInteger(rows.emplace());
}

StringRef spell(DotKind value) { return stringifyDotKind(value); }
StringRef spell(CopyKind value) { return stringifyCopyKind(value); }
StringRef spell(QuantizeKind value) { return stringifyQuantizeKind(value); }
StringRef spell(bool value) { return value ? "true" : "false"; }
int64_t spell(int64_t value) { return value; }

/// `<` (name `=` value (`,` name `=` value)*)? `>` in any order. `parse` gets each name
/// and parses its value; it gives nothing for a name that it does not know.
ParseResult parseFields(AsmParser &parser, StringRef what, StringRef names,
                        llvm::function_ref<OptionalParseResult(StringRef)> parse) {
  SmallVector<StringRef> seen;
  return parser.parseCommaSeparatedList(
      AsmParser::Delimiter::LessGreater, [&]() -> ParseResult {
        SMLoc loc = parser.getCurrentLocation();
        StringRef name;
        if (parser.parseKeyword(&name) || parser.parseEqual())
          return failure();
        if (llvm::is_contained(seen, name))
          return parser.emitError(loc, "field ") << name << " is given twice";
        seen.push_back(name);
        OptionalParseResult parsed = parse(name);
        if (!parsed.has_value())
          return parser.emitError(loc, "unknown field '")
                 << name << "'; " << what << " has " << names;
        return *parsed;
      });
}

template <typename Kernel> std::string namesOf(const Kernel &kernel) {
  std::string names = "rows";
  Kernel::visit(kernel, [&](const char *name, const auto &, int64_t, int64_t) {
    names += std::string(", ") + name;
  });
  return names;
}

template <typename Kernel>
FailureOr<Kernel> parseKernel(AsmParser &parser, StringRef what) {
  Kernel kernel;
  std::optional<int64_t> rows;
  SMLoc start = parser.getCurrentLocation();
  if (parseFields(parser, what, namesOf(kernel),
                  [&](StringRef name) -> OptionalParseResult {
                    if (name == "rows")
                      return parseRows(parser, rows);
                    OptionalParseResult parsed;
                    Kernel::visit(
                        kernel, [&](const char *known, auto &field, int64_t, int64_t) {
                          if (name == known)
                            parsed = parseValue(parser, field);
                        });
                    return parsed;
                  }))
    return failure();
  if (!rows)
    return parser.emitError(start) << what << " needs rows, as in rows = 1";
  kernel.rows = *rows;
  return kernel;
}

/// The attribute of a kernel, which `what` names in messages.
template <typename Attr, typename Kernel>
Attribute parseKernelAttr(AsmParser &parser, StringRef what) {
  SMLoc start = parser.getCurrentLocation();
  auto kernel = parseKernel<Kernel>(parser, what);
  return succeeded(kernel)
             ? parser.getChecked<Attr>(start, parser.getContext(), *kernel)
             : Attribute();
}

template <typename Kernel> void printKernel(AsmPrinter &printer, const Kernel &kernel) {
  printer << "<rows = ";
  if (kernel.rows == kAnyRows)
    printer << "any";
  else
    printer << kernel.rows;
  Kernel::visit(kernel, [&](const char *name, const auto &field, int64_t, int64_t) {
    if (field)
      printer << ", " << name << " = " << spell(*field);
  });
  printer << '>';
}

/// Checks the rows of a kernel for few: C1 of both families.
template <typename Attr>
LogicalResult verifyFewRows(EmitError emitError, int64_t rows, StringRef what) {
  if (rows < 1 || rows > kMaxGemvRows)
    return emitError() << "rows = " << rows << " is not in 1.." << kMaxGemvRows
                       << ", the rows that one " << what
                       << " takes; a call of more is cut into pieces" << cite<Attr>(1);
  return success();
}

/// Checks the rows of a kernel for many: C1 of both families.
template <typename Attr>
LogicalResult verifyManyRows(EmitError emitError, int64_t rows) {
  if (rows < 1 || rows > kAnyRows)
    return emitError() << "rows = " << rows
                       << " is no number of rows; use a positive one, or any"
                       << cite<Attr>(1);
  return success();
}

/// Checks the range of every integer: C2 of each family of kernels.
template <typename Attr, typename Kernel>
LogicalResult verifyRanges(EmitError emitError, const Kernel &kernel) {
  LogicalResult result = success();
  Kernel::visit(
      kernel, [&](const char *name, const auto &field, int64_t least, int64_t most) {
        if constexpr (std::is_same_v<decltype(field), const std::optional<int64_t> &>)
          if (succeeded(result) && field && (*field < least || *field > most))
            result = emitError() << name << " = " << *field << " is not in " << least
                                 << ".." << most << cite<Attr>(2);
      });
  return result;
}
} // namespace

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

Attribute GemvAttr::parse(AsmParser &parser, Type) {
  return parseKernelAttr<GemvAttr, Gemv>(parser, "a gemv kernel");
}

void GemvAttr::print(AsmPrinter &printer) const { printKernel(printer, getValue()); }

LogicalResult GemvAttr::verify(EmitError emitError, Gemv g) {
  if (failed(verifyFewRows<GemvAttr>(emitError, g.rows, "gemv kernel")) ||
      failed(verifyRanges<GemvAttr>(emitError, g)))
    return failure();
  bool loads = g.copy == CopyKind::load;
  if (loads && g.dot == DotKind::mma)
    return emitError()
           << "dot = mma with copy = load: tensor cores take weights from "
              "the ring of a warp; use copy = async or bulk, or dot = dp4a or fma"
           << cite<GemvAttr>(3);
  if (loads && g.stages && *g.stages != 1)
    return emitError() << "stages = " << *g.stages
                       << " with copy = load, which has no ring; use stages = 1"
                       << cite<GemvAttr>(4);
  if (g.xCopy == CopyKind::async)
    return emitError()
           << "x_copy = async: activations come by bulk copies or by loads; "
              "use x_copy = bulk or load"
           << cite<GemvAttr>(5);
  if (g.xCopy == CopyKind::bulk && g.copy && g.copy != CopyKind::bulk)
    return emitError() << "x_copy = bulk needs copy = bulk, but copy is "
                       << stringifyCopyKind(*g.copy) << cite<GemvAttr>(5);
  if (g.early && g.stages && *g.early > *g.stages)
    return emitError() << "early = " << *g.early
                       << " is more than stages = " << *g.stages << cite<GemvAttr>(6);
  bool late = g.early && g.stages && *g.early < *g.stages;
  if (late && g.phases && *g.phases > 1)
    return emitError() << "early = " << *g.early << " of " << *g.stages
                       << " stages with phases = " << *g.phases
                       << ": a later phase starts all its copies at once; use early = "
                       << *g.stages << cite<GemvAttr>(7);
  if (g.ahead.value_or(false) && g.dot == DotKind::mma)
    return emitError()
           << "ahead = true with dot = mma: tensor cores take parts of a unit "
              "as they go; use ahead = false, or dot = dp4a or fma"
           << cite<GemvAttr>(8);
  if (g.ahead.value_or(false) && (loads || (g.early && g.stages && !late)))
    return emitError() << "ahead = true: a unit is taken ahead where a stage is filled "
                          "late; use early below stages, and copies into a ring"
                       << cite<GemvAttr>(8);
  if (g.grid && g.splitK && *g.grid % *g.splitK)
    return emitError() << "grid = " << *g.grid
                       << " is not a multiple of split_k = " << *g.splitK
                       << ", the blocks of a cluster" << cite<GemvAttr>(9);
  if (g.dot == DotKind::wgmma)
    return emitError() << "dot = wgmma is for gemm kernels; use dot = mma"
                       << cite<GemvAttr>(10);
  return success();
}

int64_t GemvAttr::getRows() const { return getValue().rows; }
bool GemvAttr::isForGpu() const { return true; }
bool GemvAttr::isComplete() const { return qlinear::isComplete(getValue()); }

Attribute GemmAttr::parse(AsmParser &parser, Type) {
  return parseKernelAttr<GemmAttr, Gemm>(parser, "a gemm kernel");
}

void GemmAttr::print(AsmPrinter &printer) const { printKernel(printer, getValue()); }

LogicalResult GemmAttr::verify(EmitError emitError, Gemm g) {
  if (failed(verifyManyRows<GemmAttr>(emitError, g.rows)) ||
      failed(verifyRanges<GemmAttr>(emitError, g)))
    return failure();
  if (g.tokens && *g.tokens % 16)
    return emitError() << "tokens = " << *g.tokens << " is not a multiple of 16"
                       << cite<GemmAttr>(3);
  if (g.copy == CopyKind::load)
    return emitError() << "copy = load: a gemm kernel has a ring in shared memory; use "
                          "copy = async or bulk"
                       << cite<GemmAttr>(4);
  if (g.tiles && g.tokens && *g.tiles * *g.tokens > 256)
    return emitError() << "tiles = " << *g.tiles << " with tokens = " << *g.tokens
                       << ": a warp has registers for tiles * tokens = 256 at most"
                       << cite<GemmAttr>(5);
  if (g.grid && g.splitK && g.dot != DotKind::wgmma && *g.grid % *g.splitK)
    return emitError() << "grid = " << *g.grid
                       << " is not a multiple of split_k = " << *g.splitK
                       << ", the blocks of a cluster" << cite<GemmAttr>(6);
  if (g.dot && g.dot != DotKind::mma && g.dot != DotKind::wgmma)
    return emitError() << "dot = " << stringifyDotKind(*g.dot)
                       << " is for gemv kernels; use dot = mma or wgmma"
                       << cite<GemmAttr>(7);
  if (g.dot == DotKind::wgmma && g.copy && g.copy != CopyKind::bulk)
    return emitError() << "dot = wgmma needs copy = bulk, but copy is "
                       << stringifyCopyKind(*g.copy) << cite<GemmAttr>(7);
  if (g.dot == DotKind::wgmma && g.warps && *g.warps % 4)
    return emitError() << "warps = " << *g.warps
                       << " with dot = wgmma: four warps multiply together; use a "
                          "multiple of 4"
                       << cite<GemmAttr>(7);
  return success();
}

int64_t GemmAttr::getRows() const { return getValue().rows; }
bool GemmAttr::isForGpu() const { return true; }
bool GemmAttr::isComplete() const { return qlinear::isComplete(getValue()); }

Attribute CpuGemvAttr::parse(AsmParser &parser, Type) {
  return parseKernelAttr<CpuGemvAttr, CpuGemv>(parser, "a cpu_gemv kernel");
}

void CpuGemvAttr::print(AsmPrinter &printer) const { printKernel(printer, getValue()); }

LogicalResult CpuGemvAttr::verify(EmitError emitError, CpuGemv kernel) {
  if (failed(verifyFewRows<CpuGemvAttr>(emitError, kernel.rows, "cpu_gemv kernel")))
    return failure();
  return verifyRanges<CpuGemvAttr>(emitError, kernel);
}

int64_t CpuGemvAttr::getRows() const { return getValue().rows; }
bool CpuGemvAttr::isForGpu() const { return false; }
bool CpuGemvAttr::isComplete() const { return qlinear::isComplete(getValue()); }

Attribute CpuGemmAttr::parse(AsmParser &parser, Type) {
  return parseKernelAttr<CpuGemmAttr, CpuGemm>(parser, "a cpu_gemm kernel");
}

void CpuGemmAttr::print(AsmPrinter &printer) const { printKernel(printer, getValue()); }

LogicalResult CpuGemmAttr::verify(EmitError emitError, CpuGemm kernel) {
  if (failed(verifyManyRows<CpuGemmAttr>(emitError, kernel.rows)) ||
      failed(verifyRanges<CpuGemmAttr>(emitError, kernel)))
    return failure();
  if (kernel.tokens && *kernel.tokens % kTokenBlock)
    return emitError() << "tokens = " << *kernel.tokens << " is not a multiple of "
                       << kTokenBlock << ", the tokens of a block in registers"
                       << cite<CpuGemmAttr>(3);
  return success();
}

int64_t CpuGemmAttr::getRows() const { return getValue().rows; }
bool CpuGemmAttr::isForGpu() const { return false; }
bool CpuGemmAttr::isComplete() const { return qlinear::isComplete(getValue()); }

//===----------------------------------------------------------------------===//
// Schedule
//===----------------------------------------------------------------------===//

Attribute ScheduleAttr::parse(AsmParser &parser, Type) {
  SMLoc start = parser.getCurrentLocation();
  SmallVector<KernelAttrInterface> kernels;
  std::optional<QuantizeKind> quantize;
  std::optional<bool> pdl;
  auto parseOne = [&]() -> ParseResult {
    SMLoc loc = parser.getCurrentLocation();
    Attribute attr;
    if (parser.parseAttribute(attr))
      return failure();
    kernels.push_back(dyn_cast<KernelAttrInterface>(attr));
    if (!kernels.back())
      return parser.emitError(loc,
                              "expected a kernel, such as #qlinear.gemv<rows = 1>, "
                              "#qlinear.gemm<rows = any>, "
                              "#qlinear.cpu_gemv<rows = 1> or "
                              "#qlinear.cpu_gemm<rows = any>");
    return success();
  };
  if (parseFields(parser, "a schedule", "kernels, quantize and pdl",
                  [&](StringRef name) -> OptionalParseResult {
                    if (name == "kernels")
                      return parser.parseCommaSeparatedList(
                          AsmParser::Delimiter::Square, parseOne);
                    if (name == "quantize")
                      return parseValue(parser, quantize);
                    if (name == "pdl")
                      return parseValue(parser, pdl);
                    return std::nullopt;
                  }))
    return {};
  return parser.getChecked<ScheduleAttr>(start, parser.getContext(),
                                         ArrayRef<KernelAttrInterface>(kernels),
                                         quantize, pdl);
}

void ScheduleAttr::print(AsmPrinter &printer) const {
  llvm::ListSeparator separator;
  printer << '<';
  if (!getKernels().empty()) {
    printer << StringRef(separator) << "kernels = [";
    llvm::interleaveComma(getKernels(), printer.getStream(),
                          [&](Attribute kernel) { printer << kernel; });
    printer << ']';
  }
  if (getQuantize())
    printer << StringRef(separator) << "quantize = " << spell(*getQuantize());
  if (getPdl())
    printer << StringRef(separator) << "pdl = " << spell(*getPdl());
  printer << '>';
}

LogicalResult ScheduleAttr::verify(EmitError emitError,
                                   ArrayRef<KernelAttrInterface> kernels,
                                   std::optional<QuantizeKind> quantize,
                                   std::optional<bool> pdl) {
  for (auto [before, kernel] :
       llvm::zip(kernels, kernels.drop_front(!kernels.empty()))) {
    if (kernel.getRows() <= before.getRows())
      return emitError() << "a kernel for rows = " << kernel.getRows()
                         << " comes after one for rows = " << before.getRows()
                         << "; kernels are in ascending order of rows, one for each"
                         << cite<ScheduleAttr>(1);
    if (kernel.isForGpu() != before.isForGpu())
      return emitError() << "kernels for GPUs and for CPUs in one schedule: " << before
                         << " and " << kernel << cite<ScheduleAttr>(2);
  }
  if (!kernels.empty() && !kernels.front().isForGpu() && (quantize || pdl))
    return emitError() << (pdl ? "pdl" : "quantize")
                       << " is a field of schedules for GPUs, and the kernels are for "
                          "CPUs; leave it out"
                       << cite<ScheduleAttr>(3);
  return success();
}

std::string ScheduleAttr::whyNotBatchInvariant() const {
  std::string why;
  llvm::raw_string_ostream os(why);
  KernelAttrInterface first = getKernels().front();
  for (KernelAttrInterface kernel : getKernels()) {
    if (kernel.getTypeID() != first.getTypeID()) {
      os << first << " and " << kernel << " add in different orders";
      return why;
    }
    if (isa<GemvAttr>(kernel)) {
      os << kernel << " quantizes or adds in another way than kernels for other rows; "
         << "use #qlinear.gemm kernels for all";
      return why;
    }
    auto gemm = dyn_cast<GemmAttr>(kernel);
    if (!gemm)
      continue;
    const Gemm &g = gemm.getValue(), &other = cast<GemmAttr>(first).getValue();
    if (g.dot != other.dot || g.splitK != other.splitK) {
      os << first << " and " << kernel << " add in different orders; use one dot and "
         << "split_k for all";
      return why;
    }
    if (g.dot == DotKind::wgmma && g.splitK != 1) {
      os << kernel
         << " cuts K at places that depend on the number of rows; use split_k "
         << "= 1";
      return why;
    }
  }
  return why;
}

bool ScheduleAttr::isComplete() const {
  bool gpu = !getKernels().empty() && getKernels().front().isForGpu();
  return !getKernels().empty() && (!gpu || (getQuantize() && getPdl())) &&
         llvm::all_of(getKernels(),
                      [](KernelAttrInterface kernel) { return kernel.isComplete(); });
}
