"""The kernels of `linear` on processors without AVX-512: what they compute, and the instructions that they are made of.

Code for ARM runs in an emulator here; code for older x86 processors runs as it is.
"""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from bitwright.backend.llvm.feature_names import is_arm
from bitwright.backend.target import target
from bitwright.frontend.cli.main import app
from bitwright.frontend.kernel import Kernel, compile, simulate
from bitwright.frontend.library.plan import Activations
from bitwright.frontend.linear import linear_kernel
from bitwright.tests.backend.llvm.native import run_native
from bitwright.vm.call_arguments import bind
from bitwright.vm.diagnostic import Diagnostic
from bitwright.vm.dtypes import Codebook, DType
from bitwright.vm.expr import evaluate

DEPTH, GROUP = 128, 64
WIDTHS = range(1, 9)
PLACES = [
    *(("cpu:x86-64-v3", f"u{n}") for n in WIDTHS), *(("cpu:neoverse-n1", f"u{n}") for n in WIDTHS),
    ("cpu:x86-64", "u3"), ("cpu:x86-64", "u8"), ("cpu:aarch64", "u7"), ("cpu:aarch64", "u8"),
]  # fmt: skip
TABLES = ["nf4", "ternary", "f4e2m1", "f6e3m2", "f8e4m3fn"]

Array = NDArray[np.generic]


def made(name: str, element: str, activations: Activations, rows: int = 1) -> Kernel:
    return linear_kernel(element, GROUP, rows, activations, name, zero_point=False, n=64, k=DEPTH)


def numbers(kind: DType) -> NDArray[np.uint8]:
    """The codes that mean finite numbers."""
    count = len(kind.values) if isinstance(kind, Codebook) else 1 << kind.bits
    codes = np.arange(count).astype(np.uint8)
    return codes[np.isfinite(kind.decode(codes).astype(np.float64))]


def operands(kernel: Kernel, columns: int) -> dict[str, Array]:
    """Random arrays for the kernel's parameters, the result among them; `columns` is N."""
    rng = np.random.default_rng(columns)
    tiles = columns // int(kernel.parameters["BN"])
    sizes = {"M": kernel.multiples["M"], "T": tiles, "N": columns, "ZG": 0, "B": 0}
    found: dict[str, Array] = {}
    for array in kernel.program.arrays:
        shape = [evaluate(n, {v: sizes[v.name] for v in kernel.program.sizes}) for n in array.shape]
        if array.name == "w":
            codes = rng.choice(numbers(array.dtype), shape)
            found["codes"], found["w"] = codes, kernel.pack("w", codes)
        elif array.dtype.name == "i8":
            found[array.name] = rng.integers(-127, 128, shape).astype(np.int8)
        else:
            kinds = {"f16": np.float16, "f32": np.float32, "u8": np.uint8, "i32": np.int32}
            found[array.name] = rng.uniform(0.5, 1.5, shape).astype(kinds[array.dtype.name])
    found["total"] = found["x"].reshape(sizes["M"], -1, GROUP).sum(axis=2).astype(found["total"].dtype)
    return found


