// RUN: quant-opt %s --qlinear-fuse --split-input-file | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
#q6 = #qlinear.encoding<i6, group = 16, symmetric, scale = f32>
qlinear.parameter @wq : !qlinear.weight<64x64, #q4>
qlinear.parameter @wk : !qlinear.weight<16x64, #q4>
qlinear.parameter @wv : !qlinear.weight<16x64, #q6>

// q, k and v differ in N and encoding: one linear, its results used as before.
// CHECK-LABEL: func @qkv
func.func @qkv(%x: tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x16xbf16>, tensor<?x16xf32>) {
  // CHECK-DAG: %[[Q:.*]] = qlinear.load @wq
  // CHECK-DAG: %[[K:.*]] = qlinear.load @wk
  // CHECK-DAG: %[[V:.*]] = qlinear.load @wv
  // CHECK: %[[Y:.*]]:3 = qlinear.linear %{{.*}}, %[[Q]], %[[K]], %[[V]]
  // CHECK-NOT: qlinear.linear
  // CHECK: return %[[Y]]#0, %[[Y]]#1, %[[Y]]#2
  %wq = qlinear.load @wq : !qlinear.weight<64x64, #q4>
  %q = qlinear.linear %x, %wq : (tensor<?x64xbf16>, !qlinear.weight<64x64, #q4>) -> tensor<?x64xbf16>
  %wk = qlinear.load @wk : !qlinear.weight<16x64, #q4>
  %k = qlinear.linear %x, %wk : (tensor<?x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xbf16>
  %wv = qlinear.load @wv : !qlinear.weight<16x64, #q6>
  %v = qlinear.linear %x, %wv : (tensor<?x64xbf16>, !qlinear.weight<16x64, #q6>) -> tensor<?x16xf32>
  return %q, %k, %v : tensor<?x64xbf16>, tensor<?x16xbf16>, tensor<?x16xf32>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @gate : !qlinear.weight<256x64, #q4>
qlinear.parameter @up : !qlinear.weight<256x64, #q4>

// Gate and up meet in the epilogue; each product is rounded to bf16 as before, and
// the bias of one column and the constant come along.
// CHECK-LABEL: func @mlp(
// CHECK-SAME: %[[X:.*]]: tensor<?x64xbf16>, %[[B:.*]]: tensor<256xbf16>, %[[INIT:.*]]: tensor<?x256xbf16>)
func.func @mlp(%x: tensor<?x64xbf16>, %b: tensor<256xbf16>, %init: tensor<?x256xbf16>) -> tensor<?x256xbf16> {
  // CHECK: %[[Y:.*]] = qlinear.linear %[[X]], %{{.*}}, %{{.*}} extras(%[[B]])
  // CHECK-SAME: -> tensor<?x256xbf16> {
  // CHECK-NEXT: ^bb0(%[[G:.*]]: f32, %[[U:.*]]: f32, %[[BE:.*]]: bf16):
  // CHECK-DAG: %[[GR:.*]] = arith.truncf %[[G]] : f32 to bf16
  // CHECK-DAG: %[[UR:.*]] = arith.truncf %[[U]] : f32 to bf16
  // CHECK: %[[S:.*]] = arith.addf %[[GR]], %[[BE]] : bf16
  // CHECK: %[[T:.*]] = math.tanh %[[S]] : bf16
  // CHECK: %[[M:.*]] = arith.mulf %[[T]], %[[UR]] : bf16
  // CHECK: qlinear.yield %[[M]] : bf16
  // CHECK: return %[[Y]]
  %wg = qlinear.load @gate : !qlinear.weight<256x64, #q4>
  %wu = qlinear.load @up : !qlinear.weight<256x64, #q4>
  %g = qlinear.linear %x, %wg : (tensor<?x64xbf16>, !qlinear.weight<256x64, #q4>) -> tensor<?x256xbf16>
  %u = qlinear.linear %x, %wu : (tensor<?x64xbf16>, !qlinear.weight<256x64, #q4>) -> tensor<?x256xbf16>
  %y = linalg.generic {
      indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>,
                       affine_map<(m, n) -> (n)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%g, %u, %b : tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<256xbf16>)
      outs(%init : tensor<?x256xbf16>) {
  ^bb0(%ge: bf16, %ue: bf16, %be: bf16, %out: bf16):
    %0 = arith.addf %ge, %be : bf16
    %1 = math.tanh %0 : bf16
    %2 = arith.mulf %1, %ue : bf16
    linalg.yield %2 : bf16
  } -> tensor<?x256xbf16>
  return %y : tensor<?x256xbf16>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<256x64, #q4>

// A chain of elementwise operations on tensors, with a residual and a splat.
// CHECK-LABEL: func @residual(
// CHECK: qlinear.linear %{{.*}}, %{{.*}} extras(%{{.*}}) : {{.*}} -> tensor<4x256xf32> {
// CHECK-NEXT: ^bb0(%[[P:.*]]: f32, %[[R:.*]]: f32):
// CHECK: %[[C:.*]] = arith.constant 5.000000e-01 : f32
// CHECK: %[[S:.*]] = arith.mulf %[[P]], %[[C]] : f32
// CHECK: %[[A:.*]] = arith.addf %[[S]], %[[R]] : f32
// CHECK: qlinear.yield %[[A]] : f32
func.func @residual(%x: tensor<4x64xf32>, %r: tensor<4x256xf32>) -> tensor<4x256xf32> {
  %half = arith.constant dense<5.0e-1> : tensor<4x256xf32>
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %s = arith.mulf %p, %half : tensor<4x256xf32>
  %y = arith.addf %s, %r : tensor<4x256xf32>
  return %y : tensor<4x256xf32>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<256x64, #q4>

// The product is used twice: as a result too, so it must leave the kernel.
// CHECK-LABEL: func @used_twice(
// CHECK: %[[P:.*]] = qlinear.linear
// CHECK: %[[Y:.*]] = math.tanh %[[P]]
// CHECK: return %[[P]], %[[Y]]
func.func @used_twice(%x: tensor<4x64xf32>) -> (tensor<4x256xf32>, tensor<4x256xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %y = math.tanh %p : tensor<4x256xf32>
  return %p, %y : tensor<4x256xf32>, tensor<4x256xf32>
}

// The second linear needs the first one's result: they cannot be one.
// CHECK-LABEL: func @depends(
// CHECK: %[[P:.*]] = qlinear.linear
// CHECK: qlinear.linear {{.*}} extras(%[[P]])
func.func @depends(%x: tensor<4x64xf32>) -> tensor<4x256xf32> {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %q = qlinear.linear %x, %w extras(%p) : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>, tensor<4x256xf32>) -> tensor<4x256xf32> {
  ^bb0(%a: f32, %e: f32):
    %0 = arith.addf %a, %e : f32
    qlinear.yield %0 : f32
  }
  return %q : tensor<4x256xf32>
}

// A transposing consumer is not elementwise.
// CHECK-LABEL: func @transposed(
// CHECK: qlinear.linear {{.*}} -> tensor<256x256xf32>{{$}}
// CHECK: linalg.generic
func.func @transposed(%x: tensor<256x64xf32>, %init: tensor<256x256xf32>) -> tensor<256x256xf32> {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<256x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<256x256xf32>
  %y = linalg.generic {
      indexing_maps = [affine_map<(m, n) -> (n, m)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<256x256xf32>) outs(%init : tensor<256x256xf32>) {
  ^bb0(%e: f32, %out: f32):
    %0 = arith.negf %e : f32
    linalg.yield %0 : f32
  } -> tensor<256x256xf32>
  return %y : tensor<256x256xf32>
}

// A constant that canonicalisation moved out of the region is copied into the epilogue;
// an operation that reads another value from outside stays.
// CHECK-LABEL: func @captured(
// CHECK: qlinear.linear
// CHECK: %[[C:.*]] = arith.constant 2.0
// CHECK: %[[S:.*]] = arith.mulf %{{.*}}, %[[C]] : f32
// CHECK: qlinear.yield %[[S]] : f32
// CHECK: %[[Y:.*]] = linalg.generic
// CHECK: return %[[Y]]
func.func @captured(%x: tensor<4x64xf32>, %init: tensor<4x256xf32>, %f: f32) -> tensor<4x256xf32> {
  %two = arith.constant 2.0 : f32
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %s = linalg.generic {
      indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<4x256xf32>) outs(%init : tensor<4x256xf32>) {
  ^bb0(%e: f32, %out: f32):
    %0 = arith.mulf %e, %two : f32
    linalg.yield %0 : f32
  } -> tensor<4x256xf32>
  %y = linalg.generic {
      indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%s : tensor<4x256xf32>) outs(%init : tensor<4x256xf32>) {
  ^bb0(%e: f32, %out: f32):
    %0 = arith.mulf %e, %f : f32
    linalg.yield %0 : f32
  } -> tensor<4x256xf32>
  return %y : tensor<4x256xf32>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<256x64, #q4>

// A fill is a constant; the size is that of x, not of what is fused.
// CHECK-LABEL: func @fill(
// CHECK: %[[Y:.*]] = qlinear.linear {{.*}} -> tensor<?x256xbf16> {
// CHECK: %[[C:.*]] = arith.constant 1.000980e-01 : bf16
// CHECK: %[[M:.*]] = arith.mulf %{{.*}}, %[[C]] : bf16
// CHECK: qlinear.yield %[[M]]
// CHECK: return %[[Y]]
func.func @fill(%x: tensor<?x64xbf16>) -> tensor<?x256xbf16> {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<?x64xbf16>, !qlinear.weight<256x64, #q4>) -> tensor<?x256xbf16>
  %c0 = arith.constant 0 : index
  %m = tensor.dim %p, %c0 : tensor<?x256xbf16>
  %e = tensor.empty(%m) : tensor<?x256xbf16>
  %c = arith.constant 0.1 : bf16
  %f = linalg.fill ins(%c : bf16) outs(%e : tensor<?x256xbf16>) -> tensor<?x256xbf16>
  %y = arith.mulf %p, %f : tensor<?x256xbf16>
  return %y : tensor<?x256xbf16>
}

// The gate of x * sigmoid(x) has two users, and both move; gate stays before up.
// CHECK-LABEL: func @swiglu(
// CHECK: %[[G:.*]] = qlinear.load @gate
// CHECK: %[[U:.*]] = qlinear.load @up
// CHECK: %[[Y:.*]] = qlinear.linear %{{.*}}, %[[G]], %[[U]] : {{.*}} -> tensor<?x256xf32> {
// CHECK-NEXT: ^bb0(%[[A:.*]]: f32, %[[B:.*]]: f32):
// CHECK: %[[N:.*]] = arith.negf %[[A]] : f32
// CHECK: %[[E:.*]] = math.exp %[[N]]
// CHECK: %[[H:.*]] = arith.mulf %[[A]], %{{.*}} : f32
// CHECK: arith.mulf %[[H]], %[[B]] : f32
// CHECK: return %[[Y]]
qlinear.parameter @gate : !qlinear.weight<256x64, #q4>
qlinear.parameter @up : !qlinear.weight<256x64, #q4>
func.func @swiglu(%x: tensor<?x64xf32>) -> tensor<?x256xf32> {
  %wg = qlinear.load @gate : !qlinear.weight<256x64, #q4>
  %g = qlinear.linear %x, %wg : (tensor<?x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<?x256xf32>
  %n = arith.negf %g : tensor<?x256xf32>
  %e = math.exp %n : tensor<?x256xf32>
  %c0 = arith.constant 0 : index
  %f1 = arith.constant 1.0 : f32
  %m = tensor.dim %e, %c0 : tensor<?x256xf32>
  %one = tensor.splat %f1[%m] : tensor<?x256xf32>
  %d = arith.addf %e, %one : tensor<?x256xf32>
  %s = arith.divf %one, %d : tensor<?x256xf32>
  %h = arith.mulf %g, %s : tensor<?x256xf32>
  %wu = qlinear.load @up : !qlinear.weight<256x64, #q4>
  %u = qlinear.linear %x, %wu : (tensor<?x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<?x256xf32>
  %y = arith.mulf %h, %u : tensor<?x256xf32>
  return %y : tensor<?x256xf32>
}

// -----

#i8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f32>
// A bias that is a resource: its elements differ, so no one constant stands for them.
// CHECK-LABEL: func @resource(
// CHECK: %[[B:.*]] = arith.constant dense_resource<bias> : tensor<4xf32>
// CHECK: qlinear.linear {{.*}} extras(%[[B]])
func.func @resource(%x: tensor<4x32xf32>, %w: !qlinear.weight<4x32, #i8>) -> tensor<4x4xf32> {
  %y = qlinear.linear %x, %w : (tensor<4x32xf32>, !qlinear.weight<4x32, #i8>) -> tensor<4x4xf32>
  %b = arith.constant dense_resource<bias> : tensor<4xf32>
  %e = tensor.empty() : tensor<4x4xf32>
  %c = linalg.broadcast ins(%b : tensor<4xf32>) outs(%e : tensor<4x4xf32>) dimensions = [0]
  %r = arith.addf %y, %c : tensor<4x4xf32>
  return %r : tensor<4x4xf32>
}
{-# dialect_resources: { builtin: { bias: "0x040000000000803F000000400000404000008040" } } #-}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @a : !qlinear.weight<256x64, #q4>
qlinear.parameter @b : !qlinear.weight<256x64, #q4>
qlinear.parameter @c : !qlinear.weight<256x64, #q4>
func.func private @bias() -> tensor<256xf32>
func.func private @use(tensor<4x256xf32>)

// Linears whose results meet become neighbours; of an attribute that both have, the first
// one's stays.
// CHECK-LABEL: func @meet(
// CHECK-DAG: %[[A:.*]] = qlinear.load @a
// CHECK-DAG: %[[B:.*]] = qlinear.load @b
// CHECK-DAG: %[[C:.*]] = qlinear.load @c
// CHECK: qlinear.linear %{{.*}}, %[[A]], %[[C]], %[[B]]
// CHECK-SAME: {my.own = 3 : i32, my.tag = 1 : i32}
func.func @meet(%x: tensor<4x64xf32>) -> (tensor<4x256xf32>, tensor<4x256xf32>) {
  %a = qlinear.load @a : !qlinear.weight<256x64, #q4>
  %b = qlinear.load @b : !qlinear.weight<256x64, #q4>
  %c = qlinear.load @c : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %a {my.tag = 1 : i32} : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %q = qlinear.linear %x, %b : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %r = qlinear.linear %x, %c {my.tag = 2 : i32, my.own = 3 : i32} : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %y = arith.mulf %p, %r : tensor<4x256xf32>
  return %y, %q : tensor<4x256xf32>, tensor<4x256xf32>
}

// What is computed from the first one, but not element by element, waits for both: they
// become one linear, and the product stays outside.
// CHECK-LABEL: func @through_transpose(
// CHECK: qlinear.linear %{{.*}}, %{{.*}}, %{{.*}} : (tensor<256x64xf32>, !qlinear.weight<256x64, #{{.*}}>, !qlinear.weight<256x64, #{{.*}}>)
// CHECK-NOT: qlinear.linear
// CHECK: linalg.transpose
// CHECK: arith.mulf
func.func @through_transpose(%x: tensor<256x64xf32>, %i: tensor<256x256xf32>) -> tensor<256x256xf32> {
  %a = qlinear.load @a : !qlinear.weight<256x64, #q4>
  %b = qlinear.load @b : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %a : (tensor<256x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<256x256xf32>
  %t = linalg.transpose ins(%p : tensor<256x256xf32>) outs(%i : tensor<256x256xf32>) permutation = [1, 0]
  %q = qlinear.linear %x, %b : (tensor<256x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<256x256xf32>
  %y = arith.mulf %t, %q : tensor<256x256xf32>
  return %y : tensor<256x256xf32>
}

// Linears that stay apart: one takes the other's result as an extra.
// CHECK-LABEL: func @apart(
// CHECK: %[[P:.*]] = qlinear.linear
// CHECK: %[[Y:.*]] = qlinear.linear {{.*}} extras(%[[P]])
// CHECK: return %[[Y]]
func.func @apart(%x: tensor<4x64xf32>) -> tensor<4x256xf32> {
  %a = qlinear.load @a : !qlinear.weight<256x64, #q4>
  %b = qlinear.load @b : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %a {schedule = #qlinear.schedule<pdl = false>} : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %q = qlinear.linear %x, %b : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %y = arith.mulf %p, %q : tensor<4x256xf32>
  return %y : tensor<4x256xf32>
}

// Linears on buffers are left alone.
// CHECK-LABEL: func @buffers(
// CHECK-COUNT-3: qlinear.linear
func.func @buffers(%t: tensor<4x64xf32>, %x: memref<4x64xf32>, %y: memref<4x256xf32>, %z: memref<4x256xf32>) -> tensor<4x256xf32> {
  %a = qlinear.load @a : !qlinear.weight<256x64, #q4>
  qlinear.linear %x, %a outs(%y) : (memref<4x64xf32>, !qlinear.weight<256x64, #q4>, memref<4x256xf32>) -> ()
  qlinear.linear %x, %a outs(%z) : (memref<4x64xf32>, !qlinear.weight<256x64, #q4>, memref<4x256xf32>) -> ()
  %p = qlinear.linear %t, %a : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  return %p : tensor<4x256xf32>
}

// An extra that is read twice is one extra. Gate stays before up although its tail is
// behind it.
// CHECK-LABEL: func @order(
// CHECK-SAME: %{{.*}}, %[[R:.*]]: tensor<4x256xf32>)
// CHECK-DAG: %[[A:.*]] = qlinear.load @a
// CHECK-DAG: %[[B:.*]] = qlinear.load @b
// CHECK: qlinear.linear %{{.*}}, %[[A]], %[[B]] extras(%[[R]])
func.func @order(%x: tensor<4x64xf32>, %r: tensor<4x256xf32>) -> tensor<4x256xf32> {
  %a = qlinear.load @a : !qlinear.weight<256x64, #q4>
  %b = qlinear.load @b : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %a : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %q = qlinear.linear %x, %b : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %s = arith.addf %p, %r : tensor<4x256xf32>
  %t = arith.mulf %s, %r : tensor<4x256xf32>
  %y = arith.mulf %t, %q : tensor<4x256xf32>
  return %y : tensor<4x256xf32>
}

// The fused linear comes after the bias, and before the first that reads its results.
// CHECK-LABEL: func @place(
// CHECK: %[[BIAS:.*]] = call @bias
// CHECK: %[[Y:.*]]:2 = qlinear.linear {{.*}} extras(%[[BIAS]])
// CHECK: call @use
// CHECK: call @use
func.func @place(%x: tensor<4x64xf32>, %e: tensor<4x256xf32>) {
  %a = qlinear.load @a : !qlinear.weight<256x64, #q4>
  %b = qlinear.load @b : !qlinear.weight<256x64, #q4>
  %p:2 = qlinear.linear %x, %a, %b : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>, !qlinear.weight<256x64, #q4>) -> (tensor<4x256xf32>, tensor<4x256xf32>)
  %bias = call @bias() : () -> tensor<256xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (n)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%p#0, %bias : tensor<4x256xf32>, tensor<256xf32>) outs(%e : tensor<4x256xf32>) {
  ^bb0(%l: f32, %s: f32, %o: f32):
    %0 = arith.addf %l, %s : f32
    linalg.yield %0 : f32
  } -> tensor<4x256xf32>
  call @use(%y) : (tensor<4x256xf32>) -> ()
  call @use(%p#1) : (tensor<4x256xf32>) -> ()
  return
}

// -----

#i8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f32>

// What is computed from a row, per row, or written in another order is no broadcast: it is
// read as it is. A constant of different elements is no scalar; one element is, in any
// order.
// CHECK-LABEL: func @broadcasts(
// CHECK-DAG: %[[D:.*]] = arith.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00]>
// CHECK: qlinear.linear {{.*}} extras(%[[X0:[^,]*]], %[[X1:[^,]*]], %[[X2:[^,]*]], %[[D]]) : {{.*}}tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4xf32>)
// CHECK-NOT: arith.addf %{{.*}} : tensor
func.func @broadcasts(%x: tensor<4x32xf32>, %w: !qlinear.weight<4x32, #i8>, %r: tensor<4xf32>, %i: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %d = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %one = arith.constant dense<0.5> : tensor<1xf32>
  %e = linalg.generic {indexing_maps = [affine_map<(m, n) -> (n)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]} ins(%r : tensor<4xf32>) outs(%i : tensor<4x4xf32>) {
  ^bb0(%l: f32, %o: f32):
    %0 = math.exp %l : f32
    linalg.yield %0 : f32
  } -> tensor<4x4xf32>
  %rows = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]} ins(%r : tensor<4xf32>) outs(%i : tensor<4x4xf32>) {
  ^bb0(%l: f32, %o: f32):
    linalg.yield %l : f32
  } -> tensor<4x4xf32>
  %turned = linalg.generic {indexing_maps = [affine_map<(m, n) -> (n)>, affine_map<(m, n) -> (n, m)>],
      iterator_types = ["parallel", "parallel"]} ins(%r : tensor<4xf32>) outs(%i : tensor<4x4xf32>) {
  ^bb0(%l: f32, %o: f32):
    linalg.yield %l : f32
  } -> tensor<4x4xf32>
  %p = qlinear.linear %x, %w : (tensor<4x32xf32>, !qlinear.weight<4x32, #i8>) -> tensor<4x4xf32>
  %0 = arith.addf %p, %e : tensor<4x4xf32>
  %1 = arith.addf %0, %rows : tensor<4x4xf32>
  %2 = arith.addf %1, %turned : tensor<4x4xf32>
  %3 = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (n)>, affine_map<(m, n) -> (0)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]} ins(%2, %d, %one : tensor<4x4xf32>, tensor<4xf32>, tensor<1xf32>) outs(%i : tensor<4x4xf32>) {
  ^bb0(%l: f32, %s: f32, %h: f32, %o: f32):
    %4 = arith.addf %l, %s : f32
    %5 = arith.mulf %4, %h : f32
    linalg.yield %5 : f32
  } -> tensor<4x4xf32>
  return %3 : tensor<4x4xf32>
}
