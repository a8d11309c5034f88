from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from unittest.mock import patch

import numpy as np
import pytest

from bitwright.frontend.bench.peers import ggml as module
from bitwright.frontend.bench.peers.ggml import BY_BITS, BY_NAME, decoded, load_ggml, quantised
from bitwright.frontend.bench.peers.ggml_library import GgmlError, find_ggml
from bitwright.frontend.bench.problem import WrongResult, format_of, make_problem, make_weights

KINDS: Mapping[str, int] = {
    name: kind for kinds in (*BY_BITS.values(), *BY_NAME.values()) for name, kind in kinds.items()
}
TYPES = [f"u{bits}" for bits in BY_BITS] + list(BY_NAME)


@pytest.fixture
def installed() -> None:
    if not any(importlib.util.find_spec(name) for name in ("llama_cpp", "libggml")):
        pytest.importorskip("libggml")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", [name for name in KINDS if name != "q1_0"])
def test_blocks_are_read_as_another_reader_reads_them(name: str) -> None:
    quants = pytest.importorskip("gguf.quants")
    from gguf import GGMLQuantizationType

    ggml, kind = find_ggml(), KINDS[name]
    values = np.random.default_rng(0).normal(size=(6, 512)).astype(np.float32)
    data = quantised(ggml, values, kind, threads=2)
    expected = quants.dequantize(data, GGMLQuantizationType(kind))
    np.testing.assert_allclose(decoded(ggml, data, kind, values.shape), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.usefixtures("installed")
def test_single_bits_are_signs_of_their_scale() -> None:
    ggml, kind = find_ggml(), KINDS["q1_0"]
    values = np.random.default_rng(0).normal(size=(6, 512)).astype(np.float32)
    blocks = quantised(ggml, values, kind, threads=2).reshape(6, 4, 2 + 128 // 8)
    scale = blocks[:, :, :2].copy().view(np.float16).astype(np.float32)
    signs = np.where(np.unpackbits(blocks[:, :, 2:], axis=2, bitorder="little") == 1, 1.0, -1.0)
    read = decoded(ggml, blocks, kind, values.shape)
    assert np.array_equal(read, (signs * scale).reshape(6, 512))
    assert np.array_equal(read > 0, values > 0)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("text", TYPES)
def test_products_are_those_of_its_own_numbers(text: str) -> None:
    weights = make_weights(format_of(text, 32), 64, 512, cold=200_000)
    loaded = list(load_ggml(weights, threads=1))
    wanted = BY_BITS[int(text[1:])] if text[1:].isdecimal() else BY_NAME[text]
    assert [one.facts.weights for one in loaded] == list(wanted)
    for one in loaded:
        assert one.facts.name.startswith("ggml")
        for m in (1, 5):
            contender = one.start(make_problem(m, weights.values))
            assert 0 < contender.error < 0.03
            for _ in range(weights.copies(one.facts.nbytes) + 1):
                contender.call()


@pytest.mark.usefixtures("installed")
def test_its_numbers_are_near_the_weights() -> None:
    ggml = find_ggml()
    values = np.random.default_rng(0).normal(size=(8, 512)).astype(np.float32)
    errors = [
        float(np.abs(decoded(ggml, quantised(ggml, values, KINDS[name], 1), KINDS[name], values.shape) - values).mean())
        for name in ("q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "q8_0")
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01


@pytest.mark.usefixtures("installed")
def test_a_wrong_product_is_found_out() -> None:
    weights = make_weights(format_of("u8", 32), 32, 256, cold=1)
    with patch.object(module, "decoded", lambda *arguments: decoded(*arguments) * 1.1):
        (loaded,) = load_ggml(weights, threads=1)
    with pytest.raises(WrongResult, match=r"ggml.* computes a wrong product of q8_0"):
        loaded.start(make_problem(1, weights.values))


def test_other_weights_have_no_such_product() -> None:
    for text in ("u7", "f6e3m2"):
        assert list(load_ggml(make_weights(format_of(text, 32), 32, 256, cold=1), threads=1)) == []


@pytest.mark.usefixtures("installed")
def test_rows_must_be_whole_blocks() -> None:
    found = list(load_ggml(make_weights(format_of("u4", 32), 32, 96, cold=1), threads=1))
    assert [one.facts.weights for one in found] == ["q4_0"]  # blocks of 32, not of 256


def test_a_package_without_the_library_is_an_error() -> None:
    with patch.object(importlib.util, "find_spec", return_value=None), pytest.raises(GgmlError, match="libggml-cpu"):
        find_ggml()
