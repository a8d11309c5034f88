"""Weights to a quantised tensor: choose scales group by group, then take the nearest code of every weight.

>>> q = quantize(np.random.default_rng(0).normal(size=(4, 256)), "u3", group=128)
>>> str(q.format), q.shape
('u3:g128:f16+zero', (4, 256))
"""

from __future__ import annotations

from typing import Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from ..vm.dtypes import DType, Int, dtype
from ..vm.formats import NAMED_FORMATS, Format, ZeroKind
from .scale_rules import Chosen, Groups, QuantizeError, Rule, Values, check_rule, choose, cut, default_rule
from .tensor import ELEMENTS_AT_ONCE, CodeArray, Codes, QTensor, value_table

Auto = Literal["auto"]
Search = Literal["mse"]

# Factors tried on each group's scale by search="mse". A power-of-two scale can only move by whole binades.
FINE_STEPS = tuple(float(step) for step in np.linspace(1.1, 0.35, 16))
BINARY_STEPS = (0.5, 2.0)


class _TorchLike(Protocol):
    def detach(self) -> _TorchLike: ...
    def float(self) -> _TorchLike: ...
    def cpu(self) -> _TorchLike: ...
    def numpy(self) -> npt.NDArray[np.float32]: ...


def quantize(
    w: object,
    element: str | DType | Format,
    group: int | Auto | None = "auto",
    zero_point: bool | ZeroKind | None = None,
    scale: str | DType | Auto = "auto",
    rule: Rule | None = None,
    search: Search | None = None,
) -> QTensor:
    """The matrix `w[N, K]` (NumPy or torch, any real dtype) with every weight replaced by the nearest code.

    element     an element type ("u3", "i5", "f6e3m2", "nf4", "b1" ...), or a whole format ("mxfp4", "nvfp4",
                "u3:g128:f16+zero", a `Format`), which then settles group, zero_point and scale
    group       weights along K that share a scale; None: a whole row; "auto": 128
    zero_point  True or "int", "float", "min" (see `vm.formats`), False for none; None: an integer zero point for
                unsigned integers, none for all other types
    scale       type of the stored scales; "auto": f16
    rule        how scales are chosen (see `frontend.scale_rules`); None: the best known for the format
    search      "mse": try several multiples of each scale, keep the one with the least squared error (16 times slower)

    Scales are rounded to their type before codes are computed. Ties go to the even code. NaN or infinity among the
    weights, and scales beyond the range of their type, raise `QuantizeError`.
    """
    format = _format(element, group, zero_point, scale)
    if search not in (None, "mse"):
        raise QuantizeError(f"search must be None or 'mse', not {search!r}")
    chosen_rule = default_rule(format) if rule is None else rule
    check_rule(chosen_rule, format)
    weights = _matrix(w)
    steps = () if search is None else BINARY_STEPS if format.scale.name == "e8m0" else FINE_STEPS
    return _quantize(weights, format, chosen_rule, steps)


def _format(
    element: str | DType | Format,
    group: int | Auto | None,
    zero_point: bool | ZeroKind | None,
    scale: str | DType | Auto,
) -> Format:
    whole = element if isinstance(element, Format) else None
    if isinstance(element, str) and (":" in element or element.strip().lower() in NAMED_FORMATS):
        whole = Format.parse(element)
    if whole is not None:
        if group != "auto" or scale != "auto" or zero_point is not None:
            raise QuantizeError(
                f"format {whole} already says what group, scale and zero point are: leave those arguments out, "
                "or name only the element type"
            )
        return whole
    assert not isinstance(element, Format)
    kind = dtype(element)
    zero: ZeroKind | None
    if zero_point is None:
        zero = "int" if isinstance(kind, Int) and not kind.signed else None
    elif isinstance(zero_point, bool):
        zero = "int" if zero_point else None
    else:
        zero = zero_point
    return Format(kind, 128 if group == "auto" else group, dtype("f16" if scale == "auto" else scale), zero)


