//===- HostTest.cpp - Calls on the CPU and the emulated device ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Handles.h"
#include "qlinear-runtime/program.h"
#include "qlinear/Encoding/Checksum.h"

#include <cmath>
#include <csetjmp>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <link.h>
#include <thread>

using nlohmann::json;

extern "C" int qlrTestFromC(void);

namespace {

struct HostCalls : testing::TestWithParam<const char *> {
  TestArtifact test;
};

TEST_P(HostCalls, EveryRowCountMatchesFloat64) {
  Device device(GetParam());
  ASSERT_TRUE(device.status == QLR_OK) << qlr_last_error();
  Module module(device, test.descriptor(), writeTestArchive("w.safetensors"));
  ASSERT_TRUE(module.status == QLR_OK) << qlr_last_error();
  EXPECT_EQ(std::string(qlr_module_target(module)).substr(0, 4),
            std::string(qlr_device_target(device)).substr(0, 4));
  EXPECT_NE(std::string(qlr_artifact_manifest(module.artifact))
                .find(std::string("\"") + qlr_module_target(module) + "\""),
            std::string::npos);
  int32_t f = qlr_function_index(module, "linear");
  Workspace workspace(module, f, 11);
  ASSERT_TRUE(workspace.status == QLR_OK) << qlr_last_error();
  takeChunks();
  for (int64_t rows : {0, 1, 2, 3, 4, 5, 8, 11}) {
    std::vector<float> x = randomInput(rows), y(size_t(rows * kN), NAN);
    qlr_tensor in = matrix(x.data(), rows, kK), out = matrix(y.data(), rows, kN);
    ASSERT_EQ(qlr_call(module, f, workspace, &in, 1, &out, 1, nullptr), QLR_OK)
        << qlr_last_error();
    if (rows)
      EXPECT_LE(relativeError(y, expected(x)), 1e-6) << rows << " rows";
    // The largest variant takes two rows, and the odd one is done by the smallest.
    std::vector<int> chunks(size_t(rows / 2), 2);
    if (rows % 2)
      chunks.push_back(1);
    EXPECT_EQ(takeChunks(), chunks);
  }
}

TEST_P(HostCalls, FixedRows) {
  Device device(GetParam());
  Module module(device, test.descriptor(), writeTestArchive("w.safetensors"));
  ASSERT_TRUE(module.status == QLR_OK) << qlr_last_error();
  int32_t f = qlr_function_index(module, "matvec");
  std::vector<float> x = randomInput(1), y(size_t(kN), NAN);
  qlr_tensor in{x.data(), QLR_F32, 1, {kK}}, out{y.data(), QLR_F32, 1, {kN}};
  // It has no temps, so it needs no workspace.
  ASSERT_EQ(qlr_call(module, f, nullptr, &in, 1, &out, 1, nullptr), QLR_OK)
      << qlr_last_error();
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
}

TEST_P(HostCalls, LeadingDimensionsAreRows) {
  Device device(GetParam());
  Module module(device, test.descriptor(), writeTestArchive("w.safetensors"));
  ASSERT_TRUE(module.status == QLR_OK) << qlr_last_error();
  Workspace workspace(module, 0, 6);
  std::vector<float> x = randomInput(6), y(size_t(6 * kN), NAN);
  qlr_tensor in{x.data(), QLR_F32, 3, {2, 3, kK}},
      out{y.data(), QLR_F32, 4, {3, 1, 2, kN}};
  ASSERT_EQ(qlr_call(module, 0, workspace, &in, 1, &out, 1, nullptr), QLR_OK)
      << qlr_last_error();
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
  in.shape[1] = out.shape[0] = 0; // no rows
  in.data = out.data = nullptr;
  EXPECT_EQ(qlr_call(module, 0, workspace, &in, 1, &out, 1, nullptr), QLR_OK);
}

TEST_P(HostCalls, ManyThreads) {
  Device device(GetParam());
  Module module(device, test.descriptor(), writeTestArchive("w.safetensors"));
  ASSERT_TRUE(module.status == QLR_OK) << qlr_last_error();
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Workspace workspace(module, 0, 3);
      for (unsigned i = 0; i < 8; ++i) {
        std::vector<float> x = randomInput(3, 100 * t + i), y(size_t(3 * kN), NAN);
        qlr_tensor in = matrix(x.data(), 3, kK), out = matrix(y.data(), 3, kN);
        wrong += qlr_call(module, 0, workspace, &in, 1, &out, 1, nullptr) != QLR_OK ||
                 !(relativeError(y, expected(x)) <= 1e-6);
      }
    });
  for (std::thread &t : threads)
    t.join();
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Devices, HostCalls,
                         testing::Values("cpu", "cpu:1", "cpu:3", "cpu:portable:2",
                                         "emulated"));

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

