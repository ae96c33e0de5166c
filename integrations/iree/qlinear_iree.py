#!/usr/bin/env python3
# ===- qlinear_iree.py - A compiled function as a module of IREE --*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""qlinear_iree.py LAYERS.mlir --function NAME [--target cpu:ISA | cuda:sm_NN --rows M] -o FOLDER

Compiles a module with quant-compile, and writes for one of its functions what iree-compile takes:

  FOLDER/NAME.mlir   the function over hal.executable.source (CPUs) or hal.dispatch.extern (CUDA),
                     with weights as parameters of the scope "model"
  FOLDER/kernels.o   our object code, and glue.o, which calls it (CPUs)
  FOLDER/kernels.ptx our PTX (CUDA); it is for M rows
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

CPU_TARGET = """#target = #hal.executable.target<"llvm-cpu", "embedded-elf-x86_64", {
  cpu = "generic",
  data_layout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128",
  native_vector_size = 64 : i64, target_triple = "x86_64-unknown-unknown-eabi-elf"}>
#device = #hal.device.target<"local", [#target]> : !hal.device
"""
# Workgroups of a dispatch on a CPU; IREE gives them to its threads.
WORKGROUPS = 8
GLUE_HEAD = """/* Steps of a compiled function as what IREE's dispatches call. A memref is five
   arguments. */
#include <stddef.h>
#include <stdint.h>
#define MEMREF(name) \\
  void *name##_base, char *name, size_t name##_at, size_t name##_n, size_t name##_s

/* Embedded libraries have no C library. */
void *memset(void *p, int value, size_t n) {
  for (volatile char *c = p; n--;)
    *c++ = (char)value;
  return p;
}
/* Only functions for programs with our runtime call it, which nobody calls here. */
int qlr_call(void) { __builtin_trap(); }
"""


class Refused(Exception):
    pass


def dims(shape):
    return "x".join("?" if d == -1 else str(d) for d in shape)


def tensor(spec):
    return f"tensor<{dims(spec['shape'])}x{spec['dtype']}>"


class Function:
    """A function of a manifest's target."""

    def __init__(self, manifest, name):
        (self.target,) = manifest["targets"]
        found = [f for f in self.target["functions"] if f["name"] == name]
        if not found:
            names = ", ".join(f["name"] for f in self.target["functions"])
            raise Refused(f"there is no function '{name}'; the module has {names}")
        self.entry, self.name, self.weights = found[0], name, manifest["weights"]
        self.temps = self.entry.get("temps", [])
        for step in self.entry["steps"]:
            for kind, index in map(self.argument, step["args"]):
                if kind == "constant" or (kind == "weight" and "image" in self.weights[index]):
                    raise Refused("the artifact has constants of its own; use qlinear.parameter")

    @staticmethod
    def argument(arg):
        kinds = ("weight", "constant", "input", "output", "temp")
        return next((k, arg[k]) for k in kinds if k in arg)

    def parameters(self):
        lines = []
        for i, w in enumerate(self.weights):
            lines.append(
                f'util.global private @w{i} = #flow.parameter.named<"model"::"{w["name"]}">'
                f' : tensor<{w["bytes"]}xi8>'
            )
        return "\n".join(lines)

    def written(self, step):
        """Which arguments a step writes: outputs, and temps that no step before has written."""
        before = {self.argument(a) for s in self.entry["steps"][:step] for a in s["args"]}
        args = [self.argument(a) for a in self.entry["steps"][step]["args"]]
        return [a for a in args if a[0] == "output" or (a[0] == "temp" and a not in before)]


def bytes_of(temp, rows):
    return temp.get("bytes", 0) + temp.get("bytes_per_row", 0) * rows


