//===- Programs.cpp - Programs that a tool runs ---------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "common/Programs.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/core.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace qlinear;

std::string qlinear::toolsFolder() {
  std::error_code ec;
  std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", ec);
  if (ec) // /proc is not mounted: the name it was started by
    own = std::filesystem::canonical(
        reinterpret_cast<const char *>(getauxval(AT_EXECFN)), ec);
  return own.parent_path().string();
}

std::string qlinear::pythonProgram() {
  const char *chosen = getenv("QLINEAR_PYTHON");
  return chosen && *chosen ? chosen : "python3";
}

/// All that can be read from a pipe's end, which is closed.
static std::string drain(int fd) {
  std::string text;
  char part[4096];
  for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;)
    text.append(part, size_t(n));
  close(fd);
  return text;
}

Result<std::string> qlinear::runTool(const std::vector<std::string> &command) {
  int out[2];
  // Errors go to a file: two pipes could block each other.
  FILE *errors = tmpfile();
  if (!errors || pipe2(out, O_CLOEXEC) != 0)
    return error(fmt::format("cannot run '{}': {}", command[0], strerror(errno)));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, fileno(errors), 2);
  std::vector<char *> arguments;
  for (const std::string &word : command)
    arguments.push_back(const_cast<char *>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  int failed =
      posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  std::string text = drain(out[0]);
  int status = 0;
  if (!failed)
    waitpid(child, &status, 0);
  std::string complaint;
  std::rewind(errors);
  char part[4096];
  for (size_t n; (n = std::fread(part, 1, sizeof part, errors)) > 0;)
    complaint.append(part, n);
  std::fclose(errors);
  if (failed)
    return error(fmt::format("cannot run '{}': {}", command[0], strerror(failed)));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return error(complaint.empty() ? fmt::format("'{}' failed", command[0])
                                   : complaint);
  return text;
}

Result<TemporaryFolder> TemporaryFolder::create(const std::string &tool) {
  TemporaryFolder folder;
  folder.name = (std::filesystem::temp_directory_path() / (tool + "-XXXXXX")).string();
  if (!mkdtemp(folder.name.data())) {
    std::string wanted;
    wanted.swap(folder.name); // there is nothing to remove
    return error(fmt::format("cannot create '{}'", wanted));
  }
  return folder;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ec;
  if (!name.empty())
    std::filesystem::remove_all(name, ec);
}
