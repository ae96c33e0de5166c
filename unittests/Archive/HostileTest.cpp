//===- HostileTest.cpp - Files that lie -----------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Small valid files, damaged in every systematic way: each prefix, each byte of
// the header, each 4- and 8-byte field. Reading them may succeed or fail, but
// has to end in an orderly way; the sanitizers watch. Where a damage must be
// noticed, it is also checked that it is.
//
//===----------------------------------------------------------------------===//
#include "Files.h"

#include <fmt/core.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace qlinear;
using namespace qlinear::test;
using namespace std::literals;

namespace {

std::string smallGguf() {
  std::mt19937_64 rng(5);
  Bytes array;
  array.string("a").put(uint32_t(9)).put(uint32_t(8)).put(uint64_t(2));
  array.string("x").string("yz");
  return makeGguf(
      {{"w", 12, {256, 2}, randomBlocks(2, 144, {0, 2}, rng)},
       {"b", 0, {4}, std::string(16, '\0')},
       {"o", 23, {256, 1}, std::string(136, '\3')}},
      {pairU32("general.alignment", 32), array.text, pairString("s", "text")});
}

std::string smallSafetensors() {
  return makeSafetensors(
      R"({"__metadata__":{"k":"v"},"w.weight":{"dtype":"BF16","shape":[2,32],)"
      R"("data_offsets":[0,128]},"b":{"dtype":"F32","shape":[2],"data_offsets":[128,136]}})",
      std::string(136, '\1'));
}

/// A packed archive of one Q4_K weight.
std::string smallArchive(const TemporaryDirectory &dir) {
  std::mt19937_64 rng(6);
  writeFile(dir / "s.gguf",
            makeGguf({{"w", 12, {256, 2}, randomBlocks(2, 144, {0, 2}, rng)},
                      {"o", 23, {256, 1}, std::string(136, '\3')}}));
  auto file = Checkpoint::open(dir / "s.gguf");
  EXPECT_TRUE(file) << file.error();
  auto inventory = takeInventory(*file);
  EXPECT_TRUE(inventory) << inventory.error();
  auto report = packArchive(*file, *inventory, dir / "s.safetensors", {});
  EXPECT_TRUE(report) << report.error();
  return readFile(dir / "s.safetensors");
}

/// A safetensors file of tensors whose bytes are small numbers of their types.
std::string makeCheckpoint(
    std::string metadata,
    std::initializer_list<std::tuple<const char *, const char *, const char *, size_t>>
        tensors) {
  std::string header = R"({"__metadata__":{)" + std::move(metadata) + "}", data;
  for (auto [name, type, shape, size] : tensors) {
    header +=
        fmt::format(R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                    name, type, shape, data.size(), data.size() + size);
    // f16 1, and integers that are 1; of HQQ's bits 8.
    std::string_view element = type == "F16"sv ? "\0\x3C"sv
                               : std::string_view(name).ends_with("_shape")
                                   ? "\1\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0"sv
                               : type == "I64"sv ? "\1\0\0\0\0\0\0\0"sv
                               : type == "I32"sv ? "\1\0\0\0"sv
                               : std::string_view(name).ends_with("s") ? "\10"sv
                                                                       : "\1"sv;
    for (size_t i = 0; i < size; ++i)
      data += element[i % element.size()];
  }
  return makeSafetensors(header + "}", data);
}

/// Small checkpoints of the conventions that importers read.
std::string smallCheckpoint(std::string_view kind) {
  if (kind == "gptq")
    return makeCheckpoint("", {{"x.qweight", "I32", "4,8", 128},
                               {"x.qzeros", "I32", "2,1", 8},
                               {"x.scales", "F16", "2,8", 32}});
  if (kind == "compressed") // 1 x 16, and 2 x 16
    return makeCheckpoint("", {{"x.weight_packed", "I32", "1,2", 8},
                               {"x.weight_shape", "I64", "2", 16},
                               {"x.weight_scale", "F16", "1,1", 2},
                               {"x.weight_zero_point", "I32", "1,1", 4},
                               {"y.weight", "I8", "2,16", 32},
                               {"y.weight_scale", "F16", "2,1", 4}});
  if (kind == "torchao")
    return makeCheckpoint(
        R"("x.weight":"{\"_type\":\"Int4Tensor\",\"_data\":{\"block_size\":[1,16]}}",)"
        R"("y.weight":"{\"_type\":\"Int8Tensor\",\"_data\":{\"block_size\":[1,32]}}")",
        {{"x._weight_qdata", "I8", "2,16", 32},
         {"x._weight_scale", "F16", "2,2", 8},
         {"x._weight_zero_point", "F16", "2,2", 8},
         {"y._weight_qdata", "I8", "2,32", 64},
         {"y._weight_scale", "F16", "2,1", 4}});
  if (kind == "hqq")
    return makeCheckpoint("", {{"x.W_q", "U8", "1,1", 1},
                               {"x.scale", "F16", "1,1", 2},
                               {"x.zero", "F16", "1,1", 2},
                               {"x.nbits", "U8", "", 1},
                               {"x.group_size", "I32", "", 4},
                               {"x.axis", "I32", "", 4},
                               {"x.shape", "I64", "2", 16}});
  return makeCheckpoint(R"("x":"{\"codes\":\"u4\",\"k\":32}")",
                        {{"x.codes", "U8", "2,16", 32},
                         {"x.scales", "F16", "2,2", 8},
                         {"x.zeros", "U8", "2,2", 4}});
}

/// Bytes of the header, without the spaces that pad it.
size_t headerEnd(const std::string &bytes) {
  if (bytes.starts_with("GGUF"))
    return bytes.find(std::string(8, '\0'), 250); // past the descriptions
  return bytes.rfind('}') + 1;
}

class Hostile : public ::testing::TestWithParam<const char *> {
protected:
  TemporaryDirectory dir;
  int memory = memfd_create("hostile", MFD_CLOEXEC); // no disk: there are many
  std::string path = "/proc/self/fd/" + std::to_string(memory), good;

