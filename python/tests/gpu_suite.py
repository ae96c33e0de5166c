#!/usr/bin/env python3
# ===- gpu_suite.py - The Python package on a GPU ------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Tests of the Python package with PyTorch on a CUDA device. Not collected by pytest:

    python gpu_suite.py                        # on this machine's GPU
    python gpu_suite.py --pack cuda:sm_90a     # only fills the cache of artifacts

A machine without LLVM needs this folder, the package (an unpacked wheel) and the
cache that --pack filled (QLINEAR_CACHE). --device emulated runs what needs no GPU.
"""

import argparse
import concurrent.futures
import copy
import pathlib
import sys
import tempfile
import time
import traceback

import decoder
import layers
import qlinear
import qlinear.nn
import torch

CODINGS = [
    (torch.bfloat16, layers.ENCODINGS[0]),
    (torch.float16, layers.ENCODINGS[1]),
    (torch.float32, layers.ENCODINGS[5]),
]
SHAPES = [(256, 40), (416, 128)]  # in, out; the encodings take multiples of 32
TESTS = []


def test(function=None, cuda=True):
    """Marks a test; cuda: it needs a GPU."""
    if function is None:
        return lambda f: test(f, cuda)
    TESTS.append((function.__name__, function, cuda))
    return function


def single_layers(dtype, encoding, activations="int8"):
    torch.manual_seed(1)
    for k, n in SHAPES:
        for bias in (True, False):
            linear = torch.nn.Linear(k, n, bias=bias, dtype=dtype)
            yield qlinear.nn.Linear.from_float(linear, encoding, activations=activations)


def model(dtype=torch.bfloat16, encoding=layers.ENCODINGS[0], blocks=2, activations="int8"):
    torch.manual_seed(0)
    made = decoder.Decoder(blocks).eval().to(dtype)
    qlinear.nn.swap_linears(made, encoding, activations=activations)
    return made


def transformers_models():
    """(name, packed model) of transformers, where that is installed."""
    try:
        import transformers
    except ImportError:
        return
    sizes = {
        "hidden_size": 256, "intermediate_size": 416, "num_hidden_layers": 2, "vocab_size": 320,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
    }  # fmt: skip
    for name, config in (("Llama", "LlamaConfig"), ("Gemma3", "Gemma3TextConfig")):
        for dtype, activations in ((torch.float32, "float"), (torch.bfloat16, "int8")):
            torch.manual_seed(3)
            made = getattr(transformers, f"{name}ForCausalLM")(
                getattr(transformers, config)(**sizes)
            )
            for parameter in made.parameters():
                if parameter.dim() == 1:
                    parameter.data += 0.3 * torch.randn_like(parameter)
            made = made.eval().to(dtype)
            qlinear.nn.swap_linears(made, layers.ENCODINGS[0], activations=activations)
            yield f"{name} {activations}", made


def codings():
    """With each kind of activations."""
    for activations in ("int8", "float"):
        for dtype, encoding in CODINGS:
            yield dtype, encoding, activations


def pack(target):
    """Compiles what the tests run."""
    for dtype, encoding, activations in codings():
        for layer in single_layers(dtype, encoding, activations):
            qlinear.nn.prepare(layer, dtype, target)
        qlinear.nn.prepare(model(dtype, encoding, 1, activations), dtype, target)
    qlinear.compile(layers.MIXED, target)
    for _, made in transformers_models():
        qlinear.nn.prepare(made, targets=target)
        with torch.no_grad():
            qlinear.nn.optimize(made, check=False)
        qlinear.nn.prepare(made, targets=target)


# ===------------------------------------------------------------------------===#
# Results
# ===------------------------------------------------------------------------===#


@test(cuda=False)
def test_layers(device):
    count = 0
    for dtype, encoding, activations in codings():
        for layer in single_layers(dtype, encoding, activations):
            layer = layer.to(device)
            for rows in (1, 2, 3, 4, 5, 8, 9, 33):
                x = torch.randn(rows, layer.in_features, device=device, dtype=dtype)
                count += decoder.check_layers(torch.nn.Sequential(layer), x)
    return f"{count} results"


@test(cuda=False)
def test_models(device):
    lines = []
    for dtype, encoding, activations in codings():
        swapped = model(dtype, encoding, 1, activations).to(device)
        inputs = decoder.tokens(1, (2, 7), device)
        checked = decoder.check_layers(swapped, inputs)
        error, allowed = decoder.check_model(swapped, inputs)
        lines.append(
            f"{dtype}, {activations}: {checked} layers, error {error:.2g} (activations alone: "
            f"{allowed:.2g})"
        )
    return "; ".join(lines)


class DlpackOnly:
    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)


class InterfaceOnly:
    def __init__(self, tensor):
        self.__cuda_array_interface__ = tensor.__cuda_array_interface__
        self.tensor = tensor


@test
def test_functions(device):
    """load() with the current stream, DLPack and __cuda_array_interface__."""
    with tempfile.TemporaryDirectory() as folder:
        archive = layers.pack(pathlib.Path(folder), layers.MIXED_WEIGHTS)
        target = qlinear.device(device).target
        module = qlinear.load(qlinear.compile(layers.MIXED, target), archive, device)
    x = torch.randn(3, 96, device=device)
    codes = module.codes(x)
    y = module.of_codes(codes)
    for wrap in (DlpackOnly, InterfaceOnly):
        out_codes, out = torch.empty_like(codes), torch.empty_like(y)
        module.codes(wrap(x), out=wrap(out_codes))
        module.of_codes(wrap(out_codes), out=wrap(out))
        assert torch.equal(out_codes, codes) and torch.equal(out, y)
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream())
    again = module.of_codes(module.codes(x, stream=stream), stream=stream)
    numbered = module.of_codes(codes, stream=stream.cuda_stream)
    torch.cuda.current_stream().wait_stream(stream)
    assert torch.equal(again, y) and torch.equal(numbered, y)
    for call, message in (
        (
            lambda: module.codes(x.cpu()),
            "input 0 of 'codes' is on cpu, but the module is on cuda:0",
        ),
        (lambda: module.codes(DlpackOnly(x)), "output 0 of 'codes' has to be given"),
    ):
        try:
            call()
        except qlinear.ArgumentError as error:
            assert message in str(error), error
        else:
            raise AssertionError(f"no error: {message}")


@test
def test_moves(device):
    layer = next(single_layers(*CODINGS[0]))
    x = torch.randn(2, layer.in_features, dtype=torch.bfloat16, device=device)
    moved = copy.deepcopy(layer).to(device)
    y = moved(x)
    empty = qlinear.nn.Linear(layer.in_features, layer.out_features, device=device)
    empty.load_state_dict(layer.state_dict())
    assert torch.equal(empty.to(torch.bfloat16)(x), y)
    assert torch.equal(moved.cpu().to(device)(x), y)
    for call, message in (
        (lambda: layer(x), "x is on cuda:0, but packed is on cpu"),
        (lambda: moved(x.cpu()), "x is on cpu, but packed is on cuda:0"),
    ):
        try:
            call()
        except qlinear.ArgumentError as error:
            assert message in str(error), error
        else:
            raise AssertionError(f"no error: {message}")


# ===------------------------------------------------------------------------===#
# Graphs, torch.compile, streams
# ===------------------------------------------------------------------------===#


def capture(function, *shape, device):
    """(graph, static input, static output)."""
    inputs = decoder.tokens(0, shape, device)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        function(inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function(inputs)
    return graph, inputs, outputs


@test
def test_graph(device):
    swapped = model().to(device)
    for shape in ((1, 1), (2, 9)):
        graph, inputs, outputs = capture(swapped, *shape, device=device)
        for seed in range(5):
            inputs.copy_(decoder.tokens(seed, shape, device))
            graph.replay()
            assert torch.equal(outputs, swapped(inputs)), f"{shape}, replay {seed}"


@test
def test_optimized(device):
    """Decoder layers as compiled functions: as before within rounding, the same in graphs."""
    lines = []
    for name, made in transformers_models():
        made = made.to(device)
        plain = copy.deepcopy(made)
        qlinear.nn.optimize(made)
        worst = 0
        for shape in ((1, 1), (2, 4), (1, 9), (3, 40)):
            tokens = torch.randint(320, shape, device=device)
            want, have = (m(tokens, use_cache=False).logits.float() for m in (plain, made))
            worst = max(worst, ((have - want).norm() / want.norm()).item())
            for _ in range(50):
                again = made(tokens, use_cache=False).logits.float()
                assert torch.equal(again, have), f"{name} {shape}: another call, other bits"
        # Rows of more than 8 tokens are multiplied as f16, by other kernels in each.
        assert worst < (0.05 if "int8" in name else 2e-3), f"{name}: off by {worst:.2g}"
        x = torch.randn(4, 1, 256, device=device, dtype=made.dtype)
        layer = made.model.layers[0]
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            layer._qlinear.mlp(layer, x, x)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = layer._qlinear.mlp(layer, x, x)
        for seed in range(5):
            x.copy_(torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)))
            graph.replay()
            assert torch.equal(y, layer._qlinear.mlp(layer, x, x)), f"{name}: replay {seed}"
        lines.append(f"{name}: {worst:.2g}")
    return "; ".join(lines) or "transformers is missing"


@test
def test_graphs_side_by_side(device):
    """Two graphs, captured on one stream and replayed at once on two."""
    swapped = model().to(device)
    graphs = [capture(swapped, 2, 9, device=device) for _ in range(2)]
    streams = [torch.cuda.Stream(device) for _ in graphs]
    for seed in range(10):
        for i, (_, inputs, _) in enumerate(graphs):
            inputs.copy_(decoder.tokens(10 * seed + i, (2, 9), device))
        torch.cuda.synchronize()
        for (graph, _, _), stream in zip(graphs, streams):
            with torch.cuda.stream(stream):
                for _ in range(3):
                    graph.replay()
        torch.cuda.synchronize()
        for _, inputs, outputs in graphs:
            assert torch.equal(outputs, swapped(inputs))


@test
def test_first_call_in_a_capture(device):
    layer = next(single_layers(*CODINGS[1])).to(device)
    x = torch.randn(2, layer.in_features, dtype=torch.bfloat16, device=device)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            layer(x)
    except qlinear.Error as error:
        assert "run the model once before" in str(error), error
    else:
        raise AssertionError("no error")


@test
def test_compile(device):
    swapped = model().to(device).requires_grad_(False)
    lines = []
    for options in ({"backend": "aot_eager"}, {}, {"mode": "reduce-overhead"}):
        torch.compiler.reset()
        compiled = torch.compile(swapped, fullgraph=True, **options)
        for seed in range(4):
            inputs = decoder.tokens(seed, (1, 6), device)
            have, want = compiled(inputs).float(), swapped(inputs).float()
            # Inductor rounds elsewhere than the eager model does.
            error = (have - want).norm() / want.norm()
            assert error <= 0.03, f"{options}: {error:.3g}"
        lines.append(f"{options or 'inductor'}: {error:.2g}")
    return "; ".join(lines)


@test
def test_streams(device):
    swapped = model().to(device)
    inputs = [decoder.tokens(i, (2, 3 + i), device) for i in range(4)]
    want = [swapped(x) for x in inputs]
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream(device) for _ in inputs]
    results = [[] for _ in inputs]
    for _ in range(5):
        for x, stream, result in zip(inputs, streams, results):
            with torch.cuda.stream(stream):
                result.append(swapped(x))
    torch.cuda.synchronize()
    for result, y in zip(results, want):
        assert all(torch.equal(r, y) for r in result)


@test
def test_threads(device):
    swapped = model().to(device)
    inputs = [decoder.tokens(i, (2, 3 + i), device) for i in range(4)]
    want = [swapped(x) for x in inputs]
    torch.cuda.synchronize()

    def work(i):
        stream = torch.cuda.Stream(device) if i % 2 else torch.cuda.current_stream(device)
        with torch.no_grad(), torch.cuda.stream(stream):
            results = [swapped(inputs[i]) for _ in range(5)]
            stream.synchronize()
            return all(torch.equal(r, want[i]) for r in results)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


@test
def test_nothing_waits(device):
    """A call returns while work before it still runs, and takes no memory of the device
    that torch has not."""
    layer = next(single_layers(*CODINGS[0])).to(device)
    x = torch.randn(9, layer.in_features, dtype=torch.bfloat16, device=device)
    layer(x)
    torch.cuda.synchronize()
    before = torch.cuda.mem_get_info(device)[0], torch.cuda.memory_reserved(device)
    done = torch.cuda.Event()
    torch.cuda._sleep(1_000_000_000)  # cycles: about half a second
    for _ in range(20):
        layer(x)
    done.record()
    assert not done.query(), "a call waited"
    torch.cuda.synchronize()
    assert before == (torch.cuda.mem_get_info(device)[0], torch.cuda.memory_reserved(device))
    # What a call costs the host, for information.
    start = time.perf_counter()
    for _ in range(1000):
        layer(x)
    eager = time.perf_counter() - start
    torch.cuda.synchronize()
    return f"{1000 * eager:.1f} us of the host per call"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--pack", metavar="TARGET", help="compile for it, and run nothing")
    parser.add_argument("--only", default="", help="part of a test's name")
    options = parser.parse_args()
    if options.pack:
        pack(options.pack)
        return 0
    emulated = options.device == "emulated"
    device, failed, passed = ("cpu" if emulated else options.device), 0, 0
    with qlinear.nn.host_device("emulated" if emulated else "cpu"), torch.no_grad():
        for name, function, cuda in TESTS:
            if (emulated and cuda) or options.only not in name:
                continue
            start = time.perf_counter()
            try:
                text = function(device) or ""
                passed += 1
                print(f"passed: {name} ({time.perf_counter() - start:.1f} s) {text}", flush=True)
            except Exception:  # whatever it is, the others run
                failed += 1
                print(f"failed: {name}\n{traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
