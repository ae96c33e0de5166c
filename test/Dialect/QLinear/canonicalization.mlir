// RUN: quant-opt %s --canonicalize --split-input-file | FileCheck %s

#a = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
#b = #qlinear.encoding<u4, group = 32, zero, scale = f32, offset = f32>
#c = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
#k = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<f16>, offset = u4>

// A re-encoding to the same type is nothing.
// CHECK-LABEL: func @reencode_same(
// CHECK-SAME: %[[W:.*]]: !qlinear.weight
// CHECK-NEXT: return %[[W]]
func.func @reencode_same(%w: !qlinear.weight<8x64, #a>) -> !qlinear.weight<8x64, #a> {
  %0 = qlinear.reencode %w : !qlinear.weight<8x64, #a> to !qlinear.weight<8x64, #a>
  return %0 : !qlinear.weight<8x64, #a>
}

// f32 holds every bf16: the first step loses nothing and is skipped.
// CHECK-LABEL: func @reencode_through_lossless(
// CHECK-SAME: %[[W:.*]]: !qlinear.weight
// CHECK-NEXT: %[[V:.*]] = qlinear.reencode %[[W]] : !qlinear.weight<8x64, #u4_g32_zero> to
// CHECK-NEXT: return %[[V]]
func.func @reencode_through_lossless(%w: !qlinear.weight<8x64, #a>) -> !qlinear.weight<8x64, #c> {
  %0 = qlinear.reencode %w : !qlinear.weight<8x64, #a> to !qlinear.weight<8x64, #b>
  %1 = qlinear.reencode %0 : !qlinear.weight<8x64, #b> to !qlinear.weight<8x64, #c>
  return %1 : !qlinear.weight<8x64, #c>
}

// There and back.
// CHECK-LABEL: func @reencode_back(
// CHECK-SAME: %[[W:.*]]: !qlinear.weight
// CHECK-NEXT: return %[[W]]
func.func @reencode_back(%w: !qlinear.weight<8x64, #a>) -> !qlinear.weight<8x64, #a> {
  %0 = qlinear.reencode %w : !qlinear.weight<8x64, #a> to !qlinear.weight<8x64, #b>
  %1 = qlinear.reencode %0 : !qlinear.weight<8x64, #b> to !qlinear.weight<8x64, #a>
  return %1 : !qlinear.weight<8x64, #a>
}

// A product of an 8-bit code and an f16 step (11 bits) fits the 24 bits of f32.
// CHECK-LABEL: func @reencode_codes_to_f32
// CHECK-COUNT-1: qlinear.reencode
// CHECK-NEXT: return
func.func @reencode_codes_to_f32(%w: !qlinear.weight<8x64, #k>) -> !qlinear.weight<8x64, #c> {
  %0 = qlinear.reencode %w : !qlinear.weight<8x64, #k> to !qlinear.weight<8x64, #b>
  %1 = qlinear.reencode %0 : !qlinear.weight<8x64, #b> to !qlinear.weight<8x64, #c>
  return %1 : !qlinear.weight<8x64, #c>
}

// What the codes of c lose stays lost.
// CHECK-LABEL: func @reencode_through_lossy
// CHECK-COUNT-2: qlinear.reencode
func.func @reencode_through_lossy(%w: !qlinear.weight<8x64, #a>) -> !qlinear.weight<8x64, #b> {
  %0 = qlinear.reencode %w : !qlinear.weight<8x64, #a> to !qlinear.weight<8x64, #c>
  %1 = qlinear.reencode %0 : !qlinear.weight<8x64, #c> to !qlinear.weight<8x64, #b>
  return %1 : !qlinear.weight<8x64, #b>
}

// -----

#z = #qlinear.encoding<u4, group = 16, zero, scale = f32, offset = f32>
#s = #qlinear.encoding<i4, group = 16, symmetric, scale = i8 * row<f32>>

// 0.5 * (q - 3) in the first row, 2 * (q - 8) in the second.
// CHECK-LABEL: func @dequantize_constant
// CHECK: arith.constant dense<{{\[\[}}-1.500000e+00, -1.000000e+00, -5.000000e-01, 0.000000e+00, 5.000000e-01, {{.*}}, 6.000000e+00],
// CHECK-SAME: [-1.600000e+01, -1.400000e+01, {{.*}}, 1.400000e+01]]> : tensor<2x16xf64>
func.func @dequantize_constant() -> tensor<2x16xf64> {
  %q = arith.constant dense<[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
                             [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]]> : tensor<2x16xi4>
  %s = arith.constant dense<[[0.5], [2.0]]> : tensor<2x1xf32>
  %z = arith.constant dense<[[3.0], [8.0]]> : tensor<2x1xf32>
  %w = qlinear.pack %q, %s offsets(%z) : (tensor<2x16xi4>, tensor<2x1xf32>, tensor<2x1xf32>) -> !qlinear.weight<2x16, #z>
  %d = qlinear.dequantize %w : !qlinear.weight<2x16, #z> -> tensor<2x16xf64>
  return %d : tensor<2x16xf64>
}

