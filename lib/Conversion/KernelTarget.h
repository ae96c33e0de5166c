//===- KernelTarget.h - What one family of targets makes kernels of -*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// KernelMaker (qlinear/Conversion/Kernels.h) turns operations into launches: it checks
// them, quantizes what they share, knows which kernels there are already, and names
// them. The rest is a target's: GpuTarget.cpp and CpuTarget.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_LIB_CONVERSION_KERNELTARGET_H
#define QLINEAR_LIB_CONVERSION_KERNELTARGET_H

#include "qlinear/Dialect/QLinear.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"

#include <functional>

namespace mlir::qlinear {

/// The kernels of one operation, in order of their rows, and the temporaries that all
/// of them take.
struct Kernels {
  SmallVector<VariantAttr> variants;
  SmallVector<TempAttr> temps;
};

class KernelTarget {
public:
  /// Makes the kernels of an operation; their names are `stem` + "_m" + rows. Fails
  /// with a diagnostic.
  using Builder = std::function<FailureOr<Kernels>(Operation *op, StringRef stem)>;

  virtual ~KernelTarget() = default;

  /// Decides all that the kernels of a linear are made with: with `joinsNorms` also
  /// whether the norm before it is launched with it. A linear that is too much for one
  /// kernel becomes several. Fails with a diagnostic.
  virtual FailureOr<SmallVector<LinearOp>>
  schedule(RewriterBase &rewriter, LinearOp linear, bool joinsNorms) = 0;
  /// The norm that a scheduled linear is launched with, or null.
  virtual NormOp normOf(LinearOp) const { return {}; }
  /// The kernels of the two.
  virtual FailureOr<Kernels> buildJoined(NormOp, LinearOp, StringRef) {
    llvm_unreachable("the target joins no norms");
  }
  /// Whether the activations of a linear, which are floats, are quantized before it.
  virtual bool quantizesBefore(LinearOp linear) const = 0;
  /// The same of a grouped linear whose choices multiply whole rows of x.
  virtual bool quantizesBefore(GroupedLinearOp) const { return false; }
  /// Changes what the kernels of a grouped linear take for its inputs, and adds to it.
  virtual void prepareInputs(RewriterBase &, GroupedLinearOp, SmallVector<Value> &) {}
  /// Whether a launch may start before the one before it ends.
  virtual bool startsEarly(Operation *op) const = 0;
  /// The operation whose symbols the kernels of `op` are.
  virtual Operation *symbolTableOf(Operation *op) = 0;

  /// What makes kernels of `op`, or null.
  const Builder *builderOf(Operation *op) const {
    auto found = builders.find(op->getName().getTypeID());
    return found == builders.end() ? nullptr : &found->second;
  }

protected:
  /// Registers a function of (Op, StringRef) for an operation.
  template <typename Op, typename F> void addBuilder(F f) {
    builders[TypeID::get<Op>()] = [f](Operation *op, StringRef stem) {
      return f(cast<Op>(op), stem);
    };
  }

private:
  DenseMap<TypeID, Builder> builders;
};

/// Kernels for `target`, a GPU (in a gpu.module of `module`) or a CPU. Fails with a
/// diagnostic if there is no such target.
FailureOr<std::unique_ptr<KernelTarget>> makeGpuTarget(ModuleOp module,
                                                       StringRef target);
std::unique_ptr<KernelTarget> makeCpuTarget();

} // namespace mlir::qlinear
#endif
