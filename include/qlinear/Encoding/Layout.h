//===- Layout.h - The byte layout of packed weights -------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The one place that knows where each bit of a packed weight (and of quantized
// activations) lies. Freestanding and constexpr: the packer, the compiler, the
// kernels of every target and the documentation's diagrams all use it.
//
// A weight of N rows and K columns is cut into tiles of 16 rows, each tile into
// units of 256 columns. One unit is read by one warp (or by one core's vector
// registers): lane = 8 * r0 + c owns the rows r0, r0+4, r0+8, r0+12 of the tile
// (row = 4 * j + r0) in chunk c, the 32 columns from 32 * c.
//
//   blob  = units | block steps | row constants          each 128-byte aligned
//   units = tile 0: [unit 0][unit 1]...[tail unit], padded to 128 bytes; tile 1
//   unit  = code planes | group records [| block steps]
//
// code planes   those that the bits of a code are the sum of, in this order, the first
//   with the lowest bits: 8 is bytes, 4 nibbles, 6 nibbles and pairs of bits, 5 nibbles
//   and single bits, 3 pairs of bits and single bits, 2 pairs of bits.
//   nibbles   at (row * chunks + place) * 16 the 16 bytes of row 4j + r0, chunk c, at
//     place c ^ (row & 7) in a full unit and c in a tail unit: the 8 rows of a matrix
//     fragment are then in different banks of a GPU's shared memory, as are the 8
//     chunks of a row. Byte i holds column i of the chunk in its low nibble and column
//     16 + i in its high nibble.
//   bytes     two such planes of whole bytes: columns 0..15, then columns 16..31.
//   pairs of bits   at (two * chunks + place) * 16 + (j % 2) * 8, with two = 4 (j / 2)
//     + r0, the two rows that share 16 bytes, and place c ^ two (c in a tail unit): two
//     32-bit words (columns 0..15, columns 16..31); byte b, bits 2i, 2i+1 are those of
//     column 4 i + b of that half.
//   single bits   at ((4 j + r0) * chunks + c) * 4 a 32-bit word; byte b, bit i is that
//     of column 4 i + b (i < 4: columns 0..15, i >= 4: 16..31).
// group records   one per r0 and per group column p (p = the group's index in
//   the unit; for group 16 the two groups of chunk p): the bit string
//     scale field of entry 0, 1, ... | offset field of entry 0, 1, ...
//   little-endian, entry e = j (group >= 32) or 2 j + half (group 16). A record
//   of R bytes is split into pieces of 16, 8, 4, 2, 1 bytes, largest first, and
//   each piece has a plane of its own: piece at plane + (r0 * columns + p) *
//   size, so that a warp loads each piece with one coalesced access.
// block steps     per unit, 16 entries in the order r0 * 4 + j: scale step, then
//   offset step (those that exist). They lie inside the unit where the unit is
//   not a multiple of 128 bytes without them, else in a plane of their own
//   (after all the units), so that bulk copies keep whole 128-byte lines.
// row constants   natural row order, rows padded to 16: scale constants [row],
//   then offset constants [row]; linear, scaled: step; log: base, step; delta: base.
//   With one group per row the plain or coded field itself comes first.
//
// Rows past N and columns past K have code field 0, scale 0, offset 0.
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_LAYOUT_H
#define QLINEAR_ENCODING_LAYOUT_H

#include "qlinear/Encoding/Fields.h"