struct CallErrors : testing::Test {
  TestArtifact test;
  Device device{"cpu:1"};
  Module module{device, test.descriptor(), writeTestArchive("w.safetensors")};
  Workspace workspace{module, 0, 2};
  std::vector<float> x = randomInput(2), y = std::vector<float>(2 * kN);
  qlr_tensor in = matrix(x.data(), 2, kK), out = matrix(y.data(), 2, kN);

  std::string call(qlr_status status, int32_t inputs = 1, int32_t function = 0) {
    EXPECT_EQ(qlr_call(module, function, workspace, &in, inputs, &out, 1, nullptr),
              status);
    return qlr_last_error();
  }
};

TEST_F(CallErrors, NameTheArgument) {
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT, 2), "'linear' has 1 inputs, not 2");
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT, -1), "'linear' has 1 inputs, not -1");
  EXPECT_EQ(call(QLR_NOT_FOUND, 1, 7), "there is no function 7; the module has 2 for " +
                                           std::string(qlr_device_target(device)));
  in.dtype = QLR_BF16;
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT),
            "input 0 of 'linear' is bf16, but it was compiled for f32");
  in.dtype = qlr_dtype(99);
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT),
            "input 0 of 'linear' is unknown, but it was compiled for f32");
  in.dtype = QLR_F32;
  in.shape[1] = 32;
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT), "input 0 of 'linear' has the shape [2, 32], "
                                        "but it was compiled for [M, 64]");
  in.shape[1] = 64;
  auto setShape = [](qlr_tensor &t, std::initializer_list<int64_t> shape) {
    t.rank = int32_t(shape.size());
    std::copy(shape.begin(), shape.end(), t.shape);
  };
  setShape(in, {1, 2, 63});
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT), "input 0 of 'linear' has the shape [1, 2, 63], "
                                        "but it was compiled for [M, 64]");
  setShape(in, {2, 2, 64});
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT),
            "output 0 of 'linear' has 2 rows, but input 0 has 4; all tensors of a "
            "call share M");
  setShape(in, {-3, -2, 64});
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT),
            "input 0 of 'linear' has the shape [-3, -2, 64], "
            "but it was compiled for [M, 64]");
  for (int64_t many : {int64_t(1) << 40, int64_t(1) << 20}) {
    setShape(in, {many, many, 1, 64});
    EXPECT_NE(call(QLR_INVALID_ARGUMENT).find("but it was compiled for [M, 64]"),
              std::string::npos);
  }
  setShape(in, {64});
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT), "input 0 of 'linear' has the shape [64], "
                                        "but it was compiled for [M, 64]");
  setShape(in, {2, 64});
  in.rank = 77;
  EXPECT_NE(call(QLR_INVALID_ARGUMENT).find("rank > 4"), std::string::npos);
  in.rank = 2;
  out.shape[0] = 1;
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT),
            "output 0 of 'linear' has 1 rows, but input 0 has 2; all tensors of a "
            "call share M");
  out.shape[0] = 2;
  in.data = nullptr;
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT), "input 0 of 'linear' has no data");
  in.data = x.data() + 1;
  EXPECT_NE(call(QLR_INVALID_ARGUMENT).find("not at a multiple of 16 bytes"),
            std::string::npos);
  in.data = x.data();
  in.shape[0] = out.shape[0] = 3;
  EXPECT_EQ(call(QLR_INVALID_ARGUMENT),
            "a call of 'linear' with M = 3 rows, but its workspace is for 2; create "
            "a larger one");
  in.shape[0] = out.shape[0] = 2;
  EXPECT_EQ(qlr_call(module, 0, nullptr, &in, 1, &out, 1, nullptr),
            QLR_INVALID_ARGUMENT);
  EXPECT_STREQ(qlr_last_error(),
               "'linear' needs a workspace; create one with qlr_workspace_create");
  EXPECT_EQ(qlr_call(nullptr, 0, nullptr, &in, 1, &out, 1, nullptr),
            QLR_INVALID_ARGUMENT);
  call(QLR_OK); // none of it did harm
}