  void SetUp() override {
    std::string kind = GetParam();
    good = kind == "gguf"          ? smallGguf()
           : kind == "safetensors" ? smallSafetensors()
           : kind == "archive"     ? smallArchive(dir)
                                   : smallCheckpoint(kind);
    ASSERT_TRUE(readable(good));
  }
  void TearDown() override { close(memory); }
  bool readable(const std::string &bytes) {
    EXPECT_EQ(ftruncate(memory, off_t(bytes.size())), 0);
    EXPECT_EQ(pwrite(memory, bytes.data(), bytes.size(), 0), ssize_t(bytes.size()));
    return readAll(path);
  }
};

TEST_P(Hostile, EveryPrefix) {
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(readable(good.substr(0, size))) << size << " of " << good.size();
}

TEST_P(Hostile, EveryByteOfTheHeader) {
  size_t end = headerEnd(good);
  for (size_t at = 0; at < end; ++at)
    for (int value : {0x00, 0x01, 0x7F, 0x80, 0xFF, int('9'), int('['), int('"')}) {
      std::string bytes = good;
      bytes[at] = char(value);
      readable(bytes);
    }
}

TEST_P(Hostile, EveryFieldOfTheHeader) {
  size_t end = headerEnd(good);
  for (size_t at = 0; at + 8 <= end; ++at)
    for (uint64_t value : {uint64_t(0), ~uint64_t(0), uint64_t(1) << 63,
                           uint64_t(1) << 62, uint64_t(1) << 40, uint64_t(1) << 32,
                           uint64_t(good.size()), uint64_t(0x7FFFFFFF)})
      for (size_t width : {4, 8}) {
        std::string bytes = good;
        memcpy(bytes.data() + at, &value, width);
        readable(bytes);
      }
}

TEST_P(Hostile, EveryByteRemovedOrTwice) {
  for (size_t at = 0; at < headerEnd(good); ++at) {
    readable(good.substr(0, at) + good.substr(at + 1));
    readable(good.substr(0, at) + good.substr(at, 1) + good.substr(at));
  }
}

TEST_P(Hostile, RandomDamage) {
  std::mt19937_64 rng(7);
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good;
    for (int n = int(rng() % 8) + 1; n--;)
      bytes[rng() % bytes.size()] = char(rng());
    readable(bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Hostile,
                         ::testing::Values("gguf", "safetensors", "archive", "gptq",
                                           "compressed", "torchao", "hqq", "plain"),
                         [](const auto &info) { return std::string(info.param); });

/// Deep nesting, a huge header length and absurd shapes end in errors with
/// little memory and stack: the limits are set low here.
TEST(HostileMemory, SmallFilesAllocateLittle) {
#if !__has_feature(address_sanitizer) // which reserves terabytes
  TemporaryDirectory dir;
  std::string deep(1 << 20, '[');
  writeFile(dir / "deep", makeSafetensors("{\"w\":" + deep, ""));
  writeFile(dir / "absurd",
            makeSafetensors(R"({"w":{"dtype":"F32","shape":[4611686018427387903,1],)"
                            R"("data_offsets":[0,4]}})",
                            "1234"));
  writeFile(dir / "tensors", [] {
    std::string bytes = makeGguf({});
    uint64_t count = uint64_t(1) << 58;
    memcpy(bytes.data() + 8, &count, 8);
    return bytes;
  }());
  rlimit before;
  getrlimit(RLIMIT_AS, &before);
  std::ifstream statm("/proc/self/statm");
  rlim_t pages = 0;
  statm >> pages;
  rlimit low = before;
  low.rlim_cur = pages * 4096 + (64 << 20);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &low), 0);
  for (const char *name : {"deep", "absurd", "tensors"})
    EXPECT_FALSE(readAll(dir / name)) << name;
  setrlimit(RLIMIT_AS, &before);
#endif
}

} // namespace
