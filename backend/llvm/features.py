"""Which instruction sets a named processor has, asked of LLVM itself.

LLVM's Python bindings tell the features of the host only. Its inliner knows them for every processor: a function may be
inlined only where the caller has every feature that the callee was compiled for. So one caller compiled for the
processor calls one tiny function per feature; those that disappear into it name the features that it has.
"""

from __future__ import annotations

import functools
import re

import llvmlite.binding as llvm

from ..cache import default_cache

__all__ = ["host_features", "named_features", "start_llvm"]

# Features that the code generator never uses unasked. A virtual machine often masks them, and code for a processor that
# has them runs there all the same, so they say nothing about where code runs. The inliner does not look at cx16 and
# sahf, so nothing can be learnt of them.
_SYSTEM_NAMES = """
cldemote clwb clflushopt clzero cx16 enqcmd fsgsbase hreset invpcid kl lwp movdir64b movdiri mwaitx pconfig pku
prefetchi prfchw ptwrite rdpid rdpru rdrnd rdseed rtm sahf serialize sgx shstk tsxldtrk uintr usermsr waitpkg
wbnoinvd widekl xsave xsavec xsaveopt xsaves
"""
_SYSTEM = frozenset(_SYSTEM_NAMES.split())


@functools.cache
def start_llvm() -> None:
    """Make the code generator of this machine's architecture available; later calls cost nothing."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.cache
def host_features() -> frozenset[str]:
    """The features of the processor that runs this process, by LLVM's names."""
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present) - _SYSTEM


@functools.cache
def named_features(cpu: str) -> frozenset[str]:
    """The features of the processor that LLVM calls `cpu` (of this machine's architecture).

    To ask takes 25 ms, so the answer is kept on disk.
    """
    cache = default_cache()
    key = cache.key("features", cpu, llvm.get_process_triple())
    found = cache.get(key)
    if found is None:
        found = " ".join(sorted(_asked(cpu))).encode()
        cache.put(key, found)
    return frozenset(found.decode().split())


def _asked(cpu: str) -> frozenset[str]:
    start_llvm()
    names = sorted(set(llvm.get_host_cpu_features()) - _SYSTEM)
    module = llvm.parse_assembly(_probe(cpu, names))
    module.triple = llvm.get_process_triple()
    machine = llvm.Target.from_triple(module.triple).create_target_machine()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.inlining_threshold = 1_000_000
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    inlined = re.findall(r"store volatile i32 (\d+)", str(module.get_function("processor")))
    return frozenset(names[int(index)] for index in inlined)


def _probe(cpu: str, names: list[str]) -> str:
    """The module whose function @processor calls one function per feature; each stores its own number."""
    oldest = "x86-64" if "sse2" in names else "generic"
    lines = ["@sink = global i32 0"]
    for index, name in enumerate(names):
        lines += [
            f"define internal void @f{index}() #{index} {{",
            f"  store volatile i32 {index}, ptr @sink",
            "  ret void",
            "}",
            f'attributes #{index} = {{ "target-cpu"="{oldest}" "target-features"="+{name}" }}',
        ]
    lines.append(f"define void @processor() #{len(names)} {{")
    lines += [f"  call void @f{index}()" for index in range(len(names))]
    lines += ["  ret void", "}", f'attributes #{len(names)} = {{ "target-cpu"="{cpu}" }}']
    return "\n".join(lines)
