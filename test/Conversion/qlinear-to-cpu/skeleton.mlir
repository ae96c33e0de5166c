// RUN: quant-opt %s --split-input-file --qlinear-to-cpu --cse | FileCheck %s

// One kernel per row count of the schedule. The activations are quantized by a
// launch of their own; work items are tiles of 16 rows.

#q4_row = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>>
qlinear.parameter @up : !qlinear.weight<40x608, #q4_row>

// CHECK-LABEL: func @dynamic
// CHECK-SAME:    (%[[X:.*]]: tensor<?x608xbf16>)
func.func @dynamic(%x: tensor<?x608xbf16>) -> tensor<?x40xf16> {
  %w = qlinear.load @up : !qlinear.weight<40x608, #q4_row>
  // CHECK: %[[W:.*]] = qlinear.load @up
  // CHECK: %[[A:.*]] = qlinear.launch
  // CHECK-SAME: <rows = 1, kernel = @quantize0, items = 1>
  // CHECK-SAME: <rows = 8, kernel = @quantize0, items = 8>
  // CHECK-SAME: <rows = 2147483647, kernel = @quantize0_many, items = 256>
  // CHECK-SAME: ins(%[[X]]) : (tensor<?x608xbf16>) -> !qlinear.activations<?x608>
  // CHECK: %[[Y:.*]] = qlinear.launch
  // CHECK-SAME: [#qlinear.variant<rows = 1, kernel = @linear0_m1, items = 3>,
  // CHECK-SAME:  #qlinear.variant<rows = 4, kernel = @linear0_m4, items = 3>]
  // CHECK-SAME: weights(%[[W]]) ins(%[[A]])
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1>, #qlinear.cpu_gemv<rows = 4>]>}
      : (tensor<?x608xbf16>, !qlinear.weight<40x608, #q4_row>) -> tensor<?x40xf16>
  // CHECK: return %[[Y]]
  return %y : tensor<?x40xf16>
}

// CHECK-LABEL: llvm.func @linear0_m1
// CHECK-SAME:    (%[[ARGS:.*]]: !llvm.ptr, %[[ROWS:.*]]: i32, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64)
// CHECK-SAME:    attributes {qlinear.kernel}
// CHECK:         %[[BLOB:.*]] = llvm.load
// CHECK:         %[[ACTS:.*]] = llvm.load
// CHECK:         %[[OUT:.*]] = llvm.load
// CHECK:         %[[TILES:.*]] = arith.constant 3 : i64
// CHECK:         %[[HIGH:.*]] = arith.minsi %[[END]], %[[TILES]]
// CHECK:         scf.for %[[TILE:.*]] = %{{.*}} to %[[HIGH]]
// CHECK:           llvm.call @ql_cpu_begin_tile(%[[SPEC:[^,]*]], %[[N:[^,]*]], %[[K:[^,]*]], %[[M:[^,]*]], %[[BLOB]], %[[TILE]], %[[STATE:[^,)]*]])
// Two whole units in a loop, then the tail.
// CHECK:           %[[UNITS:.*]] = arith.constant 2 : i64
// CHECK:           scf.for %[[UNIT:.*]] = %{{.*}} to %[[UNITS]]
// CHECK:             llvm.call @ql_cpu_add_unit(%[[SPEC]], %[[N]], %[[K]], %[[M]], %[[BLOB]], %[[ACTS]], %[[ROWS]], %[[TILE]], %[[UNIT]], %{{.*}}, %[[STATE]])
// CHECK:           llvm.call @ql_cpu_add_unit(%[[SPEC]], %[[N]], %[[K]], %[[M]], %[[BLOB]], %[[ACTS]], %[[ROWS]], %[[TILE]], %[[UNITS]], %{{.*}}, %[[STATE]])
// CHECK:           llvm.call @ql_cpu_end_tile(%[[M]], %[[STATE]], %[[PRODUCTS:[^,)]*]])
// The last tile has 8 columns of the result.
// CHECK:           %[[COLUMN:.*]] = arith.muli %[[TILE]]
// CHECK:           %[[REST:.*]] = arith.subi %{{.*}}, %[[COLUMN]]
// CHECK:           %[[COLUMNS:.*]] = arith.minsi %{{.*}}, %[[REST]]
// CHECK:           scf.for
// CHECK:             %[[P:.*]] = llvm.load %{{.*}} -> vector<16xf32>
// CHECK:             llvm.store %[[P]], %[[BUFFER:[0-9a-z]+]] {{.*}}vector<16xf32>
// CHECK:             llvm.call @ql_cpu_store(%{{.*}}, %{{.*}}, %[[COLUMNS]], %[[BUFFER]])
// CHECK-LABEL: llvm.func @linear0_m4

// A row per work item; a variant may have more items than there are rows.
// CHECK-LABEL: llvm.func @quantize0
// CHECK-SAME:    (%{{.*}}: !llvm.ptr, %[[ROWS:.*]]: i32, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64)
// CHECK:         %[[R:.*]] = arith.extsi %[[ROWS]]
// CHECK:         %[[LAST:.*]] = arith.minsi %[[END]], %[[R]]
// CHECK:         scf.for %{{.*}} = %[[BEGIN]] to %[[LAST]]
// CHECK:           llvm.call @ql_cpu_quantize
// Of many rows, a work item is a 256th.
// CHECK-LABEL: llvm.func @quantize0_many
// CHECK-SAME:    (%{{.*}}: !llvm.ptr, %[[ROWS:.*]]: i32, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64)
// CHECK:         %[[R:.*]] = arith.extsi %[[ROWS]]
// CHECK:         %[[A:.*]] = arith.muli %[[BEGIN]], %[[R]]
// CHECK:         %[[PARTS:.*]] = arith.constant 256 : i64
// CHECK:         %[[FIRST:.*]] = arith.divsi %[[A]], %[[PARTS]]
// CHECK:         %[[B:.*]] = arith.muli %[[END]], %[[R]]
// CHECK:         %[[LAST:.*]] = arith.divsi %[[B]], %[[PARTS]]
// CHECK:         scf.for %{{.*}} = %[[FIRST]] to %[[LAST]]
// CHECK:           llvm.call @ql_cpu_quantize

// -----

// A kernel for many rows goes through them in blocks of `tokens` for some tiles after the
// others, so that the tiles' weights stay in a cache. Its items are parts of the rows, as
// many as may be threads, but of no less than 8 rows: 3 groups of tiles x 13 parts, 2 x 256.

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: func @many
// CHECK:         [#qlinear.variant<rows = 100, kernel = @linear0_m100, items = 39>,
// CHECK-SAME:    #qlinear.variant<rows = 2147483647, kernel = @linear0_many, items = 512>]
// CHECK-LABEL: llvm.func @linear0_m100
// CHECK-LABEL: llvm.func @linear0_many
// CHECK-SAME:    (%{{.*}}: !llvm.ptr, %[[ROWS:.*]]: i32, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64)
// CHECK:         %[[R:.*]] = arith.extsi %[[ROWS]]
// CHECK:         %[[BLOCKS:.*]] = arith.divsi
// CHECK:         %[[FIRSTGROUP:.*]] = arith.divsi %[[BEGIN]], %{{.*}}
// CHECK:         %[[UP:.*]] = arith.addi %[[END]], %{{.*}}
// CHECK:         %[[LASTGROUP:.*]] = arith.divsi %[[UP]], %{{.*}}
// CHECK:         scf.for %[[GROUP:.*]] = %[[FIRSTGROUP]] to %[[LASTGROUP]]
// CHECK:           %[[ITEM:.*]] = arith.muli %[[GROUP]], %{{.*}}
// CHECK:           arith.subi %[[BEGIN]], %[[ITEM]]
// CHECK:           arith.muli %[[BLOCKS]]
// CHECK:           %[[FIRSTROW:.*]] = arith.minsi %[[R]]
// CHECK:           arith.subi %[[END]], %[[ITEM]]
// CHECK:           arith.muli %[[BLOCKS]]
// CHECK:           %[[LASTROW:.*]] = arith.minsi %[[R]]
// CHECK:           %[[THREE:.*]] = arith.constant 3 : i64
// CHECK:           %[[FIRST:.*]] = arith.muli %[[GROUP]], %[[THREE]]
// CHECK:           %[[LAST:.*]] = arith.addi %[[FIRST]]
// CHECK:           %[[LOW:.*]] = arith.maxsi %[[FIRST]]
// CHECK:           %[[HIGH:.*]] = arith.minsi %[[LAST]]
// CHECK:           %[[SIXTEEN:.*]] = arith.constant 16 : i64
// CHECK:           scf.for %[[TOKEN:.*]] = %[[FIRSTROW]] to %[[LASTROW]] step %[[SIXTEEN]]
// CHECK:             %[[LEFT:.*]] = arith.subi %[[LASTROW]], %[[TOKEN]]
// CHECK:             %[[COUNT:.*]] = arith.minsi %{{.*}}, %[[LEFT]]
// A token has 64 codes and two records.
// CHECK:             %[[AT:.*]] = arith.muli %[[TOKEN]]
// CHECK:             %[[X:.*]] = llvm.getelementptr %{{.*}}[%[[AT]]]
// CHECK:             %[[TWO:.*]] = arith.constant 2 : i64
// CHECK:             scf.for %[[TILE:.*]] = %[[LOW]] to %[[HIGH]] step %[[TWO]]
// CHECK:               %[[REST:.*]] = arith.subi %[[HIGH]], %[[TILE]]
// CHECK:               %[[TILES:.*]] = arith.minsi %{{.*}}, %[[REST]]
// CHECK:               %[[COUNT32:.*]] = arith.trunci %[[COUNT]]
// CHECK:               %[[TILES32:.*]] = arith.trunci %[[TILES]]
// CHECK:               llvm.call @ql_cpu_multiply_tiles(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %[[X]], %[[COUNT32]], %[[TILE]], %[[TILES32]], %{{.*}}, %{{.*}}, %[[PRODUCTS:[^,)]*]])
// CHECK:               scf.for %[[T:.*]] = %{{.*}} to %[[TILES]]
// CHECK:                 arith.addi %[[TILE]], %[[T]]
// CHECK:                 scf.for %[[ROW:.*]] = %{{.*}} to %[[COUNT]]
// CHECK:                   arith.addi %[[TOKEN]], %[[ROW]]
// CHECK:                   llvm.call @ql_cpu_store
func.func @many(%x: tensor<?x64xf32>, %w: !qlinear.weight<72x64, #q8>) -> tensor<?x72xf32> {
  %0 = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.cpu_gemm<rows = 100, tokens = 16, tiles = 2>, #qlinear.cpu_gemm<rows = any, tokens = 16, tiles = 3>]>}
      : (tensor<?x64xf32>, !qlinear.weight<72x64, #q8>) -> tensor<?x72xf32>
  return %0 : tensor<?x72xf32>
}

// -----

// Linears of the same types share their kernels, and those that share an input its
// quantized form. Static M needs no larger variants.

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: func @shared
// CHECK-COUNT-1: kernel = @quantize0
// CHECK:         qlinear.launch [#qlinear.variant<rows = 1, kernel = @linear0_m1, items = 1>,
// CHECK-SAME:    #qlinear.variant<rows = 2, kernel = @linear0_m2, items = 1>] weights(%arg1) ins(%[[A:[^,)]*]]) :
// CHECK-NOT:     quantize
// CHECK:         kernel = @linear0_m1
// CHECK-SAME:    weights(%arg2) ins(%[[A]])
// CHECK:         return
// CHECK-NOT:     @linear1
func.func @shared(%x: tensor<2x64xf32>, %v: !qlinear.weight<8x64, #q8>, %w: !qlinear.weight<8x64, #q8>)
    -> (tensor<2x8xf32>, tensor<2x8xf32>) {
  %0 = qlinear.linear %x, %v : (tensor<2x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<2x8xf32>
  %1 = qlinear.linear %x, %w : (tensor<2x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<2x8xf32>
  return %0, %1 : tensor<2x8xf32>, tensor<2x8xf32>
}

// -----

// Without an epilogue the weights' tiles follow one another: 2 + 1 of them, two in
// a work item.

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: func @several
// CHECK:         items = 2>] weights(%arg1, %arg2)
// CHECK-LABEL: llvm.func @linear0_m1
// CHECK:         %[[TWO:.*]] = arith.constant 2 : i64
// CHECK:         %[[FIRST:.*]] = arith.muli %arg2, %[[TWO]]
// CHECK:         %[[LAST:.*]] = arith.muli %arg3, %[[TWO]]
// CHECK:         %[[HIGH:.*]] = arith.minsi %[[LAST]], %[[TWO]]
// CHECK:         scf.for %{{.*}} = %{{.*}} to %[[HIGH]]
// CHECK:         %[[LOW:.*]] = arith.maxsi %[[FIRST]], %[[TWO]]
// CHECK:         scf.for %[[T:.*]] = %[[LOW]] to
// CHECK:           arith.subi %[[T]], %[[TWO]]
func.func @several(%x: !qlinear.activations<1x64>, %v: !qlinear.weight<32x64, #q8>, %w: !qlinear.weight<8x64, #q8>)
    -> (tensor<1x32xf32>, tensor<1x8xf32>) {
  %0:2 = qlinear.linear %x, %v, %w {schedule = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1, tiles = 2>, #qlinear.cpu_gemv<rows = 2, tiles = 2>, #qlinear.cpu_gemv<rows = 4, tiles = 2>, #qlinear.cpu_gemv<rows = 8, tiles = 2>]>}
      : (!qlinear.activations<1x64>, !qlinear.weight<32x64, #q8>, !qlinear.weight<8x64, #q8>)
      -> (tensor<1x32xf32>, tensor<1x8xf32>)
  return %0#0, %0#1 : tensor<1x32xf32>, tensor<1x8xf32>
}

// -----

// The epilogue runs on vectors of 16 columns, in f32 from load to store. A 1D
// extra does not depend on the row, a 2D one does.

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: llvm.func @linear0_m1
// CHECK:         llvm.call @ql_cpu_end_tile({{.*}}, %[[GATES:[^,)]*]])
// CHECK:         llvm.call @ql_cpu_end_tile({{.*}}, %[[UPS:[^,)]*]])
// CHECK:         scf.for %[[ROW:.*]] =
// CHECK:           %[[GATE:.*]] = llvm.load {{.*}} -> vector<16xf32>
// CHECK:           %[[UP:.*]] = llvm.load {{.*}} -> vector<16xf32>
// CHECK:           llvm.call @ql_cpu_load
// CHECK:           %[[BIAS:.*]] = llvm.load {{.*}} -> vector<16xf32>
// CHECK:           llvm.call @ql_cpu_load
// CHECK:           %[[RES:.*]] = llvm.load {{.*}} -> vector<16xf32>
// CHECK:           %[[HALF:.*]] = arith.constant dense<5.000000e-01> : vector<16xf32>
// CHECK:           %[[S:.*]] = arith.addf %[[GATE]], %[[BIAS]] : vector<16xf32>
// CHECK:           %[[E:.*]] = math.exp %[[S]] : vector<16xf32>
// CHECK:           %[[C:.*]] = arith.cmpf ogt, %[[E]], %[[HALF]] : vector<16xf32>
// CHECK:           %[[SEL:.*]] = arith.select %[[C]], %[[E]], %[[UP]] : vector<16xi1>, vector<16xf32>
// CHECK:           %[[Y:.*]] = arith.addf %[[SEL]], %[[RES]] : vector<16xf32>
// CHECK:           llvm.store %[[Y]]
// CHECK:           llvm.call @ql_cpu_store
func.func @epilogue(%x: tensor<?x64xbf16>, %v: !qlinear.weight<20x64, #q8>, %w: !qlinear.weight<20x64, #q8>,
                    %bias: tensor<20xf32>, %residual: tensor<?x20xbf16>) -> tensor<?x20xbf16> {
  %y = qlinear.linear %x, %v, %w extras(%bias, %residual)
      : (tensor<?x64xbf16>, !qlinear.weight<20x64, #q8>, !qlinear.weight<20x64, #q8>, tensor<20xf32>, tensor<?x20xbf16>)
      -> tensor<?x20xbf16> {
  ^bb0(%gate: f32, %up: f32, %b: f32, %r: bf16):
    %half = arith.constant 0.5 : f32
    %0 = arith.addf %gate, %b : f32
    %1 = math.exp %0 : f32
    %2 = arith.cmpf ogt, %1, %half : f32
    %3 = arith.select %2, %1, %up : f32
    %4 = arith.truncf %3 : f32 to bf16
    %5 = arith.addf %4, %r : bf16
    qlinear.yield %5 : bf16
  }
  return %y : tensor<?x20xbf16>
}

// -----

// Linears that differ in their schedule, or in their epilogue's constant, its operands or
// an attribute, have kernels of their own; the last one here is like the third.

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

// CHECK-LABEL: func @different
// CHECK:         @linear0_m1, items = 4>
// CHECK:         @linear1_m1, items = 2>
// CHECK:         %[[SAME:.*]] = qlinear.launch {{.*}}@linear2_m1, items = 4>
// CHECK:         @linear3_m1, items = 4>
// CHECK:         @linear4_m1, items = 4>
// CHECK:         @linear5_m1, items = 4>
// CHECK-NEXT:    return {{.*}}, %[[SAME]] :
func.func @different(%x: !qlinear.activations<1x64>, %w: !qlinear.weight<64x64, #q8>, %e: tensor<64xf32>)
    -> (tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>) {
  %0 = qlinear.linear %x, %w : (!qlinear.activations<1x64>, !qlinear.weight<64x64, #q8>) -> tensor<1x64xf32>
  %1 = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1, tiles = 2>, #qlinear.cpu_gemv<rows = 2, tiles = 2>, #qlinear.cpu_gemv<rows = 4, tiles = 2>, #qlinear.cpu_gemv<rows = 8, tiles = 2>]>}
      : (!qlinear.activations<1x64>, !qlinear.weight<64x64, #q8>) -> tensor<1x64xf32>
  %2 = qlinear.linear %x, %w extras(%e) : (!qlinear.activations<1x64>, !qlinear.weight<64x64, #q8>, tensor<64xf32>) -> tensor<1x64xf32> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.constant 1.0 : f32
    %s = arith.subf %a, %b : f32
    %m = arith.mulf %s, %c : f32
    qlinear.yield %m : f32
  }
  %3 = qlinear.linear %x, %w extras(%e) : (!qlinear.activations<1x64>, !qlinear.weight<64x64, #q8>, tensor<64xf32>) -> tensor<1x64xf32> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.constant 2.0 : f32
    %s = arith.subf %a, %b : f32
    %m = arith.mulf %s, %c : f32
    qlinear.yield %m : f32
  }
  %4 = qlinear.linear %x, %w extras(%e) : (!qlinear.activations<1x64>, !qlinear.weight<64x64, #q8>, tensor<64xf32>) -> tensor<1x64xf32> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.constant 1.0 : f32
    %s = arith.subf %b, %a : f32
    %m = arith.mulf %s, %c : f32
    qlinear.yield %m : f32
  }
  %5 = qlinear.linear %x, %w extras(%e) : (!qlinear.activations<1x64>, !qlinear.weight<64x64, #q8>, tensor<64xf32>) -> tensor<1x64xf32> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.constant 1.0 : f32
    %s = arith.subf %a, %b fastmath<nnan> : f32
    %m = arith.mulf %s, %c : f32
    qlinear.yield %m : f32
  }
  %6 = qlinear.linear %x, %w extras(%e) : (!qlinear.activations<1x64>, !qlinear.weight<64x64, #q8>, tensor<64xf32>) -> tensor<1x64xf32> {
  ^bb0(%a: f32, %b: f32):
    %c = arith.constant 1.0 : f32
    %s = arith.subf %a, %b : f32
    %m = arith.mulf %s, %c : f32
    qlinear.yield %m : f32
  }
  return %0, %1, %2, %3, %4, %5, %6
      : tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>
}
