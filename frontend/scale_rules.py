"""How the scale and the zero point of each group are chosen from its weights.

A rule looks at one group at a time and returns the scale as a real number; `choose` rounds it to the format's scale
type, because the codes must be computed with the scale that is stored. Rules ("max" is the element type's largest
value, "peak" its value of largest magnitude):

    amax      max|w| / max
    extremum  the weight of largest magnitude, sign included, / peak: two's complement integers use their lowest
              code, too, and the scale may be negative (llama.cpp's rule for Q4_0)
    mean      mean |w| of the weights that are not nearer to zero: for elements whose values are 0 and +-1
    floor     2^(floor(log2 max|w|) - floor(log2 max)): OCP Microscaling
    ceil      2^ceil(log2(max|w| / max)): the least power of two with which nothing saturates
    even      as floor, with max|w| first rounded (half up) to the element's number of significant bits
    range     (highest - lowest) / (max - min): the only rule with a zero point. For one-bit elements means of parts
              of the group take the place of highest and lowest
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ..vm.dtypes import DType, Float, Int
from ..vm.formats import Format
from .tensor import CodeArray, value_table

Rule = Literal["amax", "extremum", "mean", "floor", "ceil", "even", "range"]
Values = npt.NDArray[np.float64]

RULES: tuple[Rule, ...] = get_args(Rule)


class QuantizeError(ValueError):
    """Weights or options that cannot be quantised as asked."""


@dataclass(frozen=True)
class Groups:
    """Weights cut into groups: values [n, G, g] in float64; a short last group is filled up with its last weight.

    count [G] is how many weights of each group are real.
    """

    values: Values
    count: npt.NDArray[np.int64]

    @property
    def real(self) -> npt.NDArray[np.bool_]:
        """[G, g]: False where a short group was filled up."""
        return np.arange(self.values.shape[2]) < self.count[:, None]


@dataclass(frozen=True)
class Chosen:
    """Scale and zero codes [n, G] of some groups, and what they decode to (scale with the second level; f64)."""

    scales: CodeArray
    zeros: CodeArray | None
    scale: Values
    zero: Values | None

    def where(self, other_better: npt.NDArray[np.bool_], other: Chosen) -> Chosen:
        """The groups of `other` where it is better, these elsewhere."""

        def pick(mine: CodeArray, its: CodeArray) -> CodeArray:
            return np.where(other_better, its, mine)

        zeros = None if self.zeros is None or other.zeros is None else pick(self.zeros, other.zeros)
        zero = None if self.zero is None or other.zero is None else np.where(other_better, other.zero, self.zero)
        scale = np.where(other_better, other.scale, self.scale)
        return Chosen(pick(self.scales, other.scales), zeros, scale, zero)


def cut(weights: Values, group: int) -> Groups:
    """Weights [n, K] in groups of `group` along K."""
    n, k = weights.shape
    count = -(-k // group)
    if count * group != k:
        weights = np.pad(weights, ((0, 0), (0, count * group - k)), mode="edge")
    real = np.full(count, group)
    real[-1] = k - (count - 1) * group
    return Groups(weights.reshape(n, count, group), real)


def default_rule(format: Format) -> Rule:
    """The rule that serves a format best when the user names none."""
    values = value_table(format.element)
    values = values[np.isfinite(values)]
    if format.zero is not None:
        return "range"
    if format.scale.name == "e8m0":
        return "floor"
    if set(values) <= {-1.0, 0.0, 1.0} and values.min() < 0:
        return "mean"
    if 0 > values.min() != -values.max() and format.scale.name in ("f16", "bf16", "f32"):
        return "extremum"
    return "amax"


def check_rule(rule: Rule, format: Format) -> None:
    """Raises `QuantizeError` when a rule makes no sense for a format."""
    if rule not in RULES:
        raise QuantizeError(f"unknown scale rule {rule!r}: take one of {', '.join(RULES)}")
    if (format.zero is not None) != (rule == "range"):
        need = "needs the rule 'range'" if format.zero is not None else "has no zero point, which 'range' is for"
        raise QuantizeError(f"rule {rule!r} does not fit format {format}: it {need}")
    values = value_table(format.element)
    if rule == "mean" and not set(values[np.isfinite(values)]) <= {-1.0, 0.0, 1.0}:
        raise QuantizeError(f"rule 'mean' is for elements with the values 0 and +-1, not {format.element}: use 'amax'")
    if rule == "extremum" and isinstance(format.scale, Float) and not format.scale.signed:
        raise QuantizeError(f"rule 'extremum' needs a scale type with a sign, not {format.scale}: use 'amax'")
    if rule == "even" and not isinstance(format.element, (Int, Float)):
        raise QuantizeError(f"rule 'even' needs an integer or float element, not {format.element}: use 'floor'")


def choose(groups: Groups, format: Format, rule: Rule, second: float, multiplier: float = 1.0) -> Chosen:
    """Scales and zero points of `groups`, rounded to their types. `multiplier` shrinks or stretches the scale.

    `QuantizeError` when the rule's own scale (multiplier 1) lies beyond the end of the scale type.
    """
    low, high = groups.values.min(axis=2), groups.values.max(axis=2)
    if rule == "range":
        if format.element.bits == 1:
            low, high = _two_levels(groups, format)
        return _range(format, second, low, high, multiplier)
    amax = np.maximum(-low, high)
    wanted = _symmetric(groups, format.element, rule, low, high, amax)
    _check_reach(wanted / second, format)
    codes, scale = _round_scale(wanted * multiplier, amax > 0, format, second)
    return Chosen(codes, None, scale, None)


def _symmetric(groups: Groups, element: DType, rule: Rule, low: Values, high: Values, amax: Values) -> Values:
    values = value_table(element)
    values = values[np.isfinite(values)]
    top = float(values.max()) if values.max() > 0 else float(-values.min())
    match rule:
        case "amax":
            return amax / top
        case "extremum":
            peak = float(values[np.abs(values).argmax()])
            return np.where(-low > high, low, high) / peak
        case "mean":
            return _mean(groups, values)
        case "ceil":
            return _power_of_two(amax / top, up=True)
        case "even":
            amax = _round_significand(amax, element)
    return _power_of_two(amax, up=False) / _power_of_two(np.float64(top), up=False)


def _mean(groups: Groups, values: Values) -> Values:
    """One step of Lloyd's algorithm from the scale mean|w|: the mean of the magnitudes that do not round to zero.

    For +-1 this is the least-squares scale, mean|w|. Where the values have one sign only ({0, -1}), the half of the
    weights with the greater sum is represented and gives the scale its sign.
    """
    real = groups.real
    sign: Values = np.ones(groups.values.shape[:2])
    magnitude = np.abs(groups.values)
    start = magnitude.sum(axis=2, where=real) / groups.count
    if values.max() <= 0 or values.min() >= 0:
        total = groups.values.sum(axis=2, where=real)
        sign = np.where(total < 0, -1.0, 1.0)
        magnitude = np.maximum(groups.values * sign[:, :, None], 0.0)
        sign *= 1.0 if values.max() > 0 else -1.0
    kept = real if 0.0 not in values else real & (magnitude > start[:, :, None] / 2)
    total, number = magnitude.sum(axis=2, where=kept), np.broadcast_to(kept, magnitude.shape).sum(axis=2)
    return np.asarray(sign * total / np.maximum(number, 1))


def _two_levels(groups: Groups, format: Format) -> tuple[Values, Values]:
    """The two numbers that one-bit codes stand for; the extremes of the weights would be far from most of them.

    With an integer zero point one of them is 0. Otherwise both are free: the means of the weights on either side of
    their mean.
    """
    if format.zero == "int":
        other = _mean(groups, np.array([0.0, 1.0]))
        return np.minimum(other, 0.0), np.maximum(other, 0.0)
    real = groups.real
    middle = groups.values.sum(axis=2, where=real) / groups.count
    above = real & (groups.values > middle[:, :, None])
    number = above.sum(axis=2)
    high_sum, low_sum = (groups.values.sum(axis=2, where=part) for part in (above, real & ~above))
    return low_sum / np.maximum(groups.count - number, 1), np.where(
        number > 0, high_sum / np.maximum(number, 1), middle
    )


def _power_of_two(x: Values | np.float64, up: bool) -> Values:
    """The nearest power of two not above (`up`: not below) x; 0 for 0."""
    fraction, exponent = np.frexp(x)  # x = fraction * 2^exponent, 1/2 <= fraction < 1
    at_power = up & (fraction > 0.5)
    return np.where(fraction == 0, 0.0, np.ldexp(1.0, exponent - 1 + at_power))


def _round_significand(x: Values, element: DType) -> Values:
    """x rounded, half up, to as many bits after the leading one as the element type's largest binade has."""
    bits = element.mantissa if isinstance(element, Float) else element.bits - 2
    fraction, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.floor(np.ldexp(fraction, bits + 1) + 0.5), exponent - bits - 1))


