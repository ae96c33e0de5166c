//===- Program.cpp - Compiled layers inside another program ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qlinear-runtime/program.h"
#include "Module.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <mutex>

using namespace qlinear::runtime;

struct qlr_program {
  std::unique_ptr<Module> module;
  std::atomic<void *> stream = nullptr;

  /// A workspace that no call uses. What was enqueued with it may still run: only
  /// the same stream may use it again.
  struct Idle {
    int32_t function;
    void *stream;
    std::unique_ptr<Workspace> workspace;
  };
  std::mutex mutex;
  std::vector<Idle> idle;

  Expected<std::unique_ptr<Workspace>> take(int32_t function, void *stream,
                                            int64_t rows) {
    std::vector<Idle> small; // freed before the larger one is allocated
    {
      std::lock_guard lock(mutex);
      auto isOurs = [&](const Idle &i) {
        return i.function == function && i.stream == stream;
      };
      auto it = std::find_if(idle.begin(), idle.end(), [&](const Idle &i) {
        return isOurs(i) && i.workspace->maxRows >= rows;
      });
      if (it != idle.end()) {
        std::unique_ptr<Workspace> found = std::move(it->workspace);
        idle.erase(it);
        return found;
      }
      auto kept = std::partition(idle.begin(), idle.end(),
                                 [&](const Idle &i) { return !isOurs(i); });
      std::move(kept, idle.end(), std::back_inserter(small));
      idle.erase(kept, idle.end());
    }
    if (!small.empty()) // what was enqueued with them may still run
      QLR_TRY(small.front().workspace->device->synchronize(stream));
    small.clear();
    return module->createWorkspace(function, rows);
  }
};

static std::mutex &openMutex() {
  static std::mutex mutex;
  return mutex;
}

static const char *orEnvironment(const char *value, const char *variable) {
  if (!value || !*value)
    value = std::getenv(variable);
  return value && *value ? value : nullptr;
}

/// The device that an artifact's first kind of target needs.
static const char *defaultDevice(const Artifact &artifact) {
  const char *device = "cuda";
  for (const TargetInfo &target : artifact.manifest().targets) {
    if (target.target.starts_with("cpu"))
      return "cpu";
    if (target.target == "cuda:emulated")
      device = "emulated";
  }
  return device;
}

/// With openMutex() held.
static Status open(qlr_program **slot, const void *descriptor, const char *device,
                   const char *weights) {
  auto artifact = Artifact::fromDescriptor(descriptor);
  if (!artifact)
    return artifact.status();
  device = orEnvironment(device, "QLINEAR_DEVICE");
  auto opened = openDevice(device ? device : defaultDevice(**artifact));
  if (!opened)
    return opened.status();
  weights = orEnvironment(weights, "QLINEAR_WEIGHTS");
  if (!weights)
    // Said here, since what users of a module can do is not what those of a program
    // can.
    for (const WeightInfo &weight : (*artifact)->manifest().weights)
      if (weight.image.empty())
        return fail(QLR_NOT_FOUND, "weight '", weight.name,
                    "' is in an archive, and none is named; set the environment's "
                    "QLINEAR_WEIGHTS to it, or call the module's qlinear_open(device, "
                    "archive) before the first launch");
  auto module = Module::load(*opened, *artifact, weights);
  if (!module)
    return module.status();
  auto *program = new qlr_program;
  program->module = std::move(*module);
  __atomic_store_n(slot, program, __ATOMIC_RELEASE);
  return {};
}

qlr_status qlr_program_open(qlr_program **slot, const void *descriptor,
                            const char *device, const char *weights) {
  return guarded([&]() -> Status {
    if (!slot || !descriptor)
      return fail(QLR_INVALID_ARGUMENT, "qlr_program_open: an argument is null");
    std::lock_guard lock(openMutex());
    if (*slot)
      return fail(QLR_INVALID_ARGUMENT,
                  "the program is open already; open it before its first launch, or "
                  "close it with qlr_program_close");
    return open(slot, descriptor, device, weights);
  });
}

void qlr_program_close(qlr_program **slot) {
  if (!slot)
    return;
  std::lock_guard lock(openMutex());
  delete *slot;
  *slot = nullptr;
}

qlr_status qlr_program_set_stream(qlr_program **slot, void *stream) {
  return guarded([&]() -> Status {
    if (!slot || !*slot)
      return fail(QLR_INVALID_ARGUMENT,
                  "the program is not open; open it with qlr_program_open");
    (*slot)->stream = stream;
    return {};
  });
}

/// M of a call: the first dimension that was compiled as dynamic.
static int64_t rowsOf(const FunctionInfo &function, const qlr_tensor *inputs,
                      int32_t inputCount) {
  if (function.rows != kDynamic)
    return function.rows;
  for (int32_t i = 0; i < inputCount && size_t(i) < function.inputs.size(); ++i)
    if (function.inputs[size_t(i)].isDynamic())
      return inputs[i].shape[0];
  return 0;
}

qlr_status qlr_program_launch(qlr_program **slot, const void *descriptor,
                              int32_t function, const qlr_tensor *inputs,
                              int32_t n_inputs, const qlr_tensor *outputs,
                              int32_t n_outputs) {
  qlr_status status = guarded([&]() -> Status {
    qlr_program *program = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (!program) {
      std::lock_guard lock(openMutex());
      if (!*slot)
        QLR_TRY(open(slot, descriptor, nullptr, nullptr));
      program = *slot;
    }
    const std::vector<FunctionInfo> &functions = program->module->functions();
    if (function < 0 || size_t(function) >= functions.size())
      return fail(QLR_NOT_FOUND, "there is no function ", function,
                  "; the program has ", functions.size());
    const FunctionInfo &info = functions[size_t(function)];
    void *stream = program->stream;
    std::unique_ptr<Workspace> workspace;
    if (!info.temps.empty()) {
      auto taken = program->take(function, stream, rowsOf(info, inputs, n_inputs));
      if (!taken)
        return taken.status();
      workspace = std::move(*taken);
    }
    Status called = program->module->call(function, workspace.get(), inputs, n_inputs,
                                          outputs, n_outputs, {}, stream);
    if (workspace) {
      std::lock_guard lock(program->mutex);
      program->idle.push_back({function, stream, std::move(workspace)});
    }
    return called;
  });
  return status;
}

namespace {
struct FailHook {
  std::mutex mutex;
  qlr_fail_hook hook = nullptr;
  void *user = nullptr;
};
} // namespace

static FailHook &failHook() {
  static FailHook hook;
  return hook;
}

void qlr_program_set_fail_hook(qlr_fail_hook hook, void *user) {
  FailHook &current = failHook();
  std::lock_guard lock(current.mutex);
  current.hook = hook;
  current.user = user;
}

void qlr_program_fail(qlr_status status) {
  qlr_fail_hook hook;
  void *user;
  {
    std::lock_guard lock(failHook().mutex);
    hook = failHook().hook;
    user = failHook().user;
  }
  if (hook)
    return hook(status, qlr_last_error(), user);
  std::fprintf(stderr, "qlinear: %s\n", qlr_last_error());
  std::exit(1);
}
