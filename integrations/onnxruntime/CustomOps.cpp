//===- CustomOps.cpp - Compiled layers inside onnxruntime -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The operators `qlinear.LinearF32`, `LinearF16` and `LinearBF16`, which
// quant-import-onnx
// --replace writes: one input of K columns and any number of dimensions before them,
// one output of N. (One operator of any type would be run in f32 by onnxruntime where
// its neighbours have no kernels for f16.) Their attributes are `function`, a function
// of the session's artifact, and `N`. Which artifact that is says the session, by
// config entries that are set before the library is registered:
//   qlinear.artifact  what quant-compile wrote
//   qlinear.weights   the archive; left out if the artifact has its weights
//   qlinear.device    "cpu" (the default), "cpu:THREADS", "emulated"
//
//===----------------------------------------------------------------------===//

#include "../common/Modules.h"
#include "Ort.h"

#include <map>

using namespace qlinear::ort;
using namespace qlinear::integrations;

namespace {

/// A status of onnxruntime on its way to its caller.
struct Failure {
  Status *status;
};
void check(Status *status) {
  if (status)
    throw Failure{status};
}

/// Runs `body`; no exception passes through onnxruntime.
template <typename Body> Status *guarded(const Api *api, Body &&body) {
  try {
    body();
    return nullptr;
  } catch (const Failure &failure) {
    return failure.status;
  } catch (const Error &e) {
    return api->createStatus(e.code == QLR_INVALID_ARGUMENT ? kInvalidArgument : kFail,
                             e.what());
  } catch (const std::exception &e) {
    return api->createStatus(kFail, e.what());
  }
}

/// A string that onnxruntime gives in two calls, its size (with the final null) first.
template <typename Get> std::string stringOf(Get &&get) {
  size_t bytes = 0;
  check(get(nullptr, &bytes));
  std::string text(bytes, '\0');
  check(get(text.data(), &bytes));
  text.resize(bytes ? bytes - 1 : 0);
  return text;
}

/// The types of the operators, as onnxruntime and as DLPack have them.
struct Kind {
  const char *name;
  ElementType type;
  uint8_t code, bits;
};
constexpr Kind kKinds[] = {{"LinearF32", kFloat, 2, 32},
                           {"LinearF16", kFloat16, 2, 16},
                           {"LinearBF16", kBFloat16, 4, 16}};

/// An operator of sessions with the same entries. It lives as long as the program,
/// since any session may still create a kernel of it.
struct Operator : CustomOp {
  Module &module;
  const Kind &kind;
  Operator(Module &module, const Kind &kind);
  static const Operator &of(const CustomOp *op) {
    return *static_cast<const Operator *>(op);
  }
};

/// One node.
class Linear {
  const Api *api;
  const Kind &kind;
  std::string name;
  int64_t n = 0;
  Module &module;
  int32_t function;

public:
  Linear(const Operator &op, const Api *api, const KernelInfo *info)
      : api(api), kind(op.kind), module(op.module) {
    name = stringOf([&](char *text, size_t *bytes) {
      return api->kernelInfoGetAttributeString(info, "function", text, bytes);
    });
    check(api->kernelInfoGetAttributeInt64(info, "N", &n));
    function = module.function(name);
  }

