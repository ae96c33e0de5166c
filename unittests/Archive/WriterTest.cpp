//===- WriterTest.cpp - Writing safetensors -------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Files.h"

#include <csignal>
#include <sys/resource.h>

using namespace qlinear;
using namespace qlinear::test;

namespace {

Tensor tensorOf(const std::string &name, const std::string &type,
                std::vector<uint64_t> shape, const std::string &data) {
  return {name, type, std::move(shape), std::as_bytes(std::span(data)), 0};
}

TEST(Writer, ReadsBack) {
  TemporaryDirectory dir;
  std::string path = dir / "w.safetensors";
  std::string three = "abc", line(256, 'l'), eight(8, 'e');
  std::map<std::string, std::string> metadata = {{"k\"\\", "v\n\xC3\xA4"}};
  ASSERT_TRUE(writeSafetensors(
      path,
      {tensorOf("three", "U8", {3}, three), tensorOf("li\"ne", "BF16", {2, 64}, line),
       tensorOf("none", "F32", {0}, ""), tensorOf("eight", "F64", {}, eight)},
      metadata));
  auto file = Checkpoint::open(path);
  ASSERT_TRUE(file) << file.error();
  EXPECT_EQ(file->metadata(), metadata);
  EXPECT_EQ(file->find("li\"ne")->offset % 128, 0u);
  EXPECT_EQ(file->find("eight")->offset % 8, 0u);
  EXPECT_EQ(memcmp(file->find("three")->bytes.data(), "abc", 3), 0);
  EXPECT_EQ(file->find("none")->bytes.size(), 0u);
  EXPECT_EQ(dir.list(), (std::vector<std::string>{"w.safetensors"}));
}

TEST(Writer, NothingIsLeftOnFailure) {
  TemporaryDirectory dir;
  std::string path = dir / "w.safetensors", data(1 << 20, 'x');
  writeFile(path, "before");
  {
    auto writer = SafetensorsWriter::create(path, 1000);
    ASSERT_TRUE(writer);
    ASSERT_TRUE(
        writer->append("a", "U8", {data.size()}, std::as_bytes(std::span(data))));
    EXPECT_EQ(readFile(path), "before");
    // Given up: two tensors of one name.
    ASSERT_TRUE(
        writer->append("a", "U8", {1}, std::as_bytes(std::span(data)).first(1)));
    auto r = writer->finish({});
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().find("two tensors are named 'a'"), std::string::npos);
  }
  {
    auto writer = SafetensorsWriter::create(path, 4);
    auto r = writer->finish({{"key", std::string(1000, 'v')}});
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().find("were reserved"), std::string::npos);
  }
  // No room on the disk, as far as the file can tell.
  signal(SIGXFSZ, SIG_IGN);
  rlimit before, low;
  getrlimit(RLIMIT_FSIZE, &before);
  low = before;
  low.rlim_cur = 1 << 16;
  setrlimit(RLIMIT_FSIZE, &low);
  auto r = writeSafetensors(path, {tensorOf("a", "U8", {data.size()}, data)}, {});
  setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().find("cannot write '"), std::string::npos);
  EXPECT_NE(r.error().find("File too large"), std::string::npos);
  EXPECT_EQ(readFile(path), "before");
  EXPECT_EQ(dir.list(), (std::vector<std::string>{"w.safetensors"}));
}

TEST(Writer, TargetsThatCannotBe) {
  TemporaryDirectory dir;
  auto expect = [](const std::string &path, const std::string &part) {
    auto r = writeSafetensors(path, {}, {});
    ASSERT_FALSE(r) << path;
    EXPECT_NE(r.error().find(part), std::string::npos) << r.error();
  };
  expect(dir / "none/x", "No such file or directory");
  expect(dir.path.string(), "Is a directory");
  expect("/proc/x", "cannot write '/proc/x'");
}

TEST(Writer, FollowsSymbolicLinks) {
  TemporaryDirectory dir;
  std::filesystem::create_directory(dir / "to");
  std::filesystem::create_symlink("to/real", dir / "link");
  ASSERT_TRUE(writeSafetensors(dir / "link", {}, {}));
  EXPECT_TRUE(std::filesystem::is_symlink(dir / "link"));
  EXPECT_TRUE(std::filesystem::is_regular_file(dir / "to/real"));
}

TEST(Writer, HeaderRoomIsEnough) {
  TemporaryDirectory dir;
  std::mt19937_64 rng(4);
  for (int i = 0; i < 50; ++i) {
    std::vector<Tensor> tensors;
    std::map<std::string, std::string> metadata;
    std::vector<std::string> names;
    for (size_t t = 0; t < rng() % 20; ++t) {
      std::string name(rng() % 40 + 1, char('!' + rng() % 90));
      names.push_back(name + std::to_string(t));
      tensors.push_back(tensorOf(names.back(), "F8_E4M3FNUZ", {0, rng(), rng()}, ""));
    }
    for (size_t m = 0; m < rng() % 5; ++m)
      metadata[std::string(m, '\t')] = std::string(rng() % 300, '\1');
    std::string path = dir / std::to_string(i);
    auto r = writeSafetensors(path, tensors, metadata);
    ASSERT_TRUE(r) << r.error();
  }
}

} // namespace
