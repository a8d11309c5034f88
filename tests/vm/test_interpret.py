"""The interpreter on whole programs: what it computes, and everything that it refuses."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from bitwright.tests.kernels import program, refused
from bitwright.vm.bits import pack, unpack
from bitwright.vm.call_arguments import bind
from bitwright.vm.expr import Var, eq, lift, lt
from bitwright.vm.interpret import interpret
from bitwright.vm.ir import For, If, Let, Program, Statement, While
from bitwright.vm.ops import Store


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


COPY = """
def copy(x: f32[N], y: f32[N]):
    n0 = grid((N, 8))
    store(y, [n0], load(x, [n0], [8]))
"""


class TestControlFlow:
    def test_matmul_with_edges(self, rng: np.random.Generator) -> None:
        p = program("""
def matmul(a: f32[M, K], b: f32[K, N], c: f32[M, N]):
    m0, n0 = grid((M, 4), (N, 8))
    acc = zeros(f32, [4, 8])
    for k0 in range(0, K, 3):
        acc = dot(load(a, [m0, k0], [4, 3]), load(b, [k0, n0], [3, 8]), acc)
    store(c, [m0, n0], acc)
""")
        a = rng.integers(-9, 9, (7, 10)).astype(np.float32)
        b = rng.integers(-9, 9, (10, 13)).astype(np.float32)
        c = np.full((7, 13), np.nan, np.float32)
        interpret(p, a, b, c)
        np.testing.assert_array_equal(c, a @ b)

    def test_while_counts_collatz_steps(self) -> None:
        p = program("""
def collatz(start: i32[N], steps: i32[N]):
    i = grid(N)
    x = load(start, [i], [1])
    count = zeros(i32, [1])
    while item(x) != 1:
        if item(x) % 2 == 0:
            x = x // 2
        else:
            x = x * 3 + 1
        count = count + 1
    store(steps, [i], count)
""")
        start = np.array([1, 2, 3, 7, 27], np.int32)
        steps = np.zeros(5, np.int32)
        interpret(p, start, steps)
        assert steps.tolist() == [0, 1, 7, 16, 111]

    def test_carried_values_change_at_once(self) -> None:
        p = program("""
def fibonacci(out: i32[1], n: int):
    a = zeros(i32, [1])
    b = ones(i32, [1])
    for i in range(0, n, 1):
        a, b = b, a + b
    store(out, [0], a)
""")
        out = np.zeros(1, np.int32)
        for n, expected in [(0, 0), (1, 1), (10, 55), (-3, 0)]:
            interpret(p, out, n)
            assert out.tolist() == [expected]

    def test_blocks_run_in_row_major_order(self) -> None:
        p = program("""
def order(y: i32[A, B]):
    i, j = grid(A, B)
    print("at", cast(i * 10 + j, i32))
    store(y, [i, j], full(i32, [1, 1], i * 10 + j))
""")
        seen: list[str] = []
        y = np.zeros((2, 3), np.int32)
        interpret(p, y, show=seen.append)
        assert [s.split()[-1] for s in seen] == ["0", "1", "2", "10", "11", "12"]
        assert y.tolist() == [[0, 1, 2], [10, 11, 12]]

    def test_a_loop_without_end_stops(self) -> None:
        p = program("""
def spin(y: i32[1]):
    i = 0
    while i < 1:
        i = i * 2
    store(y, [0], zeros(i32, [1]))
""")
        refused(lambda: interpret(p, np.zeros(1, np.int32), limit=500), "too many statements")

    def test_an_empty_grid_does_nothing(self) -> None:
        interpret(program(COPY), np.zeros(0, np.float32), np.zeros(0, np.float32))


class TestArguments:
    def test_number(self) -> None:
        x = np.zeros(3, np.float32)
        refused(lambda: interpret(program(COPY), x), "takes 2 arguments (x, y), not 1")

    def test_dtype(self) -> None:
        x = np.zeros(3, np.float32)
        refused(lambda: interpret(program(COPY), x, np.zeros(3)), "argument y", "float32", "float64[3]")
        refused(lambda: interpret(program(COPY), x, [0.0]), "argument y", "float32")  # type: ignore[arg-type]
        refused(lambda: interpret(program(COPY), x, x.astype(">f4")), "argument y")

    def test_shape(self) -> None:
        x = np.zeros(3, np.float32)
        refused(lambda: interpret(program(COPY), x, np.zeros(4, np.float32)), "y", "[N] = [3]", "[4]")
        refused(lambda: interpret(program(COPY), x[None], x), "x has 1 dimensions", "[1, 3]")

    def test_read_only(self) -> None:
        x, y = np.ones(3, np.float32), np.zeros(3, np.float32)
        x.flags.writeable = False
        interpret(program(COPY), x, y)
        y.flags.writeable = False
        refused(lambda: interpret(program(COPY), x, y), "read-only")

    def test_strided_arrays_are_written_in_place(self) -> None:
        x, y = np.arange(20, dtype=np.float32)[::2], np.zeros(20, np.float32)
        interpret(program(COPY), x, y[1::2])
        assert y.tolist() == [v for i in range(10) for v in (0, 2 * i)]

    def test_sizes(self) -> None:
        p = program("""
def copy(x: u4[N], y: u4[N]):
    n0 = grid((N, 8))
    store(y, [n0], load(x, [n0], [8]))
