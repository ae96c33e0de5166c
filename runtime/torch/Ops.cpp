//===- Ops.cpp - torch.ops.qlinear without Python -------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The operators that python/src/qlinear/_ops.py and _blocks.py describe, for tensors on
// the CPU and on CUDA, by libtorch's stable ABI: one library serves every version since
// the one that CMakeLists.txt names. Derivatives and the kernels for fake tensors are
// Python's.
//
//===----------------------------------------------------------------------===//

#include "Tensor.h"

#include <algorithm>
#include <cstring>
#include <sstream>

using namespace qlinear::torch_ops;

namespace {

[[noreturn]] void refuse(const std::string &text) {
  throw Failure(QLR_INVALID_ARGUMENT, text);
}

struct Type {
  int32_t torch;
  qlr_dtype runtime;
  const char *name;
};

/// Of rows and biases.
const Type &typeOf(const Tensor &tensor, const char *what) {
  static const Type types[] = {{aoti_torch_dtype_float32(), QLR_F32, "f32"},
                               {aoti_torch_dtype_float16(), QLR_F16, "f16"},
                               {aoti_torch_dtype_bfloat16(), QLR_BF16, "bf16"}};
  int32_t dtype = tensor.dtype();
  for (const Type &type : types)
    if (type.torch == dtype)
      return type;
  refuse(std::string(what) +
         " has a type that is not possible: float32, float16 and bfloat16 are");
}
/// Of inputs of a block, which may also be numbers of rows.
qlr_dtype inputTypeOf(const Tensor &tensor) {
  static const int32_t integers = aoti_torch_dtype_int32();
  return tensor.dtype() == integers ? QLR_I32 : typeOf(tensor, "an input").runtime;
}

std::string shapeText(const Tensor &tensor) {
  std::string text;
  for (int64_t d = 0; d < tensor.rank(); ++d)
    text += std::to_string(tensor.sizes()[d]) + (d + 1 < tensor.rank() ? ", " : "");
  return "(" + text + (tensor.rank() == 1 ? ",)" : ")");
}

std::string placeText(Place place) {
  return place.isCpu() ? "cpu" : "cuda:" + std::to_string(place.index);
}

/// Where a call runs: what all its tensors share.
struct Where {
  Place place;
  const Settings &settings = currentSettings();
  void *stream = nullptr;

