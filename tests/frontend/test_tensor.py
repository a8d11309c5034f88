"""QTensor as a value: numbers against exact fractions, storage against hand-made bits, and its mistakes."""

import pickle
from fractions import Fraction

import numpy as np
import pytest

from bitwright.frontend.tensor import QTensor, QTensorError, pack_rows, unpack_rows
from bitwright.vm.dtypes import codebook, dtype
from bitwright.vm.formats import Format

FORMATS = [
    "u1:g8:f16+zero",
    "i1:g5:bf16",
    "u3:g8:f16+zero",
    "i4:row:f32",
    "u5:g4:f16+min",
    "u7:g8:bf16+fzero",
    "i8:g3:e8m0",
    "u8:g16:f32+min",
    "f3e1m1:g8:ue4m3",
    "f6e3m2:g8:e8m0",
    "f8e5m2:row:f16+min",
    "nf4:g8:f32+fzero",
    "ternary:g8:ue5m3",
    "nvfp4",
    "nvint4",
]


def random_tensor(text: str, n: int = 5, k: int = 21, seed: int = 0) -> QTensor:
    """Random codes, scales, and zero points; floats stay in a range where nothing overflows."""
    random, format = np.random.default_rng(seed), Format.parse(text)
    count = 3 if format.element.name == "ternary" else 1 << format.element.bits
    finite = np.flatnonzero(np.isfinite(format.element.decode(np.arange(count)).astype(float)))
    codes = finite[random.integers(0, finite.size, (n, k))].astype(np.uint8)
    sides = (n, format.groups(k))
    scales = format.scale.encode(np.exp2(random.uniform(-6, 3, sides)) * (-1.0 if format.scale.min < 0 else 1.0))
    zeros, zero_type = None, format.zero_dtype
    if zero_type is not None and format.zero == "int":
        zeros = random.integers(0, 1 << zero_type.bits, sides).astype(np.uint8)
    elif zero_type is not None:
        zeros = zero_type.encode(random.normal(size=sides) * 3)
    return QTensor.from_codes(codes, scales, format, zeros, 0.0123 if format.second else 1.0)


def exact(tensor: QTensor, row: int, column: int) -> Fraction:
    """The format's formula in rational numbers."""
    format = tensor.format
    group = 0 if format.group is None else column // format.group
    value = Fraction(float(format.element.decode(tensor.codes[row : row + 1, column])[0]))
    scale = Fraction(float(format.scale.decode(tensor.scales[row : row + 1, group])[0])) * Fraction(tensor.second)
    if format.zero is None or tensor.zeros is None or format.zero_dtype is None:
        return value * scale
    zero = Fraction(float(format.zero_dtype.decode(tensor.zeros[row : row + 1, group])[0]))
    return value * scale + zero if format.zero == "min" else (value - zero) * scale


def nearest_float32(value: Fraction) -> float:
    """Correctly rounded, by trying the neighbours of a first guess; a tie goes to the even significand."""
    guess = np.float32(float(value))
    near = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    return float(min(near, key=lambda x: (abs(Fraction(float(x)) - value), int(x.view(np.uint32)) & 1)))


@pytest.mark.parametrize("text", FORMATS)
def test_numbers_equal_exact_fractions(text: str) -> None:
    tensor = random_tensor(text)
    single, double = tensor.dequantize(), tensor.dequantize(np.float64)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert single.shape == double.shape == (5, 21)
    for row in range(5):
        for column in range(21):
            value = exact(tensor, row, column)
            assert float(single[row, column]) == nearest_float32(value)
            assert abs(Fraction(float(double[row, column])) - value) <= abs(value) * Fraction(1, 2**50)