TEST_F(CallErrors, ForeignWorkspace) {
  Module other(device, test.descriptor(), writeTestArchive("w.safetensors"));
  EXPECT_EQ(qlr_call(other, 0, workspace, &in, 1, &out, 1, nullptr),
            QLR_INVALID_ARGUMENT);
}

TEST_F(CallErrors, UnboundAndRebound) {
  Module bare(device, test.descriptor(), "");
  ASSERT_TRUE(bare.status == QLR_OK) << qlr_last_error();
  Workspace ws(bare, 0, 2);
  EXPECT_EQ(qlr_call(bare, 0, ws, &in, 1, &out, 1, nullptr), QLR_BAD_WEIGHTS);
  EXPECT_EQ(std::string(qlr_last_error()),
            "weight 'w' of 'linear' is not bound; load the module with an archive or "
            "call qlr_module_set_weight");
  const TestWeight &w = testWeight();
  EXPECT_EQ(qlr_module_set_weight(bare, "v", w.blob, w.size), QLR_NOT_FOUND);
  EXPECT_EQ(qlr_module_set_weight(bare, "w", w.blob, w.size - 1), QLR_BAD_WEIGHTS);
  EXPECT_EQ(qlr_module_set_weight(bare, "w", nullptr, w.size), QLR_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(qlr_last_error()), "weight 'w': the blob is NULL");
  EXPECT_EQ(qlr_module_set_weight(bare, "w", w.blob, w.size), QLR_OK);
  EXPECT_EQ(qlr_call(bare, 0, ws, &in, 1, &out, 1, nullptr), QLR_OK);
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
}

TEST_F(CallErrors, WeightsOfTheCall) {
  Module bare(device, test.descriptor(), "");
  ASSERT_TRUE(bare.status == QLR_OK) << qlr_last_error();
  Workspace ws(bare, 0, 2);
  const TestWeight &w = testWeight();
  auto run = [&](qlr_module *on, qlr_workspace *space, qlr_blob blob,
                 int32_t count = 1) {
    std::fill(y.begin(), y.end(), NAN);
    return qlr_call_with_weights(on, 0, space, &in, 1, &out, 1, &blob, count, nullptr);
  };
  EXPECT_EQ(run(bare, ws, {w.blob, w.size}), QLR_OK) << qlr_last_error();
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
  // It was this call's only.
  EXPECT_EQ(run(bare, ws, {nullptr, 0}), QLR_BAD_WEIGHTS);
  EXPECT_EQ(qlr_call(bare, 0, ws, &in, 1, &out, 1, nullptr), QLR_BAD_WEIGHTS);
  // It goes before the one that is bound; without it that one is used. (The test's
  // kernel makes NaN of any other blob than its own.)
  std::vector<char> memory(w.size + 64);
  char *zeros = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  std::fill(y.begin(), y.end(), 0.0F);
  qlr_blob other{zeros, w.size};
  EXPECT_EQ(
      qlr_call_with_weights(module, 0, workspace, &in, 1, &out, 1, &other, 1, nullptr),
      QLR_OK);
  for (float v : y)
    EXPECT_TRUE(std::isnan(v));
  EXPECT_EQ(run(module, workspace, {nullptr, 0}), QLR_OK) << qlr_last_error();
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);

  EXPECT_EQ(run(bare, ws, {w.blob, w.size - 1}), QLR_BAD_WEIGHTS);
  EXPECT_EQ(run(bare, ws, {w.blob, w.size}, 2), QLR_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(qlr_last_error()),
            "a call of 'linear' with 2 weights, but the artifact has 1; give all of "
            "them, with data = NULL for those that are bound");
  EXPECT_EQ(run(bare, ws, {w.blob, w.size}, -1), QLR_INVALID_ARGUMENT);
}

