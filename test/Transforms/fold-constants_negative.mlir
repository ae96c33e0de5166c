// Tensors of constants that are not evaluated, each with the reason.

// RUN: quant-opt %s --qlinear-fold-constants --remarks-filter='qlinear.*' 2> %t.err | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.err

#q8 = #qlinear.encoding<i8, group = row, symmetric, scale = f32>

ml_program.global private mutable @changes(dense<2> : tensor<2x4xi8>) : tensor<2x4xi8>

// What a program may have changed; then what is not defined: a float beyond the integers, a quotient
// beyond them, and an integer that a double does not hold.
// REMARK: Reason="it depends on 'ml_program.global_load'"
// REMARK: Reason="it depends on 'arith.fptosi'"
// REMARK: Reason="it depends on 'arith.divsi'"
// REMARK: Reason="it depends on 'arith.sitofp'"
// CHECK-LABEL: func.func @stays
// CHECK: ml_program.global_load
// CHECK: arith.fptosi
// CHECK: arith.divsi
// CHECK: %[[S:.*]] = arith.sitofp
// CHECK: qlinear.pack %{{.*}}, %[[S]] :
func.func @stays() -> (!qlinear.weight<2x4, #q8>, !qlinear.weight<2x4, #q8>, !qlinear.weight<2x4, #q8>, !qlinear.weight<2x4, #q8>) {
  %s = arith.constant dense<1.0> : tensor<2x1xf32>
  %q0 = ml_program.global_load @changes : tensor<2x4xi8>
  %w0 = qlinear.pack %q0, %s : (tensor<2x4xi8>, tensor<2x1xf32>) -> !qlinear.weight<2x4, #q8>
  %f = arith.constant dense<[[1.0, 2.0, 127.9, -128.9], [1.0, 2.0, 128.0, 3.0]]> : tensor<2x4xf32>
  %q1 = arith.fptosi %f : tensor<2x4xf32> to tensor<2x4xi8>
  %w1 = qlinear.pack %q1, %s : (tensor<2x4xi8>, tensor<2x1xf32>) -> !qlinear.weight<2x4, #q8>
  %a = arith.constant dense<[[1, 2, 3, 4], [5, 6, 7, -128]]> : tensor<2x4xi8>
  %m = arith.constant dense<-1> : tensor<2x4xi8>
  %q2 = arith.divsi %a, %m : tensor<2x4xi8>
  %w2 = qlinear.pack %q2, %s : (tensor<2x4xi8>, tensor<2x1xf32>) -> !qlinear.weight<2x4, #q8>
  %l = arith.constant dense<[[1], [9007199254740995]]> : tensor<2x1xi64>
  %s3 = arith.sitofp %l : tensor<2x1xi64> to tensor<2x1xf32>
  %w3 = qlinear.pack %a, %s3 : (tensor<2x4xi8>, tensor<2x1xf32>) -> !qlinear.weight<2x4, #q8>
  return %w0, %w1, %w2, %w3 : !qlinear.weight<2x4, #q8>, !qlinear.weight<2x4, #q8>, !qlinear.weight<2x4, #q8>, !qlinear.weight<2x4, #q8>
}

// A tensor of no elements has no range, and is no part of a weight that anyone computes.
// REMARK: Reason="it depends on 'arith.constant'"
// CHECK-LABEL: func.func @empty
// CHECK: tensor.concat
func.func @empty() -> !qlinear.weight<2x4, #q8> {
  %s = arith.constant dense<1.0> : tensor<2x1xf32>
  %a = arith.constant dense<3> : tensor<2x4xi8>
  %none = arith.constant dense<> : tensor<2x0xi8>
  %q = tensor.concat dim(1) %a, %none : (tensor<2x4xi8>, tensor<2x0xi8>) -> tensor<2x4xi8>
  %w = qlinear.pack %q, %s : (tensor<2x4xi8>, tensor<2x1xf32>) -> !qlinear.weight<2x4, #q8>
  return %w : !qlinear.weight<2x4, #q8>
}

// A resource is as good as it is; more than 65536 exponentials would take too long.
// REMARK: Reason="it depends on 'linalg.generic'"
// REMARK-NOT: Reason
// CHECK-LABEL: func.func @large
// CHECK: %[[R:.*]] = arith.constant dense_resource<codes>
// CHECK: qlinear.pack %[[R]],
// CHECK: math.exp
func.func @large() -> (!qlinear.weight<2x4, #q8>, !qlinear.weight<65537x4, #q8>) {
  %r = arith.constant dense_resource<codes> : tensor<2x4xi8>
  %s = arith.constant dense<1.0> : tensor<2x1xf32>
  %w0 = qlinear.pack %r, %s : (tensor<2x4xi8>, tensor<2x1xf32>) -> !qlinear.weight<2x4, #q8>
  %e = tensor.empty() : tensor<65537x1xf32>
  %n = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      outs(%e : tensor<65537x1xf32>) {
  ^bb0(%o: f32):
    %0 = linalg.index 0 : index
    %1 = arith.index_cast %0 : index to i32
    %2 = arith.sitofp %1 : i32 to f32
    %3 = arith.constant 1.0e-4 : f32
    %4 = arith.mulf %2, %3 : f32
    %5 = math.exp %4 : f32
    linalg.yield %5 : f32
  } -> tensor<65537x1xf32>
  %q = arith.constant dense<1> : tensor<65537x4xi8>
  %w1 = qlinear.pack %q, %n : (tensor<65537x4xi8>, tensor<65537x1xf32>) -> !qlinear.weight<65537x4, #q8>
  return %w0, %w1 : !qlinear.weight<2x4, #q8>, !qlinear.weight<65537x4, #q8>
}

{-# dialect_resources: { builtin: { codes: "0x010000000102030405060708" } } #-}
