//===- OutputTest.cpp - Files that appear whole or not at all -------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Files.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <iostream>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <thread>
#include <unistd.h>

using namespace qlinear;
using namespace qlinear::test;

namespace fs = std::filesystem;

namespace {

mode_t modeOf(const std::string &path) {
  struct stat info = {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

/// The message with which writing fails.
std::string writeError(const std::string &path) {
  auto r = writeOutput(path, "text");
  return r ? "" : r.error();
}

/// All that comes out of a pipe or fifo, until its writers are gone.
std::string drain(int fd) {
  std::string text;
  char part[4096];
  for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;)
    text.append(part, size_t(n));
  close(fd);
  return text;
}

TEST(Output, NewFilesHaveTheModeOfTheirUmask) {
  TemporaryDirectory dir;
  mode_t before = umask(0027);
  ASSERT_TRUE(writeOutput(dir / "plain", "text"));
  auto program = OutputFile::create(dir / "program", {0777, /*isNamed=*/true});
  ASSERT_TRUE(program);
  // As a linker does: another file in the place of the one that was made.
  unlink(program->name().c_str());
  writeFile(program->name(), "made");
  ASSERT_TRUE(program->publish());
  umask(before);
  EXPECT_EQ(readFile(dir / "plain"), "text");
  EXPECT_EQ(modeOf(dir / "plain"), 0640u);
  EXPECT_EQ(readFile(dir / "program"), "made");
  EXPECT_EQ(modeOf(dir / "program"), 0750u);
  EXPECT_EQ(dir.list().size(), 2u);
}

TEST(Output, WhatIsReplacedKeepsItsMode) {
  TemporaryDirectory dir;
  for (bool isNamed : {false, true})
    for (mode_t mode : {0600, 0644, 0755}) {
      writeFile(dir / "f", "before");
      chmod((dir / "f").c_str(), mode);
      auto file = OutputFile::create(dir / "f", {0777, isNamed});
      ASSERT_TRUE(file && file->append("after"));
      EXPECT_EQ(readFile(dir / "f"), "before");
      ASSERT_TRUE(file->publish());
      EXPECT_EQ(readFile(dir / "f"), "after");
      EXPECT_EQ(modeOf(dir / "f"), mode);
    }
  EXPECT_EQ(dir.list().size(), 1u);
}

TEST(Output, WhatIsReplacedKeepsItsOwner) {
  if (geteuid() != 0)
    GTEST_SKIP() << "only root gives files away";
  TemporaryDirectory dir;
  writeFile(dir / "f", "before");
  ASSERT_EQ(chown((dir / "f").c_str(), 12345, 23456), 0);
  ASSERT_TRUE(writeOutput(dir / "f", "after"));
  struct stat info;
  ASSERT_EQ(stat((dir / "f").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 12345u);
  EXPECT_EQ(info.st_gid, 23456u);
}

TEST(Output, LinksStay) {
  TemporaryDirectory dir;
  fs::create_directory(dir / "to");
  fs::create_symlink("to/middle", dir / "link");
  fs::create_symlink("real", dir / "to/middle");
  for (const char *text : {"new", "replaced"}) { // at first the target is missing
    ASSERT_TRUE(writeOutput(dir / "link", text));
    EXPECT_TRUE(fs::is_symlink(dir / "link") && fs::is_symlink(dir / "to/middle"));
    EXPECT_EQ(readFile(dir / "to/real"), text);
  }
  fs::create_symlink("loop", dir / "loop");
  EXPECT_NE(writeError(dir / "loop").find("cannot write '"), std::string::npos);
}

TEST(Output, FifosAreWrittenTo) {
  TemporaryDirectory dir;
  std::string fifo = dir / "fifo", large(300000, 'x');
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  fs::create_symlink("fifo", dir / "link");
  for (bool isNamed : {false, true}) {
    std::string got;
    std::thread reader([&] { got = drain(open(fifo.c_str(), O_RDONLY)); });
    auto file = OutputFile::create(dir / "link", {0666, isNamed});
    EXPECT_TRUE(file && file->append(large) && file->publish());
    reader.join();
    EXPECT_EQ(got, large);
    EXPECT_TRUE(fs::is_fifo(fifo));
  }
  EXPECT_EQ(dir.list().size(), 2u);
}

TEST(Output, DevicesAreWrittenTo) {
  TemporaryDirectory dir;
  std::string null = dir / "null", full = dir / "full", disk = dir / "disk";
  if (mknod(null.c_str(), S_IFCHR | 0666, makedev(1, 3)) != 0 ||
      mknod(full.c_str(), S_IFCHR | 0666, makedev(1, 7)) != 0 ||
      mknod(disk.c_str(), S_IFBLK | 0600, makedev(7, 99)) != 0)
    GTEST_SKIP() << "only root makes devices";
  if (int fd = open(null.c_str(), O_WRONLY); fd < 0)
    GTEST_SKIP() << "devices cannot be used here";
  else
    close(fd);
  EXPECT_EQ(writeError(null), "");
  EXPECT_EQ(writeError(full),
            fmt::format("cannot write '{}': No space left on device", full));
  EXPECT_EQ(writeError(disk),
            fmt::format("cannot write '{}': it is a block device", disk));
  EXPECT_TRUE(fs::is_character_file(null) && fs::is_character_file(full) &&
              fs::is_block_file(disk));
}

TEST(Output, OwnDescriptorsAreWrittenTo) {
  TemporaryDirectory dir;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  fs::create_symlink(fmt::format("/proc/self/fd/{}", ends[1]), dir / "link");
  EXPECT_EQ(writeError(dir / "link"), "");
  EXPECT_EQ(writeError(fmt::format("/dev/fd/{}", ends[1])), "");
  EXPECT_TRUE(fs::is_symlink(dir / "link"));
  EXPECT_NE(writeError(fmt::format("/proc/self/fd/{}", ends[0])), ""); // for reading
  close(ends[1]);
  EXPECT_EQ(drain(ends[0]), "texttext");
  // A file that a shell has opened: where it stands, with what it has.
  int fd = open((dir / "log").c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_EQ(write(fd, "first ", 6), 6);
  EXPECT_EQ(writeError(fmt::format("/dev/fd/{}", fd)), "");
  ASSERT_EQ(write(fd, " last", 5), 5);
  close(fd);
  EXPECT_EQ(readFile(dir / "log"), "first text last");
}

TEST(Output, WhatCannotBeWrittenIsSaidBefore) {
  TemporaryDirectory dir;
  auto error = [](const std::string &path) {
    auto file = OutputFile::create(path);
    return file ? "" : file.error();
  };
  EXPECT_EQ(error(dir / "none/f"),
            fmt::format("cannot write '{}/none/f': No such file or directory",
                        dir.path.string()));
  EXPECT_NE(error(dir.path.string()).find("Is a directory"), std::string::npos);
  EXPECT_NE(error(dir / "").find("Is a directory"), std::string::npos);
  EXPECT_NE(error("/proc/x"), "");
  if (geteuid() != 0) {
    writeFile(dir / "f", "before");
    chmod((dir / "f").c_str(), 0400);
    EXPECT_NE(error(dir / "f").find("Permission denied"), std::string::npos);
  }
}

TEST(Output, NothingIsLeftUnlessPublished) {
  TemporaryDirectory dir;
  writeFile(dir / "a", "before");
  for (bool isNamed : {false, true}) {
    auto file = OutputFile::create(dir / "a", {0666, isNamed});
    ASSERT_TRUE(file && file->append("after"));
    OutputFile moved = std::move(*file);
  }
  EXPECT_EQ(readFile(dir / "a"), "before");
  EXPECT_EQ(dir.list().size(), 1u);
}

TEST(Output, SeveralFilesAppearTogether) {
  TemporaryDirectory dir;
  std::vector<OutputFile> files;
  for (const char *name : {"a", "b"}) {
    auto file = OutputFile::create(dir / name, {0666, /*isNamed=*/true});
    ASSERT_TRUE(file && file->append("text"));
    files.push_back(std::move(*file));
  }
  unlink(files[1].name().c_str()); // the second cannot be published
  EXPECT_FALSE(OutputFile::publish(files));
  EXPECT_FALSE(fs::exists(dir / "a"));
  files.clear();
  EXPECT_TRUE(dir.list().empty());
}

TEST(Output, OutputsThatAreOneFileAreRefused) {
  TemporaryDirectory dir;
  writeFile(dir / "in", "");
  fs::create_hard_link(dir / "in", dir / "hard");
  fs::create_symlink("in", dir / "soft");
  ASSERT_EQ(mkfifo((dir / "fifo").c_str(), 0600), 0);
  auto message = [](std::vector<std::string> outputs, std::vector<std::string> inputs) {
    auto r = checkOutputs(outputs, inputs);
    return r ? "" : r.error();
  };
  for (const char *name : {"in", "hard", "soft"})
    EXPECT_NE(message({dir / name}, {dir / "in"}).find("is the input"),
              std::string::npos);
  for (const auto &[a, b] :
       {std::pair(dir / "x", dir / "./x"), std::pair(dir / "in", dir / "soft"),
        std::pair(std::string("-"), std::string("-"))})
    EXPECT_NE(message({a, b}, {}).find("is given for two outputs"), std::string::npos);
  EXPECT_EQ(message({"", ""}, {""}), "");
  EXPECT_EQ(message({dir / "fifo", dir / "fifo"}, {}), "");
  EXPECT_EQ(message({dir / "x", dir / "y"}, {dir / "in", "-"}), "");
  EXPECT_EQ(message({"-"}, {"-"}), "");
}

TEST(Output, StandardOutputThatIsFull) {
  int saved = dup(STDOUT_FILENO);
  fflush(stdout);
  ASSERT_EQ(dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO), STDOUT_FILENO);
  printf("text");
  auto flushed = flushStandardOutput();
  clearerr(stdout);
  std::cout.clear();
  std::string written = writeError("-");
  dup2(saved, STDOUT_FILENO);
  close(saved);
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error(),
            "cannot write to standard output: No space left on device");
  EXPECT_EQ(written, flushed.error());
}

} // namespace
