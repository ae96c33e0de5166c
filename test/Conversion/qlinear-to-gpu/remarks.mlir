// A row variant that shared memory is too small for is left out, and said to be.

// RUN: quant-opt %s --qlinear-to-gpu=target=cuda:sm_75 --verify-diagnostics | FileCheck %s
// RUN: quant-compile %s --target=cuda:sm_75 --emit=ptx -o %t.ptx 2>&1 | FileCheck %s --check-prefix=REMARK

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<16x32768, #q8>

// CHECK-LABEL: func.func @large
// CHECK: qlinear.launch
// CHECK-SAME: @linear0_m4
// CHECK-NOT: @linear0_m8
// REMARK: remark: a kernel for 8 rows of K = 32768
func.func @large(%x: tensor<?x32768xf16>) -> tensor<?x16xf16> {
  %w = qlinear.load @w : !qlinear.weight<16x32768, #q8>
  // expected-remark @+1 {{a kernel for 8 rows of K = 32768 does not fit into the 65536 bytes of shared memory of sm_75; more rows than 4 read the weights several times}}
  %y = qlinear.linear %x, %w
      : (tensor<?x32768xf16>, !qlinear.weight<16x32768, #q8>) -> tensor<?x16xf16>
  return %y : tensor<?x16xf16>
}
