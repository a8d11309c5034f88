"""Targets by name; what they have is compared with what assembly for them holds, and with the kernel's own list."""

import re
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from bitwright.backend.cpu_names import ARM_NAMES, X86_NAMES
from bitwright.backend.llvm.build import assembly
from bitwright.backend.llvm.feature_names import ARM_FEATURES, X86_FEATURES, is_arm, is_x86
from bitwright.backend.target import TargetError, target

x86_only = pytest.mark.skipif("x86_64" not in llvm.get_process_triple(), reason="names of x86 processors")

# The x86-64 psABI's levels: what each adds to the one before, in LLVM's words (cx16 and sahf apart).
V2 = {"popcnt", "sse3", "sse4.1", "sse4.2", "ssse3"}
V3 = V2 | {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"}
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def test_the_host_runs_its_own_code():
    host = target("cpu")
    assert host.runs_here
    assert host.cpu == llvm.get_host_cpu_name()
    assert target("cpu") == host
    assert target("cpu:baseline").runs_here
    assert target("cpu:baseline").lanes == 4


@x86_only
def test_the_host_has_what_the_system_says():
    line = re.search(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    assert line is not None
    flags = set(line[1].split())
    for feature, flag in [
        *[("avx2", "avx2"), ("fma", "fma"), ("f16c", "f16c"), ("gfni", "gfni"), ("avx512f", "avx512f")],
        *[("avx512vnni", "avx512_vnni"), ("avx512bf16", "avx512_bf16"), ("avx512vbmi", "avx512vbmi")],
    ]:
        assert target("cpu").has(feature) == (flag in flags), feature


@x86_only
@pytest.mark.parametrize(
    ("name", "has", "lacks", "lanes"),
    [
        ("cpu:x86-64", {"sse2"}, V4, 4),
        ("cpu:x86-64-v2", V2, V4 - V2, 4),
        ("cpu:x86-64-v3", V3, V4 - V3, 8),
        ("cpu:x86-64-v4", V4, {"avx512vnni", "avx512bf16"}, 16),
        ("cpu:znver3", V3 | {"vaes"}, {"avx512f", "gfni"}, 8),
        ("cpu:znver4", V4 | {"avx512vnni", "avx512bf16", "avx512vbmi", "gfni"}, {"avxvnni", "avx512fp16"}, 16),
        ("cpu:sapphirerapids", V4 | {"avx512vnni", "avx512fp16", "amx-int8"}, {"avx10.2"}, 16),
        ("cpu:alderlake", V3 | {"avxvnni", "gfni"}, {"avx512f"}, 8),
        ("cpu:knl", V3 | {"avx512f"}, {"avx512bw", "avx512vl"}, 8),
    ],
)
def test_named_processors(name, has, lacks, lanes):
    found = target(name)
    assert has <= found.features
    assert not lacks & found.features
    assert found.lanes == lanes
    assert found.name == name
    assert found.runs_here == (found.features <= target("cpu").features)


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("cpu:aarch64", {"neon"}, {"dotprod", "lse"}),
        ("cpu:cortex-a53", {"neon", "crc"}, {"dotprod", "lse"}),
        ("cpu:cortex-a76", {"dotprod", "fullfp16", "lse"}, {"i8mm", "bf16", "sve"}),
        ("cpu:neoverse-n1", {"dotprod", "fullfp16"}, {"i8mm", "bf16", "sve"}),
        ("cpu:apple-m1", {"dotprod", "fullfp16", "fp16fml"}, {"i8mm", "bf16", "sve"}),
        ("cpu:neoverse-v1", {"dotprod", "fullfp16", "i8mm", "bf16", "sve"}, {"sve2"}),
        ("cpu:neoverse-n2", {"dotprod", "i8mm", "bf16", "sve2"}, {"fp8"}),
        ("cpu:a64fx", {"sve", "fullfp16"}, {"dotprod"}),
    ],
)
def test_named_arm_processors(name, has, lacks):
    """What Arm's and Apple's manuals say of them, wherever the tests run."""
    found = target(name)
    assert found.triple.startswith(("aarch64", "arm64"))
    assert has <= found.features
    assert not lacks & found.features
    assert found.lanes == 4
    if not is_arm(llvm.get_process_triple()):
        assert not found.runs_here


def test_x86_names_mean_x86_everywhere():
    assert is_x86(target("cpu:x86-64-v3").triple)
    assert not set(X86_NAMES) & {*ARM_NAMES, "aarch64"}


@x86_only
def test_every_feature_of_x86_is_in_the_list_or_left_out_for_a_reason():
    unused = """cldemote clflushopt clwb clzero cx16 enqcmd fsgsbase hreset invpcid kl lwp movdir64b movdiri mwaitx
    pconfig pku prefetchi prfchw ptwrite rdpid rdpru rdrnd rdseed rtm sahf serialize sgx shstk tsxldtrk uintr usermsr
    waitpkg wbnoinvd widekl xsave xsavec xsaveopt xsaves"""
    assert set(llvm.get_host_cpu_features()) == X86_FEATURES | set(unused.split())


def test_llvm_knows_every_feature_of_arm():
    listed = _help("aarch64-linux-gnu", "features='+help'")
    assert {name for name in ARM_FEATURES if not re.search(rf"^  {re.escape(name)} +- ", listed, re.M)} == set()


@x86_only
def test_wide_targets_use_wide_registers():
    text = """
    define void @f(ptr %p) {
      %x = load <64 x i8>, ptr %p, align 1
      %y = add <64 x i8> %x, %x
      store <64 x i8> %y, ptr %p, align 1
      ret void
    }
    define void @g(ptr %p, i64 %n) {
      call void @llvm.memset.p0.i64(ptr %p, i8 0, i64 64, i1 false)
      ret void
    }
    declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
    """
    for name in ("cpu:x86-64-v4", "cpu:znver4", "cpu:skylake-avx512", "cpu:sapphirerapids"):
        made = assembly(text, target(name))
        assert "zmm" in made, name
        assert "ymm" not in made, name
    assert "zmm" not in assembly(text, target("cpu:x86-64-v3"))


@x86_only
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cpu:znver44", "did you mean cpu:znver4"),
        ("cpu:skylake-avx", "cpu:skylake"),
        ("cpu:?", "try 'cpu' or 'cpu:baseline'"),
        ("cpu:neoverse-v9", "did you mean cpu:neoverse-v"),
        ("cpu:generic", "unknown processor 'generic'"),
        ("gpu", "unknown target 'gpu'"),
        ("", "unknown target ''"),
    ],
)
def test_unknown_names(name, words):
    with pytest.raises(TargetError, match=re.escape(words)):
        target(name)


@pytest.mark.parametrize(("triple", "names"), [("x86_64-linux-gnu", X86_NAMES), ("aarch64-linux-gnu", ARM_NAMES)])
def test_llvm_knows_every_name(triple, names):
    known = set(re.findall(r"^  (\S+) +- Select", _help(triple, "cpu='help'"), re.M))
    assert set(names) <= known
    assert len(set(names)) == len(names)


def _help(triple: str, asked: str) -> str:
    """What LLVM lists on standard error when it is asked for help."""
    code = (
        "import llvmlite.binding as llvm; llvm.initialize_all_targets(); "
        f"llvm.Target.from_triple({triple!r}).create_target_machine({asked})"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
