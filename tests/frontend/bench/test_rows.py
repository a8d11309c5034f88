from __future__ import annotations

import pytest

from bitwright.frontend.bench.record import RecordError, rows_of, to_json
from bitwright.frontend.bench.rows import Row, compare, measured_row, peak_of
from bitwright.frontend.bench.timing import Contender, Facts
from bitwright.frontend.library.plan import Activations

READINGS = {"bandwidth": 40e9, "f32": 500e9, "bf16": 1000e9, "int8": 2000e9}


def row(name: str, bits: int, microseconds: float, activations: Activations = "int8", m: int = 1) -> Row:
    facts = Facts(name, f"u{bits}", bits, activations, 1000 * bits, ours=name == "us")
    contender = Contender(facts, 1e-3, 1, lambda: None)
    return measured_row(contender, m, 80, 100, microseconds / 1e6, READINGS)


def test_figures_follow_from_the_time_and_the_limits() -> None:
    figures = row("us", 4, 2.0, "bf16", m=5).figures
    assert figures is not None
    assert figures.microseconds == pytest.approx(2.0)
    assert figures.gigabytes_per_second == pytest.approx(2.0)  # 4000 bytes in 2 microseconds
    assert figures.of_bandwidth == pytest.approx(0.05)
    assert figures.gigaoperations_per_second == pytest.approx(40.0)  # 2 * 5 * 80 * 100 in the same time
    assert figures.peak_gigaoperations_per_second == pytest.approx(1000.0)
    assert figures.of_peak == pytest.approx(0.04)
    assert row("us", 4, 2.0, m=5).operations_per_byte == 20.0


def test_a_peak_is_that_of_the_instruction_that_the_activations_use() -> None:
    assert [peak_of(kind, READINGS) for kind in ("int8", "bf16", "f16", "f32")] == ["int8", "bf16", "f32", "f32"]
    assert peak_of("bf16", ["bandwidth", "f32", "int8"]) == "f32"


def test_the_best_peer_has_the_same_width_or_the_next_wider_one() -> None:
    peers = [row("slow", 4, 9.0), row("fast", 4, 6.0), row("wide", 8, 3.0), row("many", 4, 1.0, m=2)]
    wrong = Row(Facts("wrong", "u4", 4, "int8", 1), 1, 80, 100, 0.5, None)
    rows = [*peers, wrong, row("us", 3, 1.0)]
    for bits, name, ratio in ((3, "fast", 3.0), (4, "fast", 3.0), (5, "wide", 1.5), (8, "wide", 1.5)):
        found = compare(row("us", bits, 2.0), rows)
        assert found.best is not None
        assert found.best.facts.name == name
        assert found.ratio == pytest.approx(ratio)
    alone = compare(row("us", 16, 2.0), rows)
    assert (alone.best, alone.ratio, alone.alike, alone.alike_ratio) == (None, None, None, None)


def test_peers_that_round_no_further_are_compared_too() -> None:
    rows = [row("bytes", 4, 2.0), row("halves", 4, 5.0, "bf16"), row("floats", 8, 12.0, "f32")]
    found = [compare(row("us", 4, 1.0, kind), rows) for kind in ("int8", "bf16", "f32")]
    assert [one.alike.facts.name for one in found if one.alike] == ["bytes", "halves", "floats"]
    assert [one.alike_ratio for one in found] == [pytest.approx(2), pytest.approx(5), pytest.approx(12)]
    assert {one.best.facts.name for one in found if one.best} == {"bytes"}


def test_a_wrong_row_of_ours_has_no_ratio() -> None:
    wrong = Row(Facts("us", "u4", 4, "int8", 1, ours=True), 1, 80, 100, 0.5, None)
    assert compare(wrong, [row("them", 4, 2.0), wrong]).ratio is None


def test_rows_come_back_from_their_record() -> None:
    rows = [row("us", 3, 1.5), row("them", 4, 2.5, "f32"), Row(Facts("bad", "u4", 4, "int8", 7), 2, 80, 100, 0.5, None)]
    text = to_json(rows, {"threads": 2})
    assert '"threads": 2' in text
    assert rows_of(text) == rows


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"name": "us"}]}', '{"rows": [3]}', '{"threads": 2}'])
def test_other_text_is_no_record(text: str) -> None:
    with pytest.raises(RecordError, match="--json"):
        rows_of(text)