def _round_scale(
    wanted: Values, used: npt.NDArray[np.bool_], format: Format, second: float
) -> tuple[CodeArray, Values]:
    """Codes and values of scales. A group that is all zero gets scale 1 (0, or the least there is, when the element
    type has no zero); a scale too small for its type becomes the least positive one, never 0."""
    scale_type, element_values = format.scale, value_table(format.element)
    idle = 1.0 if 0.0 in element_values else 0.0
    wanted = np.where(used, wanted / second, idle)
    codes = _encode(scale_type, wanted)
    scale = np.asarray(scale_type.decode(codes), dtype=np.float64)
    lost = (scale == 0) & used
    if lost.any():
        codes = np.where(
            lost, _encode(scale_type, _least_positive(scale_type) * np.where(wanted < 0, -1.0, 1.0)), codes
        )
        scale = np.asarray(scale_type.decode(codes), dtype=np.float64)
    return codes, scale * second


def _check_reach(wanted: Values, format: Format) -> None:
    """A scale beyond its type would cut off the largest weights. (float32's rounding of the second level may put one
    a hair above the end; that is no loss.)"""
    worst = float(np.abs(wanted).max())
    if worst > format.scale.max * (1 + 1e-6):
        raise QuantizeError(
            f"a group needs the scale {worst:.4g}, and {format.scale} ends at {format.scale.max:.4g}: "
            "use scale='f32' or 'bf16', or make the weights smaller"
        )


