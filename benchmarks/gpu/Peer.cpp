//===- Peer.cpp - Another project's kernels under the clock ---------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Linears.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>

using namespace bench;

namespace {

class Peer : public Linears {
  const ql_peer *peer;
  std::vector<Buffer> copies[std::size(kShapes)];
  Buffer scratch;

  static size_t largestScratch(const ql_peer *peer) {
    size_t bytes = 16;
    for (const Shape &s : kShapes)
      bytes = std::max(bytes, peer->scratch_bytes(s.codes, 8, s.n, s.k));
    return bytes;
  }

public:
  explicit Peer(const ql_peer *peer) : peer(peer), scratch(largestScratch(peer)) {}
  std::string name() const override { return peer->name; }
  size_t weightBytes(int shape) const override {
    const Shape &s = kShapes[shape];
    return peer->weight_bytes(s.codes, s.n, s.k);
  }
  void dropWeights() override {
    for (std::vector<Buffer> &list : copies)
      list.clear();
  }
  void makeWeights(int shape, int count) override {
    const Shape &s = kShapes[shape];
    for (int i = 0; i < count; ++i) {
      copies[shape].emplace_back(weightBytes(shape));
      peer->fill(s.codes, copies[shape].back().get(), s.n, s.k, uint64_t(i) + 1,
                 nullptr);
    }
    CHECK_CUDA(cudaDeviceSynchronize());
  }
  bool enqueue(Link link, int rows, const Activations &x,
               cudaStream_t stream) override {
    const Shape &s = kShapes[link.shape];
    return peer->run(s.codes, copies[link.shape][link.copy].get(), x.bf16.get(),
                     (const float *)x.f32.get(), x.result.get(), scratch.get(),
                     rows, s.n, s.k, stream) == 0;
  }
};

} // namespace

std::unique_ptr<Linears> bench::openPeer(const std::string &path) {
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  auto open = library ? (const ql_peer *(*)())dlsym(library, "ql_peer_open")
                      : nullptr;
  if (!open) {
    std::fprintf(stderr, "error: %s is not a peer adapter: %s\n", path.c_str(),
                 dlerror());
    std::exit(1);
  }
  const ql_peer *peer = open();
  if (peer->version != QL_PEER_VERSION) {
    std::fprintf(stderr,
                 "error: %s was built for version %u of peer.h, this is %u; "
                 "rebuild the adapter\n",
                 path.c_str(), peer->version, QL_PEER_VERSION);
    std::exit(1);
  }
  return std::make_unique<Peer>(peer);
}
