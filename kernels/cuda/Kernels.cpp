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
//   ql_ptx_wait_prior_grids        before the first access to their results
//   ql_load_activations            x under way
//   ql_walk_start, ql_walk_take    the rest of the copies
//   ql_stage_activations           x quantized into shared memory, or by
//                                  ql_stage_floats as it is
//   ql_walk_multiply
//   ql_walk_total                  a finished row, for the epilogue
//
// of a kernel of a norm
//
//   ql_block_sum
//   ql_columns_magnitude, ql_block_largest, ql_columns_prepare, or ql_columns_quantize
//                                  where it is launched with a linear
//
// and of a kernel for many tokens:
//
//   ql_gemm_init, ql_gemm_weight   per group of like weights
//   ql_gemm_open                   the ring
//   ql_ptx_launch_dependents
//   ql_gemm_job_tiles              how the work is cut; for each of the block's jobs
//   ql_gemm_multiply               sums into shared memory
//   ql_gemm_total                  a finished row, for the epilogue
//
// or, by groups of warps:
//
//   ql_groups_init, ql_gemm_weight per group of like weights
//   ql_groups_open                 the rings
//   ql_ptx_launch_dependents
//   ql_shares_open                 how the work is cut; for each of the block's pieces:
//   ql_shares_piece
//   ql_groups_copy                 by threads that copy, or else
//   ql_groups_multiply             sums; if they are finished, in rounds:
//   ql_groups_share                sums into shared memory
//   ql_groups_row, _token, _products of an element, for the epilogue
//   ql_groups_done
//
//===----------------------------------------------------------------------===//
#include "Columns.h"
#include "Embedding.h"
#include "Gemm.h"
#include "GroupGemm.h"
#include "Prepare.h"
#include "Rotary.h"
#include "Walk.h"

using namespace qlinear::kernels;

/// Where the room for finished rows (ql_gather_store) has row `row` of a block's own
/// tiles.
static QL_INLINE int gatherPlace(int weights, int tiles, int tokens, int rank,
                                 int weight, int token, int row) {
  return (((rank * weights + weight) * tiles + row / 16) * tokens + token) * 16 +
         row % 16;
}

static_assert(sizeof(Walk) <= kStateBytes && sizeof(Unit) <= kStateBytes &&
              sizeof(RawItem[Staging::kMaxDepth]) <= kStateBytes &&
              sizeof(Gemm) <= kStateBytes && sizeof(RingPlace) <= kStateBytes &&
              sizeof(GroupGemm) <= kStateBytes && sizeof(Shares) <= kStateBytes &&
              sizeof(Piece) <= kStateBytes &&
              sizeof(float[kMaxGemmSums]) <= kStateBytes);

