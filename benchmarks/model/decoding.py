# ===- decoding.py - Decoding and prompts with a static cache -----*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""A static cache of keys and values, the attention that reads it, and greedy decoding of one
token of each sequence of a batch, in a CUDA graph where there is a GPU. The next token and
its position stay on the device."""

import inspect
import weakref

import torch
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "qlinear_benchmark"
#: A weak reference to the cache that the attention reads: transformers hands it keys and values
#: alone.
_current = None


class Cache:
    """Keys and values of each layer. Those of layers with a window are rings: the position of a
    token is in its key already. Holds random values, as if there had been tokens."""

    is_compileable = True

    def __init__(self, model, batch, length):
        global _current
        _current = weakref.ref(self)
        parameter = next(model.parameters())
        like = {"device": parameter.device, "dtype": parameter.dtype}
        shapes = [(batch, *shape) for shape in shapes_of(model, length)]
        self.keys = [torch.randn(shape, **like) for shape in shapes]
        self.values = [torch.randn(shape, **like) for shape in shapes]
        self.position = torch.zeros(1, dtype=torch.int64, device=parameter.device)
        self.places = {}

    def qlinear_places(self, layer, x):
        """Where functions of qlinear.nn.optimize() write a token's keys and values: in rings, of
        each head its own. Known once in each step for all layers of one shape."""
        mine = self.keys[layer], self.values[layer]
        batch, heads, slots, _ = mine[0].shape
        if x.shape[1] > 1:
            return None
        if (heads, slots) not in self.places:
            of_head = torch.arange(batch * heads, dtype=torch.int32, device=x.device) * slots
            at = of_head + (self.position % slots).to(torch.int32)
            self.places[heads, slots] = at.view(batch, 1, heads)
        return *mine, self.places[heads, slots]

    def update(self, keys, values, layer, *args, **kwargs):
        """Called by transformers' attentions. A prompt starts at position 0, and attends to its own
        keys, which may be more than there are slots."""
        mine, tokens = (self.keys[layer], self.values[layer]), keys.shape[2]
        if tokens == 1 and keys.is_cuda:
            import kernels

            kernels.store(keys, values, *mine, self.position)
            return mine
        slots = mine[0].shape[2]
        first = max(0, tokens - slots)
        at = (self.position + torch.arange(first, tokens, device=keys.device)) % slots
        for cache, new in zip(mine, (keys, values)):
            cache.index_copy_(2, at, new[:, :, first:])
        return (keys, values) if tokens > 1 else mine

    def get_seq_length(self, layer=0):
        return 0


def shapes_of(model, length):
    """(heads, slots, columns) of each layer's cache for sequences of `length`."""
    for layer in model.model.layers:
        attention = layer.self_attn
        window = getattr(attention, "sliding_window", None) or length
        heads = attention.k_proj.out_features // attention.head_dim
        yield heads, min(length, window), attention.head_dim


def cache_bytes(model, batch, length):
    """Of a Cache in two-byte numbers."""
    return 4 * batch * sum(h * slots * d for h, slots, d in shapes_of(model, length))


def _of_prompt(query, keys, values, scale, window):
    """The attention of a prompt to itself, by PyTorch."""
    length, groups = query.shape[2], query.shape[1] // keys.shape[1]
    mask = None
    if window and length > window:
        behind = torch.arange(length, device=query.device)
        behind = behind[:, None] - behind[None, :]
        mask = (behind >= 0) & (behind < window)
    # Flash attention knows groups; what takes larger heads and masks does not.
    grouped = mask is None and query.shape[-1] <= 256
    if not grouped:
        keys, values = (t.repeat_interleave(groups, 1) for t in (keys, values))
    return F.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, is_causal=mask is None, scale=scale,
        enable_gqa=grouped and groups > 1,
    ).transpose(1, 2)  # fmt: skip


def _attention(module, query, keys, values, mask, scaling=None, sliding_window=None, **rest):
    """What transformers calls: (B, T, H, D), and no weights."""
    if query.shape[2] > 1:
        return _of_prompt(query, keys, values, scaling, sliding_window), None
    if query.is_cuda:
        import kernels

        return kernels.attention(query, keys, values, _current().position, scaling), None
    filled = min(int(_current().position) + 1, keys.shape[2])
    keys, values = keys[:, :, :filled], values[:, :, :filled]
    result = F.scaled_dot_product_attention(query, keys, values, scale=scaling, enable_gqa=True)
    return result.transpose(1, 2), None


ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)


