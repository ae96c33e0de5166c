# ===- graph.py - ONNX graphs and their linear layers ----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Finds the linear layers of a model."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from .folding import fold
from .integer import STATIC, from_fused, from_product
from .weights import FLOATS, Declined, Problem, attributes, dequantized, matmul_nbits, title

# Elements of a constant that is written into the text of the module.
LARGEST_IN_TEXT = 1 << 14
# What the archive can carry.
SAFETENSORS = {
    TensorProto.FLOAT: "F32",
    TensorProto.FLOAT16: "F16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.DOUBLE: "F64",
    TensorProto.BOOL: "BOOL",
    TensorProto.INT8: "I8",
    TensorProto.INT16: "I16",
    TensorProto.INT32: "I32",
    TensorProto.INT64: "I64",
    TensorProto.UINT8: "U8",
    TensorProto.UINT16: "U16",
    TensorProto.UINT32: "U32",
    TensorProto.UINT64: "U64",
}


class Linear:
    """A product x * W^T, and a bias (an initializer of N numbers) if there is one."""

    def __init__(self, graph, node, x, weight, bias=None):
        self.graph, self.node, self.x, self.weight, self.bias = graph, node, x, weight, bias
        self.output = node.output[0]


class Graph:
    """A graph or subgraph with its linears in place of their nodes."""

    def __init__(self, proto, base, parent=None):
        self.proto, self.base, self.parent = proto, base, parent
        self.initializers = {t.name: t for t in proto.initializer}
        self.producers = {}
        for node in proto.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                tensor = TensorProto()
                tensor.CopyFrom(node.attribute[0].t)
                self.initializers[node.output[0]] = tensor
            for output in node.output:
                self.producers[output] = node
        self.subgraphs = {}
        self.notes = []
        self.items = []  # nodes and linears
        for node in proto.node:
            self.items.append(self.linear(node) or node)
            for a in node.attribute:
                if a.type == onnx.AttributeProto.GRAPH:
                    inner = Graph(a.g, base, self)
                    self.subgraphs[id(node), a.name] = inner
                    self.notes += inner.notes
        self.fold_biases()

    def initializer(self, name):
        graph = self
        while graph and name not in graph.initializers:
            if name in graph.producers:
                return None
            graph = graph.parent
        return graph.initializers[name] if graph else None

    def constant(self, name):
        """An initializer's array, or None; read each time, since it may be large."""
        tensor = self.initializer(name)
        try:
            return None if tensor is None else numpy_helper.to_array(tensor, self.base)
        except Exception as e:  # whatever a damaged tensor or file leads to
            raise Problem(f"initializer '{name}': {e}") from e

    def tensor(self, name):
        """An initializer, or what the graph makes of constants (a Folded); or None."""
        tensor = self.initializer(name)
        return fold(self, name) if tensor is None else tensor

    def value(self, name):
        """The array of a tensor()."""
        if self.initializer(name) is not None:
            return self.constant(name)
        folded = fold(self, name)
        return None if folded is None else folded.array

    def producer(self, name):
        graph = self
        while graph and name not in graph.producers:
            graph = graph.parent
        return graph.producers[name] if graph else None

    def linear(self, node):
        """The linear that a node is, if it is one."""
        if node.op_type == "MatMulNBits" and node.domain == "com.microsoft":
            names = list(node.input) + [""] * 6
            weight = matmul_nbits(self, node)
            if names[5] and not self.is_bias(names[5], weight):
                raise Problem(f"{title(node)}: its bias must be an initializer of N = {weight.n}")
            return Linear(self, node, names[0], weight, names[5] or None)
        if node.op_type in STATIC:
            self.notes.append(f"{title(node)} is left as it is: {STATIC[node.op_type]}")
            return None
        try:
            found = from_fused(self, node) or from_product(self, node)
            if found:
                product, x, weight, bias = found
                if bias and not self.is_bias(bias, weight):
                    raise Declined(f"its bias must be an initializer of N = {weight.n}")
                linear = Linear(self, node, x, weight, bias)
                linear.node = product  # whose name it has
                return linear
        except Declined as why:
            self.notes.append(f"{title(node)} is left as it is: {why}")
            return None
        if node.op_type not in ("MatMul", "Gemm") or node.domain not in ("", "ai.onnx"):
            return None
        a, bias = attributes(node), None
        try:
            weight = dequantized(self, node.input[1], bool(a.get("transB", 0)))
            if a.get("transA", 0) or a.get("alpha", 1.0) != 1.0:
                raise Declined("transA and alpha must be 0 and 1")
            if len(node.input) > 2 and node.input[2]:
                bias = node.input[2]
                if a.get("beta", 1.0) != 1.0 or not self.is_bias(bias, weight):
                    raise Declined(f"C must be an initializer of N = {weight.n}, and beta 1")
            return Linear(self, node, node.input[0], weight, bias)
        except Declined as why:
            if str(why):
                self.notes.append(f"{title(node)} is left as it is: {why}")
            return None

    def is_bias(self, name, weight):
        """Whether it is a constant of the activations' type, one number per output."""
        t = self.initializer(name)
        return (
            t is not None
            and FLOATS.get(t.data_type) == weight.floats
            and list(t.dims)[-1:] == [weight.n]
            and int(np.prod(t.dims, dtype=np.int64)) == weight.n
        )

    def uses(self, item):
        """Names that a node and its subgraphs read."""
        if isinstance(item, Linear):
            return [item.x] + ([item.bias] if item.bias else [])
        names = [i for i in item.input if i]
        for a in item.attribute:
            inner = self.subgraphs.get((id(item), a.name))
            if inner:
                for part in inner.items:
                    names += inner.uses(part)
                names += [o.name for o in inner.proto.output]
        return names

    def fold_biases(self):
        """An Add of a bias after a linear, which nothing else reads, becomes part of it."""
        count = {}
        for name in [n for i in self.items for n in self.uses(i)]:
            count[name] = count.get(name, 0) + 1
        for output in self.proto.output:
            count[output.name] = count.get(output.name, 0) + 1
        linears = {i.output: i for i in self.items if isinstance(i, Linear)}
        for i, item in enumerate(self.items):
            if isinstance(item, Linear) or item.op_type != "Add":
                continue
            for y, bias in (item.input, reversed(item.input)):
                linear = linears.get(y)
                rank = 1 if self.initializer(bias) is None else len(self.initializer(bias).dims)
                if linear and not linear.bias and count[y] == 1 and rank <= 2:
                    if self.is_bias(bias, linear.weight):
                        self.items[self.items.index(linear)] = None
                        linear.bias, linear.output = bias, item.output[0]
                        self.items[i] = linear
                        break
        self.items = [i for i in self.items if i is not None]

    def live_items(self):
        """The nodes and linears that the outputs need, in order."""
        live = {o.name for o in self.proto.output}
        kept = []
        for item in reversed(self.items):
            outputs = [item.output] if isinstance(item, Linear) else list(item.output)
            if live.intersection(outputs):
                live.update(self.uses(item))
                kept.append(item)
        return kept[::-1]

    def large_constants(self):
        """{name: tensor} of what live nodes read and is too large for a text."""
        found = {}
        for item in self.live_items():
            if isinstance(item, Linear):
                continue
            for name in item.input:
                t = self.initializer(name) if name else None
                if t is not None and t.data_type in SAFETENSORS:
                    if np.prod(t.dims, dtype=np.int64) > LARGEST_IN_TEXT:
                        found[name] = self
            for a in item.attribute:
                if (id(item), a.name) in self.subgraphs:
                    found |= self.subgraphs[id(item), a.name].large_constants()
        return found

    def linears(self):
        for item in self.items:
            if isinstance(item, Linear):
                yield item
            else:
                for a in item.attribute:
                    if (id(item), a.name) in self.subgraphs:
                        yield from self.subgraphs[id(item), a.name].linears()

    def others(self):
        """Live nodes that are no linears, nor constants."""
        for item in self.live_items():
            if not isinstance(item, Linear) and item.op_type != "Constant":
                yield item
                for a in item.attribute:
                    if (id(item), a.name) in self.subgraphs:
                        yield from self.subgraphs[id(item), a.name].others()


