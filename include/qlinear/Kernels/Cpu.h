//===- Cpu.h - What CPU skeletons and micro-kernels share -------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The micro-kernels of kernels/cpu, as the generated skeleton calls them. All
// are inlined into it; `spec`, `N`, `K`, `M`, `dtype` and `tail` must then be
// constants for the code to be good (it is right in any case).
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_KERNELS_CPU_H
#define QLINEAR_KERNELS_CPU_H

namespace qlinear::cpu {

/// Most rows (tokens) of a kernel that has a tile's sums for all of them at once.
inline constexpr int kMaxRows = 8;
/// Kernels for many tokens take them in blocks of up to this many.
inline constexpr int kTokenBlock = 8;

/// Bytes of a tile's state for M rows, 64-byte aligned: the row constants (16
/// vectors of 64 bytes), then per row 16 sums of the products and 4 of the
/// offsets.
constexpr int tileBytes(int M) { return (16 + 20 * M) * 64; }

/// Tiles that kernels for many tokens multiply side by side.
inline constexpr int kGemmTiles = 2;
/// Bytes of their state, 64-byte aligned: row constants and a decoded unit of each,
/// what leads to one, the scales of 16 tokens, four tiles of sums of them (AMX).
inline constexpr int kGemmStateBytes =
    kGemmTiles * (16 + 64 + 32) * 64 + 32 * 64 + 16 * 96 + 65 * 64;

/// Element types of x, extras and results; the values are those of qlr_dtype.
enum DType : int { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };

//   void ql_cpu_begin_tile(u64 spec, u64 N, u64 K, i32 M, ptr blob, u64 tile,
//                          ptr state)
//   void ql_cpu_add_unit(u64 spec, u64 N, u64 K, i32 M, ptr blob, ptr acts,
//                        i32 rows, u64 tile, u64 unit, i32 tail, ptr state)
//   void ql_cpu_add_float_unit(u64 spec, u64 N, u64 K, i32 M, i32 dtype, ptr blob,
//                        ptr x, i32 rows, u64 tile, u64 unit, i32 tail, ptr state)
//   void ql_cpu_end_tile(i32 M, ptr state, ptr out)         float out[M][16]
//   void ql_cpu_multiply_tiles(u64 spec, u64 N, u64 K, ptr blob, ptr acts, i32 rows,
//                        u64 tile, i32 tiles, ptr state, u64 stride, ptr out)
//                        float out[tiles][stride][16], of which rows up to a multiple
//                        of kTokenBlock are written; tiles is 1 or kGemmTiles
//   void ql_cpu_order_choices(ptr ids, u64 count, u64 experts, ptr starts, ptr order)
//                                                              i32 order[count]
//   void ql_cpu_same_expert(ptr ids, ptr order, u64 at, u64 count, u64 most, ptr out)
//                                                              i32
//   void ql_cpu_load(i32 dtype, ptr src, u64 count, ptr out)   float out[16]
//   void ql_cpu_store(i32 dtype, ptr dst, u64 count, ptr in)   count <= 16
//   void ql_cpu_quantize(i32 dtype, u64 K, ptr x, ptr out)     one token
//   void ql_cpu_rotary(i32 dtype, i32 tableType, u64 heads, u64 head, u64 rotated,
//                        ptr x, ptr cos, ptr sin, ptr at, u64 count,
//                        u64 headsPerPiece, ptr out)         one row
//   void ql_cpu_rotary_norm(i32 dtype, i32 tableType, i32 normType, i32 centered,
//                        float epsilon, u64 heads, u64 head, u64 rotated, ptr x,
//                        ptr norm, ptr cos, ptr sin, ptr at, u64 count,
//                        u64 headsPerPiece, ptr out)
//   void ql_cpu_embedding(u64 spec, u64 N, u64 K, i32 dtype, ptr blob, ptr index,
//                        ptr out)                            one row
//   void ql_cpu_norm_statistics(i32 subtractsMean, i32 dtype, u64 K, float epsilon,
//                        ptr x, ptr add, ptr out)            float out[2][16]
//   void ql_cpu_load_sum(i32 dtype, u64 K, ptr x, ptr add, u64 k, ptr out)
//                                                              float out[16]

} // namespace qlinear::cpu
#endif
