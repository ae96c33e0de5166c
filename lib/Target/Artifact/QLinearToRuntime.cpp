//===- QLinearToRuntime.cpp - Launches as calls of the runtime ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The module becomes its own artifact (docs/artifact.md): every different launch is
// a function of the manifest with one step. Its code is compiled by way of LLVM IR,
// since the micro-kernels are, and imported back as the LLVM dialect.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Target/Compiler.h"
#include "qlinear/Target/HostCode.h"
#include "qlinear/Target/Passes.h"
#include "qlinear/Transforms/ModuleTarget.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMIRToLLVMTranslation.h"
#include "mlir/Target/LLVMIR/Import.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Module.h"

namespace mlir::qlinear {
#define GEN_PASS_DEF_QLINEARTORUNTIME
#include "qlinear/Target/Passes.h.inc"
} // namespace mlir::qlinear

using namespace mlir;
using namespace mlir::qlinear;

namespace {
/// Launches that differ in their buffers only.
struct Function {
  LaunchOp first;
  SmallVector<LaunchOp> launches;
  /// Inputs that are no constants: a call passes them before the outputs.
  SmallVector<unsigned> inputs;
  func::FuncOp description; ///< in tensors, for the manifest
  LLVM::LLVMFuncOp wrapper; ///< takes pointers and numbers of rows
};

struct QLinearToRuntime : mlir::qlinear::impl::QLinearToRuntimeBase<QLinearToRuntime> {
  using QLinearToRuntimeBase::QLinearToRuntimeBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    QLinearToRuntimeBase::getDependentDialects(registry);
    registerLLVMDialectImport(registry);
    ::qlinear::registerHostTranslations(registry);
    ::qlinear::registerNVPTXTranslations(registry);
  }
  void runOnOperation() override;

private:
  LogicalResult collect();
  void describe(Function &function, StringRef name);
  OwningOpRef<ModuleOp> takeKernels();
  LogicalResult addArtifact(::qlinear::Compilation &compilation);
  void addInterface();
  LLVM::LLVMFuncOp declare(StringRef name, Type result, ArrayRef<Type> arguments);
  void makeWrapper(Function &function, unsigned index);
  void lower(Function &function, LaunchOp launch);

  std::string symbol(StringRef name) { return (prefix + "." + name).str(); }
  Type pointerType() { return LLVM::LLVMPointerType::get(&getContext()); }
  Type i32() { return IntegerType::get(&getContext(), 32); }
  Type i64() { return IntegerType::get(&getContext(), 64); }

  SmallVector<Function, 0> functions;
  llvm::StringMap<unsigned> numbers; ///< of functions, by what they depend on
};
} // namespace

/// A constant of the module that bufferization has moved to a global.
static DenseElementsAttr constantOf(Value input) {
  auto get = input.getDefiningOp<memref::GetGlobalOp>();
  auto global = get ? SymbolTable::lookupNearestSymbolFrom<memref::GlobalOp>(
                          get, get.getNameAttr())
                    : nullptr;
  if (!global || !global.getConstant() || global.isExternal())
    return {};
  return dyn_cast<DenseElementsAttr>(*global.getInitialValue());
}

static RankedTensorType tensorOf(Type type) {
  auto memref = cast<MemRefType>(type);
  return RankedTensorType::get(memref.getShape(), memref.getElementType());
}

/// Whether a kernel takes a buffer as it is: its rows follow one another without a gap,
/// from a multiple of 16 bytes on, as far as that is known before it runs.
static bool isDense(MemRefType type) {
  constexpr int64_t kAlign = 16;
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || strides.back() != 1)
    return false;
  if (!ShapedType::isDynamic(offset) &&
      offset * type.getElementTypeBitWidth() / 8 % kAlign)
    return false;
  return type.getRank() == 1 || strides[0] == type.getDimSize(1);
}

//===----------------------------------------------------------------------===//
// Launched functions
//===----------------------------------------------------------------------===//

