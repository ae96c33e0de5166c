//===- Warp.cpp - Warp-wide operations of the emulated device ------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Shuffles, votes and reductions are meeting points: a lane waits until every
// lane of its mask has come with the same operation and the same mask.
//
//===----------------------------------------------------------------------===//
#include "Block.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace qlinear::emulated {

const char *spelling(WarpRequest::Kind kind) {
  switch (kind) {
  case WarpRequest::Kind::shuffle:
    return "shfl.sync";
  case WarpRequest::Kind::vote:
    return "vote.sync";
  case WarpRequest::Kind::redux:
    return "redux.sync";
  case WarpRequest::Kind::match:
    return "match.sync";
  case WarpRequest::Kind::sync:
    return "bar.warp.sync";
  case WarpRequest::Kind::mma:
    return "mma.sync";
  case WarpRequest::Kind::ldmatrix:
    return "ldmatrix.sync";
  }
  return "";
}

uint32_t Block::activeMask() const {
  uint32_t base = running / kWarp * kWarp, mask = 0;
  for (uint32_t i = base; i < std::min<uint32_t>(base + kWarp, threads.size()); ++i)
    if (threads[i].state != ThreadState::done)
      mask |= 1u << (i - base);
  return mask;
}

/// Whether all lanes of the mask wait in the same operation; fails where that
/// can never happen.
bool Block::meets(uint32_t base, const WarpRequest &mine) {
  uint32_t lane = running - base;
  for (uint32_t rest = mine.mask; rest; rest &= rest - 1) {
    uint32_t other = base + std::countr_zero(rest);
    if (other >= threads.size())
      fail(fmt::format("{} with mask {:#010x} names lane {}, and the block has "
                       "{} threads",
                       spelling(mine.kind), mine.mask, other - base, threads.size()));
    const Thread &t = threads[other];
    if (t.state == ThreadState::done)
      fail(fmt::format("{} with mask {:#010x} names thread {}, which has exited",
                       spelling(mine.kind), mine.mask, other));
    if (other == running)
      continue;
    if (t.state != ThreadState::warp)
      return false;
    const WarpRequest &theirs = t.request;
    if (theirs.kind == mine.kind && theirs.mode == mine.mode &&
        theirs.mask == mine.mask)
      continue;
    if (theirs.mask >> lane & 1)
      fail(fmt::format("{} with mask {:#010x} meets {} with mask {:#010x} of "
                       "thread {}",
                       spelling(mine.kind), mine.mask, spelling(theirs.kind),
                       theirs.mask, other));
    return false; // it waits for others first
  }
  return true;
}

const WarpRequest &Block::warp(const WarpRequest &request) {
  uint32_t base = running / kWarp * kWarp, lane = running - base;
  if (!(request.mask >> lane & 1))
    fail(fmt::format("{} with mask {:#010x}, which does not name the calling "
                     "lane {}",
                     spelling(request.kind), request.mask, lane));
  self().request = request;
  if (!meets(base, request)) {
    suspend(ThreadState::warp);
    return self().request;
  }
  combine(base, request.mask);
  ++events;
  idlePolls = 0;
  for (uint32_t rest = request.mask; rest; rest &= rest - 1)
    if (uint32_t other = base + std::countr_zero(rest); other != running)
      wake(other);
  return self().request;
}

static uint32_t reduce(int kind, uint32_t a, uint32_t b) {
  switch (kind) {
  case 0:
    return a + b;
  case 1:
    return a & b;
  case 2:
    return a | b;
  case 3:
    return a ^ b;
  case 4:
    return uint32_t(std::min(int32_t(a), int32_t(b)));
  case 5:
    return uint32_t(std::max(int32_t(a), int32_t(b)));
  case 6:
    return std::min(a, b);
  default:
    return std::max(a, b);
  }
}

/// Source lane of a shuffle as PTX defines it, and its predicate.
static uint32_t sourceLane(const WarpRequest &r, int lane, bool &valid) {
  int b = r.b & 31, clamp = r.c & 31, segment = r.c >> 8 & 31;
  int maxLane = (lane & segment) | (clamp & ~segment);
  int minLane = lane & segment;
  int source;
  switch (r.mode) {
  case 0:
    source = lane - b;
    valid = source >= maxLane;
    break;
  case 1:
    source = lane + b;
    valid = source <= maxLane;
    break;
  case 2:
    source = lane ^ b;
    valid = source <= maxLane;
    break;
  default:
    source = minLane | (b & ~segment);
    valid = source <= maxLane;
  }
  return valid ? source : lane;
}

