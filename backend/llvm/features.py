"""Which instruction sets a named processor has, asked of LLVM itself.

LLVM's Python bindings tell the features of the host only. Its inliner knows them for every processor: a function may be
inlined only where the caller has every feature that the callee was compiled for. So one caller compiled for the
processor calls one tiny function per feature; those that disappear into it name the features that it has.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import llvmlite.binding as llvm

from ..cache import default_cache
from ..exclusive import exclusive
from .feature_names import feature_names, is_arm

__all__ = ["host_features", "named_features", "start_llvm"]


@exclusive
@functools.cache
def start_llvm() -> None:
    """Make LLVM's code generators available, those of other architectures too; takes 2 ms, later calls nothing."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@exclusive
@functools.cache
def host_features() -> frozenset[str]:
    """The features of the processor that runs this process, by LLVM's names."""
    present = frozenset(name for name, held in llvm.get_host_cpu_features().items() if held)
    return present & feature_names(llvm.get_process_triple())


@exclusive
@functools.cache
def named_features(cpu: str, triple: str) -> frozenset[str]:
    """The features of the processor that LLVM calls `cpu`, of the triple's architecture.

    To ask takes 25 ms, so the answer is kept on disk.
    """
    cache = default_cache()
    key = cache.key("features", cpu, triple)
    found = cache.get(key)
    if found is None:
        found = " ".join(sorted(_asked(cpu, triple))).encode()
        cache.put(key, found)
    return frozenset(found.decode().split())


def _asked(cpu: str, triple: str) -> frozenset[str]:
    start_llvm()
    names = sorted(feature_names(triple))
    module = llvm.parse_assembly(_probe(cpu, names, is_arm(triple)))
    module.triple = triple
    machine = llvm.Target.from_triple(triple).create_target_machine()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.inlining_threshold = 1_000_000
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    inlined = re.findall(r"store volatile i32 (\d+)", str(module.get_function("processor")))
    return frozenset(names[int(index)] for index in inlined)


def _probe(cpu: str, names: Sequence[str], arm: bool) -> str:
    """The module whose function @processor calls one function per feature; each stores its own number.

    On ARM the inliner compares hints for scheduling too, so all are tuned for the processor, and LLVM's generic
    processor has the trace unit of a late one (trbe), which is taken away.
    """
    oldest, without = ("generic", "-trbe,") if arm else ("x86-64", "")
    tuned = f'"tune-cpu"="{cpu}"'
    lines = ["@sink = global i32 0"]
    for index, name in enumerate(names):
        lines += [
            f"define internal void @f{index}() #{index} {{",
            f"  store volatile i32 {index}, ptr @sink",
            "  ret void",
            "}",
            f'attributes #{index} = {{ "target-cpu"="{oldest}" {tuned} "target-features"="{without}+{name}" }}',
        ]
    lines.append(f"define void @processor() #{len(names)} {{")
    lines += [f"  call void @f{index}()" for index in range(len(names))]
    lines += ["  ret void", "}", f'attributes #{len(names)} = {{ "target-cpu"="{cpu}" {tuned} }}']
    return "\n".join(lines)
