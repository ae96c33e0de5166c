//===- Mutants.cpp - Device code with synchronisation taken out -----------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Mutants.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/IR/DebugInfoMetadata.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/Transforms/Utils/BasicBlockUtils.h"

using namespace llvm;

uint32_t qlinear_mutant = 0;

namespace qlinear {

const char *spelling(Mutation mutation) {
  switch (mutation) {
  case Mutation::remove:
    return "remove";
  case Mutation::more:
    return "16 bytes more";
  case Mutation::fewer:
    return "16 bytes fewer";
  case Mutation::flip:
    return "other parity";
  case Mutation::stuck:
    return "parity 0";
  case Mutation::sooner:
    return "one pending more";
  }
  return "";
}

const std::vector<Mutation> *mutationsOf(StringRef operation) {
  using enum Mutation;
  static const StringMap<std::vector<Mutation>> table = {
      {"ql_ptx_barrier", {remove}},
      {"ql_ptx_warp_barrier", {remove}},
      {"ql_ptx_group_barrier", {remove}},
      {"ql_ptx_wgmma_commit", {remove}},
      {"ql_ptx_wgmma_wait", {remove, sooner}},
      {"ql_ptx_cluster_arrive", {remove}},
      {"ql_ptx_cluster_wait", {remove}},
      {"ql_ptx_launch_dependents", {remove}},
      {"ql_ptx_wait_prior_grids", {remove}},
      {"ql_ptx_mbarrier_init", {remove}},
      {"ql_ptx_mbarrier_init_count", {remove}},
      {"ql_ptx_mbarrier_arrive", {remove}},
      {"ql_ptx_cluster_mbarrier_arrive", {remove}},
      {"ql_ptx_mbarrier_poll", {remove, flip, stuck}},
      {"ql_ptx_mbarrier_fence", {remove}},
      {"ql_ptx_mbarrier_expect", {remove, more, fewer}},
      {"ql_ptx_mbarrier_wait", {remove, flip, stuck}},
      {"ql_ptx_proxy_fence", {remove}},
      {"ql_ptx_async_commit", {remove}},
      {"ql_ptx_async_wait", {remove, sooner}},
  };
  auto found = table.find(operation);
  return found == table.end() ? nullptr : &found->second;
}

bool isData(StringRef operation) {
  static const StringSet<> names = {
      "ql_ptx_thread",        "ql_ptx_block",          "ql_ptx_shuffle_xor",
      "ql_ptx_dp4a",          "ql_ptx_byte_permute",   "ql_ptx_exp2",
      "ql_ptx_reciprocal",    "ql_ptx_mma32",          "ql_ptx_mma16",
      "ql_ptx_load_matrices", "ql_ptx_stream16",       "ql_ptx_stream8",
      "ql_ptx_mma_half",      "ql_ptx_stream4",        "ql_ptx_load16_l2",
      "ql_ptx_cluster_rank",  "ql_ptx_cluster_store",  "ql_ptx_evict_first",
      "ql_ptx_bulk_copy",     "ql_ptx_bulk_copy_hint", "ql_ptx_async_copy16",
      "ql_ptx_any",           "ql_ptx_half_fma",       "ql_ptx_half_pair",
      "ql_ptx_cluster_load",  "ql_ptx_wgmma",          "ql_ptx_wgmma_descriptor",
      "ql_ptx_wgmma_columns", "ql_ptx_wgmma_fence",    "ql_ptx_pin",
      "ql_ptx_count",         "ql_ptx_uniform",
      "ql_ptx_await_count",   "ql_ptx_blocks",         "ql_ptx_bulk_copy_pair"};
  return names.contains(operation);
}

/// The synchronising calls of a module, function by function.
static std::vector<CallBase *> syncCalls(Module &module) {
  std::vector<CallBase *> calls;
  for (Function &function : module)
    for (Instruction &inst : instructions(function))
      if (auto *call = dyn_cast<CallBase>(&inst))
        if (Function *callee = call->getCalledFunction();
            callee && mutationsOf(callee->getName()))
          calls.push_back(call);
  return calls;
}

Sites::Place Sites::placeOf(const CallBase &call) {
  const DILocation *at = call.getDebugLoc();
  return {at->getScope()->getSubprogram()->getName().str(),
          call.getCalledFunction()->getName().str(), at->getLine(), at->getColumn()};
}

Sites::Sites(Module &microKernels) {
  for (CallBase *call : syncCalls(microKernels))
    places[placeOf(*call)];
  std::map<std::string, unsigned> counts;
  for (auto &[place, name] : places) { // by function, callee and line
    name = place.function + ": " + place.callee;
    name += " " + std::to_string(++counts[name]);
    all.insert(name);
  }
}

std::string Sites::nameOf(const CallBase &call) const {
  return call.getDebugLoc() ? places.at(placeOf(call)) : "";
}

std::vector<std::string> addMutants(Module &device, const Sites &sites) {
  LLVMContext &context = device.getContext();
  Type *i32 = Type::getInt32Ty(context);
  auto *running =
      new GlobalVariable(device, i32, /*isConstant=*/true, GlobalValue::ExternalLinkage,
                         nullptr, "qlinear_mutant");
  std::vector<std::string> names;
  std::map<std::string, unsigned> counts; ///< of the skeleton's
  for (CallBase *call : syncCalls(device)) {
    StringRef callee = call->getCalledFunction()->getName();
    std::string site = sites.nameOf(*call);
    if (site.empty()) {
      site = ("skeleton: " + callee).str();
      site += " " + std::to_string(++counts[site]);
    }
    for (Mutation mutation : *mutationsOf(callee)) {
      std::string name = site + ", " + spelling(mutation);
      auto known = llvm::find(names, name); // inlined in several places
      uint32_t number = uint32_t(known - names.begin()) + 1;
      if (known == names.end())
        names.push_back(name);
      IRBuilder<> b(call);
      Value *now = b.CreateLoad(i32, running, /*isVolatile=*/true);
      Value *isOn = b.CreateICmpEQ(now, b.getInt32(number));
      auto change = [&](unsigned arg, Value *changed) {
        call->setArgOperand(arg,
                            b.CreateSelect(isOn, changed, call->getArgOperand(arg)));
      };
      switch (mutation) {
      case Mutation::remove: {
        Instruction *then = SplitBlockAndInsertIfThen(b.CreateNot(isOn), call, false);
        call->moveBefore(then->getIterator());
        break;
      }
      case Mutation::more:
        change(1, b.CreateAdd(call->getArgOperand(1), b.getInt32(16)));
        break;
      case Mutation::fewer:
        change(1, b.CreateSub(call->getArgOperand(1), b.getInt32(16)));
        break;
      case Mutation::flip:
        change(1, b.CreateXor(call->getArgOperand(1), b.getInt32(1)));
        break;
      case Mutation::stuck:
        change(1, b.getInt32(0));
        break;
      case Mutation::sooner:
        change(0, b.CreateAdd(call->getArgOperand(0), b.getInt32(1)));
        break;
      }
    }
  }
  return names;
}

} // namespace qlinear
