from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitwright.frontend.bench.labels import Box
from bitwright.frontend.bench.rows import Row, measured_row
from bitwright.frontend.bench.timing import Contender, Facts
from bitwright.frontend.library.plan import Activations

pytest.importorskip("matplotlib")

from bitwright.frontend.bench.plot import COLOURS, PlotError, draw  # only where it is installed

READINGS = {"bandwidth": 40e9, "f32": 500e9, "bf16": 1000e9, "int8": 2000e9}


def row(name: str, weights: str, bits: int, m: int, microseconds: float, activations: Activations) -> Row:
    facts = Facts(name, weights, bits, activations, 4096 * 512 * bits, ours=name == "us")
    return measured_row(Contender(facts, 0.0, 1, lambda: None), m, 4096, 4096, microseconds / 1e6, READINGS)


def area(path: Path, colour: str) -> int:
    """Pixels of that colour."""
    import matplotlib.image

    picture = np.asarray(matplotlib.image.imread(str(path)))[:, :, :3]
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return int((np.abs(picture - wanted).max(axis=2) < 0.02).sum())


def test_a_picture_shows_ours_in_the_colour_of_the_fastest_activations(tmp_path: Path) -> None:
    path = tmp_path / "roofline.png"
    rows = [row("us", f"u{bits}", bits, 1, 100 + 50 * bits, "bf16") for bits in (1, 4, 8)]
    rows += [row("them", "q4_K", 4, 1, 400.0, "int8"), Row(Facts("bad", "u4", 4, "int8", 7), 1, 4096, 4096, 0.5, None)]
    areas = []
    for microseconds in (299.0, 301.0):  # just faster than bf16, and just slower
        draw([*rows, row("us", "u4", 4, 1, microseconds, "f32")], path)
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        areas.append({kind: area(path, colour) for kind, colour in COLOURS.items()})
    faster, slower = areas
    assert faster["f32"] - slower["f32"] > 150  # a disc more, of about 25 pixels across with a number in it
    assert slower["bf16"] - faster["bf16"] > 150
    assert slower["f32"] > 100  # its ceiling
    assert slower["int8"] > 100
    assert slower["f16"] == 0


def test_nothing_timed_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="nothing"):
        draw([Row(Facts("bad", "u4", 4, "int8", 7), 1, 64, 64, 0.5, None)], tmp_path / "x.png")


def test_boxes_meet_where_they_share_area() -> None:
    box = Box(0, 0, 4, 2)
    assert box.meets(Box(3, 1, 5, 5))
    assert Box(1, 0.5, 2, 1).meets(box)
    assert not box.meets(Box(4, 0, 8, 2))  # side by side
    assert not box.meets(Box(0, 3, 4, 5))