namespace qlinear::layout {

/// Version of all this, in every archive of packed weights. 2 swizzles chunks.
inline constexpr int kVersion = 2;

inline constexpr int kTileRows = 16;
inline constexpr int kUnitK = 256;
inline constexpr int kChunk = 32;     ///< columns of one lane
inline constexpr int kUnitChunks = 8; ///< chunks of a full unit
inline constexpr int kLine = 128;     ///< alignment of a blob, plane and tile

constexpr u64 alignTo(u64 v, u64 a) { return (v + a - 1) / a * a; }

/// Bits of a code that there are planes for.
constexpr bool hasPlanes(int bits) {
  return (bits >= 2 && bits <= 6) || bits == 8; // 7 would be three planes
}

/// The values are those of qlinear::Form.
enum FormKind : int { kSymmetric, kZero, kMin, kCentred };

/// One metadata tensor, as in qlinear::MetaStorage.
struct Meta {
  int kind = kNone, type = kBF16, bits = 0, isSigned = 0, scope = kConstant;
  constexpr int fieldBits() const {
    return kind == kNone ? 0 : kind == kPlain ? 8 * floatBytes(type) : bits;
  }
  constexpr int rowBytes() const {
    return scope != kRow ? 0 : (kind == kLog ? 2 : 1) * floatBytes(type);
  }
  constexpr int blockBytes() const { return scope == kBlock ? floatBytes(type) : 0; }
};

/// What kernels multiply for a code, whose value is (operand - bias) * unit.
struct Operand {
  float bias, unit;
};

/// An encoding as one integer: kernels take it as a constant argument, and
/// everything derived from it folds away when the kernel is compiled.
struct Spec {
  int codeBits = 4;
  int codeSigned = 0, codeKind = kInteger;
  int group = 32; ///< a power of two, or 0: one group per row
  int form = kZero;
  Meta scale, offset;

  constexpr int bias() const { return biasOf(codeKind, codeBits, codeSigned); }
  constexpr int byteBits() const { return byteBitsOf(codeKind, codeBits); }
  constexpr bool hasFloats() const { return layout::hasFloats(codeKind); }
  /// Bytes; or with a unit for the floats of a table, those where it has such.
  constexpr Operand operand() const { return {float(bias()), unitOf(codeKind)}; }
  constexpr Operand operand(float unit) const {
    return hasFloats() ? Operand{0, unit} : operand();
  }

  // From the lowest bit on: bits of a code (4), signedness (1), kind (7), form (3), the
  // group's logarithm (5), then scale and offset of 20 bits each. Nothing outlives the
  // program that packs it: files spell encodings as text.
  static constexpr u64 packMeta(const Meta &m) {
    return u64(m.kind) | u64(m.type) << 4 | u64(m.bits) << 8 | u64(m.isSigned) << 13 |
           u64(m.scope) << 14;
  }
  static constexpr Meta unpackMeta(u64 v) {
    return {int(v & 15), int(v >> 4 & 15), int(v >> 8 & 31), int(v >> 13 & 1),
            int(v >> 14 & 7)};
  }
  constexpr u64 pack() const {
    int groupLog = 0;
    while (group >> groupLog > 1)
      ++groupLog;
    return u64(codeBits) | u64(codeSigned) << 4 | u64(codeKind) << 5 | u64(form) << 12 |
           u64(groupLog) << 15 | packMeta(scale) << 20 | packMeta(offset) << 40;
  }
  static constexpr Spec unpack(u64 v) {
    Spec s;
    s.codeBits = int(v & 15);
    s.codeSigned = int(v >> 4 & 1);
    s.codeKind = int(v >> 5 & 127);
    s.form = int(v >> 12 & 7);
    s.group = int(1u << (v >> 15 & 31) & ~1u);
    s.scale = unpackMeta(v >> 20 & 0xFFFFF);
    s.offset = unpackMeta(v >> 40 & 0xFFFFF);
    return s;
  }
};

/// A record of `bytes` bytes as pieces of 16, 8, 4, 2, 1; `index` counts them.
struct RecordPieces {
  int bytes;
  constexpr int count() const {
    int n = bytes / 16;
    for (int s = 8; s; s /= 2)
      n += (bytes & s) != 0;
    return n;
  }
  /// Size in bytes of piece `index`, and its byte offset inside the record.
  constexpr int size(int index) const {
    if (index < bytes / 16)
      return 16;
    index -= bytes / 16;
    for (int s = 8; s; s /= 2)
      if ((bytes & s) && index-- == 0)
        return s;
    return 0;
  }
  constexpr int start(int index) const {
    int at = 0;
    for (int i = 0; i < index; ++i)
      at += size(i);
    return at;
  }
  /// The piece that holds byte `byte` of the record, without a loop.
  struct Piece {
    int start, size;
  };
  constexpr Piece holding(int byte) const {
    int at = bytes & ~15;
    if (byte < at)
      return {byte & ~15, 16};
    if (byte < at + (bytes & 8))
      return {at, 8};
    at += bytes & 8;
    if (byte < at + (bytes & 4))
      return {at, 4};
    at += bytes & 4;
    if (byte < at + (bytes & 2))
      return {at, 2};
    return {at + (bytes & 2), 1};
  }
};

/// One unit of `chunks` (1..8) chunks; byte offsets from the unit's start.
struct UnitLayout {
  Spec spec;
  int chunks = kUnitChunks;