def body(f, rows, dispatch):
    """func.func of the function: `rows` static, or None. dispatch(step, operands, results) gives
    the text of one dispatch, without its results' names."""
    if any(t["shape"][0] == -2 for t in f.entry["inputs"]):
        raise Refused("it writes caches among its inputs")
    given = [{**t, "shape": [rows if d == -1 and rows else d for d in t["shape"]]}
             for t in f.entry["inputs"]]  # fmt: skip
    made = [{**t, "shape": [rows if d == -1 and rows else d for d in t["shape"]]}
            for t in f.entry["outputs"]]  # fmt: skip
    arguments = ", ".join(f"%x{i}: {tensor(t)}" for i, t in enumerate(given))
    results = ", ".join(tensor(t) for t in made)
    lines = [f"func.func @{f.name}({arguments}) -> ({results}) {{"]
    lines.append("  %c0 = arith.constant 0 : index")
    dynamic = next((i for i, t in enumerate(given) if t["shape"][0] == -1), None)
    if dynamic is None:
        lines.append(f"  %m = arith.constant {rows or f.entry.get('rows', 1)} : index")
    else:
        lines.append(f"  %m = tensor.dim %x{dynamic}, %c0 : {tensor(given[dynamic])}")
    lines.append("  %rows = arith.index_cast %m : index to i32")
    values = {("input", i): (f"%x{i}", t) for i, t in enumerate(given)}
    for i, w in enumerate(f.weights):
        values["weight", i] = (f"%v{i}", {"dtype": "i8", "shape": [w["bytes"]]})
        lines.append(f"  %v{i} = util.global.load @w{i} : tensor<{w['bytes']}xi8>")
    for i, t in enumerate(f.temps):
        if t.get("zero"):
            raise Refused(f"temp {i} begins as zero and is shared by launches")
        size = {"dtype": "i8", "shape": [bytes_of(t, rows) if rows else -1]}
        values["temp", i] = (f"%t{i}", size)
        if not rows:
            lines += [
                f"  %s{i} = arith.constant {t.get('bytes_per_row', 0)} : index",
                f"  %z{i} = arith.constant {t.get('bytes', 0)} : index",
                f"  %p{i} = arith.muli %m, %s{i} : index",
                f"  %n{i} = arith.addi %p{i}, %z{i} : index",
            ]
    for i, t in enumerate(made):
        values["output", i] = (f"%y{i}", t)

    def typed(arg):
        t = values[arg][1]
        size = f"{{%n{arg[1]}}}" if arg[0] == "temp" else "{%m}"
        return tensor(t) + (size if -1 in t["shape"] else "")

    for s, step in enumerate(f.entry["steps"]):
        args = [f.argument(a) for a in step["args"]]
        written = f.written(s)
        read = [a for a in args if a not in written]
        names = ", ".join(values[a][0] for a in written)
        lines.append(f"  {names} = " + dispatch(
            s, ", ".join(["%rows"] + [values[a][0] for a in read]),
            "(" + ", ".join(["i32"] + [typed(a) for a in read]) + ") -> "
            + (lambda r: r if len(written) == 1 else f"({r})")(", ".join(map(typed, written))),
            read, written,
        ))  # fmt: skip
    ys = ", ".join(f"%y{i}" for i in range(len(made)))
    return "\n".join([*lines, f"  return {ys} : {results}", "}"])


def layout(read, written):
    bindings = ["#hal.pipeline.binding<storage_buffer, ReadOnly>"] * len(read)
    bindings += ["#hal.pipeline.binding<storage_buffer>"] * len(written)
    return f"#hal.pipeline.layout<constants = 1, bindings = [{', '.join(bindings)}]>"


def variants(step, rows=None):
    """Kernels by their rows; the one for `rows`."""
    kernels = sorted(step["kernels"], key=lambda k: k["rows"])
    if rows is not None:
        kernels = [k for k in kernels if k["rows"] >= rows][:1]
    for k in kernels:
        if "before" in k:
            raise Refused(f"{k['name']} has a kernel before it, for {rows} rows; fewer have none")
    return kernels


def cpu(f):
    """(MLIR, C) of a function on CPUs."""
    prefix = f.target["target"].replace(":", "_")
    exports, inner, glue = [], [], [GLUE_HEAD]
    for s, step in enumerate(f.entry["steps"]):
        args, written = [f.argument(a) for a in step["args"]], f.written(s)
        order = [a for a in args if a not in written] + written
        name, shape = f"{f.name}_{s}", layout(order[: -len(written)], written)
        exports.append(f"""  hal.executable.export public @{name} ordinal({s}) layout({shape})
      count(%device: !hal.device, %m: index) -> (index, index, index) {{
    %n = arith.constant {WORKGROUPS} : index
    %c1 = arith.constant 1 : index
    hal.return %n, %c1, %c1 : index, index, index
  }}""")
        memrefs = ", ".join(["memref<?xi8>"] * len(order))
        spans = "\n".join(
            f"      %b{i} = hal.interface.binding.subspan layout({shape}) binding({i})"
            f" alignment(64) offset(%c0) : memref<?xi8>{{%c1}}"
            for i in range(len(order))
        )
        uses = ", ".join(f"%b{i}" for i in range(len(order)))
        inner.append(f"""    func.func private @qlinear_{name}({memrefs}, index, index)
        attributes {{hal.import.static}}
    func.func @{name}() {{
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %m = hal.interface.constant.load layout({shape}) ordinal(0) : i32
      %rows = arith.index_cast %m : i32 to index
      %id = hal.interface.workgroup.id[0] : index
{spans}
      call @qlinear_{name}({uses}, %rows, %id) : ({memrefs}, index, index) -> ()
      return
    }}""")
        kernels = variants(step)
        most = kernels[-1]["rows"]
        declared = {k["name"] for k in kernels}
        glue += [
            f'extern void {k}(void *const *, int32_t, int64_t, int64_t) __asm__("{prefix}.{k}");'
            for k in sorted(declared)
        ]
        pointers = ", ".join(
            f"b{order.index(a)} + b{order.index(a)}_at + done * {arg.get('row_stride', 0)}"
            for a, arg in zip(args, step["args"])
        )
        choice = "\n    ".join(
            f"{'else ' if i else ''}if (chunk <= {k['rows']})\n"
            f"      {k['name']}(args, (int32_t)chunk, "
            f"{k['items']} * (int64_t)id / {WORKGROUPS}, "
            f"{k['items']} * (int64_t)(id + 1) / {WORKGROUPS});"
            for i, k in enumerate(kernels)
        )
        parameters = ", ".join(f"MEMREF(b{i})" for i in range(len(order)))
        glue.append(f"""void qlinear_{name}({parameters}, size_t rows, size_t id) {{
  for (size_t done = 0; done < rows;) {{
    size_t chunk = rows - done < {most} ? rows - done : {most};
    void *args[] = {{{pointers}}};
    {choice}
    done += chunk;
  }}
}}""")
    files = ("kernels.o", "glue.o")
    objects = ", ".join(f'#hal.executable.object<{{path = "{file}"}}>' for file in files)

    def dispatch(s, operands, types, read, written):
        return f"flow.dispatch @kernels::@{f.name}_{s}[%m]({operands}) : {types}"

    newline = "\n"
    text = f"""{CPU_TARGET}module attributes {{hal.device.targets = [#device]}} {{
{f.parameters()}
"hal.executable.source"() <{{sym_name = "kernels", sym_visibility = "private",
    objects = #hal.executable.objects<{{#target = [{objects}]}}>}}> ({{
{newline.join(exports)}
  builtin.module {{
{newline.join(inner)}
  }}
  "hal.executable.source_end"() : () -> ()
}}) : () -> ()
{body(f, None, dispatch)}
}}
"""
    return text, "\n".join(glue) + "\n"


