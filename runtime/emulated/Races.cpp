//===- Races.cpp - The order of shared memory accesses -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Races.h"

#include <algorithm>
#include <bit>

namespace qlinear::emulated {

void Shadow::reset(uint64_t size, Slot first, uint32_t threads) {
  bytes = size;
  firstGroup = first / kLanes;
  groups = (threads + kLanes - 1) / kLanes;
  cells.assign((size + kCell - 1) / kCell, Cell());
  parts.clear();
  readers.clear();
  reads.clear();
  freeParts.clear();
  freeReaders.clear();
  freeReads = nullptr;
}

std::optional<Conflict> Shadow::read(const Actor &actor, uint64_t offset,
                                     uint64_t length) {
  return access<false>(actor, offset, length);
}
std::optional<Conflict> Shadow::write(const Actor &actor, uint64_t offset,
                                      uint64_t length) {
  return access<true>(actor, offset, length);
}

template <bool writes>
std::optional<Conflict> Shadow::access(const Actor &actor, uint64_t offset,
                                       uint64_t length) {
  uint64_t end = offset + length;
  for (uint64_t i = offset / kCell; i * kCell < end; ++i)
    if (!visit<writes>(actor, cells[i], kCell, i * kCell, offset, end))
      return found;
  return std::nullopt;
}

/// Checks and notes the access begin .. end - 1 as far as it is in the cell, which has
/// the `size` bytes from `at` on. Whether it is ordered.
template <bool writes>
bool Shadow::visit(const Actor &actor, Cell &cell, uint32_t size, uint64_t at,
                   uint64_t begin, uint64_t end) {
  bool covered = begin <= at && at + size <= end;
  if (covered && !cell.parts) {
    if (!checkWrite(actor, cell, at))
      return false;
    if (!writes) {
      addRead(actor, cell);
      return true;
    }
    if (!checkReads(actor, cell, at))
      return false;
    dropReads(cell);
    cell.write = {actor.site, actor.slot, actor.label};
    return true;
  }
  if (!cell.parts)
    split(cell);
  uint32_t part = size / kParts;
  for (uint32_t i = 0; i < kParts; ++i) {
    uint64_t first = at + i * part;
    if (first < end && begin < first + part &&
        !visit<writes>(actor, (*cell.parts)[i], part, first, begin, end))
      return false;
  }
  if (writes && covered) { // all parts are the same now
    cell.write = cell.parts->front().write;
    freeParts.push_back(cell.parts);
    cell.parts = nullptr;
  }
  return true;
}

bool Shadow::checkWrite(const Actor &actor, const Cell &cell, uint64_t at) {
  const Write &last = cell.write;
  if (last.slot == kNobody || actor.sees(last.slot, last.label))
    return true;
  found = {last.slot, at, last.site, actor.order->sees(last.slot, last.label)};
  return false;
}

bool Shadow::checkReads(const Actor &actor, const Reads &list, uint64_t at) {
  for (const Reads *r = &list; r; r = r->next)
    for (uint32_t rest = r->lanes; rest; rest &= rest - 1) {
      Slot slot = r->group * kLanes + uint32_t(std::countr_zero(rest));
      if (actor.sees(slot, r->label))
        continue;
      found = {slot, at, r->site, actor.order->sees(slot, r->label)};
      return false;
    }
  return true;
}

bool Shadow::checkReads(const Actor &actor, const Cell &cell, uint64_t at) {
  if (!cell.readers)
    return checkReads(actor, cell.reads, at);
  return std::ranges::all_of(*cell.readers, [&](const Reads *list) {
    return !list || checkReads(actor, *list, at);
  });
}

/// Whether all these reads come before the actor's, so that what is ordered after the
/// actor's is ordered after them.
bool Shadow::mayReplace(const Actor &actor, const Reads &list) const {
  for (uint32_t rest = list.lanes; rest; rest &= rest - 1)
    if (!actor.sees(list.group * kLanes + uint32_t(std::countr_zero(rest)), list.label))
      return false;
  return true;
}

Shadow::Reads *Shadow::newReads(const Actor &actor) {
  Reads *r = freeReads;
  if (r)
    freeReads = r->next;
  else
    r = &reads.emplace_back();
  *r = {actor.site, actor.slot / kLanes, 1u << actor.slot % kLanes, actor.label};
  return r;
}

void Shadow::addRead(const Actor &actor, Cell &cell) {
  uint32_t group = actor.slot / kLanes, lane = 1u << actor.slot % kLanes;
  auto addTo = [&](Reads &r) {
    if (r.group != group)
      return false;
    if (r.label == actor.label && r.site == actor.site) {
      r.lanes |= lane;
      return true;
    }
    if (!mayReplace(actor, r))
      return false;
    r.site = actor.site;
    r.lanes = lane;
    r.label = actor.label;
    return true;
  };
  if (!cell.readers) {
    if (!cell.reads.lanes) {
      cell.reads = {actor.site, group, lane, actor.label};
      return;
    }
    if (addTo(cell.reads))
      return;
    if (freeReaders.empty()) {
      cell.readers = &readers.emplace_back(groups + 1);
    } else {
      cell.readers = freeReaders.back();
      freeReaders.pop_back();
    }
    Reads *first = newReads(actor);
    *first = cell.reads;
    (*cell.readers)[std::min(first->group - firstGroup, groups)] = first;
    cell.reads = {};
  }
  Reads *&head = (*cell.readers)[std::min(group - firstGroup, groups)];
  for (Reads *r = head; r; r = r->next)
    if (addTo(*r))
      return;
  Reads *r = newReads(actor);
  r->next = head;
  head = r;
}

void Shadow::dropReads(Cell &cell) {
  cell.reads.lanes = 0;
  if (!cell.readers)
    return;
  for (Reads *&head : *cell.readers)
    while (Reads *r = head) {
      head = r->next;
      r->next = freeReads;
      freeReads = r;
    }
  freeReaders.push_back(cell.readers);
  cell.readers = nullptr;
}

/// Cuts a cell into parts, each with the cell's whole history.
void Shadow::split(Cell &cell) {
  if (freeParts.empty()) {
    cell.parts = &parts.emplace_back();
  } else {
    cell.parts = freeParts.back();
    freeParts.pop_back();
  }
  for (Cell &part : *cell.parts) {
    part = Cell{.write = cell.write, .reads = cell.reads};
    if (!cell.readers)
      continue;
    if (freeReaders.empty()) {
      part.readers = &readers.emplace_back(groups + 1);
    } else {
      part.readers = freeReaders.back();
      freeReaders.pop_back();
    }
    for (uint32_t i = 0; i <= groups; ++i) {
      Reads **end = &(*part.readers)[i];
      for (const Reads *r = (*cell.readers)[i]; r; r = r->next) {
        Reads *copy = freeReads;
        if (copy)
          freeReads = copy->next;
        else
          copy = &reads.emplace_back();
        *copy = *r;
        copy->next = nullptr;
        *end = copy;
        end = &copy->next;
      }
    }
  }
  dropReads(cell);
}

} // namespace qlinear::emulated