  constexpr bool perGroup() const { return spec.group != 0; }
  // Which planes codes have. Of those after the first, where in a code its bits are.
  constexpr bool hasBytes() const { return spec.codeBits == 8; }
  constexpr bool hasNibbles() const { return spec.codeBits & 4; }
  constexpr bool hasPairs() const { return spec.codeBits & 2; }
  constexpr bool hasBits() const { return spec.codeBits & 1; }
  constexpr int pairShift() const { return spec.codeBits & 4; }
  constexpr int bitShift() const { return spec.codeBits & 6; }
  /// Bytes of the plane of nibbles, or of both of bytes; 0 if there is none.
  constexpr int lowPlaneBytes() const {
    return kTileRows * chunks * 4 * (spec.codeBits & 12);
  }
  constexpr int pairPlaneBytes() const {
    return kTileRows * chunks * 4 * (spec.codeBits & 2);
  }
  constexpr int codeBytes() const { return kTileRows * chunks * 4 * spec.codeBits; }
  /// Chunk c of row (or two rows) `row` is at place c ^ swizzle(row).
  constexpr int swizzle(int row) const { return chunks == kUnitChunks ? row & 7 : 0; }
  /// Offset of the 16 nibble pairs or bytes of row 4j+r0, chunk c; `half` of bytes
  /// only.
  constexpr int low(int j, int r0, int c, int half = 0) const {
    int row = 4 * j + r0;
    return half * kTileRows * chunks * 16 + (row * chunks + (c ^ swizzle(row))) * 16;
  }
  /// Offset of the two words of pairs of bits of row 4j+r0, chunk c.
  constexpr int pairs(int j, int r0, int c) const {
    int two = j / 2 * 4 + r0;
    return lowPlaneBytes() + (two * chunks + (c ^ swizzle(two))) * 16 + j % 2 * 8;
  }
  /// Offset of the word of single bits of row 4j+r0, chunk c.
  constexpr int bits(int j, int r0, int c) const {
    return lowPlaneBytes() + pairPlaneBytes() + ((4 * j + r0) * chunks + c) * 4;
  }

  /// Groups of one chunk column in a record: 2 for group 16, else 1.
  constexpr int halves() const { return spec.group == 16 ? 2 : 1; }
  /// Entries of one record: 4 rows, or 4 rows x 2 halves.
  constexpr int entries() const { return 4 * halves(); }
  /// Record columns per r0: chunks for group <= 32, else groups.
  constexpr int columns() const {
    return !perGroup()        ? 0
           : spec.group <= 32 ? chunks
                              : (chunks * kChunk + spec.group - 1) / spec.group;
  }
  /// Record column of chunk c.
  constexpr int column(int c) const {
    return spec.group <= 32 ? c : c * kChunk / spec.group;
  }
  constexpr int recordBits() const {
    return perGroup() ? entries() * (spec.scale.fieldBits() + spec.offset.fieldBits())
                      : 0;
  }
  constexpr RecordPieces pieces() const { return {(recordBits() + 7) / 8}; }
  constexpr int scaleBit(int entry) const { return entry * spec.scale.fieldBits(); }
  constexpr int offsetBit(int entry) const {
    return entries() * spec.scale.fieldBits() + entry * spec.offset.fieldBits();
  }
  /// Offset of piece `index` of the record of (r0, column p).
  constexpr int record(int index, int r0, int p) const {
    RecordPieces q = pieces();
    return codeBytes() + 4 * columns() * q.start(index) +
           (r0 * columns() + p) * q.size(index);
  }
  constexpr int record(RecordPieces::Piece piece, int r0, int p) const {
    return codeBytes() + 4 * columns() * piece.start +
           (r0 * columns() + p) * piece.size;
  }
  constexpr int recordPlaneBytes() const { return 4 * columns() * pieces().bytes; }