@pytest.mark.parametrize("text", FORMATS)
def test_affine_form_gives_the_same_numbers(text: str) -> None:
    tensor = random_tensor(text, seed=1)
    codes, scale, offset = tensor.affine()
    assert (codes.dtype, scale.dtype, offset.dtype) == (np.uint8, np.float32, np.float32)
    assert scale.shape == offset.shape == tensor.scales.shape
    for row in range(5):
        for column in range(21):
            group = 0 if tensor.format.group is None else column // tensor.format.group
            code = Fraction(float(tensor.format.element.decode(codes[row : row + 1, column])[0]))
            term, shift = code * Fraction(float(scale[row, group])), Fraction(float(offset[row, group]))
            value = exact(tensor, row, column)
            rounded_once = (abs(term) + abs(shift)) * Fraction(1, 2**24)
            assert abs(term + shift - value) <= rounded_once
            if tensor.format.second is None and tensor.format.zero != "float":
                assert term + shift == value


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("k", [1, 3, 8, 13, 64])
def test_rows_are_packed_least_significant_bit_first(bits: int, k: int) -> None:
    codes = np.random.default_rng(k).integers(0, 1 << bits, (4, k)).astype(np.uint8)
    packed = pack_rows(codes, bits)
    assert packed.shape == (4, (k * bits + 7) // 8)
    for row in range(4):
        stream = sum(int(code) << (column * bits) for column, code in enumerate(codes[row]))
        assert packed[row].tobytes() == stream.to_bytes(packed.shape[1], "little")
    assert np.array_equal(unpack_rows(packed, bits, k), codes)


def test_sizes_count_codes_scales_and_zero_points() -> None:
    tensor = random_tensor("u3:g8:f16+zero", n=4, k=20)  # 8 bytes of codes a row, 3 groups
    assert tensor.nbytes == 4 * 8 + 4 * 3 * 2 + (4 * 3 * 3 + 7) // 8
    assert tensor.bits_per_weight == tensor.nbytes * 8 / 80
    assert random_tensor("nvfp4", n=2, k=32).nbytes == 2 * 16 + 2 * 2 + 4
    assert random_tensor("u5:g4:f16+min", n=2, k=8).nbytes == 2 * 5 + 2 * 2 * 2 + 2 * 2 * 2
    assert "u3:g8:f16+zero" in repr(tensor)
    assert "4 x 20" in repr(tensor)


def test_equality_and_hash_are_bitwise() -> None:
    one, same = random_tensor("u3:g8:f16+zero"), random_tensor("u3:g8:f16+zero")
    assert one == same
    assert hash(one) == hash(same)
    one._prepared["kernel"] = b"buffer"
    assert one == same
    codes = one.codes
    codes[4, 20] ^= 1
    assert QTensor.from_codes(codes, one.scales, one.format, one.zeros) != one
    scales = one.scales.copy()
    scales[0, 0] ^= 1
    assert QTensor.from_codes(one.codes, scales, one.format, one.zeros) != one
    other = Format(one.format.element, 8, dtype("bf16"), "int")
    assert QTensor.from_codes(one.codes, one.scales, other, one.zeros) != one
    assert one != "u3:g8:f16+zero"


def test_codebooks_of_one_name_and_other_values_differ() -> None:
    scales, codes = np.ones((1, 1), np.uint16), np.zeros((1, 4), np.uint8)
    tensors = [
        QTensor.from_codes(codes, scales, Format(codebook([-1, top], "mine"), None, dtype("f16"))) for top in (1, 2)
    ]
    assert tensors[0] != tensors[1]
    assert hash(tensors[0]) != hash(tensors[1])


def test_tensor_does_not_share_memory_with_its_maker() -> None:
    scales, zeros = np.full((2, 1), 0x3C00, np.uint16), np.zeros((2, 1), np.uint8)
    tensor = QTensor.from_codes(np.ones((2, 8), np.uint8), scales, Format.parse("u3:row:f16+zero"), zeros)
    before = tensor.dequantize()
    scales[:], zeros[:] = 0, 7
    tensor.codes[:] = 0
    assert np.array_equal(tensor.dequantize(), before)
    assert before.tolist() == [[1.0] * 8] * 2
    for array in (tensor.packed, tensor.scales, tensor.zeros):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_pickle_keeps_the_tensor_and_drops_prepared_buffers() -> None:
    tensor = random_tensor("nvfp4")
    tensor._prepared["kernel"] = memoryview(b"cannot be pickled")
    copy = pickle.loads(pickle.dumps(tensor))
    assert copy == tensor
    assert copy._prepared == {}


def test_parts_that_do_not_fit_are_refused() -> None:
    format = Format.parse("u3:g8:f16+zero")
    codes, scales, zeros = np.zeros((2, 16), np.uint8), np.ones((2, 2), np.uint16), np.zeros((2, 2), np.uint8)
    QTensor.from_codes(codes, scales, format, zeros)
    wrong = [
        (codes[0], scales, format, zeros, 1.0, r"uint8 array \[N, K\]"),
        (codes.astype(np.int8), scales, format, zeros, 1.0, r"uint8 array \[N, K\]"),
        (codes[:0], scales, format, zeros, 1.0, "at least one row"),
        (codes + np.uint8(8), scales, format, zeros, 1.0, "does not fit 3 bits"),
        (codes, scales[:, :1], format, zeros, 1.0, r"scales of .* must be uint16\[2, 2\], not uint16\[2, 1\]"),
        (codes, scales.astype(np.float16), format, zeros, 1.0, r"not float16\[2, 2\]"),
        (codes, scales, format, None, 1.0, "needs zero points"),
        (codes, scales, Format.parse("i3:g8:f16"), zeros, 1.0, "has no zero points"),
        (codes, scales, format, zeros + np.uint8(8), 1.0, "zero point does not fit u3"),
        (codes, scales, format, zeros, 2.0, "second-level scale 2.0"),
        (codes + np.uint8(3), scales, Format.parse("ternary:g8:f16"), None, 1.0, "ternary has 3 values"),
    ]
    for *parts, second, says in wrong:
        with pytest.raises(ValueError, match=says):
            QTensor.from_codes(*parts, second)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(QTensorError, match="second-level scale nan"):
        random_tensor("nvfp4").from_codes(codes, np.ones((2, 1), np.uint8), Format.parse("nvfp4"), None, float("nan"))
