//===- ManifestTest.cpp - Malformed manifests -----------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each case breaks one field of a good manifest; the error names it.
//
//===----------------------------------------------------------------------===//

#include "Handles.h"
#include "qlinear/Support/Chips.h"

#include <gtest/gtest.h>

using nlohmann::json;
using qlinear::ChipName;

namespace {

qlr_status open(const std::string &manifest) {
  qlinear_artifact_v1 d{QLINEAR_ARTIFACT_MAGIC, manifest.data(), manifest.size(),
                        nullptr, 0};
  qlr_artifact *artifact = nullptr;
  qlr_status status = qlr_artifact_from_descriptor(&d, &artifact);
  EXPECT_EQ(status == QLR_OK, artifact != nullptr);
  qlr_artifact_close(artifact);
  return status;
}

struct Case {
  const char *pointer; ///< JSON pointer; "-" before it: the field is removed
  json value;
  const char *message;
};

const Case kCases[] = {
    {"/version", 2, "version is 2, but this runtime reads version 1"},
    {"/layout", 1, "layout is 1, but this runtime reads version 2 of the layout of packed weights"},
    {"/version", "1", "version is \"1\", not an integer"},
    {"-/version", {}, "the manifest has no \"version\""},
    {"/producer", 7, "producer is not a string"},
    {"/weights", json::object(), "weights is not an array"},
    {"/weights/0", 3, "weights[0] is not a JSON object"},
    {"-/weights/0/name", {}, "weights[0] has no \"name\""},
    {"/weights/0/name", "", "weights[0].name is empty"},
    {"/weights/0/name", std::string("a\0b", 3), "weights[0].name has a zero byte"},
    {"/weights/0/encoding", 4, "weights[0].encoding is not a string"},
    {"/weights/0/n", 0, "weights[0].n is 0, not an integer from 1 to"},
    {"/weights/0/k", -64, "weights[0].k is -64, not an integer"},
    {"/weights/0/k", 1.5, "weights[0].k is 1.5, not an integer"},
    {"/weights/0/bytes", UINT64_MAX, "weights[0].bytes is 18446744073709551615, not"},
    {"/weights/0/xxh3", 7, "weights[0].xxh3 is not a string"},
    {"/weights/0/xxh3", "0123456789ABCDEF", "weights[0].xxh3 is no checksum"},
    {"/weights/0/xxh3", "", "weights[0].xxh3 is no checksum"},
    {"/weights/1", testManifest()["weights"][0], "two weights named \"w\""},
    {"-/targets", {}, "the manifest has no \"targets\""},
    {"/targets/0/target", "cuda:sm_", "targets[0].target is \"cuda:sm_\", not"},
    {"/targets/0/target", "cuda:sm_90x", "targets[0].target is \"cuda:sm_90x\", not"},
    {"/targets/0/target", "rocm:gfx942", "is \"rocm:gfx942\", not cuda:sm_NN"},
    {"-/targets/2/images", {}, "targets[2] has no \"images\""},
    {"/targets/2/images", json::array(), "targets[2].images is empty"},
    {"/targets/2/images/0/kind", "elf", "targets[2].images[0].kind is \"elf\", not"},
    {"-/targets/2/images/1/version", {}, "targets[2].images[1] has no \"version\""},
    {"-/targets/0/functions/0/name", {}, "targets[0].functions[0] has no \"name\""},
    {"/targets/0/functions/1/name", "linear",
     "targets[0] has two functions named \"linear\""},
    {"/targets/0/functions/0/inputs/0/dtype", "f64",
     "functions[0].inputs[0].dtype is \"f64\", not one of f32, f16, bf16, i8, i32"},
    {"/targets/0/functions/0/inputs/0/shape", json::array(),
     "functions[0].inputs[0].shape has no dimensions"},
    {"/targets/0/functions/0/inputs/0/shape",
     {-1, 2, 2, 2, 2},
     "functions[0].inputs[0].shape has 5 entries, more than 4"},
    {"/targets/0/functions/0/inputs/0/shape/1", -1,
     "shape[1] is -1; a dimension is positive, and only the first one may be -1"},
    {"/targets/0/functions/0/inputs/0/shape/1", 0, "shape[1] is 0; a dimension is"},
    {"/targets/0/functions/0/inputs/0/shape/0", -3, "shape[0] is -3, not an integer"},
    {"/targets/0/functions/0/inputs/0/shape/1", -2, "shape[1] is -2; a dimension is"},
    {"/targets/0/functions/0/outputs/0/shape/0", -2,
     "outputs[0].shape[0] is -2; a cache is an input"},
    {"/targets/0/functions/0/inputs/0/shape",
     {-1, 1 << 30, 1 << 30},
     "has more than 2^48 elements"},
    {"/targets/0/functions/0/inputs/0/align", 24, "align is 24, not a power of two"},
    {"/targets/0/functions/0/temps/0/bytes_per_row", -1,
     "temps[0].bytes_per_row is -1, not an integer"},
    {"/targets/0/functions/0/temps/1/zero", 1, "zero is neither true nor false"},
    {"/targets/0/functions/0/rows", 4, "has \"rows\" besides a dimension of -1"},
    {"-/targets/0/functions/1/rows",
     {},
     "functions[1] has neither a dimension of -1 nor \"rows\""},
    {"/targets/0/functions/1/rows", 0, "functions[1].rows is 0, not an integer"},
    {"-/targets/0/functions/0/steps", {}, "functions[0] has no \"steps\""},
    {"/targets/0/functions/0/steps/1/kernels", json::array(),
     "steps[1].kernels is empty"},
    {"/targets/0/functions/0/steps/1/kernels/1/rows", 1,
     "kernels[1].rows is 1 after 1; variants come by ascending rows"},
    {"/targets/0/functions/0/steps/1/kernels/0/rows", 0, "kernels[0].rows is 0, not"},
    {"-/targets/0/functions/0/steps/1/kernels/0/items",
     {},
     "kernels[0] has no \"items\""},
    {"-/targets/2/functions/0/steps/1/kernels/0/grid",
     {},
     "targets[2].functions[0].steps[1].kernels[0] has no \"grid\""},
    {"/targets/2/functions/0/steps/1/kernels/0/block", 2048,
     "block is 2048, not an integer from 1 to 1024"},
    {"/targets/2/functions/0/steps/1/kernels/0/smem", -1, "smem is -1, not an integer"},
    {"/targets/0/functions/0/steps/1/args/0", json::object(),
     "steps[1].args[0] has 0 of \"weight\", \"constant\", \"input\", \"output\", "
     "\"temp\""},
    {"/targets/0/functions/0/steps/1/args/0/temp", 0,
     "steps[1].args[0] has 2 of \"weight\""},
    {"/targets/0/functions/0/steps/1/args/0",
     {{"places", 0}},
     "steps[1].args[0].places is 0, an input that is no cache"},
    {"/targets/0/functions/0/steps/1/args/0/weight", 1,
     "steps[1].args[0].weight is 1, but there are 1 weights"},
    {"/targets/0/functions/0/steps/1/args/1/temp", 2,
     "steps[1].args[1].temp is 2, but there are 2 temps"},
    {"/targets/0/functions/0/steps/0/args/0/input", 1,
     "steps[0].args[0].input is 1, but there are 1 inputs"},
    {"/targets/0/functions/0/steps/1/args/3/output", -1,
     "steps[1].args[3].output is -1, not an integer"},
    {"/targets/0/functions/0/steps/1/args/3/row_stride", 0,
     "steps[1].args[3].row_stride is 0, but a row of this tensor has 192 bytes"},
    {"/targets/0/functions/0/steps/1/pdl", "yes", "pdl is neither true nor false"},
};

TEST(Manifest, GoodOneOpens) {
  EXPECT_EQ(open(testManifest().dump()), QLR_OK) << qlr_last_error();
}

TEST(Manifest, EveryBadFieldIsNamed) {
  for (const Case &c : kCases) {
    json manifest = testManifest();
    std::string pointer = c.pointer;
    if (pointer[0] == '-') {
      json::json_pointer at(pointer.substr(1));
      manifest[at.parent_pointer()].erase(at.back());
    } else {
      manifest[json::json_pointer(pointer)] = c.value;
    }
    EXPECT_EQ(open(manifest.dump()), QLR_BAD_ARTIFACT) << pointer;
    std::string message = qlr_last_error();
    EXPECT_NE(message.find(c.message), std::string::npos) << pointer << ": " << message;
  }
}

TEST(Manifest, NotJson) {
  std::string good = testManifest().dump();
  for (const std::string &text :
       {std::string(), good.substr(0, good.size() / 2), std::string("[]"),
        std::string(100000, '['), good + "x", std::string("{\"version\": \xff}")})
    EXPECT_EQ(open(text), QLR_BAD_ARTIFACT);
}

// By the compatibility rules of the CUDA programming guide, written out.
TEST(Chips, CodeRunsOn) {
  struct Case {
    const char *chip;
    std::vector<int> cubin, ptx; ///< devices, of those below
  };
  const int devices[] = {75, 80, 86, 89, 90, 100, 103, 110, 120, 121, 130};
  const Case cases[] = {
      {"sm_75", {75}, {75, 80, 86, 89, 90, 100, 103, 110, 120, 121, 130}},
      {"sm_80", {80, 86, 89}, {80, 86, 89, 90, 100, 103, 110, 120, 121, 130}},
      {"sm_86", {86, 89}, {86, 89, 90, 100, 103, 110, 120, 121, 130}},
      {"sm_90", {90}, {90, 100, 103, 110, 120, 121, 130}},
      {"sm_90a", {90}, {90}},
      {"sm_100", {100, 103}, {100, 103, 110, 120, 121, 130}},
      {"sm_100a", {100}, {100}},
      {"sm_100f", {100, 103}, {100, 103}},
      {"sm_103f", {103}, {103}},
      {"sm_120f", {120, 121}, {120, 121}},
      {"sm_130", {130}, {130}},
  };
  for (const Case &c : cases) {
    std::optional<ChipName> name = ChipName::parse(c.chip);
    ASSERT_TRUE(name) << c.chip;
    std::vector<int> cubin, ptx;
    for (int device : devices) {
      if (name->runsOn(device, /*isMachineCode=*/true))
        cubin.push_back(device);
      if (name->runsOn(device, /*isMachineCode=*/false))
        ptx.push_back(device);
    }
    EXPECT_EQ(cubin, c.cubin) << c.chip;
    EXPECT_EQ(ptx, c.ptx) << c.chip;
  }
  for (const char *text : {"", "sm_", "sm_9", "sm_90x", "sm_90aa", "sm_1000", "90"})
    EXPECT_FALSE(ChipName::parse(text)) << text;
  // Not in the table: no such chip, and variants that it does not have.
  for (const char *text : {"sm_70", "sm_130", "sm_80a", "sm_90f"})
    EXPECT_FALSE(ChipName::parse(text)->chip()) << text;
  EXPECT_EQ(ChipName::parse("sm_103f")->chip()->number, 103);
}

} // namespace
