//===- QLinearAttrs.td - Attributes of the qlinear dialect -*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEARATTRS_TD
#define QLINEAR_DIALECT_QLINEARATTRS_TD

include "qlinear/Dialect/QLinearAttrInterfaces.td"
include "qlinear/Dialect/QLinearDialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

class QLinear_Attr<string name, string mnem, list<Trait> traits = []>
    : AttrDef<QLinear_Dialect, name, traits> {
  let mnemonic = mnem;
}

def QLinear_EncodingAttr : QLinear_Attr<"Encoding", "encoding"> {
  let summary = "how the weights of a linear layer are stored";
  let description = [{
    Codes of 2, 3, 4, 5, 6 or 8 bits, and per group of consecutive weights along K a scale
    `s` and, in the affine forms, an offset. `q` is the value of a code: the integer
    itself (`u4`, `i6`, ...), or the value at its place in a table of 4, 8, 16 or 256
    (`iq4nl`, `e2m1`).

    | form | weight | native to |
    | --- | --- | --- |
    | `symmetric` | `s * q`, `q` signed | Q8_0, Q3_K, Q6_K, IQ4_XS, MXFP4, NVFP4, int8 |
    | `zero` | `s * (q - z)` | torchao, AWQ, GPTQ, HQQ, ONNX |
    | `min` | `s * q - m` | Q2_K, Q4_K, Q5_K, Q4_1, Q5_1 |
    | `centred` | `s * (q - 2^(b-1) - z)`, `z` signed and near 0 | |

    The scales and the offsets (`z` or `m`) each have their storage:

    | spelling | value of code `c` |
    | --- | --- |
    | `bf16`, `f16`, `f32`, `e8m0`, `e4m3` | the float itself |
    | `u8 * row<bf16>` | `c * step`, a step per row of the weight |
    | `i8 * block<256, f16>` | `c * step`, a step per 256 weights |
    | `u4` | `c`: an integer grid |
    | `log8 * row<f32>` | `base * 2^(c * step)`, base and step per row |
    | `delta10 * row<bf16>` | the bf16 whose bits are `base + c`, base per row |
    | `e4m3 * row<f32>` | the e4m3 with the bits `c`, times a step per row |

    Constraints:

    - (C1) An integer code has 2, 3, 4, 5, 6 or 8 bits.
    - (C2) `group` is 16, 32, 64, 128, 256 or `row` (one group per row).
    - (C3) Codes are signed in the form `symmetric`, and unsigned in `centred`.
    - (C4) There is a scale, and it is no integer grid: its codes have a step.
    - (C5) There is an offset unless the form is `symmetric`.
    - (C6) Codes of metadata have 4, 6 or 8 bits, those of `delta` 8, 10 or 12, `e4m3` 8.
    - (C7) Codes of `log`, `delta` and `e4m3` are unsigned, their base or step is per row,
      and that of `delta` is bf16.
    - (C8) No step is per 256 weights if `group` is `row`.
    - (C9) A storage has only what its spelling says: plain floats have no bits and no
      step, and an integer grid has no type of a step.
    - (C10) Codes of a table are signed and have the bits of its size.
    - (C11) No step or base is `e8m0` or `e4m3`, and no step is per tensor
      (`u8 * tensor<f32>`), which can be written, but not used yet.

    Examples:

    ```mlir
    // torchao's int4, as it comes.
    #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>
    // The same with 8-bit metadata codes and a step per row: 4.5 bits a weight.
    #qlinear.encoding<u4, group = 32, zero, scale = u8 * row<bf16>,
                      offset = u8 * row<bf16>>
    // GGUF's Q4_K, bit-exact.
    #qlinear.encoding<u4, group = 32, min, scale = u6 * block<256, f16>,
                      offset = u6 * block<256, f16>>
    // GGUF's Q2_K and Q3_K.
    #qlinear.encoding<u2, group = 16, min, scale = u4 * block<256, f16>,
                      offset = u4 * block<256, f16>>
    #qlinear.encoding<i3, group = 16, symmetric, scale = i6 * block<256, f16>>
    // MXFP4, and NVFP4 with the scale of the tensor in each row.
    #qlinear.encoding<e2m1, group = 32, symmetric, scale = e8m0>
    #qlinear.encoding<e2m1, group = 16, symmetric, scale = e4m3 * row<f32>>
    ```
  }];
  let parameters = (ins
    AttrParameter<"::qlinear::Encoding", "the encoding">:$value);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Codes only: what stays when the metadata is re-encoded.
    ::qlinear::CodeType getCodes() const { return getValue().codes; }
    unsigned getGroup() const { return getValue().group; }
    /// Whether a weight stored with this encoding has exactly the same values
    /// when its metadata is stored as `other` says.
    bool isLosslessTo(EncodingAttr other) const;
  }];
}

