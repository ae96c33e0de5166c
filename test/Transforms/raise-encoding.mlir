// The encoding that raising chooses, where one more would need another.

// RUN: quant-opt %s --qlinear-raise --mlir-print-local-scope | FileCheck %s

#mk = affine_map<(m, n, k) -> (m, k)>
#nk3 = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
#nk = affine_map<(n, k) -> (n, k)>
#n = affine_map<(n, k) -> (n)>
#g = affine_map<(n, k) -> (n, k floordiv 32)>
#row = affine_map<(n, k) -> (n, k floordiv 100)>
#only = affine_map<(n, k) -> (k floordiv 32)>

// Zeros that are one number: as an integer where it has a place in 4 or in 8 bits.
// CHECK-LABEL: @zero_15
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = row, zero, scale = f32, offset = u4>>
func.func @zero_15(%q: tensor<8x64xi4>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %f = arith.uitofp %q : tensor<8x64xi4> to tensor<8x64xf32>
  %z = arith.constant dense<15.0> : tensor<8x64xf32>
  %w = arith.subf %f, %z : tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @zero_16
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = row, zero, scale = f32, offset = u8>>
func.func @zero_16(%q: tensor<8x64xi4>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %f = arith.uitofp %q : tensor<8x64xi4> to tensor<8x64xf32>
  %z = arith.constant dense<16.0> : tensor<8x64xf32>
  %w = arith.subf %f, %z : tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @zero_255
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = row, zero, scale = f32, offset = u8>>
func.func @zero_255(%q: tensor<8x64xi4>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %f = arith.uitofp %q : tensor<8x64xi4> to tensor<8x64xf32>
  %z = arith.constant dense<255.0> : tensor<8x64xf32>
  %w = arith.subf %f, %z : tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @zero_256
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = row, zero, scale = f32, offset = f32>>
func.func @zero_256(%q: tensor<8x64xi4>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %f = arith.uitofp %q : tensor<8x64xi4> to tensor<8x64xf32>
  %z = arith.constant dense<256.0> : tensor<8x64xf32>
  %w = arith.subf %f, %z : tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @zero_minus_1
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = row, zero, scale = f32, offset = f32>>
func.func @zero_minus_1(%q: tensor<8x64xi4>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %f = arith.uitofp %q : tensor<8x64xi4> to tensor<8x64xf32>
  %z = arith.constant dense<-1.0> : tensor<8x64xf32>
  %w = arith.subf %f, %z : tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @zero_1_5
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = row, zero, scale = f32, offset = f32>>
func.func @zero_1_5(%q: tensor<8x64xi4>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %f = arith.uitofp %q : tensor<8x64xi4> to tensor<8x64xf32>
  %z = arith.constant dense<1.5> : tensor<8x64xf32>
  %w = arith.subf %f, %z : tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// Codes of scales, of as many bits as the mask leaves.
// CHECK-LABEL: @scales_15
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = 32, zero, scale = u4 * row<f16>, offset = u4>>
func.func @scales_15(%q: tensor<8x64xi4>, %c: tensor<8x2xi8>, %s: tensor<8xf16>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<15> : tensor<8x2xi8>
  %code = arith.andi %c, %mask : tensor<8x2xi8>
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #g, #n, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %code, %s : tensor<8x64xi4>, tensor<8x2xi8>, tensor<8xf16>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i4, %b: i8, %d: f16, %o: f32):
    %0 = arith.uitofp %a : i4 to f32
    %1 = arith.uitofp %b : i8 to f32
    %2 = arith.extf %d : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = arith.mulf %0, %3 : f32
    linalg.yield %4 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @scales_31
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = 32, zero, scale = u6 * row<f16>, offset = u4>>
func.func @scales_31(%q: tensor<8x64xi4>, %c: tensor<8x2xi8>, %s: tensor<8xf16>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<31> : tensor<8x2xi8>
  %code = arith.andi %c, %mask : tensor<8x2xi8>
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #g, #n, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %code, %s : tensor<8x64xi4>, tensor<8x2xi8>, tensor<8xf16>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i4, %b: i8, %d: f16, %o: f32):
    %0 = arith.uitofp %a : i4 to f32
    %1 = arith.uitofp %b : i8 to f32
    %2 = arith.extf %d : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = arith.mulf %0, %3 : f32
    linalg.yield %4 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @scales_63
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = 32, zero, scale = u6 * row<f16>, offset = u4>>
func.func @scales_63(%q: tensor<8x64xi4>, %c: tensor<8x2xi8>, %s: tensor<8xf16>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<63> : tensor<8x2xi8>
  %code = arith.andi %c, %mask : tensor<8x2xi8>
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #g, #n, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %code, %s : tensor<8x64xi4>, tensor<8x2xi8>, tensor<8xf16>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i4, %b: i8, %d: f16, %o: f32):
    %0 = arith.uitofp %a : i4 to f32
    %1 = arith.uitofp %b : i8 to f32
    %2 = arith.extf %d : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = arith.mulf %0, %3 : f32
    linalg.yield %4 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @scales_127
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<f16>, offset = u4>>
func.func @scales_127(%q: tensor<8x64xi4>, %c: tensor<8x2xi8>, %s: tensor<8xf16>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<127> : tensor<8x2xi8>
  %code = arith.andi %c, %mask : tensor<8x2xi8>
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #g, #n, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %code, %s : tensor<8x64xi4>, tensor<8x2xi8>, tensor<8xf16>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i4, %b: i8, %d: f16, %o: f32):
    %0 = arith.uitofp %a : i4 to f32
    %1 = arith.uitofp %b : i8 to f32
    %2 = arith.extf %d : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = arith.mulf %0, %3 : f32
    linalg.yield %4 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @scales_255
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<f16>, offset = u4>>
func.func @scales_255(%q: tensor<8x64xi4>, %c: tensor<8x2xi8>, %s: tensor<8xf16>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<-1> : tensor<8x2xi8>
  %code = arith.andi %c, %mask : tensor<8x2xi8>
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #g, #n, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %code, %s : tensor<8x64xi4>, tensor<8x2xi8>, tensor<8xf16>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i4, %b: i8, %d: f16, %o: f32):
    %0 = arith.uitofp %a : i4 to f32
    %1 = arith.uitofp %b : i8 to f32
    %2 = arith.extf %d : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = arith.mulf %0, %3 : f32
    linalg.yield %4 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// Codes that are read with a sign, and have none: with one, no zero is needed, if it takes no more
// bits.
// CHECK-LABEL: @codes_1
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<i2, group = row, symmetric, scale = f32>>
func.func @codes_1(%q: tensor<8x64xi8>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<1> : tensor<8x64xi8>
  %c = arith.andi %q, %mask : tensor<8x64xi8>
  %w = arith.sitofp %c : tensor<8x64xi8> to tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @codes_3
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u2, group = row, zero, scale = f32, offset = u4>>
func.func @codes_3(%q: tensor<8x64xi8>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<3> : tensor<8x64xi8>
  %c = arith.andi %q, %mask : tensor<8x64xi8>
  %w = arith.sitofp %c : tensor<8x64xi8> to tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @codes_7
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u3, group = row, zero, scale = f32, offset = u4>>
func.func @codes_7(%q: tensor<8x64xi8>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<7> : tensor<8x64xi8>
  %c = arith.andi %q, %mask : tensor<8x64xi8>
  %w = arith.sitofp %c : tensor<8x64xi8> to tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @codes_15
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = row, zero, scale = f32, offset = u4>>
func.func @codes_15(%q: tensor<8x64xi8>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<15> : tensor<8x64xi8>
  %c = arith.andi %q, %mask : tensor<8x64xi8>
  %w = arith.sitofp %c : tensor<8x64xi8> to tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @codes_31
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u5, group = row, zero, scale = f32, offset = u4>>
func.func @codes_31(%q: tensor<8x64xi8>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<31> : tensor<8x64xi8>
  %c = arith.andi %q, %mask : tensor<8x64xi8>
  %w = arith.sitofp %c : tensor<8x64xi8> to tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @codes_63
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u6, group = row, zero, scale = f32, offset = u4>>
func.func @codes_63(%q: tensor<8x64xi8>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<63> : tensor<8x64xi8>
  %c = arith.andi %q, %mask : tensor<8x64xi8>
  %w = arith.sitofp %c : tensor<8x64xi8> to tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// CHECK-LABEL: @codes_127
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<i8, group = row, symmetric, scale = f32>>
func.func @codes_127(%q: tensor<8x64xi8>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %mask = arith.constant dense<127> : tensor<8x64xi8>
  %c = arith.andi %q, %mask : tensor<8x64xi8>
  %w = arith.sitofp %c : tensor<8x64xi8> to tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// A group that would be longer than a row.
// CHECK-LABEL: @whole_row
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = row, zero, scale = f16, offset = u4>>
func.func @whole_row(%q: tensor<8x64xi4>, %s: tensor<8x1xf16>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #row, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<8x64xi4>, tensor<8x1xf16>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i4, %b: f16, %o: f32):
    %0 = arith.uitofp %a : i4 to f32
    %1 = arith.extf %b : f16 to f32
    %2 = arith.mulf %0, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// Scales of the only row need no dimension for it.
// CHECK-LABEL: @one_row
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<1x64, #qlinear.encoding<u4, group = 32, zero, scale = f16, offset = u4>>
func.func @one_row(%q: tensor<1x64xi4>, %s: tensor<2xf16>, %x: tensor<2x64xf32>, %init: tensor<2x1xf32>) -> tensor<2x1xf32> {
  %e = tensor.empty() : tensor<1x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #only, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<1x64xi4>, tensor<2xf16>) outs(%e : tensor<1x64xf32>) {
  ^bb0(%a: i4, %b: f16, %o: f32):
    %0 = arith.uitofp %a : i4 to f32
    %1 = arith.extf %b : f16 to f32
    %2 = arith.mulf %0, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<1x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<1x64xf32>) outs(%init : tensor<2x1xf32>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// Scales that were widened: the narrow ones.
// CHECK-LABEL: @widened
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = 32, zero, scale = f16, offset = u4>>
func.func @widened(%q: tensor<8x64xi4>, %s: tensor<8x2xf16>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %wide = arith.extf %s : tensor<8x2xf16> to tensor<8x2xf32>
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #g, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q, %wide : tensor<8x64xi4>, tensor<8x2xf32>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i4, %b: f32, %o: f32):
    %0 = arith.uitofp %a : i4 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// A scale that is one number keeps its type.
// CHECK-LABEL: @half
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<u4, group = row, zero, scale = f16, offset = u4>>
func.func @half(%q: tensor<8x64xi4>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %f = arith.uitofp %q : tensor<8x64xi4> to tensor<8x64xf16>
  %s = arith.constant dense<0.5> : tensor<8x64xf16>
  %h = arith.mulf %f, %s : tensor<8x64xf16>
  %w = arith.extf %h : tensor<8x64xf16> to tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// A zero of nothing is none, as an integer too.
// CHECK-LABEL: @signed_zero
// CHECK: qlinear.pack {{.*}} -> !qlinear.weight<8x64, #qlinear.encoding<i4, group = row, symmetric, scale = f32>>
func.func @signed_zero(%q: tensor<8x64xi4>, %x: tensor<2x64xf32>, %init: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %zero = arith.constant 0 : i8
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [#nk, #nk], iterator_types = ["parallel", "parallel"]}
      ins(%q : tensor<8x64xi4>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i4, %o: f32):
    %0 = arith.sitofp %a : i4 to f32
    %1 = arith.sitofp %zero : i8 to f32
    %2 = arith.subf %0, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<8x64xf32>
  %y = linalg.matmul indexing_maps = [#mk, #nk3, #mn]
      ins(%x, %w : tensor<2x64xf32>, tensor<8x64xf32>) outs(%init : tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}
