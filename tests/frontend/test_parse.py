"""Texts and their trees; every mistake that a person is likely to make, and what it is called."""

import pytest

from bitwright.frontend import syntax
from bitwright.frontend.parse import parse, parse_function
from bitwright.frontend.syntax import (
    Assert,
    Assign,
    AugAssign,
    Binary,
    Boolean,
    Call,
    Compare,
    Conditional,
    Expression,
    ExprStatement,
    For,
    If,
    Keyword,
    List_,
    Logical,
    Name,
    Number,
    Param,
    Pass,
    Return,
    Slice,
    Statement,
    Subscript,
    Text,
    Tuple_,
    Unary,
    While,
)
from bitwright.vm.diagnostic import Diagnostic

A, B, C, X = Name("a"), Name("b"), Name("c"), Name("x")

MATMUL = """\
# y[M, N] = x[M, K] @ dequantize(w[K, N])
def matmul(
    x: f16[M, K], w: W[K, N] @ weight_tiles, scale: f16[K // G, N], y: f16[M, N],
    *, W: dtype, G: int = 128,
    BM: int = tune(16, 32, 64), L: layout = "spatial(8, 4)",
):
    "Multiplies."
    m0, n0 = grid((M, BM), (N, BN))
    acc = zeros(f32, [BM, BN])
    for k0 in range(0, K, BK, stages=stages):
        acc = dot(load(x, [m0, k0], [BM, BK]), b, acc)
    store(y, [m0, n0], cast(acc, f16))
"""


def body(text: str) -> tuple[Statement, ...]:
    indented = "".join(f"    {line}\n" for line in text.splitlines())
    return parse(f"def f(x: f32[N]):\n{indented}").kernels[0].body


def expression(text: str) -> Expression:
    (statement,) = body(f"y = {text}")
    assert isinstance(statement, Assign)
    return statement.value


