// A norm whose result only a linear reads is launched with it: its kernel comes before each
// of the linear's, and leaves the rows in the temporary, as codes or as an image.
//
// RUN: quant-opt %s --qlinear-to-gpu=target=cuda:sm_90 | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>

// All pointers in the order weights, inputs, results; no result for x.
// CHECK-LABEL: func.func @joined
// CHECK-SAME: (%[[X:.*]]: tensor<?x512xbf16>, %[[R:.*]]: tensor<?x512xbf16>, %[[G:.*]]: tensor<512xbf16>, %[[B:.*]]: tensor<64xf32>
// CHECK: %[[Y:.*]]:2 = qlinear.launch [
// CHECK-SAME: rows = 1, kernel = @qlinear_kernels::@[[K:linear[0-9]+]]_m1, {{[^>]*}}before = <rows = 1, kernel = @qlinear_kernels::@[[K]]_quantize, grid = 1, block = 64, smem = 8>>
// CHECK-SAME: rows = 8, kernel = @qlinear_kernels::@[[K]]_m8, {{[^>]*}}before = <rows = 8, kernel = @qlinear_kernels::@[[K]]_quantize, grid = 8,
// CHECK-SAME: rows = 16, kernel = @qlinear_kernels::@[[K]]_m16, {{[^>]*}}before = <rows = 16, kernel = @qlinear_kernels::@[[K]]_prepare, grid = 16, block = 64,
// CHECK-SAME: weights(%{{.*}}) ins(%[[X]], %[[R]], %[[G]], %[[B]]) temps [#qlinear.temp<bytes = {{[0-9]+}}, bytes_per_row = 1028>] pdl
// CHECK-SAME: -> (tensor<?x512xbf16>, tensor<?x64xbf16>)
// CHECK-NEXT: return %[[Y]]#0, %[[Y]]#1
func.func @joined(%x: tensor<?x512xbf16>, %r: tensor<?x512xbf16>, %g: tensor<512xbf16>,
                  %b: tensor<64xf32>, %w: !qlinear.weight<64x512, #q4>)
    -> (tensor<?x512xbf16>, tensor<?x64xbf16>) {
  %s, %n = qlinear.norm rms %x, %r extras(%g) epsilon = 1.0e-05
      : (tensor<?x512xbf16>, tensor<?x512xbf16>, tensor<512xbf16>)
        -> (tensor<?x512xbf16>, tensor<?x512xbf16>) {
  ^bb0(%norm: f32, %sum: f32, %scale: bf16):
    %0 = arith.truncf %sum : f32 to bf16
    %1 = arith.truncf %norm : f32 to bf16
    %2 = arith.mulf %1, %scale : bf16
    qlinear.yield %0, %2 : bf16, bf16
  }
  %y = qlinear.linear %n, %w extras(%b)
      : (tensor<?x512xbf16>, !qlinear.weight<64x512, #q4>, tensor<64xf32>)
        -> tensor<?x64xbf16> {
  ^bb0(%v: f32, %bias: f32):
    %0 = arith.addf %v, %bias : f32
    %1 = arith.truncf %0 : f32 to bf16
    qlinear.yield %1 : bf16
  }
  return %s, %y : tensor<?x512xbf16>, tensor<?x64xbf16>
}

// Kernels are shared by all pairs that are alike, and not by a linear of another norm.
// CHECK-LABEL: func.func @alike
// CHECK: @[[FIRST:linear[0-9]+]]_m1
// CHECK: @[[FIRST]]_m1
// CHECK-NOT: @[[FIRST]]_m1
// CHECK: @{{linear[0-9]+}}_m1, {{.*}}_quantize
// CHECK: return
func.func @alike(%x: tensor<1x512xbf16>, %w: !qlinear.weight<64x512, #q4>)
    -> (tensor<1x64xbf16>, tensor<1x64xbf16>, tensor<1x64xbf16>) {
  %n0 = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<1x512xbf16>) -> tensor<1x512xbf16>
  %y0 = qlinear.linear %n0, %w
      : (tensor<1x512xbf16>, !qlinear.weight<64x512, #q4>) -> tensor<1x64xbf16>
  %n1 = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<1x512xbf16>) -> tensor<1x512xbf16>
  %y1 = qlinear.linear %n1, %w
      : (tensor<1x512xbf16>, !qlinear.weight<64x512, #q4>) -> tensor<1x64xbf16>
  %n2 = qlinear.norm rms %x epsilon = 1.0e-06 : (tensor<1x512xbf16>) -> tensor<1x512xbf16>
  %y2 = qlinear.linear %n2, %w
      : (tensor<1x512xbf16>, !qlinear.weight<64x512, #q4>) -> tensor<1x64xbf16>
  return %y0, %y1, %y2 : tensor<1x64xbf16>, tensor<1x64xbf16>, tensor<1x64xbf16>
}

// Who wants the norm by itself says so, and it is when another reads it.
// CHECK-LABEL: func.func @inside
// CHECK: %[[N:.*]] = qlinear.launch {{.*}}@norm{{[0-9]+}}_many
// CHECK: qlinear.launch {{.*}} ins(%[[N]])
func.func @inside(%x: tensor<1x512xbf16>, %w: !qlinear.weight<64x512, #q4>)
    -> tensor<1x64xbf16> {
  %n = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<1x512xbf16>) -> tensor<1x512xbf16>
  %y = qlinear.linear %n, %w {schedule = #qlinear.schedule<quantize = inside>}
      : (tensor<1x512xbf16>, !qlinear.weight<64x512, #q4>) -> tensor<1x64xbf16>
  return %y : tensor<1x64xbf16>
}

// CHECK-LABEL: func.func @read_twice
// CHECK: %[[N:.*]] = qlinear.launch {{.*}}@norm{{[0-9]+}}_many
// CHECK: qlinear.launch {{.*}} ins(%[[N]])
func.func @read_twice(%x: tensor<1x512xbf16>, %w: !qlinear.weight<64x512, #q4>)
    -> (tensor<1x512xbf16>, tensor<1x64xbf16>) {
  %n = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<1x512xbf16>) -> tensor<1x512xbf16>
  %y = qlinear.linear %n, %w
      : (tensor<1x512xbf16>, !qlinear.weight<64x512, #q4>) -> tensor<1x64xbf16>
  return %n, %y : tensor<1x512xbf16>, tensor<1x64xbf16>
}