TEST_F(CallErrors, WorkspaceOfTheCaller) {
  size_t bytes = 0, more = 0;
  ASSERT_EQ(qlr_workspace_bytes(module, 0, 2, &bytes), QLR_OK);
  ASSERT_EQ(qlr_workspace_bytes(module, 0, 200, &more), QLR_OK);
  EXPECT_GT(more, bytes);
  std::vector<char> memory(bytes + 256, char(0xCD));
  char *base = memory.data() + (256 - reinterpret_cast<uintptr_t>(memory.data()) % 256);
  auto create = [&](int64_t rows, void *at, size_t size, qlr_workspace **ws) {
    return qlr_workspace_create_in(module, 0, rows, at, size, nullptr, ws);
  };
  qlr_workspace *ws = nullptr;
  EXPECT_EQ(create(2, base, bytes - 1, &ws), QLR_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(qlr_last_error()),
            "a workspace of 'linear' for 2 rows needs " + std::to_string(bytes) +
                " bytes, but the memory has " + std::to_string(bytes - 1) +
                "; ask qlr_workspace_bytes for the size");
  EXPECT_EQ(create(2, nullptr, bytes, &ws), QLR_INVALID_ARGUMENT);
  EXPECT_EQ(create(2, base + 128, bytes, &ws), QLR_INVALID_ARGUMENT);
  EXPECT_EQ(create(-1, base, bytes, &ws), QLR_INVALID_ARGUMENT);
  ASSERT_EQ(create(2, base, bytes, &ws), QLR_OK) << qlr_last_error();
  ASSERT_EQ(qlr_call(module, 0, ws, &in, 1, &out, 1, nullptr), QLR_OK);
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
  qlr_workspace_destroy(ws);
}

TEST(Devices, Errors) {
  for (const char *name : {"", "gpu", "cpu:", "cpu:0", "cpu:x", "cpu:4x", "cpu:9999999",
                           "cpu:avx9", "cuda:", "cuda:-1", "cuda:x", "cpu:portable:"}) {
    qlr_device *device = nullptr;
    EXPECT_EQ(qlr_device_open(name, &device), QLR_INVALID_ARGUMENT) << name;
    EXPECT_NE(std::string(qlr_last_error()).find(name), std::string::npos);
    EXPECT_EQ(device, nullptr);
  }
  EXPECT_EQ(qlr_device_open("cpu", nullptr), QLR_INVALID_ARGUMENT);
  Device cpu("cpu");
  void *memory = nullptr;
  EXPECT_EQ(qlr_alloc(cpu, SIZE_MAX / 2, &memory), QLR_OUT_OF_MEMORY);
  EXPECT_EQ(memory, nullptr);
  ASSERT_EQ(qlr_alloc(cpu, 0, &memory), QLR_OK);
  qlr_free(cpu, memory);
}

TEST(Workspaces, Errors) {
  TestArtifact test;
  Device device("cpu");
  Module module(device, test.descriptor(), "");
  qlr_workspace *ws = nullptr;
  EXPECT_EQ(qlr_workspace_create(module, 0, -1, &ws), QLR_INVALID_ARGUMENT);
  EXPECT_EQ(qlr_workspace_create(module, 0, int64_t(1) << 40, &ws),
            QLR_INVALID_ARGUMENT);
  EXPECT_EQ(qlr_workspace_create(module, 9, 1, &ws), QLR_NOT_FOUND);
  EXPECT_EQ(qlr_workspace_create(module, 1, 0, &ws), QLR_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(qlr_last_error()),
            "a workspace of 'matvec' for 0 rows; it always runs on 1");
}

//===----------------------------------------------------------------------===//
// Archives that do not match
//===----------------------------------------------------------------------===//

std::string loadError(const std::string &archive, qlr_status status) {
  TestArtifact test;
  Device device("cpu:1");
  Module module(device, test.descriptor(), archive);
  EXPECT_EQ(module.status, status);
  EXPECT_EQ((qlr_module *)module, nullptr);
  return qlr_last_error();
}

