//===- HandMade.cpp - Artifacts of hand-written PTX -----------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "HandMade.h"
#include "qlinear/Encoding/Codec.h"

#include <nlohmann/json.hpp>

using namespace gpu;
using nlohmann::json;

const char *HandMade::encoding() {
  return "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>";
}

size_t HandMade::Weight::bytes() const {
  return qlinear::layoutOf(*qlinear::Encoding::parse(encoding()), uint64_t(n),
                           uint64_t(k))
      .bytes();
}

static constexpr const char *kHeader = R"(
.version 6.5
.target sm_70
.address_size 64
.visible .entry trap(.param .u64 y, .param .u32 rows) {
  trap;
  ret;
}
.visible .entry stray(.param .u64 y, .param .u32 rows) {
  .reg .u64 %a;
  mov.u64 %a, 0x7000000000000;
  st.global.u64 [%a], %a;
  ret;
}
)";

/// Blocks stride over the 16-byte words; sizes are multiples of 128.
static constexpr const char *kCopy = R"(
.visible .entry $NAME(.param .u64 w, .param .u64 y, .param .u32 rows) {
  .reg .pred %p;
  .reg .u32 %b, %t, %n, %g, %v<4>;
  .reg .u64 %w, %y, %i, %step, %from, %to;
  ld.param.u64 %w, [w];
  ld.param.u64 %y, [y];
  cvta.to.global.u64 %w, %w;
  cvta.to.global.u64 %y, %y;
  mov.u32 %b, %ctaid.x;
  mov.u32 %n, %ntid.x;
  mov.u32 %t, %tid.x;
  mov.u32 %g, %nctaid.x;
  mad.lo.u32 %t, %b, %n, %t;
  mul.wide.u32 %i, %t, 16;
  mul.lo.u32 %g, %g, %n;
  mul.wide.u32 %step, %g, 16;
AGAIN:
  setp.ge.u64 %p, %i, $BYTES;
  @%p bra DONE;
  add.u64 %from, %w, %i;
  add.u64 %to, %y, %i;
  ld.global.v4.u32 {%v0, %v1, %v2, %v3}, [%from];
  st.global.v4.u32 [%to], {%v0, %v1, %v2, %v3};
  add.u64 %i, %i, %step;
  bra AGAIN;
DONE:
  ret;
}
)";

static void replace(std::string &text, const std::string &what, const std::string &by) {
  text.replace(text.find(what), what.size(), by);
}

static json function(const std::string &name, size_t bytes, const json &args) {
  json kernel = {
      {"rows", 1}, {"name", name}, {"grid", 64}, {"block", 256}, {"smem", 0}};
  return {
      {"name", name},
      {"rows", 1},
      {"inputs", json::array()},
      {"outputs", json::array({{{"dtype", "i8"}, {"shape", json::array({bytes})}}})},
      {"steps", json::array({{{"kernels", json::array({kernel})}, {"args", args}}})}};
}

HandMade::HandMade(std::vector<Weight> weights, size_t copies) : code(kHeader) {
  json output = {{"output", 0}};
  json functions = json::array({function("trap", 16, json::array({output})),
                                function("stray", 16, json::array({output}))});
  json listed = json::array();
  for (size_t i = 0; i < weights.size(); ++i) {
    const Weight &w = weights[i];
    listed.push_back({{"name", w.name},
                      {"encoding", encoding()},
                      {"n", w.n},
                      {"k", w.k},
                      {"bytes", w.bytes()}});
    if (i >= copies)
      continue;
    std::string name = "copy" + std::to_string(i), kernel = kCopy;
    replace(kernel, "$NAME", name);
    replace(kernel, "$BYTES", std::to_string(w.bytes()));
    code += kernel;
    functions.push_back(
        function(name, w.bytes(), json::array({{{"weight", i}}, output})));
  }
  json images = json::array({{{"kind", "ptx"}, {"name", "ptx"}, {"version", "6.5"}}});
  json manifest = {{"version", 1},
                   {"producer", "by hand"},
                   {"weights", listed},
                   {"targets", json::array({{{"target", "cuda:sm_70"},
                                             {"images", images},
                                             {"functions", functions}}})}};
  text = manifest.dump();
  image = {"ptx", code.c_str(), code.size() + 1};
  raw = {QLINEAR_ARTIFACT_MAGIC, text.data(), text.size(), &image, 1};
}
