"""The text of a program is the language: what is printed can be read, and says the same again."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from bitwright.frontend.build import ParameterValue, build, defaults
from bitwright.frontend.parse import parse
from bitwright.vm import ops
from bitwright.vm.dtypes import Codebook, dtype
from bitwright.vm.expr import Binary, Const, Var
from bitwright.vm.ir import Array, For, Let, Program, Statement, TileType, Value, While, walk
from bitwright.vm.layout.text import layout
from bitwright.vm.same import same
from bitwright.vm.text import print_program
from bitwright.vm.text_op import quote
from bitwright.vm.verify import verify

LIBRARY = Path(__file__).parents[2] / "frontend" / "library"
F32, I32 = dtype("f32"), dtype("i32")


def read(text: str, **parameters: ParameterValue) -> Program:
    built = build(parse(text).kernels[0], parameters)
    verify(built)
    return built


def check(program: Program) -> str:
    """The text, after it was read again and found to say the same."""
    text = print_program(program)
    again = read(text)
    assert print_program(again) == text
    assert same(program, again)
    assert same(again, program)
    return text


EVERYTHING = '''
def everything(
    x: f32[M, N], w: u3[K, N] @ tiled("local(32, 1) * spatial(1, 16)", container=8), h: f16[N], n: int, e: f32,
    flags: i32[P], q: W[N], *, W: dtype,
):
    """What there is.\\nAll of it."""
    assume(M % 4 == 0)
    assume(n <= 9)
    assume(n >= -1)
    assume(M < N)
    m0, n0 = grid[M : 4, N : 16]
    s = shared(f16, [16])
    t = load(x, [m0, n0], [4, 16], other=-inf, layout="spatial(4, 8) * local(1, 2)")
    u = load(w, [0, n0], [32, 16])
    prefetch(w, [64, n0 + 16], [32, 16])
    copy_async(h, [n0], s, [0], [16])
    commit()
    wait(1)
    barrier()
    v = cast(load(s, [0], [16]), f32)
    v = exp(v) - exp2(v) * log(v) / log2(v) + sqrt(v) - rsqrt(v) * sin(v) + cos(v) - tanh(v) + sigmoid(v)
    v = floor(v) + ceil(v) - round(v) * abs(-v) + e
    v = min(v, max(v, 0.25)) + cast(n, f32) + 1e-30 - nan
    c = (t > v) | ~(t <= v) & (t == v) ^ (t != v)
    t = where(c, t, -0.0)
    t = fma(t, t, t)
    k = iota(i32, [4, 16], 1, layout="spatial(4, 8) * local(1, 2)") // 3 % 5 << 1 >> n & 7
    r = random(n, m0 * 4 + n0, [4, 16], layout="spatial(4, 8) * local(1, 2)")
    a = cast(t, f16, rounding="stochastic", random=r)
    b = cast(t, f16, rounding="rtz", overflow="sat")
    d = dot(a, transpose(b), zeros(f32, [4, 4]))
    d = expand(sum(d, dim=1, keepdim=True), [4, 8]) + reshape(expand(ones(f32, [1, 1]), [2, 4]), [8])[:]
    d = convert(d, "{4: d0 + lane, 2: 4*d1 + 4*lane, 4: d1 + reg}")
    g = view(cast(d, u8, overflow="ieee"), u4, layout="spatial(4, 4) * local(1, 4)")
    z = item(max(max(k, dim=0), dim=0))
    lock(flags, [z])
    print("say \\"it\\"\\t\\\\", g)
    assert all(all(c, dim=0)) if False else any(any(c, dim=0), dim=0), "none\\n"
    assert z < n, "z"
    release(flags, [z])
    p = load(q, [n0], [16])
    store(q, [n0], p)
    if z == 3 or n0 > 4 and not z < 2:
        store(x, [m0, n0], t if n < 100 else t)
    while z > 0 and item(min(min(k, dim=0), dim=0)) < n:
        z -= 1
        k += z if z > 2 else -z
    store(flags, [0], full(i32, [1], z) + k[:, :] if False else full(i32, [1], z))
'''


def test_every_instruction_has_a_text_that_says_it() -> None:
    book = Codebook("my_book", (-1.5, 0.0, 3.0))
    text = EVERYTHING.replace("t if n < 100 else t", "t").replace("all(all(c, dim=0)) if False else ", "")
    program = read(text, W=book)
    printed = check(program)
    used = {type(s.op) for s in walk(program.body) if isinstance(s, Let)}
    every = {c for family in get_args(ops.Instruction) for c in get_args(family) or (family,)}
    assert used == every
    assert 'my_book: dtype = codebook([-1.5, 0.0, 3.0], "my_book")' in printed


MATMUL = """
def matmul(x: f16[M, K], w: f16[K, N], y: f32[M, N], *, BK: int = 32):
    m0, n0 = grid((M, 16), (N, 64))
    acc = zeros(f32, [16, 64])
    for k0 in range(0, K, BK, stages=2):
        a = load(x, [m0, k0], [16, BK])
        acc = dot(a, load(w, [k0, n0], [BK, 64]), acc)
    store(y, [m0, n0], acc)
