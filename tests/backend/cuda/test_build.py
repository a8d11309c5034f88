"""CUDA C++ to cubins and PTX by NVRTC, without a GPU: results, refusals, and who must not need any of it."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from bitwright.backend.build_error import BuildError
from bitwright.backend.cuda import build
from bitwright.backend.cuda.architectures import ARCHITECTURES
from bitwright.backend.target import target
from bitwright.tests.backend.cuda.cuda_texts import PRODUCT
from bitwright.vm.diagnostic import Diagnostic

pytest.importorskip("cuda.bindings.nvrtc")
SM_80 = target("cuda:sm_80")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_cubin_for_every_architecture(name: str) -> None:
    where = target(f"cuda:{name}")
    cubin = build.assemble(PRODUCT, where)
    assert cubin[:4] == b"\x7fELF"
    assert int.from_bytes(cubin[18:20], "little") == 190  # EM_CUDA
    assert b"\0bw_kernel\0" in cubin
    assert f".target {name}\n" in build.to_ptx(PRODUCT, where)


def test_the_same_text_gives_the_same_cubin() -> None:
    assert build.assemble(PRODUCT, SM_80) == build.assemble(PRODUCT, SM_80)


def test_multiplications_and_additions_stay_apart_and_subnormals_are_kept() -> None:
    text = 'extern "C" __global__ void f(float* x) { x[0] = x[1] * x[2] + x[3]; x[4] = x[5] / x[6]; }'
    ptx = build.to_ptx(text, SM_80)
    assert "mul.rn.f32" in ptx
    assert "add.rn.f32" in ptx
    assert "div.rn.f32" in ptx
    assert "fma" not in ptx
    assert ".ftz" not in ptx


def test_a_mistake_is_shown_with_its_lines() -> None:
    text = "int one;\nint two;\n__global__ void f() {\n  three = 3;\n}\nint four;\nint five;\n"
    with pytest.raises(BuildError) as error:
        build.assemble(text, SM_80)
    message = str(error.value)
    assert 'line 4: error: identifier "three" is undefined' in message
    assert ">     4 |   three = 3;" in message
    assert "      2 | int two;" in message
    assert "int one;" not in message
    assert "five" not in message


def test_many_mistakes_are_counted() -> None:
    text = "__global__ void f() {\n" + "".join(f"  x{i} = {i};\n" for i in range(9)) + "}\n"
    with pytest.raises(BuildError, match="and 4 more"):
        build.assemble(text, SM_80)


def test_what_the_assembler_refuses_is_said() -> None:
    with pytest.raises(BuildError, match="any known instruction: 'no'"):
        build.assemble('__global__ void f() { asm volatile("no.such.instruction;"); }', SM_80)


def test_an_instruction_that_the_gpu_lacks_is_refused() -> None:
    convert = 'asm volatile("{ .reg .b32 y; cvt.rn.f16x2.e4m3x2 y, %0; }" :: "h"(x))'
    text = f"__global__ void f(unsigned short x) {{ {convert}; }}"
    with pytest.raises(BuildError, match="sm_89"):
        build.assemble(text, SM_80)
    assert build.assemble(text, target("cuda:sm_89"))


def test_the_version_is_that_of_the_wheel() -> None:
    version = importlib.metadata.version("nvidia-cuda-nvrtc")
    assert build.compiler_version() == f"NVRTC {version}"
    from cuda.bindings import nvrtc

    _, major, minor = nvrtc.nvrtcVersion()
    assert version.startswith(f"{major}.{minor}.")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    build._nvrtc.cache_clear()
    try:
        with pytest.raises(Diagnostic, match=r"pip install 'bitwright\[cuda\]'"):
            build.assemble(PRODUCT, SM_80)
    finally:
        build._nvrtc.cache_clear()


WITHOUT = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cuda":
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
import numpy as np
import bitwright as bw
k = bw.compile("def double(x: f32[N], y: f32[N]):\\n    i = grid((N, 4))\\n    store(y, [i], load(x, [i], [4]) * 2)\\n")
x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
k(x, y)
assert (y == 2 * x).all() and k.report()["lanes"]
other = bw.compile(k.source_text.text, "cuda:sm_90a")
assert "lanes" in other.source("lane")
assert not any(name.partition(".")[0] == "cuda" for name in sys.modules)
"""


def test_the_cpu_needs_nothing_of_nvidias() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
