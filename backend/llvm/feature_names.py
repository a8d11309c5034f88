"""The instruction sets that code generation uses, by LLVM 22's names, per architecture.

Only those that decide where code runs are listed.  Features that the code generator never uses unasked (cache hints,
system instructions, random numbers ...) are left out: a virtual machine often masks them, and code for a processor that
has them runs there all the same.  So are cx16 and sahf, which LLVM's inliner does not look at, so that nothing can be
learnt of them.
"""

from __future__ import annotations

__all__ = ["ARM_FEATURES", "X86_FEATURES", "feature_names", "is_arm", "is_x86"]

_X86 = """
64bit adx aes amx-avx512 amx-bf16 amx-complex amx-fp16 amx-fp8 amx-int8 amx-movrs amx-tf32 amx-tile avx avx10.1 avx10.2
avx2 avx512bf16 avx512bitalg avx512bw avx512cd avx512dq avx512f avx512fp16 avx512ifma avx512vbmi avx512vbmi2 avx512vl
avx512vnni avx512vp2intersect avx512vpopcntdq avxifma avxneconvert avxvnni avxvnniint16 avxvnniint8 bmi bmi2 ccmp cf
cmov cmpccxadd crc32 cx8 egpr f16c fma fma4 fxsr gfni lzcnt mmx movbe movrs ndd nf pclmul popcnt ppx push2pop2 raoint
sha sha512 sm3 sm4 sse sse2 sse3 sse4.1 sse4.2 sse4a ssse3 tbm vaes vpclmulqdq xop zu
"""
X86_FEATURES = frozenset(_X86.split())

_ARM = """
aes bf16 complxnum crc cssc dotprod flagm fp-armv8 fp16fml fp8 fp8dot2 fp8dot4 fptoint fullfp16 i8mm jsconv lse lse2 lut
neon rcpc rcpc-immo rdm sha2 sha3 sm4 sve sve2
"""
ARM_FEATURES = frozenset(_ARM.split())


def is_x86(triple: str) -> bool:
    return triple.startswith("x86_64")


def is_arm(triple: str) -> bool:
    """Whether it is 64-bit ARM; Apple's systems call it arm64."""
    return triple.startswith(("aarch64", "arm64"))


def feature_names(triple: str) -> frozenset[str]:
    """The names of an architecture; none for one that we have no list of."""
    return X86_FEATURES if is_x86(triple) else ARM_FEATURES if is_arm(triple) else frozenset()
