"""Calls through tvm-ffi into small kernels: what arrives in the slots, and what is refused with which words."""

import ctypes
import re

import numpy as np
import pytest

from bitwright.backend.llvm.build import Library, assemble, load
from bitwright.backend.llvm.entry import ENTRY_PRELUDE, emit_entry, make_function
from bitwright.backend.llvm.pool import parallel_address
from bitwright.backend.signature import ArrayArgument, ScalarArgument, Signature, SignatureError, element_name
from bitwright.backend.target import target
from bitwright.vm.expr import Expr, Var, ceildiv, const, eq, ge

tvm_ffi = pytest.importorskip("tvm_ffi")
torch = pytest.importorskip("torch")

F32, F16, BF16, U8, I32 = ((2, 32),), ((2, 16),), ((4, 16),), ((1, 8),), ((0, 32),)

# Copies all slots to the array of argument 0, and adds 1 to element `slots + block` of it for every block of the range.
RECORD = """
define void @body(ptr %slots, i64 %begin, i64 %end) {
entry:
  %out = load ptr, ptr %slots
  %first = icmp eq i64 %begin, 0
  br i1 %first, label %copy, label %count
copy:
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %slots, i64 $BYTES, i1 false)
  br label %count
count:
  %i = phi i64 [ %begin, %entry ], [ %begin, %copy ], [ %i1, %count ]
  %k = add i64 %i, $SLOTS
  %at = getelementptr i64, ptr %out, i64 %k
  %n = load i64, ptr %at
  %n1 = add i64 %n, 1
  store i64 %n1, ptr %at
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %count, label %done
done:
  ret void
}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""

FAIL = """
define void @body(ptr %slots, i64 %begin, i64 %end) {
  %in = load ptr, ptr %slots
  %number = load i64, ptr %in
  %at = getelementptr i64, ptr %slots, i64 $LAST
  store i64 %number, ptr %at
  ret void
}
"""


def array(name, codes, *dims, align=1):
    dims = tuple(const(d) if isinstance(d, int) else d for d in dims)
    return ArrayArgument(name, codes, dims, False, const(0), False, align)


def buffer(name, nbytes: Expr | int, codes=()):
    return ArrayArgument(name, codes, (), True, const(nbytes) if isinstance(nbytes, int) else nbytes, True, 1)


RECORDER = buffer("record", 0)


def library(signature: Signature, body: str = RECORD) -> Library:
    count = signature.slot_count
    words = {"$BYTES": str(8 * count), "$SLOTS": str(count), "$LAST": str(count - 1)}
    body = re.sub(r"\$\w+", lambda word: words[word[0]], body)
    text = ENTRY_PRELUDE + emit_entry(signature) + body
    return load(assemble(text, target("cpu")), {"bw_parallel": parallel_address()})


def kernel(signature: Signature, body: str = RECORD):
    return make_function(library(signature, body))


def record(blocks=64):
    return np.zeros(64 + blocks, np.int64)


M, N, K = Var("M", 0), Var("N", 0), Var("K", 0)


def test_slots_hold_addresses_scalars_and_sizes():
    arguments = (RECORDER, array("x", F32, M, K), ScalarArgument("n", "int"), ScalarArgument("a", "float"))
    signature = Signature(arguments, (M, K, N), (const(1),), explicit=(N,))
    run, out, x = kernel(signature), record(), np.zeros((3, 5), np.float32)
    run(out, x, -7, 2.5, 11)
    assert out[0] == out.ctypes.data
    assert out[1] == x.ctypes.data
    assert out[2] == -7
    assert out[3:4].view(np.float64)[0] == 2.5
    assert list(out[4:8]) == [3, 5, 11, 0]
    run(out, x, True, 3, 11)  # a bool is an integer, and an integer is a number
    assert out[2] == 1
    assert out[3:4].view(np.float64)[0] == 3.0
    run(out, x, np.int64(4), np.float32(0.5), 11)
    assert out[2] == 4
    assert out[3:4].view(np.float64)[0] == 0.5


@pytest.mark.parametrize("shape", [(1, 1), (4, 16), (5, 16), (100, 33), (0, 16), (16, 0)])
def test_every_block_of_the_grid_runs_once(shape):
    signature = Signature((RECORDER, array("x", F32, M, N)), (M, N), (ceildiv(M, 4), N))
    run, out = kernel(signature), record(4000)
    blocks = -(-shape[0] // 4) * shape[1]
    run(out, np.zeros(shape, np.float32))
    expected = np.zeros(4000 + 59, np.int64)
    expected[:blocks] = 1
    assert (out[5:] == expected).all()


def test_a_negative_axis_has_no_blocks():
    run, out = kernel(Signature((RECORDER, array("x", F32, M)), (M,), (M - 4, M - 4))), record()
    run(out, np.zeros(2, np.float32))
    assert not out.any()


def test_tensors_of_numpy_torch_and_tvm():
    signature = Signature((RECORDER, array("x", F32 + BF16, M)), (M,), (const(1),))
    run, out = kernel(signature), record()
    for x in (np.zeros(6, np.float32), torch.zeros(6), torch.zeros(6, dtype=torch.bfloat16)):
        address = x.data_ptr() if isinstance(x, torch.Tensor) else x.ctypes.data
        for given in (x, tvm_ffi.from_dlpack(x)):
            out[:] = 0
            run(out, given)
            assert list(out[1:3]) == [address, 6]
    base = torch.zeros(10)
    run(out, base[4:])
    assert out[1] == base.data_ptr() + 16


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


class AnyValue(ctypes.Structure):
    _fields_ = [("type_index", ctypes.c_int32), ("pad", ctypes.c_int32), ("value", ctypes.c_void_p)]


def raw_call(loaded, out, shape, strides=None, offset=0, device=1, lanes=1, data=None):
    """Call the entry as C would, with DLTensor pointers."""
    entry = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 2, ctypes.c_int, ctypes.c_void_p)
    entry = entry(loaded.address("bw_entry"))
    shapes = [(ctypes.c_int64 * 1)(out.size), (ctypes.c_int64 * len(shape))(*shape)]
    stride = (ctypes.c_int64 * len(shape))(*strides) if strides else None
    tensors = [
        DLTensor(out.ctypes.data, 1, 0, 1, 0, 64, 1, ctypes.addressof(shapes[0]), None, 0),
        DLTensor(
            data or out.ctypes.data,
            *(device, 0, len(shape), 2, 32, lanes),
            *(ctypes.addressof(shapes[1]), ctypes.addressof(stride) if stride else None, offset),
        ),
    ]
    values = (AnyValue * 2)(*[AnyValue(7, 0, ctypes.addressof(tensor)) for tensor in tensors])
    result = AnyValue(0, 0, None)
    return entry(None, ctypes.addressof(values), 2, ctypes.addressof(result))


def test_dltensor_pointers_strides_offsets_and_devices():
    loaded, out = library(Signature((RECORDER, array("x", F32, M, N)), (M, N), (const(1),))), record()
    accepted = [None, (4, 1), (4, 1)]
    for strides in accepted:
        assert raw_call(loaded, out, (3, 4), strides, offset=24) == 0
        assert list(out[1:4]) == [out.ctypes.data + 24, 3, 4]
    for shape, strides in [((1, 4), (99, 1)), ((4, 1), (1, 77)), ((1, 1), (5, 6)), ((0, 4), (7, 7)), ((3, 0), (9, 9))]:
        assert raw_call(loaded, out, shape, strides) == 0
    for shape, strides in [((3, 4), (1, 3)), ((3, 4), (8, 1)), ((3, 4), (4, 2)), ((2, 1), (2, 1)), ((3, 4), (-4, 1))]:
        assert raw_call(loaded, out, shape, strides) == -1
    assert raw_call(loaded, out, (3, 4), device=3) == 0
    assert raw_call(loaded, out, (3, 4), device=2) == -1
    assert raw_call(loaded, out, (3, 4), lanes=4) == -1
    assert raw_call(loaded, out, (1 << 40, 1 << 40)) == -1
    assert raw_call(loaded, out, (1 << 40, 0)) == 0


def refused(kind, words, signature, *given):
    with pytest.raises(kind, match=re.escape(words)):
        kernel(signature)(*given)


ONE = Signature((array("x", F32, M, K),), (M, K), (const(0),))
PAIR = Signature((array("x", F32, M, K), array("w", U8, K // 2, N)), (M, K, N), (const(0),))


@pytest.mark.parametrize(
    ("kind", "words", "signature", "given"),
    [
        (TypeError, "expected 1 argument (x), got 0", ONE, ()),
        (TypeError, "expected 2 arguments (x, w), got 3", PAIR, (1, 2, 3)),
        (TypeError, "x: expected f32[M, K], got something that is no tensor", ONE, (None,)),
        (TypeError, "x: expected f32[M, K], got something that is no tensor", ONE, (3,)),
        (TypeError, "x: expected f32[M, K], got something that is no tensor", ONE, ("text",)),
        (TypeError, "got elements of 64 bits (DLPack type code 2)", ONE, (np.zeros((2, 2)),)),
        (TypeError, "convert it to f32", ONE, (np.zeros((2, 2), np.int32),)),
        (ValueError, "with 2 dimensions, got 3", ONE, (np.zeros((2, 2, 2), np.float32),)),
        (ValueError, "in row-major order", ONE, (np.zeros((4, 2), np.float32).T,)),
        (ValueError, "in row-major order", ONE, (torch.zeros(4, 8)[:, :4],)),
        (
            ValueError,
            "w: expected u8[K // 2, N]: dimension 0 must be K // 2 = 4, got 5",
            PAIR,
            (np.zeros((1, 8), np.float32), np.zeros((5, 3), np.uint8)),
        ),
    ],
)
def test_refusals(kind, words, signature, given):
    refused(kind, words, signature, *given)


def test_equal_symbols_mean_equal_sizes_whatever_comes_first():
    signature = Signature((array("w", U8, K // 2), array("x", F32, K), array("y", F32, K)), (K,), (const(0),))
    zeros = np.zeros
    kernel(signature)(zeros(4, np.uint8), zeros(8, np.float32), zeros(8, np.float32))
    refused(
        *(ValueError, "y: expected f32[K]: dimension 0 must be K = 8, got 9", signature),
        *(zeros(4, np.uint8), zeros(8, np.float32), zeros(9, np.float32)),
    )


def test_constant_dimensions():
    signature = Signature((array("x", F32, M, 4),), (M,), (const(0),))
    kernel(signature)(np.zeros((9, 4), np.float32))
    refused(ValueError, "dimension 1 must be 4, got 3", signature, np.zeros((9, 3), np.float32))


def test_what_is_known_of_a_size_is_checked():
    size = Var("K%", 32, 96, 32)
    signature = Signature((array("x", F32, size),), (size,), (const(0),))
    run = kernel(signature)
    for good in (32, 64, 96):
        run(np.zeros(good, np.float32))
    for bad, words in [(0, "at least 32"), (128, "at most 96"), (48, "a multiple of 32")]:
        with pytest.raises(ValueError, match=f"K% is {bad}, but must be {words}"):
            run(np.zeros(bad, np.float32))


def test_alignment():
    signature = Signature((array("x", F32, M, align=64),), (M,), (const(0),))
    run, memory = kernel(signature), np.zeros(400, np.uint8)
    start = -memory.ctypes.data % 64
    run(memory[start : start + 64].view(np.float32))
    run(memory[start + 4 : start + 4].view(np.float32))  # nothing is read from an empty array
    with pytest.raises(ValueError, match="a multiple of 64 bytes, got one that is 4 beyond"):
        run(memory[start + 4 : start + 68].view(np.float32))


def test_flat_buffers_of_any_shape():
    signature = Signature((array("x", F32, K), buffer("w", ceildiv(K * 3, 8), U8)), (K,), (const(0),))
    run, x = kernel(signature), np.zeros(100, np.float32)
    for shape in [(38,), (2, 19), (39,), (1, 19, 2, 1)]:
        run(x, np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"w: expected a contiguous buffer of u8 of at least 38 bytes, got 37"):
        run(x, np.zeros(37, np.uint8))
    with pytest.raises(ValueError, match="row-major order"):
        run(x, np.zeros((19, 4), np.uint8)[:, ::2])
    with pytest.raises(TypeError, match="w: expected a contiguous buffer of u8, got elements of 32 bits"):
        run(x, np.zeros(37, np.float32))


def test_a_flat_buffer_without_types_takes_bytes_of_any_kind():
    run = kernel(Signature((buffer("w", 16),), (), (const(0),)))
    for dtype, count in [(np.float64, 2), (np.int16, 8), (np.uint8, 16), (np.complex64, 2)]:
        run(np.zeros(count, dtype))
        with pytest.raises(ValueError, match="of at least 16 bytes, got "):
            run(np.zeros(count - 1, dtype))


def test_scalars_and_explicit_sizes_are_checked():
    signature = Signature((ScalarArgument("n", "int"), ScalarArgument("a", "float")), (N,), (const(0),), explicit=(N,))
    run = kernel(signature)
    run(1, 2.0, 3)
    for given, kind, words in [
        ((1.5, 2.0, 3), TypeError, "n: expected an integer"),
        ((1, None, 3), TypeError, "a: expected a number"),
        ((1, 2.0, 3.0), TypeError, "N: expected a size"),
        ((1, 2.0, -3), ValueError, "N: a size is 0 or more (and less than 2**56), got -3"),
    ]:
        with pytest.raises(kind, match=re.escape(words)):
            run(*given)


def test_checks_refuse_a_call():
    checks = ((eq(K % N, 0), "K must divide into groups of N, 100% of it"), (ge(K, 8), "K is too small"))
    signature = Signature((array("x", F32, K),), (K, N), (const(0),), checks, (N,))
    run = kernel(signature)
    run(np.zeros(12, np.float32), 4)
    with pytest.raises(ValueError, match="K must divide into groups of N, 100% of it"):
        run(np.zeros(12, np.float32), 5)
    with pytest.raises(ValueError, match="K is too small"):
        run(np.zeros(6, np.float32), 0)  # a divisor of zero does not trap


def test_failures_of_the_body_are_raised_with_their_text():
    signature = Signature((buffer("x", 8),), (), (const(3),), failures=("first: 100%", "second"))
    run = kernel(signature, FAIL)
    run(np.array([0]))
    for number, words in [(1, "first: 100%"), (2, "second"), (7, "failure number 7")]:
        with pytest.raises(RuntimeError, match=words):
            run(np.array([number]))


def test_two_entries_in_one_module():
    one = Signature((array("x", F32, M),), (M,), (const(0),))
    two = Signature((array("y", I32, M),), (M,), (const(0),))
    body = "define void @body(ptr %slots, i64 %begin, i64 %end) {\n  ret void\n}\n"
    text = ENTRY_PRELUDE + emit_entry(one, symbol="one") + emit_entry(two, symbol="two") + body
    loaded = load(assemble(text, target("cpu")), {"bw_parallel": parallel_address()})
    make_function(loaded, "one")(np.zeros(2, np.float32))
    make_function(loaded, "two")(np.zeros(2, np.int32))
    with pytest.raises(TypeError, match="y: expected i32"):
        make_function(loaded, "two")(np.zeros(2, np.float32))


def test_the_function_keeps_its_code():
    run = kernel(Signature((RECORDER,), (), (const(1),)))
    out = record()
    for _ in range(3):
        np.zeros(1 << 20)  # what was freed would be reused
        run(out)
    assert out[0] == out.ctypes.data
    assert out[2] == 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (((M, N), (M,)), "no array has a dimension N"),
        (((M,), (N,)), "N is used, but is not one of the sizes"),
        (((M,), (M,), (), (M,)), "must not be an explicit size"),
    ],
)
def test_signatures_that_cannot_be_served(fields, words):
    with pytest.raises(SignatureError, match=re.escape(words)):
        Signature((array("x", F32, M),), *fields)


def test_arguments_that_contradict_themselves():
    with pytest.raises(SignatureError, match="power of two"):
        array("x", F32, M, align=24)
    with pytest.raises(SignatureError, match="needs an element type"):
        array("x", (), M)
    with pytest.raises(SignatureError, match="has no dims"):
        ArrayArgument("x", U8, (M,), True, const(0), False, 1)


def test_element_names_are_those_of_torch():
    for dtype, name in [
        *[(torch.float32, "f32"), (torch.bfloat16, "bf16"), (torch.int8, "i8"), (torch.uint8, "u8")],
        *[(torch.float8_e4m3fn, "f8e4m3fn"), (torch.float8_e5m2, "f8e5m2"), (torch.bool, "bool")],
    ]:
        given = tvm_ffi.from_dlpack(torch.zeros(1, dtype=dtype)).dtype
        assert element_name(given.type_code, given.bits) == name
