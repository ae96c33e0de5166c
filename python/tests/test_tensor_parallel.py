# ===- test_tensor_parallel.py - Layers over several processes -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Packed linears of which each of 2 or 4 processes, connected by gloo, has a part of an archive;
and models of transformers with their tp_plan. All processes have to have the same bits."""

import os
import socket

import layers
import pytest
import qlinear

torch = pytest.importorskip("torch")
import qlinear.nn  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402

BLOCK = "block<256"  # in encodings that are cut along columns at units only


def together(function, ranks, *arguments):
    """Calls function(rank, *arguments) in as many processes, with the environment of torchrun."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (function, ranks, port, arguments), nprocs=ranks)


def _process(rank, function, ranks, port, arguments):
    os.environ.update(
        MASTER_ADDR="localhost", MASTER_PORT=str(port), WORLD_SIZE=str(ranks), RANK=str(rank),
        LOCAL_RANK=str(rank),
    )  # fmt: skip
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    try:
        function(rank, *arguments)
    finally:
        torch.distributed.destroy_process_group()


# ===------------------------------------------------------------------------===#
# Linears
# ===------------------------------------------------------------------------===#

# The last tile and the last unit are partial; whatever a group or a unit allows is uneven.
N, K = 104, 640


def sizes_of(encoding, ranks):
    columns = 1024 if BLOCK in encoding else K
    cuts = {(2, 1024): [256, 768], (4, 1024): [256] * 4, (2, K): [128, 512]}
    return columns, cuts.get((ranks, columns), [128, 128, 256, 128])


def one_linear(rank, folder, ranks, encodings):
    mesh = init_device_mesh("cpu", (ranks,))
    for i, encoding in enumerate(encodings):
        k, columns = sizes_of(encoding, ranks)
        rows = {2: [48, 56], 4: [16, 32, 16, 40]}[ranks]
        archive = qlinear.Archive(f"{folder}/{i}/weights.safetensors")
        x = torch.load(f"{folder}/x")[:, :k]
        bias = torch.arange(N, dtype=torch.float32)
        for style, sizes in (
            ("colwise", rows),
            ("colwise_gather_output", rows),
            ("rowwise", columns),
        ):
            layer = qlinear.nn.ParallelLinear.from_packed(
                archive, "w", bias, style=style, mesh=mesh, sizes=sizes, activations="float"
            )
            inputs = x.split(columns, -1)[rank].contiguous() if style == "rowwise" else x
            with torch.no_grad():
                y = layer(inputs)
            n, own = (N, columns[rank]) if style == "rowwise" else (rows[rank], k)
            assert (layer.out_features, layer.in_features) == (n, own)
            assert layer.packed.numel() == qlinear.packed_bytes(encoding, n, own)
            assert not {"packed", "layout"} & layer.state_dict().keys()
            torch.save(y, f"{folder}/{i}/{style}{rank}")


@pytest.mark.parametrize("ranks", [2, 4])
def test_linears(ranks, tmp_path):
    encodings = layers.ENCODINGS if ranks == 2 else layers.ENCODINGS[:4]
    torch.manual_seed(0)
    x = torch.randn(5, 1024)
    torch.save(x, tmp_path / "x")
    for i, encoding in enumerate(encodings):
        (tmp_path / str(i)).mkdir()
        layers.pack(tmp_path / str(i), {"w": (encoding, N, sizes_of(encoding, ranks)[0])})
    together(one_linear, ranks, str(tmp_path), ranks, encodings)
    for i, encoding in enumerate(encodings):
        folder = tmp_path / str(i)
        archive = qlinear.Archive(folder / "weights.safetensors")
        k = sizes_of(encoding, ranks)[0]
        bias = torch.arange(N, dtype=torch.float32)
        whole = qlinear.nn.Linear.from_packed(archive, "w", bias, activations="float")
        with torch.no_grad():
            want = whole(x[:, :k])
        values = torch.tensor(qlinear.rows(archive.find("w"), range(N))).double()
        exact = x[:, :k].double() @ values.T + bias
        assert (want - exact).norm() < 1e-5 * exact.norm(), encoding

        parts = {
            style: [torch.load(folder / f"{style}{rank}") for rank in range(ranks)]
            for style in ("colwise", "colwise_gather_output", "rowwise")
        }
        assert torch.equal(torch.cat(parts["colwise"], -1), want), encoding
        for y in parts["colwise_gather_output"]:
            assert torch.equal(y, want), encoding
        sums = parts["rowwise"]
        assert all(torch.equal(y, sums[0]) for y in sums), encoding
        assert (sums[0] - exact).norm() < 1e-5 * exact.norm(), encoding


