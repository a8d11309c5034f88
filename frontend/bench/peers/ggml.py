"""ggml: products of its block types, as llama.cpp runs them.

The types have blocks, scales and offsets of their own, so the weights are quantised again by ggml, and the product is
checked against the numbers that ggml reads back.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ....vm.dtypes import DType, Int
from ..problem import Loaded, Problem, Weights, against
from ..timing import Contender, Facts
from .ggml_library import Ggml, GgmlError, find_ggml

F32 = 0
"""ggml's number of the type f32."""

BY_BITS: Mapping[int, Mapping[str, int]] = MappingProxyType(
    {
        1: {"q1_0": 41},
        2: {"q2_K": 10},
        3: {"q3_K": 11},
        4: {"q4_0": 2, "q4_K": 12},
        5: {"q5_K": 13},
        6: {"q6_K": 14},
        8: {"q8_0": 8},
    }
)
"""Types for integers, by bits, with ggml's numbers of them."""

BY_NAME: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {"ternary": {"tq2_0": 35}, "iq4nl": {"iq4_nl": 20}, "f4e2m1": {"mxfp4": 39}}
)
"""Types for other element types."""


def kinds_for(element: DType) -> Mapping[str, int]:
    """The block types that stand beside an element type."""
    if isinstance(element, Int):
        return BY_BITS.get(element.bits, {})
    return BY_NAME.get(element.name, {})


def load_ggml(weights: Weights, threads: int) -> Iterator[Loaded]:
    """One contender for each block type of the same width."""
    kinds = kinds_for(weights.q.format.element)
    if not kinds:
        return
    ggml = find_ggml()
    for name, kind in kinds.items():
        if weights.q.shape[1] % ggml.handle("ggml_blck_size", kind) == 0:
            yield _load(ggml, weights, name, kind, threads)


def _load(ggml: Ggml, weights: Weights, name: str, kind: int, threads: int) -> Loaded:
    n, k = weights.q.shape
    data = quantised(ggml, weights.q.dequantize(), kind, threads)
    values = decoded(ggml, data, kind, (n, k))
    facts = Facts(f"ggml {ggml.instructions}".strip(), name, weights.q.format.element.bits, "int8", data.nbytes)
    store = _Store.of(ggml, data, kind, (n, k), weights.copies(data.nbytes), threads)

    def start(problem: Problem) -> Contender:
        run = _Run.of(store, problem.x)
        own = against(problem.x, values)
        errors = []
        for turn in (0, len(store.tensors) - 1):
            run.result[...] = np.nan
            run(turn)
            errors.append(own.checked(facts, run.result))
        turns = count()
        return Contender(facts, max(errors), 1, lambda: run(next(turns) % len(store.tensors)))

    return Loaded(facts, start)


def quantised(ggml: Ggml, values: npt.NDArray[np.float32], kind: int, threads: int) -> npt.NDArray[np.uint8]:
    """The values [N, K] as rows of blocks, a part of the rows by each thread."""
    n, k = values.shape
    values = np.ascontiguousarray(values)
    out = np.empty((n, ggml.handle("ggml_row_size", kind, k)), np.uint8)

    def rows(part: npt.NDArray[np.intp]) -> None:
        where = (kind, values.ctypes.data, out.ctypes.data, int(part[0]) * k, len(part), k, None)
        ggml.handle("ggml_quantize_chunk", *where)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(rows, np.array_split(np.arange(n), min(n, threads))))
    return out


def decoded(ggml: Ggml, data: npt.NDArray[np.uint8], kind: int, sides: tuple[int, int]) -> npt.NDArray[np.float32]:
    """What ggml reads in the blocks."""
    values = np.empty(sides, np.float32)
    ggml.to_float(kind, data.ctypes.data, values.ctypes.data, values.size)
    return values


@dataclass(frozen=True, eq=False)
class _Store:
    """Copies of the weights as tensors of ggml, in the memory that suits their type; freed with this object."""

    ggml: Ggml
    backend: int
    tensors: tuple[int, ...]
    rows: int

    @staticmethod
    def of(
        ggml: Ggml, data: npt.NDArray[np.uint8], kind: int, sides: tuple[int, int], copies: int, threads: int
    ) -> _Store:
        backend = ggml.handle("ggml_backend_cpu_init")
        ggml.call("ggml_backend_cpu_set_n_threads", backend, threads)
        context = ggml.context((copies + 1) * ggml.handle("ggml_tensor_overhead"))
        n, k = sides
        tensors = tuple(ggml.handle("ggml_new_tensor_2d", context, kind, k, n) for _ in range(copies))
        place = _best_place(ggml, backend, kind, sides)
        buffer = ggml.handle("ggml_backend_alloc_ctx_tensors_from_buft", context, place)
        _ask_for_huge_pages(ggml, buffer)
        for tensor in tensors:
            ggml.call("ggml_backend_tensor_set", tensor, data.ctypes.data, 0, data.nbytes)
        store = _Store(ggml, backend, tensors, n)
        weakref.finalize(store, _free, ggml, buffer, context, backend)
        return store


