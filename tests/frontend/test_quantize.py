"""Quantisation: every code is a nearest one, and the scales are those of pychop, gguf and the published rules."""

import numpy as np
import pytest

from bitwright.frontend.quantize import quantize
from bitwright.frontend.scale_rules import QuantizeError
from bitwright.frontend.tensor import QTensor
from bitwright.vm.dtypes import NAMED, Codebook, Float, codebook, dtype
from bitwright.vm.formats import NAMED_FORMATS, Format

INTEGERS = [f"{sign}{bits}" for sign in "iu" for bits in range(1, 9)]
OTHERS = [name for name, kind in NAMED.items() if isinstance(kind, (Float, Codebook)) and kind.bits <= 8]
SCALE_ONLY = {"e8m0", "ue4m3", "ue5m3", "ue6m2"}
ELEMENTS = [*INTEGERS, *(name for name in OTHERS if name not in SCALE_ONLY)]

RANDOM = np.random.default_rng(11)
WEIGHTS = (RANDOM.standard_t(4, size=(6, 200)) * 0.02).astype(np.float32)


def errors(tensor: QTensor, weights: np.ndarray) -> np.ndarray:
    return np.abs(tensor.dequantize(np.float64) - weights)


def assert_nearest(tensor: QTensor, weights: np.ndarray) -> None:
    """No other code of the element type would have been nearer, by trying them all with the stored scales."""
    format, k = tensor.format, weights.shape[1]
    repeat = k if format.group is None else format.group
    count = len(format.element.values) if isinstance(format.element, Codebook) else 1 << format.element.bits
    values = format.element.decode(np.arange(count)).astype(np.float64)
    values = values[np.isfinite(values)]
    scale = np.repeat(tensor.scale_values.astype(np.float64) * tensor.second, repeat, axis=1)[:, :k]
    grid = values * scale[:, :, None]
    if tensor.zero_values is not None:
        zero = np.repeat(tensor.zero_values.astype(np.float64), repeat, axis=1)[:, :k, None]
        grid = grid + zero if format.zero == "min" else (values - zero) * scale[:, :, None]
    best = np.abs(grid - weights[:, :, None].astype(np.float64)).min(axis=2)
    mine = errors(tensor, weights)
    assert (mine <= best + 1e-12 * np.abs(weights)).all()


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("group", [None, 32])
def test_every_code_is_a_nearest_one(element: str, group: int | None) -> None:
    tensor = quantize(WEIGHTS, element, group=group)
    assert tensor.format.group == group
    assert_nearest(tensor, WEIGHTS)


@pytest.mark.parametrize(
    "name", [*NAMED_FORMATS, "u4:g16:f16+fzero", "u2:g16:bf16+min", "i5:g16:e8m0+zero", "nf4:row:f32+min"]
)
def test_every_code_of_a_whole_format_is_a_nearest_one(name: str) -> None:
    assert_nearest(quantize(WEIGHTS, name), WEIGHTS)
    assert_nearest(quantize(WEIGHTS, name, search="mse"), WEIGHTS)


@pytest.mark.parametrize("bits", range(2, 9))
def test_more_bits_are_nearer(bits: int) -> None:
    for family in ("u{}", "i{}"):
        low, high = (errors(quantize(WEIGHTS, family.format(n)), WEIGHTS) for n in (bits - 1, bits))
        assert (high**2).mean() < (low**2).mean()


def test_integers_reach_within_half_a_step() -> None:
    for text in ("u3:g32:f32+min", "u5:g32:f32+fzero", "u8:g32:f32+min"):
        tensor = quantize(WEIGHTS, text)
        step = np.repeat(tensor.scale_values, 32, axis=1)[:, :200]
        assert (errors(tensor, WEIGHTS) <= step * 0.50001).all()


MX = {
    "mxfp4": "mxfp4_e2m1",
    "mxfp6_e3m2": "mxfp6_e3m2",
    "mxfp6_e2m3": "mxfp6_e2m3",
    "mxfp8_e4m3": "mxfp8_e4m3",
    "mxfp8_e5m2": "mxfp8_e5m2",
    "mxint8": "mxint8",
}


