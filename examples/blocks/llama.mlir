// The linears, norms and rotary embeddings of a decoder layer of Llama-3 8B: two functions, and
// what lies between them, the attention, is somebody else's.

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>

qlinear.parameter @q : !qlinear.weight<4096x4096, #q4> from "q_proj"
qlinear.parameter @k : !qlinear.weight<1024x4096, #q4> from "k_proj"
qlinear.parameter @v : !qlinear.weight<1024x4096, #q4> from "v_proj"
qlinear.parameter @o : !qlinear.weight<4096x4096, #q4> from "o_proj"
qlinear.parameter @gate : !qlinear.weight<14336x4096, #q4> from "gate_proj"
qlinear.parameter @up : !qlinear.weight<14336x4096, #q4> from "up_proj"
qlinear.parameter @down : !qlinear.weight<4096x14336, #q4> from "down_proj"

// The norm, then q, k and v in one pass over it: one launch of two kernels; then the rotary
// embeddings of q and k, with the cosines and sines of each row's position.
func.func @projections(%x: tensor<?x4096xbf16>, %scale: tensor<4096xbf16>, %cos: tensor<?x128xbf16>,
                       %sin: tensor<?x128xbf16>)
    -> (tensor<?x4096xbf16>, tensor<?x1024xbf16>, tensor<?x1024xbf16>) {
  %n = qlinear.norm rms %x extras(%scale) epsilon = 1.0e-05
      : (tensor<?x4096xbf16>, tensor<4096xbf16>) -> tensor<?x4096xbf16> {
  ^bb0(%norm: f32, %sum: f32, %s: bf16):
    %0 = arith.extf %s : bf16 to f32
    %1 = arith.mulf %norm, %0 : f32
    %2 = arith.truncf %1 : f32 to bf16
    qlinear.yield %2 : bf16
  }
  %wq = qlinear.load @q : !qlinear.weight<4096x4096, #q4>
  %wk = qlinear.load @k : !qlinear.weight<1024x4096, #q4>
  %wv = qlinear.load @v : !qlinear.weight<1024x4096, #q4>
  %q, %k, %v = qlinear.linear %n, %wq, %wk, %wv
      : (tensor<?x4096xbf16>, !qlinear.weight<4096x4096, #q4>, !qlinear.weight<1024x4096, #q4>,
         !qlinear.weight<1024x4096, #q4>)
        -> (tensor<?x4096xbf16>, tensor<?x1024xbf16>, tensor<?x1024xbf16>)
  %qr, %kr = qlinear.rotary %q, %k by %cos, %sin head = 128
      : (tensor<?x4096xbf16>, tensor<?x1024xbf16>, tensor<?x128xbf16>, tensor<?x128xbf16>)
        -> (tensor<?x4096xbf16>, tensor<?x1024xbf16>)
  return %qr, %kr, %v : tensor<?x4096xbf16>, tensor<?x1024xbf16>, tensor<?x1024xbf16>
}

// All that follows the attention: its output with the residual, the norm, gate and up with
// their activation, and down with the residual. Three launches.
func.func @rest(%attention: tensor<?x4096xbf16>, %residual: tensor<?x4096xbf16>,
                %scale: tensor<4096xbf16>) -> tensor<?x4096xbf16> {
  %wo = qlinear.load @o : !qlinear.weight<4096x4096, #q4>
  %h = qlinear.linear %attention, %wo extras(%residual)
      : (tensor<?x4096xbf16>, !qlinear.weight<4096x4096, #q4>, tensor<?x4096xbf16>)
        -> tensor<?x4096xbf16> {
  ^bb0(%y: f32, %r: bf16):
    %0 = arith.extf %r : bf16 to f32
    %1 = arith.addf %y, %0 : f32
    %2 = arith.truncf %1 : f32 to bf16
    qlinear.yield %2 : bf16
  }
  %n = qlinear.norm rms %h extras(%scale) epsilon = 1.0e-05
      : (tensor<?x4096xbf16>, tensor<4096xbf16>) -> tensor<?x4096xbf16> {
  ^bb0(%norm: f32, %sum: f32, %s: bf16):
    %0 = arith.extf %s : bf16 to f32
    %1 = arith.mulf %norm, %0 : f32
    %2 = arith.truncf %1 : f32 to bf16
    qlinear.yield %2 : bf16
  }
  %wg = qlinear.load @gate : !qlinear.weight<14336x4096, #q4>
  %wu = qlinear.load @up : !qlinear.weight<14336x4096, #q4>
  %a = qlinear.linear %n, %wg, %wu
      : (tensor<?x4096xbf16>, !qlinear.weight<14336x4096, #q4>,
         !qlinear.weight<14336x4096, #q4>) -> tensor<?x14336xbf16> {
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
  %wd = qlinear.load @down : !qlinear.weight<4096x14336, #q4>
  %y = qlinear.linear %a, %wd extras(%h)
      : (tensor<?x14336xbf16>, !qlinear.weight<4096x14336, #q4>, tensor<?x4096xbf16>)
        -> tensor<?x4096xbf16> {
  ^bb0(%v: f32, %r: bf16):
    %0 = arith.extf %r : bf16 to f32
    %1 = arith.addf %v, %0 : f32
    %2 = arith.truncf %1 : f32 to bf16
    qlinear.yield %2 : bf16
  }
  return %y : tensor<?x4096xbf16>
}
