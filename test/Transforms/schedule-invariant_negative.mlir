// RUN: quant-opt %s --split-input-file --verify-diagnostics --qlinear-schedule='target=cuda:sm_90a batch-invariant'

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
!w = !qlinear.weight<4096x4096, #q4>

func.func @families(%x: tensor<?x4096xbf16>, %w: !w) -> tensor<?x4096xbf16> {
  // expected-error @below {{the schedule is not batch-invariant: #qlinear.gemv<rows = 8}}
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 8>, #qlinear.gemm<rows = any>]>} : (tensor<?x4096xbf16>, !w) -> tensor<?x4096xbf16>
  return %y : tensor<?x4096xbf16>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
!w = !qlinear.weight<4096x4096, #q4>

func.func @products(%x: tensor<?x4096xbf16>, %w: !w) -> tensor<?x4096xbf16> {
  // expected-error @below {{add in different orders; use one dot and split_k for all, or leave the schedule to qlinear-schedule}}
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemm<rows = 16, dot = mma, split_k = 1>, #qlinear.gemm<rows = any, dot = wgmma, split_k = 1>]>} : (tensor<?x4096xbf16>, !w) -> tensor<?x4096xbf16>
  return %y : tensor<?x4096xbf16>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
!w = !qlinear.weight<4096x4096, #q4>

func.func @splits(%x: tensor<?x4096xbf16>, %w: !w) -> tensor<?x4096xbf16> {
  // expected-error @below {{add in different orders; use one dot and split_k for all}}
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemm<rows = 16, dot = mma, split_k = 2>, #qlinear.gemm<rows = any, dot = mma, split_k = 1>]>} : (tensor<?x4096xbf16>, !w) -> tensor<?x4096xbf16>
  return %y : tensor<?x4096xbf16>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
!w = !qlinear.weight<4096x4096, #q4>

func.func @shares(%x: tensor<?x4096xbf16>, %w: !w) -> tensor<?x4096xbf16> {
  // expected-error @below {{cuts K at places that depend on the number of rows; use split_k = 1}}
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemm<rows = any, dot = wgmma, split_k = 4>]>} : (tensor<?x4096xbf16>, !w) -> tensor<?x4096xbf16>
  return %y : tensor<?x4096xbf16>
}