def cuda(f, rows):
    """MLIR of a function for `rows` rows on a GPU."""
    arch = f.target["target"].partition(":")[2]
    head = f"""#target = #hal.executable.target<"cuda", "cuda-nvptx-fb", {{target_arch = "{arch}"}}>
#device = #hal.device.target<"cuda", [#target]> : !hal.device
"""

    def dispatch(s, operands, types, read, written):
        step = f.entry["steps"][s]
        args = [f.argument(a) for a in step["args"]]
        if args != read + written:
            raise Refused(f"step {s} has its arguments in another order than IREE passes them")
        (k,) = variants(step, rows)
        tied = ", ".join(["-1 : index"] * len(written))
        # The pretty form of 3.13 has no place for the sizes.
        operand_types, _, result_types = types.partition(" -> ")
        plain = re.sub(r"\{[^}]*\}", "", operand_types)
        return f"""\"hal.dispatch.extern\"(%m, {operands}) <{{
      export_name = "{k['name']}", layout = {layout(read, written)},
      operandSegmentSizes = array<i32: 1, {1 + len(read)}, 0, 0>, targets = [#target],
      target_objects = [[#hal.executable.object<{{path = "kernels.ptx"}}>]],
      target_ordinals = [{s} : index], tied_operands = [{tied}],
      workgroup_size = [{k['block']} : index, 1 : index, 1 : index],
      workgroup_local_memory = {k.get('smem', 0)} : index}}> ({{
    ^bb0(%device: !hal.device, %w: index):
      %g = arith.constant {k['grid']} : index
      %c1 = arith.constant 1 : index
      "hal.return"(%g, %c1, %c1) : (index, index, index) -> ()
    }}, {{}}) : (index, {plain[1:]} -> {result_types}"""

    return f"""{head}module attributes {{hal.device.targets = [#device]}} {{
{f.parameters()}
{body(f, rows, dispatch)}
}}
"""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("layers", help="MLIR of qlinear, as quant-pack --emit-mlir writes it")
    parser.add_argument("--function", required=True)
    parser.add_argument("--target", default="cpu:avx2")
    parser.add_argument("--rows", type=int, help="of a call, on CUDA")
    parser.add_argument("--activations", default="int8")
    parser.add_argument("-o", "--output", required=True, type=pathlib.Path)
    options = parser.parse_args()
    folder, is_cuda = options.output, options.target.startswith("cuda:")
    if is_cuda and not options.rows:
        raise Refused("kernels of CUDA are chosen by the number of rows; give --rows")
    folder.mkdir(parents=True, exist_ok=True)
    base = ["quant-compile", options.layers, f"--target={options.target}",
            f"--activations={options.activations}"]  # fmt: skip
    subprocess.run([*base, "-o", folder / "layers.so"], check=True)
    kind, file = ("ptx", "kernels.ptx") if is_cuda else ("obj", "kernels.o")
    subprocess.run([*base, f"--emit={kind}", "-o", folder / file], check=True)
    inspect = ["quant-inspect", folder / "layers.so", "--json"]
    inspected = subprocess.run(inspect, check=True, capture_output=True).stdout
    f = Function(json.loads(inspected)["manifest"], options.function)
    if is_cuda:
        text = cuda(f, options.rows)
    else:
        text, glue = cpu(f)
        (folder / "glue.c").write_text(glue)
        clang = ["clang-22", "-O2", "-ffreestanding", "-fPIC", "-c"]
        subprocess.run([*clang, folder / "glue.c", "-o", folder / "glue.o"], check=True)
    (folder / f"{options.function}.mlir").write_text(text)


if __name__ == "__main__":
    try:
        main()
    except Refused as why:
        sys.exit(f"qlinear_iree: error: {why}")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"qlinear_iree: error: {failed.cmd[0]} failed (exit status {failed.returncode})")