  /// Bytes of one entry of block steps (one row), and of a unit's 16.
  constexpr int stepEntryBytes() const {
    return spec.scale.blockBytes() + spec.offset.blockBytes();
  }
  constexpr int stepBytes() const { return kTileRows * stepEntryBytes(); }
  /// Whether block steps lie inside the unit; decided by the full unit.
  constexpr bool stepsInside() const {
    UnitLayout full{spec, kUnitChunks};
    return stepEntryBytes() != 0 &&
           (full.codeBytes() + full.recordPlaneBytes()) % kLine != 0;
  }
  /// Offset of the step entry of row 4j+r0: in the unit if stepsInside(),
  /// else in the unit's 16 entries of the block step plane.
  constexpr int step(int j, int r0) const {
    return (stepsInside() ? int(alignTo(codeBytes() + recordPlaneBytes(), 16)) : 0) +
           (r0 * 4 + j) * stepEntryBytes();
  }
  /// Bytes from one unit to the next: a multiple of 32.
  constexpr int bytes() const {
    u64 b = alignTo(codeBytes() + recordPlaneBytes(), 16);
    return int(alignTo(b + (stepsInside() ? stepBytes() : 0), 32));
  }
};

/// The blob of an N x K weight.
struct WeightLayout {
  Spec spec;
  u64 N = 0, K = 0;

  constexpr u64 tiles() const { return (N + kTileRows - 1) / kTileRows; }
  constexpr u64 fullUnits() const { return K / kUnitK; }
  constexpr int tailChunks() const { return int((K % kUnitK + kChunk - 1) / kChunk); }
  constexpr u64 unitsPerTile() const { return fullUnits() + (tailChunks() != 0); }
  constexpr UnitLayout fullUnit() const { return {spec, kUnitChunks}; }
  constexpr UnitLayout tailUnit() const {
    return {spec, tailChunks() ? tailChunks() : kUnitChunks};
  }
  constexpr UnitLayout unit(u64 u) const {
    return u < fullUnits() ? fullUnit() : tailUnit();
  }
  constexpr u64 tileBytes() const {
    return alignTo(fullUnits() * fullUnit().bytes() +
                       (tailChunks() ? tailUnit().bytes() : 0),
                   kLine);
  }
  /// Offset of unit u of tile t in the blob.
  constexpr u64 unitOffset(u64 t, u64 u) const {
    return t * tileBytes() + u * fullUnit().bytes();
  }
  constexpr u64 unitPlaneBytes() const { return tiles() * tileBytes(); }

  /// Offset of the 16 step entries of unit u of tile t (steps outside).
  constexpr u64 stepsOffset(u64 t, u64 u) const {
    return unitPlaneBytes() + (t * unitsPerTile() + u) * fullUnit().stepBytes();
  }
  constexpr u64 stepPlaneBytes() const {
    return fullUnit().stepsInside()
               ? 0
               : alignTo(tiles() * unitsPerTile() * fullUnit().stepBytes(), kLine);
  }

