//===- Manifest.cpp - Launches as data ------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Manifest.h"
#include "Caches.h"
#include "Operations.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include <cmath>

using namespace mlir;
using llvm::json::Array;
using llvm::json::Object;
using mlir::qlinear::ActivationsType;
namespace ql = mlir::qlinear;

namespace qlinear {

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

static const char *dtypeOf(Type type) {
  return type.isF32()                 ? "f32"
         : type.isF16()               ? "f16"
         : type.isBF16()              ? "bf16"
         : type.isSignlessInteger(8)  ? "i8"
         : type.isSignlessInteger(32) ? "i32"
                                      : nullptr;
}

static std::optional<SmallVector<int64_t>> shapeOf(Type type) {
  if (auto activations = dyn_cast<ActivationsType>(type))
    return SmallVector<int64_t>{activations.getM(),
                                int64_t(activations.getLayout().bytes())};
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !dtypeOf(tensor.getElementType()) || tensor.getRank() < 1 ||
      tensor.getRank() > 2 || (tensor.getRank() == 2 && tensor.isDynamicDim(1)) ||
      (tensor.getRank() == 1 && tensor.isDynamicDim(0)))
    return std::nullopt;
  return SmallVector<int64_t>(tensor.getShape());
}

static const char *dtypeOfTensor(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? dtypeOf(tensor.getElementType()) : "i8";
}

/// Bytes of a row of a tensor with a row dimension; 0 for one without.
static int64_t rowBytes(Type type) {
  if (auto activations = dyn_cast<ActivationsType>(type))
    return int64_t(activations.getLayout().bytes());
  auto tensor = cast<RankedTensorType>(type);
  return tensor.getRank() < 2
             ? 0
             : tensor.getDimSize(1) * tensor.getElementTypeBitWidth() / 8;
}

static bool isDynamic(int64_t size) { return ShapedType::isDynamic(size); }

Array WeightTable::describeConstants() const {
  Array result;
  for (auto [index, attribute] : llvm::enumerate(tensors)) {
    auto type = cast<DenseElementsAttr>(attribute).getType();
    result.push_back(Object{{"image", constantImage(index)},
                            {"dtype", dtypeOf(type.getElementType())},
                            {"shape", Array(type.getShape())}});
  }
  return result;
}

/// A constant tensor of floats or of numbers of rows, or null.
static DenseElementsAttr constantTensor(Value value) {
  DenseElementsAttr constant;
  auto type = dyn_cast<RankedTensorType>(value.getType());
  Type element = type ? type.getElementType() : Type();
  if (element && (isa<mlir::FloatType>(element) || element.isSignlessInteger(32)) &&
      dtypeOf(element) && matchPattern(value, m_Constant(&constant)))
    return constant;
  return {};
}

SmallVector<func::FuncOp> exportedFunctions(ModuleOp module) {
  SmallVector<func::FuncOp> functions;
  for (auto function : module.getOps<func::FuncOp>())
    if (!function.isDeclaration() && function.isPublic())
      functions.push_back(function);
  return functions;
}

/// Why qlinear-flatten-rows has left the first dimensions of an argument.
static void explainDimensions(BlockArgument argument, InFlightDiagnostic &diagnostic) {
  auto type = dyn_cast<RankedTensorType>(argument.getType());
  if (!type || type.getRank() < 3)
    return;
  for (Operation *user : argument.getUsers())
    if (!isa<tensor::CollapseShapeOp, tensor::DimOp>(user)) {
      diagnostic.attachNote(user->getLoc())
          << "its first dimensions are not rows alone, since '" << user->getName()
          << "' reads it";
      return;
    }
}

