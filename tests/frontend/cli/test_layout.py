from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from bitwright.frontend.cli.main import app

RUN = CliRunner()


def test_the_table_names_lane_and_register_of_each_element() -> None:
    result = RUN.invoke(app, ["layout", "spatial(2, 4) * local(1, 2)"])
    assert result.exit_code == 0
    rows = [line.split()[1:] for line in result.stdout.splitlines()[2:]]
    assert rows == [[f"{4 * i + j // 2}:{j % 2}" for j in range(8)] for i in range(2)]


def test_json_lists_every_point() -> None:
    facts = json.loads(RUN.invoke(app, ["layout", "column_spatial(3, 2)", "--json"]).stdout)
    assert facts["shape"] == [3, 2]
    assert facts["axes"] == ["d0", "d1", "lane"]
    assert sorted(map(tuple, facts["points"])) == sorted((i, j, i + 3 * j) for i, j in product(range(3), range(2)))


def test_svg_is_a_picture_with_a_cell_for_each_element(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    assert RUN.invoke(app, ["layout", "spatial(4, 4)", "--svg", str(path)]).exit_code == 0
    root = ElementTree.parse(path).getroot()
    assert root.tag.endswith("svg")
    assert len([e for e in root.iter() if e.tag.endswith("}g")]) == 16


def test_storage_tells_the_bytes_of_a_tile() -> None:
    text = 'tiled("local(32, 1) * spatial(1, 16)", container=8)'
    result = RUN.invoke(app, ["layout", text, "--bits", "3"])
    assert result.exit_code == 0
    assert f"tile bytes: {32 * 16 * 3 // 8}" in result.stdout
    assert "planes: [2, 1]" in result.stdout
    facts = json.loads(RUN.invoke(app, ["layout", text, "--bits", "5", "--json"]).stdout)
    assert facts["storage"]["tile bytes"] == 32 * 16 * 5 // 8


def test_a_layout_that_is_no_tile_is_listed_point_by_point() -> None:
    result = RUN.invoke(app, ["layout", "dense(2, 3)"])
    assert result.exit_code == 0
    points = [tuple(map(int, line.split())) for line in result.stdout.splitlines()[2:]]
    assert points == [(i, j, 3 * i + j) for i in range(2) for j in range(3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["spatial(2"], "error:"),
        (["sptial(2, 2)"], "not a layout"),
        (["spatial(2)", "--bits", "3"], "leave --bits out"),
        (['tiled("local(8, 1)")'], "add --bits"),
        (["local(1024, 1024)", "--json"], "at most 65536"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    result = RUN.invoke(app, ["layout", *arguments])
    assert result.exit_code == 1
    assert message in result.stderr
