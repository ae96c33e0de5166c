// What every version of the bytecode format has written is read today: the file
// Inputs/version-N.mlirbc was written once, by version N, from the IR below, and
// is never written again.
// RUN: quant-opt %s --mlir-print-local-scope -o %t.today
// RUN: quant-opt %S/Inputs/version-8.mlirbc --mlir-print-local-scope -o %t.8
// RUN: diff %t.today %t.8
//
// Before version 8 codes were integers, or by tables that no format has.
// RUN: quant-opt %S/Inputs/version-7.mlirbc --mlir-print-local-scope -o %t.7
// RUN: grep -v @codes_of_8 %t.today > %t.before8
// RUN: diff %t.before8 %t.7
//
// Before version 7 norms were launched by themselves.
// RUN: quant-opt %S/Inputs/version-6.mlirbc --mlir-print-local-scope -o %t.6
// RUN: grep -v @norms_of_7 %t.before8 > %t.before7
// RUN: diff %t.before7 %t.6
//
// Before version 6 CPUs had no kernels for many rows.
// RUN: quant-opt %S/Inputs/version-5.mlirbc --mlir-print-local-scope -o %t.5
// RUN: grep -v @kernels_of_6 %t.before7 > %t.before6
// RUN: diff %t.before6 %t.5
//
// Before version 5 GPUs had none either.
// RUN: quant-opt %S/Inputs/version-4.mlirbc --mlir-print-local-scope -o %t.4
// RUN: grep -v @kernels_of_5 %t.before6 > %t.before5
// RUN: diff %t.before5 %t.4
//
// Before version 4 codes were integers.
// RUN: quant-opt %S/Inputs/version-3.mlirbc --mlir-print-local-scope -o %t.3
// RUN: grep -v @codes_of_4 %t.before5 > %t.before4
// RUN: diff %t.before4 %t.3
//
// Before version 3 activations had one format.
// RUN: quant-opt %S/Inputs/version-2.mlirbc --mlir-print-local-scope -o %t.2
// RUN: sed '/@formats_of_3/,/^  }/d' %t.before4 > %t.before3
// RUN: diff %t.before3 %t.2
//
// A schedule of version 1 was a set of fields for all rows: what was not the default then
// is what each kernel has to have.
// RUN: quant-opt %S/Inputs/version-1.mlirbc --mlir-print-local-scope -o %t.1
// RUN: grep -v @kernels_of_2 %t.before3 | diff - %t.1

// And it is written the same again, as long as the version is the same.
// RUN: quant-opt %s --emit-bytecode -o %t.mlirbc
// RUN: quant-opt %t.mlirbc --mlir-print-local-scope -o %t.again
// RUN: diff %t.today %t.again

#zero = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
#min = #qlinear.encoding<u5, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>>
#symmetric = #qlinear.encoding<i6, group = 16, symmetric, scale = i8 * block<256, f16>>
#centred = #qlinear.encoding<u4, group = 128, centred, scale = log8 * row<f32>, offset = i8 * row<f32>>
#delta = #qlinear.encoding<u4, group = 32, zero, scale = delta10 * row<bf16>, offset = u4>
#row = #qlinear.encoding<i8, group = row, symmetric, scale = f32>

qlinear.parameter @zero : !qlinear.weight<64x256, #zero> from "blk.0.ffn_gate"
qlinear.parameter "private" @min : !qlinear.weight<64x256, #min>

func.func private @types(!qlinear.weight<8191x10944, #symmetric>, !qlinear.weight<7x384, #centred>,
                         !qlinear.weight<1x192, #delta>, !qlinear.weight<3x7, #row>,
                         !qlinear.activations<?x48>, !qlinear.activations<4x256>)

