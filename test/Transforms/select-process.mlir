// The program of one process, after shard-partition.

// RUN: quant-opt %s -split-input-file --qlinear-select-process=process=1 --allow-unregistered-dialect | FileCheck %s

// Parts of parameters are parameters, of which the name in the archive says which part. What is
// used whole stays. The function ends where processes exchange data; nothing comes after it here.
#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
shard.grid @gpus(shape = 2)
qlinear.parameter @up : !qlinear.weight<512x256, #q4> from "blk.0.up"
qlinear.parameter @down : !qlinear.weight<256x512, #q4>
qlinear.parameter @norm : !qlinear.weight<256x256, #q4>

// CHECK-NOT: shard.
// CHECK-DAG: qlinear.parameter @up_1 : !qlinear.weight<256x256, {{.*}}> from "blk.0.up[rows 256:512 of 512]"
// CHECK-DAG: qlinear.parameter @down_1 : !qlinear.weight<256x256, {{.*}}> from "down[columns 256:512 of 512]"
// CHECK-DAG: qlinear.parameter @norm : !qlinear.weight<256x256
// CHECK-NOT: qlinear.parameter
// CHECK: func.func @mlp(%[[X:.*]]: tensor<?x256xf32>) -> tensor<?x256xf32>
// CHECK-SAME: qlinear.inputs = ["argument 0"], qlinear.outputs = ["all_reduce sum of result 0 of mlp on [0]"]
// CHECK: qlinear.load @norm
// CHECK: qlinear.load @up_1
// CHECK: qlinear.load @down_1
// CHECK: %[[Y:.*]] = qlinear.linear
// CHECK: return %[[Y]]
func.func @mlp(%x: tensor<?x256xf32>) -> tensor<?x256xf32> {
  %n = qlinear.load @norm : !qlinear.weight<256x256, #q4>
  %0 = qlinear.linear %x, %n : (tensor<?x256xf32>, !qlinear.weight<256x256, #q4>) -> tensor<?x256xf32>
  %u = qlinear.load @up : !qlinear.weight<512x256, #q4>
  %up = qlinear.part rows of %u on @gpus grid_axes = [0] : !qlinear.weight<512x256, #q4> -> !qlinear.weight<256x256, #q4>
  %1 = qlinear.linear %0, %up : (tensor<?x256xf32>, !qlinear.weight<256x256, #q4>) -> tensor<?x256xf32>
  %d = qlinear.load @down : !qlinear.weight<256x512, #q4>
  %dp = qlinear.part columns of %d on @gpus grid_axes = [0] : !qlinear.weight<256x512, #q4> -> !qlinear.weight<256x256, #q4>
  %2 = qlinear.linear %1, %dp : (tensor<?x256xf32>, !qlinear.weight<256x256, #q4>) -> tensor<?x256xf32>
  %3 = shard.all_reduce %2 on @gpus grid_axes = [0] : tensor<?x256xf32> -> tensor<?x256xf32>
  return %3 : tensor<?x256xf32>
}

// -----

// Functions between exchanges: each takes what it needs of the arguments, of earlier functions and
// of what was exchanged; weights and constants are made anew in each.
shard.grid @gpus(shape = 2)
// CHECK-LABEL: func.func @f_0
// CHECK-SAME: (%[[X:.*]]: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) attributes {qlinear.inputs = ["argument 0"]}
// CHECK: %[[C:.*]] = arith.constant
// CHECK: %[[A:.*]] = arith.addf %[[X]], %[[C]]
// CHECK: %[[B:.*]] = arith.mulf %[[A]], %[[A]]
// CHECK: return %[[A]], %[[B]]
// CHECK: func.func @f_1
// CHECK-SAME: (%[[S:.*]]: tensor<4xf32>, %[[A:.*]]: tensor<4xf32>) -> tensor<4xf32>
// CHECK-SAME: qlinear.inputs = ["all_reduce max of result 1 of f_0 on [0]", "result 0 of f_0"]
// CHECK: %[[D:.*]] = arith.addf %[[S]], %[[A]]
// CHECK: %[[C:.*]] = arith.constant
// CHECK: %[[E:.*]] = arith.subf %[[D]], %[[C]]
// CHECK: return %[[E]]
// CHECK: func.func @f_2
// CHECK-SAME: (%[[G:.*]]: tensor<8xf32>, %[[Y:.*]]: tensor<8xf32>) -> tensor<8xf32>
// CHECK-SAME: qlinear.inputs = ["all_gather along 0 of result 0 of f_1 on [0]", "argument 1"]
// CHECK-SAME: qlinear.outputs = ["result 0 of f_2", "argument 1"]
func.func @f(%x: tensor<4xf32>, %y: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %c = arith.constant dense<2.0> : tensor<4xf32>
  %a = arith.addf %x, %c : tensor<4xf32>
  %b = arith.mulf %a, %a : tensor<4xf32>
  %s = shard.all_reduce %b on @gpus grid_axes = [0] reduction = max : tensor<4xf32> -> tensor<4xf32>
  %d = arith.addf %s, %a : tensor<4xf32>
  %e = arith.subf %d, %c : tensor<4xf32>
  %g = shard.all_gather %e on @gpus grid_axes = [0] gather_axis = 0 : tensor<4xf32> -> tensor<8xf32>
  %z = arith.addf %g, %y : tensor<8xf32>
  return %z, %y : tensor<8xf32>, tensor<8xf32>
}

// -----

// What is cut out of a whole tensor is at the place of the process: 1 is (0, 1) of 2 x 4.
shard.grid @nodes(shape = 2x4)
// CHECK-LABEL: func.func @slice
// CHECK: %[[AT:.*]] = arith.constant 2 : index
// CHECK: tensor.extract_slice %{{.*}}[%[[AT]]] [%[[AT]]] [1]
// CHECK-NOT: qlinear.inputs
func.func @slice(%x: tensor<8xf32>) -> tensor<2xf32> {
  %0 = shard.all_slice %x on @nodes grid_axes = [1] slice_axis = 0 : tensor<8xf32> -> tensor<2xf32>
  return %0 : tensor<2xf32>
}
