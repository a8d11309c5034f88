"""Python's own parser as the oracle: what we accept, Python accepts, and both read the same structure."""

import ast
import warnings

from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.frontend import syntax
from bitwright.frontend.parse import parse
from bitwright.vm.diagnostic import Diagnostic

OPERATORS = {
    "Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "FloorDiv": "//", "Mod": "%", "Pow": "**", "MatMult": "@",
    "BitAnd": "&", "BitOr": "|", "BitXor": "^", "LShift": "<<", "RShift": ">>", "USub": "-", "UAdd": "+",
    "Invert": "~", "Not": "not", "And": "and", "Or": "or", "Lt": "<", "LtE": "<=", "Eq": "==", "NotEq": "!=",
    "Gt": ">", "GtE": ">=",
}  # fmt: skip

Shape = object
"""Nested tuples that say a structure in neither parser's terms."""


def python_shape(node: ast.AST | None) -> Shape:
    match node:
        case None:
            return None
        case ast.Name(name):
            return ("name", name)
        case ast.Constant(value):
            return ("constant", type(value), value)
        case ast.Tuple(elements) | ast.List(elements):
            return (type(node).__name__, [python_shape(element) for element in elements])
        case ast.Attribute(value, name):
            return ("attribute", python_shape(value), name)
        case ast.Call(function, arguments, keywords):
            named = [(keyword.arg, python_shape(keyword.value)) for keyword in keywords]
            return ("call", python_shape(function), [python_shape(argument) for argument in arguments], named)
        case ast.Subscript(value, ast.Tuple(indices)):
            return ("subscript", python_shape(value), [python_shape(index) for index in indices])
        case ast.Subscript(value, index):
            return ("subscript", python_shape(value), [python_shape(index)])
        case ast.Slice(lower, upper, step):
            return ("slice", python_shape(lower), python_shape(upper), python_shape(step))
        case ast.UnaryOp(op, operand):
            return ("unary", operator(op), python_shape(operand))
        case ast.BinOp(left, op, right):
            return ("binary", operator(op), python_shape(left), python_shape(right))
        case ast.Compare(left, ops, rights):
            return ("compare", python_shape(left), [operator(op) for op in ops], [python_shape(r) for r in rights])
        case ast.BoolOp(op, values):
            return ("logical", operator(op), [python_shape(value) for value in values])
        case ast.IfExp(test, then, orelse):
            return ("conditional", python_shape(test), python_shape(then), python_shape(orelse))
    return python_statement(node)


def python_statement(node: ast.AST) -> Shape:
    match node:
        case ast.Assign([ast.Tuple(names)], value):
            return ("assign", [python_shape(name) for name in names], python_shape(value))
        case ast.Assign([target], value):
            return ("assign", [python_shape(target)], python_shape(value))
        case ast.AugAssign(target, op, value):
            return ("augmented", python_shape(target), operator(op), python_shape(value))
        case ast.Expr(value):
            return ("expression", python_shape(value))
        case ast.For(target, iterable, body, []):
            return ("for", python_shape(target), python_shape(iterable), [python_shape(each) for each in body])
        case ast.While(test, body, []):
            return ("while", python_shape(test), [python_shape(each) for each in body])
        case ast.If(test, body, orelse):
            return ("if", python_shape(test), [python_shape(a) for a in body], [python_shape(a) for a in orelse])
        case ast.Assert(test, message):
            return ("assert", python_shape(test), python_shape(message))
        case ast.Pass() | ast.Return(None):
            return (type(node).__name__,)
    raise AssertionError(f"the language has no {ast.dump(node)}")


def operator(op: ast.AST) -> str:
    return OPERATORS[type(op).__name__]


def shapes(nodes: tuple[syntax.Expression | syntax.Slice | syntax.Statement, ...]) -> list[Shape]:
    return [shape(node) for node in nodes]


def shape(node: syntax.Expression | syntax.Slice | None) -> Shape:
    match node:
        case None:
            return None
        case syntax.Name(name):
            return ("name", name)
        case syntax.Number(value) | syntax.Text(value) | syntax.Boolean(value):
            return ("constant", type(value), value)
        case syntax.Tuple_(elements) | syntax.List_(elements):
            return (type(node).__name__.rstrip("_"), shapes(elements))
        case syntax.Attribute(value, name):
            return ("attribute", shape(value), name)
        case syntax.Call(function, arguments, keywords):
            return ("call", shape(function), shapes(arguments), [(each.name, shape(each.value)) for each in keywords])
        case syntax.Subscript(value, (syntax.Tuple_(elements),)):
            return ("subscript", shape(value), shapes(elements))  # in Python, x[(a, b)] is x[a, b]
        case syntax.Subscript(value, indices):
            return ("subscript", shape(value), shapes(indices))
        case syntax.Slice(lower, upper, step):
            return ("slice", shape(lower), shape(upper), shape(step))
        case syntax.Unary(op, operand):
            return ("unary", op, shape(operand))
        case syntax.Binary(op, left, right):
            return ("binary", op, shape(left), shape(right))
        case syntax.Compare(left, ops, rights):
            return ("compare", shape(left), list(ops), shapes(rights))
        case syntax.Logical(op, values):
            return ("logical", op, shapes(values))
        case syntax.Conditional(test, then, orelse):
            return ("conditional", shape(test), shape(then), shape(orelse))
    return statement_shape(node)


