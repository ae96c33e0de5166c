// RUN: quant-opt %s --qlinear-set-activations="format=float" | FileCheck %s
// RUN: quant-opt %s --qlinear-set-activations | FileCheck %s --check-prefix=INT8
// RUN: not quant-opt %s --qlinear-set-activations="format=bf16" 2>&1 | FileCheck %s --check-prefix=ERROR
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:sm_75 activations=float})' -o - | FileCheck %s --check-prefix=GPU
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{activations=float})' -o - | FileCheck %s --check-prefix=CPU
// RUN: not quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{activations=int4})' 2>&1 | FileCheck %s --check-prefix=INT4

// ERROR: error: activations cannot be 'bf16'; they are int8 (quantized per 32 columns) or float (as they are)
// INT4: error: activations cannot be 'int4'; they are int8

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
qlinear.parameter @w : !qlinear.weight<16x64, #q4>

// What says it already, or has no choice, is left alone.
// CHECK-LABEL: func @f
// CHECK: qlinear.linear {{.*}} {activations = #qlinear.activation_format<float>}
// CHECK: qlinear.linear {{.*}} {activations = #qlinear.activation_format<int8, block = 32>}
// CHECK: qlinear.linear %{{.*}}, %{{.*}} : (!qlinear.activations<?x64>,
// INT8-LABEL: func @f
// INT8-COUNT-2: qlinear.linear {{.*}} {activations = #qlinear.activation_format<int8, block = 32>}
// INT8: qlinear.linear %{{.*}}, %{{.*}} : (!qlinear.activations<?x64>,
//
// The float one is not quantized, inside or outside its kernels; the other ones are.
// GPU: qlinear.launch {{.*}} ins(%arg0) {{.*}}tensor<?x64xf16>) -> tensor<?x16xf16>
// GPU: gpu.func @linear0_m1
// GPU: llvm.call @ql_load_activations
// GPU: llvm.call @ql_stage_floats
// GPU: gpu.func @linear1_m1
// GPU: llvm.call @ql_stage_activations
// CPU-DAG: qlinear.launch {{.*}} ins(%arg0) {{.*}}tensor<?x64xf16>) -> tensor<?x16xf16>
// CPU-DAG: llvm.call @ql_cpu_add_float_unit
// CPU-DAG: llvm.call @ql_cpu_add_unit
func.func @f(%x: tensor<?x64xf16>, %a: !qlinear.activations<?x64>)
    -> (tensor<?x16xf16>, tensor<?x16xf16>, tensor<?x16xf16>) {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q4>
  %0 = qlinear.linear %x, %w : (tensor<?x64xf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xf16>
  %1 = qlinear.linear %x, %w {activations = #qlinear.activation_format<int8, block = 32>}
      : (tensor<?x64xf16>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xf16>
  %2 = qlinear.linear %a, %w : (!qlinear.activations<?x64>, !qlinear.weight<16x64, #q4>) -> tensor<?x16xf16>
  return %0, %1, %2 : tensor<?x16xf16>, tensor<?x16xf16>, tensor<?x16xf16>
}
