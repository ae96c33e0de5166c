//===- Report.cpp - What was measured, as JSON and text -------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include "common/Table.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>

using namespace qlinear;
using namespace qlinear::bench;
using nlohmann::ordered_json;

ordered_json bench::reportOf(const Measurement &on, const std::vector<Row> &rows) {
  // A number that is not there, or infinite, is null.
  auto number = [](double v, bool isThere = true) {
    return isThere && std::isfinite(v) ? ordered_json(v) : ordered_json(nullptr);
  };
  ordered_json report = {
      {"version", 1},
      {"device", on.description()},
      {"read_gb_per_s", number(on.readRate() * 1e-9, on.readRate() > 0)},
      {"results", ordered_json::array()}};
  for (const Row &r : rows) {
    double bytesPerSecond = r.us > 0 ? double(r.bytes) / r.us * 1e6 : 0;
    bool isTimed = r.us > 0;
    report["results"].push_back({{"weight", r.weight},
                                 {"n", r.N},
                                 {"k", r.K},
                                 {"source", r.format},
                                 {"method", r.method},
                                 {"encoding", r.encoding},
                                 {"bits_per_weight", r.bits},
                                 {"exact", std::isinf(r.snr)},
                                 {"snr_db", number(r.snr)},
                                 {"rows", r.rows},
                                 {"error", number(r.error)},
                                 {"kernel_error", number(r.kernelError)},
                                 {"checked_calls", r.calls},
                                 {"us", number(r.us, isTimed)},
                                 {"gb_per_s", number(bytesPerSecond * 1e-9, isTimed)},
                                 {"of_read", number(bytesPerSecond / on.readRate(),
                                                    isTimed && on.readRate() > 0)}});
  }
  return report;
}

/// A value of a line, or "-" where there is none.
static std::string cell(const ordered_json &value,
                        fmt::format_string<double &> format) {
  if (!value.is_number())
    return "-";
  double number = value.get<double>();
  return fmt::format(format, number);
}

/// The cells of a line, as people read them.
static std::vector<std::string> cellsOf(const ordered_json &r) {
  ordered_json share = r["of_read"];
  if (share.is_number())
    share = 100 * share.get<double>();
  return {r["weight"],
          fmt::format("{}x{}", r["n"].get<uint64_t>(), r["k"].get<uint64_t>()),
          r["method"],
          cell(r["bits_per_weight"], "{:.3f}"),
          r["exact"] ? "exact" : cell(r["snr_db"], "{:.2f}"),
          std::to_string(r["rows"].get<int64_t>()),
          cell(r["error"], "{:.2e}"),
          cell(r["us"], "{:.1f}"),
          cell(r["gb_per_s"], "{:.2f}"),
          cell(share, "{:.1f}%")};
}

static std::string csvCell(const std::string &text) {
  if (text.find_first_of(",\"\n") == text.npos)
    return text;
  std::string out = "\"";
  for (char c : text)
    out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

static std::string csvOf(const ordered_json &report) {
  std::string out;
  for (const ordered_json &r : report["results"]) {
    std::vector<std::string> names, cells;
    for (const auto &[key, value] : r.items()) {
      names.push_back(key);
      cells.push_back(value.is_null()     ? ""
                      : value.is_string() ? csvCell(value.get<std::string>())
                                          : value.dump());
    }
    if (out.empty())
      out = fmt::format("{}\n", fmt::join(names, ","));
    out += fmt::format("{}\n", fmt::join(cells, ","));
  }
  return out;
}

std::string bench::textOf(const ordered_json &report, Format format) {
  if (format == Format::csv)
    return csvOf(report);
  std::vector<std::string> header = {"weight", "shape", "encoding", "bits", "SNR dB",
                                     "M",      "error", "us",       "GB/s", "of read"};
  std::string device = report["device"];
  if (report["read_gb_per_s"].is_number())
    device +=
        fmt::format("; plain read {:.1f} GB/s", report["read_gb_per_s"].get<double>());
  size_t checked = 0;
  double worst = 0;
  for (const ordered_json &r : report["results"]) {
    checked += r["checked_calls"].get<size_t>();
    worst = std::max(worst, r["kernel_error"].get<double>());
  }
  device += fmt::format("\n{} calls compared with float64, or bit by bit with such a "
                        "one: 0 wrong, largest error {:.1e}\n",
                        checked, worst);
  if (format == Format::markdown) {
    std::string out =
        fmt::format("| {} |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | "
                    "---: | ---: |\n",
                    fmt::join(header, " | "));
    for (const ordered_json &r : report["results"])
      out += fmt::format("| {} |\n", fmt::join(cellsOf(r), " | "));
    return out + "\n" + device;
  }
  header.push_back(""); // a table's last column is for notes
  Table table(header, 3);
  for (const ordered_json &r : report["results"]) {
    std::vector<std::string> cells = cellsOf(r);
    cells.push_back("");
    table.add(std::move(cells));
  }
  return table.text() + "\n" + device;
}
