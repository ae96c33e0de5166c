// What stays outside of a linear, and what the remark says about it.

// RUN: quant-opt %s --qlinear-fuse --split-input-file --remarks-filter='qlinear.*' -o %t.mlir 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=IR < %t.mlir

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<256x64, #q4>

// The product leaves the kernel anyway.
// CHECK: :[[@LINE+7]]:8: remark: [Missed] Fuse | Category:qlinear-fuse | Reason="the linear's result is needed by 'func.return' as well, so it has to leave the kernel", Remark="math.tanh stays outside of the linear"
// IR-LABEL: func @returned
// IR: linear
// IR: math.tanh
func.func @returned(%x: tensor<4x64xf32>) -> (tensor<4x256xf32>, tensor<4x256xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %y = math.tanh %p : tensor<4x256xf32>
  return %p, %y : tensor<4x256xf32>, tensor<4x256xf32>
}

// An operand that kernels do not read.
// CHECK: Reason="an operand, tensor<4x256xi1>, is not M x N or N floats", Remark="arith.select stays outside of the linear
// IR-LABEL: func @flags
// IR: arith.select
func.func @flags(%x: tensor<4x64xf32>, %f: tensor<4x256xi1>, %o: tensor<4x256xf32>) -> tensor<4x256xf32> {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %y = arith.select %f, %p, %o : tensor<4x256xi1>, tensor<4x256xf32>
  return %y : tensor<4x256xf32>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<256x64, #q4>

// Scalars of a row, another order, a body that asks for its place.
// CHECK: Reason="operand 1 is not read at (m, n) or (n)", Remark="linalg.generic stays
// CHECK: Reason="operand 0 is not read at (m, n) or (n)", Remark="linalg.transpose stays
// CHECK: Reason="its body has 'linalg.index'; an epilogue has operations of arith and math", Remark="linalg.generic stays
// CHECK: Reason="it reads what it replaces, operand 1", Remark="linalg.generic stays
func.func @maps(%x: tensor<256x64xf32>, %r: tensor<256xf32>, %i: tensor<256x256xf32>)
    -> (tensor<256x256xf32>, tensor<256x256xf32>, tensor<256x256xf32>, tensor<256x256xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<256x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<256x256xf32>
  %a = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m)>,
      affine_map<(m, n) -> (m, n)>], iterator_types = ["parallel", "parallel"]}
      ins(%p, %r : tensor<256x256xf32>, tensor<256xf32>) outs(%i : tensor<256x256xf32>) {
  ^bb0(%e: f32, %s: f32, %o: f32):
    %0 = arith.mulf %e, %s : f32
    linalg.yield %0 : f32
  } -> tensor<256x256xf32>
  %b = linalg.transpose ins(%p : tensor<256x256xf32>) outs(%i : tensor<256x256xf32>) permutation = [1, 0]
  %c = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<256x256xf32>) outs(%i : tensor<256x256xf32>) {
  ^bb0(%e: f32, %o: f32):
    %n = linalg.index 1 : index
    %k = arith.index_cast %n : index to i32
    %f = arith.sitofp %k : i32 to f32
    %0 = arith.mulf %e, %f : f32
    linalg.yield %0 : f32
  } -> tensor<256x256xf32>
  %d = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<256x256xf32>) outs(%i : tensor<256x256xf32>) {
  ^bb0(%e: f32, %o: f32):
    %0 = arith.addf %e, %o : f32
    linalg.yield %0 : f32
  } -> tensor<256x256xf32>
  return %a, %b, %c, %d : tensor<256x256xf32>, tensor<256x256xf32>, tensor<256x256xf32>, tensor<256x256xf32>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<256x64, #q4>
qlinear.parameter @v : !qlinear.weight<128x64, #q4>

