// Every diagnostic of qlinear.grouped_linear and qlinear.combine, with its constraint.

// RUN: quant-opt %s --split-input-file --verify-diagnostics

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>, %b: memref<4x48xf32>) {
  // expected-error @below {{has buffers, but operand 0 is a value, 'tensor<4x64xf32>'; bufferize all operands or none (C1 of qlinear.grouped_linear)}}
  qlinear.grouped_linear %x by %i, %w experts = 4 outs(%b) : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>, memref<4x48xf32>) -> ()
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: memref<4x64xf32>, %i: memref<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{has buffers but no outs(...); say where the results go (C2 of qlinear.grouped_linear)}}
  qlinear.grouped_linear %x by %i, %w experts = 4 : (memref<4x64xf32>, memref<4x3xi32>, !qlinear.weight<64x64, #q4>) -> ()
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{has no result; on tensors it computes at least one (C3 of qlinear.grouped_linear)}}
  qlinear.grouped_linear %x by %i, %w experts = 4 : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>) -> ()
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>, %b: tensor<?x48xf32>) {
  // expected-error @below {{result 0 is 'tensor<4x48xf32>', but what it replaces is 'tensor<?x48xf32>'; the types must be the same (C4 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 outs(%b) : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>, tensor<?x48xf32>) -> tensor<4x48xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>) {
  // expected-error @below {{has no weight; give at least one (C5 of qlinear.grouped_linear)}}
  %y = "qlinear.grouped_linear"(%x, %i) <{experts = 4 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>}> ({}) : (tensor<4x64xf32>, tensor<4x3xi32>) -> tensor<4x48xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>, %u: !qlinear.weight<32x64, #q4>) {
  // expected-error @below {{weight 0 is 64 x 64, but weight 1 is 32 x 64; the weights of one grouped_linear have the same shape (C5 of qlinear.grouped_linear)}}
  %y:2 = qlinear.grouped_linear %x by %i, %w, %u experts = 4 : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>, !qlinear.weight<32x64, #q4>) -> (tensor<4x48xf32>, tensor<4x24xf32>)
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{has weights of 64 rows and experts = 3; these divide the rows, and each has a multiple of 16 (C6 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 3 : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x48xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{has weights of 64 rows and experts = 8; these divide the rows, and each has a multiple of 16 (C6 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 8 : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x24xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{has weights of 64 rows and experts = 0; these divide the rows, and each has a multiple of 16 (C6 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 0 : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x48xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<5x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{has ids of 5 x 3, and x has M = 4; ids have a row for each token, and as many columns as it has choices, a known number (C7 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 : (tensor<4x64xf32>, tensor<5x3xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x48xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x?xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{has ids of 4 x ?, and x has M = 4; ids have a row for each token, and as many columns as it has choices, a known number (C7 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 : (tensor<4x64xf32>, tensor<4x?xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x48xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x128xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{x has 128 columns, and the weights K = 64; x has K, or K for each of 3 choices (C8 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 : (tensor<4x128xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x48xf32>
  return
}

// -----

#row = #qlinear.encoding<u4, group = row, zero, scale = f32, offset = f32>
func.func @f(%x: tensor<4x120xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x40, #row>) {
  // expected-error @below {{x has a piece of K = 40 columns for each choice, and K is not a multiple of 32, the columns that share a scale; pad K (C8 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 : (tensor<4x120xf32>, tensor<4x3xi32>, !qlinear.weight<64x40, #row>) -> tensor<4x48xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>, %b: tensor<16xf32>) {
  // expected-error @below {{has 1 weights, 1 extras and 1 results, and no region that makes these of those; without a region there are no extras, and one result per weight (C9 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 extras(%b) : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>, tensor<16xf32>) -> tensor<4x48xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>, %b: tensor<32xf32>) {
  // expected-error @below {{extra 0 is 'tensor<32xf32>', and there are M = 4 rows of T = 3 choices, and E = 4 experts of N = 16; an extra is a tensor of N, E*N, M x T, M x T*N, or 1 (C10 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 extras(%b) : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>, tensor<32xf32>) -> tensor<4x48xf32> {
  ^bb0(%a: f32, %c: f32):
    qlinear.yield %a : f32
  }
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>, %b: tensor<4x16xf32>) {
  // expected-error @below {{extra 0 is 'tensor<4x16xf32>', and there are M = 4 rows of T = 3 choices, and E = 4 experts of N = 16; an extra is a tensor of N, E*N, M x T, M x T*N, or 1 (C10 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 extras(%b) : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>, tensor<4x16xf32>) -> tensor<4x48xf32> {
  ^bb0(%a: f32, %c: f32):
    qlinear.yield %a : f32
  }
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>, %b: tensor<3x48xf32>) {
  // expected-error @below {{extra 0 is 'tensor<3x48xf32>', and there are M = 4 rows of T = 3 choices, and E = 4 experts of N = 16; an extra is a tensor of N, E*N, M x T, M x T*N, or 1 (C10 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 extras(%b) : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>, tensor<3x48xf32>) -> tensor<4x48xf32> {
  ^bb0(%a: f32, %c: f32):
    qlinear.yield %a : f32
  }
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{result 0 must be 4 x 48 (rows of x, N for each choice), but is 'tensor<4x16xf32>' (C11 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x16xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{the epilogue has 2 arguments; it needs one f32 per weight (1) and one element per extra (0) (C12 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x48xf32> {
  ^bb0(%a: f32, %c: f32):
    qlinear.yield %a : f32
  }
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{the epilogue must end with qlinear.yield (C13 of qlinear.grouped_linear)}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x48xf32> {
  ^bb0(%a: f32):
    llvm.unreachable
  }
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x48xf32> {
  ^bb0(%a: f32):
    // expected-error @below {{yields 2 values for 1 results; yield one per result (C14 of qlinear.grouped_linear)}}
    qlinear.yield %a, %a : f32, f32
  }
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%x: tensor<4x64xf32>, %i: tensor<4x3xi32>, %w: !qlinear.weight<64x64, #q4>) {
  // expected-note @below {{in the epilogue of this grouped_linear}}
  %y = qlinear.grouped_linear %x by %i, %w experts = 4 : (tensor<4x64xf32>, tensor<4x3xi32>, !qlinear.weight<64x64, #q4>) -> tensor<4x48xf32> {
  ^bb0(%a: f32):
    // expected-error @below {{is not on scalars; an epilogue computes one element at a time (C15 of qlinear.grouped_linear)}}
    %v = vector.broadcast %a : f32 to vector<4xf32>
    qlinear.yield %a : f32
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x2xf32>, %b: memref<4x32xf32>) {
  // expected-error @below {{has buffers, but operand 0 is a value, 'tensor<4x64xf32>'; bufferize all operands or none (C1 of qlinear.combine)}}
  qlinear.combine %x by %s outs(%b) : (tensor<4x64xf32>, tensor<4x2xf32>, memref<4x32xf32>) -> ()
  return
}

// -----

func.func @f(%x: memref<4x64xf32>, %s: memref<4x2xf32>) {
  // expected-error @below {{has buffers but no outs(...); say where the results go (C2 of qlinear.combine)}}
  qlinear.combine %x by %s : (memref<4x64xf32>, memref<4x2xf32>) -> ()
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x2xf32>) {
  // expected-error @below {{has no result; on tensors it computes at least one (C3 of qlinear.combine)}}
  qlinear.combine %x by %s : (tensor<4x64xf32>, tensor<4x2xf32>) -> ()
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x2xf32>, %b: tensor<?x32xf32>) {
  // expected-error @below {{result 0 is 'tensor<4x32xf32>', but what it replaces is 'tensor<?x32xf32>'; the types must be the same (C4 of qlinear.combine)}}
  %y = qlinear.combine %x by %s outs(%b) : (tensor<4x64xf32>, tensor<4x2xf32>, tensor<?x32xf32>) -> tensor<4x32xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x3xf32>) {
  // expected-error @below {{has scales of 4 x 3, and x is 4 x 64; rows are the same, and there is a scale for each of T pieces of a row, which are known (C5 of qlinear.combine)}}
  %y = qlinear.combine %x by %s : (tensor<4x64xf32>, tensor<4x3xf32>) -> tensor<4x32xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<3x2xf32>) {
  // expected-error @below {{has scales of 3 x 2, and x is 4 x 64; rows are the same, and there is a scale for each of T pieces of a row, which are known (C5 of qlinear.combine)}}
  %y = qlinear.combine %x by %s : (tensor<4x64xf32>, tensor<3x2xf32>) -> tensor<4x32xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x2xf32>) {
  // expected-error @below {{has 0 extras and 2 results, and no region that makes these of those; without a region there are no extras, and one result (C6 of qlinear.combine)}}
  %y:2 = qlinear.combine %x by %s : (tensor<4x64xf32>, tensor<4x2xf32>) -> (tensor<4x32xf32>, tensor<4x32xf32>)
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x2xf32>, %b: tensor<64xf32>) {
  // expected-error @below {{extra 0 is 'tensor<64xf32>', but the sums are 4 x 32; an extra is a tensor of N or M x N, or of 1 (C7 of qlinear.combine)}}
  %y = qlinear.combine %x by %s extras(%b) : (tensor<4x64xf32>, tensor<4x2xf32>, tensor<64xf32>) -> tensor<4x32xf32> {
  ^bb0(%a: f32, %c: f32):
    qlinear.yield %a : f32
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x2xf32>) {
  // expected-error @below {{result 0 must be 4 x 32 (rows of x, columns of a piece), but is 'tensor<4x64xf32>' (C8 of qlinear.combine)}}
  %y = qlinear.combine %x by %s : (tensor<4x64xf32>, tensor<4x2xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x2xf32>) {
  // expected-error @below {{the epilogue has 2 arguments; it needs an f32 of the sum (1) and one element per extra (0) (C9 of qlinear.combine)}}
  %y = qlinear.combine %x by %s : (tensor<4x64xf32>, tensor<4x2xf32>) -> tensor<4x32xf32> {
  ^bb0(%a: f32, %c: f32):
    qlinear.yield %a : f32
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x2xf32>) {
  // expected-error @below {{the epilogue must end with qlinear.yield (C10 of qlinear.combine)}}
  %y = qlinear.combine %x by %s : (tensor<4x64xf32>, tensor<4x2xf32>) -> tensor<4x32xf32> {
  ^bb0(%a: f32):
    llvm.unreachable
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x2xf32>) {
  %y = qlinear.combine %x by %s : (tensor<4x64xf32>, tensor<4x2xf32>) -> tensor<4x32xf32> {
  ^bb0(%a: f32):
    // expected-error @below {{yields 2 values for 1 results; yield one per result (C11 of qlinear.combine)}}
    qlinear.yield %a, %a : f32, f32
  }
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %s: tensor<4x2xf32>) {
  // expected-note @below {{in the epilogue of this combine}}
  %y = qlinear.combine %x by %s : (tensor<4x64xf32>, tensor<4x2xf32>) -> tensor<4x32xf32> {
  ^bb0(%a: f32):
    // expected-error @below {{is not on scalars; an epilogue computes one element at a time (C12 of qlinear.combine)}}
    %v = vector.broadcast %a : f32 to vector<4xf32>
    qlinear.yield %a : f32
  }
  return
}
