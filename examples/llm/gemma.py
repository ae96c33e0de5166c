#!/usr/bin/env python3
# ===- gemma.py - Goes on with a text, in Python ------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""gemma.py MODEL.gguf MODEL.so [-p TEXT] [-n TOKENS]: what main.cpp does, in numpy around the
compiled linear layers. It needs the package qlinear and numpy alone."""

import argparse
import heapq
import json
import pathlib
import struct
import sys
import time

import numpy as np
import qlinear

_FORMATS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd"))


def read_gguf(path):
    """The keys of a GGUF file with their values. Tensors are not read."""
    data, at = pathlib.Path(path).read_bytes(), 0

    def number(kind):
        nonlocal at
        (value,) = struct.unpack_from("<" + kind, data, at)
        at += struct.calcsize("<" + kind)
        return value

    def text():
        nonlocal at
        size = number("Q")
        if size > len(data) - at:
            raise ValueError("it ends within a text")
        at += size
        return data[at - size : at].decode("utf-8", "replace")

    def value(kind):
        nonlocal at
        if kind == 8:
            return text()
        if kind != 9:
            return number(_FORMATS[kind])
        kind, count = number("I"), number("Q")
        if kind == 8:
            return [text() for _ in range(count)]
        values = struct.unpack_from(f"<{count}{_FORMATS[kind]}", data, at)
        at += struct.calcsize(f"<{count}{_FORMATS[kind]}")
        return list(values)

    try:
        if number("4s") != b"GGUF" or number("I") not in (2, 3):
            raise ValueError("it does not begin with GGUF of version 2 or 3")
        number("Q")  # how many tensors
        return {text(): value(number("I")) for _ in range(number("Q"))}
    except (struct.error, KeyError, ValueError) as problem:
        raise SystemExit(f"gemma.py: cannot read '{path}' as GGUF: {problem}") from None


class Tokenizer:
    """SentencePiece's byte-pair encoding, see tokenizer.h."""

    CONTROL, USER, BYTE = 3, 4, 6

    def __init__(self, gguf):
        if (model := gguf.get("tokenizer.ggml.model")) != "llama":
            raise SystemExit(f"gemma.py: the tokenizer '{model}' is not known here")
        self.pieces = gguf["tokenizer.ggml.tokens"]
        self.scores = gguf["tokenizer.ggml.scores"]
        self.types = gguf["tokenizer.ggml.token_type"]
        self.ids = {}
        for i, piece in enumerate(self.pieces):
            self.ids.setdefault(piece, i)
        whole = [i for i, t in enumerate(self.types) if t in (self.CONTROL, self.USER)]
        self.whole = sorted(whole, key=lambda i: -len(self.pieces[i].encode()))
        self.begin = gguf.get("tokenizer.ggml.bos_token_id")
        if not gguf.get("tokenizer.ggml.add_bos_token", True):
            self.begin = None
        self.end = gguf.get("tokenizer.ggml.eos_token_id")
        self.unknown = gguf.get("tokenizer.ggml.unknown_token_id", 0)
        self.prefix = " " if gguf.get("tokenizer.ggml.add_space_prefix", True) else ""

    def encode(self, text):
        begin = [] if self.begin is None else [self.begin]
        return begin + self._part(text, 0)

    def _part(self, text, first):
        """Finds tokens that are taken as they are, the longest first."""
        for i in range(first, len(self.whole)):
            piece = self.pieces[self.whole[i]]
            if piece and piece in text:
                before, after = text.split(piece, 1)
                return [*self._part(before, i + 1), self.whole[i], *self._part(after, i)]
        return self._join((self.prefix + text).replace(" ", "\u2581")) if text else []

    def _join(self, text):
        parts = list(text)
        before = list(range(-1, len(parts) - 1))
        after = [*range(1, len(parts)), -1]
        pairs = []

        def find(left, right):
            if left >= 0 and right >= 0 and (joined := parts[left] + parts[right]) in self.ids:
                heapq.heappush(pairs, (-self.scores[self.ids[joined]], left, right, joined))

        for i in range(1, len(parts)):
            find(i - 1, i)
        while pairs:
            _, left, right, joined = heapq.heappop(pairs)
            if not parts[left] or not parts[right] or parts[left] + parts[right] != joined:
                continue  # one of them has grown since
            parts[left], parts[right] = joined, ""
            after[left] = after[right]
            if after[left] >= 0:
                before[after[left]] = left
            find(before[left], left)
            find(left, after[left])
        out = []
        for part in filter(None, parts):
            if part in self.ids:
                out.append(self.ids[part])
            else:
                out += [self.ids.get(f"<0x{b:02X}>", self.unknown) for b in part.encode()]
        return out

    def decode(self, tokens):
        out = b""
        for token in tokens:
            piece, kind = self.pieces[token], self.types[token]
            if kind == self.BYTE:
                out += bytes([int(piece[3:5], 16)])
            elif kind != self.CONTROL:
                out += piece.replace("\u2581", " ").encode()
        return out.decode("utf-8", "replace")

    def is_end(self, token):
        return token == self.end or self.pieces[token] == "<end_of_turn>"


