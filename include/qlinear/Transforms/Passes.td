//===- Passes.td - Passes from qlinear to qlinear ----------*- tablegen -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TRANSFORMS_PASSES_TD
#define QLINEAR_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def ToReference : Pass<"qlinear-to-reference", "::mlir::ModuleOp"> {
  let summary = "write out the meaning of the qlinear operations in linalg";
  let description = [{
    Lowers every `qlinear` operation to plain `linalg`, `tensor`, `arith` and
    `math`, which upstream's passes lower further. This is what every other
    lowering is tested against, so it follows the definitions literally and does
    nothing for speed.

    A value of a `qlinear` type becomes the `f64` tensor of the values that it
    stands for, also in the signatures of functions:

    - a weight is decoded from its components, code by code;
    - activations are quantized in f32, per 32 columns, as
      `qlinear.quantize_activations` says;
    - a linear is the product of the two, summed in `accumulate` in order of k;
      then its epilogue, with the products rounded to f32; or, without one, the
      products rounded to the element type of the result.

    Weights come from `qlinear.pack`; weights of `qlinear.load` are read from the
    archive `weights` and become constants. A `qlinear.reencode` needs a constant.
    Operations on buffers read and write them as tensors, to be bufferized again.

    ```mlir
    %y = qlinear.linear %x, %w : (tensor<?x64xf32>, !qlinear.weight<8x64, #q4>)
                                 -> tensor<?x8xf32>
    // becomes
    %d = linalg.generic ... ins(%codes, ...) outs(... : tensor<8x64xf64>)
    %e = linalg.generic ... ins(%x) ... { arith.extf : f32 to f64 }
    %p = linalg.generic ... ins(%e, %d) ... { arith.mulf, arith.addf : f64 }
    %y = linalg.generic ... ins(%p) ... { arith.truncf : f64 to f32 }
    ```
  }];
  let options = [
    Option<"accumulate", "accumulate", "std::string", "\"f64\"",
           "Type of the products and sums: f64 or f32">,
    Option<"int8", "int8", "bool", "false",
           "Quantize float activations of linears that do not say whether to int8 per "
           "32 columns, as the kernels do">,
    Option<"weights", "weights", "std::string", "",
           "Archive with the weights that are loaded">];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::bufferization::BufferizationDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect",
                           "::mlir::tensor::TensorDialect"];
}

