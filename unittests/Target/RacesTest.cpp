//===- RacesTest.cpp - The order of accesses on the emulated device -------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels of Inputs/races.cpp, each right, and with one synchronisation left out, in
// several orders of threads: what is missing has to be found in all of them.
//
//===----------------------------------------------------------------------===//
#include "DeviceCode.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

using namespace qlinear;
using emulated::Launch;

namespace {

class Races : public testing::TestWithParam<uint64_t> {
protected:
  static void SetUpTestSuite() {
    code = std::make_unique<DeviceCode>(QLINEAR_RACES_BITCODE);
    std::ifstream file(QLINEAR_RACES_SOURCE);
    std::stringstream text;
    text << file.rdbuf();
    source = text.str();
  }
  static void TearDownTestSuite() { code.reset(); }

  std::string run(Launch launch, uint32_t fault) {
    std::vector<uint32_t> in(1024, 3), out(1024);
    launch.smem = 2048;
    launch.seed = GetParam();
    return code->call(launch, in.data(), out.data(), fault);
  }
  /// "races.cpp:LINE" for each [mark] of the message.
  static std::string withLines(std::string text) {
    for (size_t at; (at = text.find('[')) != std::string::npos;) {
      size_t end = text.find(']', at);
      std::string mark = text.substr(at, end + 1 - at);
      size_t line = source.find(mark);
      EXPECT_NE(line, std::string::npos) << mark;
      auto number = 1 + std::count(source.begin(), source.begin() + long(line), '\n');
      text.replace(at, mark.size(), "races.cpp:" + std::to_string(number));
    }
    return text;
  }