class Model:
    """Gemma 3; each linear layer, or several that share their input, is a function."""

    ROWS = 512  # tokens that go through the layers together

    def __init__(self, gguf, artifact, threads=0):
        if (architecture := gguf.get("general.architecture")) != "gemma3":
            raise SystemExit(
                f"gemma.py: the model's architecture is '{architecture}', and this program has "
                "the norms and the attention of 'gemma3' alone; qlinear.load calls its layers"
            )
        self.sizes = {k[len("gemma3.") :]: v for k, v in gguf.items() if k.startswith("gemma3.")}
        path = pathlib.Path(artifact).with_suffix(".packed.safetensors")
        self.archive = qlinear.Archive(path)
        self.functions = qlinear.load(artifact, path, f"cpu:{threads}" if threads else "cpu")
        self.norms = {
            name: np.frombuffer(data, np.float32)
            for name, (dtype, _, data) in self.archive.tensors.items()
            if dtype == "F32"
        }
        self.embedding = self.archive.find("token_embd")
        self.past = [(None, None)] * self.sizes["block_count"]
        self.position = 0

    def _norm(self, x, name):
        mean = np.mean(np.square(x), axis=-1, keepdims=True)
        epsilon = np.float32(self.sizes["attention.layer_norm_rms_epsilon"])
        return x / np.sqrt(mean + epsilon) * self.norms[name + ".weight"]

    def _rotate(self, x, is_global):
        """Rotary embeddings of rows x heads x size."""
        half = x.shape[-1] // 2
        base = self.sizes.get("rope.freq_base", 1e6) if is_global else 1e4
        spread = self.sizes.get("rope.scaling.factor", 1) if is_global else 1
        angles = np.arange(self.position, self.position + len(x)) / spread
        angles = angles[:, None, None] * base ** (-np.arange(half) / half)
        cos, sin = np.cos(angles).astype("f4"), np.sin(angles).astype("f4")
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def _attend(self, layer, q, k, v):
        name, size = f"blk.{layer}.", self.sizes["attention.key_length"]
        q, k, v = (t.reshape(len(t), -1, size) for t in (q, k, v))
        is_global = layer % 6 == 5
        q = self._rotate(self._norm(q, name + "attn_q_norm"), is_global)
        k = self._rotate(self._norm(k, name + "attn_k_norm"), is_global)
        if self.position:
            k, v = (np.concatenate(two) for two in zip(self.past[layer], (k, v)))
        self.past[layer] = k, v
        row = np.arange(self.position, len(k))[:, None]
        hidden = np.arange(len(k)) > row
        if not is_global:
            hidden |= np.arange(len(k)) <= row - self.sizes["attention.sliding_window"]
        out, group = np.empty_like(q), q.shape[1] // k.shape[1]
        for head in range(q.shape[1]):
            scores = q[:, head] @ k[:, head // group].T / np.float32(np.sqrt(size))
            scores[hidden] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[:, head] = weights @ v[:, head // group] / weights.sum(axis=1, keepdims=True)
        return out.reshape(len(q), -1)

    def read(self, tokens):
        """Reads more tokens of the text; the logits after the last."""
        for at in range(0, len(tokens), self.ROWS):
            x = self._read(tokens[at : at + self.ROWS])
        return self.functions["token_embd"](self._norm(x[-1:], "output_norm"))[0]

    def _read(self, tokens):
        x = qlinear.rows(self.embedding, tokens)
        x *= np.sqrt(np.float32(x.shape[1]))
        for layer in range(self.sizes["block_count"]):
            name = f"blk.{layer}."

            def call(part, value, layer=layer):
                return self.functions[f"blk_{layer}_{part}"](np.ascontiguousarray(value))

            q, k, v = call("attn_qkv", self._norm(x, name + "attn_norm"))
            y = call("attn_output", self._attend(layer, q, k, v))
            x += self._norm(y, name + "post_attention_norm")
            y = call("ffn_down", call("ffn_gate_up", self._norm(x, name + "ffn_norm")))
            x += self._norm(y, name + "post_ffw_norm")
        self.position += len(tokens)
        return x


def sample(logits, temperature, top_k, random):
    """The next token: the likeliest at temperature 0, else one of the top_k likeliest."""
    if temperature <= 0:
        return int(np.argmax(logits))
    best = np.argsort(-logits)[: max(top_k, 1)]
    weights = np.exp((logits[best] - logits[best[0]]).astype("f8") / temperature)
    return int(random.choice(best, p=weights / weights.sum()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("gguf", help="the model, for its sizes and its vocabulary")
    parser.add_argument("artifact", help="what quant-compile made of it")
    parser.add_argument("-p", "--prompt", default="Once upon a time")
    parser.add_argument("-n", "--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--temperature", type=float, default=0, help="0: the likeliest token")
    parser.add_argument("--top-k", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ignore-end", action="store_true")
    parser.add_argument("--json", action="store_true", help="print tokens and times as JSON")
    o = parser.parse_args()
    gguf = read_gguf(o.gguf)
    tokenizer = Tokenizer(gguf)
    model = Model(gguf, o.artifact, o.threads)
    prompt, made = tokenizer.encode(o.prompt), []
    random = np.random.default_rng(o.seed)
    times = [time.perf_counter()]
    logits = model.read(prompt)
    while True:
        token = sample(logits, o.temperature, o.top_k, random)
        times.append(time.perf_counter())
        if tokenizer.is_end(token) and not o.ignore_end:
            break
        made.append(token)
        if len(made) >= o.tokens:
            break
        logits = model.read([token])
    text = tokenizer.decode(made)
    speed = (len(times) - 2) / (times[-1] - times[1]) if len(times) > 2 else 0
    if o.json:
        result = {"prompt": prompt, "tokens": made, "text": text, "tokens_per_second": speed,
                  "prompt_per_second": len(prompt) / (times[1] - times[0])}  # fmt: skip
        print(json.dumps(result))
    else:
        print(o.prompt + text)
        print(f"\n{len(made)} tokens at {speed:.0f} per second", file=sys.stderr)


if __name__ == "__main__":
    main()
