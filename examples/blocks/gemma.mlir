// The linears, norms and rotary embeddings of a decoder layer of Gemma 3 (sizes of Gemma 4
// 31B): heads of queries and keys are normalized before they are rotated; there are norms
// after the attention and after the MLP, too, whose results are added to the residual; and
// scales are less one. Two launches before the attention, five after it.

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>

qlinear.parameter @q : !qlinear.weight<8192x5376, #q4> from "q_proj"
qlinear.parameter @k : !qlinear.weight<4096x5376, #q4> from "k_proj"
qlinear.parameter @v : !qlinear.weight<4096x5376, #q4> from "v_proj"
qlinear.parameter @o : !qlinear.weight<5376x8192, #q4> from "o_proj"
qlinear.parameter @gate : !qlinear.weight<21504x5376, #q4> from "gate_proj"
qlinear.parameter @up : !qlinear.weight<21504x5376, #q4> from "up_proj"
qlinear.parameter @down : !qlinear.weight<5376x21504, #q4> from "down_proj"

func.func @projections(%x: tensor<?x5376xbf16>, %scale: tensor<5376xbf16>, %q_scale: tensor<256xbf16>,
                       %k_scale: tensor<256xbf16>, %cos: tensor<?x256xbf16>, %sin: tensor<?x256xbf16>)
    -> (tensor<?x8192xbf16>, tensor<?x4096xbf16>, tensor<?x4096xbf16>) {
  %n = qlinear.norm rms %x extras(%scale) epsilon = 1.0e-06
      : (tensor<?x5376xbf16>, tensor<5376xbf16>) -> tensor<?x5376xbf16> {
  ^bb0(%norm: f32, %sum: f32, %s: bf16):
    %one = arith.constant 1.0 : f32
    %0 = arith.extf %s : bf16 to f32
    %1 = arith.addf %0, %one : f32
    %2 = arith.mulf %norm, %1 : f32
    %3 = arith.truncf %2 : f32 to bf16
    qlinear.yield %3 : bf16
  }
  %wq = qlinear.load @q : !qlinear.weight<8192x5376, #q4>
  %wk = qlinear.load @k : !qlinear.weight<4096x5376, #q4>
  %wv = qlinear.load @v : !qlinear.weight<4096x5376, #q4>
  %q, %k, %v = qlinear.linear %n, %wq, %wk, %wv
      : (tensor<?x5376xbf16>, !qlinear.weight<8192x5376, #q4>, !qlinear.weight<4096x5376, #q4>,
         !qlinear.weight<4096x5376, #q4>)
        -> (tensor<?x8192xbf16>, tensor<?x4096xbf16>, tensor<?x4096xbf16>)
  %qr, %kr = qlinear.rotary %q, %k norms(%q_scale, %k_scale) zero_centered epsilon = 1.0e-06
      by %cos, %sin head = 256
      : (tensor<?x8192xbf16>, tensor<?x4096xbf16>, tensor<256xbf16>, tensor<256xbf16>,
         tensor<?x256xbf16>, tensor<?x256xbf16>) -> (tensor<?x8192xbf16>, tensor<?x4096xbf16>)
  return %qr, %kr, %v : tensor<?x8192xbf16>, tensor<?x4096xbf16>, tensor<?x4096xbf16>
}

func.func @rest(%attention: tensor<?x8192xbf16>, %residual: tensor<?x5376xbf16>,
                %after_attention: tensor<5376xbf16>, %before_mlp: tensor<5376xbf16>,
                %after_mlp: tensor<5376xbf16>) -> tensor<?x5376xbf16> {
  %wo = qlinear.load @o : !qlinear.weight<5376x8192, #q4>
  %x = qlinear.linear %attention, %wo
      : (tensor<?x8192xbf16>, !qlinear.weight<5376x8192, #q4>) -> tensor<?x5376xbf16>
  %h = qlinear.norm rms %x extras(%after_attention, %residual) epsilon = 1.0e-06
      : (tensor<?x5376xbf16>, tensor<5376xbf16>, tensor<?x5376xbf16>) -> tensor<?x5376xbf16> {
  ^bb0(%norm: f32, %sum: f32, %s: bf16, %r: bf16):
    %one = arith.constant 1.0 : f32
    %0 = arith.extf %s : bf16 to f32
    %1 = arith.addf %0, %one : f32
    %2 = arith.mulf %norm, %1 : f32
    %3 = arith.extf %r : bf16 to f32
    %4 = arith.addf %2, %3 : f32
    %5 = arith.truncf %4 : f32 to bf16
    qlinear.yield %5 : bf16
  }
  %n = qlinear.norm rms %h extras(%before_mlp) epsilon = 1.0e-06
      : (tensor<?x5376xbf16>, tensor<5376xbf16>) -> tensor<?x5376xbf16> {
  ^bb0(%norm: f32, %sum: f32, %s: bf16):
    %one = arith.constant 1.0 : f32
    %0 = arith.extf %s : bf16 to f32
    %1 = arith.addf %0, %one : f32
    %2 = arith.mulf %norm, %1 : f32
    %3 = arith.truncf %2 : f32 to bf16
    qlinear.yield %3 : bf16
  }
  %wg = qlinear.load @gate : !qlinear.weight<21504x5376, #q4>
  %wu = qlinear.load @up : !qlinear.weight<21504x5376, #q4>
  %a = qlinear.linear %n, %wg, %wu
      : (tensor<?x5376xbf16>, !qlinear.weight<21504x5376, #q4>,
         !qlinear.weight<21504x5376, #q4>) -> tensor<?x21504xbf16> {
  ^bb0(%g: f32, %u: f32): // GELU(g) * u, by tanh
    %one = arith.constant 1.0 : f32
    %half = arith.constant 0.5 : f32
    %c = arith.constant 0.044715 : f32
    %root = arith.constant 0.7978845608 : f32
    %0 = arith.mulf %g, %g : f32
    %1 = arith.mulf %0, %g : f32
    %2 = arith.mulf %1, %c : f32
    %3 = arith.addf %g, %2 : f32
    %4 = arith.mulf %3, %root : f32
    %5 = math.tanh %4 : f32
    %6 = arith.addf %5, %one : f32
    %7 = arith.mulf %g, %half : f32
    %8 = arith.mulf %7, %6 : f32
    %9 = arith.mulf %8, %u : f32
    %10 = arith.truncf %9 : f32 to bf16
    qlinear.yield %10 : bf16
  }
  %wd = qlinear.load @down : !qlinear.weight<5376x21504, #q4>
  %d = qlinear.linear %a, %wd
      : (tensor<?x21504xbf16>, !qlinear.weight<5376x21504, #q4>) -> tensor<?x5376xbf16>
  %y = qlinear.norm rms %d extras(%after_mlp, %h) epsilon = 1.0e-06
      : (tensor<?x5376xbf16>, tensor<5376xbf16>, tensor<?x5376xbf16>) -> tensor<?x5376xbf16> {
  ^bb0(%norm: f32, %sum: f32, %s: bf16, %r: bf16):
    %one = arith.constant 1.0 : f32
    %0 = arith.extf %s : bf16 to f32
    %1 = arith.addf %0, %one : f32
    %2 = arith.mulf %norm, %1 : f32
    %3 = arith.extf %r : bf16 to f32
    %4 = arith.addf %2, %3 : f32
    %5 = arith.truncf %4 : f32 to bf16
    qlinear.yield %5 : bf16
  }
  return %y : tensor<?x5376xbf16>
}
