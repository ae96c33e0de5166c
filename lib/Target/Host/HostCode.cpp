//===- HostCode.cpp - LLVM IR of CPU kernels ------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Target/HostCode.h"

#include "../MicroKernels.h"
#include "../Optimizer.h"
#include "qlinear/Target/HostObject.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;

namespace qlinear {

llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createKernelMachine(const InstructionSet &set) {
  auto machine = createHostMachine(set.architecture, set.cpu, set.features);
  if (machine)
    (*machine)->setOptLevel(llvm::CodeGenOptLevel::Aggressive);
  return machine;
}

//===----------------------------------------------------------------------===//
// To the LLVM dialect
//===----------------------------------------------------------------------===//

namespace {

/// math.floor where there is no instruction for it: by way of integers, which
/// hold every float that has a fraction.
struct ExpandFloor : OpRewritePattern<math::FloorOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::FloorOp op, PatternRewriter &b) const override {
    Location loc = op.getLoc();
    Value x = op.getOperand();
    Type type = x.getType();
    auto real = cast<FloatType>(getElementTypeOrSelf(type));
    Type bits = b.getIntegerType(real.getWidth());
    Type integer = isa<VectorType>(type) ? cast<VectorType>(type).clone(bits) : bits;
    auto constant = [&](double v) -> Value {
      Attribute value = b.getFloatAttr(real, v);
      if (auto shaped = dyn_cast<ShapedType>(type))
        value = DenseElementsAttr::get(shaped, value);
      return arith::ConstantOp::create(b, loc, cast<TypedAttr>(value));
    };
    Value size = math::AbsFOp::create(b, loc, x);
    Value whole = constant(std::ldexp(1.0, real.getFPMantissaWidth() - 1));
    Value small = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, size, whole);
    Value safe = arith::SelectOp::create(b, loc, small, x, constant(0));
    Value toZero = arith::SIToFPOp::create(
        b, loc, type, arith::FPToSIOp::create(b, loc, integer, safe));
    Value above =
        arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, toZero, safe);
    Value down = arith::SubFOp::create(
        b, loc, toZero,
        arith::SelectOp::create(b, loc, above, constant(1), constant(0)));
    Value signedDown = math::CopySignOp::create(b, loc, down, x); // -0 stays
    b.replaceOpWithNewOp<arith::SelectOp>(op, small, signedDown, x);
    return success();
  }
};

/// math.trunc where there is no instruction for it.
struct ExpandTrunc : OpRewritePattern<math::TruncOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::TruncOp op,
                                PatternRewriter &rewriter) const override {
    Value x = op.getOperand();
    Value size = math::AbsFOp::create(rewriter, op.getLoc(), x);
    Value down = math::FloorOp::create(rewriter, op.getLoc(), size);
    rewriter.replaceOpWithNewOp<math::CopySignOp>(op, down, x);
    return success();
  }
};

