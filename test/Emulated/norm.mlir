// Norms on the emulated device, its accesses checked, and on CPUs, against float64: of one
// input and of the sum of two, K that is no multiple of a load, a vector or a block's
// threads, rows that stay in registers and such that are loaded again, more rows than
// blocks; scales, shifts, a residual after the norm and the sum itself by the epilogue, and one
// element for all, which linears have, too.

// REQUIRES: asan-runtime
// RUN: quant-compile %s --target=cuda:emulated --sanitize=address -o %t.so
// RUN: %with_asan quant-run %t.so --device emulated --rows 1,3,8,70 --verify > %t.log
// RUN: %with_asan quant-run %t.so --device emulated:5 --rows 5,400 --verify >> %t.log
// RUN: quant-compile %s --target=cpu -o %t.cpu.so
// RUN: quant-run %t.cpu.so --device cpu --rows 1,3,8,70 --verify >> %t.log
// RUN: quant-run %t.cpu.so --device cpu:2 --rows 5,400 --verify >> %t.log
// RUN: grep -c ": ok" %t.log | FileCheck %s
// CHECK: {{^}}132{{$}}

// On buffers it is the same operation, and its reference the same.
// RUN: quant-opt %s --one-shot-bufferize="bufferize-function-boundaries" \
// RUN:   | FileCheck %s --check-prefix=BUFFERS
// BUFFERS: qlinear.norm rms %{{.*}} epsilon = 9.99{{.*}} outs(%{{.*}} : (memref<?x100xbf16
// RUN: quant-opt %s --one-shot-bufferize="bufferize-function-boundaries" \
// RUN:   --qlinear-to-reference | FileCheck %s --check-prefix=REFERENCE
// REFERENCE: math.sqrt %{{.*}} : f64

func.func @rms_bf16(%x: tensor<?x100xbf16>) -> tensor<?x100xbf16> {
  %y = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<?x100xbf16>) -> tensor<?x100xbf16>
  return %y : tensor<?x100xbf16>
}

func.func @rms_f16(%x: tensor<?x33xf16>) -> tensor<?x33xf32> {
  %y = qlinear.norm rms %x epsilon = 1.0e+03 : (tensor<?x33xf16>) -> tensor<?x33xf32>
  return %y : tensor<?x33xf32>
}

// As a decoder has it: the residual stream, and its norm times a scale.
func.func @residual(%x: tensor<?x5376xbf16>, %r: tensor<?x5376xbf16>, %g: tensor<5376xbf16>)
    -> (tensor<?x5376xbf16>, tensor<?x5376xbf16>) {
  %s, %y = qlinear.norm rms %x, %r extras(%g) epsilon = 1.0e-06
      : (tensor<?x5376xbf16>, tensor<?x5376xbf16>, tensor<5376xbf16>)
        -> (tensor<?x5376xbf16>, tensor<?x5376xbf16>) {
  ^bb0(%n: f32, %sum: f32, %scale: bf16):
    %0 = arith.truncf %sum : f32 to bf16
    %1 = arith.truncf %n : f32 to bf16
    %2 = arith.mulf %1, %scale : bf16
    qlinear.yield %0, %2 : bf16, bf16
  }
  return %s, %y : tensor<?x5376xbf16>, tensor<?x5376xbf16>
}

// One plus the scale, in f32, and a residual that is added after it.
func.func @sandwich(%x: tensor<?x264xf16>, %r: tensor<?x264xf32>, %g: tensor<264xf32>)
    -> tensor<?x264xf16> {
  %y = qlinear.norm rms %x extras(%r, %g) epsilon = 1.0e-06
      : (tensor<?x264xf16>, tensor<?x264xf32>, tensor<264xf32>) -> tensor<?x264xf16> {
  ^bb0(%n: f32, %x0: f32, %add: f32, %scale: f32):
    %one = arith.constant 1.0 : f32
    %0 = arith.addf %scale, %one : f32
    %1 = arith.mulf %n, %0 : f32
    %2 = arith.addf %1, %add : f32
    %3 = arith.truncf %2 : f32 to f16
    qlinear.yield %3 : f16
  }
  return %y : tensor<?x264xf16>
}

func.func @layer(%x: tensor<?x9001xf32>, %r: tensor<?x9001xf32>, %g: tensor<9001xbf16>,
                 %b: tensor<9001xf16>) -> tensor<?x9001xf32> {
  %y = qlinear.norm layer %x, %r extras(%g, %b) epsilon = 1.0e-12
      : (tensor<?x9001xf32>, tensor<?x9001xf32>, tensor<9001xbf16>, tensor<9001xf16>)
        -> tensor<?x9001xf32> {
  ^bb0(%n: f32, %sum: f32, %scale: bf16, %shift: f16):
    %0 = arith.extf %scale : bf16 to f32
    %1 = arith.extf %shift : f16 to f32
    %2 = arith.mulf %n, %0 : f32
    %3 = arith.addf %2, %1 : f32
    qlinear.yield %3 : f32
  }
  return %y : tensor<?x9001xf32>
}

// Longer than registers hold.
func.func @long_row(%x: tensor<?x33280xbf16>) -> tensor<?x33280xbf16> {
  %y = qlinear.norm layer %x epsilon = 1.0e-05 : (tensor<?x33280xbf16>) -> tensor<?x33280xbf16>
  return %y : tensor<?x33280xbf16>
}

