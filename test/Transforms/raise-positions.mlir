// Weights whose bodies count: the index of a loop is an element of a constant 0, 1, 2, ...

// RUN: quant-opt %s --qlinear-raise --split-input-file --mlir-print-local-scope \
// RUN:   --remarks-filter='qlinear.*' 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

#mji = affine_map<(m, n, j, i) -> (m, j, i)>
#nj = affine_map<(m, n, j, i) -> (n, j)>
#m = affine_map<(m, n, j, i) -> (m)>
#mn = affine_map<(m, n, j, i) -> (m, n)>

// Everything in the contraction, as the fusion of upstream leaves it: words of eight codes,
// fewer than there are positions; one scale; a scale for each row of x.
// REMARK: [Passed] Raise {{.*}} encoding="u4, group = row, zero, scale = f32, offset = u4"
// CHECK-LABEL: func.func @fused
// CHECK-SAME: %{{.*}}: tensor<3x2x8xf32>, %[[WORDS:.*]]: tensor<2x2xi32>,
// CHECK: %[[COUNTED:.*]] = arith.constant dense<[0, 1, 2, 3, 4, 5, 6, 7]> : tensor<8xi64>
// CHECK: %[[Q:.*]] = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1 floordiv 8)>, affine_map<(d0, d1) -> (d1 mod 8)>,
// CHECK-SAME: ins(%[[WORDS]], %[[COUNTED]] :
// CHECK: arith.shrui
// CHECK: %[[S:.*]] = arith.constant dense<5.000000e-01> : tensor<2x1xf32>
// CHECK: %[[Z:.*]] = arith.constant dense<-8> : tensor<2x1xi4>
// CHECK: qlinear.pack %[[Q]], %[[S]] offsets(%[[Z]])
func.func @fused(%x: tensor<3x2x8xf32>, %words: tensor<2x2xi32>, %xs: tensor<3xf32>, %init: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %half = arith.constant 0.5 : f32
  %c4 = arith.constant 4 : i64
  %c8 = arith.constant 8 : i64
  %c15 = arith.constant 15 : i64
  %y = linalg.generic {indexing_maps = [#mji, #nj, #m, #mn], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %words, %xs : tensor<3x2x8xf32>, tensor<2x2xi32>, tensor<3xf32>) outs(%init : tensor<3x2xf32>) {
  ^bb0(%a: f32, %w: i32, %b: f32, %o: f32):
    %i = linalg.index 3 : index
    %p = arith.index_cast %i : index to i64
    %by = arith.muli %p, %c4 : i64
    %0 = arith.extsi %w : i32 to i64
    %1 = arith.shrui %0, %by : i64
    %2 = arith.andi %1, %c15 : i64
    %3 = arith.subi %2, %c8 : i64
    %4 = arith.sitofp %3 : i64 to f32
    %5 = arith.mulf %4, %half : f32
    %6 = arith.mulf %a, %b : f32
    %7 = arith.mulf %6, %5 : f32
    %8 = arith.addf %o, %7 : f32
    linalg.yield %8 : f32
  } -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

#ngi = affine_map<(n, g, i) -> (n, g, i)>
#ng = affine_map<(n, g, i) -> (n, g)>
#n = affine_map<(n, g, i) -> (n)>
#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// The weight dequantized at once: a word for each group, and one with the zeros of all groups.
// The positions of the zeros are as many as the words, and the codes are still known.
// REMARK: [Passed] Raise {{.*}} encoding="u4, group = 16, zero, scale = f32, offset = u4"
// CHECK-LABEL: func.func @weight
// CHECK-SAME: %{{.*}}: tensor<3x32xf32>, %[[WORDS:.*]]: tensor<1x2xi64>, %[[ZEROS:.*]]: tensor<1xi64>, %[[S:[a-z0-9]*]]: tensor<1x2xf32>,
// CHECK: %[[Q:.*]] = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1 floordiv 16)>, affine_map<(d0, d1) -> (d1 mod 16)>,
// CHECK-SAME: ins(%[[WORDS]], %{{.*}} : tensor<1x2xi64>, tensor<16xi64>)
// CHECK: %[[Z:.*]] = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d1)>,
// CHECK-SAME: ins(%[[ZEROS]], %{{.*}} : tensor<1xi64>, tensor<2xi64>)
// CHECK: qlinear.pack %[[Q]], %[[S]] offsets(%[[Z]])
func.func @weight(%x: tensor<3x32xf32>, %words: tensor<1x2xi64>, %zeros: tensor<1xi64>, %s: tensor<1x2xf32>, %init: tensor<3x1xf32>) -> tensor<3x1xf32> {
  %c4 = arith.constant 4 : i64
  %c15 = arith.constant 15 : i64
  %e = tensor.empty() : tensor<1x2x16xf32>
  %deep = linalg.generic {indexing_maps = [#ng, #n, #ng, #ngi], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%words, %zeros, %s : tensor<1x2xi64>, tensor<1xi64>, tensor<1x2xf32>) outs(%e : tensor<1x2x16xf32>) {
  ^bb0(%w: i64, %z: i64, %b: f32, %o: f32):
    %i = linalg.index 2 : index
    %p = arith.index_cast %i : index to i64
    %by = arith.muli %p, %c4 : i64
    %0 = arith.shrui %w, %by : i64
    %1 = arith.andi %0, %c15 : i64
    %g = linalg.index 1 : index
    %pg = arith.index_castui %g : index to i64
    %zby = arith.muli %pg, %c4 : i64
    %2 = arith.shrui %z, %zby : i64
    %3 = arith.andi %2, %c15 : i64
    %4 = arith.subi %1, %3 : i64
    %5 = arith.sitofp %4 : i64 to f32
    %6 = arith.mulf %5, %b : f32
    linalg.yield %6 : f32
  } -> tensor<1x2x16xf32>
  %flat = tensor.collapse_shape %deep [[0], [1, 2]] : tensor<1x2x16xf32> into tensor<1x32xf32>
  %y = linalg.generic {indexing_maps = [#mk, #nk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %flat : tensor<3x32xf32>, tensor<1x32xf32>) outs(%init : tensor<3x1xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %o, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<3x1xf32>
  return %y : tensor<3x1xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>

// Codes in a tensor of their own are taken from it, and not counted again.
// REMARK: [Passed] Raise {{.*}} encoding="u4, group = row, zero, scale = f32, offset = u4"
// CHECK-LABEL: func.func @held
// CHECK-NOT: arith.constant dense<[0, 1
// CHECK: %[[C:.*]] = linalg.generic
// CHECK: linalg.index 1
// CHECK: %[[Q:.*]] = linalg.generic {{.*}} ins(%[[C]] : tensor<2x16xi16>)
// CHECK: qlinear.pack %[[Q]]
func.func @held(%bytes: tensor<2x16xi16>, %x: tensor<16xf32>, %init: tensor<2xf32>) -> tensor<2xf32> {
  %c1 = arith.constant 1 : i16
  %c15 = arith.constant 15 : i16
  %e = tensor.empty() : tensor<2x16xi16>
  %c = linalg.generic {indexing_maps = [#nk, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%bytes : tensor<2x16xi16>) outs(%e : tensor<2x16xi16>) {
  ^bb0(%a: i16, %o: i16):
    %k = linalg.index 1 : index
    %p = arith.index_cast %k : index to i16
    %by = arith.andi %p, %c1 : i16
    %0 = arith.shrui %a, %by : i16
    %1 = arith.andi %0, %c15 : i16
    linalg.yield %1 : i16
  } -> tensor<2x16xi16>
  %we = tensor.empty() : tensor<2x16xf32>
  %w = linalg.generic {indexing_maps = [#nk, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%c : tensor<2x16xi16>) outs(%we : tensor<2x16xf32>) {
  ^bb0(%a: i16, %o: f32):
    %0 = arith.uitofp %a : i16 to f32
    linalg.yield %0 : f32
  } -> tensor<2x16xf32>
  %y = linalg.matvec ins(%w, %x : tensor<2x16xf32>, tensor<16xf32>) outs(%init : tensor<2xf32>) -> tensor<2xf32>
  return %y : tensor<2xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Positions that become floats are no codes: there is no quantized weight, and no remark.
// REMARK-NOT: [Missed]
// CHECK-LABEL: func.func @floats
// CHECK-NOT: arith.constant dense
// CHECK-NOT: qlinear
func.func @floats(%x: tensor<3x16xf32>, %w: tensor<2x16xf32>, %init: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %y = linalg.generic {indexing_maps = [#mk, #nk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<3x16xf32>, tensor<2x16xf32>) outs(%init : tensor<3x2xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %k = linalg.index 2 : index
    %p = arith.index_cast %k : index to i32
    %f = arith.sitofp %p : i32 to f32
    %0 = arith.mulf %a, %b : f32
    %1 = arith.mulf %0, %f : f32
    %2 = arith.addf %o, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Positions that scale rows of x, more of them than codes.
// REMARK: [Passed] Raise {{.*}} encoding="i8, group = row, symmetric, scale = f32"
// CHECK-LABEL: func.func @rows
// CHECK: %[[X:.*]] = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>,
// CHECK-SAME: ins(%{{.*}}, %{{.*}} : tensor<40x16xf32>, tensor<40xi32>)
// CHECK: qlinear.linear %[[X]],
func.func @rows(%x: tensor<40x16xf32>, %w: tensor<2x16xi8>, %init: tensor<40x2xf32>) -> tensor<40x2xf32> {
  %y = linalg.generic {indexing_maps = [#mk, #nk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<40x16xf32>, tensor<2x16xi8>) outs(%init : tensor<40x2xf32>) {
  ^bb0(%a: f32, %q: i8, %o: f32):
    %m = linalg.index 0 : index
    %p = arith.index_cast %m : index to i32
    %f = arith.sitofp %p : i32 to f32
    %b = arith.sitofp %q : i8 to f32
    %0 = arith.mulf %a, %f : f32
    %1 = arith.mulf %0, %b : f32
    %2 = arith.addf %o, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<40x2xf32>
  return %y : tensor<40x2xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// Only the program knows how far m counts.
// REMARK: [Missed] Raise {{.*}} Reason="'linalg.index' in the computation of the weight is not seen through
// CHECK-LABEL: func.func @some_rows
// CHECK-NOT: qlinear.linear
func.func @some_rows(%x: tensor<?x16xf32>, %w: tensor<2x16xi8>, %init: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %y = linalg.generic {indexing_maps = [#mk, #nk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<?x16xf32>, tensor<2x16xi8>) outs(%init : tensor<?x2xf32>) {
  ^bb0(%a: f32, %q: i8, %o: f32):
    %m = linalg.index 0 : index
    %p = arith.index_cast %m : index to i32
    %f = arith.sitofp %p : i32 to f32
    %b = arith.sitofp %q : i8 to f32
    %0 = arith.mulf %a, %f : f32
    %1 = arith.mulf %0, %b : f32
    %2 = arith.addf %o, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>

// No weight counts as far as that.
// REMARK: [Missed] Raise {{.*}} Reason="'linalg.index' in the computation of the weight is not seen through
// CHECK-LABEL: func.func @many_rows
// CHECK-NOT: qlinear.linear
func.func @many_rows(%x: tensor<1048577x16xf32>, %w: tensor<2x16xi8>, %init: tensor<1048577x2xf32>) -> tensor<1048577x2xf32> {
  %y = linalg.generic {indexing_maps = [#mk, #nk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1048577x16xf32>, tensor<2x16xi8>) outs(%init : tensor<1048577x2xf32>) {
  ^bb0(%a: f32, %q: i8, %o: f32):
    %m = linalg.index 0 : index
    %p = arith.index_cast %m : index to i32
    %f = arith.sitofp %p : i32 to f32
    %b = arith.sitofp %q : i8 to f32
    %0 = arith.mulf %a, %f : f32
    %1 = arith.mulf %0, %b : f32
    %2 = arith.addf %o, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<1048577x2xf32>
  return %y : tensor<1048577x2xf32>
}
