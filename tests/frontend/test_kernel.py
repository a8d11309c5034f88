"""Kernels to call: every door into `compile`, every kind of array, every way to call one wrongly, and the cache."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import bitwright as bw
from bitwright.backend.cache import default_cache

ADD = """
def add(x: D[M, N], y: D[M, N], z: D[M, N], *, D: dtype = f32, T: int = 32):
    \"\"\"z = x + y.\"\"\"
    m, n0 = grid(M, ceildiv(N, T))
    store(z, [m, n0 * T], load(x, [m, n0 * T], [1, T]) + load(y, [m, n0 * T], [1, T]))
"""

COPY = """
def copy(x: D[N], y: D[N], *, D: dtype, T: int = 32):
    n0 = grid((N, T))
    store(y, [n0], load(x, [n0], [T]))
"""

SCALED = """
def scaled(x: f32[N], y: f32[N], factor: f32, first: int, *, T: int = 32):
    n0 = grid((N, T))
    v = load(x, [n0], [T]) * factor
    store(y, [n0], v + cast(arange(T) + n0 + first, f32))
"""

CHECKED = """
def checked(x: f32[N], *, T: int = 32):
    n0 = grid((N, T))
    assert load(x, [n0], [T]) >= 0.0, "x has a negative element"
    store(x, [n0], sqrt(load(x, [n0], [T])))
"""

UNPACK = """
def unpack(w: W[K], y: f32[K], *, W: dtype, T: int = 32):
    k0 = grid((K, T))
    store(y, [k0], cast(load(w, [k0], [T]), f32))
"""

GUESS = """
def guess(w: W[K] @ tiled("spatial(16) * local(4)", container=8), y: f32[1], *, W: dtype):
    store(y, [0], reshape(sum(cast(load(w, [K - 64], [64]), f32), dim=0), [1]))