def problems(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(Diagnostic) as caught:
        parse(text, "t.bw")
    found = caught.value.problems
    assert all(problem.hint and problem.span.source.name == "t.bw" for problem in found)
    return [(problem.span.line, problem.span.column, problem.message) for problem in found]


def test_a_kernel_of_the_design() -> None:
    module = parse(MATMUL)
    (kernel,) = module.kernels
    assert kernel.name == "matmul"
    assert kernel.docstring == "Multiplies."
    assert kernel.params[1] == Param(
        "w", Binary("@", Subscript(Name("W"), (Name("K"), Name("N"))), Name("weight_tiles"))
    )
    assert [param.name for param in kernel.params] == ["x", "w", "scale", "y"]
    assert kernel.compile_params == (
        Param("W", Name("dtype")),
        Param("G", Name("int"), Number(128)),
        Param("BM", Name("int"), Call(Name("tune"), (Number(16), Number(32), Number(64)))),
        Param("L", Name("layout"), Text("spatial(8, 4)")),
    )
    grid = Call(Name("grid"), (Tuple_((Name("M"), Name("BM"))), Tuple_((Name("N"), Name("BN")))))
    assert kernel.body[0] == Assign((Name("m0"), Name("n0")), grid)
    loop = kernel.body[2]
    assert isinstance(loop, For)
    assert isinstance(loop.iterable, Call)
    assert loop.iterable.keywords == (Keyword("stages", Name("stages")),)
    assert [comment.text for comment in module.comments] == ["# y[M, N] = x[M, K] @ dequantize(w[K, N])"]


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a = b", Assign((A,), B)),
        ("a, b = b, a", Assign((A, B), Tuple_((B, A)))),
        ("(a, b) = x", Assign((A, B), X)),
        ("a //= b", AugAssign(A, "//", B)),
        ("a @= b", AugAssign(A, "@", B)),
        ("a <<= b", AugAssign(A, "<<", B)),
        ("a(b)", ExprStatement(Call(A, (B,)))),
        ("pass", Pass()),
        ("return", Return()),
        ("assert a", Assert(A)),
        ('assert a, "why"', Assert(A, Text("why"))),
        ("while a:\n    pass", While(A, (Pass(),))),
        ("for a in b: pass", For(A, B, (Pass(),))),
        ("if a: pass", If(A, (Pass(),))),
        ("if a:\n  pass\nelif b:\n  return\nelse:\n  pass", If(A, (Pass(),), (If(B, (Return(),), (Pass(),)),))),
    ],
)
def test_statements(text: str, tree: Statement) -> None:
    assert body(text) == (tree,)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a[:, None]", Subscript(A, (Slice(None, None), Name("None")))),
        ("a[b:c, :, ::a, b]", Subscript(A, (Slice(B, C), Slice(None, None), Slice(None, None, A), B))),
        ("a < b <= c", Compare(A, ("<", "<="), (B, C))),
        ("not a == b", Unary("not", Compare(A, ("==",), (B,)))),
        ("a or b and c", Logical("or", (A, Logical("and", (B, C))))),
        ("a if b else c", Conditional(B, A, C)),
        ("-a ** -b", Unary("-", Binary("**", A, Unary("-", B)))),
        ("()", Tuple_(())),
        ("(a,)", Tuple_((A,))),
        ("(a)", A),
        ("[]", List_(())),
        ("[a, b,]", List_((A, B))),
        ("a.b(c, x=1)", Call(syntax.Attribute(A, "b"), (C,), (Keyword("x", Number(1)),))),
        ("True", Boolean(True)),
        ("\"a\" 'b'", Text("ab")),
        (r'"\x41\n\"\\\u00e9\0"', Text('A\n"\\é\0')),
        ('"""a\n    b"""', Text("a\n    b" + "")),
        ("0xFF_FF", Number(0xFFFF)),
        ("0b101", Number(5)),
        ("1_000", Number(1000)),
        ("1.5e-3", Number(0.0015)),
        ("1.", Number(1.0)),
        (".5", Number(0.5)),
        ("18446744073709551615", Number(2**64 - 1)),
        ("(a +  # why\n    b)", Binary("+", A, B)),
    ],
)
def test_expressions(text: str, tree: Expression) -> None:
    # A second line of an expression gets the indentation of the body; only the string below shows it.
    found = expression(text)
    assert found == (Text("a\n        b") if text.startswith('"""') else tree)


def test_one_and_one_point_zero_are_different_numbers() -> None:
    assert expression("1") != expression("1.0")
    assert expression("0x10") == expression("16")


def test_spans_are_the_users_lines_and_columns() -> None:
    kernel = parse("\ndef f(x: f32[N]):\n    y = (a + b) * c\n", first_line=41).kernels[0]
    (assign,) = kernel.body
    assert isinstance(assign, Assign)
    assert (assign.value.span.line, assign.value.span.column, assign.value.span.end_column) == (43, 9, 20)
    assert (kernel.header.line, kernel.header.column, kernel.header.end_column) == (42, 1, 18)
    assert (kernel.params[0].span.column, kernel.params[0].span.end_column) == (7, 16)


def test_line_ends_and_byte_order_mark_do_not_matter() -> None:
    assert parse("\ufeff" + MATMUL.replace("\n", "\r\n")) == parse(MATMUL)
    assert parse(MATMUL.replace("\n", "\r")) == parse(MATMUL)
    assert parse(MATMUL.rstrip("\n")) == parse(MATMUL)
    assert parse(MATMUL + "    # the end") == parse(MATMUL)


def test_a_text_may_be_indented_as_a_whole() -> None:
    indented = "".join(f"    {line}\n" for line in MATMUL.splitlines())
    assert parse("\n" + indented + "    ") == parse(MATMUL)