# Operators that ONNX's inference does not know, and their outputs of the type of their
# first input; the attentions only if query, key and value are apart.
LIKE_FIRST = {
    "BiasGelu": (0,),
    "FastGelu": (0,),
    "QuickGelu": (0,),
    "RotaryEmbedding": (0,),
    "SimplifiedLayerNormalization": (0,),
    "SkipLayerNormalization": (0, 3),
    "SkipSimplifiedLayerNormalization": (0, 3),
    "GroupQueryAttention": (0,),
    "MultiHeadAttention": (0,),
}


def stand_ins(node, inputs):
    """Standard nodes whose outputs have the types of this node's; fake weights that they
    need are added to `inputs`."""
    if node.op_type == "MatMulNBits":
        a, name = attributes(node), f"{node.output[0]}.shape"
        shape = [int(a.get("K", 0)), int(a.get("N", 0))]
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return [helper.make_node("MatMul", [node.input[0], name], node.output[:1])]
    if node.op_type in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"):
        casts, names = [], []
        for i in node.input[:2]:
            names.append(f"{node.output[0]}.{len(names)}")
            casts.append(helper.make_node("Cast", [i], names[-1:], to=TensorProto.FLOAT))
        return [*casts, helper.make_node("MatMul", names, node.output[:1])]
    if node.op_type in LIKE_FIRST and (
        not node.op_type.endswith("Attention") or (len(node.input) > 1 and node.input[1])
    ):
        outputs = [o for i, o in enumerate(node.output) if o and i in LIKE_FIRST[node.op_type]]
        return [helper.make_node("Identity", node.input[:1], [o]) for o in outputs]
    return [node]


