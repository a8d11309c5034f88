"""Artifacts: what is written is what is loaded, damage is found, and loading needs no compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bitwright as bw
from bitwright.backend.artifact import Artifact, ArtifactError, Binary, load_artifact, write_artifact
from bitwright.backend.signature import ArrayArgument, ScalarArgument, Signature, SignatureError
from bitwright.backend.signature_json import signature_json, signature_of_json
from bitwright.vm.expr import Var, ceildiv, const, eq, max_

M, N = Var("M", 0, None), Var("N", 4, 1 << 20, 4)
SIGNATURE = Signature(
    (
        ArrayArgument("x", ((4, 16), (1, 16)), (M, ceildiv(N, 4) + 1), False, const(0), False, 2),
        ArrayArgument("w", ((1, 8),), (), True, ceildiv(N * 3, 8), True, 16),
        ScalarArgument("n", "int"), ScalarArgument("a", "float"),
    ),
    (M, N), (max_(M, 1), ceildiv(N, 64)), ((eq(N % 8, 0), "N must be a multiple of 8"),), (N,), ("it broke",),
)  # fmt: skip


def binary(target: str = "sm_90a", code: bytes = b"\x7fELF") -> Binary:
    return Binary("a kernel/x", "cuda", f"cuda:{target}", target, (), SIGNATURE, 128, 4096, "bitwright 0.1.0", code)


def shown(s: Signature) -> str:
    """A signature by what it says: sizes are the same only if they are one object."""
    sizes = [(v.name, v.low, v.high, v.multiple) for v in s.sizes]
    arguments = [(a, a.nbytes, a.dims, a.codes) if isinstance(a, ArrayArgument) else a for a in s.arguments]
    parts = [*arguments, sizes, s.grid, s.checks, s.explicit, s.failures]
    return "\n".join(str([str(q) for q in p] if isinstance(p, tuple) else p) for p in parts)


def test_a_signature_comes_back_from_json() -> None:
    again = signature_of_json(json.loads(json.dumps(signature_json(SIGNATURE))))
    assert signature_json(again) == signature_json(SIGNATURE)
    assert shown(again) == shown(SIGNATURE)


def test_sizes_that_a_file_cannot_tell_apart_are_refused() -> None:
    other = Var("M", 0, None)
    twice = Signature((ArrayArgument("x", ((2, 32),), (M, other), False, const(0), True, 4),), (M, other), (M,))
    with pytest.raises(SignatureError, match="two sizes have the same name"):
        signature_json(twice)
    word = Var("lambda", 0, None)
    with pytest.raises(SignatureError, match="a size has a name that cannot stand in a file"):
        signature_json(
            Signature((ArrayArgument("x", ((2, 32),), (word,), False, const(0), True, 4),), (word,), (word,))
        )


def test_what_is_written_is_loaded(tmp_path: Path) -> None:
    write_artifact(tmp_path / "a" / "b", [binary(), binary("sm_80", b"other")])
    found = load_artifact(tmp_path / "a" / "b", "cuda:sm_80")
    assert found.binary.code == b"other"
    assert (found.name, found.target, found.binary.lanes, found.binary.shared) == (
        "a kernel/x",
        "cuda:sm_80",
        128,
        4096,
    )
    assert shown(found.signature) == shown(SIGNATURE)
    assert replace(found.binary, signature=SIGNATURE) == binary("sm_80", b"other")


def test_an_artifact_is_replaced_as_a_whole_and_leaves_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    write_artifact(tmp_path, [binary(code=b"one"), binary("sm_80")])
    first = {p.name for p in tmp_path.iterdir()}
    assert len(first) == 4
    write_artifact(tmp_path, [binary(code=b"two")])
    second = {p.name for p in tmp_path.iterdir()}
    assert "notes" in second
    assert len(second) == 3
    assert load_artifact(tmp_path, "cuda:sm_90a").binary.code == b"two"


def damaged(folder: Path, how: str) -> None:
    path = folder / "artifact.json"
    value = json.loads(path.read_text())
    entry = value["binaries"][0]
    code = folder / entry["file"]
    match how:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(path.read_bytes()[:100])
            return
        case "foreign":
            value = {"name": "something else"}
        case "newer":
            value["version"] = 2
        case "empty":
            value["binaries"] = []
        case "code":
            code.write_bytes(code.read_bytes() + b"x")
        case "no code":
            code.unlink()
        case "elsewhere":
            entry["file"] = "../" + entry["file"]
        case "kind":
            entry["kind"] = "tpu"
        case "lanes":
            entry["lanes"] = "128"
        case "many lanes":
            entry["lanes"] = 1 << 20
        case "expression":
            entry["signature"]["grid"] = ["M +"]
        case "size":
            entry["signature"]["sizes"] = entry["signature"]["sizes"][:1]
        case "architecture":
            entry["architecture"] = "sm_10"
    if how != "missing":
        path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("missing", "holds no artifact"),
        ("truncated", "is damaged, it is no JSON"),
        ("foreign", "is not the description of an artifact"),
        ("newer", "has version 2, but this bitwright reads version 1: use the bitwright that wrote it"),
        ("empty", "lists no binaries"),
        ("code", "is damaged, its bytes are not those written"),
        ("no code", "is not whole"),
        ("elsewhere", "which is not in the folder"),
        ("kind", "its kind is 'tpu'"),
        ("lanes", "'lanes' is missing, or no int"),
        ("many lanes", "a block of 1048576 lanes"),
        ("expression", "no index expression"),
        ("size", "N"),
        ("architecture", "its architecture 'sm_10' is none of sm_80"),
    ],
)
def test_damage_is_found_when_loading(tmp_path: Path, how: str, text: str) -> None:
    write_artifact(tmp_path, [binary()])
    damaged(tmp_path, how)
    with pytest.raises(ArtifactError, match=text):
        load_artifact(tmp_path, "cuda:sm_90a")


def test_a_folder_without_a_binary_for_this_machine_says_what_it_has(tmp_path: Path) -> None:
    foreign = replace(binary(), kind="cpu", target="cpu:elsewhere", architecture="s390x-ibm-linux")
    write_artifact(tmp_path, [foreign])
    with pytest.raises(ArtifactError, match=r"runs none of the binaries .* \(cpu:elsewhere\): compile for its own"):
        load_artifact(tmp_path)
    with pytest.raises(ArtifactError, match="has no binary for cuda:sm_80: it has cpu:elsewhere"):
        load_artifact(tmp_path, "cuda:sm_80")


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"):
        write_artifact(tmp_path / "file", [binary()])


def test_sizes_that_no_array_tells_are_passed_by_name() -> None:
    kernel = Artifact(binary())
    with pytest.raises(TypeError, match="takes by name the sizes N; got none"):
        kernel(1, 2, 3, 4)


SCALE = """
def scale(x: f32[N], y: f32[N], a: f32, *, T: int = 64):
    i = grid((N, T))
    store(y, [i], load(x, [i], [T]) * a)
