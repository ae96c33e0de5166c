//===- Compiler.cpp - From a module to an artifact ------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "qlinear/Target/Compiler.h"
#include "Artifact/Artifact.h"
#include "Artifact/Manifest.h"
#include "CodeMaker.h"
#include "qlinear/Conversion/Passes.h"
#include "qlinear/Encoding/Archive.h"
#include "qlinear/Target/HostCode.h"
#include "qlinear/Target/HostObject.h"
#include "qlinear/Transforms/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Complex/IR/Complex.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Shape/IR/Shape.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/IR/TensorInferTypeOpInterfaceImpl.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/Module.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Target/TargetMachine.h"

#include <deque>

using namespace mlir;
using llvm::json::Array;
using llvm::json::Object;

namespace qlinear {

Compilation::Compilation() = default;
Compilation::Compilation(Compilation &&) = default;
Compilation::~Compilation() = default;

void registerCompiler(DialectRegistry &registry) {
  registry.insert<mlir::qlinear::QLinearDialect, arith::ArithDialect, func::FuncDialect,
                  linalg::LinalgDialect, math::MathDialect, tensor::TensorDialect>();
  // What frontends emit beside these.
  registry.insert<affine::AffineDialect, bufferization::BufferizationDialect,
                  cf::ControlFlowDialect, complex::ComplexDialect,
                  ml_program::MLProgramDialect, quant::QuantDialect, scf::SCFDialect,
                  shape::ShapeDialect, ub::UBDialect, vector::VectorDialect>();
  // The sizes of results of reshapes.
  tensor::registerInferTypeOpInterfaceExternalModels(registry);
  registerNVPTXTranslations(registry);
  registerHostTranslations(registry);
  registerCanonicalizerPass();
  registerCSEPass();
  mlir::qlinear::registerQLinearPasses();
  mlir::qlinear::registerQLinearConversionPasses();
  registerPipelines();
}

namespace {

class Driver {
public:
  Driver(ModuleOp source, const CompileSettings &settings, Stage stage, StringRef name,
         TimingScope &timing)
      : source(source), settings(settings), stage(stage), name(name), timing(timing),
        checksums(settings.checksums),
        maker(settings, stage, architectureOf(settings.targets)) {}

  FailureOr<Compilation> run();
  FailureOr<Compilation> runLaunches(ArrayRef<func::FuncOp> functions);

private:
  LogicalResult runPasses(ModuleOp module, StringRef pipeline, TimingScope &scope);
  LogicalResult checkFunctions();
  LogicalResult checkLinears();
  LogicalResult checkParams();
  void adopt(mlir::qlinear::ParameterOp parameter, mlir::qlinear::WeightType type);
  FailureOr<TargetCode> compileTarget(const Target &target, Object &description);
  LogicalResult makeCode(MutableArrayRef<Object> descriptions);
  Array describeWeights() const;
  void makeManifest(std::vector<Object> descriptions);
  LogicalResult makeArtifact(ArrayRef<func::FuncOp> exported);