def _free(ggml: Ggml, buffer: int, context: int, backend: int | None) -> None:
    ggml.call("ggml_backend_buffer_free", buffer)
    ggml.call("ggml_free", context)
    if backend is not None:
        ggml.call("ggml_backend_free", backend)


def _best_place(ggml: Ggml, backend: int, kind: int, sides: tuple[int, int]) -> int:
    """The kind of memory whose order of weights has a product of this type, else the usual one."""
    n, k = sides
    device = ggml.handle("ggml_backend_get_device", backend)
    for place in ggml.special_places(backend):
        context = ggml.context(4 * ggml.handle("ggml_tensor_overhead"))
        w = ggml.handle("ggml_new_tensor_2d", context, kind, k, n)
        buffer = ggml.handle("ggml_backend_alloc_ctx_tensors_from_buft", context, place)
        x = ggml.handle("ggml_new_tensor_2d", context, F32, k, 1)
        fits = ggml.handle("ggml_backend_dev_supports_op", device, ggml.handle("ggml_mul_mat", context, w, x))
        _free(ggml, buffer, context, None)
        if fits:
            return place
    return ggml.handle("ggml_backend_get_default_buffer_type", backend)


def _ask_for_huge_pages(ggml: Ggml, buffer: int) -> None:
    """The same pages that our weights have, where the system gives them."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    base = ggml.handle("ggml_backend_buffer_get_base", buffer)
    size = ggml.handle("ggml_backend_buffer_get_size", buffer)
    start = -(-base // mmap.PAGESIZE) * mmap.PAGESIZE
    with contextlib.suppress(OSError, AttributeError):  # small pages serve as well, only slower
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        madvise(start, max(0, base + size - start), mmap.MADV_HUGEPAGE)


@dataclass(frozen=True, eq=False)
class _Run:
    """The products of one x by each copy of the weights: `run(copy)` writes `result` [M, N]."""

    store: _Store
    graphs: tuple[int, ...]
    result: npt.NDArray[np.float32]

    @staticmethod
    def of(store: _Store, x: npt.NDArray[np.float32]) -> _Run:
        ggml, copies, (m, k) = store.ggml, len(store.tensors), x.shape
        few = 8  # nodes and leaves of one graph
        graph_bytes = ggml.handle("ggml_graph_overhead_custom", few, False)
        context = ggml.context((copies + 3) * (2 * ggml.handle("ggml_tensor_overhead") + graph_bytes))
        x_tensor = ggml.handle("ggml_new_tensor_2d", context, F32, k, m)
        y_tensor = ggml.handle("ggml_new_tensor_2d", context, F32, store.rows, m)
        place = ggml.handle("ggml_backend_get_default_buffer_type", store.backend)
        buffer = ggml.handle("ggml_backend_alloc_ctx_tensors_from_buft", context, place)
        ggml.call("ggml_backend_tensor_set", x_tensor, x.ctypes.data, 0, x.nbytes)
        address = ggml.handle("ggml_get_data", y_tensor)
        graphs = []
        for w in store.tensors:
            product = ggml.handle("ggml_mul_mat", context, w, x_tensor)
            if ggml.handle("ggml_backend_tensor_alloc", buffer, product, address):
                raise GgmlError("a result cannot be placed where the others lie")
            graphs.append(ggml.handle("ggml_new_graph_custom", context, few, False))
            ggml.call("ggml_build_forward_expand", graphs[-1], product)
        view = (ctypes.c_float * (m * store.rows)).from_address(address)
        run = _Run(store, tuple(graphs), np.frombuffer(view, np.float32).reshape(m, store.rows))
        weakref.finalize(run, partial(_free, ggml, buffer, context, None))
        return run

    def __call__(self, copy: int) -> None:
        if self.store.ggml.handle("ggml_backend_graph_compute", self.store.backend, self.graphs[copy]):
            raise GgmlError("a product failed")
