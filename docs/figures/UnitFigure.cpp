//===- UnitFigure.cpp - Draws the layout of a packed unit -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// unit-figure ENCODING: an SVG of one unit on stdout. Every number in it comes
// from Layout.h, so that the picture cannot differ from what is packed.
//
//===----------------------------------------------------------------------===//
#include "qlinear/Encoding/Encoding.h"
#include "qlinear/Encoding/Layout.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

using namespace qlinear;

namespace {

struct Plane {
  std::string name, detail;
  int begin, bytes;
  const char *fill;
};

std::string count(int n, const char *what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

std::vector<Plane> planesOf(const layout::UnitLayout &unit) {
  const layout::Spec &spec = unit.spec;
  int codes = layout::kTileRows * unit.chunks;
  std::vector<Plane> planes;
  if (unit.hasBytes()) {
    for (int half = 0; half < 2; ++half)
      planes.push_back({"codes, " + std::string(half ? "second" : "first") + " halves",
                        std::to_string(codes) + " x 16 bytes: columns " +
                            (half ? "16..31" : "0..15") + " of a chunk",
                        unit.low(0, 0, 0, half), unit.lowPlaneBytes() / 2, "#9ecae1"});
  }
  if (unit.hasNibbles())
    planes.push_back({spec.codeBits == 4 ? "codes" : "low 4 bits of the codes",
                      std::to_string(codes) + " x 16 bytes: column i | column 16 + i << 4",
                      unit.low(0, 0, 0), unit.lowPlaneBytes(), "#9ecae1"});
  if (unit.hasPairs()) {
    int shift = unit.pairShift();
    planes.push_back({spec.codeBits == 2 ? "codes"
                                         : "bits " + std::to_string(shift) + ", " +
                                               std::to_string(shift + 1) + " of the codes",
                      std::to_string(codes) + " x 8 bytes",
                      unit.lowPlaneBytes(), unit.pairPlaneBytes(), "#6baed6"});
  }
  if (unit.hasBits()) {
    int begin = unit.lowPlaneBytes() + unit.pairPlaneBytes();
    planes.push_back({"bit " + std::to_string(unit.bitShift()) + " of the codes",
                      std::to_string(codes) + " x 4 bytes", begin,
                      unit.codeBytes() - begin, "#4292c6"});
  }
  layout::RecordPieces pieces = unit.pieces();
  for (int i = 0; unit.columns() && i < pieces.count(); ++i)
    planes.push_back(
        {pieces.count() == 1 ? "group records" : "group records, piece " + std::to_string(i),
         std::to_string(4 * unit.columns()) + " x " + count(pieces.size(i), "byte") +
             ": a lane's " + count(unit.entries(), "scale") +
             (spec.offset.fieldBits() ? " and offsets" : ""),
         unit.record(i, 0, 0), 4 * unit.columns() * pieces.size(i), "#fdae6b"});
  if (unit.stepsInside())
    planes.push_back({"block steps",
                      "16 rows x " + count(unit.stepEntryBytes(), "byte") +
                          (spec.offset.blockBytes() ? ": scale step, offset step" : ""),
                      unit.step(0, 0), unit.stepBytes(), "#a1d99b"});
  return planes;
}

std::string escaped(const std::string &s) {
  std::string out;
  for (char c : s)
    out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

void text(int x, int y, const std::string &s, const char *style = "") {
  std::printf("<text x=\"%d\" y=\"%d\" %s>%s</text>\n", x, y, style, escaped(s).c_str());
}
void box(int x, int y, int w, int h, const char *fill) {
  std::printf("<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\" "
              "stroke=\"#555\"/>\n",
              x, y, w, h, fill);
}

constexpr const char *kSmall = "font-size=\"11\" fill=\"#444\"";
constexpr const char *kMiddle = "text-anchor=\"middle\" font-size=\"11\"";
constexpr const char *kInCell = "text-anchor=\"middle\" font-size=\"11\" class=\"cell\"";
/// Where the reader's system is dark; cells stay light.
constexpr const char *kStyle =
    "<style>@media (prefers-color-scheme: dark){text{fill:#e6edf3}.cell{fill:#000}"
    ".paper{fill:#1e2129}}</style>";
/// One colour per r0 = row mod 4.
constexpr const char *kLaneFill[4] = {"#deebf7", "#fee6ce", "#e5f5e0", "#efedf5"};

/// The 16 x 256 weights of a unit and the lane that owns each piece.
int drawLanes(const layout::UnitLayout &unit, int x, int y) {
  const int cellW = 66, cellH = 15;
  text(x, y, "which lane reads what: rows of the tile x chunks of 32 columns",
       "font-weight=\"bold\"");
  y += 22;
  for (int c = 0; c < unit.chunks; ++c)
    text(x + 44 + c * cellW + cellW / 2, y, "chunk " + std::to_string(c), kMiddle);
  y += 6;
  for (int row = 0; row < layout::kTileRows; ++row) {
    text(x, y + row * cellH + 11, "row " + std::to_string(row), kSmall);
    for (int c = 0; c < unit.chunks; ++c) {
      box(x + 44 + c * cellW, y + row * cellH, cellW, cellH, kLaneFill[row % 4]);
      text(x + 44 + c * cellW + cellW / 2, y + row * cellH + 11,
           "lane " + std::to_string(8 * (row % 4) + c), kInCell);
    }
  }
  return y + layout::kTileRows * cellH;
}

/// The planes of a unit, one bar each, with their byte ranges.
int drawPlanes(const layout::UnitLayout &unit, int x, int y) {
  text(x, y, "the " + count(unit.bytes(), "byte") + " of a unit, in order",
       "font-weight=\"bold\"");
  y += 12;
  const int width = 600;
  int end = 0;
  for (const Plane &plane : planesOf(unit)) {
    int w = std::max(6, plane.bytes * width / unit.bytes());
    int at = x + plane.begin * width / unit.bytes();
    box(at, y, w, 18, plane.fill);
    text(x, y + 33,
         std::to_string(plane.begin) + " .. " + std::to_string(plane.begin + plane.bytes) +
             "  " + plane.name + ": " + plane.detail,
         "font-size=\"12\"");
    y += 44;
    end = plane.begin + plane.bytes;
  }
  if (end < unit.bytes()) {
    text(x, y + 6, std::to_string(end) + " .. " + std::to_string(unit.bytes()) + "  padding",
         "font-size=\"12\"");
    y += 18;
  }
  return y;
}

/// What follows the units in the blob of an N x K weight.
int drawBlob(const layout::WeightLayout &blob, int x, int y) {
  text(x, y,
       "a blob of " + std::to_string(blob.N) + " x " + std::to_string(blob.K) + ": " +
           std::to_string(blob.bytes()) + " bytes",
       "font-weight=\"bold\"");
  auto line = [&](const std::string &s) { text(x, y += 17, s, "font-size=\"12\""); };
  line("0: " + std::to_string(blob.tiles()) + " tiles of " +
       std::to_string(blob.tileBytes()) + " bytes, each " +
       count(int(blob.unitsPerTile()), "unit"));
  if (blob.stepPlaneBytes())
    line(std::to_string(blob.unitPlaneBytes()) + ": block steps, " +
         std::to_string(blob.fullUnit().stepBytes()) + " bytes per unit");
  if (blob.rowScaleBytes())
    line(std::to_string(blob.rowScaleOffset(0)) + ": scale constants, " +
         count(blob.rowScaleBytes(), "byte") + " per row");
  if (blob.rowOffsetBytes())
    line(std::to_string(blob.rowOffsetOffset(0)) + ": offset constants, " +
         count(blob.rowOffsetBytes(), "byte") + " per row");
  char bpw[32];
  std::snprintf(bpw, sizeof bpw, "%.6g", blob.bitsPerWeight());
  line(std::string(bpw) + " bits per weight, everything counted");
  return y;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fputs("usage: unit-figure ENCODING, as inside #qlinear.encoding<...>\n", stderr);
    return 2;
  }
  Result<Encoding> encoding = Encoding::parse(argv[1]);
  if (!encoding) {
    std::fprintf(stderr, "unit-figure: %s\n", encoding.error().c_str());
    return 1;
  }
  layout::Spec spec = layout::Spec::unpack(encoding->spec());
  layout::UnitLayout unit{spec};
  // Every plane takes 44 pixels; the rest is fixed but for up to 3 lines about steps.
  int height = 480 + 44 * int(planesOf(unit).size());
  std::printf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 %d\" width=\"640\" "
              "height=\"%d\" font-family=\"sans-serif\" font-size=\"13\">\n"
              "<title>A packed unit: %s</title>\n%s\n"
              "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\" class=\"paper\"/>\n",
              height, height, escaped(encoding->str()).c_str(), kStyle);
  text(20, 24, encoding->str(), "font-family=\"monospace\" font-size=\"12\"");
  int y = drawLanes(unit, 20, 52);
  y = drawPlanes(unit, 20, y + 34);
  drawBlob({spec, 4096, 4096}, 20, y + 26);
  std::puts("</svg>");
  return 0;
}
