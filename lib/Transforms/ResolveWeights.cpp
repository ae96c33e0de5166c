//===- ResolveWeights.cpp - Weights that are not there yet ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ResolveWeights.h"
#include "qlinear/Dialect/Constants.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Encoding/Archive.h"

using namespace mlir;
using namespace mlir::qlinear;
using ::qlinear::EncodedWeight;

namespace {
class WeightResolver {
public:
  explicit WeightResolver(StringRef path) : path(path) {}

  LogicalResult run(ModuleOp module) {
    SmallVector<Operation *> makers;
    module.walk([&](Operation *op) {
      if (isa<LoadOp, ReencodeOp>(op))
        makers.push_back(op);
    });
    for (Operation *op : makers) {
      FailureOr<EncodedWeight> weight =
          isa<LoadOp>(op) ? load(cast<LoadOp>(op)) : reencode(cast<ReencodeOp>(op));
      if (failed(weight))
        return failure();
      OpBuilder builder(op);
      op->replaceAllUsesWith(createConstantWeight(builder, op->getLoc(), *weight));
      op->erase();
    }
    return success();
  }

private:
  FailureOr<EncodedWeight> load(LoadOp op) {
    auto parameter =
        SymbolTable::lookupNearestSymbolFrom<ParameterOp>(op, op.getParameterAttr());
    if (path.empty())
      return op.emitOpError()
             << "has no reference: the weight is in an archive; name the "
                "archive with the option weights=FILE";
    if (!archive) {
      auto opened = ::qlinear::Archive::open(path.str());
      if (!opened)
        return op.emitOpError(opened.error());
      archive.emplace(std::move(*opened));
    }
    const ::qlinear::PackedWeight *found =
        archive->find(parameter.getArchiveName().str());
    if (!found)
      return op.emitOpError() << "the archive " << path << " has no weight '"
                              << parameter.getArchiveName() << "'";
    const ::qlinear::PackedWeight &packed = *found;
    WeightType type = op.getType();
    if (packed.N != uint64_t(type.getN()) || packed.K != uint64_t(type.getK()) ||
        packed.encoding != type.getEncoding().getValue())
      return op.emitOpError() << "the weight '" << found->name << "' of the archive "
                              << path << " is " << packed.N << "x" << packed.K << ", "
                              << packed.encoding.str() << ", but is declared as "
                              << type;
    return report(op,
                  ::qlinear::unpack(packed.encoding, packed.N, packed.K, packed.blob));
  }

  FailureOr<EncodedWeight> reencode(ReencodeOp op) {
    auto pack = op.getWeight().getDefiningOp<PackOp>();
    FailureOr<EncodedWeight> weight = failure();
    if (pack)
      weight = getConstantWeight(pack);
    if (failed(weight))
      return op.emitOpError("has no reference: the metadata can be re-encoded "
                            "only where the weight is a constant");
    auto exact = ::qlinear::decode(*weight);
    if (!exact)
      return op.emitOpError(exact.error());
    return report(op, ::qlinear::encode(*exact, op.getType().getEncoding().getValue()));
  }

  static FailureOr<EncodedWeight> report(Operation *op,
                                         ::qlinear::Result<EncodedWeight> result) {
    if (!result)
      return op->emitOpError(result.error());
    return std::move(*result);
  }

  StringRef path;
  std::optional<::qlinear::Archive> archive;
};
} // namespace

LogicalResult mlir::qlinear::resolveWeights(ModuleOp module, StringRef archive) {
  return WeightResolver(archive).run(module);
}
