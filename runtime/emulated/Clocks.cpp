//===- Clocks.cpp - What threads know of each other's accesses -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Clocks.h"

#include <algorithm>

namespace qlinear::emulated {

/// Whether `a` has all that `b` has.
static bool covers(const std::vector<Label> &a, const std::vector<Label> &b) {
  size_t both = std::min(a.size(), b.size());
  unsigned newer = 0;
  for (size_t i = 0; i < both; ++i) // without a branch: as vectors
    newer |= unsigned(b[i] > a[i]);
  return !newer && std::all_of(b.begin() + ptrdiff_t(both), b.end(),
                               [](Label label) { return label == 0; });
}

Knowledge join(const Knowledge &a, const Knowledge &b) {
  if (a == b || !b)
    return a;
  if (!a)
    return b;
  if (covers(a->at, b->at))
    return a;
  if (covers(b->at, a->at))
    return b;
  const Knowledge &longer = a->at.size() < b->at.size() ? b : a;
  const std::vector<Label> &other = (longer == a ? b : a)->at;
  Knowledge both = new Labels;
  both->at = longer->at;
  for (size_t i = 0; i < other.size(); ++i)
    both->at[i] = std::max(both->at[i], other[i]);
  return both;
}

/// Makes it the caller's own, with room for `slot`.
static void own(Knowledge &knowledge, Slot slot) {
  if (!knowledge) {
    knowledge = new Labels;
  } else if (knowledge->use_count() > 1) {
    Knowledge copy = new Labels;
    copy->at = knowledge->at;
    knowledge = std::move(copy);
  }
  if (knowledge->at.size() <= slot)
    knowledge->at.resize(slot + 1);
}

void learn(Knowledge &knowledge, Slot slot, Label label) {
  if (labelOf(knowledge, slot) >= label)
    return;
  own(knowledge, slot);
  knowledge->at[slot] = label;
}

void Observer::acquire(const View &view, JoinCache &cache) {
  if (cache.from.generic != known.generic || !cache.to.generic) {
    cache.from.generic = known.generic;
    cache.to.generic = join(known.generic, view.generic);
  }
  if (cache.from.async != known.async || !cache.to.async) {
    cache.from.async = known.async;
    cache.to.async = join(known.async, view.async);
  }
  known = cache.to;
}

void Gathering::add(const Observer &thread) {
  if (views.empty() || views.back().generic != thread.known.generic ||
      views.back().async != thread.known.async)
    views.push_back(thread.known);
  own.push_back({thread.self, thread.now, thread.fenced});
  if (thread.landed)
    own.push_back({thread.copies, thread.landed, thread.landedFenced});
  last = std::max(last, thread.now);
}

void Gathering::raise(Knowledge &knowledge, const std::vector<Own> &all,
                      Label Own::*label) {
  Slot end = 0;
  bool isNews = false;
  for (const Own &o : all) {
    isNews |= labelOf(knowledge, o.slot) < o.*label;
    end = std::max(end, o.slot);
  }
  if (!isNews)
    return;
  emulated::own(knowledge, end);
  for (const Own &o : all) {
    Label &at = knowledge->at[o.slot];
    at = std::max(at, o.*label);
  }
}

View Gathering::take() {
  View all;
  for (const View &view : views) {
    all.generic = join(all.generic, view.generic);
    all.async = join(all.async, view.async);
  }
  views.clear(); // or `all` would not be alone with what it has
  raise(all.generic, own, &Own::generic);
  raise(all.async, own, &Own::async);
  own.clear();
  last = 0;
  return all;
}

} // namespace qlinear::emulated
