//===- GgufBlocks.cpp - GGUF block formats as encoded weights -------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each block format becomes the fields of its native encoding, bit by bit: no
// arithmetic on metadata happens here, only the sign of a min is turned
// (GGUF's Q4_1 and Q5_1 add it, the min form subtracts it).
//
//   format  bytes of a block                                  weights
//   Q4_0    d f16 | 16 nibble pairs                            32
//   Q4_1    d f16 | m f16 | 16 nibble pairs                    32
//   Q5_0    d f16 | 32 fifth bits | 16 nibble pairs            32
//   Q5_1    d f16 | m f16 | 32 fifth bits | 16 nibble pairs    32
//   Q8_0    d f16 | 32 i8                                      32
//   Q2_K    16 x (4-bit scale, min) | 64 bytes of 4 codes | d f16 | dmin f16        256
//   Q3_K    32 x 8 third bits | 64 bytes of 4 low parts of codes | 16 6-bit scales |
//           d f16                                              256
//   Q4_K    d f16 | dmin f16 | 8 x (6-bit scale, min) | 4 x 32 nibble pairs       256
//   Q5_K    d f16 | dmin f16 | 8 x (6-bit scale, min) | 32 x 8 fifth bits | nibbles 256
//   Q6_K    128 low nibble pairs | 64 bytes of high bits | 16 i8 scales | d f16   256
//   IQ4_NL  as Q4_0                                            32
//   IQ4_XS  d f16 | 8 x 2 high bits of scales | 4 pairs of low nibbles of scales |
//           8 x 16 nibble pairs                                256
//   MXFP4   e8m0 | 16 nibble pairs                             32
//   NVFP4   4 x e4m3 | 4 x 8 nibble pairs                      64
// A nibble pair of 32 weights holds weight i low and weight i + 16 high (NVFP4, of 16:
// + 8); in the
// K formats weight i low and weight i + 32 (Q6_K: + 64) high. Byte i of 32 holds the
// two bits of weights i, i + 32, i + 64 and i + 96 (Q2_K, Q3_K), from the lowest on.
//
//===----------------------------------------------------------------------===//
#include "../Files/Json.h"
#include "../Files/Readers.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fmt/core.h>
#include <mutex>
#include <optional>
#include <tbb/blocked_range.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>

using namespace qlinear;

namespace {

uint16_t load16(const uint8_t *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}
uint32_t load32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}

/// The f16 floats at these bytes of a block.
template <int... At> struct Floats {
  static bool areFinite(const uint8_t *in) {
    return (((load16(in + At) & 0x7C00) != 0x7C00) && ...);
  }
};

/// Where the parts of one block go; `steps` of the K formats, else null.
struct BlockOut {
  uint8_t *fields;
  uint32_t *scales, *offsets, *scaleStep, *offsetStep;
};

/// Weight i of 32 is the low nibble of byte i, weight i + 16 the high one.
void nibblePairs16(const uint8_t *__restrict in, uint8_t *__restrict out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = in[i] & 15;
    out[i + 16] = in[i] >> 4;
  }
}
void fifthBits(uint32_t bits, uint8_t *out) {
  for (int i = 0; i < 32; ++i)
    out[i] |= uint8_t((bits >> i & 1) << 4);
}

struct Q4_0 : Floats<0> {
  static void decode(const uint8_t *in, BlockOut out) {
    out.scales[0] = load16(in);
    nibblePairs16(in + 2, out.fields);
  }
};
struct Q4_1 : Floats<0, 2> {
  static void decode(const uint8_t *in, BlockOut out) {
    out.scales[0] = load16(in);
    out.offsets[0] = load16(in + 2) ^ 0x8000;
    nibblePairs16(in + 4, out.fields);
  }
};
struct Q5_0 : Floats<0> {
  static void decode(const uint8_t *in, BlockOut out) {
    out.scales[0] = load16(in);
    nibblePairs16(in + 6, out.fields);
    fifthBits(load32(in + 2), out.fields);
  }
};
struct Q5_1 : Floats<0, 2> {
  static void decode(const uint8_t *in, BlockOut out) {
    out.scales[0] = load16(in);
    out.offsets[0] = load16(in + 2) ^ 0x8000;
    nibblePairs16(in + 8, out.fields);
    fifthBits(load32(in + 4), out.fields);
  }
};
struct Q8_0 : Floats<0> {
  static void decode(const uint8_t *in, BlockOut out) {
    out.scales[0] = load16(in);
    for (int i = 0; i < 32; ++i)
      out.fields[i] = in[2 + i] ^ 0x80; // + 128
  }
};

