# ===- checkpoint.py - quant-compile on checkpoints ------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""checkpoint.py DIRECTORY CC SOURCES LIBS [no-example]: GGUF, safetensors, shards and archives
are compiled, and each function is compared with float64. Weights are decoded by gguf's Python."""

import json
import os
import subprocess
import sys

import gguf
import numpy as np
from checkpoints import fresh, quant_pack
from safetensors.numpy import load_file, save_file

directory, cc, sources, libs, *without = sys.argv[1:]
fresh(directory)
K, ROWS = 256, 3
SHAPES = {
    "attn_q": ("Q8_0", K, K),
    "attn_k": ("Q8_0", 64, K),
    "attn_v": ("Q4_0", 64, K),
    "ffn_gate": ("Q8_0", 512, K),
    "ffn_up": ("Q8_0", 512, K),
}


def model(path, architecture, parts, biases=(), seed=0):
    """Writes some weights of a block; {tensor: its values}."""
    rng = np.random.default_rng(seed)
    writer, values = gguf.GGUFWriter(path, architecture), {}
    for part in parts:
        kind, n, k = SHAPES[part]
        kind = gguf.GGMLQuantizationType[kind]
        raw = gguf.quants.quantize(rng.normal(size=(n, k)).astype("f4") * 0.1, kind)
        name = f"blk.0.{part}"
        writer.add_tensor(f"{name}.weight", raw, raw_dtype=kind)
        values[f"{name}.weight"] = gguf.quants.dequantize(raw, kind).astype("f8")
        if part in biases:
            values[f"{name}.bias"] = rng.normal(size=n).astype("f4")
            writer.add_tensor(f"{name}.bias", values[f"{name}.bias"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def run(*command, status=0):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == (status != 0), (command, done.stdout, done.stderr)
    return done.stderr if status else done.stdout


def compile_(*arguments, status=0):
    return run("quant-compile", *arguments, "--target=cpu:portable", status=status)


def results(function, inputs, base, dtype):
    """What the compiled function gives; its inputs are files of numpy."""
    arguments = []
    for i, value in enumerate(inputs):
        np.save(f"in{i}.npy", value)
        arguments += ["--input", f"in{i}.npy"]
    run("quant-run", f"{base}.so", "--weights", base_archive(base), "--function", function,
        "--device", "cpu:portable", *arguments, "--output", "y.safetensors")  # fmt: skip
    outputs = load_file("y.safetensors") if dtype != "bf16" else bf16_file("y.safetensors")
    return [outputs[name].astype("f8") for name in sorted(outputs)]


def bf16_file(path):
    with open(path, "rb") as f:
        data = f.read()
    start = 8 + int.from_bytes(data[:8], "little")
    out = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + o for o in entry["data_offsets"])
            words = np.frombuffer(data[begin:end], "<u2").astype("<u4") << 16
            out[name] = words.view("<f4").reshape(entry["shape"])
    return out


def base_archive(base):
    with open(f"{base}.functions.json") as f:
        name = json.load(f)["weights"]
    beside = os.path.join(os.path.dirname(base), name)
    return beside if os.path.exists(beside) else name


def verify(base, values, act, dtype="f32", bound=2e-5):
    """Each function of the artifact against float64; their names."""
    with open(f"{base}.functions.json") as f:
        listed = json.load(f)
    assert listed["artifact"] == os.path.basename(base) + ".so"
    assert listed["targets"] == ["cpu:portable"]
    rng = np.random.default_rng(1)
    for function in listed["functions"]:
        x = rng.normal(size=(ROWS, function["weights"][0]["k"])).astype("f4")
        inputs = [x] + [values[i["tensor"]] for i in function["inputs"][1:]]
        products = []
        for weight in function["weights"]:
            name = weight["name"]
            assert values[name].shape == (weight["n"], weight["k"])
            bias = values.get(name.replace(".weight", ".bias"), 0)
            products.append(x.astype("f8") @ values[name].T + bias)
        if len(products) == 2:
            products = [act(products[0]) * products[1]]
        assert [o["shape"] for o in function["outputs"]] == [[-1, p.shape[1]] for p in products]
        assert {io["dtype"] for io in function["inputs"][:1] + function["outputs"]} == {dtype}
        for y, want in zip(results(function["name"], inputs, base, dtype), products, strict=True):
            error = np.abs(y - want).max() / np.abs(want).max()
            assert error < bound, (function["name"], error)
    return [function["name"] for function in listed["functions"]]


ATTENTION, MLP = ("attn_q", "attn_k", "attn_v"), ("ffn_gate", "ffn_up")
exact = ("--encoding=lossless", "--activations=float")
# Biases of two of three weights, and none of the others.
values = model("model.gguf", "qwen2", ATTENTION + MLP, ["attn_q", "attn_v"])
said = compile_("model.gguf", *exact, "-o", "model.so")
assert said == "2 functions for 1 target in model.so, weights in model.packed.safetensors\n", said
assert verify("model", values, silu) == ["blk_0_attn_qkv", "blk_0_ffn_gate_up"]


def run_example():
    run(cc, f"{sources}/examples/checkpoint/run-layer.c", "model.so", "-I.", f"-L{libs}",
        f"-I{sources}/runtime/include", "-lQLinearRuntime", f"-Wl,-rpath,{libs}:.", "-Werror",
        "-o", "run-layer")  # fmt: skip
    x = np.zeros(K)
    x[:3] = 1, 2, 3
    want = silu(values["blk.0.ffn_gate.weight"] @ x) * (values["blk.0.ffn_up.weight"] @ x)
    printed = np.array(run("./run-layer").split(), float)
    assert np.abs(printed - want[[0, -1]]).max() < 1e-4 * np.abs(want).max(), (printed, want)


if not without:
    run_example()
# The artifact belongs to the archive, also without --params.
model("other.gguf", "qwen2", ATTENTION + MLP, seed=9)
quant_pack("other.gguf", "-o", "other.safetensors", "--encoding", "lossless")
wrong = run("quant-run", "model.so", "--weights", "other.safetensors", "--check-weights",
            status=1)  # fmt: skip
assert "compiled for" in wrong, wrong

# Another activation, a bias before it, bf16; an archive, which is taken as it is.
values = model("model.gguf", "gemma2", MLP, ["ffn_gate"])
quant_pack("model.gguf", "-o", "packed.safetensors", "--encoding", "lossless")
before = os.stat("packed.safetensors").st_mtime_ns
os.mkdir("sub")
compile_("packed.safetensors", "--activations=float", "-o", "sub/a.so", "--dtype=bf16")
assert sorted(os.listdir("sub")) == ["a.functions.json", "a.h", "a.so"], os.listdir("sub")
assert base_archive("sub/a") == "packed.safetensors"
assert verify("sub/a", values, gelu, "bf16", 0.01) == ["blk_0_ffn_gate_up"]
assert os.stat("packed.safetensors").st_mtime_ns == before


def lowered(*arguments):
    """What is compiled for a checkpoint, and the archive beside it."""
    module = compile_(*arguments, "--emit=mlir", "-o", "-")
    assert "qlinear.launch" in module
    return module


# Beside a fifo is no place for files: they are named after the input.
os.mkdir("pipes")
os.mkfifo("pipes/out")
reader = subprocess.Popen(["cat", "pipes/out"], stdout=subprocess.DEVNULL)
compile_("model.gguf", "--emit=mlir", "-o", "pipes/out")
assert reader.wait() == 0 and os.listdir("pipes") == ["out"]
# An archive that is encoded anew.
lowered("packed.safetensors", "--encoding=f32", "--archive=e.safetensors")
with open("e.safetensors", "rb") as f:
    assert b"scale = f32" in f.read(4000)
# Floats of transformers, in one file and in shards: the same archive, by default beside the
# output, or named after the input.
rng = np.random.default_rng(3)
names = {"q": 64, "k": 32, "v": 32}
floats = {f"model.layers.0.self_attn.{p}_proj.weight": rng.normal(size=(n, K)).astype("f4")
          for p, n in names.items()}  # fmt: skip
for folder in ("hf", "shards"):
    os.mkdir(folder)
    with open(f"{folder}/config.json", "w") as f:
        json.dump({"model_type": "llama", "hidden_act": "silu"}, f)
save_file(floats, "hf/model.safetensors")
index = {}
for i, (name, value) in enumerate(floats.items()):
    save_file({name: value}, f"shards/part{i}.safetensors")
    index[name] = f"part{i}.safetensors"
with open("shards/model.safetensors.index.json", "w") as f:
    json.dump({"weight_map": index}, f)
made = []
for source, base in (("hf/model.safetensors", "model"), ("hf", "hf"), ("shards/", "shards"),
                     ("shards/model.safetensors.index.json", "model")):  # fmt: skip
    if os.path.exists(f"{base}.packed.safetensors"):
        os.remove(f"{base}.packed.safetensors")
    module = lowered(source, "--quantize=int8:32")
    assert "@model_layers_0_self_attn_qkv_proj" in module
    archive = load_file(f"{base}.packed.safetensors")
    made.append((module, {name: blob.tobytes() for name, blob in archive.items()}))
assert all(one == made[0] for one in made[1:])

# What cannot be, leaves nothing.
listing = sorted(os.listdir("."))
for part, *arguments in (
    ("has no quantized linear layer; --quantize=int4:32", "hf", "-o", "n.so"),
    ("--quantize: ", "hf", "--quantize=int7:32", "-o", "n.so"),
    ("the output 'packed.safetensors' is the input", "packed.safetensors", "--encoding=auto",
     "--archive=packed.safetensors", "-o", "n.so"),
    ("is given for two outputs", "hf", "--archive=n.so", "-o", "n.so"),
    ("--params and --raise are for MLIR", "model.gguf", "--raise", "-o", "n.so"),
    ("--dtype=f64 is not f32, bf16 or f16", "model.gguf", "--dtype=f64", "-o", "n.so"),
    ("--archive is for checkpoints", "none.mlir", "--archive=a", "-o", "n.so"),
    ("--functions describes", "model.gguf", "--emit=mlir", "--functions=n", "-o", "n"),
    ("float4", "model.gguf", "--activations=float4", "-o", "n.so"),  # after packing
):
    said = compile_(*arguments, status=1)
    assert part in said, (arguments, said)
    assert sorted(os.listdir(".")) == listing, (arguments, os.listdir("."))

print("checkpoint: passed")
