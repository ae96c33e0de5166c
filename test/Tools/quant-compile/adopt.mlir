// --adopt: parameters take the encodings of the archive; shapes must fit all the same.

// RUN: rm -rf %t && mkdir -p %t
// RUN: %python %src/test/Emulated/Inputs/matrix.py 8 %t quant-pack
// RUN: split-file %s %t/ir
// RUN: quant-compile %t/ir/good.mlir --target=cpu:portable -o %t/good.so --params %t/weights.safetensors --adopt
// RUN: quant-run %t/good.so --weights %t/weights.safetensors --verify --device cpu:portable | FileCheck %s
// CHECK: good M = 1
// CHECK: verify 0 {{.*}}: ok

// RUN: not quant-compile %t/ir/shape.mlir --target=cpu:portable -o %t/n.so --params %t/weights.safetensors --adopt 2>&1 \
// RUN:   | FileCheck %s --check-prefix=SHAPE
// SHAPE: error: weight "w35" is 34 x 384 here, and 33 x 384 in

// A user that needs the type that was declared.
// RUN: not quant-compile %t/ir/user.mlir --target=cpu:portable -o %t/n.so --params %t/weights.safetensors --adopt 2>&1 \
// RUN:   | FileCheck %s --check-prefix=USER
// USER: error: 'func.call' op operand type mismatch

// RUN: not quant-compile %t/ir/good.mlir --adopt -o %t/n.so 2>&1 | FileCheck %s --check-prefix=PARAMS
// PARAMS: error: --adopt takes the encodings of an archive; name it with --params
// RUN: not ls %t/n.so

//--- good.mlir
#any = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = u4>
qlinear.parameter @w : !qlinear.weight<33x384, #any> from "w35"
func.func @good(%x: tensor<?x384xf32>) -> tensor<?x33xf32> {
  %w = qlinear.load @w : !qlinear.weight<33x384, #any>
  %y = qlinear.linear %x, %w : (tensor<?x384xf32>, !qlinear.weight<33x384, #any>) -> tensor<?x33xf32>
  return %y : tensor<?x33xf32>
}

//--- shape.mlir
#any = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = u4>
qlinear.parameter @w : !qlinear.weight<34x384, #any> from "w35"
func.func @f(%x: tensor<?x384xf32>) -> tensor<?x34xf32> {
  %w = qlinear.load @w : !qlinear.weight<34x384, #any>
  %y = qlinear.linear %x, %w : (tensor<?x384xf32>, !qlinear.weight<34x384, #any>) -> tensor<?x34xf32>
  return %y : tensor<?x34xf32>
}

//--- user.mlir
#any = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = u4>
qlinear.parameter @w : !qlinear.weight<33x384, #any> from "w35"
func.func private @other(!qlinear.weight<33x384, #any>)
func.func @f(%x: tensor<?x384xf32>) -> tensor<?x33xf32> {
  %w = qlinear.load @w : !qlinear.weight<33x384, #any>
  func.call @other(%w) : (!qlinear.weight<33x384, #any>) -> ()
  %y = qlinear.linear %x, %w : (tensor<?x384xf32>, !qlinear.weight<33x384, #any>) -> tensor<?x33xf32>
  return %y : tensor<?x33xf32>
}
