// Every type, attribute and operation: parsed, printed, parsed again, and the
// same through the generic form and through bytecode.
// RUN: quant-opt %s | quant-opt | FileCheck %s
// RUN: quant-opt %s --mlir-print-op-generic | quant-opt | FileCheck %s
// RUN: quant-opt %s --emit-bytecode | quant-opt | FileCheck %s

// Encodings get a name that says their codes, group and form.
// CHECK-DAG: #[[ONE:kernel[0-9]*]] = #qlinear.gemv<rows = 1>{{$}}
// CHECK-DAG: #[[EIGHT:kernel[0-9]*]] = #qlinear.gemv<rows = 8, dot = mma, copy = bulk, grid = 132, warps = 12, stages = 3, early = 2, ahead = false, x_copy = load, resident = 1, phases = 1, split_k = 2>
// CHECK-DAG: #[[CPU1:kernel[0-9]*]] = #qlinear.cpu_gemv<rows = 1>
// CHECK-DAG: #[[CPU4:kernel[0-9]*]] = #qlinear.cpu_gemv<rows = 4, tiles = 2>
// CHECK-DAG: #[[MANY:kernel[0-9]*]] = #qlinear.cpu_gemm<rows = any, tokens = 64>
// CHECK-DAG: #schedule = #qlinear.schedule<>
// CHECK-DAG: #schedule1 = #qlinear.schedule<pdl = true>
// CHECK-DAG: #schedule2 = #qlinear.schedule<kernels = [#[[ONE]], #[[EIGHT]]], quantize = separate, pdl = true>
// CHECK-DAG: #schedule3 = #qlinear.schedule<kernels = [#[[CPU1]], #[[CPU4]], #[[MANY]]]>
// CHECK-DAG: #u4_g32_zero = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
// CHECK-DAG: #u4_g32_zero1 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
// CHECK-DAG: #u4_g32_min = #qlinear.encoding<u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>>
// CHECK-DAG: #i6_g16_symmetric = #qlinear.encoding<i6, group = 16, symmetric, scale = i8 * block<256, f16>>
// CHECK-DAG: #u4_g128_centred = #qlinear.encoding<u4, group = 128, centred, scale = log8 * row<f32>, offset = i8 * row<f32>>
// CHECK-DAG: #u4_g128_zero = #qlinear.encoding<u4, group = 128, zero, scale = delta10 * row<bf16>, offset = u4>
// CHECK-DAG: #i8_row_symmetric = #qlinear.encoding<i8, group = row, symmetric, scale = f32>
// CHECK-DAG: #example4_g32_symmetric = #qlinear.encoding<example4, group = 32, symmetric, scale = bf16>
// CHECK-DAG: #u5_g64_min = #qlinear.encoding<u5, group = 64, min, scale = f16, offset = f16>
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
#q4_row = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
#q4_k = #qlinear.encoding<u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>>
#q6_k = #qlinear.encoding<i6, group = 16, symmetric, scale = i8 * block<256, f16>>
#log = #qlinear.encoding<u4, group = 128, centred, scale = log8 * row<f32>, offset = i8 * row<f32>>
#delta = #qlinear.encoding<u4, group = 128, zero, scale = delta10 * row<bf16>, offset = u4>
#i8 = #qlinear.encoding<i8, group = row, symmetric, scale = f32>
#table = #qlinear.encoding<example4, group = 32, symmetric, scale = bf16>
#q5 = #qlinear.encoding<u5, group = 64, min, scale = f16, offset = f16>

// CHECK: qlinear.parameter @gate : !qlinear.weight<64x256, #u4_g32_zero> from "blk.0.ffn_gate"
qlinear.parameter @gate : !qlinear.weight<64x256, #q4> from "blk.0.ffn_gate"
// CHECK: qlinear.parameter @up : !qlinear.weight<64x256, #u4_g32_zero>
qlinear.parameter @up : !qlinear.weight<64x256, #q4>
// CHECK: qlinear.parameter "private" @q : !qlinear.weight<16x256, #u4_g32_min>
qlinear.parameter "private" @q : !qlinear.weight<16x256, #q4_k>

