# ===- crosscheck.py - quant-pack against other projects ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""crosscheck.py PACKAGE DIRECTORY: checkpoints that the package itself writes, and that
quant-pack decodes to the same f32 weights as the package."""

import json
import os
import shutil
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")
SHAPES = [(32, 256, 64), (64, 384, 128), (96, 128, 32)]


def torch_weight(n, k, dtype="float32"):
    import torch

    generator = torch.Generator().manual_seed(n * k)
    return (torch.randn(n, k, generator=generator) * 0.05).to(getattr(torch, dtype))


def compare(expected, source, config=None, metadata=None, tensors=None):
    """`tensors` of torch, of layer "a", against its weight as the package decodes it."""
    from conventions import check_file
    from safetensors.torch import save_file

    save_file({key: t.contiguous() for key, t in tensors.items()}, "model.safetensors", metadata)
    with open("config.json", "w") as f:
        json.dump(config or {}, f)
    expected = np.asarray(expected, np.float64)
    assert expected.any()
    check_file(".", {"a.weight": expected}, source)
    return expected.size


def torchao():
    import torch
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import (
        Int4PlainInt32Tensor,
        Int4Tensor,
        Int8DynamicActivationIntxWeightConfig,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        PerAxis,
        PerGroup,
        PerRow,
        quantize_,
    )
    from torchao.quantization.quant_primitives import dequantize_affine

    def check(weight, expected, source):
        tensors, metadata = flatten_tensor_state_dict({"a.weight": weight})
        return compare(expected, source, metadata=metadata, tensors=tensors)

    def quantized(n, k, config):
        module = torch.nn.Sequential(torch.nn.Linear(k, n, bias=False, dtype=torch.bfloat16))
        module[0].weight.data = torch_weight(n, k, "bfloat16")
        quantize_(module, config)
        return module[0].weight

    def decoded(w):
        # In f32 nothing but the result is rounded.
        scale, f32 = w.scale.float(), torch.float32
        return dequantize_affine(
            w.qdata, w.block_size, scale, w.zero_point, torch.int8, output_dtype=f32
        )

    total = 0
    for n, k, group in SHAPES:
        for bits in range(2, 9):
            dtype, code = getattr(torch, f"int{bits}"), {2: 4, 3: 4, 7: 8}.get(bits, bits)
            for name, granularity in ((group, PerGroup(group)), ("row", PerAxis(0))):
                w = quantized(
                    n, k, IntxWeightOnlyConfig(weight_dtype=dtype, granularity=granularity)
                )
                total += check(w, decoded(w), f"torchao u{code}:{name}")
        config = Int8DynamicActivationIntxWeightConfig(
            weight_dtype=torch.int4, weight_granularity=PerGroup(group)
        )
        w = quantized(n, k, config)
        total += check(w, decoded(w), f"torchao u4:{group}")
        for name, granularity in ((group, PerGroup(group)), ("row", PerRow())):
            w = quantized(n, k, Int8WeightOnlyConfig(granularity=granularity, version=2))
            codes = "i8" if w.zero_point is None else "u8"
            total += check(w, decoded(w), f"torchao {codes}:{name}")
        # These two are quantized on devices only; their flattening is torchao's, their
        # codes and metadata are set by hand.
        q = torch.randint(-8, 8, (n, k))
        packed = ((q[:, 1::2] << 4) | (q[:, ::2] & 15)).to(torch.int8)
        s = (torch.rand(k // group, n) * 0.01 + 0.001).bfloat16()
        z = (torch.randn(k // group, n) * 0.05).bfloat16()
        each = lambda t, group=group: t.double().T.repeat_interleave(group, 1)
        w = Int4Tensor(packed, s, z, [1, group], torch.Size((n, k)))
        total += check(w, q * each(s) + each(z), f"torchao i4:{group}")
        words = sum((q[:, i::8] + 8) << (4 * i) for i in range(8))
        z = torch.randint(0, 16, s.shape, dtype=torch.int8)
        w = Int4PlainInt32Tensor(words.to(torch.int32), s, z, [1, group], torch.Size((n, k)))
        total += check(w, (q + 8 - each(z)) * each(s), f"torchao u4:{group}")
    return total


def transformers():
    """Sharded models that transformers saves: parts of a weight lie in different files."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from checkpoints import quant_pack
    from safetensors.torch import load_file
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, PerGroup
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, TorchAoConfig

    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
    config = LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, vocab_size=512)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained("floats")
    count = 0
    for quantizer in (
        IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32)),
        Int8WeightOnlyConfig(version=2),
    ):
        model = AutoModelForCausalLM.from_pretrained(
            "floats",
            quantization_config=TorchAoConfig(quantizer),
            device_map="cpu",
            dtype=torch.bfloat16,
        )
        model.save_pretrained("model", max_shard_size="150KB")
        assert os.path.exists("model/model.safetensors.index.json")
        quant_pack("model", "-o", "packed.safetensors", "--encoding", "lossless")
        quant_pack("packed.safetensors", "-o", "back.safetensors", "--dequantize", "bf16")
        ours = load_file("back.safetensors")
        for name, w in model.state_dict().items():
            w = w.dequantize() if hasattr(w, "qdata") else w
            assert torch.equal(ours.pop(name), w), name
            count += w.numel()
        assert not ours, ours.keys()
        shutil.rmtree("model")
    return count


