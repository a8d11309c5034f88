"""`@jit`: specialisation by what is passed, and mistakes shown in the user's own file."""

from __future__ import annotations

import inspect
import threading
from pathlib import Path

import numpy as np
import pytest

import bitwright as bw

# The bodies of kernels are not Python: their names mean nothing to a linter.
# ruff: noqa: F821


@bw.jit
def double(x: D[M, N], y: D[M, N], *, D: dtype, T: int = 32):
    """y = 2 x."""
    m, n0 = grid(M, ceildiv(N, T))
    v = load(x, [m, n0 * T], [1, T])
    store(y, [m, n0 * T], v + v)


@bw.jit(target="cpu:x86-64-v3")
def negate(x: f32[N], y: f32[N], *, T: int = 32):
    n0 = grid((N, T))
    store(y, [n0], -load(x, [n0], [T]))


@bw.jit
def wrong(x: f32[N], y: f32[N]):
    n0 = grid((N, 32))
    store(y, [n0], load(x, [n0], [32]) + missing)


class Holder:
    @staticmethod
    @bw.jit
    def shift(x: f32[N], y: f32[N], amount: f32):
        n0 = grid((N, 32))
        store(y, [n0], load(x, [n0], [32]) + amount)


def test_one_kernel_for_each_dtype_and_fact() -> None:
    for type in (np.float32, np.float16, np.int32):
        for n in (40, 37):
            x = np.arange(3 * n).reshape(3, n).astype(type)
            y = np.zeros_like(x)
            double(x, y)
            assert np.array_equal(y, x + x)
    assert len(double._kernels) == 6
    again = np.ones((3, 40), np.float32)
    double(again, again.copy())
    assert len(double._kernels) == 6


def test_parameters_are_given_by_name() -> None:
    x = np.ones((2, 100), np.float32)
    y = np.zeros_like(x)
    double(x, y, T=64)
    assert (y == 2).all()
    assert "64" in double.kernel(x, y, T=64).source("tile")


def test_a_decorator_with_arguments() -> None:
    x = np.arange(50, dtype=np.float32)
    y = np.zeros_like(x)
    negate(x, y)
    assert np.array_equal(y, -x)
    assert negate.kernel(x, y).target.name == "cpu:x86-64-v3"


def test_kernels_inside_functions_and_classes() -> None:
    @bw.jit
    def third(x: f32[N], y: f32[N]):
        n0 = grid((N, 16))
        store(y, [n0], load(x, [n0], [16]) / 3.0)

    x = np.arange(20, dtype=np.float32)
    y = np.zeros_like(x)
    third(x, y)
    assert np.array_equal(y, x / np.float32(3))
    Holder.shift(x, y, 2.0)
    assert np.array_equal(y, x + 2)


def test_a_mistake_points_into_this_file() -> None:
    line = inspect.getsourcelines(wrong.__wrapped__)[1] + 3
    with pytest.raises(bw.Diagnostic) as caught:
        wrong(np.zeros(4, np.float32), np.zeros(4, np.float32))
    problem = caught.value.problems[0]
    assert problem.span.source.name == __file__
    assert problem.span.line == line
    assert "missing" in problem.message
    text = Path(__file__).read_text(encoding="utf-8").splitlines()[line - 1]
    assert text[problem.span.column - 1 : problem.span.end_column - 1] == "missing"


def test_the_wrong_number_of_arguments() -> None:
    with pytest.raises(bw.Diagnostic, match=r"double takes 2 arguments \(x, y\), got 1"):
        double(np.zeros((1, 4), np.float32))


def test_the_function_keeps_its_name_and_text() -> None:
    assert double.__name__ == "double"
    assert double.__doc__ == "y = 2 x."


def test_first_calls_from_several_threads() -> None:
    @bw.jit
    def square(x: f32[N], y: f32[N]):
        n0 = grid((N, 16))
        v = load(x, [n0], [16])
        store(y, [n0], v * v)

    x = np.arange(64, dtype=np.float32)
    outputs = [np.zeros_like(x) for _ in range(4)]
    threads = [threading.Thread(target=square, args=(x, y)) for y in outputs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(np.array_equal(y, x * x) for y in outputs)


def test_a_function_without_a_file_is_refused() -> None:
    names: dict[str, object] = {}
    exec("from __future__ import annotations\ndef f(x: f32[N]):\n    pass\n", names)
    with pytest.raises(bw.Diagnostic, match="the text of f is in no file"):
        bw.jit(names["f"])