@pytest.mark.parametrize("name", MX)
def test_microscaling_equals_pychop(name: str) -> None:
    mx = pytest.importorskip("pychop.np.mx_formats")
    weights = (RANDOM.normal(size=(16, 256)) * np.exp2(RANDOM.integers(-12, 12, (16, 1)))).astype(np.float64)
    expected = mx.mx_quantize(weights, MX[name])
    assert np.array_equal(quantize(weights, name).dequantize(np.float64), expected)


@pytest.mark.parametrize("name", ["Q4_0", "Q5_0"])
def test_signed_extremum_scale_equals_gguf(name: str) -> None:
    quants, constants = pytest.importorskip("gguf.quants"), pytest.importorskip("gguf.constants")
    weights = RANDOM.normal(size=(32, 256)).astype(np.float32)
    blocks = quants.quantize(weights, constants.GGMLQuantizationType[name]).reshape(32, 8, -1)
    expected = np.ascontiguousarray(blocks[:, :, :2]).view(np.float16)[:, :, 0]
    tensor = quantize(weights, name.lower())
    assert np.array_equal(tensor.scale_values.astype(np.float16), expected)
    # gguf computes codes with the scale before it is rounded, so it can only be further away in sum
    theirs = quants.dequantize(blocks.reshape(32, -1), constants.GGMLQuantizationType[name]).astype(np.float64)
    assert (errors(tensor, weights) ** 2).sum() <= ((theirs - weights) ** 2).sum()


def test_nvfp4_follows_its_rule() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    weights = RANDOM.normal(size=(8, 64)).astype(np.float32)
    tensor = quantize(weights, "nvfp4")
    second = np.float32(np.abs(weights).max() / (448 * 6))
    assert tensor.second == pytest.approx(float(second), rel=1e-6)
    amax = np.abs(weights).reshape(8, 4, 16).max(axis=2).astype(np.float64)
    scale = (amax / 6 / tensor.second).astype(ml_dtypes.float8_e4m3fn).astype(np.float64) * tensor.second
    codes = (weights.reshape(8, 4, 16) / scale[:, :, None]).astype(ml_dtypes.float4_e2m1fn).astype(np.float64)
    assert np.array_equal(tensor.dequantize(np.float64), (codes * scale[:, :, None]).reshape(8, 64))
    assert tensor.scale_values.max() == 448


def test_power_of_two_rules() -> None:
    peaks = np.array([[0.9, 1.0, 1.49, 1.5, 1.51, 1.74, 1.75, 1.99, 2.0, 3.4, 3.6, 5e-9]], np.float32).T
    weights = np.concatenate([peaks, peaks / 3], axis=1)
    scales = {
        rule: quantize(weights, "mxfp4", rule=rule).scale_values[:, 0]  # type: ignore[arg-type]  # a loop over names
        for rule in ("floor", "ceil", "even")
    }
    for index, peak in enumerate(peaks[:, 0].astype(float)):
        exponent = int(np.floor(np.log2(peak)))
        assert scales["floor"][index] == 2.0 ** (exponent - 2)
        # ceil: the least power of two with peak / scale <= 6
        assert peak / scales["ceil"][index] <= 6 < peak / scales["ceil"][index] * 2
        # even: from 1.75 up the significand rounds to the next binade
        assert scales["even"][index] == 2.0 ** (exponent - 2 + (peak / 2.0**exponent >= 1.75))


def test_one_bit_and_ternary_scales_are_means() -> None:
    signs = quantize(WEIGHTS, "b1:row:f32")
    assert signs.scale_values[:, 0] == pytest.approx(np.abs(WEIGHTS).mean(axis=1), rel=1e-6)
    ternary = quantize(WEIGHTS, "ternary:row:f32")
    for row, scale in zip(WEIGHTS, ternary.scale_values[:, 0], strict=True):
        kept = np.abs(row) > np.abs(row).mean() / 2
        assert scale == pytest.approx(np.abs(row[kept]).mean(), rel=1e-6)
    for element in ("i1", "u1"):
        assert quantize(
            [[-4.0, -4, -4, 1, 1]], f"{element}:row:f32" + "+zero" * (element == "u1")
        ).dequantize().tolist() == [[-4, -4, -4, 0, 0]]
        assert quantize(
            [[4.0, 4, 4, -1, -1]], f"{element}:row:f32" + "+zero" * (element == "u1")
        ).dequantize().tolist() == [[4, 4, 4, 0, 0]]
    assert quantize([[4.0, 4, -1, -1, -1]], "u1:row:f32+min").dequantize().tolist() == [[4, 4, -1, -1, -1]]


