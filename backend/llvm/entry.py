"""The door into a kernel: the function that tvm-ffi calls, which reads, checks and passes on what the caller gave.

An entry is ``i32 entry(ptr self, ptr arguments, i32 count, ptr result)``. It checks every argument against the kernel's
signature, binds the sizes, fills the slots (see `signature.py`) and runs ``void body(ptr slots, i64 begin, i64 end)``
over all blocks on the pool. Whatever is wrong becomes a Python exception that names the argument, says what was
expected and what came, and the body does not run: TypeError for a wrong kind of thing or a wrong element type,
ValueError for wrong sizes, strides, devices or alignment. A failure that the body reports becomes a RuntimeError.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from ...vm.expr import Const, Expr, Var, bounds
from ..signature import ArrayArgument, ScalarArgument, Signature, element_name
from .build import Library
from .entry_code import EntryCode, literal
from .entry_ir import ENTRY_PRELUDE, ENTRY_SYMBOLS

if TYPE_CHECKING:
    import tvm_ffi

__all__ = ["ENTRY_PRELUDE", "ENTRY_SYMBOLS", "emit_entry", "make_function"]

_CPU, _PINNED = 1, 3  # DLPack's device types for memory that the CPU reads
_SIZE_LIMIT = 1 << 56


def emit_entry(signature: Signature, body: str = "body", symbol: str = "bw_entry") -> str:
    """LLVM IR text that defines the entry @symbol of a kernel whose body is @body.

    The module must define the body, and hold `ENTRY_PRELUDE` once however many entries it has.
    """
    code = EntryCode(symbol)
    slots = code.add(f"alloca [{signature.slot_count} x i64], align 8")
    _count(code, signature)
    tensors = [_argument(code, slots, index, argument) for index, argument in enumerate(signature.arguments)]
    for index, var in enumerate(signature.explicit, len(signature.arguments)):
        code.env[var] = _explicit(code, index, var)
    arrays = [(a, t) for a, t in zip(signature.arguments, tensors, strict=True) if isinstance(a, ArrayArgument)]
    for array, tensor in arrays:
        _bind(code, array, tensor)
    for var in signature.sizes:
        _facts(code, var)
    for array, tensor in arrays:
        _extents(code, array, tensor)
    for condition, message in signature.checks:
        code.require(code.add(f"icmp ne i64 {code.expr(condition)}, 0"), "ValueError", literal(message))
    for index, var in enumerate(signature.sizes, len(signature.arguments)):
        _store(code, slots, index, code.env[var])
    _run(code, signature, slots, body)
    return (
        f"{code.strings()}define i32 @{symbol}(ptr %self, ptr %arguments, i32 %count, ptr %result) {{\n"
        f"{code.body()}}}\n"
    )


def make_function(library: Library, symbol: str = "bw_entry") -> tvm_ffi.Function:
    """The entry as a function that Python and TVM can call; it keeps the loaded code alive."""
    module = importlib.import_module("tvm_ffi")  # late: this imports PyTorch where it is installed, which takes seconds
    make = module.Function.__from_extern_c__
    return cast("tvm_ffi.Function", make(library.address(symbol), keep_alive_object=library))


def _count(code: EntryCode, signature: Signature) -> None:
    names = signature.names
    given = code.add("sext i32 %count to i64")
    listed = f" ({literal(', '.join(names))})" if names else ""
    arguments = "1 argument" if len(names) == 1 else f"{len(names)} arguments"
    right = code.add(f"icmp eq i64 {given}, {len(names)}")
    code.require(right, "TypeError", f"expected {arguments}{listed}, got %lld", given)


def _any(code: EntryCode, index: int) -> str:
    return code.add(f"getelementptr %bw.any, ptr %arguments, i64 {index}")


def _store(code: EntryCode, slots: str, index: int, value: str) -> None:
    at = code.add(f"getelementptr i64, ptr {slots}, i64 {index}")
    code.do(f"store i64 {value}, ptr {at}")


def _argument(code: EntryCode, slots: str, index: int, argument: ArrayArgument | ScalarArgument) -> str:
    """Read one argument into its slot; the DLTensor of an array, else an empty name."""
    given = _any(code, index)
    if isinstance(argument, ScalarArgument):
        _store(code, slots, index, _scalar(code, given, argument))
        return ""
    tensor = code.add(f"call ptr @bw.tensor_of(ptr {given})")
    _kind(code, argument, tensor)
    data = code.field(tensor, "%bw.tensor", 0, "i64")
    address = code.add(f"add i64 {data}, {code.field(tensor, '%bw.tensor', 7, 'i64')}")
    elements = code.add(f"call i64 @bw.elements(ptr {tensor})")
    _place(code, argument, tensor, address, elements)
    _store(code, slots, index, address)
    return tensor


def _scalar(code: EntryCode, given: str, argument: ScalarArgument) -> str:
    kind = code.field(given, "%bw.any", 0, "i32")
    value = code.field(given, "%bw.any", 2, "i64")
    whole = code.add(
        f"or i1 {code.add(f'icmp eq i32 {kind}, 1')}, {code.add(f'icmp eq i32 {kind}, 2')}",
    )
    name = literal(argument.name)
    if argument.kind == "int":
        code.require(whole, "TypeError", f"{name}: expected an integer; pass a Python int")
        return value
    real = code.add(f"icmp eq i32 {kind}, 3")
    code.require(code.add(f"or i1 {whole}, {real}"), "TypeError", f"{name}: expected a number; pass a Python float")
    bits = code.add(f"bitcast double {code.add(f'sitofp i64 {value} to double')} to i64")
    return code.add(f"select i1 {real}, i64 {value}, i64 {bits}")


def _explicit(code: EntryCode, index: int, var: Var) -> str:
    given = _any(code, index)
    whole = code.add(f"icmp eq i32 {code.field(given, '%bw.any', 0, 'i32')}, 1")
    name = literal(var.name)
    code.require(whole, "TypeError", f"{name}: expected a size; pass a Python int")
    value = code.field(given, "%bw.any", 2, "i64")
    fits = code.add(f"icmp ult i64 {value}, {_SIZE_LIMIT}")
    code.require(fits, "ValueError", f"{name}: a size is 0 or more (and less than 2**56), got %lld", value)
    return value


def _kind(code: EntryCode, argument: ArrayArgument, tensor: str) -> None:
    """The argument is a tensor in the CPU's memory, with the right element type and rank."""
    expected = literal(f"{argument.name}: expected {argument}")
    code.require(
        code.add(f"icmp ne ptr {tensor}, null"),
        "TypeError",
        f"{expected}, got something that is no tensor; pass a NumPy array, a PyTorch tensor or another DLPack tensor",
    )
    device = code.field(tensor, "%bw.tensor", 1, "i32")
    near = [code.add(f"icmp eq i32 {device}, {number}") for number in (_CPU, _PINNED)]
    code.require(
        code.add(f"or i1 {near[0]}, {near[1]}"),
        "ValueError",
        f"{expected} in the CPU's memory, got a tensor on another device (DLPack type %lld); copy it to the CPU first",
        code.add(f"sext i32 {device} to i64"),
    )
    _element_type(code, argument, tensor, expected)
    if not argument.flat:
        rank = code.add(f"sext i32 {code.field(tensor, '%bw.tensor', 3, 'i32')} to i64")
        right = code.add(f"icmp eq i64 {rank}, {len(argument.dims)}")
        hint = "reshape it" if len(argument.dims) else "pass an array without dimensions"
        dimensions = "1 dimension" if len(argument.dims) == 1 else f"{len(argument.dims)} dimensions"
        code.require(right, "ValueError", f"{expected} with {dimensions}, got %lld; {hint}", rank)