/// Expands math functions into arithmetic: kernels call no math library.
struct ExpandMath : PassWrapper<ExpandMath, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExpandMath)
  explicit ExpandMath(const InstructionSet &set) : set(set) {}

  void runOnOperation() override {
    static constexpr StringRef kApproximated[] = {
        "math.acos", "math.asin",  "math.atan", "math.atan2", "math.cbrt",
        "math.cos",  "math.erf",   "math.erfc", "math.exp",   "math.expm1",
        "math.log",  "math.log1p", "math.log2", "math.sin",   "math.tanh"};
    auto approximated = [](StringRef name) {
      return llvm::is_contained(kApproximated, name);
    };
    SmallVector<StringRef> expanded = {"acosh", "asinh", "atanh", "clampf",
                                       "cosh",  "exp2",  "fpowi", "powf",
                                       "round", "rsqrt", "sinh",  "tan"};
    if (!set.isModern())
      llvm::append_values(expanded, "ceil", "fma", "roundeven");
    RewritePatternSet patterns(&getContext());
    populateMathF32ExpansionPatterns(patterns, approximated);
    populateMathPolynomialApproximationPatterns(patterns, approximated);
    math::populateExpansionPatterns(patterns, expanded);
    if (!set.isModern())
      patterns.add<ExpandFloor, ExpandTrunc>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();

    // The remaining ones must be instructions.
    WalkResult result = getOperation().walk([&](Operation *op) {
      bool isMath = op->getName().getDialectNamespace() == "math";
      bool inlined =
          isa<math::AbsFOp, math::AbsIOp, math::CopySignOp, math::SqrtOp,
              math::CountLeadingZerosOp, math::CountTrailingZerosOp, math::CtPopOp,
              math::IsFiniteOp, math::IsInfOp, math::IsNaNOp, math::IsNormalOp>(op) ||
          (set.isModern() && isa<math::FmaOp, math::CeilOp, math::FloorOp,
                                 math::RoundEvenOp, math::TruncOp>(op));
      if (isa<arith::RemFOp>(op) || (isMath && !inlined)) {
        op->emitError("'") << op->getName()
                           << "' has no inline form for cpu:" << StringRef(set.name)
                           << " on " << *op->operand_type_begin()
                           << "; compute it in f32, or outside of the linear";
        return WalkResult::interrupt();
      }
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }

  const InstructionSet &set;
};

} // namespace

/// Kernels and the micro-kernels they call, alone in a module. Fails if two
/// kernels have one name.
static FailureOr<OwningOpRef<ModuleOp>> extractKernels(ModuleOp module,
                                                       StringRef prefix) {
  OwningOpRef<ModuleOp> result = ModuleOp::create(module.getLoc());
  OpBuilder b = OpBuilder::atBlockEnd(result->getBody());
  llvm::StringSet<> names;
  WalkResult walk = module.walk([&](LLVM::LLVMFuncOp func) {
    bool kernel = func->hasAttr("qlinear.kernel");
    if (!kernel && !(func.isExternal() && func.getName().starts_with("ql_cpu_")))
      return WalkResult::advance();
    if (!names.insert(func.getName()).second) {
      if (!kernel)
        return WalkResult::advance(); // declared in several modules
      func.emitError("another module has a kernel of the same name, '")
          << func.getName() << "'; rename one";
      return WalkResult::interrupt();
    }
    auto clone = cast<LLVM::LLVMFuncOp>(b.clone(*func));
    if (kernel) {
      clone.setName((prefix + func.getName()).str());
      clone.setVisibility(SymbolTable::Visibility::Public);
      clone.setLinkage(LLVM::Linkage::External);
    }
    return WalkResult::advance();
  });
  if (walk.wasInterrupted())
    return failure();
  return result;
}

static LogicalResult lowerToLLVMDialect(ModuleOp module, const InstructionSet &set) {
  PassManager pm(module.getContext(), ModuleOp::getOperationName());
  pm.enableVerifier(false);
  pm.addPass(std::make_unique<ExpandMath>(set));
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(module);
}

//===----------------------------------------------------------------------===//
// Linking and optimisation
//===----------------------------------------------------------------------===//

/// Inlines the micro-kernels before anything looks at them: simplified on their
/// own, with the encoding unknown, they would lose their loops' unrolling. Their
/// constants then fold in small steps, so that the standard pipeline sees
/// straight-line code.
static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  Optimizer optimizer(machine);
  optimizer.run(module, "always-inline,globaldce");
  optimizer.runO2(module);
}

