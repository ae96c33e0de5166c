// RUN: quant-opt %s --qlinear-raise --canonicalize --split-input-file | FileCheck %s

#nk = affine_map<(n, k) -> (n, k)>
#ngk = affine_map<(n, g, k) -> (n, g, k)>
#ng = affine_map<(n, g, k) -> (n, g)>

// A scale and a float zero per group, weights N x G x 32, any M.
// CHECK: #[[E:.*]] = #qlinear.encoding<u4, group = 32, zero, scale = f16, offset = f16>
// CHECK-LABEL: @grouped
// CHECK-SAME: %[[Q:.*]]: tensor<8x4x32xi4>, %[[S:.*]]: tensor<8x4xf16>, %[[Z:.*]]: tensor<8x4xf16>, %[[X:.*]]: tensor<?x4x32xf16>
// CHECK-DAG: %[[CODES:.*]] = tensor.collapse_shape %[[Q]] {{\[\[}}0], [1, 2]] : tensor<8x4x32xi4> into tensor<8x128xi4>
// CHECK: %[[W:.*]] = qlinear.pack %[[CODES]], %[[S]] offsets(%[[Z]])
// CHECK: %[[ROWS:.*]] = tensor.collapse_shape %[[X]] {{\[\[}}0], [1, 2]]
// CHECK: %[[Y:.*]] = qlinear.linear %[[ROWS]], %[[W]]
// CHECK: return %[[Y]] : tensor<?x8xf32>
func.func @grouped(%q: tensor<8x4x32xi4>, %s: tensor<8x4xf16>, %z: tensor<8x4xf16>,
                   %x: tensor<?x4x32xf16>) -> tensor<?x8xf32> {
  %e = tensor.empty() : tensor<8x4x32xf16>
  %w = linalg.generic {indexing_maps = [#ngk, #ng, #ng, #ngk],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %s, %z : tensor<8x4x32xi4>, tensor<8x4xf16>, tensor<8x4xf16>)
      outs(%e : tensor<8x4x32xf16>) {
  ^bb0(%a: i4, %b: f16, %c: f16, %o: f16):
    %0 = arith.extui %a : i4 to i32
    %1 = arith.uitofp %0 : i32 to f16
    %2 = arith.subf %1, %c : f16
    %3 = arith.mulf %b, %2 : f16
    linalg.yield %3 : f16
  } -> tensor<8x4x32xf16>
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %m = tensor.dim %x, %c0 : tensor<?x4x32xf16>
  %empty = tensor.empty(%m) : tensor<?x8xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(m, n, g, k) -> (m, g, k)>,
      affine_map<(m, n, g, k) -> (n, g, k)>, affine_map<(m, n, g, k) -> (m, n)>],
      iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : tensor<?x4x32xf16>, tensor<8x4x32xf16>) outs(%init : tensor<?x8xf32>) {
  ^bb0(%a: f16, %b: f16, %o: f32):
    %0 = arith.extf %a : f16 to f32
    %1 = arith.extf %b : f16 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.addf %o, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// The dequantization and the matvec are one operation.
// CHECK: #[[E:.*]] = #qlinear.encoding<u4, group = 32, zero, scale = f32, offset = f32>
// CHECK-LABEL: @fused
// CHECK: qlinear.pack %{{.*}}, %arg1 offsets(%arg2)
// CHECK: qlinear.linear {{.*}} -> tensor<1x8xf32>
// CHECK-NOT: linalg.generic
func.func @fused(%q: tensor<8x4x32xi4>, %s: tensor<8x4xf32>, %z: tensor<8x4xf32>,
                 %x: tensor<4x32xf32>) -> tensor<8xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<8xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<8xf32>) -> tensor<8xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(n, g, k) -> (g, k)>,
      affine_map<(n, g, k) -> (n, g, k)>, affine_map<(n, g, k) -> (n, g)>,
      affine_map<(n, g, k) -> (n, g)>, affine_map<(n, g, k) -> (n)>],
      iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%x, %q, %s, %z : tensor<4x32xf32>, tensor<8x4x32xi4>, tensor<8x4xf32>,
          tensor<8x4xf32>) outs(%init : tensor<8xf32>) {
  ^bb0(%a: f32, %b: i4, %c: f32, %d: f32, %o: f32):
    %0 = arith.extui %b : i4 to i32
    %1 = arith.uitofp %0 : i32 to f32
    %2 = arith.subf %1, %d : f32
    %3 = arith.mulf %2, %c : f32
    %4 = arith.mulf %a, %3 : f32
    %5 = arith.addf %4, %o : f32
    linalg.yield %5 : f32
  } -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>

