/*===- Intrinsics.h - What retargeted device code calls -----------*- C -*-===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* The emulated device's side of the few things that device code does and host
|* code cannot: who am I, shuffles, barriers, asynchronous copies. The compiler
|* replaces NVVM intrinsics by calls of these, and the emulated twins of
|* inline-PTX wrappers call them. Pointers to shared memory are plain pointers.
|* Freestanding: also read when device code is compiled.
|*
|* Any of them may report an error, which ends the launch; they are called by
|* the threads of a running kernel only. Where a function accesses shared memory, it
|* is told the place in the program, for the order of accesses (Races.h).
|*
\*===----------------------------------------------------------------------===*/
#ifndef QLINEAR_RUNTIME_EMULATED_INTRINSICS_H
#define QLINEAR_RUNTIME_EMULATED_INTRINSICS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__NVPTX__)
#define QLR_EMU
#else
#define QLR_EMU __attribute__((visibility("default")))
#endif

/* A place in the program that accesses memory. */
typedef struct {
  const char *what;  /* "load" */
  const char *where; /* file, line, and the functions that were inlined there */
  unsigned bytes;    /* 0: not always the same */
} qlr_emu_site;

/* Accesses of shared memory by plain loads and stores, before they happen; and of what
 * may be any memory. */
QLR_EMU void qlr_emu_load(const void *at, unsigned long long bytes,
                          const qlr_emu_site *site);
QLR_EMU void qlr_emu_store(const void *at, unsigned long long bytes,
                           const qlr_emu_site *site);
QLR_EMU void qlr_emu_load_generic(const void *at, unsigned long long bytes,
                                  const qlr_emu_site *site);
QLR_EMU void qlr_emu_store_generic(const void *at, unsigned long long bytes,
                                   const qlr_emu_site *site);

/* Special registers; y and z are 0 of 1: launches are one-dimensional. */
QLR_EMU unsigned qlr_emu_tid(void);
QLR_EMU unsigned qlr_emu_ntid(void);
QLR_EMU unsigned qlr_emu_ctaid(void);
QLR_EMU unsigned qlr_emu_nctaid(void);
QLR_EMU unsigned qlr_emu_dynamic_smem_size(void);
/* A counter that grows with every event of the block (clock, globaltimer). */
QLR_EMU unsigned long long qlr_emu_clock(void);

/* Dynamic shared memory, at a multiple of 1024; and a static shared variable of the
 * block, known by `key`. */
QLR_EMU void *qlr_emu_shared(void);
QLR_EMU void *qlr_emu_static_shared(const void *key, unsigned long long bytes,
                                    unsigned align);

/* shfl.sync; `mode`: 0 up, 1 down, 2 bfly, 3 idx; b and c as in PTX. `valid`
 * (may be null) gets the predicate. */
QLR_EMU unsigned qlr_emu_shfl_sync(int mode, unsigned mask, unsigned value, unsigned b,
                                   unsigned c, unsigned char *valid);
/* vote.sync; `kind`: 0 all, 1 any, 2 uni, 3 ballot. */
QLR_EMU unsigned qlr_emu_vote_sync(int kind, unsigned mask, unsigned predicate);
/* redux.sync; `kind`: 0 add, 1 and, 2 or, 3 xor, 4 min, 5 max, 6 umin, 7 umax. */
QLR_EMU unsigned qlr_emu_redux_sync(int kind, unsigned mask, unsigned value);
/* match.any.sync */
QLR_EMU unsigned qlr_emu_match_any_sync(unsigned mask, unsigned value);
QLR_EMU void qlr_emu_bar_warp_sync(unsigned mask);
/* mma.sync; `kind`: 0 m16n8k16 of u8 and s8, 1 m16n8k32 of them, 2 m16n8k16 of f16 with
 * f32 sums. 2, 4, 4 words of A, 1, 2, 2 of B; 4 of C in, the result out. */
QLR_EMU void qlr_emu_mma(int kind, const unsigned *a, const unsigned *b, unsigned *c);
/* A warp's part of wgmma m64nNk16 of f16, N = `tokens`: 4 words of A, `tokens` / 2 sums
 * in and out, B at `x` in shared memory, swizzled by 128 bytes. It is done at once, but
 * B counts as read until a wait for its group. */
QLR_EMU void qlr_emu_wgmma(float *sums, unsigned tokens, const unsigned *a,
                           const void *x, const qlr_emu_site *site);
QLR_EMU void qlr_emu_wgmma_commit(void);
QLR_EMU void qlr_emu_wgmma_wait(int pending);
/* ldmatrix.x4 of 8 x 16 bytes: the address of a row, 4 words out. */
QLR_EMU void qlr_emu_ldmatrix(const void *row, unsigned *out, const qlr_emu_site *site);
/* Lanes of the warp that have not exited. */
QLR_EMU unsigned qlr_emu_activemask(void);

/* bar.sync id, count; count 0: all threads of the block. */
QLR_EMU void qlr_emu_barrier_sync(unsigned id, unsigned count);
QLR_EMU void qlr_emu_barrier_arrive(unsigned id, unsigned count);
/* bar.red; `kind`: 0 and, 1 or, 2 popc. */
QLR_EMU unsigned qlr_emu_barrier_red(int kind, unsigned id, unsigned count,
                                     unsigned predicate);

