// Functions that cannot be an entry of an artifact, each with what is wrong with it.

// RUN: rm -rf %t && split-file %s %t
// RUN: not quant-compile %t/types.mlir --target=cpu:portable -o %t/types.so 2>&1 | FileCheck %t/types.mlir
// RUN: not quant-compile %t/computed.mlir --target=cpu:portable -o %t/computed.so 2>&1 | FileCheck %t/computed.mlir
// RUN: not quant-compile %t/reencoded.mlir --target=cpu:portable -o %t/reencoded.so 2>&1 | FileCheck %t/reencoded.mlir
// RUN: not quant-compile %t/type.mlir --target=cpu:portable -o %t/type.so 2>&1 | FileCheck %t/type.mlir
// RUN: not quant-compile %t/cast.mlir --target=cpu:portable -o %t/cast.so 2>&1 | FileCheck %t/cast.mlir
// RUN: not quant-compile %t/blocks.mlir --target=cpu:portable -o %t/blocks.so 2>&1 | FileCheck %t/blocks.mlir
// RUN: not quant-compile %t/twice.mlir --target=cpu:portable -o %t/twice.so 2>&1 | FileCheck %t/twice.mlir
// RUN: not quant-compile %t/cache-made.mlir --target=cpu:portable -o %t/cache-made.so 2>&1 | FileCheck %t/cache-made.mlir
// RUN: not quant-compile %t/cache-read.mlir --target=cpu:portable -o %t/cache-read.so 2>&1 | FileCheck %t/cache-read.mlir
// RUN: not quant-compile %t/cache-kept.mlir --target=cpu:portable -o %t/cache-kept.so 2>&1 | FileCheck %t/cache-kept.mlir
// RUN: not quant-compile %t/rows.mlir --target=cpu:portable -o %t/rows.so 2>&1 | FileCheck %t/rows.mlir
// RUN: not quant-compile %t/input.mlir --target=cpu:portable -o %t/input.so 2>&1 | FileCheck %t/input.mlir
// RUN: not quant-compile %t/quantized.mlir --target=cpu:portable -o %t/quantized.so 2>&1 | FileCheck %t/quantized.mlir
// RUN: not quant-compile %t/extra.mlir --target=cpu:portable -o %t/extra.so 2>&1 | FileCheck %t/extra.mlir
// RUN: not quant-compile %t/epilogue.mlir --target=cpu:portable -o %t/epilogue.so 2>&1 | FileCheck %t/epilogue.mlir
// RUN: not quant-compile %t/empty.mlir --target=cpu:portable -o %t/empty.so 2>&1 | FileCheck %t/empty.mlir
// RUN: not quant-compile %t/modules.mlir --target=cuda:sm_80 -o %t/modules.so 2>&1 | FileCheck %t/modules.mlir
// RUN: not ls %t/*.so

//--- types.mlir
// CHECK: error: parameters named "up" have two types, '!qlinear.weight<64x64, #qlinear.encoding<i8, group = 32, symmetric, scale = f16>>' and '!qlinear.weight<64x64, #qlinear.encoding<i8, group = 64, symmetric, scale = f16>>'; one archive entry has one encoding
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
#q64 = #qlinear.encoding<i8, group = 64, symmetric, scale = f16>
qlinear.parameter @a : !qlinear.weight<64x64, #q8> from "up"
qlinear.parameter @b : !qlinear.weight<64x64, #q64> from "up"
func.func @f(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %a = qlinear.load @a : !qlinear.weight<64x64, #q8>
  %b = qlinear.load @b : !qlinear.weight<64x64, #q64>
  %h = qlinear.linear %x, %a : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  %y = qlinear.linear %h, %b : (tensor<4x64xf32>, !qlinear.weight<64x64, #q64>) -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}

//--- computed.mlir
// CHECK: error: 'arith.addi' cannot be compiled in function 'f'; a compiled function consists of qlinear.linear and of elementwise operations that fuse into them
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %q0: tensor<64x64xi8>) -> tensor<4x64xf32> {
  %q = arith.addi %q0, %q0 : tensor<64x64xi8>
  %s = arith.constant dense<1.0> : tensor<64x2xf16>
  %w = qlinear.pack %q, %s : (tensor<64x64xi8>, tensor<64x2xf16>) -> !qlinear.weight<64x64, #q8>
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}

//--- reencoded.mlir
// CHECK: error: 'qlinear.reencode' cannot be compiled in function 'f'
// CHECK: note: re-encode weights before, by qlinear-compact-metadata or --encoding
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
#q32 = #qlinear.encoding<i8, group = 32, symmetric, scale = f32>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %v = qlinear.reencode %w : !qlinear.weight<64x64, #q8> to !qlinear.weight<64x64, #q32>
  %y = qlinear.linear %x, %v : (tensor<4x64xf32>, !qlinear.weight<64x64, #q32>) -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}

//--- type.mlir
// CHECK: error: function 'f': argument 0 is 'tensor<?x?x64xf32>'; only tensors of f32, f16, bf16, i8 or i32 of rank 1 or 2 whose first dimension alone may be dynamic, and !qlinear.activations, cross the boundary of a compiled function
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%c: tensor<?x?x64xf32>, %x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}

//--- cast.mlir
// CHECK: error: function 'f': argument 0 is 'tensor<?x?x64xf32>'; only tensors of
// CHECK: note: its first dimensions are not rows alone, since 'tensor.cast' reads it
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<?x?x64xf32>) -> tensor<?x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %1 = tensor.cast %x : tensor<?x?x64xf32> to tensor<?x1x64xf32>
  %c = tensor.collapse_shape %1 [[0], [1, 2]] : tensor<?x1x64xf32> into tensor<?x64xf32>
  %y = qlinear.linear %c, %w : (tensor<?x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

//--- blocks.mlir
// CHECK: error: function 'f' has control flow; a compiled function is one block
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%t: tensor<4xi32>, %x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %0 = arith.constant 0 : index
  %e = tensor.extract %t[%0] : tensor<4xi32>
  %z = arith.constant 0 : i32
  %c = arith.cmpi ne, %e, %z : i32
  llvm.cond_br %c, ^a, ^b
^a:
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
^b:
  return %x : tensor<4x64xf32>
}

