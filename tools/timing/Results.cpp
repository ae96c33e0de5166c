//===- Results.cpp - Results of many calls, compared bit by bit -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Results.h"

#include <bit>
#include <cstring>

using namespace qlinear;
using namespace qlinear::timing;
namespace cuda = qlinear::runtime::cuda;

static constexpr size_t kWord = 16, kAlign = 256;

/// For each entry {got, want, words} of the table, block row y: words of got that are
/// want's become NaNs, the others are counted. Blocks of a row stride over the words.
static constexpr const char *kCompareKernel = R"(
.version 6.5
.target sm_70
.address_size 64
.visible .entry compare(.param .u64 table, .param .u64 counts)
{
  .reg .pred %end, %differs;
  .reg .u32 %t<6>, %a<4>, %b<4>, %n, %nan;
  .reg .u64 %table, %counts, %got, %want, %words, %i, %step, %p, %q;
  ld.param.u64 %table, [table];
  ld.param.u64 %counts, [counts];
  cvta.to.global.u64 %table, %table;
  cvta.to.global.u64 %counts, %counts;
  mov.u32 %t0, %ctaid.y;
  mul.wide.u32 %p, %t0, 24;
  add.u64 %table, %table, %p;
  mul.wide.u32 %p, %t0, 4;
  add.u64 %counts, %counts, %p;
  ld.global.u64 %got, [%table];
  ld.global.u64 %want, [%table+8];
  ld.global.u64 %words, [%table+16];
  cvta.to.global.u64 %got, %got;
  cvta.to.global.u64 %want, %want;
  mov.u32 %t1, %ctaid.x;
  mov.u32 %t2, %ntid.x;
  mov.u32 %t3, %tid.x;
  mov.u32 %t4, %nctaid.x;
  mad.lo.u32 %t5, %t1, %t2, %t3;
  cvt.u64.u32 %i, %t5;
  mul.wide.u32 %step, %t2, %t4;
  mov.u32 %n, 0;
  mov.u32 %nan, 0xFFFFFFFF;
AGAIN:
  setp.ge.u64 %end, %i, %words;
  @%end bra DONE;
  shl.b64 %p, %i, 4;
  add.u64 %q, %want, %p;
  add.u64 %p, %got, %p;
  add.u64 %i, %i, %step;
  ld.global.v4.u32 {%a0, %a1, %a2, %a3}, [%p];
  ld.global.v4.u32 {%b0, %b1, %b2, %b3}, [%q];
  xor.b32 %a0, %a0, %b0;
  xor.b32 %a1, %a1, %b1;
  xor.b32 %a2, %a2, %b2;
  xor.b32 %a3, %a3, %b3;
  or.b32 %a0, %a0, %a1;
  or.b32 %a2, %a2, %a3;
  or.b32 %a0, %a0, %a2;
  setp.ne.u32 %differs, %a0, 0;
  @%differs bra DIFFERS;
  st.global.v4.u32 [%p], {%nan, %nan, %nan, %nan};
  bra AGAIN;
DIFFERS:
  add.u32 %n, %n, 1;
  bra AGAIN;
DONE:
  setp.eq.u32 %end, %n, 0;
  @%end bra END;
  red.global.add.u32 [%counts], %n;
END:
  ret;
}
)";

static Result<void> checked(runtime::Status status) {
  if (!status)
    return error(std::move(status.message));
  return {};
}

Result<std::unique_ptr<Results>> Results::create(Device &device,
                                                 const std::vector<size_t> &bytes) {
  std::unique_ptr<Results> r(new Results(device));
  for (size_t size : bytes) {
    r->places.push_back({r->total, (size + kWord - 1) / kWord * kWord});
    r->total += (size + kAlign - 1) / kAlign * kAlign;
  }
  for (auto [memory, size] :
       {std::pair(&r->memory, r->total), std::pair(&r->kept, r->total),
        std::pair(&r->table, r->places.size() * 24),
        std::pair(&r->counts, r->places.size() * 4)}) {
    Result<DeviceMemory> made = device.allocate(std::max<size_t>(size, kWord));
    if (!made)
      return made.takeError();
    *memory = std::move(*made);
  }
  std::vector<uint64_t> entries;
  for (const Place &place : r->places)
    for (uint64_t value : {std::bit_cast<uint64_t>(r->memory.at(place.start)),
                           std::bit_cast<uint64_t>(r->kept.at(place.start)),
                           uint64_t(place.bytes / kWord)})
      entries.push_back(value);
  Result<void> done = device.upload(r->table.get(), std::as_bytes(std::span(entries)));
  if (done)
    done = device.fill(r->memory.get(), 0xFF, r->total);
  if (done)
    done = device.wait();
  if (done && device.timer())
    done = r->prepareKernel();
  if (!done)
    return done.takeError();
  return r;
}

Result<void> Results::prepareKernel() {
  const cuda::Driver &driver = device.timer()->driver();
  if (Result<void> loaded =
          ::checked(QLR_CUDA(driver, cuModuleLoadData, &module, kCompareKernel));
      !loaded)
    return loaded;
  return ::checked(QLR_CUDA(driver, cuModuleGetFunction, &kernel, module, "compare"));
}

Results::~Results() {
  if (module)
    (void)device.timer()->driver().cuModuleUnload(module);
}

Result<std::vector<std::byte>> Results::read(size_t call) const {
  std::vector<std::byte> bytes(places[call].bytes);
  if (Result<void> done = device.download(bytes, at(call)); !done)
    return done.takeError();
  return bytes;
}

Result<std::vector<std::byte>> Results::readDiffering(size_t call) const {
  Result<std::vector<std::byte>> got = read(call);
  std::vector<std::byte> want(places[call].bytes), nan(kWord, std::byte(0xFF));
  if (got)
    if (Result<void> done = device.download(want, kept.at(places[call].start)); !done)
      return done.takeError();
  for (size_t i = 0; got && i < want.size(); i += kWord)
    if (!std::memcmp(got->data() + i, nan.data(), kWord))
      std::memcpy(got->data() + i, want.data() + i, kWord);
  return got;
}

Result<void> Results::keep() {
  if (Result<void> done = device.copy(kept.get(), memory.get(), total); !done)
    return done;
  if (Result<void> done = device.fill(memory.get(), 0xFF, total); !done)
    return done;
  return device.wait();
}

Result<std::vector<size_t>> Results::compare() {
  std::vector<uint32_t> words(places.size());
  if (device.timer()) {
    Result<void> done = device.fill(counts.get(), 0, words.size() * 4);
    void *tableAt = table.get(), *countsAt = counts.get();
    void *params[] = {&tableAt, &countsAt};
    if (done)
      done = ::checked(QLR_CUDA(device.timer()->driver(), cuLaunchKernel, kernel, 8,
                                unsigned(places.size()), 1, 256, 1, 1, 0,
                                device.timer()->stream(), params, nullptr));
    if (done)
      done = device.download(std::as_writable_bytes(std::span(words)), countsAt);
    if (!done)
      return done.takeError();
  } else {
    for (size_t call = 0; call < places.size(); ++call)
      for (size_t i = 0; i < places[call].bytes; i += kWord) {
        std::byte *got = memory.at(places[call].start + i);
        if (std::memcmp(got, kept.at(places[call].start + i), kWord))
          ++words[call];
        else
          std::memset(got, 0xFF, kWord);
      }
  }
  std::vector<size_t> differing;
  for (size_t call = 0; call < words.size(); ++call)
    if (words[call])
      differing.push_back(call);
  return differing;
}
