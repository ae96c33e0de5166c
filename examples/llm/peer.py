# ===- peer.py - llama.cpp on the same file ------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""llama.cpp, as the package xllamacpp carries it, in a process of its own:

    with Peer("model.gguf", threads=2) as peer:
        tokens, margins = peer.greedy("Once upon a time", 64)

Run as a program it is that process: it says where it listens, and ends with its input."""

import json
import os
import pathlib
import subprocess
import sys
import urllib.request


class Peer:
    def __init__(self, model, threads):
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(model), str(threads)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.about = json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.process.stdin.close()
        self.process.wait()

    def _complete(self, prompt, tokens, **more):
        body = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "top_k": 1,
                "repeat_penalty": 1, "cache_prompt": False, "ignore_eos": True, **more}  # fmt: skip
        request = urllib.request.Request(
            self.about["address"] + "/v1/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)

    def greedy(self, prompt, tokens):
        """The likeliest tokens after a prompt, and how far the second likeliest is from each,
        in log p."""
        reply = self._complete(prompt, tokens, logprobs=2)
        made = reply["choices"][0]["logprobs"]["content"]
        margins = [
            one["top_logprobs"][0]["logprob"] - one["top_logprobs"][1]["logprob"] for one in made
        ]
        return [one["id"] for one in made], margins

    def speed(self, prompt, tokens):
        """Tokens per second: of reading the prompt, and of writing `tokens`."""
        timings = self._complete(prompt, tokens)["timings"]
        return timings["prompt_per_second"], timings["predicted_per_second"]

    def memory(self):
        """The most memory that the process had, in bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(s.split()[1]) << 10 for s in status.splitlines() if "VmHWM" in s)


def main():
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, threads = sys.argv[1], int(sys.argv[2])
    params.n_ctx, params.n_parallel, params.verbosity = 2048, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    about = {"address": server.listening_address, "system": xllamacpp.get_system_info()}
    print(json.dumps(about), flush=True)
    sys.stdin.read()
    os._exit(0)  # a server that had nothing to do does not always end by itself


if __name__ == "__main__":
    main()