def CompactMetadata : Pass<"qlinear-compact-metadata"> {
  let summary = "store the scales and offsets of weights in fewer bits";
  let description = [{
    Re-encodes the metadata of each weight and changes its type accordingly; the
    codes of the weights stay as they are. `encoding` says how:

    | name | what |
    | --- | --- |
    | `auto` | the fewest bits that keep `min-snr`; what is exact already stays |
    | `lossless` | the fewest bits that keep every weight |
    | `row-u8` | 8-bit codes, a bf16 step per row |
    | `block-u8` | 8-bit codes, an f16 step per 256 weights |
    | `bf16`, `f16`, `f32` | plain values |
    | a spelling | the storage of `#qlinear.encoding<...>`, written out |

    Weights that are a `qlinear.pack` of constants are re-encoded in the IR. A
    `qlinear.parameter` lies in an archive: with `archive` and `output`, that file
    is rewritten as `quant-pack` would, and the types follow. Without them a
    named encoding changes the type only, and the archive has to be packed to
    match.

    `rules` are `REGEX=ENCODING`, the first that matches a weight's name decides.
    Each choice is a remark with bits per weight and SNR
    (`--remarks-filter=qlinear.*`).

    ```mlir
    qlinear.parameter @up : !qlinear.weight<64x128, #qlinear.encoding<u4, group = 32, zero,
        scale = bf16, offset = bf16>>
    // with encoding=row-u8 becomes
    qlinear.parameter @up : !qlinear.weight<64x128, #qlinear.encoding<u4, group = 32, zero,
        scale = u8 * row<bf16>, offset = u8 * row<bf16>>>
    ```
  }];
  let options = [
    Option<"encoding", "encoding", "std::string", "\"auto\"",
           "auto, lossless, row-u8, block-u8, bf16, f16, f32 or an encoding spelled out">,
    Option<"minSnr", "min-snr", "double", "45.0",
           "SNR in dB that auto keeps, of each weight against its exact metadata">,
    ListOption<"rules", "rules", "std::string",
               "REGEX=ENCODING for weights of matching names">,
    Option<"archive", "archive", "std::string", "\"\"",
           "Archive or checkpoint that holds the parameters">,
    Option<"output", "output", "std::string", "\"\"",
           "Archive to write with the re-encoded parameters">];
  let statistics = [
    Statistic<"weightsCompacted", "weights", "Weights re-encoded">,
    Statistic<"bytesBefore", "bytes-before", "Bytes of those weights before">,
    Statistic<"bytesAfter", "bytes-after", "Bytes of those weights after">];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def Fuse : Pass<"qlinear-fuse"> {
  let summary = "fuse linears that share an input, and their elementwise neighbours";
  let description = [{
    Linears on the same `x` become one with several weights, so that `x` is read
    and quantized once (q, k and v; gate and up). Elementwise operations move into the
    epilogue of the linear that they compute from: `arith` and `math` on tensors, or a
    parallel `linalg.generic`. A result may have several users, as the gate of
    `x * sigmoid(x)` has, if all of them move. What else they read becomes an extra (a
    bias, a residual, a factor), or a constant of the epilogue (a dense constant,
    `tensor.splat` and `linalg.fill` of a constant). So do those behind a norm, one
    after another where nothing else reads its result. Every rounding stays, so the
    results are the same bits. An operation that stays outside is a remark that says
    why (`--remarks-filter=qlinear.*`).

    How many weights one kernel takes is left to the lowering, which shares them among
    several kernels.

    ```mlir
    %g = qlinear.linear %x, %wg : ...
    %u = qlinear.linear %x, %wu : ...
    %y = arith.mulf %g, %u : tensor<?x256xf32>
    // becomes
    %y = qlinear.linear %x, %wg, %wu : ... {
    ^bb0(%gate: f32, %up: f32):
      %0 = arith.mulf %gate, %up : f32
      qlinear.yield %0 : f32
    }
    ```
  }];
  let options = [
    Option<"siblings", "siblings", "bool", "true",
           "Fuse linears that share an input">,
    Option<"consumers", "consumers", "bool", "true",
           "Fuse elementwise consumers into the epilogue">];
  let statistics = [
    Statistic<"siblingsFused", "siblings", "Linears merged into another">,
    Statistic<"consumersFused", "consumers", "Elementwise operations fused">];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
}

def Raise : Pass<"qlinear-raise"> {
  let summary = "find dequantized weights and make them qlinear";
  let description = [{
    A contraction whose weight is computed from integer codes becomes a `qlinear.pack`
    of the components and a `qlinear.linear`. Operations of `linalg` are understood by
    their indexing maps and the arithmetic of their bodies, so it does not matter
    whether the weight is computed by one operation or several or in the contraction
    itself, in which order the operands come, or which transposes and reshapes lie
    between. With q the code and s, z, m the same for each group along K, the weight
    may be

    | value | form |
    | --- | --- |
    | `s * (q - z)`, the difference in floats or integers | zero |
    | `s * q` | symmetric; zero, if the codes are unsigned |
    | `s * q + m`, `s * q - m` | min |

    Each of s, z and m is an element, a constant, an integer code, a code times a float
    per row or per 256 weights (Q4_K), or any other product, which is then computed.
    Integers may be put together from parts. Sums over groups may be scaled afterwards.
    What depends on constants only is evaluated, and codes take as few bits as the
    values that they have or, by what computes them, can have.

    `quant.dcast` is understood, and by their names `dequantize_affine`,
    `quantized_decomposed.dequantize_*`, `aten.linear`, `mm`, `matmul`, `addmm` and
    `mv` of torch, ONNX's `MatMulNBits`, `DequantizeLinear`, `MatMul` and `Gemm`,
    and IREE's `dequantize_affine`, whether their dialects are registered or not.

    So are RMS norms, `x * rsqrt(sum x^2 / K + epsilon)` in f32 however a frontend takes
    it apart, layer norms, the same of `x - sum x / K`, and rotary embeddings,
    `x * cos + concat(-x[.., D/2..], x[.., ..D/2]) * sin`; what scales and rounds them
    stays, for `qlinear-fuse`.

    Roundings of intermediate values in `f16` or `bf16` are not kept: the linear
    computes the weight exactly. Zeros of 32 and 64 bits are read as f32. Every weight,
    norm or rotary embedding that is left alone is a remark that says why
    (`--remarks-filter=qlinear.*`).

    ```mlir
    %w = linalg.generic ... ins(%codes, %scales, %zeros) ... {
      arith.extui : i4 to i32; arith.uitofp : i32 to f32; arith.subf; arith.mulf
    } -> tensor<64x4x32xf32>
    %y = linalg.generic ... ins(%x, %w) outs(%zero) ... { arith.mulf; arith.addf }
    // becomes
    %q = tensor.collapse_shape %codes ... into tensor<64x128xi4>
    %w = qlinear.pack %q, %scales offsets(%zeros) : ...
    %y = qlinear.linear %x, %w : ...
    ```
  }];
  let statistics = [
    Statistic<"numRaised", "raised", "Linears raised">,
    Statistic<"numNorms", "norms-raised", "Norms raised">,
    Statistic<"numRotary", "rotary-raised", "Rotary embeddings raised">,
    Statistic<"numDeclined", "declined",
              "Contractions of quantized weights, norms and rotary embeddings left alone">];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect",
                           "::mlir::qlinear::QLinearDialect"];
}