extern "C" {

/// Sets a walk up: `tiles` tiles from `tile0` of `weights` weights of N x K, of each
/// tile `units` units from `unit0`. Each warp has `stages` stages in its own
/// `ringBytes` bytes from `ring` on, as many mbarriers from `barriers` on, and on
/// tensor cores (`product`) exchangeBytes from `exchange` on.
void ql_walk_init(Walk *walk, i32 mode, i32 product, u64 spec, i64 N, i64 K,
                  i32 weights, i32 unit0, i32 units, i32 warps, i32 stages,
                  i32 ringBytes, i32 tile0, i32 tiles, QL_SHARED u8 *ring,
                  QL_SHARED u64 *barriers, QL_SHARED u8 *exchange) {
  Walk &w = *walk;
  w.mode = mode;
  w.product = product;
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
  w.exchange = exchange + w.warp * exchangeBytes(w.layout.spec);
  w.partition();
}

void ql_walk_weight(Walk *walk, i32 index, const u8 *blob) {
  walk->blobs[index] = blob;
}

/// Puts stages first .. last - 1 of the ring under way; with `afterLoads` once the
/// loads that ql_load_activations has begun have arrived.
void ql_walk_start(Walk *walk, i32 first, i32 last, i32 afterLoads) {
  walk->start(first, last, bool(afterLoads));
}

/// Takes each warp's first unit out of the ring, for ql_walk_multiply.
void ql_walk_take(Walk *walk, Unit *unit) { walk->takeFirst(*unit); }

/// `codes` and `records` (of the spec's kind): StagedActivations; `constants`: runs x
/// 16 x rowFloats; `slots`: see Gpu.h; `ahead`: ql_walk_take has taken `unit`.
void ql_walk_multiply(Walk *walk, i32 tokens, QL_SHARED const u8 *codes,
                      QL_SHARED const u8 *records, QL_SHARED const float *constants,
                      QL_SHARED float *slots, Unit *unit, i32 ahead) {
  walk->multiply(tokens, codes, records, constants, slots, *unit, bool(ahead));
}

/// Row `row` of the block's tiles (0 .. 16 tiles - 1) of weight `weight`.
float ql_walk_total(const Walk *walk, i32 tokens, i32 token, i32 weight, i32 row,
                    QL_SHARED const float *constants, QL_SHARED const float *slots) {
  int tile = row / qlinear::layout::kTileRows;
  return walk->total(tokens, token, tile * walk->weights + weight,
                     row % qlinear::layout::kTileRows, constants, slots);
}

/// A finished row for the block tile % split of the cluster, which has the
/// room `gather` for it: per rank and weight `tiles` tiles of `tokens` x 16 floats.
void ql_gather_store(QL_SHARED float *gather, i32 split, i32 rank, i32 weights,
                     i32 tiles, i32 tokens, i32 token, i32 weight, i32 row,
                     float value) {
  int tile = row / 16, own = tile / split * 16 + row % 16;
  ql_ptx_cluster_store(
      gather + gatherPlace(weights, tiles, tokens, rank, weight, token, own),
      tile % split, value);
}

/// The sum of the values that all blocks stored for row `row` of this block's tiles.
float ql_gather_total(QL_SHARED const float *gather, i32 split, i32 weights, i32 tiles,
                      i32 tokens, i32 token, i32 weight, i32 row) {
  float sum = 0.0f;
  QL_UNROLL
  for (int rank = 0; rank < split; ++rank)
    sum += gather[gatherPlace(weights, tiles, tokens, rank, weight, token, row)];
  return sum;
}

/// Which row of the cluster's tiles row `row` of the block's own tiles is.
i32 ql_gather_row(i32 split, i32 rank, i32 row) {
  return (row / 16 * split + rank) * 16 + row % 16;
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

/// Starts the first loads of `rows` rows of x (rows x K, elements of `type`), in each
/// the columns of `units` units from `unit0`. Of the kernel's `tokens` tokens, those
/// past `rows` become zero. `product`: as StagedActivations has it. This function and
/// the next take the same constants instead of one handing them to the other: `items`
/// becomes registers only once loops over it are unrolled, and that takes constants.
void ql_load_activations(RawItem *items, i32 type, i64 K, i32 unit0, i32 units,
                         i32 tokens, i32 product, i32 rows, i32 threads, const u8 *x) {
  Staging staging{type, K, unit0, {tokens, units, product}, rows, threads, x};
  staging.load(items);
}

/// Quantizes them into shared memory.
void ql_stage_activations(RawItem *items, i32 type, i64 K, i32 unit0, i32 units,
                          i32 tokens, i32 product, i32 rows, i32 threads, const u8 *x,
                          u64 kinds, QL_SHARED u8 *codes, QL_SHARED u8 *records) {
  Staging staging{type, K, unit0, {tokens, units, product}, rows, threads, x};
  staging.store<QuantizedItem>(items, kinds, codes, records);
}

/// Brings them into shared memory as floats.
void ql_stage_floats(RawItem *items, i32 type, i64 K, i32 unit0, i32 units, i32 tokens,
                     i32 product, i32 rows, i32 threads, const u8 *x, u64 kinds,
                     QL_SHARED u8 *codes, QL_SHARED u8 *records) {
  Staging staging{type, K, unit0, {tokens, units, product}, rows, threads, x};
  staging.store<FloatItem>(items, kinds, codes, records);
}

/// The same from quantized activations `a` (ActivationLayout in Layout.h), in pieces of
/// 16 bytes: first those of the codes, then those of the records. With `bulk`, bulk
/// copies bring the codes; ql_await_codes waits for them. `phase` counts the
/// calls. Codes of tokens past `rows` are then undefined, as are their results.
void ql_stage_quantized(i64 K, i32 unit0, i32 units, i32 tokens, i32 product, i32 rows,
                        i32 threads, u64 kinds, i32 bulk, i32 phase,
                        QL_SHARED u64 *barrier, const u8 *a, QL_SHARED u8 *codes,
                        QL_SHARED u8 *records) {
  ActivationLayout l{u64(K)};
  StagedActivations staged{tokens, units, product};
  if (bulk && ql_ptx_thread() == 0) {
    if (phase == 0) {
      ql_ptx_mbarrier_init(barrier);
      ql_ptx_mbarrier_fence();
    }
    u32 bytes = u32(units) * qlinear::layout::kUnitK;
    ql_ptx_mbarrier_expect(barrier, bytes * u32(rows));
    QL_NO_UNROLL
    for (int token = 0; token < rows; ++token)
      ql_ptx_bulk_copy(codes + token * staged.codeStride(),
                       a + token * i64(l.bytes()) + unit0 * qlinear::layout::kUnitK,
                       bytes, barrier);
  }
  int codePieces = bulk ? 0 : units * qlinear::layout::kUnitK / 16;
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
        *(QL_SHARED u32x4 *)(codes + token * staged.codeStride() + piece * 16) = v;
      } else { // two records
        int chunk = 2 * (piece - codePieces);
        writeRecords(kinds, records, staged.records(), staged.record(token, chunk),
                     bitCast<float>(u32(v.x)), i16(v.y), i16(v.y >> 16));
        writeRecords(kinds, records, staged.records(), staged.record(token, chunk + 1),
                     bitCast<float>(u32(v.z)), i16(v.w), i16(v.w >> 16));
      }
    }
  }
}