/// Reports what would be left: no pass after this one knows our operations.
static LogicalResult checkNothingIsLeft(ModuleOp module) {
  WalkResult result = module.walk([](Operation *op) {
    StringRef before;
    if (isa<KernelOpInterface>(op))
      before = "qlinear-cpu or qlinear-cuda makes kernels of it; run one of them, then "
               "one-shot-bufferize, before qlinear-to-runtime";
    else if (isa<DequantizeOp>(op))
      before = "qlinear-to-reference writes it out in linalg; run it, then "
               "one-shot-bufferize, before qlinear-to-runtime";
    else if (isa<ReencodeOp>(op))
      before = "qlinear-compact-metadata computes it; run it before qlinear-to-runtime";
    else
      return WalkResult::advance();
    op->emitError("'") << op->getName() << "' is left: " << before;
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

LogicalResult QLinearToRuntime::collect() {
  if (failed(checkNothingIsLeft(getOperation())))
    return failure();
  WalkResult result = getOperation().walk([&](LaunchOp launch) {
    if (launch.hasTensorSemantics()) {
      launch.emitOpError("is on tensors; run one-shot-bufferize before "
                         "qlinear-to-runtime");
      return WalkResult::interrupt();
    }
    std::string key;
    llvm::raw_string_ostream os(key);
    os << launch.getVariants() << launch.getTempsAttr() << launch.getPdl();
    for (Value weight : launch.getWeights())
      if (auto load = weight.getDefiningOp<LoadOp>())
        os << load.getParameterAttr();
      else
        os << weight.getAsOpaquePointer() << ' ';
    SmallVector<unsigned> inputs;
    for (auto [index, input] : llvm::enumerate(launch.getInputs()))
      if (DenseElementsAttr constant = constantOf(input))
        os << constant.getAsOpaquePointer() << ' ';
      else {
        os << tensorOf(input.getType());
        inputs.push_back(index);
      }
    for (Value buffer : llvm::concat<Value>(launch.getCaches(), launch.getOuts()))
      os << tensorOf(buffer.getType());
    auto [it, isNew] = numbers.try_emplace(key, functions.size());
    if (isNew)
      functions.push_back({launch, {}, inputs, {}, {}});
    functions[it->second].launches.push_back(launch);
    ++numLaunches;
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

/// The launch as the only operation of a function on tensors, in this module for now,
/// where the symbols are.
void QLinearToRuntime::describe(Function &function, StringRef name) {
  LaunchOp launch = function.first;
  OpBuilder b = OpBuilder::atBlockEnd(getOperation().getBody());
  SmallVector<Type> arguments, results;
  for (unsigned index : function.inputs)
    arguments.push_back(tensorOf(launch.getInputs()[index].getType()));
  for (Value out : launch.getOuts())
    results.push_back(tensorOf(out.getType()));
  for (Value cache : launch.getCaches()) {
    arguments.push_back(tensorOf(cache.getType()));
    results.push_back(arguments.back());
  }
  function.description = func::FuncOp::create(
      b, launch.getLoc(), name, FunctionType::get(&getContext(), arguments, results));
  b.setInsertionPointToStart(function.description.addEntryBlock());

  SmallVector<Value> weights, inputs;
  for (Value weight : launch.getWeights()) {
    Operation *maker = weight.getDefiningOp();
    if (!maker) {
      weights.push_back(weight); // reported by whoever looks it up
      continue;
    }
    IRMapping mapping;
    for (Value component : maker->getOperands())
      if (Operation *op = component.getDefiningOp(); op && op->getNumOperands() == 0)
        mapping.map(component, b.clone(*op)->getResult(0));
    weights.push_back(b.clone(*maker, mapping)->getResult(0));
  }
  unsigned next = 0;
  for (Value input : launch.getInputs())
    if (DenseElementsAttr constant = constantOf(input))
      inputs.push_back(arith::ConstantOp::create(b, launch.getLoc(), constant));
    else
      inputs.push_back(function.description.getArgument(next++));
  ValueRange caches = function.description.getArguments().drop_front(next);
  auto clone = LaunchOp::create(b, launch.getLoc(), results, launch.getVariants(),
                                weights, inputs, caches, /*outs=*/ValueRange(),
                                launch.getTempsAttr(), launch.getPdl());
  func::ReturnOp::create(b, launch.getLoc(), clone.getResults());
}

/// Moves the kernels that are launched into a module of their own.
OwningOpRef<ModuleOp> QLinearToRuntime::takeKernels() {
  ModuleOp module = getOperation();
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(module.getLoc());
  llvm::SetVector<Operation *> taken;
  for (Function &function : functions)
    for (VariantAttr variant : function.first.getVariantList())
      if (Operation *op = module.lookupSymbol(variant.getKernel().getRootReference()))
        taken.insert(op);
  for (auto f : module.getOps<LLVM::LLVMFuncOp>())
    if (f.isExternal() && f.getName().starts_with("ql_cpu_"))
      taken.insert(f);
  for (Operation *op : taken)
    op->moveBefore(kernels->getBody(), kernels->getBody()->end());
  if (module.getOps<gpu::GPUModuleOp>().empty())
    module->removeAttr(gpu::GPUDialect::getContainerModuleAttrName());
  return kernels;
}

//===----------------------------------------------------------------------===//
// Additions to the module
//===----------------------------------------------------------------------===//

/// The kernels are optimised: what has told the optimiser about aliases is only long.
static void dropAliasMetadata(llvm::Module &code) {
  for (llvm::Function &function : code)
    for (llvm::BasicBlock &block : function)
      for (llvm::Instruction &instruction : llvm::make_early_inc_range(block)) {
        instruction.dropUnknownNonDebugMetadata({llvm::LLVMContext::MD_loop});
        if (isa<llvm::NoAliasScopeDeclInst>(instruction))
          instruction.eraseFromParent();
      }
}

LogicalResult QLinearToRuntime::addArtifact(::qlinear::Compilation &compilation) {
  ModuleOp module = getOperation();
  llvm::Module &code = *compilation.artifact;
  dropAliasMetadata(code);
  // No name of it can be one of the module's.
  for (llvm::GlobalObject &object : code.global_objects())
    if (!object.isDeclaration()) {
      object.setName(symbol(object.getName() == "qlinear_artifact" ? "artifact"
                                                                   : object.getName()));
      object.setLinkage(llvm::GlobalValue::InternalLinkage);
      object.setVisibility(llvm::GlobalValue::DefaultVisibility);
    }
  OwningOpRef<ModuleOp> imported =
      translateLLVMIRToModule(std::move(compilation.artifact), &getContext(),
                              /*emitExpensiveWarnings=*/false);
  if (!imported)
    return module.emitError("the code of the kernels cannot be imported");
  for (Operation &op : llvm::make_early_inc_range(*imported->getBody())) {
    auto name = op.getAttrOfType<StringAttr>(SymbolTable::getSymbolAttrName());
    Operation *there = name ? module.lookupSymbol(name) : nullptr;
    if (!there)
      op.moveBefore(module.getBody(), module.getBody()->end());
    else if (!isa<LLVM::LLVMFuncOp>(op) || !cast<LLVM::LLVMFuncOp>(op).isExternal())
      return there->emitError("the name '")
             << name.getValue() << "' is needed for compiled kernels; rename it, or "
             << "use another prefix than '" << prefix << "'";
  }
  return success();
}

LLVM::LLVMFuncOp QLinearToRuntime::declare(StringRef name, Type result,
                                           ArrayRef<Type> arguments) {
  if (auto there = getOperation().lookupSymbol<LLVM::LLVMFuncOp>(name))
    return there;
  OpBuilder b = OpBuilder::atBlockEnd(getOperation().getBody());
  return LLVM::LLVMFuncOp::create(b, getOperation().getLoc(), name,
                                  LLVM::LLVMFunctionType::get(result, arguments));
}

/// The slot of the program, and the functions that open and close it.
void QLinearToRuntime::addInterface() {
  Location loc = getOperation().getLoc();
  OpBuilder b = OpBuilder::atBlockEnd(getOperation().getBody());
  auto slot =
      LLVM::GlobalOp::create(b, loc, pointerType(), /*isConstant=*/false,
                             LLVM::Linkage::Internal, symbol("program"), Attribute());
  {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&slot.getInitializerRegion());
    LLVM::ReturnOp::create(b, loc, LLVM::ZeroOp::create(b, loc, pointerType()));
  }
  Type pointer = pointerType(), none = LLVM::LLVMVoidType::get(&getContext());
  auto add = [&](StringRef name, StringRef callee, Type result, unsigned arguments,
                 bool takesDescriptor) {
    SmallVector<Type> own(arguments, pointer);
    SmallVector<Type> all(arguments + 1 + takesDescriptor, pointer);
    declare(callee, result, all);
    auto f = declare((prefix + name).str(), result, own);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(f.addEntryBlock(b));
    SmallVector<Value> values{
        LLVM::AddressOfOp::create(b, loc, pointer, symbol("program"))};
    if (takesDescriptor)
      values.push_back(LLVM::AddressOfOp::create(b, loc, pointer, symbol("artifact")));
    llvm::append_range(values, f.getArguments());
    bool isVoid = result == none;
    auto call = LLVM::CallOp::create(b, loc, isVoid ? TypeRange() : TypeRange(result),
                                     callee, values);
    LLVM::ReturnOp::create(b, loc, call.getResults());
  };
  add("_open", "qlr_program_open", i32(), 2, true);
  add("_set_stream", "qlr_program_set_stream", i32(), 1, false);
  add("_close", "qlr_program_close", none, 0, false);
}

static int32_t dtypeOf(Type type) {
  return type.isF32()        ? 0
         : type.isF16()      ? 1
         : type.isBF16()     ? 2
         : type.isInteger(8) ? 3
                             : 4;
}

/// void launchN(pointer, rows, ...): the arguments of qlr_program_launch on the stack.
void QLinearToRuntime::makeWrapper(Function &function, unsigned index) {
  Location loc = function.first.getLoc();
  SmallVector<Type> types(function.description.getArgumentTypes());
  unsigned inputs = types.size(); // with caches, of which results are no outputs
  llvm::append_range(types, function.description.getResultTypes().drop_back(
                                function.first.getCaches().size()));
  unsigned outputs = types.size() - inputs;
  Type pointer = pointerType(), none = LLVM::LLVMVoidType::get(&getContext());
  SmallVector<Type> arguments(2 * types.size(), i64());
  function.wrapper = declare(symbol("launch" + std::to_string(index)), none, arguments);
  function.wrapper.setLinkage(LLVM::Linkage::Internal);
  declare("qlr_program_fail", none, {i32()});
  declare("qlr_program_launch", i32(),
          {pointer, pointer, i32(), pointer, i32(), pointer, i32()});

  OpBuilder b(&getContext());
  b.setInsertionPointToStart(function.wrapper.addEntryBlock(b));
  auto integer = [&](Type type, int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, loc, type, b.getIntegerAttr(type, value));
  };
  auto shape = LLVM::LLVMArrayType::get(i64(), 4);
  auto tensor =
      LLVM::LLVMStructType::getLiteral(&getContext(), {pointer, i32(), i32(), shape});
  Value array =
      LLVM::AllocaOp::create(b, loc, pointer, tensor, integer(i32(), types.size()), 8);
  auto at = [&](unsigned i, ArrayRef<LLVM::GEPArg> path) -> Value {
    SmallVector<LLVM::GEPArg> indices{int32_t(i)};
    llvm::append_range(indices, path);
    return LLVM::GEPOp::create(b, loc, pointer, tensor, array, indices);
  };
  for (auto [i, type] : llvm::enumerate(types)) {
    auto shaped = cast<RankedTensorType>(type);
    Value data =
        LLVM::IntToPtrOp::create(b, loc, pointer, function.wrapper.getArgument(2 * i));
    LLVM::StoreOp::create(b, loc, data, at(i, {0}));
    LLVM::StoreOp::create(b, loc, integer(i32(), dtypeOf(shaped.getElementType())),
                          at(i, {1}));
    LLVM::StoreOp::create(b, loc, integer(i32(), shaped.getRank()), at(i, {2}));
    for (auto [d, size] : llvm::enumerate(shaped.getShape())) {
      Value value = ShapedType::isDynamic(size)
                        ? Value(function.wrapper.getArgument(2 * i + 1))
                        : integer(i64(), size);
      LLVM::StoreOp::create(b, loc, value, at(i, {3, int32_t(d)}));
    }
  }
  Value slot = LLVM::AddressOfOp::create(b, loc, pointer, symbol("program"));
  Value descriptor = LLVM::AddressOfOp::create(b, loc, pointer, symbol("artifact"));
  Value status =
      LLVM::CallOp::create(b, loc, TypeRange(i32()), "qlr_program_launch",
                           ValueRange{slot, descriptor, integer(i32(), index), array,
                                      integer(i32(), inputs), at(inputs, {}),
                                      integer(i32(), outputs)})
          .getResult();
  Value ok =
      LLVM::ICmpOp::create(b, loc, LLVM::ICmpPredicate::eq, status, integer(i32(), 0));
  Block *entry = b.getInsertionBlock();
  Block *done = b.createBlock(&function.wrapper.getBody(), {});
  LLVM::ReturnOp::create(b, loc, ValueRange());
  Block *failed = b.createBlock(&function.wrapper.getBody(), {});
  LLVM::CallOp::create(b, loc, TypeRange(), "qlr_program_fail", status);
  LLVM::ReturnOp::create(b, loc, ValueRange());
  b.setInsertionPointToEnd(entry);
  LLVM::CondBrOp::create(b, loc, ok, done, failed);
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

void QLinearToRuntime::lower(Function &function, LaunchOp launch) {
  OpBuilder b(launch);
  Location loc = launch.getLoc();
  SmallVector<Value> arguments;
  SmallVector<std::pair<Value, Value>> copies; // dense buffer, original
  SmallVector<Value> allocated;
  auto pass = [&](Value buffer, bool isIn, bool isOut) {
    auto type = cast<MemRefType>(buffer.getType());
    if (!isDense(type)) {
      auto dense = MemRefType::get(type.getShape(), type.getElementType());
      SmallVector<Value> sizes;
      for (int64_t d = 0; d < type.getRank(); ++d)
        if (type.isDynamicDim(d))
          sizes.push_back(memref::DimOp::create(b, loc, buffer, d));
      Value copy =
          memref::AllocOp::create(b, loc, dense, sizes, b.getI64IntegerAttr(64));
      allocated.push_back(copy);
      if (isOut)
        copies.push_back({copy, buffer});
      if (isIn)
        memref::CopyOp::create(b, loc, buffer, copy);
      buffer = copy;
      type = dense;
    }
    auto toI64 = [&](Value index) -> Value {
      return arith::IndexCastOp::create(b, loc, i64(), index);
    };
    Value address =
        toI64(memref::ExtractAlignedPointerAsIndexOp::create(b, loc, buffer));
    SmallVector<int64_t> strides;
    int64_t offset;
    if (failed(type.getStridesAndOffset(strides, offset)) || offset != 0) {
      auto metadata = memref::ExtractStridedMetadataOp::create(b, loc, buffer);
      Value bytes = arith::ConstantIntOp::create(b, loc, i64(),
                                                 type.getElementTypeBitWidth() / 8);
      address = arith::AddIOp::create(
          b, loc, address,
          arith::MulIOp::create(b, loc, toI64(metadata.getOffset()), bytes));
    }
    Value rows = type.isDynamicDim(0)
                     ? toI64(memref::DimOp::create(b, loc, buffer, 0))
                     : Value(arith::ConstantIntOp::create(b, loc, i64(), 0));
    arguments.append({address, rows});
  };
  for (unsigned index : function.inputs)
    pass(launch.getInputs()[index], /*isIn=*/true, /*isOut=*/false);
  for (Value cache : launch.getCaches())
    pass(cache, /*isIn=*/true, /*isOut=*/true);
  for (Value out : launch.getOuts())
    pass(out, /*isIn=*/false, /*isOut=*/true);
  LLVM::CallOp::create(b, loc, function.wrapper, arguments);
  for (auto [copy, original] : copies)
    memref::CopyOp::create(b, loc, copy, original);
  for (Value buffer : allocated)
    memref::DeallocOp::create(b, loc, buffer);
  launch.erase();
}

void QLinearToRuntime::runOnOperation() {
  ModuleOp module = getOperation();
  functions.clear();
  numbers.clear();
  ::qlinear::CompileSettings settings;
  auto known = ::qlinear::targetOf(module, target, "cpu");
  if (failed(known))
    return signalPassFailure();
  auto targets = ::qlinear::Target::parseList(*known);
  if (!targets) {
    module.emitError() << llvm::toString(targets.takeError());
    return signalPassFailure();
  }
  settings.targets = std::move(*targets);
  if (failed(collect()))
    return signalPassFailure();
  module->removeAttr(::qlinear::kTargetAttrName); // the module's code has it now
  if (functions.empty())
    return;
  numFunctions = functions.size();
  unsigned index = 0;
  SmallVector<func::FuncOp> descriptions;
  for (Function &function : functions) {
    describe(function, symbol("function" + std::to_string(index++)));
    descriptions.push_back(function.description);
  }
  OwningOpRef<ModuleOp> kernels = takeKernels();
  TimingScope timing;
  auto compilation =
      ::qlinear::compileLaunches(*kernels, descriptions, settings, timing);
  if (failed(compilation) || failed(addArtifact(*compilation)))
    return signalPassFailure();
  addInterface();
  index = 0;
  for (Function &function : functions) {
    makeWrapper(function, index++);
    for (LaunchOp launch : function.launches)
      lower(function, launch);
    function.description.erase();
  }
  // Nothing else uses weights now, or it is not ours to remove.
  SmallVector<Operation *> makers;
  module.walk([&](Operation *op) {
    if (isa<LoadOp, PackOp>(op) && op->use_empty())
      makers.push_back(op);
  });
  for (Operation *op : makers)
    op->erase();
  for (auto parameter : llvm::make_early_inc_range(module.getOps<ParameterOp>()))
    if (SymbolTable::symbolKnownUseEmpty(parameter, module))
      parameter.erase();
}
