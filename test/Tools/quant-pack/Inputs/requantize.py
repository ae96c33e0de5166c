# ===- requantize.py - Quantized weights, quantized anew ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Values and errors are compared with those of the two steps, to floats and from them, and with
numpy; key-values with what gguf reads."""

import json
import sys

import gguf
import numpy as np
from checkpoints import fresh, quant_pack, report_of, write_gguf
from safetensors import safe_open
from safetensors.numpy import load_file

fresh(sys.argv[1])
KINDS = {"blk.0.ffn_up.weight": "Q4_K", "blk.0.ffn_down.weight": "Q6_K",
         "blk.0.attn_q.weight": "Q8_0"}  # fmt: skip
write_gguf("m.gguf", {name: (kind, 32, 512) for name, kind in KINDS.items()}, metadata=[("a.b", 7)])


def pack(source, output, *options):
    out, _ = quant_pack(source, "-o", output, *options, "--report", "r.json")
    return out, report_of("r.json")[1]


def values(archive):
    quant_pack(archive, "-o", "values.safetensors", "--dequantize", "f32")
    return load_file("values.safetensors")


pack("m.gguf", "floats.safetensors", "--dequantize", "f32")
floats = load_file("floats.safetensors")
for quantizer in (["int4:32"], ["int8:32"], ["up=int4:64", "down=int5:32"]):
    options = [word for q in quantizer for word in ("--quantize", q)]
    for encoding in ("row-u8", "auto"):
        options += ["--encoding", encoding]
        said, anew = pack("m.gguf", "anew.safetensors", *options, "--requantize")
        got = values("anew.safetensors")
        _, steps = pack("floats.safetensors", "steps.safetensors", *options)
        want = values("steps.safetensors")
        for name in KINDS:
            if not steps[name]["action"] == "packed":  # without a quantizer
                assert "requantized" not in anew[name]
                assert encoding == "row-u8" or (got[name] == floats[name]).all()
                continue
            assert (got[name] == want[name]).all(), (name, quantizer, encoding)
            error = floats[name].astype("f8") - got[name]
            snr = 10 * np.log10((floats[name].astype("f8") ** 2).sum() / (error**2).sum())
            assert abs(anew[name]["float_snr_db"] - snr) < 1e-3, (anew[name], snr)
            assert anew[name]["requantized"] and anew[name]["encoding"] == steps[name]["encoding"]
        assert "quantized weights were quantized anew; the worst of them keeps" in said, said
# Without the option, the codes stay; a group that does not fit is an error.
said, kept = pack("m.gguf", "lossless.safetensors", "--quantize", "int4:32")
assert "anew" not in said and all(kept[name]["quality"]["exact"] for name in KINDS)
write_gguf("odd.gguf", {"blk.0.ffn_up.weight": ("Q8_0", 16, 96)})
_, problem = quant_pack("odd.gguf", "-o", "o", "--quantize", "int4:64", "--requantize", status=1)
assert "tensor 'blk.0.ffn_up.weight': K = 96 is not a multiple of the group size 64" in problem

# Key-values: scalars as text, arrays as GGUF has them; also in an archive of the archive.
reader = gguf.GGUFReader("m.gguf")
quant_pack("lossless.safetensors", "-o", "again.safetensors", "--encoding", "row-u8")
for archive in ("lossless.safetensors", "again.safetensors"):
    with safe_open(archive, "numpy") as f:
        metadata, tokens = f.metadata(), f.get_tensor("tokenizer.ggml.tokens").tobytes()
    assert metadata["general.architecture"] == "llama" and metadata["a.b"] == "7"
    assert json.loads(metadata["qlinear"])["carried"]["tokenizer.ggml.tokens"] == {
        "type": "array[string]", "shape": [3]}  # fmt: skip
    field = reader.fields["tokenizer.ggml.tokens"]
    whole = b"".join(bytes(part) for part in field.parts[3:])  # after key, its length, the type
    assert tokens == whole, (tokens, whole)
    with open(archive, "rb") as f:
        broken = f.read().replace(b'"shape\\":[3]', b'"shape\\":[4]')
    with open("broken.safetensors", "wb") as f:
        f.write(broken)
    _, problem = quant_pack("--check", "broken.safetensors", status=1)
    assert "'tokenizer.ggml.tokens': shape 4 of array[string] is not its 3 elements" in problem
print("requantize: passed")
