//===- run-package.cpp - A package of AOTInductor without Python ----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   run-package PACKAGE LIBRARY INPUT COLUMNS OUTPUT
//
// PACKAGE is what export.py wrote, LIBRARY is libQLinearTorch.so. INPUT has rows of
// COLUMNS floats, and OUTPUT gets those of the result.
//
//===----------------------------------------------------------------------===//

#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <dlfcn.h>
#include <fstream>
#include <iostream>
#include <iterator>

static void run(char **argv) {
  std::ifstream file(argv[3], std::ios::binary);
  std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
  int64_t columns = std::stoll(argv[4]);
  at::Tensor x = at::from_blob(bytes.data(), {int64_t(bytes.size()) / 4}, at::kFloat)
                     .reshape({-1, columns});

  c10::InferenceMode mode;
  torch::inductor::AOTIModelPackageLoader model(argv[1]);
  at::Tensor y = model.run({x}).at(0).contiguous();
  std::ofstream(argv[5], std::ios::binary)
      .write(static_cast<const char *>(y.data_ptr()), y.numel() * 4);
  std::cout << "from " << x.sizes() << " to " << y.sizes() << "\n";
}

int main(int argc, char **argv) {
  if (argc != 6) {
    std::cerr << "usage: run-package PACKAGE LIBRARY INPUT COLUMNS OUTPUT\n";
    return 2;
  }
  // It registers the operators that the package calls.
  if (!dlopen(argv[2], RTLD_NOW)) {
    std::cerr << dlerror() << "\n";
    return 1;
  }
  try {
    run(argv);
  } catch (const std::exception &problem) {
    std::cerr << problem.what() << "\n";
    return 1;
  }
}
