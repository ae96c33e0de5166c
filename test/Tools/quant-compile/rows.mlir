// Activations with a batch and a sequence that are both dynamic, and a bias: one dimension of
// rows in the artifact, and three where it is called. The function has the name that frontends
// give, which C cannot have.

// RUN: quant-compile %s --raise --target=cpu:portable -o %t.so --header=%t.h --save-temps=%t.temps 2>&1 | count 0
// RUN: FileCheck %s --check-prefix=MANIFEST < %t.temps/manifest.json
// RUN: FileCheck %s --check-prefix=HEADER < %t.h
// RUN: %python -c "import numpy; numpy.save('%t.npy', numpy.ones((2, 3, 64), 'f'))"
// RUN: quant-run %t.so --input %t.npy --output %t.y.npy --verify | FileCheck %s
// RUN: %python -c "import numpy; y = numpy.load('%t.y.npy'); assert y.shape == (2, 3, 16) and (y == 64 * 1.5 + 0.25).all()"

// MANIFEST: "inputs":[{"dtype":"f32","shape":[-1,64]}]
// MANIFEST: "outputs":[{"dtype":"f32","shape":[-1,16]}]
// HEADER: int main_(qlr_module *module
// CHECK: main  M = 6
// CHECK: output 0  f32 [2,3,16]
// CHECK: : ok

#w = affine_map<(n, k) -> (n, k)>
#s = affine_map<(n, k) -> (n, k floordiv 32)>
#btn = affine_map<(b, t, n) -> (b, t, n)>
func.func @main(%x: tensor<?x?x64xf32>) -> tensor<?x?x16xf32> {
  %q = arith.constant dense<3> : tensor<16x64xi4>
  %s = arith.constant dense<0.5> : tensor<16x2xf32>
  %bias = arith.constant dense<0.25> : tensor<16xf32>
  %e = tensor.empty() : tensor<16x64xf32>
  %w = linalg.generic {indexing_maps = [#w, #s, #w], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<16x64xi4>, tensor<16x2xf32>) outs(%e : tensor<16x64xf32>) {
  ^bb0(%a: i4, %b: f32, %o: f32):
    %0 = arith.sitofp %a : i4 to f32
    %1 = arith.mulf %0, %b : f32
    linalg.yield %1 : f32
  } -> tensor<16x64xf32>
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %b = tensor.dim %x, %c0 : tensor<?x?x64xf32>
  %t = tensor.dim %x, %c1 : tensor<?x?x64xf32>
  %empty = tensor.empty(%b, %t) : tensor<?x?x16xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x?x16xf32>) -> tensor<?x?x16xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(b, t, n, k) -> (b, t, k)>,
      affine_map<(b, t, n, k) -> (n, k)>, affine_map<(b, t, n, k) -> (b, t, n)>],
      iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<?x?x64xf32>, tensor<16x64xf32>) outs(%init : tensor<?x?x16xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %0 = arith.mulf %a, %c : f32
    %1 = arith.addf %o, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<?x?x16xf32>
  %z = linalg.generic {indexing_maps = [#btn, affine_map<(b, t, n) -> (n)>, #btn],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%y, %bias : tensor<?x?x16xf32>, tensor<16xf32>) outs(%empty : tensor<?x?x16xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %0 = arith.addf %a, %c : f32
    linalg.yield %0 : f32
  } -> tensor<?x?x16xf32>
  return %z : tensor<?x?x16xf32>
}
