//===- ImportModelOpt.cpp - Checkpoints of ModelOpt -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// NVFP4 as NVIDIA's Model Optimizer exports it for Hugging Face:
//
//   X.weight U8 [N, K / 2], e2m1, the even column low
//   X.weight_scale F8_E4M3 [N, K / 16], X.weight_scale_2 F32, one for all
//   w = q s s2; X.input_scale is for activations of 4 bits
//
// hf_quant_config.json, or quantization_config of config.json, has "quant_algo".
//
//===----------------------------------------------------------------------===//
#include "ImportCommon.h"

#include <cmath>

using namespace qlinear;

namespace {

Result<void> importNvfp4(ImportContext &context, const Parts &parts) {
  const Tensor *codes = parts.find(".weight"), *scale = parts.find(".weight_scale"),
               *whole = parts.find(".weight_scale_2");
  const Declaration &declared = context.declared;
  if (codes->shape.size() == 3) {
    context.addForeign(
        parts.name(), "ModelOpt", parts.all(),
        fmt::format("a stack of {} weights: carried over as it is", codes->shape[0]));
    return {};
  }
  if (const Tensor *other =
          parts.findOther({".weight", ".weight_scale", ".weight_scale_2",
                           ".input_scale", ".k_scale", ".v_scale"}))
    return parts.bad(fmt::format("has {}, which is no part of ModelOpt's NVFP4: the "
                                 "layer is more than its codes; quantize the model "
                                 "again without it",
                                 inQuotes(other->name)));
  if (auto method = declared.text({"quant_algo"});
      method && *method != "NVFP4" && *method != "MIXED_PRECISION")
    return parts.bad(fmt::format("{} says quant_algo {}, but its tensors are those of "
                                 "NVFP4; keep the file that belongs to the weights",
                                 declared.where(), inQuotes(*method)));
  if (auto group = jsonUnsigned(declared.object(), "group_size"); group && *group != 16)
    return parts.bad(fmt::format("{} says group_size = {}, but groups of NVFP4 have 16 "
                                 "columns; keep the file that belongs to the weights",
                                 declared.where(), *group));
  Float4Tensors t{codes, scale, FloatType::e4m3, 16};
  if (auto rows = t.rows(parts); !rows)
    return rows.takeError();
  auto step = oneFloat(parts, *whole, ".weight_scale_2");
  if (!step)
    return step.takeError();
  if (!std::isfinite(*step))
    return parts.bad(fmt::format(".weight_scale_2 is {}; only finite scales can be "
                                 "used",
                                 *step));
  t.step = *step;
  t.add(context, parts, {"ModelOpt", "NVFP4", declared.where(), ""}, "ModelOpt",
        {codes, scale, whole});
  return {};
}

} // namespace

Result<void> qlinear::importModelOpt(ImportContext &context) {
  importEach(
      context, Family::modelopt, ".weight_scale_2", "ModelOpt",
      [&](const Parts &parts) { return importNvfp4(context, parts); },
      [](const Parts &parts) {
        const Tensor *t = parts.find(".weight");
        return t && t->type == "U8";
      });
  return {};
}