""")
        x, y = pack([1, 2, 3, 15, 7], 4), np.zeros(3, np.uint8)
        refused(lambda: interpret(p, x, y), "no array tells the size N", "sizes=")
        refused(lambda: interpret(p, x, y, sizes={"M": 5}), "no size M", "N")
        refused(lambda: interpret(p, x, y, sizes={"N": 7}), "argument x", "[N] = [7]", "4 bytes", "[3]")
        refused(lambda: interpret(program(COPY), *[np.zeros(3, np.float32)] * 2, sizes={"N": 4}), "4", "arrays have 3")
        interpret(p, x, y, sizes={"N": 5})
        assert unpack(y, 4, 5).tolist() == [1, 2, 3, 15, 7]

    def test_requirements(self) -> None:
        p = program("""
def copy(x: f32[N], y: f32[N]):
    assume(N % 4 == 0)
    n0 = grid((N, 8))
    store(y, [n0], load(x, [n0], [8]))
""")
        ok, wrong = np.zeros(12, np.float32), np.zeros(13, np.float32)
        interpret(p, ok, ok.copy())
        refused(lambda: interpret(p, wrong, wrong), "N", "13")

    def test_scalars(self) -> None:
        p = program("""
def scale(x: f32[N], y: f32[N], by: f32, first: int):
    store(y, [first], load(x, [first], [2]) * by)
""")
        x, y = np.ones(4, np.float32), np.zeros(4, np.float32)
        interpret(p, x, y, 0.1, 1)
        assert y.tolist() == [0, np.float32(0.1), np.float32(0.1), 0]
        refused(lambda: interpret(p, x, y, "1", 1), "argument by")  # type: ignore[arg-type]
        refused(lambda: interpret(p, x, y, 1.0, 1.0), "argument first is an integer")
        refused(lambda: interpret(p, x, y, 1.0, 1 << 63), "64 bits")

    @pytest.mark.parametrize("name", ["bf16", "f8e4m3fn", "f8e5m2", "e8m0", "f8e4m3fnuz"])
    def test_ml_dtypes_and_codes(self, name: str) -> None:
        other = {"bf16": "bfloat16", "e8m0": "float8_e8m0fnu"}.get(name, f"float8_{name[2:]}")
        p = program(f"""
def widen(x: {name}[N], y: f32[N]):
    store(y, [0], cast(load(x, [0], [4]), f32))
""")
        values = np.array([1.0, 2.0, 0.5, 4.0]).astype(getattr(ml_dtypes, other))
        for given in (values, values.view(f"uint{8 * values.itemsize}")):
            y = np.zeros(4, np.float32)
            interpret(p, given, y)
            assert y.tolist() == [1.0, 2.0, 0.5, 4.0]
        refused(lambda: interpret(p, np.zeros(4, np.float16), np.zeros(4, np.float32)), "argument x", "float16")

    def test_a_code_outside_the_codebook(self) -> None:
        p = program("""
def widen(x: ternary[N], y: f32[N]):
    store(y, [0], cast(load(x, [0], [4]), f32))
""")
        y = np.zeros(4, np.float32)
        interpret(p, pack([0, 1, 2, 0], 2), y)
        assert y.tolist() == [-1, 0, 1, -1]
        refused(lambda: interpret(p, pack([0, 1, 3, 0], 2), y), "code 3")

    def test_all_names_are_bound(self) -> None:
        p = program(COPY)
        call = bind(p, (np.zeros(3, np.float32), np.zeros(3, np.float32)), {}, set())
        assert {v.name: n for v, n in call.scalars.items()} == {"N": 3}


class TestReports:
    def test_assert(self) -> None:
        p = program("""
def f(x: f32[N]):
    i = grid(N)
    assert load(x, [i], [1]) < 3, "x is below 3"
""")
        interpret(p, np.zeros(4, np.float32))
        error = refused(
            lambda: interpret(p, np.arange(5, dtype=np.float32)), "x is below 3", "block [3]", "<string>:4:"
        )
        assert (error.message, error.block) == ("x is below 3", (3,))
        assert error.span is not None
        assert error.span.line == 4

    def test_nothing_is_lost_before_the_error(self) -> None:
        p = program("""
def f(y: u4[N]):
    i = grid(2)
    store(y, [i * 2], full(u4, [2], 9))
    if i == 1:
        assert 1 > N, "no"
""")
        y = np.zeros(3, np.uint8)
        refused(lambda: interpret(p, y, sizes={"N": 6}), "no")
        assert y.tolist() == [0x99, 0x99, 0]

    def test_known_facts_are_checked(self) -> None:
        """A program whose loop variable leaves its bounds was built wrong; its proofs would be wrong too."""
        base = program(COPY)
        wrong = Var("i", 0, 1)
        p = Program("f", base.parameters, base.sizes, (), (), (For(wrong, lift(0), lift(3), 1, (), ()),))
        x = np.zeros(3, np.float32)
        refused(lambda: interpret(p, x, x), "the loop variable i is 2", "at most 1", "for i in range")

    def test_every_statement_has_a_text(self) -> None:
        flag = Var("flag", 0, 5)
        body: tuple[Statement, ...] = (If(lt(flag, 1), (), (), ()), While((), eq(flag, 3), (), ()))
        base = program(COPY)
        p = Program("f", (*base.parameters, flag), base.sizes, (), (), body)
        x = np.zeros(3, np.float32)
        interpret(p, x, x, 0)
        refused(lambda: interpret(p, x, x, 0, limit=0), "too many", "if flag")
        refused(lambda: interpret(p, x, x, 0, limit=1), "too many", "while flag == 3")
        assert isinstance(base.body[-1], Let)
        assert isinstance(base.body[-1].op, Store)
