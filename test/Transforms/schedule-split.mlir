// Linears that share an input, where a kernel of all has not the shared memory for as many rows
// as a kernel of one: all get as many rows as the one that needs the most memory, in as few
// kernels as have them.
//
// RUN: quant-opt %s --qlinear-schedule=target=cuda:sm_75 --mlir-print-local-scope | FileCheck %s

!a = !qlinear.weight<16x16384, #qlinear.encoding<u4, group = 32, zero, scale = f32, offset = f32>>
!b = !qlinear.weight<16x16384, #qlinear.encoding<u4, group = 16, zero, scale = f32, offset = f32>>
!c = !qlinear.weight<16x16384, #qlinear.encoding<i8, group = 32, symmetric, scale = f32>>
!d = !qlinear.weight<16x16384, #qlinear.encoding<i6, group = 16, symmetric, scale = f32>>
!x = tensor<?x16384xf32>
!y = tensor<?x16xf32>

// One alone: sums by group 16 take more room.
// CHECK-LABEL: func.func @alone
// CHECK: qlinear.linear %{{.*}}, %{{[a-z0-9]+}} {schedule = {{.*}}rows = 4, {{.*}}rows = 8, {{.*}}group = 32, zero
// CHECK: qlinear.linear %{{.*}}, %{{[a-z0-9]+}} {schedule = {{.*}}rows = 2, {{.*}}rows = 4, {{[^<>]*}}>], {{.*}}group = 16, zero
func.func @alone(%x: !x, %a: !a, %b: !b) -> (!y, !y) {
  %0 = qlinear.linear %x, %a : (!x, !a) -> !y
  %1 = qlinear.linear %x, %b : (!x, !b) -> !y
  return %0, %1 : !y, !y
}

// Two have the four rows of the second.
// CHECK-LABEL: func.func @two
// CHECK: qlinear.linear %{{.*}}, %{{.*}}, %{{[a-z0-9]+}} {schedule = {{.*}}rows = 2, {{.*}}rows = 4, {{[^<>]*}}>],
// CHECK-NOT: qlinear.linear
func.func @two(%x: !x, %a: !a, %b: !b) -> (!y, !y) {
  %0, %1 = qlinear.linear %x, %a, %b : (!x, !a, !b) -> (!y, !y)
  return %0, %1 : !y, !y
}

// Four do not: two kernels, which share the quantized activations.
// CHECK-LABEL: func.func @four
// CHECK: %[[X:.*]] = qlinear.quantize_activations
// CHECK: qlinear.linear %[[X]], %{{.*}}, %{{[a-z0-9]+}} {schedule = {{.*}}rows = 2, {{.*}}rows = 4, {{[^<>]*}}>],
// CHECK: qlinear.linear %[[X]], %{{.*}}, %{{[a-z0-9]+}} {schedule = {{.*}}rows = 2, {{.*}}rows = 4, {{[^<>]*}}>],
// CHECK-NOT: qlinear.linear
func.func @four(%x: !x, %a: !a, %b: !b, %c: !c, %d: !d) -> (!y, !y, !y, !y) {
  %0, %1, %2, %3 = qlinear.linear %x, %a, %b, %d, %c : (!x, !a, !b, !d, !c) -> (!y, !y, !y, !y)
  return %0, %1, %2, %3 : !y, !y, !y, !y
}

// Kernels that are asked for do fit: nothing is cut.
// CHECK-LABEL: func.func @asked
// CHECK: qlinear.linear %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{[a-z0-9]+}} {schedule = {{.*}}kernels = [#qlinear.gemv<rows = 2, {{[^<>]*}}>],
// CHECK-NOT: qlinear.linear
func.func @asked(%x: !x, %a: !a, %b: !b, %c: !c, %d: !d) -> (!y, !y, !y, !y) {
  %0, %1, %2, %3 = qlinear.linear %x, %a, %b, %c, %d {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 2>]>} : (!x, !a, !b, !c, !d) -> (!y, !y, !y, !y)
  return %0, %1, %2, %3 : !y, !y, !y, !y
}

// What one epilogue needs stays in one kernel.
// CHECK-LABEL: func.func @epilogue
// CHECK: qlinear.linear %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{[a-z0-9]+}} {schedule = {{.*}}rows = 2, {{[^<>]*}}>],
// CHECK-NOT: qlinear.linear
func.func @epilogue(%x: !x, %a: !a, %b: !b, %c: !c, %d: !d) -> !y {
  %0 = qlinear.linear %x, %a, %b, %c, %d : (!x, !a, !b, !c, !d) -> !y {
  ^bb0(%p: f32, %q: f32, %r: f32, %s: f32):
    %1 = arith.addf %p, %q : f32
    %2 = arith.addf %r, %s : f32
    %3 = arith.addf %1, %2 : f32
    qlinear.yield %3 : f32
  }
  return %0 : !y
}
