"""The cache on disk: damage, limits, many processes at once, and directories that cannot be written."""

import os
import subprocess
import sys
import time
import warnings

import pytest

from bitwright.backend import cache as module
from bitwright.backend.cache import Cache, default_cache


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def only_file(cache):
    (path,) = [path for path in cache.directory.rglob("*") if path.is_file()]
    return path


def test_what_is_put_is_got(cache):
    key = cache.key("a")
    assert cache.get(key) is None
    for data in (b"", b"\0" * 100, bytes(range(256)) * 40):
        cache.put(key, data)
        assert cache.get(key) == data
    assert Cache(cache.directory).get(key) == bytes(range(256)) * 40


def test_keys_tell_parts_apart(cache):
    parts = [(), ("a",), (b"a",), ("a", ""), ("", "a"), ("ab", "c"), ("a", "bc"), ("abc",), (b"ab", "c")]
    keys = [cache.key(*p) for p in parts]
    assert len(set(keys)) == len(parts)
    assert keys == [cache.key(*p) for p in parts]


def test_keys_change_with_the_sources_and_the_tools(cache, monkeypatch, tmp_path):
    before = cache.key("a")
    monkeypatch.setattr(module, "_toolchain", lambda: ("other tools", b""))
    assert cache.key("a") != before
    (tmp_path / "vm").mkdir()
    source = tmp_path / "vm" / "x.py"
    digests = set()
    for text in ("x = 1", "x = 2", "x = 1 "):
        source.write_text(text)
        digests.add(module._sources(tmp_path))
    source.rename(tmp_path / "vm" / "y.py")
    digests.add(module._sources(tmp_path))
    assert len(digests) == 4
    (tmp_path / "vm" / "note.txt").write_text("not a source")
    (tmp_path / "other.py").write_text("not ours")
    assert module._sources(tmp_path) in digests


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_every_damage_is_a_miss_and_is_removed(cache, size):
    key = cache.key("a")
    cache.put(key, b"x" * size)
    path = only_file(cache)
    whole = path.read_bytes()
    flips = [bytes([*whole[:i], whole[i] ^ 4, *whole[i + 1 :]]) for i in range(0, len(whole), 7)]
    for damaged in [b"", whole[:-1], whole[: len(whole) // 2], whole + b"x", *flips]:
        path.write_bytes(damaged)
        assert cache.get(key) is None
        assert not path.exists()
    cache.put(key, b"new")
    assert cache.get(key) == b"new"


def test_an_entry_under_another_name_is_a_miss(cache):
    one, two = cache.key("1"), cache.key("2")
    cache.put(one, b"one")
    path = cache.directory / two[:2] / f"{two}.bin"
    path.parent.mkdir(exist_ok=True)
    only_file(cache).rename(path)
    assert cache.get(two) is None


def test_the_limit_drops_what_was_used_longest_ago(tmp_path):
    cache = Cache(tmp_path, limit=20_000)
    keys = [cache.key(str(i)) for i in range(40)]
    for age, key in enumerate(keys):
        cache.put(key, bytes(1000))
        path = tmp_path / key[:2] / f"{key}.bin"
        if path.exists():
            os.utime(path, (1e9 + age, 1e9 + age))
        if age > 2:
            assert cache.get(keys[0]) is not None, age  # used all the time: never dropped
    assert cache.stats().nbytes <= 20_000 + 20_000 // 8
    kept = [cache.get(key) is not None for key in keys]
    assert kept[0]
    assert all(kept[-10:])
    assert not any(kept[1:20])


def test_stats_and_clear(cache):
    for i in range(5):
        cache.put(cache.key(str(i)), bytes(100))
    stats = cache.stats()
    assert stats.entries == 5
    assert 500 < stats.nbytes < 1500
    assert stats.nbytes == sum(path.stat().st_size for path in cache.directory.rglob("*.bin"))
    stranger = cache.directory / "readme.txt"
    stranger.write_text("mine")
    assert cache.clear() == 5
    assert cache.stats().entries == 0
    assert cache.clear() == 0
    assert stranger.exists()


def test_abandoned_files_are_swept(cache):
    cache.put(cache.key("a"), b"x")
    folder = only_file(cache).parent
    old, new = folder / "tmp-old", folder / "tmp-new"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.stats()
    assert not old.exists()
    assert new.exists()


def test_a_directory_that_cannot_be_made_warns_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "cache")
    key = cache.key("a")
    with pytest.warns(UserWarning, match="BITWRIGHT_CACHE_DIR"):
        cache.put(key, b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(key, b"x")
        assert cache.get(key) is None
        assert cache.stats().entries == 0
        assert cache.clear() == 0


def test_a_full_disk_leaves_nothing_behind(cache, monkeypatch):
    key = cache.key("a")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "replace", full)
        with pytest.warns(UserWarning, match="No space left"):
            cache.put(key, b"x")
    assert [path for path in cache.directory.rglob("*") if path.is_file()] == []
    cache.put(key, b"x")
    assert cache.get(key) == b"x"


WRITER = """
import sys
from pathlib import Path
from bitwright.backend.cache import Cache
cache = Cache(Path(sys.argv[1]), limit=60_000)
for turn in range(150):
    for name in "abc":
        key = cache.key(name)
        data = cache.get(key)
        assert data is None or data == name.encode() * 9000, "a half-written entry was seen"
        cache.put(key, name.encode() * 9000)
    cache.put(cache.key(sys.argv[2], str(turn)), bytes(2000))
"""


def test_many_processes_share_a_directory(tmp_path):
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(i)]) for i in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert Cache(tmp_path).stats().nbytes < 60_000 * 1.5
    assert not list(tmp_path.rglob("tmp-*"))


def test_the_directory_can_be_chosen(tmp_path, monkeypatch):
    default_cache.cache_clear()
    monkeypatch.setenv("BITWRIGHT_CACHE_DIR", str(tmp_path))
    try:
        assert default_cache().directory == tmp_path
    finally:
        default_cache.cache_clear()
