# ===- mlir.py - MLIR of ONNX graphs ---------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Writes graphs as MLIR: linears as qlinear.linear, other nodes as unregistered operations."""

import re
import struct

import numpy as np
from onnx import AttributeProto, TensorProto, numpy_helper

from .graph import Linear
from .weights import FLOATS, Problem, name_of, title

ELEMENTS = FLOATS | {
    TensorProto.DOUBLE: "f64",
    TensorProto.BOOL: "i1",
    TensorProto.INT8: "i8",
    TensorProto.INT16: "i16",
    TensorProto.INT32: "i32",
    TensorProto.INT64: "i64",
    TensorProto.UINT8: "ui8",
    TensorProto.UINT16: "ui16",
    TensorProto.UINT32: "ui32",
    TensorProto.UINT64: "ui64",
    TensorProto.INT4: "i4",
    TensorProto.UINT4: "ui4",
}

UNKNOWN = "!onnx.Unknown"


def tensor_type(element, dims):
    if dims is None:
        return f"tensor<*x{element}>"
    return "tensor<" + "".join(f"{'?' if d < 0 else d}x" for d in dims) + f"{element}>"


def quoted(text):
    escapes = {'"': '\\"', "\\": "\\\\"}
    out = "".join(
        escapes.get(c) or (c if 32 <= ord(c) < 127 else "".join(f"\\{b:02X}" for b in c.encode()))
        for c in text
    )
    return f'"{out}"'


def key(name):
    """The name of an attribute: bare where MLIR takes it so."""
    return name if re.fullmatch(r"[A-Za-z_][\w$.]*", name, re.ASCII) else quoted(name)


def float_text(value):
    value = float(value)
    if not np.isfinite(value):
        return f"0x{struct.unpack('<I', struct.pack('<f', value))[0]:08X} : f32"
    text = repr(float(f"{value:.9g}"))
    mantissa, _, exponent = text.partition("e")
    mantissa += "" if "." in mantissa else ".0"
    return f"{mantissa}{'e' + exponent if exponent else ''} : f32"


def dense(array, element):
    """An attribute of the array's elements, and its type."""
    kind = tensor_type(element, array.shape)
    if array.size == 0:
        return f"dense<> : {kind}", kind
    if array.dtype == object:
        items = [
            quoted(v if isinstance(v, str) else v.decode(errors="replace")) for v in array.flat
        ]
    elif element in ("i1", "i4", "ui4"):  # no whole bytes
        items = [str(int(v)) if element != "i1" else str(bool(v)).lower() for v in array.flat]
    else:
        data = np.ascontiguousarray(array).tobytes()
        return f'dense<"0x{data.hex().upper()}"> : {kind}', kind
    text = items[0]
    if array.shape:
        nested = np.array(items, dtype=object).reshape(array.shape).tolist()
        text = str(nested).replace("'", "") if array.dtype != object else f"[{', '.join(items)}]"
    return f"dense<{text}> : {kind}", kind


class Names:
    """Symbols that are also names of C functions, each once."""

    def __init__(self):
        self.taken = set()

    def unique(self, text):
        base = re.sub(r"\W", "_", text, flags=re.ASCII).strip("_") or "linear"
        if base[0].isdigit():
            base = "_" + base
        name, i = base, 1
        while name in self.taken:
            i += 1
            name = f"{base}_{i}"
        self.taken.add(name)
        return name


