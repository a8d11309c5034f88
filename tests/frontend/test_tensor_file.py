"""Tensor files: they come back bit for bit, damage anywhere is found, and a failed write leaves the old file."""

import json
import resource
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bitwright.frontend.importers.safetensors import QTensorFileError, load
from bitwright.frontend.quantize import quantize
from bitwright.frontend.tensor import QTensor
from bitwright.vm.dtypes import codebook, dtype
from bitwright.vm.formats import Format

WEIGHTS = np.random.default_rng(3).normal(size=(6, 40)).astype(np.float32)


@pytest.mark.parametrize(
    "text",
    [
        "u3:g16:f16+zero",
        "i8:row:f32",
        "u4:g16:bf16+min",
        "u5:g8:e8m0+fzero",
        "nf4:g8:f16",
        "b1:g8:f16",
        "mxfp4",
        "nvfp4",
    ],
)
def test_round_trip(text: str, tmp_path: Path) -> None:
    tensor = quantize(WEIGHTS, text)
    tensor.save(tmp_path / "w.safetensors")
    again = load(str(tmp_path / "w.safetensors"))
    assert again == tensor
    assert again.format == tensor.format
    assert np.array_equal(again.dequantize(), tensor.dequantize())
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_custom_codebook_travels_in_the_file(tmp_path: Path) -> None:
    mine = codebook([-3, -1.25, 0, 0.5, 2], "mine")
    tensor = quantize(WEIGHTS, Format(mine, 16, dtype("f16")))
    tensor.save(tmp_path / "w")
    assert load(tmp_path / "w").format.element == mine
    assert load(tmp_path / "w") == tensor


def test_file_is_about_as_large_as_the_tensor(tmp_path: Path) -> None:
    tensor = quantize(np.tile(WEIGHTS, (20, 10)), "u3")
    tensor.save(tmp_path / "w")
    assert tensor.nbytes <= (tmp_path / "w").stat().st_size <= tensor.nbytes + 1024


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, QTensor]:
    tensor = quantize(WEIGHTS, "u3", group=16)
    tensor.save(tmp_path / "w")
    return tmp_path / "w", tensor


def test_truncation_anywhere_is_found(saved: tuple[Path, QTensor]) -> None:
    path, _ = saved
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(QTensorFileError, match=r"damaged|not a bitwright tensor"):
            load(path)


def test_a_flipped_bit_anywhere_is_found_or_harmless(saved: tuple[Path, QTensor]) -> None:
    path, tensor = saved
    content = bytearray(path.read_bytes())
    found = 0
    for at in range(len(content)):
        for bit in (0, 5):
            content[at] ^= 1 << bit
            path.write_bytes(content)
            try:
                same = load(path) == tensor
            except QTensorFileError:
                found += 1
            else:
                assert same  # white space in the header may change, numbers never
            content[at] ^= 1 << bit
    assert found > 0.9 * 2 * len(content)


def header_of(content: bytes) -> tuple[dict[str, dict[str, str]], bytes]:
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def rewrite(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Changes our metadata entry and leaves the rest of the file valid."""
    header, data = header_of(path.read_bytes())
    about = json.loads(header["__metadata__"]["bitwright"])
    change(about)
    header["__metadata__"]["bitwright"] = json.dumps(about)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_unchanged_rewrite_still_loads(saved: tuple[Path, QTensor]) -> None:
    path, tensor = saved
    rewrite(path, lambda about: None)
    assert load(path) == tensor


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_other_versions_say_what_to_do(saved: tuple[Path, QTensor], version: object) -> None:
    rewrite(saved[0], lambda about: about.update(version=version))
    with pytest.raises(QTensorFileError, match="reads version 1: upgrade bitwright"):
        load(saved[0])


@pytest.mark.parametrize("key", ["version", "format", "shape", "codebook", "digest"])
def test_missing_keys_are_found(saved: tuple[Path, QTensor], key: str) -> None:
    rewrite(saved[0], lambda about: about.pop(key))
    with pytest.raises(QTensorFileError, match="damaged"):
        load(saved[0])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "u3:g8:f16+zero"),
        ("format", "u3:g16:bf16+zero"),
        ("format", "i3:g16:f16"),
        ("format", 3),
        ("shape", [6, 41]),
        ("shape", [40, 6]),
        ("shape", [-6, -40]),
        ("shape", [10**12, 10**12]),
        ("shape", "6x40"),
        ("shape", [6.0, 40.0]),
        ("codebook", [1.0, 2.0]),
        ("codebook", "nf4"),
        ("digest", "0" * 64),
    ],
)
def test_wrong_values_are_found(saved: tuple[Path, QTensor], key: str, value: object) -> None:
    rewrite(saved[0], lambda about: about.update({key: value}))
    with pytest.raises(QTensorFileError, match="damaged"):
        load(saved[0])


def test_foreign_files_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "other"
    save_file({"weight": WEIGHTS}, path)
    with pytest.raises(QTensorFileError, match=r"not a bitwright tensor.*QTensor\.save"):
        load(path)
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(QTensorFileError, match=r"damaged|not a bitwright tensor"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent")


def test_extra_and_missing_arrays_are_found(saved: tuple[Path, QTensor]) -> None:
    path, _ = saved
    header, _ = header_of(path.read_bytes())
    tensor = saved[1]
    assert tensor.zeros is not None
    save_file({"packed": tensor.packed, "scales": tensor.scales}, path, header["__metadata__"])
    with pytest.raises(QTensorFileError, match="zeros"):
        load(path)
    arrays = {"packed": tensor.packed, "scales": tensor.scales, "zeros": tensor.zeros.astype(np.float32)}
    save_file(arrays, path, header["__metadata__"])
    with pytest.raises(QTensorFileError, match="damaged"):
        load(path)


def test_write_that_fails_midway_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "w"
    old = quantize(WEIGHTS, "u3")
    old.save(path)
    large = quantize(np.tile(WEIGHTS, (100, 10)), "u8")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))  # the system refuses the 4097th byte of any file
    try:
        with pytest.raises(QTensorFileError, match=r"cannot write .*unchanged.*Free space"):
            large.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert load(path) == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["w"]


def test_missing_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(QTensorFileError, match=r"No such file or directory.*choose a folder that exists"):
        quantize(WEIGHTS, "u3").save(tmp_path / "absent" / "w")