TEST(Archives, Mismatches) {
  std::string path = writeTestArchive("other.safetensors", "v");
  EXPECT_EQ(loadError(path, QLR_BAD_WEIGHTS),
            "the artifact needs the weight 'w', which '" + path +
                "' does not have; pass the archive that it was compiled for, or pack "
                "that tensor with quant-pack");
  path = writeTestArchive("shape.safetensors", "w", kEncoding, kN, 2 * kK);
  EXPECT_EQ(loadError(path, QLR_BAD_WEIGHTS),
            "weight 'w' of '" + path +
                "' is 48x128, but the artifact was compiled for "
                "48x64; compile it for this archive");
  std::string encoding = "u4, group = 32, zero, scale = bf16, offset = bf16";
  path = writeTestArchive("encoding.safetensors", "w", encoding);
  EXPECT_EQ(loadError(path, QLR_BAD_WEIGHTS),
            "weight 'w' of '" + path + "' has the encoding <" + encoding +
                ">, but the artifact was compiled for <" + kEncoding +
                ">; compile it for this archive, or pack the weight with that "
                "encoding");
  loadError(temporary("missing.safetensors"), QLR_BAD_WEIGHTS);
  std::ofstream(temporary("short.safetensors")) << "short";
  loadError(temporary("short.safetensors"), QLR_BAD_WEIGHTS);
}

/// What loading with a check says, "" if it succeeds.
std::string checkError(TestArtifact &test, const std::string &archive) {
  Device device("cpu");
  qlr_artifact *artifact = nullptr;
  EXPECT_EQ(qlr_artifact_from_descriptor(test.descriptor(), &artifact), QLR_OK);
  qlr_module *module = nullptr;
  qlr_status status =
      qlr_module_load_checked(device, artifact, archive.c_str(), &module);
  EXPECT_TRUE(status == QLR_OK || status == QLR_BAD_WEIGHTS) << status;
  EXPECT_EQ(status == QLR_OK, module != nullptr);
  qlr_module_unload(module);
  qlr_artifact_close(artifact);
  return status == QLR_OK ? "" : qlr_last_error();
}

TEST(Archives, Checks) {
  std::string sum = qlinear::checksum(
      {reinterpret_cast<const std::byte *>(testWeight().blob), testWeight().size});
  std::string wrong = sum;
  wrong[3] = wrong[3] == '0' ? '1' : '0';
  auto archive = [](const char *name, const std::string &sum) {
    return writeTestArchive(name, "w", kEncoding, kN, kK, sum);
  };
  std::string good = archive("good", sum), damaged = archive("damaged", wrong),
              old = archive("old", "");
  TestArtifact test;
  EXPECT_EQ(checkError(test, good), "");
  EXPECT_EQ(checkError(test, damaged),
            "'" + damaged + "': weight 'w' is damaged: its " +
                std::to_string(testWeight().size) + " bytes have the checksum " + sum +
                ", and the archive says " + wrong +
                "; fetch or pack the archive again");
  EXPECT_EQ(checkError(test, old), "'" + old +
                                       "': weight 'w' has no checksum; pack it again "
                                       "with quant-pack, which adds it");
  // Nobody asked: it loads, and the environment asks.
  Device device("cpu");
  for (const std::string &path : {good, damaged, old})
    EXPECT_EQ(Module(device, test.descriptor(), path).status, QLR_OK);
  setenv("QLINEAR_CHECK_WEIGHTS", "1", 1);
  EXPECT_EQ(Module(device, test.descriptor(), good).status, QLR_OK);
  EXPECT_EQ(Module(device, test.descriptor(), damaged).status, QLR_BAD_WEIGHTS);
  setenv("QLINEAR_CHECK_WEIGHTS", "0", 1);
  EXPECT_EQ(Module(device, test.descriptor(), damaged).status, QLR_OK);
  unsetenv("QLINEAR_CHECK_WEIGHTS");
  // Compiled for these weights, and for others of the same shape.
  test.manifest["weights"][0]["xxh3"] = sum;
  EXPECT_EQ(checkError(test, good), "");
  test.manifest["weights"][0]["xxh3"] = wrong;
  EXPECT_EQ(checkError(test, good),
            "weight 'w' of '" + good +
                "' is another than the artifact was compiled for: its checksum is " +
                sum + ", not " + wrong +
                "; pass that archive, or compile again with --params of this one");
  EXPECT_EQ(Module(device, test.descriptor(), good).status, QLR_OK);
}

//===----------------------------------------------------------------------===//
// Artifacts
//===----------------------------------------------------------------------===//

