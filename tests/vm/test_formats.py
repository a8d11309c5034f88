"""Tensor formats: text round trips, names, sizes, and the mistakes that a user can make."""

import pytest

from bitwright.vm.dtypes import DTypeError, Int, codebook, dtype
from bitwright.vm.formats import NAMED_FORMATS, Format, FormatError

ELEMENTS = ["u1", "i1", "u3", "i5", "u8", "f3e1m1", "f4e2m1", "f6e3m2", "f8e4m3fn", "f8e5m2", "nf4", "b1", "ternary"]
SCALES = ["f32", "f16", "bf16", "e8m0", "f8e4m3fn", "ue4m3", "ue5m3"]


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("scale", SCALES)
def test_text_round_trip(element: str, scale: str) -> None:
    for group in (None, 1, 16, 128):
        for zero in (None, "int", "float", "min"):
            for second in (None, dtype("f32")):
                if (zero == "int" and element[0] not in "iu") or (second and zero in ("float", "min")):
                    continue
                made = Format(dtype(element), group, dtype(scale), zero, second)
                assert Format.parse(str(made)) == made
                assert Format.parse(made.name) == made


def test_text_is_the_documented_one() -> None:
    assert str(Format(Int(3, False), 128, dtype("f16"), "int")) == "u3:g128:f16+zero"
    assert str(Format(Int(4, True), None, dtype("f32"))) == "i4:row:f32"
    assert str(Format(Int(4, False), 64, dtype("bf16"), "min")) == "u4:g64:bf16+min"
    assert str(Format(Int(4, False), 64, dtype("f16"), "float")) == "u4:g64:f16+fzero"
    assert str(Format.parse("nvfp4")) == "f4e2m1:g16:f8e4m3fn*f32"


# Bits per element as the OCP MX specification, NVIDIA's and ggml's block sizes state them.
STATED = {
    "mxfp4": 4.25,
    "mxfp6_e3m2": 6.25,
    "mxfp6_e2m3": 6.25,
    "mxfp8_e4m3": 8.25,
    "mxfp8_e5m2": 8.25,
    "mxint8": 8.25,
    "nvfp4": 4.5,
    "nvint4": 4.5,
    "q4_0": 18 * 8 / 32,
    "q4_1": 20 * 8 / 32,
    "q5_0": 22 * 8 / 32,
    "q5_1": 24 * 8 / 32,
    "q8_0": 34 * 8 / 32,
    "iq4_nl": 18 * 8 / 32,
    "tq2_0": 66 * 8 / 256,
}


def test_named_formats_have_the_stated_size() -> None:
    assert {name: made.bits_per_weight(4096) for name, made in NAMED_FORMATS.items()} == STATED
    assert all(made.name == name for name, made in NAMED_FORMATS.items())


def test_short_groups_and_rows_count_whole_scales() -> None:
    assert Format.parse("u3:g128:f16+zero").groups(129) == 2
    assert Format.parse("u3:row:f16").groups(1000) == 1
    assert Format.parse("u3:g128:f16+zero").bits_per_weight(160) == 3 + 2 * (16 + 3) / 160
    assert Format.parse("i4:row:f32").bits_per_weight(64) == 4.5
    assert Format.parse("f4e2m1:g16:ue4m3").bits_per_weight(64) == 4.5  # seven bits lie in a byte


def test_zero_points_are_stored_where_they_fit() -> None:
    assert Format.parse("u3:g128:f16+zero").zero_dtype == dtype("u3")
    assert Format.parse("u3:g128:bf16+fzero").zero_dtype == dtype("bf16")
    assert Format.parse("u3:g128:e8m0+min").zero_dtype == dtype("f32")
    assert Format.parse("u3:g128:f16").zero_dtype is None


def test_custom_codebook_needs_its_table() -> None:
    mine = codebook([-3, -1, 0.5, 2], "mine")
    made = Format(mine, 64, dtype("f16"))
    assert Format.parse(str(made), {"mine": mine}) == made
    with pytest.raises(DTypeError, match="mine"):
        Format.parse(str(made))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mxpf4", "did you mean mxfp4"),
        ("u3", "element:g<group>:scale"),
        ("u3:128:f16", "element:g<group>:scale"),
        ("u3:g128:f16+zeros", "element:g<group>:scale"),
        ("u3:g128:f16 ", ""),
        ("u3:g0:f16", "at least one element"),
        ("u9:g32:f16", "1 to 8 bits"),
        ("f16:g32:f16", "1 to 8 bits"),
        ("bool:g32:f16", "1 to 8 bits"),
        ("u3:g32:i8", "cannot store scales"),
        ("u3:g32:nf4", "cannot store scales"),
        ("u3:g32:f16*f16", "second-level scale is stored as f32"),
        ("u3:g32:f16*f32+min", "second-level"),
        ("nf4:g32:f16+zero", "integer zero point needs an integer element"),
    ],
)
def test_mistakes_are_explained(text: str, says: str) -> None:
    if not says:
        assert Format.parse(text) == Format.parse(text.strip())
        return
    with pytest.raises(FormatError, match=says):
        Format.parse(text)


def test_unknown_zero_kind_is_refused() -> None:
    with pytest.raises(FormatError, match="zero must be"):
        Format(dtype("u3"), 32, dtype("f16"), "point")  # type: ignore[arg-type]  # what an untyped caller may write


def test_format_is_a_value() -> None:
    assert hash(Format.parse("mxfp4")) == hash(Format.parse("f4e2m1:g32:e8m0"))
    assert Format.parse("mxfp4") != Format.parse("nvfp4")