def fuse_elementwise(model):
    """Has the classes of a model run norms, rotary embeddings and gated products on a GPU as one
    kernel each; on the CPU they are what they were. For the rest of the process."""
    import kernels

    layer = model.model.layers[0]
    names = inspect.unwrap(type(layer.self_attn).forward).__globals__
    if hasattr(names["apply_rotary_pos_emb"], "of_benchmark"):
        return
    norm, mlp = type(layer.input_layernorm), type(layer.mlp)
    of_norm, of_mlp, of_rotary = norm.forward, mlp.forward, names["apply_rotary_pos_emb"]
    one = next(iter(inspect.signature(of_rotary).parameters)) == "x"  # a tensor, not q and k
    tanh = "gelu" in (getattr(model.config, "hidden_act", None) or model.config.hidden_activation)

    def norm_forward(self, x):
        if not x.is_cuda:
            return of_norm(self, x)
        epsilon = getattr(self, "variance_epsilon", None) or self.eps
        return kernels.norm(x, getattr(self, "weight", None), epsilon)

    def mlp_forward(self, x):
        if not x.is_cuda:
            return of_mlp(self, x)
        return self.down_proj(kernels.gated(self.gate_proj(x), self.up_proj(x), tanh))

    def turned(x, cos, sin, axis):
        if axis == 1:  # heads are before tokens
            return kernels.rotary(x.transpose(1, 2), cos, sin).transpose(1, 2)
        return kernels.rotary(x, cos, sin)

    # With transformers' names of arguments: qlinear.nn.optimize() looks at them, and on the CPU
    # at what they compute.
    def rotate(x, cos, sin, unsqueeze_dim=1):
        if not x.is_cuda:
            return of_rotary(x, cos, sin, unsqueeze_dim=unsqueeze_dim)
        return turned(x, cos, sin, unsqueeze_dim)

    def rotate_both(q, k, cos, sin, unsqueeze_dim=1):
        if not q.is_cuda:
            return of_rotary(q, k, cos, sin, unsqueeze_dim=unsqueeze_dim)
        return tuple(turned(x, cos, sin, unsqueeze_dim) for x in (q, k))

    norm.forward, mlp.forward = norm_forward, mlp_forward
    names["apply_rotary_pos_emb"] = rotate if one else rotate_both
    names["apply_rotary_pos_emb"].of_benchmark = True


class Decoder:
    """Decodes a batch from one position on."""

    def __init__(self, model, batch, context, room):
        self.model, self.context = model, context
        self.cache = Cache(model, batch, context + room)
        device = self.cache.position.device
        self.ids = torch.zeros((batch, 1), dtype=torch.int64, device=device)
        self.positions = self.cache.position.expand(batch, 1)
        shape = batch, 1, model.config.vocab_size
        self.logits = self.cache.keys[0].new_empty(shape)
        self.graph = None
        self.restart()

    def restart(self, ids=None):
        """Back to the first position, with a token for each sequence, (B, 1), or some token."""
        self.ids.fill_(5) if ids is None else self.ids.copy_(ids)
        self.cache.position.fill_(self.context)

    def prompt(self, ids):
        """Fills the cache with a prompt (B, T) and returns its next tokens (B, 1)."""
        self.cache.position.zero_()
        logits = run(self.model, ids, self.cache)
        self.context = ids.shape[1]
        self.restart(logits[:, -1:].argmax(-1))
        return self.ids.clone()

    def _eagerly(self):
        self.cache.places.clear()
        logits = self.model(
            input_ids=self.ids,
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
        ).logits
        self.logits.copy_(logits)
        self.ids.copy_(logits[:, -1:].argmax(-1))
        self.cache.position.add_(1)

    def capture(self):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        start = self.ids.clone()
        with torch.cuda.stream(side):
            for _ in range(2):
                self._eagerly()
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._eagerly()
        self.restart(start)
        return self

    def step(self):
        """Puts the next tokens into `ids`."""
        return self.graph.replay() if self.graph else self._eagerly()

    def again(self):
        """The logits after the first position, which follow from the same cache in each call."""
        self.restart()
        self.step()
        return self.logits.clone()


def run(model, ids, cache):
    """The logits of the last token of a prompt (B, T), (B, 1, vocabulary)."""
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    return model(
        input_ids=ids,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
