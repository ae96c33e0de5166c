//===- gguf.h - What a GGUF file says of its model --------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_EXAMPLES_LLM_GGUF_H
#define QLINEAR_EXAMPLES_LLM_GGUF_H

#include <nlohmann/json.hpp>
#include <string>

/// The keys of a GGUF file with their values: sizes of the model, and its vocabulary.
/// Tensors are not read here: quant-pack has packed them.
nlohmann::json readGguf(const std::string &path);

#endif
