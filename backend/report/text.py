"""A report as text for people: a line for each figure, then a table of the loops."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["describe"]

_FIRST, _COLUMN = 28, 20
_SUFFIX = "_per_weight"


def describe(figures: Mapping[str, int | float]) -> str:
    """The figures of a kernel, one in a line; then those of its loops, with a column for each loop.

    What the instructions of a kind come to for 64 weights stands in brackets behind their number.
    """
    plain = {name: figure for name, figure in figures.items() if "." not in name}
    lines = [f"{name:{_FIRST}}{_number(figure)}" for name, figure in plain.items()]
    loops = list(dict.fromkeys(name.partition(".")[0] for name in figures if "." in name))
    if loops:
        keys = [name.partition(".")[2] for name in figures if name.startswith(f"{loops[0]}.")]
        lines += ["", _row("loop (per 64 weights)", loops)]
        lines += [
            _row(f"  {key}", [_counted(figures, f"{loop}.{key}") for loop in loops])
            for key in keys
            if not key.endswith(_SUFFIX)
        ]
    return "\n".join(lines)


def _row(name: str, cells: list[str]) -> str:
    return (f"{name:{_FIRST}}" + "".join(f"{cell:{_COLUMN}}" for cell in cells)).rstrip()


def _counted(figures: Mapping[str, int | float], name: str) -> str:
    per_weight = figures.get(name + _SUFFIX)
    return _number(figures[name]) + ("" if per_weight is None else f" ({64 * per_weight:.2f})")


def _number(figure: int | float) -> str:
    return f"{figure:,.4g}" if isinstance(figure, float) else f"{figure:,}"
