"""Writes LLVM IR text: typed operands, instructions, intrinsic calls, constants and globals.

An `Operand` is a value as the text names it, with its element type and how many lanes it has (0: a scalar).  `Code`
collects instructions and what the module must declare for them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["BITS", "Code", "Operand", "float_text", "literal", "splat", "vector_type"]

BITS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "half": 16, "bfloat": 16, "float": 32, "double": 64}
_MANGLED = {"half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64", "ptr": "p0"}


@dataclass(frozen=True, slots=True)
class Operand:
    """A value in the text; `lanes` is 0 for a scalar."""

    element: str
    lanes: int
    text: str

    @property
    def type(self) -> str:
        return vector_type(self.element, self.lanes)

    @property
    def typed(self) -> str:
        return f"{self.type} {self.text}"


def vector_type(element: str, lanes: int) -> str:
    return f"<{lanes} x {element}>" if lanes else element


def float_text(value: float, element: str = "float") -> str:
    """A float or double constant as LLVM spells it: the bits of the double of the same value."""
    if element == "float" and value == value:
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def _number(value: int | float, element: str) -> str:
    if element in ("float", "double"):
        return float_text(float(value), element)
    if element == "i1":
        return "true" if value else "false"
    bits = BITS[element]
    wrapped = int(value) & ((1 << bits) - 1)
    return str(wrapped - (1 << bits) if wrapped >> (bits - 1) else wrapped)


def splat(value: int | float, element: str, lanes: int) -> Operand:
    """The same constant in every lane, or the scalar constant."""
    text = _number(value, element)
    return Operand(element, lanes, f"splat ({element} {text})" if lanes else text)


def literal(values: Sequence[int | float], element: str) -> Operand:
    """A vector constant, lane by lane."""
    inside = ", ".join(f"{element} {_number(v, element)}" for v in values)
    return Operand(element, len(values), f"<{inside}>")


class Code:
    """The text of one module as it grows: instructions of the open function, declarations, globals, more functions."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.label = "entry"
        self._names = 0
        self._declared: dict[str, str] = {}
        self._globals: dict[str, str] = {}
        self._functions: dict[str, str] = {}
        self._constants: dict[bytes, str] = {}
        self._spread_from: dict[str, Operand] = {}

    # Text

    def name(self) -> str:
        self._names += 1
        return f"%v{self._names}"

    def block_name(self, what: str) -> str:
        self._names += 1
        return f"{what}{self._names}"

    def do(self, line: str) -> None:
        self.lines.append("  " + line)

    def start(self, label: str) -> None:
        """Opens the basic block `label`; the one before must have ended."""
        self.lines.append(f"{label}:")
        self.label = label

    def jump(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch(self, condition: Operand, yes: str, no: str) -> None:
        self.do(f"br i1 {condition.text}, label %{yes}, label %{no}")

    def put(self, element: str, lanes: int, instruction: str) -> Operand:
        """Adds an instruction that gives a value."""
        name = self.name()
        self.lines.append(f"  {name} = {instruction}")
        return Operand(element, lanes, name)

    # Instructions on scalars and vectors alike

    def binary(self, op: str, x: Operand, y: Operand) -> Operand:
        """An instruction on two operands; on two spread scalars it works on the scalars.

        Besides saving work this keeps LLVM 22's code generator from an endless loop: it never finishes bytes of
        `and` (or, xor) of a constant and a vector that one loaded word is spread over.
        """
        if x.lanes and (x.text in self._spread_from or y.text in self._spread_from):
            left, right = self._scalar(x), self._scalar(y)
            if left is not None and right is not None:
                return self.spread(self.binary(op, left, right), x.lanes)
        return self.put(x.element, x.lanes, f"{op} {x.type} {x.text}, {y.text}")

    def number(self, op: str, x: Operand, value: int | float) -> Operand:
        """`op` with the same constant in every lane on the right."""
        return self.binary(op, x, splat(value, x.element, x.lanes))

    def fneg(self, x: Operand) -> Operand:
        return self.put(x.element, x.lanes, f"fneg {x.typed}")

    def compare(self, predicate: str, x: Operand, y: Operand) -> Operand:
        """`predicate` is one of icmp's or fcmp's (those that begin with o or u and name a float relation)."""
        op = "fcmp" if x.element in ("float", "double") else "icmp"
        return self.put("i1", x.lanes, f"{op} {predicate} {x.type} {x.text}, {y.text}")

    def compare_number(self, predicate: str, x: Operand, value: int | float) -> Operand:
        return self.compare(predicate, x, splat(value, x.element, x.lanes))

    def select(self, condition: Operand, x: Operand, y: Operand) -> Operand:
        return self.put(x.element, x.lanes, f"select {condition.typed}, {x.typed}, {y.typed}")

    def convert(self, op: str, x: Operand, element: str) -> Operand:
        """sext, zext, trunc, sitofp ... , or bitcast between elements of one width."""
        return self.put(element, x.lanes, f"{op} {x.typed} to {vector_type(element, x.lanes)}")

    def recast(self, x: Operand, element: str, lanes: int) -> Operand:
        """The same bits as other elements."""
        return self.put(element, lanes, f"bitcast {x.typed} to {vector_type(element, lanes)}")

    def spread(self, x: Operand, lanes: int) -> Operand:
        """A scalar in every lane."""
        if x.text[0] != "%":
            return Operand(x.element, lanes, f"splat ({x.element} {x.text})")
        type = vector_type(x.element, lanes)
        one = self.put(x.element, lanes, f"insertelement {type} poison, {x.typed}, i64 0")
        result = self.put(
            x.element, lanes, f"shufflevector {one.typed}, {type} poison, <{lanes} x i32> zeroinitializer"
        )
        self._spread_from[result.text] = x
        return result

    def _scalar(self, x: Operand) -> Operand | None:
        """The scalar that a vector holds in every lane, where that is known."""
        if x.text.startswith("splat ("):
            return Operand(x.element, 0, x.text[len(f"splat ({x.element} ") : -1])
        return self._spread_from.get(x.text)

    def extract(self, x: Operand, lane: int) -> Operand:
        return self.put(x.element, 0, f"extractelement {x.typed}, i64 {lane}")

    def insert(self, x: Operand, value: Operand, lane: int) -> Operand:
        return self.put(x.element, x.lanes, f"insertelement {x.typed}, {value.typed}, i64 {lane}")

    def shuffle(self, x: Operand, y: Operand | None, lanes: Sequence[int]) -> Operand:
        """Elements of x, then y, by number; -1 where any value will do."""
        second = y.text if y is not None else "poison"
        inside = ", ".join("i32 poison" if n < 0 else f"i32 {n}" for n in lanes)
        result = self.put(
            x.element, len(lanes), f"shufflevector {x.typed}, {x.type} {second}, <{len(lanes)} x i32> <{inside}>"
        )
        if len(lanes) > 1 and len({n for n in lanes if n >= 0}) == 1 and BITS.get(x.element, 0) >= 16:
            result = self.frozen(result)  # one lane everywhere is a spread word too
        return result

    def frozen(self, x: Operand) -> Operand:
        """The same value; LLVM cannot see through it that one word is spread over a vector (see `binary`)."""
        return self.put(x.element, x.lanes, f"freeze {x.typed}")

    def byte_source(self, x: Operand) -> Operand:
        """x, fit to be taken apart into bytes or halves that further instructions compute with."""
        return self.frozen(x) if x.text in self._spread_from else x

    def offset(self, pointer: Operand, bytes: Operand | int) -> Operand:
        """The pointer (or pointers) so many bytes further."""
        if isinstance(bytes, int):
            if bytes == 0:
                return pointer
            return self.put("ptr", 0, f"getelementptr i8, ptr {pointer.text}, i64 {bytes}")
        return self.put("ptr", bytes.lanes, f"getelementptr i8, ptr {pointer.text}, {bytes.typed}")

    def load(self, element: str, lanes: int, pointer: Operand, align: int) -> Operand:
        return self.put(element, lanes, f"load {vector_type(element, lanes)}, ptr {pointer.text}, align {align}")

    def store(self, value: Operand, pointer: Operand, align: int) -> None:
        self.do(f"store {value.typed}, ptr {pointer.text}, align {align}")

    # Calls

    def intrinsic(self, name: str, *operands: Operand, element: str = "", extra: str = "") -> Operand:
        """An overloaded intrinsic, llvm.<name>.<type of the first operand>, which gives that type (or other elements).

        `extra` holds constant arguments that follow, as text.
        """
        first = operands[0]
        suffix = _suffix(first.element, first.lanes)
        full = f"llvm.{name}.{suffix}"
        if element:
            full = f"llvm.{name}.{_suffix(element, first.lanes)}.{suffix}"
        return self.call(full, element or first.element, first.lanes, *operands, extra=extra)

    def reduce(self, name: str, x: Operand) -> Operand:
        """llvm.vector.reduce.<name> over the lanes."""
        return self.call(f"llvm.vector.reduce.{name}.{_suffix(x.element, x.lanes)}", x.element, 0, x)

    def call(self, name: str, element: str, lanes: int, *operands: Operand, extra: str = "") -> Operand:
        """Any function that gives a value."""
        return self.put(element, lanes, self._call(name, vector_type(element, lanes), operands, extra))

    def call_void(self, name: str, *operands: Operand, extra: str = "") -> None:
        self.do(self._call(name, "void", operands, extra))

    def _call(self, name: str, result: str, operands: Sequence[Operand], extra: str) -> str:
        if name not in self._functions:
            types = ", ".join([o.type for o in operands] + [e.split()[0] for e in extra.split(",") if e])
            self._declared.setdefault(name, f"declare {result} @{name}({types})")
        arguments = ", ".join([o.typed for o in operands] + ([extra] if extra else []))
        return f"call {result} @{name}({arguments})"

    def masked_load(self, element: str, lanes: int, pointer: Operand, mask: Operand, align: int) -> Operand:
        """Lanes whose mask is off touch no memory and give 0; `pointer` is one (of a run of fields) or one per lane."""
        type, how = vector_type(element, lanes), "gather" if pointer.lanes else "load"
        name = f"llvm.masked.{how}.{_suffix(element, lanes)}.{_suffix('ptr', pointer.lanes)}"
        self._declared.setdefault(name, f"declare {type} @{name}({pointer.type}, {mask.type}, {type})")
        arguments = f"{pointer.type} align {align} {pointer.text}, {mask.typed}, {type} zeroinitializer"
        return self.put(element, lanes, f"call {type} @{name}({arguments})")

    def masked_store(self, value: Operand, pointer: Operand, mask: Operand, align: int) -> None:
        """Stores from lanes whose mask is on; of lanes with equal pointers the last one wins."""
        how = "scatter" if pointer.lanes else "store"
        name = f"llvm.masked.{how}.{_suffix(value.element, value.lanes)}.{_suffix('ptr', pointer.lanes)}"
        self._declared.setdefault(name, f"declare void @{name}({value.type}, {pointer.type}, {mask.type})")
        self.do(f"call void @{name}({value.typed}, {pointer.type} align {align} {pointer.text}, {mask.typed})")

    # The module

    def declare(self, name: str, text: str) -> None:
        self._declared.setdefault(name, text)

    def constant_data(self, data: bytes) -> Operand:
        """A pointer to constant bytes (64-byte aligned), shared between equal ones."""
        if data not in self._constants:
            text = "".join(f"\\{byte:02X}" for byte in data) if any(data) else ""
            value = f'c"{text}"' if text else "zeroinitializer"
            name = f"@data{len(self._globals)}"
            self._globals[name] = f"{name} = private unnamed_addr constant [{len(data)} x i8] {value}, align 64"
            self._constants[data] = name
        return Operand("ptr", 0, self._constants[data])

    def function(self, name: str, make: Callable[[], str]) -> None:
        """A further function of the module, written once."""
        if name not in self._functions:
            self._functions[name] = make()

    def module(self, *functions: str) -> str:
        parts = [*self._globals.values(), *self._declared.values(), *self._functions.values(), *functions]
        return "\n".join(parts) + "\n"


def _suffix(element: str, lanes: int) -> str:
    name = _MANGLED.get(element, element)
    return f"v{lanes}{name}" if lanes else name
