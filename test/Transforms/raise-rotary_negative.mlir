// What looks like a rotary embedding, and is another function, or of a shape that is not known: each
// stays as it is, and a remark says why.

// RUN: quant-opt %s --qlinear-raise --remarks-filter='qlinear.*' -o %t.mlir 2>&1 | FileCheck %s
// RUN: quant-opt %s --qlinear-raise | FileCheck %s --check-prefix=STAYS
// STAYS-NOT: qlinear.

#map = affine_map<(t, h, d) -> (t, h, d)>

// CHECK: [Missed] Raise {{.*}} Reason="it is computed in bf16, and qlinear.rotary in f32", Remark="a rotary embedding stays"
func.func @rounded(%x: tensor<5x4x16xbf16>, %z: tensor<5x4x16xbf16>, %cos: tensor<5x16xbf16>, %sin: tensor<5x16xbf16>) -> tensor<5x4x16xbf16> {
  %e = tensor.empty() : tensor<5x4x16xbf16>
  %half = tensor.empty() : tensor<5x4x8xbf16>
  %low = tensor.extract_slice %x[0, 0, 0] [5, 4, 8] [1, 1, 1] : tensor<5x4x16xbf16> to tensor<5x4x8xbf16>
  %high = tensor.extract_slice %x[0, 0, 8] [5, 4, 8] [1, 1, 1] : tensor<5x4x16xbf16> to tensor<5x4x8xbf16>
  %minus = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%high : tensor<5x4x8xbf16>) outs(%half : tensor<5x4x8xbf16>) {
  ^bb0(%a: bf16, %o: bf16):
    %0 = arith.negf %a : bf16
    linalg.yield %0 : bf16
  } -> tensor<5x4x8xbf16>
  %turned = tensor.concat dim(2) %minus, %low : (tensor<5x4x8xbf16>, tensor<5x4x8xbf16>) -> tensor<5x4x16xbf16>
  %y = linalg.generic {indexing_maps = [#map, affine_map<(t, h, d) -> (t, d)>, #map, affine_map<(t, h, d) -> (t, d)>, #map],
                       iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %cos, %turned, %sin : tensor<5x4x16xbf16>, tensor<5x16xbf16>, tensor<5x4x16xbf16>, tensor<5x16xbf16>) outs(%e : tensor<5x4x16xbf16>) {
  ^bb0(%v: bf16, %c: bf16, %t: bf16, %s: bf16, %o: bf16):
    %0 = arith.mulf %v, %c : bf16
    %1 = arith.mulf %t, %s : bf16
    %2 = arith.addf %0, %1 : bf16
    linalg.yield %2 : bf16
  } -> tensor<5x4x16xbf16>
  return %y : tensor<5x4x16xbf16>
}

