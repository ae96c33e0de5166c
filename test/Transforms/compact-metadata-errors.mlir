// RUN: quant-opt %s --qlinear-compact-metadata=encoding=row-u8 --split-input-file --verify-diagnostics
// RUN: not quant-opt %s --split-input-file --qlinear-compact-metadata=encoding=u9 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not quant-opt %s --split-input-file --qlinear-compact-metadata=rules=[=row-u8 2>&1 | FileCheck %s --check-prefix=RULE
// RUN: not quant-opt %s --split-input-file --qlinear-compact-metadata=archive=x 2>&1 | FileCheck %s --check-prefix=OUTPUT
// RUN: not quant-opt %s --split-input-file '--qlinear-compact-metadata=archive=x output=%t' 2>&1 | FileCheck %s --check-prefix=FIXED
// RUN: not quant-opt %s --split-input-file --qlinear-compact-metadata=min-snr=nan 2>&1 | FileCheck %s --check-prefix=SNR
// RUN: not quant-opt %s --split-input-file --qlinear-compact-metadata=min-snr=-1 2>&1 | FileCheck %s --check-prefix=SNR

// SNR: error: qlinear-compact-metadata: min-snr = {{nan|-1}} is not a number of dB from 0 to 200
// RULE: error: rule '[=row-u8' of qlinear-compact-metadata is not REGEX=ENCODING
// OUTPUT: error: qlinear-compact-metadata: archive and output go together: archive is read, output is written; give both or neither

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
// NAME: error: 'qlinear.parameter' op cannot have the encoding 'u9'
qlinear.parameter @up : !qlinear.weight<16x256, #q4>

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @nan(%x: tensor<?x64xf32>) -> tensor<?x1xf32> {
  %q = arith.constant dense<3> : tensor<1x64xi8>
  %s = arith.constant dense<[[1.0, 0x7FC0]]> : tensor<1x2xbf16>
  %z = arith.constant dense<[[8.0, 4.0]]> : tensor<1x2xbf16>
  // expected-error @+1 {{cannot be re-encoded: scale}}
  %w = qlinear.pack %q, %s offsets(%z)
      : (tensor<1x64xi8>, tensor<1x2xbf16>, tensor<1x2xbf16>) -> !qlinear.weight<1x64, #q4>
  %y = qlinear.linear %x, %w : (tensor<?x64xf32>, !qlinear.weight<1x64, #q4>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @fixed : !qlinear.weight<16x256, #q4>
func.func @user() -> !qlinear.weight<16x256, #q4> {
  %w = qlinear.load @fixed : !qlinear.weight<16x256, #q4>
  // FIXED: error: 'func.return' op needs the type of parameter @fixed, which re-encoding x changes; convert with qlinear.reencode there
  return %w : !qlinear.weight<16x256, #q4>
}