def test_a_function_in_a_class_of_a_python_file() -> None:
    text = (
        "    @bw.jit(target=f'cuda:{arch}', key=lambda x: {x: 1})\n"
        "    def f(x: f32[N]):\n"
        '        """Doc."""\n'
        "        y = x\n"
    )
    kernel = parse_function(text, "user.py", 7)
    assert (kernel.name, kernel.docstring, kernel.decorators) == ("f", "Doc.", ())
    assert kernel.body == (Assign((Name("y"),), X),)
    assert str(kernel.body[0].span) == "user.py:10:9"
    with pytest.raises(Diagnostic, match=r"user\.py:10:13: error: .*`lambda`"):
        parse_function(text.replace("y = x", "y = lambda: x"), "user.py", 7)


def test_a_function_source_holds_one_function() -> None:
    with pytest.raises(Diagnostic, match="2 kernels"):
        parse_function("def f(x: f32):\n    pass\ndef g(x: f32):\n    pass\n")
    with pytest.raises(Diagnostic, match="only kernels"):
        parse_function("x = lambda: 1\n")


def test_decorators_in_a_module_are_kept() -> None:
    (kernel,) = parse("@bw.jit\n@a(1)\ndef f(x: f32):\n    pass\n").kernels
    assert kernel.decorators == (syntax.Attribute(Name("bw"), "jit"), Call(A, (Number(1),)))


@pytest.mark.parametrize(
    ("statement", "column", "message"),
    [
        ("import os", 5, "no `import`"),
        ("from os import path", 5, "no `from`"),
        ("with a: pass", 5, "no `with`"),
        ("try: pass", 5, "no `try`"),
        ("y = lambda a: a", 9, "no `lambda`"),
        ("y = (yield)", 10, "no `yield`"),
        ("y = None", 9, "no `None`"),
        ("break", 5, "no `break`"),
        ("y = a is b", 11, "no `is`"),
        ('y = f"{a}"', 9, "no f-strings"),
        ('y = rb"a"', 9, "prefix `rb`"),
        ("y = [i for i in a]", 12, "no comprehensions"),
        ("y = {a: b}", 9, "`{` is not part"),
        ("y = a; z = b", 10, "`;` is not part"),
        ("y = a + \\", 13, "`\\` is not part"),
        ("\ty = a", 5, "a tab is not part"),
        ("y = a − b", 11, "U+2212"),
        ("y = é", 9, "`é` is not part"),
        ("y = a ! b", 11, "`!` is not part"),
        ("y: int = 3", 6, "not annotated"),
        ("y = a = b", 11, "only one `=`"),
        ("y = f(a : b)", 13, "a range `a : b` can stand in a subscript only"),
        ("if a = b: pass", 10, "only one `=`"),
        ("y = a not in b", 11, "no operator `not`"),
        ("y = a in b", 11, "no operator `in`"),
        ("y = f(*a)", 11, "cannot be unpacked"),
        ("return a", 12, "returns no value"),
        ("a[0] = b", 5, "only names can be set"),
        ("f(a) = b", 5, "only names can be set"),
        ("a, 1 = b", 8, "only names can be set"),
        ("a, b += c", 5, "one name is set"),
        ("for a, b in c: pass", 9, "one name is set"),
        ("y = f(x=1, x=2)", 16, "`x` is given twice"),
        ("y = f(x=1, a)", 16, "argument without a name"),
        ("y = 18446744073709551616", 9, "does not fit 64 bits"),
        ("y = " + "9" * 5000, 9, "does not fit 64 bits"),
        ("y = 1e999", 9, "too large"),
        ("y = 012", 9, "not a number"),
        ("y = 0b12", 9, "not a number"),
        ("y = 1__0", 9, "not a number"),
        ("y = 2x", 10, "a number cannot be followed by `x`"),
        ("y = 1j", 10, "a number cannot be followed by `j`"),
        (r'y = "\d"', 9, r"escape `\d`"),
        (r'y = "\012"', 9, "octal"),
        (r'y = "\ud800"', 9, r"escape `\ud800`"),
        ('y = "abc', 9, "not closed on its line"),
        ('y = """abc', 9, "never closed"),
        ("y = f(a", 10, "`(` is never closed"),
        ("y = a)", 10, "`)` closes nothing"),
        ("y = f(a]", 12, "`]` does not close `(`"),
        ("y = a b", 11, "`b` was not expected"),
        ("y = a +", 12, "the end of the line was not expected"),
        ("y = f(, a)", 11, "`,` was not expected"),
        ("def g(x: f32): pass", 5, "cannot stand inside another"),
    ],
)
def test_mistakes_in_a_statement(statement: str, column: int, message: str) -> None:
    (found,) = problems(f"def f(x: f32[N]):\n    {statement}\n    z = 1\n")
    assert found[:2] == (2, column)
    assert message in found[2]