/// The eight 6-bit scales and mins of Q4_K and Q5_K in 12 bytes: bytes 0..3 and
/// 4..7 have the scales and mins of groups 0..3 in their low 6 bits; bytes 8..11
/// the low nibbles of those of groups 4..7, whose top bits are the top 2 bits of
/// bytes 0..3 and 4..7.
void scalesAndMins(const uint8_t *in, uint32_t *scales, uint32_t *mins) {
  for (int j = 0; j < 4; ++j) {
    scales[j] = in[j] & 63;
    mins[j] = in[j + 4] & 63;
    scales[j + 4] = uint32_t(in[j + 8] & 15) | uint32_t(in[j] >> 6) << 4;
    mins[j + 4] = uint32_t(in[j + 8] >> 4) | uint32_t(in[j + 4] >> 6) << 4;
  }
}

/// Code i of 256, which are two bits each: the halves of a block have 32 bytes each.
void fourCodesPerByte(const uint8_t *__restrict in, uint8_t *__restrict out) {
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 32; ++i)
      for (int part = 0; part < 4; ++part)
        out[half * 128 + part * 32 + i] = in[half * 32 + i] >> 2 * part & 3;
}

struct Q2_K : Floats<80, 82> {
  static void decode(const uint8_t *__restrict in, BlockOut out) {
    out.scaleStep[0] = load16(in + 80);
    out.offsetStep[0] = load16(in + 82);
    for (int g = 0; g < 16; ++g) {
      out.scales[g] = in[g] & 15;
      out.offsets[g] = in[g] >> 4;
    }
    fourCodesPerByte(in + 16, out.fields);
  }
};

/// A weight is scale * (low part - 4), or without the 4 if its third bit is set: which
/// is the code of 3 bits, less 4. A scale is d * (code - 32), as of IQ4_XS; the low
/// nibbles of the codes come first, those of groups 8 to 15 in high nibbles, then their
/// two high bits: byte g % 4 has those of g, from the lowest on.
struct Q3_K : Floats<108> {
  static void decode(const uint8_t *__restrict in, BlockOut out) {
    const uint8_t *scales = in + 96;
    out.scaleStep[0] = load16(in + 108);
    for (int g = 0; g < 16; ++g) {
      uint32_t low = scales[g % 8] >> 4 * (g / 8) & 15;
      uint32_t high = scales[8 + g % 4] >> 2 * (g / 4) & 3;
      out.scales[g] = (low | high << 4) ^ 32;
    }
    fourCodesPerByte(in + 32, out.fields);
    uint8_t *__restrict fields = out.fields;
    for (int part = 0; part < 8; ++part)
      for (int i = 0; i < 32; ++i)
        fields[part * 32 + i] |= uint8_t((in[i] >> part & 1) << 2);
  }
};

