//===- MutationTest.cpp - Every synchronisation of the kernels is needed --===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Takes the synchronising operations out of the kernels, one at a time: the emulated
// device has to report each, or the results to differ. What may be taken out without
// harm is listed below, with the reason. A new operation is tested without being named
// here, and fails if no kernel below has it, or none fails without it.
//
//===----------------------------------------------------------------------===//
#include "../Kernels/Schedules.h"
#include "DeviceCode.h"
#include "Mutants.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Kernels/Bitcode.h"
#include "qlinear/Target/Compiler.h"

#include "mlir/Parser/Parser.h"
#include "llvm/Support/FormatVariadic.h"

#include <gtest/gtest.h>

#include <random>

using namespace qlinear;
using namespace mlir;

namespace {

/// Mutants that change nothing that may be observed: the site, of one kernel only if
/// its name comes before ("chain: "), and up to an asterisk.
struct Equivalent {
  const char *mutant, *reason;
};
const Equivalent kEquivalents[] = {
    {"skeleton: ql_ptx_launch_dependents*",
     "lets the next kernel start early, which nothing relies on"},
    {"start: ql_ptx_proxy_fence 1, remove",
     "holds the copies back until the loads of x have arrived, which is faster"},
    {"begin: ql_ptx_warp_barrier 1, remove",
     "copies may land before their bytes are expected: the phase waits for the "
     "arrival"},
    {"multiply: ql_ptx_wait_prior_grids 1, remove",
     "a warp that has waited meets the others before they read what kernels before "
     "wrote"},
    {"copyUnits: ql_ptx_warp_barrier 1, remove", "as begin"},
    {"copyActivations: ql_ptx_warp_barrier 1, remove", "as begin"},
    {"releaseUnit: ql_ptx_warp_barrier 2, remove",
     "lanes come together for wgmma, which is not emulated so"},
    {"releaseX: ql_ptx_warp_barrier 2, remove",
     "lanes come together for wgmma, which is not emulated so"},
    {"fetchScales: ql_ptx_warp_barrier 1, remove",
     "lanes come together for wgmma, which is not emulated so"},
    {"groups: skeleton: ql_ptx_warp_barrier 1, remove",
     "lanes come together for wgmma, which is not emulated so"},
    {"pair: skeleton: ql_ptx_warp_barrier 1, remove",
     "lanes come together for wgmma, which is not emulated so"},
    {"groups: skeleton: ql_ptx_wait_prior_grids 2, remove", "every block has a piece"},
    {"pair: skeleton: ql_ptx_wait_prior_grids 2, remove", "every block has a piece"},
    {"join: ql_ptx_group_barrier 2, remove",
     "orders accesses of global memory, which is not in the model"},
    {"largestOfBlock: ql_ptx_barrier 2, remove", "a block prepares one token"},
    {"multiplyFull: ql_ptx_wgmma_wait 1*",
     "decoding may scale the sums after it, which are not in the model"},
    {"many: skeleton: ql_ptx_wait_prior_grids 2, remove", "every block has a job"},
    {"joined many: skeleton: ql_ptx_wait_prior_grids 2, remove",
     "every block has a job"},
};

/// A function over linears, and the rows it is called for.
struct Kernel {
  const char *name;
  int rows;
  std::string function;
};

constexpr const char *kTypes = R"(
!row = !qlinear.weight<{0}x{1}, #qlinear.encoding<u4, group = 32, zero,
                       scale = u8 * row<bf16>, offset = u8 * row<bf16>>>
!block = !qlinear.weight<{0}x{1}, #qlinear.encoding<u4, group = 32, zero,
                         scale = u8 * block<256, f16>, offset = u8 * block<256, f16>>>
!q6 = !qlinear.weight<{2}x{1}, #qlinear.encoding<i6, group = 16, symmetric,
                      scale = i8 * block<256, f16>>>
qlinear.parameter @row : !row
qlinear.parameter @block : !block
qlinear.parameter @q6 : !q6
)";

