// The number of rows of a result is that of x.
// RUN: quant-opt %s --resolve-ranked-shaped-type-result-dims --canonicalize --split-input-file | FileCheck %s

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
!w = !qlinear.weight<8x64, #q>

// CHECK-LABEL: func @linear(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x64xbf16>
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C8:.*]] = arith.constant 8 : index
// CHECK-DAG: %[[M:.*]] = tensor.dim %[[X]], %[[C0]]
// CHECK: return %[[M]], %[[C8]], %[[M]]
func.func @linear(%x: tensor<?x64xbf16>, %w: !w) -> (index, index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = qlinear.quantize_activations %x : tensor<?x64xbf16> -> !qlinear.activations<?x64>
  %y = qlinear.linear %a, %w : (!qlinear.activations<?x64>, !w) -> tensor<?x8xf32>
  %e = qlinear.dequantize %a : !qlinear.activations<?x64> -> tensor<?x64xf32>
  %0 = tensor.dim %y, %c0 : tensor<?x8xf32>
  %1 = tensor.dim %y, %c1 : tensor<?x8xf32>
  %2 = tensor.dim %e, %c0 : tensor<?x64xf32>
  return %0, %1, %2 : index, index, index
}

// -----

func.func private @k()

// CHECK-LABEL: func @launch(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x64xbf16>
// CHECK: %[[M:.*]] = tensor.dim %[[X]], %{{.*}}
// CHECK: return %[[M]]
func.func @launch(%x: tensor<?x64xbf16>) -> index {
  %c0 = arith.constant 0 : index
  %y = qlinear.launch [#qlinear.variant<rows = 1, kernel = @k, items = 1>] ins(%x) : (tensor<?x64xbf16>) -> tensor<?x8xf32>
  %0 = tensor.dim %y, %c0 : tensor<?x8xf32>
  return %0 : index
}

// -----

// Activations from outside do not tell their rows: nothing changes.
// CHECK-LABEL: func @unknown
// CHECK: qlinear.dequantize
// CHECK: tensor.dim
func.func @unknown(%a: !qlinear.activations<?x64>) -> index {
  %c0 = arith.constant 0 : index
  %e = qlinear.dequantize %a : !qlinear.activations<?x64> -> tensor<?x64xf32>
  %0 = tensor.dim %e, %c0 : tensor<?x64xf32>
  return %0 : index
}
