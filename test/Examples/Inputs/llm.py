# ===- llm.py - examples/llm against numpy -------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""llm.py DIRECTORY CXX SOURCES LIBS ISA: builds the example, and runs it and its Python twin on a
random model of Gemma 3's form. The reference reads the definition anew, in float64."""

import json
import os
import shutil
import string
import subprocess
import sys

import gguf
import numpy as np

directory, cxx, sources, libs, isa = sys.argv[1:]
shutil.rmtree(directory, ignore_errors=True)
os.makedirs(directory)
os.chdir(directory)
EXAMPLE = f"{sources}/examples/llm"
sys.path.insert(0, EXAMPLE)
import gemma  # noqa: E402

# Sizes at which a mistake shows: five heads to a head of keys, a window that a text leaves, a
# global layer among local ones, more tokens than go through the layers together.
LAYERS, WIDTH, INNER, HEADS, KEY_HEADS, SIZE, WINDOW = 7, 64, 96, 10, 2, 64, 9
BASE, SPREAD, EPSILON, CONTEXT = 3e4, 2.0, 1e-3, 700
KEYS = {
    "block_count": LAYERS, "embedding_length": WIDTH, "feed_forward_length": INNER,
    "attention.head_count": HEADS, "attention.head_count_kv": KEY_HEADS,
    "attention.key_length": SIZE, "attention.value_length": SIZE,
    "attention.sliding_window": WINDOW, "context_length": CONTEXT,
}  # fmt: skip
FLOATS = {"rope.freq_base": BASE, "rope.scaling.factor": SPREAD,
          "attention.layer_norm_rms_epsilon": EPSILON}  # fmt: skip


def vocabulary():
    """[(piece, score, type)]: marks, bytes, and pieces that are joined by their scores."""
    marks = [("<pad>", 0, 3), ("<eos>", 0, 3), ("<bos>", 0, 3), ("<unk>", 0, 2)]
    marks += [(f"<0x{i:02X}>", 0, 6) for i in range(256)]
    marks += [("\n\n", 0, 4), ("\n\n\n", 0, 4), ("  ", 0, 4), ("<end_of_turn>", 0, 3)]
    letters = [*string.ascii_lowercase[:8], "\u2581", "é", "\n"]
    rng = np.random.default_rng(4)
    pairs = ["".join(rng.choice([*"abcd", "\u2581"], 2)) for _ in range(20)]
    joined = {"".join(rng.choice(pairs + letters[:4], 2)) for _ in range(90)} | {*pairs}
    # Some scores are the same: then the first in the text is joined.
    return marks + [(p, float(-rng.integers(1, 20)), 1) for p in letters + sorted(joined)]


VOCABULARY = vocabulary()


def write(path, architecture="gemma3", tokenizer="llama", **change):
    """Writes the model; {tensor: its values in float64}."""
    rng, values = np.random.default_rng(1), {}
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in (KEYS | change).items():
        writer.add_uint32(f"{architecture}.{key}", value)
    for key, value in FLOATS.items():
        writer.add_float32(f"{architecture}.{key}", value)
    writer.add_tokenizer_model(tokenizer)
    pieces, scores, types = zip(*VOCABULARY)
    writer.add_token_list(pieces)
    writer.add_token_scores([float(score) for score in scores])
    writer.add_token_types(types)
    for key, value in (("bos", 2), ("eos", 1), ("unknown", 3)):
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", value)
    writer.add_bool("tokenizer.ggml.add_space_prefix", False)

    def matrix(name, kind, n, k):
        kind = gguf.GGMLQuantizationType[kind]
        floats = rng.normal(size=(n, k)).astype("f4") / k**0.5
        if n == len(VOCABULARY):
            floats[-1] *= 4  # the last token is likely, too
        raw = gguf.quants.quantize(floats, kind)
        values[name] = gguf.quants.dequantize(raw, kind).astype("f8")
        writer.add_tensor(f"{name}.weight", raw, raw_dtype=kind)

    def norm(name, size):
        values[name] = (1 + rng.normal(size=size) / 4).astype("f4")
        writer.add_tensor(f"{name}.weight", values[name])

    matrix("token_embd", "Q8_0", len(VOCABULARY), WIDTH)
    norm("output_norm", WIDTH)
    for layer in range(LAYERS):
        name = f"blk.{layer}."
        matrix(name + "attn_q", "Q5_0", HEADS * SIZE, WIDTH)
        matrix(name + "attn_k", "Q5_0", KEY_HEADS * SIZE, WIDTH)
        matrix(name + "attn_v", "Q8_0", KEY_HEADS * SIZE, WIDTH)
        matrix(name + "attn_output", "Q8_0", WIDTH, HEADS * SIZE)
        matrix(name + "ffn_gate", "Q8_0", INNER, WIDTH)
        matrix(name + "ffn_up", "Q4_0", INNER, WIDTH)
        matrix(name + "ffn_down", "Q8_0", WIDTH, INNER)
        for part in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            norm(name + part, WIDTH)
        norm(name + "attn_q_norm", SIZE)
        norm(name + "attn_k_norm", SIZE)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


