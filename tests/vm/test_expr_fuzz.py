"""Every claim about an index expression, against enumeration of all values of its variables, and against TVM.

An expression is a line of Python calls (`floordiv(add(a, 3), b)`). The line is run with plain integers (the oracle),
with our expressions, and with TVM's.
"""

import itertools
import operator
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.vm import expr as ex

NAMES = ("a", "b", "c")
ARITHMETIC = ("add", "sub", "mul", "floordiv", "mod", "min", "max")
COMPARISONS = ("lt", "le", "eq", "ne")
BITS = ("and_", "or_", "xor", "shl", "shr")
CONSTANTS = st.sampled_from([0, 1, -1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 31, -2, -3, -4, -8]) | st.integers(-70, 70)


class NoValueError(Exception):
    """A division by zero, or a shift by a strange amount."""


def _checked(f: Callable[[int, int], int], valid: Callable[[int], bool]) -> Callable[[int, int], int]:
    def apply(x: int, y: int) -> int:
        if not valid(y):
            raise NoValueError
        return f(x, y)

    return apply


INTEGERS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": _checked(operator.floordiv, bool),
    "mod": _checked(operator.mod, bool),
    "min": min,
    "max": max,
    "and_": operator.and_,
    "or_": operator.or_,
    "xor": operator.xor,
    "shl": _checked(operator.lshift, lambda y: 0 <= y < 64),
    "shr": _checked(operator.rshift, lambda y: 0 <= y < 64),
    "lt": lambda x, y: int(x < y),
    "le": lambda x, y: int(x <= y),
    "eq": lambda x, y: int(x == y),
    "ne": lambda x, y: int(x != y),
    "select": lambda c, yes, no: yes() if c else no(),
}
OURS = {
    name: (lambda kind: lambda x, y: ex.binary(kind, x, y))(name.rstrip("_"))
    for name in ARITHMETIC + COMPARISONS + BITS
}
OURS["select"] = lambda c, yes, no: ex.select(c, yes(), no())


def lines(operations: tuple[str, ...], select: bool = True) -> st.SearchStrategy[str]:
    leaf = st.sampled_from(NAMES) | CONSTANTS.map(str)

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        binary = st.tuples(st.sampled_from(operations), inner, inner | CONSTANTS.map(str)).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        )
        choice = st.tuples(inner, inner, inner).map(lambda t: f"select({t[0]}, lambda: {t[1]}, lambda: {t[2]})")
        return st.one_of(binary, binary, binary, choice) if select else binary

    return st.recursive(leaf, grow, max_leaves=9)


FACTORS = st.sampled_from([1, 1, 1, -1, 2, -2, 3, 4, -4, 6, 8, -8])
DIVISORS = st.sampled_from([2, 3, 4, 6, 8])


def _sum(parts: list[tuple[str, int]], constant: int) -> str:
    line = str(constant)
    for part, factor in parts:
        line = f"add({line}, mul({part}, {factor}))"
    return line


@st.composite
def related_lines(draw: st.DrawFn) -> str:
    """Sums whose terms are built from one sum: what indexing makes, and where the rules for // and % meet."""
    parts = st.tuples(st.sampled_from(NAMES), FACTORS)
    whole = _sum(draw(st.lists(parts, min_size=1, max_size=2)), draw(st.integers(-9, 9)))
    c = draw(DIVISORS)
    divided = [f"{operation}({whole}, {n})" for operation in ("floordiv", "mod") for n in (c, 2 * c)]
    nested = [f"{operation}({e}, {draw(DIVISORS)})" for operation in ("floordiv", "mod") for e in divided]
    limited = [f"{operation}({whole}, {name})" for operation in ("min", "max", "mod", "floordiv") for name in NAMES]
    atoms = st.sampled_from(divided * 2 + nested + limited + [whole, whole, *NAMES])
    factors = FACTORS | st.sampled_from([c, -c])
    sums = st.builds(_sum, st.lists(st.tuples(atoms, factors), min_size=1, max_size=3), st.integers(-9, 9))
    finish = draw(st.sampled_from(["", "", "mod", "floordiv", *COMPARISONS]))
    if not finish:
        return draw(sums)
    return f"{finish}({draw(sums)}, {draw(sums | atoms) if finish in COMPARISONS else draw(DIVISORS)})"


