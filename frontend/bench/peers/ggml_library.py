"""The functions of ggml that one product needs, called in its shared libraries as a package has installed them.

Signatures are those of ggml.h, ggml-alloc.h, ggml-backend.h and ggml-cpu.h, which have been the same for years.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

PLACES = (("llama_cpp", "lib"), ("libggml", "lib64"), ("libggml", "lib"))
"""Packages and their folders that hold ggml; the first usually compiles it for the machine, so it goes first."""

SUFFIXES = (".so", ".dylib")


_SILENT = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)(lambda level, text, data: None)
"""Takes the lines that ggml would write on stderr; it says everything that matters by its results."""


class GgmlError(RuntimeError):
    """ggml is not where its package should have it, or refused to do something."""


class _Params(ctypes.Structure):
    _fields_ = (("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool))


class _Traits(ctypes.Structure):
    _fields_ = (
        ("name", c_char_p), ("block", c_int64), ("interleave", c_int64), ("bytes", c_size_t), ("quantised", c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, c_void_p, POINTER(c_float), c_int64)), ("from_float", c_void_p),
    )  # fmt: skip


_BASE: dict[str, tuple[type | None, Sequence[type]]] = {
    "ggml_init": (c_void_p, (_Params,)),
    "ggml_free": (None, (c_void_p,)),
    "ggml_log_set": (None, (c_void_p, c_void_p)),
    "ggml_tensor_overhead": (c_size_t, ()),
    "ggml_graph_overhead_custom": (c_size_t, (c_size_t, c_bool)),
    "ggml_row_size": (c_size_t, (c_int, c_int64)),
    "ggml_blck_size": (c_int64, (c_int,)),
    "ggml_new_tensor_2d": (c_void_p, (c_void_p, c_int, c_int64, c_int64)),
    "ggml_mul_mat": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "ggml_get_data": (c_void_p, (c_void_p,)),
    "ggml_new_graph_custom": (c_void_p, (c_void_p, c_size_t, c_bool)),
    "ggml_build_forward_expand": (None, (c_void_p, c_void_p)),
    "ggml_quantize_chunk": (c_size_t, (c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p)),
    "ggml_get_type_traits": (POINTER(_Traits), (c_int,)),
    "ggml_backend_alloc_ctx_tensors_from_buft": (c_void_p, (c_void_p, c_void_p)),
    "ggml_backend_tensor_alloc": (c_int, (c_void_p, c_void_p, c_void_p)),
    "ggml_backend_tensor_set": (None, (c_void_p, c_void_p, c_size_t, c_size_t)),
    "ggml_backend_buffer_get_base": (c_void_p, (c_void_p,)),
    "ggml_backend_buffer_get_size": (c_size_t, (c_void_p,)),
    "ggml_backend_buffer_free": (None, (c_void_p,)),
    "ggml_backend_graph_compute": (c_int, (c_void_p, c_void_p)),
    "ggml_backend_get_device": (c_void_p, (c_void_p,)),
    "ggml_backend_dev_backend_reg": (c_void_p, (c_void_p,)),
    "ggml_backend_dev_supports_op": (c_bool, (c_void_p, c_void_p)),
    "ggml_backend_get_default_buffer_type": (c_void_p, (c_void_p,)),
    "ggml_backend_reg_get_proc_address": (c_void_p, (c_void_p, c_char_p)),
    "ggml_backend_free": (None, (c_void_p,)),
}

_CPU: dict[str, tuple[type | None, Sequence[type]]] = {
    "ggml_backend_cpu_init": (c_void_p, ()),
    "ggml_backend_cpu_set_n_threads": (None, (c_void_p, c_int)),
    "ggml_cpu_has_avx512": (c_int, ()),
    "ggml_cpu_has_avx2": (c_int, ()),
}


class Ggml:
    """The libraries, their functions called by name."""

    def __init__(self, base: Path, cpu: Path) -> None:
        self._base = ctypes.CDLL(str(base), mode=ctypes.RTLD_GLOBAL)  # the other library asks for it by its name
        self._cpu = ctypes.CDLL(str(cpu))
        for library, functions in ((self._base, _BASE), (self._cpu, _CPU)):
            for name, (result, arguments) in functions.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, list(arguments)
        self.call("ggml_log_set", ctypes.cast(_SILENT, c_void_p), None)

    def handle(self, name: str, *arguments: object) -> int:
        """The pointer or number that a function returns; GgmlError when it is a null pointer."""
        library, known = (self._base, _BASE) if name in _BASE else (self._cpu, _CPU)
        found = getattr(library, name)(*arguments)
        if found is None and known[name][0] is c_void_p:
            raise GgmlError(f"{name} failed")
        return int(found or 0)

    def call(self, name: str, *arguments: object) -> None:
        """Call a function for what it does."""
        getattr(self._base if name in _BASE else self._cpu, name)(*arguments)

    def context(self, nbytes: int) -> int:
        """A context for that many bytes of descriptions; the numbers of its tensors lie elsewhere."""
        return self.handle("ggml_init", _Params(nbytes, None, True))

    def to_float(self, kind: int, data: int, values: int, size: int) -> None:
        """Decode `size` numbers of a type at one address to f32 at another."""
        traits = self._base.ggml_get_type_traits(kind)
        traits.contents.to_float(data, ctypes.cast(values, POINTER(c_float)), size)

    def special_places(self, backend: int) -> list[int]:
        """Kinds of memory in which weights are kept in an order that is faster to multiply, the best first."""
        device = self.handle("ggml_backend_get_device", backend)
        registry = self.handle("ggml_backend_dev_backend_reg", device)
        address = self._base.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
        if address is None:
            return []
        listed = ctypes.CFUNCTYPE(POINTER(c_void_p), c_void_p)(address)(device)
        places: list[int] = []
        while listed and (place := listed[len(places)]) is not None:
            places.append(place)
        return places

    @property
    def instructions(self) -> str:
        """The widest vectors that the library was compiled for, where that is known."""
        for name in ("avx512", "avx2"):
            if self.handle(f"ggml_cpu_has_{name}"):
                return name
        return ""


def find_ggml() -> Ggml:
    """The first installed ggml; GgmlError where packages are present but not their libraries."""
    for package, folder in PLACES:
        spec = importlib.util.find_spec(package)
        for root in () if spec is None else spec.submodule_search_locations or ():
            for suffix in SUFFIXES:
                base, cpu = (Path(root) / folder / f"libggml-{part}{suffix}" for part in ("base", "cpu"))
                if base.exists() and cpu.exists():
                    return Ggml(base, cpu)
    raise GgmlError("none of " + ", ".join(f"{package}/{folder}" for package, folder in PLACES) + " holds libggml-cpu")
