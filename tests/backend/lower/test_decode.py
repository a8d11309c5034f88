"""Every code of every dtype, at every lane and place in a word, is decoded to the number that the dtype says."""

from __future__ import annotations

from functools import lru_cache, partial

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.backend.lane.build import Builder
from bitwright.backend.lane.ir import Reg
from bitwright.backend.lower.decode import decode_field
from bitwright.tests.backend.lower.every_dtype import HALVES, NARROW, count_of, same_numbers
from bitwright.tests.backend.lower.lane_kernels import MACHINES, Words, run_on, run_simulated
from bitwright.vm.dtypes import DType, Int, dtype

COUNT = 256 * 16  # 256 blocks of 16 lanes: each lane sees each code
KINDS: tuple[DType, ...] = (*NARROW, *HALVES)


def _decode(kind: DType, field: list[int], b: Builder, words: list[Reg]) -> Reg:
    return decode_field(b, kind, words, field)


@lru_cache(maxsize=1)
def _inputs() -> tuple[Words, list[NDArray[np.int64]], list[list[int]]]:
    """Two words per element with its code somewhere in them, in one piece or scattered, among random bits."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 32, (len(KINDS), COUNT, 2), dtype=np.uint64).astype(np.uint32)
    codes, fields = [], []
    for row, kind in enumerate(KINDS):
        count = count_of(kind)
        order = rng.permutation(count)
        block, lane = np.divmod(np.arange(COUNT), 16)
        code = order[(block + rng.integers(0, count, 16)[lane]) % count]
        start = int(rng.integers(0, 65 - kind.bits))
        straight = list(range(start, start + kind.bits))
        field = straight if row % 3 else rng.permutation(64)[: kind.bits].tolist()
        for bit, place in enumerate(field):
            word, shift = words[row, :, place // 32], np.uint32(place % 32)
            word &= ~(np.uint32(1) << shift)
            word |= (code >> bit & 1).astype(np.uint32) << shift
        codes.append(code)
        fields.append(field)
    return words, codes, fields


def _check(found: Words) -> None:
    _, codes, _ = _inputs()
    for kind, row, code in zip(KINDS, found, codes, strict=True):
        right = kind.decode(code.astype(kind.code_dtype))
        got = row.view(np.int32).astype(np.int64) if isinstance(kind, Int) else row.view(np.float32)
        same = same_numbers(got, right)
        bad = [(int(code[i]), got[i], right[i]) for i in np.flatnonzero(~same)[:3]]
        assert same.all(), f"{kind}: (code, decoded, right) {bad}"


@pytest.mark.parametrize("table_bits", [0, 3, 6])
def test_simulated_lanes_decode_every_code(table_bits: int) -> None:
    words, _, fields = _inputs()
    _check(run_simulated([partial(_decode, k, f) for k, f in zip(KINDS, fields, strict=True)], words, table_bits))


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m[0])
def test_native_lanes_decode_every_code(machine: tuple[str, int, int]) -> None:
    words, _, fields = _inputs()
    _check(run_on(machine, [partial(_decode, k, f) for k, f in zip(KINDS, fields, strict=True)], words))


ORACLES = {
    "f8e4m3fn": ml_dtypes.float8_e4m3fn, "f8e5m2": ml_dtypes.float8_e5m2, "f8e4m3": ml_dtypes.float8_e4m3,
    "f8e3m4": ml_dtypes.float8_e3m4, "f8e4m3fnuz": ml_dtypes.float8_e4m3fnuz, "f8e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "f8e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz, "e8m0": ml_dtypes.float8_e8m0fnu, "f6e2m3": ml_dtypes.float6_e2m3fn,
    "f6e3m2": ml_dtypes.float6_e3m2fn, "f4e2m1": ml_dtypes.float4_e2m1fn,
}  # fmt: skip


@pytest.mark.parametrize("table_bits", [0, 6])
def test_decoding_agrees_with_ml_dtypes(table_bits: int) -> None:
    kinds = [dtype(name) for name in ORACLES]
    codes = np.arange(256, dtype=np.uint32)
    words = np.stack([codes & np.uint32((1 << k.bits) - 1) for k in kinds])[:, :, None]
    found = run_simulated([partial(_decode, k, list(range(k.bits))) for k in kinds], words, table_bits)
    for oracle, row, code in zip(ORACLES.values(), found, words[:, :, 0], strict=True):
        right = code.astype(np.uint8).view(oracle).astype(np.float32)
        got = row.view(np.float32)
        assert ((got == right) & (np.signbit(got) == np.signbit(right)) | (np.isnan(got) & np.isnan(right))).all()
