//===- Artifact.h - A loaded artifact ---------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_ARTIFACT_IMPL_H
#define QLINEAR_RUNTIME_ARTIFACT_IMPL_H

#include "Manifest.h"
#include "qlinear-runtime/artifact.h"

#include <memory>
#include <span>
#include <unordered_map>

namespace qlinear::runtime {

/// The descriptor of an artifact, checked, and the library that holds it.
class Artifact {
public:
  static Expected<std::shared_ptr<const Artifact>> open(const std::string &path);
  static Expected<std::shared_ptr<const Artifact>>
  fromDescriptor(const void *descriptor, std::shared_ptr<void> library = nullptr);

  const Manifest &manifest() const { return parsed; }
  const std::string &manifestText() const { return json; }
  /// The image of that name, or null.
  const qlinear_image *image(const std::string &name) const;
  /// "cpu:avx2, cuda:sm_90", for messages.
  std::string targetNames() const;

private:
  std::shared_ptr<void> library; ///< closed last
  std::string json;
  Manifest parsed;
  std::unordered_map<std::string, qlinear_image> images;
};

} // namespace qlinear::runtime
#endif