#q4 = #qlinear.encoding<i4, group = 32, symmetric, scale = f32>
func.func @linear(%x: tensor<?x32xf32>) -> tensor<?x3xf32> {
  %codes = arith.constant dense<[
      [-1, -4, 3, 7, -6, -8, 7, 0, -1, -2, 7, 7, 4, -4, -1, -4, 4, -8, -6, -3, -7, 1, -8, 0, 7, 4, 5, 4, 6, -4, 3, -5],
      [-7, -4, 7, -2, 0, 5, 1, 5, 4, 3, 5, -1, 2, -8, 0, -3, 2, -5, -2, 0, 1, -5, -6, 7, 7, -6, 3, -6, 5, -4, -8, 1],
      [5, 5, -5, -7, -7, 4, 2, 0, -1, -7, 1, -8, -6, -5, -7, -2, 5, 1, 0, -4, -7, 2, 2, 3, -4, 4, 4, 6, 4, -5, 0, 5]]> : tensor<3x32xi4>
  %scales = arith.constant dense<0.5> : tensor<3x1xf32>
  %w = qlinear.pack %codes, %scales : (tensor<3x32xi4>, tensor<3x1xf32>) -> !qlinear.weight<3x32, #q4>
  %n = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<?x32xf32>) -> tensor<?x32xf32>
  %y = qlinear.linear %n, %w {activations = #qlinear.activation_format<float>}
      : (tensor<?x32xf32>, !qlinear.weight<3x32, #q4>) -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// As the last norm of a layer of Gemma 4 has it.
func.func @times_all(%x: tensor<?x72xbf16>, %r: tensor<?x72xbf16>, %g: tensor<72xbf16>, %c: tensor<1xbf16>)
    -> tensor<?x72xbf16> {
  %y = qlinear.norm rms %x extras(%g, %r, %c) epsilon = 1.0e-06
      : (tensor<?x72xbf16>, tensor<72xbf16>, tensor<?x72xbf16>, tensor<1xbf16>) -> tensor<?x72xbf16> {
  ^bb0(%n: f32, %s: f32, %scale: bf16, %add: bf16, %factor: bf16):
    %0 = arith.extf %scale : bf16 to f32
    %1 = arith.mulf %n, %0 : f32
    %2 = arith.extf %add : bf16 to f32
    %3 = arith.addf %1, %2 : f32
    %4 = arith.extf %factor : bf16 to f32
    %5 = arith.mulf %3, %4 : f32
    %6 = arith.truncf %5 : f32 to bf16
    qlinear.yield %6 : bf16
  }
  return %y : tensor<?x72xbf16>
}

func.func @times_odd(%x: tensor<?x33xf32>, %c: tensor<1xf32>, %d: tensor<1xf16>) -> tensor<?x33xf32> {
  %y = qlinear.norm layer %x extras(%c, %d) epsilon = 1.0e-06
      : (tensor<?x33xf32>, tensor<1xf32>, tensor<1xf16>) -> tensor<?x33xf32> {
  ^bb0(%n: f32, %s: f32, %factor: f32, %shift: f16):
    %0 = arith.mulf %n, %factor : f32
    %1 = arith.extf %shift : f16 to f32
    %2 = arith.addf %0, %1 : f32
    qlinear.yield %2 : f32
  }
  return %y : tensor<?x33xf32>
}

#q4s = #qlinear.encoding<i4, group = 32, symmetric, scale = f32>
func.func @linear_times(%x: tensor<?x32xf32>, %c: tensor<1xf16>, %r: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %codes = arith.constant dense<[
      [-1, -4, 3, 7, -6, -8, 7, 0, -1, -2, 7, 7, 4, -4, -1, -4, 4, -8, -6, -3, -7, 1, -8, 0, 7, 4, 5, 4, 6, -4, 3, -5],
      [-7, -4, 7, -2, 0, 5, 1, 5, 4, 3, 5, -1, 2, -8, 0, -3, 2, -5, -2, 0, 1, -5, -6, 7, 7, -6, 3, -6, 5, -4, -8, 1],
      [1, 2, -5, -7, 0, 4, 2, 3, -1, 7, 1, -8, -6, 5, -7, -2, 5, 1, 3, -4, -7, 2, 2, 3, -4, -4, 4, 6, 4, -5, 1, 5]]> : tensor<3x32xi4>
  %scales = arith.constant dense<0.5> : tensor<3x1xf32>
  %w = qlinear.pack %codes, %scales : (tensor<3x32xi4>, tensor<3x1xf32>) -> !qlinear.weight<3x32, #q4s>
  %y = qlinear.linear %x, %w extras(%c, %r) {activations = #qlinear.activation_format<float>}
      : (tensor<?x32xf32>, !qlinear.weight<3x32, #q4s>, tensor<1xf16>, tensor<?x3xf32>) -> tensor<?x3xf32> {
  ^bb0(%v: f32, %factor: f16, %add: f32):
    %0 = arith.extf %factor : f16 to f32
    %1 = arith.mulf %v, %0 : f32
    %2 = arith.addf %1, %add : f32
    qlinear.yield %2 : f32
  }
  return %y : tensor<?x3xf32>
}
