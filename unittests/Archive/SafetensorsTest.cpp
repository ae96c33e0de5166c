//===- SafetensorsTest.cpp - Reading safetensors --------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Files.h"

using namespace qlinear;
using namespace qlinear::test;

namespace {

TEST(Safetensors, TensorsAndMetadata) {
  TemporaryDirectory dir;
  writeFile(
      dir / "a.safetensors",
      makeSafetensors(R"({"__metadata__":{"format":"pt"},)"
                      R"("b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
                      R"("empty":{"dtype":"F64","shape":[0,5],"data_offsets":[4,4]},)"
                      R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                      R"("f4":{"dtype":"F4","shape":[4],"data_offsets":[16,18]}}   )",
                      std::string(18, 'x')));
  auto file = Checkpoint::open(dir / "a.safetensors");
  ASSERT_TRUE(file) << file.error();
  EXPECT_FALSE(file->isGguf());
  EXPECT_EQ(file->tensors().size(), 4u);
  EXPECT_EQ(file->find("b")->shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(file->find("b")->bytes.size(), 12u);
  EXPECT_EQ(file->find("empty")->bytes.size(), 0u);
  EXPECT_EQ(file->metadata().at("format"), "pt");
}

TEST(Safetensors, NoMetadataMayBeNull) {
  TemporaryDirectory dir;
  writeFile(dir / "a.safetensors", makeSafetensors(R"({"__metadata__":null})", ""));
  auto file = Checkpoint::open(dir / "a.safetensors");
  ASSERT_TRUE(file) << file.error();
  EXPECT_TRUE(file->metadata().empty());
}

TEST(Safetensors, EachDefectIsNamed) {
  TemporaryDirectory dir;
  auto expect = [&](const std::string &bytes, const std::string &part) {
    std::string message = openError(dir / "bad.safetensors", bytes);
    EXPECT_NE(message.find(part), std::string::npos)
        << "wanted: " << part << "\ngot: " << message;
  };
  auto header = [&](std::string_view text, size_t data = 4) {
    return makeSafetensors(text, std::string(data, 'x'));
  };
  auto tensor = [&](std::string_view fields, size_t data = 4) {
    return header(R"({"w":{)" + std::string(fields) + "}}", data);
  };
  EXPECT_EQ(openError(dir / "good.safetensors",
                      tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])")),
            "");
  expect("", "is empty");
  expect("1234567", "header length at offset 0: needs 8 bytes, but the file has 7");
  expect(Bytes().put(uint64_t(1)).text, "header length at offset 0: 1 bytes");
  expect(Bytes().put(~uint64_t(0)).text + "{}",
         "header length at offset 0: 18446744073709551615");
  expect(header(" {}"), "header at offset 8: does not start with '{'");
  expect(header("{]"), "(at offset 10)");
  expect(header("{\"\xFF\":1}"), "not JSON");
  expect(header(R"({"w":1,"w":2})"), "key 'w' comes twice");
  expect(header("{\"w\":" + std::string(100000, '[')), "nested deeper than 4 levels");
  expect(header(R"({"__metadata__":{"a":1}})"),
         "'__metadata__' at offset 23: 'a' is not a text");
  expect(header(R"({"w":[]})"), "'w' at offset 12: must be an object");
  expect(header(R"({"":{}})"), "a tensor's name must be text");
  expect(header(R"({"a\u0000":{}})"), "a tensor's name must be text without NUL");
  expect(tensor(R"("shape":[1])"), "dtype is missing");
  expect(tensor(R"("dtype":"Q9")"), "unknown dtype 'Q9'");
  expect(tensor(R"("dtype":"F32","shape":1)"), "shape is missing or not an array");
  expect(tensor(R"("dtype":"F32","shape":[-1])"), "shape is missing or not an array");
  expect(tensor(R"("dtype":"F32","shape":[1.5])"), "shape is missing or not an array");
  expect(tensor(R"("dtype":"F32","shape":[99999999999999999999])"), "shape is missing");
  expect(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0])"),
         "data_offsets is missing");
  expect(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"),
         "[4, 0] do not lie in");
  expect(
      tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,5])"),
      "'w' at offset 12: data_offsets [0, 5] do not lie in the file's 4 bytes of data");
  expect(tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"),
         "shape 2 of F32 takes 64 bits, but data_offsets [0, 4] hold 4 bytes");
  expect(tensor(R"("dtype":"F32","shape":[4611686018427387904,4611686018427387904],)"
                R"("data_offsets":[0,4])"),
         "has more than 2^64 bits");
  expect(tensor(R"("dtype":"F32","shape":[576460752303423489],"data_offsets":[0,4])"),
         "has more than 2^64 bits");
  expect(tensor(R"("dtype":"F4","shape":[1],"data_offsets":[0,1])"), "takes 4 bits");
  expect(tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])", 5),
         "belong to no tensor");
  const char *two = R"({"v":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)";
  expect(header(two +
                std::string(R"("w":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}})")),
         "data_offsets start at 1, which overlaps");
  expect(header(two +
                std::string(R"("w":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})")),
         "data_offsets start at 3, which leaves a hole");
}

TEST(Safetensors, Shards) {
  TemporaryDirectory dir;
  auto shard = [&](const std::string &name) {
    return makeSafetensors(R"({")" + name +
                               R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                           name.substr(0, 1));
  };
  writeFile(dir / "m-1.safetensors", shard("a"));
  writeFile(dir / "m-2.safetensors", shard("b"));
  std::string index = dir / "model.safetensors.index.json";
  writeFile(
      index,
      R"({"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})");
  writeFile(dir / "config.json", R"({"model_type":"x"})");
  writeFile(dir / "quantize_config.json", R"({"bits":4})");
  for (const std::string &path : {index, dir.path.string()}) {
    auto file = Checkpoint::open(path);
    ASSERT_TRUE(file) << file.error();
    EXPECT_EQ(file->tensors().size(), 2u);
    EXPECT_EQ(file->find("b")->bytes[0], std::byte('b'));
    EXPECT_EQ(file->files().size(), 2u);
    std::map<std::string, std::string> beside = {
        {"config.json", R"({"model_type":"x"})"},
        {"quantize_config.json", R"({"bits":4})"}};
    EXPECT_EQ(file->configs(), beside);
  }
  auto expect = [&](const std::string &text, const std::string &part) {
    std::string message = openError(index, text);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect(R"({"weight_map":{"a":"../m-1.safetensors"}})",
         "not the name of a file in the same");
  expect(R"({"weight_map":{"a":"/etc/passwd"}})", "not the name of a file in the same");
  expect(R"({"weight_map":{"a":"m-2.safetensors"}})",
         "places 'a' in 'm-2.safetensors'");
  expect(R"({"weight_map":{"a":"m-3.safetensors"}})", "cannot open");
  expect(R"({"weight_map":{}})", "weight_map is empty");
  expect(R"([])", "lacks the object 'weight_map'");
  writeFile(dir / "m-2.safetensors", shard("a"));
  expect(R"({"weight_map":{"a":"m-1.safetensors","c":"m-2.safetensors"}})",
         "places 'c'");
}

TEST(Checkpoint, NoSuchInput) {
  TemporaryDirectory dir;
  EXPECT_NE(Checkpoint::open(dir / "none").error().find("No such file"),
            std::string::npos);
  EXPECT_NE(
      Checkpoint::open(dir.path.string()).error().find("neither model.safetensors"),
      std::string::npos);
  EXPECT_NE(Checkpoint::open("/dev/null").error().find("not a regular file"),
            std::string::npos);
}

} // namespace