def expected(kernel: Kernel, given: dict[str, Array]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The product in f64, and the sum of the sizes of its terms."""
    kind = next(a.dtype for a in kernel.program.arrays if a.name == "w")
    shift = kernel.parameters.get("SHIFT", 0)
    assert isinstance(shift, int)
    weights = kind.decode(given["codes"]).astype(np.float64) - shift
    scale = given["scale"].transpose(1, 0, 2).reshape(DEPTH // GROUP, -1)
    weights *= np.repeat(scale.astype(np.float64), GROUP, axis=0)
    x = given["x"].astype(np.float64)
    if "step" in given:
        x = x * np.repeat(given["step"].astype(np.float64), GROUP, axis=1)
    return x @ weights, np.abs(x) @ np.abs(weights)


def agrees(kernel: Kernel, name: str, columns: int) -> None:
    """Native (or emulated) code gives the simulator's bits, and they are right."""
    given = operands(kernel, columns)
    arguments = [given[a.name] for a in kernel.program.arrays]
    simulate(kernel, *arguments)
    right, size = expected(kernel, given)
    found = given["y"].astype(np.float64)
    assert (np.abs(found - right) <= 2.0**-18 * size).all()

    again = [np.zeros_like(x) if x is given["y"] else x for x in arguments]
    call = bind(kernel.program, again, {}, set())
    slots = [*again, *(call.scalars[v] for v in kernel.program.sizes)]
    function = kernel.compiled.function
    assert function is not None
    assert run_native(function, name, slots, prod(evaluate(n, call.scalars) for n in kernel.program.grid)) == 0
    np.testing.assert_array_equal(again[-1], given["y"])


@pytest.mark.parametrize(("name", "element"), PLACES)
@pytest.mark.parametrize("activations", ["int8", "f32"])
def test_every_width(name: str, element: str, activations: Activations) -> None:
    kernel = made(name, element, activations)
    agrees(kernel, name, 2 * int(kernel.parameters["BN"]))


@pytest.mark.parametrize("name", ["cpu:x86-64-v3", "cpu:neoverse-n1"])
@pytest.mark.parametrize("element", TABLES)
def test_tables(name: str, element: str) -> None:
    kernel = made(name, element, "f32")
    agrees(kernel, name, int(kernel.parameters["BN"]))


@pytest.mark.parametrize("name", ["cpu:x86-64-v3", "cpu:neoverse-n1"])
def test_two_rows(name: str) -> None:
    kernel = made(name, "u5", "int8", rows=2)
    agrees(kernel, name, int(kernel.parameters["BN"]))


@pytest.mark.parametrize(
    ("name", "element", "product", "rest"),
    [
        ("cpu:neoverse-v1", "u8", "usdot", "mla|smull"),
        ("cpu:neoverse-v1", "u5", "sdot", "mla|smull"),
        ("cpu:cortex-a76", "u4", "sdot", "mla|smull"),
        ("cpu:apple-m1", "u7", "sdot", "mla|smull"),
        ("cpu:x86-64-v3", "u7", "vpmaddubsw", "vpmulld"),
        ("cpu:alderlake", "u8", "vpdpbusd", "vpmaddwd"),
    ],
)
def test_bytes_are_multiplied_by_the_widest_product(name: str, element: str, product: str, rest: str) -> None:
    """One instruction for each word of four weights that a tile has, or 2 or 4 where LLVM unrolls."""
    kernel = made(name, element, "int8")
    body = _body(kernel.source("asm"))
    words = int(kernel.parameters["BK"]) * int(kernel.parameters["BN"]) // (4 * kernel.target.lanes)
    found = re.findall(rf"^\s+(?:\{{vex\}}\s+)?{product}\s", body, re.MULTILINE)
    assert len(found) in (words, 2 * words, 4 * words)
    assert not re.search(rf"^\s+(?:{rest})\s", body, re.MULTILINE)


def test_another_architecture_is_compiled_from_the_shell_and_refuses_to_run(tmp_path: Path) -> None:
    program = tmp_path / "double.bw"
    program.write_text(
        "def double(x: f32[N], y: f32[N]):\n    i = grid((N, 8))\n    store(y, [i], load(x, [i], [8]) * 2)\n"
    )
    other = "cpu:x86-64" if is_arm(target("cpu").triple) else "cpu:neoverse-v1"
    shown = CliRunner().invoke(app, ["compile", str(program), "--target", other, "--emit", "asm"])
    assert shown.exit_code == 0, shown.stderr
    assert re.search(r"^\s+fadd\s+v\d+\.4s" if "neoverse" in other else r"^\s+addps\s", shown.stdout, re.MULTILINE)
    kernel = compile(program, target=other)
    with pytest.raises(Diagnostic, match=f"this machine cannot run code for {other}"):
        kernel(np.zeros(8, np.float32), np.zeros(8, np.float32))


def test_look_ups_stay_in_registers_on_arm() -> None:
    body = _body(made("cpu:neoverse-v1", "nf4", "f32").source("asm"))
    assert len(re.findall(r"^\s+tbl\s", body, re.MULTILINE)) in (128, 256)  # of 32 x 4 vectors of weights


def _body(assembly: str) -> str:
    return assembly[assembly.index("\nbody:") : assembly.index(".Lfunc_end")]