FailureOr<Object> describeSignature(func::FuncOp function) {
  bool anyDynamic = false;
  int64_t rows = 0;
  // A weight cannot be an argument: no tensor of the boundary stands for one.
  for (BlockArgument argument : function.getArguments())
    for (Operation *user : argument.getUsers())
      if (isa<ql::PackOp>(user))
        return function.emitError("function '")
               << function.getName() << "': argument " << argument.getArgNumber()
               << ", " << argument.getType()
               << ", is a component of a weight; weights are constants of the module "
                  "(have the frontend close over them) or qlinear.parameter";
  bool isBlock = llvm::hasSingleElement(function.getBody());
  if (isBlock && failed(checkCaches(function)))
    return failure();
  auto describe = [&](ValueRange values, const char *what) -> FailureOr<Array> {
    Array result;
    for (auto [index, value] : llvm::enumerate(values)) {
      Type type = value.getType();
      if (updatedCache(value)) // an argument, which is written
        continue;
      auto shape = shapeOf(type);
      if (!shape) {
        InFlightDiagnostic diagnostic = function.emitError("function '");
        diagnostic
            << function.getName() << "': " << what << " " << index << " is " << type
            << "; only tensors of f32, f16, bf16, i8 or i32 of rank 1 or 2 whose "
               "first dimension alone may be dynamic, and !qlinear.activations, "
               "cross the boundary of a compiled function";
        if (auto argument = dyn_cast<BlockArgument>(value))
          explainDimensions(argument, diagnostic);
        return diagnostic;
      }
      auto argument = dyn_cast<BlockArgument>(value);
      if (argument && isCache(argument)) {
        result.push_back(Object{{"dtype", dtypeOfTensor(type)},
                                {"shape", Array{kPlaces, shape->back()}}});
        continue;
      }
      Array dims;
      for (int64_t size : *shape)
        dims.push_back(isDynamic(size) ? -1 : size);
      if (shape->size() == 2) {
        anyDynamic |= isDynamic(shape->front());
        rows = std::max(rows, shape->front());
      }
      result.push_back(
          Object{{"dtype", dtypeOfTensor(type)}, {"shape", std::move(dims)}});
    }
    return result;
  };
  FailureOr<Array> inputs = describe(function.getArguments(), "argument");
  if (failed(inputs))
    return failure();
  Operation *terminator = function.getBody().back().getTerminator();
  FailureOr<Array> outputs = describe(terminator->getOperands(), "result");
  if (failed(outputs))
    return failure();
  Object result{{"name", function.getName()},
                {"inputs", std::move(*inputs)},
                {"outputs", std::move(*outputs)}};
  if (!anyDynamic && !rows) // there are constants and caches alone
    for (Operation &op : function.getBody().front()) {
      if (auto kernel = dyn_cast<ql::KernelOpInterface>(op))
        rows = std::max(rows, kernel.getM());
      else if (auto launch = dyn_cast<ql::LaunchOp>(op))
        rows = std::max(rows, launch.getM());
    }
  if (!anyDynamic)
    result["rows"] = std::max<int64_t>(rows, 1);
  return result;
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

namespace {
/// What stands for a tensor in a kernel's arguments.
struct Place {
  const char *kind;
  int64_t index;
};
} // namespace

/// `floats`: the launch has activations that are not quantized before.
static Object describeVariant(ql::VariantAttr variant, bool floats) {
  Object kernel{{"rows", variant.getRows()},
                {"name", variant.getKernel().getLeafReference().getValue()}};
  if (variant.getItems())
    kernel["items"] = variant.getItems();
  else {
    kernel["grid"] = variant.getGrid();
    kernel["block"] = variant.getBlock();
    kernel["smem"] = variant.getSmem();
  }
  if (ql::VariantAttr before = variant.getBefore()) {
    Object prepare = describeVariant(before, floats);
    prepare.erase("rows");
    kernel["before"] = std::move(prepare);
  }
  if (variant.getF16()) { // of activations as they come
    kernel["product"] = "f16";
    if (floats)
      kernel["activations"] = "float";
  }
  return kernel;
}

FailureOr<Object> describeSteps(func::FuncOp function, WeightTable &weights) {
  if (!llvm::hasSingleElement(function.getBody()))
    return function.emitError("function '")
           << function.getName()
           << "' has control flow; a compiled function is one block of linears";
  Block &body = function.getBody().front();
  DenseMap<Value, Place> places;
  Array temps, steps;
  for (BlockArgument argument : body.getArguments())
    places[argument] = {"input", argument.getArgNumber()};
  int64_t outputs = 0;
  for (Value value : body.getTerminator()->getOperands())
    if (value.getDefiningOp<ql::LaunchOp>() && !updatedCache(value) &&
        !places.try_emplace(value, Place{"output", outputs++}).second)
      return body.getTerminator()->emitError("function '")
             << function.getName() << "' returns the same value twice; return it once";
  int64_t rowsOfFunction = 0;
  for (Operation &op : body.without_terminator()) {
    if (isComponent(op)) // launches look them up
      continue;
    auto launch = dyn_cast<ql::LaunchOp>(op);
    if (!launch)
      return rejectOperation(&op, "");
    int64_t rows = launch.getM();
    if (rowsOfFunction && rows != rowsOfFunction)
      return launch.emitError("function '")
             << function.getName()
             << "' has launches of different numbers of rows; split it";
    rowsOfFunction = rows;

    Array args;
    auto addTensor = [&](Value value) {
      Place place = places.at(value);
      Object arg{{place.kind, place.index}};
      if (int64_t stride = rowBytes(value.getType()))
        arg["row_stride"] = stride;
      args.push_back(std::move(arg));
    };
    for (Value weight : launch.getWeights()) {
      FailureOr<unsigned> index = weights.lookup(weight, launch);
      if (failed(index))
        return failure();
      args.push_back(Object{{"weight", int64_t(*index)}});
    }
    for (Value input : launch.getInputs()) {
      if (DenseElementsAttr constant = constantTensor(input))
        places[input] = {"constant", weights.addConstant(constant)};
      if (!places.contains(input))
        return launch.emitError("an input is neither an argument of the function, nor "
                                "the result of a launch, nor a dense constant");
      addTensor(input);
    }
    for (Value cache : launch.getCaches()) {
      Place place = places.at(cache);
      args.push_back(Object{{place.kind, place.index}});
      args.push_back(Object{{"places", place.index}});
    }
    for (OpResult result : launch.getResults()) {
      if (Value cache = ql::cacheBefore(result)) {
        places[result] = places.at(cache);
        continue;
      }
      // An intermediate result is scratch memory of the function.
      if (places.try_emplace(result, Place{"temp", int64_t(temps.size())}).second) {
        if (!rowBytes(result.getType()))
          return launch.emitError("an intermediate result without rows");
        temps.push_back(Object{{"bytes_per_row", rowBytes(result.getType())}});
      }
      addTensor(result);
    }
    if (ArrayAttr launchTemps = launch.getTempsAttr())
      for (auto temp : launchTemps.getAsRange<ql::TempAttr>()) {
        args.push_back(Object{{"temp", int64_t(temps.size())}});
        Object entry{{"bytes", temp.getBytes()},
                     {"bytes_per_row", temp.getBytesPerRow()}};
        if (temp.getZero())
          entry["zero"] = true;
        temps.push_back(std::move(entry));
      }
    Array kernels;
    bool floats =
        llvm::none_of(launch.getInputs().getTypes(), llvm::IsaPred<ActivationsType>);
    for (ql::VariantAttr variant : launch.getVariantList())
      kernels.push_back(describeVariant(variant, floats));
    Object step{{"kernels", std::move(kernels)}, {"args", std::move(args)}};
    if (launch.getPdl())
      step["pdl"] = true;
    steps.push_back(std::move(step));
  }
  for (Value value : body.getTerminator()->getOperands())
    if (!value.getDefiningOp<ql::LaunchOp>())
      return body.getTerminator()->emitError("function '")
             << function.getName()
             << "' returns a value that no linear computes; results are written by "
                "kernels";
  Object result{{"steps", std::move(steps)}};
  if (!temps.empty())
    result["temps"] = std::move(temps);
  return result;
}

//===----------------------------------------------------------------------===//
// Reference
//===----------------------------------------------------------------------===//

/// An epilogue as scalar operations in SSA form.
static LogicalResult describeEpilogue(ql::EpilogueOpInterface of, Object &result) {
  Block &block = of.getBody();
  DenseMap<Value, int64_t> numbers;
  for (BlockArgument argument : block.getArguments())
    numbers[argument] = argument.getArgNumber();
  Array body, yield;
  for (Operation &op : block) {
    Array args;
    for (Value operand : op.getOperands())
      args.push_back(numbers.at(operand));
    if (isa<ql::YieldOp>(op)) {
      yield = std::move(args);
      break;
    }
    if (op.getNumResults() != 1 || op.getNumRegions())
      return op.emitError("'") << op.getName()
                               << "' in an epilogue has no reference "
                                  "meaning";
    numbers[op.getResult(0)] = int64_t(numbers.size());
    Object scalar{{"op", op.getName().getStringRef()}};
    Attribute constant;
    if (matchPattern(&op, m_Constant(&constant))) {
      if (auto value = dyn_cast<FloatAttr>(constant)) {
        double number = value.getValueAsDouble();
        if (std::isfinite(number))
          scalar["value"] = number;
        else // JSON has no such numbers
          scalar["value"] = std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
      } else if (auto value = dyn_cast<IntegerAttr>(constant))
        scalar["value"] = value.getValue().getSExtValue();
    } else
      scalar["args"] = std::move(args);
    if (auto compare = dyn_cast<arith::CmpFOp>(op))
      scalar["predicate"] = arith::stringifyCmpFPredicate(compare.getPredicate());
    body.push_back(std::move(scalar));
  }
  result["body"] = std::move(body);
  result["yield"] = std::move(yield);
  return success();
}

/// A `qlinear.grouped_linear` or a `qlinear.combine`; the functions append references
/// to values and to extras.
static FailureOr<Object> describeExperts(
    Operation &op, WeightTable &weights,
    function_ref<LogicalResult(Operation &, ValueRange, Array &)> refer,
    function_ref<LogicalResult(ql::EpilogueOpInterface, Array &)> referToExtras) {
  auto grouped = dyn_cast<ql::GroupedLinearOp>(op);
  auto kernel = cast<ql::KernelOpInterface>(op);
  auto of = cast<ql::EpilogueOpInterface>(op);
  Array indices, inputs, extras;
  for (Value weight : kernel.getKernelWeights()) {
    FailureOr<unsigned> index = weights.lookup(weight, &op);
    if (failed(index))
      return failure();
    indices.push_back(int64_t(*index));
  }
  // x, and the ids or the scales.
  SmallVector<Value> values = kernel.getKernelInputs();
  if (failed(refer(op, ArrayRef(values).take_front(2), inputs)) ||
      failed(referToExtras(of, extras)))
    return failure();
  Object entry{{"op", grouped ? "grouped_linear" : "combine"},
               {"inputs", std::move(inputs)},
               {"extras", std::move(extras)}};
  if (grouped) {
    entry["experts"] = int64_t(grouped.getExperts());
    entry["int8"] = !grouped.multipliesFloats();
    entry["weights"] = std::move(indices);
    Array kinds;
    for (unsigned i = 0; i < grouped.getExtras().size(); ++i)
      kinds.push_back(grouped.getExtraKindName(i));
    entry["extra_kinds"] = std::move(kinds);
  }
  if (of.hasEpilogue() && failed(describeEpilogue(of, entry)))
    return failure();
  return entry;
}

FailureOr<Object> describeReference(func::FuncOp function, WeightTable &weights) {
  Block &block = function.getBody().front();
  if (failed(checkOperations(block)))
    return failure();
  DenseMap<Value, Place> places;
  for (BlockArgument argument : block.getArguments())
    places[argument] = {"input", argument.getArgNumber()};
  auto refer = [&](Value value) {
    Place place = places.at(value);
    return Object{{place.kind, place.index}};
  };
  auto checkInput = [&](Operation &op, Value x) -> LogicalResult {
    if (places.contains(x))
      return success();
    return op.emitError("the input is neither an argument of the function nor the "
                        "result of a linear");
  };
  auto referToAll = [&](Operation &op, ValueRange values, Array &inputs) {
    for (Value value : values) {
      DenseElementsAttr constant = constantTensor(value); // not of rows
      if (constant && constant.getType().getRank() == 1)
        places[value] = {"constant", weights.addConstant(constant)};
      if (failed(checkInput(op, value)))
        return failure();
      inputs.push_back(refer(value));
    }
    return success();
  };
  auto dtypesOf = [](Operation &op) {
    Array dtypes;
    for (Type type : op.getResultTypes())
      dtypes.push_back(dtypeOfTensor(type));
    return dtypes;
  };
  auto refersTo = [&](ql::EpilogueOpInterface op, Array &extras) -> LogicalResult {
    for (Value extra : op.getExtras()) {
      if (DenseElementsAttr constant = constantTensor(extra))
        places[extra] = {"constant", weights.addConstant(constant)};
      if (!places.contains(extra))
        return op->emitError("an extra is neither an argument of the function, nor the "
                             "result of a linear, nor a dense constant");
      extras.push_back(refer(extra));
    }
    return success();
  };
  Array ops;
  int64_t results = 0;
  for (Operation &op : block.without_terminator()) {
    Object entry;
    if (auto quantize = dyn_cast<ql::QuantizeActivationsOp>(op)) {
      if (failed(checkInput(op, quantize.getInput())))
        return failure();
      entry = Object{{"op", "quantize"},
                     {"x", refer(quantize.getInput())},
                     {"k", quantize.getResult().getType().getK()}};
    } else if (auto linear = dyn_cast<ql::LinearOp>(op)) {
      Array indices, extras;
      for (Value weight : linear.getWeights()) {
        FailureOr<unsigned> index = weights.lookup(weight, linear);
        if (failed(index))
          return failure();
        indices.push_back(int64_t(*index));
      }
      if (failed(checkInput(op, linear.getX())) || failed(refersTo(linear, extras)))
        return failure();
      entry = Object{{"op", "linear"},
                     {"x", refer(linear.getX())},
                     {"int8", !isa<ActivationsType>(linear.getX().getType()) &&
                                  !linear.multipliesFloats()},
                     {"weights", std::move(indices)},
                     {"extras", std::move(extras)},
                     {"dtypes", dtypesOf(op)}};
      if (linear.hasEpilogue() && failed(describeEpilogue(linear, entry)))
        return failure();
    } else if (auto norm = dyn_cast<ql::NormOp>(op)) {
      Array inputs, extras;
      if (failed(referToAll(op, norm.getInputs(), inputs)) ||
          failed(refersTo(norm, extras)))
        return failure();
      entry = Object{{"op", "norm"},
                     {"kind", ql::stringifyNormKind(norm.getKind())},
                     {"epsilon", norm.getEpsilon().convertToDouble()},
                     {"inputs", std::move(inputs)},
                     {"dtype", dtypeOfTensor(norm.getInputs().front().getType())},
                     {"extras", std::move(extras)},
                     {"dtypes", dtypesOf(op)}};
      if (norm.hasEpilogue() && failed(describeEpilogue(norm, entry)))
        return failure();
    } else if (auto embedding = dyn_cast<ql::EmbeddingOp>(op)) {
      Array inputs;
      FailureOr<unsigned> index = weights.lookup(embedding.getWeight(), embedding);
      if (failed(index) || failed(referToAll(op, embedding.getIndices(), inputs)))
        return failure();
      entry = Object{{"op", "embedding"},
                     {"weight", int64_t(*index)},
                     {"indices", std::move(inputs[0])},
                     {"dtypes", dtypesOf(op)}};
    } else if (auto rotary = dyn_cast<ql::RotaryOp>(op)) {
      Array inputs;
      if (failed(referToAll(op, rotary.getKernelInputs(), inputs)))
        return failure();
      entry = Object{{"op", "rotary"},
                     {"head", int64_t(rotary.getHead())},
                     {"inputs", std::move(inputs)},
                     {"dtypes", dtypesOf(op)}};
      if (!rotary.getCaches().empty()) {
        Array caches;
        if (failed(referToAll(op, rotary.getCaches(), caches)))
          return failure();
        entry["caches"] = std::move(caches);
      }
      if (uint64_t unrotated = rotary.getUnrotated().value_or(0))
        entry["unrotated"] = int64_t(unrotated);
      if (auto epsilon = rotary.getEpsilon()) {
        entry["epsilon"] = epsilon->convertToDouble();
        entry["zero_centered"] = rotary.getZeroCentered();
      }
    } else if (isa<ql::GroupedLinearOp, ql::CombineOp>(op)) {
      FailureOr<Object> described = describeExperts(op, weights, referToAll, refersTo);
      if (failed(described))
        return failure();
      entry = std::move(*described);
      entry["dtypes"] = dtypesOf(op);
    } else if (auto kernel = dyn_cast<ql::KernelOpInterface>(op)) {
      // What it means is in no list of docs/artifact.md: it cannot be verified.
      Array inputs;
      if (failed(referToAll(op, kernel.getKernelInputs(), inputs)))
        return failure();
      entry =
          Object{{"op", op.getName().getStringRef()}, {"inputs", std::move(inputs)}};
    } else {
      continue; // a component, or not used
    }
    for (Value result : op.getResults())
      places[result] = {"result", results++};
    ops.push_back(std::move(entry));
  }
  Array outputs, caches;
  for (Value value : block.getTerminator()->getOperands())
    if (BlockArgument cache = updatedCache(value)) {
      Object entry = refer(value);
      entry["of"] = cache.getArgNumber();
      caches.push_back(std::move(entry));
    } else {
      outputs.push_back(places.contains(value) ? llvm::json::Value(refer(value))
                                               : nullptr);
    }
  Object result{{"ops", std::move(ops)}, {"outputs", std::move(outputs)}};
  if (!caches.empty())
    result["caches"] = std::move(caches);
  return result;
}

} // namespace qlinear