// An epilogue needs one N: each linear keeps its own.
// CHECK: Reason="the weights differ in N, and an epilogue needs one N", Remark="linear is not merged with another on the same input
// IR-LABEL: func @sizes
// IR-COUNT-2: qlinear.linear
func.func @sizes(%x: tensor<4x64xf32>) -> (tensor<4x256xf32>, tensor<4x128xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %v = qlinear.load @v : !qlinear.weight<128x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %q = qlinear.linear %x, %v : (tensor<4x64xf32>, !qlinear.weight<128x64, #q4>) -> tensor<4x128xf32>
  %t = math.tanh %q : tensor<4x128xf32>
  return %p, %t : tensor<4x256xf32>, tensor<4x128xf32>
}

// One kernel does not multiply codes and floats.
// CHECK: Reason="one quantizes its activations and the other does not", Remark="linear is not merged with another on the same input
// IR-LABEL: func @formats
// IR: qlinear.linear {{.*}} {activations = #qlinear.activation_format<float>}
// IR: qlinear.linear %{{.*}}, %{{.*}} :
func.func @formats(%x: tensor<4x64xf32>) -> (tensor<4x256xf32>, tensor<4x128xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %v = qlinear.load @v : !qlinear.weight<128x64, #q4>
  %p = qlinear.linear %x, %w {activations = #qlinear.activation_format<float>} : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %q = qlinear.linear %x, %v : (tensor<4x64xf32>, !qlinear.weight<128x64, #q4>) -> tensor<4x128xf32>
  return %p, %q : tensor<4x256xf32>, tensor<4x128xf32>
}

// What has a schedule was measured alone.
// CHECK: Reason="it has a schedule already, of this linear alone", Remark="linear is not merged with another on the same input
// IR-LABEL: func @scheduled
// IR-COUNT-2: qlinear.linear
func.func @scheduled(%x: tensor<4x64xf32>) -> (tensor<4x256xf32>, tensor<4x128xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %v = qlinear.load @v : !qlinear.weight<128x64, #q4>
  %p = qlinear.linear %x, %w {schedule = #qlinear.schedule<pdl = false>} : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %q = qlinear.linear %x, %v : (tensor<4x64xf32>, !qlinear.weight<128x64, #q4>) -> tensor<4x128xf32>
  return %p, %q : tensor<4x256xf32>, tensor<4x128xf32>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<256x64, #q4>
qlinear.parameter @v : !qlinear.weight<256x64, #q4>
qlinear.parameter @s : !qlinear.weight<128x64, #q4>
func.func private @bias() -> tensor<256xf32>
func.func private @use(tensor<4x256xf32>)

// The second one has a schedule: said once.
// CHECK: Reason="it has a schedule already, of this linear alone"
// CHECK-NOT: Reason="it has a schedule already
// IR-LABEL: func @second_scheduled
// IR-COUNT-2: qlinear.linear
func.func @second_scheduled(%x: tensor<4x64xf32>) -> tensor<4x256xf32> {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %v = qlinear.load @v : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %q = qlinear.linear %x, %v {schedule = #qlinear.schedule<pdl = false>} : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %y = arith.mulf %p, %q : tensor<4x256xf32>
  return %y : tensor<4x256xf32>
}

// A bias that a call returns cannot be had before.
// CHECK: Reason="an operand is computed after the linear it would be merged with", Remark="linear is not merged
// IR-LABEL: func @called
// IR: qlinear.linear
// IR: call @bias
// IR: qlinear.linear
func.func @called(%x: tensor<4x64xf32>) -> (tensor<4x256xf32>, tensor<4x256xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %v = qlinear.load @v : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %b = call @bias() : () -> tensor<256xf32>
  %q = qlinear.linear %x, %v extras(%b) : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>, tensor<256xf32>) -> tensor<4x256xf32> {
  ^bb0(%0: f32, %1: f32):
    %2 = arith.addf %0, %1 : f32
    qlinear.yield %2 : f32
  }
  return %p, %q : tensor<4x256xf32>, tensor<4x256xf32>
}

// Results of several N meet in the return: those that a product joins are merged first.
// IR-LABEL: func @meet_in_return
// IR: qlinear.linear
// IR: qlinear.linear
// IR: arith.mulf %{{.*}} : f32
func.func @meet_in_return(%x: tensor<4x64xf32>) -> (tensor<4x256xf32>, tensor<4x128xf32>, tensor<4x128xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %s = qlinear.load @s : !qlinear.weight<128x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %q:2 = qlinear.linear %x, %s, %s : (tensor<4x64xf32>, !qlinear.weight<128x64, #q4>, !qlinear.weight<128x64, #q4>) -> (tensor<4x128xf32>, tensor<4x128xf32>)
  %r = qlinear.linear %x, %s : (tensor<4x64xf32>, !qlinear.weight<128x64, #q4>) -> tensor<4x128xf32>
  %t = arith.mulf %q#1, %r : tensor<4x128xf32>
  return %p, %q#0, %t : tensor<4x256xf32>, tensor<4x128xf32>, tensor<4x128xf32>
}

// Another block; a linear of several N; one of two users that cannot move keeps the other;
// results that are no floats.
// CHECK: Reason="'math.tanh' is in another block", Remark="math.tanh stays
// IR-LABEL: func @nested
// IR: scf.if
// IR: math.tanh
func.func @nested(%x: tensor<4x64xf32>, %c: i1, %e: tensor<4x256xf32>) -> tensor<4x256xf32> {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %y = scf.if %c -> tensor<4x256xf32> {
    %t = math.tanh %p : tensor<4x256xf32>
    scf.yield %t : tensor<4x256xf32>
  } else {
    scf.yield %e : tensor<4x256xf32>
  }
  return %y : tensor<4x256xf32>
}

// CHECK: Reason="the weights of the linear differ in N, and an epilogue needs one N; make it one linear for each N", Remark="math.tanh stays
// IR-LABEL: func @two_sizes
// IR: math.tanh %{{.*}} : tensor
func.func @two_sizes(%x: tensor<4x64xf32>) -> (tensor<4x256xf32>, tensor<4x128xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %s = qlinear.load @s : !qlinear.weight<128x64, #q4>
  %p:2 = qlinear.linear %x, %w, %s : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>, !qlinear.weight<128x64, #q4>) -> (tensor<4x256xf32>, tensor<4x128xf32>)
  %t = math.tanh %p#0 : tensor<4x256xf32>
  return %t, %p#1 : tensor<4x256xf32>, tensor<4x128xf32>
}

// CHECK-DAG: Reason="the linear's result is needed by 'arith.select' as well, so it has to leave the kernel", Remark="math.tanh stays
// IR-LABEL: func @one_of_two
// IR: math.tanh %{{.*}} : tensor
// IR: arith.select
func.func @one_of_two(%x: tensor<4x64xf32>, %f: tensor<4x256xi1>, %o: tensor<4x256xf32>) -> (tensor<4x256xf32>, tensor<4x256xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %t = math.tanh %p : tensor<4x256xf32>
  %y = arith.select %f, %p, %o : tensor<4x256xi1>, tensor<4x256xf32>
  return %t, %y : tensor<4x256xf32>, tensor<4x256xf32>
}

// CHECK: Reason="a result is tensor<4x256xi1>; linears have results of f32, f16 or bf16", Remark="arith.cmpf stays
// IR-LABEL: func @compared
// IR: arith.cmpf {{.*}} : tensor
func.func @compared(%x: tensor<4x64xf32>, %o: tensor<4x256xf32>) -> tensor<4x256xi1> {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %y = arith.cmpf olt, %p, %o : tensor<4x256xf32>
  return %y : tensor<4x256xi1>
}

// The second result is needed before the bias is there, and after it.
// CHECK: Reason="an operand, the result of 'func.call', is computed only after the place of the fused linear", Remark="linalg.generic stays
// IR-LABEL: func @too_late
// IR: qlinear.linear
// IR: call @use
// IR: call @bias
// IR: linalg.generic
func.func @too_late(%x: tensor<4x64xf32>, %e: tensor<4x256xf32>) -> tensor<4x256xf32> {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %v = qlinear.load @v : !qlinear.weight<256x64, #q4>
  %p:2 = qlinear.linear %x, %w, %v : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>, !qlinear.weight<256x64, #q4>) -> (tensor<4x256xf32>, tensor<4x256xf32>)
  call @use(%p#1) : (tensor<4x256xf32>) -> ()
  %b = call @bias() : () -> tensor<256xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (n)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%p#0, %b : tensor<4x256xf32>, tensor<256xf32>) outs(%e : tensor<4x256xf32>) {
  ^bb0(%l: f32, %s: f32, %o: f32):
    %0 = arith.addf %l, %s : f32
    linalg.yield %0 : f32
  } -> tensor<4x256xf32>
  call @use(%p#1) : (tensor<4x256xf32>) -> ()
  return %y : tensor<4x256xf32>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<256x64, #q4>

// Operands of doubles and of a length that is not known; a body that may divide by zero;
// results that are written in another order, of another rank or number of rows.
// CHECK: Reason="an operand, tensor<256x256xf64>, is not M x N or N floats"
// CHECK: Reason="an operand, tensor<?xf32>, is not M x N or N floats"
// CHECK: Reason="its body has 'arith.divsi'; an epilogue has operations of arith and math"
// CHECK: Reason="result 0 is not written at (m, n)"
// CHECK: Reason="'linalg.generic' has 3 loops; an epilogue has two, over M and N"
// IR-LABEL: func @operands
// IR: qlinear.linear {{.*}} -> tensor<256x256xf32>{{$}}
#mn = affine_map<(m, n) -> (m, n)>
func.func @operands(%x: tensor<256x64xf32>, %d: tensor<256x256xf64>, %r: tensor<?xf32>, %i: tensor<256x256xf32>, %j: tensor<256x256x2xf32>)
    -> (tensor<256x256xf32>, tensor<256x256xf32>, tensor<256x256xf32>, tensor<256x256xf32>, tensor<256x256x2xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<256x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<256x256xf32>
  %a = linalg.generic {indexing_maps = [#mn, #mn, #mn], iterator_types = ["parallel", "parallel"]}
      ins(%p, %d : tensor<256x256xf32>, tensor<256x256xf64>) outs(%i : tensor<256x256xf32>) {
  ^bb0(%e: f32, %s: f64, %o: f32):
    %0 = arith.truncf %s : f64 to f32
    %1 = arith.mulf %e, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<256x256xf32>
  %b = linalg.generic {indexing_maps = [#mn, affine_map<(m, n) -> (n)>, #mn], iterator_types = ["parallel", "parallel"]}
      ins(%p, %r : tensor<256x256xf32>, tensor<?xf32>) outs(%i : tensor<256x256xf32>) {
  ^bb0(%e: f32, %s: f32, %o: f32):
    %0 = arith.mulf %e, %s : f32
    linalg.yield %0 : f32
  } -> tensor<256x256xf32>
  %c = linalg.generic {indexing_maps = [#mn, #mn], iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<256x256xf32>) outs(%i : tensor<256x256xf32>) {
  ^bb0(%e: f32, %o: f32):
    %0 = arith.fptosi %e : f32 to i32
    %1 = arith.divsi %0, %0 : i32
    %2 = arith.sitofp %1 : i32 to f32
    linalg.yield %2 : f32
  } -> tensor<256x256xf32>
  %t = linalg.generic {indexing_maps = [#mn, affine_map<(m, n) -> (n, m)>], iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<256x256xf32>) outs(%i : tensor<256x256xf32>) {
  ^bb0(%e: f32, %o: f32):
    %0 = math.exp %e : f32
    linalg.yield %0 : f32
  } -> tensor<256x256xf32>
  %u = linalg.generic {indexing_maps = [affine_map<(m, n, k) -> (m, n)>, affine_map<(m, n, k) -> (m, n, k)>],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%p : tensor<256x256xf32>) outs(%j : tensor<256x256x2xf32>) {
  ^bb0(%e: f32, %o: f32):
    linalg.yield %e : f32
  } -> tensor<256x256x2xf32>
  return %a, %b, %c, %t, %u : tensor<256x256xf32>, tensor<256x256xf32>, tensor<256x256xf32>, tensor<256x256xf32>, tensor<256x256x2xf32>
}

// CHECK: Reason="its result is tensor<4x256xf32>, but the linear's is tensor<?x256xf32>"
// IR-LABEL: func @rows
// IR: linalg.generic
func.func @rows(%x: tensor<?x64xf32>, %i: tensor<4x256xf32>) -> tensor<4x256xf32> {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (tensor<?x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<?x256xf32>
  %a = linalg.generic {indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>], iterator_types = ["parallel", "parallel"]}
      ins(%p : tensor<?x256xf32>) outs(%i : tensor<4x256xf32>) {
  ^bb0(%e: f32, %o: f32):
    %0 = math.exp %e : f32
    linalg.yield %0 : f32
  } -> tensor<4x256xf32>
  return %a : tensor<4x256xf32>
}

// How many rows there are is known from the result alone.
// CHECK: Reason="the linear's result is needed by 'tensor.dim' as well, so it has to leave the kernel", Remark="math.tanh stays
// IR-LABEL: func @size
// IR: tensor.dim
func.func @size(%x: !qlinear.activations<?x64>) -> (tensor<?x256xf32>, index) {
  %c0 = arith.constant 0 : index
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %p = qlinear.linear %x, %w : (!qlinear.activations<?x64>, !qlinear.weight<256x64, #q4>) -> tensor<?x256xf32>
  %t = math.tanh %p : tensor<?x256xf32>
  %d = tensor.dim %p, %c0 : tensor<?x256xf32>
  return %t, %d : tensor<?x256xf32>, index
}
