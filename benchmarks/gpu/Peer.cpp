//===- Peer.cpp - Another project's kernels under the clock ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Linears.h"

#include <algorithm>
#include <bit>
#include <dlfcn.h>
#include <random>

using namespace bench;
using namespace qlinear;

namespace {

class Peer : public Linears {
  static constexpr int64_t kMostK = 21504, kMostN = 262144;
  timing::Device &device;
  const ql_peer *peer;
  std::vector<timing::DeviceMemory> copies[std::size(kShapes)];
  timing::DeviceMemory scratch, bf16, f32, result;

  CUstream_st *stream() const { return static_cast<CUstream_st *>(device.stream()); }

public:
  Peer(timing::Device &device, const ql_peer *peer, int mostRows)
      : device(device), peer(peer) {
    size_t bytes = 16;
    for (const Shape &s : kShapes)
      bytes = std::max(bytes, peer->scratch_bytes(s.codes, mostRows, s.n, s.k));
    scratch = checked(device.allocate(bytes));
    result = checked(device.allocate(size_t(mostRows * kMostN) * 4));
    std::mt19937 rng(7);
    std::normal_distribution<float> normal;
    std::vector<float> x(size_t(mostRows * kMostK));
    std::vector<uint16_t> half(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      half[i] = floatToBf16(normal(rng));
      x[i] = bf16ToFloat(half[i]);
    }
    auto upload = [&](auto &values) {
      auto from = std::as_bytes(std::span(values));
      timing::DeviceMemory memory = checked(device.allocate(from.size()));
      check(device.upload(memory.get(), from));
      check(device.wait());
      return memory;
    };
    f32 = upload(x);
    bf16 = upload(half);
  }
  std::string name() const override { return peer->name; }
  size_t weightBytes(int shape) const override {
    const Shape &s = kShapes[shape];
    return peer->weight_bytes(s.codes, s.n, s.k);
  }
  void makeWeights(int shape, int count) override {
    const Shape &s = kShapes[shape];
    for (size_t i = copies[shape].size(); i < size_t(count); ++i) {
      copies[shape].push_back(checked(device.allocate(weightBytes(shape))));
      peer->fill(s.codes, copies[shape].back().get(), s.n, s.k, uint64_t(i) + 1,
                 stream());
    }
    check(device.wait());
  }
  void dropWeights() override {
    for (std::vector<timing::DeviceMemory> &list : copies)
      list.clear();
  }
  std::optional<Measured> time(const std::vector<Link> &links, int rows,
                               int replays) override {
    bool supported = true;
    auto timing = device.timer()->time(
        {size_t(replays), size_t(replays), 0}, [&]() -> Result<void> {
          for (Link link : links) {
            const Shape &s = kShapes[link.shape];
            supported =
                peer->run(s.codes, copies[link.shape][size_t(link.copy)].get(),
                          bf16.get(), static_cast<const float *>(f32.get()),
                          result.get(), scratch.get(), rows, s.n, s.k, stream()) == 0;
            if (!supported)
              return error("this M is not supported");
          }
          return {};
        });
    if (!supported)
      return std::nullopt;
    return Measured{checked(std::move(timing)).median * 1e6, {}};
  }
};

} // namespace

LinearsList bench::openPeer(timing::Device &device, const std::string &path,
                            int mostRows) {
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  auto open = library
                  ? std::bit_cast<const ql_peer *(*)()>(dlsym(library, "ql_peer_open"))
                  : nullptr;
  if (!open)
    fail(path + " is not a peer adapter: " + dlerror());
  return usePeer(device, open(), mostRows);
}

LinearsList bench::usePeer(timing::Device &device, const ql_peer *peer, int mostRows) {
  if (!device.timer())
    fail("a peer needs a CUDA device");
  if (peer->version != QL_PEER_VERSION)
    fail("an adapter is of version " + std::to_string(peer->version) +
         " of peer.h, this is " + std::to_string(QL_PEER_VERSION) +
         "; rebuild the adapter");
  LinearsList list;
  list.push_back(std::make_unique<Peer>(device, peer, mostRows));
  return list;
}