FailureOr<std::unique_ptr<llvm::Module>>
translateHostKernels(ModuleOp module, llvm::LLVMContext &context,
                     const HostCodeOptions &options) {
  const InstructionSet *set = findInstructionSet(options.instructionSet);
  if (!set)
    return module.emitError("unknown instruction set '")
           << options.instructionSet << "' of CPUs; use one of "
           << listInstructionSets();
  auto machine = createKernelMachine(*set);
  if (!machine)
    return module.emitError(llvm::toString(machine.takeError()));
  FailureOr<OwningOpRef<ModuleOp>> kernels = extractKernels(module, options.prefix);
  if (failed(kernels) || failed(lowerToLLVMDialect(**kernels, *set)))
    return failure();
  std::unique_ptr<llvm::Module> result =
      translateModuleToLLVMIR(**kernels, context, "cpu:" + options.instructionSet);
  if (!result)
    return module.emitError("CPU kernels cannot be translated to LLVM IR");
  result->setTargetTriple((*machine)->getTargetTriple());
  result->setDataLayout((*machine)->createDataLayout());
  return result;
}

llvm::Error completeHostKernels(llvm::Module &module, const InstructionSet &set) {
  auto machine = createKernelMachine(set);
  if (!machine)
    return machine.takeError();
  llvm::SmallPtrSet<const llvm::Function *, 8> kernels;
  for (const llvm::Function &f : module)
    if (!f.isDeclaration())
      kernels.insert(&f);
  if (llvm::Error error = linkMicroKernels(module, "cpu-" + std::string(set.name)))
    return error;
  for (llvm::Function &f : module) {
    if (f.isDeclaration())
      continue;
    // Skeleton and micro-kernels have to agree, or they are not inlined; and all
    // targets may become one module: each function says what it may use.
    f.addFnAttr("target-cpu", (*machine)->getTargetCPU());
    f.addFnAttr("target-features", (*machine)->getTargetFeatureString());
    f.addFnAttr("prefer-vector-width", "512");
    if (!kernels.contains(&f)) {
      f.setLinkage(llvm::GlobalValue::InternalLinkage);
      f.setComdat(nullptr);
      f.removeFnAttr(llvm::Attribute::NoInline);
      f.addFnAttr(llvm::Attribute::AlwaysInline);
    }
  }
  optimize(module, **machine);
  for (const llvm::Function &f : module)
    if (f.isDeclaration() && !f.isIntrinsic() && !f.use_empty())
      return llvm::createStringError("CPU kernels call '" + f.getName() +
                                     "', which nothing defines");
  return llvm::Error::success();
}

FailureOr<std::unique_ptr<llvm::Module>> toHostLLVM(ModuleOp module,
                                                    llvm::LLVMContext &context,
                                                    const HostCodeOptions &options) {
  auto result = translateHostKernels(module, context, options);
  if (failed(result))
    return failure();
  if (llvm::Error error =
          completeHostKernels(**result, *findInstructionSet(options.instructionSet)))
    return module.emitError(llvm::toString(std::move(error)));
  return result;
}

void registerHostTranslations(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

//===----------------------------------------------------------------------===//
// Passes for quant-opt
//===----------------------------------------------------------------------===//

namespace {
struct PrintHostLLVM : PassWrapper<PrintHostLLVM, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PrintHostLLVM)
  PrintHostLLVM() = default;
  PrintHostLLVM(const PrintHostLLVM &other) : PassWrapper(other) {}
  StringRef getArgument() const override { return "qlinear-print-host-llvm"; }
  StringRef getDescription() const override {
    return "print the LLVM IR or the assembly of the CPU kernels";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<LLVM::LLVMDialect>();
    registerHostTranslations(registry);
  }
  void runOnOperation() override {
    llvm::LLVMContext context;
    HostCodeOptions options;
    options.instructionSet = isa;
    auto code = toHostLLVM(getOperation(), context, options);
    if (failed(code))
      return signalPassFailure();
    (*code)->print(llvm::outs(), nullptr);
    llvm::outs().flush();
  }
  Option<std::string> isa{*this, "isa", llvm::cl::init("portable"),
                          llvm::cl::desc("the instruction set")};
};
} // namespace

void registerHostCodePasses() { PassRegistration<PrintHostLLVM>(); }

} // namespace qlinear
