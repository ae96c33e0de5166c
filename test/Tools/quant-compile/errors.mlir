// What cannot be compiled is named, with a way out, and nothing is written.

// RUN: rm -f %t.so && split-file %s %t
// RUN: not quant-compile %t/op.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/op.mlir
// RUN: not quant-compile %t/returned.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/returned.mlir
// RUN: not quant-compile %t/type.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/type.mlir
// RUN: not quant-compile %t/empty.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/empty.mlir
// RUN: not quant-compile %t/names.mlir --target=cpu:portable -o %t.so 2>&1 | FileCheck %t/names.mlir
// RUN: not quant-compile %t/op.mlir --target=cuda:h200 -o %t.so 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not quant-compile %t/op.mlir --target=cuda:sm_90,cpu --emit=ptx 2>&1 | FileCheck %t/op.mlir
// RUN: not quant-compile %t/op.mlir --sanitize=thread 2>&1 | FileCheck %s --check-prefix=SANITIZE
// RUN: not quant-compile %t/none.mlir 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not ls %t.so

// TARGET: error: unknown target 'cuda:h200'; targets are cuda:sm_NN (such as cuda:sm_90), cuda:emulated, cpu, and cpu:ISA
// SANITIZE: error: --sanitize=thread is not known; use --sanitize=address
// NONE: error: cannot open input file {{.*}}none.mlir': No such file or directory

//--- op.mlir
// CHECK: op.mlir:[[@LINE+3]]:8: error: 'linalg.transpose' cannot be compiled in function 'f'; a compiled function consists of qlinear.linear and of elementwise operations that fuse into them
// CHECK: note: an operation fuses where it is the only user
func.func @f(%x: tensor<4x64xf32>, %e: tensor<64x4xf32>) -> tensor<64x4xf32> {
  %y = linalg.transpose ins(%x : tensor<4x64xf32>) outs(%e : tensor<64x4xf32>) permutation = [1, 0]
  return %y : tensor<64x4xf32>
}

//--- returned.mlir
// CHECK: error: function 'f' returns a value that no linear computes; results are written by kernels
func.func @f(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  return %x : tensor<4x64xf32>
}

//--- type.mlir
// CHECK: error: function 'f': argument 0 is 'tensor<4x64xi4>'; only tensors of f32, f16, bf16, i8 or i32 of rank 1 or 2
func.func @f(%x: tensor<4x64xi4>) -> tensor<4x64xi4> {
  return %x : tensor<4x64xi4>
}

//--- empty.mlir
// CHECK: error: the module has no public function with a body
func.func private @f()

//--- names.mlir
// CHECK: error: function 'a-b' would be exported as 'a_b', as is a.b; rename it
func.func @a.b() { return }
func.func @"a-b"() { return }
