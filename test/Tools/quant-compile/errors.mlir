// What cannot be compiled is named, with a way out, and nothing is written.

// RUN: rm -f %t.so && split-file %s %t
// RUN: not quant-compile %t/op.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/op.mlir
// RUN: not quant-compile %t/returned.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/returned.mlir
// RUN: for what in input weight extra columns length; do \
// RUN:   not quant-compile %t/$what.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/$what.mlir || exit 1; \
// RUN: done
// RUN: not quant-compile %t/type.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/type.mlir
// RUN: not quant-compile %t/empty.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/empty.mlir
// RUN: not quant-compile %t/without.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/without.mlir
// RUN: not quant-compile %t/without.mlir --raise --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/without.mlir --check-prefix=RAISE
// RUN: not quant-compile %t/names.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/names.mlir
// RUN: not quant-compile %t/op.mlir --target=cuda:h200 -o %t.so 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not quant-compile %t/op.mlir --target=cuda:sm_90,cpu --emit=ptx 2>&1 | FileCheck %t/op.mlir
// RUN: not quant-compile %t/op.mlir --sanitize=thread 2>&1 | FileCheck %s --check-prefix=SANITIZE
// RUN: not quant-compile %t/op.mlir --min-snr=nan --encoding=auto 2>&1 | FileCheck %s --check-prefix=SNR
// RUN: not quant-compile %t/none.mlir 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not ls %t.so
//
// The default output of --emit=mlir has the name of the input.
// RUN: cd %t && cp op.mlir same.mlir
// RUN: cd %t && not quant-compile same.mlir --target=cpu:portable --emit=mlir 2>&1 | FileCheck %s --check-prefix=SAME
// RUN: not quant-compile %t/same.mlir --target=cpu:portable --emit=mlir --header=%t.h -o %t.out 2>&1 | FileCheck %s --check-prefix=HEADER
// HEADER: error: --header describes the functions of an artifact; it goes with --emit=so or --emit=obj
// RUN: not quant-compile %t/same.mlir --target=cpu:portable --header=%t/same.mlir -o %t.so 2>&1 | FileCheck %s --check-prefix=SAME
// RUN: cmp %t/op.mlir %t/same.mlir

// TARGET: error: unknown target 'cuda:h200'; targets are cuda:sm_NN (such as cuda:sm_90), cuda:emulated, cpu, cpu:x86-64, cpu:arm64, cpu:native, and cpu:ISA with ISA one of amx, avx512vnni, avxvnni, avx2, neon-i8mm, neon-dotprod, neon, portable
// SANITIZE: error: --sanitize=thread is not known; use --sanitize=address
// SNR: error: min-snr = nan is not a number of dB from 0 to 200
// SAME: error: the output '{{.*}}same.mlir' is the input; write to another file
// NONE: error: cannot open input file {{.*}}none.mlir': No such file or directory

//--- op.mlir
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
// CHECK: op.mlir:[[@LINE+6]]:8: error: 'linalg.transpose' cannot be compiled in function 'f'; a compiled function consists of qlinear.linear and of elementwise operations that fuse into them
// CHECK: note: it does not fuse: operand 0 is not read at (m, n) or (n)
func.func @f(%x: tensor<4x64xf32>, %e: tensor<64x4xf32>) -> tensor<64x4xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %l = qlinear.linear %x, %w
      : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  %y = linalg.transpose ins(%l : tensor<4x64xf32>) outs(%e : tensor<64x4xf32>) permutation = [1, 0]
  return %y : tensor<64x4xf32>
}

//--- returned.mlir
// CHECK: error: function 'f' returns a value that no linear computes; results are written by kernels
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %l = qlinear.linear %x, %w
      : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %l, %x : tensor<4x64xf32>, tensor<4x64xf32>
}

//--- without.mlir
// Nothing to compile in the whole module: an error, also if raising finds nothing.
// CHECK: without.mlir:[[@LINE+5]]:1: error: function 'f' has no quantized linear; what is compiled are qlinear.linear and the elementwise operations that fuse into them
// CHECK: note: if it dequantizes its weights itself, run qlinear-raise before, or pass --raise; if it is no part of the artifact, make it private
// CHECK: error: function 'g' has no quantized linear
// RAISE: error: function 'f' has no quantized linear
// RAISE: note: qlinear-raise found no linear of dequantized weights in it; --remarks-filter=qlinear.* says why
func.func @f(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  return %x : tensor<4x64xf32>
}
func.func @g() { return }

//--- type.mlir
// CHECK: error: function 'f': argument 0 is 'tensor<4x64xi4>'; only tensors of f32, f16, bf16, i8 or i32 of rank 1 or 2
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%c: tensor<4x64xi4>, %x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %l = qlinear.linear %x, %w
      : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %l : tensor<4x64xf32>
}

//--- empty.mlir
// CHECK: error: the module has no public function with a body
func.func private @f()

//--- names.mlir
// CHECK: error: function 'a-b' would be exported as 'a_b', as is a.b; rename it
func.func @a.b() { return }
func.func @"a-b"() { return }

//--- input.mlir
// CHECK: error: the input is neither an argument of the function nor the result of a linear
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f() -> tensor<4x64xf32> {
  %x = arith.constant dense<1.5> : tensor<4x64xf32>
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %l = qlinear.linear %x, %w
      : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %l : tensor<4x64xf32>
}

//--- weight.mlir
// CHECK: error: 'ub.poison' makes no weight that can be compiled; make it a qlinear.parameter or a qlinear.pack of constants
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = ub.poison : !qlinear.weight<64x64, #q8>
  %l = qlinear.linear %x, %w
      : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %l : tensor<4x64xf32>
}

//--- extra.mlir
// CHECK: error: an extra is neither an argument of the function, nor the result of a linear, nor a dense constant
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %b = ub.poison : tensor<64xf32>
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %l = qlinear.linear %x, %w extras(%b)
      : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>, tensor<64xf32>) -> tensor<4x64xf32> {
  ^bb0(%p: f32, %c: f32):
    %0 = arith.addf %p, %c : f32
    qlinear.yield %0 : f32
  }
  return %l : tensor<4x64xf32>
}

//--- columns.mlir
// CHECK: error: function 'f': argument 0 is 'tensor<4x?xf32>'; only tensors of f32, f16, bf16, i8 or i32 of rank 1 or 2
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%c: tensor<4x?xf32>, %x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %l = qlinear.linear %x, %w
      : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %l : tensor<4x64xf32>
}

//--- length.mlir
// CHECK: error: function 'f': argument 0 is 'tensor<?xf32>'; only tensors of f32, f16, bf16, i8 or i32 of rank 1 or 2
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%c: tensor<?xf32>, %x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %l = qlinear.linear %x, %w
      : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %l : tensor<4x64xf32>
}
