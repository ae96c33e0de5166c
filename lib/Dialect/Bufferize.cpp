//===- Bufferize.cpp - From tensors to buffers, and memory effects --------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Bufferization keeps the operation: tensors become memrefs, activations become
// the bytes of their rows, results become `outs`. Weights are handles of constant
// data either way. Without `outs` on tensors a result is a new allocation;
// with them it is written in place where one-shot bufferization finds that it can.
// So are caches, of which a part stays as it was.
//
//===----------------------------------------------------------------------===//
#include "DialectImpl.h"

#include "qlinear/Dialect/Bufferize.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Iterators.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"

using namespace mlir;
using namespace mlir::qlinear;
using namespace mlir::bufferization;

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

/// M rows of as many bytes as the layout says.
static MemRefType bufferTypeOf(ActivationsType type, Attribute memorySpace) {
  return MemRefType::get({type.getM(), int64_t(type.getLayout().bytes())},
                         IntegerType::get(type.getContext(), 8),
                         MemRefLayoutAttrInterface(), memorySpace);
}

FailureOr<BufferLikeType>
ActivationsType::getBufferType(const BufferizationOptions &,
                               function_ref<InFlightDiagnostic()>) const {
  return cast<BufferLikeType>(Type(bufferTypeOf(*this, Attribute())));
}

LogicalResult
ActivationsType::verifyCompatibleBufferType(BufferLikeType buffer,
                                            function_ref<InFlightDiagnostic()>) const {
  auto memref = dyn_cast<MemRefType>(buffer);
  MemRefType expected = bufferTypeOf(*this, Attribute());
  return success(memref && memref.getElementType() == expected.getElementType() &&
                 memref.getShape() == expected.getShape());
}

LogicalResult mlir::qlinear::verifyPlaceOfActivations(Operation *scope) {
  WalkResult result =
      scope->walk(
          [](Operation *op) {
            if (!isa<RegionBranchOpInterface>(op) ||
                (llvm::none_of(op->getOperandTypes(), llvm::IsaPred<ActivationsType>) &&
                 llvm::none_of(op->getResultTypes(), llvm::IsaPred<ActivationsType>)))
              return WalkResult::advance();
            op->emitError("'")
                << op->getName()
                << "' takes or returns quantized activations, where only builtin "
                   "tensors can be bufferized; quantize them on the side of it "
                   "where they are used";
            return WalkResult::interrupt();
          });
  return failure(result.wasInterrupted());
}

//===----------------------------------------------------------------------===//
// What all operations have in common
//===----------------------------------------------------------------------===//

