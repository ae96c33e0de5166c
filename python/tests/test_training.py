# ===- test_training.py - Gradients through packed layers ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import layers
import numpy as np
import pytest
import qlinear
import reference

torch = pytest.importorskip("torch")
import qlinear.nn  # noqa: E402

#: Relative error of a gradient: sums in f32, and one rounding to its type.
BOUND = {torch.float32: 1e-6, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def make(encoding, k=96, n=40, dtype=torch.float32, bias=True):
    linear = torch.nn.Linear(k, n, dtype=dtype, bias=bias)
    layer = qlinear.nn.Linear.from_float(linear, encoding, search=False)
    if bias:
        layer.bias.requires_grad_()
    return layer


def weights(layer):
    """In float64, by the decoder of the tests."""
    packed, n, k = layer.packed.numpy(), layer.out_features, layer.in_features
    return torch.from_numpy(reference.dequantize(packed, layer.encoding, n, k))


def assert_close(have, want, dtype=torch.float32, least=0.0):
    assert have.dtype == dtype and have.shape == want.shape
    assert (have.double() - want).norm() <= max(BOUND[dtype], least) * want.norm()


@pytest.mark.parametrize("encoding", layers.ENCODINGS)
def test_derivative_is_of_the_weights_of_the_forward(encoding):
    # K = 288: a whole unit of the layout and a part of one. N = 51: part of a tile.
    k = 256 if "group = 128" in encoding else 288
    layer = make(encoding, k=k, n=51, bias=False)  # the forward's kernel is the backward's
    for shape in ((k,), (3, k), (2, 5, k)):
        x = torch.randn(shape, requires_grad=True)
        y = layer(x)
        grad = torch.randn_like(y)
        y.backward(grad)
        assert_close(x.grad, grad.double() @ weights(layer))
    # One weight at a time: no column is another's.
    x = torch.zeros(51, k, requires_grad=True)
    layer(x).backward(torch.eye(51))
    largest = weights(layer).abs().max()
    np.testing.assert_allclose(x.grad.numpy(), weights(layer), rtol=0, atol=2e-6 * largest)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("dtype", list(BOUND))
def test_types_and_devices(device, dtype):
    layer = make("row-u8", dtype=dtype)
    with qlinear.nn.host_device(device):
        x = torch.randn(4, 96, dtype=dtype, requires_grad=True)
        y = layer(x)
        grad = torch.randn_like(y)
        # Not dense, as gradients of transposed and of expanded results are.
        for g in (grad, grad.t().contiguous().t(), grad[:1].expand(4, 40)):
            x.grad = layer.bias.grad = None
            layer(x).backward(g)
            # GPUs' kernels for many rows round weights and offsets to f16.
            half = 0.0 if device == "cpu" else 2e-3
            assert_close(x.grad, g.double() @ weights(layer), dtype, half)
            assert_close(layer.bias.grad, g.double().sum(0), dtype)


def test_many_columns_at_a_time(monkeypatch):
    layer = make("row-u8", k=288)
    x = torch.randn(4, 288, requires_grad=True)
    grad = torch.randn(4, 40)
    (whole,) = torch.autograd.grad(layer(x), x, grad)
    # Sixteen columns at a time instead of all.
    monkeypatch.setattr("qlinear._ops._FLOATS", 16 * 4 * 288)
    (parts,) = torch.autograd.grad(layer(x), x, grad)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)
    assert_close(parts, grad.double() @ weights(layer))


def test_what_needs_a_gradient_gets_one():
    layer = make("row-u8")
    x = torch.randn(2, 96)
    layer(x).sum().backward()  # the bias alone
    assert torch.equal(layer.bias.grad, torch.full((40,), 2.0)) and x.grad is None
    layer.bias.requires_grad_(False)
    assert not layer(x).requires_grad
    x.requires_grad_()
    with torch.no_grad():
        assert not layer(x).requires_grad
    with torch.inference_mode():
        assert layer(x).is_inference()
    empty = torch.randn(0, 96, requires_grad=True)
    layer(empty).sum().backward()
    assert empty.grad.shape == (0, 96)
    (dx,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(qlinear.Error, match="no second derivative.*create_graph"):
        dx.sum().backward()


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints_of_activations(use_reentrant):
    """The forward runs again in the backward, and gives the same."""
    linear = torch.nn.Sequential(torch.nn.GELU(), torch.nn.Linear(40, 32))
    model = torch.nn.Sequential(make("row-u8"), linear, make("bf16", k=32, n=96))
    x = torch.randn(3, 96, requires_grad=True)
    grads = []
    for call in (
        model,
        lambda x: torch.utils.checkpoint.checkpoint(model, x, use_reentrant=use_reentrant),
    ):
        model.zero_grad()
        x.grad = None
        call(x).square().sum().backward()
        grads.append([x.grad, *(p.grad.clone() for p in model.parameters())])
    assert len(grads[0]) == 5 and all(torch.equal(a, b) for a, b in zip(*grads))


def test_autocast():
    layer = make("row-u8")
    x = torch.randn(4, 96, requires_grad=True)
    grad = torch.randn(4, 40).bfloat16()
    want = grad.double() @ weights(layer)
    for inside in (False, True):
        x.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
            if inside:
                y.backward(grad)
        if not inside:
            y.backward(grad)
        assert y.dtype == torch.bfloat16
        # Rounded to bfloat16 once: the product itself is in float32.
        rounded = want.bfloat16().double()
        assert (x.grad.double() - rounded).norm() <= 1e-4 * want.norm()


def test_opcheck_and_compile():
    layer = make("row-u8")
    x = torch.randn(3, 96, requires_grad=True)
    arguments = (x, layer.packed, layer.bias, layer.encoding, 40)
    torch.library.opcheck(torch.ops.qlinear.linear.default, arguments)
    backward = (torch.randn(3, 40), layer.packed, layer.encoding, 96)
    torch.library.opcheck(torch.ops.qlinear.linear_backward.default, backward)

    model = torch.nn.Sequential(torch.nn.Linear(96, 96), layer, torch.nn.GELU())
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    for rows in (3, 1, 5):
        x = torch.randn(rows, 96)
        grads = []
        for call in (model, compiled):
            model.zero_grad()
            call(x).square().sum().backward()
            grads.append([p.grad.clone() for p in model.parameters()])
        for have, want in zip(*grads):
            torch.testing.assert_close(have, want)


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float64])
def test_default_type_of_torch(default):
    layer = make("row-u8")
    x, grad = torch.randn(3, 96, requires_grad=True), torch.randn(3, 40)
    torch.set_default_dtype(default)
    try:
        layer(x).backward(grad)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_close(x.grad, grad.double() @ weights(layer))


