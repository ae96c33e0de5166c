// RUN: quant-opt %s --qlinear-flatten-rows --canonicalize --split-input-file | FileCheck %s
// RUN: quant-opt %s --qlinear-flatten-rows --canonicalize --qlinear-flatten-rows=signatures --canonicalize \
// RUN:   --split-input-file --remarks-filter=qlinear-flatten-rows 2> %t.err | FileCheck %s --check-prefix=ROWS
// RUN: FileCheck %s --check-prefix=REMARK < %t.err

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f32>
qlinear.parameter @w : !qlinear.weight<8x64, #q8>
#btn = affine_map<(b, t, n) -> (b, t, n)>
#n = affine_map<(b, t, n) -> (n)>

// Elementwise operations of three dimensions work on rows; a broadcast bias is read by columns.
// CHECK-LABEL: func.func @static
// CHECK: %[[X:.*]] = tensor.collapse_shape %{{.*}} {{\[\[}}0, 1], [2]]
// CHECK: %[[Y:.*]] = qlinear.linear %[[X]]
// CHECK: %[[Z:.*]] = linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<{{.*}}8xf32>, tensor<{{.*}}8xf32>)
// CHECK: %[[R:.*]] = linalg.generic {{.*}} ins(%[[Z]] : tensor<6x8xf32>)
// CHECK: tensor.expand_shape %[[R]] {{\[\[}}0, 1], [2]] output_shape [2, 3, 8]
// ROWS-LABEL: func.func @static(%arg0: tensor<6x64xf32>, %arg1: tensor<8xf32>) -> tensor<6x8xf32>
// ROWS-NOT: tensor.expand_shape
// REMARK: [Passed] FlattenRows {{.*}}argument 0 of 'static', 'tensor<2x3x64xf32>', becomes 'tensor<6x64xf32>': its first dimensions are the rows of a linear
// REMARK: [Passed] FlattenRows {{.*}}result 0 of 'static', 'tensor<2x3x8xf32>', becomes 'tensor<6x8xf32>'
func.func @static(%x: tensor<2x3x64xf32>, %b: tensor<8xf32>) -> tensor<2x3x8xf32> {
  %w = qlinear.load @w : !qlinear.weight<8x64, #q8>
  %c = tensor.collapse_shape %x [[0, 1], [2]] : tensor<2x3x64xf32> into tensor<6x64xf32>
  %y = qlinear.linear %c, %w : (tensor<6x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<6x8xf32>
  %e = tensor.expand_shape %y [[0, 1], [2]] output_shape [2, 3, 8] : tensor<6x8xf32> into tensor<2x3x8xf32>
  %i = tensor.empty() : tensor<2x3x8xf32>
  %wide = linalg.broadcast ins(%b : tensor<8xf32>) outs(%i : tensor<2x3x8xf32>) dimensions = [0, 1]
  %z = linalg.generic {indexing_maps = [#btn, #btn, #btn], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%e, %wide : tensor<2x3x8xf32>, tensor<2x3x8xf32>) outs(%i : tensor<2x3x8xf32>) {
  ^bb0(%a: f32, %c0: f32, %o: f32):
    %0 = arith.addf %a, %c0 : f32
    linalg.yield %0 : f32
  } -> tensor<2x3x8xf32>
  %r = math.tanh %z : tensor<2x3x8xf32>
  return %r : tensor<2x3x8xf32>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f32>
qlinear.parameter @w : !qlinear.weight<8x64, #q8>
#btn = affine_map<(b, t, n) -> (b, t, n)>

// Two dynamic dimensions, and a bias.
// ROWS-LABEL: func.func @dynamic(%arg0: tensor<?x64xf32>) -> tensor<?x8xf32>
// ROWS: %[[Y:.*]] = qlinear.linear %arg0
// ROWS: %[[R:.*]] = linalg.generic {{.*}} ins(%[[Y]]
// ROWS: return %[[R]]
func.func @dynamic(%x: tensor<?x?x64xf32>) -> tensor<?x?x8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %b = tensor.dim %x, %c0 : tensor<?x?x64xf32>
  %t = tensor.dim %x, %c1 : tensor<?x?x64xf32>
  %w = qlinear.load @w : !qlinear.weight<8x64, #q8>
  %c = tensor.collapse_shape %x [[0, 1], [2]] : tensor<?x?x64xf32> into tensor<?x64xf32>
  %y = qlinear.linear %c, %w : (tensor<?x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<?x8xf32>
  %e = tensor.expand_shape %y [[0, 1], [2]] output_shape [%b, %t, 8] : tensor<?x8xf32> into tensor<?x?x8xf32>
  %i = tensor.empty(%b, %t) : tensor<?x?x8xf32>
  %z = linalg.generic {indexing_maps = [#btn, #btn], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%e : tensor<?x?x8xf32>) outs(%i : tensor<?x?x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.negf %a : f32
    linalg.yield %0 : f32
  } -> tensor<?x?x8xf32>
  return %z : tensor<?x?x8xf32>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f32>
qlinear.parameter @w : !qlinear.weight<8x64, #q8>

// An argument that something else reads stays, and so does a function that is called.
// ROWS-LABEL: func.func @read(%arg0: tensor<2x3x64xf32>)
// ROWS-LABEL: func.func @called(%arg0: tensor<2x3x64xf32>) -> tensor<6x8xf32>
func.func @read(%x: tensor<2x3x64xf32>) -> (tensor<2x3x64xf32>, tensor<6x8xf32>) {
  %y = func.call @called(%x) : (tensor<2x3x64xf32>) -> tensor<6x8xf32>
  return %x, %y : tensor<2x3x64xf32>, tensor<6x8xf32>
}
func.func @called(%x: tensor<2x3x64xf32>) -> tensor<6x8xf32> {
  %w = qlinear.load @w : !qlinear.weight<8x64, #q8>
  %c = tensor.collapse_shape %x [[0, 1], [2]] : tensor<2x3x64xf32> into tensor<6x64xf32>
  %y = qlinear.linear %c, %w : (tensor<6x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<6x8xf32>
  return %y : tensor<6x8xf32>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f32>
qlinear.parameter @w : !qlinear.weight<8x64, #q8>
#btn = affine_map<(b, t, n) -> (b, t, n)>

// Of two sizes that are not known, one is a value: flattened, there would be no telling it. Where
// one alone is not known, it is the rows by the others.
// ROWS-LABEL: func.func @two_sizes(%arg0: tensor<?x?x64xf32>)
// ROWS-LABEL: func.func @one_size(%arg0: tensor<?x64xf32>)
// ROWS: %[[M:.*]] = tensor.dim %arg0, %c0
// ROWS: %[[B:.*]] = arith.divui %[[M]], %c3
// ROWS: arith.index_cast %[[B]]
func.func @two_sizes(%x: tensor<?x?x64xf32>) -> (tensor<?x8xf32>, f32) {
  %c1 = arith.constant 1 : index
  %t = tensor.dim %x, %c1 : tensor<?x?x64xf32>
  %i = arith.index_cast %t : index to i32
  %f = arith.sitofp %i : i32 to f32
  %w = qlinear.load @w : !qlinear.weight<8x64, #q8>
  %c = tensor.collapse_shape %x [[0, 1], [2]] : tensor<?x?x64xf32> into tensor<?x64xf32>
  %y = qlinear.linear %c, %w : (tensor<?x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<?x8xf32>
  return %y, %f : tensor<?x8xf32>, f32
}
func.func @one_size(%x: tensor<?x3x64xf32>) -> (tensor<?x8xf32>, f32) {
  %c0 = arith.constant 0 : index
  %b = tensor.dim %x, %c0 : tensor<?x3x64xf32>
  %i = arith.index_cast %b : index to i32
  %f = arith.sitofp %i : i32 to f32
  %w = qlinear.load @w : !qlinear.weight<8x64, #q8>
  %c = tensor.collapse_shape %x [[0, 1], [2]] : tensor<?x3x64xf32> into tensor<?x64xf32>
  %y = qlinear.linear %c, %w : (tensor<?x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<?x8xf32>
  return %y, %f : tensor<?x8xf32>, f32
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f32>
qlinear.parameter @w : !qlinear.weight<8x64, #q8>

// Columns of two dimensions are no rows; and who calls a private function is not known yet.
// ROWS-LABEL: func.func @columns(%arg0: tensor<2x3x8x8xf32>)
// ROWS-LABEL: func.func private @hidden(%arg0: tensor<2x3x64xf32>)
func.func @columns(%x: tensor<2x3x8x8xf32>) -> tensor<6x8xf32> {
  %w = qlinear.load @w : !qlinear.weight<8x64, #q8>
  %c = tensor.collapse_shape %x [[0, 1], [2, 3]] : tensor<2x3x8x8xf32> into tensor<6x64xf32>
  %y = qlinear.linear %c, %w : (tensor<6x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<6x8xf32>
  return %y : tensor<6x8xf32>
}
func.func private @hidden(%x: tensor<2x3x64xf32>) -> tensor<6x8xf32> {
  %w = qlinear.load @w : !qlinear.weight<8x64, #q8>
  %c = tensor.collapse_shape %x [[0, 1], [2]] : tensor<2x3x64xf32> into tensor<6x64xf32>
  %y = qlinear.linear %c, %w : (tensor<6x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<6x8xf32>
  return %y : tensor<6x8xf32>
}

// -----

// Assertions of sizes that always hold go; others, and those of values, stay.
// CHECK-LABEL: func.func @asserts
// CHECK-NOT: cf.assert
// CHECK: cf.assert %{{.*}}, "larger"
// CHECK: cf.assert %{{.*}}, "same"
// CHECK: cf.assert %{{.*}}, "less"
// CHECK: cf.assert %{{.*}}, "value"
// CHECK-NOT: cf.assert
func.func @asserts(%x: tensor<?x?x64xf32>, %value: i64) -> tensor<?x?x64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n0 = arith.constant 0 : i64
  %n3 = arith.constant 3 : i64
  %minus = arith.constant -3 : i64
  %b = tensor.dim %x, %c0 : tensor<?x?x64xf32>
  %t = tensor.dim %x, %c1 : tensor<?x?x64xf32>
  %bi = arith.index_cast %b : index to i64
  %ti = arith.index_cast %t : index to i64
  %bt = arith.muli %bi, %ti : i64
  %tb = arith.muli %ti, %bi : i64
  %bt3 = arith.muli %bt, %n3 : i64
  %map = affine.apply affine_map<()[s0, s1] -> ((s0 * s1) * 3)>()[%t, %b]
  %bt3x = arith.index_cast %bt3 : i64 to index
  %0 = arith.cmpi sge, %bt3, %n0 : i64
  cf.assert %0, "negative"
  %1 = arith.cmpi eq, %map, %bt3x : index
  cf.assert %1, "equal"
  %2 = arith.cmpi eq, %bt, %tb : i64
  cf.assert %2, "turned"
  %3 = arith.cmpi sle, %bt, %bt3 : i64
  cf.assert %3, "at most"
  %4 = arith.cmpi sge, %bt, %bt3 : i64
  cf.assert %4, "larger"
  %5 = arith.cmpi eq, %bi, %ti : i64
  cf.assert %5, "same"
  %6 = arith.muli %bi, %minus : i64
  %7 = arith.cmpi sge, %6, %n0 : i64
  cf.assert %7, "less"
  %8 = arith.cmpi sge, %value, %n0 : i64
  cf.assert %8, "value"
  return %x : tensor<?x?x64xf32>
}
