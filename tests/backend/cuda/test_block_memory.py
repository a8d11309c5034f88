"""What a block takes of shared memory is one number, tables included, and too much of it is refused before a launch."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cuda.bindings.nvrtc")

import bitwright as bw
from bitwright.backend.cuda.architectures import ARCHITECTURES
from bitwright.backend.cuda.block_memory import block_memory
from bitwright.backend.cuda.resources import resources
from bitwright.backend.lane.ir import First, Lookup, LookupBytes
from bitwright.backend.pipeline import compile_program
from bitwright.backend.simulated import simulate_on
from bitwright.tests.backend.lane.writing import Body
from bitwright.vm.dtypes import codebook

TARGET = "cuda:sm_86"
MOST = ARCHITECTURES["sm_86"].shared_bytes
COPIES = 64 * 32 * 4  # each of 64 words for each lane of a warp
VALUES = np.arange(64, dtype=np.float32) ** 2

KERNEL = """
def decode(w: W[128], y: f32[128], *, W: dtype, N: int):
    p = grid((128, 128), lanes=128)
    kept = shared(f32, [N])
    store(kept, [0], cast(load(w, [0], [128]), f32))
    barrier()
    store(y, [0], load(kept, [0], [128]))
"""


def kernel(kept: int, table: bool) -> bw.Kernel:
    element = codebook(map(float, VALUES), "squares_below_64") if table else bw.dtype("u6")
    return bw.compile(KERNEL, target=TARGET, N=kept // 4, W=element)


def test_a_table_counts_in_everything_that_tells_the_number(tmp_path: Path) -> None:
    own = 64 << 10
    for table in (False, True):
        made, wanted = kernel(own, table), own + table * COPIES
        assert made.report()["shared_memory_bytes"] == made.binary.shared == wanted
        assert resources(made.binary.code).shared_bytes == 0, "nothing is static"
        bw.export(tmp_path, made)
        assert json.loads((tmp_path / "artifact.json").read_text())["binaries"][0]["shared_bytes"] == wanted


def test_a_block_that_fits_only_without_its_table_is_refused_when_it_is_compiled() -> None:
    codes = np.arange(128, dtype=np.uint8) % 64
    fits, too_much = kernel(MOST - COPIES, True), kernel(MOST - COPIES + 64, True)
    found = np.zeros(128, np.float32)
    bw.simulate(fits, fits.pack("w", codes), found)
    np.testing.assert_array_equal(found, VALUES[codes])
    assert fits.report()["shared_memory_bytes"] == MOST
    assert kernel(MOST - COPIES + 64, False).report()["shared_memory_bytes"] == MOST - COPIES + 64
    message = rf"takes {MOST + 64} bytes of shared memory \({COPIES} of them for look-up tables\), but"
    with pytest.raises(ValueError, match=message):
        assert too_much.binary
    function = compile_program(too_much.program, too_much.target, until="lower").function
    assert function is not None
    with pytest.raises(ValueError, match=message):
        simulate_on(too_much.target, function, [], 0)


def test_what_a_block_keeps_lies_apart() -> None:
    body = Body(64)
    index = body.load(0, "i32")
    tables = [tuple(range(n, 2 * n)) for n in (64, 64, 128, 32, 16, 2)]
    for words in tables:
        body.save(1, body.let(Lookup(words, index), "i32", False))
    body.save(1, body.let(LookupBytes(tuple(range(32)), index), "i32", False))
    body.save(1, body.let(First(index), "i32", True))
    memory = block_memory(body.function(2, 100))
    assert memory.copied == (tables[0], 112)
    assert memory.scratch is not None
    starts = [(112, COPIES), *((first, 4 * len(words)) for words, first in memory.tables.items()), (memory.scratch, 8)]
    assert [size for _, size in starts] == [COPIES, 4 * 128, 4 * 32, 4 * 16, 32, 8]
    assert all(first % 16 == 0 for first, _ in starts)
    assert all(a + size <= b for (a, size), (b, _) in pairwise(starts))
    assert memory.bytes == memory.scratch + 8
