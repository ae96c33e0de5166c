// RUN: quant-opt %s --qlinear-compact-metadata=encoding=row-u8 --remarks-filter='qlinear.*' 2>%t.remarks | FileCheck %s --check-prefix=ROW
// RUN: FileCheck %s --check-prefix=REMARK --input-file=%t.remarks
// RUN: quant-opt %s --qlinear-compact-metadata=encoding=lossless --remarks-filter='qlinear.*' 2>%t.lossless -o /dev/null
// RUN: FileCheck %s --check-prefix=LOSSLESS --input-file=%t.lossless
// RUN: quant-opt %s --qlinear-compact-metadata | FileCheck %s --check-prefix=AUTO
// RUN: quant-opt %s --qlinear-compact-metadata='encoding=bf16 rules=^up$=block-u8' | FileCheck %s --check-prefix=RULES

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
#q4_k = #qlinear.encoding<u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>>

// Without an archive a named encoding changes the types of parameters and loads.
// ROW-DAG: #[[$ROW:.*]] = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
// ROW: qlinear.parameter @up : !qlinear.weight<16x256, #[[$ROW]]>
// RULES-DAG: #[[$BLOCK:.*]] = #qlinear.encoding<u4, group = 32, zero, scale = u8 * block<256, f16>, offset = u8 * block<256, f16>>
// RULES: qlinear.parameter @up : !qlinear.weight<16x256, #[[$BLOCK]]>
// LOSSLESS: [Missed] CompactMetadata {{.*}}lossless keeps what is stored
// REMARK: remark: [Passed] CompactMetadata {{.*}}quant-pack --encoding 'row-u8'{{.*}}Remark=up
qlinear.parameter @up : !qlinear.weight<16x256, #q4>
qlinear.parameter @down : !qlinear.weight<16x256, #q4_k>

// ROW-LABEL: func @parameters
// ROW: qlinear.load @up : !qlinear.weight<16x256, #[[$ROW]]>
func.func @parameters(%x: tensor<?x256xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>) {
  %w = qlinear.load @up : !qlinear.weight<16x256, #q4>
  %v = qlinear.load @down : !qlinear.weight<16x256, #q4_k>
  %y = qlinear.linear %x, %w : (tensor<?x256xf32>, !qlinear.weight<16x256, #q4>) -> tensor<?x16xf32>
  %z = qlinear.linear %x, %v : (tensor<?x256xf32>, !qlinear.weight<16x256, #q4_k>) -> tensor<?x16xf32>
  return %y, %z : tensor<?x16xf32>, tensor<?x16xf32>
}

// Constants are re-encoded in place; the codes stay as they are. The two scales of
// the row share a step, and so do the zeros.
// ROW-LABEL: func @constants
// ROW-DAG: %[[Q:.*]] = arith.constant dense<3> : tensor<1x64xi4>
// ROW-DAG: %[[S:.*]] = arith.constant dense<{{.*}}> : tensor<1x2xi8>
// ROW-DAG: %[[STEP:.*]] = arith.constant dense<3.9{{.*}}e-03> : tensor<1xbf16>
// ROW: qlinear.pack %[[Q]], %{{.*}} offsets(%{{.*}}) steps(%{{.*}}, %{{.*}})
// ROW-SAME: -> !qlinear.weight<1x64, #[[$ROW]]>
// ROW: qlinear.linear {{.*}} !qlinear.weight<1x64, #[[$ROW]]>
// Whole zeros take 4 bits, and the scales are powers of two.
// AUTO-DAG: #[[$AUTO:.*]] = #qlinear.encoding<u4, group = 32, zero, scale = e8m0, offset = u4>
// AUTO-LABEL: func @constants
// AUTO: -> !qlinear.weight<1x64, #[[$AUTO]]>
// RULES-LABEL: func @constants
// RULES: -> !qlinear.weight<1x64, #{{.*}}>
func.func @constants(%x: tensor<?x64xf32>) -> tensor<?x1xf32> {
  %q = arith.constant dense<3> : tensor<1x64xi8>
  %s = arith.constant dense<[[1.0, 0.5]]> : tensor<1x2xbf16>
  %z = arith.constant dense<[[8.0, 4.0]]> : tensor<1x2xbf16>
  %w = qlinear.pack %q, %s offsets(%z)
      : (tensor<1x64xi8>, tensor<1x2xbf16>, tensor<1x2xbf16>) -> !qlinear.weight<1x64, #q4>
  %y = qlinear.linear %x, %w : (tensor<?x64xf32>, !qlinear.weight<1x64, #q4>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// REMARK: [Passed] CompactMetadata {{.*}}bits-after={{[0-9.]+}}, bits-before={{[0-9.]+}}, {{.*}}snr-db={{[5-9][0-9]}}
// LOSSLESS: [Passed] CompactMetadata {{.*}}snr-db=lossless

// A weight that is returned keeps its type; so does one whose components are not
// constants.
// REMARK: [Missed]
// REMARK-SAME: func.return needs this type
// REMARK: [Missed]
// REMARK-SAME: its components are not constants
func.func @escapes(%s: tensor<1x2xbf16>) -> (!qlinear.weight<1x64, #q4>, tensor<1x64xf32>) {
  %q = arith.constant dense<3> : tensor<1x64xi8>
  %c = arith.constant dense<1.0> : tensor<1x2xbf16>
  %w = qlinear.pack %q, %c offsets(%c)
      : (tensor<1x64xi8>, tensor<1x2xbf16>, tensor<1x2xbf16>) -> !qlinear.weight<1x64, #q4>
  %v = qlinear.pack %q, %s offsets(%c)
      : (tensor<1x64xi8>, tensor<1x2xbf16>, tensor<1x2xbf16>) -> !qlinear.weight<1x64, #q4>
  %d = qlinear.dequantize %v : !qlinear.weight<1x64, #q4> -> tensor<1x64xf32>
  return %w, %d : !qlinear.weight<1x64, #q4>, tensor<1x64xf32>
}
