//===- Options.cpp - The command line of quant-compile --------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Options.h"
#include "Checkpoint.h"

#include "qlinear/Encoding/Packer.h"
#include "qlinear/Support/CacheFolder.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace qlinear::options {

cl::OptionCategory category("quant-compile");
cl::opt<std::string> input(
    cl::Positional,
    cl::desc("<input: MLIR text or bytecode; or a checkpoint: .gguf, .safetensors, "
             ".safetensors.index.json, a folder, a packed archive; or an ONNX model>"),
    cl::init("-"), cl::cat(category));
cl::opt<std::string> output("o", cl::desc("Output file; - is standard output"),
                            cl::value_desc("file"), cl::cat(category));
cl::opt<std::string>
    targets("target",
            cl::desc("What to compile for, comma-separated: cuda:sm_NN, cuda:emulated, "
                     "cpu (all instruction sets; the runtime picks one), the same of "
                     "an architecture: cpu:x86-64, cpu:arm64; one instruction set: "
                     "cpu:native (the best of this machine), "
                     "cpu:amx, cpu:avx512vnni, cpu:avxvnni, cpu:avx2, cpu:neon-i8mm, "
                     "cpu:neon-dotprod, cpu:neon, cpu:portable"),
            cl::init("cpu"), cl::value_desc("list"), cl::cat(category));
cl::opt<Emit> emitKind(
    "emit", cl::desc("What to write"), cl::init(Emit::so), cl::cat(category),
    cl::values(clEnumValN(Emit::mlir, "mlir", "the module, lowered"),
               clEnumValN(Emit::llvm, "llvm", "LLVM IR of the kernels"),
               clEnumValN(Emit::ptx, "ptx", "PTX of a CUDA target"),
               clEnumValN(Emit::cubin, "cubin", "machine code of a CUDA target"),
               clEnumValN(Emit::obj, "obj", "the artifact as an object file"),
               clEnumValN(Emit::so, "so", "a shared library (default)")));
cl::opt<std::string> header("header",
                            cl::desc("Write a C header of the compiled functions"),
                            cl::value_desc("file"), cl::cat(category));
cl::opt<std::string> functions(
    "functions",
    cl::desc("Write the compiled functions as JSON: inputs, outputs, weights"),
    cl::value_desc("file"), cl::cat(category));
cl::opt<std::string> archive(
    "archive",
    cl::desc(
        "Of a checkpoint: the packed archive to write; default: beside the output"),
    cl::value_desc("file.safetensors"), cl::cat(category));
cl::opt<std::string> quantizer(
    "quantize",
    cl::desc(
        "Of a checkpoint: quantize float weights, as quant-pack does: int4:32, ..."),
    cl::value_desc("codes:group"), cl::cat(category));
cl::opt<std::string> dtype("dtype",
                           cl::desc("Of a checkpoint: the type of inputs and results: "
                                    "f32 (default), bf16 or f16"),
                           cl::init("f32"), cl::value_desc("type"), cl::cat(category));
cl::opt<std::string>
    params("params",
           cl::desc("Check the types of all parameters against a packed archive"),
           cl::value_desc("archive.safetensors"), cl::cat(category));
cl::opt<bool> adopt("adopt",
                    cl::desc("Parameters get the encodings that their weights have in "
                             "--params, whatever their types say"),
                    cl::cat(category));
cl::opt<std::string> encoding(
    "encoding",
    cl::desc("Re-encode constant weights and the types of parameters first, as "
             "qlinear-compact-metadata does: auto, row-u8, ...; of a checkpoint, how "
             "quant-pack stores its metadata (default: auto)"),
    cl::value_desc("rule"), cl::cat(category));
cl::opt<double> minSnr("min-snr", cl::desc("SNR in dB that --encoding=auto keeps"),
                       cl::init(45), cl::value_desc("dB"), cl::cat(category));
cl::opt<std::string> scheduleTable(
    "schedule-table",
    cl::desc(
        "Measured schedules: a file of quant-tune's, or the name of a table that "
        "the compiler comes with (h100, h200); linears without an entry get the cost "
        "model's"),
    cl::value_desc("table"), cl::cat(category));
