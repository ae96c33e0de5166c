# ===- cli.py - The command line of quant-import-onnx ----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""The quantized linear layers of an ONNX model, as MLIR and a packed archive."""

import argparse
import difflib
import os
import shutil
import subprocess
import sys
import traceback

EXAMPLES = """
Examples:
  quant-import-onnx model.onnx -o layers.mlir --weights w.safetensors --only-linears
  quant-compile layers.mlir -o layers.so
  quant-run layers.so --weights w.safetensors --verify

  quant-import-onnx model.onnx -o layers.mlir --weights w.safetensors --replace ours.onnx
  quant-compile layers.mlir -o layers.so       # ours.onnx runs it inside onnxruntime

  quant-import-onnx model.onnx -o model.mlir --weights w.safetensors
  quant-opt model.mlir --allow-unregistered-dialect --qlinear-fuse

Exit status: 0 done, 1 failed (nothing is written), 2 wrong usage."""


class Version(argparse.Action):
    """Says the version of the build, which quant-pack knows."""

    def __call__(self, parser, namespace, values, option_string=None):
        run = subprocess.run(
            [namespace.quant_pack, "--version"], capture_output=True, text=True, check=False
        )
        print(run.stdout.replace("quant-pack", parser.prog), end="")
        parser.exit()


class Parser(argparse.ArgumentParser):
    """Says what a misspelled option may have meant, as the other tools do."""

    def error(self, message):
        known = [name for action in self._actions for name in action.option_strings]
        for word in (word.partition("=")[0] for word in sys.argv[1:]):
            if word.startswith("--") and not any(name.startswith(word) for name in known):
                near = difflib.get_close_matches(word, known, 1)
                message = f"unknown option '{word}'"
                message += f"; did you mean '{near[0]}'?" if near else ""
                break
        super().error(message)


def arguments_of(argv):
    parser = Parser(
        prog="quant-import-onnx",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="MLIR to write")
    parser.add_argument("--weights", required=True, metavar="FILE", help="packed archive to write")
    parser.add_argument(
        "--only-linears",
        action="store_true",
        help="one function per linear layer, and nothing else of the graph",
    )
    parser.add_argument(
        "--replace",
        metavar="FILE",
        help="also write the model with these functions in place of its linear layers, for "
        "onnxruntime and libQLinearOnnxruntime.so; implies --only-linears",
    )
    parser.add_argument(
        "-e",
        "--encoding",
        action="append",
        default=[],
        metavar="[REGEX=]NAME",
        help="how metadata is stored, as quant-pack takes it (default auto)",
    )
    beside = os.path.join(os.path.dirname(os.path.realpath(sys.argv[0])), "quant-pack")
    parser.add_argument(
        "--quant-pack",
        default=beside if os.path.exists(beside) else shutil.which("quant-pack") or "quant-pack",
        metavar="PROGRAM",
        help="quant-pack (default: the one beside this program, else of PATH)",
    )
    parser.add_argument("--version", nargs=0, action=Version, help="say the version and exit")
    parser.add_argument("--quiet", action="store_true", help="no table, no notes")
    arguments = parser.parse_args(argv)
    arguments.only_linears |= arguments.replace is not None
    return arguments


def load(path):
    import onnx

    from .weights import Problem

    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as e:
        raise Problem(f"cannot read '{path}': {e.strerror}") from e
    except Exception as e:  # protobuf's own class differs between its versions
        raise Problem(f"'{path}' is not an ONNX model: {e}") from e
    if not model.graph.node and not model.graph.output:
        raise Problem(f"'{path}' is not an ONNX model: it has no graph")
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def outputs_of(arguments):
    """[(option, file)] of all that is written; the last is there when all others are."""
    named = [("--weights", arguments.weights), ("--replace", arguments.replace)]
    return [(o, f) for o, f in [*named, ("--output", arguments.output)] if f is not None]