// CHECK: shard.grid @gpus(shape = 2x4)
shard.grid @gpus(shape = 2x4)

// CHECK-LABEL: func.func @parts
func.func @parts(%w: !qlinear.weight<64x2048, #q4>) {
  // CHECK: qlinear.part rows of %{{.*}} on @gpus grid_axes = [1] : !qlinear.weight<64x2048, #u4_g32_zero> -> !qlinear.weight<16x2048, #u4_g32_zero>
  %0 = qlinear.part rows of %w on @gpus grid_axes = [1] : !qlinear.weight<64x2048, #q4> -> !qlinear.weight<16x2048, #q4>
  // CHECK: qlinear.part columns of %{{.*}} on @gpus grid_axes = [0, 1] : !qlinear.weight<64x2048, #u4_g32_zero> -> !qlinear.weight<64x256, #u4_g32_zero>
  %1 = qlinear.part columns of %w on @gpus grid_axes = [0, 1] : !qlinear.weight<64x2048, #q4> -> !qlinear.weight<64x256, #q4>
  return
}

// CHECK-LABEL: func.func private @types(
// CHECK-SAME: !qlinear.weight<7x384, #u4_g128_centred>
// CHECK-SAME: !qlinear.weight<7x384, #u4_g128_zero>
// CHECK-SAME: !qlinear.weight<1x7392, #i6_g16_symmetric>
// CHECK-SAME: !qlinear.weight<8191x10944, #u5_g64_min>
// CHECK-SAME: !qlinear.weight<3x7, #i8_row_symmetric>
// CHECK-SAME: !qlinear.activations<?x48>
// CHECK-SAME: !qlinear.activations<4x256>
// CHECK-SAME: !qlinear.activations<4x32>
func.func private @types(!qlinear.weight<7x384, #log>, !qlinear.weight<7x384, #delta>,
                         !qlinear.weight<1x7392, #q6_k>, !qlinear.weight<8191x10944, #q5>,
                         !qlinear.weight<3x7, #i8>,
                         !qlinear.activations<?x48>, !qlinear.activations<4x256>,
                         !qlinear.activations<4x32, int8, block = 32>)