/// After a block barrier: the codes that ql_stage_quantized began to copy in `phase`.
void ql_await_codes(i32 phase, QL_SHARED u64 *barrier) {
  ql_ptx_mbarrier_wait(barrier, u32(phase & 1));
}

/// The sum of all threads' values, in an order of its own; `scratch` has a float per
/// warp.
float ql_block_sum(float value, i32 threads, QL_SHARED float *scratch) {
  int thread = ql_ptx_thread(), warps = threads / kWarp;
  value = sumOfWarp(value);
  if (thread % kWarp == 0)
    scratch[thread / kWarp] = value;
  ql_ptx_barrier();
  int lane = thread % kWarp;
  float sum = sumOfWarp(lane < warps ? float(scratch[lane]) : 0.0f);
  ql_ptx_barrier(); // before the next sum
  return sum;
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
    int part = i % kItemsPerChunk;
    QuantizedItem q = quantizeItem(type, raw, part); // by whole warps
    if (i >= items)
      continue;
    u8 *to = out + token * i64(l.bytes());
    *(u32x4 *)(to + l.code(u64(u32(k)))) = q.codes;
    if (part == 0)
      *(u32x2 *)(to + l.record(u64(u32(k / qlinear::layout::kChunk)))) =
          u32x2{bitCast<u32>(q.d), u32(u16(q.lowSum)) | u32(q.highSum) << 16};
  }
}

/// Rows `indices` of a weight; blocks of `threads` threads share their chunks.
void ql_embedding(u64 spec, i64 N, i64 K, i32 type, i32 rows, i32 threads,
                  const u8 *blob, const i32 *indices, u8 *out) {
  RowReader reader{{Spec::unpack(spec), u64(N), u64(K)}, blob, {type, K % 4 ? 1 : 4}};
  int perRow = reader.chunksPerRow();
  i64 items = i64(rows) * perRow, bytes = K * qlinear::layout::floatBytes(type);
  QL_NO_UNROLL
  for (i64 i = i64(ql_ptx_block()) * threads + ql_ptx_thread(); i < items;
       i += i64(threads) * ql_ptx_blocks()) {
    i64 row = i / perRow;
    reader.read(indices[row], int(i - row * perRow), out + row * bytes);
  }
}

