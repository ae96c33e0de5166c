//===- cpu-linear.cpp - Compiled linears against the read bandwidth -------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiles one linear per encoding, shape and row count in memory and times its
// kernel on weights that rotate through more memory than the caches hold, in turn
// with a plain read of as many bytes by the same threads: what is compared was
// measured within milliseconds. Of each the best of the repetitions counts, since
// other programs can only make a run slower.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Conversion/Passes.h"
#include "qlinear/Dialect/QLinear.h"
#include "qlinear/Encoding/Codec.h"
#include "qlinear/Target/HostCode.h"
#include "qlinear/Target/HostJit.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Format.h"

#include <atomic>
#include <chrono>
#include <random>
#include <sys/mman.h>
#include <thread>

using namespace llvm;

static cl::list<std::string>
    encodingNames("encoding",
                  cl::desc("row-u8, block-u8, bf16, a GGUF type, or an encoding's "
                           "spelling; default: a choice of all widths"));
static cl::list<std::string>
    shapes("shape", cl::CommaSeparated,
           cl::desc("NxK,... (default 21504x5376,5376x21504)"));
static cl::list<int> rowCounts("rows", cl::CommaSeparated,
                               cl::desc("rows of x (default 1,2,4,8,16,64,512)"));
static cl::opt<std::string>
    kernelText("kernel",
               cl::desc("the kernel, as #qlinear.cpu_gemm<rows = any, tokens = "
                        "32> (default: the schedule's for so many rows)"));
static cl::list<int> threadCounts("num-threads", cl::CommaSeparated,
                                  cl::desc("threads (default: 1, and all cores)"));
static cl::opt<std::string>
    instructionSet("isa", cl::desc("instruction set (default: this machine's best)"));
static cl::opt<int> repetitions("repetitions", cl::init(30),
                                cl::desc("timed runs of each kernel"));
static cl::opt<int> megabytes("megabytes", cl::init(512),
                              cl::desc("memory that the weights rotate through"));

