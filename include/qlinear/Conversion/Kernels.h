//===- Kernels.h - Kernels and launches as rewrites -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What `qlinear-to-gpu` and `qlinear-to-cpu` do, for pipelines and rewrites of others:
//
//   auto maker = KernelMaker::create(module, "cuda:sm_90");   // or "cpu"
//   if (failed(maker)) ...
//   populateKernelPatterns(patterns, **maker);                // or maker->convert(op)
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_CONVERSION_KERNELS_H
#define QLINEAR_CONVERSION_KERNELS_H

#include "qlinear/Dialect/QLinear.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"

#include <map>
#include <memory>

namespace mlir::qlinear {

class KernelTarget;

/// Replaces operations by launches of kernels, which it adds to the module; operations
/// for which kernels were made before share them. A maker is not to outlive the module.
class KernelMaker {
public:
  /// `scope` is a symbol table in which all operations to convert are; for a GPU it has
  /// to be a module. `target` is "cuda:sm_NN", "cuda:emulated", "cpu" or "cpu:ISA".
  /// Fails with a diagnostic that lists the targets there are.
  static FailureOr<std::unique_ptr<KernelMaker>> create(Operation *scope,
                                                        StringRef target);
  ~KernelMaker();

  /// Replaces `op`, which is on tensors, by launches; activations of a linear that are
  /// quantized before it become a `qlinear.quantize_activations`, to be converted, too.
  /// With `joinsNorms` a linear may take the norm before it with it. Fails with a
  /// diagnostic.
  LogicalResult convert(RewriterBase &rewriter, KernelOpInterface op,
                        bool joinsNorms = false);
  /// Converts all operations in `scope`.
  LogicalResult convertAll(Operation *scope);

  /// Operations that convertAll replaced, kernels made, launches of kernels made
  /// before.
  int64_t numConverted = 0, numKernels = 0, numShared = 0;

private:
  KernelMaker(std::unique_ptr<KernelTarget> target, StringRef pass);
  /// The variants and temporaries of a launch.
  struct Made {
    ArrayAttr variants, temps;
  };
  /// `norm`: that the linear `op` is launched with, or null.
  FailureOr<Made> kernelsOf(KernelOpInterface op, NormOp norm);
  LogicalResult launch(RewriterBase &rewriter, KernelOpInterface op);
  LogicalResult launchJoined(RewriterBase &rewriter, NormOp norm, LinearOp linear);
  std::string freshName(Operation *symbolTable, StringRef stem);
  SmallVector<Value> inputsOf(RewriterBase &rewriter, KernelOpInterface op);
  Value quantized(RewriterBase &rewriter, Operation *op, Value x);

  std::unique_ptr<KernelTarget> target;
  std::string pass;
  /// Kernels by the symbol table they are in and all that they depend on.
  std::map<std::pair<Operation *, std::string>, Made> made;
  std::map<std::pair<Operation *, std::string>, unsigned> numbers;
  /// The variants among them that quantize activations.
  DenseSet<Attribute> quantizers;
};

/// A pattern that converts every operation of KernelOpInterface that is on tensors, for
/// greedy rewriting and for conversions. `maker` has to live as long as the patterns.
void populateKernelPatterns(RewritePatternSet &patterns, KernelMaker &maker);

} // namespace mlir::qlinear
#endif
