// What tensors of constants are evaluated to: scales of a weight.

// RUN: quant-opt %s --qlinear-fold-constants --canonicalize | FileCheck %s

#q8 = #qlinear.encoding<i8, group = row, symmetric, scale = f32>

// An index that is divided, to the next integer.
// CHECK-LABEL: func.func @ceildiv
// CHECK: arith.constant dense<{{\[}}[0.000000e+00], [1.000000e+00], [1.000000e+00], [2.000000e+00], [2.000000e+00], [3.000000e+00], [3.000000e+00], [4.000000e+00]]> : tensor<8x1xf32>
func.func @ceildiv() -> !qlinear.weight<8x4, #q8> {
  %a = arith.constant dense<[0.0, 1.0, 2.0, 3.0, 4.0]> : tensor<5xf32>
  %e = tensor.empty() : tensor<8xf32>
  %v = linalg.generic {indexing_maps = [affine_map<(i) -> (i ceildiv 2)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%a : tensor<5xf32>) outs(%e : tensor<8xf32>) {
  ^bb0(%x: f32, %o: f32):
    linalg.yield %x : f32
  } -> tensor<8xf32>
  %q = arith.constant dense<1> : tensor<8x4xi8>
  %n = tensor.expand_shape %v [[0, 1]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
  %p = qlinear.pack %q, %n : (tensor<8x4xi8>, tensor<8x1xf32>) -> !qlinear.weight<8x4, #q8>
  return %p : !qlinear.weight<8x4, #q8>
}

// Every other element.
// CHECK-LABEL: func.func @strided
// CHECK: arith.constant dense<{{\[}}[1.000000e+00], [3.000000e+00], [5.000000e+00], [7.000000e+00], [9.000000e+00], [1.100000e+01], [1.300000e+01], [1.500000e+01]]> : tensor<8x1xf32>
func.func @strided() -> !qlinear.weight<8x4, #q8> {
  %a = arith.constant dense<[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]> : tensor<16xf32>
  %v = tensor.extract_slice %a[1] [8] [2] : tensor<16xf32> to tensor<8xf32>
  %q = arith.constant dense<1> : tensor<8x4xi8>
  %n = tensor.expand_shape %v [[0, 1]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
  %p = qlinear.pack %q, %n : (tensor<8x4xi8>, tensor<8x1xf32>) -> !qlinear.weight<8x4, #q8>
  return %p : !qlinear.weight<8x4, #q8>
}

// What a slice is written into has another use, which reads it as it was.
// CHECK-LABEL: func.func @read_again
// CHECK: arith.constant dense<{{\[}}[0.000000e+00], [1.800000e+01], [0.000000e+00], [0.000000e+00], [2.200000e+01], [0.000000e+00], [0.000000e+00], [0.000000e+00]]> : tensor<8x1xf32>
func.func @read_again() -> !qlinear.weight<8x4, #q8> {
  %i = arith.constant dense<[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]> : tensor<8xf32>
  %d = arith.addf %i, %i : tensor<8xf32>
  %s = arith.constant dense<[20.0, 30.0]> : tensor<2xf32>
  %w = tensor.insert_slice %s into %d[1] [2] [3] : tensor<2xf32> into tensor<8xf32>
  %v = arith.subf %w, %d : tensor<8xf32>
  %q = arith.constant dense<1> : tensor<8x4xi8>
  %n = tensor.expand_shape %v [[0, 1]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
  %p = qlinear.pack %q, %n : (tensor<8x4xi8>, tensor<8x1xf32>) -> !qlinear.weight<8x4, #q8>
  return %p : !qlinear.weight<8x4, #q8>
}

// A slice of equal elements.
// CHECK-LABEL: func.func @equal
// CHECK: arith.constant dense<{{\[}}[0.000000e+00], [1.000000e+00], [2.000000e+00], [3.000000e+00], [9.000000e+00], [9.000000e+00], [9.000000e+00], [7.000000e+00]]> : tensor<8x1xf32>
func.func @equal() -> !qlinear.weight<8x4, #q8> {
  %i = arith.constant dense<[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]> : tensor<8xf32>
  %s = arith.constant dense<9.0> : tensor<3xf32>
  %v = tensor.insert_slice %s into %i[4] [3] [1] : tensor<3xf32> into tensor<8xf32>
  %q = arith.constant dense<1> : tensor<8x4xi8>
  %n = tensor.expand_shape %v [[0, 1]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
  %p = qlinear.pack %q, %n : (tensor<8x4xi8>, tensor<8x1xf32>) -> !qlinear.weight<8x4, #q8>
  return %p : !qlinear.weight<8x4, #q8>
}

// Parts of different sizes.
// CHECK-LABEL: func.func @concat
// CHECK: arith.constant dense<{{\[}}[1.000000e+00], [2.000000e+00], [3.000000e+00], [4.000000e+00], [5.000000e+00], [3.000000e+00], [4.000000e+00], [5.000000e+00]]> : tensor<8x1xf32>
func.func @concat() -> !qlinear.weight<8x4, #q8> {
  %a = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %b = arith.constant dense<[3.0, 4.0, 5.0]> : tensor<3xf32>
  %v = tensor.concat dim(0) %a, %b, %b : (tensor<2xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<8xf32>
  %q = arith.constant dense<1> : tensor<8x4xi8>
  %n = tensor.expand_shape %v [[0, 1]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
  %p = qlinear.pack %q, %n : (tensor<8x4xi8>, tensor<8x1xf32>) -> !qlinear.weight<8x4, #q8>
  return %p : !qlinear.weight<8x4, #q8>
}

// Sums of bytes wrap around before they are shifted back, with their sign.
// CHECK-LABEL: func.func @wrap
// CHECK: arith.constant dense<{{\[}}[-2.800000e+01], [2.800000e+01], [-6.400000e+01], [6.300000e+01], [1.000000e+00], [-2.000000e+00], [-6.400000e+01], [-6.400000e+01]]> : tensor<8x1xf32>
func.func @wrap() -> !qlinear.weight<8x4, #q8> {
  %a = arith.constant dense<[100, -100, 127, -128, 1, -1, 64, -64]> : tensor<8xi8>
  %b = arith.constant dense<[100, -100, 1, -1, 2, -2, 64, -64]> : tensor<8xi8>
  %one = arith.constant dense<1> : tensor<8xi8>
  %0 = arith.addi %a, %b : tensor<8xi8>
  %1 = arith.shrsi %0, %one : tensor<8xi8>
  %v = arith.sitofp %1 : tensor<8xi8> to tensor<8xf32>
  %q = arith.constant dense<1> : tensor<8x4xi8>
  %n = tensor.expand_shape %v [[0, 1]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
  %p = qlinear.pack %q, %n : (tensor<8x4xi8>, tensor<8x1xf32>) -> !qlinear.weight<8x4, #q8>
  return %p : !qlinear.weight<8x4, #q8>
}

// A shift to the left drops bits.
// CHECK-LABEL: func.func @shifted
// CHECK: arith.constant dense<{{\[}}[1.500000e+01], [0.000000e+00], [1.500000e+01], [1.500000e+01], [1.500000e+01], [0.000000e+00], [7.000000e+00], [8.000000e+00]]> : tensor<8x1xf32>
func.func @shifted() -> !qlinear.weight<8x4, #q8> {
  %a = arith.constant dense<[15, 16, 31, -1, 127, -128, 7, 8]> : tensor<8xi8>
  %e = tensor.empty() : tensor<8xf32>
  %v = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%a : tensor<8xi8>) outs(%e : tensor<8xf32>) {
  ^bb0(%x: i8, %o: f32):
    %four = arith.constant 4 : i8
    %0 = arith.shli %x, %four : i8
    %1 = arith.shrui %0, %four : i8
    %2 = arith.uitofp %1 : i8 to f32
    linalg.yield %2 : f32
  } -> tensor<8xf32>
  %q = arith.constant dense<1> : tensor<8x4xi8>
  %n = tensor.expand_shape %v [[0, 1]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
  %p = qlinear.pack %q, %n : (tensor<8x4xi8>, tensor<8x1xf32>) -> !qlinear.weight<8x4, #q8>
  return %p : !qlinear.weight<8x4, #q8>
}

// Quotients towards minus infinity, and towards zero.
// CHECK-LABEL: func.func @floor
// CHECK: arith.constant dense<{{\[}}[3.300000e+01], [-4.300000e+01], [-4.300000e+01], [3.300000e+01], [2.200000e+01], [-2.200000e+01], [0.000000e+00], [-1.000000e+01]]> : tensor<8x1xf32>
func.func @floor() -> !qlinear.weight<8x4, #q8> {
  %a = arith.constant dense<[7, -7, 7, -7, 6, -6, 1, -1]> : tensor<8xi32>
  %b = arith.constant dense<[2, 2, -2, -2, 3, 3, 4, 4]> : tensor<8xi32>
  %0 = arith.floordivsi %a, %b : tensor<8xi32>
  %1 = arith.divsi %a, %b : tensor<8xi32>
  %c10 = arith.constant dense<10> : tensor<8xi32>
  %2 = arith.muli %0, %c10 : tensor<8xi32>
  %3 = arith.addi %2, %1 : tensor<8xi32>
  %v = arith.sitofp %3 : tensor<8xi32> to tensor<8xf32>
  %q = arith.constant dense<1> : tensor<8x4xi8>
  %n = tensor.expand_shape %v [[0, 1]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
  %p = qlinear.pack %q, %n : (tensor<8x4xi8>, tensor<8x1xf32>) -> !qlinear.weight<8x4, #q8>
  return %p : !qlinear.weight<8x4, #q8>
}

// f16 below its normal numbers, ties to even, and beyond its largest.
// CHECK-LABEL: func.func @halves
// CHECK: arith.constant dense<{{\[}}[1.000000e+00], [0.000000e+00], [5.96046448E-8], [1.1920929E-7], [5.96046448E-8], [4.100000e+03], [4.104000e+03], [0x7F800000]]> : tensor<8x1xf32>
func.func @halves() -> !qlinear.weight<8x4, #q8> {
  %a = arith.constant dense<[1.0, 0x33000000, 0x33800000, 0x33C00000, 0x33200000, 0x45802000, 0x45803000, 0x47800000]> : tensor<8xf32>
  %h = arith.truncf %a : tensor<8xf32> to tensor<8xf16>
  %v = arith.extf %h : tensor<8xf16> to tensor<8xf32>
  %q = arith.constant dense<1> : tensor<8x4xi8>
  %n = tensor.expand_shape %v [[0, 1]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
  %p = qlinear.pack %q, %n : (tensor<8x4xi8>, tensor<8x1xf32>) -> !qlinear.weight<8x4, #q8>
  return %p : !qlinear.weight<8x4, #q8>
}

// fma rounds once.
// CHECK-LABEL: func.func @once
// CHECK: arith.constant dense<{{\[}}[4.88340855E-4], [0.000000e+00], [3.000000e+00], [8.000000e+00], [1.500000e+01], [2.400000e+01], [3.500000e+01], [4.800000e+01]]> : tensor<8x1xf32>
func.func @once() -> !qlinear.weight<8x4, #q8> {
  %a = arith.constant dense<[0x3F800800, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]> : tensor<8xf32>
  %c = arith.constant dense<-1.0> : tensor<8xf32>
  %v = math.fma %a, %a, %c : tensor<8xf32>
  %q = arith.constant dense<1> : tensor<8x4xi8>
  %n = tensor.expand_shape %v [[0, 1]] output_shape [8, 1] : tensor<8xf32> into tensor<8x1xf32>
  %p = qlinear.pack %q, %n : (tensor<8x4xi8>, tensor<8x1xf32>) -> !qlinear.weight<8x4, #q8>
  return %p : !qlinear.weight<8x4, #q8>
}