// Signed codes and scale codes: (-2 * 0.25) * q. Splats and i8 containers too.
// CHECK-LABEL: func @dequantize_signed
// CHECK: arith.constant dense<[
// CHECK-SAME: [4.000000e+00, -3.500000e+00, 5.000000e-01, {{.*}}]]> : tensor<1x16xbf16>
func.func @dequantize_signed() -> tensor<1x16xbf16> {
  %q = arith.constant dense<[[-8, 7, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]> : tensor<1x16xi8>
  %s = arith.constant dense<-2> : tensor<1x1xi8>
  %t = arith.constant dense<0.25> : tensor<1xf32>
  %w = qlinear.pack %q, %s steps(%t) : (tensor<1x16xi8>, tensor<1x1xi8>, tensor<1xf32>) -> !qlinear.weight<1x16, #s>
  %d = qlinear.dequantize %w : !qlinear.weight<1x16, #s> -> tensor<1x16xbf16>
  return %d : tensor<1x16xbf16>
}

// A large weight stays packed: its floats would be many times the size.
// CHECK-LABEL: func @dequantize_large
// CHECK: qlinear.dequantize
func.func @dequantize_large() -> tensor<512x256xf32> {
  %q = arith.constant dense<1> : tensor<512x256xi4>
  %s = arith.constant dense<1.0> : tensor<512x16xf32>
  %w = qlinear.pack %q, %s offsets(%s) : (tensor<512x256xi4>, tensor<512x16xf32>, tensor<512x16xf32>) -> !qlinear.weight<512x256, #z>
  %d = qlinear.dequantize %w : !qlinear.weight<512x256, #z> -> tensor<512x256xf32>
  return %d : tensor<512x256xf32>
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
!w = !qlinear.weight<8x64, #q>
!x = tensor<?x64xbf16>
!y = tensor<?x8xbf16>

// CHECK-LABEL: func @plain_equal_weights(
// CHECK-SAME: %[[X:[^:]*]]: {{[^,]*}}, %[[W:[^:]*]]: !qlinear.weight<8x64, #i8_g32_symmetric>, %[[V:[^:]*]]:
// CHECK-NEXT: %[[Y:.*]]:2 = qlinear.linear %[[X]], %[[W]], %[[V]] :
// CHECK-NEXT: return %[[Y]]#0, %[[Y]]#1, %[[Y]]#0
func.func @plain_equal_weights(%x: !x, %w: !w, %v: !w) -> (!y, !y, !y) {
  %0:3 = qlinear.linear %x, %w, %v, %w : (!x, !w, !w, !w) -> (!y, !y, !y)
  return %0#0, %0#1, %0#2 : !y, !y, !y
}

// The same weight with results of two types is two results.
// CHECK-LABEL: func @plain_equal_weights_of_two_types
// CHECK: qlinear.linear %{{.*}}, %{{.*}}, %{{.*}} :
func.func @plain_equal_weights_of_two_types(%x: !x, %w: !w) -> (!y, tensor<?x8xf32>) {
  %0:2 = qlinear.linear %x, %w, %w : (!x, !w, !w) -> (!y, tensor<?x8xf32>)
  return %0#0, %0#1 : !y, tensor<?x8xf32>
}

// CHECK-LABEL: func @plain_unused_result(
// CHECK-SAME: %[[X:[^:]*]]: {{[^,]*}}, %[[W:[^:]*]]: !qlinear.weight<8x64, #i8_g32_symmetric>, %[[V:[^:]*]]:
// CHECK-NEXT: %[[Y:.*]] = qlinear.linear %[[X]], %[[V]] {keep, schedule = #schedule} :
// CHECK-NEXT: return %[[Y]]
func.func @plain_unused_result(%x: !x, %w: !w, %v: !w) -> !y {
  %0:2 = qlinear.linear %x, %w, %v {keep, schedule = #qlinear.schedule<pdl = false>} : (!x, !w, !w) -> (!y, !y)
  return %0#1 : !y
}

// CHECK-LABEL: func @no_use
// CHECK-NEXT: return
func.func @no_use(%x: !x, %w: !w) {
  %a = qlinear.quantize_activations %x : !x -> !qlinear.activations<?x64>
  %0 = qlinear.linear %a, %w : (!qlinear.activations<?x64>, !w) -> !y
  return
}

// CHECK-LABEL: func @identity
// CHECK-NEXT: %[[Y:.*]] = qlinear.linear %{{.*}}, %{{.*}} : ({{.*}}) -> tensor<?x8xbf16>
// CHECK-NEXT: return %[[Y]]
func.func @identity(%x: !x, %w: !w) -> !y {
  %0 = qlinear.linear %x, %w : (!x, !w) -> !y {
  ^bb0(%p: f32):
    %1 = arith.truncf %p : f32 to bf16
    qlinear.yield %1 : bf16
  }
  return %0 : !y
}

// Rounded toward zero is not what a linear without a region does.
// CHECK-LABEL: func @not_identity_rounding
// CHECK: arith.truncf %{{.*}} toward_zero
func.func @not_identity_rounding(%x: !x, %w: !w) -> !y {
  %0 = qlinear.linear %x, %w : (!x, !w) -> !y {
  ^bb0(%p: f32):
    %1 = arith.truncf %p toward_zero : f32 to bf16
    qlinear.yield %1 : bf16
  }
  return %0 : !y
}

// Swapped products stay a region.
// CHECK-LABEL: func @not_identity_swapped
// CHECK: ^bb0(%[[P:.*]]: f32, %[[Q:.*]]: f32):
// CHECK-NEXT: qlinear.yield %[[Q]], %[[P]]
func.func @not_identity_swapped(%x: !x, %w: !w, %v: !w) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %0:2 = qlinear.linear %x, %w, %v : (!x, !w, !w) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  ^bb0(%p: f32, %q: f32):
    qlinear.yield %q, %p : f32, f32
  }
  return %0#0, %0#1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: func @epilogue_operands(
// CHECK-SAME: %[[X:[^:]*]]: {{[^,]*}}, %[[W:[^:]*]]: {{[^%]*}}, %[[V:[^:]*]]: {{[^%]*}}, %[[B:[^:]*]]: {{[^,]*}}, %[[C:[^:]*]]:
// CHECK-NEXT: qlinear.linear %[[X]], %[[W]] extras(%[[B]]) :
// CHECK-NEXT: ^bb0(%[[P:.*]]: f32, %[[E:.*]]: f32):
// CHECK-NEXT: arith.mulf %[[P]], %[[P]]
// CHECK-NEXT: arith.addf %{{.*}}, %[[E]]
// CHECK-NEXT: arith.addf %{{.*}}, %[[E]]
// CHECK-NEXT: qlinear.yield
func.func @epilogue_operands(%x: !x, %w: !w, %v: !w, %b: tensor<8xf32>, %c: tensor<8xf32>) -> tensor<?x8xf32> {
  %0:2 = qlinear.linear %x, %w, %v, %w extras(%b, %c, %b)
      : (!x, !w, !w, !w, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  ^bb0(%p: f32, %unused: f32, %q: f32, %e: f32, %unused_too: f32, %f: f32):
    %1 = arith.mulf %p, %q : f32
    %2 = arith.addf %1, %e : f32
    %3 = arith.addf %2, %f : f32
    %4 = arith.mulf %3, %3 : f32
    qlinear.yield %3, %4 : f32, f32
  }
  return %0#0 : tensor<?x8xf32>
}

// One weight stays, even without a use.
// CHECK-LABEL: func @epilogue_of_constant
// CHECK: qlinear.linear %{{.*}}, %{{.*}} :
// CHECK-NEXT: ^bb0(%{{.*}}: f32):
// CHECK-NEXT: %[[C:.*]] = arith.constant
// CHECK-NEXT: qlinear.yield %[[C]]
func.func @epilogue_of_constant(%x: !x, %w: !w, %v: !w) -> tensor<?x8xf32> {
  %0 = qlinear.linear %x, %w, %v : (!x, !w, !w) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %1 = arith.constant 1.0 : f32
    qlinear.yield %1 : f32
  }
  return %0 : tensor<?x8xf32>
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
!w = !qlinear.weight<8x64, #q>

// A known number of rows is kept; so are the attributes and the epilogue.
// CHECK-LABEL: func @static_rows(
// CHECK-SAME: %[[X:[^:]*]]: tensor<4x64xbf16>
// CHECK-NEXT: %[[Y:.*]] = qlinear.linear %[[X]], %{{.*}} extras(%{{.*}}) {keep} : ({{.*}}) -> tensor<4x8xf32> {
// CHECK: arith.addf
// CHECK: %[[C:.*]] = tensor.cast %[[Y]] : tensor<4x8xf32> to tensor<?x8xf32>
// CHECK-NEXT: return %[[C]]
func.func @static_rows(%x: tensor<4x64xbf16>, %w: !w, %r: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %d = tensor.cast %x : tensor<4x64xbf16> to tensor<?x64xbf16>
  %0 = qlinear.linear %d, %w extras(%r) {keep} : (tensor<?x64xbf16>, !w, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %e: f32):
    %1 = arith.addf %p, %e : f32
    qlinear.yield %1 : f32
  }
  return %0 : tensor<?x8xf32>
}

// Rows that contradict an extra are an error of the program at run time, not ours.
// CHECK-LABEL: func @static_rows_contradict
// CHECK: tensor.cast
// CHECK-NEXT: qlinear.linear
func.func @static_rows_contradict(%x: tensor<4x64xbf16>, %w: !w, %r: tensor<2x8xf32>) -> tensor<?x8xf32> {
  %d = tensor.cast %x : tensor<4x64xbf16> to tensor<?x64xbf16>
  %0 = qlinear.linear %d, %w extras(%r) : (tensor<?x64xbf16>, !w, tensor<2x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %e: f32):
    %1 = arith.addf %p, %e : f32
    qlinear.yield %1 : f32
  }
  return %0 : tensor<?x8xf32>
}

