//===- CpuKernels.cpp - The micro-kernels of one instruction set ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifdef QL_TILE_MODEL
#include "TileModel.h"
#endif

#define QL_KERNEL [[maybe_unused]] static __attribute__((noinline)) void
#include "../../kernels/cpu/Kernels.cpp"

#include "CpuKernels.h"

/// The values of 16 fields of the scale, with constants as decode() takes them.
static void decodeScales(unsigned long long spec, const void *fields, const void *first,
                         const void *second, void *out) {
  using namespace qlinear::cpu;
  store(out, decode(Spec::unpack(spec).scale, load<Words>(fields), load<Floats>(first),
                    load<Floats>(second)));
}

const CpuKernels QL_CPU_KERNELS = {
    QL_NAME,         QL_INSTRUCTION_SET,    ql_cpu_begin_tile, ql_cpu_add_unit,
    ql_cpu_end_tile, ql_cpu_multiply_tiles, ql_cpu_load,       ql_cpu_store,
    ql_cpu_quantize, decodeScales};