//--- twice.mlir
// CHECK: error: function 'f' returns the same value twice; return it once
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %y, %y : tensor<4x64xf32>, tensor<4x64xf32>
}

//--- rows.mlir
// CHECK: error: function 'f' has launches of different numbers of rows; split it
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<4x64xf32>, %z: tensor<2x64xf32>) -> (tensor<4x64xf32>, tensor<2x64xf32>) {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  %u = qlinear.linear %z, %w : (tensor<2x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<2x64xf32>
  return %y, %u : tensor<4x64xf32>, tensor<2x64xf32>
}

//--- input.mlir
// CHECK: input.mlir:{{.*}} error: 'linalg.transpose' cannot be compiled in function 'f'
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<64x2xf32>, %e: tensor<2x64xf32>) -> tensor<2x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %t = linalg.transpose ins(%x : tensor<64x2xf32>) outs(%e : tensor<2x64xf32>) permutation = [1, 0]
  %y = qlinear.linear %t, %w : (tensor<2x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<2x64xf32>
  return %y : tensor<2x64xf32>
}

//--- quantized.mlir
// CHECK: quantized.mlir:{{.*}} error: 'linalg.transpose' cannot be compiled in function 'f'
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<64x4xf32>, %e: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %t = linalg.transpose ins(%x : tensor<64x4xf32>) outs(%e : tensor<4x64xf32>) permutation = [1, 0]
  %a = qlinear.quantize_activations %t : tensor<4x64xf32> -> !qlinear.activations<4x64>
  %y = qlinear.linear %a, %w : (!qlinear.activations<4x64>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}

//--- extra.mlir
// CHECK: extra.mlir:{{.*}} error: 'linalg.transpose' cannot be compiled in function 'f'
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<4x64xf32>, %r: tensor<64x4xf32>, %e: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %t = linalg.transpose ins(%r : tensor<64x4xf32>) outs(%e : tensor<4x64xf32>) permutation = [1, 0]
  %y = qlinear.linear %x, %w extras(%t)
      : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>, tensor<4x64xf32>) -> tensor<4x64xf32> {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    qlinear.yield %0 : f32
  }
  return %y : tensor<4x64xf32>
}

//--- epilogue.mlir
// CHECK: error: 'math.sincos' in an epilogue has no reference meaning
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32> {
  ^bb0(%a: f32):
    %s, %c = math.sincos %a : f32
    %0 = arith.addf %s, %c : f32
    qlinear.yield %0 : f32
  }
  return %y : tensor<4x64xf32>
}

//--- empty.mlir
// CHECK: error: the module has no public function with a body, and so nothing to compile
func.func private @f()

//--- modules.mlir
// CHECK: error: a second gpu.module in a module to compile; only the one that qlinear-to-gpu makes can be there
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<64x64, #q8>
func.func @f(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q8>
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<64x64, #q8>) -> tensor<4x64xf32>
  return %y : tensor<4x64xf32>
}
gpu.module @mine {}

//--- cache-made.mlir
// CHECK: error: cache 0 in function 'f' is not an argument of the function; a compiled function writes caches where they lie, so pass it
func.func @f(%x: tensor<?x64xf32>, %at: tensor<?x1xi32>) -> tensor<9x64xf32> {
  %c = arith.constant dense<0.0> : tensor<9x64xf32>
  %y = qlinear.rotary %x by %x, %x head = 64 into(%c at %at) : (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>, tensor<9x64xf32>, tensor<?x1xi32>) -> tensor<9x64xf32>
  return %y : tensor<9x64xf32>
}

//--- cache-read.mlir
// CHECK: error: cache 0 in function 'f' is read elsewhere, too, and is written where it lies; use what it becomes instead
func.func @f(%x: tensor<?x64xf32>, %c: tensor<9x64xf32>, %at: tensor<?x1xi32>) -> (tensor<9x64xf32>, tensor<9x64xf32>) {
  %y = qlinear.rotary %x by %x, %x head = 64 into(%c at %at) : (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>, tensor<9x64xf32>, tensor<?x1xi32>) -> tensor<9x64xf32>
  return %y, %c : tensor<9x64xf32>, tensor<9x64xf32>
}

//--- cache-kept.mlir
// CHECK: error: cache 0 in function 'f' becomes a value that the function does not return once and use for nothing else; return it, since the argument is written in place
func.func @f(%x: tensor<?x64xf32>, %c: tensor<9x64xf32>, %at: tensor<?x1xi32>) -> (tensor<?x64xf32>) {
  %y, %z = qlinear.rotary %x, %x by %x, %x head = 64 into(%c at %at)
      : (tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xf32>, tensor<9x64xf32>, tensor<?x1xi32>)
        -> (tensor<?x64xf32>, tensor<9x64xf32>)
  return %y : tensor<?x64xf32>
}