def FoldConstants : Pass<"qlinear-fold-constants"> {
  let summary = "evaluate what weights and epilogues compute from constants";
  let description = [{
    Frontends put weights into the IR as they lie in a checkpoint and compute the
    components from them. Each component of a `qlinear.pack` and each extra of a
    `qlinear.linear` that depends only on constants becomes a constant, if operations of
    `linalg`, `tensor`, `arith` and `math` on tensors of static shape compute it. Constants of
    a `dense_resource` and of `ml_program` globals that do not change count as well.

    `qlinear-raise` does the same with the components that it packs.

    ```mlir
    %e = tensor.expand_shape %bytes ...
    %q = linalg.generic ... ins(%e, %shifts) { arith.shrui; arith.andi; arith.trunci }
    %w = qlinear.pack %q, %s : ...
    // becomes
    %q = arith.constant dense<...> : tensor<64x128xi4>
    %w = qlinear.pack %q, %s : ...
    ```
  }];
  let statistics = [Statistic<"numFolded", "folded", "Tensors that became constants">];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def AdoptFunctions : Pass<"qlinear-adopt-functions", "::mlir::ModuleOp"> {
  let summary = "make functions of other dialects such that can be compiled";
  let description = [{
    `util.func` of IREE becomes `func.func`. An argument of `!torch.vtensor` that is only
    converted to a builtin tensor becomes that tensor, and so does a result that is
    converted from one. Operations are known by name, as `qlinear-raise` does.

    ```mlir
    func.func @f(%a: !torch.vtensor<[?,64],f32>) -> ... {
      %x = "torch_c.to_builtin_tensor"(%a) : ... -> tensor<?x64xf32>
    // becomes
    func.func @f(%x: tensor<?x64xf32>) -> ... {
    ```
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def FlattenRows : Pass<"qlinear-flatten-rows"> {
  let summary = "make one dimension of the rows of activations";
  let description = [{
    A linear has rows and columns. Where frontends have a batch and a sequence, `x` is
    collapsed before it and the result is expanded again, and the elementwise
    operations after it work on three dimensions or more. This pass has them work on
    rows, by moving `tensor.expand_shape` down, so that `qlinear-fuse` can take them into
    the epilogue. A `linalg` operation that only broadcasts a bias goes into its user, and
    `cf.assert` of what holds for all sizes (`3 * b == b * 3`) goes.

    With `signatures` the arguments and results of public functions are flattened as
    well: `tensor<?x?x64xf32>` becomes `tensor<?x64xf32>` where nothing but reshapes reads
    the argument or makes the result. Callers may go on to pass and get three dimensions:
    the runtime takes all but the last as rows.

    ```mlir
    %e = tensor.expand_shape %y [[0, 1], [2]] ... into tensor<2x3x64xf32>
    %z = linalg.generic ... ins(%e) ... -> tensor<2x3x64xf32>
    // becomes
    %f = linalg.generic ... ins(%y) ... -> tensor<6x64xf32>
    %z = tensor.expand_shape %f [[0, 1], [2]] ... into tensor<2x3x64xf32>
    ```
  }];
  let options = [Option<"signatures", "signatures", "bool", "false",
                        "Flatten arguments and results of public functions instead">];
  let dependentDialects = ["::mlir::affine::AffineDialect",
                           "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def SelectProcess : Pass<"qlinear-select-process", "::mlir::ModuleOp"> {
  let summary = "make a program of all processes that of one";
  let description = [{
    After upstream's `shard-partition` a module is what each process of a grid runs. This
    makes it the program of `process`, its place in the grid, row-major:

    - A `qlinear.part` of a parameter becomes a parameter, whose name in the archive says
      which part it is: whoever reads it from an archive gets these bytes of the whole.
    - `shard.all_slice`, and the place of the process in the grid, become constants.
    - A function ends where processes exchange data (`shard.all_reduce`, `all_gather`,
      ...): their host does that, with NCCL or another library, on its stream. `f` becomes
      `f_0`, `f_1`, ..., unless there is nothing after the exchange. What each of them takes
      is in its attribute `qlinear.inputs`, what `f` returned in `qlinear.outputs` of the
      last.

    ```mlir
    qlinear.parameter @down : !qlinear.weight<256x512, #q4>
    func.func @f(%x: tensor<?x256xf32>) -> tensor<?x256xf32> {
      %w = qlinear.load @down : !qlinear.weight<256x512, #q4>
      %p = qlinear.part columns of %w on @gpus grid_axes = [0] : ...
      %y = qlinear.linear %x, %p : ...
      %s = shard.all_reduce %y on @gpus grid_axes = [0] : ...
      return %s : tensor<?x256xf32>
    }
    // becomes with process=1, of two
    qlinear.parameter @down_1 : !qlinear.weight<256x256, #q4> from "down[columns 256:512 of 512]"
    func.func @f(%x: tensor<?x256xf32>) -> tensor<?x256xf32>
        attributes {qlinear.inputs = ["argument 0"],
                    qlinear.outputs = ["all_reduce sum of result 0 of f on [0]"]} {
      %w = qlinear.load @down_1 : !qlinear.weight<256x256, #q4>
      %y = qlinear.linear %x, %w : ...
      return %y : tensor<?x256xf32>
    }
    ```
  }];
  let options = [
    Option<"process", "process", "int64_t", "0",
           "the place of the process in the grid">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::tensor::TensorDialect"];
}

def SetActivations : Pass<"qlinear-set-activations"> {
  let summary = "say whether linears quantize their activations";
  let description = [{
    Gives each `qlinear.linear` on floats that does not say it yet its `activations`:
    `int8` quantizes them per 32 columns, `float` multiplies with the numbers that they
    are. Linears on activations that are quantized already stay as they are.

    ```mlir
    %y = qlinear.linear %x, %w : (tensor<8x64xbf16>, ...) -> tensor<8x16xbf16>
    // becomes, with format=float
    %y = qlinear.linear %x, %w {activations = #qlinear.activation_format<float>} : ...
    ```
  }];
  let options = [Option<"format", "format", "std::string", "\"int8\"",
                        "int8 or float">];
  let statistics = [Statistic<"numSet", "set", "Linears that did not say it">];
  let dependentDialects = ["::mlir::qlinear::QLinearDialect"];
}

def QuantizeActivations : Pass<"qlinear-quantize-activations"> {
  let summary = "quantize activations once for all the linears that use them";
  let description = [{
    Puts a `qlinear.quantize_activations` before linears that would each quantize
    the same `x`: where at least `min-users` linears share it, or it has at least
    `min-rows` rows. Others quantize inside their kernel. Linears whose `activations`
    are `float` have nothing to quantize.

    ```mlir
    %y = qlinear.linear %x, %w : (tensor<8x64xbf16>, ...) -> tensor<8x16xbf16>
    // becomes
    %a = qlinear.quantize_activations %x : tensor<8x64xbf16> -> !qlinear.activations<8x64>
    %y = qlinear.linear %a, %w : (!qlinear.activations<8x64>, ...) -> tensor<8x16xbf16>
    ```
  }];
  let options = [
    Option<"minUsers", "min-users", "unsigned", "2",
           "Linears that share the activations">,
    Option<"minRows", "min-rows", "int64_t", "4",
           "Rows from which even a single user pays">];
  let statistics = [
    Statistic<"activationsQuantized", "quantized", "Activations quantized">];
}

def Schedule : Pass<"qlinear-schedule"> {
  let summary = "choose the kernels of each linear, and all that they are made with";
  let description = [{
    Gives each `qlinear.linear` on tensors a complete `#qlinear.schedule`: the lowering
    chooses nothing. Fields that a schedule has already are kept. Fields that it leaves
    out come from `table`, if that has an entry for the target and the linear's weights,
    else from the cost model. A kernel that the target cannot run, or that does not fit
    into its shared memory, is an error that says why.

    On a GPU, weights that are too many for one kernel, for its shared memory, its
    arguments or the ways to sum up activations, are shared out: the linear becomes
    several.

    With `batch-invariant` a linear gets kernels that all add in one order, which costs
    time where rows are few, and one that has other kernels already is an error.

    A table is a JSON array, as `quant-tune` measures it. `table` is its file, or the
    name of one that the compiler comes with (`h200`). Of an entry's kernels a linear
    with a static M gets those up to the first that takes all rows. Entries for linears
    whose activations are not quantized say `"activations": "float"`. Other keys than
    these are for the reader.

    ```json
    [{"target": "cuda:sm_90",
      "weights": [{"encoding": "i8, group = 32, symmetric, scale = f16",
                   "n": 4096, "k": 4096} ],
      "schedule": "#qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, stages = 4>]>"} ]
    ```

    Example:

    ```mlir
    %y = qlinear.linear %x, %w : (tensor<1x4096xbf16>, ...) -> ...
    // becomes
    %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [
        #qlinear.gemv<rows = 1, dot = dp4a, copy = bulk, grid = 132, warps = 12,
                      stages = 2, early = 2, ahead = false, x_copy = bulk, resident = 2,
                      phases = 1, split_k = 1>], quantize = inside, pdl = true>} : ...
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", "\"\"",
           "cuda:sm_NN, cuda:emulated, cpu or cpu:ISA; default: the module's "
           "qlinear.target, else cuda:sm_90">,
    Option<"table", "table", "std::string", "",
           "Measured schedules: a JSON file, or the name of a table that the compiler "
           "comes with">,
    Option<"batchInvariant", "batch-invariant", "bool", "false",
           "The bits of a row's results do not depend on the number of rows, or on "
           "those beside it">];
  let statistics = [
    Statistic<"numFromTable", "from-table", "Number of schedules found in the table">,
    Statistic<"numFromModel", "from-model", "Number of schedules of the cost model">];
}

#endif