def _matrix(w: object) -> npt.NDArray[np.float32] | npt.NDArray[np.float64]:
    if type(w).__module__.partition(".")[0] == "torch":
        w = cast(_TorchLike, w).detach().float().cpu().numpy()
    try:
        array = np.asarray(w)
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise QuantizeError(f"cannot read weights from {type(w).__name__}: pass a NumPy or torch matrix") from error
    if array.ndim != 2 or not array.size:
        raise QuantizeError(f"weights must be a matrix [N, K] with at least one element, not shape {array.shape}")
    if not np.isfinite(array).all():
        row, column = (int(i[0]) for i in np.nonzero(~np.isfinite(array)))
        raise QuantizeError(f"weights must be finite, but w[{row}, {column}] is {array[row, column]}")
    return array


def _quantize(
    weights: npt.NDArray[np.float32] | npt.NDArray[np.float64], format: Format, rule: Rule, steps: tuple[float, ...]
) -> QTensor:
    n, k = weights.shape
    zero_type = format.zero_dtype
    second = _second_level(weights, format)
    codes = np.empty((n, k), np.uint8)
    scales: CodeArray = np.empty((n, format.groups(k)), format.scale.code_dtype)
    zeros: CodeArray | None = None if zero_type is None else np.empty(scales.shape, zero_type.code_dtype)
    at_once = max(1, ELEMENTS_AT_ONCE // k)
    for row in range(0, n, at_once):
        rows = slice(row, row + at_once)
        groups = cut(weights[rows].astype(np.float64), format.group_length(k))
        best, nearest = _search(groups, format, rule, second, steps)
        codes[rows] = nearest.reshape(nearest.shape[0], -1)[:, :k]
        scales[rows] = best.scales
        if zeros is not None and best.zeros is not None:
            zeros[rows] = best.zeros
    return QTensor.from_codes(codes, scales, format, zeros, second)


def _second_level(weights: npt.NDArray[np.float32] | npt.NDArray[np.float64], format: Format) -> float:
    """The tensor's own scale: with it the largest group scale is just the scale type's maximum (NVFP4's rule)."""
    if format.second is None:
        return 1.0
    values = value_table(format.element)
    top = np.nanmax(np.where(np.isfinite(values), values, np.nan))
    second = np.float32(np.abs(weights).max() / (top * format.scale.max))
    return float(second) if second > 0 else 1.0


def _nearest(groups: Groups, chosen: Chosen, format: Format) -> Codes:
    """The nearest code of every weight, given scales and zero points: uint8 [n, G, g]."""
    scale = chosen.scale[:, :, None]
    wanted = groups.values.copy()
    if chosen.zero is not None and format.zero == "min":
        wanted -= chosen.zero[:, :, None]
    np.divide(wanted, scale, out=wanted, where=scale != 0)
    if chosen.zero is not None and format.zero != "min":
        wanted += chosen.zero[:, :, None]
    element = format.element
    if not isinstance(element, Int):
        return element.encode(wanted).astype(np.uint8, copy=False)
    np.rint(wanted, out=wanted)  # the same as element.encode, which must care for infinities and wide integers
    np.clip(wanted, element.min, element.max, out=wanted)
    return wanted.astype(np.int16).astype(np.uint8) & np.uint8((1 << element.bits) - 1)


def _error(groups: Groups, chosen: Chosen, codes: Codes, format: Format) -> Values:
    """Sum of squared errors of each group [n, G]."""
    value = value_table(format.element)[codes]
    if chosen.zero is not None and format.zero != "min":
        value -= chosen.zero[:, :, None]
    value *= chosen.scale[:, :, None]
    if chosen.zero is not None and format.zero == "min":
        value += chosen.zero[:, :, None]
    value -= groups.values
    value *= value
    return np.asarray(value.sum(axis=2, where=groups.real))


def _search(
    groups: Groups, format: Format, rule: Rule, second: float, steps: tuple[float, ...]
) -> tuple[Chosen, Codes]:
    """The best of the rule's scales and their multiples, group by group. On a tie the rule's own scale stays."""
    best = choose(groups, format, rule, second)
    codes = _nearest(groups, best, format)
    error = _error(groups, best, codes, format)
    for step in steps:
        tried = choose(groups, format, rule, second, step)
        tried_codes = _nearest(groups, tried, format)
        tried_error = _error(groups, tried, tried_codes, format)
        better = tried_error < error
        error = np.where(better, tried_error, error)
        codes = np.where(better[:, :, None], tried_codes, codes)
        best = best.where(better, tried)
    return best, codes