@pytest.mark.parametrize("name", [*ELEMENTS, *NAMED_FORMATS, "u4:g8:f16+min", "u4:g8:f16+fzero", "i4:g8:e8m0"])
@pytest.mark.parametrize("search", [None, "mse"])
def test_zero_groups_stay_zero_and_nothing_is_nan(name: str, search: None) -> None:
    weights = np.zeros((3, 256), np.float32)
    weights[1, :128] = 1e-3
    weights[2] = RANDOM.normal(size=256)
    numbers = quantize(weights, name, search=search).dequantize()
    assert np.isfinite(numbers).all()
    assert (numbers[0] == 0).all()
    assert np.isfinite(quantize(np.zeros((2, 40)), name, search=search).dequantize()).all()


def test_constant_groups_are_exact_with_a_minimum() -> None:
    weights = np.full((2, 32), -0.375, np.float32)
    assert np.array_equal(quantize(weights, "u3:g8:f16+min").dequantize(), weights)


def test_tiny_weights_keep_a_scale() -> None:
    weights = np.full((1, 8), 2e-7, np.float32)  # / 127 is far below f16
    tensor = quantize(weights, "i8:row:f16")
    assert abs(float(tensor.scale_values[0, 0])) == 2.0**-24
    assert np.abs(tensor.dequantize() - weights).max() <= 2.0**-25


def test_short_last_group_is_a_group_of_its_own() -> None:
    for element in ("u3", "i4", "nf4", "ternary", "b1", "f6e3m2"):
        whole = quantize(WEIGHTS[:, :45], element, group=32)
        assert whole.scales.shape == (6, 2)
        parts = [quantize(WEIGHTS[:, part], element, group=32).dequantize() for part in (slice(0, 32), slice(32, 45))]
        assert np.array_equal(whole.dequantize(), np.concatenate(parts, axis=1))
        assert quantize(WEIGHTS[:, :5], element, group=128).scales.shape == (6, 1)


def test_rows_are_independent_of_how_many_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {name: quantize(WEIGHTS, name) for name in ("u3", "nvfp4", "nf4", "ternary")}
    monkeypatch.setattr("bitwright.frontend.quantize.ELEMENTS_AT_ONCE", 450)
    monkeypatch.setattr("bitwright.frontend.tensor.ELEMENTS_AT_ONCE", 450)
    for name, tensor in whole.items():
        assert quantize(WEIGHTS, name) == tensor
        assert np.array_equal(quantize(WEIGHTS, name).dequantize(), tensor.dequantize())


@pytest.mark.parametrize(
    "name", ["u2", "u3", "i2", "i3", "i8", "f4e2m1", "nf4", "mxfp4", "nvfp4", "u1", "u3:g128:f16+min"]
)
def test_search_never_makes_a_group_worse(name: str) -> None:
    plain, searched = (
        np.add.reduceat(errors(quantize(WEIGHTS, name, search=search), WEIGHTS) ** 2, range(0, 200, 128), axis=1)
        for search in (None, "mse")
    )
    assert (searched <= plain * (1 + 1e-12)).all()
    if name in ("u2", "i2", "i3", "f4e2m1"):
        assert searched.sum() < 0.97 * plain.sum()


def test_torch_and_numpy_dtypes_agree() -> None:
    expected = quantize(WEIGHTS, "u4")
    assert quantize(WEIGHTS.astype(np.float64), "u4") == expected
    assert quantize(WEIGHTS.tolist(), "u4") == expected
    assert quantize(np.asfortranarray(WEIGHTS), "u4") == expected
    assert quantize(WEIGHTS.astype(np.float16), "u4") == quantize(WEIGHTS.astype(np.float16).astype(np.float32), "u4")
    whole = np.arange(-8, 8).reshape(2, 8)
    assert np.array_equal(quantize(whole, "i8:row:f32", rule="amax").dequantize().round(1), whole)