namespace {
using Effects = SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

/// The place of an operand among the caches.
std::optional<unsigned> cacheIndex(OpOperand &operand) {
  OperandRange caches = cachesOf(operand.getOwner());
  unsigned number = operand.getOperandNumber();
  if (caches.empty() || number < caches.getBeginOperandIndex() ||
      number >= caches.getBeginOperandIndex() + caches.size())
    return std::nullopt;
  return number - caches.getBeginOperandIndex();
}

/// On buffers: operands are read, `outs` and caches are written.
void addEffects(Operation *op, OperandRange outs, Effects &effects) {
  unsigned begin = outs.empty() ? op->getNumOperands() : outs.getBeginOperandIndex();
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    bool isOut = operand.getOperandNumber() >= begin &&
                 operand.getOperandNumber() < begin + outs.size();
    if (isOut || cacheIndex(operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand);
    else
      effects.emplace_back(MemoryEffects::Read::get(), &operand);
  }
}

/// The place of an operand in `outs`.
std::optional<unsigned> outIndex(OpOperand &operand, OperandRange outs) {
  unsigned number = operand.getOperandNumber();
  if (outs.empty() || number < outs.getBeginOperandIndex() ||
      number >= outs.getBeginOperandIndex() + outs.size())
    return std::nullopt;
  return number - outs.getBeginOperandIndex();
}

AliasingValueList aliasesOf(OpOperand &operand, OperandRange outs) {
  Operation *op = operand.getOwner();
  if (std::optional<unsigned> index = outIndex(operand, outs))
    return {{op->getResult(*index), BufferRelation::Equivalent}};
  if (std::optional<unsigned> index = cacheIndex(operand)) {
    auto own = unsigned(op->getNumResults() - cachesOf(op).size());
    return {{op->getResult(own + *index), BufferRelation::Equivalent}};
  }
  return {};
}

/// The operands as buffers: `outs` are left out.
FailureOr<SmallVector<Value>> inputBuffers(RewriterBase &rewriter, Operation *op,
                                           OperandRange outs,
                                           const BufferizationOptions &options,
                                           BufferizationState &state) {
  SmallVector<Value> buffers;
  for (OpOperand &operand : op->getOpOperands()) {
    if (outIndex(operand, outs))
      continue;
    Value value = operand.get();
    if (isa<TensorLikeType>(value.getType())) {
      FailureOr<Value> buffer = getBuffer(rewriter, value, options, state);
      if (failed(buffer))
        return failure();
      value = *buffer;
    }
    buffers.push_back(value);
  }
  return buffers;
}

/// Where the results go: the buffers of `outs`, or new ones. `rows` is a buffer with
/// as many rows as a result whose number of rows is dynamic.
FailureOr<SmallVector<Value>> outputBuffers(RewriterBase &rewriter, Operation *op,
                                            OperandRange outs, Value rows,
                                            const BufferizationOptions &options,
                                            BufferizationState &state) {
  SmallVector<Value> buffers;
  for (Value out : outs) {
    FailureOr<Value> buffer = getBuffer(rewriter, out, options, state);
    if (failed(buffer))
      return failure();
    buffers.push_back(*buffer);
  }
  if (!buffers.empty())
    return buffers;
  for (OpResult result : op->getResults().drop_back(cachesOf(op).size())) {
    FailureOr<BufferLikeType> type =
        bufferization::getBufferType(result, options, state);
    if (failed(type))
      return failure();
    auto memref = cast<MemRefType>(*type);
    SmallVector<Value> sizes;
    if (memref.isDynamicDim(0))
      sizes.push_back(memref::DimOp::create(rewriter, op->getLoc(), rows, 0));
    FailureOr<Value> buffer =
        options.createAlloc(rewriter, op->getLoc(), memref, sizes);
    if (failed(buffer))
      return failure();
    buffers.push_back(*buffer);
  }
  return buffers;
}

/// A result is a buffer without gaps, unless it takes the place of another.
FailureOr<BufferLikeType> bufferTypeOfResult(Value value, OperandRange outs,
                                             const BufferizationOptions &options,
                                             const BufferizationState &state,
                                             SmallVector<Value> &invocationStack) {
  if (Value cache = cacheBefore(value))
    return bufferization::getBufferType(cache, options, state, invocationStack);
  if (!outs.empty())
    return bufferization::getBufferType(outs[cast<OpResult>(value).getResultNumber()],
                                        options, state, invocationStack);
  Type type;
  if (auto activations = dyn_cast<ActivationsType>(value.getType())) {
    type = bufferTypeOf(activations, Attribute());
  } else {
    auto tensor = cast<RankedTensorType>(value.getType());
    std::optional<Attribute> space = options.defaultMemorySpaceFn(tensor);
    if (!space)
      return value.getDefiningOp()->emitError(
          "the memory space of a result is unknown; "
          "bufferize with a default memory space");
    type = getMemRefTypeWithStaticIdentityLayout(tensor, *space);
  }
  return cast<BufferLikeType>(type);
}

/// Whether one-shot bufferization has `op` still to do.
bool isOnTensors(Operation *op) {
  return llvm::any_of(op->getOperandTypes(), llvm::IsaPred<TensorLikeType>) ||
         llvm::any_of(op->getResultTypes(), llvm::IsaPred<TensorLikeType>);
}

/// Checks the loops and conditionals of `scope`. Only one of our operations there does,
/// the last on tensors, so that each looks at what follows it alone: it is the last to
/// be bufferized, too, before any operation that was made anew.
LogicalResult verifyActivationsOf(Operation *op, Operation *scope) {
  Operation *last = nullptr;
  scope->walk<WalkOrder::PostOrder, ReverseIterator>([&](Operation *other) {
    if (other->getDialect() != op->getDialect() ||
        !isa<BufferizableOpInterface>(other) || !isOnTensors(other))
      return WalkResult::advance();
    last = other;
    return WalkResult::interrupt();
  });
  return op == last ? verifyPlaceOfActivations(scope) : success();
}

/// The function, or what takes the place of one.
Operation *functionOf(Operation *op) {
  return op->getParentWithTrait<OpTrait::IsIsolatedFromAbove>();
}

/// Before anything is changed. Other functions are another thread's, unless they are
/// bufferized together.
LogicalResult verifyBeforeBufferization(Operation *op, const AnalysisState &state) {
  auto module = op->getParentOfType<ModuleOp>();
  bool isWhole = module && state.getOptions().bufferizeFunctionBoundaries;
  return verifyActivationsOf(op, isWhole ? module : functionOf(op));
}

/// The first input with M rows: what says how many there are.
Value rowsBuffer(ArrayRef<Value> inputs) {
  for (Value input : inputs)
    if (auto memref = dyn_cast<MemRefType>(input.getType());
        memref && memref.getRank() == 2)
      return input;
  return {};
}
} // namespace

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

