// A program whose weights lie in an archive, which its environment names; without it a
// launch says what is missing, and the program ends, or does what its hook does.

// RUN: rm -rf %t && mkdir -p %t
// RUN: %python %src/test/Emulated/Inputs/matrix.py 8 %t quant-pack
// DEFINE: %{lower} = convert-linalg-to-loops,convert-scf-to-cf,expand-strided-metadata,lower-affine,convert-math-to-llvm,convert-to-llvm,reconcile-unrealized-casts
// DEFINE: %{libraries} = %mlir_libs/libmlir_runner_utils.so,%mlir_libs/libmlir_c_runner_utils.so,%libs/libQLinearRuntime.so
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{target=cpu:portable},one-shot-bufferize{bufferize-function-boundaries},qlinear-to-runtime{prefix=layers},%{lower})' -o %t/m.mlir
// RUN: env QLINEAR_WEIGHTS=%t/weights.safetensors QLINEAR_DEVICE=cpu:1 mlir-runner %t/m.mlir \
// RUN:   -e main --entry-point-result=void --shared-libs=%{libraries} > %t/actual.txt
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-to-reference{int8 weights=%t/weights.safetensors},one-shot-bufferize{bufferize-function-boundaries},%{lower})' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} > %t/expected.txt
// RUN: %python %S/Inputs/compare.py %t/actual.txt %t/expected.txt
// RUN: not env -u QLINEAR_WEIGHTS mlir-runner %t/m.mlir -e main --entry-point-result=void \
// RUN:   --shared-libs=%{libraries} 2>&1 | FileCheck %s --implicit-check-not=bug
// CHECK: qlinear: weight 'w35' is in an archive, and none is named; set the environment's QLINEAR_WEIGHTS to it, or call the module's qlinear_open(device, archive) before the first launch
//
// RUN: %cc -shared -fPIC -I %src/runtime/include %S/Inputs/hook.c -L %libs -lQLinearRuntime -Wl,-rpath,%libs -o %t/hook.so
// RUN: not env -u QLINEAR_WEIGHTS mlir-runner %t/m.mlir -e main --entry-point-result=void \
// RUN:   --shared-libs=%{libraries},%t/hook.so 2>&1 | FileCheck %s --check-prefix=HOOK
// HOOK-NOT: qlinear:
// HOOK: the hook of 7 got 2: weight 'w35' is in an archive

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<33x384, #q8> from "w35"
func.func private @printMemrefF32(tensor<*xf32>) attributes {llvm.emit_c_interface}
func.func @main() {
  %e = tensor.empty() : tensor<3x384xf32>
  %x = linalg.generic {indexing_maps = [affine_map<(m, k) -> (m, k)>],
      iterator_types = ["parallel", "parallel"]} outs(%e : tensor<3x384xf32>) {
  ^bb0(%o: f32):
    %m = linalg.index 0 : index
    %k = linalg.index 1 : index
    %c7 = arith.constant 7 : index
    %c50 = arith.constant 50 : index
    %0 = arith.muli %k, %c7 : index
    %1 = arith.addi %0, %m : index
    %2 = arith.remui %1, %c50 : index
    %3 = arith.index_cast %2 : index to i32
    %4 = arith.sitofp %3 : i32 to f32
    linalg.yield %4 : f32
  } -> tensor<3x384xf32>
  %w = qlinear.load @w : !qlinear.weight<33x384, #q8>
  %y = qlinear.linear %x, %w
      : (tensor<3x384xf32>, !qlinear.weight<33x384, #q8>) -> tensor<3x33xf32>
  %any = tensor.cast %y : tensor<3x33xf32> to tensor<*xf32>
  call @printMemrefF32(%any) : (tensor<*xf32>) -> ()
  return
}
