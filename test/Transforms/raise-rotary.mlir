// Rotary embeddings that frontends write in linalg.

// RUN: quant-opt %s --split-input-file --qlinear-raise --canonicalize | FileCheck %s

#map = affine_map<(b, h, t, d) -> (b, h, t, d)>
#table = affine_map<(b, h, t, d) -> (b, 0, t, d)>

// As torch-mlir has transformers' apply_rotary_pos_emb, between the transpositions of an attention,
// which are none any more: the rows of the linear before are rotated.
// CHECK-LABEL: func.func @heads
// CHECK-SAME: (%[[X:.*]]: tensor<1x?x4x16xf32>, %[[C:.*]]: tensor<1x1x?x16xf32>, %[[S:.*]]: tensor<1x1x?x16xf32>)
// CHECK-NOT: linalg.
// CHECK: %[[R:.*]] = tensor.collapse_shape %[[X]] {{\[\[}}0, 1], [2, 3]] : tensor<1x?x4x16xf32> into tensor<?x64xf32>
// CHECK-DAG: %[[C2:.*]] = tensor.collapse_shape %[[C]] {{\[\[}}0, 1, 2], [3]] : tensor<1x1x?x16xf32> into tensor<?x16xf32>
// CHECK-DAG: %[[S2:.*]] = tensor.collapse_shape %[[S]] {{\[\[}}0, 1, 2], [3]] : tensor<1x1x?x16xf32> into tensor<?x16xf32>
// CHECK: %[[Y:.*]] = qlinear.rotary %[[R]] by %[[C2]], %[[S2]] head = 16 : (tensor<?x64xf32>, tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x64xf32>
// CHECK: tensor.expand_shape %[[Y]] {{\[\[}}0, 1], [2, 3]]
// CHECK-NOT: linalg.
// CHECK: return
func.func @heads(%rows: tensor<1x?x4x16xf32>, %cos: tensor<1x1x?x16xf32>, %sin: tensor<1x1x?x16xf32>) -> tensor<1x?x4x16xf32> {
  %c1 = arith.constant 1 : index
  %m = tensor.dim %rows, %c1 : tensor<1x?x4x16xf32>
  %e = tensor.empty(%m) : tensor<1x4x?x16xf32>
  %half = tensor.empty(%m) : tensor<1x4x?x8xf32>
  %x = linalg.transpose ins(%rows : tensor<1x?x4x16xf32>) outs(%e : tensor<1x4x?x16xf32>) permutation = [0, 2, 1, 3]
  %low = tensor.extract_slice %x[0, 0, 0, 0] [1, 4, %m, 8] [1, 1, 1, 1] : tensor<1x4x?x16xf32> to tensor<1x4x?x8xf32>
  %high = tensor.extract_slice %x[0, 0, 0, 8] [1, 4, %m, 8] [1, 1, 1, 1] : tensor<1x4x?x16xf32> to tensor<1x4x?x8xf32>
  %minus = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%high : tensor<1x4x?x8xf32>) outs(%half : tensor<1x4x?x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.negf %a : f32
    linalg.yield %0 : f32
  } -> tensor<1x4x?x8xf32>
  %turned = tensor.concat dim(3) %minus, %low : (tensor<1x4x?x8xf32>, tensor<1x4x?x8xf32>) -> tensor<1x4x?x16xf32>
  %a = linalg.generic {indexing_maps = [#map, #table, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%x, %cos : tensor<1x4x?x16xf32>, tensor<1x1x?x16xf32>) outs(%e : tensor<1x4x?x16xf32>) {
  ^bb0(%v: f32, %f: f32, %o: f32):
    %0 = arith.mulf %v, %f : f32
    linalg.yield %0 : f32
  } -> tensor<1x4x?x16xf32>
  %b = linalg.generic {indexing_maps = [#map, #table, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%turned, %sin : tensor<1x4x?x16xf32>, tensor<1x1x?x16xf32>) outs(%e : tensor<1x4x?x16xf32>) {
  ^bb0(%v: f32, %f: f32, %o: f32):
    %0 = arith.mulf %v, %f : f32
    linalg.yield %0 : f32
  } -> tensor<1x4x?x16xf32>
  %y = linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%a, %b : tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>) outs(%e : tensor<1x4x?x16xf32>) {
  ^bb0(%v: f32, %f: f32, %o: f32):
    %0 = arith.addf %v, %f : f32
    linalg.yield %0 : f32
  } -> tensor<1x4x?x16xf32>
  %back = tensor.empty(%m) : tensor<1x?x4x16xf32>
  %z = linalg.transpose ins(%y : tensor<1x4x?x16xf32>) outs(%back : tensor<1x?x4x16xf32>) permutation = [0, 2, 1, 3]
  return %z : tensor<1x?x4x16xf32>
}

// -----

#map = affine_map<(t, h, d) -> (t, h, d)>
#table = affine_map<(t, h, d) -> (t, d)>

// In one operation, whose result is rounded: that stays, for others to fuse.
// CHECK-LABEL: func.func @rounded
// CHECK: qlinear.rotary %{{.*}} by %{{.*}}, %{{.*}} head = 16 : (tensor<5x64xf32>, tensor<5x16xf16>, tensor<5x16xf16>) -> tensor<5x64xf32>
// CHECK: linalg.generic
// CHECK: arith.truncf
// CHECK-NOT: arith.mulf
func.func @rounded(%x: tensor<5x4x16xf32>, %cos: tensor<5x16xf16>, %sin: tensor<5x16xf16>) -> tensor<5x4x16xbf16> {
  %e = tensor.empty() : tensor<5x4x16xbf16>
  %half = tensor.empty() : tensor<5x4x8xf32>
  %wide = tensor.empty() : tensor<5x4x16xf32>
  %low = tensor.extract_slice %x[0, 0, 0] [5, 4, 8] [1, 1, 1] : tensor<5x4x16xf32> to tensor<5x4x8xf32>
  %high = tensor.extract_slice %x[0, 0, 8] [5, 4, 8] [1, 1, 1] : tensor<5x4x16xf32> to tensor<5x4x8xf32>
  %minus = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%high : tensor<5x4x8xf32>) outs(%half : tensor<5x4x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.negf %a : f32
    linalg.yield %0 : f32
  } -> tensor<5x4x8xf32>
  %part = tensor.insert_slice %minus into %wide[0, 0, 0] [5, 4, 8] [1, 1, 1] : tensor<5x4x8xf32> into tensor<5x4x16xf32>
  %turned = tensor.insert_slice %low into %part[0, 0, 8] [5, 4, 8] [1, 1, 1] : tensor<5x4x8xf32> into tensor<5x4x16xf32>
  %y = linalg.generic {indexing_maps = [#map, #table, #map, #table, #map], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %cos, %turned, %sin : tensor<5x4x16xf32>, tensor<5x16xf16>, tensor<5x4x16xf32>, tensor<5x16xf16>)
      outs(%e : tensor<5x4x16xbf16>) {
  ^bb0(%v: f32, %c: f16, %t: f32, %s: f16, %o: bf16):
    %0 = arith.extf %c : f16 to f32
    %1 = arith.extf %s : f16 to f32
    %2 = arith.mulf %v, %0 : f32
    %3 = arith.mulf %1, %t : f32
    %4 = arith.addf %3, %2 : f32
    %5 = arith.truncf %4 : f32 to bf16
    linalg.yield %5 : bf16
  } -> tensor<5x4x16xbf16>
  return %y : tensor<5x4x16xbf16>
}
