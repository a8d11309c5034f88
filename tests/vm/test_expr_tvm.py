"""On the index expressions that kernels are made of, our analysis says at least as much as TVM's analyzer."""

import types
from typing import TypeAlias

import pytest

from bitwright.vm import expr as ex

tvm = pytest.importorskip("tvm")
tirx: types.ModuleType = tvm.tirx
Namespace: TypeAlias = dict[str, object]

# name: low, high, multiple
VARIABLES = {
    "lane": (0, 31, 1),
    "warp": (0, 3, 1),
    "reg": (0, 7, 1),
    "tid": (0, 127, 1),
    "block": (0, 1023, 1),
    "m0": (0, 65536, 16),
    "n0": (0, 65536, 64),
    "k0": (0, 8192, 32),
    "K": (128, 8192, 128),
    "i": (0, 63, 1),
    "s": (-20, 20, 1),
}

EXPRESSIONS = [
    "lane // 4",
    "lane % 4 * 2",
    "lane // 4 * 8 + lane % 4",
    "lane // 4 * 4 + lane % 4",
    "(tid // 32) * 32 + tid % 32",
    "tid - tid // 32 * 32",
    "tid - tid % 32",
    "(n0 + 16) - n0",
    "n0 + lane",
    "(n0 + lane) // 64",
    "(n0 + lane) % 64",
    "(n0 + lane * 2) // 32",
    "(n0 + 3) % 64",
    "n0 // 64 * 64",
    "n0 // 16 * 2",
    "(m0 * 4 + reg) // 8",
    "(m0 * 4 + reg) % 8",
    "(k0 + reg) // 128",
    "k0 // 32 + 1",
    "block * 64 + warp * 16 + lane // 4",
    "(block * 64 + warp * 16 + lane // 4) // 16",
    "(block * 64 + warp * 16 + lane // 4) % 16",
    "(block * 64 + i) // 64",
    "(block * 64 + i) % 64",
    "(block * 64 + i) // 8 % 8",
    "(i * 3) % 3",
    "(i * 6 + 4) // 2",
    "(i * 6 + 4) % 3",
    "(i * 6 + 4) % 4",
    "i // 8 // 4",
    "i % 16 % 4",
    "i % 16 // 4",
    "i // 4 * 4 + i % 4 + 1",
    "(i + 64) // 64",
    "(s + 64) // 4",
    "s // 4 * 4 + s % 4",
    "(s * 8 + 5) % 8",
    "min(i, 100)",
    "min(n0 + 64, n0 + lane)",
    "max(n0, n0 + lane)",
    "max(i, 7) - min(i, 7)",
    "min(i, 7) * 16",
    "K * 2 - K",
    "K // 32 * 4",
    "m0 * K + k0",
    "(m0 + 1) * 3 - m0 * 3",
    "(lane * 4 + reg) // 32",
    "(warp * 32 + lane) * 8 + reg",
    "((warp * 32 + lane) * 8 + reg) // 8",
    "((warp * 32 + lane) * 8 + reg) // 8 % 32",
]

PROOFS = [
    "lt(lane, 32)",
    "lt(n0, n0 + 1)",
    "le(n0 + lane, n0 + 31)",
    "lt(lane // 4 * 8 + lane % 4 * 2, 64)",
    "eq((n0 + lane) % 64, lane)",
    "eq((n0 + lane) // 64, n0 // 64)",
    "eq((block * 64 + i) // 64, block)",
    "eq((block * 64 + i) % 64, i)",
    "eq((k0 * 4) % 128, 0)",
    "ne(n0 + 1, k0)",
    "ne(i * 2, 7)",
    "le(i // 8 * 8, i)",
    "lt(i, i // 8 * 8 + 8)",
    "le(min(i, 7), 7)",
    "le(min(i, lane), i)",
    "le(i, max(i, lane))",
    "eq(i // 4 // 2, i // 8)",
    "lt(warp * 32 + lane, 128)",
    "le(0, s + 20)",
    "eq(s * 2 + s, s * 3)",
    "eq(tid // 32 * 32 + tid % 32, tid)",
    "lt(K % 128, 1)",
    "eq((K + 31) // 32, K // 32)",
    "lt(i * 2, i * 2 + 1)",
    "lt((lane + i) // 4 * 4, lane * 2 + i + 1)",
]


def _ours() -> Namespace:
    symbols: Namespace = {name: ex.Var(name, *facts) for name, facts in VARIABLES.items()}
    return symbols | {"min": ex.min_, "max": ex.max_, "lt": ex.lt, "le": ex.le, "eq": ex.eq, "ne": ex.ne}


def _theirs() -> tuple[object, Namespace]:
    analyzer = tvm.sym.Analyzer()
    symbols: Namespace = {}
    for name, (low, high, multiple) in VARIABLES.items():
        counter = tirx.Var(name, "int64")
        first, last = -(-low // multiple), high // multiple
        analyzer.bind(counter, tvm.ir.Range.from_min_extent(_imm(first), _imm(last - first + 1)))
        symbols[name] = counter * multiple
    compare = {"lt": lambda x, y: x < y, "le": lambda x, y: x <= y}
    equal = {"eq": lambda x, y: tirx.EQ(x, _imm(y)), "ne": lambda x, y: tirx.NE(x, _imm(y))}
    return analyzer, symbols | {"min": tirx.min, "max": tirx.max} | compare | equal


def _imm(value: object) -> object:
    return tirx.IntImm("int64", value) if isinstance(value, int) else value


@pytest.mark.parametrize("line", EXPRESSIONS)
def test_ranges_and_residues_are_as_strong(line: str) -> None:
    mine = eval(line, _ours())
    analyzer, names = _theirs()
    theirs = analyzer.simplify(eval(line, names))
    low, high = ex.bounds(mine)
    bound = analyzer.const_int_bound(theirs)
    assert low is not None
    assert low >= bound.min_value
    assert high is not None
    assert high <= bound.max_value
    multiple, residue = ex.modular(mine)
    known = analyzer.modular_set(theirs)
    if multiple == 0:
        assert (residue - known.base) % known.coeff == 0 if known.coeff else residue == known.base
    else:
        assert known.coeff != 0, "TVM knows the value and we do not"
        assert multiple % known.coeff == 0
        assert (residue - known.base) % known.coeff == 0


@pytest.mark.parametrize("line", PROOFS)
def test_proofs_are_found(line: str) -> None:
    """Each of these is true; TVM agrees that its denial cannot be proven."""
    assert ex.can_prove(eval(line, _ours()))
    analyzer, names = _theirs()
    assert not analyzer.can_prove(tirx.Not(eval(line, names)))