  explicit Where(Place place) : place(place) {
    if (place.isCpu())
      return;
    if (!aoti_torch_get_current_cuda_stream)
      refuse("x is on " + placeText(place) + ", but libtorch was loaded without CUDA");
    checkTorch(aoti_torch_get_current_cuda_stream(place.index, &stream));
  }
  std::string device() const {
    return place.isCpu() ? settings.host : placeText(place);
  }
  size_t weightAlignment() const {
    return place.isCpu() ? settings.hostAlignment() : 128;
  }
  void checkSame(const Tensor &tensor, const char *what) const {
    if (tensor && tensor.place() != place)
      refuse("x is on " + placeText(place) + ", but " + what + " is on " +
             placeText(tensor.place()) + "; move one of them with .to('" +
             placeText(place) + "')");
  }
};

/// A packed weight where the device reads it.
qlr_blob blobOf(Tensor &packed, const Where &where) {
  if (packed.rank() != 1 || packed.dtype() != aoti_torch_dtype_uint8())
    refuse("packed is a tensor of the shape " + shapeText(packed) +
           "; a packed weight is a vector of uint8");
  packed.makeDense();
  const void *given = packed.data();
  if (packed.align(where.weightAlignment())) {
    std::ostringstream text;
    text << "packed is at " << given << ", but " << where.device()
         << " reads it at a multiple of " << where.weightAlignment()
         << " bytes: it is copied in every call; packed.clone() is there once";
    aoti_torch_warn(__func__, __FILE__, __LINE__, text.str().c_str());
  }
  return {packed.data(), size_t(packed.numel())};
}

/// An empty result of x's type, with its dimensions but the last.
Tensor resultOf(const Tensor &x, int64_t n) {
  int64_t rank = x.rank(), sizes[Tensor::kMaxRank];
  if (rank > Tensor::kMaxRank)
    refuse("x has " + std::to_string(rank) + " dimensions; up to 64 are possible");
  std::memcpy(sizes, x.sizes(), size_t(rank) * sizeof(int64_t));
  sizes[rank - 1] = n;
  return Tensor::empty({sizes, size_t(rank)}, x.dtype(), x.place());
}

void callKernel(const Kernel &kernel, const Where &where, int64_t rows,
                std::span<const qlr_tensor> inputs, std::span<const qlr_tensor> outputs,
                std::span<const qlr_blob> weights) {
  // Of torch's allocator, which knows streams and graph captures: the memory is free
  // for later work on the stream once the call is enqueued. Little of it on the host is
  // the thread's.
  Tensor memory;
  std::unique_ptr<qlr_workspace, decltype(&qlr_workspace_destroy)> workspace(
      nullptr, qlr_workspace_destroy);
  if (kernel.hasTemps) {
    constexpr size_t kAlign = 256, kLittle = 64 << 10;
    thread_local std::unique_ptr<std::byte[]> little;
    size_t bytes = 0;
    check(qlr_workspace_bytes(kernel.module, 0, rows, &bytes));
    void *data;
    if (where.place.isCpu() && bytes <= kLittle) {
      if (!little)
        little.reset(new std::byte[kLittle + kAlign]);
      data = little.get();
    } else {
      int64_t size = int64_t(bytes + kAlign);
      memory = Tensor::empty({&size, 1}, aoti_torch_dtype_uint8(), where.place);
      data = memory.data();
    }
    auto begin = reinterpret_cast<uintptr_t>(data);
    begin = (begin + kAlign - 1) / kAlign * kAlign;
    qlr_workspace *made = nullptr;
    check(qlr_workspace_create_in(kernel.module, 0, rows,
                                  reinterpret_cast<void *>(begin), bytes, where.stream,
                                  &made));
    workspace.reset(made);
  }
  check(qlr_call_with_weights(kernel.module, 0, workspace.get(), inputs.data(),
                              int32_t(inputs.size()), outputs.data(),
                              int32_t(outputs.size()), weights.data(),
                              int32_t(weights.size()), where.stream));
}

//===----------------------------------------------------------------------===//
// The operators
//===----------------------------------------------------------------------===//

Tensor linear(Tensor x, Tensor packed, Tensor bias, std::string_view encoding,
              int64_t n, std::string_view activations) {
  int64_t rank = x.rank();
  if (rank == 0)
    refuse("x has no dimensions; its last one is K, the input features");
  if (bias && (bias.rank() != 1 || bias.sizes()[0] != n))
    refuse("bias has the shape " + shapeText(bias) + ", not (" + std::to_string(n) +
           ",), one per output");
  if (activations != "int8" && activations != "float")
    refuse("activations is '" + std::string(activations) +
           "'; 'int8' (x is quantized per 32 columns) and 'float' (x is multiplied as "
           "it is) "
           "are possible");
  const Type &type = typeOf(x, "x");
  const Type *biasType = bias ? &typeOf(bias, "bias") : nullptr;
  Where where(x.place());
  where.checkSame(packed, "packed");
  where.checkSame(bias, "bias");
  Tensor y = resultOf(x, n);
  int64_t k = x.sizes()[rank - 1], count = x.numel();
  if (count == 0)
    return y;

  thread_local std::string key;
  const int64_t numbers[] = {n,
                             k,
                             type.runtime,
                             biasType ? biasType->runtime : -1,
                             activations == "int8",
                             where.place.kind,
                             where.place.index};
  key.assign(encoding);
  key.append(reinterpret_cast<const char *>(numbers), sizeof(numbers));
  const Kernel *kernel = findKernel(key, where.settings);
  if (!kernel)
    kernel = makeKernel(key, where.settings,
                        {nullptr, std::string(encoding).c_str(), n, k, type.name,
                         biasType ? biasType->name : nullptr,
                         std::string(activations).c_str(), 0, where.device().c_str()});

  qlr_blob weight = blobOf(packed, where);
  x.makeReadable();
  if (bias)
    bias.makeReadable();
  int64_t rows = count / k;
  qlr_tensor inputs[2] = {{x.data(), type.runtime, 2, {rows, k}}};
  if (bias)
    inputs[1] = {bias.data(), biasType->runtime, 1, {n}};
  qlr_tensor output = {y.data(), type.runtime, 2, {rows, n}};
  callKernel(*kernel, where, rows, {inputs, bias ? 2u : 1u}, {&output, 1},
             {&weight, 1});
  return y;
}

/// A cache, which a function writes.
qlr_tensor cacheOf(const Tensor &cache, size_t number, const Where &where) {
  std::string what = "cache " + std::to_string(number);
  where.checkSame(cache, what.c_str());
  qlr_dtype dtype = typeOf(cache, what.c_str()).runtime;
  int64_t rank = cache.rank(), last = rank ? cache.sizes()[rank - 1] : 0;
  if (rank < 2 || last == 0)
    refuse(what + " of the block has the shape " + shapeText(cache) +
           "; it has rows of heads");
  if (!cache.isDense() || reinterpret_cast<uintptr_t>(cache.data()) % 16)
    refuse(what + " of the block has gaps, or is not at a multiple of 16 bytes; it is "
                  "written where it lies: pass a contiguous tensor");
  return {cache.data(), dtype, 2, {cache.numel() / last, last}};
}

std::vector<Tensor> block(std::vector<Tensor> inputs, std::vector<Tensor> caches,
                          std::vector<Tensor> packed, std::string_view text,
                          const std::vector<int64_t> &columns) {
  if (inputs.empty() || inputs[0].rank() < 2)
    refuse("the first input of the block has to be rows, with two or more dimensions");
  int64_t rank = inputs[0].rank(), count = inputs[0].numel();
  const Type &type = typeOf(inputs[0], "x");
  Where where(inputs[0].place());
  std::vector<Tensor> results;
  for (int64_t n : columns)
    results.push_back(resultOf(inputs[0], n));
  if (count == 0)
    return results;
  int64_t rows = count / inputs[0].sizes()[rank - 1];

  thread_local std::string key;
  key.assign(text);
  const int32_t place[] = {where.place.kind, where.place.index};
  key.append(reinterpret_cast<const char *>(place), sizeof(place));
  const Kernel *kernel = findKernel(key, where.settings);
  if (!kernel) {
    std::string copy(text), device = where.device();
    kernel = makeKernel(
        key, where.settings,
        {copy.c_str(), nullptr, 0, 0, nullptr, nullptr, nullptr, 0, device.c_str()});
  }

  // Their types and columns are compared with the module's by the runtime.
  std::vector<qlr_tensor> tensors, outputs;
  for (Tensor &input : inputs) {
    where.checkSame(input, "a tensor");
    input.makeReadable();
    const int64_t *sizes = input.sizes();
    bool isRows = input.rank() == rank;
    if (isRows ? !std::equal(sizes, sizes + rank - 1, inputs[0].sizes())
               : input.rank() != 1)
      refuse("input " + std::to_string(tensors.size()) +
             " of the block has the shape " + shapeText(input) + ", and x has " +
             shapeText(inputs[0]) + "; it is a vector, or has as many rows");
    qlr_dtype dtype = inputTypeOf(input);
    if (isRows)
      tensors.push_back({input.data(), dtype, 2, {rows, sizes[rank - 1]}});
    else
      tensors.push_back({input.data(), dtype, 1, {sizes[0]}});
  }
  for (size_t i = 0; i < caches.size(); ++i)
    tensors.push_back(cacheOf(caches[i], i, where));
  for (size_t i = 0; i < results.size(); ++i)
    outputs.push_back({results[i].data(), type.runtime, 2, {rows, columns[i]}});
  std::vector<qlr_blob> weights;
  for (Tensor &weight : packed) {
    where.checkSame(weight, "a tensor");
    weights.push_back(blobOf(weight, where));
  }
  callKernel(*kernel, where, rows, tensors, outputs, weights);
  return results;
}

//===----------------------------------------------------------------------===//
// As libtorch calls them: arguments are taken from the stack, whatever comes of it
//===----------------------------------------------------------------------===//

void boxedLinear(StableIValue *stack, uint64_t, uint64_t) {
  Tensor x = takeTensor(stack[0]), packed = takeTensor(stack[1]),
         bias = takeOptional(stack[2]);
  Text encoding(stack[3]), activations(stack[5]);
  auto n = torch::stable::detail::to<int64_t>(stack[4]);
  stack[0] = give(linear(std::move(x), std::move(packed), std::move(bias),
                         encoding.view(), n, activations.view()));
}

void boxedBlock(StableIValue *stack, uint64_t, uint64_t) {
  std::vector<Tensor> inputs = takeTensors(stack[0]), packed = takeTensors(stack[1]);
  Text text(stack[2]);
  auto columns = torch::stable::detail::to<std::vector<int64_t>>(stack[3]);
  stack[0] = give(block(std::move(inputs), {}, std::move(packed), text.view(), columns));
}

void boxedBlockInto(StableIValue *stack, uint64_t, uint64_t) {
  std::vector<Tensor> inputs = takeTensors(stack[0]), caches = takeTensors(stack[1]),
                      packed = takeTensors(stack[2]);
  Text text(stack[3]);
  auto columns = torch::stable::detail::to<int64_t>(stack[4]);
  stack[0] = give(std::move(block(std::move(inputs), std::move(caches),
                                  std::move(packed), text.view(), {columns})
                                .front()));
}

} // namespace