def hqq():
    import torch
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear, Quantizer

    total = 0
    for n, k, group in SHAPES:
        for bits in (4, 5, 6, 8):
            for dtype, is_float in ((torch.float16, False), (torch.bfloat16, True)):
                linear = torch.nn.Linear(k, n, bias=False)
                linear.weight.data = torch_weight(n, k)
                config = BaseQuantizeConfig(
                    nbits=bits, group_size=group, axis=1, view_as_float=is_float
                )
                layer = HQQLinear(linear, config, compute_dtype=dtype, device="cpu")
                state = {f"a.{key}": t for key, t in layer.state_dict().items()}
                w = Quantizer.dequantize(
                    layer.W_q.data, layer.meta | {"compute_dtype": torch.float64}
                )
                total += compare(w, f"HQQ u{bits}:{group}", tensors=state)
    return total


def compressed_tensors():
    import torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    total = 0
    for n, k, group in SHAPES:
        for kind, bits in [("pack-quantized", b) for b in (4, 5, 6, 8)] + [("int-quantized", 8)]:
            for symmetric in (True, False):
                for name in (group, "row"):
                    size = k if name == "row" else group
                    args = {"num_bits": bits, "symmetric": symmetric}
                    if name == "row":
                        args |= {"strategy": "channel"}
                    else:
                        args |= {"strategy": "group", "group_size": group}
                    scheme = QuantizationScheme(
                        targets=["Linear"], weights=QuantizationArgs(**args)
                    )
                    w = torch_weight(n, k)
                    low, high = (f(w.reshape(n, -1, size), -1) for f in (torch.amin, torch.amax))
                    half = 2 ** (bits - 1)
                    scale = (high - low) / (2 * half - 1)
                    state = {"weight": w, "weight_scale": scale}
                    if symmetric:
                        state["weight_scale"] = torch.maximum(high, -low) / (half - 0.5)
                    else:
                        zero = torch.clamp(torch.round(-half - low / scale), -half, half - 1)
                        state["weight_zero_point"] = zero.to(torch.int8)
                    state["weight_scale"] = state["weight_scale"].half().float()
                    compressor = BaseCompressor.get_value_from_registry(kind)
                    tensors = compressor.compress(state, scheme)
                    back = compressor.decompress(tensors, scheme)["weight"]
                    codes = f"{'i' if symmetric else 'u'}{bits}"
                    total += compare(
                        back,
                        f"compressed-tensors {codes}:{name}",
                        {"quantization_config": {"quant_method": "compressed-tensors"}},
                        tensors={"a." + key: t for key, t in tensors.items()},
                    )
    return total


def affine_of(w, group, bits):
    """Min-max scales (f16) and integer zeros [n, groups] of torch weights."""
    import torch

    blocks = w.reshape(w.shape[0], -1, group)
    low, high = blocks.amin(-1).clamp(max=0), blocks.amax(-1).clamp(min=0)
    scale = ((high - low) / (2**bits - 1)).half().float()
    zero = torch.clamp(torch.round(-low / scale), 1, 2**bits - 1)
    return scale, zero