@dataclass(frozen=True)
class Domain:
    """The values of a variable, and which ends we tell (an untold end must not matter)."""

    name: str
    low: int
    high: int
    multiple: int
    tell_low: bool = True
    tell_high: bool = True

    def values(self) -> list[int]:
        return [v for v in range(self.low, self.high + 1) if v % self.multiple == 0]

    def var(self) -> ex.Var:
        low = self.low if self.tell_low else None
        return ex.Var(self.name, low, self.high if self.tell_high else None, self.multiple)


def domains(name: str) -> st.SearchStrategy[Domain]:
    return st.builds(
        lambda low, multiple, more, tells: Domain(name, low, low + multiple - 1 + more, multiple, *tells),
        st.integers(-12, 12),
        st.sampled_from([1, 1, 1, 2, 3, 4, 8]),
        st.integers(0, 8),
        st.sampled_from([(True, True), (True, True), (True, False), (False, True), (False, False)]),
    )


ALL_DOMAINS = st.tuples(*(domains(name) for name in NAMES))


def environments(line: str, doms: tuple[Domain, ...]) -> Iterator[dict[str, int]]:
    """All values of the variables that the line names."""
    used = [d for d in doms if re.search(rf"\b{d.name}\b", line)]
    for values in itertools.product(*(d.values() for d in used)):
        yield dict(zip((d.name for d in used), values, strict=True))


