//===- DlpackTest.cpp - Calls with tensors of DLPack ----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What numpy and PyTorch make goes through the same entry in
// python/tests/test_dlpack.py.
//
//===----------------------------------------------------------------------===//

#include "CudaTest.h"

#include <cmath>
#include <cstring>

namespace {

/// A tensor of DLPack with its shape and strides.
struct Dl {
  std::vector<int64_t> shape, strides;
  qlr_dltensor t{};
  Dl(void *data, std::vector<int64_t> sizes) : shape(std::move(sizes)) {
    t.data = data;
    t.device_type = 1;
    t.ndim = int32_t(shape.size());
    t.type_code = 2;
    t.type_bits = 32;
    t.type_lanes = 1;
    t.shape = shape.data();
  }
  Dl(const Dl &) = delete;
  void setStrides(std::vector<int64_t> steps) {
    strides = std::move(steps);
    t.strides = strides.data();
  }
};

struct DlpackCalls : testing::TestWithParam<const char *> {
  TestArtifact test;
  Device device{GetParam()};
  Module module{device, test.descriptor(), writeTestArchive("w.safetensors")};
  Workspace workspace{module, 0, 6};
  std::vector<float> x = randomInput(6), y = std::vector<float>(size_t(6 * kN), NAN);
  qlr_status call(const Dl &in, const Dl &out) {
    std::fill(y.begin(), y.end(), NAN);
    const qlr_dltensor *inputs[] = {&in.t}, *outputs[] = {&out.t};
    return qlr_call_dlpack(module, 0, workspace, inputs, 1, outputs, 1, nullptr, 0,
                           nullptr);
  }
  void expectFailure(const Dl &in, const Dl &out, const std::string &message) {
    EXPECT_EQ(call(in, out), QLR_INVALID_ARGUMENT);
    EXPECT_EQ(qlr_last_error(), message);
    for (float v : y)
      EXPECT_TRUE(std::isnan(v)); // nothing ran
  }
};

TEST_P(DlpackCalls, MatchFloat64) {
  Dl in(x.data(), {6, kK}), out(y.data(), {6, kN});
  ASSERT_EQ(call(in, out), QLR_OK) << qlr_last_error();
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
  // Leading dimensions are rows; a dimension of one may have any stride.
  Dl in3(x.data(), {1, 6, kK}), out4(y.data(), {2, 1, 3, kN});
  in3.setStrides({-7, kK, 1});
  out4.setStrides({3 * kN, 0, kN, 1});
  ASSERT_EQ(call(in3, out4), QLR_OK) << qlr_last_error();
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
  // Pinned memory is host memory. The data may begin later than the pointer says.
  Dl late(x.data(), {4, kK}), out2(y.data(), {4, kN});
  late.t.byte_offset = 2 * kK * sizeof(float);
  late.t.device_type = out2.t.device_type = 3;
  ASSERT_EQ(call(late, out2), QLR_OK) << qlr_last_error();
  y.resize(size_t(4 * kN));
  EXPECT_LE(relativeError(y, expected({x.begin() + 2 * kK, x.end()})), 1e-6);
  // No rows: no data, and strides that say nothing.
  Dl none(nullptr, {0, kK}), nothing(nullptr, {0, kN});
  none.setStrides({5, 9});
  none.t.byte_offset = 4;
  EXPECT_EQ(call(none, nothing), QLR_OK) << qlr_last_error();
}

TEST_P(DlpackCalls, WeightsOfTheCall) {
  Module bare(device, test.descriptor(), "");
  Workspace space(bare, 0, 6);
  Dl in(x.data(), {6, kK}), out(y.data(), {6, kN});
  const qlr_dltensor *inputs[] = {&in.t}, *outputs[] = {&out.t};
  qlr_blob blob{testWeight().blob, testWeight().size};
  auto run = [&](const qlr_blob *weights, int32_t count) {
    return qlr_call_dlpack(bare, 0, space, inputs, 1, outputs, 1, weights, count,
                           nullptr);
  };
  ASSERT_EQ(run(&blob, 1), QLR_OK) << qlr_last_error();
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
  EXPECT_EQ(run(nullptr, 0), QLR_BAD_WEIGHTS);
  EXPECT_EQ(run(nullptr, 1), QLR_INVALID_ARGUMENT);
  EXPECT_STREQ(qlr_last_error(), "qlr_call_dlpack: 1 weights at NULL");
}

TEST_P(DlpackCalls, ErrorsNameTheTensor) {
  Dl in(x.data(), {6, kK}), out(y.data(), {6, kN});
  const std::string moved =
      ", but the module is on the CPU; move the tensor, or load the artifact on its "
      "device";
  in.t.device_type = 2;
  in.t.device_id = 1;
  expectFailure(in, out, "input 0 of 'linear' is on cuda:1" + moved);
  in.t.device_type = 13;
  expectFailure(in, out, "input 0 of 'linear' is on CUDA's managed memory" + moved);
  in.t.device_type = 10;
  expectFailure(in, out,
                "input 0 of 'linear' is on a device of DLPack's type 10" + moved);
  in.t.device_type = 1;

  const std::string types = ", but functions take float32, float16, bfloat16, int8 and "
                            "int32; convert it";
  out.t.type_bits = 64;
  expectFailure(in, out, "output 0 of 'linear' is float64" + types);
  out.t.type_bits = 32;
  out.t.type_code = 1;
  expectFailure(in, out, "output 0 of 'linear' is uint32" + types);
  out.t.type_code = 17;
  expectFailure(in, out,
                "output 0 of 'linear' is of DLPack's type 17 with 32 bits" + types);
  out.t.type_code = 2;
  out.t.type_lanes = 4;
  expectFailure(in, out, "output 0 of 'linear' is float32 in vectors of 4" + types);
  out.t.type_lanes = 1;
  // Types that functions may take are told apart: by code and bits.
  struct {
    uint8_t code, bits;
    const char *name;
  } known[] = {{2, 16, "f16"}, {4, 16, "bf16"}, {0, 8, "i8"}, {0, 32, "i32"}};
  for (auto [code, bits, name] : known) {
    out.t.type_code = code;
    out.t.type_bits = bits;
    expectFailure(in, out,
                  std::string("output 0 of 'linear' is ") + name +
                      ", but it was compiled for f32");
  }
  out.t.type_code = 2;
  out.t.type_bits = 32;

  const std::string holes =
      "input 0 of 'linear' is not row-major without holes; pass a contiguous copy";
  in.setStrides({1, 6}); // columns first
  expectFailure(in, out, holes);
  in.setStrides({kK + 4, 1}); // a part of a wider one
  expectFailure(in, out, holes);
  in.setStrides({0, 1}); // one row, repeated
  expectFailure(in, out, holes);
  in.setStrides({-kK, 1});
  expectFailure(in, out, holes);
  in.setStrides({kK, 1});

  Dl wide(x.data(), {6, 32}), deep(x.data(), {1, 1, 1, 6, kK});
  expectFailure(wide, out,
                "input 0 of 'linear' has the shape [6, 32], but it was compiled for "
                "[M, 64]");
  expectFailure(deep, out,
                "input 0 of 'linear' has 5 dimensions; at most 4 are taken, reshape "
                "it");
  deep.t.ndim = 2;
  deep.t.shape = nullptr;
  expectFailure(deep, out, "input 0 of 'linear' has 2 dimensions and no shape");

  const qlr_dltensor *null[] = {nullptr}, *good[] = {&out.t};
  EXPECT_EQ(
      qlr_call_dlpack(module, 0, workspace, null, 1, good, 1, nullptr, 0, nullptr),
      QLR_INVALID_ARGUMENT);
  EXPECT_STREQ(qlr_last_error(), "input 0 of 'linear' is NULL");
  EXPECT_EQ(
      qlr_call_dlpack(module, 0, workspace, nullptr, 1, good, 1, nullptr, 0, nullptr),
      QLR_INVALID_ARGUMENT);
  EXPECT_STREQ(qlr_last_error(), "'linear' has 1 inputs, not 0");
  EXPECT_EQ(
      qlr_call_dlpack(nullptr, 0, workspace, null, 1, good, 1, nullptr, 0, nullptr),
      QLR_INVALID_ARGUMENT);
  EXPECT_EQ(
      qlr_call_dlpack(module, 9, workspace, null, 1, good, 1, nullptr, 0, nullptr),
      QLR_NOT_FOUND);
  // More than a call keeps without allocating.
  std::vector<const qlr_dltensor *> many(20, &in.t);
  EXPECT_EQ(qlr_call_dlpack(module, 0, workspace, many.data(), 20, good, 1, nullptr, 0,
                            nullptr),
            QLR_INVALID_ARGUMENT);
  EXPECT_STREQ(qlr_last_error(), "'linear' has 1 inputs, not 20");
  EXPECT_EQ(call(in, out), QLR_OK) << qlr_last_error(); // none of it did harm
}

INSTANTIATE_TEST_SUITE_P(Devices, DlpackCalls, testing::Values("cpu:1", "emulated"));

struct DlpackCuda : Cuda {};

TEST_F(DlpackCuda, DeviceAndItsNumber) {
  Device device("cuda");
  Module module(device, test.descriptor(), writeTestArchive("w.safetensors"));
  ASSERT_TRUE(module.status == QLR_OK) << qlr_last_error();
  Workspace workspace(module, 0, 2);
  std::vector<float> x = randomInput(2), y(size_t(2 * kN), NAN);
  void *dx = nullptr, *dy = nullptr;
  ASSERT_EQ(qlr_alloc(device, x.size() * sizeof(float), &dx), QLR_OK);
  ASSERT_EQ(qlr_alloc(device, y.size() * sizeof(float), &dy), QLR_OK);
  ASSERT_EQ(qlr_upload(device, dx, x.data(), x.size() * sizeof(float), nullptr),
            QLR_OK);
  Dl in(dx, {2, kK}), out(dy, {2, kN});
  const qlr_dltensor *inputs[] = {&in.t}, *outputs[] = {&out.t};
  auto call = [&] {
    return qlr_call_dlpack(module, 0, workspace, inputs, 1, outputs, 1, nullptr, 0,
                           nullptr);
  };
  in.t.device_type = 2;
  out.t.device_type = 13; // managed memory
  out.t.device_id = 5;
  EXPECT_EQ(call(), QLR_OK) << qlr_last_error();
  EXPECT_EQ(qlr_synchronize(device, nullptr), QLR_OK);
  EXPECT_EQ(qlr_download(device, y.data(), dy, y.size() * sizeof(float), nullptr),
            QLR_OK);
  EXPECT_EQ(qlr_synchronize(device, nullptr), QLR_OK);
  EXPECT_LE(relativeError(y, expected(x)), 1e-6);
  for (int32_t type : {1, 3}) { // the driver would read host memory over the bus
    in.t.device_type = type;
    EXPECT_EQ(call(), QLR_INVALID_ARGUMENT);
    EXPECT_TRUE(contains(qlr_last_error(), ", but the module is on cuda:0; move"))
        << qlr_last_error();
  }
  in.t.device_type = 2;
  in.t.device_id = 1;
  EXPECT_EQ(call(), QLR_INVALID_ARGUMENT);
  EXPECT_STREQ(
      qlr_last_error(),
      "input 0 of 'linear' is on cuda:1, but the module is on cuda:0; move the "
      "tensor, or load the artifact on its device");
  qlr_free(device, dx);
  qlr_free(device, dy);
}

} // namespace