def _element_type(code: EntryCode, argument: ArrayArgument, tensor: str, expected: str) -> None:
    if not argument.codes:
        return
    word = code.field(tensor, "%bw.tensor", 4, "i32")  # code, bits and lanes in one word; lanes must be 1
    matches = [code.add(f"icmp eq i32 {word}, {number | bits << 8 | 1 << 16}") for number, bits in argument.codes]
    right = matches[0]
    for match in matches[1:]:
        right = code.add(f"or i1 {right}, {match}")
    number = code.add(f"zext i32 {code.add(f'and i32 {word}, 255')} to i64")
    width = code.add(f"lshr i32 {word}, 8")
    bits = code.add(f"zext i32 {code.add(f'and i32 {width}, 255')} to i64")
    name = element_name(*argument.codes[0])
    message = (
        f"{expected}, got elements of %lld bits (DLPack type code %lld); convert it to {name}, or view it as {name}"
    )
    code.require(right, "TypeError", message, bits, number)


def _place(code: EntryCode, argument: ArrayArgument, tensor: str, address: str, elements: str) -> None:
    """The elements lie in row-major order without gaps, and where the kernel can load them from."""
    expected = literal(f"{argument.name}: expected {argument}")
    small = code.add(f"icmp sge i64 {elements}, 0")
    code.require(small, "ValueError", f"{expected}, got a tensor that is too large for any memory")
    ordered = code.add(f"call i1 @bw.contiguous(ptr {tensor}, i64 {elements})")
    hint = "copy it with numpy.ascontiguousarray(...) or .contiguous()"
    code.require(ordered, "ValueError", f"{expected} in row-major order without gaps, got other strides; {hint}")
    if argument.align > 1:
        rest = code.add(f"and i64 {address}, {argument.align - 1}")
        empty = code.add(f"icmp eq i64 {elements}, 0")
        right = code.add(f"or i1 {empty}, {code.add(f'icmp eq i64 {rest}, 0')}")
        message = (
            f"{expected} at an address that is a multiple of {argument.align} bytes, got one that is %lld beyond; "
            "copy it into a buffer that is so aligned"
        )
        code.require(right, "ValueError", message, rest)