def _encode(kind: DType, values: Values) -> CodeArray:
    codes = kind.encode(values)
    return codes.astype(kind.code_dtype, copy=False)


def _least_positive(kind: DType) -> float:
    assert isinstance(kind, Float)
    if not kind.subnormal:
        return float(2.0 ** (-kind.bias)) if not kind.zero else float(2.0 ** (1 - kind.bias))
    return float(2.0 ** (1 - kind.bias - kind.mantissa))


def _range(format: Format, second: float, low: Values, high: Values, multiplier: float) -> Chosen:
    values = value_table(format.element)
    values = values[np.isfinite(values)]
    least, most = float(values.min()), float(values.max())
    if format.zero != "min":  # zero itself must be on the grid's range, or the zero point would not fit
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    wanted = (high - low) / (most - least)
    _check_reach(wanted / second, format)
    codes, scale = _round_scale(wanted * multiplier, high > low, format, second)
    low = low * multiplier
    zero_type = format.zero_dtype
    assert zero_type is not None
    with np.errstate(divide="ignore", invalid="ignore"):
        in_codes = np.where(scale == 0, 0.0, least - low / scale)
    match format.zero:
        case "int":
            zeros = _encode(zero_type, np.clip(np.rint(in_codes), least, most))
        case "float":
            zeros = _encode(zero_type, in_codes)
        case _:
            zeros = _encode(zero_type, low - least * scale)
    return Chosen(codes, zeros, scale, np.asarray(zero_type.decode(zeros), dtype=np.float64))
