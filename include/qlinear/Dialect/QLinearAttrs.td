//===- QLinearAttrs.td - Attributes of the qlinear dialect -*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_DIALECT_QLINEARATTRS_TD
#define QLINEAR_DIALECT_QLINEARATTRS_TD

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
    Integer codes of 4, 5, 6 or 8 bits, and per group of consecutive weights
    along K a scale `s` and, in the affine forms, an offset:

    | form | weight | native to |
    | --- | --- | --- |
    | `symmetric` | `s * q`, `q` signed | Q8_0, Q6_K, int8 |
    | `zero` | `s * (q - z)` | torchao, AWQ, GPTQ, HQQ, ONNX |
    | `min` | `s * q - m` | Q4_K, Q5_K, Q4_1, Q5_1 |
    | `centred` | `s * (q - 2^(b-1) - z)`, `z` signed and near 0 | |

    The scales and the offsets (`z` or `m`) each have their storage:

    | spelling | value of code `c` |
    | --- | --- |
    | `bf16`, `f16`, `f32` | the float itself |
    | `u8 * row<bf16>` | `c * step`, a step per row of the weight |
    | `i8 * block<256, f16>` | `c * step`, a step per 256 weights |
    | `u4` | `c`: an integer grid |
    | `log8 * row<f32>` | `base * 2^(c * step)`, base and step per row |
    | `delta10 * row<bf16>` | the bf16 whose bits are `base + c`, base per row |

    `group` is 16, 32, 64, 128, 256 or `row` (one group per row).

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
    I32EnumAttrCase<"inside", 0>, I32EnumAttrCase<"separate", 1>]> {
  let cppNamespace = "::mlir::qlinear";
}

def QLinear_ScheduleAttr : QLinear_Attr<"Schedule", "schedule"> {
  let summary = "the kernel of a linear and its tiling";
  let description = [{
    What `qlinear-schedule` decides for one `qlinear.linear` on one target and
    the lowering follows. Every field may be left out and then has the value in
    the table; fields print only where they differ from it.

    | field | default | meaning |
    | --- | --- | --- |
    | `rows` | `[1, 2, 4, 8]` | a kernel for each of these numbers of rows of `x`; ascending |
    | `grid` | 0 | GPU: thread blocks; 0: one per multiprocessor, at most the work |
    | `warps` | 0 | GPU: warps of a block, at most 12 for one and two rows; 0: as suits the rows |
    | `stages` | 3 | units in flight per warp, or ahead of use |
    | `copy` | `load` | GPU: `bulk` copies, `async` 16-byte copies, or a `load` to registers |
    | `quantize` | `inside` | activations quantized `inside` the kernel, or `separate`ly before |
    | `pdl` | false | GPU: programmatic dependent launch |
    | `split_k` | 1 | GPU: most blocks, of one cluster, that share K for several rows |
    | `isa` | `""` | CPU: `avx512vnni`, `avx2`, `portable` |
    | `tiles` | 1 | CPU: tiles of 16 rows of the weight in a work item |

    Example:

    ```mlir
    #qlinear.schedule<rows = [1, 2, 4], grid = 132, copy = bulk, pdl = true>
    #qlinear.schedule<isa = "avx512vnni", tiles = 4, quantize = separate>
    ```
  }];
  let parameters = (ins
    ArrayRefParameter<"int64_t", "row variants">:$rows,
    "int64_t":$grid, "int64_t":$warps, "int64_t":$stages,
    "::mlir::qlinear::CopyKind":$copy, "::mlir::qlinear::QuantizeKind":$quantize,
    "bool":$pdl, AttrParameter<"int64_t", "parts of K">:$splitK,
    StringRefParameter<"instruction set">:$isa, "int64_t":$tiles);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// All fields, with their defaults: fill in what differs, then get().
    struct Fields {
      ::llvm::SmallVector<int64_t> rows = {1, 2, 4, 8};
      int64_t grid = 0, warps = 0, stages = 3;
      CopyKind copy = CopyKind::load;
      QuantizeKind quantize = QuantizeKind::inside;
      bool pdl = false;
      int64_t splitK = 1;
      ::std::string isa;
      int64_t tiles = 1;
    };
    static ScheduleAttr get(::mlir::MLIRContext *context, const Fields &fields);
    static ScheduleAttr
    getChecked(::llvm::function_ref<::mlir::InFlightDiagnostic()> emitError,
               ::mlir::MLIRContext *context, const Fields &fields);
    Fields getFields() const;
  }];
}

def QLinear_VariantAttr : QLinear_Attr<"Variant", "variant"> {
  let summary = "a compiled kernel for up to `rows` rows";
  let description = [{
    One of the kernels of a `qlinear.launch`. A GPU kernel has `grid` thread
    blocks of `block` threads with `smem` bytes of dynamic shared memory; a CPU
    kernel has `items` work items, cut into one range per thread.

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
    DefaultValuedParameter<"int64_t", "0">:$items);
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
