"""The printed form of a function that uses every kind of statement."""

from __future__ import annotations

from bitwright.backend.lane.ir import (
    Atom,
    Block,
    Carried,
    Exchange,
    Fail,
    Fence,
    First,
    FloatSlot,
    For,
    If,
    Let,
    Lookup,
    LookupBytes,
    Merge,
    PickBytes,
    Prefetch,
    Read,
    Reg,
    SharedAddress,
    Show,
    Shuffle,
    Vote,
    While,
    Write,
)
from bitwright.backend.lane.text import Printer, render
from bitwright.tests.backend.lane.writing import Body

EXPECTED = """\
lane function test lanes=2 slots=2 shared=8 {
  %u0: i64 = slot 0
  %u1: i64 = block
  %u2: f32 = float slot 1
  %3: i32 = constant 0, 4
  %4: i32, %5: i32 = read.32x2 %u0 + %3 align 4
  %6: i1 = constant 1, 0
  %u7: i64 = shared address 4
  write.16 %u7 + %3 mask %6 align 2 shared gets %4
  %8: i32 = shuffle %4, %5 source 0, 1 lane 1, 0
  %u9: i32 = first %8
  %u10: i1 = any %6
  %11: i32 = lookup %4 in 1, 2
  %12: i32 = lookup bytes %4 in 1, 2
  %13: i32 = pick bytes -1, 7, 0, 1 of %4, %5
  %14: i32 = atom dp4a_us %4, %5, %8
  %u15: i32 = exchange %u0 + %u9 if %u9 becomes %u9
  prefetch.l2 %u0 + %3
  fence
  fail 1 if %u10
  show 'x = ', lane 1 of %4
  show 'end'
  for %u16 in range(%u0, %u1, %u0) carry (%17: i32 = %4) {
    %18: i32 = add %17, %5
  } next (%18) gives (%19)
  while carry (%u20: i64 = %u0) {
    %u21: i1 = slt %u20, %u1
  } %u21 {
    %u22: i64 = sub %u20, %u1
  } next (%u22) gives (%u23)
  if %u10 {
  } (%4) else {
  } (%5) gives (%24)
}
failure 1: it failed
"""


def everything() -> Body:
    body = Body(2)
    base, block = body.slot(0), body.let(Block(), "i64", True)
    body.let(FloatSlot(1), "f32", True)
    places = body.places(4)
    x, y = body.read(Read(base, places, 32, 2, align=4))
    mask = body.lane_constant("i1", [1, 0])
    shared = body.let(SharedAddress(4), "i64", True)
    body.do(Write(shared, places, 16, (x,), mask, 2, "shared"))
    turned = body.let(Shuffle((x, y), (0, 1), (1, 0)), "i32", False)
    first = body.let(First(turned), "i32", True)
    some = body.let(Vote("any", mask), "i1", True)
    body.let(Lookup((1, 2), x), "i32", False)
    body.let(LookupBytes((1, 2), x), "i32", False)
    body.let(PickBytes(x, y, (-1, 7, 0, 1)), "i32", False)
    body.let(Atom("dp4a_us", (x, y, turned)), "i32", False)
    body.let(Exchange(base, first, first, first), "i32", True)
    for op in (Prefetch(base, places, 2), Fence(), Fail(some, 1), Show("x = ", x, 1), Show("end")):
        body.do(op)
    inside, after, merged = (Reg("i32", False) for _ in range(3))
    var, left, end = (Reg("i64", True) for _ in range(3))
    inner = Body(2)
    added = inner.apply("add", "i32", inside, y)
    loop = For(var, base, block, base, (Carried(x, inside, added, after),), tuple(inner.statements))
    head, rest = Body(2), Body(2)
    more = head.apply("slt", "i1", left, block)
    less = rest.apply("sub", "i64", left, block)
    again = While(tuple(head.statements), more, (Carried(base, left, less, end),), tuple(rest.statements))
    body.statements += [loop, again, If(some, (), (), (Merge(x, y, merged),))]
    return body


def test_every_statement_is_printed() -> None:
    text = render(everything().function(2, 8, ["it failed"]))
    assert text == EXPECTED


def test_long_tables_are_cut_and_names_stay() -> None:
    body = Body(2)
    body.let(Lookup(tuple(range(256)), body.places(4)), "i32", False)
    printer = Printer()
    text = printer.function(body.function(0))
    assert "... 192 more ..." in text
    (last,) = (s.results[0] for s in body.statements[1:] if isinstance(s, Let))
    assert printer.name(last) == "%1"
