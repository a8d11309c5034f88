"""The machine's lock among real processes: never two at once, everybody in turn, and free again after kill -9."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitwright.frontend.tune.lock import LockError, MachineLock, lock_path

TURNS = 12
SCRIPT = """
import sys, time
from pathlib import Path
from bitwright.frontend.tune.lock import MachineLock
lock, log, name = MachineLock(Path(sys.argv[1])), open(sys.argv[2], "a", buffering=1), sys.argv[3]
log.write(f"ready {name} 0\\n")
while Path(sys.argv[2]).read_text().count("ready") < 2:
    time.sleep(0.005)
for _ in range(int(sys.argv[4])):
    with lock.held():
        log.write(f"in {name} {time.monotonic()}\\n")
        time.sleep(0.02)
        log.write(f"out {name} {time.monotonic()}\\n")
"""


def start(path: Path, log: Path, name: str, turns: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), str(log), name, str(turns)])


def test_two_processes_take_turns(tmp_path: Path) -> None:
    path, log = tmp_path / "lock", tmp_path / "log"
    both = [start(path, log, name, TURNS) for name in "ab"]
    assert [p.wait(60) for p in both] == [0, 0]
    events = [line.split() for line in log.read_text().splitlines() if not line.startswith("ready")]
    events.sort(key=lambda e: float(e[2]))
    assert len(events) == 4 * TURNS
    for entered, left in zip(events[::2], events[1::2], strict=True):
        assert (entered[0], left[0]) == ("in", "out")
        assert entered[1] == left[1]
    order = "".join(e[1] for e in events[::2])
    together = order[order.index("b") if order[0] == "a" else order.index("a") :]
    shared = together[: 2 * TURNS - 2 * (order.index(together[0]) + 1)]
    assert "aaa" not in shared, order
    assert "bbb" not in shared, order


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    path, log = tmp_path / "lock", tmp_path / "log"
    log.write_text("ready x 0\n")
    holder = start(path, log, "a", 10**6)
    try:
        while log.read_text().count("out a") < 2:
            assert holder.poll() is None
            time.sleep(0.01)
    finally:
        holder.kill()
        holder.wait()
    begin = time.monotonic()
    with MachineLock(path).held():
        assert time.monotonic() - begin < 5


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITWRIGHT_LOCK_FILE", str(tmp_path / "shared.lock"))
    assert lock_path() == tmp_path / "shared.lock"
    monkeypatch.delenv("BITWRIGHT_LOCK_FILE")
    assert lock_path().name.startswith("bitwright-measuring-")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(LockError, match=r"file/lock, by which sessions take turns .* set BITWRIGHT_LOCK_FILE"),
        MachineLock(tmp_path / "file" / "lock").held(),
    ):
        pass
