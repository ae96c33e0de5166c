//===- Linears.h - Implementations that are timed ---------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_BENCHMARKS_GPU_LINEARS_H
#define QLINEAR_BENCHMARKS_GPU_LINEARS_H

#include "Workload.h"
#include "peer.h"

#include <cuda_runtime.h>
#include <memory>
#include <string>

namespace bench {

/// Ends the program with the failing expression and CUDA's message.
void check(cudaError_t status, const char *what);
#define CHECK_CUDA(expr) ::bench::check((expr), #expr)

/// Device memory.
class Buffer {
  void *ptr = nullptr;

public:
  explicit Buffer(size_t bytes) { CHECK_CUDA(cudaMalloc(&ptr, bytes)); }
  Buffer(Buffer &&other) : ptr(std::exchange(other.ptr, nullptr)) {}
  Buffer(const Buffer &) = delete;
  ~Buffer() { cudaFree(ptr); }
  void *get() const { return ptr; }
};

/// The activations that every call reads, M <= 8 rows of K <= 21504 columns, in
/// each of the types that an implementation may take, and room for results.
struct Activations {
  Buffer bf16, f32, int8, result;
  Activations();
};

/// One implementation of the workload's linears, with copies of its weights.
class Linears {
public:
  virtual ~Linears() = default;
  virtual std::string name() const = 0;
  /// Bytes of one weight of this shape; 0 where the shape is not supported.
  virtual size_t weightBytes(int shape) const = 0;
  /// Makes `copies` weights of this shape, replacing those there were.
  virtual void makeWeights(int shape, int copies) = 0;
  virtual void dropWeights() = 0;
  /// Enqueues one call; false where this M is not supported.
  virtual bool enqueue(Link link, int rows, const Activations &x,
                       cudaStream_t stream) = 0;
};

/// Layers compiled by quant-compile: the artifact has a function per shape name,
/// and one with the suffix "_i8" that takes quantized activations; its weights
/// have the names of the shapes.
std::unique_ptr<Linears> openArtifact(const std::string &path,
                                      bool quantizedActivations);
/// Another project's kernels, through an adapter (peer.h).
std::unique_ptr<Linears> openPeer(const std::string &path);

} // namespace bench
#endif
