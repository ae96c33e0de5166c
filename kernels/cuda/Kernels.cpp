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

/// Quantizes `rows` rows of x (rows x K, element type `type`), of each the columns
/// of `units` units from `unit0`, into shared memory for `tokens` tokens; tokens
/// past `rows` become zero.
void ql_stage_activations(i32 type, i64 K, i32 unit0, i32 units, i32 tokens, i32 rows, i32 threads,
                          u64 kinds, const u8 *x, QL_SHARED u8 *codes,
                          QL_SHARED u8 *records) {
  int k0 = unit0 * qlinear::layout::kUnitK;
  int perToken = units * qlinear::layout::kUnitK / kItem, items = tokens * perToken;
  int chunks = tokens * units * qlinear::layout::kUnitChunks;
  constexpr int kBatch = 6; // loads under way per thread
  QL_NO_UNROLL
  for (int base = ql_ptx_thread(); base < items; base += threads * kBatch) {
    RawItem raw[kBatch];
    QL_UNROLL
    for (int b = 0; b < kBatch; ++b) {
      int i = base + b * threads, token = i / perToken;
      if (token < rows)
        raw[b] = loadItem(type, x + i64(token) * K * qlinear::layout::floatBytes(type),
                          k0 + i % perToken * kItem, int(K));
      else
        raw[b] = {};
    }
    QL_UNROLL
    for (int b = 0; b < kBatch; ++b) {
      int i = base + b * threads;
      if (i < items) { // a multiple of 32: whole warps
        float values[kItem];
        itemValues(type, raw[b], values);
        int part = i % kItemsPerChunk, chunk = i / kItemsPerChunk;
        QuantizedItem q = quantizeItem(values, part);
        *(QL_SHARED u32x2 *)(codes + chunk / 8 * 256 + part / 2 * 128 +
                             chunk % 8 * 16 + part % 2 * 8) = q.codes;
        if (part == 0)
          writeRecords(kinds, records, chunks, chunk, q.d, q.lowSum, q.highSum);
      }
    }
  }
}

/// The same from quantized activations (ActivationLayout in Layout.h).
void ql_stage_quantized(i64 K, i32 unit0, i32 units, i32 tokens, i32 rows,
                        i32 threads, u64 kinds, const u8 *a, QL_SHARED u8 *codes,
                        QL_SHARED u8 *records) {
  ActivationLayout l{u64(K)};
  int pieces = units * qlinear::layout::kUnitK / 16;
  int perToken = units * qlinear::layout::kUnitChunks;
  QL_NO_UNROLL
  for (int m = 0; m < tokens; ++m) {
    const u8 *token = a + m * i64(l.bytes());
    QL_NO_UNROLL
    for (int i = ql_ptx_thread(); i < pieces; i += threads) {
      u32x4 v = {0, 0, 0, 0};
      if (m < rows)
        v = ql_ptx_load16_l2(token + unit0 * qlinear::layout::kUnitK + i * 16);
      *(QL_SHARED u32x4 *)(codes + m * pieces * 16 + i * 16) = v;
    }
    QL_NO_UNROLL
    for (int i = ql_ptx_thread(); i < perToken / 2; i += threads) { // two records
      u32x4 v = {0, 0, 0, 0};
      if (m < rows)
        v = ql_ptx_load16_l2(token + l.record(u64(u32(unit0 * 8 + 2 * i))));
      writeRecords(kinds, records, tokens * perToken, m * perToken + 2 * i,
                   bitCast<float>(u32(v.x)), i16(v.y), i16(v.y >> 16));
      writeRecords(kinds, records, tokens * perToken, m * perToken + 2 * i + 1,
                   bitCast<float>(u32(v.z)), i16(v.w), i16(v.w >> 16));
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
  for (int i = ql_ptx_block() * threads + ql_ptx_thread(); i < items;
       i += threads * blocks) {
    int token = i / perToken, k = i % perToken * kItem;
    float values[kItem];
    itemValues(
        type,
        loadItem(type, x + i64(token) * K * qlinear::layout::floatBytes(type), k,
                 int(K)),
        values);
    int part = i % kItemsPerChunk;
    QuantizedItem q = quantizeItem(values, part);
    u8 *to = out + token * i64(l.bytes());
    *(u32x2 *)(to + l.code(u64(u32(k)))) = q.codes;
    if (part == 0)
      *(u32x2 *)(to + l.record(u64(u32(k / qlinear::layout::kChunk)))) =
          u32x2{bitCast<u32>(q.d), u32(u16(q.lowSum)) | u32(q.highSum) << 16};
  }
}
}
