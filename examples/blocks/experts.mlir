// The feed-forward part of a decoder layer with a mixture of experts, Qwen3-30B-A3B's: 8 of 128
// experts for each token. What a router makes of its products (softmax, the largest 8, their
// sum) is somebody else's, between the two functions.

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>

qlinear.parameter @router : !qlinear.weight<128x2048, #q4> from "router"
// The rows of all experts, one expert after the other.
qlinear.parameter @gate : !qlinear.weight<98304x2048, #q4> from "gate_proj"
qlinear.parameter @up : !qlinear.weight<98304x2048, #q4> from "up_proj"
qlinear.parameter @down : !qlinear.weight<262144x768, #q4> from "down_proj"

// The residual stream, its norm, and the router's products.
func.func @route(%attention: tensor<?x2048xbf16>, %residual: tensor<?x2048xbf16>,
                 %scale: tensor<2048xbf16>)
    -> (tensor<?x2048xbf16>, tensor<?x2048xbf16>, tensor<?x128xf32>) {
  %s, %n = qlinear.norm rms %attention, %residual extras(%scale) epsilon = 1.0e-06
      : (tensor<?x2048xbf16>, tensor<?x2048xbf16>, tensor<2048xbf16>)
        -> (tensor<?x2048xbf16>, tensor<?x2048xbf16>) {
  ^bb0(%norm: f32, %sum: f32, %g: bf16):
    %0 = arith.extf %g : bf16 to f32
    %1 = arith.mulf %norm, %0 : f32
    %2 = arith.truncf %sum : f32 to bf16
    %3 = arith.truncf %1 : f32 to bf16
    qlinear.yield %2, %3 : bf16, bf16
  }
  %w = qlinear.load @router : !qlinear.weight<128x2048, #q4>
  %r = qlinear.linear %n, %w
      : (tensor<?x2048xbf16>, !qlinear.weight<128x2048, #q4>) -> tensor<?x128xf32>
  return %s, %n, %r : tensor<?x2048xbf16>, tensor<?x2048xbf16>, tensor<?x128xf32>
}

// Gate, up and their activation for each choice; down; the sum of a token's choices with the
// residual. Three launches, whatever has been chosen.
func.func @experts(%x: tensor<?x2048xbf16>, %ids: tensor<?x8xi32>, %factors: tensor<?x8xf32>,
                   %residual: tensor<?x2048xbf16>) -> tensor<?x2048xbf16> {
  %wg = qlinear.load @gate : !qlinear.weight<98304x2048, #q4>
  %wu = qlinear.load @up : !qlinear.weight<98304x2048, #q4>
  %h = qlinear.grouped_linear %x by %ids, %wg, %wu experts = 128
      : (tensor<?x2048xbf16>, tensor<?x8xi32>, !qlinear.weight<98304x2048, #q4>,
         !qlinear.weight<98304x2048, #q4>) -> tensor<?x6144xbf16> {
  ^bb0(%g: f32, %u: f32): // SiLU(g) * u
    %one = arith.constant 1.0 : f32
    %0 = arith.negf %g : f32
    %1 = math.exp %0 : f32
    %2 = arith.addf %1, %one : f32
    %3 = arith.divf %g, %2 : f32
    %4 = arith.mulf %3, %u : f32
    %5 = arith.truncf %4 : f32 to bf16
    qlinear.yield %5 : bf16
  }
  %wd = qlinear.load @down : !qlinear.weight<262144x768, #q4>
  %d = qlinear.grouped_linear %h by %ids, %wd experts = 128
      : (tensor<?x6144xbf16>, tensor<?x8xi32>, !qlinear.weight<262144x768, #q4>)
        -> tensor<?x16384xf32>
  %y = qlinear.combine %d by %factors extras(%residual)
      : (tensor<?x16384xf32>, tensor<?x8xf32>, tensor<?x2048xbf16>) -> tensor<?x2048xbf16> {
  ^bb0(%sum: f32, %r: bf16):
    %0 = arith.extf %r : bf16 to f32
    %1 = arith.addf %sum, %0 : f32
    %2 = arith.truncf %1 : f32 to bf16
    qlinear.yield %2 : bf16
  }
  return %y : tensor<?x2048xbf16>
}