"""


def test_a_kernel_for_the_cpu_runs_from_its_artifact(tmp_path: Path) -> None:
    bw.export(tmp_path, bw.compile(SCALE))
    x, y = np.arange(200, dtype=np.float32), np.zeros(200, np.float32)
    bw.load_artifact(tmp_path)(x, y, 2.5)
    np.testing.assert_array_equal(y, x * 2.5)
    with pytest.raises(TypeError, match="expected"):
        bw.load_artifact(tmp_path)(x, y)


LOADS = """
    import sys

    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("lark", "llvmlite", "tvm_ffi", "torch", "safetensors", "typer", "rich"):
                raise ImportError(f"{name} is not installed here")
            if name.startswith("bitwright.frontend"):
                raise ImportError(f"{name} is not part of the runtime")

    sys.meta_path.insert(0, Refuse())
    import bitwright as bw

    kernel = bw.load_artifact(sys.argv[1], "cuda:sm_90a")
    assert kernel.name == "scale" and kernel.binary.lanes == 128, kernel
    assert [a.name for a in kernel.signature.arguments] == ["x", "y", "a"]
    if not kernel.binary.runs_here:
        try:
            kernel(None, None, 1.0)
        except RuntimeError as error:
            assert "there is no GPU here" in str(error), error
        else:
            raise AssertionError("it ran")
    print("loaded")
"""


def test_a_kernel_for_a_gpu_is_loaded_without_the_compiler(tmp_path: Path) -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    bw.export(tmp_path, bw.compile(SCALE, "cuda:sm_90a"))
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LOADS), str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=os.path.dirname(sys.executable),
    )  # fmt: skip
    assert ended.stdout == "loaded\n", ended.stderr
