"""Codebooks against their rule, written with rationals."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from bitwright.vm.dtypes import NAMED, Codebook, DTypeError, codebook, dtype

MODES = ("rne", "rna", "rtz", "rup", "rdn")


TABLES = [
    *[d for d in NAMED.values() if isinstance(d, Codebook)],
    codebook([3, -1, 0.1, 3, 7e20, -1e-30], name="mixed"),
    codebook([1.0, float(np.nextafter(np.float32(1), np.float32(2))), 1.5], name="close"),
    codebook([-(2.0**62), 2.0**61, 1.0, 2.0**66], name="wide"),
]


def choose(book: Codebook, numbers: Iterable[Fraction], rounding: str) -> list[int]:
    """The rule of Codebook.encode, with rationals."""
    order = sorted({Fraction(v) for v in book.values})
    codes = {v: book.values.index(float(v)) for v in order}

    def one(x: Fraction) -> int:
        if not order[0] < x < order[-1]:
            return codes[order[0] if x <= order[0] else order[-1]]
        a, b = order[bisect_right(order, x) - 1], order[bisect_left(order, x)]
        if rounding == "rdn" or (rounding == "rtz" and abs(a) < abs(b)):
            return codes[a]
        if rounding == "rup" or (rounding == "rtz" and abs(a) > abs(b)):
            return codes[b]
        if x - a != b - x:
            return codes[a if x - a < b - x else b]
        if rounding == "rna" and abs(a) != abs(b):
            return codes[a if abs(a) > abs(b) else b]
        return min(codes[a], codes[b])

    return [one(x) for x in numbers]


@pytest.mark.parametrize("book", TABLES, ids=lambda book: book.name)
def test_codebooks_choose_by_the_rule(book: Codebook) -> None:
    values = np.unique(np.array(book.values))
    points = np.concatenate([values, (values[1:] + values[:-1]) / 2, values[[0, -1]] * 2, [0.0, 1.0]])
    x = np.concatenate([points, np.nextafter(points, -np.inf), np.nextafter(points, np.inf)])
    short = x.astype(np.float32)
    short = np.concatenate([short, np.nextafter(short, np.float32(np.inf)), np.nextafter(short, np.float32(-np.inf))])
    for rounding in MODES:
        assert book.encode(x, rounding).tolist() == choose(book, map(Fraction, x.tolist()), rounding)
        want = choose(book, map(Fraction, short.tolist()), rounding)
        assert book.encode(short, rounding).tolist() == want
        many = -(-5000 // len(short))  # the path for large arrays
        assert book.encode(np.tile(short, many), rounding).tolist() == want * many


@pytest.mark.parametrize("book", TABLES, ids=lambda book: book.name)
def test_codebooks_take_integers(book: Codebook) -> None:
    near = {int(v) + step for v in book.values for step in (-1, 0, 1)}
    near |= {(int(a) + int(b)) // 2 + step for a, b in pairwise(sorted(book.values)) for step in (-1, 0, 1, 2)}
    for rounding in MODES:
        for kind, low, high in ((object, -(2**90), 2**90), (np.int64, -(2**63), 2**63), (np.uint64, 0, 2**64)):
            x = sorted(v for v in near if low <= v < high)
            got = book.encode(np.array(x, kind), rounding)
            assert got.tolist() == choose(book, map(Fraction, x), rounding)


@pytest.mark.parametrize("book", TABLES, ids=lambda book: book.name)
def test_every_value_of_a_codebook_encodes_to_its_lowest_code(book: Codebook) -> None:
    codes = np.arange(len(book.values))
    want = [book.values.index(v) for v in book.values]
    for rounding in MODES:
        assert book.encode(book.decode(codes), rounding).tolist() == want
    random = np.full(len(codes), 2**32 - 1, np.uint32)
    assert book.encode(book.decode(codes), "stochastic", random=random).tolist() == want


def test_codebooks_clamp_infinities_and_take_nan_for_zero() -> None:
    for size in (4, 8000):
        x = np.resize(np.array([np.inf, -np.inf, np.nan, 2.0], np.float32), size)
        assert np.unique(dtype("iq4nl").round(x).reshape(-1, 4), axis=0).tolist() == [[113, -127, 1, 1]]


@pytest.mark.parametrize(("size", "bits"), [(2, 1), (3, 2), (4, 2), (5, 3), (16, 4), (17, 5), (256, 8)])
def test_codebook_widths(size: int, bits: int) -> None:
    assert codebook(range(size), name="steps").bits == bits


def test_codebooks_that_cannot_be_are_refused() -> None:
    with pytest.raises(DTypeError, match="2 to 256"):
        codebook([1.0], name="one")
    with pytest.raises(DTypeError, match="2 to 256"):
        codebook(range(257), name="many")
    with pytest.raises(DTypeError, match="at least two of them different"):
        codebook([1.0, 1.0], name="same")
    for bad in (float("nan"), float("inf"), 1e39):
        with pytest.raises(DTypeError, match="finite"):
            codebook([0.0, bad], name="bad")
    with pytest.raises(DTypeError, match="identifier"):
        codebook([0.0, 1.0], name="my table")
    for taken in ("nf4", "u3", "i33", "f5e2m2b3"):
        with pytest.raises(DTypeError, match="choose another"):
            codebook([0.0, 1.0], name=taken)
    assert codebook([-1, 0, 1], name="ternary") == dtype("ternary")
