# ===- gguf_exact.py - Packing GGUF is exact ------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Every block format, packed and dequantized, gives the weights that the gguf package gives."""

import sys

import gguf
import numpy as np
from checkpoints import FLOATS, QUANTIZED, blocks, fresh, quant_pack, report_of, write_gguf
from safetensors import safe_open
from safetensors.numpy import load_file

fresh(sys.argv[1])
compared = 0
for seed, (n, k) in enumerate([(1, 256), (16, 512), (37, 768), (130, 2304)]):
    weights = {f"blk.{i}.{t}.weight": (t, n, k) for i, t in enumerate(QUANTIZED)}
    # A row that is no multiple of 256, where the format allows it.
    weights |= {f"odd.{t}.weight": (t, n, k + 32) for t in QUANTIZED if t[-2:] not in ("_K", "XS")
                and t != "NVFP4"}
    weights |= {"norm.weight": ("F32", 0, k), "half": ("F16", n, k), "other": ("IQ3_S", n, k)}
    raw = write_gguf("a.gguf", weights, seed, [("llama.block_count", 7)])
    for encoding in ("auto", "lossless"):
        quant_pack("a.gguf", "-o", "p.safetensors", "--encoding", encoding, "--report", "r.json")
        quant_pack("p.safetensors", "-o", "f.safetensors", "--dequantize", "f32")
        packed, floats = load_file("p.safetensors"), load_file("f.safetensors")
        report, tensors = report_of("r.json")
        for name, (kind, rows, columns) in weights.items():
            entry = tensors[name]
            if kind in QUANTIZED:
                expected = gguf.quants.dequantize(raw[name], gguf.GGMLQuantizationType[kind])
                assert np.isfinite(expected).all()
                assert floats[name].shape == (rows, columns) and floats[name].dtype == np.float32
                differing = int((floats[name] != expected).sum())
                assert differing == 0, f"{name}: {differing} of {expected.size} weights differ"
                compared += expected.size
                assert entry["action"] == "packed" and entry["quality"]["exact"], entry
                assert entry["source"] == kind and entry["quality"]["differing_weights"] == 0
                assert abs(entry["bpw_before"] - 8 * raw[name].size / expected.size) < 1e-9
                assert abs(entry["bpw_after"] - 8 * packed[name].size / expected.size) < 1e-9
            else:
                assert entry["action"] == "carried" and entry["reason"], entry
                assert packed[name].tobytes() == raw[name].tobytes()
        assert tensors["other"]["source"] == "IQ3_S"
        metadata = safe_open("p.safetensors", "np").metadata()
        assert metadata["llama.block_count"] == "7"
        header = int.from_bytes(open("p.safetensors", "rb").read(8), "little")
        assert (header + 8) % 128 == 0

# A weight of 4096 x 4096 takes what the format says.
BITS = {"Q2_K": 2.625, "Q3_K": 3.4375, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625,
        "IQ4_NL": 4.5, "IQ4_XS": 4.25, "MXFP4": 4.25, "NVFP4": 4.5}
write_gguf("b.gguf", {t: (t, 4096, 4096) for t in BITS})
quant_pack("b.gguf", "-o", "p.safetensors", "--report", "r.json", "--quiet")
_, tensors = report_of("r.json")
for kind, bits in BITS.items():
    assert tensors[kind]["bpw_after"] == bits, tensors[kind]

# NVFP4 with a scale of the whole tensor beside it, which becomes each row's.
rng = np.random.default_rng(9)


def with_scale(scale, spoil=None, kind="NVFP4"):
    value = blocks(kind, 37, 320, rng)
    if spoil is not None:
        value[21, 36 * 3] = spoil
    writer = gguf.GGUFWriter("s.gguf", "llama")
    writer.add_tensor("blk.0.up.weight", value, raw_dtype=gguf.GGMLQuantizationType[kind])
    if scale is not None:
        writer.add_tensor("blk.0.up.scale", np.asarray(scale))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return gguf.quants.dequantize(value, gguf.GGMLQuantizationType[kind])


for scale in (0.0123, -3.5, 2.0**-20):
    scale = np.float32(scale)
    w = with_scale(scale.reshape(1)).reshape(37, 320)
    for encoding in ("auto", "lossless"):
        quant_pack("s.gguf", "-o", "p.safetensors", "--encoding", encoding, "--report", "r.json")
        quant_pack("p.safetensors", "-o", "f.safetensors", "--dequantize", "f32")
        floats, (_, tensors) = load_file("f.safetensors"), report_of("r.json")
        got = floats["blk.0.up.weight"].astype(np.float64)
        assert set(floats) == {"blk.0.up.weight"}, set(floats)
        exact = w.astype(np.float64) * scale
        assert (np.abs(got - exact) <= np.abs(exact) * 2.0**-23).all()
        entry = tensors["blk.0.up.weight"]
        assert entry["encoding"] == "e2m1, group = 16, symmetric, scale = e4m3 * row<f32>", entry
        assert entry["quality"]["exact"], entry


def refused(part, *arguments, **more):
    with_scale(*arguments, **more)
    _, message = quant_pack("s.gguf", "-o", "none", status=1)
    assert part in message, message


bad = "the NVFP4 block at offset"
refused(bad, None, spoil=0x7F)
refused(bad, None, spoil=0xFF)
refused("has a scale or min that is not finite", np.ones(1, np.float32), spoil=0x7F)
refused("'blk.0.up.scale': must be one F32, the scale of 'blk.0.up.weight', but is F32 of 2",
        np.ones(2, np.float32))
refused("'blk.0.up.scale': is inf; only finite scales can be used",
        np.array([np.inf], np.float32))
# Blocks of any bits at all: each is refused for a float that is none, or exact.
outcomes = {True: 0, False: 0}
for kind, floats in FLOATS.items():
    quantization = gguf.GGMLQuantizationType[kind]
    size, width = gguf.constants.GGML_QUANT_SIZES[quantization]
    for _ in range(6):
        value = rng.integers(0, 256, (3, 3 * width), np.uint8)
        writer = gguf.GGUFWriter("h.gguf", "llama")
        writer.add_tensor("w.weight", value, raw_dtype=quantization)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        each = value.reshape(9, width)
        bad = [b for b in range(9) for at in floats
               if not np.isfinite(each[b, at : at + 2].view("<f2")[0])]
        outcomes[bool(bad)] += 1
        if bad:
            _, message = quant_pack("h.gguf", "-o", "none", status=1)
            group = 32 if kind[-2:] != "_K" or kind in ("Q4_K", "Q5_K") else 16
            place = f"(row {bad[0] // 3}, group {bad[0] % 3 * (size // group)})"
            assert f"the {kind} block at offset" in message and place in message, message
            continue
        quant_pack("h.gguf", "-o", "p.safetensors", "--quiet")
        quant_pack("p.safetensors", "-o", "f.safetensors", "--dequantize", "f32")
        with np.errstate(all="ignore"):
            expected = gguf.quants.dequantize(value, quantization)
        assert (load_file("f.safetensors")["w.weight"] == expected).all(), kind
        compared += expected.size
assert all(outcomes.values()), outcomes
value = blocks("MXFP4", 4, 64, rng)
value[3, 17] = 255
writer = gguf.GGUFWriter("m.gguf", "llama")
writer.add_tensor("w.weight", value, raw_dtype=gguf.GGMLQuantizationType.MXFP4)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
_, message = quant_pack("m.gguf", "-o", "none", status=1)
assert "the MXFP4 block at offset" in message and "(row 3, group 1)" in message, message
print(f"{compared} weights compared, 0 differ")
