"""Read, Write, Prefetch and Exchange as loads and stores of scalars and vectors.

An access whose lanes lie at known distances becomes a few vector loads or stores and permutations; one whose lanes lie
anywhere becomes a gather or a scatter.  Where a mask is off no memory of the program is touched: a scalar access, and a
gather or scatter that is no instruction, is led to constant zeros or to a spare instead, which costs a select and no
branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from ..lane.ir import CopyAsync, Exchange, Prefetch, Read, Reg, Write
from .code import Code, Operand, splat
from .shuffle import pick
from .values import Values
from .windows import Linear, Window, linear, windows

__all__ = ["copy", "exchange", "prefetch", "read", "write"]


def read(values: Values, op: Read, results: Sequence[Reg]) -> None:
    """Defines the result registers of a Read."""
    fields = _read_fields(values, op, results[0].uniform)
    for reg, field in zip(results, fields, strict=True):
        wide = values.code.convert("zext", field, "i32") if op.bits < 32 else field
        values.define(reg, wide)


def _read_fields(values: Values, op: Read, uniform: bool) -> list[Operand]:
    code, element, size = values.code, f"i{op.bits}", op.bits // 8
    if uniform:
        pointer = _scalar_pointer(values, op.base, op.offset)
        if op.mask is not None:
            pointer = code.select(values.get(op.mask), pointer, _zeros(values, op.count * size))
        return [code.load(element, 0, code.offset(pointer, k * size), gcd(op.align, k * size)) for k in range(op.count)]
    active, mask = _mask(values, op.mask)
    if not any(active):
        return [splat(0, element, values.lanes)] * op.count
    form = linear(values, op.offset)
    if form is not None:
        places = windows(form, op.count, size, active, gaps=True)
        if len(places) <= max(4, values.lanes // 2, 2 * op.count) and _masks_fit(places, mask):
            return _read_windows(values, op, form, places, mask)
    where = code.offset(values.pointer(op.base), values.vector(op.offset))
    on = _mask_vector(values, active, mask)
    if mask is not None and not _scatters(values, op.bits):
        where, on = _led(values, on, where, _zeros(values, op.count * size)), _mask_vector(values, active, None)
    out = []
    for k in range(op.count):
        pointers = (
            where if k == 0 else code.put("ptr", values.lanes, f"getelementptr i8, {where.typed}, i64 {k * size}")
        )
        out.append(code.masked_load(element, values.lanes, pointers, on, gcd(op.align, k * size)))
    return out


def _read_windows(
    values: Values, op: Read, form: Linear, places: Sequence[Window], mask: Operand | None
) -> list[Operand]:
    code, lanes = values.code, values.lanes
    sources = [_load_window(values, op, form, place, mask) for place in places]
    out = []
    for field in range(op.count):
        source, lane = [-1] * lanes, [0] * lanes
        for number, place in enumerate(places):
            for element, owners in enumerate(place.owners):
                for owner, k in owners:
                    if k == field:
                        source[owner], lane[owner] = number, element
        found = pick(code, sources, source, lane)
        shared = any(len(owners) > 1 for place in places for owners in place.owners)
        if mask is not None and mask.lanes and shared:
            found = code.select(mask, found, splat(0, found.element, lanes))
        out.append(found)
    return out


def _load_window(values: Values, op: Read, form: Linear, place: Window, mask: Operand | None) -> Operand:
    """The fields of a window, in the first lanes of a vector; a single field stands in every lane."""
    code, lanes, element = values.code, values.lanes, f"i{op.bits}"
    pointer = _window_pointer(values, op.base, form, place)
    align = _power(gcd(op.align, place.near))
    if place.size == 1:
        on = mask
        if mask is not None and mask.lanes:
            on = code.reduce("or", _element_mask(values, place, mask))
        if on is not None:
            pointer = code.select(on, pointer, _zeros(values, 8))
        return code.spread(code.load(element, 0, pointer, align), lanes)
    if mask is not None and mask.lanes:
        found = code.masked_load(element, place.size, pointer, _element_mask(values, place, mask), align)
    else:
        if mask is not None:
            pointer = code.select(mask, pointer, _zeros(values, place.size * 8))
        found = code.load(element, place.size, pointer, align)
    if place.size == lanes:
        return found
    return code.shuffle(found, None, [k if k < place.size else -1 for k in range(lanes)])


def write(values: Values, op: Write) -> None:
    """Stores from the lanes whose mask is on."""
    code, size = values.code, op.bits // 8
    regs = [op.base, op.offset, *op.values, *([op.mask] if op.mask else [])]
    if all(r.uniform for r in regs):
        pointer = _scalar_pointer(values, op.base, op.offset)
        if op.mask is not None:
            pointer = code.select(values.get(op.mask), pointer, _spare(values, len(op.values) * size))
        for k, reg in enumerate(op.values):
            code.store(_narrow(code, values.get(reg), op.bits), code.offset(pointer, k * size), gcd(op.align, k * size))
        return
    active, mask = _mask(values, op.mask)
    if not any(active):
        return
    stored = [_narrow(code, values.vector(reg), op.bits) for reg in op.values]
    form = linear(values, op.offset)
    if form is not None:
        cheap_gaps = values.target.has("avx512bw") and values.target.has("avx512vl")
        places = windows(form, len(stored), size, active, gaps=cheap_gaps)
        alone = all(len(owners) <= 1 for place in places for owners in place.owners)
        few = len(places) <= max(4, values.lanes // 2, 2 * len(stored)) or not cheap_gaps
        if few and (alone or mask is None or not mask.lanes):
            for place in places:
                _store_window(values, op, stored, form, place, mask)
            return
    where = code.offset(values.pointer(op.base), values.vector(op.offset))
    on = _mask_vector(values, active, mask)
    if mask is not None and not _scatters(values, op.bits):
        where, on = _led(values, on, where, _spare(values, len(stored) * size)), _mask_vector(values, active, None)
    for k, value in enumerate(stored):
        pointers = (
            where if k == 0 else code.put("ptr", values.lanes, f"getelementptr i8, {where.typed}, i64 {k * size}")
        )
        code.masked_store(value, pointers, on, gcd(op.align, k * size))


def _store_window(
    values: Values, op: Write, stored: Sequence[Operand], form: Linear, place: Window, mask: Operand | None
) -> None:
    code = values.code
    pointer = _window_pointer(values, op.base, form, place)
    align = _power(gcd(op.align, place.near))
    last = [owners[-1] if owners else None for owners in place.owners]
    if place.size == 1 and last[0] is not None:
        lane, field = last[0]
        on = code.extract(mask, lane) if mask is not None and mask.lanes else mask
        if on is not None:
            pointer = code.select(on, pointer, _spare(values, 8))
        code.store(code.extract(stored[field], lane), pointer, align)
        return
    value = pick(code, stored, [o[1] if o else -1 for o in last], [o[0] if o else 0 for o in last])
    if mask is not None and mask.lanes:
        code.masked_store(value, pointer, _element_mask(values, place, mask), align)
        return
    if mask is not None:
        pointer = code.select(mask, pointer, _spare(values, place.size * 8))
    if place.gaps:
        owned = Operand("i1", place.size, "<" + ", ".join(f"i1 {'true' if o else 'false'}" for o in last) + ">")
        code.masked_store(value, pointer, owned, align)
    else:
        code.store(value, pointer, align)


def copy(values: Values, op: CopyAsync) -> None:
    """A copy that is done at once."""
    words = tuple(Reg("i32", False) for _ in range(op.size // 4))
    read(values, Read(op.base, op.offset, 32, len(words), op.mask, op.size), words)
    write(values, Write(op.to, op.at, 32, words, None, op.size, "shared"))


def prefetch(values: Values, op: Prefetch) -> None:
    """Few hints where the distances between lanes are known, else one per lane."""
    code = values.code
    form = linear(values, op.offset)
    if form is None:
        pointers = code.offset(values.pointer(op.base), values.vector(op.offset))
        targets = [code.extract(pointers, lane) for lane in range(values.lanes)]
    else:
        places: dict[tuple[int, ...], set[int]] = {}
        for lane in range(values.lanes):
            places.setdefault(form.key(lane), set()).add(form.fixed[lane])
        windows = (Window(key, start, 1, (), 0) for key, starts in places.items() for start in _lines(sorted(starts)))
        targets = [_window_pointer(values, op.base, form, window) for window in windows]
    for pointer in targets:
        code.call_void("llvm.prefetch.p0", pointer, extra=f"i32 0, i32 {4 - op.level}, i32 1")


def _lines(places: Sequence[int]) -> list[int]:
    """Those of ascending places that touch every line of 64 bytes which any touches, wherever a line begins.

    What lies between two places at most a line apart is in the line of one of them.
    """
    kept: list[int] = []
    for place in places:
        if len(kept) > 1 and place - kept[-2] <= 64:
            kept.pop()
        kept.append(place)
    return kept


def exchange(values: Values, op: Exchange) -> Operand:
    """The i32 that was there."""
    code = values.code
    pointer = _scalar_pointer(values, op.base, op.offset)
    expected, new = values.get(op.expected), values.get(op.new)
    pair = code.name()
    code.do(f"{pair} = cmpxchg ptr {pointer.text}, {expected.typed}, {new.typed} seq_cst seq_cst, align 4")
    return code.put("i32", 0, f"extractvalue {{ i32, i1 }} {pair}, 0")


def _power(align: int) -> int:
    """The largest power of two that divides it."""
    return align & -align


def _narrow(code: Code, value: Operand, bits: int) -> Operand:
    if value.element == "float":
        value = code.convert("bitcast", value, "i32")
    return value if value.element == f"i{bits}" else code.convert("trunc", value, f"i{bits}")


def _zeros(values: Values, size: int) -> Operand:
    return values.code.constant_data(bytes(-(-size // 64) * 64))


def _spare(values: Values, size: int) -> Operand:
    values.spare = max(values.spare, size)
    return Operand("ptr", 0, "%spare")


def _scatters(values: Values, bits: int) -> bool:
    """Whether gathers and scatters are instructions; else each lane is an access of its own, and its mask a branch.

    Thousands of branches take LLVM minutes.
    """
    return values.target.has("avx512f") and bits >= 32


def _led(values: Values, on: Operand, pointers: Operand, elsewhere: Operand) -> Operand:
    """The pointers, but `elsewhere` for lanes that are off."""
    return values.code.select(on, pointers, values.code.spread(elsewhere, values.lanes))


def _scalar_pointer(values: Values, base: Reg, offset: Reg) -> Operand:
    known = values.constant(offset)
    if known is not None:
        return values.code.offset(values.pointer(base), known[0])
    return values.code.offset(values.pointer(base), values.word(offset))


def _mask(values: Values, mask: Reg | None) -> tuple[list[bool], Operand | None]:
    """Which lanes may be active at all, and the mask that decides the rest (None: all of them are)."""
    if mask is None:
        return [True] * values.lanes, None
    known = values.constant(mask)
    if known is not None:
        return [bool(k) for k in known], None
    return [True] * values.lanes, values.get(mask)


def _mask_vector(values: Values, active: Sequence[bool], mask: Operand | None) -> Operand:
    if mask is None:
        return Operand("i1", values.lanes, "<" + ", ".join(f"i1 {'true' if a else 'false'}" for a in active) + ">")
    return mask if mask.lanes else values.code.spread(mask, values.lanes)


def _masks_fit(places: Sequence[Window], mask: Operand | None) -> bool:
    """Whether a mask per lane turns into one per field in a few steps."""
    if mask is None or not mask.lanes:
        return True
    return all(place.size == 1 or len(owners) <= 4 for place in places for owners in place.owners)


def _element_mask(values: Values, place: Window, mask: Operand) -> Operand:
    """For every field of the window whether some lane that uses it is on (a single field: for every lane that does)."""
    owners = place.owners
    if place.size == 1:
        owners = tuple((owner,) for owner in owners[0])
    result: Operand | None = None
    for turn in range(max(map(len, owners))):
        source = [0 if turn < len(o) else -1 for o in owners]
        lane = [o[turn][0] if turn < len(o) else 0 for o in owners]
        part = pick(values.code, [mask], source, lane)
        result = part if result is None else values.code.binary("or", result, part)
    assert result is not None
    return result


def _window_pointer(values: Values, base: Reg, form: Linear, place: Window) -> Operand:
    code = values.code
    pointer = values.pointer(base)
    for (reg, _), coefficient in zip(form.terms, place.key, strict=True):
        if coefficient:
            far = values.word(reg)
            pointer = code.offset(pointer, far if coefficient == 1 else code.number("mul", far, coefficient))
    return code.offset(pointer, place.start)
