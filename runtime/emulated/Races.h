//===- Races.h - The order of shared memory accesses ------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two accesses of a byte of shared memory, at least one of which writes, have to be
// ordered, or the launch fails and names both. The order is exact, whatever the
// threads' timing was: it is the PTX memory model's causality order, and nothing else
// counts.
//
//   program order   a thread's accesses, one after the other.
//   barrier.cta     sync and red: what any thread that arrived did comes before what
//   the
//                   waiting ones do next. arrive: only the first half.
//   bar.warp.sync   the same for the lanes of the mask. Shuffles, votes, reductions,
//                   elect, mma and ldmatrix order nothing.
//   mbarrier        an arrival (release) comes before what a thread does after a wait
//                   (acquire) for the phase that the arrival counted in, or a later
//                   one.
//   cluster         barrier.cluster.arrive (release), then wait (acquire).
//   cp.async        writes through the generic proxy, after what its thread did before;
//                   before what the thread does after it waits for the group.
//   bulk copy       writes through the async proxy. Comes before what a thread does
//   after
//                   a wait for the phase that the copy counted in. What comes before
//                   the copy is what its thread had seen before a proxy fence, see
//                   below.
//   fence           of all threads' accesses that came before a fence.proxy.async, all
//                   also come before the async proxy's accesses that come after it. So
//                   the fence may be in any thread on the way. An access that did not
//                   pass one is not ordered before a copy, not even of the same thread.
//   initialization  of an mbarrier: a copy that counts on it comes after its thread's
//                   fence.mbarrier_init, or a proxy fence.
//   cluster access  of another block's memory, which it has to know to have started,
//                   and which must not end before something there has seen the access.
//
// A thread has two vectors of labels for that (Clocks.h): what comes before its
// accesses, and what comes before those of the async proxy. Every synchronisation hands
// on both; a proxy fence copies the first into the second.
//
// As the order is exact, a load needs no late value and a copy no early one for a fault
// to show: if the accesses are ordered, no timing changes a value.
//
// Memory is kept as cells of 16 bytes, each with its last write and the reads since. A
// cell is cut into words, and a word into bytes, when an access takes part of it, and
// is whole again when a write covers it. Lanes of a warp that read a cell with the same
// label at the same place of the program share a record.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_EMULATED_RACES_H
#define QLINEAR_RUNTIME_EMULATED_RACES_H

#include "Clocks.h"
#include "Intrinsics.h"

#include <array>
#include <deque>
#include <optional>
#include <vector>

namespace qlinear::emulated {

using Site = qlr_emu_site;

/// Who accesses memory, and what comes before: an access of slot `slot`, which the
/// thread `order` makes, or starts (a copy).
struct Actor {
  Slot slot;
  Label label;
  const Observer *order;
  bool async; ///< through the async proxy
  const Site *site;

  bool sees(Slot other, Label then) const {
    return async ? order->seesFenced(other, then) : order->sees(other, then);
  }
};

/// An earlier access that is not ordered before another.
struct Conflict {
  Slot slot;
  uint64_t offset; ///< of the cell
  const Site *site;
  bool onlyUnfenced; ///< ordered, but for a proxy fence
};

/// The accesses of one block's shared memory.
class Shadow {
public:
  /// Forgets all. `threads` threads of the block have the slots from `first`, a
  /// multiple of 32.
  void reset(uint64_t bytes, Slot first, uint32_t threads);
  uint64_t size() const { return bytes; }
  std::optional<Conflict> read(const Actor &actor, uint64_t offset, uint64_t bytes);
  std::optional<Conflict> write(const Actor &actor, uint64_t offset, uint64_t bytes);

private:
  static constexpr uint32_t kCell = 16, kParts = 4, kLanes = 32;

  struct Write {
    const Site *site = nullptr;
    Slot slot = kNobody;
    Label label = 0;
  };
  /// Reads of some of 32 slots; `next`: others of the same 32.
  struct Reads {
    const Site *site = nullptr;
    uint32_t group = 0, lanes = 0;
    Label label = 0;
    Reads *next = nullptr;
  };
  struct Cell;
  using Parts = std::array<Cell, kParts>;
  /// One list per warp of the block, and one for all others.
  using Readers = std::vector<Reads *>;
  struct alignas(64) Cell {
    Write write;
    Reads reads; ///< the only ones, if `readers` is null
    Readers *readers = nullptr;
    Parts *parts = nullptr;
  };

  template <bool writes>
  std::optional<Conflict> access(const Actor &actor, uint64_t offset, uint64_t bytes);
  template <bool writes>
  bool visit(const Actor &actor, Cell &cell, uint32_t size, uint64_t at, uint64_t begin,
             uint64_t end);
  bool checkWrite(const Actor &actor, const Cell &cell, uint64_t at);
  bool checkReads(const Actor &actor, const Cell &cell, uint64_t at);
  bool checkReads(const Actor &actor, const Reads &reads, uint64_t at);
  void addRead(const Actor &actor, Cell &cell);
  bool mayReplace(const Actor &actor, const Reads &reads) const;
  Reads *newReads(const Actor &actor);
  void dropReads(Cell &cell);
  void split(Cell &cell);

  uint64_t bytes = 0;
  uint32_t firstGroup = 0, groups = 0;
  std::vector<Cell> cells;
  // Elements stay where they are; those given back are used again.
  std::deque<Parts> parts;
  std::deque<Readers> readers;
  std::deque<Reads> reads;
  std::vector<Parts *> freeParts;
  std::vector<Readers *> freeReaders;
  Reads *freeReads = nullptr;
  Conflict found; ///< by the running access
};

} // namespace qlinear::emulated
#endif
