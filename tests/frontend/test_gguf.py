"""GGUF import against the gguf package's own decoder, on random block bytes and on written files."""

import builtins
from pathlib import Path

import numpy as np
import pytest

from bitwright.frontend.importers import gguf as importer
from bitwright.frontend.importers.gguf import GGUFError, from_blocks, list_tensors, load_qtensor, load_tensor
from bitwright.frontend.importers.gguf_blocks import BLOCK_TYPES

gguf = pytest.importorskip("gguf")
quants = pytest.importorskip("gguf.quants")

DECODED = [name for name in BLOCK_TYPES if name != "Q1_0"]  # gguf 0.19 has no decoder for Q1_0


@pytest.mark.parametrize("name", DECODED)
def test_random_blocks_decode_as_in_gguf(name: str) -> None:
    rows = 48
    kind, block = gguf.GGMLQuantizationType[name], BLOCK_TYPES[name]
    assert gguf.GGML_QUANT_SIZES[kind] == (block.elements, block.bytes)
    top = 255 if name == "MXFP4" else 256  # E8M0 code 255: NaN here, 2^128 there
    data = np.random.default_rng(5).integers(0, top, (rows, 3 * block.bytes)).astype(np.uint8)
    if name == "NVFP4":
        data.reshape(rows, 3, 36)[:, :, :4] &= 0x7F  # UE4M3 has seven bits; with an eighth gguf reads 255 as 480
    with np.errstate(all="ignore"):
        expected = quants.dequantize(data, kind)
    tensor = from_blocks(data, name, (rows, 3 * block.elements))
    assert np.array_equal(tensor.dequantize(), expected, equal_nan=True)


def test_every_code_of_every_block_type_occurs() -> None:
    for name, block in BLOCK_TYPES.items():
        data = np.random.default_rng(6).integers(0, 256, (64, 4 * block.bytes)).astype(np.uint8)
        codes = from_blocks(data, name, (64, 4 * block.elements)).codes
        assert np.unique(codes).size == 1 << block.format.element.bits


def test_q1_0_is_plus_or_minus_the_scale() -> None:
    bits = np.random.default_rng(7).integers(0, 2, 128)
    value = sum(int(bit) << i for i, bit in enumerate(bits))
    data = np.frombuffer(np.float16(0.375).tobytes() + value.to_bytes(16, "little"), np.uint8)
    expected = np.where(bits == 1, 0.375, -0.375)[None]
    assert np.array_equal(from_blocks(data, "Q1_0", (1, 128)).dequantize(), expected)


def test_usual_tq2_0_is_ternary() -> None:
    weights = np.random.default_rng(8).normal(size=(4, 512)).astype(np.float32)
    data = quants.quantize(weights, gguf.GGMLQuantizationType.TQ2_0)
    tensor = from_blocks(data, "TQ2_0", (4, 512))
    assert tensor.format.element.name == "ternary"
    assert np.array_equal(tensor.dequantize(), quants.dequantize(data, gguf.GGMLQuantizationType.TQ2_0))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small GGUF file with five tensors."""
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    weights = np.random.default_rng(9).normal(size=(6, 64)).astype(np.float32)
    writer.add_tensor("plain", weights)
    writer.add_tensor("vector", weights[0])
    for name in ("Q4_1", "Q8_0"):
        kind = gguf.GGMLQuantizationType[name]
        writer.add_tensor(name.lower(), quants.quantize(weights, kind), raw_dtype=kind)
    writer.add_tensor("half", weights.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_file_lists_its_tensors(model: Path) -> None:
    found = [(info.name, info.shape, info.type, info.nbytes) for info in list_tensors(model)]
    assert found == [
        ("plain", (6, 64), "F32", 6 * 64 * 4),
        ("vector", (64,), "F32", 64 * 4),
        ("q4_1", (6, 64), "Q4_1", 6 * 2 * 20),
        ("q8_0", (6, 64), "Q8_0", 6 * 2 * 34),
        ("half", (6, 64), "F16", 6 * 64 * 2),
    ]


def test_tensors_load_as_floats_and_exactly(model: Path) -> None:
    weights = np.random.default_rng(9).normal(size=(6, 64)).astype(np.float32)
    assert np.array_equal(load_tensor(model, "plain"), weights)
    assert np.array_equal(load_tensor(model, "vector"), weights[0])
    assert np.array_equal(load_tensor(model, "half"), weights.astype(np.float16).astype(np.float32))
    for name in ("q4_1", "q8_0"):
        loaded, exact = load_tensor(model, name), load_qtensor(model, name)
        assert loaded.dtype == np.float32
        assert loaded.shape == exact.shape == (6, 64)
        assert np.abs(loaded - weights).max() < 0.3
        assert np.array_equal(exact.dequantize(), loaded)
    assert load_qtensor(model, "q4_1").nbytes == 6 * 2 * 20


def test_mistakes_are_explained(model: Path, tmp_path: Path) -> None:
    with pytest.raises(GGUFError, match="no tensor 'nope'; it has 5, such as plain"):
        load_tensor(model, "nope")
    with pytest.raises(GGUFError, match=r"type F32.*quantize\(load_tensor"):
        load_qtensor(model, "plain")
    with pytest.raises(FileNotFoundError, match="no GGUF file"):
        list_tensors(tmp_path / "absent.gguf")
    with pytest.raises(GGUFError, match="whole blocks of 32"):
        from_blocks(np.zeros(18, np.uint8), "Q4_0", (1, 40))
    with pytest.raises(GGUFError, match="are not the Q4_0 blocks"):
        from_blocks(np.zeros(17, np.uint8), "Q4_0", (1, 32))


def test_truncated_files_are_refused(model: Path, tmp_path: Path) -> None:
    content = model.read_bytes()
    short = tmp_path / "short.gguf"
    for size in (*range(0, 400, 7), len(content) // 2, len(content) - 100):
        short.write_bytes(content[:size])
        with pytest.raises(GGUFError, match="not a readable GGUF file"):
            list_tensors(short)


def test_missing_package_says_what_to_install(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name.startswith("gguf"):
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(GGUFError, match=r"pip install 'bitwright\[interop\]'"):
        importer.list_tensors(model)
