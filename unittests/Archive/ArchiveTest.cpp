//===- ArchiveTest.cpp - Packed archives ----------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Files.h"

using namespace qlinear;
using namespace qlinear::test;

namespace {

/// Replaces `from` in the header by `to` of any length.
std::string edit(const std::string &file, const std::string &from,
                 const std::string &to) {
  uint64_t length;
  memcpy(&length, file.data(), 8);
  std::string header = file.substr(8, length);
  size_t at = header.find(from);
  EXPECT_NE(at, std::string::npos) << from << " in " << header;
  if (at == std::string::npos)
    return file;
  header.replace(at, from.size(), to);
  size_t text = header.find_last_not_of(' ') + 1;
  EXPECT_LE(text, length);
  header.resize(text);
  header.resize(length, ' ');
  return Bytes().put(length).text + header + file.substr(8 + length);
}

class ArchiveTest : public ::testing::Test {
protected:
  TemporaryDirectory dir;
  std::string packed = dir / "p.safetensors";
  std::string q4, q3;

  void SetUp() override {
    std::mt19937_64 rng(9);
    q4 = randomBlocks(20 * 3, 144, {0, 2}, rng);
    q3 = randomBlocks(5, 110, {}, rng);
    writeFile(dir / "a.gguf",
              makeGguf({{"norm", 0, {3}, std::string(12, '\1')},
                        {"o", 21, {256, 5}, q3},
                        {"w", 12, {768, 20}, q4},
                        {"v", 14, {256, 1}, randomBlocks(1, 210, {208}, rng)}},
                       {pairString("general.architecture", "test")}));
    auto file = Checkpoint::open(dir / "a.gguf");
    ASSERT_TRUE(file) << file.error();
    auto inventory = takeInventory(*file);
    ASSERT_TRUE(inventory) << inventory.error();
    EXPECT_EQ(inventory->weights.size(), 2u);
    EXPECT_EQ(inventory->others.size(), 2u);
    auto report = packArchive(*file, *inventory, packed, {});
    ASSERT_TRUE(report) << report.error();
    EXPECT_EQ(report->fileBytes, std::filesystem::file_size(packed));
  }
  std::string openEdited(const std::string &from, const std::string &to) {
    writeFile(dir / "edited.safetensors", edit(readFile(packed), from, to));
    auto r = Archive::open(dir / "edited.safetensors");
    return r ? "" : r.error();
  }
};

TEST_F(ArchiveTest, HoldsWhatWasPacked) {
  auto archive = Archive::open(packed);
  ASSERT_TRUE(archive) << archive.error();
  ASSERT_EQ(archive->weights().size(), 2u);
  const PackedWeight &w = archive->weights().at("w");
  EXPECT_EQ(w.source, "Q4_K");
  EXPECT_EQ(w.N, 20u);
  EXPECT_EQ(w.K, 768u);
  EXPECT_EQ(w.encoding, *ggufEncoding("Q4_K"));
  for (const auto &[name, weight] : archive->weights())
    EXPECT_EQ(archive->checkpoint().find(name)->offset % 128, 0u);

  auto file = Checkpoint::open(dir / "a.gguf");
  auto source = decodeGguf(*file->find("w"));
  auto back = unpack(w.encoding, w.N, w.K, w.blob);
  ASSERT_TRUE(source && back);
  EXPECT_EQ(source->fields, back->fields);
  EXPECT_EQ(source->scaleFields, back->scaleFields);
  EXPECT_EQ(source->offsetFields, back->offsetFields);
  EXPECT_EQ(source->scaleSteps, back->scaleSteps);
  EXPECT_EQ(source->offsetSteps, back->offsetSteps);

  const Checkpoint &c = archive->checkpoint();
  EXPECT_EQ(c.metadata().at("general.architecture"), "test");
  EXPECT_EQ(c.find("norm")->type, "F32");
  EXPECT_EQ(c.find("norm")->bytes.size(), 12u);
  const Tensor *o = c.find("o");
  EXPECT_EQ(o->type, "U8");
  EXPECT_EQ(o->shape, (std::vector<uint64_t>{5, 110}));
  EXPECT_EQ(memcmp(o->bytes.data(), q3.data(), q3.size()), 0);
  EXPECT_EQ(archive->carried().at("o").type, "IQ3_S");
  EXPECT_EQ(archive->carried().at("o").shape, (std::vector<uint64_t>{5, 256}));
}

TEST_F(ArchiveTest, PackedAgainIsTheSame) {
  auto file = Checkpoint::open(packed);
  ASSERT_TRUE(file);
  auto inventory = takeInventory(*file);
  ASSERT_TRUE(inventory) << inventory.error();
  for (bool exclude : {false, true}) { // an excluded blob stays a blob
    PackOptions options;
    if (exclude)
      options.exclude = {"."};
    ASSERT_TRUE(packArchive(*file, *inventory, dir / "again.safetensors", options));
    EXPECT_EQ(readFile(packed), readFile(dir / "again.safetensors"));
  }
}

TEST_F(ArchiveTest, ExcludedTensorsAreCarriedOver) {
  auto file = Checkpoint::open(dir / "a.gguf");
  auto inventory = takeInventory(*file);
  PackOptions options;
  options.exclude = {"^w$"};
  auto report = packArchive(*file, *inventory, dir / "x.safetensors", options);
  ASSERT_TRUE(report) << report.error();
  auto archive = Archive::open(dir / "x.safetensors");
  ASSERT_TRUE(archive) << archive.error();
  EXPECT_FALSE(archive->weights().contains("w"));
  EXPECT_EQ(archive->carried().at("w").type, "Q4_K");
  EXPECT_EQ(memcmp(archive->checkpoint().find("w")->bytes.data(), q4.data(), q4.size()),
            0);
  for (const TensorReport &t : report->tensors)
    if (t.name == "w") {
      EXPECT_EQ(t.reason, "excluded");
      EXPECT_EQ(t.bitsAfter(), 4.5);
    }
}

TEST_F(ArchiveTest, Validation) {
  EXPECT_EQ(openEdited("qlinear", "qlinear"), "");
  auto expect = [&](const std::string &from, const std::string &to,
                    const std::string &part) {
    std::string message = openEdited(from, to);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect("\"qlinear\"", "\"other\"", "is not a packed archive");
  expect("\\\"version\\\":2", "\\\"version\\\":1",
         "the layout of packed weights is version 1, and this is version 2's");
  expect("\\\"version\\\":2", "\\\"version\\\":-", "'qlinear' of __metadata__");
  expect("\\\"weights\\\":{", "\\\"weighty\\\":{", "'weights' must be an object");
  expect("\\\"n\\\":20", "\\\"n\\\":33", "weight 'w': 33x768 of this encoding takes");
  expect("\\\"n\\\":20", "\\\"n\\\":-1", "weight 'w': needs 'encoding'");
  expect("\\\"n\\\":20", "\\\"n\\\":0", "weight 'w': ");
  expect("\\\"n\\\":20", "\\\"n\\\":18446744073709551615", "is too large");
  expect("\\\"n\\\":20", "\\\"n\\\":4096", "4096x768 weights do not fit in its");
  expect("\\\"k\\\":768", "\\\"k\\\":769", "weight 'w': ");
  expect("\\\"w\\\":{", "\\\"z\\\":{", "weight 'z': the file has no such tensor");
  expect("u4, group", "u9, group", "weight 'w': encoding 'u9, group");
  expect("\\\"shape\\\":[5,256]", "\\\"shape\\\":[6,256]",
         "carried tensor 'o': shape 6x256");
  expect("IQ3_S", "IQ3_X", "carried tensor 'o': unknown type 'IQ3_X'");
}

TEST_F(ArchiveTest, Dequantized) {
  auto file = Checkpoint::open(packed);
  auto inventory = takeInventory(*file);
  ASSERT_TRUE(inventory);
  for (const char *type : {"F32", "BF16", "F16"}) {
    auto r = dequantizeTo(type, *file, *inventory, dir / "d.safetensors", {});
    ASSERT_TRUE(r) << r.error();
    auto plain = Checkpoint::open(dir / "d.safetensors");
    ASSERT_TRUE(plain) << plain.error();
    const Tensor *w = plain->find("w");
    EXPECT_EQ(w->type, type);
    EXPECT_EQ(w->shape, (std::vector<uint64_t>{20, 768}));
    auto floats = toFloats(*w);
    auto exact = dequantize(*decodeGguf(*Checkpoint::open(dir / "a.gguf")->find("w")));
    ASSERT_TRUE(floats && exact);
    for (size_t i = 0; i < exact->size(); ++i) {
      float e = (*exact)[i];
      float rounded = *type == 'B'               ? bf16ToFloat(floatToBf16(e))
                      : strcmp(type, "F16") == 0 ? f16ToFloat(floatToF16(e))
                                                 : e;
      ASSERT_EQ((*floats)[i], rounded) << i;
    }
  }
  EXPECT_FALSE(dequantizeTo("I8", *file, *inventory, dir / "d.safetensors", {}));
}

} // namespace
