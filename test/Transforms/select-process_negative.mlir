// RUN: quant-opt %s -split-input-file -verify-diagnostics --qlinear-select-process=process=2

// expected-error @below {{the grid @gpus has no process 2; its shape is known, and process= is below their number}}
shard.grid @gpus(shape = 2)

// -----

// Only parameters have parts in an archive.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
#q4_row = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
shard.grid @gpus(shape = 4)
qlinear.parameter @w : !qlinear.weight<64x64, #q4>
func.func @f(%x: tensor<?x64xf32>) -> tensor<?x16xf32> {
  %w = qlinear.load @w : !qlinear.weight<64x64, #q4>
  %r = qlinear.reencode %w : !qlinear.weight<64x64, #q4> to !qlinear.weight<64x64, #q4_row>
  // expected-error @below {{is of a weight that is not loaded, and only parameters have parts in an archive; run shard-partition before passes that change weights}}
  %p = qlinear.part rows of %r on @gpus grid_axes = [0] : !qlinear.weight<64x64, #q4_row> -> !qlinear.weight<16x64, #q4_row>
  %y = qlinear.linear %x, %p : (tensor<?x64xf32>, !qlinear.weight<16x64, #q4_row>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

shard.grid @gpus(shape = 4)
func.func @loop(%x: tensor<4xf32>, %n: index) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // expected-error @below {{'scf.for' exchanges data of processes inside; only functions are taken apart: move the exchange out of it}}
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%a = %x) -> tensor<4xf32> {
    %b = shard.all_reduce %a on @gpus grid_axes = [0] : tensor<4xf32> -> tensor<4xf32>
    scf.yield %b : tensor<4xf32>
  }
  return %y : tensor<4xf32>
}

// -----

shard.grid @gpus(shape = 4)
// expected-error @below {{is taken apart where processes exchange data, and is called from elsewhere; inline it there first}}
func.func @sum(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = shard.all_reduce %x on @gpus grid_axes = [0] : tensor<4xf32> -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func @caller(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = func.call @sum(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

shard.grid @gpus(shape = 4)
func.func @codes(%x: tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  // expected-error @below {{a value of type '!qlinear.activations<4x64>' is used after processes exchange data, and functions exchange tensors only; run this pass before qlinear-quantize-activations}}
  %a = qlinear.quantize_activations %x : tensor<4x64xf32> -> !qlinear.activations<4x64>
  %d = qlinear.dequantize %a : !qlinear.activations<4x64> -> tensor<4x64xf32>
  %0 = shard.all_reduce %d on @gpus grid_axes = [0] : tensor<4x64xf32> -> tensor<4x64xf32>
  %e = qlinear.dequantize %a : !qlinear.activations<4x64> -> tensor<4x64xf32>
  return %0, %e : tensor<4x64xf32>, tensor<4x64xf32>
}
