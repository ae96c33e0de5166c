//===- quant-inspect.cpp - What is in a file ------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Inspect.h"

#include "common/LlvmCommandLine.h"

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/WithColor.h"

using namespace llvm;
using namespace qlinear;

namespace {

cl::OptionCategory category("quant-inspect");
cl::opt<std::string> input(cl::Positional, cl::Required,
                           cl::desc("<file: checkpoint, packed archive or artifact>"),
                           cl::cat(category));
cl::opt<std::string> other(cl::Positional,
                           cl::desc("[<file to compare it with: weights, too>]"),
                           cl::cat(category));
cl::opt<std::string> tensor("tensor",
                            cl::desc("Look at the values of one tensor: extremes, "
                                     "mean, histogram"),
                            cl::value_desc("name"), cl::cat(category));
cl::opt<bool> asJson("json", cl::desc("Print JSON"), cl::cat(category));

/// As diff has them: a difference is no failure.
constexpr int kSame = 0, kDiffers = 1, kFailed = 2;

int fail(const Twine &message) {
  WithColor::error(errs(), "quant-inspect") << message << "\n";
  return kFailed;
}

int print(const Result<inspect::Object> &found,
          std::string (*textOf)(const inspect::Object &)) {
  if (!found)
    return fail(found.error());
  std::string text =
      asJson ? formatv("{0:2}\n", json::Value(inspect::Object(*found))).str()
             : textOf(*found);
  auto file = OutputFile::create("-");
  if (!file)
    return fail(file.error());
  if (auto r = file->append(text); !r)
    return fail(r.error());
  if (auto r = file->publish(); !r)
    return fail(r.error());
  return kSame;
}

int run() {
  if (inspect::isArtifact(input)) {
    if (!other.empty() || !tensor.empty())
      return fail("'" + input +
                  "' is an artifact; two files of weights can be "
                  "compared, and --tensor is of one of these");
    return print(inspect::describeArtifact(input), inspect::artifactText);
  }
  auto checkpoint = Checkpoint::open(input);
  if (!checkpoint)
    return fail(checkpoint.error());
  if (other.empty())
    return tensor.empty()
               ? print(inspect::describeWeights(*checkpoint), inspect::weightsText)
               : print(inspect::describeValues(*checkpoint, tensor),
                       inspect::valuesText);
  if (!tensor.empty())
    return fail("--tensor looks at one file");
  auto second = Checkpoint::open(other);
  if (!second)
    return fail(second.error());
  auto comparison = inspect::compare(*checkpoint, *second);
  int status = print(comparison, inspect::comparisonText);
  return status == kSame && !comparison->getArray("differences")->empty() ? kDiffers
                                                                          : status;
}

} // namespace

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  qlinear::setVersionOf("quant-inspect");
  qlinear::showOnly(category);
  cl::ParseCommandLineOptions(
      argc, argv,
      "Shows what is in a checkpoint, a packed archive or an artifact,\n"
      "or what differs between two files of weights.\n\n"
      "  quant-inspect model.so\n"
      "  quant-inspect model.gguf model.packed.safetensors\n\n"
      "Exit status: 0 done, or nothing differs; 1 something differs; 2 failed.\n");
  return run();
}