/* Clusters of `size` blocks: rank of this one; barrier.cluster.arrive and wait; a
 * store to where `at` is in the shared memory of block `rank`, and a load. */
QLR_EMU unsigned qlr_emu_cluster_rank(unsigned size);
QLR_EMU void qlr_emu_cluster_arrive(unsigned size);
QLR_EMU void qlr_emu_cluster_wait(void);
QLR_EMU void qlr_emu_cluster_store(void *at, unsigned rank, float value,
                                   const qlr_emu_site *site);
QLR_EMU float qlr_emu_cluster_load(const void *at, unsigned rank,
                                   const qlr_emu_site *site);

/* Adds one to a counter that blocks share; what it was before. */
QLR_EMU unsigned qlr_emu_count(unsigned *counter);
/* Waits until it is `value`, which blocks on other threads take it to. */
QLR_EMU void qlr_emu_await_count(unsigned *counter, unsigned value);

/* Arrives where `mbarrier` is in block `rank` of the cluster, handing on what bulk copies
 * need to know of reads; and a bulk copy into both blocks of a cluster of two, counting on
 * the mbarrier at the same place in each. */
QLR_EMU void qlr_emu_cluster_mbarrier_arrive(void *mbarrier, unsigned rank,
                                             const qlr_emu_site *site);
QLR_EMU void qlr_emu_bulk_load_pair(void *dst, const void *src, unsigned bytes,
                                    void *mbarrier, const qlr_emu_site *site);

/* cp.async: `bytes` 4, 8 or 16, of which `srcBytes` come from src, zeros after. */
QLR_EMU void qlr_emu_cp_async(void *dst, const void *src, unsigned bytes,
                              unsigned srcBytes, const qlr_emu_site *site);
QLR_EMU void qlr_emu_cp_async_commit(void);
/* All but the newest `pending` groups; -1: also copies not yet committed. */
QLR_EMU void qlr_emu_cp_async_wait(int pending);
QLR_EMU void qlr_emu_cp_async_mbarrier_arrive(void *mbarrier, int noinc,
                                              const qlr_emu_site *site);

/* cp.async.bulk global -> shared, completing on an mbarrier; sizes and addresses
 * are multiples of 16. shared -> global is awaited by bulk groups. */
QLR_EMU void qlr_emu_bulk_load(void *dst, const void *src, unsigned bytes,
                               void *mbarrier, const qlr_emu_site *site);
QLR_EMU void qlr_emu_bulk_store(void *dst, const void *src, unsigned bytes,
                                const qlr_emu_site *site);
QLR_EMU void qlr_emu_bulk_commit(void);
QLR_EMU void qlr_emu_bulk_wait(int pending);
/* Checks that a prefetch names readable memory. */
QLR_EMU void qlr_emu_prefetch(const void *src, unsigned bytes);

/* fence.proxy.async; fence.mbarrier_init. */
QLR_EMU void qlr_emu_proxy_fence(void);
QLR_EMU void qlr_emu_mbarrier_fence(void);

QLR_EMU void qlr_emu_mbarrier_init(void *mbarrier, unsigned count,
                                   const qlr_emu_site *site);
QLR_EMU void qlr_emu_mbarrier_inval(void *mbarrier, const qlr_emu_site *site);
/* expect_tx by `bytes`, then `count` arrivals (0: none); the phase's token. */
QLR_EMU unsigned long long qlr_emu_mbarrier_arrive(void *mbarrier, unsigned count,
                                                   unsigned bytes, int drop,
                                                   const qlr_emu_site *site);
QLR_EMU void qlr_emu_mbarrier_complete_tx(void *mbarrier, unsigned bytes,
                                          const qlr_emu_site *site);
/* Whether the phase of the token, or of the parity, is over. try_wait may
 * suspend the thread (and so always returns 1); test_wait does not. */
QLR_EMU unsigned qlr_emu_mbarrier_test_wait(void *mbarrier, unsigned long long token,
                                            const qlr_emu_site *site);
QLR_EMU unsigned qlr_emu_mbarrier_test_wait_parity(void *mbarrier, unsigned parity,
                                                   const qlr_emu_site *site);
QLR_EMU unsigned qlr_emu_mbarrier_try_wait(void *mbarrier, unsigned long long token,
                                           const qlr_emu_site *site);
QLR_EMU unsigned qlr_emu_mbarrier_try_wait_parity(void *mbarrier, unsigned parity,
                                                  const qlr_emu_site *site);
QLR_EMU unsigned qlr_emu_mbarrier_pending_count(unsigned long long token);

/* Programmatic dependent launch: launches run one after the other here, and what a
 * thread accesses before it knows of a wait is checked. */
QLR_EMU void qlr_emu_griddep_launch(void);
QLR_EMU void qlr_emu_griddep_wait(void);

/* Half floats, rounded to nearest even; bits in, bits out. */
QLR_EMU float qlr_emu_f16_to_f32(unsigned short bits);
QLR_EMU unsigned short qlr_emu_f32_to_f16(float value);
QLR_EMU unsigned short qlr_emu_f32_to_bf16(float value);

/* Errors found by retargeted code itself. */
QLR_EMU void qlr_emu_misaligned(const void *address, unsigned align);
QLR_EMU void qlr_emu_trap(void);

#ifdef __cplusplus
}
#endif
#endif
