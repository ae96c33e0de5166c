// Linears that cannot be divided as their shardings say.

// RUN: quant-opt %s -split-input-file -verify-diagnostics \
// RUN:   -pass-pipeline='builtin.module(func.func(sharding-propagation,shard-partition))'

// N is no multiple of 16 rows for each process.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
shard.grid @gpus(shape = 4)
qlinear.parameter @w : !qlinear.weight<96x64, #q4>
func.func @rows(%x: tensor<?x64xf32>) -> tensor<?x96xf32> {
  %columns = shard.sharding @gpus split_axes = [[], [0]] : !shard.sharding
  %w = qlinear.load @w : !qlinear.weight<96x64, #q4>
  // expected-error @below {{is sharded along N = 96 among 4 processes, and '!qlinear.weight<96x64, }}
  %y = qlinear.linear %x, %w : (tensor<?x64xf32>, !qlinear.weight<96x64, #q4>) -> tensor<?x96xf32>
  %0 = shard.shard %y to %columns : tensor<?x96xf32>
  %1 = shard.shard %0 to %columns annotate_for_users : tensor<?x96xf32>
  return %1 : tensor<?x96xf32>
}

// -----

// K is a multiple of the group for each process, but steps are per block of 256.
#q4_k = #qlinear.encoding<u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>>
shard.grid @gpus(shape = 2)
qlinear.parameter @w : !qlinear.weight<16x768, #q4_k>
func.func @columns(%x: tensor<?x768xf32>) -> tensor<?x16xf32> {
  %columns = shard.sharding @gpus split_axes = [[], [0]] : !shard.sharding
  %whole = shard.sharding @gpus split_axes = [[]] : !shard.sharding
  %0 = shard.shard %x to %columns : tensor<?x768xf32>
  %w = qlinear.load @w : !qlinear.weight<16x768, #q4_k>
  // expected-error @below {{can be cut at multiples of 256 columns: 768 is not a multiple of 512; pad the weight, take another number of processes, or leave this linear whole}}
  %y = qlinear.linear %0, %w : (tensor<?x768xf32>, !qlinear.weight<16x768, #q4_k>) -> tensor<?x16xf32>
  %1 = shard.shard %y to %whole : tensor<?x16xf32>
  %2 = shard.shard %1 to %whole annotate_for_users : tensor<?x16xf32>
  return %2 : tensor<?x16xf32>
}

// -----

// What the epilogue computes is not a sum of what it computes of partial sums.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
shard.grid @gpus(shape = 2)
qlinear.parameter @w : !qlinear.weight<16x64, #q4>
func.func @epilogue(%x: tensor<?x64xf32>) -> tensor<?x16xf32> {
  %columns = shard.sharding @gpus split_axes = [[], [0]] : !shard.sharding
  %whole = shard.sharding @gpus split_axes = [[]] : !shard.sharding
  %0 = shard.shard %x to %columns : tensor<?x64xf32>
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  // expected-error @below {{is sharded along K, and its epilogue would be computed on sums of which each process has a part; run shard-partition before qlinear-fuse}}
  %y = qlinear.linear %0, %w : (tensor<?x64xf32>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xf32> {
  ^bb0(%v: f32):
    %e = math.exp %v : f32
    qlinear.yield %e : f32
  }
  %1 = shard.shard %y to %whole : tensor<?x16xf32>
  %2 = shard.shard %1 to %whole annotate_for_users : tensor<?x16xf32>
  return %2 : tensor<?x16xf32>
}

// -----

// One axis cannot divide both N and K.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
shard.grid @gpus(shape = 2)
qlinear.parameter @w : !qlinear.weight<64x64, #q4>
func.func @both(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %columns = shard.sharding @gpus split_axes = [[], [0]] : !shard.sharding
  %0 = shard.shard %x to %columns : tensor<?x64xf32>
  %1 = shard.shard %0 to %columns annotate_for_users : tensor<?x64xf32>
  %w = qlinear.load @w : !qlinear.weight<64x64, #q4>
  // expected-error @below {{has shardings that contradict each other; an axis of the grid divides M, N or K, and one value as the other}}
  %y = qlinear.linear %1, %w : (tensor<?x64xf32>, !qlinear.weight<64x64, #q4>) -> tensor<?x64xf32>
  %2 = shard.shard %y to %columns : tensor<?x64xf32>
  %3 = shard.shard %2 to %columns annotate_for_users : tensor<?x64xf32>
  return %3 : tensor<?x64xf32>
}

// -----

// Nobody knows how many processes there are.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
shard.grid @gpus(shape = ?)
qlinear.parameter @w : !qlinear.weight<32x64, #q4>
func.func @dynamic(%x: tensor<?x64xf32>) -> tensor<?x32xf32> {
  %columns = shard.sharding @gpus split_axes = [[], [0]] : !shard.sharding
  %w = qlinear.load @w : !qlinear.weight<32x64, #q4>
  // expected-error @below {{is sharded on @gpus, whose shape is not known; give it one}}
  %y = qlinear.linear %x, %w : (tensor<?x64xf32>, !qlinear.weight<32x64, #q4>) -> tensor<?x32xf32>
  %0 = shard.shard %y to %columns : tensor<?x32xf32>
  %1 = shard.shard %0 to %columns annotate_for_users : tensor<?x32xf32>
  return %1 : tensor<?x32xf32>
}

// -----

// Codes of activations are no tensor.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
shard.grid @gpus(shape = 2)
qlinear.parameter @w : !qlinear.weight<32x64, #q4>
func.func @codes(%x: !qlinear.activations<?x64>) -> tensor<?x32xf32> {
  %columns = shard.sharding @gpus split_axes = [[], [0]] : !shard.sharding
  %w = qlinear.load @w : !qlinear.weight<32x64, #q4>
  // expected-error @below {{has quantized activations, which cannot be sharded; run shard-partition before qlinear-quantize-activations}}
  %y = qlinear.linear %x, %w : (!qlinear.activations<?x64>, !qlinear.weight<32x64, #q4>) -> tensor<?x32xf32>
  %0 = shard.shard %y to %columns : tensor<?x32xf32>
  %1 = shard.shard %0 to %columns annotate_for_users : tensor<?x32xf32>
  return %1 : tensor<?x32xf32>
}

// -----

// A norm needs the whole row.
shard.grid @gpus(shape = 2)
func.func @norm(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %columns = shard.sharding @gpus split_axes = [[], [0]] : !shard.sharding
  %0 = shard.shard %x to %columns : tensor<?x64xf32>
  %1 = shard.shard %0 to %columns annotate_for_users : tensor<?x64xf32>
  // expected-error @below {{can be sharded along its rows only}}
  %y = qlinear.norm rms %1 epsilon = 1.0e-05 : (tensor<?x64xf32>) -> tensor<?x64xf32>
  %2 = shard.shard %y to %columns : tensor<?x64xf32>
  %3 = shard.shard %2 to %columns annotate_for_users : tensor<?x64xf32>
  return %3 : tensor<?x64xf32>
}

// -----

// The rows of a cache are of no token in particular.
shard.grid @gpus(shape = 2)
func.func @cache(%x: tensor<4x64xf32>, %c: tensor<9x64xf32>, %at: tensor<4x1xi32>) -> tensor<9x64xf32> {
  %rows = shard.sharding @gpus split_axes = [[0]] : !shard.sharding
  %0 = shard.shard %x to %rows : tensor<4x64xf32>
  %1 = shard.shard %0 to %rows annotate_for_users : tensor<4x64xf32>
  // expected-error @below {{writes caches, whose rows are of no token in particular; shard the module before there are caches}}
  %y = qlinear.rotary %1 by %1, %1 head = 64 into(%c at %at)
      : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<9x64xf32>, tensor<4x1xi32>) -> tensor<9x64xf32>
  %2 = shard.shard %y to %rows : tensor<9x64xf32>
  %3 = shard.shard %2 to %rows annotate_for_users : tensor<9x64xf32>
  return %3 : tensor<9x64xf32>
}
