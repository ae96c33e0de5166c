//===- Main.cpp - The benchmark as a program -------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "peer.h"

int main(int argc, char **argv) { return ql_gpu_bench(argc, argv, nullptr, 0); }
