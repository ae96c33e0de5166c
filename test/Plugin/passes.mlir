// Our passes and pipelines, with options, in a textual pipeline of the distribution's
// mlir-opt.

// RUN: %mlir_opt --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   --load-pass-plugin=%libs/QLinearPlugin.so \
// RUN:   --pass-pipeline='builtin.module(qlinear-fuse{consumers=false},canonicalize)' %s \
// RUN:   | FileCheck %s --check-prefix=FUSE

// RUN: %mlir_opt --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   --load-pass-plugin=%libs/QLinearPlugin.so \
// RUN:   --pass-pipeline='builtin.module(qlinear-cpu)' %s | FileCheck %s --check-prefix=CPU

// RUN: %mlir_opt --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   --load-pass-plugin=%libs/QLinearPlugin.so \
// RUN:   --pass-pipeline='builtin.module(qlinear-cuda)' %s | FileCheck %s --check-prefix=CUDA

// RUN: %mlir_opt --load-dialect-plugin=%libs/QLinearPlugin.so \
// RUN:   --load-pass-plugin=%libs/QLinearPlugin.so \
// RUN:   --pass-pipeline='builtin.module(qlinear-cpu{target=cpu:portable raise=true encoding=row-u8 min-snr=40 fuse=false quantize-activations=false schedule-table=})' %s \
// RUN:   | FileCheck %s --check-prefix=OPTIONS

// OPTIONS: scale = u8 * row<bf16>
// OPTIONS-LABEL: func.func @two
// OPTIONS-COUNT-2: weights(

// CPU: func.func @two
// CPU: qlinear.launch [#qlinear.variant<rows = 1,
// CPU: llvm.func @linear0_m1({{.*}}) attributes {qlinear.kernel}

// CUDA: func.func @two
// CUDA: qlinear.launch [#qlinear.variant<rows = 1, kernel = @[[MODULE:.*]]::@linear0_m1,
// CUDA: gpu.module @[[MODULE]] [#nvvm.target<

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>

qlinear.parameter @a : !qlinear.weight<64x128, #q4>
qlinear.parameter @b : !qlinear.weight<32x128, #q4>

// FUSE-LABEL: func.func @two
// FUSE: qlinear.linear %{{.*}}, %{{.*}}, %{{.*}} :
// FUSE-NOT: qlinear.linear
func.func @two(%x: tensor<?x128xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>) {
  %a = qlinear.load @a : !qlinear.weight<64x128, #q4>
  %b = qlinear.load @b : !qlinear.weight<32x128, #q4>
  %y = qlinear.linear %x, %a
      : (tensor<?x128xf32>, !qlinear.weight<64x128, #q4>) -> tensor<?x64xf32>
  %z = qlinear.linear %x, %b
      : (tensor<?x128xf32>, !qlinear.weight<32x128, #q4>) -> tensor<?x32xf32>
  return %y, %z : tensor<?x64xf32>, tensor<?x32xf32>
}