/// Rotary embeddings of `rows` rows of x, of `heads` heads each; blocks of `threads`
/// threads share the work. cos and sin have `rotated` columns. Where the heads go,
/// RotaryPlaces says.
void ql_rotary(i32 type, i32 tableType, i32 heads, i32 head, i32 rotated, i32 rows,
               i32 threads, const u8 *x, const u8 *cos, const u8 *sin, const i32 *at,
               i64 count, i32 headsPerPiece, u8 *out) {
  Rotary rotary{{heads, head, rotated}, type, tableType};
  RotaryPlaces places{at, count, headsPerPiece};
  int perHead = rotary.itemsPerHead(), perRow = heads * perHead;
  i64 items = i64(rows) * perRow, bytes = rotary.headBytes();
  i64 tableBytes = i64(rotated) * qlinear::layout::floatBytes(tableType);
  QL_NO_UNROLL
  for (i64 i = i64(ql_ptx_block()) * threads + ql_ptx_thread(); i < items;
       i += i64(threads) * ql_ptx_blocks()) {
    i64 row = i / perRow;
    int item = int(i - row * perRow), index = item / perHead;
    if (u8 *to = places.find(out, row, index, heads, bytes))
      rotary.rotate(item % perHead, x + (row * heads + index) * bytes,
                    cos + row * tableBytes, sin + row * tableBytes, to,
                    [](int, float *) {});
  }
}

/// The same of heads that are normalized first, one by a warp; see Rotary::normalize.
void ql_rotary_norm(i32 type, i32 tableType, i32 normType, i32 centered, float epsilon,
                    i32 heads, i32 head, i32 rotated, i32 rows, i32 threads,
                    const u8 *x, const u8 *norm, const u8 *cos, const u8 *sin,
                    const i32 *at, i64 count, i32 headsPerPiece, u8 *out) {
  Rotary rotary{{heads, head, rotated}, type, tableType};
  RotaryPlaces places{at, count, headsPerPiece};
  i64 bytes = rotary.headBytes();
  i64 tableBytes = i64(rotated) * qlinear::layout::floatBytes(tableType);
  int warps = threads / kWarp;
  QL_NO_UNROLL
  for (i64 i = i64(ql_ptx_block()) * warps + ql_ptx_thread() / kWarp;
       i < i64(rows) * heads; i += i64(warps) * ql_ptx_blocks()) {
    i64 row = i / heads;
    if (u8 *to = places.find(out, row, int(i - row * heads), heads, bytes))
      rotary.normalize(x + i * bytes, norm, normType, centered != 0, epsilon,
                       cos + row * tableBytes, sin + row * tableBytes, to);
  }
}

/// Makes `count` words zero, by all threads of all blocks: counters that kernels by
/// groups of warps start with.
void ql_clear(u32 *words, i32 count, i32 threads) {
  QL_NO_UNROLL
  for (int i = ql_ptx_block() * threads + ql_ptx_thread(); i < count;
       i += threads * ql_ptx_blocks())
    words[i] = 0;
}

/// Prepares `rows` tokens for kernels of many (PreparedActivations); blocks of
/// `threads` threads share the work, with a word of `scratch` per warp.
void ql_prepare(i32 type, i64 K, i32 rows, i32 threads, const u8 *x, u8 *image,
                QL_SHARED u32 *scratch) {
  prepare(FloatTokens{type, K, x}, K, rows, threads, image, scratch);
}

/// The same from quantized activations.
void ql_prepare_quantized(i64 K, i32 rows, i32 threads, const u8 *a, u8 *image,
                          QL_SHARED u32 *scratch) {
  prepare(QuantizedTokens{K, a}, K, rows, threads, image, scratch);
}

/// The columns of a group that a thread has of a row (Columns.h): their largest
/// magnitude, as bits,
u32 ql_columns_magnitude(f32x4 low, f32x4 high) {
  return Columns8(low, high).magnitude();
}
/// that of all threads' values, with a word of `scratch` per warp,
u32 ql_block_largest(u32 value, i32 threads, QL_SHARED u32 *scratch) {
  return largestOfBlock(value, threads, scratch);
}
/// and what they are as a part of token `token` of `image`, whose largest magnitude is
/// `most`,
void ql_columns_prepare(f32x4 low, f32x4 high, i64 K, i32 rows, i32 token, i32 group,
                        u32 most, u8 *image) {
  TokenScale scale(most);
  Columns8(low, high).prepare(K, rows, token, group, scale, image);
  if (group == 0)
    ((float *)(image + PreparedActivations{u64(K)}.scales(u64(u32(rows)))))[token] =
        scale.down();
}
/// or of quantized activations; all lanes of a warp call this together.
void ql_columns_quantize(f32x4 low, f32x4 high, i64 K, i32 token, i32 group, u8 *out) {
  u64 bytes = ActivationLayout{u64(K)}.bytes();
  Columns8(low, high).quantize(K, group, out + u64(u32(token)) * bytes);
}

