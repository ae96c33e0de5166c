// RUN: quant-opt %s --allow-unregistered-dialect --qlinear-adopt-functions | FileCheck %s

// CHECK: func.func @main(%arg0: tensor<3x64xf32>) -> tensor<3x64xf32> {
// CHECK-NEXT: return %arg0 : tensor<3x64xf32>
"util.func"() <{function_type = (tensor<3x64xf32>) -> tensor<3x64xf32>, sym_name = "main", sym_visibility = "public"}> ({
^bb0(%x: tensor<3x64xf32>):
  "util.return"(%x) : (tensor<3x64xf32>) -> ()
}) : () -> ()

// CHECK: func.func @torch(%arg0: tensor<?x4xf32>) -> tensor<?x4xf32> {
// CHECK-NEXT: %[[Y:.*]] = math.tanh %arg0
// CHECK-NEXT: return %[[Y]]
func.func @torch(%x: !torch.vtensor<[?,4],f32>) -> !torch.vtensor<[?,4],f32> {
  %0 = "torch_c.to_builtin_tensor"(%x) : (!torch.vtensor<[?,4],f32>) -> tensor<?x4xf32>
  %1 = math.tanh %0 : tensor<?x4xf32>
  %2 = "torch_c.from_builtin_tensor"(%1) : (tensor<?x4xf32>) -> !torch.vtensor<[?,4],f32>
  return %2 : !torch.vtensor<[?,4],f32>
}

// An argument that torch reads stays as it is.
// CHECK: func.func @stays(%arg0: !torch.vtensor<[4],f32>)
func.func @stays(%x: !torch.vtensor<[4],f32>) -> tensor<4xf32> {
  %0 = "torch.aten.relu"(%x) : (!torch.vtensor<[4],f32>) -> !torch.vtensor<[4],f32>
  %1 = "torch_c.to_builtin_tensor"(%0) : (!torch.vtensor<[4],f32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// So do an argument that is converted to two types, and a result with another use.
// CHECK: func.func @two_types(%arg0: !torch.vtensor<[?,4],f32>)
func.func @two_types(%x: !torch.vtensor<[?,4],f32>) -> (tensor<?x4xf32>, tensor<2x4xf32>) {
  %0 = "torch_c.to_builtin_tensor"(%x) : (!torch.vtensor<[?,4],f32>) -> tensor<?x4xf32>
  %1 = "torch_c.to_builtin_tensor"(%x) : (!torch.vtensor<[?,4],f32>) -> tensor<2x4xf32>
  return %0, %1 : tensor<?x4xf32>, tensor<2x4xf32>
}
// CHECK: func.func @used(%arg0: tensor<4xf32>) -> !torch.vtensor<[4],f32>
func.func @used(%x: tensor<4xf32>) -> !torch.vtensor<[4],f32> {
  %0 = "torch_c.from_builtin_tensor"(%x) : (tensor<4xf32>) -> !torch.vtensor<[4],f32>
  "torch.aten.relu"(%0) : (!torch.vtensor<[4],f32>) -> !torch.vtensor<[4],f32>
  return %0 : !torch.vtensor<[4],f32>
}
