# ===- vllm_method.py - The layers of the plugin of vLLM ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""vllm_method.py DIRECTORY: layers of integrations/vllm with stand-ins of vLLM's classes, whole and
as parts of two ranks, against float64."""

import pathlib
import sys
import types

import numpy as np
import torch

root = pathlib.Path(__file__).resolve().parents[3]
sys.path += [str(root / "python" / "tests"), str(root / "integrations" / "vllm")]
rank, ranks = 0, 1


def stand_in(name, **members):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = []
    module.__dict__.update(members)


class Base:
    def __init__(self):
        self.packed_modules_mapping = {"qkv_proj": ["q", "k", "v"], "gate_up": ["gate", "up"]}

    get_from_keys = staticmethod(lambda config, keys: config[keys[0]])
    get_from_keys_or = staticmethod(lambda config, keys, other: config.get(keys[0], other))


linear, quantization = (f"vllm.model_executor.layers.{n}" for n in ("linear", "quantization"))
for name in ("vllm", "vllm.model_executor", "vllm.model_executor.layers"):
    stand_in(name)
stand_in("vllm.distributed", get_tensor_model_parallel_rank=lambda: rank,
         get_tensor_model_parallel_world_size=lambda: ranks)  # fmt: skip
stand_in(linear, LinearBase=torch.nn.Module, LinearMethodBase=object, UnquantizedLinearMethod=str)
stand_in(quantization, register_quantization_config=lambda name: lambda cls: cls)
stand_in(f"{quantization}.base_config", QuantizationConfig=Base, QuantizeMethodBase=object)

import layers  # noqa: E402
import qlinear  # noqa: E402
import qlinear_vllm  # noqa: E402
import reference  # noqa: E402

work = pathlib.Path(sys.argv[1])
work.mkdir(parents=True, exist_ok=True)
E, OTHER = layers.ENCODINGS[0], "i8, group = 32, symmetric, scale = f16"
archive = layers.pack(work, {
    "a.q.weight": (E, 64, 128), "a.k.weight": (E, 32, 128), "a.v.weight": (OTHER, 32, 128),
    "a.gate.weight": (E, 64, 128), "a.up.weight": (E, 64, 128), "a.down.weight": (E, 48, 512),
})  # fmt: skip
w = {
    name[2:-7]: reference.dequantize(p.blob, p.encoding, p.n, p.k)
    for name, p in qlinear.Archive(archive).weights.items()
}
config = qlinear_vllm.QLinearConfig.from_config({"archive": archive.name, "activations": "float"})
config.maybe_update_config(str(work))
x, wide = (
    torch.from_numpy(np.random.default_rng(k).standard_normal((3, k)).astype(np.float32))
    for k in (128, 512)
)


def apply(prefix, k, sizes, x, bias=None):
    layer = torch.nn.Module()
    method = config.get_quant_method(layer, prefix)
    method.create_weights(layer, k, sizes, 128, sum(sizes) * ranks, torch.float32)
    layer.weight.weight_loader(layer.weight, None, "q")
    return len(layer.qlinear_parts), method.apply(layer, x, bias).numpy()


def close(have, want):
    assert have.shape == want.shape
    assert np.linalg.norm(have - want) <= 2e-6 * np.linalg.norm(want)


bias = torch.randn(128)
qkv = np.concatenate([w[n] for n in "qkv"])
count, y = apply("a.qkv_proj", 128, [64, 32, 32], x, bias)
assert count == 3  # of two encodings
close(y, x.numpy() @ qkv.T + bias.numpy())
count, y = apply("a.gate_up", 128, [64, 64], x)
assert count == 1
close(y, x.numpy() @ np.concatenate([w["gate"], w["up"]]).T)
ranks = 2
for rank in range(ranks):
    count, y = apply("a.gate_up", 128, [32, 32], x)
    rows = slice(32 * rank, 32 * rank + 32)
    close(y, x.numpy() @ np.concatenate([w["gate"][rows], w["up"][rows]]).T)
    # Heads of keys and values that both ranks have.
    _, y = apply("a.qkv_proj", 128, [32, 32, 32], x)
    close(y, x.numpy() @ np.concatenate([w["q"][rows], w["k"], w["v"]]).T)
    columns = slice(256 * rank, 256 * rank + 256)
    _, y = apply("a.down", 256, [48], wide[:, columns].contiguous())
    close(y, wide.numpy()[:, columns] @ w["down"][:, columns].T)
assert isinstance(config.get_quant_method(torch.nn.Module(), "a.other"), str)
for call, message in (
    (lambda: apply("a.down", 512, [24, 24], wide), "has 2 parts, and 1 packed weights"),
    (lambda: apply("a.down", 512, [20], wide), "2 ranks cannot have 20 x 512 each"),
    (lambda: config.weights_of("b.q") or config.weights_of("a.mixed"), "a.none is not packed"),
):
    config.packed_modules_mapping["mixed"] = ["q", "none"]
    try:
        call()
    except ValueError as e:
        assert message in str(e), e
    else:
        raise AssertionError(message)
print("layers agree")