struct Q4_K : Floats<0, 2> {
  static void decode(const uint8_t *__restrict in, BlockOut out) {
    out.scaleStep[0] = load16(in);
    out.offsetStep[0] = load16(in + 2);
    scalesAndMins(in + 4, out.scales, out.offsets);
    uint8_t *__restrict fields = out.fields;
    for (int pair = 0; pair < 4; ++pair)
      for (int i = 0; i < 32; ++i) {
        uint8_t byte = in[16 + pair * 32 + i];
        fields[pair * 64 + i] = byte & 15;
        fields[pair * 64 + 32 + i] = byte >> 4;
      }
  }
};
struct Q5_K : Floats<0, 2> {
  static void decode(const uint8_t *__restrict in, BlockOut out) {
    out.scaleStep[0] = load16(in);
    out.offsetStep[0] = load16(in + 2);
    scalesAndMins(in + 4, out.scales, out.offsets);
    uint8_t *__restrict fields = out.fields;
    for (int pair = 0; pair < 4; ++pair)
      for (int i = 0; i < 32; ++i) {
        uint8_t byte = in[48 + pair * 32 + i], high = in[16 + i];
        fields[pair * 64 + i] = (byte & 15) | (high >> (2 * pair) & 1) << 4;
        fields[pair * 64 + 32 + i] = (byte >> 4) | (high >> (2 * pair + 1) & 1) << 4;
      }
  }
};
struct Q6_K : Floats<208> {
  static void decode(const uint8_t *__restrict in, BlockOut out) {
    out.scaleStep[0] = load16(in + 208);
    for (int g = 0; g < 16; ++g)
      out.scales[g] = in[192 + g];
    uint8_t *__restrict fields = out.fields;
    for (int half = 0; half < 2; ++half)
      for (int i = 0; i < 32; ++i) {
        uint8_t a = in[half * 64 + i], b = in[half * 64 + 32 + i];
        uint8_t high = in[128 + half * 32 + i];
        uint8_t *f = fields + half * 128 + i;
        f[0] = (a & 15) | (high & 3) << 4;
        f[32] = (b & 15) | (high >> 2 & 3) << 4;
        f[64] = (a >> 4) | (high >> 4 & 3) << 4;
        f[96] = (b >> 4) | (high >> 6) << 4;
      }
  }
};

/// A scale is d * (code - 32): in two's complement, the code's highest bit turned.
struct IQ4_XS : Floats<0> {
  static void decode(const uint8_t *__restrict in, BlockOut out) {
    out.scaleStep[0] = load16(in);
    uint32_t high = load16(in + 2);
    for (int g = 0; g < 8; ++g) {
      uint32_t low = in[4 + g / 2] >> 4 * (g % 2) & 15;
      out.scales[g] = (low | (high >> 2 * g & 3) << 4) ^ 32;
      nibblePairs16(in + 8 + 16 * g, out.fields + 32 * g);
    }
  }
};

/// All 255 is NaN where the format comes from; for ggml it is 2^128.
struct MXFP4 {
  static bool areFinite(const uint8_t *in) { return in[0] != 255; }
  static void decode(const uint8_t *in, BlockOut out) {
    out.scales[0] = in[0];
    nibblePairs16(in + 1, out.fields);
  }
};

/// ggml's scales have no sign: it does not look at the bit.
struct NVFP4 {
  static bool areFinite(const uint8_t *in) {
    return std::none_of(in, in + 4, [](uint8_t d) { return (d & 0x7F) == 0x7F; });
  }
  static void decode(const uint8_t *in, BlockOut out) {
    for (int g = 0; g < 4; ++g) {
      out.scales[g] = in[g] & 0x7F;
      for (int i = 0; i < 8; ++i) {
        uint8_t pair = in[4 + 8 * g + i];
        out.fields[16 * g + i] = pair & 15;
        out.fields[16 * g + 8 + i] = pair >> 4;
      }
    }
  }
};

/// Decodes the rows of `w` from `data`. Returns the index of the first block with
/// a float that is not finite, or -1.
template <typename Format>
int64_t decodeBlocks(const uint8_t *data, const GgufType &type, EncodedWeight &w) {
  uint64_t perRow = w.K / type.block;
  unsigned groups = type.block / w.encoding.group;
  std::atomic<int64_t> bad = -1;
  tbb::parallel_for(tbb::blocked_range<uint64_t>(0, w.N, 16), [&](const auto &rows) {
    for (uint64_t b = rows.begin() * perRow; b < rows.end() * perRow; ++b) {
      const uint8_t *in = data + b * type.bytes;
      if (!Format::areFinite(in)) {
        for (int64_t seen = bad; seen < 0 || int64_t(b) < seen;)
          if (bad.compare_exchange_weak(seen, int64_t(b)))
            break;
        return;
      }
      Format::decode(
          in, {w.fields.data() + b * type.block, w.scaleFields.data() + b * groups,
               w.offsetFields.data() + (w.offsetFields.empty() ? 0 : b * groups),
               w.scaleSteps.data() + (w.scaleSteps.empty() ? 0 : b),
               w.offsetSteps.data() + (w.offsetSteps.empty() ? 0 : b)});
    }
  });
  return bad;
}

