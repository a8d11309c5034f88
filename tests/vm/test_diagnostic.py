"""What a printed diagnostic looks like, sign by sign."""

import copy
import pickle

import pytest

from bitwright.vm.diagnostic import NOWHERE, SHOWN_PROBLEMS, Diagnostic, Note, Problem, Problems, Source, Span

SOURCE = Source("scale.bw", "def f(x: f32[N]):\n    y = dot(x, yy)\n\tz = x\n", first_line=10)


def span(line: int, column: int, end_column: int, end_line: int | None = None) -> Span:
    return Span(SOURCE, line, column, end_line or line, end_column)


def test_shows_place_line_carets_and_help() -> None:
    problem = Problem("`yy` is not defined", "define it", span(11, 16, 18))
    assert str(Diagnostic(problem)) == (
        "scale.bw:11:16: error: `yy` is not defined\n        y = dot(x, yy)\n                   ^^\nhelp: define it"
    )


def test_first_line_is_the_users_line_number() -> None:
    assert SOURCE.line(10) == "def f(x: f32[N]):"
    assert SOURCE.line(9) is None
    assert SOURCE.line(99) is None


def test_notes_come_between_problem_and_help() -> None:
    text = str(Problem("twice", "rename", span(10, 7, 8), (Note("first here", span(10, 5, 6)),)))
    assert [line.strip("^ ") for line in text.splitlines()] == [
        "scale.bw:10:7: error: twice",
        "def f(x: f32[N]):",
        "",
        "scale.bw:10:5: note: first here",
        "def f(x: f32[N]):",
        "",
        "help: rename",
    ]


def test_a_problem_without_a_place_has_one_line() -> None:
    assert str(Diagnostic(Problem("no such file"))) == "error: no such file"


def test_a_span_over_lines_is_underlined_to_the_end_of_its_first_line() -> None:
    text = str(Problem("m", span=span(11, 9, 3, end_line=12)))
    assert text.splitlines()[2] == "    " + " " * 8 + "^" * len("dot(x, yy)")


def test_a_tab_before_the_place_keeps_the_carets_below_it() -> None:
    _, shown, carets = str(Problem("m", span=span(12, 2, 3))).splitlines()
    assert shown == "    \tz = x"
    assert carets == "    \t^"


def test_a_place_past_the_end_of_its_line_still_has_one_caret() -> None:
    assert str(Problem("m", span=span(10, 18, 19))).splitlines()[2] == "    " + " " * 17 + "^"
    assert str(Problem("m", span=span(10, 99, 120))).splitlines()[2] == "    " + " " * 17 + "^"


def test_a_long_line_is_cut_around_the_place() -> None:
    source = Source("long.bw", "a" * 5000 + "X" + "b" * 5000)
    _, shown, carets = str(Problem("m", span=Span(source, 1, 5001, 1, 5002))).splitlines()
    assert len(shown) < 140
    assert shown[carets.index("^")] == "X"
    assert carets.count("^") == 1


def test_signs_that_steer_a_terminal_are_not_printed() -> None:
    source = Source("x.bw", "a = \x1b[31m\x00")
    assert "\x1b" not in str(Problem("m", span=Span(source, 1, 1, 1, 2)))
    assert "\x00" not in str(Problem("m", span=Span(source, 1, 1, 1, 2)))


def test_many_problems_are_counted() -> None:
    shown = str(Diagnostic(*(Problem(f"number {i}.") for i in range(SHOWN_PROBLEMS + 3))))
    assert f"number {SHOWN_PROBLEMS - 1}." in shown
    assert f"number {SHOWN_PROBLEMS}." not in shown
    assert shown.endswith("and 3 more problems")
    assert str(Diagnostic(*(Problem("m") for _ in range(SHOWN_PROBLEMS + 1)))).endswith("and 1 more problem")


def test_the_collector_sorts_and_keeps_one_of_each() -> None:
    problems = Problems()
    problems.raise_if_any()
    problems.add("second", span=span(11, 1, 2))
    problems.add("first", span=span(10, 4, 5))
    problems.add("second", span=span(11, 1, 2))
    assert len(problems) == 2
    with pytest.raises(Diagnostic) as caught:
        problems.raise_if_any()
    assert [problem.message for problem in caught.value.problems] == ["first", "second"]


def test_an_empty_diagnostic_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Diagnostic()


def test_a_diagnostic_crosses_processes() -> None:
    diagnostic = Diagnostic(Problem("m", "h", span(10, 1, 2)), Problem("n"))
    assert str(pickle.loads(pickle.dumps(diagnostic))) == str(diagnostic)
    assert copy.copy(diagnostic).problems == diagnostic.problems


def test_spans_join() -> None:
    assert span(10, 1, 4).to(span(11, 5, 9)) == Span(SOURCE, 10, 1, 11, 9)
    assert str(span(10, 1, 4)) == "scale.bw:10:1"
    assert NOWHERE.line == 0
