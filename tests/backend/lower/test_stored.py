"""Dtypes in memory, end to end: loads and stores of dense and tiled arrays, three ways, against NumPy."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from bitwright.frontend.build import ParameterValue
from bitwright.frontend.kernel import Kernel, compile, simulate
from bitwright.frontend.library.plan import library
from bitwright.tests.backend.lower.every_dtype import BOOKS, INTS, count_of, dice, same_numbers
from bitwright.vm.bits import pack, unpack
from bitwright.vm.call_arguments import is_buffer
from bitwright.vm.dtypes import Codebook, DType, Int, Overflow, Rounding, dtype
from bitwright.vm.interpret import interpret
from bitwright.vm.layout.packing import Packing, default_planes
from bitwright.vm.layout.storage import Tiled
from bitwright.vm.layout.text import layout

Codes = NDArray[np.unsignedinteger]
MACHINES = ("cpu", "cpu:x86-64-v3", "cpu:baseline")
TILE = 64
FLOATS = tuple(
    dtype(name)
    for name in (
        "f8e4m3fn", "f8e5m2", "f8e4m3fnuz", "f8e3m4", "ue4m3", "ue5m3", "ue6m2", "e8m0", "f7e3m3", "f7e5m1", "f6e3m2",
        "f6e2m3", "f5e2m2", "f5e3m1", "f4e2m1", "f4e3m0", "f3e1m1", "uf3e2m1", "f2e1m0", "uf2e1m1",
    )
)  # fmt: skip
NATURAL = {"bf16": "uint16", "f16": "float16", "f32": "float32", "i8": "int8", "u8": "uint8", "i32": "int32"}
BY_WIDTH: dict[int, list[DType]] = {
    bits: [k for k in (*INTS, *FLOATS, *BOOKS) if k.bits == bits] for bits in range(1, 9)
}


def every_code(kind: DType, rng: np.random.Generator, blocks: int, tile: int) -> Codes:
    """[blocks * tile]: in 2^n blocks each place of the tile sees each code, and neighbours differ."""
    count = count_of(kind)
    order, first = rng.permutation(count), np.arange(tile) * 3 + rng.integers(0, 2, tile)
    return order[(np.arange(blocks)[:, None] + first) % count].reshape(-1).astype(kind.code_dtype)


def stored(kind: DType, codes: Codes) -> NDArray[np.generic]:
    """A row-major array of codes as a call takes it."""
    if kind.bits < 8:
        return pack(codes.reshape(-1), kind.bits)
    return codes.view(np.int8) if isinstance(kind, Int) and kind.signed else codes


def run(kernel: Kernel, how: str, *arguments: NDArray[np.generic], **sizes: int) -> None:
    match how:
        case "interpreted":
            interpret(kernel.program, *arguments, sizes=sizes)
        case "simulated":
            simulate(kernel, *arguments, sizes=sizes)
        case _:
            explicit = {v.name for v in kernel.compiled.signature.explicit}
            kernel(*arguments, **{name: n for name, n in sizes.items() if name in explicit})


def _targets(kind: DType) -> list[str]:
    """What it is decoded to."""
    if isinstance(kind, Int):
        return ["f32", "f16", "i32", "i8" if kind.signed or kind.bits < 8 else "u8"]
    return ["f32", "f16", "bf16"]


def _decoder(kinds: list[DType], target: str) -> Kernel:
    arrays, body = [], []
    for i, kind in enumerate(kinds):
        arrays.append(f"x{i}: K{i}[N]")
        body.append(f"    t{i} = load(x{i}, [n0], [{TILE}])")
        for to in _targets(kind):
            arrays.append(f"y{i}_{to}: {to}[N]")
            body.append(f"    store(y{i}_{to}, [n0], cast(t{i}, {to}))")
    names = ", ".join(f"K{i}: dtype" for i in range(len(kinds)))
    text = f"def decode({', '.join(arrays)}, *, {names}):\n    n0 = grid((N, {TILE}))\n" + "\n".join(body) + "\n"
    return compile(text, target, divisible={"N": TILE}, **{f"K{i}": kind for i, kind in enumerate(kinds)})


def _decode(kernel: Kernel, kinds: list[DType], how: str, blocks: int) -> None:
    rng = np.random.default_rng(len(how))
    arguments: list[NDArray[np.generic]] = []
    checks: list[tuple[DType, str, NDArray[np.generic], NDArray[np.generic]]] = []
    for kind in kinds:
        codes = every_code(kind, rng, blocks, TILE)
        arguments.append(stored(kind, codes))
        for to in _targets(kind):
            target = dtype(to)
            given = target.decode(np.zeros(1, target.code_dtype)).dtype
            out = np.zeros(blocks * TILE, NATURAL[to])
            arguments.append(out)
            rounded = target.round(kind.decode(codes), overflow="sat" if isinstance(target, Int) else "ieee")
            checks.append((kind, to, out, rounded.astype(given)))
    run(kernel, how, *arguments, N=blocks * TILE)
    for kind, to, out, right in checks:
        found = dtype(to).decode(np.asarray(out).view(dtype(to).code_dtype))
        assert same_numbers(found, right).all(), f"{kind} to {to}, {how}"


@pytest.mark.parametrize("bits", range(1, 9))
def test_dense_arrays_decode_at_every_place(bits: int) -> None:
    """Natively all codes at all places; the slower ways as many blocks as they do in time."""
    kinds = BY_WIDTH[bits]
    for start in range(0, len(kinds), 12):
        some = kinds[start : start + 12]
        kernel = _decoder(some, "cpu")
        _decode(kernel, some, "native", 1 << bits)
        _decode(kernel, some, "interpreted", 2)
        _decode(kernel, some, "simulated", 2)


@pytest.mark.parametrize("target", MACHINES[1:])
def test_dense_arrays_decode_on_narrower_machines(target: str) -> None:
    rng = np.random.default_rng(9)
    some = [kinds[int(rng.integers(len(kinds)))] for kinds in BY_WIDTH.values()]
    kernel = _decoder(some, target)
    _decode(kernel, some, "native", 256)
    _decode(kernel, some, "simulated", 2)


# Rows of 13 elements: no row, and no lane's run, begins at a byte.
ODD_ROWS = """
def rows(x: K[R, 13], y: f32[R, 13], *, K: dtype):
    r0 = grid((R, 4))
    store(y, [r0, 0], cast(load(x, [r0, 0], [4, 16]), f32))