  static std::unique_ptr<DeviceCode> code;
  static std::string source;
};
std::unique_ptr<DeviceCode> Races::code;
std::string Races::source;

INSTANTIATE_TEST_SUITE_P(InOrder, Races, testing::Values(0));
INSTANTIATE_TEST_SUITE_P(Shuffled, Races, testing::Range<uint64_t>(1, 6));

/// What the message of a fault has to contain, in any order; nothing: there is none.
struct Fault {
  const char *kernel;
  uint32_t fault;
  std::vector<const char *> parts;
  uint32_t grid = 1, block = 32;
};

const Fault kFaults[] = {
    {"ring", 0, {}},
    {"ring",
     1,
     {"[copy]", "counts on the mbarrier at shared + 0x400", "fence is missing"}},
    {"ring", 2, {"mbarrier"}},
    {"ring", 3, {}},
    {"ring", 4, {"mbarrier at shared + 0x400", "missing"}},
    {"ring", 5, {"[load]", "[copy]"}},
    {"ring", 6, {"thread 7", "[load]", "[copy]"}},
    {"ring",
     7,
     {"the bulk copy of 512 bytes at shared + 0x0", "[copy]",
      "not ordered after the load of 4 bytes by thread", "[load]",
      "a proxy fence is missing"}},
    {"ring", 8, {"[copy]", "[load]", "a proxy fence is missing"}},
    {"ring", 9, {"[copy]", "[load]", "a proxy fence is missing"}},
    {"ring", 10, {"[copy]", "[load]", "a barrier is missing"}},
    {"ring", 11, {}},
    {"exchange", 0, {}, 1, 64},
    {"exchange",
     1,
     {"at static shared + 0x", "[store]", "[read]", "a barrier is missing"},
     1,
     64},
    {"exchange", 2, {"[store]", "[read]", "a barrier is missing"}, 1, 64},
    {"exchange", 3, {"[store]", "[read]", "a barrier is missing"}, 1, 64},
    {"exchange", 4, {"[store]", "[read]", "a barrier is missing"}, 1, 64},
    {"exchange", 5, {"[again]", "[read]", "a barrier is missing"}, 1, 64},
    {"exchange", 6, {}, 1, 64},
    {"async", 0, {}},
    {"async",
     1,
     {"the load of 4 bytes at shared + 0x", "after the cp.async of 16 bytes by",
      "[use]", "[cp.async]", "wait for its group first"}},
    {"async", 2, {"[use]", "[cp.async]", "its thread has to wait for its group"}},
    {"async", 3, {"[use]", "[cp.async]"}},
    {"async", 4, {"cp.async of 16 bytes", "[use]", "[cp.async]"}},
    {"parts", 0, {}},
    {"parts", 1, {"store of 1 bytes at shared + 0x6", "[byte]", "[next byte]"}},
    {"parts", 2, {"[byte of a half]", "shared + 0xb"}},
    {"parts", 3, {"[8 bytes]"}},
    {"parts", 4, {"[16 bytes]", "[last byte]", "shared + 0xf"}},
    {"matrix", 0, {}},
    {"matrix",
     1,
     {"the ldmatrix of 16 bytes", "[row]", "[ldmatrix]", "a barrier is missing"}},
    {"matrix", 2, {"ldmatrix", "[overwrite]", "[ldmatrix]", "a barrier is missing"}},
    {"handback", 0, {}, 1, 64},
    {"handback", 1, {"handback"}, 1, 64},
    {"handback", 2, {"thread 35", "[consume]", "[produce]"}, 1, 64},
    {"handback", 3, {"[produce]", "[consume]", "by thread 37"}, 1, 64},
    {"cluster", 0, {}, 2},
    {"cluster", 1, {"[remote]", "may come before the other block has started"}, 2},
    {"cluster", 2, {"[remote]"}, 2},
    {"cluster",
     3,
     {"the cluster store", "[remote]", "wait for the cluster's barrier after it"},
     2},
    {"cluster", 4, {"[remote]", "[own]", "a barrier is missing"}, 2},
};

TEST_P(Races, AreFound) {
  for (const Fault &f : kFaults) {
    std::string error =
        run({.kernel = f.kernel, .grid = f.grid, .block = f.block}, f.fault);
    SCOPED_TRACE(std::string(f.kernel) + " " + std::to_string(f.fault));
    EXPECT_EQ(error.empty(), f.parts.empty()) << error;
    for (const char *part : f.parts)
      EXPECT_NE(error.find(withLines(part)), std::string::npos)
          << withLines(part) << "\nis not in: " << error;
  }
}

TEST_P(Races, BeforeLaunchesAreWaitedFor) {
  const Fault faults[] = {
      {"dependent", 0, {}},
      {"dependent",
       1,
       {"the load of 4 bytes", "[early load]", "kernel writes_x has, too"}},
      {"dependent",
       2,
       {"the store of 4 bytes", "[early store]", "kernels before it may use"}},
      {"dependent", 3, {"the cp.async of 16 bytes", "[early copy]", "kernel writes_x"}},
      {"dependent", 4, {"the block ends without a wait for the launches before"}},
      {"dependent", 5, {}},
      {"dependent", 6, {"[x]", "kernel writes_x"}},
  };
  for (const Fault &f : faults) {
    SCOPED_TRACE(f.fault);
    std::vector<uint32_t> weights(64, 1), x(64, 2), out(64);
    emulated::Buffer buffers[] = {{weights.data(), true, "reads_weights"},
                                  {x.data(), false, "writes_x"},
                                  {out.data(), false, nullptr}};
    Launch launch{.kernel = f.kernel, .block = 64, .smem = 64, .seed = GetParam()};
    launch.dependent = true;
    launch.buffers = buffers;
    std::string error =
        code->call(launch, weights.data(), x.data(), out.data(), f.fault);
    EXPECT_EQ(error.empty(), f.parts.empty()) << error;
    for (const char *part : f.parts)
      EXPECT_NE(error.find(withLines(part)), std::string::npos)
          << withLines(part) << "\nis not in: " << error;
    if (f.parts.empty())
      EXPECT_EQ(out, std::vector<uint32_t>(64, 3));
    launch.dependent = false; // then all before it is complete
    EXPECT_EQ(code->call(launch, weights.data(), x.data(), out.data(), f.fault), "");
  }
}

} // namespace