// CHECK: [Missed] Raise {{.*}} Reason="its halves in turn are of another tensor than what is multiplied by the cosines", Remark="a rotary embedding stays"
func.func @another(%x: tensor<5x4x16xf32>, %z: tensor<5x4x16xf32>, %cos: tensor<5x16xf32>, %sin: tensor<5x16xf32>) -> tensor<5x4x16xf32> {
  %e = tensor.empty() : tensor<5x4x16xf32>
  %half = tensor.empty() : tensor<5x4x8xf32>
  %low = tensor.extract_slice %z[0, 0, 0] [5, 4, 8] [1, 1, 1] : tensor<5x4x16xf32> to tensor<5x4x8xf32>
  %high = tensor.extract_slice %z[0, 0, 8] [5, 4, 8] [1, 1, 1] : tensor<5x4x16xf32> to tensor<5x4x8xf32>
  %minus = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%high : tensor<5x4x8xf32>) outs(%half : tensor<5x4x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.negf %a : f32
    linalg.yield %0 : f32
  } -> tensor<5x4x8xf32>
  %turned = tensor.concat dim(2) %minus, %low : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<5x4x16xf32>
  %y = linalg.generic {indexing_maps = [#map, affine_map<(t, h, d) -> (t, d)>, #map, affine_map<(t, h, d) -> (t, d)>, #map],
                       iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %cos, %turned, %sin : tensor<5x4x16xf32>, tensor<5x16xf32>, tensor<5x4x16xf32>, tensor<5x16xf32>) outs(%e : tensor<5x4x16xf32>) {
  ^bb0(%v: f32, %c: f32, %t: f32, %s: f32, %o: f32):
    %0 = arith.mulf %v, %c : f32
    %1 = arith.mulf %t, %s : f32
    %2 = arith.addf %0, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<5x4x16xf32>
  return %y : tensor<5x4x16xf32>
}

// CHECK: [Missed] Raise {{.*}} Reason="its cosines and sines are not two tensors of one type that have a row for each token and the columns of a head last", Remark="a rotary embedding stays"
func.func @transposed(%x: tensor<5x4x16xf32>, %z: tensor<5x4x16xf32>, %cos: tensor<16x5xf32>, %sin: tensor<16x5xf32>) -> tensor<5x4x16xf32> {
  %e = tensor.empty() : tensor<5x4x16xf32>
  %half = tensor.empty() : tensor<5x4x8xf32>
  %low = tensor.extract_slice %x[0, 0, 0] [5, 4, 8] [1, 1, 1] : tensor<5x4x16xf32> to tensor<5x4x8xf32>
  %high = tensor.extract_slice %x[0, 0, 8] [5, 4, 8] [1, 1, 1] : tensor<5x4x16xf32> to tensor<5x4x8xf32>
  %minus = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%high : tensor<5x4x8xf32>) outs(%half : tensor<5x4x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.negf %a : f32
    linalg.yield %0 : f32
  } -> tensor<5x4x8xf32>
  %turned = tensor.concat dim(2) %minus, %low : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<5x4x16xf32>
  %y = linalg.generic {indexing_maps = [#map, affine_map<(t, h, d) -> (d, t)>, #map, affine_map<(t, h, d) -> (d, t)>, #map],
                       iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %cos, %turned, %sin : tensor<5x4x16xf32>, tensor<16x5xf32>, tensor<5x4x16xf32>, tensor<16x5xf32>) outs(%e : tensor<5x4x16xf32>) {
  ^bb0(%v: f32, %c: f32, %t: f32, %s: f32, %o: f32):
    %0 = arith.mulf %v, %c : f32
    %1 = arith.mulf %t, %s : f32
    %2 = arith.addf %0, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<5x4x16xf32>
  return %y : tensor<5x4x16xf32>
}

// CHECK: [Missed] Raise {{.*}} Reason="dimension 1, which the cosines do not have, is not known; give them a row for each token, or the heads a number", Remark="a rotary embedding stays"
func.func @some_heads(%x: tensor<5x?x16xf32>, %z: tensor<5x?x16xf32>, %cos: tensor<5x16xf32>, %sin: tensor<5x16xf32>) -> tensor<5x?x16xf32> {
  %c1 = arith.constant 1 : index
  %m = tensor.dim %x, %c1 : tensor<5x?x16xf32>
  %e = tensor.empty(%m) : tensor<5x?x16xf32>
  %half = tensor.empty(%m) : tensor<5x?x8xf32>
  %low = tensor.extract_slice %x[0, 0, 0] [5, %m, 8] [1, 1, 1] : tensor<5x?x16xf32> to tensor<5x?x8xf32>
  %high = tensor.extract_slice %x[0, 0, 8] [5, %m, 8] [1, 1, 1] : tensor<5x?x16xf32> to tensor<5x?x8xf32>
  %minus = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%high : tensor<5x?x8xf32>) outs(%half : tensor<5x?x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.negf %a : f32
    linalg.yield %0 : f32
  } -> tensor<5x?x8xf32>
  %turned = tensor.concat dim(2) %minus, %low : (tensor<5x?x8xf32>, tensor<5x?x8xf32>) -> tensor<5x?x16xf32>
  %y = linalg.generic {indexing_maps = [#map, affine_map<(t, h, d) -> (t, d)>, #map, affine_map<(t, h, d) -> (t, d)>, #map],
                       iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %cos, %turned, %sin : tensor<5x?x16xf32>, tensor<5x16xf32>, tensor<5x?x16xf32>, tensor<5x16xf32>) outs(%e : tensor<5x?x16xf32>) {
  ^bb0(%v: f32, %c: f32, %t: f32, %s: f32, %o: f32):
    %0 = arith.mulf %v, %c : f32
    %1 = arith.mulf %t, %s : f32
    %2 = arith.addf %0, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<5x?x16xf32>
  return %y : tensor<5x?x16xf32>
}

// CHECK: [Missed] Raise {{.*}} Reason="its cosines are the same for all rows", Remark="a rotary embedding stays"
func.func @same(%x: tensor<5x4x16xf32>, %z: tensor<5x4x16xf32>, %cos: tensor<16xf32>, %sin: tensor<16xf32>) -> tensor<5x4x16xf32> {
  %e = tensor.empty() : tensor<5x4x16xf32>
  %half = tensor.empty() : tensor<5x4x8xf32>
  %low = tensor.extract_slice %x[0, 0, 0] [5, 4, 8] [1, 1, 1] : tensor<5x4x16xf32> to tensor<5x4x8xf32>
  %high = tensor.extract_slice %x[0, 0, 8] [5, 4, 8] [1, 1, 1] : tensor<5x4x16xf32> to tensor<5x4x8xf32>
  %minus = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%high : tensor<5x4x8xf32>) outs(%half : tensor<5x4x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.negf %a : f32
    linalg.yield %0 : f32
  } -> tensor<5x4x8xf32>
  %turned = tensor.concat dim(2) %minus, %low : (tensor<5x4x8xf32>, tensor<5x4x8xf32>) -> tensor<5x4x16xf32>
  %y = linalg.generic {indexing_maps = [#map, affine_map<(t, h, d) -> (d)>, #map, affine_map<(t, h, d) -> (d)>, #map],
                       iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %cos, %turned, %sin : tensor<5x4x16xf32>, tensor<16xf32>, tensor<5x4x16xf32>, tensor<16xf32>) outs(%e : tensor<5x4x16xf32>) {
  ^bb0(%v: f32, %c: f32, %t: f32, %s: f32, %o: f32):
    %0 = arith.mulf %v, %c : f32
    %1 = arith.mulf %t, %s : f32
    %2 = arith.addf %0, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<5x4x16xf32>
  return %y : tensor<5x4x16xf32>
}