def QLinear_Copy : I32EnumAttr<"CopyKind", "how a kernel fetches weights", [
    I32EnumAttrCase<"bulk", 0>, I32EnumAttrCase<"async", 1>,
    I32EnumAttrCase<"load", 2>]> {
  let cppNamespace = "::mlir::qlinear";
}

def QLinear_Quantize : I32EnumAttr<"QuantizeKind",
    "where the activations of a linear are quantized", [
    I32EnumAttrCase<"inside", 0>, I32EnumAttrCase<"separate", 1>,
    I32EnumAttrCase<"norm", 2>]> {
  let cppNamespace = "::mlir::qlinear";
}

def QLinear_Dot : I32EnumAttr<"DotKind", "what multiplies codes and activations", [
    I32EnumAttrCase<"dp4a", 0>, I32EnumAttrCase<"mma", 1>, I32EnumAttrCase<"fma", 2>,
    I32EnumAttrCase<"wgmma", 3>]> {
  let cppNamespace = "::mlir::qlinear";
}

def QLinear_Norm : I32EnumAttr<"NormKind", "what the rows of a norm are divided by", [
    I32EnumAttrCase<"rms", 0>, I32EnumAttrCase<"layer", 1>]> {
  let cppNamespace = "::mlir::qlinear";
}

def QLinear_ActivationKind : I32EnumAttr<"ActivationKind",
    "what a linear multiplies its weights with", [
    I32EnumAttrCase<"int8", 0>, I32EnumAttrCase<"as_given", 1, "float">]> {
  let cppNamespace = "::mlir::qlinear";
}

def QLinear_ActivationFormatAttr : QLinear_Attr<"ActivationFormat", "activation_format"> {
  let summary = "the numbers that a linear multiplies its weights with";
  let description = [{
    | format | activations |
    | --- | --- |
    | `int8, block = 32` | quantized: int8 codes and an f32 scale per 32 columns |
    | `float` | as `x` has them: bf16, f16 or f32 |

    With `float` nothing but the sums is rounded: products of a weight and an activation
    are exact, or, of f32 activations, those of the activation's leading 22 bits below
    the largest of its 32 columns. Formats with other blocks and other codes have their
    place here, but no kernels yet.

    Constraints:

    - (C1) `int8` has `block = 32`, `float` has no block.

    Example:

    ```mlir
    #qlinear.activation_format<int8, block = 32>
    #qlinear.activation_format<float>
    ```
  }];
  let parameters = (ins "::mlir::qlinear::ActivationKind":$kind,
                        "int64_t":$block);
  let builders = [AttrBuilder<(ins "::mlir::qlinear::ActivationKind":$kind), [{
    return $_get($_ctxt, kind, kind == ActivationKind::int8 ? kInt8Block : 0);
  }]>];
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Columns that share a scale in the one int8 format.
    static constexpr int64_t kInt8Block = 32;
    /// What is meant where nothing is said.
    static ActivationFormatAttr getDefault(::mlir::MLIRContext *context) {
      return get(context, ActivationKind::int8);
    }
    bool isFloat() const { return getKind() == ActivationKind::as_given; }
    /// The part between < and >, which activations have in their type.
    static ActivationFormatAttr parseBody(::mlir::AsmParser &parser);
    void printBody(::mlir::AsmPrinter &printer) const;
  }];
}