TEST(Artifacts, CutShort) {
  std::ifstream in(runtimePath(), std::ios::binary);
  std::string whole{std::istreambuf_iterator<char>(in), {}};
  ElfW(Ehdr) header;
  std::memcpy(&header, whole.data(), sizeof header);
  size_t loaded = 0; // what follows is for linkers and debuggers
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    std::memcpy(&segment, whole.data() + header.e_phoff + i * sizeof segment,
                sizeof segment);
    loaded = std::max<size_t>(loaded, segment.p_offset + segment.p_filesz);
  }
  std::string path = temporary("cut.so");
  for (size_t part = 1; part <= 64; ++part) {
    size_t size = loaded * part / 64 - 1;
    std::ofstream(path, std::ios::binary) << std::string_view(whole).substr(0, size);
    qlr_artifact *artifact = nullptr;
    EXPECT_EQ(qlr_artifact_open(path.c_str(), &artifact), QLR_BAD_ARTIFACT) << size;
    EXPECT_NE(
        std::string(qlr_last_error())
            .find("is cut short: it has " + std::to_string(size) + " bytes, and "),
        std::string::npos)
        << qlr_last_error();
  }
}

TEST(Artifacts, DeepManifest) {
  TestArtifact test;
  qlinear_artifact_v1 *d = test.descriptor();
  for (const char *open : {"[", "{\"a\":"}) {
    std::string deep;
    for (int i = 0; i < 1000000; ++i)
      deep += open;
    d->manifest = deep.data();
    d->manifest_size = deep.size();
    qlr_artifact *artifact = nullptr;
    EXPECT_EQ(qlr_artifact_from_descriptor(d, &artifact), QLR_BAD_ARTIFACT);
    EXPECT_NE(std::string(qlr_last_error()).find("nests more than 64 deep at offset"),
              std::string::npos);
  }
}

TEST(Artifacts, Errors) {
  qlr_artifact *artifact = nullptr;
  EXPECT_EQ(qlr_artifact_open(temporary("none.so").c_str(), &artifact), QLR_NOT_FOUND);
  std::ofstream(temporary("text.so")) << "not a library";
  EXPECT_EQ(qlr_artifact_open(temporary("text.so").c_str(), &artifact),
            QLR_BAD_ARTIFACT);
  // A library that is no artifact: the runtime itself.
  EXPECT_EQ(qlr_artifact_open(runtimePath().c_str(), &artifact), QLR_BAD_ARTIFACT);
  EXPECT_NE(std::string(qlr_last_error()).find("no symbol qlinear_artifact"),
            std::string::npos);
  TestArtifact test;
  qlinear_artifact_v1 *d = test.descriptor();
  d->magic ^= 1;
  EXPECT_EQ(qlr_artifact_from_descriptor(d, &artifact), QLR_BAD_ARTIFACT);
  d = test.descriptor();
  d->manifest = nullptr;
  EXPECT_EQ(qlr_artifact_from_descriptor(d, &artifact), QLR_BAD_ARTIFACT);
  d = test.descriptor();
  d->images = nullptr;
  EXPECT_EQ(qlr_artifact_from_descriptor(d, &artifact), QLR_BAD_ARTIFACT);
  EXPECT_EQ(qlr_artifact_from_descriptor(nullptr, &artifact), QLR_INVALID_ARGUMENT);
  EXPECT_EQ(artifact, nullptr);
}

