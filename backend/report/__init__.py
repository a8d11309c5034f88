"""What a kernel's code costs, counted in the assembly: no timing, so no noise.

Two loops decide how fast a kernel runs: the one that reads and decodes packed weights, and the one that multiplies.
They are found by what they do: the program tells what an iteration of each of its loops reads and multiplies, the
assembly which of its loops multiplies most, and which of those beside that one loads most. Often one loop does both.
"""

from __future__ import annotations

from ..llvm.build import assembly
from ..pipeline import Compiled
from .gpu import gpu_report
from .instructions import KINDS
from .loops import Body, Loop, read_body
from .text import describe
from .work import Work, work_of

__all__ = ["describe", "report"]


def report(compiled: Compiled, code: bytes) -> dict[str, int | float]:
    """Figures of a kernel whose object is `code`; of a GPU's kernel those of `gpu.gpu_report`.

    object_bytes                   machine code and constants
    lanes, shared_memory_bytes     of one block
    vector_registers               distinct vector registers that the body names
    spills, reloads                in the whole body: vector registers saved to the stack, and taken from there
    bytes_per_weight               what a weight takes up in memory
    instructions_per_weight        of all loops below, together

    The last two are there for kernels that read a packed array. Then come the loops, each without the loops within it:
    `main` decodes and multiplies, or is the longest loop of a kernel that does neither; where decoding and multiplying
    are two loops, they are `decode` and `product`. For each (`main.weights` and so on), and for one iteration:

    weights                        weights that are decoded, or multiplied with (each by all rows at hand)
    multiply_adds                  products that are added up
    vector_registers, spills, reloads   as above, of the loop
    instructions                   all of them; and under each name of `instructions.KINDS`, those of that kind
    instructions_per_weight, load_per_weight ...   the same for each weight, where there are weights
    """
    if compiled.target.kind == "cuda":
        return gpu_report(compiled, code)
    assert compiled.function is not None
    text = assembly(compiled.ir, compiled.target, comments=True)
    body = read_body(text, arm=not compiled.target.triple.startswith("x86"))
    works = work_of(compiled.program)
    figures: dict[str, int | float] = {
        "object_bytes": len(code),
        "lanes": compiled.function.lanes,
        "shared_memory_bytes": compiled.shared_bytes,
        "vector_registers": body.whole.registers,
        "spills": body.whole.saves,
        "reloads": body.whole.reloads,
    }
    loops = {name: _figures(loop, work) for name, loop, work in _loops(body, works)}
    weights = sum(w.weights for w in works)
    if weights:
        figures["bytes_per_weight"] = sum(w.weight_bits for w in works) / 8 / weights
        figures["instructions_per_weight"] = sum(f.get("instructions_per_weight", 0) for f in loops.values())
    return figures | {f"{name}.{key}": figure for name, found in loops.items() for key, figure in found.items()}


def _loops(body: Body, works: tuple[Work, ...]) -> list[tuple[str, Loop, Work]]:
    """The loops that decode and multiply, with what the program's loops do; else the longest one."""
    if not body.loops:
        return []
    product = max(works, key=lambda w: w.products)
    decode = max(works, key=lambda w: w.weights)
    if not product.products and not decode.weights:
        return [("main", max(body.loops, key=lambda x: len(x.instructions)), Work())]
    if not product.products:
        return [("main", max(body.loops, key=lambda x: x.loads), decode)]
    multiplying = max(body.loops, key=lambda x: (x.multiplies, len(x.instructions)))
    # A loop around the product (over rows, say) may load more than the one that decodes, which stands beside it.
    # So may a copy of the product, made for the first pass.
    others = [x for x in body.loops if x.multiplies < multiplying.multiplies and x.label not in multiplying.around]
    if product.weights or not decode.weights or not others:
        return [("main", multiplying, product)]
    return [("decode", max(others, key=lambda x: x.loads), decode), ("product", multiplying, product)]


def _figures(loop: Loop, work: Work) -> dict[str, int | float]:
    weights = (work.weights or work.factors) * _copies(loop, work)
    counts: dict[str, int] = {"instructions": len(loop.instructions)} | {kind: loop.kinds[kind] for kind in KINDS}
    figures: dict[str, int | float] = {
        "weights": weights,
        "multiply_adds": loop.multiplies,
        "vector_registers": loop.registers,
        "spills": loop.saves,
        "reloads": loop.reloads,
        **counts,
    }
    if weights:
        figures |= {f"{name}_per_weight": count / weights for name, count in counts.items()}
    return figures


def _copies(loop: Loop, work: Work) -> int:
    """How many iterations of the program's loop one of the assembly's loop is.

    LLVM may unroll.  Products may take several instructions each, and loads may be made twice, so the lesser counts.
    """
    pairs = ((loop.multiplies, work.products), (loop.loads, work.loads))
    return max(1, round(min((made / wanted for made, wanted in pairs if made and wanted), default=1.0)))
