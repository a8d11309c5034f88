"""`linear` takes the schedule that the table names, for the right products only, and at no cost."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bitwright as bw
from bitwright.frontend.library.plan import Schedule, plan, prepare
from bitwright.frontend.tune import dispatch
from bitwright.frontend.tune.device import compiler_version, device
from bitwright.frontend.tune.linear_problem import LinearProblem
from bitwright.frontend.tune.linear_strategy import candidate_of
from bitwright.frontend.tune.places import winners_file
from bitwright.frontend.tune.table import Table, Winner, bucket, problem_class

FORMAT = "u3:g64:f16+zero"


@pytest.fixture(autouse=True)
def own_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("filelock")
    monkeypatch.setenv("BITWRIGHT_DATA_DIR", str(tmp_path))
    dispatch.forget()


@pytest.fixture(autouse=True)
def forget_it_after() -> object:
    yield
    dispatch.forget()


def winner(m: int, schedule: Schedule) -> Winner:
    problem = LinearProblem(FORMAT, "f32", m, 64, 128)
    spec = problem.to_json()
    return Winner(
        device().key, problem_class(problem), candidate_of(schedule), compiler_version(), 1e-6, 2e-6, "s", "2026", spec
    )


def other_schedule(m: int) -> Schedule:
    """One that the planner does not choose for m rows."""
    q = bw.quantize(np.ones((64, 128), np.float32), FORMAT)
    chosen = plan(prepare(q, "f32", bw.target("cpu")), "f32", m, bw.target("cpu"))
    return replace(chosen, form="direct", rows=2 if m > 2 else 1, ahead=2 if chosen.ahead != 2 else 4, depth=0, share=0)


def test_a_winner_is_used_for_its_bucket_of_rows_and_nothing_else() -> None:
    schedule = other_schedule(7)
    Table(winners_file()).put([winner(7, schedule)])
    format = bw.Format.parse(FORMAT)
    found = {m: dispatch.tuned(format, "f32", m, 64, 128) for m in range(1, 12)}
    assert found == {m: schedule if 5 <= m <= 8 else None for m in range(1, 12)}
    assert dispatch.tuned(format, "int8", 7, 64, 128) is None
    assert dispatch.tuned(format, "f32", 7, 128, 128) is None
    assert dispatch.tuned(format, "f32", 7, 64, 192) is None
    assert dispatch.tuned(bw.Format.parse("u4:g64:f16+zero"), "f32", 7, 64, 128) is None


def test_linear_runs_the_tuned_kernel_and_is_right() -> None:
    schedule = other_schedule(4)
    Table(winners_file()).put([winner(4, schedule)])
    rng = np.random.default_rng(0)
    q = bw.quantize(rng.standard_normal((64, 128), np.float32), FORMAT)
    x = rng.standard_normal((3, 128)).astype(np.float32)
    y = bw.linear(x, q)
    np.testing.assert_allclose(y, x @ q.dequantize().T, rtol=1e-4, atol=1e-4)
    used = [key for key in prepare(q, "f32", bw.target("cpu")).kernels if schedule in key]
    assert len(used) == 1


@pytest.mark.parametrize("change", [{"device": "another"}, {"problem": "kernel double 1"}])
def test_what_is_of_another_device_or_kind_is_not_used(change: dict[str, str]) -> None:
    Table(winners_file()).put([replace(winner(1, other_schedule(1)), **change)])
    assert dispatch.tuned(bw.Format.parse(FORMAT), "f32", 1, 64, 128) is None


def test_another_version_of_the_compiler_is_not_trusted() -> None:
    Table(winners_file()).put([replace(winner(1, other_schedule(1)), compiler="older")])
    with pytest.warns(UserWarning, match="1 tuned choices were measured with another version.*tune validate"):
        assert dispatch.tuned(bw.Format.parse(FORMAT), "f32", 1, 64, 128) is None


def test_a_damaged_table_does_no_harm() -> None:
    winners_file().parent.mkdir(parents=True, exist_ok=True)
    winners_file().write_text('{"bitwright_winners": 1, "winners": [{}]}')
    q = bw.quantize(np.eye(32, dtype=np.float32), "u4")
    with pytest.warns(UserWarning, match="table of tuned choices is not used"):
        y = bw.linear(np.ones((1, 32), np.float32), q)
    assert y.shape == (1, 32)


def test_a_look_up_takes_microseconds_at_most() -> None:
    Table(winners_file()).put([winner(m, other_schedule(m)) for m in (1, 2, 4, 8)])
    format = bw.Format.parse(FORMAT)
    dispatch.tuned(format, "f32", 1, 64, 128)
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(100):
            dispatch.tuned(format, "f32", 1, 64, 256)
        best = min(best, (time.perf_counter() - start) / 100)
    assert best < 20e-6


def test_buckets_are_powers_of_two_above() -> None:
    for m in range(1, 2000):
        size = bucket(m)
        assert size >= m > size // 2
        assert size & (size - 1) == 0
