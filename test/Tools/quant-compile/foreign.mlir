// Modules of other projects: what compiles in generic form, and what says how to go on.

// RUN: split-file %s %t
// RUN: quant-compile %t/iree.mlir --raise --target=cpu:portable -o %t/iree.so --save-temps=%t/temps
// RUN: FileCheck %s --check-prefix=IREE < %t/temps/manifest.json
// IREE: "name":"layer"
// IREE: "encoding":"u2, group = row, zero, scale = f32, offset = u4"

// RUN: not quant-compile %t/custom.mlir --raise --target=cpu:portable -o %t/no.so 2>&1 | FileCheck %s --check-prefix=CUSTOM
// CUSTOM: error: {{.*}}'stablehlo.add'
// CUSTOM: quant-compile: error: the dialects of torch, ONNX, StableHLO and IREE are not linked: lower the module to linalg, or print it in generic form (--mlir-print-op-generic of their tools)

// RUN: not quant-compile %t/rest.mlir --raise --target=cpu:portable -o %t/no.so 2>&1 | FileCheck %s --check-prefix=REST
// REST: error: 'torch.aten.relu' cannot be compiled in function 'f'
// REST: note: operations of 'torch' are not known here; lower them to linalg before, by the tools of that project

// RUN: not quant-compile %t/argument.mlir --raise --target=cpu:portable -o %t/no.so 2>&1 | FileCheck %s --check-prefix=ARGUMENT
// ARGUMENT: error: function 'f': argument 1, 'tensor<8x64xi8>', is a component of a weight; weights are constants of the module (have the frontend close over them) or qlinear.parameter
// RUN: not ls %t/no.so

//--- iree.mlir
"util.func"() <{function_type = (tensor<3x32xf32>) -> tensor<3x2xf32>, sym_name = "layer", sym_visibility = "public"}> ({
^bb0(%x: tensor<3x32xf32>):
  %q = arith.constant dense<3> : tensor<32x2xi8>
  %e = tensor.empty() : tensor<32x2xf32>
  %w = linalg.generic {indexing_maps = [affine_map<(k, n) -> (k, n)>, affine_map<(k, n) -> (k, n)>], iterator_types = ["parallel", "parallel"]}
      ins(%q : tensor<32x2xi8>) outs(%e : tensor<32x2xf32>) {
  ^bb0(%a: i8, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    linalg.yield %0 : f32
  } -> tensor<32x2xf32>
  %f = arith.constant 0.0 : f32
  %i = tensor.empty() : tensor<3x2xf32>
  %z = linalg.fill ins(%f : f32) outs(%i : tensor<3x2xf32>) -> tensor<3x2xf32>
  %y = linalg.matmul ins(%x, %w : tensor<3x32xf32>, tensor<32x2xf32>) outs(%z : tensor<3x2xf32>) -> tensor<3x2xf32>
  "util.return"(%y) : (tensor<3x2xf32>) -> ()
}) : () -> ()

//--- custom.mlir
func.func @f(%x: tensor<3x64xf32>) -> tensor<3x64xf32> {
  %0 = stablehlo.add %x, %x : tensor<3x64xf32>
  return %0 : tensor<3x64xf32>
}

//--- rest.mlir
func.func @f(%x: tensor<2x64xf32>) -> tensor<2x8xf32> {
  %q = arith.constant dense<3> : tensor<8x64xi8>
  %t = "torch.constant.int"() {value = 6 : i64} : () -> !torch.int
  %f = "torch.aten.to.dtype"(%q, %t) : (tensor<8x64xi8>, !torch.int) -> tensor<8x64xf32>
  %w = "torch.aten.t"(%f) : (tensor<8x64xf32>) -> tensor<64x8xf32>
  %y = "torch.aten.mm"(%x, %w) : (tensor<2x64xf32>, tensor<64x8xf32>) -> tensor<2x8xf32>
  %r = "torch.aten.relu"(%y) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  return %r : tensor<2x8xf32>
}

//--- argument.mlir
func.func @f(%x: tensor<3x64xf32>, %q: tensor<8x64xi8>) -> tensor<3x8xf32> {
  %e = tensor.empty() : tensor<8x64xf32>
  %w = linalg.generic {indexing_maps = [affine_map<(n, k) -> (n, k)>, affine_map<(n, k) -> (n, k)>], iterator_types = ["parallel", "parallel"]}
      ins(%q : tensor<8x64xi8>) outs(%e : tensor<8x64xf32>) {
  ^bb0(%a: i8, %o: f32):
    %0 = arith.sitofp %a : i8 to f32
    linalg.yield %0 : f32
  } -> tensor<8x64xf32>
  %te = tensor.empty() : tensor<64x8xf32>
  %t = linalg.transpose ins(%w : tensor<8x64xf32>) outs(%te : tensor<64x8xf32>) permutation = [1, 0]
  %f = arith.constant 0.0 : f32
  %i = tensor.empty() : tensor<3x8xf32>
  %z = linalg.fill ins(%f : f32) outs(%i : tensor<3x8xf32>) -> tensor<3x8xf32>
  %y = linalg.matmul ins(%x, %t : tensor<3x64xf32>, tensor<64x8xf32>) outs(%z : tensor<3x8xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}