def value_types(model):
    """{name: (element type, dimensions or None)} by ONNX's shape inference, for which other
    operators are replaced by standard ones of the same types."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    domains = {o.domain for o in copy.opset_import}

    def prepare(graph):
        nodes = [part for node in graph.node for part in stand_ins(node, copy.graph.input)]
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(nodes)
        for node in graph.node:
            if node.domain not in domains:  # inference would stop there
                domains.add(node.domain)
                copy.opset_import.append(helper.make_opsetid(node.domain, 1))
            for a in node.attribute:
                if a.type == onnx.AttributeProto.GRAPH:
                    prepare(a.g)
        # Large constants are nothing but their shapes; small ones may be shapes of others.
        kept = [t for t in graph.initializer if np.prod(t.dims, dtype=np.int64) <= 64]
        for t in graph.initializer:
            if np.prod(t.dims, dtype=np.int64) > 64 or t.external_data:
                value = helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
                if t.name not in {i.name for i in graph.input}:
                    (graph.input if graph is copy.graph else graph.value_info).append(value)
        kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in kept]
        del graph.initializer[:]
        graph.initializer.extend(t for t in kept if not t.external_data)

    prepare(copy.graph)
    try:
        copy = shape_inference.infer_shapes(copy, data_prop=True)
    except Exception:  # pylint: disable=broad-except
        pass  # what the model says itself is left
    types = {}

    def collect(graph):
        for v in [*graph.input, *graph.output, *graph.value_info]:
            t = v.type.tensor_type
            if t.elem_type:
                dims = None
                if t.HasField("shape"):
                    dims = [d.dim_value if d.HasField("dim_value") else -1 for d in t.shape.dim]
                types[v.name] = (t.elem_type, dims)
        for node in graph.node:
            for a in node.attribute:
                if a.type == onnx.AttributeProto.GRAPH:
                    collect(a.g)

    collect(copy.graph)
    return types
