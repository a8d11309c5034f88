"""What a GPU kernel's code costs, counted in its machine code: no GPU is needed, and there is no noise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..cuda.flow import SassLoop, basic_blocks, loops
from ..cuda.resources import resources
from ..cuda.sass import SassInstruction, disassemble, read_instructions
from ..lane.ir import Atom, Constant, Function, lets
from ..pipeline import Compiled
from .gpu_instructions import GPU_KINDS, global_load_bits, gpu_kind, is_uniform, products
from .work import Work, work_of

__all__ = ["gpu_report"]

_LEFT = 4  # operands of a product of matrices that are its left factor


def gpu_report(compiled: Compiled, cubin: bytes) -> dict[str, int | float]:
    """Figures of a kernel whose machine code is `cubin`.

    cubin_bytes             the whole file
    lanes                   threads of a block
    shared_memory_bytes     of a block
    registers               32-bit registers of a lane
    local_memory_bytes      of a lane: spilled registers, and arrays that are indexed by what is known only at run time
    spills, reloads         stores to local memory and loads from it, in the whole kernel
    bytes_per_weight        what a weight takes up in memory
    issue_slots_per_weight  of the main loop, below

    The last two are there for kernels that read a packed array.  The main loop is the one that multiplies most, or
    loads most from global memory where none multiplies matrices, without the loops within it.  Where all matrices are
    multiplied outside of loops (one with few iterations is written out), there is none.  For one iteration:

    main.weights            weights that the block decodes
    main.multiply_adds      products that the block adds up, padding included; of matrices, if there are any
    main.spills, main.reloads       as above
    main.conversions, main.i2f      instructions that change a number's type; those of them from integer to float
    main.uniform            instructions that work once for a warp, counted with the others below
    main.load_128 ...       loads from global memory, copies to shared memory among them, of so many bits by each lane
    main.issue_slots        instructions of each warp, each of which takes a slot; and under each name of
                            `gpu_instructions.GPU_KINDS` (`main.tensor` ...) those of that kind
    main.issue_slots_per_weight, main.tensor_per_weight ...   instructions of a lane for each weight that it decodes:
                            instructions x lanes / weights of the block
    """
    assert compiled.function is not None
    instructions = read_instructions(disassemble(cubin))
    taken = resources(cubin)
    lanes = compiled.function.lanes
    figures: dict[str, int | float] = {
        "cubin_bytes": len(cubin),
        "lanes": lanes,
        "shared_memory_bytes": compiled.shared_bytes,
        "registers": taken.registers,
        "local_memory_bytes": taken.local_bytes,
        "spills": _count(instructions, "STL"),
        "reloads": _count(instructions, "LDL"),
    }
    works = work_of(compiled.program)
    weights = sum(w.weights for w in works)
    if weights:
        figures["bytes_per_weight"] = sum(w.weight_bits for w in works) / 8 / weights
    main = max(loops(basic_blocks(instructions)), key=_importance, default=None)
    if main is None or (_tensor(instructions) and not _tensor(main.instructions)):
        return figures
    work = max(works, key=lambda w: (w.products, w.weights))
    loop = _figures(main, replace(work, products=round(work.products * _with_sums(compiled.function))), lanes)
    if "issue_slots_per_weight" in loop:
        figures["issue_slots_per_weight"] = loop["issue_slots_per_weight"]
    return figures | {f"main.{key}": figure for key, figure in loop.items()}


def _with_sums(function: Function) -> float:
    """How many times as many products of matrices there are as without those with constants, which are sums."""
    found = list(lets(function.body))
    constants = {r for s in found if isinstance(s.op, Constant) for r in s.results}
    made = [s.op.operands[:_LEFT] for s in found if isinstance(s.op, Atom) and s.op.name.startswith("mma_")]
    return len(made) / max(1, sum(not constants.issuperset(left) for left in made)) if made else 1.0


def _importance(loop: SassLoop) -> tuple[float, int, int]:
    return _tensor(loop.instructions), sum(global_load_bits(i) for i in loop.instructions), len(loop.instructions)


def _tensor(instructions: tuple[SassInstruction, ...]) -> float:
    """Products that matrix instructions add up."""
    return sum(products(i) for i in instructions if gpu_kind(i) == "tensor")


def _count(instructions: tuple[SassInstruction, ...], name: str) -> int:
    return sum(i.name == name for i in instructions)


def _figures(loop: SassLoop, work: Work, lanes: int) -> dict[str, int | float]:
    own = loop.instructions
    multiplied = round(lanes * (_tensor(own) or sum(products(i) for i in own)))
    copied = [i for i in own if i.name == "LDGSTS"]  # weights, where there is a ring; and then nothing but tiles
    loaded = lanes * sum(global_load_bits(i) for i in copied or own) / 8
    weights = work.weights * _copies(multiplied, loaded, work)
    kinds = Counter(gpu_kind(i) for i in own)
    widths = Counter(filter(None, (global_load_bits(i) for i in own)))
    counts = {"issue_slots": len(own)} | {kind: kinds[kind] for kind in GPU_KINDS}
    figures: dict[str, int | float] = {
        "weights": weights,
        "multiply_adds": multiplied,
        "spills": _count(own, "STL"),
        "reloads": _count(own, "LDL"),
        "conversions": kinds["convert"],
        "i2f": sum(i.name.removeprefix("U") in ("I2F", "I2FP") for i in own),
        "uniform": sum(map(is_uniform, own)),
        **{f"load_{bits}": widths[bits] for bits in sorted(widths, reverse=True)},
        **counts,
    }
    if weights:
        figures |= {f"{name}_per_weight": count * lanes / weights for name, count in counts.items()}
    return figures


def _copies(multiplied: float, loaded: float, work: Work) -> int:
    """How many iterations of the program's loop one of the machine code's is: it may be written out several times.

    Padding is multiplied too, and more than weights is loaded, so this rounds down.
    """
    pairs = ((multiplied, work.products), (loaded, work.loads))
    return max(1, int(min((made / wanted for made, wanted in pairs if made and wanted), default=1.0)))
