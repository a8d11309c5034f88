"""Calls of GPU kernels without a GPU: what the driver is asked for, and what is refused before it is asked."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from bitwright.backend.cuda.launch import CudaFunction, Launch, synchronize
from bitwright.backend.signature import ArrayArgument, ScalarArgument, Signature
from bitwright.tests.backend.cuda.fake_gpu import FakeGpu, OnGpu
from bitwright.vm.expr import Var, ceildiv, const, eq, le

M, N, K = Var("M", 0, None), Var("N", 0, None, 4), Var("K", 1, 1 << 20)
F16, BF16, U8, F32 = (2, 16), (4, 16), (1, 8), (2, 32)


def array(name: str, codes: tuple[tuple[int, int], ...], *dims: Var, align: int = 1) -> ArrayArgument:
    return ArrayArgument(name, codes, dims, False, const(0), True, align)


PACKED = ArrayArgument("w", (U8,), (), True, ceildiv(N * K * 3, 8), False, 16)
SIGNATURE = Signature(
    (array("x", (F16,), M, K, align=2), PACKED, ScalarArgument("n", "int"), ScalarArgument("a", "float"),
     array("y", (BF16, (1, 16)), M, N, align=2)),
    (M, N, K),
    (ceildiv(M, 2), ceildiv(N, 64)),
    ((eq(K % 8, 0), "K must be a multiple of 8"),),
    failures=("the first check", "the second check"),
)  # fmt: skip
PARAMETERS = 9


def made(signature: Signature = SIGNATURE, lanes: int = 128, shared: int = 512) -> tuple[FakeGpu, CudaFunction]:
    gpu = FakeGpu(len(signature.arguments) + len(signature.sizes) + 1)
    return gpu, CudaFunction(Launch("k", signature, "sm_90a", lanes, shared), b"cubin", gpu)


def arguments(m: int = 3, n: int = 100, k: int = 16) -> list[object]:
    room = np.zeros(n * k * 3 // 8 + 16, np.uint8)
    start = -room.ctypes.data % 16
    w = room[start : start + -(-n * k * 3 // 8)]
    return [OnGpu(np.zeros((m, k), np.float16)), OnGpu(w), -5, 0.1, OnGpu(np.zeros((m, n), np.uint16))]


def address(given: object) -> int:
    assert isinstance(given, OnGpu)
    return given.array.ctypes.data


def test_the_kernel_finds_addresses_numbers_and_sizes_in_the_order_of_its_slots() -> None:
    gpu, function = made()
    given = arguments()
    function(*given)
    (launched,) = gpu.launches
    x, w, n, a, y, m, nn, k, failure = launched.parameters
    assert (x, w, y) == (address(given[0]), address(given[1]), address(given[4]))
    assert struct.pack("<Q", n) == struct.pack("<q", -5)
    assert struct.pack("<Q", a) == struct.pack("<d", 0.1)
    assert (m, nn, k) == (3, 100, 16)
    assert failure != 0
    assert (launched.blocks, launched.lanes, launched.shared) == (2 * 2, 128, 512)
    assert gpu.loads == [(0, b"cubin", "sm_90a", 512)]


def test_a_kernel_is_loaded_once_and_shapes_may_change() -> None:
    gpu, function = made()
    for m in (1, 2, 3, 1, 9):
        function(*arguments(m))
    assert [launched.blocks for launched in gpu.launches] == [2, 2, 4, 2, 10]
    assert len(gpu.loads) == 1


def test_nothing_is_launched_for_no_blocks() -> None:
    gpu, function = made()
    function(*arguments(m=0))
    function(*arguments(n=0))
    assert gpu.launches == []


def test_without_failures_the_kernel_gets_no_word() -> None:
    gpu, function = made(Signature((array("x", (F32,), M),), (M,), (M,)))
    function(OnGpu(np.zeros(4, np.float32)))
    assert gpu.launches[0].parameters[-1] == 0
    assert gpu.words == []


def test_the_stream_is_that_of_the_first_array() -> None:
    gpu, function = made()
    given = arguments()
    given[0] = OnGpu(np.zeros((3, 16), np.float16), stream=0x7F00)
    given[4] = OnGpu(np.zeros((3, 100), np.uint16), stream=5)
    function(*given)
    assert gpu.launches[0].stream == 0x7F00


def test_work_goes_to_the_device_of_the_arrays() -> None:
    gpu, function = made()
    there, here = arguments(), arguments()
    gpu.places = {address(there[i]): 1 for i in (0, 1, 4)}
    for given in (there, here, there):
        function(*given)
    assert [launched.device for launched in gpu.launches] == [1, 0, 1]
    assert [launched.function for launched in gpu.launches] == ["function 1", "function 2", "function 1"]
    mixed = [there[0], *here[1:]]
    with pytest.raises(ValueError, match="x is on GPU 1, but w on GPU 0: move them to one"):
        function(*mixed)


def test_without_arrays_the_current_device_and_the_default_stream_are_taken() -> None:
    gpu, function = made(Signature((ScalarArgument("n", "int"),), (), (const(7),)))
    gpu.current = 2
    function(1)
    assert (gpu.launches[0].device, gpu.launches[0].stream, gpu.launches[0].blocks) == (2, 0, 7)


def test_explicit_sizes_come_after_the_arguments() -> None:
    packed = ArrayArgument("w", (U8,), (), True, N * 2, False, 1)
    gpu, function = made(Signature((packed,), (N,), (N // 4,), explicit=(N,)))
    function(OnGpu(np.zeros(16, np.uint8)), 8)
    assert (gpu.launches[0].parameters[1], gpu.launches[0].blocks) == (8, 2)
    with pytest.raises(ValueError, match="w: expected a contiguous buffer of u8 of at least 24 bytes, got 16"):
        function(OnGpu(np.zeros(16, np.uint8)), 12)
    for size, error, text in (
        (8.0, TypeError, "N: expected a size, got float"),
        (True, TypeError, "N: expected a size, got bool"),
        (-4, ValueError, "a size is 0 or more"),
        (6, ValueError, "N is 6, but must be a multiple of 4"),
    ):
        with pytest.raises(error, match=text):
            function(OnGpu(np.zeros(16, np.uint8)), size)


REFUSED = [
    (0, np.zeros((3, 16), np.float16), TypeError, "got a NumPy array, which is in the CPU's; move it .*simulate"),
    (0, 3, TypeError, "got int; pass a PyTorch tensor or a CuPy array"),
    (0, OnGpu(np.zeros((3, 16), np.float32)), TypeError, "got elements of float32; convert it to f16, or view it"),
    (0, OnGpu(np.zeros((3, 16), ">f2")), TypeError, "got elements of"),
    (0, OnGpu(np.zeros(48, np.float16)), ValueError, "with 2 dimensions, got 1; reshape it"),
    (0, OnGpu(np.zeros((16, 3), np.float16).T), ValueError, "got other strides; copy it with .contiguous()"),
    (0, OnGpu(np.zeros((3, 12), np.float16)), ValueError, "K must be a multiple of 8"),
    (0, OnGpu(np.zeros((3, 0), np.float16)), ValueError, "K is 0, but must be at least 1"),
    (0, OnGpu(np.zeros(7, np.uint8)[1:].view(np.float16).reshape(3, 1)), ValueError, "K must be a multiple of 8"),
    (1, OnGpu(np.zeros(99, np.uint8)), ValueError, "of at least 600 bytes, got 99"),
    (1, OnGpu(np.zeros(600, np.int8)), TypeError, "expected a contiguous buffer of u8, got elements of int8"),
    (2, 2.5, TypeError, "n: expected an integer, got float; pass a Python int"),
    (2, 1 << 63, ValueError, "an integer does not fit in 64 bits"),
    (3, "0.1", TypeError, "a: expected a number, got str; pass a Python float"),
    (3, OnGpu(np.zeros((), np.float32)), TypeError, "a: expected a number, got OnGpu"),
    (4, OnGpu(np.zeros((4, 100), np.uint16)), ValueError, "y: .* dimension 0 must be M = 3, got 4"),
    (4, OnGpu(np.zeros((3, 98), np.uint16)), ValueError, "N is 98, but must be a multiple of 4"),
]


@pytest.mark.parametrize(("place", "given", "error", "text"), REFUSED)
def test_what_does_not_fit_is_refused_before_anything_runs(
    place: int, given: object, error: type[Exception], text: str
) -> None:
    gpu, function = made()
    wrong = arguments()
    wrong[place] = given
    with pytest.raises(error, match=text):
        function(*wrong)
    assert gpu.launches == []
    function(*arguments())
    assert len(gpu.launches) == 1


def test_the_number_of_arguments_is_told() -> None:
    _, function = made()
    with pytest.raises(TypeError, match=r"expected 5 arguments \(x, w, n, a, y\), got 2"):
        function(1, 2)


def test_alignment_is_looked_at_in_every_call() -> None:
    gpu, function = made()
    given = arguments()
    function(*given)
    room = np.zeros(700, np.uint8)
    start = -room.ctypes.data % 16 + 4
    given[1] = OnGpu(room[start : start + 600])
    with pytest.raises(ValueError, match=r"w: .* multiple of 16 bytes, got one that is 4 beyond"):
        function(*given)
    assert len(gpu.launches) == 1


def test_more_blocks_than_a_gpu_numbers_are_refused() -> None:
    gpu, function = made(Signature((ScalarArgument("n", "int"),), (M, N), (M, N), explicit=(M, N)))
    with pytest.raises(ValueError, match=r"M = 65536, N = 32768\) make 2147483648 blocks, but a GPU takes 2147483647"):
        function(0, 1 << 16, 1 << 15)
    function(0, 1 << 16, (1 << 15) - 4)
    assert gpu.launches[0].blocks == (1 << 16) * ((1 << 15) - 4)


def test_a_failure_is_raised_by_the_next_call_which_launches_nothing() -> None:
    gpu, function = made()
    function(*arguments())
    gpu.words[0].value = 2
    with pytest.raises(RuntimeError, match=r"k: the second check \(in a call before this one\)"):
        function(*arguments())
    assert len(gpu.launches) == 1
    function(*arguments())
    assert len(gpu.launches) == 2


def test_synchronize_waits_for_every_device_and_raises_failures() -> None:
    gpu, function = made()
    synchronize()
    assert gpu.waits == []  # not even loaded
    there = arguments()
    gpu.places = {address(there[i]): 3 for i in (0, 1, 4)}
    function(*there)
    function(*arguments())
    synchronize()
    assert sorted(gpu.waits) == [0, 3]
    gpu.words[0].value = 1
    with pytest.raises(RuntimeError, match="k: the first check"):
        synchronize()
    synchronize()


def test_sizes_are_checked_against_what_expressions_say() -> None:
    y = ArrayArgument("y", (F32,), (ceildiv(M, 4), const(3)), False, const(0), True, 4)
    half = array("x", (F32,), M, align=4)
    _, function = made(Signature((half, y), (M,), (M,), ((le(M, 9), "at most nine"),)))
    ok = OnGpu(np.zeros((2, 3), np.float32))
    function(OnGpu(np.zeros(8, np.float32)), ok)
    with pytest.raises(ValueError, match=r"y: .*: dimension 0 must be ceildiv\(M, 4\) = 1, got 2"):
        function(OnGpu(np.zeros(4, np.float32)), ok)
    with pytest.raises(ValueError, match="dimension 1 must be 3, got 2"):
        function(OnGpu(np.zeros(8, np.float32)), OnGpu(np.zeros((2, 2), np.float32)))
    with pytest.raises(ValueError, match="at most nine"):
        function(OnGpu(np.zeros(12, np.float32)), OnGpu(np.zeros((3, 3), np.float32)))


def test_an_array_that_is_written_overlaps_no_other() -> None:
    read = ArrayArgument("r", (U8,), (M,), False, const(0), False, 1)
    written = ArrayArgument("s", (U8,), (N,), False, const(0), True, 1)
    flat = ArrayArgument("w", (U8,), (), True, K, False, 1)
    gpu, function = made(Signature((read, written, flat), (M, N, K), (M,), explicit=(K,)))
    memory = np.zeros(64, np.uint8)

    def call(r: slice, s: slice, w: slice, k: int) -> None:
        function(OnGpu(memory[r]), OnGpu(memory[s]), OnGpu(memory[w]), k)

    call(slice(0, 8), slice(8, 16), slice(0, 8), 8)  # what is only read may be the same
    call(slice(0, 8), slice(8, 8), slice(4, 12), 8)  # nothing is written
    call(slice(0, 8), slice(8, 16), slice(4, 64), 4)  # of a buffer only its first bytes are read
    for r, s, w, names in (
        (slice(0, 9), slice(8, 16), slice(32, 40), "s and r"),
        (slice(15, 16), slice(8, 16), slice(32, 40), "s and r"),
        (slice(0, 8), slice(0, 8), slice(32, 40), "s and r"),
        (slice(0, 8), slice(36, 40), slice(32, 40), "s and w"),
    ):
        with pytest.raises(ValueError, match=f"{names} overlap in memory"):
            call(r, s, w, 8)
    assert len(gpu.launches) == 3
