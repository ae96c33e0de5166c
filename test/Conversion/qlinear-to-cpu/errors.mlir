// RUN: quant-opt %s --split-input-file --verify-diagnostics --qlinear-to-cpu

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

func.func @family(%x: tensor<?x64xf32>, %w: !qlinear.weight<8x64, #q8>) -> tensor<?x8xf32> {
  // expected-error @below {{schedule: the kernel #qlinear.gemv<rows = 1, warps = 4> is for GPUs, but the target is a CPU; leave the schedule to qlinear-schedule, or change the field}}
  %0 = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, warps = 4>]>}
      : (tensor<?x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

func.func @floats(%x: tensor<?x64xf32>, %w: !qlinear.weight<8x64, #q8>) -> tensor<?x8xf32> {
  // expected-error @below {{schedule: the kernel #qlinear.cpu_gemm<rows = any> multiplies quantized activations, and those of this linear are not quantized; use #qlinear.cpu_gemv}}
  %0 = qlinear.linear %x, %w {activations = #qlinear.activation_format<float>, schedule = #qlinear.schedule<kernels = [#qlinear.cpu_gemm<rows = any>]>}
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