def _dim(code: EntryCode, tensor: str, index: int) -> str:
    shape = code.field(tensor, "%bw.tensor", 5, "ptr")
    at = code.add(f"getelementptr i64, ptr {shape}, i64 {index}")
    return code.add(f"load i64, ptr {at}")


def _bind(code: EntryCode, array: ArrayArgument, tensor: str) -> None:
    for index, dim in enumerate(array.dims):
        if isinstance(dim, Var) and dim not in code.env:
            code.env[dim] = _dim(code, tensor, index)


def _facts(code: EntryCode, var: Var) -> None:
    """What the kernel was compiled to rely on: the range and the divisor of a size."""
    value, name = code.env[var], literal(var.name)
    if var.low is not None and var.low > 0:
        right = code.add(f"icmp sge i64 {value}, {var.low}")
        code.require(right, "ValueError", f"{name} is %lld, but must be at least {var.low}", value)
    if var.high is not None:
        right = code.add(f"icmp sle i64 {value}, {var.high}")
        code.require(right, "ValueError", f"{name} is %lld, but must be at most {var.high}", value)
    if var.multiple > 1:
        rest = code.add(f"urem i64 {value}, {var.multiple}")
        right = code.add(f"icmp eq i64 {rest}, 0")
        code.require(right, "ValueError", f"{name} is %lld, but must be a multiple of {var.multiple}", value)


def _extents(code: EntryCode, array: ArrayArgument, tensor: str) -> None:
    """Every dimension has its size; a flat buffer is large enough."""
    expected = literal(f"{array.name}: expected {array}")
    for index, dim in enumerate(array.dims):
        given, wanted = _dim(code, tensor, index), code.expr(dim)
        right = code.add(f"icmp eq i64 {given}, {wanted}")
        equal = f"{dim}" if isinstance(dim, Const) else literal(f"{dim}") + " = %lld"
        values = (given,) if isinstance(dim, Const) else (wanted, given)
        code.require(right, "ValueError", f"{expected}: dimension {index} must be {equal}, got %lld", *values)
    if array.flat:
        elements = code.add(f"call i64 @bw.elements(ptr {tensor})")
        word = code.field(tensor, "%bw.tensor", 4, "i32")
        lanes = code.add(f"lshr i32 {word}, 16")
        width = code.add(f"and i32 {code.add(f'lshr i32 {word}, 8')}, 255")
        bits = code.add(f"zext i32 {code.add(f'mul i32 {lanes}, {width}')} to i64")
        total = code.add(f"mul i64 {elements}, {bits}")
        held, wanted = code.add(f"lshr i64 {total}, 3"), code.expr(array.nbytes)
        right = code.add(f"icmp sge i64 {held}, {wanted}")
        code.require(right, "ValueError", f"{expected} of at least %lld bytes, got %lld", wanted, held)


def _run(code: EntryCode, signature: Signature, slots: str, body: str) -> None:
    """Run the body over all blocks, then see whether it failed."""
    failure = code.add(f"getelementptr i64, ptr {slots}, i64 {signature.slot_count - 1}")
    code.do(f"store i64 0, ptr {failure}")
    code.do(f"call void @bw_parallel(ptr @{body}, ptr {slots}, i64 {_blocks(code, signature.grid)})")
    number = code.add(f"load i64, ptr {failure}")
    for index, text in enumerate(signature.failures, 1):
        code.require(code.add(f"icmp ne i64 {number}, {index}"), "RuntimeError", literal(text))
    fine = code.add(f"icmp eq i64 {number}, 0")
    code.require(fine, "RuntimeError", "the kernel stopped with failure number %lld, which has no text", number)
    code.do("ret i32 0")


def _blocks(code: EntryCode, grid: tuple[Expr, ...]) -> str:
    """How many blocks; none where an axis has none."""
    product = "1"
    for axis in grid:
        value = code.expr(axis)
        if (low := bounds(axis)[0]) is None or low < 0:
            none = code.add(f"icmp slt i64 {value}, 0")
            value = code.add(f"select i1 {none}, i64 0, i64 {value}")
        product = code.add(f"mul i64 {product}, {value}")
    return product
