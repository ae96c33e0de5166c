// The expressions of rules are ECMAScript's, for weights in archives and in the IR alike.

// RUN: quant-opt %s --qlinear-compact-metadata='encoding=bf16 rules=layers\.\d+\.=row-u8,(?:^|_)head$=block-u8' \
// RUN:   | FileCheck %s
// RUN: not quant-opt %s --qlinear-compact-metadata='rules=layers(=row-u8' 2>&1 | FileCheck %s --check-prefix=BAD
// BAD: error: rule 'layers(=row-u8' of qlinear-compact-metadata is not REGEX=ENCODING ({{.*}} is not a regular expression: {{.*}})

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = f32, offset = f32>

// CHECK-DAG: #[[$ROW:.*]] = #qlinear.encoding<{{.*}}scale = u8 * row<bf16>
// CHECK-DAG: #[[$BLOCK:.*]] = #qlinear.encoding<{{.*}}scale = u8 * block<256, f16>
// CHECK-DAG: #[[$PLAIN:.*]] = #qlinear.encoding<{{.*}}scale = bf16
// CHECK: parameter @p : !qlinear.weight<16x256, #[[$ROW]]>
// CHECK: parameter @q : !qlinear.weight<16x256, #[[$PLAIN]]>
// CHECK: parameter @lm_head : !qlinear.weight<16x256, #[[$BLOCK]]>
qlinear.parameter @p : !qlinear.weight<16x256, #q4> from "layers.17.up"
qlinear.parameter @q : !qlinear.weight<16x256, #q4> from "layers.d.up"
qlinear.parameter @lm_head : !qlinear.weight<16x256, #q4>

// CHECK-LABEL: func @constants
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<16x256, #[[$ROW]]>
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<16x256, #[[$PLAIN]]>
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<16x256, #[[$BLOCK]]>
func.func @constants(%x: tensor<?x256xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>) {
  %c = arith.constant dense<3> : tensor<16x256xi4>
  %s = arith.constant dense<0.5> : tensor<16x8xf32>
  %z = arith.constant dense<2.0> : tensor<16x8xf32>
  %a = qlinear.pack %c, %s offsets(%z) : (tensor<16x256xi4>, tensor<16x8xf32>, tensor<16x8xf32>) -> !qlinear.weight<16x256, #q4> loc("layers.17.up")
  %b = qlinear.pack %c, %s offsets(%z) : (tensor<16x256xi4>, tensor<16x8xf32>, tensor<16x8xf32>) -> !qlinear.weight<16x256, #q4> loc("layers.d.up")
  %h = qlinear.pack %c, %s offsets(%z) : (tensor<16x256xi4>, tensor<16x8xf32>, tensor<16x8xf32>) -> !qlinear.weight<16x256, #q4> loc("lm_head")
  %0 = qlinear.linear %x, %a : (tensor<?x256xf32>, !qlinear.weight<16x256, #q4>) -> tensor<?x16xf32>
  %1 = qlinear.linear %x, %b : (tensor<?x256xf32>, !qlinear.weight<16x256, #q4>) -> tensor<?x16xf32>
  %2 = qlinear.linear %x, %h : (tensor<?x256xf32>, !qlinear.weight<16x256, #q4>) -> tensor<?x16xf32>
  return %0, %1, %2 : tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>
}
