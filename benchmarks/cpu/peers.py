# ===- peers.py - Other projects' linears for bench.py ------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""ggml by its C API, and onnxruntime's MatMulNBits."""

import ctypes
import importlib.util
import pathlib

import gguf
import numpy as np

F32 = 0  # GGML_TYPE_F32


class InitParams(ctypes.Structure):
    """ggml_init_params."""

    _fields_ = [("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


class Ggml:
    """Matrix products by ggml's CPU backend, in plain memory and, where it has one for the
    type, in the layout that llama.cpp repacks weights to by itself."""

    @staticmethod
    def find(folder, threads):
        """The libraries in `folder`, or those of llama-cpp-python; None without."""
        if folder is None:
            spec = importlib.util.find_spec("llama_cpp")
            if spec is None:
                return None
            folder = pathlib.Path(spec.origin).parent / "lib"
        return Ggml(folder, threads)

    def __init__(self, folder, threads):
        self.libraries = [
            ctypes.CDLL(str(next(folder.rglob(f"lib{name}.so"))), mode=ctypes.RTLD_GLOBAL)
            for name in ("ggml-base", "ggml-cpu")
        ]
        # It would tell of each tensor that it repacks.
        self.log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
            lambda level, text, data: None
        )
        self.call("ggml_log_set", None, self.log, None)
        self.cpu = self.call("ggml_backend_cpu_init", ctypes.c_void_p)
        self.call("ggml_backend_cpu_set_n_threads", None, self.cpu, ctypes.c_int(threads))
        registry = self.call("ggml_backend_cpu_reg", ctypes.c_void_p)
        self.device = self.call(
            "ggml_backend_reg_dev_get", ctypes.c_void_p, registry, ctypes.c_size_t(0)
        )
        self.plain = self.call("ggml_backend_cpu_buffer_type", ctypes.c_void_p)
        address = self.call(
            "ggml_backend_reg_get_proc_address", ctypes.c_void_p, registry,
            b"ggml_backend_dev_get_extra_bufts",
        )
        function = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)(address.value)
        self.extra, found = [], function(self.device)
        while found and found[len(self.extra)]:
            self.extra.append(ctypes.c_void_p(found[len(self.extra)]))

    def call(self, name, result, *arguments):
        function = next(getattr(lib, name) for lib in self.libraries if hasattr(lib, name))
        function.restype = result
        value = function(*arguments)
        return ctypes.c_void_p(value) if result is ctypes.c_void_p else value

    def quantize(self, weights, gguf_type):
        """Blocks of the type, uint8, of float32 rows."""
        n, k = weights.shape
        kind = gguf.GGMLQuantizationType[gguf_type]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = np.zeros((n, k // block * size), np.uint8)
        self.call(
            "ggml_quantize_chunk", ctypes.c_size_t, ctypes.c_int(kind.value),
            ctypes.c_void_p(weights.ctypes.data), ctypes.c_void_p(blocks.ctypes.data),
            ctypes.c_int64(0), ctypes.c_int64(n), ctypes.c_int64(k), None,
        )
        return blocks

    @staticmethod
    def dequantize(blocks, gguf_type, n, k):
        """By gguf's own Python code, as float64."""
        kind = gguf.GGMLQuantizationType[gguf_type]
        return gguf.quants.dequantize(blocks, kind).reshape(n, k).astype(np.float64)

    def context(self):
        return self.call("ggml_init", ctypes.c_void_p, InitParams(1 << 20, None, True))

    def matrix(self, context, kind, columns, rows):
        return self.call(
            "ggml_new_tensor_2d", ctypes.c_void_p, context, ctypes.c_int(kind),
            ctypes.c_int64(columns), ctypes.c_int64(rows),
        )

    def set(self, tensor, array):
        self.call(
            "ggml_backend_tensor_set", None, tensor, ctypes.c_void_p(array.ctypes.data),
            ctypes.c_size_t(0), ctypes.c_size_t(array.nbytes),
        )

    def product(self, buffer_type, kind, blocks, n, k, x):
        """(graph, y, what to free) of one copy of the weight, or None if the backend has no
        product of the type in this kind of memory."""
        allocate = "ggml_backend_alloc_ctx_tensors_from_buft"
        weights, rest = self.context(), self.context()
        w = self.matrix(weights, kind, k, n)
        buffers = [self.call(allocate, ctypes.c_void_p, weights, buffer_type)]
        xs = self.matrix(rest, F32, k, len(x))
        y = self.call("ggml_mul_mat", ctypes.c_void_p, rest, w, xs)
        if buffers[0].value and self.call(
            "ggml_backend_dev_supports_op", ctypes.c_bool, self.device, y
        ):
            graph = self.call("ggml_new_graph", ctypes.c_void_p, rest)
            buffers.append(self.call(allocate, ctypes.c_void_p, rest, self.plain))
            self.call("ggml_build_forward_expand", None, graph, y)
            self.set(w, blocks)
            self.set(xs, x)
            return graph, y, Freed(self, buffers, [weights, rest])
        Freed(self, [b for b in buffers if b.value], [weights, rest])
        return None

    def calls(self, blocks, gguf_type, n, k, x, copies):
        """{name: call(copy) -> y}"""
        kind = gguf.GGMLQuantizationType[gguf_type].value
        found = {}
        for buffer_type in [self.plain, *self.extra]:
            name = self.call("ggml_backend_buft_name", ctypes.c_char_p, buffer_type).decode()
            products = []
            while len(products) < copies:
                products.append(self.product(buffer_type, kind, blocks, n, k, x))
                if products[-1] is None:
                    break
            if products[-1] is None:
                continue
            found["ggml" if buffer_type is self.plain else f"ggml {name}"] = self.caller(
                products, (len(x), n)
            )
        return found

    def caller(self, products, shape):
        compute = next(
            lib.ggml_backend_graph_compute
            for lib in self.libraries if hasattr(lib, "ggml_backend_graph_compute")
        )
        compute.argtypes = [ctypes.c_void_p, ctypes.c_void_p]

        def call(copy):
            graph, y, _ = products[copy]
            if compute(self.cpu, graph):
                raise RuntimeError("ggml could not compute the product")
            return y

        def result(copy):
            y = call(copy)
            values = np.empty(shape, np.float32)
            self.call(
                "ggml_backend_tensor_get", None, y, ctypes.c_void_p(values.ctypes.data),
                ctypes.c_size_t(0), ctypes.c_size_t(values.nbytes),
            )
            return values

        call.result = result
        return call


class Freed:
    """Buffers and contexts of ggml, freed with this."""

    def __init__(self, ggml, buffers, contexts):
        self.ggml, self.buffers, self.contexts = ggml, buffers, contexts

    def __del__(self):
        for buffer in self.buffers:
            self.ggml.call("ggml_backend_buffer_free", None, buffer)
        for context in self.contexts:
            self.ggml.call("ggml_free", None, context)


class OnnxRuntime:
    """MatMulNBits with blocks of 32 and int8 activations (accuracy_level 4), of 4 or 8 bits
    beside Q4_0 and Q8_0: its own symmetric codes with an f32 scale."""

    BITS = {"Q4_0": 4, "Q8_0": 8}

    @staticmethod
    def calls(weights, gguf_type, x, copies, threads):
        bits = OnnxRuntime.BITS.get(gguf_type)
        if not bits or not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))):
            return {}
        import onnx
        import onnxruntime

        n, k = weights.shape
        half = 1 << (bits - 1)
        groups = weights.reshape(n, k // 32, 32)
        scales = (np.abs(groups).max(2) / (half - 1)).astype(np.float32)
        codes = np.clip(np.rint(groups / scales[..., None]), -half, half - 1) + half
        exact = ((codes - half) * scales[..., None].astype(np.float64)).reshape(n, k)
        codes = codes.astype(np.uint8)
        if bits == 4:
            codes = codes[..., 0::2] | codes[..., 1::2] << 4
        value = onnx.helper.make_tensor_value_info
        node = onnx.helper.make_node(
            "MatMulNBits", ["x", "codes", "scales"], ["y"], domain="com.microsoft",
            K=k, N=n, bits=bits, block_size=32, accuracy_level=4,
        )
        graph = onnx.helper.make_graph(
            [node], "g", [value("x", 1, [None, k])], [value("y", 1, [None, n])],
            [onnx.numpy_helper.from_array(codes, "codes"),
             onnx.numpy_helper.from_array(scales.reshape(-1), "scales")],
        )
        opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A pool that spins between calls takes the cores of whoever is timed next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        data = model.SerializeToString()
        sessions = [
            onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            for _ in range(copies)
        ]

        def call(copy):
            return sessions[copy].run(None, {"x": x})[0]

        call.want = x.astype(np.float64) @ exact.T
        return {"onnxruntime": call}
