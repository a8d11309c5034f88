"""The canonical text: reading it back gives the same tree, writing it again the same text, and no comment is lost."""

import ast
import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bitwright.frontend import syntax
from bitwright.frontend.format import format_module
from bitwright.frontend.literals import read_string, write_documentation
from bitwright.frontend.parse import parse
from bitwright.frontend.syntax import (
    Assert,
    Assign,
    AugAssign,
    Boolean,
    Call,
    Expression,
    ExprStatement,
    For,
    If,
    Kernel,
    Keyword,
    Module,
    Name,
    Number,
    Param,
    Pass,
    Return,
    Slice,
    Statement,
    Subscript,
    Text,
    While,
)

# Hypothesis writes out the strategies that it draws from, and says so when they are long.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

# Hypothesis explains failures by tracing every line, which makes trees of this size very slow.
CALM = settings(deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
                suppress_health_check=[HealthCheck.too_slow])  # fmt: skip

NAMES = st.sampled_from(["a", "b", "k0", "weights_of_the_layer", "BM", "if_", "_"])
ATOMS = st.one_of(
    NAMES.map(Name),
    st.integers(0, 2**64 - 1).map(Number),
    st.floats(0, 1e300).map(Number),
    st.text("ab \"'\\\n\té€\x00\x7f\u2028", max_size=8).map(Text),
    st.booleans().map(Boolean),
)
BINARY = ["+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>"]


def tuples(of: st.SearchStrategy[Expression], low: int = 0, high: int = 3) -> st.SearchStrategy[tuple[Expression, ...]]:
    return st.lists(of, min_size=low, max_size=high).map(tuple)


def grown(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    """Expressions one level above `inner`."""
    part = st.none() | inner
    indices = st.lists(inner | st.builds(Slice, part, part, part), min_size=1, max_size=3).map(tuple)
    keywords = st.lists(st.builds(Keyword, NAMES, inner), max_size=3, unique_by=lambda keyword: keyword.name).map(tuple)
    compare = st.lists(st.tuples(st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), inner), min_size=1, max_size=3)
    return st.one_of(
        st.builds(syntax.Unary, st.sampled_from(["-", "+", "~", "not"]), inner),
        st.builds(syntax.Binary, st.sampled_from(BINARY), inner, inner),
        st.builds(
            lambda a, more: syntax.Compare(a, tuple(m[0] for m in more), tuple(m[1] for m in more)), inner, compare
        ),
        st.builds(syntax.Logical, st.sampled_from(["and", "or"]), tuples(inner, 2)),
        st.builds(syntax.Conditional, inner, inner, inner),
        st.builds(syntax.Tuple_, tuples(inner)),
        st.builds(syntax.List_, tuples(inner, 0, 5)),
        st.builds(syntax.Attribute, inner, NAMES),
        st.builds(Call, inner, tuples(inner, 0, 5), keywords),
        st.builds(Subscript, inner, indices),
    )


# Deferred, since Hypothesis writes out the strategies that it draws from.
EXPRESSIONS = st.deferred(lambda: st.recursive(ATOMS, grown, max_leaves=16))
TARGETS = st.lists(NAMES.map(Name), min_size=1, max_size=3).map(tuple)
SIMPLE = st.one_of(
    st.builds(Assign, TARGETS, EXPRESSIONS),
    st.builds(AugAssign, NAMES.map(Name), st.sampled_from([op for op in BINARY if op != "**"]), EXPRESSIONS),
    st.builds(ExprStatement, EXPRESSIONS.filter(lambda value: not isinstance(value, Text))),
    st.builds(Assert, EXPRESSIONS, st.none() | EXPRESSIONS),
    st.just(Pass()),
    st.just(Return()),
)


def blocks(inner: st.SearchStrategy[Statement]) -> st.SearchStrategy[Statement]:
    body = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(For, NAMES.map(Name), EXPRESSIONS, body),
        st.builds(While, EXPRESSIONS, body),
        st.builds(If, EXPRESSIONS, body, st.just(()) | body),
    )


STATEMENTS = st.deferred(lambda: st.recursive(SIMPLE, blocks, max_leaves=6))
DOCSTRINGS = st.none() | st.text("ab\"'\\\n\té\x07", max_size=12)


def params(prefix: str, default: st.SearchStrategy[Expression | None]) -> st.SearchStrategy[list[Param]]:
    shapes = st.lists(st.tuples(EXPRESSIONS, default), max_size=3)
    return shapes.map(lambda found: [Param(f"{prefix}{i}", a, b) for i, (a, b) in enumerate(found)])


KERNELS = st.builds(
    lambda run, compiled, body, docstring, decorators: Kernel(
        "f", tuple(run), tuple(compiled), tuple(body), docstring, tuple(decorators)
    ),
    params("x", st.none()),
    params("C", st.none() | EXPRESSIONS),
    st.lists(STATEMENTS, min_size=1, max_size=4),
    DOCSTRINGS,
    st.lists(EXPRESSIONS, max_size=1),
)


@settings(CALM, max_examples=200)
@given(EXPRESSIONS)
def test_expressions_come_back(expression: Expression) -> None:
    module = Module((Kernel("f", (), (), (Assign((Name("y"),), expression),)),))
    text = format_module(module)
    assert parse(text) == module
    ast.parse(text)


@settings(CALM, max_examples=80)
@given(KERNELS, DOCSTRINGS)
def test_modules_come_back_and_the_text_is_a_fixed_point(kernel: Kernel, docstring: str | None) -> None:
    module = Module((kernel,), docstring)
    text = format_module(module)
    assert parse(text) == module
    assert format_module(parse(text)) == text
    ast.parse(text)


