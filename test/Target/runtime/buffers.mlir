// What a launch reads and writes may lie anywhere: at an offset, or with gaps between rows or
// elements. And a global that the program writes is no constant.

// DEFINE: %{libraries} = %mlir_libs/libmlir_runner_utils.so,%mlir_libs/libmlir_c_runner_utils.so,%libs/libQLinearRuntime.so
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cpu{target=cpu:portable},qlinear-finish)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s
// RUN: quant-opt %s --pass-pipeline='builtin.module(qlinear-cuda{target=cuda:emulated},qlinear-finish)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{libraries} | FileCheck %s

#e = #qlinear.encoding<i8, group = 64, symmetric, scale = f32>
!w = !qlinear.weight<4x64, #e>
memref.global "private" @bias : memref<4xf32> = dense<[1.0, 1.0, 1.0, 1.0]> {alignment = 16 : i64}
func.func private @printMemrefF32(tensor<*xf32>) attributes {llvm.emit_c_interface}

func.func private @print(%y: tensor<2x4xf32>) {
  %any = tensor.cast %y : tensor<2x4xf32> to tensor<*xf32>
  call @printMemrefF32(%any) : (tensor<*xf32>) -> ()
  return
}

// Each column of the result is the sum of a row of x, whose elements are 127 in each 16th
// column, and else their row's number, from one on: the quantized activations are exact.
func.func private @input(%rows: index, %columns: index) -> tensor<?x?xf32> {
  %x = tensor.generate %rows, %columns {
  ^bb0(%i: index, %j: index):
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c16 = arith.constant 16 : index
    %c127 = arith.constant 127 : index
    %rest = arith.remui %j, %c16 : index
    %isLarge = arith.cmpi eq, %rest, %c0 : index
    %row = arith.addi %i, %c1 : index
    %value = arith.select %isLarge, %c127, %row : index
    %int = arith.index_cast %value : index to i32
    %float = arith.sitofp %int : i32 to f32
    tensor.yield %float : f32
  } : tensor<?x?xf32>
  return %x : tensor<?x?xf32>
}

// Rows from one that is known only at run time on.
func.func private @from_row(%x: tensor<4x64xf32>, %row: index) {
  %one = arith.constant dense<1> : tensor<4x64xi8>
  %s = arith.constant dense<1.0> : tensor<4x1xf32>
  %w = qlinear.pack %one, %s : (tensor<4x64xi8>, tensor<4x1xf32>) -> !w
  %part = tensor.extract_slice %x[%row, 0] [2, 64] [1, 1] : tensor<4x64xf32> to tensor<2x64xf32>
  %y = qlinear.linear %part, %w : (tensor<2x64xf32>, !w) -> tensor<2x4xf32>
  call @print(%y) : (tensor<2x4xf32>) -> ()
  return
}