namespace {

using Clock = std::chrono::steady_clock;

/// Runs body(thread) on each of `count` threads that are already spinning, and
/// returns the seconds until the last one is done.
class Team {
public:
  explicit Team(int count) : count(count) {
    for (int i = 1; i < count; ++i)
      threads.emplace_back([this, i] { work(i); });
  }
  ~Team() {
    body = nullptr;
    ++round;
    for (std::thread &t : threads)
      t.join();
  }
  double run(const std::function<void(int)> &f) {
    body = &f;
    left = count - 1;
    auto start = Clock::now();
    ++round;
    f(0);
    while (left.load())
      ;
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

private:
  void work(int index) {
    for (int seen = 0;; ++seen) {
      while (round.load() == seen)
        ;
      if (!body)
        return;
      (*body)(index);
      --left;
    }
  }
  int count;
  std::vector<std::thread> threads;
  std::atomic<int> round{0}, left{0};
  const std::function<void(int)> *body = nullptr;
};

/// Reads memory with plain vector loads.
uint64_t readAll(const std::byte *p, size_t bytes) {
  typedef uint64_t Vector __attribute__((vector_size(64)));
  Vector sum[4] = {};
  for (size_t i = 0; i + 256 <= bytes; i += 256)
    for (int j = 0; j < 4; ++j)
      sum[j] += *reinterpret_cast<const Vector *>(p + i + 64 * j);
  Vector all = sum[0] + sum[1] + sum[2] + sum[3];
  uint64_t total = 0;
  for (int i = 0; i < 8; ++i)
    total += all[i];
  return total;
}

[[noreturn]] void fail(const Twine &message) {
  errs() << "cpu-linear: " << message << '\n';
  std::exit(1);
}

struct Choice {
  std::string name;
  qlinear::Encoding encoding;
};

Choice choiceOf(const std::string &name) {
  if (auto e = qlinear::ggufEncoding(name))
    return {name, *e};
  if (auto e = qlinear::namedEncoding(name, {4, false}, 32, qlinear::Form::zero))
    return {name, *e};
  auto e = qlinear::Encoding::parse(name);
  if (!e)
    fail(e.error());
  return {name, *e};
}

/// A blob of random codes, with metadata of ordinary size: speed depends on the
/// values only where they are subnormal, which real ones are not.
void fillBlob(std::byte *blob, const qlinear::layout::WeightLayout &l) {
  using namespace qlinear::layout;
  std::minstd_rand rng(7);
  for (u64 i = 0; i < l.bytes(); i += 4) {
    uint32_t word = uint32_t(rng()) ^ uint32_t(rng()) << 16;
    std::memcpy(blob + i, &word, 4);
  }
  auto ordinary = [&](u64 from, u64 to) {
    std::memset(blob + from, 0x3C, to - from); // 1.06 in f16, 0.011 in bf16 and f32
  };
  ordinary(l.unitPlaneBytes(), l.bytes());
  for (u64 t = 0; t < l.tiles(); ++t)
    for (u64 u = 0; u < l.unitsPerTile(); ++u) {
      UnitLayout unit = l.unit(u);
      u64 at = l.unitOffset(t, u), steps = at + u64(unit.step(0, 0));
      if (l.spec.scale.kind == kPlain || l.spec.offset.kind == kPlain)
        ordinary(at + unit.codeBytes(),
                 at + unit.codeBytes() + unit.recordPlaneBytes());
      if (unit.stepsInside())
        ordinary(steps, steps + unit.stepBytes());
    }
}

/// The kernel for `rows` rows of one linear.
struct Kernel {
  std::unique_ptr<qlinear::HostJit> jit;
  qlinear::HostKernel code;
  int64_t items;
};

Kernel compile(mlir::MLIRContext &context, const Choice &choice, uint64_t N, uint64_t K,
               int rows, StringRef isa) {
  std::string shape = std::to_string(N) + "x" + std::to_string(K);
  std::string weight = "!qlinear.weight<" + shape + ", #qlinear.encoding<" +
                       choice.encoding.str() + ">>";
  std::string x = "!qlinear.activations<?x" + std::to_string(K) + ">";
  std::string y = "tensor<?x" + std::to_string(N) + "xbf16>";
  std::string schedule =
      kernelText.empty()
          ? ""
          : "{schedule = #qlinear.schedule<kernels = [" + kernelText + "]>} ";
  std::string text = "func.func @f(%x: " + x + ", %w: " + weight + ") -> " + y +
                     " { %y = qlinear.linear %x, %w " + schedule + ": (" + x + ", " +
                     weight + ") -> " + y + " return %y : " + y + " }";
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  mlir::PassManager pm(&context);
  pm.addPass(mlir::qlinear::createQLinearToCPU());
  if (!module || mlir::failed(pm.run(*module)))
    std::exit(1);
  auto jit = qlinear::HostJit::create(*module, isa);
  if (mlir::failed(jit))
    std::exit(1);
  Kernel kernel{std::move(*jit), nullptr, 0};
  module->walk([&](mlir::qlinear::LaunchOp launch) {
    auto variants = llvm::to_vector(launch.getVariantList());
    auto enough = llvm::find_if(
        variants, [&](mlir::qlinear::VariantAttr v) { return v.getRows() >= rows; });
    if (enough == variants.end())
      fail("the kernel takes fewer than " + Twine(rows) + " rows");
    mlir::qlinear::VariantAttr variant = *enough;
    auto code = kernel.jit->lookup(variant.getKernel().getLeafReference().getValue());
    if (!code)
      fail(toString(code.takeError()));
    kernel.code = *code;
    kernel.items = variant.getItems();
  });
  return kernel;
}

} // namespace

int main(int argc, char **argv) {
  cl::ParseCommandLineOptions(
      argc, argv, "Time of compiled CPU linears against the read bandwidth\n");
  if (encodingNames.empty())
    for (const char *name : {"row-u8", "block-u8", "Q4_K", "Q5_K", "Q6_K", "Q8_0"})
      encodingNames.push_back(name);
  if (shapes.empty())
    for (const char *shape : {"21504x5376", "5376x21504"})
      shapes.push_back(shape);
  if (rowCounts.empty())
    for (int rows : {1, 2, 4, 8, 16, 64, 512})
      rowCounts.push_back(rows);
  int cores = int(std::max(1u, std::thread::hardware_concurrency()));
  if (threadCounts.empty()) {
    threadCounts.push_back(1);
    if (cores > 1)
      threadCounts.push_back(cores);
  }
  if (instructionSet.empty())
    for (const qlinear::InstructionSet &set : qlinear::kInstructionSets)
      if (instructionSet.empty() && qlinear::machineRuns(set))
        instructionSet = std::string(set.name);

  mlir::DialectRegistry registry;
  registry.insert<mlir::qlinear::QLinearDialect, mlir::func::FuncDialect>();
  qlinear::registerHostTranslations(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);

  size_t capacity = size_t(megabytes) << 20;
  auto *memory = static_cast<std::byte *>(std::aligned_alloc(2 << 20, capacity));
  if (!memory)
    fail("no memory for --megabytes=" + Twine(megabytes));
  (void)madvise(memory, capacity, MADV_HUGEPAGE); // as qlr_alloc does
  std::memset(memory, 1, capacity);

  outs()
      << "cpu:" << instructionSet << ", best of " << repetitions
      << ", weights rotating through " << megabytes << " MB\n"
      << "| encoding | N x K | bpw | M | threads | read GB/s | weights GB/s | of read "
         "| us | Gop/s |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- "
         "|\n";
  std::atomic<uint64_t> sink{0};
  for (const std::string &name : encodingNames) {
    Choice choice = choiceOf(name);
    for (const std::string &shape : shapes) {
      auto [n, k] = StringRef(shape).split('x');
      uint64_t N = 0, K = 0;
      if (n.getAsInteger(10, N) || k.getAsInteger(10, K))
        fail("--shape=" + shape + " is not NxK");
      auto fits = choice.encoding.verifyShape(N, K);
      if (!fits)
        fail(fits.error());
      qlinear::layout::WeightLayout l = qlinear::layoutOf(choice.encoding, N, K);
      size_t bytes = l.bytes(), copies = capacity / bytes;
      if (!copies)
        fail("one weight of " + Twine(bytes >> 20) +
             " MB does not fit --megabytes=" + Twine(megabytes));
      fillBlob(memory, l);
      for (size_t c = 1; c < copies; ++c)
        std::memcpy(memory + c * bytes, memory, bytes);
      for (int M : rowCounts) {
        Kernel kernel = compile(context, choice, N, K, M, instructionSet);
        size_t row = qlinear::layout::ActivationLayout{K}.bytes();
        std::vector<char> x(row * M), y(N * M * 2);
        for (size_t i = 0; i < x.size(); ++i)
          x[i] = char(i % row < l.K ? int(i * 37 % 255) - 127 : i % 4 == 3 ? 0x3C : 1);
        for (int threads : threadCounts) {
          Team team(threads);
          double read = 1e9, run = 1e9;
          for (int r = 0; r < repetitions; ++r) {
            auto copy = [&](int i) { return memory + size_t(i) % copies * bytes; };
            read = std::min(read, team.run([&](int t) {
              size_t part = bytes / threads / 256 * 256;
              sink += readAll(copy(2 * r) + t * part, part);
            }));
            void *args[] = {copy(2 * r + 1), x.data(), y.data()};
            run = std::min(run, team.run([&](int t) {
              kernel.code(args, M, kernel.items * t / threads,
                          kernel.items * (t + 1) / threads);
            }));
          }
          outs() << "| " << name << " | " << shape << " | "
                 << format("%.3f", l.bitsPerWeight()) << " | " << M << " | " << threads
                 << " | " << format("%.1f", double(bytes) / read / 1e9) << " | "
                 << format("%.1f", double(bytes) / run / 1e9) << " | "
                 << format("%.0f%%", 100 * read / run) << " | "
                 << format("%.0f", run * 1e6) << " | "
                 << format("%.0f", 2e-9 * double(N) * double(K) * M / run) << " |\n";
          outs().flush();
        }
      }
    }
  }
  std::free(memory);
  return 0;
}