"""


@pytest.mark.parametrize("kind", [*INTS[:-2], dtype("f6e2m3"), dtype("nf4"), BOOKS[-4]], ids=str)
def test_rows_that_begin_within_a_byte(kind: DType) -> None:
    codes = np.random.default_rng(4).integers(0, count_of(kind), (7, 13)).astype(kind.code_dtype)
    kernel = compile(ODD_ROWS, K=kind)
    for how in ("interpreted", "simulated"):
        out = np.zeros((7, 13), np.float32)
        run(kernel, how, stored(kind, codes), out, R=7)
        assert np.array_equal(out, kind.decode(codes).astype(np.float32))


# Tiles


def _storages(bits: int) -> list[Tiled]:
    """Containers and planes of every sort, odd numbers of registers, vectors of several words."""
    packings = [Packing.dense(bits), Packing(bits, 32, (1,) * bits)]
    for container in (8, 16, 32):
        packings.append(Packing(bits, container, default_planes(bits)))
        packings.append(Packing(bits, container, tuple(reversed(default_planes(bits)))))
    tiles = [
        "local(5, 1) * spatial(1, 16)",
        "local(16, 1) * spatial(1, 16)",
        "spatial(2, 1) * local(3, 3) * spatial(1, 8)",
    ]
    vectors = (1, 2, 1, 3, 4)
    return [
        Tiled(layout(tiles[i % len(tiles)]), p, vectors[i % len(vectors)])
        for i, p in enumerate(dict.fromkeys(packings))
    ]


def _retiler(storages: list[Tiled], kind: DType, target: str) -> Kernel:
    """From each storage to f32, and to the next storage whose tiles are alike."""
    arrays, body = [], []
    for i, s in enumerate(storages):
        k, n = s.tile_shape
        arrays += [f"w{i}: K[A{i}, B{i}] @ L{i}", f"y{i}: f32[A{i}, B{i}]", f"v{i}: K[A{i}, B{i}] @ L{i}"]
        tile = f"[{k}, {n}]"
        body.append(f"    t{i} = load(w{i}, [k0 // 480 * {k}, 0], {tile})")
        body.append(f"    store(y{i}, [k0 // 480 * {k}, 0], cast(t{i}, f32))")
        body.append(f"    store(v{i}, [k0 // 480 * {k}, 0], cast(cast(t{i}, f32), K))")
    names = ", ".join(["K: dtype", *(f"L{i}: layout, A{i}: int, B{i}: int" for i in range(len(storages)))])
    text = f"def retile({', '.join(arrays)}, *, BLOCKS: int, {names}):\n    k0 = grid((BLOCKS * 480, 480))\n"
    given: dict[str, ParameterValue] = {"K": kind, "BLOCKS": 2}
    for i, s in enumerate(storages):
        given |= {f"L{i}": s, f"A{i}": 2 * s.tile_shape[0], f"B{i}": s.tile_shape[1]}
    return compile(text + "\n".join(body) + "\n", target, **given)


def _round_trip(kernel: Kernel, storages: list[Tiled], kind: DType, how: str) -> None:
    rng = np.random.default_rng(8)
    arguments: list[NDArray[np.generic]] = []
    checks = []
    for s in storages:
        shape = (2 * s.tile_shape[0], s.tile_shape[1])
        codes = rng.integers(0, count_of(kind), shape).astype(kind.code_dtype)
        buffer = s.pack(codes)
        numbers, back = np.zeros(shape, np.float32), np.zeros_like(buffer)
        arguments += [buffer, numbers, back]
        checks.append((s, codes, numbers, back))
    run(kernel, how, *arguments)
    for s, codes, numbers, back in checks:
        right = kind.decode(codes).astype(np.float32)
        assert same_numbers(numbers, right).all(), f"{kind} from {s}, {how}"
        again = kind.decode(s.unpack(back, codes.shape)).astype(np.float32)
        assert same_numbers(again, right).all(), f"{kind} to {s}, {how}"


@pytest.mark.parametrize("bits", range(1, 9))
def test_tiles_of_every_packing_are_read_and_written(bits: int) -> None:
    kinds = BY_WIDTH[bits]
    kind = kinds[(3 * bits) % len(kinds)]
    storages = _storages(bits)
    kernel = _retiler(storages, kind, "cpu")
    for how in ("interpreted", "simulated", "native"):
        _round_trip(kernel, storages, kind, how)


@pytest.mark.parametrize("target", MACHINES[1:])
def test_tiles_on_narrower_machines(target: str) -> None:
    for kind in (dtype("u5"), dtype("f6e3m2")):
        storages = _storages(kind.bits)[2:5]
        kernel = _retiler(storages, kind, target)
        for how in ("simulated", "native"):
            _round_trip(kernel, storages, kind, how)


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_library_packs_and_unpacks_as_storage_does(bits: int) -> None:
    kind = Int(bits, signed=False)
    storage = Tiled(layout("local(32, 1) * spatial(1, 16)"), Packing(bits, 8, default_planes(bits)))
    codes = every_code(kind, np.random.default_rng(bits), 2, 32 * 48).reshape(64, 48).astype(np.uint8)
    right = storage.pack(codes)
    for name in ("pack", "unpack"):
        kernel = compile(
            library("movement.bw"), kernel=name, W=kind, L=storage, BK=32, BN=16, K=64, N=48,
        )  # fmt: skip
        for how in ("simulated", "native"):
            if name == "pack":
                out = np.zeros_like(right)
                run(kernel, how, codes, out)
                assert np.array_equal(out, right), how
            else:
                back = np.zeros_like(codes)
                run(kernel, how, right, back)
                assert np.array_equal(back, codes), how


# Stores to dense arrays


def _encoder(kinds: list[DType], target: str) -> Kernel:
    arrays, body = ["x: f32[N]"], [f"    t = load(x, [n0], [{TILE}])"]
    for i in range(len(kinds)):
        arrays.append(f"y{i}: K{i}[N]")
        body.append(f"    store(y{i}, [n0], cast(t, K{i}))")
    names = ", ".join(f"K{i}: dtype" for i in range(len(kinds)))
    text = f"def encode({', '.join(arrays)}, *, {names}):\n    n0 = grid((N, {TILE}))\n" + "\n".join(body) + "\n"
    return compile(text, target, divisible={"N": 8}, **{f"K{i}": kind for i, kind in enumerate(kinds)})


@pytest.mark.parametrize("target", MACHINES)
def test_dense_arrays_are_written_byte_by_byte(target: str) -> None:
    """The simulator refuses two lanes that write one byte.  The last block has an edge within it."""
    number, count = MACHINES.index(target), 3 * TILE + 8
    kinds = [k for width in BY_WIDTH.values() for k in width[number::6]]
    kernel = _encoder(kinds, target)
    rng = np.random.default_rng(number)
    numbers = (rng.standard_normal(count) * 2.0 ** rng.integers(-3, 6, count)).astype(np.float32)
    for how in ("simulated", "native") if number else ("interpreted", "simulated", "native"):
        outs = [stored(k, np.zeros(count, k.code_dtype)) for k in kinds]
        run(kernel, how, numbers, *outs, N=count)
        for kind, array, out in zip(kinds, kernel.program.arrays[1:], outs, strict=True):
            codes = unpack(np.asarray(out, np.uint8), kind.bits, count) if is_buffer(array) else out.view(np.uint8)
            assert np.array_equal(codes, kind.encode(numbers)), f"{kind}, {how}"


# Casts of tiles, from dtype to dtype


def _pairs(rng: np.random.Generator, count: int) -> list[tuple[DType, DType, Rounding, Overflow]]:
    narrow = [k for width in BY_WIDTH.values() for k in width]
    found: list[tuple[DType, DType, Rounding, Overflow]] = []
    while len(found) < count:
        source, target = narrow[int(rng.integers(len(narrow)))], narrow[int(rng.integers(len(narrow)))]
        rounding = get_args(Rounding)[int(rng.integers(5 if isinstance(target, Codebook) else 6))]
        found.append((source, target, rounding, get_args(Overflow)[int(rng.integers(2))]))
    return found


@pytest.mark.parametrize("target", MACHINES)
def test_narrow_dtypes_are_cast_to_each_other(target: str) -> None:
    """By tables of bytes or words, by fields that move together, or through f32: always the code that is right."""
    rng = np.random.default_rng(MACHINES.index(target))
    pairs = _pairs(rng, 12)
    arrays, body, given = ["r: u32[N]"], [f"    bits = load(r, [n0], [{TILE}])"], {}
    for i, (source, to, rounding, overflow) in enumerate(pairs):
        arrays += [f"x{i}: S{i}[N]", f"y{i}: T{i}[N]"]
        dice_ = ", random=bits" if rounding == "stochastic" else ""
        options = f'rounding="{rounding}", overflow="{overflow}"{dice_}'
        body.append(f"    store(y{i}, [n0], cast(load(x{i}, [n0], [{TILE}]), T{i}, {options}))")
        given |= {f"S{i}": source, f"T{i}": to}
    names = ", ".join(f"{name}: dtype" for name in given)
    text = f"def f({', '.join(arrays)}, *, {names}):\n    n0 = grid((N, {TILE}))\n" + "\n".join(body) + "\n"
    kernel = compile(text, target, divisible={"N": TILE}, **given)
    codes = [every_code(p[0], rng, 4, TILE) for p in pairs]
    random = dice(rng, 4 * TILE)
    for how in ("interpreted", "simulated", "native"):
        outs = [stored(p[1], np.zeros(4 * TILE, p[1].code_dtype)) for p in pairs]
        arguments = [a for p, c, out in zip(pairs, codes, outs, strict=True) for a in (stored(p[0], c), out)]
        run(kernel, how, random, *arguments, N=4 * TILE)
        for (source, to, rounding, overflow), code, out in zip(pairs, codes, outs, strict=True):
            bits = random if rounding == "stochastic" else None
            right = to.encode(source.decode(code), rounding, overflow, bits)
            found = unpack(np.asarray(out, np.uint8), to.bits, 4 * TILE) if to.bits < 8 else out.view(np.uint8)
            assert same_numbers(to.decode(found), to.decode(right)).all(), f"{source} to {to}, {rounding}, {how}"