def refusals(rank, folder):
    mesh = init_device_mesh("cpu", (2,))
    block = qlinear.Archive(f"{folder}/weights.safetensors")

    def part(style="rowwise", **options):
        qlinear.nn.ParallelLinear.from_packed(block, "w", style=style, mesh=mesh, **options)

    with pytest.raises(qlinear.ArgumentError, match="of 1024 cannot be cut out: a range begins at "
                       "a multiple of 256"):  # fmt: skip
        part(sizes=[32, 992])
    with pytest.raises(qlinear.ArgumentError, match="has 1024 columns for 2 processes"):
        part(sizes=[256, 256])
    with pytest.raises(qlinear.ArgumentError, match="'w' has the style 'rows'; colwise, "):
        part("rows")
    with pytest.raises(qlinear.ArgumentError, match="104 rows of 'w' cannot be cut into 2 parts"):
        part("colwise")
    with pytest.raises(qlinear.ArgumentError, match="the mesh has 2 dimensions"):
        qlinear.nn.ParallelLinear.from_packed(
            block, "w", style="rowwise", mesh=init_device_mesh("cpu", (1, 2))
        )
    layer = qlinear.nn.ParallelLinear.from_packed(block, "w", style="rowwise", mesh=mesh)
    with pytest.raises(qlinear.Error, match="has no gradients"):
        layer(torch.zeros(1, 512, requires_grad=True))
    model = torch.nn.ModuleDict({"w": torch.nn.Linear(1024, N, bias=False),
                                 "v": torch.nn.Linear(1024, N, bias=False)})  # fmt: skip
    options = {"archive": block, "select": lambda name, layer: name == "w"}
    with pytest.raises(qlinear.Error, match="'v' is colwise in tp_plan, but is not packed: select"):
        plan = {"w": "rowwise", "v": "colwise"}
        qlinear.nn.swap_linears(model, tp_plan=plan, mesh=mesh, **options)
    assert type(model["w"]) is torch.nn.Linear
    with pytest.raises(qlinear.ArgumentError, match="tp_plan names 'u', which the model has not"):
        qlinear.nn.swap_linears(model, tp_plan={"u": "rowwise"}, mesh=mesh, **options)
    with pytest.raises(qlinear.ArgumentError, match="tp_plan and mesh belong together"):
        qlinear.nn.swap_linears(model, tp_plan={"w": "rowwise"}, **options)
    with pytest.raises(qlinear.ArgumentError, match="tp_plan divides weights of an archive"):
        qlinear.nn.swap_linears(model, tp_plan={"w": "rowwise"}, mesh=mesh)


def test_what_cannot_be(tmp_path):
    layers.pack(tmp_path, {"w": (layers.ENCODINGS[1], N, 1024)})
    together(refusals, 2, str(tmp_path))


# ===------------------------------------------------------------------------===#
# Models
# ===------------------------------------------------------------------------===#


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = torch.nn.Linear(128, 1280, bias=False)
        self.down = torch.nn.Linear(1280, 128, bias=True)

    def forward(self, x):
        return self.down(torch.nn.functional.silu(self.gate(x)))


def an_mlp(rank, folder):
    mesh = init_device_mesh("cpu", (2,))
    with torch.device("meta"):
        mlp = torch.nn.ModuleList([Mlp()])
    plan = {"*.gate": "colwise", "*.down": "rowwise"}
    qlinear.nn.swap_linears(mlp, archive=f"{folder}/packed", tp_plan=plan, mesh=mesh)
    # Both at the multiple of 256 that is nearest to the middle.
    assert mlp[0].gate.out_features == mlp[0].down.in_features == (512, 768)[rank]
    assert "part 1 of 2" in repr(mlp) or rank == 0
    with torch.no_grad():
        torch.save(mlp[0](torch.load(f"{folder}/x")), f"{folder}/y{rank}")