def run(*command, status=0):
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == status, (command, done.returncode, done.stdout, done.stderr)
    return (done.stderr if status else done.stdout).decode(errors="replace")


def llm(*arguments, base="tiny"):
    return json.loads(run("./llm", "tiny.gguf", f"{base}.so", "--json", *arguments))


def logits(w, tokens):
    """After each of the tokens, by the definition of the model."""

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) * w[name]

    def turned(x, is_global):
        """Each pair of the two halves is a complex number, that is turned."""
        speed = (BASE if is_global else 1e4) ** (-np.arange(SIZE // 2) / (SIZE // 2))
        angle = np.arange(len(x))[:, None] * speed / (SPREAD if is_global else 1)
        z = (x[..., : SIZE // 2] + 1j * x[..., SIZE // 2 :]) * np.exp(1j * angle)[:, None]
        return np.concatenate([z.real, z.imag], axis=-1)

    def heads(x):
        return x.reshape(len(x), -1, SIZE)

    x = w["token_embd"][tokens] * WIDTH**0.5
    distance = np.subtract.outer(np.arange(len(x)), np.arange(len(x)))
    for layer in range(LAYERS):
        name, is_global = f"blk.{layer}.", layer in (5, 11)
        h = norm(x, name + "attn_norm")
        q = turned(norm(heads(h @ w[name + "attn_q"].T), name + "attn_q_norm"), is_global)
        k = turned(norm(heads(h @ w[name + "attn_k"].T), name + "attn_k_norm"), is_global)
        k, v = (np.repeat(t, HEADS // KEY_HEADS, axis=1)
                for t in (k, heads(h @ w[name + "attn_v"].T)))  # fmt: skip
        s = np.einsum("ihd,jhd->hij", q, k) / SIZE**0.5
        seen = (distance >= 0) & (is_global | (distance < WINDOW))
        p = np.where(seen, np.exp(s - s.max(-1, keepdims=True)), 0)
        y = np.einsum("hij,jhd->ihd", p / p.sum(-1, keepdims=True), v).reshape(len(x), -1)
        x = x + norm(y @ w[name + "attn_output"].T, name + "post_attention_norm")
        h = norm(x, name + "ffn_norm")
        g = h @ w[name + "ffn_gate"].T
        g = g / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (g + 0.044715 * g**3)))
        y = (g * (h @ w[name + "ffn_up"].T)) @ w[name + "ffn_down"].T
        x = x + norm(y, name + "post_ffw_norm")
    return norm(x, "output_norm") @ w["token_embd"].T


def encode(text):
    """Marks first, the longest first; then neighbours one pair after the other."""
    ids = {piece: i for i, (piece, _, _) in enumerate(VOCABULARY)}
    parts = [text]
    for mark in sorted((p for p, _, t in VOCABULARY if t in (3, 4)), key=len, reverse=True):
        split = []
        for part in parts:
            if isinstance(part, str):
                for i, piece in enumerate(part.split(mark)):
                    split += ([ids[mark]] if i else []) + ([piece] if piece else [])
            else:
                split.append(part)
        parts = split
    out = [2]
    for part in parts:
        if not isinstance(part, str):
            out.append(part)
            continue
        symbols = list(part.replace(" ", "\u2581"))
        while True:
            pairs = [
                (-VOCABULARY[ids[a + b]][1], i)
                for i, (a, b) in enumerate(zip(symbols, symbols[1:]))
                if a + b in ids
            ]
            if not pairs:
                break
            i = min(pairs)[1]
            symbols[i : i + 2] = ["".join(symbols[i : i + 2])]
        for symbol in symbols:
            out += [ids[symbol]] if symbol in ids else [4 + byte for byte in symbol.encode()]
    return out


def check_tokenizers():
    twin, rng = gemma.Tokenizer(gemma.read_gguf("tiny.gguf")), np.random.default_rng(2)
    texts = ["", " ", "x", "a→é\n\n\n\nb", "é<end_of_turn>  a    b", "<eos>abc<bos>", "\n\n\n\n\n"]
    texts += ["".join(rng.choice([*"abcdabcdabcdefgh   ", "\n", "é"], 80)) for _ in range(12)]
    for text in texts:
        want = encode(text)
        assert twin.encode(text) == want, (text, twin.encode(text), want)
        made = llm("-n", "1", "-p", text)["prompt"]
        assert made == want, (text, made, want)
        if "<" not in text:
            assert twin.decode(want) == text, text


def check_text(w):
    """The likeliest tokens, one after the other, past the window and the prompt."""
    seen = set()
    for prompt in ("abc de fgh\n\nbadcafe", "a", "bad cab", "hegh", "  "):
        tokens = encode(prompt)
        length = len(tokens)
        for _ in range(20):
            tokens.append(int(np.argmax(logits(w, tokens)[-1])))
        options = ("--json", "-p", prompt, "-n", "20", "--ignore-end")
        for program in (("./llm",), (sys.executable, f"{EXAMPLE}/gemma.py")):
            made = json.loads(run(*program, "tiny.gguf", "tiny.so", *options))
            assert made["tokens"] == tokens[length:], (program, made, tokens)
        seen.update(tokens[length:])
    assert len(VOCABULARY) % 16 and len(VOCABULARY) - 1 in seen, seen


def losses(w, text):
    """-log p of each token of a text but the first."""
    tokens = encode(text)
    all_logits = logits(w, tokens)
    most = all_logits.max(-1, keepdims=True)
    log_p = all_logits - most - np.log(np.exp(all_logits - most).sum(-1, keepdims=True))
    return -log_p[np.arange(len(tokens) - 1), tokens[1:]]


def check_perplexity(w):
    """A text of more tokens than are read together; exact, and with int8 activations."""
    rng = np.random.default_rng(3)
    text = "".join(rng.choice([*"abcdefgh ", "é"], 600))
    with open("text.txt", "w", encoding="utf-8") as f:
        f.write(text)
    want = losses(w, text)
    assert 512 < len(want) < CONTEXT - 1, len(want)
    for base, bound in (("tiny", 1e-4), ("int8", 0.1)):
        made = llm("--perplexity", "text.txt", base=base)
        error = np.sqrt(np.mean((np.array(made["losses"]) - want) ** 2))
        assert error < bound, (base, error)
        assert abs(np.log(made["perplexity"]) - np.mean(want)) < bound, made["perplexity"]
    with open("long.txt", "w", encoding="utf-8") as f:
        f.write(text * 2)
    said = run("./llm", "tiny.gguf", "tiny.so", "--perplexity", "long.txt", status=1)
    assert f"longer than the {CONTEXT} tokens" in said, said


def check_sampling():
    """One of the likeliest, by a seed; of few logits all can be had."""
    greedy = llm("-p", "abc", "--ignore-end")["tokens"]
    hot = ("-p", "abc", "--ignore-end", "--temperature", "50", "--seed")
    assert llm(*hot, "1", "--top-k", "1")["tokens"] == greedy
    assert llm(*hot, "1")["tokens"] == llm(*hot, "1")["tokens"] != llm(*hot, "2")["tokens"]
    after = {llm(*hot, str(seed), "-n", "1", "--top-k", "3")["tokens"][0] for seed in range(30)}
    assert after == set(np.argsort(-logits(w, encode("abc"))[-1])[:3]), after


def check_errors():
    write("llama.gguf", architecture="llama")
    write("27b.gguf", block_count=62)
    write("heads.gguf", **{"attention.key_length": 48})
    write("words.gguf", tokenizer="gpt2")
    write("more.gguf", block_count=LAYERS + 1)
    with open("tiny.gguf", "rb") as f:
        whole = f.read(7000)  # of the vocabulary, which is longer
    with open("text.gguf", "wb") as f:
        f.write(b"no model" + whole)
    twin = (sys.executable, f"{EXAMPLE}/gemma.py")
    for model, part, programs in (
        ("llama.gguf", "architecture is 'llama'", [("./llm",), twin]),
        ("text.gguf", "does not begin with GGUF", [("./llm",), twin]),
        ("words.gguf", "the tokenizer 'gpt2' is not known", [("./llm",), twin]),
        ("27b.gguf", "27B scales its queries otherwise", [("./llm",)]),
        ("heads.gguf", "heads of a multiple of 64", [("./llm",)]),
        ("none.gguf", "cannot read 'none.gguf'", [("./llm",)]),
        ("more.gguf", "blk.7.attn_norm.weight", [("./llm",)]),
    ):
        for program in programs:
            said = run(*program, model, "tiny.so", status=1)
            assert part in said, (program, model, said)
    VOCABULARY.append(("other", 0.0, 1))
    write("other.gguf")
    for options, part, status in (
        (("other.gguf", "tiny.so"), "of 'other.gguf' is not that of 'tiny.so'", 1),
        (("tiny.gguf", "none.so"), "none.so", 1),
        # Those of CLI11.
        (("tiny.gguf",), "MODEL.so is required", 106),
        (("tiny.gguf", "tiny.so", "--foo"), "not expected: --foo", 109),
        (("tiny.gguf", "tiny.so", "-n"), "--tokens: 1 required", 114),
    ):
        said = run("./llm", *options, status=status)
        assert part in said, (options, said)
    os.rename("tiny.packed.safetensors", "away")
    assert "tiny.packed.safetensors" in run("./llm", "tiny.gguf", "tiny.so", status=1)
    os.rename("away", "tiny.packed.safetensors")
    at = whole.index(b"tokenizer.ggml.tokens") + 29  # behind two types: how many
    with open("count.gguf", "wb") as f:
        f.write(whole[:at] + (1 << 61).to_bytes(8, "little") + whole[at + 8 :])
    said = run("./llm", "count.gguf", "tiny.so", status=1)
    assert f"an array of {1 << 61} values" in said, said
    # Wherever a file of a model ends.
    for size in [*range(0, 200, 7), *range(200, len(whole), 499)]:
        with open("cut.gguf", "wb") as f:
            f.write(whole[:size])
        said = run("./llm", "cut.gguf", "tiny.so", status=1)
        assert "cannot read 'cut.gguf' as GGUF" in said, (size, said)


def compile_(base, activations):
    run("quant-compile", "tiny.gguf", f"--target=cpu:{isa}", "--encoding=lossless",
        f"--activations={activations}", "-o", f"{base}.so")  # fmt: skip


w = write("tiny.gguf")
build = subprocess.Popen([
    cxx, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", f"{EXAMPLE}/main.cpp", "-o", "llm",
    f"-I{sources}/runtime/include", f"-L{libs}", "-lQLinearRuntime", "-ltbb", f"-Wl,-rpath,{libs}",
])  # fmt: skip
compile_("tiny", "float")
compile_("int8", "int8")
assert build.wait() == 0
check_tokenizers()
check_text(w)
check_perplexity(w)
check_sampling()
check_errors()
print("llm: passed")
