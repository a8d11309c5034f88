"""Constants of lanes as formulas: what is printed gives each lane its value, and the usual ones are short."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.backend.cuda.block_memory import BlockMemory
from bitwright.backend.cuda.code import Code
from bitwright.backend.cuda.lane_values import predicate, word_formula
from bitwright.backend.lane.ir import Constant, Reg, Type
from bitwright.tests.backend.cuda.c_expression import evaluate, literal

LANES = st.sampled_from([1, 2, 3, 8, 12, 16, 24, 31, 32, 48, 64, 96, 128, 160, 256])
STEPS = st.one_of(
    st.sampled_from([0, 1, 2, 4, 16, 32, 512, -1, -4, 3, 24, 1 << 20, 1 << 31]), st.integers(-(2**31), 2**31 - 1)
)


def digits(draw: st.DrawFn, lanes: int) -> list[int]:
    """Sums over digits of any extents."""
    values, stride = [draw(STEPS)] * lanes, 1
    while stride < lanes:
        extent = draw(st.sampled_from([e for e in range(2, 9) if lanes % (stride * e) == 0] or [lanes // stride]))
        step = draw(STEPS)
        values = [v + step * (k // stride % extent) for k, v in enumerate(values)]
        stride *= extent
        if lanes % stride:
            break
    return values


def bits(draw: st.DrawFn, lanes: int) -> list[int]:
    """Sums or exclusive ors over the bits of the lane."""
    steps = draw(st.lists(STEPS, min_size=9, max_size=9))
    summed, values = draw(st.booleans()), []
    for lane in range(lanes):
        value = steps[8]
        for b in range(8):
            if lane >> b & 1:
                value = value + steps[b] if summed else value ^ steps[b]
        values.append(value)
    return values


@st.composite
def patterns(draw: st.DrawFn) -> list[int]:
    lanes = draw(LANES)
    match draw(st.sampled_from(["digits", "bits", "few", "any"])):
        case "digits":
            values = digits(draw, lanes)
        case "bits":
            values = bits(draw, lanes)
        case "few":
            kinds = draw(st.lists(STEPS, min_size=1, max_size=3))
            values = [draw(st.sampled_from(kinds)) for _ in range(lanes)]
        case _:
            values = [draw(STEPS) for _ in range(lanes)]
    return [(v + 2**31) % 2**32 - 2**31 for v in values]


@settings(max_examples=150, deadline=None)
@given(patterns())
def test_a_formula_gives_each_lane_its_word(values: list[int]) -> None:
    formula = word_formula(values)
    if formula is not None:
        found = [evaluate(formula.text, lane, "u32", {}).whole for lane in range(len(values))]
        assert found == [v % 2**32 for v in values], formula.text


@st.composite
def choices(draw: st.DrawFn) -> list[bool]:
    lanes = draw(LANES)
    mask, wanted, limit, first = (draw(st.integers(0, 255)) for _ in range(4))
    kinds: dict[str, Callable[[int], bool]] = {
        "cube": lambda k: k & mask == wanted & mask, "below": lambda k: k % (mask + 1) < limit,
        "range": lambda k: first <= k < first + limit, "parity": lambda k: bin(k & mask).count("1") & 1 == 1,
        "any": lambda k: (k * 2654435761 + mask) >> 7 & 1 == 1,
    }  # fmt: skip
    rule, turned = kinds[draw(st.sampled_from(sorted(kinds)))], draw(st.booleans())
    return [bool(rule(k)) != turned for k in range(lanes)]


@settings(max_examples=150, deadline=None)
@given(choices())
def test_a_predicate_holds_in_its_lanes(held: list[bool]) -> None:
    formula = predicate(held)
    found = [evaluate(formula.text, lane, "bool", {}).value for lane in range(len(held))]
    assert found == held, formula.text


USUAL = [
    ([4 * k for k in range(128)], "(lane << 2)"),
    ([k % 16 for k in range(128)], "(lane & 15u)"),
    ([k // 4 for k in range(32)], "(lane >> 2)"),
    ([k // 4 % 8 * 64 for k in range(128)], "((lane & 28u) << 4)"),
    ([k % 4 * 2 + k // 4 * 512 for k in range(32)], "(((lane & 3u) << 1) + ((lane & 28u) << 7))"),
    ([31 - k for k in range(32)], "(31u - lane)"),
    ([k * 48 + 8 for k in range(64)], "((lane * 48u) + 8u)"),
    ([(k // 8 ^ k % 8) * 16 for k in range(64)], "(((lane & 56u) << 1) ^ ((lane & 7u) << 4))"),
    ([5] * 32, "5u"),
]


@pytest.mark.parametrize(("values", "text"), USUAL, ids=[text for _, text in USUAL])
def test_the_usual_ones_are_short(values: list[int], text: str) -> None:
    formula = word_formula(values)
    assert formula is not None
    if "^" in text:  # the terms of an exclusive or may come in any order
        assert formula.cost == 5
    else:
        assert formula.text == text


WHO = [
    ([k < 16 for k in range(128)], "(lane < 16u)"),
    ([k == 0 for k in range(32)], "(lane == 0u)"),
    ([k >= 96 for k in range(128)], "(lane >= 96u)"),
    ([k % 4 == 0 for k in range(128)], "((lane & 3u) == 0u)"),
    ([k // 32 == 1 for k in range(128)], "((lane - 32u) < 32u)"),
    ([k % 32 < 8 for k in range(128)], "((lane & 31u) < 8u)"),
    ([k & 4 != 0 for k in range(128)], "((lane & 4u) != 0u)"),
    ([True] * 8, "true"),
]


@pytest.mark.parametrize(("held", "text"), WHO, ids=[text for _, text in WHO])
def test_the_usual_conditions_are_short(held: list[bool], text: str) -> None:
    found = predicate(held)
    limit = 3 if text == "((lane & 31u) < 8u)" else 2
    assert found.cost <= limit
    assert found.text == text or [evaluate(found.text, k, "bool", {}).value for k in range(len(held))] == held


def printed(type: Type, values: list[int] | list[float]) -> tuple[list[float], Code]:
    """The value that each lane's variable gets."""
    code = Code(len(values), BlockMemory())
    reg = Reg(type, False)
    code.constant(reg, Constant(type, tuple(values)))
    data = {}
    for line in code.outside():
        name, words = re.findall(r"u32 (\w+)\[\d+\] = \{(.*)\};", line)[0]
        data[name] = [literal(word).whole for word in words.split(", ")]
    text = code.lines[0].split(" = ")[1].rstrip(";") if code.lines else code.get(reg)
    kind = {"i1": "bool", "i32": "u32", "i64": "u64", "f32": "float"}[type]
    return [evaluate(text, lane, kind, data).value for lane in range(len(values))], code