class Module:
    """The text of a module. `entries`: what the packed archive says of each weight;
    `external`: names of constants that are in the archive, too."""

    def __init__(self, entries, types, external=()):
        self.entries, self.types, self.external = entries, types, external
        self.symbols, self.aliases = Names(), {}
        self.parameters = {}  # weight's name -> (symbol, type)
        self.functions, self.lines, self.count = [], [], 0

    def text(self):
        lines = [f"{alias} = #qlinear.encoding<{e}>" for e, alias in self.aliases.items()]
        lines.append("")
        for name, (symbol, kind) in self.parameters.items():
            lines.append(f"qlinear.parameter @{symbol} : {kind} from {quoted(name)}")
        return "\n".join(lines + self.functions) + "\n"

    def emit(self, line, indent):
        self.lines.append("  " * indent + line)

    def fresh(self):
        self.count += 1
        return f"%{self.count}"

    # Linears.

    def parameter(self, weight):
        if weight.key not in self.parameters:
            entry = self.entries[weight.key]
            alias = self.aliases.setdefault(entry["encoding"], f"#e{len(self.aliases)}")
            kind = f"!qlinear.weight<{weight.n}x{weight.k}, {alias}>"
            self.parameters[weight.key] = (self.symbols.unique(f"{weight.key}_weight"), kind)
        return self.parameters[weight.key]

    def product(self, graph, linear, x, rows, indent):
        """qlinear.linear on `x`, rows x K; its result, rows x N."""
        w, f = linear.weight, linear.weight.floats
        symbol, kind = self.parameter(w)
        x_type, y_type = tensor_type(f, [rows, w.k]), tensor_type(f, [rows, w.n])
        loaded, y = self.fresh(), self.fresh()
        self.emit(f"{loaded} = qlinear.load @{symbol} : {kind}", indent)
        if not linear.bias:
            self.emit(
                f"{y} = qlinear.linear {x}, {loaded} : ({x_type}, {kind}) -> {y_type}", indent
            )
            return y
        value, b_type = dense(graph.constant(linear.bias).reshape(-1), f)
        b = self.fresh()
        self.emit(f"{b} = arith.constant {value}", indent)
        self.emit(
            f"{y} = qlinear.linear {x}, {loaded} extras({b}) : ({x_type}, {kind}, {b_type}) "
            f"-> {y_type} {{",
            indent,
        )
        self.emit(f"^bb0(%product: f32, %bias: {f}):", indent)
        wide = "%bias"
        if f != "f32":
            self.emit(f"%wide = arith.extf %bias : {f} to f32", indent + 1)
            wide = "%wide"
        self.emit(f"%sum = arith.addf %product, {wide} : f32", indent + 1)
        result = "%sum"
        if f != "f32":
            self.emit(f"%rounded = arith.truncf %sum : f32 to {f}", indent + 1)
            result = "%rounded"
        self.emit(f"qlinear.yield {result} : {f}", indent + 1)
        self.emit("}", indent)
        return y

    def function_of(self, graph, linear):
        """A function of one linear, for any number of rows; its name."""
        self.lines, self.count = [], 0
        w = linear.weight
        name = self.symbols.unique(linear.node.name or w.key)
        y = self.product(graph, linear, "%x", -1, 1)
        x_type, y_type = (tensor_type(w.floats, [-1, d]) for d in (w.k, w.n))
        self.functions += [
            "",
            f"// {title(linear.node)}".encode("ascii", "replace").decode().replace("\n", " "),
            f"func.func @{name}(%x: {x_type}) -> {y_type} {{",
            *self.lines,
            f"  return {y} : {y_type}",
            "}",
        ]
        return name

    # Whole graphs.

    def type_of(self, name):
        element, dims = self.types.get(name, (None, None))
        return ELEMENTS.get(element, UNKNOWN), dims

    def value(self, graph, scope, name, indent):
        """(SSA name, element type, dimensions) of a value; a constant is made here."""
        if not name:
            none = self.fresh()
            self.emit(f'{none} = "onnx.NoValue"() : () -> none', indent)
            return none, None, None
        if name in scope:
            return scope[name]
        tensor = graph.initializer(name)
        if tensor is not None and name in self.external:
            ssa, element = self.fresh(), ELEMENTS[tensor.data_type]
            kind = tensor_type(element, tensor.dims)
            self.emit(f'{ssa} = "onnx.External"() {{name = {quoted(name)}}} : () -> {kind}', indent)
            scope[name] = (ssa, element, list(tensor.dims))
            return scope[name]
        array = graph.constant(name)
        if array is None:
            raise Problem(f"value '{name}' is used before it is computed; the model is damaged")
        element = ELEMENTS.get(tensor.data_type)
        if tensor.data_type == TensorProto.STRING:
            element = "!onnx.String"
        if element is None:
            kind = name_of(TensorProto.DataType, tensor.data_type)
            raise Problem(f"initializer '{name}' is of type {kind}; use --only-linears")
        text, kind = dense(array, element)
        ssa = self.fresh()
        self.emit(f'{ssa} = "onnx.Constant"() {{value = {text}}} : () -> {kind}', indent)
        scope[name] = (ssa, element, list(array.shape))
        return scope[name]

    def linear(self, graph, scope, linear, indent):
        """The linear, with the rows of any number of dimensions made one and back."""
        w, where = linear.weight, title(linear.node)
        x, element, dims = self.value(graph, scope, linear.x, indent)
        if element != w.floats or dims is None or not dims or dims[-1] not in (-1, w.k):
            raise Problem(
                f"{where}: its input is {tensor_type(element, dims)}, but must be "
                f"{w.floats} of known rank with K = {w.k} columns; run onnxruntime's "
                "symbolic_shape_infer on the model, or use --only-linears"
            )
        given, dims = tensor_type(element, dims), [*dims[:-1], w.k]
        kind = tensor_type(element, dims)
        if kind != given:
            cast = self.fresh()
            self.emit(f"{cast} = tensor.cast {x} : {given} to {kind}", indent)
            x = cast
        outer = dims[:-1]
        rows = -1 if -1 in outer else int(np.prod(outer, dtype=np.int64))
        flat, flat_type = x, tensor_type(element, [rows, w.k])
        rank = len(outer)
        maps = f"[[{', '.join(map(str, range(rank)))}], [{rank}]]" if rank else "[[0, 1]]"
        if len(dims) != 2 and (x, "rows") in scope:
            flat = scope[x, "rows"]  # as another linear has it: both can become one
        elif len(dims) != 2:
            flat = scope[x, "rows"] = self.fresh()
            op, size = "collapse_shape", ""
            if len(dims) == 1:
                op, size = "expand_shape", f" output_shape [1, {w.k}]"
            self.emit(f"{flat} = tensor.{op} {x} {maps}{size} : {kind} into {flat_type}", indent)
        y = self.product(graph, linear, flat, rows, indent)
        y_type = tensor_type(element, [rows, w.n])
        out, out_type = y, tensor_type(element, [*outer, w.n])
        if len(dims) == 1:
            out = self.fresh()
            self.emit(
                f"{out} = tensor.collapse_shape {y} {maps} : {y_type} into {out_type}", indent
            )
        elif len(dims) > 2:
            sizes = []
            for i, d in enumerate(outer):
                if d >= 0:
                    sizes.append(str(d))
                    continue
                at, size = self.fresh(), self.fresh()
                self.emit(f"{at} = arith.constant {i} : index", indent)
                self.emit(f"{size} = tensor.dim {x}, {at} : {kind}", indent)
                sizes.append(size)
            out = self.fresh()
            self.emit(
                f"{out} = tensor.expand_shape {y} {maps} output_shape "
                f"[{', '.join([*sizes, str(w.n)])}] : {y_type} into {out_type}",
                indent,
            )
        scope[linear.output] = (out, element, [*outer, w.n])

    def attribute(self, node, a):
        """The text of an attribute's value."""
        if a.type == AttributeProto.FLOAT:
            return float_text(a.f)
        if a.type == AttributeProto.INT:
            return f"{a.i} : i64"
        if a.type == AttributeProto.STRING:
            return quoted(a.s.decode(errors="replace"))
        if a.type == AttributeProto.FLOATS:
            return f"[{', '.join(map(float_text, a.floats))}]"
        if a.type == AttributeProto.INTS:
            return f"[{', '.join(f'{i} : i64' for i in a.ints)}]"
        if a.type == AttributeProto.STRINGS:
            return f"[{', '.join(quoted(s.decode(errors='replace')) for s in a.strings)}]"
        if a.type == AttributeProto.TENSOR and a.t.data_type in ELEMENTS:
            return dense(numpy_helper.to_array(a.t), ELEMENTS[a.t.data_type])[0]
        kind = name_of(AttributeProto.AttributeType, a.type)
        raise Problem(
            f"{title(node)}: its attribute '{a.name}' ({kind}) has no form in MLIR; "
            "use --only-linears"
        )

    def node(self, graph, scope, node, indent):
        operands = [self.value(graph, scope, name, indent) for name in node.input]
        regions, members, order = [], [], []
        for a in node.attribute:
            inner = graph.subgraphs.get((id(node), a.name))
            if inner is None:
                members.append(f"{key(a.name)} = {self.attribute(node, a)}")
                continue
            order.append(a.name)
            regions.append(self.region(inner, scope, indent))
        if order:
            members.append(f"onnx_regions = [{', '.join(map(quoted, order))}]")
        if node.name:
            members.append(f"onnx_node_name = {quoted(node.name)}")
        results = []
        for name in node.output:
            ssa = self.fresh()
            element, dims = self.type_of(name)
            results.append((ssa, element if name else None, dims))
            if name:
                scope[name] = results[-1]
        kinds = [
            ", ".join("none" if e is None else tensor_type(e, d) for _, e, d in values)
            for values in (operands, results)
        ]
        domain = "onnx" if node.domain in ("", "ai.onnx") else node.domain
        start = f"{', '.join(r[0] for r in results)} = " if results else ""
        self.emit(
            f"{start}{quoted(f'{domain}.{node.op_type}')}({', '.join(o[0] for o in operands)})"
            + (f" ({', '.join(regions)})" if regions else "")
            + (f" {{{', '.join(members)}}}" if members else "")
            + f" : ({kinds[0]}) -> ({kinds[1]})",
            indent,
        )

    def region(self, graph, scope, indent):
        """The text of a subgraph as a region, which sees the values around it."""
        lines, self.lines = self.lines, []
        scope = dict(scope)
        arguments = []
        for i in graph.proto.input:
            ssa, (element, dims) = self.fresh(), self.type_of(i.name)
            scope[i.name] = (ssa, element, dims)
            arguments.append(f"{ssa}: {tensor_type(element, dims)}")
        values, kinds = self.body(graph, scope, indent + 1)
        self.emit(f'"onnx.Yield"({values}) : ({kinds}) -> ()', indent + 1)
        head = [f"^bb0({', '.join(arguments)}):"] if arguments else []
        text = "\n".join(
            ["{", *("  " * indent + h for h in head), *self.lines, "  " * indent + "}"]
        )
        self.lines = lines
        return text

    def body(self, graph, scope, indent):
        """The live items of a graph; its outputs and their types."""
        for item in graph.live_items():
            if isinstance(item, Linear):
                self.linear(graph, scope, item, indent)
            elif item.op_type != "Constant" or graph.initializer(item.output[0]) is None:
                self.node(graph, scope, item, indent)
        out = [self.value(graph, scope, o.name, indent) for o in graph.proto.output]
        return ", ".join(o[0] for o in out), ", ".join(tensor_type(e, d) for _, e, d in out)

    def whole(self, graph):
        """The graph as one function."""
        self.lines, self.count = [], 0
        scope, arguments = {}, []
        for i in graph.proto.input:
            if i.name not in graph.initializers:
                ssa, (element, dims) = self.fresh(), self.type_of(i.name)
                scope[i.name] = (ssa, element, dims)
                arguments.append(f"{ssa}: {tensor_type(element, dims)}")
        values, kinds = self.body(graph, scope, 1)
        name = self.symbols.unique(graph.proto.name or "main")
        self.functions += [
            "",
            f"func.func @{name}({', '.join(arguments)}) -> ({kinds}) {{",
            *self.lines,
            f"  return {values} : {kinds}",
            "}",
        ]
