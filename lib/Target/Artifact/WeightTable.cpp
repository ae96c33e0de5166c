//===- WeightTable.cpp - The weights of an artifact -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Manifest.h"

#include "qlinear/Dialect/Constants.h"
#include "qlinear/Encoding/Codec.h"

using namespace mlir;
using llvm::json::Array;
using llvm::json::Object;
namespace ql = mlir::qlinear;

namespace qlinear {

FailureOr<unsigned> WeightTable::lookup(Value value, Operation *user) {
  if (auto load = value.getDefiningOp<ql::LoadOp>()) {
    auto parameter = SymbolTable::lookupNearestSymbolFrom<ql::ParameterOp>(
        load, load.getParameterAttr());
    auto [it, isNew] = parameters.try_emplace(parameter.getArchiveName(), list.size());
    if (isNew)
      list.push_back({parameter.getArchiveName().str(), parameter.getWeightType(), {}});
    else if (list[it->second].type != parameter.getWeightType())
      return user->emitError("parameters named \"")
             << parameter.getArchiveName() << "\" have two types, "
             << list[it->second].type << " and " << parameter.getWeightType()
             << "; one archive entry has one encoding";
    return it->second;
  }
  if (auto pack = value.getDefiningOp<ql::PackOp>()) {
    // Two weights are one if their components are the same, not if their types are.
    SmallVector<Attribute> key{TypeAttr::get(pack.getType())};
    for (Value component : pack->getOperands())
      key.push_back(ql::getConstantAttribute(component));
    if (!ql::isConstant(pack))
      return user->emitError("weight is computed when the function runs; its "
                             "components must be constants, or use a "
                             "qlinear.parameter");
    auto [it, isNew] = constants.try_emplace(ArrayAttr::get(pack.getContext(), key),
                                             unsigned(list.size()));
    if (!isNew)
      return it->second;
    FailureOr<EncodedWeight> weight = ql::getConstantWeight(pack);
    Entry entry{"constant." + std::to_string(constants.size() - 1), pack.getType(), {}};
    entry.blob.resize(pack.getType().getLayout().bytes());
    if (auto packed =
            ::qlinear::pack(*weight, std::as_writable_bytes(std::span(entry.blob)));
        !packed)
      return user->emitError("weight cannot be laid out: ") << packed.error();
    list.push_back(std::move(entry));
    return it->second;
  }
  if (Operation *op = value.getDefiningOp())
    return op->emitError("'") << op->getName()
                              << "' makes no weight that can be compiled; make it a "
                                 "qlinear.parameter or a qlinear.pack of constants";
  return user->emitError("a weight is an argument of the function; make it a "
                         "qlinear.parameter or a qlinear.pack of constants");
}

Array WeightTable::describe() const {
  Array result;
  for (const Entry &entry : list) {
    Object weight{{"name", entry.name},
                  {"encoding", entry.type.getEncoding().getValue().str()},
                  {"n", entry.type.getN()},
                  {"k", entry.type.getK()},
                  {"bytes", int64_t(entry.type.getLayout().bytes())}};
    if (!entry.blob.empty())
      weight["image"] = entry.image();
    result.push_back(std::move(weight));
  }
  return result;
}

unsigned WeightTable::addConstant(DenseElementsAttr value) {
  tensors.insert(value);
  return std::distance(tensors.begin(), llvm::find(tensors, value));
}

} // namespace qlinear