WIDE = [
    [8 * k for k in range(32)], [-8 * k for k in range(32)], [k << 40 for k in range(16)], [-1, 2**63, 5, -(2**31)],
    [2**32 - 1, 0, 7, 2**31], [3] * 4,
]  # fmt: skip


@pytest.mark.parametrize("values", WIDE)
def test_wide_integers(values: list[int]) -> None:
    assert printed("i64", values)[0] == [v % 2**64 for v in values]


FLOATS = [
    [float(k) for k in range(32)], [-2.0 * k for k in range(16)], [0.1 * k for k in range(32)],
    [-0.0, 0.0, 1.0, 2.0], [1e-40, 1.5, -3.25, 3e38], [1.0, float("inf"), float("-inf"), 2.0], [0.1] * 8,
]  # fmt: skip


@pytest.mark.parametrize("values", FLOATS)
def test_floats_to_the_last_bit(values: list[float]) -> None:
    found, _ = printed("f32", values)
    assert [struct.pack("<f", x) for x in found] == [struct.pack("<f", x) for x in values]


def test_what_has_no_formula_is_in_memory() -> None:
    values = [(k * 2654435761) % 2**32 for k in range(100)]
    values[3], values[71] = 12, 99999
    found, code = printed("i32", values)
    assert found == values
    assert [line.split(" = ")[0] for line in code.outside()] == ["static __device__ const u32 data0[100]"]