// Schedules and kernels have names; fields print in one order, those that are given.
// CHECK-LABEL: func.func private @schedules
// CHECK-SAME: a = #schedule, b = #schedule2, c = #schedule3
func.func private @schedules() attributes {
  a = #qlinear.schedule<>,
  b = #qlinear.schedule<pdl = true, quantize = separate, kernels = [
    #qlinear.gemv<rows = 1>,
    #qlinear.gemv<split_k = 2, phases = 1, resident = 1, x_copy = load, ahead = false, early = 2, stages = 3, warps = 12, grid = 132, copy = bulk, dot = mma, rows = 8>]>,
  c = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1>, #qlinear.cpu_gemv<tiles = 2, rows = 4>, #qlinear.cpu_gemm<tokens = 64, rows = any>]>}

// CHECK-LABEL: func.func @pack
func.func @pack(%codes: tensor<64x256xi4>, %bytes: tensor<64x256xi8>, %s: tensor<64x8xbf16>,
                %c: tensor<64x8xi8>, %c6: tensor<64x8xi6>, %step: tensor<64xbf16>,
                %block: tensor<64x1xf16>, %six: tensor<64x256xi6>, %s16: tensor<64x16xi8>,
                %l: tensor<64x2xi8>, %base: tensor<64x2xf32>, %lz: tensor<64xf32>,
                %d: tensor<64x2xi16>, %z4: tensor<64x2xi4>, %one: tensor<64x1xf32>) {
  // CHECK: qlinear.pack %{{.*}}, %{{.*}} offsets(%{{.*}}) : (tensor<64x256xi4>, tensor<64x8xbf16>, tensor<64x8xbf16>) -> !qlinear.weight<64x256, #u4_g32_zero>
  %0 = qlinear.pack %codes, %s offsets(%s) : (tensor<64x256xi4>, tensor<64x8xbf16>, tensor<64x8xbf16>) -> !qlinear.weight<64x256, #q4>
  // CHECK: qlinear.pack %{{.*}}, %{{.*}} offsets(%{{.*}}) steps(%{{.*}}, %{{.*}}) :
  %1 = qlinear.pack %bytes, %c offsets(%c) steps(%step, %step) : (tensor<64x256xi8>, tensor<64x8xi8>, tensor<64x8xi8>, tensor<64xbf16>, tensor<64xbf16>) -> !qlinear.weight<64x256, #q4_row>
  %2 = qlinear.pack %codes, %c6 offsets(%c) steps(%block, %block) : (tensor<64x256xi4>, tensor<64x8xi6>, tensor<64x8xi8>, tensor<64x1xf16>, tensor<64x1xf16>) -> !qlinear.weight<64x256, #q4_k>
  // CHECK: qlinear.pack %{{.*}}, %{{.*}} steps(%{{.*}}) : (tensor<64x256xi6>, tensor<64x16xi8>, tensor<64x1xf16>) -> !qlinear.weight<64x256, #i6_g16_symmetric>
  %3 = qlinear.pack %six, %s16 steps(%block) : (tensor<64x256xi6>, tensor<64x16xi8>, tensor<64x1xf16>) -> !qlinear.weight<64x256, #q6_k>
  %4 = qlinear.pack %codes, %l offsets(%l) steps(%base, %lz) : (tensor<64x256xi4>, tensor<64x2xi8>, tensor<64x2xi8>, tensor<64x2xf32>, tensor<64xf32>) -> !qlinear.weight<64x256, #log>
  // CHECK: qlinear.pack %{{.*}}, %{{.*}} : (tensor<64x256xi4>, tensor<64x8xbf16>) -> !qlinear.weight<64x256, #example4_g32_symmetric>
  %table = qlinear.pack %codes, %s : (tensor<64x256xi4>, tensor<64x8xbf16>) -> !qlinear.weight<64x256, #table>
  // CHECK: qlinear.pack {{.*}} steps(%{{.*}}) : {{.*}} -> !qlinear.weight<64x256, #u4_g128_zero>
  %5 = qlinear.pack %codes, %d offsets(%z4) steps(%step) : (tensor<64x256xi4>, tensor<64x2xi16>, tensor<64x2xi4>, tensor<64xbf16>) -> !qlinear.weight<64x256, #delta>
  %6 = qlinear.pack %bytes, %one : (tensor<64x256xi8>, tensor<64x1xf32>) -> !qlinear.weight<64x256, #i8>
  return
}

// CHECK-LABEL: func.func @values
func.func @values(%x: tensor<?x256xbf16>, %a: !qlinear.activations<?x256>, %h: tensor<256xf16>, %c: tensor<?x128xbf16>,
                  %at: tensor<?x2xi32>) -> (tensor<64x256xf64>, tensor<?x256xf32>) {
  // CHECK: %[[W:.*]] = qlinear.load @gate : !qlinear.weight<64x256, #u4_g32_zero>
  %w = qlinear.load @gate : !qlinear.weight<64x256, #q4>
  // CHECK: %[[V:.*]] = qlinear.reencode %[[W]] : !qlinear.weight<64x256, #u4_g32_zero> to !qlinear.weight<64x256, #u4_g32_zero1>
  %v = qlinear.reencode %w : !qlinear.weight<64x256, #q4> to !qlinear.weight<64x256, #q4_row>
  // CHECK: qlinear.dequantize %[[V]] : !qlinear.weight<64x256, #u4_g32_zero1> -> tensor<64x256xf64>
  %d = qlinear.dequantize %v : !qlinear.weight<64x256, #q4_row> -> tensor<64x256xf64>
  // CHECK: qlinear.quantize_activations %{{.*}} : tensor<?x256xbf16> -> !qlinear.activations<?x256>
  %q = qlinear.quantize_activations %x : tensor<?x256xbf16> -> !qlinear.activations<?x256>
  // CHECK: qlinear.dequantize %{{.*}} : !qlinear.activations<?x256> -> tensor<?x256xf32>
  %e = qlinear.dequantize %q : !qlinear.activations<?x256> -> tensor<?x256xf32>
  // CHECK: qlinear.norm rms %{{.*}} epsilon = 9.99{{.*}} : (tensor<?x256xbf16>) -> tensor<?x256xf32>
  %n = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<?x256xbf16>) -> tensor<?x256xf32>
  // CHECK: qlinear.rotary %{{.*}} by %{{.*}}, %{{.*}} head = 256 : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xf32>, tensor<?x256xf32>) -> (tensor<?x256xbf16>, tensor<?x256xbf16>)
  %r:2 = qlinear.rotary %x, %x by %e, %e head = 256 : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x256xf32>, tensor<?x256xf32>) -> (tensor<?x256xbf16>, tensor<?x256xbf16>)
  // CHECK: qlinear.rotary %{{.*}}, %{{.*}} norms(%{{.*}}, %{{.*}}) epsilon = 1.0{{.*}} by %{{.*}}, %{{.*}} head = 256 unrotated = 1 : (
  %only:2 = qlinear.rotary %x, %x norms(%h, %h) epsilon = 1.0 by %e, %e head = 256 unrotated = 1 : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<256xf16>, tensor<256xf16>, tensor<?x256xf32>, tensor<?x256xf32>) -> (tensor<?x256xbf16>, tensor<?x256xbf16>)
  // CHECK: qlinear.rotary %{{.*}}, %{{.*}} norms(%{{.*}}, %{{.*}}) zero_centered epsilon = 9.99{{.*}} by %{{.*}}, %{{.*}} head = 256 : ({{.*}}, tensor<256xf16>, tensor<256xf16>, tensor<?x256xf32>, tensor<?x256xf32>) ->
  %t:2 = qlinear.rotary %x, %x norms(%h, %h) zero_centered epsilon = 1.0e-06 by %e, %e head = 256 : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<256xf16>, tensor<256xf16>, tensor<?x256xf32>, tensor<?x256xf32>) -> (tensor<?x256xbf16>, tensor<?x256xbf16>)
  // CHECK: qlinear.rotary %{{.*}}, %{{.*}} by %{{.*}}, %{{.*}} head = 128 unrotated = 1 into(%{{.*}} at %{{.*}}) : (
  %half = tensor.empty() : tensor<2x128xf32>
  %table = tensor.cast %half : tensor<2x128xf32> to tensor<?x128xf32>
  %u:2 = qlinear.rotary %x, %x by %table, %table head = 128 unrotated = 1 into(%c at %at)
      : (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?x128xbf16>, tensor<?x2xi32>)
        -> (tensor<?x256xbf16>, tensor<?x128xbf16>)
  // CHECK: qlinear.embedding %{{.*}} of %[[W]] : (tensor<?x1xi32>, !qlinear.weight<64x256, #u4_g32_zero>) -> tensor<?x256xbf16>
  %i = tensor.extract_slice %at[0, 0] [4, 1] [1, 1] : tensor<?x2xi32> to tensor<4x1xi32>
  %some = tensor.cast %i : tensor<4x1xi32> to tensor<?x1xi32>
  %rows = qlinear.embedding %some of %w : (tensor<?x1xi32>, !qlinear.weight<64x256, #q4>) -> tensor<?x256xbf16>
  return %d, %e : tensor<64x256xf64>, tensor<?x256xf32>
}