  void compute(KernelContext *context) {
    const Value *x = nullptr;
    check(api->kernelContextGetInput(context, 0, &x));
    TensorInfo *info = nullptr;
    check(api->getTensorTypeAndShape(x, &info));
    std::unique_ptr<TensorInfo, void (*)(TensorInfo *)> freed(info,
                                                              api->releaseTensorInfo);
    size_t rank = 0;
    check(api->getDimensionsCount(info, &rank));
    std::vector<int64_t> dims(rank);
    check(api->getDimensions(info, dims.data(), rank));
    if (!rank)
      throw Error(QLR_INVALID_ARGUMENT,
                  "the input of '" + name + "' is a scalar; it has to have K columns");

    int64_t in[2] = {1, dims.back()}, out[2] = {1, n};
    for (size_t d = 0; d + 1 < rank; ++d)
      in[0] *= dims[d];
    out[0] = in[0];
    dims.back() = n;
    Value *y = nullptr;
    check(api->kernelContextGetOutput(context, 0, dims.data(), rank, &y));

    qlr_dltensor from{}, to{};
    check(api->getTensorMutableData(const_cast<Value *>(x), &from.data));
    check(api->getTensorMutableData(y, &to.data));
    from.device_type = 1; // the CPU
    from.ndim = 2;
    from.type_code = kind.code;
    from.type_bits = kind.bits;
    from.type_lanes = 1;
    from.shape = in;
    void *data = to.data;
    to = from;
    to.data = data;
    to.shape = out;
    const qlr_dltensor *inputs = &from, *outputs = &to;
    module.call(function, in[0], {&inputs, 1}, {&outputs, 1});
  }
  Status *run(KernelContext *context) {
    return guarded(api, [&] { compute(context); });
  }
};

Operator::Operator(Module &module, const Kind &kind)
    : CustomOp(), module(module), kind(kind) {
  version = kApiVersion;
  getName = [](const CustomOp *op) { return of(op).kind.name; };
  getExecutionProviderType = [](const CustomOp *) -> const char * {
    return "CPUExecutionProvider";
  };
  getInputType = [](const CustomOp *op, size_t) { return of(op).kind.type; };
  getOutputType = getInputType;
  getInputTypeCount = [](const CustomOp *) { return size_t(1); };
  getOutputTypeCount = getInputTypeCount;
  getInputCharacteristic = [](const CustomOp *, size_t) { return kRequired; };
  getOutputCharacteristic = getInputCharacteristic;
  getInputMemoryType = [](const CustomOp *, size_t) { return kDefaultMemory; };
  createKernelV2 = [](const CustomOp *op, const Api *api, const KernelInfo *info,
                      void **kernel) {
    return guarded(api, [&] { *kernel = new Linear(of(op), api, info); });
  };
  kernelComputeV2 = [](void *kernel, KernelContext *context) {
    return static_cast<Linear *>(kernel)->run(context);
  };
  kernelDestroy = [](void *kernel) { delete static_cast<Linear *>(kernel); };
}

std::string entryOf(const Api *api, const SessionOptions *options, const char *key) {
  int has = 0;
  check(api->hasSessionConfigEntry(options, key, &has));
  if (!has)
    return {};
  return stringOf([&](char *text, size_t *bytes) {
    return api->getSessionConfigEntry(options, key, text, bytes);
  });
}

CustomOpDomain *domainOf(const Api *api, const SessionOptions *options) {
  std::string artifact = entryOf(api, options, "qlinear.artifact"),
              weights = entryOf(api, options, "qlinear.weights"),
              device = entryOf(api, options, "qlinear.device");
  if (artifact.empty())
    throw Error(
        QLR_INVALID_ARGUMENT,
        "the session's config entry 'qlinear.artifact' names no artifact; set it "
        "before the library is registered");
  if (device.empty())
    device = "cpu";
  if (device.starts_with("cuda"))
    throw Error(
        QLR_INVALID_ARGUMENT,
        "'qlinear.device' is '" + device +
            "', but the operator runs with onnxruntime's CPU provider; use cpu");
  Module &module =
      Module::of(artifact, weights, device, Module::stampsOf(artifact, weights));
  static std::mutex mutex;
  static auto &domains = *new std::map<Module *, CustomOpDomain *>;
  std::lock_guard lock(mutex);
  CustomOpDomain *&domain = domains[&module];
  if (!domain) {
    check(api->createCustomOpDomain("qlinear", &domain));
    for (const Kind &kind : kKinds)
      check(api->customOpDomainAdd(domain, new Operator(module, kind)));
  }
  return domain;
}

} // namespace

/// What onnxruntime calls when the library is registered.
extern "C" __attribute__((visibility("default"))) Status *
RegisterCustomOps(SessionOptions *options, const ApiBase *base) {
  const Api *api = base->getApi(kApiVersion);
  if (!api)
    return base->getApi(1)->createStatus(kFail, (std::string("qlinear: onnxruntime ") +
                                                 base->getVersionString() +
                                                 " is older than 1.16; update it")
                                                    .c_str());
  return guarded(
      api, [&] { check(api->addCustomOpDomain(options, domainOf(api, options))); });
}
