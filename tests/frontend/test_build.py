"""What the text of a kernel becomes: parameters, sizes, grids, constants, names, and what may be said of them."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pytest

from bitwright.frontend import syntax
from bitwright.frontend.build import ParameterValue, build, defaults, tunables
from bitwright.frontend.build.block import Builder
from bitwright.frontend.build.expression import evaluate
from bitwright.frontend.build.functions import FUNCTIONS
from bitwright.frontend.parse import parse
from bitwright.vm import vocabulary
from bitwright.vm.diagnostic import Diagnostic
from bitwright.vm.dtypes import Codebook, dtype
from bitwright.vm.expr import Const, bounds, modular
from bitwright.vm.expr import evaluate as value_of
from bitwright.vm.interpret import interpret
from bitwright.vm.ir import Array, For, If, Let, Op, Program, TileType, Value, While, walk
from bitwright.vm.layout.storage import Packing, Tiled
from bitwright.vm.layout.text import layout
from bitwright.vm.ops import Binary, Cast, Convert, Dot, Full, Load, Print, Reduce, Reshape, Scalar, Store
from bitwright.vm.verify import verify

MATMUL = """
def matmul(
    x: f16[M, K], w: W[K, N], scale: f16[K // G, N], y: f16[M, N],
    *, W: dtype, G: int = 128,
    BM: int = tune(16, 32, 64), BN: int = tune(64, 128), BK: int = tune(32, 64), stages: int = tune(2, 3, 4),
):
    '''Dequantize and multiply.'''
    m0, n0 = grid((M, BM), (N, BN))
    acc = zeros(f32, [BM, BN])
    for k0 in range(0, K, BK, stages=stages):
        a = load(x, [m0, k0], [BM, BK])
        b = cast(load(w, [k0, n0], [BK, BN]), f16) * load(scale, [k0 // G, n0], [1, BN])
        acc = dot(a, b, acc)
    store(y, [m0, n0], cast(acc, f16))
"""


def program(
    text: str, parameters: Mapping[str, ParameterValue] | None = None, multiples: Mapping[str, int] | None = None
) -> Program:
    built = build(parse(text).kernels[0], parameters or {}, multiples or {})
    verify(built)
    return built


def ops(built: Program) -> list[Op]:
    return [s.op for s in walk(built.body) if isinstance(s, Let)]


def body(lines: str, head: str = "x: f32[N], y: f32[N], n: int") -> Program:
    """A kernel of these lines."""
    return program(f"def f({head}):\n" + "".join(f"    {line}\n" for line in lines.strip().splitlines()))


def messages(text: str) -> list[str]:
    with pytest.raises(Diagnostic) as caught:
        program(text)
    return [p.message for p in caught.value.problems]


# The whole


def test_matmul() -> None:
    built = program(MATMUL, {"W": "u3", "BK": 64}, {"K": 64})
    assert (built.name, built.docstring) == ("matmul", "Dequantize and multiply.")
    assert [p.name for p in built.parameters] == ["x", "w", "scale", "y"]
    assert [s.name for s in built.sizes] == ["M", "K", "N"]
    assert [str(e) for e in built.grid] == ["ceildiv(M, 16)", "ceildiv(N, 64)"]
    assert [str(e) for e in built.arrays[2].shape] == ["K // 128", "N"]
    acc, loop, _, store = built.body
    assert isinstance(acc, Let)
    assert acc.op == Full(0.0, dtype("f32"), (16, 64))
    assert isinstance(loop, For)
    assert (loop.step, loop.stages, loop.unroll) == (64, 2, 1)
    assert modular(loop.var) == (64, 0)
    assert bounds(loop.var)[0] == 0
    (carried,) = loop.carried
    assert carried.before is acc.result
    assert [type(op) for op in ops(built)] == [Full, Load, Load, Cast, Load, Binary, Dot, Cast, Store]
    dot = ops(built)[6]
    assert isinstance(dot, Dot)
    assert dot.acc is carried.inside
    assert isinstance(store, Let)
    assert store.span is not None
    assert store.span.line == 14
    assert value_of(built.requirements[0][0], {built.sizes[1]: 128}) == 1
    assert value_of(built.requirements[0][0], {built.sizes[1]: 100}) == 0


def test_tunables_and_defaults() -> None:
    kernel = parse(MATMUL).kernels[0]
    assert tunables(kernel) == {"BM": (16, 32, 64), "BN": (64, 128), "BK": (32, 64), "stages": (2, 3, 4)}
    assert defaults(kernel) == {"G": 128, "BM": 16, "BN": 64, "BK": 32, "stages": 2}
    more = 'S: str = "a", F: bool = True, E: float = 1, B: int, C: int = B'
    text = f"def f(x: f32[N], *, D: dtype = tune(f16, u3), {more}):\n    pass\n"
    kernel = parse(text).kernels[0]
    assert tunables(kernel) == {"D": (dtype("f16"), dtype("u3"))}
    assert defaults(kernel) == {"D": dtype("f16"), "S": "a", "F": True, "E": 1.0}


def test_vocabulary_is_that_of_the_functions() -> None:
    assert set(FUNCTIONS) | {"range", "tune"} == vocabulary.FUNCTIONS


# Parameters


def test_sizes_and_scalars() -> None:
    built = program("def f(x: f32[N, n], e: bf16, n: int):\n    pass\n", {"N": 12})
    x, e, n = built.parameters
    assert isinstance(x, Array)
    assert x.shape == (Const(12), n)
    assert isinstance(e, Value)
    assert (e.type.dtype.name, e.type.shape) == ("bf16", ())
    assert built.sizes == ()
    assert built.grid == ()


def test_facts_reach_the_variables() -> None:
    facts = ("N % G == 0", "n >= 1", "n <= 9", "n < N")
    text = "def f(x: f32[N], n: int, *, G: int = 8):\n" + "".join(f"    assume({fact})\n" for fact in facts)
    built = program(text, multiples={"N": 12})
    (size,), n = built.sizes, built.parameters[1]
    assert modular(size) == (12, 0) or modular(size) == (24, 0)
    assert bounds(n) == (1, 9)
    good, bad = {size: 24, n: 3}, {size: 24, n: 10}
    assert all(value_of(e, good) for e, _ in built.requirements)
    assert not all(value_of(e, bad) for e, _ in built.requirements)
    assert [t for _, t in built.requirements] == ["n >= 1", "n <= 9", "N % 24 == 0", "n < N"]


def test_a_fixed_size_meets_what_is_assumed() -> None:
    built = program("def f(x: f32[N]):\n    assume(N % 4 == 0)\n    assume(N > 3)\n", {"N": 12})
    assert built.requirements == ()


@pytest.mark.parametrize("container", [8, 16, 32])
def test_storage_waits_for_the_dtype(container: int) -> None:
    storage = f'tiled("local(32, 1) * spatial(1, 16)", container={container})'
    text = f"def f(w: W[K, N] @ L, *, W: dtype, L: layout = {storage}):\n    pass\n"
    for name in ("u3", "i5", "nf4", "f6e3m2"):
        (w,) = program(text, {"W": name}).arrays
        bits = dtype(name).bits
        planes = {3: (2, 1), 5: (4, 1), 4: (4,), 6: (4, 2)}[bits]
        assert w.storage == Tiled(layout("local(32, 1) * spatial(1, 16)"), Packing(bits, container, planes))


def test_storage_from_the_caller() -> None:
    text = "def f(w: u3[K, N] @ L, *, L: layout):\n    pass\n"
    given = Tiled(layout("local(32, 1) * spatial(1, 16)"), Packing(3, 8, (2, 1)), 3)
    assert program(text, {"L": given}).arrays[0].storage == given
    spelt = 'tiled("local(32, 1) * spatial(1, 16)", container=8, planes=[2, 1], vector=3)'
    assert program(text, {"L": spelt}).arrays[0].storage == given


def test_own_codebook_as_a_parameter() -> None:
    book = Codebook("mine", (-1.0, 0.0, 2.0))
    assert program("def f(x: W[N], *, W: dtype):\n    pass\n", {"W": book}).arrays[0].dtype == book


# Compile-time choices


@pytest.mark.parametrize(("mode", "count"), [("plain", 0), ("bias", 1), ("scale", 2)])
def test_only_the_taken_branch_is_kept(mode: str, count: int) -> None:
    text = """
def f(x: f32[N], *, mode: str = "plain", W: dtype = u3, flag: bool = False):
    if mode == "bias":
        print("a", zeros(f32, [2]))
    elif mode == "scale" and W.bits == 3 and W == u3 and not flag:
        print("a", zeros(f32, [2]))
        print("b", zeros(f32, [2]))
        undefined = 1
    else:
        pass
    width = 1.0 / 2 if W.name == "u3" else no_such_name
    store(x, [0], full(f32, [2], width * 2 ** 3))
"""
    built = program(text, {"mode": mode})
    assert sum(isinstance(op, Print) for op in ops(built)) == count
    assert Full(4.0, dtype("f32"), (2,)) in ops(built)


def test_a_name_that_only_an_untaken_branch_changes_is_not_carried() -> None:
    text = """
def f(x: f32[N], *, flag: bool = False):
    t = load(x, [0], [8])
    for k in range(4):
        if flag:
            t = t * 2
        store(x, [k], t)
"""
    loops = [next(s for s in program(text, {"flag": f}).body if isinstance(s, For)) for f in (False, True)]
    assert [len(loop.carried) for loop in loops] == [0, 1]


# Tiles and numbers


def test_numbers_take_the_dtype_of_the_tile() -> None:
    built = body("t = load(x, [0], [8])\nstore(y, [0], 2 * t + n - 0.5)")
    made = [(type(op), op.infer()) for op in ops(built)]
    assert made[1] == (Full, Full(2.0, dtype("f32"), ()).infer())
    assert Scalar(built.parameters[2], dtype("i32")) in ops(built)  # type: ignore[arg-type]  # n is an int parameter
    assert Cast in [type(op) for op in ops(built)]


def test_lower_ranks_get_leading_dimensions() -> None:
    built = body("t = zeros(f32, [4, 8])\nu = t * load(x, [0], [8]) + t[:, :]")
    reshaped = [op for op in ops(built) if isinstance(op, Reshape)]
    assert reshaped[0].shape == (1, 8)
    assert reshaped[1].shape == (4, 8)


def test_new_axes() -> None:
    x, t = Value("x", TileType(dtype("f32"), (4, 8))), syntax.Name("t")
    all_, new = syntax.Slice(None, None), syntax.Name("None")
    for indices, shape in (((all_, new), (4, 1, 8)), ((new,), (1, 4, 8)), ((all_, all_, new), (4, 8, 1))):
        b = Builder()
        b.scope.bind("t", x)
        made = evaluate(syntax.Subscript(t, indices), b)
        assert isinstance(made, Value)
        assert made.type.shape == shape


def test_greater_than_is_less_than_turned_round() -> None:
    built = body("t = load(x, [0], [8])\nu = load(x, [8], [8])\nstore(y, [0], where(t > u, t, u))")
    t, u = (s.result for s in built.body[:2] if isinstance(s, Let))
    assert [op for op in ops(built) if isinstance(op, Binary)] == [Binary("lt", u, t)]  # type: ignore[arg-type]


def test_reductions_and_negative_dimensions() -> None:
    built = body("t = zeros(f32, [4, 8])\nu = sum(t, dim=-1, keepdim=True)\nv = max(t, dim=0)\nw = sum(v)")
    found = [(op.kind, op.dim, op.keepdim) for op in ops(built) if isinstance(op, Reduce)]
    assert found == [("sum", 1, True), ("max", 0, False), ("sum", 0, False)]


def test_full_of_a_number_known_later() -> None:
    built = body('t = full(i64, [8], n + 1, layout="spatial(8)")\nprint("t", t)')
    assert [type(op) for op in ops(built)] == [Scalar, type(ops(built)[1]), Convert, Print]
    shown: list[str] = []
    interpret(built, np.zeros(4, np.float32), np.zeros(4, np.float32), 6, show=shown.append)
    assert "7 7 7 7 7 7 7 7" in shown[0]


def test_default_overflow_of_a_cast() -> None:
    built = body(
        "t = zeros(f32, [4])\na = cast(t, f16)\nb = cast(t, i8)\nc = cast(t, f8e4m3fn)\n"
        'd = cast(t, f16, overflow="sat")'
    )
    assert [op.overflow for op in ops(built) if isinstance(op, Cast)] == ["ieee", "sat", "sat", "sat"]


def test_infinity_has_a_name() -> None:
    assert ops(body("t = full(f32, [4], -inf)"))[0] == Full(float("-inf"), dtype("f32"), (4,))


def test_shapes_can_be_asked_for() -> None:
    built = body(
        "t = load(x, [0], [8])\nu = zeros(t.dtype, [t.shape[0], t.dtype.bits // 8])\nv = load(y, [x.shape[0] - 4], [4])"
    )
    assert isinstance(ops(built)[1], Full)
    assert ops(built)[1].infer().shape == (8, 4)


# Grids


@pytest.mark.parametrize(
    ("call", "counts", "starts"),
    [
        ("grid((M, 16), (N, 32))", ["ceildiv(M, 16)", "ceildiv(N, 32)"], ["i_block * 16", "j_block * 32"]),
        ("grid[M : 16, N : 32]", ["ceildiv(M, 16)", "ceildiv(N, 32)"], ["i_block * 16", "j_block * 32"]),
        ("grid(M, (N, 8), lanes=64)", ["M", "ceildiv(N, 8)"], ["i", "j_block * 8"]),
    ],
)
def test_grids(call: str, counts: list[str], starts: list[str]) -> None:
    built = program(f"def f(x: f32[M, N]):\n    i, j = {call}\n    store(x, [i, j], zeros(f32, [16, 32]))\n")
    assert [str(e) for e in built.grid] == counts
    assert [str(e) for e in ops(built)[1].indices] == starts
    assert built.lanes == (64 if "lanes" in call else None)


def test_a_known_grid_bounds_its_blocks() -> None:
    built = program("def f(x: f32[M]):\n    i = grid((M, 16))\n    store(x, [i], zeros(f32, [16]))\n", {"M": 100})
    assert built.grid == (Const(7),)
    assert bounds(built.blocks[0]) == (0, 6)


# Names in loops and branches


def test_carried_scalars_and_tiles() -> None:
    built = body("""
a, b = 0, 1
t = load(x, [0], [8])
while a < n:
    a, b = b, a + b
    t = t * 2
store(y, [a], t)
""")
    loop = next(s for s in built.body if isinstance(s, While))
    assert [c.inside.name for c in loop.carried] == ["a", "b", "t"]
    a, b, _ = loop.carried
    assert a.next is b.inside
    assert b.before == Const(1)


def test_a_float_that_changes_becomes_a_tile() -> None:
    built = body("s = 0.5\nfor k in range(n):\n    s = s * 2\nstore(y, [0], zeros(f32, [4]) + s)")
    loop = next(s for s in built.body if isinstance(s, For))
    assert isinstance(loop.carried[0].before, Value)
    assert str(loop.carried[0].before.type) == "f32[]"
    y = np.zeros(4, np.float32)
    interpret(built, np.zeros(4, np.float32), y, 3)
    assert y.tolist() == [4.0] * 4


def test_a_name_set_in_both_branches_is_known_after_them() -> None:
    built = body("if n > 3:\n    t = zeros(f32, [4])\nelse:\n    t = ones(f32, [4])\nstore(y, [0], t)")
    branch = next(s for s in built.body if isinstance(s, If))
    assert [m.after.name for m in branch.merged] == ["t"]


def test_return_moves_the_rest_to_the_other_branch() -> None:
    built = body(
        "store(y, [0], zeros(f32, [4]))\nif n > 3:\n    return\nelif n > 2:\n    pass\nelse:\n    return\n"
        "store(y, [4], ones(f32, [4]))"
    )
    for n, expected in ((5, 0.0), (3, 1.0), (1, 0.0)):
        y = np.full(8, 7, np.float32)
        interpret(built, y.copy(), y, n)
        assert y[4] == (1.0 if expected else 7.0)


# Limits and mistakes


def test_several_mistakes_at_once_and_none_of_them_twice() -> None:
    text = (
        "def f(x: f32[N]):\n    a = lod(x, [0], [8])\n    b = a + 1\n    c = b * zz\n    store(x, [0], b)\n    d = yy\n"
    )
    assert messages(text) == [
        *["there is no function `lod`", "`zz` is not known", "`yy` is not known"][:1],
        "`yy` is not known",
    ]


def test_a_refused_loop_is_still_looked_into() -> None:
    text = "def f(x: f32[N]):\n    for k in range(0, 8, 0):\n        t = load(x, [k], [8])\n        u = zz\n"
    assert messages(text) == ["the step of a range is at least 1, not 0", "`zz` is not known"]


def test_a_program_that_doubles_at_every_branch_is_refused_quickly() -> None:
    lines = "".join(f"    if n > {k}:\n        if n < {k}:\n            return\n" for k in range(40))
    started = time.monotonic()
    found = messages(f"def f(x: f32[N], n: int):\n{lines}    store(x, [0], zeros(f32, [4]))\n")
    assert found[-1] in (
        "the branches that return make this kernel too large",
        "a kernel has at most 20,000 instructions",
    )
    assert time.monotonic() - started < 10


def test_a_long_program_is_refused() -> None:
    text = "def f(x: f32[N]):\n    t = load(x, [0], [8])\n" + "    t = t + t * t + t - t\n" * 5_001
    assert messages(text) == ["a kernel has at most 20,000 instructions"]


def test_index_expressions_that_grow_are_refused() -> None:
    text = (
        "def f(x: f32[N], n: int):\n    a = n\n"
        + "    a = a * a + n % 7\n" * 100
        + "    store(x, [a], zeros(f32, [4]))\n"
    )
    assert "expression too" in messages(text)[0]


def test_bad_multiples_are_reported() -> None:
    with pytest.raises(Diagnostic, match="says nothing about a size"):
        program("def f(x: f32[N]):\n    pass\n", multiples={"Q": 4})
