"""The arrays that `linear` takes and gives, what it refuses and says, and calls from several threads and processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import bitwright
from bitwright.frontend.linear import LinearError, linear, linear_kernel
from bitwright.tests.linear_bounds import assert_within, bound, exact, random_tensor

ml_dtypes = pytest.importorskip("ml_dtypes")

N, K = 7, 64
Q = random_tensor("u4:g32:f16+zero", N, K)
X = np.random.default_rng(0).normal(size=(6, K)).astype(np.float32)
Y = linear(X, Q)
UNITS = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 0.0, "float64": 0.0}


@pytest.mark.parametrize("name", list(UNITS))
def test_numpy_in_and_out(name: str) -> None:
    x = X.astype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    y = linear(x, Q)
    assert type(y) is np.ndarray
    assert y.dtype == x.dtype
    right = exact(x.astype(np.float32), Q)
    assert_within(y, right, bound(x.astype(np.float32), Q) + 1.01 * UNITS[name] * np.abs(right))


@pytest.mark.parametrize("name", list(UNITS))
def test_torch_in_and_out(name: str) -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X).to(getattr(torch, name))
    y = linear(x, Q)
    assert isinstance(y, torch.Tensor)
    assert y.dtype == x.dtype
    right = exact(x.float().numpy(), Q)
    assert_within(y.float().numpy(), right, bound(x.float().numpy(), Q) + 1.01 * UNITS[name] * np.abs(right))


def test_float64_is_rounded_to_f32_first() -> None:
    x = X.astype(np.float64) * (1 + 2.0**-30)
    np.testing.assert_array_equal(linear(x, Q), Y.astype(np.float64))


@pytest.mark.parametrize("leading", [(), (6,), (1, 6), (2, 3), (3, 1, 2), (0,), (2, 0, 3)])
def test_any_leading_sizes(leading: tuple[int, ...]) -> None:
    count = int(np.prod(leading))
    x = X[:count].reshape(*leading, K)
    y = linear(x, Q)
    assert y.shape == (*leading, N)
    np.testing.assert_array_equal(y.reshape(-1, N), Y[:count])
    torch = pytest.importorskip("torch")
    z = linear(torch.from_numpy(x), Q)
    assert z.shape == (*leading, N)
    np.testing.assert_array_equal(z.numpy(), y)


def test_arrays_that_are_not_contiguous() -> None:
    wide = np.zeros((12, 2 * K), np.float32)
    wide[::2, ::2] = X
    np.testing.assert_array_equal(linear(wide[::2, ::2], Q), Y)
    np.testing.assert_array_equal(linear(np.asfortranarray(X), Q), Y)
    np.testing.assert_array_equal(linear(X[::-1], Q), Y[::-1])
    np.testing.assert_array_equal(linear(np.broadcast_to(X[2], (4, K)), Q), np.broadcast_to(Y[2], (4, N)))
    odd = np.zeros(4 * X.size + 1, np.uint8)[1:].view(np.float32).reshape(X.shape)
    odd[:] = X
    np.testing.assert_array_equal(linear(odd, Q), Y)
    swapped = X.astype(">f4")
    np.testing.assert_array_equal(linear(swapped, Q).astype(np.float32), Y)
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(linear(torch.from_numpy(X.T.copy()).T, Q).numpy(), Y)


def test_x_and_bias_may_be_read_only_and_stay_as_they_are() -> None:
    x, bias = X.copy(), np.arange(N, dtype=np.float32)
    x.setflags(write=False)
    bias.setflags(write=False)
    kept = x.copy()
    for mode in ("f32", "bf16", "f16", "int8"):
        y = linear(x, Q, bias=bias, activations=mode)
        assert y.flags.writeable
        assert not np.shares_memory(x, y)
    np.testing.assert_array_equal(linear(x, Q), Y)
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64"])
def test_bias_of_any_kind(kind: str) -> None:
    bias = np.arange(-3, 4)
    right, limit = exact(X, Q, bias.astype(np.float32)), bound(X, Q, bias.astype(np.float32))
    given = bias.astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
    assert_within(linear(X, Q, bias=given), right, limit)
    assert_within(linear(X, Q, bias=np.stack([given, given], axis=1)[:, 0]), right, limit)
    torch = pytest.importorskip("torch")
    assert_within(linear(X, Q, bias=torch.from_numpy(bias).to(getattr(torch, kind))), right, limit)
    assert linear(torch.from_numpy(X), Q, bias=given).dtype == torch.float32


def test_what_does_not_fit_is_refused_and_said() -> None:
    refused(X[:, :-1], r"x has shape \[6, 63\], but the weight has K = 64 columns: x's last size must be 64")
    refused(np.float32(3.0), "x is a float32: give a NumPy array or a torch tensor")
    refused(np.array(3.0, np.float32), r"x has shape \[\], but")
    refused(X.tolist(), "x is a list: give a NumPy array or a torch tensor")
    refused(X.astype(np.int32), r"x is an array of int32: give f32, f16, bf16 or f64, for example x.astype\('f4'\)")
    refused(X.astype(np.complex64), "x is an array of complex64")
    refused(X.astype(ml_dtypes.float8_e4m3fn), "x is an array of float8_e4m3fn")
    refused(X, r"bias has shape \[6\], but the weight has N = 7 rows: give a bias of shape \[7\]", bias=X[:, 0])
    refused(X, r"bias has shape \[1, 7\], but", bias=Y[:1])
    refused(X, "bias is an array of int64: give f32", bias=np.arange(7))
    refused(X, "bias is a int: give a NumPy array", bias=3)
    with pytest.raises(LinearError, match=r"the weight is a ndarray: give a QTensor, as quantize\(w, 'u4'\)"):
        linear(X, X)  # type: ignore[arg-type]
    with pytest.raises(LinearError, match=r"m=0: a kernel takes at least one row"):
        linear_kernel("u4", m=0)


def test_torch_tensors_that_do_not_fit() -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X)
    refused(x.to(torch.int32), r"x is a tensor of torch.int32: give f32, f16, bf16 or f64, for example x.float\(\)")
    refused(x.to("meta"), r"x is on meta: give all arrays on the CPU, or all on one GPU, for example x.cpu\(\)")
    refused(x.to_sparse(), r"x is a tensor of layout torch.sparse_coo: give a dense one, x.to_dense\(\)")
    learned = x.clone().requires_grad_()
    refused(learned, r"x asks for a gradient, which linear does not have: call it under torch.no_grad\(\)")
    with torch.no_grad():
        np.testing.assert_array_equal(linear(learned, Q).numpy(), Y)


def refused(x: object, text: str, bias: object = None) -> None:
    with pytest.raises(LinearError, match=text):
        linear(x, Q, bias=bias)


def test_calls_from_several_threads() -> None:
    """One tensor, not prepared before, all modes, started together: each call has the result of a call alone."""
    modes = ("f32", "bf16", "int8", "f16") * 2
    alone = {mode: linear(X, Q, activations=mode) for mode in modes}
    fresh = type(Q)(Q.shape, Q.format, Q.packed, Q.scales, Q.zeros)
    start, wrong = threading.Barrier(len(modes)), []

    def work(mode: str) -> None:
        start.wait()
        for _ in range(20):
            y = linear(X, fresh, activations=mode)  # type: ignore[arg-type]
            if not np.array_equal(y, alone[mode]):
                wrong.append(mode)

    threads = [threading.Thread(target=work, args=(mode,)) for mode in modes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


def test_a_forked_child_computes_the_same() -> None:
    code = """
import os, sys, numpy as np
from bitwright.frontend.linear import linear
from bitwright.tests.linear_bounds import random_tensor
q = random_tensor("u4:g32:f16+zero", 200, 64)
x = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
y = linear(x, q)
child = os.fork()
if child == 0:
    os._exit(0 if (linear(x, q) == y).all() and np.isfinite(linear(x, q, activations="int8")).all() else 1)
assert os.waitpid(child, 0)[1] == 0
assert (linear(x, q) == y).all()
"""
    root = Path(bitwright.__file__).parent.parent
    place = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_kernel_of_linear_can_be_looked_at() -> None:
    kernel = linear_kernel("u4", group=32, m=2, n=100, k=64)
    assert kernel.report()["bytes_per_weight"] == 0.5
    assert kernel.name == "linear_float"
    assert linear_kernel("u4", activations="int8", k=128).name == "linear_int8"