// 2D weights, an integer zero, a transpose and linalg.matmul; the sum starts with a
// bias.
// CHECK: #[[E:.*]] = #qlinear.encoding<i8, group = 32, zero, scale = f32, offset = i8>
// CHECK-LABEL: @integer_zero
// CHECK: %[[W:.*]] = qlinear.pack %arg0, %arg1 offsets(%arg2)
// CHECK: %[[Y:.*]] = qlinear.linear %arg3, %[[W]]
// CHECK: arith.addf %arg4, %[[Y]]
func.func @integer_zero(%q: tensor<8x64xi8>, %s: tensor<8x2xf32>, %z: tensor<8x2xi8>,
                        %x: tensor<3x64xf32>, %init: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #group, #nk],
      iterator_types = ["parallel", "parallel"]}
      ins(%q, %s, %z : tensor<8x64xi8>, tensor<8x2xf32>, tensor<8x2xi8>)
      outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %c: i8, %o: f32):
    %0 = arith.extsi %a : i8 to i32
    %1 = arith.extsi %c : i8 to i32
    %2 = arith.subi %0, %1 : i32
    %3 = arith.sitofp %2 : i32 to f32
    %4 = arith.mulf %3, %b : f32
    linalg.yield %4 : f32
  } -> tensor<8x64xf32>
  %t = tensor.empty() : tensor<64x8xf32>
  %wt = linalg.transpose ins(%w : tensor<8x64xf32>) outs(%t : tensor<64x8xf32>) permutation = [1, 0]
  %y = linalg.matmul ins(%x, %wt : tensor<3x64xf32>, tensor<64x8xf32>)
      outs(%init : tensor<3x8xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

// d * q + m, widened from f16.
// CHECK: #[[E:.*]] = #qlinear.encoding<u4, group = 32, min, scale = f16, offset = f16>
// CHECK-LABEL: @min
// CHECK: %[[NEG:.*]] = arith.negf %{{.*}} : tensor<8x2xf16>
// CHECK: qlinear.pack %{{.*}}, %{{.*}} offsets(%[[NEG]])
func.func @min(%q: tensor<8x2x32xi4>, %d: tensor<8x2x1xf16>, %m: tensor<8x2x1xf16>,
               %x: tensor<64xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x2x32xf32>
  %w = linalg.generic {indexing_maps = [affine_map<(n, g, k) -> (n, g, k)>,
      affine_map<(n, g, k) -> (n, g, 0)>, affine_map<(n, g, k) -> (n, g, 0)>,
      affine_map<(n, g, k) -> (n, g, k)>],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %d, %m : tensor<8x2x32xi4>, tensor<8x2x1xf16>, tensor<8x2x1xf16>)
      outs(%e : tensor<8x2x32xf32>) {
  ^bb0(%a: i4, %b: f16, %c: f16, %o: f32):
    %0 = arith.uitofp %a : i4 to f32
    %1 = arith.extf %b : f16 to f32
    %2 = arith.extf %c : f16 to f32
    %3 = arith.mulf %1, %0 : f32
    %4 = arith.addf %2, %3 : f32
    linalg.yield %4 : f32
  } -> tensor<8x2x32xf32>
  %flat = tensor.collapse_shape %w [[0], [1, 2]] : tensor<8x2x32xf32> into tensor<8x64xf32>
  %zero = arith.constant dense<0.0> : tensor<8xf32>
  %y = linalg.matvec ins(%flat, %x : tensor<8x64xf32>, tensor<64xf32>)
      outs(%zero : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

// K-major: G x 32 x N, scales G x N; symmetric.
// CHECK: #[[E:.*]] = #qlinear.encoding<i8, group = 32, symmetric, scale = bf16>
// CHECK-LABEL: @k_major
// CHECK: linalg.transpose ins(%arg0 : tensor<2x32x8xi8>) {{.*}} permutation = [2, 0, 1]
// CHECK: linalg.transpose ins(%arg1 : tensor<2x8xbf16>) {{.*}} permutation = [1, 0]
// CHECK: qlinear.pack
// CHECK: qlinear.linear {{.*}} -> tensor<5x8xf32>
func.func @k_major(%q: tensor<2x32x8xi8>, %s: tensor<2x8xbf16>,
                   %x: tensor<5x64xf32>) -> tensor<5x8xf32> {
  %e = tensor.empty() : tensor<2x32x8xf32>
  %w = linalg.generic {indexing_maps = [affine_map<(g, k, n) -> (g, k, n)>,
      affine_map<(g, k, n) -> (g, n)>, affine_map<(g, k, n) -> (g, k, n)>],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %s : tensor<2x32x8xi8>, tensor<2x8xbf16>) outs(%e : tensor<2x32x8xf32>) {
  ^bb0(%a: i8, %b: bf16, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.extf %b : bf16 to f32
    %2 = arith.mulf %0, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<2x32x8xf32>
  %flat = tensor.collapse_shape %w [[0, 1], [2]] : tensor<2x32x8xf32> into tensor<64x8xf32>
  %zero = arith.constant dense<0.0> : tensor<5x8xf32>
  %y = linalg.matmul ins(%x, %flat : tensor<5x64xf32>, tensor<64x8xf32>)
      outs(%zero : tensor<5x8xf32>) -> tensor<5x8xf32>
  return %y : tensor<5x8xf32>
}

// -----

// Rows in two dimensions, the first dynamic; scales N x G x 1.
// CHECK: #[[E:.*]] = #qlinear.encoding<u4, group = 32, zero, scale = f16, offset = f16>
// CHECK-LABEL: @batched_rows
// CHECK: %[[X:.*]] = tensor.collapse_shape %arg3 {{\[\[}}0, 1], [2, 3]] : tensor<?x3x2x32xf16> into tensor<?x64xf16>
// CHECK: %[[Y:.*]] = qlinear.linear %[[X]]
// CHECK: tensor.expand_shape %[[Y]] {{\[\[}}0, 1], [2]] {{.*}} : tensor<?x8xf16> into tensor<?x3x8xf16>
func.func @batched_rows(%q: tensor<8x2x32xi4>, %s: tensor<8x2x1xf16>, %z: tensor<8x2x1xf16>,
                        %x: tensor<?x3x2x32xf16>, %empty: tensor<?x3x8xf16>) -> tensor<?x3x8xf16> {
  %e = tensor.empty() : tensor<8x2x32xf16>
  %w = linalg.generic {indexing_maps = [affine_map<(n, g, k) -> (n, g, k)>,
      affine_map<(n, g, k) -> (n, g, 0)>, affine_map<(n, g, k) -> (n, g, 0)>,
      affine_map<(n, g, k) -> (n, g, k)>],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %s, %z : tensor<8x2x32xi4>, tensor<8x2x1xf16>, tensor<8x2x1xf16>)
      outs(%e : tensor<8x2x32xf16>) {
  ^bb0(%a: i4, %b: f16, %c: f16, %o: f16):
    %0 = arith.uitofp %a : i4 to f16
    %1 = arith.subf %0, %c : f16
    %2 = arith.mulf %1, %b : f16
    linalg.yield %2 : f16
  } -> tensor<8x2x32xf16>
  %zero = arith.constant 0.0 : f16
  %init = linalg.fill ins(%zero : f16) outs(%empty : tensor<?x3x8xf16>) -> tensor<?x3x8xf16>
  %y = linalg.generic {indexing_maps = [affine_map<(b, m, n, g, k) -> (b, m, g, k)>,
      affine_map<(b, m, n, g, k) -> (n, g, k)>, affine_map<(b, m, n, g, k) -> (b, m, n)>],
      iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : tensor<?x3x2x32xf16>, tensor<8x2x32xf16>) outs(%init : tensor<?x3x8xf16>) {
  ^bb0(%a: f16, %b: f16, %o: f16):
    %0 = arith.mulf %a, %b : f16
    %1 = arith.addf %o, %0 : f16
    linalg.yield %1 : f16
  } -> tensor<?x3x8xf16>
  return %y : tensor<?x3x8xf16>
}

// -----

// d times a code per 32 weights, N x blocks x 8: the codes are kept, with d as their step.
// CHECK: #[[E:.*]] = #qlinear.encoding<u4, group = 32, zero, scale = u8 * block<256, f16>, offset = u4>
// CHECK-LABEL: @super_block
// CHECK: %[[SCALES:.*]] = tensor.collapse_shape %arg2 {{\[\[}}0], [1, 2]] : tensor<4x2x8xi8> into tensor<4x16xi8>
// CHECK: qlinear.pack %{{.*}}, %[[SCALES]] offsets(%{{.*}}) steps(%arg1)
func.func @super_block(%q: tensor<4x2x8x32xi4>, %d: tensor<4x2xf16>, %c: tensor<4x2x8xi8>,
                       %x: tensor<2x8x32xf32>) -> tensor<4xf32> {
  %e0 = tensor.empty() : tensor<4x2x8xf32>
  %s = linalg.generic {indexing_maps = [affine_map<(n, s, g) -> (n, s)>,
      affine_map<(n, s, g) -> (n, s, g)>, affine_map<(n, s, g) -> (n, s, g)>],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%d, %c : tensor<4x2xf16>, tensor<4x2x8xi8>) outs(%e0 : tensor<4x2x8xf32>) {
  ^bb0(%a: f16, %b: i8, %o: f32):
    %0 = arith.extf %a : f16 to f32
    %1 = arith.uitofp %b : i8 to f32
    %2 = arith.mulf %0, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<4x2x8xf32>
  %zero = arith.constant dense<0.0> : tensor<4xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(n, s, g, k) -> (s, g, k)>,
      affine_map<(n, s, g, k) -> (n, s, g, k)>, affine_map<(n, s, g, k) -> (n, s, g)>,
      affine_map<(n, s, g, k) -> (n)>],
      iterator_types = ["parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %q, %s : tensor<2x8x32xf32>, tensor<4x2x8x32xi4>, tensor<4x2x8xf32>)
      outs(%zero : tensor<4xf32>) {
  ^bb0(%a: f32, %b: i4, %t: f32, %o: f32):
    %0 = arith.uitofp %b : i4 to f32
    %1 = arith.mulf %0, %t : f32
    %2 = arith.mulf %1, %a : f32
    %3 = arith.addf %o, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#n = affine_map<(n, k) -> (n)>
// The second linear takes the first one's result, and a float matrix that of the second:
// these are linears of their own, not sums of sums.
// CHECK-LABEL: @chain
// CHECK: %[[Y:.*]] = qlinear.linear
// CHECK: %[[Z:.*]] = qlinear.linear %[[Y]]
// CHECK: linalg.matmul ins(%[[Z]], %arg5
func.func @chain(%q: tensor<64x64xi8>, %s: tensor<64xf32>, %p: tensor<64x64xi8>, %t: tensor<64xf32>,
                 %x: tensor<2x64xf32>, %f: tensor<64x64xf32>) -> tensor<2x64xf32> {
  %e = tensor.empty() : tensor<64x64xf32>
  %v = linalg.generic {indexing_maps = [#nk, #n, affine_map<(n, k) -> (k, n)>], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<64x64xi8>, tensor<64xf32>) outs(%e : tensor<64x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<64x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #n, affine_map<(n, k) -> (k, n)>], iterator_types = ["parallel", "parallel"]}
      ins(%p, %t : tensor<64x64xi8>, tensor<64xf32>) outs(%e : tensor<64x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<64x64xf32>
  %init = arith.constant dense<0.0> : tensor<2x64xf32>
  %y = linalg.matmul ins(%x, %v : tensor<2x64xf32>, tensor<64x64xf32>) outs(%init : tensor<2x64xf32>) -> tensor<2x64xf32>
  %z = linalg.matmul ins(%y, %w : tensor<2x64xf32>, tensor<64x64xf32>) outs(%init : tensor<2x64xf32>) -> tensor<2x64xf32>
  %u = linalg.matmul ins(%z, %f : tensor<2x64xf32>, tensor<64x64xf32>) outs(%init : tensor<2x64xf32>) -> tensor<2x64xf32>
  return %u : tensor<2x64xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
// Activations that were quantized, dequantized in the contraction: a scale per row is theirs,
// wherever it stands in the product.
// CHECK: #[[E:.*]] = #qlinear.encoding<i8, group = row, symmetric, scale = f32>
// CHECK-LABEL: @quantized_rows
// CHECK-SAME: %[[X:.*]]: tensor<?x64xi8>, %[[XS:.*]]: tensor<?x1xf32>, %{{.*}}: tensor<8x64xi8>, %[[S:.*]]: tensor<8x1xf32>
// CHECK: %[[M:.*]] = tensor.dim %[[X]], %c0
// CHECK: %[[EMPTY:.*]] = tensor.empty(%[[M]]) : tensor<?x64xf32>
// CHECK: %[[F:.*]] = linalg.generic {{.*}} ins(%[[X]], %[[XS]] : tensor<?x64xi8>, tensor<?x1xf32>) outs(%[[EMPTY]]
// CHECK: arith.sitofp
// CHECK-NEXT: arith.mulf
// CHECK-NEXT: linalg.yield
// CHECK: qlinear.pack %{{.*}}, %[[S]]
// CHECK: qlinear.linear %[[F]]
func.func @quantized_rows(%x: tensor<?x64xi8>, %xs: tensor<?x1xf32>, %w: tensor<8x64xi8>, %ws: tensor<8x1xf32>, %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = linalg.generic {indexing_maps = [#mk, affine_map<(m, n, k) -> (m, 0)>, #nk, affine_map<(m, n, k) -> (n, 0)>, #mn],
      iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %xs, %w, %ws : tensor<?x64xi8>, tensor<?x1xf32>, tensor<8x64xi8>, tensor<8x1xf32>) outs(%init : tensor<?x8xf32>) {
  ^bb0(%a: i8, %b: f32, %c: i8, %d: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.sitofp %c : i8 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.mulf %2, %d : f32
    %4 = arith.mulf %3, %b : f32
    %5 = arith.addf %o, %4 : f32
    linalg.yield %5 : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
// Rows of something computed: x is the slice, not all of it.
// CHECK-LABEL: @slice_of_rows
// CHECK: %[[X:.*]] = tensor.extract_slice %{{.*}}[2, 0] [3, 64] [1, 1]
// CHECK: qlinear.linear %[[X]], {{.*}} : (tensor<3x64xf32>
func.func @slice_of_rows(%x: tensor<6x64xi8>, %w: tensor<8x64xi8>) -> tensor<3x8xf32> {
  %init = arith.constant dense<0.0> : tensor<3x8xf32>
  %f = arith.sitofp %x : tensor<6x64xi8> to tensor<6x64xf32>
  %t = tensor.extract_slice %f[2, 0] [3, 64] [1, 1] : tensor<6x64xf32> to tensor<3x64xf32>
  %y = linalg.generic {indexing_maps = [#mk, #nk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%t, %w : tensor<3x64xf32>, tensor<8x64xi8>) outs(%init : tensor<3x8xf32>) {
  ^bb0(%a: f32, %c: i8, %o: f32):
    %0 = arith.sitofp %c : i8 to f32
    %1 = arith.mulf %a, %0 : f32
    %2 = arith.addf %o, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#m0 = affine_map<(m, n, k) -> (m, 0)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
// The same where only the program knows how many rows it is.
// CHECK-LABEL: @slice_of_some_rows
// CHECK-SAME: %[[M:[a-z0-9]+]]: index
// CHECK: %[[T:.*]] = tensor.extract_slice %{{.*}}[0, 0] [%[[M]], 64] [1, 1]
// CHECK: %[[X:.*]] = linalg.generic {{.*}} ins(%[[T]], %{{.*}} : tensor<?x64xf32>, tensor<?x1xf32>)
// CHECK: qlinear.linear %[[X]], {{.*}} : (tensor<?x64xf32>
func.func @slice_of_some_rows(%x: tensor<?x128xi8>, %xs: tensor<?x1xf32>, %w: tensor<8x64xi8>, %m: index, %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %f = arith.sitofp %x : tensor<?x128xi8> to tensor<?x128xf32>
  %t = tensor.extract_slice %f[0, 0] [%m, 64] [1, 1] : tensor<?x128xf32> to tensor<?x64xf32>
  %y = linalg.generic {indexing_maps = [#mk, #m0, #nk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%t, %xs, %w : tensor<?x64xf32>, tensor<?x1xf32>, tensor<8x64xi8>) outs(%init : tensor<?x8xf32>) {
  ^bb0(%a: f32, %b: f32, %c: i8, %o: f32):
    %0 = arith.sitofp %c : i8 to f32
    %1 = arith.mulf %a, %b : f32
    %2 = arith.mulf %1, %0 : f32
    %3 = arith.addf %o, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
// As many activations as codes: those of the last dimension are the weight's, and its zeros, which
// are fewer, are no activations.
// CHECK-LABEL: @as_many
// CHECK-SAME: %[[X:.*]]: tensor<8x64xi8>, %[[W:.*]]: tensor<8x64xi8>, %[[Z:.*]]: tensor<8x2xi8>
// CHECK: %[[F:.*]] = linalg.generic {{.*}} ins(%[[X]] : tensor<8x64xi8>)
// CHECK: qlinear.pack %[[W]]
// CHECK: qlinear.linear %[[F]]
func.func @as_many(%x: tensor<8x64xi8>, %w: tensor<8x64xi8>, %z: tensor<8x2xi8>, %init: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %y = linalg.generic {indexing_maps = [#mk, #nk, affine_map<(m, n, k) -> (n, k floordiv 32)>, #mn],
      iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w, %z : tensor<8x64xi8>, tensor<8x64xi8>, tensor<8x2xi8>) outs(%init : tensor<8x8xf32>) {
  ^bb0(%a: i8, %c: i8, %d: i8, %o: f32):
    %0 = arith.sitofp %d : i8 to f32
    %1 = arith.sitofp %c : i8 to f32
    %2 = arith.subf %1, %0 : f32
    %3 = arith.sitofp %a : i8 to f32
    %4 = arith.mulf %2, %3 : f32
    %5 = arith.addf %o, %4 : f32
    linalg.yield %5 : f32
  } -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

// -----

#btn = affine_map<(a, b, t, n, k) -> (a, b, t, n)>
// Three dimensions of rows, none of which is known.
// CHECK-LABEL: @three_sizes
// CHECK: %[[X:.*]] = tensor.collapse_shape %{{.*}} {{\[\[}}0, 1, 2], [3]] : tensor<?x?x?x64xf32> into tensor<?x64xf32>
// CHECK: qlinear.linear %[[X]]
func.func @three_sizes(%x: tensor<?x?x?x64xf32>, %w: tensor<8x64xi8>, %init: tensor<?x?x?x8xf32>) -> tensor<?x?x?x8xf32> {
  %y = linalg.generic {indexing_maps = [affine_map<(a, b, t, n, k) -> (a, b, t, k)>, affine_map<(a, b, t, n, k) -> (n, k)>, #btn],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<?x?x?x64xf32>, tensor<8x64xi8>) outs(%init : tensor<?x?x?x8xf32>) {
  ^bb0(%a: f32, %c: i8, %o: f32):
    %0 = arith.sitofp %c : i8 to f32
    %1 = arith.mulf %a, %0 : f32
    %2 = arith.addf %o, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<?x?x?x8xf32>
  return %y : tensor<?x?x?x8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
// Codes of four and of six bits take six.
// CHECK: #[[E:.*]] = #qlinear.encoding<u6, group = row, zero, scale = f32, offset = u4>
// CHECK-LABEL: @concatenated
func.func @concatenated(%q: tensor<8x32xi8>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %c15 = arith.constant dense<15> : tensor<8x32xi8>
  %c2 = arith.constant dense<2> : tensor<8x32xi8>
  %four = arith.andi %q, %c15 : tensor<8x32xi8>
  %six = arith.shrui %q, %c2 : tensor<8x32xi8>
  %codes = tensor.concat dim(1) %four, %six : (tensor<8x32xi8>, tensor<8x32xi8>) -> tensor<8x64xi8>
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%codes : tensor<8x64xi8>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %o: f32):
    %0 = arith.uitofp %a : i8 to f32
    linalg.yield %0 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
// The same where they are written into an empty tensor, which has no values of its own.
// CHECK: #[[E:.*]] = #qlinear.encoding<u6, group = row, zero, scale = f32, offset = u4>
// CHECK-LABEL: @inserted
func.func @inserted(%q: tensor<8x32xi8>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %c15 = arith.constant dense<15> : tensor<8x32xi8>
  %c2 = arith.constant dense<2> : tensor<8x32xi8>
  %four = arith.andi %q, %c15 : tensor<8x32xi8>
  %six = arith.shrui %q, %c2 : tensor<8x32xi8>
  %empty = tensor.empty() : tensor<8x64xi8>
  %some = tensor.insert_slice %six into %empty[0, 0] [8, 32] [1, 1] : tensor<8x32xi8> into tensor<8x64xi8>
  %codes = tensor.insert_slice %four into %some[0, 32] [8, 32] [1, 1] : tensor<8x32xi8> into tensor<8x64xi8>
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%codes : tensor<8x64xi8>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %o: f32):
    %0 = arith.uitofp %a : i8 to f32
    linalg.yield %0 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
// Of two factors that were integers, the constant one is the weight, however small.
// CHECK-LABEL: @constant_first
// CHECK: qlinear.linear %{{.*}} : (tensor<8x64xf32>, !qlinear.weight<2x64,
func.func @constant_first(%x: tensor<8x64xi8>, %init: tensor<8x2xf32>) -> tensor<8x2xf32> {
  %w = arith.constant dense<3> : tensor<2x64xi8>
  %y = linalg.generic {indexing_maps = [#mk, #nk, affine_map<(m, n, k) -> (m, n)>], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<8x64xi8>, tensor<2x64xi8>) outs(%init : tensor<8x2xf32>) {
  ^bb0(%a: i8, %c: i8, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.sitofp %c : i8 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.addf %o, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<8x2xf32>
  return %y : tensor<8x2xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
// If neither is, the larger one is.
// CHECK-LABEL: @larger
// CHECK: qlinear.linear %{{.*}} : (tensor<2x64xf32>, !qlinear.weight<8x64,
func.func @larger(%x: tensor<2x64xi8>, %w: tensor<8x64xi8>, %init: tensor<8x2xf32>) -> tensor<8x2xf32> {
  %y = linalg.generic {indexing_maps = [#mk, #nk, affine_map<(m, n, k) -> (n, m)>], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<2x64xi8>, tensor<8x64xi8>) outs(%init : tensor<8x2xf32>) {
  ^bb0(%a: i8, %c: i8, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.sitofp %c : i8 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.addf %o, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<8x2xf32>
  return %y : tensor<8x2xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
// The scales of rows and of the weight are multiplied first.
// CHECK-LABEL: @scales_together
// CHECK-SAME: %[[X:.*]]: tensor<3x64xi8>, %[[XS:.*]]: tensor<3xf32>, %{{.*}}: tensor<8x64xi8>, %[[S:.*]]: tensor<8xf32>
// CHECK-DAG: %[[COLUMN:.*]] = tensor.expand_shape %[[S]]
// CHECK-DAG: %[[F:.*]] = linalg.generic {{.*}} ins(%[[X]], %[[XS]] :
// CHECK: qlinear.pack %{{.*}}, %[[COLUMN]]
// CHECK: qlinear.linear %[[F]]
func.func @scales_together(%x: tensor<3x64xi8>, %xs: tensor<3xf32>, %w: tensor<8x64xi8>, %ws: tensor<8xf32>, %init: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %y = linalg.generic {indexing_maps = [#mk, affine_map<(m, n, k) -> (m)>, #nk, affine_map<(m, n, k) -> (n)>, #mn],
      iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %xs, %w, %ws : tensor<3x64xi8>, tensor<3xf32>, tensor<8x64xi8>, tensor<8xf32>) outs(%init : tensor<3x8xf32>) {
  ^bb0(%a: i8, %b: f32, %c: i8, %d: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.sitofp %c : i8 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.mulf %b, %d : f32
    %4 = arith.mulf %3, %2 : f32
    %5 = arith.addf %o, %4 : f32
    linalg.yield %5 : f32
  } -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// Codes of scales that take nine bits are no codes.
// CHECK: #qlinear.encoding<i8, group = 32, symmetric, scale = f32>
// CHECK-LABEL: @nine_bits
// CHECK: qlinear.pack
func.func @nine_bits(%q: tensor<2x64xi8>, %step: tensor<2xf32>, %x: tensor<3x64xf32>, %init: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %codes = arith.constant dense<[[1, 300], [2, 3]]> : tensor<2x2xi16>
  %e = tensor.empty() : tensor<2x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, affine_map<(n, k) -> (n)>, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %codes, %step : tensor<2x64xi8>, tensor<2x2xi16>, tensor<2xf32>) outs(%e : tensor<2x64xf32>) {
  ^bb0(%a: i8, %b: i16, %c: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.uitofp %b : i16 to f32
    %2 = arith.mulf %1, %c : f32
    %3 = arith.mulf %0, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<2x64xf32>
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %w : tensor<3x64xf32>, tensor<2x64xf32>) outs(%init : tensor<3x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
// There are no codes of seven bits: they take eight.
// CHECK: #qlinear.encoding<u8, group = row, zero, scale = f32, offset = u4>
// CHECK-LABEL: @seven_bits
// CHECK: qlinear.pack
func.func @seven_bits(%q: tensor<8x64xi8>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<127> : tensor<8x64xi8>
  %codes = arith.andi %q, %mask : tensor<8x64xi8>
  %w = arith.uitofp %codes : tensor<8x64xi8> to tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
// Activations in f16 whose scale is in f32, of rows that one of the two knows.
// CHECK-LABEL: @widened
// CHECK: %[[F:.*]] = linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<3x64xf16>, tensor<3xf32>) outs(%{{.*}} : tensor<3x64xf32>)
// CHECK: %[[X:.*]] = arith.extf %{{.*}} : f16 to f32
// CHECK: arith.mulf %[[X]], %{{.*}} : f32
// CHECK: qlinear.linear %[[F]]
func.func @widened(%x: tensor<?x64xf16>, %xs: tensor<3xf32>, %w: tensor<8x64xi8>, %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = linalg.generic {indexing_maps = [#mk, affine_map<(m, n, k) -> (m)>, #nk, #mn],
      iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %xs, %w : tensor<?x64xf16>, tensor<3xf32>, tensor<8x64xi8>) outs(%init : tensor<?x8xf32>) {
  ^bb0(%a: f16, %b: f32, %c: i8, %o: f32):
    %0 = arith.sitofp %c : i8 to f16
    %1 = arith.mulf %a, %0 : f16
    %2 = arith.extf %1 : f16 to f32
    %3 = arith.mulf %b, %2 : f32
    %4 = arith.addf %o, %3 : f32
    linalg.yield %4 : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
