// RUN: quant-opt %s --split-input-file --verify-diagnostics --qlinear-to-runtime=target=cpu:portable
// RUN: not quant-opt %s --split-input-file --qlinear-to-runtime=target=cpu:nope 2>&1 | FileCheck %s
// CHECK: error: unknown target 'cpu:nope'; targets are

func.func private @k()
func.func @tensors(%x: tensor<4x64xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{is on tensors; run one-shot-bufferize before qlinear-to-runtime}}
  %y = qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] ins(%x)
      : (tensor<4x64xf32>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func private @k()
func.func @argument(%w: !qlinear.weight<8x64, #q8>, %x: memref<4x320xi8>, %y: memref<4x8xf32>) {
  // expected-error @below {{a weight is an argument of the function; make it a qlinear.parameter or a qlinear.pack of constants}}
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x) outs(%y)
      : (!qlinear.weight<8x64, #q8>, memref<4x320xi8>, memref<4x8xf32>) -> ()
  return
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<8x64, #q8>
llvm.func @k(%0: !llvm.ptr, %1: i32, %2: i64, %3: i64) attributes {qlinear.kernel} { llvm.return }
// expected-error @below {{the name 'qlinear.artifact' is needed for compiled kernels; rename it, or use another prefix than 'qlinear'}}
func.func private @qlinear.artifact()
func.func @name(%x: memref<4x320xi8>, %y: memref<4x8xf32>) {
  %w = qlinear.load @w : !qlinear.weight<8x64, #q8>
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x) outs(%y)
      : (!qlinear.weight<8x64, #q8>, memref<4x320xi8>, memref<4x8xf32>) -> ()
  return
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func private @k()
func.func @computed(%c: memref<8x64xi8>, %s: memref<8x2xf16>, %x: memref<4x320xi8>, %y: memref<4x8xf32>) {
  %w = qlinear.pack %c, %s : (memref<8x64xi8>, memref<8x2xf16>) -> !qlinear.weight<8x64, #q8>
  // expected-error @below {{weight is computed when the function runs; its components must be constants, or use a qlinear.parameter}}
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x) outs(%y)
      : (!qlinear.weight<8x64, #q8>, memref<4x320xi8>, memref<4x8xf32>) -> ()
  return
}

// -----

// Globals that the program may write, or that hold what is not known here, are no constants.
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func private @k()
memref.global "private" @codes : memref<8x64xi8> = dense<1>
memref.global "private" constant @scales : memref<8x2xf16> = dense<1.0>
func.func @mutable(%x: memref<4x320xi8>, %y: memref<4x8xf32>) {
  %c = memref.get_global @codes : memref<8x64xi8>
  %s = memref.get_global @scales : memref<8x2xf16>
  %w = qlinear.pack %c, %s : (memref<8x64xi8>, memref<8x2xf16>) -> !qlinear.weight<8x64, #q8>
  // expected-error @below {{weight is computed when the function runs; its components must be constants, or use a qlinear.parameter}}
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x) outs(%y)
      : (!qlinear.weight<8x64, #q8>, memref<4x320xi8>, memref<4x8xf32>) -> ()
  return
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func private @k()
memref.global "private" constant @codes : memref<8x64xi8>
memref.global "private" constant @scales : memref<8x2xf16> = dense<1.0>
func.func @external(%x: memref<4x320xi8>, %y: memref<4x8xf32>) {
  %c = memref.get_global @codes : memref<8x64xi8>
  %s = memref.get_global @scales : memref<8x2xf16>
  %w = qlinear.pack %c, %s : (memref<8x64xi8>, memref<8x2xf16>) -> !qlinear.weight<8x64, #q8>
  // expected-error @below {{weight is computed when the function runs}}
  qlinear.launch [#qlinear.variant<rows = 4, kernel = @k, items = 1>] weights(%w) ins(%x) outs(%y)
      : (!qlinear.weight<8x64, #q8>, memref<4x320xi8>, memref<4x8xf32>) -> ()
  return
}
