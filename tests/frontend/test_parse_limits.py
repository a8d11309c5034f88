"""Strange texts: each is read or refused, within seconds, and never ends in anything but a tree or a Diagnostic."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.frontend.convert import MAX_DEPTH
from bitwright.frontend.format import format_module
from bitwright.frontend.parse import parse
from bitwright.frontend.syntax import Module, walk
from bitwright.vm.diagnostic import Diagnostic

HEAD = "def f(x: f32[N]):\n"
BLOCKS = "".join(" " * (4 + i) + "if x:\n" for i in range(1000))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(" * 10_000_000, "at most 1,000,000"),
        ("x = 1\n" * 100_000, "at most 20,000 lines"),
        (HEAD + "    y = " + "(" * 900_000, "more than 64 deep"),
        (HEAD + "    y = " + "(" * 65 + "x" + ")" * 65, "more than 64 deep"),
        (HEAD + "    y = " + ")" * 900_000, "`)` closes nothing"),
        (HEAD + "    y = " + "[(" * 400_000, "more than 64 deep"),
        (HEAD + "    y = 1" + "+1" * 10_000, "more than 200 levels"),
        (HEAD + "    y = 1" + "**1" * 10_000, "more than 200 levels"),
        (HEAD + "    y = " + "-" * 100_000 + "x", "more than 200 levels"),
        (HEAD + "    y = " + "not " * 10_000 + "x", "more than 200 levels"),
        (HEAD + "    y = x" + ".a" * 10_000, "more than 200 levels"),
        (HEAD + "    y = x" + "()" * 10_000, "more than 200 levels"),
        (HEAD + "    y = x" + " if x else x" * 10_000, "more than 200 levels"),
        (HEAD + "    if x: pass\n" + "    elif x: pass\n" * 5_000, "more than 200 levels"),
        (HEAD + "    y = f(" + "x," * 450_000 + ")", "200,000 words and signs"),
        (HEAD + BLOCKS + " " * 1004 + "pass\n", "blocks are nested more than 32 deep"),
        (HEAD + "    y = " + "9" * 900_000, "does not fit 64 bits"),
        (HEAD + "    y = 1" + "_" * 900_000, "not a number"),
        (HEAD + '    y = "' + "a" * 900_000, "not closed on its line"),
        (HEAD + '    y = "' + '\\"' * 450_000, "not closed on its line"),
        (HEAD + "    y = '''" + "''\n" * 15_000, "never closed"),
        (HEAD + '    y = ""' + "\n" + '    y = "\n' * 15_000, "not closed on its line"),
        (HEAD + "    y = x\0", "NUL"),
        ("\0" * 900_000, "NUL"),
        ("\x7fELF" + "\0\1\2\3" * 1000, "U+007F"),
        ("    " * 225_000, "no kernel"),
        ("#" * 900_000, "no kernel"),
        ("\n" * 19_000, "no kernel"),
        ("a b\n" * 19_000, "`a` was not expected"),
        (HEAD + "    a b\n" * 19_000, "`b` was not expected"),
        (HEAD + "    if x:\n" * 15_000, "needs an indented block"),
        (HEAD + "    y = f(\n" * 15_000, "never closed"),
        ("@" * 190_000, "`@` was not expected"),
        ("é" * 900_000, "`é` is not part"),
        (";" * 900_000, "`;` is not part"),
        ("def " * 190_000, "cannot stand inside another"),
        ("\ufeff\ufeff" + HEAD + "    pass\n", "U+FEFF"),
        (HEAD + "    y = f'" + "{" * 100_000 + "'", "f-strings"),
    ],
    ids=lambda value: repr(value)[:30] if len(value) > 60 else None,
)
def test_refused_within_seconds(text: str, message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(Diagnostic) as caught:
        parse(text)
    shown = str(caught.value)
    assert time.perf_counter() - start < 10
    assert message in shown
    assert len(shown) < 20_000


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "    y = " + "(" * 64 + "x" + ")" * 64 + "\n",
        HEAD + "    y = 1" + " + 1" * (MAX_DEPTH - 10) + "\n",
        HEAD + "    y = x" + " and x" * 10_000 + "\n",
        HEAD + "    y = [" + "1, " * 10_000 + "]\n",
        HEAD + "    y = " + '"a" ' * 1_000 + "\n",
        HEAD + "    y = x\n" * 2_000,
        HEAD + "".join(" " * i + "if x:\n" for i in range(4, 35)) + " " * 35 + "pass\n",
        HEAD + "    if x: pass\n" + "    elif x: pass\n" * (MAX_DEPTH - 20),
        "\n" * 19_000 + HEAD + "    pass\n",
        HEAD + "    y = x  # " + "c" * 900_000 + "\n",
    ],
    ids=lambda value: repr(value)[20:50],
)
def test_accepted_within_seconds_and_safe_to_recurse_over(text: str) -> None:
    start = time.perf_counter()
    module = parse(text)
    assert parse(text) == module
    assert hash(parse(text)) == hash(module)
    assert len(repr(module)) > 10
    assert parse(format_module(module)) == module
    assert sum(1 for _ in walk(module)) > 3
    assert time.perf_counter() - start < 20


def outcome(text: str) -> Module | Diagnostic:
    try:
        return parse(text)
    except Diagnostic as diagnostic:
        return diagnostic


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_ends_in_a_tree_or_a_diagnostic(text: str) -> None:
    assert str(outcome(HEAD + "    y = x\n" + text))


PIECES = [
    *("def ", "f", "(", ")", "[", "]", ":", ",", "*", "\n", "\n    ", "\n        ", "\n  ", "if ", "else", "elif "),
    *("for ", " in ", "while ", "x", "=", "+=", "1", '"', "'", '"""', "#", "@", " ", "pass", "return", "not ", "."),
    *("lambda ", "\\", "assert ", "\t"),
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_heap_of_words_ends_in_a_tree_or_a_diagnostic(text: str) -> None:
    branch = "    if x:\n        y = x" + text + "\n    else:\n        pass\n"
    for whole in (text, HEAD + "    y = x\n    " + text, HEAD + branch):
        found = outcome(whole)
        if isinstance(found, Module):
            assert parse(format_module(found)) == found
        else:
            assert str(found)


def test_threads_do_not_disturb_each_other() -> None:
    texts = [HEAD + f"    if x:\n        y = f([{i},\n {i}])\n" * 20 for i in range(24)]
    expected = [parse(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(parse, texts)) == expected
