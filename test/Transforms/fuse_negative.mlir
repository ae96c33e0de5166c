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

// What has a schedule was measured alone.
// CHECK: Reason="it has a schedule already, of this linear alone", Remark="linear is not merged with another on the same input
// IR-LABEL: func @scheduled
// IR-COUNT-2: qlinear.linear
func.func @scheduled(%x: tensor<4x64xf32>) -> (tensor<4x256xf32>, tensor<4x128xf32>) {
  %w = qlinear.load @w : !qlinear.weight<256x64, #q4>
  %v = qlinear.load @v : !qlinear.weight<128x64, #q4>
  %p = qlinear.linear %x, %w {schedule = #qlinear.schedule<grid = 8>} : (tensor<4x64xf32>, !qlinear.weight<256x64, #q4>) -> tensor<4x256xf32>
  %q = qlinear.linear %x, %v : (tensor<4x64xf32>, !qlinear.weight<128x64, #q4>) -> tensor<4x128xf32>
  return %p, %q : tensor<4x256xf32>, tensor<4x128xf32>
}
