// What --emit writes, for each kind of target.

// RUN: quant-compile %s --target=cuda:sm_90 --emit=mlir -o - | FileCheck %s --check-prefix=MLIR
// RUN: quant-compile %s --target=cuda:sm_80 --emit=ptx -o - | FileCheck %s --check-prefix=PTX
// RUN: quant-compile %s --target=cpu:portable --emit=llvm -o - | FileCheck %s --check-prefix=CPU
// RUN: quant-compile %s --target=cuda:emulated --emit=llvm -o - | FileCheck %s --check-prefix=EMU
// RUN: quant-compile %s --target=cuda:emulated --emit=obj -o %t.o
// RUN: llvm-nm %t.o | FileCheck %s --check-prefix=OBJ

// The input's own linear is gone, a launch with its kernels is there.
// MLIR-NOT: qlinear.linear
// MLIR: qlinear.launch
// MLIR-SAME: rows = 1
// MLIR: gpu.module

// PTX: .target sm_80
// PTX: .visible .entry
// PTX-NOT: call

// CPU: define {{.*}}void @cpu_portable.linear0_m1(ptr{{.*}}, i32{{.*}}, i64{{.*}}, i64
// EMU-NOT: nvptx
// EMU: define void @cuda_emulated.linear0_m1(ptr
// EMU-NOT: declare {{.*}}@llvm.nvvm

// Only the descriptor and the functions leave the object.
// OBJ-DAG: T narrow
// OBJ-DAG: {{[DR]}} qlinear_artifact
// OBJ-DAG: U qlr_call

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
qlinear.parameter @w : !qlinear.weight<16x64, #q4>
func.func @narrow(%x: tensor<1x64xbf16>) -> tensor<1x16xbf16> {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  %y = qlinear.linear %x, %w
      : (tensor<1x64xbf16>, !qlinear.weight<16x64, #q4>) -> tensor<1x16xbf16>
  return %y : tensor<1x16xbf16>
}