@pytest.mark.parametrize(
    ("header", "column", "message"),
    [
        ("def f(x):", 8, "`)` was not expected"),
        ("def f(x: f32) -> int:", 15, "returns nothing"),
        ("def f(x: f32, x: f32):", 15, "`x` is given twice"),
        ("def f(x: f32 = 1):", 16, "only compile-time"),
        ("def f(x: f32, *):", 15, "no compile-time parameter follows"),
        ("def f(*, A: int, *, B: int):", 18, "a second `*`"),
        ("def f(*args):", 8, "`args` was not expected"),
        ("def f(**options):", 7, "`**` was not expected"),
        ("def f(x: f32, /):", 15, "`/` was not expected"),
        ("def f(x: f32)", 14, "the end of the line was not expected"),
        ("async def f(x: f32):", 1, "no `async`"),
        ("class A:", 1, "no `class`"),
        ("y = 1", 1, "was not expected"),
    ],
)
def test_mistakes_in_a_header(header: str, column: int, message: str) -> None:
    text = f"{header}\n    pass\n" if header.endswith(":") or header.startswith("def") else f"{header}\n"
    found = problems(text)
    assert found[0][:2] == (1, column)
    assert message in found[0][2]
    assert len(found) == 1


def test_blocks() -> None:
    assert problems("def f(x: f32):\n    if x:\n    y = 1\n    z = 1\n") == [
        (2, 10, "a line that ends in `:` needs an indented block")
    ]
    assert problems("def f(x: f32):\n") == [(1, 15, "a line that ends in `:` needs an indented block")]
    assert [line for line, _, _ in problems("def f(x: f32):\n\na\n    b = 1\n")] == [1, 3, 4]
    assert problems("def f(x: f32):\n    y = 1\n      z = 1\n    a = 1\n") == [
        (3, 7, "this line is indented for no reason")
    ]
    assert problems("def f(x: f32):\n    if x:\n        y = 1\n      z = 1\n") == [
        (4, 7, "the indentation of this line matches no block around it")
    ]
    assert problems("def f(x: f32):\n    pass\nelse:\n    pass\n")[0][0] == 3


def test_two_kernels_of_one_name() -> None:
    with pytest.raises(
        Diagnostic, match=r"(?s)t\.bw:3:1: error: the kernel `f` is given twice.*t\.bw:1:1: note"
    ) as caught:
        parse("def f(x: f32): pass\n\ndef f(x: f32): pass\n", "t.bw")
    assert len(caught.value.problems) == 1


def test_many_mistakes_are_reported_at_once() -> None:
    text = """\
import os
def f(x: f32[N], x: f32, *):
    a = b c
    for k in range(3:
        pass
def g(y: f32[N]):
    grid(M : BM)
    for i j:
        a[1] = 2
    if x:
    z = [i for i in x]
    elif a b:
        pass
    else:
        y = 1e999
def h(y: f32[N]):
    if a b:
        pass
    elif c d:
        y = None
    else:
        pass
"""
    assert [line for line, _, _ in problems(text)] == [1, 4, 7, 8, 9, 10, 11, 12, 15, 17, 19, 20]


def test_an_empty_text_has_no_kernel() -> None:
    for text in ("", "\n", "# only this", '"""Doc."""\n', "   \n  "):
        assert problems(text) == [(1, 1, "there is no kernel in this text")]