func.func @main() {
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %one = arith.constant dense<1> : tensor<4x64xi8>
  %s = arith.constant dense<1.0> : tensor<4x1xf32>
  %w = qlinear.pack %one, %s : (tensor<4x64xi8>, tensor<4x1xf32>) -> !w
  %dense = call @input(%c4, %c64) : (index, index) -> tensor<?x?xf32>
  %x4 = tensor.cast %dense : tensor<?x?xf32> to tensor<4x64xf32>
  %wide = call @input(%c4, %c128) : (index, index) -> tensor<?x?xf32>
  %x128 = tensor.cast %wide : tensor<?x?xf32> to tensor<4x128xf32>

  // An offset alone.
  // CHECK: [628, 628, 628, 628]
  // CHECK-NEXT: [688, 688, 688, 688]
  %r0 = tensor.extract_slice %x4[1, 0] [2, 64] [1, 1] : tensor<4x64xf32> to tensor<2x64xf32>
  %y0 = qlinear.linear %r0, %w : (tensor<2x64xf32>, !w) -> tensor<2x4xf32>
  call @print(%y0) : (tensor<2x4xf32>) -> ()
  // CHECK: [688, 688, 688, 688]
  // CHECK-NEXT: [748, 748, 748, 748]
  call @from_row(%x4, %c2) : (tensor<4x64xf32>, index) -> ()

  // Gaps between rows, of which the first is at a multiple of 16 bytes.
  // CHECK: [628, 628, 628, 628]
  // CHECK-NEXT: [688, 688, 688, 688]
  %r1 = tensor.extract_slice %x128[1, 4] [2, 64] [1, 1] : tensor<4x128xf32> to tensor<2x64xf32>
  %y1 = qlinear.linear %r1, %w : (tensor<2x64xf32>, !w) -> tensor<2x4xf32>
  call @print(%y1) : (tensor<2x4xf32>) -> ()

  // Every second element of a row.
  // CHECK: [1072, 1072, 1072, 1072]
  // CHECK-NEXT: [1128, 1128, 1128, 1128]
  %r2 = tensor.extract_slice %x128[0, 0] [2, 64] [1, 2] : tensor<4x128xf32> to tensor<2x64xf32>
  %y2 = qlinear.linear %r2, %w : (tensor<2x64xf32>, !w) -> tensor<2x4xf32>
  call @print(%y2) : (tensor<2x4xf32>) -> ()

  // A vector of every second element, from a multiple of 16 bytes on; and one from elsewhere.
  // CHECK: [632, 634, 636, 638]
  // CHECK-NEXT: [692, 694, 696, 698]
  // CHECK: [633, 634, 635, 636]
  // CHECK-NEXT: [693, 694, 695, 696]
  %numbers = tensor.generate %c128 {
  ^bb0(%i: index):
    %int = arith.index_cast %i : index to i32
    %float = arith.sitofp %int : i32 to f32
    tensor.yield %float : f32
  } : tensor<?xf32>
  %b3 = tensor.extract_slice %numbers[4] [4] [2] : tensor<?xf32> to tensor<4xf32>
  %y3 = qlinear.linear %r0, %w extras(%b3) : (tensor<2x64xf32>, !w, tensor<4xf32>) -> tensor<2x4xf32> {
  ^bb0(%p: f32, %b: f32):
    %sum = arith.addf %p, %b : f32
    qlinear.yield %sum : f32
  }
  call @print(%y3) : (tensor<2x4xf32>) -> ()
  %b4 = tensor.extract_slice %numbers[5] [4] [1] : tensor<?xf32> to tensor<4xf32>
  %y4 = qlinear.linear %r0, %w extras(%b4) : (tensor<2x64xf32>, !w, tensor<4xf32>) -> tensor<2x4xf32> {
  ^bb0(%p: f32, %b: f32):
    %sum = arith.addf %p, %b : f32
    qlinear.yield %sum : f32
  }
  call @print(%y4) : (tensor<2x4xf32>) -> ()

  // A result that is written into the middle of longer rows.
  // CHECK: [9, 9, 628, 628, 628, 628, 9, 9]
  // CHECK-NEXT: [9, 9, 688, 688, 688, 688, 9, 9]
  %nine = arith.constant 9.0 : f32
  %empty = tensor.empty() : tensor<2x8xf32>
  %nines = linalg.fill ins(%nine : f32) outs(%empty : tensor<2x8xf32>) -> tensor<2x8xf32>
  %middle = tensor.extract_slice %nines[0, 2] [2, 4] [1, 1] : tensor<2x8xf32> to tensor<2x4xf32>
  %y5 = qlinear.linear %r0, %w outs(%middle) : (tensor<2x64xf32>, !w, tensor<2x4xf32>) -> tensor<2x4xf32>
  %whole = tensor.insert_slice %y5 into %nines[0, 2] [2, 4] [1, 1] : tensor<2x4xf32> into tensor<2x8xf32>
  %any = tensor.cast %whole : tensor<2x8xf32> to tensor<*xf32>
  call @printMemrefF32(%any) : (tensor<*xf32>) -> ()

  // A global whose initial value is no longer what it holds.
  // CHECK: [629, 629, 728, 629]
  // CHECK-NEXT: [689, 689, 788, 689]
  %hundred = arith.constant 100.0 : f32
  %global = memref.get_global @bias : memref<4xf32>
  memref.store %hundred, %global[%c2] : memref<4xf32>
  %b6 = bufferization.to_tensor %global restrict : memref<4xf32> to tensor<4xf32>
  %y6 = qlinear.linear %r0, %w extras(%b6) : (tensor<2x64xf32>, !w, tensor<4xf32>) -> tensor<2x4xf32> {
  ^bb0(%p: f32, %b: f32):
    %sum = arith.addf %p, %b : f32
    qlinear.yield %sum : f32
  }
  call @print(%y6) : (tensor<2x4xf32>) -> ()
  return
}
