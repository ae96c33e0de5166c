// Weights whose codes index tables of every size: their text and bytecode, and the types
// of their codes, which have as many bits as the table needs, or 8.
// RUN: quant-opt %s --mlir-print-local-scope | quant-opt --mlir-print-local-scope | FileCheck %s
// RUN: quant-opt %s --emit-bytecode | quant-opt --mlir-print-local-scope | FileCheck %s

#of4 = #qlinear.encoding<example2, group = 32, symmetric, scale = bf16>
#of8 = #qlinear.encoding<example3, group = 32, zero, scale = bf16, offset = i4>
#of16 = #qlinear.encoding<example4, group = 32, min, scale = bf16, offset = bf16>
#mxfp4 = #qlinear.encoding<e2m1, group = 32, symmetric, scale = e8m0>
#nvfp4 = #qlinear.encoding<e2m1, group = 16, symmetric, scale = e4m3 * row<f32>>
#of256 = #qlinear.encoding<example8, group = 32, symmetric, scale = bf16>

// CHECK-LABEL: func.func @pack
func.func @pack(%two: tensor<16x64xi2>, %three: tensor<16x64xi3>, %four: tensor<16x64xi4>,
                %bytes: tensor<16x64xi8>, %s: tensor<16x2xbf16>, %z: tensor<16x2xi4>) {
  // CHECK: (tensor<16x64xi2>, tensor<16x2xbf16>) -> !qlinear.weight<16x64, #qlinear.encoding<example2, group = 32, symmetric, scale = bf16>>
  %0 = qlinear.pack %two, %s : (tensor<16x64xi2>, tensor<16x2xbf16>) -> !qlinear.weight<16x64, #of4>
  // CHECK: (tensor<16x64xi8>, tensor<16x2xbf16>) -> !qlinear.weight<16x64, #qlinear.encoding<example2, group = 32, symmetric, scale = bf16>>
  %1 = qlinear.pack %bytes, %s : (tensor<16x64xi8>, tensor<16x2xbf16>) -> !qlinear.weight<16x64, #of4>
  // CHECK: (tensor<16x64xi3>, tensor<16x2xbf16>, tensor<16x2xi4>) -> !qlinear.weight<16x64, #qlinear.encoding<example3, group = 32, zero, scale = bf16, offset = i4>>
  %2 = qlinear.pack %three, %s offsets(%z) : (tensor<16x64xi3>, tensor<16x2xbf16>, tensor<16x2xi4>) -> !qlinear.weight<16x64, #of8>
  // CHECK: (tensor<16x64xi4>, tensor<16x2xbf16>, tensor<16x2xbf16>) -> !qlinear.weight<16x64, #qlinear.encoding<example4, group = 32, min, scale = bf16, offset = bf16>>
  %3 = qlinear.pack %four, %s offsets(%s) : (tensor<16x64xi4>, tensor<16x2xbf16>, tensor<16x2xbf16>) -> !qlinear.weight<16x64, #of16>
  // CHECK: (tensor<16x64xi8>, tensor<16x2xbf16>) -> !qlinear.weight<16x64, #qlinear.encoding<example8, group = 32, symmetric, scale = bf16>>
  %4 = qlinear.pack %bytes, %s : (tensor<16x64xi8>, tensor<16x2xbf16>) -> !qlinear.weight<16x64, #of256>
  return
}

// Scales of 8-bit floats are given as their bits.
// CHECK-LABEL: func.func @floats
func.func @floats(%codes: tensor<16x64xi4>, %e8m0: tensor<16x2xi8>,
                  %e4m3: tensor<16x4xi8>, %step: tensor<16xf32>) {
  // CHECK: (tensor<16x64xi4>, tensor<16x2xi8>) -> !qlinear.weight<16x64, #qlinear.encoding<e2m1, group = 32, symmetric, scale = e8m0>>
  %0 = qlinear.pack %codes, %e8m0 : (tensor<16x64xi4>, tensor<16x2xi8>) -> !qlinear.weight<16x64, #mxfp4>
  // CHECK: (tensor<16x64xi4>, tensor<16x4xi8>, tensor<16xf32>) -> !qlinear.weight<16x64, #qlinear.encoding<e2m1, group = 16, symmetric, scale = e4m3 * row<f32>>>
  %1 = qlinear.pack %codes, %e4m3 steps(%step) : (tensor<16x64xi4>, tensor<16x4xi8>, tensor<16xf32>) -> !qlinear.weight<16x64, #nvfp4>
  return
}
