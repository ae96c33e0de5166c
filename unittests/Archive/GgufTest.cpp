//===- GgufTest.cpp - Reading GGUF ----------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Files.h"

using namespace qlinear;
using namespace qlinear::test;

namespace {

TEST(Gguf, TensorsAndMetadata) {
  TemporaryDirectory dir;
  std::mt19937_64 rng(1);
  Bytes array;
  array.string("tokens").put(uint32_t(9)).put(uint32_t(8)).put(uint64_t(2));
  array.string("a").string("\xFF");
  Bytes nested; // arrays of arrays
  nested.string("nested").put(uint32_t(9)).put(uint32_t(9)).put(uint64_t(1));
  nested.put(uint32_t(0)).put(uint64_t(3)).text += "abc";
  Bytes yes;
  yes.string("yes").put(uint32_t(7)).put(uint8_t(1));
  Bytes half;
  half.string("half").put(uint32_t(12)).put(0.5);
  writeFile(dir / "a.gguf",
            makeGguf({{"w", 12, {512, 3}, randomBlocks(6, 144, {0, 2}, rng)},
                      {"norm", 0, {3}, std::string(12, '\1')},
                      {"scalar", 30, {}, std::string(2, '\2')}},
                     {pairU32("general.alignment", 64), array.text, nested.text,
                      yes.text, half.text, pairString("general.name", "n\xC3\xA4me")},
                     64));
  auto file = Checkpoint::open(dir / "a.gguf");
  ASSERT_TRUE(file) << file.error();
  EXPECT_TRUE(file->isGguf());
  ASSERT_EQ(file->tensors().size(), 3u);
  const Tensor *w = file->find("w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->type, "Q4_K");
  EXPECT_EQ(w->shape, (std::vector<uint64_t>{3, 512}));
  EXPECT_EQ(w->bytes.size(), 6u * 144);
  EXPECT_EQ(w->offset % 64, 0u);
  EXPECT_EQ(file->find("norm")->bytes[11], std::byte{1});
  EXPECT_EQ(file->find("scalar")->bytes.size(), 2u);
  EXPECT_EQ(file->find("none"), nullptr);
  auto &meta = file->metadata();
  EXPECT_EQ(meta.at("general.alignment"), "64");
  EXPECT_EQ(meta.at("yes"), "true");
  EXPECT_EQ(meta.at("half"), "0.5");
  EXPECT_EQ(meta.at("general.name"), "n\xC3\xA4me");
  EXPECT_FALSE(meta.contains("tokens"));
}

TEST(Gguf, EachDefectIsNamed) {
  TemporaryDirectory dir;
  std::string path = dir / "bad.gguf";
  std::string block(144, '\0');
  auto expect = [&](const std::string &bytes, const std::string &part) {
    std::string message = openError(path, bytes);
    EXPECT_NE(message.find(part), std::string::npos)
        << "wanted: " << part << "\ngot: " << message;
  };
  std::string good = makeGguf({{"w", 12, {256, 1}, block}});
  EXPECT_EQ(openError(path, good), "");
  auto with = [&](size_t at, auto value) {
    std::string bytes = good;
    memcpy(bytes.data() + at, &value, sizeof value);
    return bytes;
  };
  // Header: magic 0, version 4, tensor count 8, key-value count 16, then the
  // tensor: name 24 (length) 32, rank 33, dims 37 and 45, type 53, offset 57.
  for (uint32_t version : {0u, 1u, 4u})
    expect(with(4, version), "; versions 2 and 3 are read");
  for (uint32_t version : {0x02000000u, 0x03000000u})
    expect(with(4, version), "version at offset 4: the file is big-endian");
  expect(with(8, uint64_t(1) << 60), "tensor count at offset 8: 1152921504606846976");
  expect(with(16, ~uint64_t(0)), "key-value count at offset 16: 18446744073709551615");
  expect(with(24, uint64_t(1) << 40), "length of name of tensor 0 at offset 24");
  expect(with(24, uint64_t(0)), "name of tensor 0 at offset 24: is empty");
  expect(with(32, '\0'), "name of tensor 0 at offset 24: '\\x00' is not UTF-8");
  expect(with(32, '\xFF'), "is not UTF-8 text without NUL");
  expect(with(33, uint32_t(5)), "rank of tensor 'w' at offset 33: 5 dimensions");
  expect(with(37, uint64_t(255)),
         "rows of 255 weights are not a multiple of Q4_K's blocks of 256");
  expect(with(45, uint64_t(1) << 57), "has more than 2^64 elements");
  expect(with(45, uint64_t(1) << 55), "go past the end of the file");
  expect(with(45, uint64_t(2)),
         "288 bytes at 96 + 0 go past the end of the file, which has 240");
  expect(with(57, uint64_t(7)), "7 is not a multiple of general.alignment = 32");
  expect(with(57, uint64_t(1) << 63), "data offset of tensor 'w' at offset 57");

  GgufTensor a{"a", 12, {256, 1}, block}, b{"b", 12, {256, 1}, block};
  std::string two = makeGguf({a, b});
  size_t last = two.find(std::string("b\2\0\0\0", 5)) + 1 + 4 + 16 + 4;
  memset(two.data() + last, 0, 8); // b where a is
  expect(two, "overlaps tensor 'a', whose 144 bytes start at 0");
  expect(makeGguf({a, a}), "name of tensor 1 at offset 65: 'a' comes twice");
  expect(makeGguf({a}, {pairU32("k", 1), pairU32("k", 2)}),
         "key 1 at offset 41: 'k' comes twice");
  for (uint32_t alignment : {0u, 24u, 3u})
    expect(makeGguf({a}, {pairU32("general.alignment", alignment)}),
           "is not a power of two");
  expect(makeGguf({a}, {pairString("general.alignment", "32")}),
         "must be u32 (4), not 8");
  expect(makeGguf({a}, {pairU32("general.alignment", 1u << 31)}),
         "go past the end of the file");
  expect(makeGguf({a}, {Bytes().string("k").put(uint32_t(13)).put(uint32_t(0)).text}),
         "value of 'k' at offset 37: unknown value type 13");
  expect(makeGguf({a}, {Bytes().string("k").put(uint32_t(7)).put('\2').text}),
         "a bool must be 0 or 1, not 2");
  Bytes array;
  array.string("k").put(uint32_t(9)).put(uint32_t(4)).put(uint64_t(1) << 62);
  expect(makeGguf({a}, {array.text}),
         "4611686018427387904 elements of 4 bytes do not fit");
  Bytes deep;
  deep.string("k").put(uint32_t(9));
  for (int i = 0; i < 100; ++i)
    deep.put(uint32_t(9)).put(uint64_t(1));
  expect(makeGguf({a}, {deep.text}), "arrays nested deeper than 8");
  expect(makeGguf({{std::string(5000, 'n'), 12, {256, 1}, block}}), "5000 bytes");
}

TEST(Gguf, VersionTwo) {
  TemporaryDirectory dir;
  std::string bytes = makeGguf({{"w", 12, {256, 1}, std::string(144, '\0')}});
  bytes[4] = 2;
  writeFile(dir / "a.gguf", bytes);
  auto file = Checkpoint::open(dir / "a.gguf");
  ASSERT_TRUE(file) << file.error();
  EXPECT_EQ(file->ggufVersion(), 2u);
  EXPECT_EQ(file->find("w")->type, "Q4_K");
}

// Their data reaches to the next tensor's, or to the end; all else is read.
TEST(Gguf, TypesThatAreNotKnown) {
  TemporaryDirectory dir;
  std::string block(144, '\1'), odd(96, '\2');
  writeFile(dir / "a.gguf", makeGguf({{"first", 139, {77, 3}, odd},
                                      {"w", 12, {256, 1}, block},
                                      {"last", 4, {1}, odd}}));
  auto file = Checkpoint::open(dir / "a.gguf");
  ASSERT_TRUE(file) << file.error();
  EXPECT_EQ(file->find("first")->type, "type 139");
  EXPECT_EQ(file->find("first")->bytes.size(), 96u);
  EXPECT_EQ(file->find("first")->bytes[95], std::byte(2));
  EXPECT_EQ(file->find("last")->type, "type 4");
  EXPECT_EQ(file->find("last")->bytes[0], std::byte(2));
  auto inventory = takeInventory(*file);
  ASSERT_TRUE(inventory) << inventory.error();
  ASSERT_EQ(inventory->weights.size(), 1u);
  auto report = packArchive(*file, *inventory, dir / "p.safetensors", {});
  ASSERT_TRUE(report) << report.error();
  auto archive = Archive::open(dir / "p.safetensors");
  ASSERT_TRUE(archive) << archive.error();
  EXPECT_EQ(archive->carried().at("first").type, "type 139");
  EXPECT_EQ(archive->carried().at("first").shape, (std::vector<uint64_t>{3, 77}));
}

// Strings of metadata are whatever a tool wrote: what is no UTF-8 is Latin-1.
TEST(Gguf, MetadataThatIsNoText) {
  TemporaryDirectory dir;
  writeFile(dir / "a.gguf",
            makeGguf({{"w", 12, {256, 1}, std::string(144, '\0')}},
                     {pairString("name", "caf\xE9 \xC3\xA9"),
                      pairString("cut", "ab\xE2\x82"), pairString("k\xFC", "\xC0\x80"),
                      pairString("zero", std::string("a\0b", 3))}));
  auto file = Checkpoint::open(dir / "a.gguf");
  ASSERT_TRUE(file) << file.error();
  EXPECT_EQ(file->metadata().at("name"), "caf\xC3\xA9 \xC3\xA9");
  EXPECT_EQ(file->metadata().at("cut"), "ab\xC3\xA2\xC2\x82");
  EXPECT_EQ(file->metadata().at("k\xC3\xBC"), "\xC3\x80\xC2\x80");
  EXPECT_EQ(file->metadata().at("zero"), "a\xEF\xBF\xBD"
                                         "b");
  auto inventory = takeInventory(*file);
  ASSERT_TRUE(inventory) << inventory.error();
  ASSERT_TRUE(packArchive(*file, *inventory, dir / "p.safetensors", {}));
  auto archive = Archive::open(dir / "p.safetensors");
  ASSERT_TRUE(archive) << archive.error();
  EXPECT_EQ(archive->checkpoint().metadata().at("name"), "caf\xC3\xA9 \xC3\xA9");
}

TEST(Gguf, Parts) {
  TemporaryDirectory dir;
  std::string block(144, '\0');
  auto pair = [](std::string_view key, uint16_t value) {
    return Bytes().string(key).put(uint32_t(2)).put(value).text;
  };
  auto part = [&](const std::string &name, uint16_t count) {
    return makeGguf({{name, 12, {256, 1}, block}},
                    {pair("split.count", count), pairString("in." + name, "x")});
  };
  for (std::string name : {"a", "b", "c"})
    writeFile(
        dir / ("m-0000" + std::string(1, char(name[0] - 'a' + '1')) + "-of-00003.gguf"),
        part(name, 3));
  for (int i : {1, 3}) { // any part stands for all
    auto file =
        Checkpoint::open(dir / ("m-0000" + std::to_string(i) + "-of-00003.gguf"));
    ASSERT_TRUE(file) << file.error();
    EXPECT_EQ(file->tensors().size(), 3u);
    EXPECT_EQ(file->tensors()[1].name, "b");
    EXPECT_EQ(file->metadata().size(), 3u); // without split.count
  }
  auto expect = [&](const std::string &name, const std::string &bytes,
                    const std::string &what) {
    std::string message = openError(dir / name, bytes);
    EXPECT_NE(message.find(what), std::string::npos) << message;
  };
  expect("m.gguf", part("a", 3), "split.count is 3, but the name does not end in");
  expect("m-00001-of-00004.gguf", part("a", 4), "m-00002-of-00004.gguf'");
  expect("m-00002-of-00003.gguf", part("a", 3), "two tensors are named 'a'");
  expect("m-00002-of-00003.gguf", part("b", 2), "split.count is 2");
  writeFile(dir / "m-00002-of-00003.gguf", makeGguf({}));
  EXPECT_NE(Checkpoint::open(dir / "m-00001-of-00003.gguf").error().find("is not 3"),
            std::string::npos);
}

/// The two ways to pack give the same bytes, for every format and odd shapes.
TEST(Gguf, PackTileByTile) {
  struct Case {
    const char *name;
    uint32_t type;
    size_t block, bytes;
    std::initializer_list<size_t> floats;
    size_t byteFloats = 0; ///< scales of a byte, where a block begins
  } cases[] = {{"Q4_0", 2, 32, 18, {0}},        {"Q4_1", 3, 32, 20, {0, 2}},
               {"Q5_0", 6, 32, 22, {0}},        {"Q5_1", 7, 32, 24, {0, 2}},
               {"Q8_0", 8, 32, 34, {0}},        {"Q4_K", 12, 256, 144, {0, 2}},
               {"Q5_K", 13, 256, 176, {0, 2}},  {"Q6_K", 14, 256, 210, {208}},
               {"Q2_K", 10, 256, 84, {80, 82}}, {"Q3_K", 11, 256, 110, {108}},
               {"IQ4_NL", 20, 32, 18, {0}},     {"IQ4_XS", 23, 256, 136, {0}},
               {"MXFP4", 39, 32, 17, {}, 1},    {"NVFP4", 40, 64, 36, {}, 4}};
  TemporaryDirectory dir;
  std::mt19937_64 rng(2);
  for (const Case &c : cases)
    for (uint64_t N : {1, 16, 37})
      for (uint64_t blocks : {1, 3, 9}) {
        uint64_t K = blocks * c.block;
        std::string data = randomBlocks(N * blocks, c.bytes, c.floats, rng);
        for (size_t block = 0; block < N * blocks; ++block)
          for (size_t i = 0; i < c.byteFloats; ++i) { // no NaN
            char &byte = data[block * c.bytes + i];
            byte = char((byte & 0x3F) + 0x38);
          }
        writeFile(dir / "a.gguf", makeGguf({{"w", c.type, {K, N}, data}}));
        auto file = Checkpoint::open(dir / "a.gguf");
        ASSERT_TRUE(file) << file.error();
        const Tensor &t = file->tensors()[0];
        EXPECT_EQ(t.type, c.name);
        auto w = decodeGguf(t);
        ASSERT_TRUE(w) << w.error();
        size_t size = layoutOf(w->encoding, N, K).bytes();
        std::vector<std::byte> whole(size, std::byte{1}), tiles(size, std::byte{2});
        ASSERT_TRUE(pack(*w, whole));
        ASSERT_TRUE(packGguf(t, tiles));
        EXPECT_TRUE(whole == tiles) << c.name << " " << N << "x" << K;
      }
}

TEST(Gguf, NonFiniteMetadata) {
  TemporaryDirectory dir;
  std::mt19937_64 rng(3);
  for (uint16_t bits : {0x7C00, 0xFC00, 0x7E00}) { // infinities, NaN
    std::string data = randomBlocks(40 * 2, 144, {0, 2}, rng);
    for (int block : {2 * 21 + 1, 2 * 30})
      memcpy(data.data() + block * 144 + 2, &bits, 2);
    writeFile(dir / "a.gguf", makeGguf({{"w", 12, {512, 40}, data}}));
    auto file = Checkpoint::open(dir / "a.gguf");
    ASSERT_TRUE(file);
    const Tensor &t = file->tensors()[0];
    std::string expected = "tensor 'w': the Q4_K block at offset " +
                           std::to_string(t.offset + 43 * 144) +
                           " (row 21, group 8) has a scale or min that is not finite";
    auto w = decodeGguf(t);
    ASSERT_FALSE(w);
    EXPECT_EQ(w.error(), expected);
    std::vector<std::byte> blob(layoutOf(*ggufEncoding("Q4_K"), 40, 512).bytes());
    auto r = packGguf(t, blob);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error(), expected);
  }
}

/// Of Q2_K and Q3_K the floats stand behind the codes. Any other bits are a block.
TEST(Gguf, NonFiniteMetadataBehindCodes) {
  TemporaryDirectory dir;
  std::mt19937_64 rng(4);
  struct Case {
    const char *name;
    uint32_t type;
    size_t bytes;
    std::vector<size_t> floats;
  } cases[] = {{"Q2_K", 10, 84, {80, 82}}, {"Q3_K", 11, 110, {108}}};
  for (const Case &c : cases)
    for (size_t at = 0; at + 2 <= c.bytes; at += 2) {
      bool isFloat = std::find(c.floats.begin(), c.floats.end(), at) != c.floats.end();
      std::string data(6 * c.bytes, '\0');
      for (char &byte : data)
        byte = char(rng());
      for (size_t block = 0; block < 6; ++block)
        for (size_t f : c.floats)
          data[block * c.bytes + f + 1] &= char(0x83);
      memcpy(data.data() + 5 * c.bytes + at, "\x00\xFC", 2); // - infinity
      writeFile(dir / "a.gguf", makeGguf({{"w", c.type, {512, 3}, data}}));
      auto file = Checkpoint::open(dir / "a.gguf");
      ASSERT_TRUE(file) << file.error();
      const Tensor &t = file->tensors()[0];
      auto w = decodeGguf(t);
      ASSERT_EQ(bool(w), !isFloat) << c.name << " " << at;
      if (!isFloat)
        continue;
      EXPECT_EQ(w.error(), "tensor 'w': the " + std::string(c.name) +
                               " block at offset " +
                               std::to_string(t.offset + 5 * c.bytes) +
                               " (row 2, group 16) has a scale or min that is not "
                               "finite");
    }
}

} // namespace