def test_made_loaded_or_moved_in_inference_mode():
    """What is frozen may be an inference tensor; gradients go through it all the same."""
    made, loaded = (torch.nn.Sequential(torch.nn.Linear(96, 40)) for _ in range(2))
    with torch.inference_mode():
        qlinear.nn.swap_linears(made, "row-u8")
        qlinear.nn.swap_linears(loaded, empty=True)
        loaded.load_state_dict(made.state_dict())
        moved = torch.nn.Sequential(make("row-u8"))
        moved[0].packed = moved[0].packed.clone()
    assert not made[0].packed.is_inference() and not loaded[0].packed.is_inference()
    assert moved[0].packed.is_inference()
    made.load_state_dict(made.state_dict())  # in place
    for model in (made, loaded, moved):
        x, grad = torch.randn(3, 96, requires_grad=True), torch.randn(3, 40)
        model(x).backward(grad)
        assert_close(x.grad, grad.double() @ weights(model[0]))


@pytest.mark.filterwarnings("error:There is a performance drop")
def test_transforms():
    """torch.func passes over what torch.library knows of gradients."""
    func, layer = torch.func, make("row-u8")
    x = torch.randn(5, 3, 96)
    assert torch.equal(func.vmap(layer)(x), layer(x))
    assert torch.equal(func.vmap(layer, in_dims=1)(x), layer(x.transpose(0, 1)))
    if hasattr(torch.library, "register_vmap"):  # exported programs call the op itself
        op = torch.ops.qlinear.linear
        y = func.vmap(lambda x: op(x, layer.packed, layer.bias, layer.encoding, 40))(x)
        assert torch.equal(y, layer(x))
    # One bias each.
    biases = torch.randn(4, 40)
    y = func.vmap(lambda b: func.functional_call(layer, {"bias": b}, (x[0],)))(biases)
    for i in range(4):
        assert torch.equal(y[i], func.functional_call(layer, {"bias": biases[i]}, (x[0],)))

    def loss(bias, x):
        return func.functional_call(layer, {"bias": bias}, (x,)).square().sum()

    x = x[0].requires_grad_()
    loss(layer.bias, x).backward()
    bias = layer.bias.detach()
    dbias, dx = func.grad(loss, argnums=(0, 1))(bias, x.detach())
    assert torch.equal(dx, x.grad) and torch.equal(dbias, layer.bias.grad)
    each = func.vmap(func.grad(loss, argnums=(0, 1)), in_dims=(None, 0))(bias, x.detach())
    torch.testing.assert_close(each[1], x.grad)
    torch.testing.assert_close(each[0].sum(0), layer.bias.grad)
    assert_close(func.jacrev(layer)(x[0].detach()), weights(layer))
    y, pull = func.vjp(layer, x.detach())
    assert_close(pull(torch.ones_like(y))[0], torch.ones(3, 40).double() @ weights(layer))
    (rows,) = torch.autograd.grad(layer(x)[0], x, torch.eye(40), is_grads_batched=True)
    assert_close(rows[:, 0], weights(layer))


def test_forward_mode_is_refused():
    """A derivative of zero is what it would be without a word."""
    layer, x = make("row-u8"), torch.randn(3, 96)
    layer.bias.requires_grad_(False)
    jvp = lambda x: torch.func.jvp(layer, (x,), (x,))
    for call in (jvp, torch.func.jacfwd(layer), torch.func.hessian(lambda x: layer(x).sum())):
        with pytest.raises(qlinear.Error, match="no derivative in forward mode.*use reverse mode"):
            call(x)
    # PyTorch 2.4 says itself that it cannot.
    with pytest.raises(RuntimeError, match="no derivative in forward mode|override the setup_con"):
        torch.compile(jvp, backend="eager")(x)
    with torch.autograd.forward_ad.dual_level():
        with pytest.raises(qlinear.Error, match="no derivative in forward mode"):
            layer(torch.autograd.forward_ad.make_dual(x, x))
        assert layer(x).shape == (3, 40)  # not of what has no tangent
    with pytest.raises(qlinear.Error, match="no second derivative"):
        inner = torch.func.grad(lambda x: layer(x).square().sum())
        torch.func.grad(lambda x: inner(x).sum())(x)