/// mma.m16n8k16 of f16, fragments as the PTX manual lays them out. Sums are rounded
/// once.
void Block::multiplyHalves(uint32_t base) {
  double a[16][16], b[16][8];
  auto half = [](uint32_t word, int i) {
    return double(std::bit_cast<_Float16>(uint16_t(word >> 16 * i)));
  };
  for (int lane = 0; lane < 32; ++lane) {
    const WarpRequest &r = threads[base + uint32_t(lane)].request;
    const auto *aw = static_cast<const uint32_t *>(r.in[0]);
    const auto *bw = static_cast<const uint32_t *>(r.in[1]);
    int g = lane / 4, t = lane % 4;
    for (int word = 0; word < 2; ++word)
      for (int i = 0; i < 2; ++i) {
        int at = 8 * word + 2 * t + i;
        a[g][at] = half(aw[2 * word], i);
        a[g + 8][at] = half(aw[2 * word + 1], i);
        b[at][g] = half(bw[word], i);
      }
  }
  for (int lane = 0; lane < 32; ++lane) {
    uint32_t *c = threads[base + uint32_t(lane)].request.out;
    for (int i = 0; i < 4; ++i) {
      double sum = std::bit_cast<float>(c[i]);
      for (int at = 0; at < 16; ++at)
        sum += a[lane / 4 + i / 2 * 8][at] * b[at][lane % 4 * 2 + i % 2];
      c[i] = std::bit_cast<uint32_t>(float(sum));
    }
  }
}

/// mma.m16n8k32 or k16 of bytes.
void Block::multiplyMatrices(uint32_t base, int k) {
  uint8_t a[16][32];
  int8_t b[32][8];
  for (int lane = 0; lane < 32; ++lane) {
    const WarpRequest &r = threads[base + uint32_t(lane)].request;
    const auto *aw = static_cast<const uint32_t *>(r.in[0]);
    const auto *bw = static_cast<const uint32_t *>(r.in[1]);
    int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i)
      for (int half = 0; half < k / 16; ++half) {
        int at = 16 * half + 4 * t + i;
        a[g][at] = uint8_t(aw[2 * half] >> 8 * i);
        a[g + 8][at] = uint8_t(aw[2 * half + 1] >> 8 * i);
        b[at][g] = int8_t(bw[half] >> 8 * i);
      }
  }
  for (int lane = 0; lane < 32; ++lane) {
    uint32_t *c = threads[base + uint32_t(lane)].request.out;
    for (int i = 0; i < 4; ++i)
      for (int at = 0; at < k; ++at)
        c[i] += uint32_t(a[lane / 4 + i / 2 * 8][at] * b[at][lane % 4 * 2 + i % 2]);
  }
}

void Block::loadMatrices(uint32_t base) {
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t i = 0; i < 4; ++i) {
      const auto *row = static_cast<const std::byte *>(
          threads[base + 8 * i + lane / 4].request.in[0]);
      std::memcpy(&threads[base + lane].request.out[i], row + lane % 4 * 4, 4);
    }
}

/// Computes the results of all lanes of the mask.
void Block::combine(uint32_t base, uint32_t mask) {
  const WarpRequest &first = self().request;
  if (first.kind == WarpRequest::Kind::mma)
    return first.mode == 2 ? multiplyHalves(base)
                           : multiplyMatrices(base, first.mode ? 32 : 16);
  if (first.kind == WarpRequest::Kind::ldmatrix)
    return loadMatrices(base);
  if (first.kind == WarpRequest::Kind::sync) {
    std::vector<uint32_t> lanes;
    for (uint32_t rest = mask; rest; rest &= rest - 1)
      lanes.push_back(base + uint32_t(std::countr_zero(rest)));
    Gathering gathering;
    for (uint32_t lane : lanes)
      gathering.add(threads[lane].order);
    return meet(gathering, lanes);
  }
  uint32_t ballot = 0, sum = 0;
  bool isFirst = true;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    uint32_t lane = std::countr_zero(rest);
    uint32_t value = threads[base + lane].request.value;
    ballot |= uint32_t(value != 0) << lane;
    sum = isFirst ? value : reduce(first.mode, sum, value);
    isFirst = false;
  }
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    uint32_t lane = std::countr_zero(rest);
    WarpRequest &r = threads[base + lane].request;
    switch (r.kind) {
    case WarpRequest::Kind::sync:
    case WarpRequest::Kind::mma:
    case WarpRequest::Kind::ldmatrix:
      break;
    case WarpRequest::Kind::shuffle: {
      uint32_t source = sourceLane(r, int(lane), r.valid);
      if (!(mask >> source & 1))
        fail(fmt::format("shfl.sync with mask {:#010x}: thread {} reads lane {}, "
                         "which the mask does not name",
                         mask, base + lane, source));
      r.result = threads[base + source].request.value;
      break;
    }
    case WarpRequest::Kind::vote:
      r.result = r.mode == 0   ? ballot == mask
                 : r.mode == 1 ? ballot != 0
                 : r.mode == 2 ? ballot == mask || ballot == 0
                               : ballot;
      break;
    case WarpRequest::Kind::redux:
      r.result = sum;
      break;
    case WarpRequest::Kind::match:
      r.result = 0;
      for (uint32_t others = mask; others; others &= others - 1) {
        uint32_t other = std::countr_zero(others);
        if (threads[base + other].request.value == r.value)
          r.result |= 1u << other;
      }
      break;
    }
  }
}

} // namespace qlinear::emulated