Operation *mlir::qlinear::moveToOperands(OpBuilder &b, Operation *op, ValueRange inputs,
                                         ValueRange outs, TypeRange results) {
  OperationState state(op->getLoc(), op->getName());
  state.addOperands(inputs);
  state.addOperands(outs);
  state.addTypes(results);
  state.addAttributes(op->getAttrs());
  if (op->hasTrait<OpTrait::AttrSizedOperandSegments>()) {
    StringRef name =
        OpTrait::AttrSizedOperandSegments<void>::getOperandSegmentSizeAttr();
    SmallVector<int32_t> sizes(
        cast<DenseI32ArrayAttr>(state.attributes.get(name)).asArrayRef());
    sizes.back() = int32_t(outs.size());
    state.attributes.set(name, b.getDenseI32ArrayAttr(sizes));
  }
  for (Region &region : op->getRegions())
    state.addRegion()->takeBody(region);
  return b.create(state);
}

/// Gives `op` operands and results that are buffers.
static LogicalResult bufferizeOp(Operation *op, OperandRange outs,
                                 RewriterBase &rewriter,
                                 const BufferizationOptions &options,
                                 BufferizationState &state) {
  if (failed(verifyActivationsOf(op, functionOf(op)))) // there may be no analysis
    return failure();
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(op);
  auto inputs = inputBuffers(rewriter, op, outs, options, state);
  if (failed(inputs))
    return failure();
  auto buffers = outputBuffers(rewriter, op, outs, rowsBuffer(*inputs), options, state);
  if (failed(buffers))
    return failure();
  // Caches are among the operands, where they lie.
  SmallVector<Value> values(*buffers);
  for (Value cache : cachesOf(op)) {
    FailureOr<Value> buffer = getBuffer(rewriter, cache, options, state);
    if (failed(buffer))
      return failure();
    values.push_back(*buffer);
  }
  moveToOperands(rewriter, op, *inputs, *buffers, TypeRange());
  replaceOpWithBufferizedValues(rewriter, op, values);
  return success();
}

/// All methods but bufferize.
#define QLINEAR_BUFFERIZABLE_BY_HAND(OP, OUTS)                                         \
  void OP::getEffects(Effects &effects) { addEffects(*this, OUTS, effects); }          \
  bool OP::bufferizesToAllocation(Value value) {                                       \
    return isa<OpResult>(value) && (OUTS).empty() && !cacheBefore(value);              \
  }                                                                                    \
  bool OP::bufferizesToMemoryRead(OpOperand &operand, const AnalysisState &) {         \
    return !outIndex(operand, OUTS);                                                   \
  }                                                                                    \
  bool OP::bufferizesToMemoryWrite(OpOperand &operand, const AnalysisState &) {        \
    return outIndex(operand, OUTS) || cacheIndex(operand);                             \
  }                                                                                    \
  AliasingValueList OP::getAliasingValues(OpOperand &operand, const AnalysisState &) { \
    return aliasesOf(operand, OUTS);                                                   \
  }                                                                                    \
  FailureOr<BufferLikeType> OP::getBufferType(                                         \
      Value value, const BufferizationOptions &options,                                \
      const BufferizationState &state, SmallVector<Value> &invocationStack) {          \
    return bufferTypeOfResult(value, OUTS, options, state, invocationStack);           \
  }                                                                                    \
  LogicalResult OP::verifyAnalysis(const AnalysisState &state) {                       \
    return verifyBeforeBufferization(*this, state);                                    \
  }

/// An operation with `outs`: all there is to it.
#define QLINEAR_BUFFERIZABLE(OP)                                                       \
  QLINEAR_BUFFERIZABLE_BY_HAND(OP, getOuts())                                          \
  LogicalResult OP::bufferize(RewriterBase &rewriter,                                  \
                              const BufferizationOptions &options,                     \
                              BufferizationState &state) {                             \
    return bufferizeOp(*this, getOuts(), rewriter, options, state);                    \
  }

QLINEAR_BUFFERIZABLE(DequantizeOp)
QLINEAR_BUFFERIZABLE(QuantizeActivationsOp)
QLINEAR_BUFFERIZABLE(LinearOp)
QLINEAR_BUFFERIZABLE(NormOp)
QLINEAR_BUFFERIZABLE(RotaryOp)
QLINEAR_BUFFERIZABLE(EmbeddingOp)
QLINEAR_BUFFERIZABLE(GroupedLinearOp)
QLINEAR_BUFFERIZABLE(CombineOp)
QLINEAR_BUFFERIZABLE(LaunchOp)
QLINEAR_BUFFERIZABLE_BY_HAND(PackOp, OperandRange(operand_end(), operand_end()))
#undef QLINEAR_BUFFERIZABLE
#undef QLINEAR_BUFFERIZABLE_BY_HAND

LogicalResult PackOp::bufferize(RewriterBase &rewriter,
                                const BufferizationOptions &options,
                                BufferizationState &state) {
  if (failed(verifyActivationsOf(*this, functionOf(*this))))
    return failure();
  auto inputs = inputBuffers(
      rewriter, *this, OperandRange(operand_end(), operand_end()), options, state);
  if (failed(inputs))
    return failure();
  rewriter.modifyOpInPlace(*this, [&] { getOperation()->setOperands(*inputs); });
  return success();
}