"""

MATMUL_PRINTED = """\
def matmul(x: f16[M, K], w: f16[K, N], y: f32[M, N]):
    m0_block, n0_block = grid(ceildiv(M, 16), ceildiv(N, 64))
    acc = zeros(f32, [16, 64])
    for k0 in range(0, K, 32, stages=2):
        a = load(x, [m0_block * 16, k0], [16, 32])
        w_tile = load(w, [k0, n0_block * 64], [32, 64])
        acc = dot(a, w_tile, acc)
    store(y, [m0_block * 16, n0_block * 64], acc)
"""


def test_a_program_reads_like_one_that_was_written() -> None:
    assert check(read(MATMUL)) == MATMUL_PRINTED


@pytest.mark.parametrize(
    ("body", "printed"),
    [
        # A value that is still needed keeps its own name.
        (
            "t = load(x, [0], [4])\nu = t\nfor k in range(n):\n    u = u + t\nstore(x, [0], u)",
            "t = load(x, [0], [4])\nu = t\nfor k in range(n):\n    u = u + t\nstore(x, [0], u)",
        ),
        # An exchange is one assignment.
        (
            "a, b = 1, 2\nfor k in range(n):\n    a, b = b, a\nstore(x, [a], zeros(f32, [4]))",
            "a = 1\nb = 2\nfor k in range(n):\n    a, b = b, a\nt = zeros(f32, [4])\nstore(x, [a], t)",
        ),
        # A loop in a loop hands its value on under one name.
        (
            "s = ones(f32, [4])\nfor i in range(n):\n    for j in range(2):\n        s = s + s\nstore(x, [0], s)",
            "s = ones(f32, [4])\nfor i in range(n):\n    for j in range(2):\n        s = s + s\nstore(x, [0], s)",
        ),
        # The older value is used after the new one was made.
        (
            "s = ones(f32, [4])\nfor i in range(n):\n    r = s + s\n    store(x, [0], s)\n    s = r",
            "s = ones(f32, [4])\nfor i in range(n):\n    r = s + s\n    store(x, [0], s)\n    s = r",
        ),
        # The value that the inner loop hands on is still needed when the next one is made.
        (
            "t = ones(f32, [4])\nu = zeros(f32, [4])\nfor i in range(n):\n    for j in range(2):\n        t = t + t\n"
            "    t, u = u + u, t\nstore(x, [0], t + u)",
            "t = ones(f32, [4])\nu = zeros(f32, [4])\nfor i in range(n):\n    for j in range(2):\n        t = t + t\n"
            "    t_1 = u + u\n    t, u = t_1, t\nt_2 = t + u\nstore(x, [0], t_2)",
        ),
        # A branch sets what it merges at its end.
        (
            "t = ones(f32, [4])\nif n > 2:\n    t = t + t\nstore(x, [0], t)",
            "t = ones(f32, [4])\nif 2 < n:\n    t_1 = t + t\nelse:\n    t_1 = t\nstore(x, [0], t_1)",
        ),
        # A loop that changes nothing, a loop without a body.
        (
            "t = ones(f32, [4])\nfor i in range(n):\n    t = t\nfor j in range(n):\n    pass\nstore(x, [0], t)",
            "t = ones(f32, [4])\nfor i in range(n):\n    t = t\nfor j in range(n):\n    pass\nstore(x, [0], t)",
        ),
    ],
)
def test_carried_values_share_names_where_they_can(body: str, printed: str) -> None:
    head = "def f(x: f32[N], n: int):\n"
    indented = ["".join(f"    {line}\n" for line in text.splitlines()) for text in (body, printed)]
    assert check(read(head + indented[0])) == head + indented[1]


def test_carried_order_is_kept_where_names_come_in_another_order() -> None:
    text = """
def f(x: f32[N], n: int):
    a = ones(f32, [4])
    b = ones(f32, [4])
    store(x, [0], a + b)
    b = b
    a = a + 1
    for i in range(n):
        a, b = b, a
    store(x, [4], a)
