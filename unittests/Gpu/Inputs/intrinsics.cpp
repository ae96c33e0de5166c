//===- intrinsics.cpp - A kernel around each device operation -------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Device code of IntrinsicsTest.cpp: each function of kernels/cuda/Intrinsics.h is
// called by a kernel whose results the test computes from scalars. For GPUs it is
// linked with the intrinsics' bitcode, for the emulated device with nothing. Without
// QL_TEST_SM90 it is what sm_80 has, and without QL_TEST_SM90A what sm_90 has.
//
//===----------------------------------------------------------------------===//
#include "cuda/Intrinsics.h"

#define KERNEL extern "C" __attribute__((nvptx_kernel)) void

extern QL_SHARED u8 smem[] __attribute__((aligned(128)));

template <class T> QL_SHARED T *shared(u32 bytes) {
  return (QL_SHARED T *)(smem + bytes);
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

KERNEL indices(u32 *out, u32 threads) {
  u32 t = u32(ql_ptx_thread()), b = u32(ql_ptx_block());
  out[b * threads + t] = b << 16 | t;
}

/// In each round a thread reads a word that a thread of another warp wrote.
KERNEL block_barrier(u32 *out, u32 threads, u32 rounds) {
  u32 t = u32(ql_ptx_thread()), value = t;
  QL_SHARED u32 *words = shared<u32>(0);
  for (u32 r = 0; r < rounds; ++r) {
    words[t] = value;
    ql_ptx_barrier();
    value = 3 * words[(t + 33 + r) % threads] + r;
    ql_ptx_barrier();
  }
  out[t] = value;
}

/// The same within a warp; the warps are not in step.
KERNEL warp_barrier(u32 *out, u32 rounds) {
  u32 t = u32(ql_ptx_thread()), lane = t % 32, value = t;
  QL_SHARED u32 *words = shared<u32>(t / 32 * 128);
  for (u32 r = 0; r < rounds * (1 + t / 32); ++r) {
    words[lane] = value;
    ql_ptx_warp_barrier();
    value = 3 * words[(lane + 1 + r) % 32] + r;
    ql_ptx_warp_barrier();
  }
  out[t] = value;
}

/// The same within a group of four warps; the groups are not in step.
KERNEL group_barrier(u32 *out, u32 rounds) {
  u32 t = u32(ql_ptx_thread()), place = t % 128, group = t / 128, value = t;
  QL_SHARED u32 *words = shared<u32>(group * 512);
  for (u32 r = 0; r < rounds * (1 + group); ++r) {
    words[place] = value;
    ql_ptx_group_barrier(i32(1 + group));
    value = 3 * words[(place + 33 + r) % 128] + r;
    ql_ptx_group_barrier(i32(1 + group));
  }
  out[t] = value;
}

/// Each block writes a word and counts itself in; the last one adds all words.
KERNEL counts(u32 *counter, u32 *words, u32 *sum) {
  if (ql_ptx_thread() != 0)
    return;
  u32 blocks = u32(ql_ptx_blocks());
  words[ql_ptx_block()] = 3 * u32(ql_ptx_block()) + 1;
  if (ql_ptx_count(counter) + 1 != blocks)
    return;
  ql_ptx_await_count(counter, blocks);
  for (u32 b = 0; b < blocks; ++b)
    *sum += words[b];
}

/// The word of the warp's first thread, and the thread's own.
KERNEL uniforms(const u32 *in, u32 *first, u32 *own) {
  u32 t = u32(ql_ptx_thread());
  first[t] = ql_ptx_uniform(in[t]);
  own[t] = ql_ptx_pin(in[t]);
}

KERNEL shuffle(const u32 *in, u32 *out, u32 threads) {
  u32 t = u32(ql_ptx_thread());
  for (u32 mask = 0; mask < 32; ++mask)
    out[mask * threads + t] = ql_ptx_shuffle_xor(in[t], i32(mask));
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

KERNEL integers(const u32 *a, const u32 *b, const u32 *c, u32 *dot, u32 *bytes,
                u32 threads) {
  u32 i = u32(ql_ptx_block()) * threads + u32(ql_ptx_thread());
  dot[i] = u32(ql_ptx_dp4a(a[i], b[i], i32(c[i])));
  bytes[i] = ql_ptx_byte_permute(a[i], b[i], c[i]);
}

KERNEL floats(const float *exponents, const float *divisors, float *powers,
              float *reciprocals, u32 threads) {
  u32 i = u32(ql_ptx_block()) * threads + u32(ql_ptx_thread());
  powers[i] = ql_ptx_exp2(exponents[i]);
  reciprocals[i] = ql_ptx_reciprocal(divisors[i]);
}

/// Element i of the words is of thread i; a warp's 32 votes are one word.
KERNEL halves(const u32 *a, const u32 *b, const u32 *c, const float *low,
              const float *high, u32 *sums, u32 *pairs, u32 *votes, u32 threads) {
  u32 i = u32(ql_ptx_block()) * threads + u32(ql_ptx_thread());
  sums[i] = ql_ptx_half_fma(a[i], b[i], c[i]);
  pairs[i] = ql_ptx_half_pair(low[i], high[i]);
  votes[i] = u32(ql_ptx_any(i32(a[i] & 64)));
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

/// Block i: c + a b of matrices i; a is 16 x k bytes row by row, b is k x 8 column by
/// column, c is 16 x 8.
KERNEL matrices(const u8 *a, const u8 *b, u32 *c, u32 k) {
  u32 lane = u32(ql_ptx_thread()), g = lane / 4, t = lane % 4;
  u32 matrix = u32(ql_ptx_block());
  a += matrix * 16 * k, b += matrix * 8 * k, c += matrix * 16 * 8;
  auto rowOfA = [&](u32 row, u32 at) { return *(const u32 *)(a + row * k + at); };
  auto columnOfB = [&](u32 at) { return *(const u32 *)(b + g * k + at); };
  u32 *low = c + g * 8 + 2 * t, *high = c + (g + 8) * 8 + 2 * t;
  u32x4 sums = {low[0], low[1], high[0], high[1]};
  if (k == 32)
    sums = ql_ptx_mma32(u32x4{rowOfA(g, 4 * t), rowOfA(g + 8, 4 * t),
                              rowOfA(g, 16 + 4 * t), rowOfA(g + 8, 16 + 4 * t)},
                        u32x2{columnOfB(4 * t), columnOfB(16 + 4 * t)}, sums);
  else
    sums = ql_ptx_mma16(u32x2{rowOfA(g, 4 * t), rowOfA(g + 8, 4 * t)}, columnOfB(4 * t),
                        sums);
  low[0] = sums.x, low[1] = sums.y, high[0] = sums.z, high[1] = sums.w;
}

/// Block i: c + a b of matrices i of f16; a is 16 x 16 row by row, b is 16 x 8 column
/// by column, c is 16 x 8 of f32.
KERNEL half_matrices(const u8 *a, const u8 *b, float *c) {
  u32 lane = u32(ql_ptx_thread()), g = lane / 4, t = lane % 4;
  u32 matrix = u32(ql_ptx_block());
  a += matrix * 512, b += matrix * 256, c += matrix * 128;
  auto word = [](const u8 *from, u32 row, u32 column) {
    return *(const u32 *)(from + row * 32 + column * 2);
  };
  float *low = c + g * 8 + 2 * t, *high = c + (g + 8) * 8 + 2 * t;
  f32x4 sums = {low[0], low[1], high[0], high[1]};
  sums = ql_ptx_mma_half(u32x4{word(a, g, 2 * t), word(a, g + 8, 2 * t),
                               word(a, g, 8 + 2 * t), word(a, g + 8, 8 + 2 * t)},
                         u32x2{word(b, g, 2 * t), word(b, g, 8 + 2 * t)}, sums);
  low[0] = sums.x, low[1] = sums.y, high[0] = sums.z, high[1] = sums.w;
}

/// The `bytes` of `in` in shared memory; lane l names the row at rows[l].
KERNEL load_matrices(const u8 *in, const u32 *rows, u32x4 *out, u32 bytes,
                     u32 threads) {
  u32 t = u32(ql_ptx_thread());
  for (u32 i = t; i < bytes; i += threads)
    smem[i] = in[i];
  ql_ptx_barrier();
  out[t] = ql_ptx_load_matrices(smem + rows[t]);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// Each thread takes the elements that it has of arrays of 16, 8, 4 and 16 bytes.
KERNEL loads(const u8 *in, u32x4 *out16, u32x2 *out8, u32 *out4, u32x4 *outL2,
             u32 threads) {
  u32 i = u32(ql_ptx_block()) * threads + u32(ql_ptx_thread());
  out16[i] = ql_ptx_stream16(in + 16 * i);
  out8[i] = ql_ptx_stream8(in + 8 * i);
  out4[i] = ql_ptx_stream4(in + 4 * i);
  outL2[i] = ql_ptx_load16_l2(in + 16 * i);
}

/// Eight groups of copies, the last `empty` of them without any, of 1 or 2 times 16
/// bytes per thread; out gets what `pending` groups do not cover before it gets the
/// rest. Element [group][copy][thread] of in and out.
KERNEL async_groups(const u8 *in, u32x4 *out, u32 pending, u32 empty, u32 threads) {
  u32 t = u32(ql_ptx_thread());
  auto element = [&](u32 group, u32 copy) { return (group * 2 + copy) * threads + t; };
  auto copies = [&](u32 group) { return group + empty < 8 ? 1 + group % 2 : 0; };
  auto store = [&](u32 first, u32 last) {
    for (u32 g = first; g < last; ++g)
      for (u32 i = 0; i < copies(g); ++i)
        out[element(g, i)] = *shared<u32x4>(16 * element(g, i));
  };
  for (u32 g = 0; g < 8; ++g) {
    for (u32 i = 0; i < copies(g); ++i)
      ql_ptx_async_copy16(smem + 16 * element(g, i), in + 16 * element(g, i));
    ql_ptx_async_commit();
  }
  ql_ptx_async_wait(i32(pending));
  store(0, 8 - pending);
  ql_ptx_async_wait(0);
  store(8 - pending, 8);
}

/// The first warp waits in each phase for the first lanes of all others, which write a
/// word before they arrive, and wait for the first warp's answer.
KERNEL arrivals(u32 *out, u32 phases, u32 threads) {
  u32 t = u32(ql_ptx_thread()), warp = t / 32, warps = threads / 32;
  QL_SHARED u64 *barriers = shared<u64>(0);
  QL_SHARED u32 *words = shared<u32>(16);
  if (t == 0) {
    ql_ptx_mbarrier_init_count(barriers, i32(warps - 1));
    ql_ptx_mbarrier_init_count(barriers + 1, 1);
  }
  ql_ptx_barrier();
  u32 sum = 0;
  for (u32 i = 0; i < phases; ++i) {
    if (warp == 0) {
      ql_ptx_mbarrier_poll(barriers, i % 2);
      for (u32 w = 1; w < warps; ++w)
        sum += words[w];
      ql_ptx_warp_barrier();
      if (t == 0)
        ql_ptx_mbarrier_arrive(barriers + 1);
    } else {
      if (t % 32 == 0) {
        words[warp] = warp * i + 1;
        ql_ptx_mbarrier_arrive(barriers);
      }
      ql_ptx_mbarrier_poll(barriers + 1, i % 2);
    }
  }
  out[t] = sum;
}

#ifdef QL_TEST_SM90
//===----------------------------------------------------------------------===//
// Clusters
//===----------------------------------------------------------------------===//

/// In round r thread t of a block of rank k stores 1000 block + t + r in the block of
/// rank k + r of its cluster, counted modulo `size`.
KERNEL clusters(u32 *ranks, float *out, u32 size, u32 blocks, u32 threads, u32 rounds) {
  u32 t = u32(ql_ptx_thread()), b = u32(ql_ptx_block());
  i32 rank = ql_ptx_cluster_rank(i32(size));
  if (t == 0)
    ranks[b] = u32(rank);
  ql_ptx_cluster_arrive(i32(size));
  ql_ptx_cluster_wait();
  QL_SHARED float *slots = shared<float>(0);
  for (u32 r = 0; r < rounds; ++r) {
    ql_ptx_cluster_store(slots + t, i32((u32(rank) + r) % size),
                         float(1000 * b + t + r));
    ql_ptx_cluster_arrive(i32(size));
    ql_ptx_cluster_wait();
    // What another thread of this block will overwrite is read by this one.
    out[(r * blocks + b) * threads + t] = slots[threads - 1 - t];
    ql_ptx_cluster_arrive(i32(size));
    ql_ptx_cluster_wait();
  }
}

//===----------------------------------------------------------------------===//
// Dependent launches
//===----------------------------------------------------------------------===//

/// to = 3 from + 1, after `work` steps, in a kernel that starts before the last one
/// ends.
KERNEL link(const u32x4 *from, u32x4 *to, u32 work, u32 threads) {
  ql_ptx_launch_dependents();
  ql_ptx_wait_prior_grids();
  u32 t = u32(ql_ptx_thread()), i = u32(ql_ptx_block()) * threads + t;
  QL_SHARED volatile u32 *word = shared<volatile u32>(4 * t);
  *word = t;
  for (u32 k = 0; k < work; ++k)
    *word = *word + k;
  u32x4 value = ql_ptx_load16_l2(from + i);
  to[i] = 3 * value + 1 + (*word - t - work * (work - 1) / 2);
}

//===----------------------------------------------------------------------===//
// Bulk copies
//===----------------------------------------------------------------------===//

/// `phases` copies of 16 sizes[i] bytes from in + 512 i to out + 512 i through a ring
/// of `stages` of 512 bytes, in two parts where they have more than 16 bytes: the
/// second with a policy. The barriers are behind the ring.
KERNEL bulk_copies(const u8 *in, u8 *out, const u32 *sizes, u32 phases, u32 stages,
                   u32 threads) {
  u32 t = u32(ql_ptx_thread());
  QL_SHARED u64 *barriers = shared<u64>(512 * stages);
  u64 policy = ql_ptx_evict_first();
  if (t == 0) {
    for (u32 s = 0; s < stages; ++s)
      ql_ptx_mbarrier_init(barriers + s);
    ql_ptx_mbarrier_fence();
  }
  ql_ptx_barrier();
  auto issue = [&](u32 i) {
    if (t != 0 || i >= phases)
      return;
    u32 bytes = 16 * sizes[i], first = bytes == 16 ? 16 : bytes / 32 * 16;
    QL_SHARED u64 *barrier = barriers + i % stages;
    QL_SHARED u8 *stage = smem + i % stages * 512;
    ql_ptx_mbarrier_expect(barrier, bytes);
    ql_ptx_bulk_copy(stage, in + 512 * i, first, barrier);
    if (first < bytes)
      ql_ptx_bulk_copy_hint(stage + first, in + 512 * i + first, bytes - first, barrier,
                            policy);
  };
  for (u32 s = 0; s < stages; ++s)
    issue(s);
  for (u32 i = 0; i < phases; ++i) {
    ql_ptx_mbarrier_wait(barriers + i % stages, i / stages % 2);
    for (u32 b = t; b < 16 * sizes[i]; b += threads)
      out[512 * i + b] = smem[i % stages * 512 + b];
    ql_ptx_proxy_fence();
    ql_ptx_barrier();
    issue(i + stages);
  }
}

/// Thread 0 ends `phases` phases, for each of which all threads wait twice: one that is
/// over stays over until the next one is. The phase before the first counts as over.
KERNEL parities(u32 *out, u32 phases) {
  u32 t = u32(ql_ptx_thread());
  QL_SHARED u64 *barrier = shared<u64>(0);
  if (t == 0) {
    ql_ptx_mbarrier_init(barrier);
    ql_ptx_mbarrier_fence();
  }
  ql_ptx_barrier();
  ql_ptx_mbarrier_wait(barrier, 1);
  ql_ptx_barrier();
  QL_SHARED u32 *word = shared<u32>(16);
  u32 sum = 0;
  for (u32 i = 0; i < phases; ++i) {
    if (t == 0) {
      *word = i * i + 1;
      ql_ptx_mbarrier_expect(barrier, 0); // the phase's one arrival
    }
    ql_ptx_mbarrier_wait(barrier, i % 2);
    sum += *word;
    ql_ptx_mbarrier_wait(barrier, i % 2);
    ql_ptx_barrier();
  }
  out[t] = sum;
}

/// In round r every thread reads what thread t of the block of rank k + r of its
/// cluster wrote, 1000 block + t + r.
KERNEL cluster_loads(float *out, u32 size, u32 blocks, u32 threads, u32 rounds) {
  u32 t = u32(ql_ptx_thread()), b = u32(ql_ptx_block());
  i32 rank = ql_ptx_cluster_rank(i32(size));
  QL_SHARED float *slots = shared<float>(0);
  for (u32 r = 0; r < rounds; ++r) {
    slots[t] = float(1000 * b + t + r);
    ql_ptx_cluster_arrive(i32(size));
    ql_ptx_cluster_wait();
    out[(r * blocks + b) * threads + t] =
        ql_ptx_cluster_load(slots + (threads - 1 - t), i32((u32(rank) + r) % size));
    ql_ptx_cluster_arrive(i32(size));
    ql_ptx_cluster_wait();
  }
}
#endif

#ifdef QL_TEST_SM90
/// In each round both blocks of a cluster copy `bytes` bytes into both of them, when
/// both have read those of the round before.
KERNEL pair_copies(const u8 *in, u32 *out, u32 bytes, u32 rounds, u32 threads) {
  u32 t = u32(ql_ptx_thread()), b = u32(ql_ptx_block());
  u32 rank = u32(ql_ptx_cluster_rank(2)), words = bytes / 2; // of a round
  QL_SHARED u64 *filled = shared<u64>(2 * bytes), *freed = filled + 1;
  if (t == 0) {
    ql_ptx_mbarrier_init_count(filled, 1);
    ql_ptx_mbarrier_init_count(freed, 2);
    ql_ptx_mbarrier_fence();
  }
  ql_ptx_cluster_arrive(2);
  ql_ptx_cluster_wait();
  for (u32 r = 0; r < rounds; ++r) {
    if (t == 0) {
      if (r)
        ql_ptx_mbarrier_wait(freed, (r - 1) & 1);
      ql_ptx_mbarrier_expect(filled, 2 * bytes);
      ql_ptx_bulk_copy_pair(shared<u8>(rank * bytes),
                            in + ((b / 2 * rounds + r) * 2 + rank) * bytes, bytes,
                            filled);
    }
    ql_ptx_mbarrier_wait(filled, r & 1);
    for (u32 i = t; i < words; i += threads)
      out[(b * rounds + r) * words + i] = shared<u32>(0)[i];
    ql_ptx_proxy_fence();
    ql_ptx_barrier();
    if (t < 2)
      ql_ptx_cluster_mbarrier_arrive(freed, i32(t));
  }
  ql_ptx_cluster_arrive(2);
  ql_ptx_cluster_wait();
}
#endif

#ifdef QL_TEST_SM90A
/// c + a b^T of f16 matrices, 16 `steps` columns: a is 64 x 16 `steps` row by row, for
/// each group of warps, b tokens x 16 `steps` row by row, c 64 x tokens of f32 for each
/// group. Columns come in groups of 64; two products are under way at a time.
template <int tokens>
void groupMatrices(const u32 *a, const u32 *b, float *c, u32 steps) {
  u32 thread = u32(ql_ptx_thread()), lane = thread % 32, g = lane / 4, t = lane % 4;
  u32 row = thread / 32 * 16 + g, words = 8 * steps;
  QL_SHARED u8 *x = shared<u8>(0);
  for (u32 i = thread; i < tokens * words; i += 256) {
    u32 token = i / words, word = i % words, block = word / 32, piece = word % 32 / 4;
    *(QL_SHARED u32 *)(x + (block * tokens + token) * 128 +
                       ((piece ^ (token & 7)) * 16 + word % 4 * 4)) = b[i];
  }
  ql_ptx_proxy_fence();
  ql_ptx_barrier();
  float sums[tokens / 2];
#pragma clang loop unroll(full)
  for (int i = 0; i < tokens / 2; ++i)
    sums[i] = c[(row + i % 4 / 2 * 8) * tokens + i / 4 * 8 + 2 * t + i % 2];
  for (u32 k = 0; k < steps; ++k) {
    u32x4 words4 = {a[row * words + 8 * k + t], a[(row + 8) * words + 8 * k + t],
                    a[row * words + 8 * k + 4 + t],
                    a[(row + 8) * words + 8 * k + 4 + t]};
    u64 at = ql_ptx_wgmma_descriptor(x + k / 4 * tokens * 128);
    ql_ptx_wgmma_fence();
    ql_ptx_wgmma(sums, tokens, words4, ql_ptx_wgmma_columns(at, i32(16 * (k % 4))));
    ql_ptx_wgmma_commit();
    ql_ptx_wgmma_wait(1);
  }
  ql_ptx_wgmma_wait(0);
#pragma clang loop unroll(full)
  for (int i = 0; i < tokens / 2; ++i)
    c[(row + i % 4 / 2 * 8) * tokens + i / 4 * 8 + 2 * t + i % 2] = sums[i];
}
KERNEL group_matrices(const u32 *a, const u32 *b, float *c, u32 tokens, u32 steps) {
  switch (tokens) {
#define QL_TOKENS(n)                                                                   \
  case n:                                                                              \
    return groupMatrices<n>(a, b, c, steps);
    QL_TOKENS(16)
    QL_TOKENS(32)
    QL_TOKENS(48)
    QL_TOKENS(64)
    QL_TOKENS(80)
    QL_TOKENS(96)
    QL_TOKENS(112)
    QL_TOKENS(128)
    QL_TOKENS(144)
    QL_TOKENS(160)
    QL_TOKENS(176)
    QL_TOKENS(192)
    QL_TOKENS(208)
    QL_TOKENS(224)
    QL_TOKENS(240)
    QL_TOKENS(256)
#undef QL_TOKENS
  }
}
#endif
