"""The processor names that LLVM 22 knows, per architecture: what may follow ``cpu:`` in a target's name.

LLVM takes an unknown name with a warning and then compiles for the oldest processor, so names are checked here first.
Names of 32-bit x86 processors, and LLVM's second spellings with underscores, are left out; no name is in both lists.
"""

from __future__ import annotations

__all__ = ["ARM_NAMES", "ARM_OLDEST", "X86_NAMES", "X86_OLDEST"]

X86_OLDEST = "x86-64"
ARM_OLDEST = "generic"  # LLVM's word; in a target's name it is aarch64, since it does not say of what it is generic

_X86 = """
x86-64 x86-64-v2 x86-64-v3 x86-64-v4
nocona core2 penryn nehalem corei7 corei7-avx core-avx-i core-avx2 westmere sandybridge ivybridge haswell broadwell
skylake skylake-avx512 skx cascadelake cooperlake cannonlake icelake-client icelake-server rocketlake tigerlake
sapphirerapids emeraldrapids graniterapids graniterapids-d diamondrapids
alderlake raptorlake meteorlake arrowlake arrowlake-s lunarlake pantherlake wildcatlake novalake
atom bonnell silvermont slm goldmont goldmont-plus tremont gracemont grandridge sierraforest clearwaterforest
knl knm k8 k8-sse3 opteron opteron-sse3 athlon64 athlon64-sse3 athlon-fx amdfam10 barcelona btver1 btver2
bdver1 bdver2 bdver3 bdver4 znver1 znver2 znver3 znver4 znver5
"""
X86_NAMES: tuple[str, ...] = tuple(_X86.split())

_ARM = """
a64fx ampere1 ampere1a ampere1b ampere1c carmel cobalt-100 falkor fujitsu-monaka gb10 grace kryo olympus
oryon-1 saphira thunderx thunderx2t99 thunderx3t110 tsv110
apple-a10 apple-a11 apple-a12 apple-a13 apple-a14 apple-a15 apple-a16 apple-a17 apple-a18 apple-a19
apple-m1 apple-m2 apple-m3 apple-m4 apple-m5
c1-nano c1-premium c1-pro c1-ultra cortex-a34 cortex-a35 cortex-a53 cortex-a55 cortex-a57 cortex-a65 cortex-a72
cortex-a73 cortex-a75 cortex-a76 cortex-a77 cortex-a78 cortex-a78c cortex-a320 cortex-a510 cortex-a520 cortex-a710
cortex-a715 cortex-a720 cortex-a725 cortex-x1 cortex-x1c cortex-x2 cortex-x3 cortex-x4 cortex-x925
exynos-m3 exynos-m4 exynos-m5
neoverse-512tvb neoverse-e1 neoverse-n1 neoverse-n2 neoverse-n3 neoverse-v1 neoverse-v2 neoverse-v3 neoverse-v3ae
"""
ARM_NAMES: tuple[str, ...] = tuple(_ARM.split())
