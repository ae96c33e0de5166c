// The distribution's own mlir-opt loads the plugin and knows the dialect.

// RUN: %mlir_opt --load-dialect-plugin=%libs/QLinearPlugin.so %s | FileCheck %s
// RUN: not %mlir_opt %s 2>&1 | FileCheck %s --check-prefix=WITHOUT

// WITHOUT: attribute created with unregistered dialect

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>

// CHECK-LABEL: qlinear.parameter @w : !qlinear.weight<64x128, #{{.*}}> from "ffn"
qlinear.parameter @w : !qlinear.weight<64x128, #q4> from "ffn"

// CHECK: func.func @linear
func.func @linear(%x: tensor<?x128xbf16>) -> tensor<?x64xbf16> {
  // CHECK: qlinear.load @w
  %w = qlinear.load @w : !qlinear.weight<64x128, #q4>
  // CHECK: qlinear.linear
  %y = qlinear.linear %x, %w
      : (tensor<?x128xbf16>, !qlinear.weight<64x128, #q4>) -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}
