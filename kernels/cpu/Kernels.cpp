//===- Kernels.cpp - Entry points of the CPU micro-kernels ----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiled once per instruction set to LLVM bitcode, without optimisation: the
// generated skeleton inlines these functions with constant arguments first.
// Floating-point contraction must be off: fma() says where one is wanted.
//
//===----------------------------------------------------------------------===//
#include "Embedding.h"
#include "Experts.h"
#include "Gemm.h"
#include "Norm.h"
#include "Rotary.h"

using namespace qlinear::cpu;
using qlinear::layout::Spec;
using qlinear::layout::WeightLayout;

#ifndef QL_KERNEL // tests name them otherwise
#define QL_KERNEL extern "C" __attribute__((always_inline)) void
#endif

QL_KERNEL ql_cpu_begin_tile(u64 spec, u64 N, u64 K, int M, const u8 *blob, u64 tile,
                            void *state) {
  beginTile(WeightLayout{Spec::unpack(spec), N, K}, M, blob, tile,
            static_cast<Floats *>(state));
}

QL_KERNEL ql_cpu_add_unit(u64 spec, u64 N, u64 K, int M, const u8 *blob,
                          const u8 *activations, int rows, u64 tile, u64 unit, int tail,
                          void *state) {
  addUnit(WeightLayout{Spec::unpack(spec), N, K}, M, blob, activations, rows, tile,
          unit, tail != 0, static_cast<Floats *>(state));
}

QL_KERNEL ql_cpu_add_float_unit(u64 spec, u64 N, u64 K, int M, int dtype,
                                const u8 *blob, const u8 *x, int rows, u64 tile,
                                u64 unit, int tail, void *state) {
  addFloatUnit(WeightLayout{Spec::unpack(spec), N, K}, M, blob, {dtype, x, rows}, tile,
               unit, tail != 0, static_cast<Floats *>(state));
}

QL_KERNEL ql_cpu_end_tile(int M, const void *state, float *out) {
  endTile(M, static_cast<const Floats *>(state), out);
}

QL_KERNEL ql_cpu_multiply_tiles(u64 spec, u64 N, u64 K, const u8 *blob,
                                const u8 *activations, int rows, u64 tile, int tiles,
                                void *state, u64 stride, void *out) {
  multiplyTiles(WeightLayout{Spec::unpack(spec), N, K}, blob, activations, rows, tile,
                tiles, *static_cast<GemmState *>(state), static_cast<Floats *>(out),
                stride);
}

QL_KERNEL ql_cpu_order_choices(const unsigned *ids, u64 count, u64 experts,
                               unsigned *starts, unsigned *order) {
  orderChoices(ids, count, experts, starts, order);
}

QL_KERNEL ql_cpu_same_expert(const unsigned *ids, const unsigned *order, u64 at,
                             u64 count, u64 most, unsigned *out) {
  *out = sameExpert(ids, order, at, count, most);
}

QL_KERNEL ql_cpu_load(int dtype, const void *from, u64 count, void *out) {
  store(out, loadSome(dtype, from, count));
}

QL_KERNEL ql_cpu_store(int dtype, void *to, u64 count, const void *values) {
  storeSome(dtype, to, count, load<Floats>(values));
}

QL_KERNEL ql_cpu_quantize(int dtype, u64 K, const u8 *x, u8 *out) {
  quantizeToken(dtype, K, x, out);
}

QL_KERNEL ql_cpu_rotary(int dtype, int tableType, u64 heads, u64 head, u64 rotated,
                        const u8 *x, const u8 *cos, const u8 *sin, const int *at,
                        u64 count, u64 headsPerPiece, u8 *out) {
  rotatePlain(dtype, tableType, heads, head, rotated, x, cos, sin,
              {out, head * (dtype == kFloat32 ? 4 : 2), at, count, headsPerPiece});
}

QL_KERNEL ql_cpu_rotary_norm(int dtype, int tableType, int normType, int centered,
                             float epsilon, u64 heads, u64 head, u64 rotated,
                             const u8 *x, const u8 *norm, const u8 *cos, const u8 *sin,
                             const int *at, u64 count, u64 headsPerPiece, u8 *out) {
  rotateNormalized(dtype, tableType, normType, centered, epsilon, heads, head, rotated,
                   x, norm, cos, sin,
                   {out, head * (dtype == kFloat32 ? 4 : 2), at, count, headsPerPiece});
}

QL_KERNEL ql_cpu_embedding(u64 spec, u64 N, u64 K, int dtype, const u8 *blob,
                           const int *index, u8 *out) {
  readRow(WeightLayout{Spec::unpack(spec), N, K}, dtype, blob, *index, out);
}

QL_KERNEL ql_cpu_norm_statistics(int subtractsMean, int dtype, u64 K, float epsilon,
                                 const u8 *x, const u8 *add, void *out) {
  normStatistics(subtractsMean, dtype, K, epsilon, x, add, static_cast<Floats *>(out));
}

QL_KERNEL ql_cpu_load_sum(int dtype, u64 K, const u8 *x, const u8 *add, u64 k,
                          void *out) {
  store(out, loadSum(dtype, K, x, add, k));
}