def QLinear_GemvAttr : QLinear_Attr<"Gemv", "gemv", [
    DeclareAttrInterfaceMethods<QLinear_KernelAttrInterface>]> {
  let summary = "a GPU kernel for few rows, bound by reading the weights";
  let description = [{
    Blocks share the tiles of all weights; the warps of a block share the units of
    its tiles, each with a ring of its own in shared memory. Only `rows` has to be
    there: `qlinear-schedule` chooses the fields that are left out, and follows those
    that are given or says why it can't.

    | field | values | meaning |
    | --- | --- | --- |
    | `rows` | 1..8 | rows of `x`, at most |
    | `dot` | `dp4a`, `fma`, `mma` | products row by row, of int8 or of floats, or by tensor cores |
    | `copy` | `bulk`, `async`, `load` | how weights come: copies, or loads to registers |
    | `grid` | 1.. | thread blocks |
    | `warps` | 1..32 | warps of a block |
    | `stages` | 1..8 | units in the ring of a warp; 1 with `copy = load` |
    | `early` | 1..`stages` | stages filled before the kernel before has ended |
    | `ahead` | `true`, `false` | a warp takes its first unit while `x` is quantized |
    | `x_copy` | `bulk`, `load` | how quantized activations come |
    | `resident` | 0..4 | blocks that share a multiprocessor |
    | `phases` | 1..64 | parts of K, one after the other |
    | `split_k` | 1..8 | `mma`: blocks of a cluster, each with a part of K; `wgmma`: see below |

    `bulk` copies need sm_90, `async` copies of 16 bytes sm_80; a `load` is one unit
    ahead. The stages that are not `early` start their copies after the
    loads of `x`, which else would queue behind them; a unit that is taken `ahead` is
    refilled at that time. `resident` counts blocks of this kernel and the next: so much
    shared memory is reserved that no more fit; with 0 as many as do, and with 1 no two of
    this kernel, but a block of another kernel may, which needs less. The activations of
    one of the `phases` at a time are in shared memory. `grid` counts all blocks of all
    clusters.

    `dp4a` is for int8 activations, `fma` for float ones, `mma` for both; `wgmma` is for
    `#qlinear.gemm`.

    Constraints, of the fields that are given:

    - (C1) `rows` is in 1..8.
    - (C2) A field that is a number is in the range of the table.
    - (C3) `dot = mma` needs a ring: no `copy = load`.
    - (C4) `copy = load` has `stages = 1`.
    - (C5) `x_copy` is not `async`, and `x_copy = bulk` needs `copy = bulk`.
    - (C6) `early` is at most `stages`.
    - (C7) `early` below `stages` needs `phases = 1`.
    - (C8) `ahead = true` needs no tensor cores, a ring, and `early` below `stages`.
    - (C9) `grid` is a multiple of `split_k`.
    - (C10) `dot` is not `wgmma`.

    Example:

    ```mlir
    // Every field is given.
    #qlinear.gemv<rows = 1, dot = dp4a, copy = bulk, grid = 132, warps = 12, stages = 3,
                  early = 2, ahead = true, x_copy = bulk, resident = 2, phases = 1,
                  split_k = 1>
    // Two fields are given, the others are the cost model's.
    #qlinear.gemv<rows = 8, warps = 16, stages = 2>
    ```
  }];
  let parameters = (ins AttrParameter<"::mlir::qlinear::Gemv", "its fields">:$value);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def QLinear_GemmAttr : QLinear_Attr<"Gemm", "gemm", [
    DeclareAttrInterfaceMethods<QLinear_KernelAttrInterface>]> {
  let summary = "a GPU kernel for many rows, by tensor cores";
  let description = [{
    A kernel before it prepares the activations: as f16, each row times a power of two.
    The blocks share jobs, each of some tiles (of 16 rows of the weight) of all
    weights and `tokens` rows of `x`; how many tiles, they choose from the number
    of rows. Units of 256 columns of both come into a ring in shared memory, by `bulk`
    copies, or by another warp (`async`); `warps` warps make weights of f16 in registers
    and multiply.

    Activations are not quantized; weights and activations are rounded to 11 bits. Only
    `rows` has to be there: `qlinear-schedule` chooses the fields that are left out.

    | field | values | meaning |
    | --- | --- | --- |
    | `rows` | 1.., `any` | rows of `x`, at most |
    | `tokens` | 16..256 | rows of `x` of a job |
    | `dot` | `mma`, `wgmma` | products by warps, or by groups of four |
    | `copy` | `bulk`, `async` | how both operands come |
    | `grid` | 1.. | thread blocks |
    | `warps` | 1..16 | warps of a block that multiply |
    | `tiles` | 1..4 | tiles of a warp, at most |
    | `stages` | 2..8 | units in the ring |
    | `split_k` | 1..8 | blocks of a cluster, each with a part of K |

    With `wgmma` all blocks share the jobs that would keep a part of them busy, by units of K,
    each such job in `split_k` pieces at most.

    Constraints, of the fields that are given:

    - (C1) `rows` is positive.
    - (C2) A field that is a number is in the range of the table.
    - (C3) `tokens` is a multiple of 16.
    - (C4) `copy` is not `load`.
    - (C5) `tiles` times `tokens` is at most 256: the sums of a warp are in registers.
    - (C6) `grid` is a multiple of `split_k`, if `dot` is not `wgmma`.
    - (C7) `dot` is `mma`, or `wgmma` with `copy = bulk` and `warps` a multiple of 4.

    Example:

    ```mlir
    #qlinear.gemm<rows = any, tokens = 256, dot = wgmma, copy = bulk, grid = 132, warps = 8,
                  tiles = 1, stages = 3, split_k = 8>
    ```
  }];
  let parameters = (ins AttrParameter<"::mlir::qlinear::Gemm", "its fields">:$value);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def QLinear_CpuGemvAttr : QLinear_Attr<"CpuGemv", "cpu_gemv", [
    DeclareAttrInterfaceMethods<QLinear_KernelAttrInterface>]> {
  let summary = "a CPU kernel for few rows";
  let description = [{
    Threads share work items of `tiles` tiles (of 16 rows of the weight), which
    `qlinear-schedule` chooses if it is left out. The kernel takes up to `rows` rows
    of quantized activations, 1..8.

    Constraints:

    - (C1) `rows` is in 1..8.
    - (C2) `tiles` is in 1..65535.

    Example:

    ```mlir
    #qlinear.cpu_gemv<rows = 4, tiles = 2>
    ```
  }];
  let parameters = (ins AttrParameter<"::mlir::qlinear::CpuGemv", "its fields">:$value);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def QLinear_CpuGemmAttr : QLinear_Attr<"CpuGemm", "cpu_gemm", [
    DeclareAttrInterfaceMethods<QLinear_KernelAttrInterface>]> {
  let summary = "a CPU kernel for many rows";
  let description = [{
    Threads share groups of `tiles` tiles (of 16 rows of the weight), and parts of the
    rows of one. For `tokens` rows of `x` at a time, a unit of a tile is decoded once, to
    bytes in the order in which the products take them, and used for all of them; the
    units of a group come from a cache for the rows after these. Activations are
    quantized. Only `rows` has to be there: `qlinear-schedule` chooses the fields that are
    left out.

    | field | values | meaning |
    | --- | --- | --- |
    | `rows` | 1.., `any` | rows of `x`, at most |
    | `tokens` | 8..512 | rows of `x` that share a decoded unit |
    | `tiles` | 1..65535 | tiles of a group |

    Constraints, of the fields that are given:

    - (C1) `rows` is positive.
    - (C2) A field that is a number is in the range of the table.
    - (C3) `tokens` is a multiple of 8, the tokens of a block in registers.

    Example:

    ```mlir
    #qlinear.cpu_gemm<rows = any, tokens = 64, tiles = 8>
    ```
  }];
  let parameters = (ins AttrParameter<"::mlir::qlinear::CpuGemm", "its fields">:$value);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def QLinear_ScheduleAttr : QLinear_Attr<"Schedule", "schedule"> {
  let summary = "the kernels of a linear";
  let description = [{
    All that is chosen for one `qlinear.linear` on one target: the lowering takes it as
    it is, or says why it can't. `qlinear-schedule` chooses the fields that are left out,
    here and in the kernels; a schedule without kernels says nothing of them.

    | field | meaning |
    | --- | --- |
    | `kernels` | a kernel for each of several numbers of rows, ascending |
    | `quantize` | GPU: where activations are quantized (below) |
    | `pdl` | GPU: a kernel may start while the one before it ends |

    A call of more rows than the last kernel takes reads the weights several times.
    `pdl` is programmatic dependent launch.

    Kernels of a GPU take `x` as int8 codes, or for many rows as an image for tensor cores.
    With `quantize = inside` the kernels for few rows quantize it themselves, with
    `separate` a kernel of its own does before them; in both cases one before those for
    many rows prepares the image. With `norm`, `x` is the result of a `qlinear.norm` that
    nothing else reads: its kernel leaves each row as the linear's take it, and they are
    one launch. Where there is no such norm in the end, kernels quantize inside.

    A schedule is batch-invariant if a row's results have the same bits whatever rows are
    beside it, and however many: all kernels add in one order. Those for CPUs do where
    they are of one family, `gemm` kernels where they have one `dot` and `split_k`, which
    is 1 for `wgmma`.

    Constraints:

    - (C1) The `rows` of the kernels ascend.
    - (C2) All kernels are for GPUs, or all are for CPUs.
    - (C3) `quantize` and `pdl` are not given beside kernels for CPUs.

    Example:

    ```mlir
    #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, warps = 8>, #qlinear.gemv<rows = 8>],
                      quantize = separate, pdl = true>
    #qlinear.schedule<kernels = [#qlinear.cpu_gemv<rows = 1, tiles = 4>]>
    ```
  }];
  let parameters = (ins
    ArrayRefParameter<"::mlir::qlinear::KernelAttrInterface", "kernels">:$kernels,
    "::std::optional<::mlir::qlinear::QuantizeKind>":$quantize,
    "::std::optional<bool>":$pdl);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Whether nothing is left to the cost model.
    bool isComplete() const;
    /// Why the results of a row may depend on the rows beside it; "" if they do not. The
    /// schedule is complete.
    std::string whyNotBatchInvariant() const;
  }];
}

def QLinear_VariantAttr : QLinear_Attr<"Variant", "variant"> {
  let summary = "a compiled kernel for up to `rows` rows";
  let description = [{
    One of the kernels of a `qlinear.launch`. A GPU kernel has `grid` thread
    blocks of `block` threads with `smem` bytes of dynamic shared memory; a CPU
    kernel has `items` work items, cut into one range per thread. The kernel
    `before`, with the same arguments, is launched before it: it leaves activations
    in a temporary, as int8 codes, or with `f16 = true` as f16 numbers, which this
    kernel then multiplies.

    Constraints:

    - (C1) `rows` is positive.
    - (C2) `smem` is not negative.
    - (C3) Either `grid` and `block` are positive and `items` is 0, or `items` is
      positive and `grid`, `block` and `smem` are 0.
    - (C4) The kernel `before` is for a GPU and as many rows, and has none before it.
    - (C5) A kernel with `f16 = true` has one before it.

    Example:

    ```mlir
    #qlinear.variant<rows = 1, kernel = @kernels::@k0_m1, grid = 132,
                     block = 384, smem = 82944>
    #qlinear.variant<rows = 1, kernel = @k0_m1_avx2, items = 1344>
    ```
  }];
  let parameters = (ins
    "int64_t":$rows, "::mlir::SymbolRefAttr":$kernel,
    DefaultValuedParameter<"int64_t", "0">:$grid,
    DefaultValuedParameter<"int64_t", "0">:$block,
    DefaultValuedParameter<"int64_t", "0">:$smem,
    DefaultValuedParameter<"int64_t", "0">:$items,
    OptionalParameter<"::mlir::qlinear::VariantAttr">:$before,
    DefaultValuedParameter<"bool", "false">:$f16);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def QLinear_VariantArrayAttr
    : TypedArrayAttrBase<QLinear_VariantAttr, "array of kernel variants">;

def QLinear_TempAttr : QLinear_Attr<"Temp", "temp"> {
  let summary = "scratch memory of a launch";
  let description = [{
    `bytes`, and `bytes_per_row` for each row of a call. With `zero` the memory is
    zero before the first launch, and every launch leaves it zero.

    Constraints:

    - (C1) Neither `bytes` nor `bytes_per_row` is negative, and one is positive.

    Example:

    ```mlir
    #qlinear.temp<bytes_per_row = 6720>
    #qlinear.temp<bytes = 512, zero = true>
    ```
  }];
  let parameters = (ins
    DefaultValuedParameter<"int64_t", "0">:$bytes,
    DefaultValuedParameter<"int64_t", "0">:$bytes_per_row,
    DefaultValuedParameter<"bool", "false">:$zero);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def QLinear_TempArrayAttr
    : TypedArrayAttrBase<QLinear_TempAttr, "array of temporaries">;

#endif
