// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-cpu,one-shot-bufferize{bufferize-function-boundaries},qlinear-to-runtime{target=cpu:portable})' | FileCheck %s

// Launches are calls of one function of the runtime if they differ in their buffers only.
// Each here differs from the first in one thing; the last is the first one again.

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
!w = !qlinear.weight<16x64, #q8>
!x = tensor<4x64xf32>
!y = tensor<4x16xf32>
#one = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 4>]>
qlinear.parameter @w : !w from "a"
qlinear.parameter @v : !w from "b"

// CHECK-LABEL: func.func @different
// CHECK: llvm.call @qlinear.launch0(
// CHECK: llvm.call @qlinear.launch1(
// The parameter; the epilogue; one bias and another; one constant weight and another; the
// type of the result.
// CHECK: llvm.call @qlinear.launch2(
// CHECK: llvm.call @qlinear.launch3(
// CHECK: llvm.call @qlinear.launch4(
// CHECK: llvm.call @qlinear.launch5(
// CHECK: llvm.call @qlinear.launch6(
// CHECK: llvm.call @qlinear.launch7(
// CHECK: llvm.call @qlinear.launch8(
// CHECK: llvm.call @qlinear.launch1(
// CHECK-NOT: llvm.call @qlinear.launch
// CHECK: return
func.func @different(%x: !x) -> (!y, !y, !y, !y, !y, !y, !y, tensor<4x16xf16>, !y) {
  %w = qlinear.load @w : !w
  %v = qlinear.load @v : !w
  %b1 = arith.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]> : tensor<16xf32>
  %b2 = arith.constant dense<[9.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]> : tensor<16xf32>
  %c1 = arith.constant dense<3> : tensor<16x64xi8>
  %c2 = arith.constant dense<5> : tensor<16x64xi8>
  %s = arith.constant dense<0.5> : tensor<16x2xf16>
  %k1 = qlinear.pack %c1, %s : (tensor<16x64xi8>, tensor<16x2xf16>) -> !w
  %k2 = qlinear.pack %c2, %s : (tensor<16x64xi8>, tensor<16x2xf16>) -> !w
  %0 = qlinear.linear %x, %w {schedule = #one} : (!x, !w) -> !y
  %1 = qlinear.linear %x, %v {schedule = #one} : (!x, !w) -> !y
  %2 = qlinear.linear %x, %w {schedule = #one} : (!x, !w) -> !y {
  ^bb0(%p: f32):
    %n = arith.negf %p : f32
    qlinear.yield %n : f32
  }
  %3 = qlinear.linear %x, %w extras(%b1) {schedule = #one} : (!x, !w, tensor<16xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %n = arith.addf %p, %c : f32
    qlinear.yield %n : f32
  }
  %4 = qlinear.linear %x, %w extras(%b2) {schedule = #one} : (!x, !w, tensor<16xf32>) -> !y {
  ^bb0(%p: f32, %c: f32):
    %n = arith.addf %p, %c : f32
    qlinear.yield %n : f32
  }
  %5 = qlinear.linear %x, %k1 {schedule = #one} : (!x, !w) -> !y
  %6 = qlinear.linear %x, %k2 {schedule = #one} : (!x, !w) -> !y
  %7 = qlinear.linear %x, %w {schedule = #one} : (!x, !w) -> tensor<4x16xf16>
  %8 = qlinear.linear %x, %w {schedule = #one} : (!x, !w) -> !y
  return %0, %1, %2, %3, %4, %5, %6, %7, %8 : !y, !y, !y, !y, !y, !y, !y, tensor<4x16xf16>, !y
}

// Written by hand, of one kernel: the last is the first one again.
// CHECK-LABEL: func.func @by_hand
// CHECK: llvm.call @qlinear.launch[[FIRST:[0-9]+]](
// Rows that are counted at run time; an input that a program may write, and one whose values
// are not known here; scratch memory; dependence on the launch before.
// CHECK: llvm.call @qlinear.launch[[ROWS:[0-9]+]](%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) : (i64, i64, i64, i64)
// CHECK: llvm.call @qlinear.launch[[BIAS:[0-9]+]](%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) : (i64, i64, i64, i64, i64, i64)
// CHECK: llvm.call @qlinear.launch[[BIAS]](
// CHECK: llvm.call @qlinear.launch[[TEMPS:[0-9]+]](
// CHECK: llvm.call @qlinear.launch[[PDL:[0-9]+]](
// CHECK: llvm.call @qlinear.launch[[FIRST]](
// CHECK-DAG: llvm.func internal @qlinear.launch[[FIRST]](
// CHECK-DAG: llvm.func internal @qlinear.launch[[ROWS]](
// CHECK-DAG: llvm.func internal @qlinear.launch[[BIAS]](
// CHECK-DAG: llvm.func internal @qlinear.launch[[TEMPS]](
// CHECK-DAG: llvm.func internal @qlinear.launch[[PDL]](
llvm.func @k(%0: !llvm.ptr, %1: i32, %2: i64, %3: i64) attributes {qlinear.kernel} { llvm.return }
memref.global "private" @changes : memref<16xf32> = dense<1.0>
memref.global "private" constant @unknown : memref<16xf32>
func.func @by_hand(%x: memref<4x320xi8>, %z: memref<?x320xi8>, %y: memref<4x16xf32>) {
  %w = qlinear.load @w : !w
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x) outs(%y)
      : (!w, memref<4x320xi8>, memref<4x16xf32>) -> ()
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%z) outs(%y)
      : (!w, memref<?x320xi8>, memref<4x16xf32>) -> ()
  %changes = memref.get_global @changes : memref<16xf32>
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x, %changes) outs(%y)
      : (!w, memref<4x320xi8>, memref<16xf32>, memref<4x16xf32>) -> ()
  %unknown = memref.get_global @unknown : memref<16xf32>
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x, %unknown) outs(%y)
      : (!w, memref<4x320xi8>, memref<16xf32>, memref<4x16xf32>) -> ()
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x) outs(%y)
      temps [#qlinear.temp<bytes = 64>] : (!w, memref<4x320xi8>, memref<4x16xf32>) -> ()
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x) outs(%y)
      pdl : (!w, memref<4x320xi8>, memref<4x16xf32>) -> ()
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x) outs(%y)
      : (!w, memref<4x320xi8>, memref<4x16xf32>) -> ()
  return
}