def gptqmodel():
    os.environ |= {"GPTQMODEL_DISABLE_PACK_EXT": "1", "GPTQ_TORCH_TRITON_DEQUANT": "0"}
    import torch
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module

    class Config:
        def __init__(self, bits):
            self.bits, self.pack_dtype = bits, torch.int32

    total = 0
    for n, k, group in SHAPES:
        for bits in (2, 3, 4, 8):
            linear = torch.nn.Linear(k, n, bias=False)
            linear.weight.data = torch_weight(n, k)
            scale, zero = affine_of(linear.weight.data, group, bits)
            layer = TorchLinear(bits, group, False, False, k, n, register_buffers=True)
            index = (torch.arange(k) // group).to(torch.int32)
            layer.pack(linear, scale, zero, index)
            # Its own decoder, on f64 scales.
            half = layer.scales
            layer.scales = half.double()
            layer.eval()
            expected = super(TorchLinear, layer).dequantize_weight().T
            layer.scales = half
            for version in (2, 1):
                if version == 1:
                    convert_gptq_v2_to_v1_format_module(layer, Config(bits))
                names = ("qweight", "qzeros", "scales", "g_idx")
                state = {f"a.{name}": getattr(layer, name).clone() for name in names}
                checkpoint_format = "gptq" if version == 1 else "gptq_v2"
                config = {"quant_method": "gptq", "checkpoint_format": checkpoint_format}
                total += compare(
                    expected,
                    f"GPTQ{'' if version == 1 else ' v2'} u{bits}:{group}",
                    {"quantization_config": config},
                    tensors=state,
                )
    return total


def awq():
    import torch
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm

    total = 0
    for n, k, group in SHAPES:
        linear = torch.nn.Linear(k, n)
        linear.weight.data = torch_weight(n, k)
        scale, zero = affine_of(linear.weight.data, group, 4)
        layer = WQLinear_GEMM.from_linear(
            linear, 4, group, scales=scale.T.contiguous(), zeros=zero.T.contiguous()
        )
        expected = dequantize_gemm(layer.qweight, layer.qzeros, layer.scales.double(), 4, group).T
        state = {f"a.{key}": t for key, t in layer.state_dict().items()}
        assert "a.bias" in state
        config = {"quantization_config": {"quant_method": "awq", "version": "gemm"}}
        total += compare(expected, f"AWQ u4:{group}", config, tensors=state)
    return total


def mlx():
    import mlx.core as mx
    from conventions import check_file

    total = 0
    for n, k, group in SHAPES:
        for bits in (2, 3, 4, 5, 6, 8):
            for dtype in (mx.float16, mx.bfloat16):
                w = mx.random.normal((n, k), scale=0.05).astype(dtype)
                q, s, b = mx.quantize(w, group_size=group, bits=bits)
                wide = [t.astype(mx.float32) for t in (s, b)]
                expected = np.asarray(mx.dequantize(q, *wide, group_size=group, bits=bits))
                mx.save_safetensors(
                    "mlx.safetensors", {"a.weight": q, "a.scales": s, "a.biases": b}
                )
                # mlx's own file, as it is.
                os.replace("mlx.safetensors", "model.safetensors")
                with open("config.json", "w") as f:
                    json.dump({"quantization": {"group_size": group, "bits": bits}}, f)
                check_file(".", {"a.weight": expected.astype(np.float64)}, f"MLX u{bits}:{group}")
                total += expected.size
        for mode, size in (("mxfp4", 32), ("nvfp4", 16)):
            w = mx.random.normal((n, k), scale=0.05)
            q, s = mx.quantize(w, group_size=size, bits=4, mode=mode)[:2]
            # A code has 2 bits and a scale 4: a bf16 holds the product.
            expected = mx.dequantize(q, s, group_size=size, bits=4, mode=mode)
            expected = np.asarray(expected.astype(mx.float32))
            mx.save_safetensors("mlx.safetensors", {"a.weight": q, "a.scales": s})
            os.replace("mlx.safetensors", "model.safetensors")
            with open("config.json", "w") as f:
                said = {"group_size": size, "bits": 4, "mode": mode}
                json.dump({"quantization": said}, f)
            check_file(".", {"a.weight": expected.astype(np.float64)}, f"MLX e2m1:{size}")
            total += expected.size
    return total


if __name__ == "__main__":
    from checkpoints import fresh

    package, directory = sys.argv[1:]
    fresh(directory)
    os.mkdir("out")
    count = globals()[package]()
    print(f"crosscheck {package}: {count} weights, all the same")