@settings(max_examples=4000, deadline=None)
@given(lines(ARITHMETIC + COMPARISONS + BITS) | related_lines(), ALL_DOMAINS)
def test_every_claim_holds_for_all_values(line: str, doms: tuple[Domain, ...]) -> None:
    symbols = {d.name: d.var() for d in doms}
    try:
        e = ex.lift(eval(line, OURS | symbols))
    except ex.ExprError:
        return  # a division by a constant 0, or constants that leave 64 bits
    low, high = ex.bounds(e)
    multiple, residue = ex.modular(e)
    never_zero = ex.can_prove(e)
    code = compile(line, "<line>", "eval")
    printed = compile(str(e), "<text>", "eval")
    assert set(ex.variables(e)) <= set(symbols.values())
    for env in environments(line, doms):
        try:
            want = eval(code, INTEGERS | env)
        except NoValueError:
            continue
        assert ex.evaluate(e, {symbols[name]: value for name, value in env.items()}) == want, str(e)
        assert low is None or low <= want
        assert high is None or want <= high
        assert want == residue if multiple == 0 else (want - residue) % multiple == 0
        assert want != 0 or not never_zero
        assert eval(printed, {"min": min, "max": max, "ceildiv": lambda x, y: -(-x // y)} | env) == want, str(e)


@settings(max_examples=300, deadline=None)
@given(lines(ARITHMETIC + COMPARISONS + BITS), lines(ARITHMETIC + BITS), ALL_DOMAINS)
def test_substitution_is_evaluation_of_the_whole(line: str, inner: str, doms: tuple[Domain, ...]) -> None:
    symbols = {d.name: d.var() for d in doms}
    free = ex.Var("free")
    try:
        outer = ex.lift(eval(line, OURS | symbols | {"a": free}))
        replaced = ex.substitute(outer, {free: eval(inner, OURS | symbols)})
    except ex.ExprError:
        return
    for env in itertools.islice(environments(f"{line} {inner}", doms), 40):
        ours = {symbols[name]: value for name, value in env.items()}
        try:
            value = eval(inner, INTEGERS | env)
            want = eval(line, INTEGERS | env | {"a": value})
        except NoValueError:
            continue
        assert ex.evaluate(replaced, ours | {v: 0 for v in symbols.values() if v not in ours}) == want
        assert ex.evaluate(outer, ours | {v: 0 for v in symbols.values() if v not in ours} | {free: value}) == want


@settings(max_examples=300, deadline=None)
@given(lines(ARITHMETIC + COMPARISONS + BITS), ALL_DOMAINS)
def test_the_text_builds_the_same_values_again(line: str, doms: tuple[Domain, ...]) -> None:
    """What is printed, read with our operators in Python's own grammar, is the same function."""
    symbols = {d.name: d.var() for d in doms}
    try:
        e = ex.lift(eval(line, OURS | symbols))
    except ex.ExprError:
        return
    text = str(e)
    if " if " in text or any(sign in text for sign in ("==", "!=", "<", ">")):
        return  # Python's `if` and comparisons are not ours to overload
    again = ex.lift(eval(text, {"min": ex.min_, "max": ex.max_, "ceildiv": ex.ceildiv} | symbols))
    for env in itertools.islice(environments(line, doms), 60):
        ours = {v: env.get(name, 0) for name, v in symbols.items()}
        try:
            want = eval(line, INTEGERS | env)
        except NoValueError:
            continue
        assert ex.evaluate(again, ours) == want


@pytest.fixture(scope="module")
def tvm() -> types.ModuleType:
    return pytest.importorskip("tvm")


@settings(max_examples=400, deadline=None)
@given(line=lines(ARITHMETIC, select=False) | related_lines(), doms=ALL_DOMAINS)
def test_tvm_does_not_contradict(tvm: types.ModuleType, line: str, doms: tuple[Domain, ...]) -> None:
    tirx = tvm.tirx
    analyzer = tvm.sym.Analyzer()
    symbols, theirs = {}, {}
    for d in doms:
        first, last = -(-d.low // d.multiple), d.high // d.multiple
        symbols[d.name] = ex.Var(d.name, d.low, d.high, d.multiple)
        counter = tirx.Var(d.name, "int64")
        ends = tirx.IntImm("int64", first), tirx.IntImm("int64", last - first + 1)
        analyzer.bind(counter, tvm.ir.Range.from_min_extent(*ends))
        theirs[d.name] = counter * d.multiple
    functions = {
        "add": operator.add,
        "sub": operator.sub,
        "mul": operator.mul,
        "floordiv": tirx.floordiv,
        "mod": tirx.floormod,
        "min": tirx.min,
        "max": tirx.max,
        "lt": lambda x, y: (x < y).astype("int64"),
        "le": lambda x, y: (x <= y).astype("int64"),
        "eq": lambda x, y: tirx.EQ(x, y).astype("int64"),
        "ne": lambda x, y: tirx.NE(x, y).astype("int64"),
    }
    try:
        e = ex.lift(eval(line, OURS | symbols))
    except ex.ExprError:
        return
    literal = {"const": lambda v: tirx.IntImm("int64", v)}
    try:
        t = eval(_with_constants(line), functions | theirs | literal)
    except Exception as error:
        if "ivide by zero" not in str(error):  # TVM folds a division that we dropped
            raise
        return
    low, high = ex.bounds(e)
    assert low is None or not analyzer.can_prove(t < low)
    assert high is None or not analyzer.can_prove(t > high)
    multiple, residue = ex.modular(e)
    if multiple > 1:
        assert not analyzer.can_prove(tirx.floormod(t, multiple) != residue)
    if ex.can_prove(e):
        assert not analyzer.can_prove(t == 0)


def _with_constants(line: str) -> str:
    """The line with each integer wrapped, so that TVM never sees two plain integers."""
    words = line.replace("(", "( ").replace(")", " )").replace(",", " ,").split()
    return " ".join(f"const({w})" if w.lstrip("-").isdigit() else w for w in words)