/// Sets up a kernel for many tokens: `weights` weights of N x K, of each tile `units`
/// units from `unit0`. The other arguments are those of Gemm and GemmShape.
void ql_gemm_init(Gemm *gemm, i32 mode, u64 spec, i64 N, i64 K, i32 weights, i32 tokens,
                  i32 warps, i32 warpTiles, i32 stages, i32 copyWarps, i32 stageBytes,
                  i32 unit0, i32 units, i32 rows, const u8 *image, QL_SHARED u8 *ring,
                  QL_SHARED u64 *barriers, QL_SHARED u8 *tables,
                  QL_SHARED float *factors) {
  Gemm &g = *gemm;
  g.mode = mode;
  g.shape = {tokens, warps, warpTiles, stages, copyWarps};
  g.layout = {Spec::unpack(spec), u64(N), u64(K)};
  g.weights = weights;
  g.stageBytes = stageBytes;
  g.unit0 = unit0;
  g.units = units;
  g.rows = rows;
  g.image = image;
  g.ring = ring;
  g.barriers = barriers;
  g.tables = tables;
  g.factors = factors;
}

void ql_gemm_weight(GemmTiles *gemm, i32 index, const u8 *blob) {
  gemm->blobs[index] = blob;
}

/// Makes the ring ready; a block barrier has to follow.
void ql_gemm_open(RingPlace *place, i32 mode, i32 warps, i32 stages,
                  QL_SHARED u64 *barriers) {
  *place = {0, 0};
  if (ql_ptx_thread() != 0)
    return;
  QL_UNROLL
  for (int s = 0; s < stages; ++s) {
    ql_ptx_mbarrier_init_count(barriers + s, 1);
    ql_ptx_mbarrier_init_count(barriers + stages + s, warps);
  }
  if (mode == kBulk)
    ql_ptx_mbarrier_fence();
}

/// Tiles of a job (jobTiles in Gemm.h).
i32 ql_gemm_job_tiles(i32 tiles, i32 tokenBlocks, i32 grid, i32 most) {
  return jobTiles(tiles, tokenBlocks, grid, most);
}

/// Multiplies `tiles` tiles from `tile0` with the tokens from `token0` and leaves the
/// sums in `sums`. `first`: the block's first job, for which it waits for the kernel
/// before.
void ql_gemm_multiply(const Gemm *gemm, RingPlace *place, i32 tile0, i32 tiles,
                      i32 token0, i32 first, QL_SHARED float *sums) {
  gemm->multiply(*place, tile0, tiles, token0, first, sums);
}

/// The finished product of row `row` of a job's tiles and the token `token` from its
/// first, `token0`: the sums of the blocks of a cluster of `split`, in the order of K.
float ql_gemm_total(const Gemm *gemm, i32 split, i32 token0, i32 token, i32 weight,
                    i32 row, QL_SHARED const float *sums) {
  int slot = row / 16 * gemm->weights + weight;
  QL_SHARED const float *at =
      sums + (slot * 16 + row % 16) * gemm->shape.sumsRow() + token;
  float sum = split == 1 ? *at : 0.0f;
  QL_UNROLL
  for (int rank = 0; rank < (split == 1 ? 0 : split); ++rank)
    sum += ql_ptx_cluster_load(at, rank);
  PreparedActivations prepared{gemm->layout.K};
  return sum * ((const float *)(gemm->image +
                                prepared.scales(u64(u32(gemm->rows)))))[token0 + token];
}