def run(arguments):
    from . import archive
    from .graph import Graph, value_types
    from .mlir import Module
    from .output import OutputFile
    from .replace import replaced
    from .weights import Problem

    model = load(arguments.model)
    inputs = os.path.realpath(arguments.model)
    written = {}
    for option, path in reversed(outputs_of(arguments)):
        real = os.path.realpath(path)
        if real == inputs:
            raise Problem(f"'{path}' is the model; write to another file")
        is_device = os.path.exists(real) and not os.path.isfile(real)
        if written.setdefault(real, option) != option and not is_device:
            raise Problem(f"'{path}' is both {written[real]} and {option}")
    graph = Graph(model.graph, os.path.dirname(inputs))
    linears = list(graph.linears())
    notes = "".join(f"\n  {note}" for note in graph.notes)
    if not linears and notes:
        raise Problem(
            f"'{arguments.model}' has no quantized linear layer that can be read, but "
            f"others:{notes}"
        )
    if not linears:
        raise Problem(
            f"'{arguments.model}' has no quantized linear layer: no MatMulNBits, no MatMul or Gemm "
            "of a DequantizeLinear of a constant, and no MatMulInteger of a DynamicQuantizeLinear; "
            "quantize it first, for instance with onnxruntime's matmul_nbits_quantizer"
        )
    seen = {}  # the same codes with other scales are another weight
    for linear in linears:
        weight, name, count = linear.weight, linear.weight.key, 0
        while seen.setdefault(weight.key, weight.parts) != weight.parts:
            count += 1
            weight.key = f"{name}.{count}"
    weights = {linear.weight.key: linear.weight for linear in linears}
    constants = {} if arguments.only_linears else graph.large_constants()
    taken = {f"{key}{part}" for key in weights for part in ("", ".codes", ".scales", ".zeros")}
    constants = {name: g for name, g in constants.items() if name not in taken}
    files = []
    try:
        for _, path in outputs_of(arguments):  # known before the work
            files.append(OutputFile(path))
        entries = archive.pack(weights.values(), constants, files[0].temporary, arguments)
        module = Module(entries, value_types(model), constants)
        if arguments.only_linears:
            functions = {id(i): module.function_of(i.graph, i) for i in linears}
        else:
            module.whole(graph)
        with open(files[-1].temporary, "w", encoding="ascii") as f:
            f.write(module.text())
        others = sum(1 for _ in graph.others())
        if arguments.replace is not None:
            data = replaced(model, graph, functions, arguments.replace)
            with open(files[1].temporary, "wb") as f:
                f.write(data)
        for file in files:
            file.publish()
    except OSError as e:
        names = {file.temporary: file.path for file in files}
        name = names.get(e.filename, e.filename or arguments.output)
        raise Problem(f"cannot write '{name}': {e.strerror}") from e
    finally:
        for file in files:
            file.remove()
    if not arguments.quiet and not any(f.is_stream and f.descriptor == 1 for f in files):
        print(f"{len(linears)} linear layers, {others} other nodes{notes}")


def main(argv=None):
    arguments = arguments_of(argv)  # before onnx is loaded: --help needs none
    try:
        from .weights import Problem
    except ImportError as missing:
        print(f"quant-import-onnx: error: {missing}; pip install 'onnx>=1.19'", file=sys.stderr)
        return 1
    try:
        run(arguments)
    except Problem as e:
        print(f"quant-import-onnx: error: {e}", file=sys.stderr)
        return 1
    except MemoryError:
        print("quant-import-onnx: error: out of memory", file=sys.stderr)
        return 1
    except Exception as e:  # a model that breaks a rule which nobody thought of
        where = traceback.extract_tb(e.__traceback__)[-1]
        print(
            f"quant-import-onnx: error: '{arguments.model}' breaks a rule of ONNX "
            f"({type(e).__name__}: {e}, at {os.path.basename(where.filename)}:{where.lineno}); "
            "check it with onnx.checker.check_model, and report it if it is valid",
            file=sys.stderr,
        )
        return 1
    try:
        sys.stdout.flush()
    except OSError as e:
        print(
            f"quant-import-onnx: error: cannot write to standard output: {e.strerror}",
            file=sys.stderr,
        )
        sys.stdout = None  # it would be flushed again, with a traceback
        return 1
    return 0
