// A launch on buffers that are the function's own.

// RUN: not quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu,one-shot-bufferize{bufferize-function-boundaries},convert-to-llvm)' 2>&1 | FileCheck %s
// CHECK: error: 'qlinear.launch' is left; qlinear-to-runtime makes calls of launches, and qlinear-finish runs all that comes after qlinear-cpu or qlinear-cuda

func.func @f(%x: tensor<2x64xf32>) -> !qlinear.activations<2x64> {
  %y = qlinear.quantize_activations %x : tensor<2x64xf32> -> !qlinear.activations<2x64>
  return %y : !qlinear.activations<2x64>
}
