// Our operations are not left without a word.

// RUN: not quant-opt %s --convert-to-llvm 2>&1 | FileCheck %s
// CHECK: error: 'qlinear.parameter' is left; qlinear-to-runtime makes calls of launches, and qlinear-finish runs all that comes after qlinear-cpu or qlinear-cuda

qlinear.parameter @w : !qlinear.weight<8x64, #qlinear.encoding<i8, group = 32, symmetric, scale = f16>>