/// Sets up a kernel by groups of warps. Other arguments are those of GroupGemm and
/// GemmShape.
void ql_groups_init(GroupGemm *gemm, u64 spec, i64 N, i64 K, i32 weights, i32 units,
                    i32 tokens, i32 warps, i32 warpTiles, i32 stages, i32 copyWarps,
                    i32 xBlocks, i32 xStages, i32 roundTokens, i32 pair, i32 rank,
                    i32 rows, const u8 *image, u8 *scratch, i32 counterBytes,
                    QL_SHARED u8 *xRing, QL_SHARED u8 *ring, QL_SHARED u64 *barriers,
                    QL_SHARED u8 *tables, QL_SHARED float *factors,
                    QL_SHARED float *rounds) {
  GroupGemm &g = *gemm;
  g.shape = {tokens,  warps,   warpTiles,   stages, copyWarps,
             xBlocks, xStages, roundTokens, pair};
  g.rank = rank;
  g.layout = {Spec::unpack(spec), u64(N), u64(K)};
  g.weights = weights;
  g.units = units;
  g.rows = rows;
  g.image = image;
  g.scratch = scratch;
  g.counterBytes = counterBytes;
  g.xRing = xRing;
  g.ring = ring;
  g.barriers = barriers;
  g.tables = tables;
  g.factors = factors;
  g.rounds = rounds;
}

/// Makes the rings ready; a block barrier has to follow.
void ql_groups_open(GroupPlace *place, i32 warps, i32 stages, i32 xStages, i32 pair,
                    QL_SHARED u64 *barriers) {
  *place = {};
  if (ql_ptx_thread() != 0)
    return;
  QL_UNROLL
  for (int s = 0; s < 2 * (stages + xStages); ++s) {
    bool filled = s < stages || (s >= 2 * stages && s < 2 * stages + xStages);
    bool both = pair && s >= 2 * stages; // stages that two blocks release
    ql_ptx_mbarrier_init_count(barriers + s, filled ? 1 : both ? 2 * warps : warps);
  }
  ql_ptx_mbarrier_fence();
}

/// How blocks share jobs of `groups` groups of tiles and `tokenBlocks` blocks of
/// tokens, each of at most `most` pieces of K; how many pieces this one has.
i32 ql_shares_open(Shares *shares, i32 units, i32 groups, i32 tokenBlocks, i32 tokens,
                   i32 grid, i32 block, i32 most) {
  *shares = {units, groups, tokenBlocks, tokens, grid, block};
  shares->open(most);
  return shares->pieces();
}

/// Piece `index`; its group of tiles.
i32 ql_shares_piece(const Shares *shares, i32 index, Piece *piece) {
  *piece = shares->piece(index);
  return piece->group;
}

/// The tiles of the piece's group, in the segment that it belongs to.
void ql_piece_tiles(Piece *piece, i32 tile0, i32 tiles) {
  piece->tile0 = tile0;
  piece->tiles = tiles;
}

i32 ql_piece_token0(const Piece *piece) { return piece->token0; }

/// By threads that copy. `first`: the block's first piece, for which they wait for the
/// kernel before.
void ql_groups_copy(const GroupGemm *gemm, const Piece *piece, GroupPlace *place,
                    i32 first) {
  gemm->copy(*piece, *place, first);
}

/// By groups of threads that multiply: whether the sums are finished.
i32 ql_groups_multiply(const GroupGemm *gemm, const Piece *piece, GroupPlace *place,
                       i32 first, float *sums) {
  return gemm->multiply(*piece, *place, first, sums);
}

/// Their sums of the tokens of round `round` into shared memory; when all of the group
/// have read them, the next.
void ql_groups_share(const GroupGemm *gemm, i32 round, const float *sums) {
  gemm->share(round, sums);
}
void ql_groups_done(const GroupGemm *gemm) { gemm->done(); }

/// An element of a round of this thread's group: kElementRows rows of a token.
i32 ql_groups_row(const GroupGemm *gemm, i32 element) { return gemm->rowOf(element); }
i32 ql_groups_token(const GroupGemm *gemm, i32 element) {
  return gemm->tokenOf(element);
}
/// Its products of weight `weight`.
f32x4 ql_groups_products(const GroupGemm *gemm, i32 round, i32 element, i32 weight) {
  return gemm->products(round, element, weight);
}
}
