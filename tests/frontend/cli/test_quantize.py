from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from bitwright.frontend.cli.main import app
from bitwright.frontend.importers.safetensors import load

RUN = CliRunner()


@pytest.fixture
def w() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, 256)).astype(np.float32)


def test_what_is_printed_is_what_was_saved(tmp_path: Path, w: np.ndarray) -> None:
    source, out = tmp_path / "w.npy", tmp_path / "q.safetensors"
    np.save(source, w)
    result = RUN.invoke(
        app, ["quantize", str(source), "--to", "u3", "--group", "64", "--scale", "bf16", "-o", str(out)]
    )
    assert result.exit_code == 0, result.stderr
    q = load(out)
    assert str(q.format) == "u3:g64:bf16+zero"
    wrong = np.linalg.norm(q.dequantize() - w) / np.linalg.norm(w)
    row = next(line for line in result.stdout.splitlines() if line.startswith("u3:"))
    _, bits, size, relative, _, snr = row.split()
    assert float(bits) == pytest.approx(3 + (16 + 3) / 64, abs=1e-3)
    assert int(size.replace(",", "")) == 8 * 256 * 3 // 8 + 32 * 2 + 32 * 3 // 8
    assert float(relative) == pytest.approx(wrong, rel=1e-3)
    assert float(snr) == pytest.approx(-20 * np.log10(wrong), abs=0.01)


def test_formats_are_compared_line_by_line(tmp_path: Path, w: np.ndarray) -> None:
    np.save(tmp_path / "w.npy", w)
    result = RUN.invoke(app, ["quantize", str(tmp_path / "w.npy"), "--to", "u2", "--to", "u4", "--to", "mxfp4"])
    rows = [line.split() for line in result.stdout.splitlines() if ":" in line.split(" ")[0]]
    assert [row[0] for row in rows[-3:]] == ["u2:g128:f16+zero", "u4:g128:f16+zero", "f4e2m1:g32:e8m0"]
    assert float(rows[-3][-1]) < float(rows[-2][-1])  # more bits, less noise


def test_zero_points_rows_and_search(tmp_path: Path, w: np.ndarray) -> None:
    np.save(tmp_path / "w.npy", w)
    options = ["--to", "i4", "--zero-point", "--group", "row", "--search"]
    result = RUN.invoke(app, ["quantize", str(tmp_path / "w.npy"), *options])
    assert "i4:row:f16+zero" in result.stdout


def test_a_safetensors_file_with_bfloat16_and_several_tensors(tmp_path: Path, w: np.ndarray) -> None:
    bits = (w.view(np.uint32) >> 16).astype(np.uint16)
    header = json.dumps(
        {
            "bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "w": {"dtype": "BF16", "shape": [8, 256], "data_offsets": [8, 8 + bits.nbytes]},
        }
    ).encode()
    path, out = tmp_path / "model.safetensors", tmp_path / "q.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8) + bits.astype("<u2").tobytes())
    result = RUN.invoke(app, ["quantize", str(path), "--to", "u8", "-o", str(out)])  # the only matrix is meant
    assert result.exit_code == 0, result.stderr
    exact = (bits.astype(np.uint32) << 16).view(np.float32)
    assert np.abs(load(out).dequantize() - exact).max() < np.ptp(exact) / 255


def test_a_gguf_file(tmp_path: Path, w: np.ndarray) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("blk.0.w", w)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    result = RUN.invoke(app, ["quantize", str(path), "--tensor", "blk.0.w", "--to", "nf4"])
    assert result.exit_code == 0, result.stderr
    assert "8 x 256" in result.stdout
    assert re.search(r"nf4:g128:f16 +4\.125", result.stdout)


def test_a_quantised_file_is_read_as_its_numbers(tmp_path: Path, w: np.ndarray) -> None:
    np.save(tmp_path / "w.npy", w)
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    RUN.invoke(app, ["quantize", str(tmp_path / "w.npy"), "--to", "i4", "-o", str(first)])
    RUN.invoke(app, ["quantize", str(first), "--to", "u8", "--group", "128", "-o", str(second)])
    a, b = load(first).dequantize(), load(second).dequantize()
    assert np.abs(a - b).max() < np.ptp(a) / 200


def test_mistakes(tmp_path: Path, w: np.ndarray) -> None:
    npy, many = tmp_path / "w.npy", tmp_path / "many.safetensors"
    np.save(npy, w)
    np.save(tmp_path / "vector.npy", w[0])
    np.save(tmp_path / "text.npy", np.array(["a"]))
    (tmp_path / "broken.npy").write_bytes(b"no numpy")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    save_file({"first": w, "second": w}, many)
    for arguments, message in (
        ([npy, "--to", "u9"], "error:"),
        ([npy, "--to", "u3", "--group", "0"], "--group 0"),
        ([npy, "--to", "u3", "--to", "u4", "-o", tmp_path / "q.safetensors"], "single --to"),
        ([npy, "--to", "u3", "-o", tmp_path / "q.npy"], "end in .safetensors"),
        ([npy, "--to", "u3", "--tensor", "x"], "leave --tensor out"),
        ([many, "--to", "u3"], "choose one with --tensor: first, second"),
        ([many, "--to", "u3", "--tensor", "frst"], "did you mean first"),
        ([tmp_path / "vector.npy", "--to", "u3"], "only a matrix"),
        ([tmp_path / "text.npy", "--to", "u3"], "real numbers"),
        ([tmp_path / "broken.npy", "--to", "u3"], "no NumPy file"),
        ([tmp_path / "broken.safetensors", "--to", "u3"], "no readable safetensors"),
        ([tmp_path / "none.npy", "--to", "u3"], "there is no file"),
        ([many.with_suffix(".bin"), "--to", "u3"], "there is no file"),
    ):
        result = RUN.invoke(app, ["quantize", *map(str, arguments)])
        assert result.exit_code == 1, arguments
        assert message in result.stderr
        assert isinstance(result.exception, SystemExit)