func.func private @schedules() attributes {
  a = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, copy = load, warps = 12>, #qlinear.gemv<rows = 2, copy = load, warps = 12>, #qlinear.gemv<rows = 4, copy = load, warps = 12>, #qlinear.gemv<rows = 8, copy = load, warps = 12>], quantize = inside, pdl = false>,
  b = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, copy = bulk, grid = 132, warps = 8, stages = 4>, #qlinear.gemv<rows = 2, copy = bulk, grid = 132, warps = 8, stages = 4, split_k = 2>, #qlinear.gemv<rows = 4, copy = bulk, grid = 132, warps = 8, stages = 4, split_k = 2>], quantize = separate, pdl = true>,
  c = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1, tiles = 4>, #qlinear.cpu_gemv<rows = 2, tiles = 4>, #qlinear.cpu_gemv<rows = 4, tiles = 4>, #qlinear.cpu_gemv<rows = 8, tiles = 4>]>}

func.func private @kernels_of_2() attributes {
  a = #qlinear.schedule<>,
  b = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 3>], pdl = true>,
  c = #qlinear.gemv<rows = 8, dot = mma, copy = bulk, grid = 132, warps = 12, stages = 3, early = 2, ahead = false, x_copy = load, resident = 0, phases = 1, split_k = 2>,
  d = #qlinear.gemv<rows = 1, dot = dp4a, ahead = true, x_copy = bulk, phases = 7>}

func.func private @codes_of_4(!qlinear.weight<16x256, #qlinear.encoding<example4, group = 32, symmetric, scale = f16>>)
func.func private @kernels_of_5() attributes {
  a = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 8>,
                                   #qlinear.gemm<rows = 64, tokens = 64, dot = wgmma, copy = bulk, grid = 132, warps = 12, tiles = 2, stages = 2, split_k = 1>,
                                   #qlinear.gemm<rows = any>]>,
  b = #qlinear.variant<rows = 16, kernel = @k::@k_m16, grid = 132, block = 416, smem = 200000,
                       before = <rows = 16, kernel = @k::@k_prepare, grid = 264, block = 256, smem = 32>, f16 = true>}

func.func private @kernels_of_6() attributes {
  a = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1>, #qlinear.cpu_gemm<rows = 64, tokens = 64, tiles = 8>,
                                   #qlinear.cpu_gemm<rows = any>]>}

func.func private @norms_of_7() attributes {a = #qlinear.schedule<quantize = norm>, b = #qlinear.variant<rows = 8, kernel = @k::@k_m8, grid = 132, block = 384, before = <rows = 8, kernel = @k::@k_quantize, grid = 8, block = 64>>}

func.func private @codes_of_8(!qlinear.weight<16x256, #qlinear.encoding<iq4nl, group = 32, symmetric, scale = i6 * block<256, f16>>>, !qlinear.weight<16x256, #qlinear.encoding<e2m1, group = 32, symmetric, scale = e8m0>>, !qlinear.weight<16x256, #qlinear.encoding<e2m1, group = 16, symmetric, scale = e4m3>>, !qlinear.weight<16x256, #qlinear.encoding<e2m1, group = 16, symmetric, scale = e4m3 * row<f32>>>, !qlinear.weight<16x256, #qlinear.encoding<nf4, group = 64, symmetric, scale = f32>>)

func.func @formats_of_3(%x: tensor<?x256xbf16>, %w: !qlinear.weight<64x256, #zero>)
    -> (tensor<?x64xbf16>, tensor<?x64xbf16>) attributes {a = #qlinear.activation_format<int8, block = 32>} {
  %0 = qlinear.linear %x, %w {activations = #qlinear.activation_format<float>, schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, dot = fma>]>}
    : (tensor<?x256xbf16>, !qlinear.weight<64x256, #zero>) -> tensor<?x64xbf16>
  %1 = qlinear.linear %x, %w {activations = #qlinear.activation_format<int8, block = 32>}
    : (tensor<?x256xbf16>, !qlinear.weight<64x256, #zero>) -> tensor<?x64xbf16>
  return %0, %1 : tensor<?x64xbf16>, tensor<?x64xbf16>
}

func.func @ops(%codes: tensor<64x256xi4>, %c: tensor<64x8xi8>, %s: tensor<64xbf16>, %x: tensor<?x256xbf16>,
               %bias: tensor<64xf32>, %res: tensor<?x64xf16>) -> (tensor<?x64xbf16>, tensor<?x64xf32>, tensor<64x256xf64>) {
  %0 = qlinear.pack %codes, %c offsets(%c) steps(%s, %s)
    : (tensor<64x256xi4>, tensor<64x8xi8>, tensor<64x8xi8>, tensor<64xbf16>, tensor<64xbf16>) -> !qlinear.weight<64x256, #zero>
  %1 = qlinear.load @zero : !qlinear.weight<64x256, #zero>
  %2 = qlinear.load @min : !qlinear.weight<64x256, #min>
  %3 = qlinear.reencode %1 : !qlinear.weight<64x256, #zero> to !qlinear.weight<64x256, #delta>
  %4 = qlinear.dequantize %3 : !qlinear.weight<64x256, #delta> -> tensor<64x256xf64>
  %5 = qlinear.quantize_activations %x : tensor<?x256xbf16> -> !qlinear.activations<?x256>
  %6 = qlinear.linear %5, %0, %2 extras(%bias, %res) {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, copy = load, grid = 3, warps = 12>, #qlinear.gemv<rows = 2, copy = load, grid = 3, warps = 12>, #qlinear.gemv<rows = 4, copy = load, grid = 3, warps = 12>, #qlinear.gemv<rows = 8, copy = load, grid = 3, warps = 12>], quantize = inside, pdl = false>}
    : (!qlinear.activations<?x256>, !qlinear.weight<64x256, #zero>, !qlinear.weight<64x256, #min>, tensor<64xf32>, tensor<?x64xf16>)
      -> tensor<?x64xf32> {
  ^bb0(%p: f32, %q: f32, %b: f32, %r: f16):
    %8 = arith.mulf %p, %q : f32
    %9 = arith.extf %r : f16 to f32
    %10 = arith.addf %8, %9 : f32
    %11 = arith.addf %10, %b : f32
    qlinear.yield %11 : f32
  }
  %7 = qlinear.launch [#qlinear.variant<rows = 1, kernel = @kernels::@k_m1, grid = 132, block = 384, smem = 82944>,
                       #qlinear.variant<rows = 4, kernel = @k_m4, items = 7>]
    weights(%1) ins(%5, %bias) temps [#qlinear.temp<bytes_per_row = 6720>, #qlinear.temp<bytes = 512, zero = true>] pdl
    : (!qlinear.weight<64x256, #zero>, !qlinear.activations<?x256>, tensor<64xf32>) -> tensor<?x64xbf16>
  return %7, %6, %4 : tensor<?x64xbf16>, tensor<?x64xf32>, tensor<64x256xf64>
}

gpu.module @kernels {
  gpu.func @k_m1() kernel { gpu.return }
}
func.func private @k_m4()
