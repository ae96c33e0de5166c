//===- EmulatedSites.cpp - Where device code accesses memory --------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedSites.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/DebugInfoMetadata.h"
#include "llvm/Support/MD5.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace qlinear {

std::string describeLocation(const DebugLoc &location) {
  const DILocation *at = location.get();
  if (!at)
    return "in generated code";
  SmallString<64> file(at->getFilename());
  sys::path::remove_dots(file, /*remove_dot_dot=*/true);
  std::string text = (file + ":" + Twine(at->getLine()) + " (").str();
  for (bool isFirst = true; at; at = at->getInlinedAt(), isFirst = false) {
    const DISubprogram *function = at->getScope()->getSubprogram();
    text += ((isFirst ? "" : ", ") + function->getName()).str();
  }
  return text + ")";
}

/// A private constant named after its contents, so that equal ones are one.
static GlobalVariable *constantOf(Module &module, StringRef key,
                                  function_ref<Constant *()> make) {
  MD5 hash;
  hash.update(key);
  std::string name = "qlr_site." + hash.final().digest().str().str();
  if (GlobalVariable *found = module.getNamedGlobal(name))
    return found;
  Constant *value = make();
  auto *variable = new GlobalVariable(module, value->getType(), true,
                                      GlobalValue::PrivateLinkage, value, name);
  GlobalValue::SanitizerMetadata metadata;
  metadata.NoAddress = true; // no device code reads it
  variable->setSanitizerMetadata(metadata);
  return variable;
}

static Constant *stringOf(Module &module, StringRef text) {
  return constantOf(module, text, [&] {
    return ConstantDataArray::getString(module.getContext(), text);
  });
}

Constant *emulatedSite(Module &module, StringRef what, uint64_t bytes,
                       const DebugLoc &location) {
  std::string where = describeLocation(location);
  return constantOf(module, (what + "\n" + Twine(bytes) + "\n" + where).str(), [&] {
    return ConstantStruct::getAnon(
        {stringOf(module, what), stringOf(module, where),
         ConstantInt::get(Type::getInt32Ty(module.getContext()), bytes)});
  });
}

} // namespace qlinear
