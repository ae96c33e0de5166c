//===- Module.h - An artifact on a device, bound to its weights -*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_MODULE_H
#define QLINEAR_RUNTIME_MODULE_H

#include "Device.h"

namespace qlinear {
class Archive;
}

namespace qlinear::runtime {

class Workspace;

class Module {
public:
  static Expected<std::unique_ptr<Module>>
  load(std::shared_ptr<Device> device, std::shared_ptr<const Artifact> artifact,
       const char *weights, bool checkWeights = false);
  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  Status setWeight(const std::string &name, const void *blob, size_t bytes);
  const std::vector<WeightInfo> &weightInfos() const {
    return artifact->manifest().weights;
  }
  int32_t weightIndex(std::string_view name) const;
  Status describeWeight(int32_t index, qlr_weight &out) const;
  const std::vector<FunctionInfo> &functions() const { return code->target->functions; }
  /// The name of the target or image whose code it runs.
  const std::string &loadedCode() const {
    return code->image ? code->image->name : code->target->target;
  }
  const std::string &target() const { return code->target->target; }
  int32_t functionIndex(std::string_view name) const;
  Expected<std::unique_ptr<Workspace>> createWorkspace(int32_t function,
                                                       int64_t maxRows) const;
  /// In memory of the caller; `bytes` as workspaceBytes() says, or more.
  Expected<std::unique_ptr<Workspace>> createWorkspaceIn(int32_t function,
                                                         int64_t maxRows, void *memory,
                                                         uint64_t bytes,
                                                         void *stream) const;
  Expected<uint64_t> workspaceBytes(int32_t function, int64_t maxRows) const;
  Status call(int32_t function, const Workspace *workspace, const qlr_tensor *inputs,
              int32_t inputCount, const qlr_tensor *outputs, int32_t outputCount,
              std::span<const qlr_blob> own, void *stream) const;
  /// The same with tensors of DLPack (Dlpack.cpp).
  Status callDlpack(int32_t function, const Workspace *workspace,
                    std::span<const qlr_dltensor *const> inputs,
                    std::span<const qlr_dltensor *const> outputs,
                    std::span<const qlr_blob> own, void *stream) const;

private:
  /// A function with its kernels' entry points, in the order of its steps.
  struct BoundFunction {
    const FunctionInfo *info;
    struct Entry {
      void *before, *kernel; ///< before: null where there is none
    };
    std::vector<Entry> entries;
    std::vector<uint32_t> weights; ///< those that it reads
  };
  struct BoundWeight {
    void *data = nullptr;
    bool owned = false;
  };

  Module() = default;
  Status bindArchive(const char *path, bool check);
  Status bindImages();
  Status checkFunction(int32_t function) const;
  Status checkWeight(const std::string &name, const WeightInfo &want, const void *blob,
                     size_t bytes) const;
  /// Where the temps lie in a workspace.
  struct WorkspaceLayout {
    int64_t rows = 0;
    uint64_t bytes = 0, zeros = 0; ///< of all, and of those that begin as zero
    std::vector<uint64_t> offsets;
  };
  Expected<WorkspaceLayout> layoutWorkspace(int32_t function, int64_t maxRows) const;

  std::shared_ptr<Device> device;
  std::shared_ptr<const Artifact> artifact;
  std::unique_ptr<Archive> archive; ///< mapped, while kernels read it in place
  std::unique_ptr<Code> code;
  std::vector<BoundFunction> bound;
  std::vector<BoundWeight> weights, constants;
};

/// Scratch memory for one call at a time of one function.
class Workspace {
public:
  ~Workspace();
  std::shared_ptr<Device> device;
  const Module *module = nullptr;
  int32_t function = 0;
  int64_t maxRows = 0;
  void *owned = nullptr; ///< memory to free, if it is not the caller's
  std::vector<void *> temps;
};

} // namespace qlinear::runtime
#endif