/// y = x W^T with weights of `weight` (row or block), N x K.
std::string linear(const char *weight, int N, int K, const char *x,
                   const char *schedule) {
  std::string in = StringRef(x) == "i8"
                       ? llvm::formatv("!qlinear.activations<?x{0}>", K).str()
                       : llvm::formatv("tensor<?x{0}x{1}>", K, x).str();
  return llvm::formatv(kTypes, N, K, 1).str() +
         llvm::formatv(R"(
func.func @f(%x: {1}) -> tensor<?x{2}xf32> {{
  %w = qlinear.load @{0} : !{0}
  %y = qlinear.linear %x, %w {{schedule = {3}}
      : ({1}, !{0}) -> tensor<?x{2}xf32>
  return %y : tensor<?x{2}xf32>
})",
                       weight, in, N,
                       StringRef(schedule).starts_with("#")
                           ? std::string(schedule)
                           : schedules::alike(schedule))
             .str();
}

/// Two weights of one shape and an epilogue.
std::string gated(int N, int K, const char *schedule) {
  return llvm::formatv(kTypes, N, K, 1).str() +
         llvm::formatv(R"(
func.func @f(%x: tensor<?x{1}xbf16>, %b: tensor<{0}xf32>) -> tensor<?x{0}xbf16> {{
  %g = qlinear.load @row : !row
  %u = qlinear.load @block : !block
  %y = qlinear.linear %x, %g, %u, %g extras(%b) {{schedule = {2}}
      : (tensor<?x{1}xbf16>, !row, !block, !row, tensor<{0}xf32>) -> tensor<?x{0}xbf16> {{
  ^bb0(%0: f32, %1: f32, %2: f32, %bias: f32):
    %3 = arith.addf %0, %bias : f32
    %4 = arith.mulf %3, %1 : f32
    %5 = arith.addf %4, %2 : f32
    %6 = arith.truncf %5 : f32 to bf16
    qlinear.yield %6 : bf16
  }
  return %y : tensor<?x{0}xbf16>
})",
                       N, K, schedules::alike(schedule))
             .str();
}

/// Weights of several N and encodings.
std::string several(int N, int K, int N2, const char *schedule) {
  return llvm::formatv(kTypes, N, K, N2).str() +
         llvm::formatv(R"(
func.func @f(%x: tensor<?x{1}xf16>) -> (tensor<?x{0}xf32>, tensor<?x{2}xf32>) {{
  %q = qlinear.load @row : !row
  %v = qlinear.load @q6 : !q6
  %y:2 = qlinear.linear %x, %q, %v {{schedule = {3}}
      : (tensor<?x{1}xf16>, !row, !q6) -> (tensor<?x{0}xf32>, tensor<?x{2}xf32>)
  return %y#0, %y#1 : tensor<?x{0}xf32>, tensor<?x{2}xf32>
})",
                       N, K, N2, schedules::alike(schedule))
             .str();
}

/// Two sums of a row, by several warps.
constexpr const char *kNorm = R"(
func.func @f(%x: tensor<?x1000xbf16>) -> tensor<?x1000xf32> {
  %y = qlinear.norm layer %x epsilon = 1.0e-05 : (tensor<?x1000xbf16>) -> tensor<?x1000xf32>
  return %y : tensor<?x1000xf32>
}
)";

/// A norm that leaves its rows for a linear: as codes, or with `many` as an image.
std::string joined(bool many) {
  const char *kernel =
      many ? "gemm<rows = any, tokens = 16, dot = mma, copy = bulk, grid = 1, warps = "
             "2, "
             "tiles = 2, stages = 2, split_k = 1>"
           : "gemv<rows = 4, grid = 2, warps = 2, stages = 2, copy = bulk>";
  return llvm::formatv(kTypes, 33, 1120, 1).str() + llvm::formatv(R"(
func.func @f(%x: tensor<?x1120xbf16>) -> tensor<?x33xf32> {{
  %w = qlinear.load @row : !row
  %n = qlinear.norm rms %x epsilon = 1.0e-05 : (tensor<?x1120xbf16>) -> tensor<?x1120xbf16>
  %y = qlinear.linear %n, %w
      {{schedule = #qlinear.schedule<kernels = [#qlinear.{0}], quantize = norm, pdl = true>}
      : (tensor<?x1120xbf16>, !row) -> tensor<?x33xf32>
  return %y : tensor<?x33xf32>
})",
                                                                  kernel)
                                                        .str();
}

/// Ways to fetch weights, rings of several lengths, several units a warp, tails,
/// phases, clusters and chains.
std::vector<Kernel> kernels() {
  return {
      {"ahead", 1,
       linear("row", 33, 1120, "bf16",
              "rows = [1], grid = 2, warps = 2, stages = 3, copy = bulk, pdl = true")},
      {"one stage", 2,
       linear("block", 33, 1120, "f32",
              "rows = [2], grid = 2, warps = 2, stages = 1, copy = bulk, pdl = true")},
      {"two stages", 4,
       linear("row", 50, 1536, "f16",
              "rows = [4], grid = 2, warps = 2, stages = 2, copy = bulk, pdl = true")},
      {"gated", 1,
       gated(33, 800,
             "rows = [1], grid = 2, warps = 3, stages = 2, copy = bulk, pdl = false")},
      {"segments", 2,
       several(33, 1120, 17,
               "rows = [2], grid = 3, warps = 2, stages = 3, copy = bulk, pdl = true")},
      {"async", 1,
       linear(
           "row", 33, 1120, "bf16",
           "rows = [1], grid = 2, warps = 2, stages = 2, copy = async, pdl = false")},
      {"async tensor", 3,
       linear(
           "block", 33, 1536, "f32",
           "rows = [3], grid = 2, warps = 2, stages = 3, copy = async, pdl = false")},
      {"direct", 2,
       linear("row", 33, 800, "f16",
              "rows = [2], grid = 2, warps = 2, copy = load, pdl = false")},
      {"cluster", 2,
       linear("row", 50, 1024, "f32",
              "rows = [2], grid = 4, warps = 2, stages = 3, copy = bulk, pdl = true, "
              "split_k = 2")},
      {"norm", 3, kNorm},
      {"joined", 3, joined(false)},
      {"joined many", 17, joined(true)},
      {"quantized", 2,
       linear("block", 33, 1120, "i8",
              "rows = [2], grid = 2, warps = 2, stages = 3, copy = bulk, pdl = true")},
      {"phases", 8,
       linear("row", 17, 24576, "bf16",
              "rows = [8], grid = 1, warps = 3, stages = 3, copy = bulk, pdl = true")},
      {"quantized phases", 8,
       linear("row", 17, 24576, "i8",
              "rows = [8], grid = 1, warps = 3, stages = 3, copy = bulk, pdl = true")},
      {"chain", 4,
       linear("row", 33, 1120, "bf16",
              "rows = [4], grid = 2, warps = 2, stages = 3, copy = bulk, pdl = true, "
              "quantize = "
              "separate")},
      {"many", 17,
       linear("block", 40, 1120, "bf16",
              "#qlinear.schedule<kernels = [#qlinear.gemm<rows = any, tokens = 16, "
              "dot = mma, copy = bulk, grid = 1, warps = 2, tiles = 2, stages = 2, "
              "split_k = 1>], quantize = inside, pdl = true>")},
      {"many async", 17,
       linear("block", 40, 1120, "bf16",
              "#qlinear.schedule<kernels = [#qlinear.gemm<rows = any, tokens = 16, "
              "dot = mma, copy = async, grid = 2, warps = 2, tiles = 1, stages = 2, "
              "split_k = 1>], quantize = inside, pdl = false>")},
      {"groups", 19,
       linear("block", 120, 1632, "bf16",
              "#qlinear.schedule<kernels = [#qlinear.gemm<rows = any, tokens = 16, "
              "dot = wgmma, copy = bulk, grid = 3, warps = 4, tiles = 1, stages = 2, "
              "split_k = 8>], quantize = inside, pdl = true>")},
      {"pair", 20,
       linear("row", 300, 608, "bf16",
              "#qlinear.schedule<kernels = [#qlinear.gemm<rows = any, tokens = 192, "
              "dot = wgmma, copy = bulk, grid = 2, warps = 8, tiles = 1, stages = 2, "
              "split_k = 8>], quantize = inside, pdl = true>")},
  };
}

/// Device code of the function, with all mutants in it, and data to run it on.
class Sample {
public:
  Sample(const Kernel &kernel, MLIRContext &context, const Sites &sites)
      : rows(kernel.rows) {
    OwningOpRef<ModuleOp> source =
        parseSourceString<ModuleOp>(kernel.function, ParserConfig(&context));
    if (!source)
      return;
    CompileSettings settings;
    settings.targets = {{Target::Kind::emulated, "emulated"}};
    DefaultTimingManager timing;
    TimingScope scope = timing.getRootScope();
    FailureOr<Compilation> lowered =
        compile(*source, settings, Stage::mlir, kernel.name, scope);
    if (failed(lowered))
      return;
    module = std::move(lowered->targets.front().module);
    auto device = *module->getOps<gpu::GPUModuleOp>().begin();
    auto llvmContext = std::make_unique<llvm::LLVMContext>();
    auto ir = toLLVM(device, *llvmContext, DeviceIntrinsics::external);
    if (failed(ir))
      return;
    makeData();
    for (llvm::Function &f : llvm::make_early_inc_range(**ir)) // for other rows
      if (f.getCallingConv() == llvm::CallingConv::PTX_Kernel &&
          llvm::none_of(steps, [&](const Step &s) { return f.getName() == s.kernel; }))
        f.eraseFromParent();
    mutants = addMutants(**ir, sites);
    code = std::make_unique<DeviceCode>(std::move(*ir), std::move(llvmContext));
  }
  bool isCompiled() const { return bool(code); }

  /// Runs mutant `number`, 0 for none; an error, or "".
  std::string run(uint32_t number, uint64_t seed = 0) {
    qlinear_mutant = number;
    std::string error;
    for (const Step &step : steps) {
      std::vector<emulated::Buffer> buffers;
      std::vector<void *> args, params;
      for (size_t i = 0; i < step.args.size(); ++i) {
        args.push_back(memory[step.args[i]].data());
        buffers.push_back({args.back(), i < step.weights,
                           step.earlier.empty() ? nullptr : step.earlier.c_str()});
      }
      for (size_t i = step.results; i < step.end; ++i)
        std::fill(memory[step.args[i]].begin(), memory[step.args[i]].end(), 0xA5);
      for (void *&arg : args)
        params.push_back(&arg);
      params.push_back(&rows);
      emulated::Launch launch = step.launch;
      launch.kernel = step.kernel.c_str();
      launch.buffers = buffers;
      launch.seed = seed;
      if (error = code->run(launch, params); !error.empty())
        break;
    }
    qlinear_mutant = 0;
    return error;
  }
  std::vector<uint8_t> results() const {
    std::vector<uint8_t> all;
    for (size_t i = steps.back().results; i < steps.back().end; ++i)
      llvm::append_range(all, memory[steps.back().args[i]]);
    return all;
  }

  std::vector<std::string> mutants;

private:
  struct Step {
    std::string kernel, earlier;
    emulated::Launch launch;
    std::vector<size_t> args;    ///< indices of `memory`
    size_t weights = 0;          ///< how many
    size_t results = 0, end = 0; ///< where the results begin and end
  };

  size_t bytesOf(Type type) const {
    if (auto weight = dyn_cast<mlir::qlinear::WeightType>(type))
      return weight.getLayout().bytes();
    if (auto activations = dyn_cast<mlir::qlinear::ActivationsType>(type))
      return size_t(rows) * activations.getLayout().bytes();
    auto tensor = cast<RankedTensorType>(type);
    size_t count = tensor.getElementTypeBitWidth() / 8;
    for (int64_t size : tensor.getShape())
      count *= size_t(ShapedType::isDynamic(size) ? rows : size);
    return count;
  }

  /// Bits that are a number between 2^-31 and 2 in each type that they may be part of.
  void fill(std::vector<uint8_t> &bytes) {
    bytes.resize(llvm::alignTo(bytes.size(), 128)); // copies take whole lines
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = uint8_t(0x30 | (random() & 0x0F));
  }

  void makeData() {
    DenseMap<Value, size_t> places;
    auto place = [&](Value value) {
      auto [it, isNew] = places.try_emplace(value, memory.size());
      if (isNew) {
        memory.emplace_back(bytesOf(value.getType()));
        fill(memory.back());
      }
      return it->second;
    };
    module->walk([&](mlir::qlinear::LaunchOp launch) {
      Step step;
      mlir::qlinear::VariantAttr variant;
      for (mlir::qlinear::VariantAttr v : launch.getVariantList())
        if (!variant && v.getRows() >= rows)
          variant = v;
      step.launch.dependent = launch.getPdl();
      step.weights = launch.getWeights().size();
      for (ValueRange values :
           {ValueRange(launch.getWeights()), ValueRange(launch.getInputs()),
            ValueRange(launch.getResults())})
        for (Value value : values)
          step.args.push_back(place(value));
      step.results = step.weights + launch.getInputs().size();
      step.end = step.args.size();
      if (ArrayAttr temps = launch.getTempsAttr())
        for (auto temp : temps.getAsRange<mlir::qlinear::TempAttr>()) {
          step.args.push_back(memory.size());
          memory.emplace_back(size_t(temp.getBytes() + rows * temp.getBytesPerRow()));
          fill(memory.back());
        }
      auto launches = [&](Step &s, mlir::qlinear::VariantAttr v) {
        s.kernel = v.getKernel().getLeafReference().str();
        s.launch.grid = uint32_t(v.getGrid());
        s.launch.block = uint32_t(v.getBlock());
        s.launch.smem = uint64_t(v.getSmem());
        s.earlier = steps.empty() ? "" : steps.back().kernel;
      };
      if (mlir::qlinear::VariantAttr before = variant.getBefore()) {
        Step first = step; // its results are the temporaries
        first.results = step.end;
        first.end = step.args.size();
        launches(first, before);
        steps.push_back(std::move(first));
      }
      launches(step, variant);
      steps.push_back(std::move(step));
    });
  }

  int rows;
  OwningOpRef<ModuleOp> module;
  std::unique_ptr<DeviceCode> code;
  std::vector<Step> steps;
  std::deque<std::vector<uint8_t>> memory;
  std::mt19937 random;
};

const Equivalent *equivalentOf(const std::string &kernel, const std::string &mutant) {
  for (const Equivalent &e : kEquivalents) {
    StringRef name = e.mutant;
    bool prefix = name.consume_back("*");
    for (const std::string &text : {mutant, kernel + ": " + mutant})
      if (prefix ? StringRef(text).starts_with(name) : text == name)
        return &e;
  }
  return nullptr;
}

TEST(Mutation, EveryOperationIsNeeded) {
  llvm::LLVMContext llvmContext;
  auto bitcode = [&](const char *name) {
    std::string_view bytes = kernelBitcode(name);
    return llvm::cantFail(llvm::parseBitcodeFile(
        llvm::MemoryBufferRef(StringRef(bytes.data(), bytes.size()), name),
        llvmContext));
  };
  std::unique_ptr<llvm::Module> intrinsics = bitcode("cuda-intrinsics");
  for (const llvm::Function &f : *intrinsics)
    if (f.getName().starts_with("ql_ptx_") && !f.isDeclaration())
      EXPECT_NE(mutationsOf(f.getName()) != nullptr, isData(f.getName()))
          << f.getName().str() << " is new: say in Mutants.cpp whether it synchronises";

  Sites sites(*bitcode("cuda"));
  DialectRegistry registry;
  registerCompiler(registry);
  MLIRContext context(registry);
  std::map<std::string, std::string> killed; ///< mutant -> how
  std::set<std::string> tried, alive, equivalent;
  for (const Kernel &kernel : kernels()) {
    SCOPED_TRACE(kernel.name);
    Sample sample(kernel, context, sites);
    ASSERT_TRUE(sample.isCompiled());
    ASSERT_EQ(sample.run(0), "");
    std::vector<uint8_t> expected = sample.results();
    for (uint64_t seed :
         {1, 2}) { // other orders of threads, copies that land at any time
      ASSERT_EQ(sample.run(0, seed), "");
      EXPECT_EQ(sample.results(), expected);
    }
    for (size_t i = 0; i < sample.mutants.size(); ++i) {
      bool skeleton = StringRef(sample.mutants[i]).starts_with("skeleton");
      std::string name = sample.mutants[i];
      if (skeleton)
        name = kernel.name + (": " + name);
      if (killed.contains(name))
        continue;
      std::string error = sample.run(uint32_t(i) + 1);
      if (error.empty() && sample.results() != expected)
        error = "other results";
      const Equivalent *e = equivalentOf(kernel.name, sample.mutants[i]);
      if (e)
        EXPECT_EQ(error, "") << name << " is listed as equivalent: " << e->reason;
      if (!error.empty()) {
        killed[name] = error;
        alive.erase(name);
      } else if (e) {
        equivalent.insert(name);
      } else {
        alive.insert(name);
      }
    }
  }
  for (const std::string &name : alive)
    ADD_FAILURE() << name << ": no kernel fails";
  for (const std::string &site : sites.names()) {
    auto has = [&](const std::string &name) {
      return StringRef(name).starts_with(site);
    };
    EXPECT_TRUE(llvm::any_of(killed, [&](auto &k) { return has(k.first); }) ||
                llvm::any_of(equivalent, has) || llvm::any_of(alive, has))
        << site << ": no kernel of the test has it";
  }
  if (std::getenv("QLINEAR_PRINT_MUTANTS")) {
    for (auto &[name, how] : killed)
      llvm::outs() << name << "\n    " << how << "\n";
    for (const std::string &name : equivalent)
      llvm::outs() << name << "\n    equivalent\n";
  }
  EXPECT_GE(killed.size(), 40u);
}

} // namespace
