# ===- random_cases.py - Random checkpoints of each convention -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Checkpoints of a layer or a few whose weights are known: as their convention has them, or
with something beside the tensors, or one of the tensors, that contradicts."""

import json
import re

import gguf
import numpy as np
from checkpoints import QUANTIZED, blocks
from conventions import each, pack
from random_floats import floats4, nf4

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
UNKNOWN = ["paroquant", "vptq", "aqlm", "quip", "spqr", "bitblas", "qqq", "exl2", "quark", "fp8"]
NAMES = ["model.layers.3.mlp.up_proj", "l", "transformer.h.0.attn.q", "lm_head"]


class Case:
    """Tensors, files beside them, the weight that they are, and whether all agrees."""

    def __init__(self, rng):
        self.rng = rng
        self.tensors, self.files, self.metadata = {}, {}, None
        self.layer = str(rng.choice(NAMES))
        self.valid, self.weight, self.what = True, None, ""
        self.options = []

    def put(self, **parts):
        for part, value in parts.items():
            self.tensors[f"{self.layer}.{part}"] = np.ascontiguousarray(value)

    def drop(self, part):
        del self.tensors[f"{self.layer}.{part}"]

    def contradict(self, what):
        self.valid, self.what = False, f"{self.what} {what}"

    def chance(self, p=0.5):
        return bool(self.rng.random() < p)

    def choose(self, *values):
        return values[int(self.rng.integers(len(values)))]

    def mutate(self, mutations):
        """One of {name: function}; each makes something contradict."""
        name = self.choose(*mutations)
        self.contradict(name)
        mutations[name]()


def numbers(c, bits, symmetric):
    """Of few columns the room of codes does not tell their bits, nor where gaps are."""
    # Of GPTQ the zeros of 2 and 3 bits fill words, and codes of 3 do.
    n, group = {2: 16, 3: 32}.get(bits, 8) * int(c.rng.integers(1, 6)), c.choose(16, 32, 64, 128)
    group = max(group, 32) if bits == 3 else group
    k = group * int(c.rng.integers(1 if bits in (4, 8) else -(-64 // group), 9))
    q = c.rng.integers(0, 2**bits, (n, k))
    s = (np.exp(c.rng.normal(size=(n, k // group)) * 0.3) * 0.01).astype(np.float16)
    middle = np.full((n, k // group), 2 ** (bits - 1))
    z = middle if symmetric else c.rng.integers(1, 2**bits, (n, k // group))
    return n, k, group, q, s, z


def place(c, config, extra=None):
    """Where tools put a description; `extra`: what the model says of itself."""
    model = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64} | (extra or {})
    where = c.choose("inside", "beside", "nested", "split")
    if where == "inside" or config.get("quant_method") not in (None, "gptq"):
        c.files["config.json"] = model | {"quantization_config": config}
    elif where == "beside":
        c.files["config.json"] = model
        c.files["quantize_config.json"] = config
    elif where == "nested":
        c.files["config.json"] = model | {"text_config": {"quantization_config": config}}
    else:
        keys = ("checkpoint_format", "dynamic")
        own = {k: v for k, v in config.items() if k not in keys}
        c.files["config.json"] = model | {"quantization_config": own}
        c.files["quantize_config.json"] = config


def gptq(c):
    bits, symmetric = c.choose(2, 3, 4, 4, 8), c.chance()
    n, k, group, q, s, z = numbers(c, bits, symmetric)
    version = c.choose("gptq", "gptq_v2", None)
    method = c.choose("gptq", "gptq", "auto-round")
    config = {"quant_method": method, "bits": bits, "group_size": group, "sym": symmetric}
    if method == "auto-round":
        kernel = c.choose("", ":exllamav2", ":tritonv2", ":gptqmodel", ":auto_gptq")
        config["packing_format"] = "auto_round" + kernel
        if c.chance(0.2):
            config["packing_format"] += ":exllamav2"
        minus = kernel == ":auto_gptq"
    else:
        config["desc_act"] = False
        minus = version != "gptq_v2"
        if version:
            config["checkpoint_format"] = version
    if group == k and c.chance():
        config["group_size"] = -1
    stored = z - 1 if minus else z
    c.put(qweight=pack(q.T, 0, bits).view(np.int32), scales=s.T)
    c.put(qzeros=pack(stored.T, 1, bits).view(np.int32))
    c.put(g_idx=(np.arange(k) // group).astype(np.int32))
    if c.chance(0.3):
        c.drop("g_idx")
    if symmetric and c.chance(0.3):
        c.drop("qzeros")
    c.weight = each(s, group) * (q - each(z, group))
    has_zeros = f"{c.layer}.qzeros" in c.tensors
    # A layer with bits of its own.
    if c.chance(0.4):
        config["bits"] = 12 - bits
        own = {"bits": bits, "group_size": group}
        if method == "gptq":
            name = c.choose(re.escape(c.layer), c.layer[:3] + ".*", c.layer)
            rules = [("-:nowhere.*", {}), (c.choose("+:", "") + name, own), ("+:.*", {"bits": 2})]
            config["dynamic"] = dict(rules)
        else:
            config["extra_config"] = {c.layer: own}
    files = place
    if not c.chance(0.55):
        place(c, config)
        c.files = {name: json.dumps(text) for name, text in c.files.items()}
        return

    def set_(key, value):
        return lambda: config.__setitem__(key, value)

    def reorder():
        order = np.arange(k) // max(1, group // 2) % max(2, k // group)
        c.put(g_idx=c.rng.permutation(order).astype(np.int32))

    def zeros_by(value):
        c.put(qzeros=pack(value.T, 1, bits).view(np.int32))

    def differ():
        c.files["quantize_config.json"] = config | {"bits": 12 - config["bits"]}

    def without_rules():
        config.pop("dynamic", None)
        config.pop("extra_config", None)
        config["bits"] = 12 - bits

    mutations = {
        "unknown method": set_("quant_method", c.choose(*UNKNOWN)),
        "another method": set_("quant_method", c.choose("awq", "compressed-tensors", "hqq")),
        "another tensor": lambda: c.put(
            **{c.choose("theta", "perm", "channel_scales", "lora_A"): np.ones(4, np.float32)}
        ),
        "a rotation": set_(c.choose("rotation", "rotation_config", "hadamard"), "hadamard"),
        "a pack_dtype": set_("pack_dtype", "int64"),
        "eight bits of activations": set_("act_bits", 8),
    }
    if f"{c.layer}.g_idx" in c.tensors and k > group:
        mutations["reordered columns"] = reorder
    if "dynamic" not in config and "extra_config" not in config:
        mutations["wrong group"] = set_("group_size", group * 2 if group * 2 < k else group // 2)
    if has_zeros:
        mutations["wrong bits"] = without_rules
    if method == "gptq":
        # Two keys of one meaning, one of which says something else.
        said = version or "gptq"
        keys = ["checkpoint_format", "format"][:: c.choose(1, -1)]
        other = c.choose(*(f for f in ("gptq", "gptq_v2", "marlin") if f != said))
        mutations["another format"] = lambda: config.update(zip(keys, (said, other)))
        mutations["another method beside"] = set_("method", c.choose("awq", "hqq"))
        mutations["unknown format"] = set_(
            "checkpoint_format", c.choose("marlin", "bitblas", "exl2", "gptq_v3", "ipex")
        )
        mutations["a layer left alone"] = lambda: config.__setitem__(
            "dynamic", {"-:" + re.escape(c.layer): {}}
        )
        mutations["two files differ"] = differ
    else:
        mutations["unknown format"] = set_(
            "packing_format", c.choose("auto_round:marlin_24", "auto_round:mx", "mine")
        )
    if symmetric and has_zeros:
        # Stored by the other rule: "sym" tells what they mean.
        mutations["zeros of the other version"] = lambda: zeros_by(z if minus else z - 1)
        mutations["zeros that are not symmetric"] = lambda: zeros_by(
            c.rng.integers(1, 2**bits, z.shape)
        )
    if not symmetric and has_zeros:
        mutations["sym without symmetric zeros"] = set_("sym", True)
    c.mutate(mutations)
    if "not symmetric" in c.what:
        c.weight = None  # what it is nobody knows: it has to be refused
    files(c, config) if "quantize_config.json" not in c.files else c.files.update(
        {"config.json": {"quantization_config": config}}
    )
    c.files = {name: json.dumps(text) for name, text in c.files.items()}


def awq(c):
    symmetric = c.chance(0.3)
    n, k, group, q, s, z = numbers(c, 4, symmetric)
    c.put(
        qweight=pack(q.T, 1, 4, AWQ_ORDER).view(np.int32),
        qzeros=pack(z.T, 1, 4, AWQ_ORDER).view(np.int32),
        scales=s.T,
    )
    c.weight = each(s, group) * (q - each(z, group))
    form = c.choose("autoawq", "gptqmodel", "auto-round", "old")
    config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": not symmetric}
    if form == "autoawq":
        config["version"] = c.choose("gemm", "GEMM")
    elif form == "gptqmodel":
        config |= {"checkpoint_format": "gemm", "sym": symmetric, "pack_dtype": "int32"}
    elif form == "auto-round":
        config |= {"quant_method": "auto-round", "packing_format": "auto_round:auto_awq"}
    else:
        config = {
            "w_bit": 4,
            "q_group_size": group,
            "version": "GEMM",
            "zero_point": not symmetric,
        }
    if c.chance(0.5):

        def set_(key, value):
            return lambda: config.__setitem__(key, value)

        mutations = {
            "another layout": set_(
                "packing_format"
                if form == "auto-round"
                else "checkpoint_format"
                if form == "gptqmodel"
                else "version",
                c.choose("gemv", "gemv_fast", "marlin", "llm-awq"),
            ),
            "another tensor": lambda: c.put(pairs=np.ones((2, k), np.int16)),
            "wrong group": set_(
                "q_group_size" if form == "old" else "group_size",
                group * 2 if group * 2 < k else group // 2,
            ),
            "wrong bits": set_("w_bit" if form == "old" else "bits", 8),
        }
        if form != "old":
            mutations["unknown method"] = set_("quant_method", c.choose(*UNKNOWN))
            mutations["another method"] = set_("quant_method", c.choose("gptq", "torchao"))
            mutations["another backend"] = set_("backend", "llm-awq")
        if not symmetric:
            mutations["symmetric by name"] = set_("zero_point", False)
            if form == "gptqmodel":
                mutations["symmetric by name"] = set_("sym", True)
        c.mutate(mutations)
    if form == "old":
        c.files = {"config.json": "{}", "quant_config.json": json.dumps(config)}
    else:
        c.files = {"config.json": json.dumps({"quantization_config": config})}


def compressed(c):
    is_packed, has_zeros = c.chance(0.7), c.chance(0.4)
    bits = c.choose(4, 5, 6, 8) if is_packed else 8
    n, k, group, q, s, z = numbers(c, bits, not has_zeros)
    half = 2 ** (bits - 1)
    c.put(weight_scale=s)
    if is_packed:
        c.put(
            weight_packed=pack(q, 1, bits).view(np.int32), weight_shape=np.array([n, k], np.int64)
        )
        if has_zeros:
            c.put(weight_zero_point=pack(z, 0, bits).view(np.int32))
    else:
        c.put(weight=(q - half).astype(np.int8))
        if has_zeros:
            c.put(weight_zero_point=(z - half).astype(np.int8))
    c.weight = each(s, group) * (q - each(z, group))
    weights = {
        "num_bits": bits,
        "type": "int",
        "symmetric": not has_zeros,
        "strategy": "group",
        "group_size": group,
        "dynamic": False,
        "actorder": c.choose(None, "static", "weight"),
    }
    if group == k and c.chance():
        weights |= {"strategy": "channel", "group_size": None}
    target = c.choose("Linear", "re:.*" + re.escape(c.layer[-3:]), c.layer)
    scheme = {"targets": [target], "weights": weights, "input_activations": None}
    form = "pack-quantized" if is_packed else c.choose("int-quantized", "naive-quantized")
    config = {
        "quant_method": "compressed-tensors",
        "format": form,
        "ignore": ["visual", "re:.*router"],
        "quantization_status": "compressed",
        "config_groups": {"group_0": scheme},
    }
    if c.chance(0.3):
        scheme["format"], config["format"] = form, "mixed-precision"
    if c.chance(0.3):
        other = {"targets": ["re:.*nowhere"], "weights": weights | {"num_bits": 2}}
        config["config_groups"]["group_1"] = other
    if c.chance(0.5):

        def set_(where, key, value):
            return lambda: where.__setitem__(key, value)

        def transform(location):
            apply = [{"targets": [target], "location": location}]
            groups = {"R1": {"type": "hadamard", "apply": apply}}
            config["transform_config"] = {"config_groups": groups}

        mutations = {
            "unknown method": set_(config, "quant_method", c.choose(*UNKNOWN)),
            "another method": set_(config, "quant_method", c.choose("gptq", "torchao")),
            "wrong symmetry": set_(weights, "symmetric", has_zeros),
            "a float type": set_(weights, "type", "float"),
            "wrong group": set_(weights, "group_size", group * 2 if group * 2 < k else group // 2),
            "ignored": set_(config, "ignore", ["re:.*", c.layer]),
            "no target": set_(scheme, "targets", ["re:nothing.*"]),
            "a transform": lambda: transform(c.choose("input", "output")),
            "another tensor": lambda: c.put(
                **{c.choose("bitmask", "pre_quant_scale", "smooth"): np.ones(k, np.float16)}
            ),
            "another format": lambda: (
                config.__setitem__("format", "marlin-24"),
                scheme.pop("format", None),
            ),
        }
        if weights["strategy"] == "channel":
            del mutations["wrong group"]
            mutations["wrong strategy"] = set_(weights, "strategy", "tensor_group")
        if is_packed:
            wrong = {4: 8, 5: 7, 6: 7, 8: 7}[bits]
            mutations["wrong bits"] = set_(weights, "num_bits", wrong)

            def seven():
                """32 // 7 codes in a word, as it once was."""
                nonlocal q
                q = c.rng.integers(0, 128, (n, k))
                words = sum(q[:, i::4] << (7 * i) for i in range(4)).astype(np.uint32)
                c.put(weight_packed=words.view(np.int32))
                if c.chance(0.3):
                    c.files["config.json"] = "{}"
                else:
                    weights["num_bits"] = 7
                c.weight = each(s, group) * (q - 64)

            if not has_zeros and k % 4 == 0 and bits == 8:
                mutations["7 bits with gaps"] = seven

            def stack():
                for part in list(c.tensors):
                    c.tensors[part] = np.stack([c.tensors[part]] * 3)

            mutations["a stack"] = stack

            def fp4():
                c.put(weight_packed=c.rng.integers(0, 255, (n, k // 2), np.uint8))
                c.put(weight_global_scale=np.ones(1, np.float32))
                c.weight = None

            mutations["nvfp4"] = fp4
        c.mutate(mutations)
    c.files.setdefault("config.json", json.dumps({"quantization_config": config}))


def mlx(c):
    bits, group = c.choose(2, 3, 4, 4, 5, 6, 8), c.choose(32, 64, 128)
    n, k = 8 * int(c.rng.integers(1, 5)), group * int(c.rng.integers(1, 5))
    q = c.rng.integers(0, 2**bits, (n, k))
    s = (np.exp(c.rng.normal(size=(n, k // group)) * 0.3) * 0.01).astype(np.float16)
    b = (c.rng.normal(size=s.shape) * 0.05).astype(np.float16)
    c.put(weight=pack(q, 1, bits), scales=s, biases=b)
    c.weight = each(s, group) * q + each(b, group)
    whole = {"bits": bits, "group_size": group}
    if c.chance():
        whole["mode"] = "affine"
    quantization = dict(whole)
    other = {"bits": 4 if bits != 4 else 8, "group_size": c.choose(32, 64, 128)}
    kind = c.choose("whole", "own", "partial", "other prefix")
    if kind == "own":
        quantization |= other | {c.layer: dict(whole)}
    elif kind == "partial":
        quantization |= {"bits": other["bits"], c.layer: {"bits": bits}}
    elif kind == "other prefix":
        # Read, if only one of the two fits the shapes; else refused.
        c.valid = False
        c.what = "another prefix"
        quantization |= other | {"language_model." + c.layer: dict(whole)}
    config = {"hidden_size": k, "quantization": quantization}
    if c.chance():
        config["quantization_config"] = quantization
    if c.chance(0.4):

        def set_(key, value):
            return lambda: quantization.__setitem__(key, value)

        mutations = {
            "another tensor": lambda: c.put(lora_a=np.ones((4, 4), np.float16)),
            "unknown method": lambda: config.__setitem__(
                "quantization_config", quantization | {"quant_method": c.choose(*UNKNOWN)}
            ),
            "not quantized": set_(c.layer, False),
            "another mode": set_("mode", c.choose("mxfp4", "nvfp4", "mxfp8")),
            "no description": lambda: config.pop("quantization")
            and config.pop("quantization_config", None),
        }
        c.mutate(mutations)
    c.files["config.json"] = json.dumps(config)


def conv1d(c):
    """A block of GPT-2, and of models with linear layers of these names."""
    d = 32 * int(c.rng.integers(1, 4))
    is_conv = c.chance()
    prefix = c.choose("h.0.", "transformer.h.1.")
    turn = (lambda w: w.T) if is_conv else (lambda w: w)
    shapes = {"attn.c_attn": (3 * d, d), "attn.c_proj": (d, d), "mlp.c_fc": (4 * d, d)}
    shapes["mlp.c_proj"] = (d, 4 * d)
    kept = [name for name in shapes if c.chance(0.7)] or ["attn.c_proj"]
    conv, linear = ("gpt2", "openai-gpt", "imagegpt"), ("qwen", "gpt_bigcode")
    model = c.choose(*(conv if is_conv else linear))
    c.weights = {}
    for name in kept:
        w = c.rng.integers(-127, 128, shapes[name]) * 2.0**-8
        w[:, ::32] = 127 * 2.0**-8  # so that int8 is exact in groups of 32
        c.tensors[f"{prefix}{name}.weight"] = np.ascontiguousarray(turn(w), np.float32)
        c.weights[f"{prefix}{name}.weight"] = w
    c.options = ["--quantize", "int8:32"]
    said = c.choose("right", "right", "absent", "wrong")
    only_square = kept == ["attn.c_proj"]
    if said == "right":
        c.files["config.json"] = json.dumps({"model_type": model})
    elif said == "absent":
        c.valid, c.what = not is_conv and not only_square, "no model_type"
    else:
        if only_square:
            return conv1d_square(c)
        c.contradict("wrong model_type")
        c.files["config.json"] = json.dumps({"model_type": "qwen" if is_conv else "gpt2"})


def conv1d_square(c):
    """With nothing that tells, a square weight is carried over."""
    c.contradict("square alone")
    c.files = {}


def hqq(c):
    bits, group = c.choose(4, 8), c.choose(16, 64)
    n, k = 8 * int(c.rng.integers(1, 4)), group * int(c.rng.integers(1, 4))
    q = c.rng.integers(0, 2**bits, (n, k)).astype(np.uint8)
    s = (np.exp(c.rng.normal(size=(n * k // group, 1)) * 0.3) * 0.01).astype(np.float16)
    z = (2 ** (bits - 1) + c.rng.normal(size=s.shape)).astype(np.float16)
    flat = q.ravel()
    half = flat.size // 2
    codes = flat[:half] << 4 | flat[half:] if bits == 4 else flat
    text = np.frombuffer(f"{bits}bit_u8".encode(), np.uint8)
    one = {"nbits": bits, "group_size": group, "axis": 1}
    c.put(W_q=codes.reshape(-1, group), scale=s, zero=z, packing=text, shape=np.array([n, k]))
    c.put(**{name: np.array([value], np.int32) for name, value in one.items()})
    rows = lambda t: each(t.reshape(n, k // group), group)
    c.weight = rows(s) * (q - rows(z))
    config = {"quant_method": "hqq", "quant_config": {"weight_quant_params": one}}
    if c.chance(0.4):
        c.mutate(
            {
                "another axis": lambda: c.put(axis=np.array([0], np.int32)),
                "another packing": lambda: c.put(packing=np.frombuffer(b"3bit_32", np.uint8)),
                "unknown method": lambda: config.update(quant_method=c.choose(*UNKNOWN)),
                "another method": lambda: config.update(quant_method="gptq"),
            }
        )
    c.files["config.json"] = json.dumps({"quantization_config": config})


def torchao(c):
    n, group = 8 * int(c.rng.integers(1, 4)), c.choose(32, 64)
    k = group * int(c.rng.integers(1, 4))
    q = c.rng.integers(-128, 128, (n, k)).astype(np.int8)
    s = (np.exp(c.rng.normal(size=(n, k // group)) * 0.3) * 0.01).astype(np.float32)
    layer = c.layer = "model.up"
    c.tensors = {f"{layer}._weight_qdata": q, f"{layer}._weight_scale": s}
    kind, data = "Int8Tensor", {"block_size": [1, group]}
    c.weight = each(s, group) * q
    config = {"quant_method": "torchao", "quant_type": {"default": {}}}
    if c.chance(0.4):
        name = c.choose("kernel", "block", "scale of activations", "unknown method")
        c.contradict(name)
        if name == "kernel":
            kind = c.choose("Int4TilePackedTo4dTensor", "Float8Tensor", "Int4PreshuffledTensor")
        elif name == "block":
            data["block_size"] = [1, group * 2]
        elif name == "scale of activations":
            c.tensors[f"{layer}._weight_act_pre_scale"] = np.ones(k, np.float32)
        else:
            config["quant_method"] = c.choose(*UNKNOWN)
    about = {"_type": kind, "_data": data, "_tensor_data_names": ["qdata", "scale"]}
    c.metadata = {f"{layer}.weight": json.dumps(about)}
    c.files["config.json"] = json.dumps({"quantization_config": config})


def ggml(c):
    """GGUF: versions, alignments, types of forks, strings that are no text, and the rows of
    queries and keys."""
    heads, kv = c.choose(2, 4), c.choose(1, 2)
    columns, each_head = 256, c.choose(16, 32)
    architecture = c.choose("llama", "granite", "qwen2", "falcon")
    is_permuted = architecture in ("llama", "granite")
    writer = gguf.GGUFWriter("model.gguf", architecture)
    alignment = c.choose(32, 32, 64, 256)
    if alignment != 32:
        writer.add_custom_alignment(alignment)
    writer.add_name("a name XXXX to spoil")
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    c.layer, c.weights = "", {}
    to_hf = c.chance()
    names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "ffn_up": "mlp.up_proj"}
    for part, rows, order in (
        ("attn_q", heads * each_head, heads),
        ("attn_k", kv * each_head, kv),
        ("ffn_up", 24, 0),
    ):
        kind = c.choose(*QUANTIZED)
        raw = blocks(kind, rows, columns, c.rng)
        name = f"blk.0.{part}.weight"
        writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType[kind])
        w = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind])
        if to_hf:
            name = f"model.layers.0.{names[part]}.weight"
            if order and is_permuted:
                w = w.reshape(order, each_head // 2, 2, columns).swapaxes(1, 2).reshape(w.shape)
        c.weights[name] = w
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open("model.gguf", "rb") as f:
        data = bytearray(f.read())
    if to_hf:
        c.options = ["--names=hf"]
        if architecture == "falcon":
            c.contradict("names that are not known")
    if c.chance(0.3):
        data[4:8] = (2).to_bytes(4, "little")
    if c.chance(0.3):
        at = data.index(b"XXXX")
        data[at : at + 4] = bytes(c.rng.integers(1, 256, 4, np.uint8))
    if c.chance(0.3):
        name = c.choose("version", "endian", "type", "dimension", "heads", "name twice")
        c.contradict(name)
        at = data.rindex(b"blk.0.ffn_up.weight") + len("blk.0.ffn_up.weight")
        if name == "version":
            data[4:8] = int(c.choose(0, 1, 4)).to_bytes(4, "little")
        elif name == "endian":
            data[4:8] = int(c.choose(2, 3)).to_bytes(4, "big")
        elif name == "type":  # of another fork: the others must be read
            data[at + 20 : at + 24] = int(c.choose(4, 31, 139, 202)).to_bytes(4, "little")
            c.weights.popitem()
            if architecture != "falcon" or not to_hf:
                c.valid = True
        elif name == "dimension":
            data[at + 12 : at + 20] = (2**40).to_bytes(8, "little")
        elif name == "heads":
            key = data.index(b".attention.head_count") + len(".attention.head_count") + 4
            data[key : key + 4] = int(c.choose(3, 5, 0)).to_bytes(4, "little")
            if not (to_hf and is_permuted):
                c.valid = c.valid or not (to_hf and architecture == "falcon")
        else:
            data[at - len("ffn_up.weight") : at] = b"attn_q.weight"
    c.data = bytes(data)


KINDS = [gptq, gptq, awq, compressed, compressed, mlx, conv1d, hqq, torchao, ggml, ggml,
         floats4, floats4, nf4]
