// RUN: quant-opt %s --qlinear-raise --split-input-file --remarks-filter='qlinear.*' -o %t.mlir 2>&1 \
// RUN:   | FileCheck %s
// RUN: quant-opt %s --qlinear-raise --split-input-file | FileCheck %s --check-prefix=STAYS

// Every one stays as it is, and a remark says why.
// STAYS-NOT: qlinear.

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// CHECK: [Missed] Raise {{.*}} Reason="the dequantized value has another user", Remark="linalg.matvec of a quantized weight stays"
func.func @another_user(%q: tensor<8x64xi8>, %s: tensor<8x2xf32>, %x: tensor<64xf32>,
                        %init: tensor<8xf32>) -> (tensor<8xf32>, tensor<8x64xf32>) {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x64xi8>, tensor<8x2xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y, %w : tensor<8xf32>, tensor<8x64xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
// CHECK: Reason="the scales vary inside a group: there is one for each k"
func.func @scale_in_group(%q: tensor<8x64xi8>, %s: tensor<8x64xf32>, %x: tensor<64xf32>,
                          %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #nk, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x64xi8>, tensor<8x64xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// CHECK: Reason="the zero is added where the form subtracts it"
func.func @zero_added(%q: tensor<8x64xi8>, %s: tensor<8x2xf32>, %z: tensor<8x2xf32>,
                      %x: tensor<64xf32>, %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s, %z : tensor<8x64xi8>, tensor<8x2xf32>, tensor<8x2xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %c: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.addf %0, %c : f32
    %2 = arith.mulf %1, %b : f32
    linalg.yield %2 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// CHECK: Reason="signedness mismatch: a sign-extended integer is read as unsigned"
func.func @signedness(%q: tensor<8x64xi4>, %s: tensor<8x2xf32>, %x: tensor<64xf32>,
                      %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x64xi4>, tensor<8x2xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i4, %b: f32, %o: f32):
    %i = arith.extsi %a : i4 to i8
    %0 = arith.uitofp %i : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// The difference is taken in i4.
// CHECK: Reason="the difference of code and zero may wrap around in i4; extend both to a wider integer first"
func.func @wraps(%q: tensor<8x64xi4>, %s: tensor<8x2xf32>, %z: tensor<8x2xi4>,
                 %x: tensor<64xf32>, %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s, %z : tensor<8x64xi4>, tensor<8x2xf32>, tensor<8x2xi4>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i4, %b: f32, %c: i4, %o: f32):
    %i = arith.subi %a, %c : i4
    %0 = arith.sitofp %i : i4 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#ngk = affine_map<(n, g, k) -> (n, g, k)>
#ng = affine_map<(n, g, k) -> (n, g)>
// K = 50, in two blocks of 32.
// CHECK: Reason="K = 50 is not a multiple of the group size 32; pad K or use group = row"
func.func @padded(%q: tensor<8x2x32xi8>, %s: tensor<8x2xf32>, %x: tensor<50xf32>,
                  %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x2x32xf32>
  %w = linalg.generic {indexing_maps = [#ngk, #ng, #ngk], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %s : tensor<8x2x32xi8>, tensor<8x2xf32>) outs(%e : tensor<8x2x32xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x2x32xf32>
  %flat = tensor.collapse_shape %w [[0], [1, 2]] : tensor<8x2x32xf32> into tensor<8x64xf32>
  %cut = tensor.extract_slice %flat[0, 0] [8, 50] [1, 1] : tensor<8x64xf32> to tensor<8x50xf32>
  %y = linalg.matvec ins(%cut, %x : tensor<8x50xf32>, tensor<50xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
// CHECK: Reason="the group axis is along N: the scales are shared by 32 rows; a group lies in one row"
func.func @group_along_n(%q: tensor<64x64xi8>, %s: tensor<2x64xf32>, %x: tensor<64xf32>,
                         %init: tensor<64xf32>) -> tensor<64xf32> {
  %e = tensor.empty() : tensor<64x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, affine_map<(n, k) -> (n floordiv 32, k)>, #nk],
      iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<64x64xi8>, tensor<2x64xf32>) outs(%e : tensor<64x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<64x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<64x64xf32>, tensor<64xf32>) outs(%init : tensor<64xf32>) -> tensor<64xf32>
  return %y : tensor<64xf32>
}

// -----

#ngk = affine_map<(n, g, k) -> (n, g, k)>
#ng = affine_map<(n, g, k) -> (n, g)>
// CHECK: Reason="the group is not constant: the shape of the codes or zeros is known only at run time"
func.func @dynamic_group(%q: tensor<8x?x?xi8>, %s: tensor<8x?xf32>, %x: tensor<?x?xf32>,
                         %e: tensor<8x?x?xf32>, %init: tensor<8xf32>) -> tensor<8xf32> {
  %w = linalg.generic {indexing_maps = [#ngk, #ng, #ngk], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %s : tensor<8x?x?xi8>, tensor<8x?xf32>) outs(%e : tensor<8x?x?xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x?x?xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(n, g, k) -> (g, k)>, #ngk, affine_map<(n, g, k) -> (n)>],
      iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%x, %w : tensor<?x?xf32>, tensor<8x?x?xf32>) outs(%init : tensor<8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %o, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// CHECK: Reason="the accumulator is narrower than the input: the products are rounded before the sum"
func.func @narrow(%q: tensor<8x64xi8>, %s: tensor<8x2xf32>, %x: tensor<64xf32>,
                  %init: tensor<8xf16>) -> tensor<8xf16> {
  %y = linalg.generic {indexing_maps = [affine_map<(n, k) -> (k)>, #nk, #group, affine_map<(n, k) -> (n)>],
      iterator_types = ["parallel", "reduction"]}
      ins(%x, %q, %s : tensor<64xf32>, tensor<8x64xi8>, tensor<8x2xf32>) outs(%init : tensor<8xf16>) {
  ^bb0(%a: f32, %b: i8, %c: f32, %o: f16):
    %0 = arith.sitofp %b : i8 to f32
    %1 = arith.mulf %0, %c : f32
    %2 = arith.mulf %1, %a : f32
    %3 = arith.truncf %2 : f32 to f16
    %4 = arith.addf %o, %3 : f16
    linalg.yield %4 : f16
  } -> tensor<8xf16>
  return %y : tensor<8xf16>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// CHECK: Reason="the accumulator is narrower than the input, which is rounded before the product"
func.func @narrow_matvec(%q: tensor<8x64xi8>, %s: tensor<8x2xf32>, %x: tensor<64xf32>,
                         %init: tensor<8xf16>) -> tensor<8xf16> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x64xi8>, tensor<8x2xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf16>) -> tensor<8xf16>
  return %y : tensor<8xf16>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// Two groups of 32 for K = 50.
// CHECK: Reason="K = 50 is not a multiple of the group size 32; pad K or use group = row"
func.func @padded_scales(%q: tensor<8x50xi8>, %s: tensor<8x2xf32>, %x: tensor<50xf32>,
                         %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x50xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x50xi8>, tensor<8x2xf32>) outs(%e : tensor<8x50xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x50xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x50xf32>, tensor<50xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 8)>
// CHECK: Reason="group = 8; a group has 16, 32, 64, 128 or 256 weights, or spans the row (group = row)"
func.func @group_of_8(%q: tensor<8x64xi8>, %s: tensor<8x8xf32>, %x: tensor<64xf32>,
                      %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x64xi8>, tensor<8x8xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#bnk = affine_map<(b, n, k) -> (b, n, k)>
// A weight for each element of the batch.
// CHECK: Reason="the weight is batched: a loop of the result runs over both x and the weight"
func.func @batched(%q: tensor<3x8x64xi8>, %s: tensor<3x8xf32>, %x: tensor<3x64xf32>,
                   %init: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %e = tensor.empty() : tensor<3x8x64xf32>
  %w = linalg.generic {indexing_maps = [#bnk, affine_map<(b, n, k) -> (b, n)>, #bnk],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %s : tensor<3x8x64xi8>, tensor<3x8xf32>) outs(%e : tensor<3x8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<3x8x64xf32>
  %y = linalg.batch_matvec ins(%w, %x : tensor<3x8x64xf32>, tensor<3x64xf32>)
      outs(%init : tensor<3x8xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

#mgk = affine_map<(m, n, g, k) -> (m, g, k)>
#ngk = affine_map<(m, n, g, k) -> (n, g, k)>
// Partial sums that are scaled later, which somebody else reads as well.
// CHECK: Reason="the partial sums have another user"
func.func @shared_sums(%q: tensor<8x2x32xi8>, %s: tensor<8x2xf32>, %x: tensor<3x2x32xf32>,
                       %init: tensor<3x8xf32>) -> (tensor<3x8xf32>, tensor<3x8x2xf32>) {
  %zero = arith.constant dense<0.0> : tensor<3x8x2xf32>
  %p = linalg.generic {indexing_maps = [#mgk, #ngk, affine_map<(m, n, g, k) -> (m, n, g)>],
      iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %q : tensor<3x2x32xf32>, tensor<8x2x32xi8>) outs(%zero : tensor<3x8x2xf32>) {
  ^bb0(%a: f32, %b: i8, %o: f32):
    %0 = arith.sitofp %b : i8 to f32
    %1 = arith.mulf %a, %0 : f32
    %2 = arith.addf %o, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<3x8x2xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(m, n, g) -> (m, n, g)>,
      affine_map<(m, n, g) -> (n, g)>, affine_map<(m, n, g) -> (m, n)>],
      iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%p, %s : tensor<3x8x2xf32>, tensor<8x2xf32>) outs(%init : tensor<3x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %0 = arith.mulf %a, %b : f32
    %1 = arith.addf %o, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<3x8xf32>
  return %y, %p : tensor<3x8xf32>, tensor<3x8x2xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// CHECK: Reason="the codes are subtracted from the zero"
func.func @negated(%q: tensor<8x64xi8>, %s: tensor<8x2xf32>, %z: tensor<8x2xf32>,
                   %x: tensor<64xf32>, %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s, %z : tensor<8x64xi8>, tensor<8x2xf32>, tensor<8x2xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %c: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.subf %c, %0 : f32
    %2 = arith.mulf %1, %b : f32
    linalg.yield %2 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// CHECK: Reason="the weight has both a zero and a min"
func.func @zero_and_min(%q: tensor<8x64xi8>, %s: tensor<8x2xf32>, %z: tensor<8x2xf32>,
                        %x: tensor<64xf32>, %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s, %z : tensor<8x64xi8>, tensor<8x2xf32>, tensor<8x2xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %c: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.subf %0, %c : f32
    %2 = arith.mulf %1, %b : f32
    %3 = arith.addf %2, %c : f32
    linalg.yield %3 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#group = affine_map<(n, k) -> (n, k floordiv 32)>
// CHECK: Reason="the codes are floats (f8E4M3FN); a linear has integer codes of 4 to 8 bits: quantize the weight again, or leave it to another compiler", Remark="linalg.matvec of a quantized weight stays"
func.func @float_codes(%q: tensor<8x64xf8E4M3FN>, %s: tensor<8x2xf32>, %x: tensor<64xf32>,
                       %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #group, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x64xf8E4M3FN>, tensor<8x2xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: f8E4M3FN, %b: f32, %o: f32):
    %0 = arith.extf %a : f8E4M3FN to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

// CHECK: Reason="both factors are integers: the activations are quantized already; dequantize them before the product, a linear quantizes them itself", Remark="linalg.quantized_matmul of a quantized weight stays"
func.func @integers(%x: tensor<3x64xi8>, %w: tensor<64x8xi8>, %init: tensor<3x8xi32>) -> tensor<3x8xi32> {
  %c = arith.constant 3 : i32
  %y = linalg.quantized_matmul ins(%x, %w, %c, %c : tensor<3x64xi8>, tensor<64x8xi8>, i32, i32)
      outs(%init : tensor<3x8xi32>) -> tensor<3x8xi32>
  return %y : tensor<3x8xi32>
}

// -----

#mgk = affine_map<(m, n, g, k) -> (m, g, k)>
#ngk = affine_map<(m, n, g, k) -> (n, g, k)>
#mng = affine_map<(m, n, g, k) -> (m, n, g)>
// Integer sums of blocks, of which the scales of both factors are applied.
// CHECK: Reason="the sums are of integers, which are scaled afterwards: the activations are quantized already; dequantize them before the product, a linear quantizes them itself"
func.func @integer_sums(%x: tensor<3x2x32xi8>, %w: tensor<8x2x32xi8>, %ws: tensor<8x2xf32>, %xs: tensor<3x2xf32>, %init: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %zero = arith.constant dense<0> : tensor<3x8x2xi32>
  %p = linalg.generic {indexing_maps = [#mgk, #ngk, #mng], iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<3x2x32xi8>, tensor<8x2x32xi8>) outs(%zero : tensor<3x8x2xi32>) {
  ^bb0(%a: i8, %b: i8, %o: i32):
    %0 = arith.extsi %a : i8 to i32
    %1 = arith.extsi %b : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %o, %2 : i32
    linalg.yield %3 : i32
  } -> tensor<3x8x2xi32>
  %y = linalg.generic {indexing_maps = [affine_map<(m, n, g) -> (m, n, g)>, affine_map<(m, n, g) -> (n, g)>, affine_map<(m, n, g) -> (m, g)>, affine_map<(m, n, g) -> (m, n)>],
      iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%p, %ws, %xs : tensor<3x8x2xi32>, tensor<8x2xf32>, tensor<3x2xf32>) outs(%init : tensor<3x8xf32>) {
  ^bb0(%a: i32, %b: f32, %c: f32, %o: f32):
    %0 = arith.sitofp %a : i32 to f32
    %1 = arith.mulf %0, %b : f32
    %2 = arith.mulf %1, %c : f32
    %3 = arith.addf %o, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
// An x that no operation of arith computes.
// CHECK: Reason="the other factor is not computed by arith from tensors to f32, f16 or bf16"
func.func @wide(%x: tensor<3x64xf64>, %w: tensor<8x64xi8>, %init: tensor<3x8xf64>) -> tensor<3x8xf64> {
  %y = linalg.generic {indexing_maps = [#mk, #nk, #mn], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<3x64xf64>, tensor<8x64xi8>) outs(%init : tensor<3x8xf64>) {
  ^bb0(%a: f64, %c: i8, %o: f64):
    %0 = arith.sitofp %c : i8 to f64
    %1 = arith.mulf %a, %0 : f64
    %2 = arith.addf %o, %1 : f64
    linalg.yield %2 : f64
  } -> tensor<3x8xf64>
  return %y : tensor<3x8xf64>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
// The scale of a group is found by arithmetic on indices.
// CHECK: Reason="'linalg.index' in the computation of the weight is not seen through; compute the weight of integer codes by arith.mulf, subf, addf and indexing maps"
func.func @indices(%q: tensor<8x64xi8>, %s: tensor<8x2xf32>, %x: tensor<64xf32>, %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q : tensor<8x64xi8>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %o: f32):
    %n = linalg.index 0 : index
    %k = linalg.index 1 : index
    %c32 = arith.constant 32 : index
    %g = arith.divui %k, %c32 : index
    %b = tensor.extract %s[%n, %g] : tensor<8x2xf32>
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matvec ins(%w, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#enk = affine_map<(e, n, k) -> (e, n, k)>
#en = affine_map<(e, n, k) -> (e, n)>
// CHECK: Reason="the weight is a slice of the dequantized value, at an offset that is known only at run time (a slice for each expert?); slice the codes, the scales and the zeros, and dequantize what is left"
func.func @expert(%q: tensor<4x8x64xi8>, %s: tensor<4x8xf32>, %i: index, %x: tensor<64xf32>, %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<4x8x64xf32>
  %w = linalg.generic {indexing_maps = [#enk, #en, #enk], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%q, %s : tensor<4x8x64xi8>, tensor<4x8xf32>) outs(%e : tensor<4x8x64xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<4x8x64xf32>
  %one = tensor.extract_slice %w[%i, 0, 0] [1, 8, 64] [1, 1, 1] : tensor<4x8x64xf32> to tensor<8x64xf32>
  %y = linalg.matvec ins(%one, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

#nk = affine_map<(n, k) -> (n, k)>
#n = affine_map<(n, k) -> (n)>
// CHECK: Reason="the weight is padded after it is dequantized; pad the codes and the scales instead, or cut x"
func.func @padded_weight(%q: tensor<8x50xi8>, %s: tensor<8xf32>, %x: tensor<64xf32>, %init: tensor<8xf32>) -> tensor<8xf32> {
  %e = tensor.empty() : tensor<8x50xf32>
  %w = linalg.generic {indexing_maps = [#nk, #n, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x50xi8>, tensor<8xf32>) outs(%e : tensor<8x50xf32>) {
  ^bb0(%a: i8, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x50xf32>
  %f = arith.constant 0.0 : f32
  %wide = tensor.pad %w low[0, 0] high[0, 14] {
  ^bb0(%i: index, %j: index):
    tensor.yield %f : f32
  } : tensor<8x50xf32> to tensor<8x64xf32>
  %y = linalg.matvec ins(%wide, %x : tensor<8x64xf32>, tensor<64xf32>) outs(%init : tensor<8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

// More rows in dimensions that are known than the size that stands for the others.
// CHECK: Reason="too many rows, in dimensions of which several are dynamic"
func.func @many_rows(%x: tensor<?x?x?x131072x64xf32>, %w: tensor<8x64xi8>, %init: tensor<?x?x?x131072x8xf32>) -> tensor<?x?x?x131072x8xf32> {
  %y = linalg.generic {indexing_maps = [affine_map<(a, b, c, t, n, k) -> (a, b, c, t, k)>, affine_map<(a, b, c, t, n, k) -> (n, k)>, affine_map<(a, b, c, t, n, k) -> (a, b, c, t, n)>],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<?x?x?x131072x64xf32>, tensor<8x64xi8>) outs(%init : tensor<?x?x?x131072x8xf32>) {
  ^bb0(%a: f32, %c: i8, %o: f32):
    %0 = arith.sitofp %c : i8 to f32
    %1 = arith.mulf %a, %0 : f32
    %2 = arith.addf %o, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<?x?x?x131072x8xf32>
  return %y : tensor<?x?x?x131072x8xf32>
}