  /// Bytes per row of the scale and offset constants: with one group per row
  /// also the field itself, rounded up to whole bytes.
  constexpr int rowScaleBytes() const {
    return (spec.group ? 0 : (spec.scale.fieldBits() + 7) / 8) + spec.scale.rowBytes();
  }
  constexpr int rowOffsetBytes() const {
    return (spec.group ? 0 : (spec.offset.fieldBits() + 7) / 8) +
           spec.offset.rowBytes();
  }
  constexpr u64 paddedRows() const { return tiles() * kTileRows; }
  constexpr u64 rowScaleOffset(u64 row) const {
    return unitPlaneBytes() + stepPlaneBytes() + row * rowScaleBytes();
  }
  constexpr u64 rowOffsetOffset(u64 row) const {
    return unitPlaneBytes() + stepPlaneBytes() +
           alignTo(paddedRows() * rowScaleBytes(), kLine) + row * rowOffsetBytes();
  }
  constexpr u64 bytes() const { return alignTo(rowOffsetOffset(paddedRows()), kLine); }
  /// Codes, metadata and padding, per weight.
  constexpr double bitsPerWeight() const {
    return 8.0 * double(bytes()) / (double(N) * double(K));
  }
};

/// Quantized activations of one token (row of x): int8 codes per 32 columns.
///
///   token = codes | chunk records
/// codes: per 256 columns (K padded with zeros) 128 bytes of the low halves,
///   then 128 bytes of the high halves: column 256 u + 32 c + i is at
///   256 u + 16 c + i (i < 16), or 256 u + 128 + 16 c + (i - 16).
/// chunk records: per 32 columns {float d; short lowSum, highSum}: x = d * code,
///   d = max|x| / 127, and the sums of the codes of both halves.
struct ActivationLayout {
  u64 K = 0;
  static constexpr int kRecordBytes = 8;
  constexpr u64 paddedK() const { return alignTo(K, kUnitK); }
  constexpr u64 chunks() const { return paddedK() / kChunk; }
  constexpr u64 code(u64 k) const {
    return k / kUnitK * kUnitK + (k % kChunk / 16) * 128 + (k % kUnitK / kChunk) * 16 +
           k % 16;
  }
  constexpr u64 record(u64 chunk) const { return paddedK() + chunk * kRecordBytes; }
  /// Bytes from one token to the next: a multiple of 64.
  constexpr u64 bytes() const { return record(chunks()); }
};

// The numbers that docs/encodings.md states, held here.
inline constexpr Spec kRowU8{4,
                             0,
                             kInteger,
                             32,
                             kZero,
                             {kLinear, kBF16, 8, 0, kRow},
                             {kLinear, kBF16, 8, 0, kRow}};
inline constexpr Spec kQ4K{4,
                           0,
                           kInteger,
                           32,
                           kMin,
                           {kLinear, kF16, 6, 0, kBlock},
                           {kLinear, kF16, 6, 0, kBlock}};
inline constexpr Spec kQ6K{
    6, 1, kInteger, 16, kSymmetric, {kLinear, kF16, 8, 1, kBlock}, {}};
inline constexpr Spec kQ3K{
    3, 1, kInteger, 16, kSymmetric, {kLinear, kF16, 6, 1, kBlock}, {}};
inline constexpr Spec kQ2K{2,
                           0,
                           kInteger,
                           16,
                           kMin,
                           {kLinear, kF16, 4, 0, kBlock},
                           {kLinear, kF16, 4, 0, kBlock}};
static_assert(UnitLayout{kRowU8}.bytes() == 2304);
static_assert(UnitLayout{kQ4K}.bytes() == 2304 && UnitLayout{kQ4K}.stepsInside());
static_assert(UnitLayout{kQ6K}.bytes() == 3328 && !UnitLayout{kQ6K}.stepsInside());
static_assert(UnitLayout{kQ3K}.bytes() == 1760 && UnitLayout{kQ3K}.stepsInside());
static_assert(UnitLayout{kQ2K}.bytes() == 1280 && !UnitLayout{kQ2K}.stepsInside());
static_assert(WeightLayout{kQ4K, 4096, 4096}.bitsPerWeight() == 4.5);
static_assert(WeightLayout{kQ6K, 4096, 4096}.bitsPerWeight() == 6.5625);
static_assert(WeightLayout{kQ3K, 4096, 4096}.bitsPerWeight() == 3.4375);
static_assert(WeightLayout{kQ2K, 4096, 4096}.bitsPerWeight() == 2.625);
static_assert(Spec::unpack(kQ6K.pack()).scale.scope == kBlock &&
              Spec::unpack(kQ6K.pack()).pack() == kQ6K.pack());

} // namespace qlinear::layout
#endif
