// A linear takes the norm before it along where one launch can do both.
//
// RUN: quant-opt %s --qlinear-schedule=target=cuda:sm_90a --split-input-file --mlir-print-local-scope \
// RUN:   | FileCheck %s --check-prefixes=CHECK,FEW
// RUN: quant-opt %s --split-input-file --mlir-print-local-scope \
// RUN:   --qlinear-schedule="target=cuda:sm_90a batch-invariant" | FileCheck %s

#u4 = #qlinear.encoding<u4, group = row, zero, scale = bf16, offset = u4>

// The kernels for few rows are those for quantized activations.
// CHECK-LABEL: func.func @norm
// FEW: qlinear.linear {{.*}}#qlinear.gemv<rows = 1, {{[^>]*}} ahead = false, x_copy = bulk,
// FEW-SAME: quantize = norm, pdl = true>
// CHECK: return
func.func @norm(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<16384x5376, #u4>)
    -> tensor<?x16384xbf16> {
  %n = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<?x5376xbf16>) -> tensor<?x5376xbf16>
  %y = qlinear.linear %n, %w
      : (tensor<?x5376xbf16>, !qlinear.weight<16384x5376, #u4>) -> tensor<?x16384xbf16>
  return %y : tensor<?x16384xbf16>
}

// -----

#u4 = #qlinear.encoding<u4, group = row, zero, scale = bf16, offset = u4>

// Floats: only where all kernels take an image.
// CHECK-LABEL: func.func @floats
// FEW: quantize = inside
// CHECK: return
func.func @floats(%x: tensor<?x512xbf16>, %w: !qlinear.weight<64x512, #u4>)
    -> tensor<?x64xbf16> {
  %n = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<?x512xbf16>) -> tensor<?x512xbf16>
  %y = qlinear.linear %n, %w {activations = #qlinear.activation_format<float>}
      : (tensor<?x512xbf16>, !qlinear.weight<64x512, #u4>) -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}

// -----

#u4 = #qlinear.encoding<u4, group = row, zero, scale = bf16, offset = u4>

// CHECK-LABEL: func.func @image
// CHECK: kernels = [#qlinear.gemm<rows = 16, {{.*}}quantize = norm
func.func @image(%x: tensor<?x512xbf16>, %w: !qlinear.weight<64x512, #u4>)
    -> tensor<?x64xbf16> {
  %n = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<?x512xbf16>) -> tensor<?x512xbf16>
  %y = qlinear.linear %n, %w {activations = #qlinear.activation_format<float>,
      schedule = #qlinear.schedule<kernels = [#qlinear.gemm<rows = 16, split_k = 1>]>}
      : (tensor<?x512xbf16>, !qlinear.weight<64x512, #u4>) -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}

// -----

#u4 = #qlinear.encoding<u4, group = row, zero, scale = bf16, offset = u4>

// Rows that start at no multiple of 8 columns, and such that do not fit into registers.
// CHECK-LABEL: func.func @rows
// CHECK-COUNT-2: quantize = inside
func.func @rows(%x: tensor<?x516xbf16>, %w: !qlinear.weight<64x516, #u4>,
                %xl: tensor<?x32776xbf16>, %wl: !qlinear.weight<64x32776, #u4>)
    -> (tensor<?x64xbf16>, tensor<?x64xbf16>) {
  %n = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<?x516xbf16>) -> tensor<?x516xbf16>
  %y = qlinear.linear %n, %w
      : (tensor<?x516xbf16>, !qlinear.weight<64x516, #u4>) -> tensor<?x64xbf16>
  %nl = qlinear.norm rms %xl epsilon = 1.0e-05
      : (tensor<?x32776xbf16>) -> tensor<?x32776xbf16>
  %yl = qlinear.linear %nl, %wl
      : (tensor<?x32776xbf16>, !qlinear.weight<64x32776, #u4>) -> tensor<?x64xbf16>
  return %y, %yl : tensor<?x64xbf16>, tensor<?x64xbf16>
}

// -----

#u4 = #qlinear.encoding<u4, group = row, zero, scale = bf16, offset = u4>

// What the norm makes is read by another: x; the sum, before the linear; by the linear itself.
// CHECK-LABEL: func.func @readers
// CHECK-COUNT-3: quantize = inside
func.func @readers(%x: tensor<?x64xbf16>, %w: !qlinear.weight<64x64, #u4>)
    -> (tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>,
        tensor<?x64xbf16>) {
  %n = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
  %y = qlinear.linear %n, %w
      : (tensor<?x64xbf16>, !qlinear.weight<64x64, #u4>) -> tensor<?x64xbf16>
  %s1, %n1 = qlinear.norm rms %x, %n epsilon = 1.0e-05
      : (tensor<?x64xbf16>, tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>) {
  ^bb0(%norm: f32, %sum: f32):
    %0 = arith.truncf %sum : f32 to bf16
    %1 = arith.truncf %norm : f32 to bf16
    qlinear.yield %0, %1 : bf16, bf16
  }
  %z = arith.addf %s1, %x : tensor<?x64xbf16>
  %y1 = qlinear.linear %n1, %w
      : (tensor<?x64xbf16>, !qlinear.weight<64x64, #u4>) -> tensor<?x64xbf16>
  %s2, %n2 = qlinear.norm rms %x, %y epsilon = 1.0e-05
      : (tensor<?x64xbf16>, tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>) {
  ^bb0(%norm: f32, %sum: f32):
    %0 = arith.truncf %sum : f32 to bf16
    %1 = arith.truncf %norm : f32 to bf16
    qlinear.yield %0, %1 : bf16, bf16
  }
  %y2 = qlinear.linear %n2, %w extras(%s2)
      : (tensor<?x64xbf16>, !qlinear.weight<64x64, #u4>, tensor<?x64xbf16>)
        -> tensor<?x64xbf16> {
  ^bb0(%v: f32, %e: bf16):
    %0 = arith.extf %e : bf16 to f32
    %1 = arith.addf %v, %0 : f32
    %2 = arith.truncf %1 : f32 to bf16
    qlinear.yield %2 : bf16
  }
  return %n, %y1, %z, %y2, %y : tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>,
      tensor<?x64xbf16>, tensor<?x64xbf16>
}

// -----

#u4 = #qlinear.encoding<u4, group = row, zero, scale = bf16, offset = u4>

// No norm at all: as if nothing was said.
// CHECK-LABEL: func.func @none
// FEW: qlinear.linear {{.*}}#qlinear.gemv<rows = 1, {{[^>]*}} ahead = true, x_copy = bulk,
// CHECK: quantize = inside, pdl = true>
func.func @none(%x: tensor<?x5376xbf16>, %w: !qlinear.weight<16384x5376, #u4>)
    -> tensor<?x16384xbf16> {
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<quantize = norm>}
      : (tensor<?x5376xbf16>, !qlinear.weight<16384x5376, #u4>) -> tensor<?x16384xbf16>
  return %y : tensor<?x16384xbf16>
}

// -----

#u4 = #qlinear.encoding<u4, group = row, zero, scale = bf16, offset = u4>

// The sum is read in another block, which is after the linear.
// CHECK-LABEL: func.func @later
// CHECK: quantize = norm
func.func @later(%x: tensor<?x64xbf16>, %w: !qlinear.weight<64x64, #u4>)
    -> (tensor<?x64xbf16>, tensor<?x64xbf16>) {
  %s, %n = qlinear.norm rms %x, %x epsilon = 1.0e-05
      : (tensor<?x64xbf16>, tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xbf16>) {
  ^bb0(%norm: f32, %sum: f32):
    %0 = arith.truncf %sum : f32 to bf16
    %1 = arith.truncf %norm : f32 to bf16
    qlinear.yield %0, %1 : bf16, bf16
  }
  %y = qlinear.linear %n, %w
      : (tensor<?x64xbf16>, !qlinear.weight<64x64, #u4>) -> tensor<?x64xbf16>
  cf.br ^next
^next:
  return %s, %y : tensor<?x64xbf16>, tensor<?x64xbf16>
}