cl::opt<bool> batchInvariant(
    "batch-invariant",
    cl::desc("The bits of a row's results depend neither on the number of rows of the "
             "call nor on the other rows; slower where rows are few"),
    cl::cat(category));
cl::opt<bool> raise_("raise",
                     cl::desc("Find dequantized weights in linalg and make them "
                              "quantized linears first, as qlinear-raise does"),
                     cl::cat(category));
cl::opt<std::string> activations(
    "activations",
    cl::desc("What linears multiply their weights with: int8 (x quantized per 32 "
             "columns; default) or float (x as it is); linears that say it themselves "
             "are left alone"),
    cl::value_desc("format"), cl::cat(category));
cl::opt<bool> fuse("fuse",
                   cl::desc("Fuse linears and elementwise operations (default)"),
                   cl::init(true), cl::cat(category));
cl::opt<bool> quantize("quantize-activations",
                       cl::desc("Quantize activations once for all users (default); "
                                "else each does it for itself"),
                       cl::init(true), cl::cat(category));
cl::opt<std::string>
    ptxVersion("ptx-version",
               cl::desc("PTX version; default: the oldest that has the chip"),
               cl::value_desc("8.0"), cl::cat(category));
cl::opt<std::string> ptxas("ptxas", cl::desc("Path of ptxas; default: found on PATH"),
                           cl::value_desc("file"), cl::cat(category));
cl::opt<std::string>
    sanitize("sanitize",
             cl::desc("Instrument host code: 'address' (the process that "
                      "runs it needs AddressSanitizer's runtime)"),
             cl::value_desc("address"), cl::cat(category));
cl::opt<std::string>
    saveTemps("save-temps",
              cl::desc("Directory for the lowered modules, PTX, the LLVM IR "
                       "of the artifact, and the manifest"),
              cl::value_desc("dir"), cl::cat(category));
cl::opt<std::string>
    runtimeDir("runtime-dir",
               cl::desc("Where libQLinearRuntime.so lies; default: beside "
                        "this tool; not needed for another architecture"),
               cl::value_desc("dir"), cl::cat(category));
cl::opt<unsigned> jobs("j",
                       cl::desc("Kernels that are compiled at a time; default: as many "
                                "as there are cores. The output does not depend on it"),
                       cl::value_desc("number"), cl::Prefix, cl::init(0),
                       cl::cat(category));
cl::opt<bool>
    noCache("no-cache",
            cl::desc("Compile kernels that were compiled before anew, and keep "
                     "none: neither read nor write QLINEAR_CACHE (default: "
                     "qlinear in XDG_CACHE_HOME or ~/.cache)"),
            cl::cat(category));
cl::opt<std::string> remarksFilter(
    "remarks-filter",
    cl::desc(
        "Print the remarks of passes of matching names, as quant-opt does: what they "
        "did, and what they declined and why"),
    cl::value_desc("regex, such as qlinear.*"), cl::cat(category));
cl::opt<bool> listTargets("list-targets",
                          cl::desc("Print the GPU targets and what is known of them"),
                          cl::cat(category));
cl::opt<bool> verbose("verbose",
                      cl::desc("Describe what was compiled, on standard error"),
                      cl::cat(category));

} // namespace qlinear::options

using namespace qlinear::options;

/// The end that "-o" has if it is not given.
static const char *extension() {
  switch (emitKind) {
  case Emit::mlir:
    return ".mlir";
  case Emit::llvm:
    return ".ll";
  case Emit::ptx:
    return ".ptx";
  case Emit::cubin:
    return ".cubin";
  case Emit::obj:
    return ".o";
  case Emit::so:
    return ".so";
  }
  return "";
}

bool qlinear::options::isForCheckpoint() {
  return input != "-" && qlinear::isCheckpoint(input);
}
bool qlinear::options::isOnnx() { return StringRef(input).ends_with(".onnx"); }
bool qlinear::options::isArtifact() {
  return emitKind == Emit::so || emitKind == Emit::obj;
}

