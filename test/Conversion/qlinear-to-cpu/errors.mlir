// RUN: quant-opt %s --split-input-file --verify-diagnostics --qlinear-to-cpu

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

func.func @rows(%x: tensor<?x64xf32>, %w: !qlinear.weight<8x64, #q8>) -> tensor<?x8xf32> {
  // expected-error @below {{schedule has a kernel for rows = 16, but a CPU kernel takes at most 8; use rows = [1, 2, 4, 8]}}
  %0 = qlinear.linear %x, %w {schedule = #qlinear.schedule<rows = [1, 16]>}
      : (tensor<?x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

func.func @split(%x: tensor<?x64xf32>, %w: !qlinear.weight<8x64, #q8>) -> tensor<?x8xf32> {
  // expected-error @below {{schedule has split_k = 2, but CPU kernels do not split K; use split_k = 1}}
  %0 = qlinear.linear %x, %w {schedule = #qlinear.schedule<split_k = 2>}
      : (tensor<?x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

func.func @bits(%x: tensor<?x64xf32>, %w: !qlinear.weight<8x64, #q8>) -> tensor<?x8xbf16> {
  %0 = qlinear.linear %x, %w
      : (tensor<?x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<?x8xbf16> {
  ^bb0(%a: f32):
    %i = arith.constant 1 : i16
    // expected-error @below {{'arith.bitcast' cannot be computed in the epilogue of a CPU kernel, which runs on vectors of f32, f64 and integers; keep it outside of the linear, or use other operations of arith and math}}
    %b = arith.bitcast %i : i16 to bf16
    qlinear.yield %b : bf16
  }
  return %0 : tensor<?x8xbf16>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

func.func @buffers(%x: memref<4x64xf32>, %w: !qlinear.weight<8x64, #q8>, %y: memref<4x8xf32>) {
  // expected-error @below {{'qlinear.linear' is on buffers; kernels are made of operations on tensors: run qlinear-to-cpu before one-shot-bufferize}}
  qlinear.linear %x, %w outs(%y)
      : (memref<4x64xf32>, !qlinear.weight<8x64, #q8>, memref<4x8xf32>) -> ()
  return
}
