//===- CacheFolder.h - Where what was compiled is kept ----------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Neither MLIR nor LLVM is needed to include this. Python asks the runtime for it
// (qlr_cache_folder).
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_SUPPORT_CACHEFOLDER_H
#define QLINEAR_SUPPORT_CACHEFOLDER_H

#include <cstdlib>
#include <pwd.h>
#include <string>
#include <unistd.h>

namespace qlinear {

/// $QLINEAR_CACHE, else qlinear/ in $XDG_CACHE_HOME, else in ~/.cache; empty where
/// nothing says whose home it is. A base that is no absolute path counts as none, as
/// the XDG specification has it.
inline std::string cacheFolder() {
  auto variable = [](const char *name) {
    const char *value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (std::string folder = variable("QLINEAR_CACHE"); !folder.empty())
    return folder;
  if (std::string base = variable("XDG_CACHE_HOME"); base.starts_with('/'))
    return base + "/qlinear";
  std::string home = variable("HOME");
  if (home.empty()) {
    passwd entry, *found = nullptr;
    char strings[4096];
    if (getpwuid_r(getuid(), &entry, strings, sizeof(strings), &found) == 0 && found)
      home = found->pw_dir;
  }
  return home.empty() ? "" : home + "/.cache/qlinear";
}

} // namespace qlinear
#endif
