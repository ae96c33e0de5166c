// RUN: quant-opt %s --qlinear-to-reference --split-input-file | FileCheck %s
// RUN: quant-opt %s --qlinear-to-reference="accumulate=f32" --split-input-file | FileCheck %s --check-prefix=F32
// RUN: quant-opt %s --qlinear-to-reference="int8=true" --split-input-file | FileCheck %s --check-prefix=INT8

#q = #qlinear.encoding<u4, group = 32, min, scale = u6 * block<256, f16>, offset = u6 * block<256, f16>>

// The codes by (n, k), the metadata by group, the steps by 256 columns.
// CHECK-DAG: #[[$ID:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[$GROUP:.*]] = affine_map<(d0, d1) -> (d0, d1 floordiv 32)>
// CHECK-DAG: #[[$BLOCK:.*]] = affine_map<(d0, d1) -> (d0, d1 floordiv 256)>
// CHECK-DAG: #[[$X:.*]] = affine_map<(d0, d1, d2) -> (d0, d2)>
// CHECK-DAG: #[[$W:.*]] = affine_map<(d0, d1, d2) -> (d1, d2)>
// CHECK-DAG: #[[$Y:.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>

// CHECK-LABEL: func @linear(
// CHECK-SAME: %[[XS:.*]]: tensor<?x512xbf16>, %[[Q:.*]]: tensor<8x512xi4>, %[[S:.*]]: tensor<8x16xi6>, %[[D:.*]]: tensor<8x2xf16>)
// CHECK: %[[WD:.*]] = linalg.generic {indexing_maps = [#[[$ID]], #[[$GROUP]], #[[$GROUP]], #[[$BLOCK]], #[[$BLOCK]], #[[$ID]]]
// CHECK-SAME: ins(%[[Q]], %[[S]], %[[S]], %[[D]], %[[D]] :
// CHECK: linalg.yield %{{.*}} : f64
// CHECK: %[[XD:.*]] = linalg.generic
// CHECK: arith.extf %{{.*}} : bf16 to f64
// CHECK: %[[P:.*]] = linalg.generic {indexing_maps = [#[[$X]], #[[$W]], #[[$Y]]], iterator_types = ["parallel", "parallel", "reduction"]} ins(%[[XD]], %[[WD]] : tensor<?x512xf64>, tensor<8x512xf64>)
// CHECK: linalg.generic {{.*}} ins(%[[P]] :
// CHECK: arith.truncf %{{.*}} : f64 to bf16
// CHECK-NOT: qlinear.

// F32-LABEL: func @linear(
// F32: iterator_types = ["parallel", "parallel", "reduction"]} ins(%{{.*}}, %{{.*}} : tensor<?x512xf32>, tensor<8x512xf32>)

// INT8-LABEL: func @linear(
// INT8: arith.maximumf
// INT8: math.roundeven
func.func @linear(%x: tensor<?x512xbf16>, %q: tensor<8x512xi4>, %s: tensor<8x16xi6>, %d: tensor<8x2xf16>) -> tensor<?x8xbf16> {
  %w = qlinear.pack %q, %s offsets(%s) steps(%d, %d)
    : (tensor<8x512xi4>, tensor<8x16xi6>, tensor<8x16xi6>, tensor<8x2xf16>, tensor<8x2xf16>) -> !qlinear.weight<8x512, #q>
  %y = qlinear.linear %x, %w : (tensor<?x512xbf16>, !qlinear.weight<8x512, #q>) -> tensor<?x8xbf16>
  return %y : tensor<?x8xbf16>
}

// -----

// A linear that says what becomes of its activations is taken at its word.
// CHECK-LABEL: func @formats(
// CHECK: math.roundeven
// CHECK-NOT: math.roundeven
// INT8-LABEL: func @formats(
// INT8: math.roundeven
// INT8-NOT: math.roundeven
// INT8-LABEL: func @callee(
#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @formats(%x: tensor<?x64xbf16>, %w: !qlinear.weight<8x64, #q>) -> (tensor<?x8xbf16>, tensor<?x8xbf16>) {
  %y = qlinear.linear %x, %w {activations = #qlinear.activation_format<int8, block = 32>} : (tensor<?x64xbf16>, !qlinear.weight<8x64, #q>) -> tensor<?x8xbf16>
  %z = qlinear.linear %x, %w {activations = #qlinear.activation_format<float>} : (tensor<?x64xbf16>, !qlinear.weight<8x64, #q>) -> tensor<?x8xbf16>
  return %y, %z : tensor<?x8xbf16>, tensor<?x8xbf16>
}

// -----

// Values of qlinear types cross functions and loops as what they stand for.
// CHECK-LABEL: func @callee(
// CHECK-SAME: tensor<8x64xf64>, %{{.*}}: tensor<?x64xf64>) -> (tensor<8x64xf64>, tensor<?x64xf64>)
#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @callee(%w: !qlinear.weight<8x64, #q>, %a: !qlinear.activations<?x64>)
    -> (!qlinear.weight<8x64, #q>, !qlinear.activations<?x64>) {
  return %w, %a : !qlinear.weight<8x64, #q>, !qlinear.activations<?x64>
}
// CHECK-LABEL: func @caller(
// CHECK: call @callee({{.*}}) : (tensor<8x64xf64>, tensor<?x64xf64>) -> (tensor<8x64xf64>, tensor<?x64xf64>)
// CHECK: scf.if %{{.*}} -> (tensor<8x64xf64>)
func.func @caller(%c: i1, %w: !qlinear.weight<8x64, #q>, %x: tensor<?x64xf32>) -> tensor<8x64xf32> {
  %a = qlinear.quantize_activations %x : tensor<?x64xf32> -> !qlinear.activations<?x64>
  %v, %b = call @callee(%w, %a) : (!qlinear.weight<8x64, #q>, !qlinear.activations<?x64>) -> (!qlinear.weight<8x64, #q>, !qlinear.activations<?x64>)
  %u = scf.if %c -> !qlinear.weight<8x64, #q> {
    scf.yield %v : !qlinear.weight<8x64, #q>
  } else {
    scf.yield %w : !qlinear.weight<8x64, #q>
  }
  %d = qlinear.dequantize %u : !qlinear.weight<8x64, #q> -> tensor<8x64xf32>
  return %d : tensor<8x64xf32>
}

// -----

// A constant is re-encoded here: with a step per row, 0.5 and 1.0 are two codes.
// CHECK-LABEL: func @reencode
// CHECK-DAG: arith.constant dense<{{.*}}> : tensor<1x2xi8>
// CHECK-NOT: qlinear.
#a = #qlinear.encoding<i8, group = 16, symmetric, scale = f32>
#b = #qlinear.encoding<i8, group = 16, symmetric, scale = u8 * row<f32>>
func.func @reencode() -> tensor<1x32xf32> {
  %q = arith.constant dense<1> : tensor<1x32xi8>
  %s = arith.constant dense<[[0.5, 1.0]]> : tensor<1x2xf32>
  %w = qlinear.pack %q, %s : (tensor<1x32xi8>, tensor<1x2xf32>) -> !qlinear.weight<1x32, #a>
  %v = qlinear.reencode %w : !qlinear.weight<1x32, #a> to !qlinear.weight<1x32, #b>
  %d = qlinear.dequantize %v : !qlinear.weight<1x32, #b> -> tensor<1x32xf32>
  return %d : tensor<1x32xf32>
}
