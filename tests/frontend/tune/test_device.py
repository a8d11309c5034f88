"""What a measurement is filed under."""

from __future__ import annotations

import re

from bitwright.backend.llvm.pool import set_threads, threads
from bitwright.backend.target import target
from bitwright.frontend.tune.device import compiler_version, cpus, device, last_cache


def test_a_device_is_the_same_as_long_as_nothing_changes() -> None:
    here = device()
    assert here == device(target("cpu"))
    assert re.fullmatch("cpu-[0-9a-f]{16}", here.key)
    assert target("cpu").cpu in here.name
    assert len(cpus()) >= 1
    assert last_cache() == here.cache


def test_threads_and_instruction_sets_make_another_device() -> None:
    before = threads()
    try:
        keys = set()
        for count in (1, 2, 3):
            set_threads(count)
            keys.add(device().key)
            assert device().threads == count
            keys.add(device(target("cpu:x86-64-v3")).key)
        assert len(keys) == 6
    finally:
        set_threads(before)


def test_the_compilers_version_is_a_short_key() -> None:
    assert re.fullmatch("[0-9a-f]{16}", compiler_version())
    assert compiler_version() == compiler_version()