Expected<qlinear::CompileSettings> qlinear::options::readSettings() {
  qlinear::CompileSettings settings;
  auto parsed = qlinear::Target::parseList(targets);
  if (!parsed)
    return parsed.takeError();
  settings.targets = std::move(*parsed);
  if (!sanitize.empty() && sanitize != "address")
    return createStringError("--sanitize=" + sanitize +
                             " is not known; use --sanitize=address");
  settings.sanitizeAddress = !sanitize.empty();
  settings.pipeline.raise = raise_;
  settings.pipeline.encoding = encoding;
  settings.pipeline.minSnr = minSnr;
  if (auto valid = qlinear::verifyMinSnr(minSnr); !valid)
    return createStringError(valid.error());
  settings.pipeline.scheduleTable = scheduleTable;
  settings.pipeline.batchInvariant = batchInvariant;
  settings.pipeline.activations = activations;
  settings.pipeline.fuse = fuse;
  settings.pipeline.quantizeActivations = quantize;
  settings.nvptx.ptxVersion = ptxVersion;
  settings.nvptx.ptxas = ptxas;
  settings.nvptx.assemble = emitKind != Emit::ptx && emitKind != Emit::llvm;
  if (jobs.getNumOccurrences() && jobs == 0)
    return createStringError("-j0 compiles nothing; give the number of kernels to "
                             "compile at a time, or leave -j out for one per core");
  settings.threads = jobs;
  if (std::string folder = noCache ? "" : qlinear::cacheFolder(); !folder.empty())
    settings.cache = folder + "/objects";
  settings.keepLLVM = !saveTemps.empty();
  settings.params = params;
  settings.adoptEncodings = adopt;
  return settings;
}

/// The input's name without folder and ends: of dir/model.gguf it is model.
static std::string inputStem() {
  StringRef name = StringRef(input).rtrim('/');
  name = sys::path::filename(name);
  for (StringRef end : {".index.json", ".safetensors", ".packed", ".gguf", ".onnx"})
    name.consume_back(end);
  if (name == "." || name == "..")
    return "model";
  return isForCheckpoint() ? name.str() : sys::path::stem(name).str();
}

void qlinear::options::nameOutputs() {
  if (output.empty())
    output = input == "-" ? "-" : inputStem() + extension();
  if (!isForCheckpoint())
    return;
  // Beside a fifo or a device there is no place for files.
  bool isFile =
      output != "-" && (!sys::fs::exists(output) || sys::fs::is_regular_file(output));
  SmallString<128> base(isFile ? output.getValue() : inputStem());
  auto named = [&](cl::opt<std::string> &option, const char *end) {
    if (!option.empty())
      return;
    SmallString<128> path(base);
    sys::path::replace_extension(path, end);
    option = path.str().str();
  };
  named(archive, ".packed.safetensors");
  if (isArtifact()) {
    named(header, ".h");
    named(functions, ".functions.json");
  }
}

Error qlinear::options::checkOptions() {
  for (auto *option : {&archive, &quantizer, &dtype})
    if (option->getNumOccurrences() && !isForCheckpoint())
      return createStringError("--" + option->ArgStr +
                               " is for checkpoints, and the input is MLIR");
  if (isForCheckpoint() && (params.getNumOccurrences() || raise_))
    return createStringError("--params and --raise are for MLIR, and the input is a "
                             "checkpoint");
  if (isOnnx() && !quantizer.empty())
    return createStringError("--quantize is of checkpoints of floats; of an ONNX model "
                             "the layers that are quantized are compiled");
  if (adopt && params.empty())
    return createStringError("--adopt takes the encodings of an archive; name it with "
                             "--params");
  if (dtype != "f32" && dtype != "bf16" && dtype != "f16")
    return createStringError("--dtype=" + dtype + " is not f32, bf16 or f16");
  for (auto *option : {&header, &functions})
    if (!option->empty() && !isArtifact())
      return createStringError("--" + option->ArgStr +
                               " describes the functions of an artifact; it goes with "
                               "--emit=so or --emit=obj");
  if (emitKind == Emit::so && output == "-")
    return createStringError("a shared library cannot be written to standard output; "
                             "give a file with -o");
  return llvm::Error::success();
}