// CHECK-LABEL: func.func @linear
func.func @linear(%x: tensor<?x256xbf16>, %a: !qlinear.activations<4x256>, %bias: tensor<64xf32>,
                  %res: tensor<?x64xbf16>) {
  %wg = qlinear.load @gate : !qlinear.weight<64x256, #q4>
  %wu = qlinear.load @up : !qlinear.weight<64x256, #q4>
  %wq = qlinear.load @q : !qlinear.weight<16x256, #q4_k>
  // CHECK: qlinear.linear %{{.*}}, %{{.*}} : (tensor<?x256xbf16>, !qlinear.weight<64x256, #u4_g32_zero>) -> tensor<?x64xbf16>
  %0 = qlinear.linear %x, %wg : (tensor<?x256xbf16>, !qlinear.weight<64x256, #q4>) -> tensor<?x64xbf16>
  // Activations that stay floats; what is the default may be said.
  // CHECK: qlinear.linear %{{.*}}, %{{.*}} {activations = #qlinear.activation_format<float>} :
  %f = qlinear.linear %x, %wg {activations = #qlinear.activation_format<float>} : (tensor<?x256xbf16>, !qlinear.weight<64x256, #q4>) -> tensor<?x64xbf16>
  // CHECK: qlinear.linear %{{.*}}, %{{.*}} {activations = #qlinear.activation_format<int8, block = 32>} : (!qlinear.activations<4x256>,
  %i = qlinear.linear %a, %wg {activations = #qlinear.activation_format<int8, block = 32>} : (!qlinear.activations<4x256, int8, block = 32>, !qlinear.weight<64x256, #q4>) -> tensor<4x64xbf16>
  // Several weights of different N and encodings, results of different types.
  // CHECK: %{{.*}}:2 = qlinear.linear %{{.*}}, %{{.*}}, %{{.*}} {schedule = #schedule1} : (!qlinear.activations<4x256>, !qlinear.weight<64x256, #u4_g32_zero>, !qlinear.weight<16x256, #u4_g32_min>) -> (tensor<4x64xf32>, tensor<4x16xf16>)
  %1:2 = qlinear.linear %a, %wg, %wq {schedule = #qlinear.schedule<pdl = true>} : (!qlinear.activations<4x256>, !qlinear.weight<64x256, #q4>, !qlinear.weight<16x256, #q4_k>) -> (tensor<4x64xf32>, tensor<4x16xf16>)
  // CHECK: qlinear.linear %{{.*}}, %{{.*}}, %{{.*}} extras(%{{.*}}, %{{.*}}) : (tensor<?x256xbf16>, !qlinear.weight<64x256, #u4_g32_zero>, !qlinear.weight<64x256, #u4_g32_zero>, tensor<64xf32>, tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xf32>) {
  // CHECK-NEXT: ^bb0(%{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32, %{{.*}}: bf16):
  // CHECK: qlinear.yield %{{.*}}, %{{.*}} : bf16, f32
  // CHECK-NEXT: }
  %2:2 = qlinear.linear %x, %wg, %wu extras(%bias, %res)
      : (tensor<?x256xbf16>, !qlinear.weight<64x256, #q4>, !qlinear.weight<64x256, #q4>,
         tensor<64xf32>, tensor<?x64xbf16>) -> (tensor<?x64xbf16>, tensor<?x64xf32>) {
  ^bb0(%g: f32, %u: f32, %b: f32, %r: bf16):
    %c = arith.constant 2.0 : f32
    %3 = arith.mulf %g, %u : f32
    %4 = arith.addf %3, %b : f32
    %5 = arith.truncf %4 : f32 to bf16
    %6 = arith.addf %5, %r : bf16
    %7 = arith.mulf %g, %c : f32
    qlinear.yield %6, %7 : bf16, f32
  }
  return
}

// CHECK-LABEL: func.func @experts
func.func @experts(%x: tensor<?x256xbf16>, %ids: tensor<?x3xi32>, %bias: tensor<64xf32>, %scales: tensor<?x3xf32>,
                   %res: tensor<?x16xbf16>) {
  %wg = qlinear.load @gate : !qlinear.weight<64x256, #q4>
  %wu = qlinear.load @up : !qlinear.weight<64x256, #q4>
  // CHECK: %{{.*}}:2 = qlinear.grouped_linear %{{.*}} by %{{.*}}, %{{.*}}, %{{.*}} experts = 4 : (tensor<?x256xbf16>, tensor<?x3xi32>, !qlinear.weight<64x256, #u4_g32_zero>, !qlinear.weight<64x256, #u4_g32_zero>) -> (tensor<?x48xf32>, tensor<?x48xf32>)
  %0:2 = qlinear.grouped_linear %x by %ids, %wg, %wu experts = 4
      : (tensor<?x256xbf16>, tensor<?x3xi32>, !qlinear.weight<64x256, #q4>, !qlinear.weight<64x256, #q4>) -> (tensor<?x48xf32>, tensor<?x48xf32>)
  // CHECK: qlinear.grouped_linear %{{.*}} by %{{.*}}, %{{.*}} experts = 4 extras(%{{.*}}, %{{.*}}) {activations = #qlinear.activation_format<float>} : (
  // CHECK-NEXT: ^bb0(%{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32):
  %1 = qlinear.grouped_linear %x by %ids, %wg experts = 4 extras(%bias, %scales) {activations = #qlinear.activation_format<float>}
      : (tensor<?x256xbf16>, tensor<?x3xi32>, !qlinear.weight<64x256, #q4>, tensor<64xf32>, tensor<?x3xf32>) -> tensor<?x48xf32> {
  ^bb0(%g: f32, %b: f32, %s: f32):
    %2 = arith.addf %g, %b : f32
    %3 = arith.mulf %2, %s : f32
    qlinear.yield %3 : f32
  }
  // CHECK: qlinear.combine %{{.*}} by %{{.*}} : (tensor<?x48xf32>, tensor<?x3xf32>) -> tensor<?x16xf32>
  %4 = qlinear.combine %1 by %scales : (tensor<?x48xf32>, tensor<?x3xf32>) -> tensor<?x16xf32>
  // CHECK: qlinear.combine %{{.*}} by %{{.*}} extras(%{{.*}}) : (tensor<?x48xf32>, tensor<?x3xf32>, tensor<?x16xbf16>) -> tensor<?x16xbf16> {
  %5 = qlinear.combine %1 by %scales extras(%res) : (tensor<?x48xf32>, tensor<?x3xf32>, tensor<?x16xbf16>) -> tensor<?x16xbf16> {
  ^bb0(%sum: f32, %r: bf16):
    %6 = arith.truncf %sum : f32 to bf16
    %7 = arith.addf %6, %r : bf16
    qlinear.yield %7 : bf16
  }
  return
}

gpu.module @kernels {
  gpu.func @k0_m1() kernel { gpu.return }
  gpu.func @k0_m4() kernel { gpu.return }
}
func.func private @k1_m1_avx2()

// CHECK-LABEL: func.func @launch
func.func @launch(%x: tensor<?x256xbf16>, %bias: tensor<64xf32>) -> tensor<?x64xbf16> {
  %w = qlinear.load @gate : !qlinear.weight<64x256, #q4>
  // CHECK: qlinear.launch [#qlinear.variant<rows = 1, kernel = @k1_m1_avx2, items = 4>] ins(%{{.*}}) : (tensor<?x256xbf16>) -> !qlinear.activations<?x256>
  %a = qlinear.launch [#qlinear.variant<rows = 1, kernel = @k1_m1_avx2, items = 4>] ins(%x)
    : (tensor<?x256xbf16>) -> !qlinear.activations<?x256>
  // CHECK: qlinear.launch [#qlinear.variant<rows = 1, kernel = @kernels::@k0_m1, grid = 132, block = 384, smem = 82944>, #qlinear.variant<rows = 4, kernel = @kernels::@k0_m4, grid = 132, block = 384>]
  // CHECK-SAME: weights(%{{.*}}) ins(%{{.*}}, %{{.*}}) temps [#qlinear.temp<bytes_per_row = 6720>, #qlinear.temp<bytes = 512, zero = true>] pdl : (
  // CHECK-SAME: -> tensor<?x64xbf16>
  %y = qlinear.launch [#qlinear.variant<rows = 1, kernel = @kernels::@k0_m1, grid = 132, block = 384, smem = 82944>,
                       #qlinear.variant<rows = 4, kernel = @kernels::@k0_m4, grid = 132, block = 384>]
    weights(%w) ins(%a, %bias) temps [#qlinear.temp<bytes_per_row = 6720>, #qlinear.temp<bytes = 512, zero = true>] pdl
    : (!qlinear.weight<64x256, #q4>, !qlinear.activations<?x256>, tensor<64xf32>) -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}

// An encoding as a kernel gets it, under the name of the encoding.
// CHECK-LABEL: func.func @spec
func.func @spec() -> i64 {
  // CHECK: %u4_g32_zero = qlinear.spec #u4_g32_zero1
  %s = qlinear.spec #q4_row
  // CHECK: return %u4_g32_zero : i64
  return %s : i64
}
