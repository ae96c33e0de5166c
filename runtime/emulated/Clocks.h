//===- Clocks.h - What threads know of each other's accesses ----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Vector clocks, for the order of accesses that Races.h defines. Whatever accesses
// memory has a slot: each thread of a cluster, the cp.async copies of each thread, the
// bulk copies of each mbarrier. An access is stamped with its slot and the slot's label
// at that time. A label grows when its slot releases something, so "slot s up to label
// l came before" is one number, and a vector of labels says it for all slots.
//
// Threads that have met at a barrier know the same: they share one vector, which is
// never changed while it is shared. A thread's own label is not looked up there.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_RUNTIME_EMULATED_CLOCKS_H
#define QLINEAR_RUNTIME_EMULATED_CLOCKS_H

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include <cstdint>
#include <vector>

namespace qlinear::emulated {

using Slot = uint32_t;
using Label = uint32_t; ///< 0: nothing
inline constexpr Slot kNobody = ~0u;

/// A label per slot; slots past the end have 0. A cluster runs on one OS thread.
struct Labels
    : boost::intrusive_ref_counter<Labels, boost::sp_adl_block::thread_unsafe_counter> {
  std::vector<Label> at;
};
using Knowledge = boost::intrusive_ptr<Labels>;

inline Label labelOf(const Knowledge &knowledge, Slot slot) {
  return knowledge && slot < knowledge->at.size() ? knowledge->at[slot] : 0;
}
/// The union of both.
Knowledge join(const Knowledge &a, const Knowledge &b);
/// Adds slot `slot` up to `label`.
void learn(Knowledge &knowledge, Slot slot, Label label);

/// Accesses that come before those of the generic proxy, and before those of the async
/// proxy: the second lags behind until a proxy fence.
struct View {
  Knowledge generic, async;
};

/// The last view that was joined with one that stays the same, as all threads of a warp
/// do it one after the other.
struct JoinCache {
  View from, to;
};

/// A thread, as others see it.
struct Observer {
  Slot self = kNobody, copies = kNobody; ///< itself; its cp.async copies, if any
  View known;                            ///< of others
  Label now = 1;                         ///< of its next access
  Label fenced = 0;                      ///< of its last one before a proxy fence
  Label group = 1;                       ///< of its next cp.async
  Label landed = 0, landedFenced = 0;    ///< groups it has waited for, up to a fence

  /// Whether the access came before the thread's next one.
  bool sees(Slot slot, Label label) const {
    if (slot == self)
      return true;
    return (slot == copies ? landed : labelOf(known.generic, slot)) >= label;
  }
  /// Whether it comes before the next access of the async proxy that the thread issues.
  bool seesFenced(Slot slot, Label label) const {
    return (slot == self     ? fenced
            : slot == copies ? landedFenced
                             : labelOf(known.async, slot)) >= label;
  }
  /// fence.proxy.async: what came before is now before the async proxy's accesses, too.
  void fence() {
    known.async = known.generic;
    fenced = now++;
    landedFenced = landed;
  }
  /// Takes over what `view` has, and remembers the result for the next thread.
  void acquire(const View &view, JoinCache &cache);
};

/// What threads that arrive at a barrier know together.
class Gathering {
public:
  void add(const Observer &thread);
  /// An access that came before, on its own.
  void add(Slot slot, Label label) { own.push_back({slot, label, label}); }
  bool empty() const { return own.empty(); }
  /// The newest label of a thread that was added.
  Label newest() const { return last; }
  /// Empties it.
  View take();

private:
  struct Own {
    Slot slot;
    Label generic, async;
  };
  static void raise(Knowledge &knowledge, const std::vector<Own> &own,
                    Label Own::*label);
  std::vector<View> views;
  std::vector<Own> own;
  Label last = 0;
};

} // namespace qlinear::emulated
#endif
