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
from checkpoints import QUANTIZED, fresh, quant_pack, report_of, write_gguf
from safetensors import safe_open
from safetensors.numpy import load_file

fresh(sys.argv[1])
compared = 0
for seed, (n, k) in enumerate([(1, 256), (16, 512), (37, 768), (130, 2304)]):
    weights = {f"blk.{i}.{t}.weight": (t, n, k) for i, t in enumerate(QUANTIZED)}
    # A row that is no multiple of 256, where the format allows it.
    weights |= {f"odd.{t}.weight": (t, n, k + 32) for t in QUANTIZED if not t.endswith("K")}
    weights |= {"norm.weight": ("F32", 0, k), "half": ("F16", n, k), "other": ("IQ4_XS", n, k)}
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
        assert tensors["other"]["source"] == "IQ4_XS"
        metadata = safe_open("p.safetensors", "np").metadata()
        assert metadata["llama.block_count"] == "7"
        header = int.from_bytes(open("p.safetensors", "rb").read(8), "little")
        assert (header + 8) % 128 == 0

# A weight of 4096 x 4096 takes what the format says: 4.5, 5.5 and 6.5625 bits.
write_gguf("b.gguf", {t: (t, 4096, 4096) for t in ("Q4_K", "Q5_K", "Q6_K")})
quant_pack("b.gguf", "-o", "p.safetensors", "--report", "r.json", "--quiet")
_, tensors = report_of("r.json")
for kind, bits in {"Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625}.items():
    assert tensors[kind]["bpw_after"] == bits, tensors[kind]
print(f"{compared} weights compared, 0 differ")