def test_torch_tensors_are_taken() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(WEIGHTS)
    assert quantize(torch.nn.Parameter(tensor), "u4") == quantize(WEIGHTS, "u4")
    half = tensor.to(torch.bfloat16)
    assert quantize(half, "u4") == quantize(half.float().numpy(), "u4")


def test_defaults() -> None:
    assert str(quantize(WEIGHTS, "u3").format) == "u3:g128:f16+zero"
    assert str(quantize(WEIGHTS, "i3").format) == "i3:g128:f16"
    assert str(quantize(WEIGHTS, "nf4", group=None, scale="bf16").format) == "nf4:row:bf16"
    assert str(quantize(WEIGHTS, dtype("i5"), group=64, zero_point=True).format) == "i5:g64:f16+zero"
    assert str(quantize(WEIGHTS, "u3", zero_point="min").format) == "u3:g128:f16+min"
    assert str(quantize(np.abs(WEIGHTS), "u3", zero_point=False).format) == "u3:g128:f16"
    mine = codebook([-3, -1, 0, 2], "mine")
    assert quantize(WEIGHTS, Format(mine, 16, dtype("f16"))).format.element == mine


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_pointed_at(bad: float) -> None:
    weights = WEIGHTS.copy()
    weights[4, 17] = bad
    with pytest.raises(QuantizeError, match=r"w\[4, 17\] is"):
        quantize(weights, "u3")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"w": np.zeros(8), "element": "u3"}, "must be a matrix"),
        ({"w": np.zeros((0, 8)), "element": "u3"}, "must be a matrix"),
        ({"w": "weights", "element": "u3"}, "cannot read weights from str"),
        ({"w": [[1.0], [2.0, 3.0]], "element": "u3"}, "cannot read weights from list"),
        ({"element": "mxfp4", "group": 64}, "already says what group"),
        ({"element": "u3:g8:f16", "scale": "f16"}, "already says what group"),
        ({"element": "mxfp4", "zero_point": True}, "already says what group"),
        ({"element": "mxfp4", "rule": "largest"}, "unknown scale rule 'largest'"),
        ({"element": "mxfp4", "rule": "extremum"}, "scale type with a sign"),
        ({"element": "mxfp4", "rule": "range"}, "no zero point"),
        ({"element": "u3", "rule": "amax"}, "needs the rule 'range'"),
        ({"element": "nf4", "rule": "even"}, "integer or float element"),
        ({"element": "i4", "rule": "mean"}, "values 0 and"),
        ({"element": "i4", "search": "best"}, "search must be"),
        ({"element": "nf4", "zero_point": True}, "integer zero point needs an integer element"),
        ({"element": "u17"}, "1 to 8 bits"),
        ({"element": "q3"}, "unknown dtype"),
        ({"w": np.full((1, 8), 1e30), "element": "i4"}, "use scale='f32'"),
        ({"w": np.full((1, 8), 1e6), "element": "f4e2m1", "scale": "f8e4m3fn"}, "f8e4m3fn ends at 448"),
    ],
)
def test_mistakes_are_explained(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        quantize(**{"w": WEIGHTS, **arguments})  # type: ignore[arg-type]  # wrong on purpose


def test_search_near_the_end_of_the_scale_type_stays_inside() -> None:
    weights = np.full((1, 16), 447.0 * 6)
    weights[0, 1:] = 1.0
    for search in (None, "mse"):
        tensor = quantize(weights, "f4e2m1", group=16, scale="f8e4m3fn", search=search)  # type: ignore[arg-type]  # a loop
        assert tensor.dequantize()[0, 0] == 448 * 6


def test_weights_below_every_power_of_two_scale() -> None:
    tensor = quantize(np.full((1, 32), 1e-45), "mxfp4")
    assert tensor.scale_values.tolist() == [[2.0**-127]]
    assert np.isfinite(tensor.dequantize()).all()
