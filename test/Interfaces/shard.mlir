// Upstream's shard dialect divides linears among processes: along N each has rows of the
// weights, along K columns of them, and an all-reduce adds the results up.

// RUN: quant-opt %s -split-input-file -pass-pipeline='builtin.module(func.func(sharding-propagation,shard-partition))' \
// RUN:   | FileCheck %s

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
shard.grid @gpus(shape = 2)
qlinear.parameter @gate : !qlinear.weight<512x256, #q4>
qlinear.parameter @up : !qlinear.weight<512x256, #q4>
qlinear.parameter @down : !qlinear.weight<256x512, #q4>

// An MLP: what is between the linears stays divided, and x and y are whole. Nothing but x,
// the product and y is annotated.
// CHECK-LABEL: func.func @mlp
// CHECK-SAME: (%[[X:.*]]: tensor<?x256xf32>) -> tensor<?x256xf32>
// CHECK: %[[GATE:.*]] = qlinear.load @gate
// CHECK: %[[UP:.*]] = qlinear.load @up
// CHECK: %[[MINE:.*]] = qlinear.part rows of %[[GATE]] on @gpus grid_axes = [0] : {{.*}}<512x256, {{.*}}> -> {{.*}}<256x256, {{.*}}>
// CHECK: %[[TOO:.*]] = qlinear.part rows of %[[UP]] on @gpus
// CHECK: %[[A:.*]] = qlinear.linear %[[X]], %[[MINE]], %[[TOO]] : {{.*}} -> tensor<?x256xf32> {
// CHECK: arith.mulf
// CHECK: %[[COLUMNS:.*]] = qlinear.part columns of %{{.*}} on @gpus grid_axes = [0] : {{.*}}<256x512, {{.*}}> -> {{.*}}<256x256, {{.*}}>
// CHECK: %[[PARTIAL:.*]] = qlinear.linear %[[A]], %[[COLUMNS]]
// CHECK: %[[Y:.*]] = shard.all_reduce %[[PARTIAL]] on @gpus grid_axes = [0] : tensor<?x256xf32> -> tensor<?x256xf32>
// CHECK: return %[[Y]]
func.func @mlp(%x: tensor<?x256xf32>) -> tensor<?x256xf32> {
  %whole = shard.sharding @gpus split_axes = [[]] : !shard.sharding
  %columns = shard.sharding @gpus split_axes = [[], [0]] : !shard.sharding
  %0 = shard.shard %x to %whole : tensor<?x256xf32>
  %wg = qlinear.load @gate : !qlinear.weight<512x256, #q4>
  %wu = qlinear.load @up : !qlinear.weight<512x256, #q4>
  %a = qlinear.linear %0, %wg, %wu
      : (tensor<?x256xf32>, !qlinear.weight<512x256, #q4>, !qlinear.weight<512x256, #q4>)
        -> tensor<?x512xf32> {
  ^bb0(%g: f32, %u: f32):
    %p = arith.mulf %g, %u : f32
    qlinear.yield %p : f32
  }
  %1 = shard.shard %a to %columns : tensor<?x512xf32>
  %wd = qlinear.load @down : !qlinear.weight<256x512, #q4>
  %y = qlinear.linear %1, %wd : (tensor<?x512xf32>, !qlinear.weight<256x512, #q4>) -> tensor<?x256xf32>
  %2 = shard.shard %y to %whole : tensor<?x256xf32>
  %3 = shard.shard %2 to %whole annotate_for_users : tensor<?x256xf32>
  return %3 : tensor<?x256xf32>
}

// -----

// q, k and v in one linear, of which k and v have fewer rows: each result is divided by
// itself. A vector that is added belongs to the columns of the result. Rows of a norm are
// whole. The grid has two axes, of which one is for rows of x.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
shard.grid @nodes(shape = 2x4)
qlinear.parameter @q : !qlinear.weight<256x128, #q4>
qlinear.parameter @k : !qlinear.weight<64x128, #q4>
qlinear.parameter @o : !qlinear.weight<128x128, #q4>

// CHECK-LABEL: func.func @qk
// CHECK-SAME: (%{{.*}}: tensor<4x128xf32>) -> (tensor<4x64xf32>, tensor<4x16xf32>)
// CHECK: %[[N:.*]] = qlinear.norm rms %{{.*}} : (tensor<4x128xf32>) -> tensor<4x128xf32>
// CHECK: qlinear.part rows of %{{.*}} on @nodes grid_axes = [1] : {{.*}}<256x128, {{.*}}> -> {{.*}}<64x128, {{.*}}>
// CHECK: qlinear.part rows of %{{.*}} on @nodes grid_axes = [1] : {{.*}}<64x128, {{.*}}> -> {{.*}}<16x128, {{.*}}>
// CHECK: qlinear.linear %[[N]], %{{.*}}, %{{.*}} -> (tensor<4x64xf32>, tensor<4x16xf32>)
func.func @qk(%x: tensor<8x128xf32>) -> (tensor<8x256xf32>, tensor<8x64xf32>) {
  %rows = shard.sharding @nodes split_axes = [[0]] : !shard.sharding
  %both = shard.sharding @nodes split_axes = [[0], [1]] : !shard.sharding
  %0 = shard.shard %x to %rows : tensor<8x128xf32>
  %n = qlinear.norm rms %0 epsilon = 1.0e-05 : (tensor<8x128xf32>) -> tensor<8x128xf32>
  %wq = qlinear.load @q : !qlinear.weight<256x128, #q4>
  %wk = qlinear.load @k : !qlinear.weight<64x128, #q4>
  %q, %k = qlinear.linear %n, %wq, %wk
      : (tensor<8x128xf32>, !qlinear.weight<256x128, #q4>, !qlinear.weight<64x128, #q4>)
        -> (tensor<8x256xf32>, tensor<8x64xf32>)
  %q1 = shard.shard %q to %both : tensor<8x256xf32>
  %q2 = shard.shard %q1 to %both annotate_for_users : tensor<8x256xf32>
  %k1 = shard.shard %k to %both : tensor<8x64xf32>
  %k2 = shard.shard %k1 to %both annotate_for_users : tensor<8x64xf32>
  return %q2, %k2 : tensor<8x256xf32>, tensor<8x64xf32>
}

// CHECK-LABEL: func.func @bias
// CHECK-SAME: (%{{.*}}: tensor<?x128xf32>, %{{.*}}: tensor<16xf32>) -> tensor<?x16xf32>
// CHECK: qlinear.part rows of %{{.*}} on @nodes grid_axes = [0, 1] : {{.*}}<128x128, {{.*}}> -> {{.*}}<16x128, {{.*}}>
func.func @bias(%x: tensor<?x128xf32>, %b: tensor<128xf32>) -> tensor<?x128xf32> {
  %columns = shard.sharding @nodes split_axes = [[], [0, 1]] : !shard.sharding
  %w = qlinear.load @o : !qlinear.weight<128x128, #q4>
  %y = qlinear.linear %x, %w extras(%b)
      : (tensor<?x128xf32>, !qlinear.weight<128x128, #q4>, tensor<128xf32>) -> tensor<?x128xf32> {
  ^bb0(%v: f32, %e: f32):
    %0 = arith.addf %v, %e : f32
    qlinear.yield %0 : f32
  }
  %0 = shard.shard %y to %columns : tensor<?x128xf32>
  %1 = shard.shard %0 to %columns annotate_for_users : tensor<?x128xf32>
  return %1 : tensor<?x128xf32>
}
