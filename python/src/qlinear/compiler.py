# ===- compiler.py - quant-compile and quant-pack from Python ------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""`compile()` and `pack()` run the compiler's tools. Artifacts are kept in a cache,
`cache_folder()`, under a hash of what they are made of. Where the compiler is missing,
what is in the cache still works: compile on one machine, copy the folder, and set
QLINEAR_CACHE on another."""

import hashlib
import json
import os
import pathlib
import subprocess
import tempfile

from . import _abi
from ._abi import Error
from .module import Artifact


class CompileError(Error):
    """quant-compile's diagnostics, with line and column of the source."""


def cache_folder():
    """Where compile() keeps artifacts, and quant-compile the kernels in them."""
    if folder := os.fsdecode(_abi.library().qlr_cache_folder()):
        return pathlib.Path(folder)
    raise Error(
        "nothing says where to keep what is compiled: set QLINEAR_CACHE, XDG_CACHE_HOME or HOME",
        "NOT_FOUND",
    )


def _source_bytes(source):
    """The module's text or bytecode: `source` is it, or names a file."""
    if isinstance(source, (bytes, bytearray)):
        return bytes(source)
    if isinstance(source, str) and ("\n" in source or "{" in source):
        return source.encode()
    try:
        return pathlib.Path(source).read_bytes()
    except OSError as problem:
        raise CompileError(
            f"cannot read '{source}': {problem.strerror}; pass the path of an MLIR "
            "file, or a module's text",
            "NOT_FOUND",
        ) from None


def _identity(path):
    """What changes when a file does."""
    status = os.stat(path)
    return [os.path.realpath(path), status.st_size, status.st_mtime_ns]


def compile(
    source,
    target="cpu",
    *,
    output=None,
    params=None,
    encoding=None,
    min_snr=None,
    schedule_table=None,
    batch_invariant=False,
    activations=None,
    fuse=True,
    quantize_activations=True,
    options=(),
    kernel=None,
):
    """Compiles a module of quantized linear layers to an artifact.

    source: MLIR text or bytecode, or the path of a file with it.
    target: "cpu" (all instruction sets), "cpu:avx2", "cuda:sm_90", "cuda:emulated", or a
        list of them.
    output: the file to write; by default one in the cache, used again for the same source
        and options.
    params: a packed archive, against which the types of parameters are checked.
    encoding: re-encode constant weights first: "auto", "row-u8", ...; min_snr in dB is
        what "auto" keeps.
    activations: what linears that do not say it multiply their weights with: "int8", x
        quantized per 32 columns (the default), or "float", x as it is.
    batch_invariant: the bits of a row's results depend neither on the number of rows of
        the call nor on the other rows; slower where rows are few.
    schedule_table, fuse, quantize_activations, options: as of quant-compile; `options`
        are further arguments of its command line.
    kernel: of what call of torch.ops.qlinear it is, as plain values: programs without Python
        find it in the cache by that (runtime/torch/Cache.cpp).

    Returns an Artifact. Raises CompileError with the compiler's messages.
    """
    text = _source_bytes(source)
    targets = target if isinstance(target, str) else ",".join(target)
    arguments = [f"--target={targets}"]
    for name, value in {
        "params": params,
        "encoding": encoding,
        "min-snr": min_snr,
        "schedule-table": schedule_table,
        "activations": activations,
    }.items():
        if value is not None:
            arguments.append(f"--{name}={os.fspath(value) if name != 'min-snr' else value}")
    if batch_invariant:
        arguments.append("--batch-invariant")
    if not fuse:
        arguments.append("--fuse=false")
    if not quantize_activations:
        arguments.append("--quantize-activations=false")
    arguments += options
    if output is not None:
        _run_compiler(text, arguments, os.fspath(output))
        return Artifact(output)
    files = [f for f in (params, schedule_table) if f is not None]
    if kernel is not None:
        kernel = {**kernel, "target": targets, "batch_invariant": batch_invariant}
    return _cached(text, arguments, files, kernel)


def _run_compiler(text, arguments, output):
    tool = _abi.find_tool("quant-compile")
    command = [tool, "-", *arguments, "-o", output]
    ran = subprocess.run(command, input=text, capture_output=True, check=False)
    if ran.returncode:
        message = ran.stderr.decode(errors="replace").strip()
        raise CompileError(message or f"{tool} ended with status {ran.returncode}")


def _cached(text, arguments, files, kernel):
    key = hashlib.sha256()
    for part in (
        b"qlinear artifact 1",
        text,
        *(a.encode() for a in arguments),
        *(json.dumps(_identity(f)).encode() for f in files),
    ):
        key.update(len(part).to_bytes(8, "little") + part)
    name = key.hexdigest()[:32]
    folder = cache_folder()
    path, record = folder / f"{name}.so", folder / f"{name}.json"
    try:
        compiler = _identity(_abi.find_tool("quant-compile"))
    except Error:
        compiler = None
        if not path.exists():
            raise
    # An artifact of another build of the compiler is made anew, if that can be done.
    try:
        said = json.loads(record.read_text())
        made_by = said["compiler"]
    except (OSError, ValueError, KeyError):
        said = made_by = None
    about = {"compiler": compiler} if kernel is None else {"compiler": compiler, "kernel": kernel}
    # An entry of before records had "kernel" is made anew, too.
    is_same = compiler == made_by is not None and about.items() <= said.items()
    if path.exists() and (compiler is None or is_same):
        return Artifact(path)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        _run_compiler(text, arguments, f"{work}/{name}.so")
        pathlib.Path(f"{work}/record").write_text(json.dumps(about))
        # A program that has the old file open keeps it: it is replaced, not written.
        os.replace(f"{work}/{name}.so", path)
        os.replace(f"{work}/record", record)
    return Artifact(path)


def pack(
    source,
    output,
    *,
    encoding="auto",
    quantize=None,
    include=(),
    exclude=(),
    min_snr=None,
    minmax=False,
    options=(),
):
    """Packs the linear weights of a checkpoint with quant-pack (docs/quant-pack.md).

    source, output: the checkpoint, and the archive to write.
    encoding: one name or spelling for all, or {regular expression: name or spelling}.
    quantize: how float weights are quantized, "int4:32", or {regular expression: ...}.
    include, exclude: regular expressions of names. options: further arguments.

    Returns the report: what became of each tensor.
    """

    def per_name(flag, value):
        pairs = value.items() if isinstance(value, dict) else [(None, value)]
        for pattern, name in pairs:
            yield from (flag, name if pattern is None else f"{pattern}={name}")

    command = [
        _abi.find_tool("quant-pack"),
        os.fspath(source),
        "-o",
        os.fspath(output),
        "--quiet",
        *per_name("--encoding", encoding),
    ]
    if quantize:
        command += per_name("--quantize", quantize)
    for flag, patterns in (("--include", include), ("--exclude", exclude)):
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            command += [flag, pattern]
    if min_snr is not None:
        command += ["--min-snr", str(min_snr)]
    if minmax:
        command.append("--minmax")
    with tempfile.TemporaryDirectory() as work:
        report = f"{work}/report.json"
        ran = subprocess.run(
            [*command, "--report", report, *options], capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise Error(ran.stderr.strip() or f"quant-pack ended with status {ran.returncode}")
        return json.loads(pathlib.Path(report).read_text())