// The schemas are those of _ops.py and _blocks.py; where these have registered them
// already, nothing is done: an error here would end the program. Those with an
// underscore are the same without what libtorch runs for derivatives, which takes as
// long as half the operator: _ops.py calls them where nothing wants any.
static bool isOurs = false;

STABLE_TORCH_LIBRARY_FRAGMENT(qlinear, m) {
  try {
    m.def("linear(Tensor x, Tensor packed, Tensor? bias, str encoding, int n, "
          "str activations=\"int8\") -> Tensor");
    m.def("_linear(Tensor x, Tensor packed, Tensor? bias, str encoding, int n, "
          "str activations) -> Tensor");
    m.def(
        "block(Tensor[] inputs, Tensor[] packed, str text, int[] columns) -> Tensor[]");
    m.def("_block(Tensor[] inputs, Tensor[] packed, str text, int[] columns) -> "
          "Tensor[]");
    m.def("block_into(Tensor[] inputs, Tensor(a!)[] caches, Tensor[] packed, str text, "
          "int columns) -> Tensor");
    m.def("_block_into(Tensor[] inputs, Tensor(a!)[] caches, Tensor[] packed, str "
          "text, int columns) -> Tensor");
    isOurs = true;
  } catch (const std::exception &) {
  }
}

static void implement(torch::stable::detail::StableLibrary &m) {
  if (!isOurs)
    return;
  m.impl("linear", boxedLinear);
  m.impl("_linear", boxedLinear);
  m.impl("block", boxedBlock);
  m.impl("_block", boxedBlock);
  m.impl("block_into", boxedBlockInto);
  m.impl("_block_into", boxedBlockInto);
}
STABLE_TORCH_LIBRARY_IMPL(qlinear, CPU, m) { implement(m); }
STABLE_TORCH_LIBRARY_IMPL(qlinear, CUDA, m) { implement(m); }