using Decoder = int64_t (*)(const uint8_t *, const GgufType &, EncodedWeight &);

Decoder decoderOf(std::string_view type) {
  static const std::pair<std::string_view, Decoder> decoders[] = {
      {"Q4_0", decodeBlocks<Q4_0>},   {"Q4_1", decodeBlocks<Q4_1>},
      {"Q5_0", decodeBlocks<Q5_0>},   {"Q5_1", decodeBlocks<Q5_1>},
      {"Q8_0", decodeBlocks<Q8_0>},   {"Q2_K", decodeBlocks<Q2_K>},
      {"Q3_K", decodeBlocks<Q3_K>},   {"Q4_K", decodeBlocks<Q4_K>},
      {"Q5_K", decodeBlocks<Q5_K>},   {"Q6_K", decodeBlocks<Q6_K>},
      {"IQ4_NL", decodeBlocks<Q4_0>}, {"IQ4_XS", decodeBlocks<IQ4_XS>},
      {"MXFP4", decodeBlocks<MXFP4>}, {"NVFP4", decodeBlocks<NVFP4>}};
  for (auto [name, decoder] : decoders)
    if (name == type)
      return decoder;
  return nullptr;
}

} // namespace

bool qlinear::isGgufQuantized(std::string_view type) {
  return decoderOf(type) != nullptr;
}

namespace {

/// A tensor of block format, checked.
struct BlockTensor {
  const Tensor &tensor;
  const GgufType &type;
  Decoder decoder;
  Encoding encoding;
  uint64_t N, K;

  static Result<BlockTensor> check(const Tensor &t);
  uint64_t rowBytes() const { return K / type.block * type.bytes; }
  /// Rows `first` ... of as many rows as `w` has (its N); w keeps its storage.
  Result<void> decodeRows(uint64_t first, EncodedWeight &w) const;
};

Error tensorError(const Tensor &t, std::string_view what) {
  return error(fmt::format("tensor {}: {}", inQuotes(t.name), what));
}

Result<BlockTensor> BlockTensor::check(const Tensor &t) {
  const GgufType *type = ggufType(t.type);
  Decoder decoder = decoderOf(t.type);
  if (!decoder)
    return tensorError(t,
                       fmt::format("type {} is not a block format that is decoded ({})",
                                   t.type, ggufTypes()));
  if (t.shape.size() != 2)
    return tensorError(t, fmt::format("a linear weight has two dimensions, not {} ({})",
                                      t.shape.size(), shapeText(t.shape)));
  auto count = checkedProduct(t.shape);
  if (t.shape[1] % type->block || !count || t.bytes.size() % type->bytes ||
      *count != t.bytes.size() / type->bytes * type->block)
    return tensorError(t, fmt::format("shape {} does not match its {} bytes of {}",
                                      shapeText(t.shape), t.bytes.size(), t.type));
  auto encoding = ggufEncoding(t.type);
  if (!encoding)
    return encoding.takeError();
  return BlockTensor{t, *type, decoder, *encoding, t.shape[0], t.shape[1]};
}

Result<void> BlockTensor::decodeRows(uint64_t first, EncodedWeight &w) const {
  w.encoding = encoding;
  w.K = K;
  bool hasOffset = encoding.form != Form::symmetric;
  uint64_t weights = w.N * K, groups = weights / encoding.group;
  w.fields.resize(weights);
  w.scaleFields.resize(groups);
  w.offsetFields.resize(hasOffset ? groups : 0);
  uint64_t blocks = encoding.scale.scope == StepScope::block ? weights / kStepBlock : 0;
  w.scaleSteps.resize(blocks);
  w.offsetSteps.resize(hasOffset ? blocks : 0);

  const auto *data = reinterpret_cast<const uint8_t *>(tensor.bytes.data());
  int64_t broken = decoder(data + first * rowBytes(), type, w);
  if (broken < 0)
    return {};
  uint64_t perRow = K / type.block, block = first * perRow + uint64_t(broken);
  return tensorError(
      tensor,
      fmt::format("the {} block at offset {} (row {}, group {}) has a scale or min "
                  "that is not finite",
                  tensor.type, tensor.offset + block * type.bytes, block / perRow,
                  block % perRow * (type.block / encoding.group)));
}

} // namespace

