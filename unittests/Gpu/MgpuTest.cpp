//===- MgpuTest.cpp - Modules lowered by upstream's pipeline --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// mgpu-add.so and mgpu-linear.so are host code that upstream MLIR's
// gpu-lower-to-nvvm-pipeline made (test/GPU/mgpu.py); all their calls go to mgpu*.
//
//===----------------------------------------------------------------------===//

#include "GpuTest.h"
#include "qlinear/Encoding/Codec.h"

#include <cmath>
#include <dlfcn.h>
#include <random>

using namespace gpu;
using namespace qlinear;

namespace {

/// Upstream's descriptor of a ranked memref.
template <typename T> struct Vector {
  T *base, *data;
  int64_t offset = 0, size, stride = 1;
  explicit Vector(std::vector<T> &v)
      : base(v.data()), data(v.data()), size(int64_t(v.size())) {}
};

/// A function with the C interface, of three vectors.
template <typename T>
void call(const std::string &library, const char *function, std::vector<T> &a,
          std::vector<T> &b, std::vector<T> &c) {
  void *handle = dlopen(file(library).c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(handle, nullptr) << dlerror();
  auto *f = reinterpret_cast<void (*)(Vector<T> *, Vector<T> *, Vector<T> *)>(
      dlsym(handle, function));
  ASSERT_NE(f, nullptr) << dlerror();
  Vector<T> da(a), db(b), dc(c);
  f(&da, &db, &dc);
}

TEST(Mgpu, VectorAdd) {
  NEEDS_CUDA();
  for (size_t n : {size_t(1), size_t(1000), size_t(1) << 20}) {
    std::vector<float> a(n), b(n), c(n, NAN);
    for (size_t i = 0; i < n; ++i) {
      a[i] = float(i % 1013);
      b[i] = 0.5f * float(i % 97);
    }
    call("mgpu-add.so", "_mlir_ciface_vector_add", a, b, c);
    for (size_t i = 0; i < n; ++i)
      ASSERT_EQ(c[i], a[i] + b[i]) << i;
  }
}

// The kernel of the function `linear` of runtime.so, launched by upstream's host code.
TEST(Mgpu, Linear) {
  NEEDS_CUDA();
  Result<Archive> archive = Archive::open(file("runtime.safetensors"));
  ASSERT_TRUE(bool(archive)) << archive.error();
  const PackedWeight *weight = archive->find("w0");
  ASSERT_NE(weight, nullptr);
  Result<EncodedWeight> coded =
      unpack(weight->encoding, weight->N, weight->K, weight->blob);
  ASSERT_TRUE(bool(coded)) << coded.error();
  AffineWeight exact = *decode(*coded);
  auto *bytes = reinterpret_cast<const int8_t *>(weight->blob.data());
  std::vector<int8_t> w(bytes, bytes + weight->blob.size()), x(weight->K * 2),
      y(weight->N * 4);
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(weight->K);
  for (size_t k = 0; k < values.size(); ++k) {
    uint16_t bits = floatToBf16(normal(random));
    values[k] = bf16ToFloat(bits);
    std::memcpy(&x[2 * k], &bits, 2);
  }
  call("mgpu-linear.so", "_mlir_ciface_linear", w, x, y);
  run::Matrix q = run::dequantizeActivations(
      run::quantizeActivations(values, 1, int64_t(weight->K)), int64_t(weight->K));
  double wrong = 0, norm = 0;
  for (uint64_t n = 0; n < weight->N; ++n) {
    double want = 0;
    for (uint64_t k = 0; k < weight->K; ++k)
      want += exact.weight(n, k) * q.values[k];
    float got;
    std::memcpy(&got, &y[4 * n], 4);
    wrong += (got - want) * (got - want);
    norm += want * want;
  }
  EXPECT_LE(std::sqrt(wrong / norm), 1e-5);
}

} // namespace
