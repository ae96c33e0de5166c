# ===- inspect_files.py - What quant-inspect says --------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Makes the files that the test prints, and compares the JSON with other readers."""

import json
import os
import re
import shutil
import subprocess
import sys

import gguf
import numpy as np
from checkpoints import fresh, quant_pack, write_gguf
from safetensors import safe_open
from safetensors.numpy import save_file

fresh(sys.argv[1])


def inspect(*arguments, status=0):
    run = subprocess.run(["quant-inspect", *arguments], capture_output=True, text=True,
                         check=False)  # fmt: skip
    assert run.returncode == status, (arguments, run.returncode, run.stdout, run.stderr)
    return run.stderr if status == 2 else run.stdout


def json_of(*arguments, status=0):
    return json.loads(inspect(*arguments, "--json", status=status))


weights = {
    "blk.0.ffn_gate.weight": ("Q4_K", 64, 256),
    "blk.0.ffn_up.weight": ("Q6_K", 64, 256),
    "blk.0.ffn_down.weight": ("Q8_0", 32, 64),
    "blk.0.ffn_norm.weight": ("F32", 0, 256),
    "blk.0.iq.weight": ("F16", 8, 256),
}
raw = write_gguf("model.gguf", weights)
quant_pack("model.gguf", "-o", "p.safetensors", "--encoding", "lossless")
quant_pack("model.gguf", "-o", "coarse.safetensors", "--encoding", "row-u8", "--exclude", "down")
write_gguf("down.gguf", {"blk.0.ffn_down.weight": ("Q8_0", 32, 64)})
subprocess.run(
    ["quant-compile", "down.gguf", "--target=cpu:portable,cuda:sm_80", "-o", "model.so",
     "--save-temps=temps"], check=True, capture_output=True,
)  # fmt: skip

# GGUF: offsets and bytes as gguf reads them.
said = json_of("model.gguf")
assert said["kind"] == "GGUF v3" and said["metadata"]["general.architecture"] == "llama"
read = {t.name: t for t in gguf.GGUFReader("model.gguf").tensors}
assert len(said["tensors"]) == len(read)
for entry in said["tensors"]:
    tensor = read[entry["name"]]
    assert entry["offset"] == tensor.data_offset and entry["bytes"] == tensor.n_bytes, entry
    assert entry["shape"] == [int(d) for d in reversed(tensor.shape)]
    if tensor.tensor_type.name.startswith("Q"):
        assert entry["bits_per_weight"] == 8 * tensor.n_bytes / tensor.n_elements

# The archive: the bytes at the offsets, checksums and functions.
said = json_of("p.safetensors")
about = json.loads(safe_open("p.safetensors", "np").metadata()["qlinear"])["weights"]
with open("p.safetensors", "rb") as f:
    data = f.read()
for entry in said["tensors"]:
    part = data[entry["offset"] : entry["offset"] + entry["bytes"]]
    stored = safe_open("p.safetensors", "np").get_tensor(entry["name"])
    assert part == stored.tobytes(), entry
    packed = about.get(entry["name"])
    assert entry.get("xxh3") == (packed and packed["xxh3"]), entry
    assert not packed or entry["encoding"] == packed["encoding"]
assert {layer["name"]: layer.get("gate") for layer in said["layers"]} == {
    "blk_0_ffn_down": None, "blk_0_ffn_gate_up": "silu"
}, said["layers"]  # fmt: skip

# Values, of a packed weight by its layer's name, and of one that was carried over.
down = gguf.quants.dequantize(raw["blk.0.ffn_down.weight"], gguf.GGMLQuantizationType.Q8_0)
for name, want in (("blk.0.ffn_down", down), ("blk.0.iq.weight", raw["blk.0.iq.weight"])):
    values = json_of("p.safetensors", "--tensor", name)
    want = want.astype("f8")
    limit = np.abs(want).max()
    assert values["min"] == want.min() and values["max"] == want.max(), values
    assert np.isclose(values["mean"], want.mean()) and values["zeros"] == (want == 0).sum()
    assert np.isclose(values["rms"], np.sqrt((want**2).mean())) and values["limit"] == limit
    assert values["histogram"] == list(np.histogram(want, 16, (-limit, limit))[0]), values