def test_swap_of_an_archive(tmp_path):
    """From the meta device, with a bias that is in the archive, and cuts that are uneven."""
    torch.manual_seed(0)
    mlp = torch.nn.ModuleList([Mlp()])
    from safetensors.torch import save_file

    save_file(mlp.state_dict(), tmp_path / "floats")
    qlinear.pack(tmp_path / "floats", tmp_path / "packed", quantize="int4:32", encoding="row-u8")
    torch.save(torch.randn(3, 128), tmp_path / "x")
    together(an_mlp, 2, str(tmp_path))
    qlinear.nn.swap_linears(mlp, archive=tmp_path / "packed")
    with torch.no_grad():
        want = mlp[0](torch.load(tmp_path / "x"))
    have = [torch.load(tmp_path / f"y{rank}") for rank in range(2)]
    assert torch.equal(*have) and (have[0] - want).norm() < 1e-5 * want.norm()


SIZES = {
    "hidden_size": 256,
    "intermediate_size": 1280,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "vocab_size": 1030,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
IDS = torch.randint(3, 1000, (2, 5), generator=torch.Generator().manual_seed(1))


def results(model):
    with torch.no_grad():
        logits = model(IDS).logits
    tokens = [
        model.generate(IDS[:1], max_new_tokens=6, do_sample=False, cache_implementation=cache)
        for cache in (None, "static")
    ]
    return logits, *tokens


def a_model(rank, folder, heads):
    import qlinear.transformers  # noqa: F401
    import transformers

    def load(**options):
        return transformers.AutoModelForCausalLM.from_pretrained(folder, tp_plan="auto", **options)

    if heads is None:
        with pytest.raises(qlinear.ArgumentError, match="8 heads of 32, which cannot be divided "
                           "among 3 processes"):  # fmt: skip
            load()
        return
    model = load()
    layer = model.model.layers[1]
    assert layer.self_attn.q_proj.out_features == layer.self_attn.o_proj.in_features == 32 * heads
    bytes_here = sum(
        m.packed.numel() for m in model.modules() if isinstance(m, qlinear.nn.ParallelLinear)
    )
    torch.save((*results(model), bytes_here), f"{folder}/results{rank}")
    assert "2: its q_proj is divided among processes" in str(qlinear.nn.optimize(model))
    with pytest.raises(qlinear.Error, match="each process has a part of the model"):
        model.save_pretrained(f"{folder}/again")


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("name", ["Llama", "Gemma3", "Qwen2"])
def test_transformers(name, ranks, tmp_path):
    transformers = pytest.importorskip("transformers", "5.17")
    torch.manual_seed(0)
    if name == "Qwen2" and ranks == 4:
        pytest.skip("with a bias, once is enough")
    options = dict(SIZES, tie_word_embeddings=name == "Gemma3")
    config = getattr(transformers, f"{name.replace('3', '3Text')}Config")(**options)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    for parameter in model.parameters():  # biases are zero else
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.5)
    qlinear.nn.swap_linears(model, "row-u8", search=False, activations="float")
    model.save_pretrained(tmp_path)
    together(a_model, ranks, str(tmp_path), 8 // ranks)
    want = results(model)
    have = [torch.load(tmp_path / f"results{rank}") for rank in range(ranks)]
    packed = sum(m.packed.numel() for m in model.modules() if isinstance(m, qlinear.nn.Linear))
    assert sum(h[-1] for h in have) < 1.05 * packed  # small parts have more padding
    for logits, *tokens, _ in have:
        assert torch.equal(logits, have[0][0])
        assert (logits - want[0]).norm() < 1e-4 * want[0].norm()
        assert all(torch.equal(a, b) for a, b in zip(tokens, want[1:]))


def test_heads_that_cannot_be_divided(tmp_path):
    transformers = pytest.importorskip("transformers", "5.17")
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))
    qlinear.nn.swap_linears(model, "row-u8", search=False)
    model.save_pretrained(tmp_path)
    together(a_model, 3, str(tmp_path), None)
