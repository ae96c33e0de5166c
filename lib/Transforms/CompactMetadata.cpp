//===- CompactMetadata.cpp - Re-encode scales and offsets -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Changes the encoding of weights, and with it their types, by the selection rule
// of qlinear/Encoding/Codec.h. Two kinds of weights:
//
//   constants    a qlinear.pack of constants becomes a pack of the re-encoded
//                components
//   parameters   with `archive`, the file is rewritten to `output` (by the code of
//                quant-pack) and the types become those of the new file; without
//                it, a named encoding changes the type alone
//
// Nothing is changed before every choice is known: a failure leaves the IR and
// the files as they were.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/Constants.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Encoding/Packer.h"
#include "qlinear/Encoding/Pattern.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

#define DEBUG_TYPE "qlinear-compact-metadata"

namespace mlir::qlinear {
#define GEN_PASS_DEF_COMPACTMETADATA
#include "qlinear/Transforms/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::EncodedWeight;
using ::qlinear::Encoding;
using ::qlinear::Quality;
using ::qlinear::Selection;
using ::qlinear::SelectionRule;

/// "46.83", or "lossless" where nothing differs.
static std::string decibels(double snr) {
  return std::isinf(snr) ? "lossless" : llvm::formatv("{0:f2}", snr).str();
}

/// Reports a choice: the form, bits per weight before and after, SNR, and why.
static void emitChoice(Location loc, StringRef name, const Encoding &encoding,
                       double bitsBefore, double bitsAfter, const Quality &quality,
                       StringRef reason) {
  remark::passed(loc, remark::RemarkOpts::name("CompactMetadata").category(DEBUG_TYPE))
      << name << remark::metric("encoding", encoding.str())
      << remark::metric("bits-before", llvm::formatv("{0:f4}", bitsBefore).str())
      << remark::metric("bits-after", llvm::formatv("{0:f4}", bitsAfter).str())
      << remark::metric("snr-db", decibels(quality.tensorSnr))
      << remark::metric("worst-row-snr-db", decibels(quality.worstRowSnr))
      << remark::metric("reason", reason.str());
}

static void emitKept(Location loc, StringRef name, const Twine &reason) {
  remark::missed(loc, remark::RemarkOpts::name("CompactMetadata").category(DEBUG_TYPE))
      << name << remark::reason("{0}", reason.str());
}

static double bitsPerWeight(WeightType type) {
  return type.getLayout().bitsPerWeight();
}

/// A user of the weight that needs its encoding as it is; null if there is none, and
/// the encoding may change.
static Operation *userThatFixesTheType(Value weight) {
  for (Operation *user : weight.getUsers())
    if (!isa<LinearOp, DequantizeOp, ReencodeOp>(user))
      return user;
  return nullptr;
}

namespace {
struct CompactMetadataPass
    : mlir::qlinear::impl::CompactMetadataBase<CompactMetadataPass> {
  using CompactMetadataBase::CompactMetadataBase;

  void runOnOperation() override {
    if (failed(parseRules()) || failed(compactParameters()))
      return signalPassFailure();
    SmallVector<PackOp> packs;
    getOperation()->walk([&](PackOp pack) { packs.push_back(pack); });
    for (PackOp pack : packs)
      if (failed(compactConstant(pack)))
        return signalPassFailure();
  }

private:
  SelectionRule defaultRule;
  std::vector<::qlinear::Override<SelectionRule>> overrides;
  std::vector<::qlinear::Pattern> patterns;      ///< of the overrides
  llvm::DenseMap<ParameterOp, std::string> keys; ///< names in the archive

  LogicalResult parseRules() {
    overrides.clear();
    patterns.clear();
    defaultRule.name = encoding;
    defaultRule.minSnr = minSnr;
    if (auto valid = ::qlinear::verifyMinSnr(minSnr); !valid)
      return getOperation()->emitError() << DEBUG_TYPE << ": " << valid.error();
    for (const std::string &text : rules) {
      // The name may hold "=" where it is an encoding spelled out.
      auto [pattern, name] = StringRef(text).split('=');
      auto compiled = ::qlinear::Pattern::compile(pattern.str());
      if (name.empty() || !compiled)
        return getOperation()->emitError()
               << "rule '" << text << "' of " << DEBUG_TYPE << " is not REGEX=ENCODING"
               << (compiled ? "" : " (" + compiled.error() + ")");
      SelectionRule rule = defaultRule;
      rule.name = name.str();
      overrides.push_back({pattern.str(), rule});
      patterns.push_back(*compiled);
    }
    return success();
  }

  SelectionRule ruleFor(StringRef name) const {
    for (auto [rule, pattern] : llvm::zip_equal(overrides, patterns))
      if (pattern.finds(name.str()))
        return rule.value;
    return defaultRule;
  }

  //===--------------------------------------------------------------------===//
  // Constants
  //===--------------------------------------------------------------------===//

  /// The name of a constant weight in rules and remarks: that of its location,
  /// if it has one.
  static std::string nameOf(Operation *op) {
    if (auto name = op->getLoc()->findInstanceOf<NameLoc>())
      return name.getName().str();
    return "constant weight";
  }

  LogicalResult compactConstant(PackOp pack) {
    std::string name = nameOf(pack);
    WeightType type = pack.getType();
    if (!isConstant(pack)) {
      emitKept(pack.getLoc(), name, "its components are not constants");
      return success();
    }
    if (Operation *user = userThatFixesTheType(pack)) {
      emitKept(pack.getLoc(), name,
               "its user " + user->getName().getStringRef() +
                   " needs this type; convert with qlinear.reencode there");
      return success();
    }
    FailureOr<EncodedWeight> weight = getConstantWeight(pack);
    if (failed(weight))
      return pack.emitOpError() << "has components without data";
    ::qlinear::Result<Selection> selection = ::qlinear::select(*weight, ruleFor(name));
    if (!selection)
      return pack.emitOpError() << "cannot be re-encoded: " << selection.error();

    OpBuilder builder(pack);
    PackOp compact = createConstantWeight(builder, pack.getLoc(), selection->weight);
    emitChoice(pack.getLoc(), name, selection->weight.encoding, bitsPerWeight(type),
               bitsPerWeight(compact.getType()), selection->quality, selection->reason);
    count(type, compact.getType());
    pack.getResult().replaceAllUsesWith(compact);
    SmallVector<Value> components(pack->getOperands());
    pack.erase();
    for (Value component : components)
      if (Operation *def = component.getDefiningOp(); def && def->use_empty())
        def->erase();
    return success();
  }

  //===--------------------------------------------------------------------===//
  // Parameters
  //===--------------------------------------------------------------------===//

  LogicalResult compactParameters() {
    SmallVector<ParameterOp> parameters;
    getOperation()->walk([&](ParameterOp op) { parameters.push_back(op); });
    if (archive.empty() != output.empty())
      return getOperation()->emitError()
             << DEBUG_TYPE << ": archive and output go together: archive is read, "
             << "output is written; give both or neither";
    if (parameters.empty() && archive.empty())
      return success();

    // Loads in functions, by parameter.
    llvm::DenseMap<ParameterOp, SmallVector<LoadOp>> loads;
    SymbolTableCollection symbols;
    getOperation()->walk([&](LoadOp load) {
      if (auto parameter = symbols.lookupNearestSymbolFrom<ParameterOp>(
              load, load.getParameterAttr()))
        loads[parameter].push_back(load);
    });
    auto fixedBy = [&](ParameterOp parameter) -> Operation * {
      for (LoadOp load : loads[parameter])
        if (Operation *user = userThatFixesTheType(load))
          return user;
      return nullptr;
    };

    std::map<std::string, ::qlinear::TensorReport> reports;
    if (!archive.empty()) {
      for (ParameterOp parameter : parameters)
        if (Operation *user = fixedBy(parameter))
          return user->emitOpError()
                 << "needs the type of parameter @" << parameter.getSymName()
                 << ", which re-encoding " << archive
                 << " changes; convert with qlinear.reencode there";
      if (failed(rewriteArchive(parameters, reports)))
        return failure();
    }

    for (ParameterOp parameter : parameters) {
      std::string name = parameter.getArchiveName().str();
      WeightType type = parameter.getWeightType();
      EncodingAttr chosen;
      if (!archive.empty()) {
        const ::qlinear::TensorReport &report = reports.at(keys.at(parameter));
        chosen = EncodingAttr::get(&getContext(), *report.encoding);
        emitChoice(parameter.getLoc(), parameter.getSymName(), *report.encoding,
                   report.bitsBefore(), report.bitsAfter(), report.quality,
                   report.reason);
      } else {
        if (Operation *user = fixedBy(parameter)) {
          emitKept(parameter.getLoc(), parameter.getSymName(),
                   "a user of its value, " + user->getName().getStringRef() +
                       ", needs this type");
          continue;
        }
        FailureOr<EncodingAttr> named = encodingByName(parameter, ruleFor(name));
        if (failed(named))
          return failure();
        if (!*named)
          continue;
        chosen = *named;
      }
      WeightType compact = type.withEncoding(chosen);
      count(type, compact);
      parameter.setType(compact);
      for (LoadOp load : loads[parameter])
        load.getResult().setType(compact);
    }
    return success();
  }

  /// Rewrites the archive, whose weights must be those that the module declares.
  LogicalResult
  rewriteArchive(ArrayRef<ParameterOp> parameters,
                 std::map<std::string, ::qlinear::TensorReport> &reports) {
    auto fail = [&](const std::string &message) {
      return getOperation()->emitError() << DEBUG_TYPE << ": " << message;
    };
    auto checkpoint = ::qlinear::Checkpoint::open(archive);
    if (!checkpoint)
      return fail(checkpoint.error());
    auto inventory = ::qlinear::takeInventory(*checkpoint);
    if (!inventory)
      return fail(inventory.error());
    for (ParameterOp parameter : parameters) {
      WeightType type = parameter.getWeightType();
      auto find = [&](const std::string &name) {
        return llvm::find_if(inventory->weights,
                             [&](const auto &weight) { return weight.name == name; });
      };
      std::string &key = keys[parameter];
      key = ::qlinear::resolveWeightName(
          parameter.getArchiveName(), [&](const std::string &name) {
            return find(name) != inventory->weights.end();
          });
      auto at = find(key);
      if (at == inventory->weights.end())
        return parameter.emitOpError()
               << "is not a quantized weight of " << archive << ": no '"
               << parameter.getArchiveName() << "' there";
      if (int64_t(at->N) != type.getN() || int64_t(at->K) != type.getK())
        return parameter.emitOpError()
               << "is " << type.getN() << "x" << type.getK() << ", but '" << at->name
               << "' in " << archive << " is " << at->N << "x" << at->K;
      if (at->native && *at->native != type.getEncoding().getValue())
        return parameter.emitOpError()
               << "is declared as <" << type.getEncoding().getValue().str()
               << ">, but '" << at->name << "' in " << archive << " is <"
               << at->native->str() << ">";
      if (at->isFloat)
        return parameter.emitOpError()
               << "names a float tensor of " << archive
               << "; quantize it first with quant-pack --quantize";
    }
    ::qlinear::PackOptions options;
    options.rule = defaultRule;
    options.rules = overrides;
    auto report = ::qlinear::packArchive(*checkpoint, *inventory, output, options);
    if (!report)
      return fail(report.error());
    for (::qlinear::TensorReport &tensor : report->tensors)
      if (tensor.packed)
        reports.emplace(tensor.name, std::move(tensor));
    for (ParameterOp parameter : parameters)
      if (!reports.count(keys.at(parameter)))
        return fail("'" + keys.at(parameter) + "' could not be re-encoded");
    return success();
  }

  /// The encoding that a name alone decides; null where the data is needed, with
  /// a remark.
  FailureOr<EncodingAttr> encodingByName(ParameterOp parameter,
                                         const SelectionRule &rule) {
    const Encoding &now = parameter.getWeightType().getEncoding().getValue();
    if (rule.name == "lossless") {
      emitKept(parameter.getLoc(), parameter.getSymName(),
               "lossless keeps what is stored, unless the data says that less "
               "will do; give archive and output");
      return EncodingAttr();
    }
    if (rule.name == "auto") {
      emitKept(parameter.getLoc(), parameter.getSymName(),
               "auto decides by the data; give archive and output, or name an "
               "encoding");
      return EncodingAttr();
    }
    auto encoding = ::qlinear::namedEncoding(rule.name, now.codes, now.group, now.form);
    if (!encoding)
      encoding = Encoding::parse(rule.name);
    if (!encoding)
      return parameter.emitOpError()
             << "cannot have the encoding '" << rule.name << "': " << encoding.error();
    WeightType type = parameter.getWeightType();
    if (auto fits = encoding->verifyShape(type.getN(), type.getK()); !fits)
      return parameter.emitOpError() << "cannot be re-encoded: " << fits.error();
    remark::passed(parameter.getLoc(),
                   remark::RemarkOpts::name("CompactMetadata").category(DEBUG_TYPE))
        << parameter.getSymName() << remark::metric("encoding", encoding->str())
        << remark::reason("the type alone changes; pack the archive with "
                          "quant-pack --encoding '{0}'",
                          rule.name);
    return EncodingAttr::get(&getContext(), *encoding);
  }

  void count(WeightType before, WeightType after) {
    ++weightsCompacted;
    bytesBefore += before.getLayout().bytes();
    bytesAfter += after.getLayout().bytes();
  }
};
} // namespace