assert "has no tensor 'nothing'" in inspect("p.safetensors", "--tensor", "nothing", status=2)

# What was packed without loss is the checkpoint; SNR is that of numpy.
assert json_of("model.gguf", "p.safetensors")["same"] == 5
assert json_of("p.safetensors", "p.safetensors") == {
    "a": "p.safetensors", "b": "p.safetensors", "same": 5, "differences": []
}  # fmt: skip
quant_pack("coarse.safetensors", "-o", "coarse.floats", "--dequantize", "f32")
coarse = safe_open("coarse.floats", "np")
changes = {d["name"]: d for d in json_of("p.safetensors", "coarse.safetensors", status=1)[
    "differences"]}  # fmt: skip
assert len(changes) == 3, changes
for name, kind in (("gate", "Q4_K"), ("up", "Q6_K")):
    key = f"blk.0.ffn_{name}.weight"
    exact = gguf.quants.dequantize(raw[key], gguf.GGMLQuantizationType[kind]).astype("f8")
    error = exact - coarse.get_tensor(key)
    snr = 10 * np.log10((exact**2).sum() / (error**2).sum())
    assert abs(changes[key]["snr_db"] - snr) < 1e-3, (changes[key], snr)
# One more, and one less; the checkpoint's array of words is no weight.
tensors = {n: coarse.get_tensor(n) for n in coarse.keys() if n != "tokenizer.ggml.tokens"}
tensors["more"] = tensors.pop("blk.0.ffn_norm.weight") + 1
save_file(tensors, "other")
changes = json_of("coarse.floats", "other", status=1)["differences"]
assert [(d["name"], "a" in d, "b" in d) for d in changes] == [
    ("blk.0.ffn_norm.weight", True, False), ("more", False, True)
], changes  # fmt: skip

# The artifact: its manifest is the one that the runtime gives, registers are ptxas's.
said = json_of("model.so")
assert [t["target"] for t in said["manifest"]["targets"]] == ["cpu:portable", "cuda:sm_80"]
assert said["architecture"] in ("x86-64", "arm64")
with open("temps/manifest.json") as f:
    assert said["manifest"] == json.load(f)
images = {image["name"]: image["bytes"] for image in said["images"]}
assert images["cuda:sm_80/ptx"] == os.path.getsize("temps/cuda-sm_80.ptx") + 1
if os.path.exists("temps/cuda-sm_80.ptxas.txt"):
    with open("temps/cuda-sm_80.ptxas.txt") as f:
        pattern = r"Compiling entry function '(\w+)'.*?Used (\d+) registers"
        found = re.findall(pattern, f.read(), re.S)
    assert {k: int(n) for k, n in found} == said["registers"]["cuda:sm_80"] != {}
# What is no file of ours; files that are cut or damaged end in words.
with open("model.so", "rb") as f:
    library = f.read()
rng = np.random.default_rng(0)
for i in range(60):
    broken = bytearray(library[: int(rng.integers(4, len(library)))] if i % 2 else library)
    for at in rng.integers(4, len(broken), 0 if i % 4 == 1 else 200):
        broken[at] = rng.integers(256)
    with open("broken.so", "wb") as f:
        f.write(broken)
    run = subprocess.run(["quant-inspect", "broken.so"], capture_output=True, check=False)
    assert run.returncode in (0, 2), run
assert "no symbol qlinear_artifact" in inspect(
    os.path.realpath(shutil.which("quant-inspect")), status=2
)
assert "is an artifact; two files" in inspect("model.so", "p.safetensors", status=2)
assert "--tensor looks at one file" in inspect("model.gguf", "model.gguf", "--tensor", "x",
                                               status=2)  # fmt: skip
assert "cannot open 'none'" in inspect("none", status=2)
print("inspect: passed")