// A cast that forgets K does not verify as an operand; one that learns it is kept.
// CHECK-LABEL: func @learned_columns
// CHECK: tensor.cast
// CHECK-NEXT: qlinear.linear
func.func @learned_columns(%x: tensor<?x?xbf16>, %w: !w) -> tensor<?x8xf32> {
  %d = tensor.cast %x : tensor<?x?xbf16> to tensor<?x64xbf16>
  %0 = qlinear.linear %d, %w : (tensor<?x64xbf16>, !w) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

// Codes in a resource, one byte each; the high half of a byte means nothing.
// CHECK-LABEL: func @dequantize_resource
// CHECK: arith.constant dense<{{\[\[}}0.000000e+00, 2.000000e+00, 4.000000e+00, {{.*}}, -2.000000e+00]]> : tensor<1x16xf32>
#s = #qlinear.encoding<i4, group = 16, symmetric, scale = f32>
func.func @dequantize_resource() -> tensor<1x16xf32> {
  %q = arith.constant dense_resource<codes> : tensor<1x16xi4>
  %s = arith.constant dense<2.0> : tensor<1x1xf32>
  %w = qlinear.pack %q, %s : (tensor<1x16xi4>, tensor<1x1xf32>) -> !qlinear.weight<1x16, #s>
  %d = qlinear.dequantize %w : !qlinear.weight<1x16, #s> -> tensor<1x16xf32>
  return %d : tensor<1x16xf32>
}

// A resource whose data is not there stays.
// CHECK-LABEL: func @dequantize_missing_resource
// CHECK: qlinear.dequantize
func.func @dequantize_missing_resource() -> tensor<1x16xf32> {
  %q = arith.constant dense_resource<missing> : tensor<1x16xi4>
  %s = arith.constant dense<2.0> : tensor<1x1xf32>
  %w = qlinear.pack %q, %s : (tensor<1x16xi4>, tensor<1x1xf32>) -> !qlinear.weight<1x16, #s>
  %d = qlinear.dequantize %w : !qlinear.weight<1x16, #s> -> tensor<1x16xf32>
  return %d : tensor<1x16xf32>
}

// The number that kernels get. With a storage as kind + 16 type + 256 bits + 2^13 sign
// + 2^14 scope: 4 + 2^12 (zero) + 2^15 * 5 (32 = 2^5) + 18434 * (2^20 + 2^40) for
// #row_u8, and 6 + 16 (signed) + 2^15 * 4 + 43026 * 2^20 for #q6_k.
// CHECK-LABEL: func @spec
// CHECK-DAG: arith.constant 20268416676040708 : i64
// CHECK-DAG: arith.constant 45116162070 : i64
#row_u8 = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
#q6_k = #qlinear.encoding<i6, group = 16, symmetric, scale = i8 * block<256, f16>>
func.func @spec() -> (i64, i64) {
  %a = qlinear.spec #row_u8
  %b = qlinear.spec #q6_k
  return %a, %b : i64, i64
}

{-#
  dialect_resources: {
    builtin: {
      codes: "0x010000000001020304050607F8F9FAFBFCFDFEFF"
    }
  }
#-}