"""
    program = read(text)
    loop = next(s for s in program.body if isinstance(s, For))
    assert [c.inside.name for c in loop.carried] == ["b", "a"]
    turned = For(
        loop.var, loop.start, loop.stop, loop.step, loop.carried[::-1], loop.body, loop.unroll, loop.stages, loop.span
    )
    body = tuple(turned if s is loop else s for s in program.body)
    check(Program(program.name, program.parameters, program.sizes, program.grid, program.blocks, body))


def test_names_are_distinct_and_no_words_of_the_language() -> None:
    kind = TileType(F32, (4,))
    x = Array("load", F32, (Const(4),))
    values = [Value(name, kind) for name in ("t", "t", "u3", "lambda", "a-b", "9", "%000001", "exp")]
    body: list[Statement] = [Let(v, ops.Full(2.0, F32, (4,))) for v in values]
    body += [Let(None, ops.Store(x, (Const(0),), v)) for v in values]
    text = check(Program("f", (x,), (), (), (), tuple(body)))
    names = [line.split(" = ")[0].strip() for line in text.splitlines() if " = full" in line]
    assert len(set(names)) == len(values)
    assert "def f(load_1: f32[4]):" in text


def test_variables_of_one_name_keep_their_order_of_terms() -> None:
    x = Array("x", F32, (Const(64),))
    first, second = Var("k", 0, 3), Var("k", 0, 3)
    store = Let(None, ops.Store(x, (second * 8 + first,), Value("t", TileType(F32, (4,)))))
    t = store.op.operands[0]
    inner = For(second, Const(0), Const(4), 1, (), (store,))
    outer = For(first, Const(0), Const(4), 1, (), (inner,))
    check(Program("f", (x,), (), (), (), (Let(t, ops.Full(1.0, F32, (4,))), outer)))


def test_the_condition_of_a_while_is_one_expression() -> None:
    text = """
def f(x: i32[N], n: int):
    t = load(x, [0], [4])
    while item(sum(t * 2 + n)) - item(max(-t)) > n or item(min(t)) < 3:
        t = t + 1
    store(x, [0], t)
"""
    printed = check(read(text))
    assert "sum((t * t_1) + t_2" not in printed  # scalars stand in place as well
    assert printed.count("item(") == 3


def test_a_while_that_uses_its_head_twice_has_no_text() -> None:
    t = Value("t", TileType(I32, (1,)))
    n = Var("n")
    loop = While((Let(n, ops.Item(t)),), Binary("lt", n, n * n), (), ())
    program = Program("f", (), (), (), (), (Let(t, ops.Full(1, I32, (1,))), loop))
    with pytest.raises(ValueError, match="uses a value of its head twice"):
        print_program(program)


@pytest.mark.parametrize(
    "text", ["", "plain", 'a "b" \\ c', "line\nend\ttab\r", "\x00\x1b", "ünï \N{SNOWMAN}", "\u2028\U000e0001"]
)
def test_quoted_texts_are_read_back(text: str) -> None:
    kernel = parse(f"def f(x: f32[N]):\n    assert x, {quote(text)}\n").kernels[0]
    assert kernel.body[0].message.value == text  # type: ignore[union-attr]  # an assert with a message


def test_programs_that_differ_are_not_the_same() -> None:
    program = read(MATMUL)
    changes = {
        "name": MATMUL.replace("def matmul", "def other"),
        "dtype": MATMUL.replace("x: f16", "x: bf16").replace("w: f16", "w: bf16"),
        "step": MATMUL.replace("BK: int = 32", "BK: int = 64"),
        "stages": MATMUL.replace("stages=2", "stages=3"),
        "order": MATMUL.replace("(M, 16), (N, 64)", "(N, 64), (M, 16)").replace("m0, n0 =", "n0, m0 ="),
        "operand": MATMUL.replace("[m0, k0]", "[m0, k0 + 1]"),
        "fact": MATMUL.replace("    m0, n0", "    assume(K % 2 == 0)\n    m0, n0"),
        "extra": MATMUL + "    barrier()\n",
        "lanes": MATMUL.replace("(N, 64))", "(N, 64), lanes=32)"),
    }
    assert same(program, read(MATMUL.replace("acc", "total").replace("k0", "kk").replace("K", "Q")))
    for what, text in changes.items():
        assert not same(program, read(text)), what


def test_layouts_stand_in_the_text() -> None:
    program = read(
        'def f(x: f32[N]):\n    t = load(x, [0], [32], layout="spatial(8) * local(4)")\n    store(x, [0], t)\n'
    )
    printed = check(program)
    assert 'layout="spatial(8) * local(4)"' in printed
    other = read(printed.replace("spatial(8) * local(4)", "local(4) * spatial(8)"))
    assert not same(program, other)
    assert layout("spatial(8) * local(4)") != layout("local(4) * spatial(8)")


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.bw")), ids=lambda p: p.stem)
def test_the_library_is_printed_and_read_again(path: Path) -> None:
    examples: dict[str, ParameterValue] = {
        "dtype": "f32", "int": 128, "bool": True, "str": "zero", "float": 1.0,
        "layout": 'tiled("local(32, 1) * spatial(1, 16)", container=8)',
    }  # fmt: skip
    for kernel in parse(path.read_text(), str(path)).kernels:
        known = defaults(kernel)
        given = {p.name: examples[p.annotation.name] for p in kernel.compile_params if p.name not in known}  # type: ignore[union-attr]
        given |= {"W": "u4"} if "W" in given else {}
        program = build(kernel, given)
        verify(program)
        check(program)
