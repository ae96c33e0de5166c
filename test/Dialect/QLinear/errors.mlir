// Every diagnostic of the dialect. check-diagnostics.test holds this file to it.
// RUN: quant-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// #qlinear.encoding: spelling
//===----------------------------------------------------------------------===//

// expected-error @below {{expected the code of a weight: one of u2, i2, u3, i3, u4, i4, u5, i5, u6, i6, u8, i8, example4, example2, example3, example8, iq4nl, e2m1, nf4}}
func.func private @f() attributes {a = #qlinear.encoding<4, group = 32>}

// -----

// expected-error @below {{expected the code of a weight}}
func.func private @f() attributes {a = #qlinear.encoding<f4, group = 32, zero, scale = bf16, offset = bf16>}

// -----

// expected-error @below {{expected the group size: 16, 32, 64, 128, 256, or row for one group per row}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = column, zero, scale = bf16, offset = bf16>}

// -----

// expected-error @below {{expected the group size}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 0, zero, scale = bf16, offset = bf16>}

// -----

// expected-error @below {{expected the form: symmetric, zero, min or centred}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, affine, scale = bf16, offset = bf16>}

// -----

// expected-error @below {{expected how the metadata is stored: bf16, f16, f32, e8m0, e4m3, or codes such as u8 * row<bf16>, i8 * block<256, f16>, u4, log8 * row<f32>, delta10 * row<bf16>, e4m3 * row<f32>}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, zero, scale = fp8, offset = bf16>}

// -----

// expected-error @below {{expected how the metadata is stored}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, zero, scale = logs, offset = bf16>}

// -----

// expected-error @below {{expected how the metadata is stored}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, zero, scale = 8, offset = bf16>}

// -----

// expected-error @below {{log8 needs a base per row: log8 * row<f32>}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, zero, scale = log8, offset = bf16>}

// -----

// expected-error @below {{delta10 needs a base per row: delta10 * row<bf16>}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, zero, scale = delta10, offset = bf16>}

// -----

// expected-error @below {{expected row or block}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, zero, scale = u8 * group<bf16>, offset = bf16>}

// -----

// expected-error @below {{a step per 128 weights is not supported; steps are per row<...> or per block<256, ...>}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, zero, scale = u8 * block<128, bf16>, offset = bf16>}

// -----

// expected-error @below {{expected bf16, f16 or f32}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<f64>, offset = bf16>}

// -----

//===----------------------------------------------------------------------===//
// #qlinear.encoding: what the encodings library forbids
//===----------------------------------------------------------------------===//

// expected-error @below {{scale step of e4m3 is too coarse; use bf16, f16 or f32 (C11 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<e2m1, group = 16, symmetric, scale = e4m3 * row<e4m3>>}

// -----

// expected-error @below {{offset step of e8m0 is too coarse; use bf16, f16 or f32 (C11 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, min, scale = bf16, offset = u8 * row<e8m0>>}

// -----

// expected-error @below {{scale step per tensor is not supported yet; use row<...>, with the same step in each row (C11 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<i4, group = 32, symmetric, scale = u8 * tensor<f32>>}

// -----

// expected-error @below {{the centred form needs unsigned codes}}
func.func private @f() attributes {a = #qlinear.encoding<example4, group = 32, centred, scale = bf16, offset = bf16>}

// -----

// expected-error @below {{the centred form needs unsigned codes; use u2, or the zero form (C3 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<example2, group = 32, centred, scale = bf16, offset = bf16>}

// -----

// expected-error @below {{codes of 7 bits; a weight code has 2, 3, 4, 5, 6 or 8 bits (C1 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<u7, group = 32, zero, scale = bf16, offset = bf16>}

// -----

// expected-error @below {{group = 48; a group has 16, 32, 64, 128 or 256 weights, or spans the row (group = row) (C2 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 48, zero, scale = bf16, offset = bf16>}

// -----

// expected-error @below {{the symmetric form has no offset; remove it, or use the zero, min or centred form (C5 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<i4, group = 32, symmetric, scale = bf16, offset = bf16>}

// -----

// expected-error @below {{the zero, min and centred forms need an offset, as in offset = bf16 (C5 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, min, scale = bf16>}

// -----

// expected-error @below {{the symmetric form needs signed codes; use i4, or the zero form (C3 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, symmetric, scale = bf16>}

// -----

// expected-error @below {{the centred form needs unsigned codes; use u4, or the zero form (C3 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<i4, group = 32, centred, scale = bf16, offset = bf16>}

// -----

// expected-error @below {{scale code of 5 bits; a linear code has 4, 6 or 8 bits (C6 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<i4, group = 32, symmetric, scale = u5 * row<bf16>>}

// -----

// expected-error @below {{scale code of 10 bits; a log code has 4, 6 or 8 bits (C6 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<i4, group = 32, symmetric, scale = log10 * row<f32>>}

// -----

// expected-error @below {{offset code of 6 bits; a delta code has 8, 10 or 12 bits (C6 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = delta6 * row<bf16>>}

// -----

// expected-error @below {{delta scale has a bf16 base: use row<bf16> (C7 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<i4, group = 32, symmetric, scale = delta10 * row<f16>>}

// -----

// expected-error @below {{log codes of the scale have their base per row: use row<...> (C7 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<i4, group = 32, symmetric, scale = log8 * block<256, f32>>}

// -----

// expected-error @below {{scale step per 256 weights, but one group spans the whole row; use a row step or plain storage (C8 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<i4, group = row, symmetric, scale = u8 * block<256, f16>>}

// -----

// expected-error @below {{a scale code needs a step: use row<...> or block<256, ...> (C4 of #qlinear.encoding)}}
func.func private @f() attributes {a = #qlinear.encoding<u4, group = 32, min, scale = u8, offset = bf16>}

// -----

//===----------------------------------------------------------------------===//
// #qlinear.gemv, #qlinear.cpu_gemv, #qlinear.schedule
//===----------------------------------------------------------------------===//

// expected-error @below {{unknown field 'threads'; a gemv kernel has rows, dot, copy, grid, warps, stages, early, ahead, x_copy, resident, phases, split_k}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, threads = 4>}

// -----

// expected-error @below {{unknown field 'grid'; a cpu_gemv kernel has rows, tiles}}
func.func private @f() attributes {a = #qlinear.cpu_gemv<grid = 4>}

// -----

// expected-error @below {{field grid is given twice}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, grid = 4, grid = 5>}

// -----

// expected-error @below {{a gemv kernel needs rows, as in rows = 1}}
func.func private @f() attributes {a = #qlinear.gemv<grid = 4>}

// -----

// expected-error @below {{expected dp4a, mma, fma or wgmma}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, dot = imma>}

// -----

// expected-error @below {{dot = wgmma is for gemm kernels; use dot = mma (C10 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, dot = wgmma>}

// -----

// expected-error @below {{rows = 0 is no number of rows; use a positive one, or any (C1 of #qlinear.gemm)}}
func.func private @f() attributes {a = #qlinear.gemm<rows = 0>}

// -----

// expected-error @below {{stages = 1 is not in 2..8 (C2 of #qlinear.gemm)}}
func.func private @f() attributes {a = #qlinear.gemm<rows = any, stages = 1>}

// -----

// expected-error @below {{tokens = 40 is not a multiple of 16 (C3 of #qlinear.gemm)}}
func.func private @f() attributes {a = #qlinear.gemm<rows = any, tokens = 40>}

// -----

// expected-error @below {{copy = load: a gemm kernel has a ring in shared memory; use copy = async or bulk (C4 of #qlinear.gemm)}}
func.func private @f() attributes {a = #qlinear.gemm<rows = any, copy = load>}

// -----

// expected-error @below {{tiles = 4 with tokens = 128: a warp has registers for tiles * tokens = 256 at most (C5 of #qlinear.gemm)}}
func.func private @f() attributes {a = #qlinear.gemm<rows = any, tokens = 128, tiles = 4>}

// -----

// expected-error @below {{grid = 131 is not a multiple of split_k = 2, the blocks of a cluster (C6 of #qlinear.gemm)}}
func.func private @f() attributes {a = #qlinear.gemm<rows = 16, grid = 131, split_k = 2>}

// -----

// expected-error @below {{dot = dp4a is for gemv kernels; use dot = mma or wgmma (C7 of #qlinear.gemm)}}
func.func private @f() attributes {a = #qlinear.gemm<rows = 16, dot = dp4a>}

// -----

// expected-error @below {{dot = wgmma needs copy = bulk, but copy is async (C7 of #qlinear.gemm)}}
func.func private @f() attributes {a = #qlinear.gemm<rows = 16, dot = wgmma, copy = async>}

// -----

// expected-error @below {{warps = 6 with dot = wgmma: four warps multiply together; use a multiple of 4 (C7 of #qlinear.gemm)}}
func.func private @f() attributes {a = #qlinear.gemm<rows = 16, dot = wgmma, warps = 6>}

// -----

// expected-error @below {{expected bulk, async or load}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, copy = tma>}

// -----

// expected-error @below {{expected true or false}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, ahead = 1>}

// -----

// expected-error @below {{rows = 0 is not in 1..8, the rows that one gemv kernel takes; a call of more is cut into pieces (C1 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 0>}

// -----

// expected-error @below {{rows = 9 is not in 1..8, the rows that one cpu_gemv kernel takes; a call of more is cut into pieces (C1 of #qlinear.cpu_gemv)}}
func.func private @f() attributes {a = #qlinear.cpu_gemv<rows = 9>}

// -----

// expected-error @below {{grid = 0 is not in 1..2147483647 (C2 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, grid = 0>}

// -----

// expected-error @below {{warps = 33 is not in 1..32 (C2 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, warps = 33>}

// -----

// expected-error @below {{stages = 9 is not in 1..8 (C2 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, stages = 9>}

// -----

// expected-error @below {{early = 0 is not in 1..8 (C2 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, early = 0>}

// -----

// expected-error @below {{resident = 5 is not in 0..4 (C2 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, resident = 5>}

// -----

// expected-error @below {{phases = 65 is not in 1..64 (C2 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, phases = 65>}

// -----

// expected-error @below {{split_k = 9 is not in 1..8 (C2 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 1, split_k = 9>}

// -----

// expected-error @below {{tiles = 70000 is not in 1..65535 (C2 of #qlinear.cpu_gemv)}}
func.func private @f() attributes {a = #qlinear.cpu_gemv<rows = 1, tiles = 70000>}

// -----

// expected-error @below {{rows = 0 is no number of rows; use a positive one, or any (C1 of #qlinear.cpu_gemm)}}
func.func private @f() attributes {a = #qlinear.cpu_gemm<rows = 0>}

// -----

// expected-error @below {{unknown field 'warps'; a cpu_gemm kernel has rows, tokens, tiles}}
func.func private @f() attributes {a = #qlinear.cpu_gemm<rows = any, warps = 2>}

// -----

// expected-error @below {{a cpu_gemm kernel needs rows, as in rows = 1}}
func.func private @f() attributes {a = #qlinear.cpu_gemm<tokens = 8>}

// -----

// expected-error @below {{tokens = 520 is not in 8..512 (C2 of #qlinear.cpu_gemm)}}
func.func private @f() attributes {a = #qlinear.cpu_gemm<rows = any, tokens = 520>}

// -----

// expected-error @below {{tiles = 0 is not in 1..65535 (C2 of #qlinear.cpu_gemm)}}
func.func private @f() attributes {a = #qlinear.cpu_gemm<rows = any, tiles = 0>}

// -----

// expected-error @below {{tokens = 12 is not a multiple of 8, the tokens of a block in registers (C3 of #qlinear.cpu_gemm)}}
func.func private @f() attributes {a = #qlinear.cpu_gemm<rows = any, tokens = 12>}

// -----

// expected-error @below {{kernels for GPUs and for CPUs in one schedule: #qlinear.gemv<rows = 1> and #qlinear.cpu_gemm<rows = any> (C2 of #qlinear.schedule)}}
func.func private @f() attributes {a = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1>, #qlinear.cpu_gemm<rows = any>]>}

// -----

// expected-error @below {{dot = mma with copy = load: tensor cores take weights from the ring of a warp; use copy = async or bulk, or dot = dp4a or fma (C3 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 8, dot = mma, copy = load>}

// -----

// expected-error @below {{stages = 3 with copy = load, which has no ring; use stages = 1 (C4 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 8, stages = 3, copy = load>}

// -----

// expected-error @below {{x_copy = async: activations come by bulk copies or by loads; use x_copy = bulk or load (C5 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 8, x_copy = async>}

// -----

// expected-error @below {{x_copy = bulk needs copy = bulk, but copy is async (C5 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 8, copy = async, x_copy = bulk>}

// -----

// expected-error @below {{early = 4 is more than stages = 3 (C6 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 8, stages = 3, early = 4>}

// -----

// expected-error @below {{early = 2 of 3 stages with phases = 2: a later phase starts all its copies at once; use early = 3 (C7 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 8, stages = 3, early = 2, phases = 2>}

// -----

// expected-error @below {{ahead = true with dot = mma: tensor cores take parts of a unit as they go; use ahead = false, or dot = dp4a or fma (C8 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 8, dot = mma, ahead = true>}

// -----

// expected-error @below {{ahead = true: a unit is taken ahead where a stage is filled late; use early below stages, and copies into a ring (C8 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 8, stages = 3, early = 3, ahead = true>}

// -----

// expected-error @below {{ahead = true: a unit is taken ahead where a stage is filled late; use early below stages, and copies into a ring (C8 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 8, copy = load, ahead = true>}

// -----

// expected-error @below {{grid = 131 is not a multiple of split_k = 2, the blocks of a cluster (C9 of #qlinear.gemv)}}
func.func private @f() attributes {a = #qlinear.gemv<rows = 8, grid = 131, split_k = 2>}

// -----

// expected-error @below {{unknown field 'rows'; a schedule has kernels, quantize and pdl}}
func.func private @f() attributes {a = #qlinear.schedule<rows = 4>}

// -----

// expected-error @below {{expected inside, separate or norm}}
func.func private @f() attributes {a = #qlinear.schedule<quantize = outside>}

// -----

// expected-error @below {{expected a kernel, such as #qlinear.gemv<rows = 1>, #qlinear.gemm<rows = any>, #qlinear.cpu_gemv<rows = 1> or #qlinear.cpu_gemm<rows = any>}}
func.func private @f() attributes {a = #qlinear.schedule<kernels = [1]>}

// -----

// expected-error @below {{a kernel for rows = 2 comes after one for rows = 4; kernels are in ascending order of rows, one for each (C1 of #qlinear.schedule)}}
func.func private @f() attributes {a = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 4>, #qlinear.gemv<rows = 2>]>}

// -----

// expected-error @below {{a kernel for rows = 4 comes after one for rows = 4; kernels are in ascending order of rows, one for each (C1 of #qlinear.schedule)}}
func.func private @f() attributes {a = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 4>, #qlinear.gemv<rows = 4, warps = 2>]>}

// -----

// expected-error @below {{kernels for GPUs and for CPUs in one schedule: #qlinear.gemv<rows = 1> and #qlinear.cpu_gemv<rows = 2> (C2 of #qlinear.schedule)}}
func.func private @f() attributes {a = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1>, #qlinear.cpu_gemv<rows = 2>]>}

// -----

// expected-error @below {{pdl is a field of schedules for GPUs, and the kernels are for CPUs; leave it out (C3 of #qlinear.schedule)}}
func.func private @f() attributes {a = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 2>], pdl = false>}

// -----

// expected-error @below {{quantize is a field of schedules for GPUs, and the kernels are for CPUs; leave it out (C3 of #qlinear.schedule)}}
func.func private @f() attributes {a = #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 2>], quantize = separate>}

// -----

//===----------------------------------------------------------------------===//
// #qlinear.variant, #qlinear.temp
//===----------------------------------------------------------------------===//

// expected-error @below {{rows = 0 is not positive; a kernel does at least one row (C1 of #qlinear.variant)}}
func.func private @f() attributes {a = #qlinear.variant<rows = 0, kernel = @k, items = 1>}

// -----

// expected-error @below {{smem = -1 is negative (C2 of #qlinear.variant)}}
func.func private @f() attributes {a = #qlinear.variant<rows = 1, kernel = @k, grid = 1, block = 32, smem = -1>}

// -----

// expected-error @below {{grid = 1, block = 0, smem = 0, items = 0 is neither a GPU kernel (grid and block positive) nor a CPU kernel (only items) (C3 of #qlinear.variant)}}
func.func private @f() attributes {a = #qlinear.variant<rows = 1, kernel = @k, grid = 1>}

// -----

// expected-error @below {{of a kernel for 16 rows; the kernel before is for a GPU and as many rows, and has none before it (C4 of #qlinear.variant)}}
func.func private @f() attributes {a = #qlinear.variant<rows = 16, kernel = @k, grid = 1, block = 32, before = #qlinear.variant<rows = 1, kernel = @p, grid = 1, block = 32>>}

// -----

// expected-error @below {{f16 = true, but no kernel before it makes f16 numbers; add before = <...> (C5 of #qlinear.variant)}}
func.func private @f() attributes {a = #qlinear.variant<rows = 16, kernel = @k, grid = 1, block = 32, f16 = true>}

// -----

// expected-error @below {{grid = 1, block = 32, smem = 0, items = 4 is neither a GPU kernel (grid and block positive) nor a CPU kernel (only items) (C3 of #qlinear.variant)}}
func.func private @f() attributes {a = #qlinear.variant<rows = 1, kernel = @k, grid = 1, block = 32, items = 4>}

// -----

// expected-error @below {{bytes = 0, bytes_per_row = 0 is no memory; one of them must be positive and none negative (C1 of #qlinear.temp)}}
func.func private @f() attributes {a = #qlinear.temp<zero = true>}

// -----

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
// expected-error @below {{expected 2 dimensions, NxK, but got 1}}
func.func private @f(!qlinear.weight<64, #q>)

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
// expected-error @below {{shape 0 x 64 has no weights; N and K must be positive (C1 of !qlinear.weight)}}
func.func private @f(!qlinear.weight<0x64, #q>)

// -----

#q = #qlinear.encoding<i8, group = 128, symmetric, scale = f16>
// expected-error @below {{K = 7392 is not a multiple of the group size 128; pad K or use group = 32 (C2 of !qlinear.weight)}}
func.func private @f(!qlinear.weight<64x7392, #q>)

// -----

// expected-error @below {{expected 2 dimensions, MxK, but got 3}}
func.func private @f(!qlinear.activations<1x?x64>)

// -----

// expected-error @below {{expected the format of activations: float, or int8 with block = 32}}
func.func private @f(!qlinear.activations<4x64, int4>)

// -----

// expected-error @below {{activations of int8 with block = 64 have no kernels; use block = 32 (C1 of #qlinear.activation_format)}}
func.func private @f(!qlinear.activations<4x64, int8, block = 64>)

// -----

// expected-error @below {{expected ','}}
func.func private @f() attributes {a = #qlinear.activation_format<int8>}

// -----

// expected-error @below {{activations that are not quantized are a tensor of floats; this type is for codes, such as int8, block = 32 (C3 of !qlinear.activations)}}
func.func private @f(!qlinear.activations<4x64, float>)

// -----

#q = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%a: !qlinear.activations<4x64>, %w: !qlinear.weight<16x64, #q>) {
  // expected-error @below {{activations = #qlinear.activation_format<float>, but x is '!qlinear.activations<4x64>', which is quantized; give it the tensor of floats (C16 of qlinear.linear)}}
  %y = qlinear.linear %a, %w {activations = #qlinear.activation_format<float>} : (!qlinear.activations<4x64>, !qlinear.weight<16x64, #q>) -> tensor<4x16xf32>
  return
}

// -----

#q = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @f(%a: memref<4x320xi8>, %w: !qlinear.weight<16x64, #q>, %y: memref<4x16xf32>) {
  // expected-error @below {{activations = #qlinear.activation_format<float>, but x is 'memref<4x320xi8>', which is quantized; give it the tensor of floats (C16 of qlinear.linear)}}
  qlinear.linear %a, %w outs(%y) {activations = #qlinear.activation_format<float>} : (memref<4x320xi8>, !qlinear.weight<16x64, #q>, memref<4x16xf32>) -> ()
  return
}

// -----

// expected-error @below {{K of activations must be known; only M may be ? (C1 of !qlinear.activations)}}
func.func private @f(!qlinear.activations<4x?>)

// -----

// expected-error @below {{activations of 4 x 0 are out of range; K must be in 1..268435456 and M not negative (C2 of !qlinear.activations)}}
func.func private @f(!qlinear.activations<4x0>)

// -----

//===----------------------------------------------------------------------===//
// parameter, load
//===----------------------------------------------------------------------===//

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
// expected-error @below {{'qlinear.parameter' op has an empty name after 'from'; name the weight in its archive or leave 'from' out to use the symbol's name (C1 of qlinear.parameter)}}
qlinear.parameter @w : !qlinear.weight<8x64, #q> from ""

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f() {
  // expected-error @below {{'qlinear.load' op loads @w, which is not declared; declare it with qlinear.parameter in the same module (C1 of qlinear.load)}}
  %w = qlinear.load @w : !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f() {
  // expected-error @below {{'qlinear.load' op loads @f, which is 'func.func', not a qlinear.parameter (C1 of qlinear.load)}}
  %w = qlinear.load @f : !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
// expected-note @below {{declared here}}
qlinear.parameter @w : !qlinear.weight<8x64, #q>
func.func @f() {
  // expected-error @below {{'qlinear.load' op loads @w as '!qlinear.weight<16x64, #qlinear.encoding<i8, group = 32, symmetric, scale = f16>>', but it is declared as '!qlinear.weight<8x64, #qlinear.encoding<i8, group = 32, symmetric, scale = f16>>' (C2 of qlinear.load)}}
  %w = qlinear.load @w : !qlinear.weight<16x64, #q>
  return
}

// -----

//===----------------------------------------------------------------------===//
// pack
//===----------------------------------------------------------------------===//

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%q: tensor<8x32xi8>, %s: tensor<8x2xf16>) {
  // expected-error @below {{codes of a '!qlinear.weight<8x64, #qlinear.encoding<i8, group = 32, symmetric, scale = f16>>' must have the shape 8x64 (N x K), but got 'tensor<8x32xi8>' (C2 of qlinear.pack)}}
  %w = qlinear.pack %q, %s : (tensor<8x32xi8>, tensor<8x2xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%q: tensor<8x64xi8>, %s: tensor<8x4xf16>) {
  // expected-error-re @below {{scales of a {{.*}} must have the shape 8x2 (N x groups), but got 'tensor<8x4xf16>' (C2 of qlinear.pack)}}
  %w = qlinear.pack %q, %s : (tensor<8x64xi8>, tensor<8x4xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%q: tensor<8x64xi8>, %s: tensor<8x2xbf16>) {
  // expected-error @below {{scales must have the element type 'f16' that the encoding says, but got 'bf16' (C3 of qlinear.pack)}}
  %w = qlinear.pack %q, %s : (tensor<8x64xi8>, tensor<8x2xbf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<i4, group = 32, symmetric, scale = f16>
func.func @f(%q: tensor<8x64xi16>, %s: tensor<8x2xf16>) {
  // expected-error @below {{codes must have the element type i4 or i8 for 4-bit codes, but got 'i16' (C3 of qlinear.pack)}}
  %w = qlinear.pack %q, %s : (tensor<8x64xi16>, tensor<8x2xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<example2, group = 32, symmetric, scale = f16>
func.func @f(%q: tensor<8x64xi4>, %s: tensor<8x2xf16>) {
  // expected-error @below {{codes must have the element type i2 or i8 for 2-bit codes, but got 'i4' (C3 of qlinear.pack)}}
  %w = qlinear.pack %q, %s : (tensor<8x64xi4>, tensor<8x2xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = i8 * row<f16>>
func.func @f(%q: tensor<8x64xi8>, %s: tensor<8x2xf16>, %t: tensor<8xf16>) {
  // expected-error @below {{scales must have the element type i8 for 8-bit codes, but got 'f16' (C3 of qlinear.pack)}}
  %w = qlinear.pack %q, %s steps(%t) : (tensor<8x64xi8>, tensor<8x2xf16>, tensor<8xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%q: tensor<8x64xi8>, %s: tensor<8x2xf16>) {
  // expected-error @below {{the form symmetric has no offsets; remove offsets(...) (C4 of qlinear.pack)}}
  %w = qlinear.pack %q, %s offsets(%s) : (tensor<8x64xi8>, tensor<8x2xf16>, tensor<8x2xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<u8, group = 32, min, scale = f16, offset = f16>
func.func @f(%q: tensor<8x64xi8>, %s: tensor<8x2xf16>) {
  // expected-error @below {{the form min has offsets; add offsets(...) (C4 of qlinear.pack)}}
  %w = qlinear.pack %q, %s : (tensor<8x64xi8>, tensor<8x2xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<u8, group = 32, min, scale = f16, offset = f16>
func.func @f(%q: tensor<8x64xi8>, %s: tensor<8x2xf16>, %m: tensor<8x1xf16>) {
  // expected-error-re @below {{offsets of a {{.*}} must have the shape 8x2 (N x groups), but got 'tensor<8x1xf16>' (C2 of qlinear.pack)}}
  %w = qlinear.pack %q, %s offsets(%m) : (tensor<8x64xi8>, tensor<8x2xf16>, tensor<8x1xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<u8, group = 32, min, scale = u8 * row<f16>, offset = f16>
func.func @f(%q: tensor<8x64xi8>, %s: tensor<8x2xi8>, %m: tensor<8x2xf16>, %t: tensor<8xf16>) {
  // expected-error @below {{the encoding has 1 step tensors (scale: yes, offset: no), but got 2 (C5 of qlinear.pack)}}
  %w = qlinear.pack %q, %s offsets(%m) steps(%t, %t) : (tensor<8x64xi8>, tensor<8x2xi8>, tensor<8x2xf16>, tensor<8xf16>, tensor<8xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<u8, group = 32, min, scale = f16, offset = u8 * block<256, f16>>
func.func @f(%q: tensor<8x288xi8>, %s: tensor<8x9xf16>, %m: tensor<8x9xi8>, %t: tensor<8x1xf16>) {
  // expected-error-re @below {{offset steps of a {{.*}} must have the shape 8x2 (one per row and 256 columns), but got 'tensor<8x1xf16>' (C2 of qlinear.pack)}}
  %w = qlinear.pack %q, %s offsets(%m) steps(%t) : (tensor<8x288xi8>, tensor<8x9xf16>, tensor<8x9xi8>, tensor<8x1xf16>) -> !qlinear.weight<8x288, #q>
  return
}

// -----

#q = #qlinear.encoding<u8, group = 32, min, scale = log8 * row<f32>, offset = u8 * row<f16>>
func.func @f(%q: tensor<8x64xi8>, %s: tensor<8x2xi8>, %t: tensor<8xf32>, %u: tensor<8xf16>) {
  // expected-error-re @below {{scale steps of a {{.*}} must have the shape 8x2 (base and step per row), but got 'tensor<8xf32>' (C2 of qlinear.pack)}}
  %w = qlinear.pack %q, %s offsets(%s) steps(%t, %u) : (tensor<8x64xi8>, tensor<8x2xi8>, tensor<8x2xi8>, tensor<8xf32>, tensor<8xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<u8, group = 32, min, scale = u8 * row<f16>, offset = f16>
func.func @f(%q: tensor<8x64xi8>, %s: tensor<8x2xi8>, %m: tensor<8x2xf16>, %t: tensor<8xf32>) {
  // expected-error @below {{scale steps must have the element type 'f16' that the encoding says, but got 'f32' (C3 of qlinear.pack)}}
  %w = qlinear.pack %q, %s offsets(%m) steps(%t) : (tensor<8x64xi8>, tensor<8x2xi8>, tensor<8x2xf16>, tensor<8xf32>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

#q = #qlinear.encoding<u8, group = 32, min, scale = u8 * row<f16>, offset = f16>
func.func @f(%q: tensor<8x64xi8>, %s: tensor<8x2xi8>, %m: tensor<8x2xf16>, %t: tensor<8x1xf16>) {
  // expected-error-re @below {{scale steps of a {{.*}} must have the shape 8 (one per row), but got 'tensor<8x1xf16>' (C2 of qlinear.pack)}}
  %w = qlinear.pack %q, %s offsets(%m) steps(%t) : (tensor<8x64xi8>, tensor<8x2xi8>, tensor<8x2xf16>, tensor<8x1xf16>) -> !qlinear.weight<8x64, #q>
  return
}

// -----

//===----------------------------------------------------------------------===//
// reencode, dequantize, quantize_activations
//===----------------------------------------------------------------------===//

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%w: !qlinear.weight<8x64, #q>) {
  // expected-error @below {{changes the shape from 8 x 64 to 8 x 128; only the metadata may change (C1 of qlinear.reencode)}}
  %v = qlinear.reencode %w : !qlinear.weight<8x64, #q> to !qlinear.weight<8x128, #q>
  return
}

// -----

#a = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
#b = #qlinear.encoding<i6, group = 32, symmetric, scale = f16>
func.func @f(%w: !qlinear.weight<8x64, #a>) {
  // expected-error @below {{changes the code width from 8 to 6 bits; only the metadata may change (C2 of qlinear.reencode)}}
  %v = qlinear.reencode %w : !qlinear.weight<8x64, #a> to !qlinear.weight<8x64, #b>
  return
}

// -----

#a = #qlinear.encoding<i4, group = 32, symmetric, scale = f16>
#b = #qlinear.encoding<example4, group = 32, symmetric, scale = f16>
func.func @f(%w: !qlinear.weight<8x64, #a>) {
  // expected-error @below {{changes the codes from i4 to example4; only the metadata may change (C2 of qlinear.reencode)}}
  %v = qlinear.reencode %w : !qlinear.weight<8x64, #a> to !qlinear.weight<8x64, #b>
  return
}

// -----

#a = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
#b = #qlinear.encoding<i8, group = row, symmetric, scale = f16>
func.func @f(%w: !qlinear.weight<8x64, #a>) {
  // expected-error @below {{changes the group size from 32 to 0 (0: whole row); only the metadata may change (C3 of qlinear.reencode)}}
  %v = qlinear.reencode %w : !qlinear.weight<8x64, #a> to !qlinear.weight<8x64, #b>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%w: !qlinear.weight<8x64, #q>) {
  // expected-error @below {{turns 8 x 64 values into a tensor of 64 x 8; the shape must be the same (C5 of qlinear.dequantize)}}
  %v = qlinear.dequantize %w : !qlinear.weight<8x64, #q> -> tensor<64x8xf32>
  return
}

// -----

func.func @f(%a: !qlinear.activations<?x64>) {
  // expected-error @below {{turns ? x 64 values into a tensor of 4 x 64; the shape must be the same (C5 of qlinear.dequantize)}}
  %v = qlinear.dequantize %a : !qlinear.activations<?x64> -> tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>) {
  // expected-error @below {{inferred type(s) '!qlinear.activations<4x64>' are incompatible with return type(s) of operation '!qlinear.activations<?x64>'}}
  // expected-error @below {{failed to infer returned types}}
  %a = qlinear.quantize_activations %x : tensor<4x64xf32> -> !qlinear.activations<?x64>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>, %b: memref<4x320xi8>) {
  // expected-error @below {{has buffers, but operand 0 is a value, 'tensor<4x64xf32>'; bufferize all operands or none (C1 of qlinear.quantize_activations)}}
  qlinear.quantize_activations %x outs(%b : memref<4x320xi8>) : tensor<4x64xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>) {
  // expected-error @below {{has no result; on tensors it computes at least one (C3 of qlinear.quantize_activations)}}
  qlinear.quantize_activations %x : tensor<4x64xf32>
  return
}

// -----

// What would have another type is no operand: (C4 of qlinear.quantize_activations).

func.func @f(%x: tensor<4x64xf32>, %b: tensor<4x320xi8>) {
  // expected-error @below {{operand #1 must be 2D memref of 8-bit signless integer values, but got 'tensor<4x320xi8>'}}
  %a = qlinear.quantize_activations %x outs(%b : tensor<4x320xi8>) : tensor<4x64xf32> -> !qlinear.activations<4x64>
  return
}

// -----

func.func @f(%x: tensor<64xf32>) {
  // expected-error @below {{operand #0 must be 2D tensor of 32-bit float or 16-bit float or bfloat16 type values or 2D memref of 32-bit float or 16-bit float or bfloat16 type values, but got 'tensor<64xf32>'}}
  %a = qlinear.quantize_activations %x : tensor<64xf32> -> !qlinear.activations<1x64>
  return
}

// -----

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

func.func @f(%x: tensor<4x64xf32>) {
  // expected-error @below {{'qlinear.linear' op has no weight; give at least one (C5 of qlinear.linear)}}
  "qlinear.linear"(%x) <{operandSegmentSizes = array<i32: 1, 0, 0, 0>}> ({}) : (tensor<4x64xf32>) -> ()
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x?xf32>, %w: !qlinear.weight<8x64, #q>) {
  // expected-error @below {{K of x must be known; only M may be ? (C6 of qlinear.linear)}}
  %y = qlinear.linear %x, %w : (tensor<4x?xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xf32>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>, %v: !qlinear.weight<8x128, #q>) {
  // expected-error @below {{x has K = 64 columns, but weight 1 has K = 128; a linear needs the same K (C6 of qlinear.linear)}}
  %y:2 = qlinear.linear %x, %w, %v : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>, !qlinear.weight<8x128, #q>) -> (tensor<4x8xf32>, tensor<4x8xf32>)
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>, %b: tensor<8xf32>) {
  // expected-error @below {{has 1 extras but no region to use them; add an epilogue or remove extras(...) (C8 of qlinear.linear)}}
  %y = qlinear.linear %x, %w extras(%b) : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>, tensor<8xf32>) -> tensor<4x8xf32>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  // expected-error @below {{has 2 weights and 1 results; without a region there is one result per weight (C8 of qlinear.linear)}}
  %y = qlinear.linear %x, %w, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>, !qlinear.weight<8x64, #q>) -> tensor<4x8xf32>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  // expected-error @below {{has no result; on tensors it computes at least one (C3 of qlinear.linear)}}
  qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> () {
  ^bb0(%p: f32):
    qlinear.yield
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>, %v: !qlinear.weight<16x64, #q>) {
  // expected-error @below {{weight 0 has N = 8, but weight 1 has N = 16; with a region all weights need the same N (C9 of qlinear.linear)}}
  %y = qlinear.linear %x, %w, %v : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>, !qlinear.weight<16x64, #q>) -> tensor<4x8xf32> {
  ^bb0(%p: f32, %q: f32):
    qlinear.yield %p : f32
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>, %b: tensor<4xf32>) {
  // expected-error @below {{extra 0 has 4 columns, but the weights have N = 8; an extra is a tensor of N or M x N, or of 1 (C10 of qlinear.linear)}}
  %y = qlinear.linear %x, %w extras(%b) : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>, tensor<4xf32>) -> tensor<4x8xf32> {
  ^bb0(%p: f32, %q: f32):
    qlinear.yield %q : f32
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>, %b: tensor<2x8xf32>) {
  // expected-error @below {{extra 0 has 2 rows, but x has M = 4; an extra is a tensor of N or M x N, or of 1 (C10 of qlinear.linear)}}
  %y = qlinear.linear %x, %w extras(%b) : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>, tensor<2x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%p: f32, %q: f32):
    qlinear.yield %q : f32
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  // expected-error @below {{result 0 must be 4 x 8 (rows of x, N of the weight), but got 'tensor<?x8xf32>' (C11 of qlinear.linear)}}
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<?x8xf32>
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  // expected-error @below {{the epilogue has 2 arguments; it needs one f32 per weight (1) and one element per extra (0) (C12 of qlinear.linear)}}
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xf32> {
  ^bb0(%p: f32, %q: f32):
    qlinear.yield %q : f32
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  // expected-error @below {{argument 0 of the epilogue must be 'f32', which is computed, but is 'bf16' (C12 of qlinear.linear)}}
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xbf16> {
  ^bb0(%p: bf16):
    qlinear.yield %p : bf16
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>, %b: tensor<8xbf16>) {
  // expected-error @below {{argument 1 of the epilogue must be 'bf16', an element of its extra, but is 'f32' (C12 of qlinear.linear)}}
  %y = qlinear.linear %x, %w extras(%b) : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>, tensor<8xbf16>) -> tensor<4x8xf32> {
  ^bb0(%p: f32, %q: f32):
    qlinear.yield %q : f32
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  // expected-error @below {{the epilogue must end with qlinear.yield (C13 of qlinear.linear)}}
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xf32> {
  ^bb0(%p: f32):
    llvm.unreachable
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xf32> {
  ^bb0(%p: f32):
    // expected-error @below {{'qlinear.yield' op yields 2 values for 1 results; yield one per result (C14 of qlinear.linear)}}
    qlinear.yield %p, %p : f32, f32
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xbf16> {
  ^bb0(%p: f32):
    // expected-error @below {{'qlinear.yield' op value 0 is 'f32', but the elements of result 0 are 'bf16'; convert it with arith.truncf or arith.extf (C14 of qlinear.linear)}}
    qlinear.yield %p : f32
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  // expected-note @below {{in the epilogue of this linear}}
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xf32> {
  ^bb0(%p: f32):
    %c = arith.constant true
    // expected-error @below {{'scf.if' op has a region; an epilogue is elementwise, use arith.select for conditions (C15 of qlinear.linear)}}
    %r = scf.if %c -> f32 {
      scf.yield %p : f32
    } else {
      scf.yield %p : f32
    }
    qlinear.yield %r : f32
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func private @g(f32) -> f32
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  // expected-note @below {{in the epilogue of this linear}}
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xf32> {
  ^bb0(%p: f32):
    // expected-error @below {{'func.call' op has side effects; an epilogue is elementwise, pass what it reads as an extra (C15 of qlinear.linear)}}
    %r = func.call @g(%p) : (f32) -> f32
    qlinear.yield %r : f32
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>) {
  // expected-note @below {{in the epilogue of this linear}}
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xf32> {
  ^bb0(%p: f32):
    // expected-error @below {{'arith.constant' op is not on scalars; an epilogue computes one element at a time (C15 of qlinear.linear)}}
    %c = arith.constant dense<1.0> : tensor<4xf32>
    qlinear.yield %p : f32
  }
  return
}

// -----

#q = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @f(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q>, %s: f32) {
  // expected-note @below {{required by region isolation constraints}}
  %y = qlinear.linear %x, %w : (tensor<4x64xf32>, !qlinear.weight<8x64, #q>) -> tensor<4x8xf32> {
  ^bb0(%p: f32):
    // expected-error @below {{using value defined outside the region}}
    qlinear.yield %s : f32
  }
  return
}

// -----

//===----------------------------------------------------------------------===//
// launch
//===----------------------------------------------------------------------===//

func.func @f(%x: tensor<4x64xf32>) {
  // expected-error @below {{'qlinear.launch' op has no kernel; give at least one variant (C5 of qlinear.launch)}}
  %y = qlinear.launch [] ins(%x) : (tensor<4x64xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func private @k()
func.func @f(%x: tensor<4x64xf32>) {
  // expected-error @below {{has a variant for 2 rows after one for 2; variants are ascending in rows (C5 of qlinear.launch)}}
  %y = qlinear.launch [#qlinear.variant<rows = 2, kernel = @k, items = 1>, #qlinear.variant<rows = 2, kernel = @k, items = 1>] ins(%x) : (tensor<4x64xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func private @k()
func.func @f(%x: tensor<4x64xf32>) {
  // expected-error @below {{has no result; on tensors it computes at least one (C3 of qlinear.launch)}}
  qlinear.launch [#qlinear.variant<rows = 2, kernel = @k, items = 1>] ins(%x) : (tensor<4x64xf32>) -> ()
  return
}

// -----

func.func private @k()
func.func @f(%x: tensor<4x4x64xf32>) {
  // expected-error @below {{input 0 has rank 3; a launch takes tensors of N or M x N (C7 of qlinear.launch)}}
  %y = qlinear.launch [#qlinear.variant<rows = 2, kernel = @k, items = 1>] ins(%x) : (tensor<4x4x64xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func private @k()
func.func @f(%x: tensor<?xf32>) {
  // expected-error @below {{input 0 is 'tensor<?xf32>'; only M, the first of two dimensions, may be ? (C7 of qlinear.launch)}}
  %y = qlinear.launch [#qlinear.variant<rows = 2, kernel = @k, items = 1>] ins(%x) : (tensor<?xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func private @k()
func.func @f(%x: tensor<4x64xf32>) {
  // expected-error @below {{result 0 has 2 rows, but M = 4; all 2D inputs and results have M rows (C8 of qlinear.launch)}}
  %y = qlinear.launch [#qlinear.variant<rows = 2, kernel = @k, items = 1>] ins(%x) : (tensor<4x64xf32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<4x64xf32>) {
  // expected-error @below {{launches @kernels::@k, which is not defined in this module (C6 of qlinear.launch)}}
  %y = qlinear.launch [#qlinear.variant<rows = 2, kernel = @kernels::@k, items = 1>] ins(%x) : (tensor<4x64xf32>) -> tensor<4x8xf32>
  return
}

// -----

gpu.module @kernels {}
func.func @f(%x: tensor<4x64xf32>) {
  // expected-error @below {{launches @kernels::@k, which is not defined in this module (C6 of qlinear.launch)}}
  %y = qlinear.launch [#qlinear.variant<rows = 2, kernel = @kernels::@k, grid = 1, block = 32>] ins(%x) : (tensor<4x64xf32>) -> tensor<4x8xf32>
  return
}

// -----

// The names inside a compiled binary are not symbols: accepted.
gpu.binary @kernels [#gpu.object<#nvvm.target, "">]
func.func @f(%x: tensor<4x64xf32>) {
  %y = qlinear.launch [#qlinear.variant<rows = 2, kernel = @kernels::@k, grid = 1, block = 32>] ins(%x) : (tensor<4x64xf32>) -> tensor<4x8xf32>
  return
}

// -----

// Buffers: all operands, and outs instead of results.

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @mixed(%x: memref<4x64xf32>, %w: !qlinear.weight<8x64, #q8>, %y: tensor<4x8xf32>) {
  // expected-error @below {{has buffers, but operand 2 is a value, 'tensor<4x8xf32>'; bufferize all operands or none (C1 of qlinear.linear)}}
  qlinear.linear %x, %w outs(%y)
      : (memref<4x64xf32>, !qlinear.weight<8x64, #q8>, tensor<4x8xf32>) -> ()
  return
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @resultOfBuffers(%x: memref<4x64xf32>, %w: !qlinear.weight<8x64, #q8>) {
  // expected-error @below {{has buffers and 1 results; on buffers the results are written into outs(...) (C2 of qlinear.linear)}}
  %y = qlinear.linear %x, %w
      : (memref<4x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<4x8xf32>
  return
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @noOuts(%x: memref<4x64xf32>, %w: !qlinear.weight<8x64, #q8>) {
  // expected-error @below {{has buffers but no outs(...); say where the results go (C2 of qlinear.linear)}}
  qlinear.linear %x, %w : (memref<4x64xf32>, !qlinear.weight<8x64, #q8>) -> ()
  return
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @fewerOuts(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q8>, %y: tensor<4x8xf32>) {
  // expected-error @below {{has 2 results and 1 outs; give one per result, or none (C3 of qlinear.linear)}}
  %0:2 = qlinear.linear %x, %w, %w outs(%y)
      : (tensor<4x64xf32>, !qlinear.weight<8x64, #q8>, !qlinear.weight<8x64, #q8>,
         tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>)
  return
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @outType(%x: tensor<4x64xf32>, %w: !qlinear.weight<8x64, #q8>, %y: tensor<4x8xbf16>) {
  // expected-error @below {{result 0 is 'tensor<4x8xf32>', but what it replaces is 'tensor<4x8xbf16>'; the types must be the same (C4 of qlinear.linear)}}
  %0 = qlinear.linear %x, %w outs(%y)
      : (tensor<4x64xf32>, !qlinear.weight<8x64, #q8>, tensor<4x8xbf16>) -> tensor<4x8xf32>
  return
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @activationBytes(%x: memref<4x64xi8>, %w: !qlinear.weight<8x64, #q8>,
                           %y: memref<4x8xf32>) {
  // expected-error @below {{x is 'memref<4x64xi8>', but a row of K = 64 quantized activations has 320 bytes (C7 of qlinear.linear)}}
  qlinear.linear %x, %w outs(%y)
      : (memref<4x64xi8>, !qlinear.weight<8x64, #q8>, memref<4x8xf32>) -> ()
  return
}

// -----

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
func.func @mixedComponents(%q: memref<8x64xi8>, %s: tensor<8x2xf16>) {
  // expected-error @below {{has components that are buffers and some that are tensors; bufferize all or none (C1 of qlinear.pack)}}
  %w = qlinear.pack %q, %s : (memref<8x64xi8>, tensor<8x2xf16>) -> !qlinear.weight<8x64, #q8>
  return
}

// -----

// The buffer of these activations is memref<4x320xi8>.
func.func @activationsBuffer(%b: memref<4x64xi8>) {
  // expected-error @below {{specified tensor and buffer types match}}
  %a = bufferization.to_tensor %b : memref<4x64xi8> to !qlinear.activations<4x64>
  return
}

// -----

func.func @dequantizeMixed(%a: !qlinear.activations<4x64>, %m: memref<4x64xf32>) {
  // expected-error @below {{has buffers, but operand 0 is a value, '!qlinear.activations<4x64>'; bufferize all operands or none (C1 of qlinear.dequantize)}}
  qlinear.dequantize %a outs(%m : memref<4x64xf32>) : !qlinear.activations<4x64>
  return
}

// -----

func.func @dequantizeResultOfBuffers(%a: memref<4x320xi8>) {
  // expected-error @below {{has buffers and 1 results; on buffers the results are written into outs(...) (C2 of qlinear.dequantize)}}
  %d = qlinear.dequantize %a : memref<4x320xi8> -> tensor<4x64xf32>
  return
}

// -----

func.func @dequantizeNoResult(%a: !qlinear.activations<4x64>) {
  // expected-error @below {{has no result; on tensors it computes at least one (C3 of qlinear.dequantize)}}
  qlinear.dequantize %a : !qlinear.activations<4x64>
  return
}

// -----

func.func @dequantizeOutType(%a: !qlinear.activations<4x64>, %m: tensor<4x64xf32>) {
  // expected-error @below {{result 0 is 'tensor<4x64xf64>', but what it replaces is 'tensor<4x64xf32>'; the types must be the same (C4 of qlinear.dequantize)}}
  %d = qlinear.dequantize %a outs(%m : tensor<4x64xf32>) : !qlinear.activations<4x64> -> tensor<4x64xf64>
  return
}

// -----

func.func @dequantizeBytes(%a: memref<4x64xi8>, %m: memref<4x64xf32>) {
  // expected-error @below {{the input is 'memref<4x64xi8>', but a row of K = 64 quantized activations has 320 bytes (C6 of qlinear.dequantize)}}
  qlinear.dequantize %a outs(%m : memref<4x64xf32>) : memref<4x64xi8>
  return
}

// -----

func.func @quantizeNoOuts(%x: memref<4x64xf32>) {
  // expected-error @below {{has buffers but no outs(...); say where the results go (C2 of qlinear.quantize_activations)}}
  qlinear.quantize_activations %x : memref<4x64xf32>
  return
}

// -----

func.func @quantizeBytes(%x: memref<4x64xf32>, %b: memref<4x64xi8>) {
  // expected-error @below {{the result is 'memref<4x64xi8>', but a row of K = 64 quantized activations has 320 bytes (C5 of qlinear.quantize_activations)}}
  qlinear.quantize_activations %x outs(%b : memref<4x64xi8>) : memref<4x64xf32>
  return
}

// -----

func.func private @k()
func.func @launchMixed(%x: tensor<4x64xf32>, %y: memref<4x8xf32>) {
  // expected-error @below {{has buffers, but operand 0 is a value, 'tensor<4x64xf32>'; bufferize all operands or none (C1 of qlinear.launch)}}
  qlinear.launch [#qlinear.variant<rows = 2, kernel = @k, items = 1>] ins(%x) outs(%y) : (tensor<4x64xf32>, memref<4x8xf32>) -> ()
  return
}

// -----

func.func private @k()
func.func @launchNoOuts(%x: memref<4x64xf32>) {
  // expected-error @below {{has buffers but no outs(...); say where the results go (C2 of qlinear.launch)}}
  qlinear.launch [#qlinear.variant<rows = 2, kernel = @k, items = 1>] ins(%x) : (memref<4x64xf32>) -> ()
  return
}

// -----

func.func private @k()
func.func @launchOutType(%x: tensor<4x64xf32>, %y: tensor<4x8xf64>) {
  // expected-error @below {{result 0 is 'tensor<4x8xf32>', but what it replaces is 'tensor<4x8xf64>'; the types must be the same (C4 of qlinear.launch)}}
  %z = qlinear.launch [#qlinear.variant<rows = 2, kernel = @k, items = 1>] ins(%x) outs(%y) : (tensor<4x64xf32>, tensor<4x8xf64>) -> tensor<4x8xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %b: memref<4x64xf32>) {
  // expected-error @below {{has buffers, but operand 0 is a value, 'tensor<4x64xf32>'; bufferize all operands or none (C1 of qlinear.rotary)}}
  qlinear.rotary %x by %x, %x head = 64 outs(%b) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, memref<4x64xf32>) -> ()
  return
}

// -----

func.func @rotary(%x: memref<4x64xf32>) {
  // expected-error @below {{has buffers but no outs(...); say where the results go (C2 of qlinear.rotary)}}
  qlinear.rotary %x by %x, %x head = 64 : (memref<4x64xf32>, memref<4x64xf32>, memref<4x64xf32>) -> ()
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>) {
  // expected-error @below {{has no result; on tensors it computes at least one (C3 of qlinear.rotary)}}
  qlinear.rotary %x by %x, %x head = 64 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> ()
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %b: tensor<?x64xf32>) {
  // expected-error @below {{result 0 is 'tensor<4x64xf32>', but what it replaces is 'tensor<?x64xf32>'; the types must be the same (C4 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %x, %x head = 64 outs(%b) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<?x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>) {
  // expected-error @below {{has no input; give the queries, the keys or both (C5 of qlinear.rotary)}}
  "qlinear.rotary"(%x, %x) <{head = 64 : i64, operandSegmentSizes = array<i32: 0, 0, 1, 1, 0, 0, 0>}> : (tensor<4x64xf32>, tensor<4x64xf32>) -> ()
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %k: tensor<4x64xf16>) {
  // expected-error @below {{input 1 is 'tensor<4x64xf16>', but the first one is 'tensor<4x64xf32>'; rows and element types must be the same (C6 of qlinear.rotary)}}
  %y:2 = qlinear.rotary %x, %k by %x, %x head = 64 : (tensor<4x64xf32>, tensor<4x64xf16>, tensor<4x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf16>)
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %k: tensor<5x64xf32>) {
  // expected-error @below {{input 1 is 'tensor<5x64xf32>', but the first one is 'tensor<4x64xf32>'; rows and element types must be the same (C6 of qlinear.rotary)}}
  %y:2 = qlinear.rotary %x, %k by %x, %x head = 64 : (tensor<4x64xf32>, tensor<5x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<5x64xf32>)
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %c: tensor<4x32xf32>) {
  // expected-error @below {{input 0 has 64 columns, and head = 48; they must be known, and whole heads (C7 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %c, %c head = 48 : (tensor<4x64xf32>, tensor<4x32xf32>, tensor<4x32xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x?xf32>, %c: tensor<4x32xf32>) {
  // expected-error @below {{input 0 has ? columns, and head = 32; they must be known, and whole heads (C7 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %c, %c head = 32 : (tensor<4x?xf32>, tensor<4x32xf32>, tensor<4x32xf32>) -> tensor<4x?xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %c: tensor<4x32xf32>) {
  // expected-error @below {{input 0 has 64 columns, and head = 0; they must be known, and whole heads (C7 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %c, %c head = 0 : (tensor<4x64xf32>, tensor<4x32xf32>, tensor<4x32xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %c: tensor<4x32xf32>, %s: tensor<4x32xf16>) {
  // expected-error @below {{cos is 'tensor<4x32xf32>' and sin is 'tensor<4x32xf16>', and the inputs have M = 4; they are of one type and have a row for each token (C8 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %c, %s head = 32 : (tensor<4x64xf32>, tensor<4x32xf32>, tensor<4x32xf16>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %c: tensor<3x32xf32>) {
  // expected-error @below {{cos is 'tensor<3x32xf32>' and sin is 'tensor<3x32xf32>', and the inputs have M = 4; they are of one type and have a row for each token (C8 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %c, %c head = 32 : (tensor<4x64xf32>, tensor<3x32xf32>, tensor<3x32xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %c: tensor<4x33xf32>) {
  // expected-error @below {{cos and sin have 33 columns, and head = 64; their number must be known, even, and from 2 to head (C9 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %c, %c head = 64 : (tensor<4x64xf32>, tensor<4x33xf32>, tensor<4x33xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>) {
  // expected-error @below {{cos and sin have 64 columns, and head = 32; their number must be known, even, and from 2 to head (C9 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %x, %x head = 32 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>) {
  // expected-error @below {{has 2 inputs and 1 results; there is one for each (C10 of qlinear.rotary)}}
  %y = qlinear.rotary %x, %x by %x, %x head = 64 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>) {
  // expected-error @below {{turns 'tensor<4x64xf32>' into 'tensor<4x64xf16>'; the shape and the element type must be the same (C10 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %x, %x head = 64 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf16>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %n: tensor<64xf32>) {
  // expected-error @below {{has 2 inputs and 1 norms; there is one for each input, or for each but the unrotated ones, or none (C11 of qlinear.rotary)}}
  %y:2 = qlinear.rotary %x, %x norms(%n) epsilon = 0.0 by %x, %x head = 64 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>)
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %n: tensor<32xf32>) {
  // expected-error @below {{norm 0 is 'tensor<32xf32>', and head = 64; norms have an element for each column of a head, and are of one type (C11 of qlinear.rotary)}}
  %y = qlinear.rotary %x norms(%n) epsilon = 0.0 by %x, %x head = 64 : (tensor<4x64xf32>, tensor<32xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %n: tensor<64xf32>, %m: tensor<64xf16>) {
  // expected-error @below {{norm 1 is 'tensor<64xf16>', and head = 64; norms have an element for each column of a head, and are of one type (C11 of qlinear.rotary)}}
  %y:2 = qlinear.rotary %x, %x norms(%n, %m) epsilon = 0.0 by %x, %x head = 64 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<64xf32>, tensor<64xf16>, tensor<4x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>)
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %n: tensor<64xf32>) {
  // expected-error @below {{has norms(...) and no epsilon; it is added to a mean of squares, as in epsilon = 1.0e-06 (C12 of qlinear.rotary)}}
  %y = qlinear.rotary %x norms(%n) by %x, %x head = 64 : (tensor<4x64xf32>, tensor<64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %n: tensor<64xf32>) {
  // expected-error @below {{epsilon = -1.000000e+00; it is added to a mean of squares: give a finite number from 0 on (C12 of qlinear.rotary)}}
  %y = qlinear.rotary %x norms(%n) epsilon = -1.0 by %x, %x head = 64 : (tensor<4x64xf32>, tensor<64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>) {
  // expected-error @below {{has epsilon, which is of norms, and no norms(...); give a vector of scales for each input, or leave it out (C12 of qlinear.rotary)}}
  %y = qlinear.rotary %x epsilon = 0.0 by %x, %x head = 64 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %n: tensor<64xf32>) {
  // expected-error @below {{has 2 inputs, 2 norms, 0 caches, and unrotated = 2; so many of the last inputs are only normalized, or only go into caches: give 1 or more, fewer than all, and norms(...) or a cache for each (C13 of qlinear.rotary)}}
  %y:2 = qlinear.rotary %x, %x norms(%n, %n) epsilon = 0.0 by %x, %x head = 64 unrotated = 2 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<64xf32>, tensor<64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>)
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>) {
  // expected-error @below {{has 2 inputs, 0 norms, 0 caches, and unrotated = 1; so many}}
  %y:2 = qlinear.rotary %x, %x by %x, %x head = 64 unrotated = 1 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>)
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %t: tensor<4x32xf32>, %c: tensor<9x32xf32>, %at: tensor<4x2xi32>) {
  // expected-error @below {{has 2 inputs, 0 norms, 1 caches, and unrotated = 2; so many}}
  %y:2 = qlinear.rotary %x, %x by %t, %t head = 32 unrotated = 2 into(%c at %at) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<9x32xf32>, tensor<4x2xi32>) -> (tensor<4x64xf32>, tensor<9x32xf32>)
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %c: tensor<9x64xf32>, %at: tensor<4x1xi32>) {
  // expected-error @below {{has 1 results and 2 caches; the last results are what caches become (C3 of qlinear.rotary)}}
  %y = qlinear.rotary %x, %x by %x, %x head = 64 into(%c, %c at %at) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<9x64xf32>, tensor<9x64xf32>, tensor<4x1xi32>) -> tensor<9x64xf32>
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %c: tensor<9x64xf32>, %at: tensor<4x1xi32>) {
  // expected-error @below {{has 1 results that are of no cache and 2 outs; give one per result, or none (C3 of qlinear.rotary)}}
  %y:2 = qlinear.rotary %x, %x by %x, %x head = 64 into(%c at %at) outs(%x, %x) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<9x64xf32>, tensor<4x1xi32>, tensor<4x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<9x64xf32>)
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %c: tensor<9x64xf32>, %at: tensor<4x1xi32>) {
  // expected-error @below {{result 0 is 'tensor<?x64xf32>', but the cache that it is the new value of is 'tensor<9x64xf32>'; the types must be the same (C4 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %x, %x head = 64 into(%c at %at) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<9x64xf32>, tensor<4x1xi32>) -> tensor<?x64xf32>
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %c: tensor<9x64xf32>, %at: tensor<4x1xi32>) {
  // expected-error @below {{has 2 inputs without a cache and 1 results that are of no cache; there is one for each (C10 of qlinear.rotary)}}
  %y:2 = qlinear.rotary %x, %x, %x by %x, %x head = 64 into(%c at %at) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<9x64xf32>, tensor<4x1xi32>) -> (tensor<4x64xf32>, tensor<9x64xf32>)
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %c: tensor<9x64xf32>, %d: tensor<9x64xf32>, %at: tensor<4x1xi32>) {
  // expected-error @below {{has 1 inputs and 2 caches; each is of one of the last inputs (C14 of qlinear.rotary)}}
  %y:2 = qlinear.rotary %x by %x, %x head = 64 into(%c, %d at %at) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<9x64xf32>, tensor<9x64xf32>, tensor<4x1xi32>) -> (tensor<9x64xf32>, tensor<9x64xf32>)
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %c: tensor<9x64xf32>, %at: tensor<4x1xi32>) {
  // expected-error @below {{cache 1 is an earlier one, too; give each input a cache of its own (C14 of qlinear.rotary)}}
  %y:2 = qlinear.rotary %x, %x by %x, %x head = 64 into(%c, %c at %at) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<9x64xf32>, tensor<9x64xf32>, tensor<4x1xi32>) -> (tensor<9x64xf32>, tensor<9x64xf32>)
  return
}

// -----

func.func @caches(%x: tensor<4x96xf32>, %t: tensor<4x32xf32>, %c: tensor<9x64xf32>, %at: tensor<4x1xi32>) {
  // expected-error @below {{cache 0 is 'tensor<9x64xf32>', and its input is 'tensor<4x96xf32>' with head = 32; a cache has that element type, and rows of one or more whole heads, into which the input's can be cut (C14 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %t, %t head = 32 into(%c at %at) : (tensor<4x96xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<9x64xf32>, tensor<4x1xi32>) -> tensor<9x64xf32>
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %c: tensor<9x64xf16>, %at: tensor<4x1xi32>) {
  // expected-error @below {{cache 0 is 'tensor<9x64xf16>', and its input is 'tensor<4x64xf32>' with head = 64; a cache has that element type}}
  %y = qlinear.rotary %x by %x, %x head = 64 into(%c at %at) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<9x64xf16>, tensor<4x1xi32>) -> tensor<9x64xf16>
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %c: tensor<?x?xf32>, %at: tensor<4x1xi32>) {
  // expected-error @below {{cache 0 is 'tensor<?x?xf32>', and its input}}
  %y = qlinear.rotary %x by %x, %x head = 64 into(%c at %at) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<?x?xf32>, tensor<4x1xi32>) -> tensor<?x?xf32>
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %at: tensor<4x1xi32>) {
  // expected-error @below {{has 0 caches and places in these; give both, as in into(%keys, %values at %places), or none (C15 of qlinear.rotary)}}
  %y = "qlinear.rotary"(%x, %x, %x, %at) <{head = 64 : i64, operandSegmentSizes = array<i32: 1, 0, 1, 1, 0, 1, 0>}> : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x1xi32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %t: tensor<4x32xf32>, %c: tensor<9x32xf32>, %at: tensor<4x1xi32>) {
  // expected-error @below {{has places of 'tensor<4x1xi32>', and rows of 64 columns are 2 pieces of cache 0, which is 'tensor<9x32xf32>'; a place is there for each piece (C15 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %t, %t head = 32 into(%c at %at) : (tensor<4x64xf32>, tensor<4x32xf32>, tensor<4x32xf32>, tensor<9x32xf32>, tensor<4x1xi32>) -> tensor<9x32xf32>
  return
}

// -----

func.func @caches(%x: tensor<4x64xf32>, %c: tensor<9x64xf32>, %at: tensor<5x1xi32>) {
  // expected-error @below {{has places of 'tensor<5x1xi32>', and the inputs have M = 4; there is a row for each token (C15 of qlinear.rotary)}}
  %y = qlinear.rotary %x by %x, %x head = 64 into(%c at %at) : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>, tensor<9x64xf32>, tensor<5x1xi32>) -> tensor<9x64xf32>
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>, %n: tensor<64xf32>) {
  // expected-error @below {{has 2 inputs, 1 norms, 0 caches, and unrotated = 1; so many}}
  %y:2 = qlinear.rotary %x, %x norms(%n) epsilon = 0.0 by %x, %x head = 64 unrotated = 1 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>)
  return
}

// -----

func.func @rotary(%x: tensor<4x64xf32>) {
  // expected-error @below {{has zero_centered, which is of norms, and no norms(...); give a vector of scales for each input, or leave it out (C12 of qlinear.rotary)}}
  %y = qlinear.rotary %x zero_centered by %x, %x head = 64 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>, %b: memref<4x64xf32>) {
  // expected-error @below {{has buffers, but operand 0 is a value, 'tensor<4x64xf32>'; bufferize all operands or none (C1 of qlinear.norm)}}
  qlinear.norm rms %x epsilon = 0.0 outs(%b) : (tensor<4x64xf32>, memref<4x64xf32>) -> ()
  return
}

// -----

func.func @norm(%x: memref<4x64xf32>) {
  // expected-error @below {{has buffers but no outs(...); say where the results go (C2 of qlinear.norm)}}
  qlinear.norm rms %x epsilon = 0.0 : (memref<4x64xf32>) -> ()
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>) {
  // expected-error @below {{has no result; on tensors it computes at least one (C3 of qlinear.norm)}}
  qlinear.norm rms %x epsilon = 0.0 : (tensor<4x64xf32>) -> ()
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>, %b: tensor<?x64xf32>) {
  // expected-error @below {{result 0 is 'tensor<4x64xf32>', but what it replaces is 'tensor<?x64xf32>'; the types must be the same (C4 of qlinear.norm)}}
  %y = qlinear.norm rms %x epsilon = 0.0 outs(%b) : (tensor<4x64xf32>, tensor<?x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>) {
  // expected-error @below {{has 3 inputs; give the rows, or two tensors whose sum they are (C5 of qlinear.norm)}}
  %y = qlinear.norm rms %x, %x, %x epsilon = 0.0 : (tensor<4x64xf32>, tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>, %r: tensor<4x64xbf16>) {
  // expected-error @below {{adds 'tensor<4x64xf32>' and 'tensor<4x64xbf16>'; the shape and the element type must be the same (C6 of qlinear.norm)}}
  %y = qlinear.norm rms %x, %r epsilon = 0.0 : (tensor<4x64xf32>, tensor<4x64xbf16>) -> tensor<4x64xf32>
  return
}

// -----

func.func @norm(%x: tensor<4x?xf32>) {
  // expected-error @below {{K of the inputs must be known; only M may be ? (C7 of qlinear.norm)}}
  %y = qlinear.norm rms %x epsilon = 0.0 : (tensor<4x?xf32>) -> tensor<4x?xf32>
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>) {
  // expected-error @below {{epsilon = -1.000000e+00; it is added to a mean of squares: give a finite number from 0 on (C8 of qlinear.norm)}}
  %y = qlinear.norm rms %x epsilon = -1.0 : (tensor<4x64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>, %g: tensor<64xf32>) {
  // expected-error @below {{has 1 extras and 1 results, and no region that makes these of those; without a region there are no extras, and one result (C9 of qlinear.norm)}}
  %y = qlinear.norm rms %x extras(%g) epsilon = 0.0 : (tensor<4x64xf32>, tensor<64xf32>) -> tensor<4x64xf32>
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>, %g: tensor<65xf32>) {
  // expected-error @below {{extra 0 is 'tensor<65xf32>', but the rows are 4 x 64; an extra is a tensor of K or M x K, or of 1 (C10 of qlinear.norm)}}
  %y = qlinear.norm rms %x extras(%g) epsilon = 0.0 : (tensor<4x64xf32>, tensor<65xf32>) -> tensor<4x64xf32> {
  ^bb0(%n: f32, %s: f32, %a: f32):
    qlinear.yield %n : f32
  }
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>, %g: tensor<5x64xf32>) {
  // expected-error @below {{extra 0 is 'tensor<5x64xf32>', but the rows are 4 x 64; an extra is a tensor of K or M x K, or of 1 (C10 of qlinear.norm)}}
  %y = qlinear.norm rms %x extras(%g) epsilon = 0.0 : (tensor<4x64xf32>, tensor<5x64xf32>) -> tensor<4x64xf32> {
  ^bb0(%n: f32, %s: f32, %a: f32):
    qlinear.yield %n : f32
  }
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>) {
  // expected-error @below {{result 0 must be 4 x 64 as the first input, but is 'tensor<4x65xf32>' (C11 of qlinear.norm)}}
  %y = qlinear.norm rms %x epsilon = 0.0 : (tensor<4x64xf32>) -> tensor<4x65xf32>
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>) {
  // expected-error @below {{the epilogue has 1 arguments; it needs an f32 of the norm and one of its input (2) and one element per extra (0) (C12 of qlinear.norm)}}
  %y = qlinear.norm rms %x epsilon = 0.0 : (tensor<4x64xf32>) -> tensor<4x64xf32> {
  ^bb0(%n: f32):
    qlinear.yield %n : f32
  }
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>) {
  // expected-error @below {{the epilogue must end with qlinear.yield (C13 of qlinear.norm)}}
  %y = qlinear.norm rms %x epsilon = 0.0 : (tensor<4x64xf32>) -> tensor<4x64xf32> {
  ^bb0(%n: f32, %s: f32):
    llvm.unreachable
  }
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>) {
  %y = qlinear.norm rms %x epsilon = 0.0 : (tensor<4x64xf32>) -> tensor<4x64xf32> {
  ^bb0(%n: f32, %s: f32):
    // expected-error @below {{yields 2 values for 1 results; yield one per result (C14 of qlinear.norm)}}
    qlinear.yield %n, %s : f32, f32
  }
  return
}

// -----

func.func @norm(%x: tensor<4x64xf32>) {
  // expected-note @below {{in the epilogue of this norm}}
  %y = qlinear.norm rms %x epsilon = 0.0 : (tensor<4x64xf32>) -> tensor<4x64xf32> {
  ^bb0(%n: f32, %s: f32):
    // expected-error @below {{is not on scalars; an epilogue computes one element at a time (C15 of qlinear.norm)}}
    %v = vector.broadcast %n : f32 to vector<4xf32>
    qlinear.yield %n : f32
  }
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @part(%w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{is on @gpus, which is no shard.grid; declare the grid in the same module (C1 of qlinear.part)}}
  %p = qlinear.part rows of %w on @gpus grid_axes = [0] : !qlinear.weight<64x64, #q4> -> !qlinear.weight<32x64, #q4>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
shard.grid @gpus(shape = 2x?)
func.func @part(%w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{is along axis 1 of @gpus, which has 2 axes; an axis is one of these, and its size is known (C1 of qlinear.part)}}
  %p = qlinear.part rows of %w on @gpus grid_axes = [1] : !qlinear.weight<64x64, #q4> -> !qlinear.weight<32x64, #q4>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
shard.grid @gpus(shape = 2)
func.func @part(%w: !qlinear.weight<64x64, #q4>) {
  // expected-error @below {{each of 2 processes has as many columns, and all else stays the same (C2 of qlinear.part)}}
  %p = qlinear.part columns of %w on @gpus grid_axes = [0] : !qlinear.weight<64x64, #q4> -> !qlinear.weight<32x64, #q4>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
shard.grid @gpus(shape = 4)
func.func @part(%w: !qlinear.weight<96x64, #q4>) {
  // expected-error @below {{, which can be cut at multiples of 16; take another number of processes (C3 of qlinear.part)}}
  %p = qlinear.part rows of %w on @gpus grid_axes = [0] : !qlinear.weight<96x64, #q4> -> !qlinear.weight<24x64, #q4>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @embedding(%i: tensor<4x1xi32>, %w: !qlinear.weight<64x32, #q4>, %b: memref<4x32xf32>) {
  // expected-error @below {{has buffers, but operand 0 is a value, 'tensor<4x1xi32>'; bufferize all operands or none (C1 of qlinear.embedding)}}
  qlinear.embedding %i of %w outs(%b) : (tensor<4x1xi32>, !qlinear.weight<64x32, #q4>, memref<4x32xf32>) -> ()
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @embedding(%i: memref<4x1xi32>, %w: !qlinear.weight<64x32, #q4>) {
  // expected-error @below {{has buffers but no outs(...); say where the results go (C2 of qlinear.embedding)}}
  qlinear.embedding %i of %w : (memref<4x1xi32>, !qlinear.weight<64x32, #q4>) -> ()
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @embedding(%i: tensor<4x1xi32>, %w: !qlinear.weight<64x32, #q4>) {
  // expected-error @below {{has no result; on tensors it computes at least one (C3 of qlinear.embedding)}}
  qlinear.embedding %i of %w : (tensor<4x1xi32>, !qlinear.weight<64x32, #q4>) -> ()
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @embedding(%i: tensor<4x1xi32>, %w: !qlinear.weight<64x32, #q4>, %b: tensor<?x32xf32>) {
  // expected-error @below {{result 0 is 'tensor<4x32xf32>', but what it replaces is 'tensor<?x32xf32>'; the types must be the same (C4 of qlinear.embedding)}}
  %y = qlinear.embedding %i of %w outs(%b) : (tensor<4x1xi32>, !qlinear.weight<64x32, #q4>, tensor<?x32xf32>) -> tensor<4x32xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @embedding(%i: tensor<4x2xi32>, %w: !qlinear.weight<64x32, #q4>) {
  // expected-error @below {{has indices of 'tensor<4x2xi32>'; they are a column, of a row's index each (C5 of qlinear.embedding)}}
  %y = qlinear.embedding %i of %w : (tensor<4x2xi32>, !qlinear.weight<64x32, #q4>) -> tensor<4x32xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @embedding(%i: tensor<4x1xi32>, %w: !qlinear.weight<64x32, #q4>) {
  // expected-error @below {{makes 'tensor<4x64xf32>' of 4 rows of a weight with K = 32; there is a row for each index, of K columns (C6 of qlinear.embedding)}}
  %y = qlinear.embedding %i of %w : (tensor<4x1xi32>, !qlinear.weight<64x32, #q4>) -> tensor<4x64xf32>
  return
}

// -----

#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
func.func @embedding(%i: tensor<4x1xi32>, %w: !qlinear.weight<64x32, #q4>) {
  // expected-error @below {{makes 'tensor<5x32xf32>' of 4 rows of a weight with K = 32; there is a row for each index, of K columns (C6 of qlinear.embedding)}}
  %y = qlinear.embedding %i of %w : (tensor<4x1xi32>, !qlinear.weight<64x32, #q4>) -> tensor<5x32xf32>
  return
}