def statement_shape(node: syntax.Statement) -> Shape:
    match node:
        case syntax.Assign(targets, value):
            return ("assign", shapes(targets), shape(value))
        case syntax.AugAssign(target, op, value):
            return ("augmented", shape(target), op, shape(value))
        case syntax.ExprStatement(value):
            return ("expression", shape(value))
        case syntax.For(target, iterable, body):
            return ("for", shape(target), shape(iterable), shapes(body))
        case syntax.While(test, body):
            return ("while", shape(test), shapes(body))
        case syntax.If(test, then, orelse):
            return ("if", shape(test), shapes(then), shapes(orelse))
        case syntax.Assert(test, message):
            return ("assert", shape(test), shape(message))
    return (type(node).__name__,)


def agree(text: str) -> bool:
    """Whether we accept a kernel; if so, Python must read the same."""
    try:
        kernel = parse(text).kernels[0]
    except Diagnostic:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of `1()` and the like
        function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    body = function.body
    docstring = ast.get_docstring(function, clean=False)
    assert kernel.docstring == docstring
    assert shapes(kernel.body) == [python_shape(each) for each in body[docstring is not None :]]
    names = [argument.arg for argument in function.args.args]
    assert [param.name for param in kernel.params] == names
    assert [shape(param.annotation) for param in kernel.params] == [
        python_shape(a.annotation) for a in function.args.args
    ]
    compiled = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    assert [(param.name, shape(param.annotation), shape(param.default)) for param in kernel.compile_params] == [
        (argument.arg, python_shape(argument.annotation), python_shape(default)) for argument, default in compiled
    ]
    return True


NAMES = st.sampled_from(["a", "b", "x1", "_y", "define", "in_", "notx"])
CONSTANTS = st.one_of(
    st.integers(0, 2**64 - 1), st.floats(0, 1e300), st.booleans(), st.text("ab\"'\\\n\té€\x00\x7f", max_size=6)
).map(ast.Constant)
BINARY = [ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult, ast.BitAnd, ast.BitOr,
          ast.BitXor, ast.LShift, ast.RShift]  # fmt: skip
COMPARE = [ast.Lt, ast.LtE, ast.Eq, ast.NotEq, ast.Gt, ast.GtE]


def grown(inner: st.SearchStrategy[ast.expr]) -> st.SearchStrategy[ast.expr]:
    """Python expressions one level above `inner`, in Python's own nodes."""
    some = st.lists(inner, max_size=3)
    keywords = st.lists(st.builds(ast.keyword, NAMES, inner), max_size=2, unique_by=lambda keyword: keyword.arg)
    part = st.none() | inner
    index = st.one_of(inner, st.builds(ast.Slice, part, part, part))
    indices = st.lists(index, min_size=2, max_size=3).map(lambda items: ast.Tuple(items, ast.Load()))
    links = st.lists(st.tuples(st.sampled_from(COMPARE), inner), min_size=1, max_size=3)
    return st.one_of(
        st.builds(ast.UnaryOp, st.sampled_from([ast.USub(), ast.UAdd(), ast.Invert(), ast.Not()]), inner),
        st.builds(lambda left, op, right: ast.BinOp(left, op(), right), inner, st.sampled_from(BINARY), inner),
        st.builds(lambda a, more: ast.Compare(a, [op() for op, _ in more], [b for _, b in more]), inner, links),
        st.builds(ast.BoolOp, st.sampled_from([ast.And(), ast.Or()]), st.lists(inner, min_size=2, max_size=3)),
        st.builds(ast.IfExp, inner, inner, inner),
        st.builds(ast.Tuple, some, st.just(ast.Load())),
        st.builds(ast.List, some, st.just(ast.Load())),
        st.builds(ast.Attribute, inner, NAMES, st.just(ast.Load())),
        st.builds(ast.Call, inner, some, keywords),
        st.builds(ast.Subscript, inner, index | indices, st.just(ast.Load())),
    )


EXPRESSIONS = st.recursive(st.builds(ast.Name, NAMES, st.just(ast.Load())) | CONSTANTS, grown, max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS)
def test_every_python_expression_of_our_forms_is_read_as_python_reads_it(tree: ast.expr) -> None:
    text = ast.unparse(ast.fix_missing_locations(tree))
    assert agree(f"def f(x: f32):\n    y = ({text})\n    assert {text}, a\n")


WORDS = [
    *("a", "b", "1", "0x1F", "1.5", ".5", "1.", '"s"', "'t'", "True", "(", ")", "(", ")", "[", "]", ",", ",", ":", "="),
    *("+", "-", "~", "not", "and", "or", "if", "else", "<", "==", ">=", "**", "*", "@", "//", "<<", "|", "^", "&"),
    *("+=", "//=", "a", "b", "c", "assert", "pass", "return", "for", "in", "while", "\n", "\n ", ".", "x"),
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), st.sampled_from(["", " "]))
def test_no_heap_of_words_is_accepted_that_python_refuses(words: list[str], gap: str) -> None:
    text = gap.join(words)
    agree(f"def f(x: f32):\n {text}\n a = b\n")
    agree(f"def f(x: f32):\n y = ({text})\n")
    agree(f"def f(x: f32):\n y = g({text})\n")
    agree(f"def f(x: f32):\n y = g[{text}]\n")
    agree(f"def f(x: {text}, *, G: int = {text}):\n pass\n")


def test_blocks_parameters_and_documentation() -> None:
    assert agree(
        '''\
def f(x: f16[M, K], w: W[K // 2, N] @ tiles, n: int, *, G: int = 128, L: layout = "a", T: dtype,):
    """Doc
       of lines \\u00e9."""
    for i in range(0, n, step=2):
        if a < b: y = 1; 
        else:
            y = 2
    return
'''.replace("; \n", "\n")
    )
    assert agree(
        "def f():\n  if a:\n     pass\n  elif b: return\n  elif c:\n   if d:\n    e\n  else: g\n  while a: b += 1\n"
    )
    assert agree('def f(): "only" " this"\n')
