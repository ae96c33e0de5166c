# ===- jax_calls.py - Compiled functions in JAX ---------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""jax_calls.py DIRECTORY: functions of all kinds in jax.jit, jax.vmap, jax.export and several
threads, against float64 and against the same functions called with numpy."""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import qlinear
import qlinear.jax

tests = pathlib.Path(__file__).resolve().parents[3] / "python" / "tests"
sys.path.insert(0, str(tests))
import layers  # noqa: E402
import reference  # noqa: E402

work = pathlib.Path(sys.argv[1])
if len(sys.argv) > 2:  # another process: what was exported runs with the files it names
    exported = jax.export.deserialize(bytearray((work / "exported").read_bytes()))
    qlinear.jax._register()
    np.save(work / "y.npy", exported.call(np.load(work / "x.npy")))
    sys.exit()
shutil.rmtree(work, ignore_errors=True)
work.mkdir(parents=True)
archive = layers.pack(work, layers.MIXED_WEIGHTS)
artifact = shutil.copy(layers.compiled(layers.MIXED, "cpu"), work / "layers.so")
module = qlinear.load(artifact, archive)
w = {
    name: reference.dequantize(p.blob, p.encoding, p.n, p.k)
    for name, p in qlinear.Archive(archive).weights.items()
}
of = lambda name, **more: qlinear.jax.function(artifact, name, archive, **more)
rng = np.random.default_rng(8)


def equal(have, want):
    have, want = (v if isinstance(v, (tuple, list)) else [v] for v in (have, want))
    assert len(have) == len(want)
    for h, r in zip(have, want):
        assert h.dtype == r.dtype and h.shape == r.shape, (h.dtype, r.dtype, h.shape, r.shape)
        np.testing.assert_array_equal(np.asarray(h), r)


def fails(part, call, kind=Exception):
    try:
        jax.block_until_ready(call())
    except kind as e:
        assert re.search(part, str(e)), str(e)
        return
    raise AssertionError(f"no error has '{part}'")


# Several results, of 16 and 32 bits, rows in any number of dimensions; none at all.
qkv = jax.jit(of("qkv"))
for shape in ((1, 96), (5, 96), (2, 3, 96), (2, 1, 2, 2, 96), (0, 96)):
    x = layers.random(rng, shape, "f16")
    equal(qkv(x), module.qkv(x))
x = layers.random(rng, (7, 96), "f16")
for y, name, dtype in zip(qkv(x), "qkv", ("f16", "f32", "bf16")):
    reference.assert_linear(np.asarray(y).astype(np.float64), x, w[name], dtype=dtype)
# A bias and a residual, in the middle of what XLA compiles; and int8 in and out.
gated = of("gated")
x, bias, res = (
    layers.random(rng, (19, 96), "bf16"), layers.random(rng, 40),
    layers.random(rng, (19, 40), "bf16"),
)  # fmt: skip
between = jax.jit(lambda x, b, r: jnp.tanh(gated(x + 0, b * 2, r)))
want = np.tanh(module.gated(x, bias * 2, res))
np.testing.assert_allclose(between(x, bias, res), want, rtol=1e-5, atol=1e-6)
x = layers.random(rng, (6, 96))
both = jax.jit(lambda x: of("of_codes")(of("codes")(x)))
equal(both(x), module.of_codes(module.codes(x)))
equal(jax.jit(of("one"))(x[:1]), module.one(x[:1]))
# Without jit, and other devices.
equal(of("qkv")(x.astype(np.float16)), module.qkv(x.astype(np.float16)))
equal(of("one", device="cpu:1")(x[:1]), module.one(x[:1]))
print("calls agree")

# vmap: more rows, or call by call where an input has none.
x = layers.random(rng, (3, 4, 96), "f16")
equal(jax.jit(jax.vmap(of("qkv")))(x), module.qkv(x))
equal(jax.vmap(of("qkv"), in_axes=1, out_axes=1)(x), module.qkv(x))
x, bias, res = (
    layers.random(rng, (3, 4, 96), "bf16"), layers.random(rng, (3, 40)),
    layers.random(rng, (3, 4, 40), "bf16"),
)  # fmt: skip
want = np.stack([module.gated(x[i], bias[i], res[i]) for i in range(3)])
equal(jax.jit(jax.vmap(gated))(x, bias, res), want)
# Calls at once, each with rows of its own.
inputs = [layers.random(rng, (rows, 96), "f16") for rows in (1, 7, 2, 19, 3, 5, 11, 1)] * 4
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for have, x in zip(pool.map(qkv, inputs), inputs):
        equal(have, module.qkv(x))
# Exported, and run by another process.
one = jax.jit(of("one"))
x = layers.random(rng, (1, 96))
np.save(work / "x.npy", x)
disabled = [jax.export.DisabledSafetyCheck.custom_call("qlinear_call")]
(work / "exported").write_bytes(
    jax.export.export(one, disabled_checks=disabled)(jnp.asarray(x)).serialize()
)
subprocess.run([sys.executable, __file__, str(work), "again"], check=True)
equal(np.load(work / "y.npy"), module.one(x))
print("transformations agree")

bad = {
    "'one' takes 1 arrays, not 2": lambda: one(x, x),
    "input 0 of 'one' is float16, but the function was compiled for float32":
        lambda: one(x.astype(np.float16)),
    r"input 0 of 'qkv' has the shape \(5, 95\), but the function takes \(M, 96\)":
        lambda: qkv(np.zeros((5, 95), np.float16)),
    "input 2 of 'gated' has 3 rows, but the input before it has 4":
        lambda: gated(jnp.zeros((4, 96), jnp.bfloat16), jnp.zeros(40),
                      jnp.zeros((3, 40), jnp.bfloat16)),
}  # fmt: skip
for message, call in bad.items():
    fails(message, call, qlinear.ArgumentError)
names = "codes, gated, of_codes, one, qkv"
fails(f"has no function 'none'; it has {names}", lambda: of("none"), qlinear.Error)
fails("ifferentia", lambda: jax.grad(lambda x: of("one")(x).sum())(x))
fails("is not bound", lambda: qlinear.jax.function(artifact, "one")(x))
fails("is none of cpu", lambda: of("one", device="gpu")(x))
# Another file in the place of the artifact: what was traced for the old one says so, or goes on
# with it if it was loaded; a new trace takes the new one.
late = jax.jit(of("one", device="cpu:2")).lower(x).compile()
negated = "%n = arith.negf %y : tensor<1x48xf32>\n  return %n : tensor<1x48xf32>"
text = layers.MIXED.replace("return %y : tensor<1x48xf32>", negated)
shutil.copy(layers.compiled(text, "cpu"), work / "new.so")
os.replace(work / "new.so", artifact)
equal(one(x), module.one(x))
fails("is another file than when the graph was made", lambda: late(x))
equal(jax.jit(of("one"))(x), -module.one(x))
print("errors name what is wrong")
