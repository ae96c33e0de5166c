//===- Kernels.cpp - What generated GPU kernels call ----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A generated kernel is a sequence of these calls around its epilogue; encoding,
// shape, tokens and geometry are constants there, and everything is inlined:
//
//   ql_walk_init, ql_walk_weight   the block's tiles, per group of like weights
//   ql_walk_start                  copies under way
//   ql_ptx_launch_dependents
//   ql_stage_rows                  row constants to shared memory
//   ql_ptx_wait_prior_grids        before the first access to what they wrote
//   ql_stage_activations           x quantized into shared memory, or copied
//   ql_walk_multiply
//   ql_walk_total                  a finished row, for the epilogue
//
//===----------------------------------------------------------------------===//
#include "Staging.h"
#include "Walk.h"

using namespace qlinear::kernels;

extern "C" {

/// Sets a walk up: `tiles` tiles from `tile0` of `weights` weights of N x K, of each
/// tile `units` units from `unit0`. Each
/// warp has `stages` stages in its own `ringBytes` bytes from `ring` on, and as
/// many mbarriers from `barriers` on.
void ql_walk_init(Walk *walk, i32 mode, u64 spec, i64 N, i64 K, i32 weights,
                  i32 unit0, i32 units, i32 warps, i32 stages, i32 ringBytes,
                  i32 tile0, i32 tiles,
                  QL_SHARED u8 *ring, QL_SHARED u64 *barriers) {
  Walk &w = *walk;
  w.mode = mode;
  w.weights = weights;
  w.warps = warps;
  w.stages = stages;
  w.layout = {Spec::unpack(spec), u64(N), u64(K)};
  w.unit0 = unit0;
  w.units = units;
  w.tile0 = tile0;
  w.tiles = tiles;
  int thread = ql_ptx_thread();
  w.warp = thread / kWarp;
  w.lane = thread % kWarp;
  w.ring = ring + w.warp * ringBytes;
  w.barriers = barriers + w.warp * stages;
  w.partition();
}

void ql_walk_weight(Walk *walk, i32 index, const u8 *blob) {
  walk->blobs[index] = blob;
}

void ql_walk_start(Walk *walk) { walk->start(); }

/// `codes`: tokens x 256 bytes per unit; `records`: tokens x 8 per unit, of the
/// spec's kind; `constants`: runs x 16 x rowFloats; `slots`: see Geometry.h.
void ql_walk_multiply(Walk *walk, i32 tokens, QL_SHARED const u8 *codes,
                      QL_SHARED const u8 *records,
                      QL_SHARED const float *constants, QL_SHARED float *slots) {
  int recordBytes = RecordKind::of(walk->layout.spec).bytes();
  walk->multiply(tokens,
                 {codes, records, walk->units * qlinear::layout::kUnitK,
                  walk->units * qlinear::layout::kUnitChunks * recordBytes},
                 constants, slots);
}

/// Row `row` of the block's tiles (0 .. 16 tiles - 1) of weight `weight`.
float ql_walk_total(const Walk *walk, i32 tokens, i32 token, i32 weight, i32 row,
                    QL_SHARED const float *constants,
                    QL_SHARED const float *slots) {
  int tile = row / qlinear::layout::kTileRows;
  return walk->total(tokens, token, tile * walk->weights + weight,
                     row % qlinear::layout::kTileRows, constants, slots);
}

/// Reads the row constants of the block's tiles of one weight.
void ql_stage_rows(const Walk *walk, i32 weight, i32 threads,
                   QL_SHARED float *constants) {
  const WeightLayout &l = walk->layout;
  const Spec &s = l.spec;
  int n = rowFloats(s, s.scale), all = rowFloats(s);
  if (!all)
    return;
  const u8 *blob = walk->blobs[weight];
  QL_NO_UNROLL
  for (int i = ql_ptx_thread(); i < walk->tiles * 16; i += threads) {
    u64 row = u64(u32(walk->tile0)) * 16 + u32(i);
    float values[4];
    if (n)
      rowConstants(s, s.scale, blob + l.rowScaleOffset(row), values);
    if (all > n)
      rowConstants(s, s.offset, blob + l.rowOffsetOffset(row), values + n);
    int at = (i / 16 * walk->weights + weight) * 16 + i % 16;
    QL_UNROLL
    for (int f = 0; f < all; ++f)
      constants[at * all + f] = values[f];
  }
}

/// The quotient of numbers below 2^22, by one reciprocal.
i32 ql_divide(i32 dividend, i32 divisor) { return divide(dividend, divisor); }

/// Quantizes `rows` rows of x (rows x K, element type `type`), of each the columns
/// of `units` units from `unit0`, into shared memory for `tokens` tokens; tokens
/// past `rows` become zero. The kernel waits here for what the last one wrote:
/// the next item's loads are under way while one is quantized, in a loop that is
/// not unrolled, since its instructions have to be fetched too.
void ql_stage_activations(i32 type, i64 K, i32 unit0, i32 units, i32 tokens, i32 rows,
                          i32 threads, u64 kinds, const u8 *x, QL_SHARED u8 *codes,
                          QL_SHARED u8 *records) {
  int k0 = unit0 * qlinear::layout::kUnitK;
  int perToken = units * qlinear::layout::kUnitK / kItem, items = tokens * perToken;
  int chunks = tokens * units * qlinear::layout::kUnitChunks;
  auto fetch = [&](int i) {
    int token = tokens == 1 ? 0 : i / perToken;
    RawItem raw = {};
    if (i < items && token < rows)
      raw = loadItem(type, x + i64(token) * K * qlinear::layout::floatBytes(type),
                     k0 + (i - token * perToken) * kItem, int(K));
    return raw;
  };
  constexpr int kAhead = 2;
  RawItem ahead[kAhead];
  int thread = ql_ptx_thread();
  QL_UNROLL
  for (int b = 0; b < kAhead; ++b)
    ahead[b] = fetch(thread + b * threads);
  QL_NO_UNROLL
  for (int i = thread; i < int(alignTo(u64(u32(items)), kWarp)); i += threads) {
    float values[kItem];
    itemValues(type, ahead[0], values);
    QL_UNROLL
    for (int b = 1; b < kAhead; ++b)
      ahead[b - 1] = ahead[b];
    ahead[kAhead - 1] = fetch(i + kAhead * threads);
    int part = i % kItemsPerChunk, chunk = i / kItemsPerChunk;
    QuantizedItem q = quantizeItem(values, part); // by whole warps
    if (i >= items)
      continue;
    *(QL_SHARED u32x4 *)(codes + chunk / 8 * 256 + part * 128 + chunk % 8 * 16) =
        q.codes;
    if (part == 0)
      writeRecords(kinds, records, chunks, chunk, q.d, q.lowSum, q.highSum);
  }
}

/// The same from quantized activations (ActivationLayout in Layout.h), in pieces of
/// 16 bytes: first those of the codes, then those of the records.
void ql_stage_quantized(i64 K, i32 unit0, i32 units, i32 tokens, i32 rows,
                        i32 threads, u64 kinds, const u8 *a, QL_SHARED u8 *codes,
                        QL_SHARED u8 *records) {
  ActivationLayout l{u64(K)};
  int codePieces = units * qlinear::layout::kUnitK / 16;
  int perToken = units * qlinear::layout::kUnitChunks;
  int pieces = codePieces + perToken / 2, all = tokens * pieces;
  constexpr int kMaxBatch = 8; // loads under way per thread
  int batch = min((all + threads - 1) / threads, kMaxBatch);
  QL_NO_UNROLL
  for (int base = ql_ptx_thread(); base < all; base += threads * batch) {
    u32x4 raw[kMaxBatch];
    QL_UNROLL
    for (int b = 0; b < batch; ++b) {
      int i = base + b * threads, token = tokens == 1 ? 0 : i / pieces;
      int piece = i - token * pieces;
      raw[b] = u32x4{0, 0, 0, 0};
      if (i < all && token < rows)
        raw[b] = ql_ptx_load16_l2(
            a + token * i64(l.bytes()) +
            (piece < codePieces
                 ? u64(u32(unit0 * qlinear::layout::kUnitK + piece * 16))
                 : l.record(u64(u32(unit0 * qlinear::layout::kUnitChunks +
                                    2 * (piece - codePieces))))));
    }
    QL_UNROLL
    for (int b = 0; b < batch; ++b) {
      int i = base + b * threads, token = tokens == 1 ? 0 : i / pieces;
      int piece = i - token * pieces;
      u32x4 v = raw[b];
      if (i >= all)
        continue;
      if (piece < codePieces) {
        *(QL_SHARED u32x4 *)(codes + (token * codePieces + piece) * 16) = v;
      } else { // two records
        int chunk = token * perToken + 2 * (piece - codePieces);
        writeRecords(kinds, records, tokens * perToken, chunk, bitCast<float>(u32(v.x)),
                     i16(v.y), i16(v.y >> 16));
        writeRecords(kinds, records, tokens * perToken, chunk + 1,
                     bitCast<float>(u32(v.z)), i16(v.w), i16(v.w >> 16));
      }
    }
  }
}

/// Quantizes `rows` rows of x into quantized activations; `blocks` blocks of
/// `threads` threads (a multiple of 32) share the work.
void ql_quantize(i32 type, i64 K, i32 rows, i32 threads, i32 blocks, const u8 *x,
                 u8 *out) {
  ActivationLayout l{u64(K)};
  int perToken = int(l.paddedK()) / kItem, items = rows * perToken;
  QL_NO_UNROLL
  for (int i = ql_ptx_block() * threads + ql_ptx_thread();
       i < int(alignTo(u64(u32(items)), kWarp)); i += threads * blocks) {
    int token = i / perToken, k = i % perToken * kItem;
    RawItem raw = {};
    if (i < items)
      raw = loadItem(type, x + i64(token) * K * qlinear::layout::floatBytes(type), k,
                     int(K));
    float values[kItem];
    itemValues(type, raw, values);
    int part = i % kItemsPerChunk;
    QuantizedItem q = quantizeItem(values, part); // by whole warps
    if (i >= items)
      continue;
    u8 *to = out + token * i64(l.bytes());
    *(u32x4 *)(to + l.code(u64(u32(k)))) = q.codes;
    if (part == 0)
      *(u32x2 *)(to + l.record(u64(u32(k / qlinear::layout::kChunk)))) =
          u32x2{bitCast<u32>(q.d), u32(u16(q.lowSum)) | u32(q.highSum) << 16};
  }
}
}