@settings(CALM, max_examples=80)
@given(KERNELS, st.data())
def test_no_comment_is_lost(kernel: Kernel, data: st.DataObject) -> None:
    plain = Module((replace(kernel, docstring=None), Kernel("g", (), (), (Pass(),))))
    lines = format_module(plain).splitlines()
    count = 0
    commented = []
    for line in lines:
        for _ in range(data.draw(st.integers(0, 1))):
            commented.append(" " * data.draw(st.integers(0, 9)) + f"# {count}")
            count += 1
        behind = data.draw(st.integers(0, 2)) == 0
        commented.append(f"{line}  # {count}" if behind else line)
        count += behind
        commented += [""] * data.draw(st.integers(0, 2))
    module = parse("\n".join(commented))
    assert module == plain
    text = format_module(module)
    assert parse(text) == plain
    assert sorted(c.text for c in parse(text).comments) == sorted(f"# {number}" for number in range(count))
    assert format_module(parse(text)) == text


def formatted(text: str) -> str:
    once = format_module(parse(text))
    assert format_module(parse(once)) == once
    assert parse(once) == parse(text)
    return once


@pytest.mark.parametrize(
    ("given_text", "canonical"),
    [
        ("((a)+(b*c))", "a + b * c"),
        ("(a+b)*c", "(a + b) * c"),
        ("a-(b-c)", "a - (b - c)"),
        ("(a-b)-c", "a - b - c"),
        ("(-a)**b", "(-a) ** b"),
        ("-(a**b)", "-a ** b"),
        ("a**(b**c)", "a ** b ** c"),
        ("(a**b)**c", "(a ** b) ** c"),
        ("not (a==b)", "not a == b"),
        ("(not a)==b", "(not a) == b"),
        ("(a and b) or c", "a and b or c"),
        ("a and (b or c)", "a and (b or c)"),
        ("(a<b)<c", "(a < b) < c"),
        ("a if (b if c else d) else e", "a if (b if c else d) else e"),
        ("a if b else (c if d else e)", "a if b else c if d else e"),
        ("f( a,b , c = d )", "f(a, b, c=d)"),
        ("x[a:b,  : , ::c, a+1:b]", "x[a:b, :, ::c, a + 1 : b]"),
        ("(1).a", "(1).a"),
        ("'it\\'s \"x\"'", '"it\'s \\"x\\""'),
        ("0XFf + 1E5 + 1_000 + 0B1", "0xFf + 1e5 + 1_000 + 0b1"),
        ("(a, )", "(a,)"),
        ("'a' 'b'", '"ab"'),
    ],
)
def test_canonical_expressions(given_text: str, canonical: str) -> None:
    assert formatted(f"def f():\n  y={given_text}\n") == f"def f():\n    y = {canonical}\n"


def test_a_whole_file() -> None:
    text = """\
# licence
"Module."
# about f
@bw.jit  # dec
def f(x:f16[M,K],  # input
      y:f16[M,K],
      # compile time
      *,G:int=0X80): # header
  \'\'\'Doc.\'\'\' # doc

  # first


  a, b = (b, a)
  z = g(a, # inner
        b) # outer
  for k in range(0,K): # loop
     pass
     # end of loop
  # after loop
  if a: pass
  # before else
  else: # else
     return
  # end of f
# about g
def g(): pass
# end
"""
    assert (
        formatted(text)
        == '''\
# licence
"""Module."""

# about f
@bw.jit  # dec
def f(
    x: f16[M, K],  # input
    y: f16[M, K],
    *,
    # compile time
    G: int = 0x80,
):  # header
    """Doc."""  # doc

    # first

    a, b = b, a
    # inner
    z = g(a, b)  # outer
    for k in range(0, K):  # loop
        pass
        # end of loop
    # after loop
    if a:
        pass
    # before else
    else:  # else
        return
    # end of f


# about g
def g():
    pass


# end
'''
    )


def test_long_lines_are_broken_at_their_outermost_brackets() -> None:
    name = "a_name_of_thirty_characters_xx"
    text = formatted(
        f"def f():\n    y = g({name}, {name} + {name}, [{name}], k={name})\n    z = {name} + {name} * {name} + {name}\n"
    )
    assert text == (
        "def f():\n"
        f"    y = g(\n        {name},\n        {name} + {name},\n        [{name}],\n        k={name},\n    )\n"
        f"    z = (\n        {name}\n        + {name} * {name}\n        + {name}\n    )\n"
    )
    header = formatted(f"def f(x: {name}, y: {name}, *, z: {name} = {name}): pass\n")
    assert header == f"def f(\n    x: {name},\n    y: {name},\n    *,\n    z: {name} = {name},\n):\n    pass\n"
    assert all(len(line) <= 120 for line in (text + header).splitlines())


def test_a_changed_number_does_not_keep_its_old_spelling() -> None:
    assert format_module(Module((Kernel("f", (), (), (ExprStatement(Number(16, "0x0F")),)),))).endswith("    16\n")


def test_what_code_made_may_be_empty_or_negative() -> None:
    text = format_module(Module((Kernel("f", (), (), ()), Kernel("g", (), (), (ExprStatement(Number(-2)),)))))
    assert re.sub(r"\n+", "\n", text) == "def f():\n    pass\ndef g():\n    -2\n"


def test_every_short_ending_of_a_documentation_comes_back() -> None:
    for length in range(8):
        for signs in itertools.product('"\\a', repeat=length):
            value = "".join(signs)
            assert read_string(write_documentation(value)) == value == ast.literal_eval(write_documentation(value))