Result<EncodedWeight> qlinear::decodeGguf(const Tensor &tensor) {
  auto t = BlockTensor::check(tensor);
  if (!t)
    return t.takeError();
  EncodedWeight w;
  w.N = t->N;
  if (auto r = t->decodeRows(0, w); !r)
    return r.takeError();
  return w;
}

/// Puts the blob of one tile's rows where they belong in the whole weight's.
static void placeTile(const layout::WeightLayout &whole, uint64_t tile,
                      const layout::WeightLayout &part, const std::byte *from,
                      std::byte *blob) {
  memcpy(blob + whole.unitOffset(tile, 0), from, part.unitPlaneBytes());
  if (!whole.fullUnit().stepsInside())
    memcpy(blob + whole.stepsOffset(tile, 0), from + part.stepsOffset(0, 0),
           whole.unitsPerTile() * whole.fullUnit().stepBytes());
}

Result<void> qlinear::packGguf(const Tensor &tensor, std::span<std::byte> blob) {
  auto t = BlockTensor::check(tensor);
  if (!t)
    return t.takeError();
  layout::WeightLayout whole = layoutOf(t->encoding, t->N, t->K);
  if (blob.size() != whole.bytes())
    return tensorError(tensor, fmt::format("the blob has {} bytes, not {}", blob.size(),
                                           whole.bytes()));
  // Planes end in padding; no native encoding has constants per row.
  uint64_t steps = whole.stepsOffset(whole.tiles(), 0);
  memset(blob.data() + std::min(steps, blob.size()), 0,
         blob.size() - std::min(steps, blob.size()));

  // One tile at a time, so that its fields stay in the cache.
  std::mutex mutex;
  std::optional<std::pair<uint64_t, Error>> failure; // of the first bad tile
  tbb::enumerable_thread_specific<std::pair<EncodedWeight, std::vector<std::byte>>>
      scratch;
  tbb::parallel_for(tbb::blocked_range<uint64_t>(0, whole.tiles()),
                    [&](const auto &tiles) {
                      auto &[w, part] = scratch.local();
                      for (uint64_t tile = tiles.begin(); tile < tiles.end(); ++tile) {
                        uint64_t first = tile * layout::kTileRows;
                        w.N = std::min<uint64_t>(layout::kTileRows, t->N - first);
                        auto r = t->decodeRows(first, w);
                        if (r) {
                          layout::WeightLayout one = layoutOf(t->encoding, w.N, t->K);
                          part.resize(one.bytes());
                          r = pack(w, part);
                          if (r)
                            placeTile(whole, tile, one, part.data(), blob.data());
                        }
                        if (!r) {
                          std::lock_guard lock(mutex);
                          if (!failure || tile < failure->first)
                            failure.emplace(tile, r.takeError());
                          return;
                        }
                      }
                    });
  if (failure)
    return std::move(failure->second);
  return {};
}

Result<std::vector<float>> qlinear::toFloats(const Tensor &t) {
  unsigned width = t.type == "F32" ? 4 : 2;
  if (t.type != "F32" && t.type != "F16" && t.type != "BF16")
    return error(fmt::format("tensor {}: type {} is not F32, F16 or BF16",
                             inQuotes(t.name), t.type));
  std::vector<float> out(t.bytes.size() / width);
  const auto *in = reinterpret_cast<const uint8_t *>(t.bytes.data());
  tbb::parallel_for(
      tbb::blocked_range<size_t>(0, out.size(), 1 << 16), [&](const auto &r) {
        if (width == 4)
          memcpy(out.data() + r.begin(), in + 4 * r.begin(), 4 * r.size());
        else if (t.type == "BF16")
          for (size_t i = r.begin(); i < r.end(); ++i)
            out[i] = bf16ToFloat(load16(in + 2 * i));
        else
          for (size_t i = r.begin(); i < r.end(); ++i)
            out[i] = f16ToFloat(load16(in + 2 * i));
      });
  return out;
}