  ModuleOp source;
  const CompileSettings &settings;
  Stage stage;
  StringRef name;
  TimingScope &timing;
  Compilation result;
  WeightTable weights;
  llvm::StringMap<std::string> checksums; ///< by a parameter's name in the archive
  CodeMaker maker;
};

} // namespace

LogicalResult Driver::runPasses(ModuleOp module, StringRef pipeline,
                                TimingScope &scope) {
  PassManager manager(module.getContext(), ModuleOp::getOperationName());
  manager.enableTiming(scope);
  if (failed(addPipeline(manager, pipeline)))
    return module.emitError("this build cannot run the pipeline ") << pipeline;
  return manager.run(module);
}

LogicalResult Driver::checkFunctions() {
  SmallVector<func::FuncOp> functions = exportedFunctions(source);
  if (functions.empty())
    return source.emitError("the module has no public function with a body, and so "
                            "nothing to compile");
  llvm::StringMap<StringRef> symbols;
  symbols["qlinear_artifact"] = "the descriptor";
  for (func::FuncOp function : functions) {
    if (std::string why = whyNotExported(function.getName()); !why.empty())
      return function.emitError("function '")
             << function.getName() << "' cannot be exported: " << why << "; rename it";
    auto [it, isNew] =
        symbols.try_emplace(cIdentifier(function.getName()), function.getName());
    if (!isNew)
      return function.emitError("function '")
             << function.getName() << "' would be exported as '" << it->first()
             << "', as is " << it->second << "; rename it";
  }
  return success();
}

/// There must be something to compile. A function without linears among others that
/// have some may be meant for another compiler: a warning.
LogicalResult Driver::checkLinears() {
  SmallVector<func::FuncOp> without;
  bool any = false;
  for (func::FuncOp function : exportedFunctions(source)) {
    bool has =
        function
            .walk([](Operation *op) {
              return isa<mlir::qlinear::KernelOpInterface, mlir::qlinear::LaunchOp>(op)
                         ? WalkResult::interrupt()
                         : WalkResult::advance();
            })
            .wasInterrupted();
    any |= has;
    if (!has)
      without.push_back(function);
  }
  for (func::FuncOp function : without) {
    InFlightDiagnostic diagnostic = any ? function.emitWarning() : function.emitError();
    diagnostic << "function '" << function.getName()
               << "' has no quantized linear; what is compiled are qlinear.linear and "
                  "the elementwise operations that fuse into them";
    diagnostic.attachNote()
        << (settings.pipeline.raise
                ? "qlinear-raise found no linear of dequantized weights in it; "
                  "--remarks-filter=qlinear.* says why"
                : "if it dequantizes its weights itself, run qlinear-raise before, "
                  "or pass --raise; if it is no part of the artifact, make it "
                  "private");
  }
  return success(any);
}

/// Checks the parameters against the archive.
LogicalResult Driver::checkParams() {
  if (settings.params.empty())
    return success();
  Result<Archive> archive = Archive::open(settings.params);
  if (!archive)
    return emitError(UnknownLoc::get(source.getContext())) << archive.error();
  LogicalResult status = success();
  for (auto parameter : source.getOps<mlir::qlinear::ParameterOp>()) {
    std::string key = parameter.getArchiveName().str();
    auto type = parameter.getWeightType();
    const PackedWeight *found = archive->find(key);
    if (!found) {
      status = parameter.emitError("weight \"")
               << key << "\" is not in " << settings.params
               << "; pack it with quant-pack, or name another entry after 'from'";
      continue;
    }
    const PackedWeight &packed = *found;
    if (int64_t(packed.N) != type.getN() || int64_t(packed.K) != type.getK())
      status = parameter.emitError("weight \"")
               << key << "\" is " << type.getN() << " x " << type.getK()
               << " here, and " << packed.N << " x " << packed.K << " in "
               << settings.params;
    else if (packed.encoding != type.getEncoding().getValue() &&
             !settings.adoptEncodings)
      status = parameter.emitError("weight \"")
               << key << "\" is <" << type.getEncoding().getValue().str()
               << "> here, and <" << packed.encoding.str() << "> in " << settings.params
               << "; change the type, or pack the weight with that encoding";
    else {
      if (packed.encoding != type.getEncoding().getValue())
        adopt(parameter, type.withEncoding(mlir::qlinear::EncodingAttr::get(
                             source.getContext(), packed.encoding)));
      if (!packed.checksum.empty())
        checksums[key] = packed.checksum;
    }
  }
  // A user of a weight may need the type that it had.
  if (succeeded(status) && settings.adoptEncodings)
    status = verify(source);
  return status;
}

/// Gives a parameter and its loads another encoding.
void Driver::adopt(mlir::qlinear::ParameterOp parameter,
                   mlir::qlinear::WeightType type) {
  parameter.setType(type);
  source.walk([&](mlir::qlinear::LoadOp load) {
    if (load.getParameter() == parameter.getSymName())
      load.getResult().setType(type);
  });
}

FailureOr<TargetCode> Driver::compileTarget(const Target &target, Object &description) {
  TimingScope scope = timing.nest(target.str());
  TargetCode code{target, source.clone(), {}, nullptr, {}};
  ModuleOp module = *code.module;
  if (failed(runPasses(module, optimizePipeline(settings.pipeline), scope)))
    return failure();

  // The meaning of the functions, before kernels take the place of linears.
  std::vector<Object> functions;
  for (func::FuncOp function : exportedFunctions(module)) {
    FailureOr<Object> signature = describeSignature(function);
    if (failed(signature) || !llvm::hasSingleElement(function.getBody()))
      return failed(signature)
                 ? failure()
                 : function.emitError("function '")
                       << function.getName()
                       << "' has control flow; a compiled function is one block";
    FailureOr<Object> reference = describeReference(function, weights);
    if (failed(reference))
      return failure();
    (*signature)["reference"] = std::move(*reference);
    functions.push_back(std::move(*signature));
  }

  if (failed(runPasses(module, lowerPipeline(target, settings.pipeline), scope)))
    return failure();
  if (stage == Stage::mlir)
    return code;
  Array list;
  for (auto [function, entry] : llvm::zip(exportedFunctions(module), functions)) {
    FailureOr<Object> steps = describeSteps(function, weights);
    if (failed(steps))
      return failure();
    for (auto &[key, value] : *steps)
      entry[key] = std::move(value);
    list.push_back(std::move(entry));
  }
  description = Object{{"target", target.str()}, {"functions", std::move(list)}};
  TimingScope codeScope = scope.nest("translate");
  if (failed(maker.add(code)))
    return failure();
  return code;
}

/// Compiles the kernels of all targets, and describes their images.
LogicalResult Driver::makeCode(MutableArrayRef<Object> descriptions) {
  TimingScope scope = timing.nest("code");
  LogicalResult made = maker.run(result.targets, *result.context);
  result.compiled = maker.report.done;
  result.cached = maker.report.cached;
  result.cacheProblem = maker.report.cacheProblem;
  if (failed(made))
    return failure();
  for (auto [code, description] : llvm::zip_equal(result.targets, descriptions)) {
    if (code.target.kind != Target::Kind::cuda)
      continue;
    Array images;
    std::string prefix = code.target.str() + "/";
    if (!code.image.cubin.empty())
      images.push_back(Object{{"kind", "cubin"}, {"name", prefix + "cubin"}});
    if (!code.image.ptx.empty())
      images.push_back(Object{{"kind", "ptx"},
                              {"name", prefix + "ptx"},
                              {"version", code.image.ptxVersion}});
    description["images"] = std::move(images);
  }
  return success();
}

/// The weights; those of --params with the archive's checksums.
Array Driver::describeWeights() const {
  Array described = weights.describe();
  for (auto [value, entry] : llvm::zip(described, weights.entries()))
    if (auto it = checksums.find(entry.name);
        entry.blob.empty() && it != checksums.end())
      (*value.getAsObject())["xxh3"] = it->second;
  return described;
}

void Driver::makeManifest(std::vector<Object> descriptions) {
  Array targets;
  for (Object &description : descriptions)
    targets.push_back(std::move(description));
  Object manifest{{"version", 1},
                  {"layout", layout::kVersion},
                  {"producer", "qlinear " QLINEAR_VERSION},
                  {"weights", describeWeights()},
                  {"targets", std::move(targets)}};
  if (!weights.constantTensors().empty())
    manifest["constants"] = weights.describeConstants();
  llvm::raw_string_ostream(result.manifest) << llvm::json::Value(std::move(manifest));
}

LogicalResult Driver::makeArtifact(ArrayRef<func::FuncOp> exported) {
  TimingScope scope = timing.nest("artifact");
  std::vector<ArtifactImage> images;
  for (TargetCode &code : result.targets) {
    std::string prefix = code.target.str() + "/";
    if (code.target.kind == Target::Kind::cuda) {
      if (!code.image.cubin.empty())
        images.push_back({prefix + "cubin", code.image.cubin, "", 16});
      if (!code.image.ptx.empty()) // with its terminating zero
        images.push_back({prefix + "ptx",
                          ArrayRef(code.image.ptx.c_str(), code.image.ptx.size() + 1),
                          "", 16});
      continue;
    }
    std::string symbols = symbolPrefix(code.target);
    for (const KernelCode &kernel : code.kernels) {
      StringRef name = kernel.symbol;
      if (name.consume_front(symbols))
        images.push_back({prefix + name.str(), {}, kernel.symbol});
    }
  }
  for (const WeightTable::Entry &weight : weights.entries())
    if (!weight.blob.empty())
      images.push_back({weight.image(), weight.blob, "", 128});
  std::deque<std::vector<char>> tensors; // images refer to them
  for (auto [index, attribute] : llvm::enumerate(weights.constantTensors())) {
    auto value = cast<DenseElementsAttr>(attribute);
    // A splat is stored as one element.
    ArrayRef<char> raw = value.getRawData();
    std::vector<char> &data = tensors.emplace_back();
    for (int64_t i = 0, n = value.isSplat() ? value.getNumElements() : 1; i < n; ++i)
      data.insert(data.end(), raw.begin(), raw.end());
    images.push_back({WeightTable::constantImage(index), data, "", 128});
  }

  result.artifact = buildDescriptor(*result.context, result.manifest, images, exported);
  auto machine = createHostMachine(result.architecture);
  if (!machine)
    return source.emitError() << llvm::toString(machine.takeError());
  result.artifact->setTargetTriple((*machine)->getTargetTriple());
  result.artifact->setDataLayout((*machine)->createDataLayout());
  for (TargetCode &code : result.targets) {
    if (!code.llvm || !code.target.isHost() || stage == Stage::library)
      continue;
    for (const KernelCode &kernel : code.kernels)
      code.llvm->getFunction(kernel.symbol)
          ->setVisibility(llvm::GlobalValue::HiddenVisibility);
    code.llvm->setTargetTriple((*machine)->getTargetTriple());
    code.llvm->setDataLayout((*machine)->createDataLayout());
    if (llvm::Linker::linkModules(*result.artifact, std::move(code.llvm)))
      return source.emitError("the code for ")
             << code.target.str() << " cannot be linked into the artifact";
  }
  if (settings.sanitizeAddress)
    addAddressSanitizer(*result.artifact, **machine);
  return success();
}

FailureOr<Compilation> Driver::run() {
  result.context = std::make_unique<llvm::LLVMContext>();
  result.architecture = architectureOf(settings.targets);
  for (const Target &target : settings.targets)
    if (target.kind == Target::Kind::cuda && !settings.nvptx.ptxVersion.empty())
      if (llvm::Error error = checkPtxVersion(target.detail, settings.nvptx.ptxVersion))
        return emitError(UnknownLoc::get(source.getContext()))
               << llvm::toString(std::move(error));
  {
    TimingScope scope = timing.nest("prepare");
    PipelineSettings prepare = settings.pipeline;
    prepare.wholeFunctions = true;
    if (failed(runPasses(source, preparePipeline(prepare), scope)) ||
        failed(checkFunctions()) || failed(checkParams()) || failed(checkLinears()))
      return failure();
  }
  std::vector<Object> descriptions;
  for (const Target &target : settings.targets) {
    FailureOr<TargetCode> code = compileTarget(target, descriptions.emplace_back());
    if (failed(code))
      return failure();
    result.targets.push_back(std::move(*code));
  }
  if (stage == Stage::mlir)
    return std::move(result);
  if (failed(makeCode(descriptions)))
    return failure();
  makeManifest(std::move(descriptions));
  result.header = writeHeader(exportedFunctions(source), name);
  if (stage >= Stage::artifact && failed(makeArtifact(exportedFunctions(source))))
    return failure();
  return std::move(result);
}

FailureOr<Compilation> Driver::runLaunches(ArrayRef<func::FuncOp> functions) {
  result.context = std::make_unique<llvm::LLVMContext>();
  result.architecture = architectureOf(settings.targets);
  std::vector<Object> descriptions;
  for (const Target &target : settings.targets) {
    Array list;
    for (func::FuncOp function : functions) {
      FailureOr<Object> entry = describeSignature(function);
      FailureOr<Object> steps =
          failed(entry) ? FailureOr<Object>() : describeSteps(function, weights);
      if (failed(steps))
        return failure();
      for (auto &[key, value] : *steps)
        (*entry)[key] = std::move(value);
      list.push_back(std::move(*entry));
    }
    descriptions.push_back(
        Object{{"target", target.str()}, {"functions", std::move(list)}});
    TargetCode code{target, source.clone(), {}, nullptr, {}};
    if (failed(maker.add(code)))
      return failure();
    result.targets.push_back(std::move(code));
  }
  if (failed(makeCode(descriptions)))
    return failure();
  makeManifest(std::move(descriptions));
  if (failed(makeArtifact({})))
    return failure();
  return std::move(result);
}

FailureOr<Compilation> compileLaunches(ModuleOp kernels,
                                       ArrayRef<func::FuncOp> functions,
                                       const CompileSettings &settings,
                                       TimingScope &timing) {
  return Driver(kernels, settings, Stage::artifact, "", timing).runLaunches(functions);
}

FailureOr<Compilation> compile(ModuleOp source, const CompileSettings &settings,
                               Stage stage, StringRef name, TimingScope &timing) {
  return Driver(source, settings, stage, name, timing).run();
}

} // namespace qlinear
