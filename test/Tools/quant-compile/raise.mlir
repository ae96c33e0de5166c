// --raise: a function that dequantizes its weights in linalg is compiled as it is; one
// without linears, among others that have some, is a warning.

// RUN: quant-compile %s --raise --target=cpu:portable -o %t.so --save-temps=%t.temps 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=MANIFEST < %t.temps/manifest.json
// RUN: not quant-compile %s --target=cpu:portable -o %t.no.so 2>&1 | FileCheck %s --check-prefix=WITHOUT
// RUN: not ls %t.no.so

// CHECK-NOT: error
// CHECK: [[@LINE+30]]:1: warning: function 'nothing' has no quantized linear
// CHECK-NOT: error
// MANIFEST: "name":"linear"
// WITHOUT: error: function 'linear' has no quantized linear; what is compiled are qlinear.linear
// WITHOUT: note: {{.*}} pass --raise

#w = affine_map<(n, k) -> (n, k)>
#s = affine_map<(n, k) -> (n, k floordiv 32)>
func.func @linear(%x: tensor<2x64xf32>) -> tensor<2x16xf32> {
  %q = arith.constant dense<3> : tensor<16x64xi4>
  %s = arith.constant dense<0.5> : tensor<16x2xf32>
  %e = tensor.empty() : tensor<16x64xf32>
  %w = linalg.generic {indexing_maps = [#w, #s, #w], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<16x64xi4>, tensor<16x2xf32>) outs(%e : tensor<16x64xf32>) {
  ^bb0(%a: i4, %b: f32, %o: f32):
    %0 = arith.extsi %a : i4 to i32
    %1 = arith.sitofp %0 : i32 to f32
    %2 = arith.mulf %1, %b : f32
    linalg.yield %2 : f32
  } -> tensor<16x64xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<2x16xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<2x16xf32>) -> tensor<2x16xf32>
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
      affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %w : tensor<2x64xf32>, tensor<16x64xf32>) outs(%init : tensor<2x16xf32>)
      -> tensor<2x16xf32>
  return %y : tensor<2x16xf32>
}

func.func @nothing() { return }