"""


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_a_text_a_path_and_one_kernel_of_several(tmp_path: Path) -> None:
    x, y = numbers(3, 50), numbers(3, 50, seed=1)
    file = tmp_path / "two.bw"
    file.write_text(ADD + COPY, encoding="utf-8")
    for kernel in (bw.compile(ADD), bw.compile(file, kernel="add"), bw.compile(str(file), kernel="add")):
        z = np.zeros_like(x)
        kernel(x, y, z)
        assert np.array_equal(z, x + y)
    with pytest.raises(bw.Diagnostic, match="add, copy"):
        bw.compile(file).program  # noqa: B018  (the kernel is built when it is looked at)


@pytest.mark.parametrize("name", ["f32", "f16", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "bool"])
def test_arrays_of_every_numpy_dtype(name: str) -> None:
    numpy = {"f": "float", "i": "int", "u": "uint", "b": "bool"}[name[0]] + ("" if name == "bool" else name[1:])
    x = np.random.default_rng(0).integers(0, 2 if name == "bool" else 100, 77).astype(numpy)
    y = np.zeros_like(x)
    bw.compile(COPY, D=name)(x, y)
    assert np.array_equal(x, y)


@pytest.mark.parametrize(
    ("name", "type"), [("bf16", "bfloat16"), ("f8e4m3fn", "float8_e4m3fn"), ("f8e5m2", "float8_e5m2")]
)
def test_arrays_of_ml_dtypes_and_their_codes(name: str, type: str) -> None:
    x = numbers(40).astype(getattr(ml_dtypes, type))
    kernel = bw.compile(COPY, D=name)
    for given, taken in ((x, np.zeros_like(x)), (codes(x), np.zeros_like(codes(x)))):
        kernel(given, taken)
        assert np.array_equal(codes(given), codes(taken))


def codes(x: np.ndarray) -> np.ndarray:
    return x.view(f"u{x.dtype.itemsize}")


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    for name, type in (("f32", torch.float32), ("f16", torch.float16), ("bf16", torch.bfloat16), ("i32", torch.int32)):
        x = (torch.rand(3, 40) * 50).to(type)
        y = torch.zeros_like(x)
        bw.compile(ADD, D=name)(x, x, y)
        assert torch.equal(y, x + x)
    with pytest.raises(bw.Diagnostic, match=r"x: .*contiguous"):
        bw.compile(ADD)(torch.zeros(40, 3).T, torch.zeros(3, 40), torch.zeros(3, 40))


def test_read_only_inputs_are_taken() -> None:
    x, z = numbers(2, 8), np.zeros((2, 8), np.float32)
    x.flags.writeable = False
    bw.compile(ADD)(x, x, z)
    assert np.array_equal(z, x + x)


def test_empty_arrays_run_no_block() -> None:
    bw.compile(ADD)(*(np.zeros((0, 40), np.float32) for _ in range(3)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 8), np.float64), *[np.zeros((2, 8), np.float32)] * 2), r"x: expected f32\[M, N\].*64 bits"),
        ((np.zeros(8, np.float32), *[np.zeros((2, 8), np.float32)] * 2), r"x: expected f32\[M, N\].*2 dimensions"),
        ((np.zeros((2, 8), np.float32), np.zeros((2, 9), np.float32), np.zeros((2, 8), np.float32)), "y: "),
        ((np.zeros((2, 8), np.float32),) * 2, "3 arguments"),
        ((1.5, *[np.zeros((2, 8), np.float32)] * 2), "x: .*no tensor"),
        ((np.zeros((8, 2), np.float32).T, *[np.zeros((2, 8), np.float32)] * 2), "x: .*ascontiguousarray"),
    ],
)
def test_a_wrong_argument_is_named_and_what_to_do_said(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(bw.Diagnostic, match=message) as caught:
        bw.compile(ADD)(*arguments)
    assert "call it with x: f32[M, N], y: f32[M, N], z: f32[M, N]" in str(caught.value)


def test_scalars() -> None:
    x, y = numbers(50), np.zeros(50, np.float32)
    bw.compile(SCALED)(x, y, 2.5, 7)
    assert np.allclose(y, x * np.float32(2.5) + np.arange(7, 57), rtol=1e-6)
    with pytest.raises(bw.Diagnostic, match=r"factor: a number, first: an integer"):
        bw.compile(SCALED)(x, y, "2.5", 7)


def test_an_assertion_of_the_kernel_raises_its_text() -> None:
    kernel = bw.compile(CHECKED)
    kernel(np.ones(40, np.float32))
    with pytest.raises(RuntimeError, match="x has a negative element"):
        kernel(np.array([1.0, -1.0], np.float32))


@pytest.mark.parametrize("name", ["u1", "u3", "i5", "f6e3m2", "nf4", "i7"])
def test_packed_arrays_are_bytes(name: str) -> None:
    kernel, type = bw.compile(UNPACK, W=name), bw.dtype(name)
    w = np.random.default_rng(3).integers(0, 1 << type.bits, 45).astype(np.uint8)
    y = np.zeros(45, np.float32)
    kernel(kernel.pack("w", w), y)
    assert np.array_equal(y, type.decode(w).astype(np.float32))
    with pytest.raises(bw.Diagnostic, match=r"w: .*bytes"):
        kernel(kernel.pack("w", w)[:-1], y)


def test_sizes_that_no_array_tells_are_given_by_name() -> None:
    kernel = bw.compile(GUESS, W="u4", divisible={"K": 64})
    w = np.random.default_rng(0).integers(0, 16, 192).astype(np.uint8)
    y = np.zeros(1, np.float32)
    kernel(kernel.pack("w", w), y, K=192)
    assert y[0] == w[128:].sum()
    with pytest.raises(bw.Diagnostic, match="takes the sizes K"):
        kernel(kernel.pack("w", w), y, N=192)


def test_facts_about_sizes_are_checked_at_each_call() -> None:
    kernel = bw.compile(ADD, divisible={"N": 8})
    kernel(*(np.zeros((1, 16), np.float32) for _ in range(3)))
    with pytest.raises(bw.Diagnostic, match="N"):
        kernel(*(np.zeros((1, 12), np.float32) for _ in range(3)))


def test_every_stage_can_be_looked_at() -> None:
    kernel = bw.compile(ADD)
    assert "def add(" in kernel.source("tile")
    assert "lane function add" in kernel.source("lane")
    assert "define void @body" in kernel.source("llvm")
    assert "body:" in kernel.source("asm")
    with pytest.raises(ValueError, match="tile, lane, llvm or asm"):
        kernel.source("ptx")
    with pytest.raises(ValueError, match="cuda:sm_90a has no stage 'llvm': choose tile, lane, cuda, ptx or sass"):
        bw.compile(ADD, "cuda:sm_90a").source("llvm")
    assert kernel.report()["lanes"] == kernel.target.lanes


def test_a_second_kernel_of_the_same_text_comes_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BITWRIGHT_CACHE_DIR", str(tmp_path))
    default_cache.cache_clear()
    try:
        first = bw.compile(ADD).code
        stored = next(p for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size > len(first))
        monkeypatch.setattr("bitwright.frontend.kernel.compile_program", _never)
        assert bw.compile(ADD).code == first
        with pytest.raises(AssertionError, match="compiled again"):
            bw.compile(ADD, T=64).code  # noqa: B018
        monkeypatch.undo()
        monkeypatch.setenv("BITWRIGHT_CACHE_DIR", str(tmp_path))
        stored.write_bytes(stored.read_bytes()[:-7])
        assert len(bw.compile(ADD).code) == len(first)
    finally:
        default_cache.cache_clear()


def _never(*arguments: object) -> None:
    raise AssertionError("compiled again")


def test_calls_from_several_threads() -> None:
    kernel, x = bw.compile(ADD), numbers(64, 100)
    outputs = [np.zeros_like(x) for _ in range(4)]

    def work(z: np.ndarray) -> None:
        for _ in range(50):
            kernel(x, x, z)

    threads = [threading.Thread(target=work, args=(z,)) for z in outputs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(np.array_equal(z, x + x) for z in outputs)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_goes_on_with_its_own_threads() -> None:
    code = f"""
import os, numpy as np, bitwright as bw
kernel = bw.compile({ADD!r})
x = np.ones((64, 100), np.float32); z = np.zeros_like(x)
kernel(x, x, z)
child = os.fork()
kernel(x, z, z)
assert (z == 3).all()
if child == 0:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_code_for_another_machine_is_compiled_but_not_run() -> None:
    kernel = bw.compile(ADD, target="cpu:sapphirerapids")
    assert "body:" in kernel.source("asm")
    if not kernel.target.runs_here:
        with pytest.raises(bw.Diagnostic, match="cannot run code for cpu:sapphirerapids"):
            kernel(*(np.zeros((1, 8), np.float32) for _ in range(3)))
