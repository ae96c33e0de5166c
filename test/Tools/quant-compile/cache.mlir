// Kernels are compiled side by side, and once: the output is the same for any number of
// threads, and with the cache, whatever is in it.

// DEFINE: %{targets} = --target=cpu:avx2,cuda:emulated,cuda:sm_75 --verbose
// DEFINE: %{cached} = env QLINEAR_CACHE=%t/cache quant-compile %s
// RUN: rm -rf %t && mkdir -p %t/one %t/many %t/cold %t/warm %t/bad %t/temps
// RUN: quant-compile %s %{targets} -j1 --no-cache -o %t/one/l.so
// RUN: quant-compile %s %{targets} -j 4 --no-cache -o %t/many/l.so
// RUN: cmp %t/one/l.so %t/many/l.so
// RUN: quant-compile %s %{targets} --no-cache --save-temps=%t/ir -o %t/temps/l.so
// RUN: cmp %t/one/l.so %t/temps/l.so
// RUN: FileCheck %s --check-prefix=IR < %t/ir/cpu-avx2.ll
// RUN: FileCheck %s --check-prefix=IR < %t/ir/cuda-emulated.ll
// IR: define {{.*}}void @{{cpu_avx2|cuda_emulated}}.linear0_m1(

// RUN: %{cached} %{targets} -j3 -o %t/cold/l.so 2>&1 | FileCheck %s --check-prefix=COLD
// RUN: cmp %t/one/l.so %t/cold/l.so
// COLD: {{[1-9][0-9]+}} kernels and images compiled, 0 of them taken from {{.*}}/cache/objects{{$}}
// RUN: %{cached} %{targets} -o %t/warm/l.so 2>&1 | FileCheck %s --check-prefix=WARM
// RUN: cmp %t/one/l.so %t/warm/l.so
// WARM: [[N:[0-9]+]] kernels and images compiled, [[N]] of them

// A target takes its part of what several have made.
// RUN: env QLINEAR_CACHE=%t/cache quant-compile %s --target=cpu:avx2 --verbose \
// RUN:   -o %t/part.so 2>&1 | FileCheck %s --check-prefix=WARM

// An object file is one module of all code.
// RUN: quant-compile %s %{targets} -j1 --no-cache --emit=obj -o %t/one.o
// RUN: env QLINEAR_CACHE=%t/ir-cache quant-compile %s %{targets} -j4 --emit=obj -o %t/many.o
// RUN: env QLINEAR_CACHE=%t/ir-cache quant-compile %s %{targets} --emit=obj -o %t/warm.o
// RUN: cmp %t/one.o %t/many.o
// RUN: cmp %t/one.o %t/warm.o

// Damaged entries are made anew: with other bytes, cut short, empty, one in another's
// place, or of something else.
// RUN: for how in flip cut empty swap other; do \
// RUN:   %python %S/Inputs/damage.py $how %t/cache/objects || exit 1; \
// RUN:   %{cached} %{targets} -o %t/bad/l.so 2>&1 | FileCheck %s --check-prefix=BAD || exit 1; \
// RUN:   cmp %t/one/l.so %t/bad/l.so || exit 1; \
// RUN:   %{cached} %{targets} -o %t/bad/l.so 2>&1 | FileCheck %s --check-prefix=WARM || exit 1; \
// RUN:   cmp %t/one/l.so %t/bad/l.so || exit 1; done
// BAD-NOT: warning
// BAD: kernels and images compiled, 0 of them taken from

// Where nothing can be kept, that is a warning.
// RUN: touch %t/file && env QLINEAR_CACHE=%t/file quant-compile %s --target=cpu:avx2 \
// RUN:   -o %t/bad/part.so 2>&1 | FileCheck %s --check-prefix=FILE
// RUN: env QLINEAR_CACHE=%t/cache quant-compile %s --target=cpu:avx2 -o %t/part.so
// RUN: cmp %t/part.so %t/bad/part.so
// FILE: quant-compile: warning: compiled kernels cannot be kept in {{.*}}/file/objects: {{.+}}; name another folder with QLINEAR_CACHE, or keep none with --no-cache
// FILE-NOT: warning: compiled
// RUN: env QLINEAR_CACHE=%t/file quant-compile %s --target=cpu:avx2 --no-cache \
// RUN:   -o %t/part.so 2>&1 | count 0

// The folder is the Python package's.
// RUN: env -u QLINEAR_CACHE XDG_CACHE_HOME=%t/xdg quant-compile %s --target=cpu:avx2 -o %t/part.so
// RUN: ls %t/xdg/qlinear/objects | FileCheck %s --check-prefix=ENTRY
// RUN: env -u QLINEAR_CACHE -u XDG_CACHE_HOME HOME=%t/home quant-compile %s \
// RUN:   --target=cpu:avx2 -o %t/part.so
// RUN: ls %t/home/.cache/qlinear/objects | FileCheck %s --check-prefix=ENTRY
// ENTRY: llvmcache-{{[0-9a-f]{64}$}}

// RUN: not quant-compile %s -j0 -o %t/part.so 2>&1 | FileCheck %s --check-prefix=ZERO
// ZERO: error: -j0 compiles nothing; give the number of kernels to compile at a time, or leave -j out for one per core

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

qlinear.parameter @w : !qlinear.weight<32x64, #q8>

func.func @f(%x: tensor<?x64xbf16>) -> tensor<?x32xf32> {
  %w = qlinear.load @w : !qlinear.weight<32x64, #q8>
  %y = qlinear.linear %x, %w : (tensor<?x64xbf16>, !qlinear.weight<32x64, #q8>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