TEST(Artifacts, MissingKernelAndTarget) {
  TestArtifact test;
  test.removeImage("cpu:portable/linear_2");
  Device cpu("cpu"), emulated("emulated");
  Module missing(cpu, test.descriptor(), "");
  EXPECT_EQ(missing.status, QLR_BAD_ARTIFACT);
  EXPECT_STREQ(qlr_last_error(), "the artifact has no image \"cpu:portable/linear_2\", "
                                 "a kernel of function \"linear\"");
  test.manifest["targets"].erase(1);
  Module none(emulated, test.descriptor(), "");
  EXPECT_EQ(none.status, QLR_NO_DEVICE);
  EXPECT_STREQ(qlr_last_error(),
               "the artifact has code for cpu:portable, cuda:sm_90, not for the "
               "emulated device; compile it with --target=cuda:emulated");
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

/// What a hook was told.
struct Failures {
  std::vector<std::pair<qlr_status, std::string>> list;
  std::jmp_buf *back = nullptr;
};
void record(qlr_status status, const char *message, void *user) {
  auto *failures = static_cast<Failures *>(user);
  failures->list.push_back({status, message});
  if (failures->back)
    std::longjmp(*failures->back, 1);
}

struct FailHook : testing::Test {
  TestArtifact test;
  Failures failures;
  qlr_program *program = nullptr;
  std::vector<float> x = randomInput(2), y = std::vector<float>(2 * kN, 7);
  qlr_tensor in = matrix(x.data(), 2, kK), out = matrix(y.data(), 2, kN);

  /// What qlinear-to-runtime makes of a launch.
  void launch(int32_t function = 0) {
    qlr_status status =
        qlr_program_launch(&program, test.descriptor(), function, &in, 1, &out, 1);
    if (status != QLR_OK)
      qlr_program_fail(status);
  }
  ~FailHook() override {
    qlr_program_set_fail_hook(nullptr, nullptr);
    qlr_program_close(&program);
  }
};

TEST_F(FailHook, ReturnsToTheFunctionThatLaunched) {
  qlr_program_set_fail_hook(record, &failures);
  launch(); // the archive is not named
  ASSERT_EQ(failures.list.size(), 1u);
  EXPECT_EQ(failures.list[0].first, QLR_NOT_FOUND);
  EXPECT_EQ(failures.list[0].second.substr(0, 58),
            "weight 'w' is in an archive, and none is named; set the en");
  EXPECT_EQ(y, std::vector<float>(2 * kN, 7)); // as it was
  std::string archive = writeTestArchive("hook.safetensors");
  ASSERT_EQ(qlr_program_open(&program, test.descriptor(), "cpu", archive.c_str()),
            QLR_OK);
  launch(9);
  ASSERT_EQ(failures.list.size(), 2u);
  EXPECT_EQ(failures.list[1], std::pair(QLR_NOT_FOUND, std::string(qlr_last_error())));
  EXPECT_EQ(failures.list[1].second, "there is no function 9; the program has 2");
  launch(); // the program goes on
  EXPECT_EQ(failures.list.size(), 2u);
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
}

TEST_F(FailHook, JumpsOut) {
  std::jmp_buf back;
  failures.back = &back;
  qlr_program_set_fail_hook(record, &failures);
  volatile bool cameBack = false;
  if (setjmp(back) == 0)
    launch();
  else
    cameBack = true;
  EXPECT_TRUE(cameBack);
  EXPECT_EQ(failures.list.size(), 1u);
  // No lock is left behind.
  std::string archive = writeTestArchive("hook.safetensors");
  ASSERT_EQ(qlr_program_open(&program, test.descriptor(), "cpu", archive.c_str()),
            QLR_OK);
  launch();
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
}

TEST_F(FailHook, EndsTheProcessWithoutOne) {
  GTEST_FLAG_SET(death_test_style, "threadsafe"); // the CPU's threads are there
  auto die = [&] { launch(); };
  EXPECT_EXIT(die(), testing::ExitedWithCode(1),
              "^qlinear: weight 'w' is in an archive, and none is named");
  qlr_program_set_fail_hook(record, &failures);
  qlr_program_set_fail_hook(nullptr, nullptr); // as at first
  EXPECT_EXIT(die(), testing::ExitedWithCode(1), "^qlinear: weight 'w'");
  EXPECT_TRUE(failures.list.empty());
  qlr_program_set_fail_hook(
      [](qlr_status status, const char *, void *) { _exit(40 + status); }, nullptr);
  EXPECT_EXIT(die(), testing::ExitedWithCode(40 + QLR_NOT_FOUND), "^$");
}

TEST(CAbi, Checksum) {
  // Of the implementation's own test vectors: nothing at all, seed 0.
  char text[17];
  EXPECT_EQ(qlr_checksum("", 0, text), QLR_OK);
  EXPECT_STREQ(text, "2d06800538d394c2");
  EXPECT_EQ(qlr_checksum(testWeight().blob, testWeight().size, text), QLR_OK);
  EXPECT_EQ(text,
            qlinear::checksum({reinterpret_cast<const std::byte *>(testWeight().blob),
                               testWeight().size}));
  EXPECT_EQ(qlr_checksum(nullptr, 0, text), QLR_INVALID_ARGUMENT);
  EXPECT_EQ(qlr_checksum("", 0, nullptr), QLR_INVALID_ARGUMENT);
}

TEST(CAbi, FromC) { EXPECT_EQ(qlrTestFromC(), 0) << qlr_last_error(); }

} // namespace
