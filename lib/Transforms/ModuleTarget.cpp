//===- ModuleTarget.cpp - What a module is compiled for -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Transforms/ModuleTarget.h"
#include "qlinear/Support/InstructionSets.h"

using namespace mlir;

/// Whether `target` is an instruction set of those that `all` stands for.
static bool isOneOf(StringRef target, StringRef all) {
  auto architecture = qlinear::architectureOfTarget(all);
  const qlinear::InstructionSet *set =
      target.consume_front("cpu:") ? qlinear::findInstructionSet(target) : nullptr;
  return architecture && set && set->architecture == *architecture;
}

/// Whether all targets of the list `part` are in the list `whole`.
static bool isPartOf(StringRef part, StringRef whole) {
  SmallVector<StringRef> parts, wholes;
  part.split(parts, ',');
  whole.split(wholes, ',');
  return llvm::all_of(parts, [&](StringRef p) {
    return llvm::any_of(wholes, [&](StringRef w) {
      return p.trim() == w.trim() || isOneOf(p.trim(), w.trim());
    });
  });
}

FailureOr<std::string> qlinear::targetOf(Operation *op, StringRef option,
                                         StringRef fallback) {
  Attribute found;
  for (Operation *at = op; at && !found; at = at->getParentOp())
    found = at->getAttr(kTargetAttrName);
  if (!found)
    return (option.empty() ? fallback : option).str();
  auto target = dyn_cast<StringAttr>(found);
  if (!target)
    return op->emitError("the attribute ")
           << kTargetAttrName << " is " << found
           << "; it has to be a string such as \"cuda:sm_90\" or \"cpu\"";
  if (option.empty())
    return target.getValue().str();
  if (!isPartOf(option, target))
    return op->emitError("the target '")
           << option << "' is not the module's, " << kTargetAttrName << " = " << target
           << "; leave the option out, or compile another copy of the module for it";
  return option.str();
}

void qlinear::setTarget(Operation *module, StringRef target) {
  module->setAttr(kTargetAttrName, StringAttr::get(module->getContext(), target));
}
