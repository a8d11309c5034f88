from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bitwright.backend.cache import Cache


def bitwright(folder: Path, *arguments: str) -> str:
    program = "from bitwright.frontend.cli.main import main; main()"
    environment = {**os.environ, "BITWRIGHT_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_info_counts_the_entries_and_clear_removes_them(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for name in "ab":
        cache.put(cache.key(name), bytes(1 << 20))
    text = bitwright(tmp_path, "cache")
    assert str(tmp_path) in text
    assert "entries  2" in text
    assert "2.0 MiB" in text
    assert "removed 2 entries" in bitwright(tmp_path, "cache", "clear")
    assert "entries  0" in bitwright(tmp_path, "cache", "info")
