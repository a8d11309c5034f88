"""Lesson 3: one kernel, every width: integers, floats and a codebook of your own.

python examples/03_any_width.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import bitwright as bw

FILE = Path(__file__).parent / "kernels" / "matvec.bw"
K, N, GROUP = 512, 192, 128


def main() -> None:
    # A dtype is a set of values with codes; encode rounds to the nearest.
    for name in ("u3", "i5", "f6e3m2", "nf4"):
        kind = bw.dtype(name)
        codes = kind.encode([0.3, 1.0, -0.7])
        print(f"{name:8}{kind.bits} bits: 0.3, 1.0, -0.7 become the codes {codes}, which mean {kind.decode(codes)}")
    print()

    # A codebook is a dtype too, of the user's own values.
    five = bw.codebook([-2.0, -0.5, 0.0, 0.5, 2.0], name="five")
    tiny = bw.float_dtype(exponent=2, mantissa=1, bias=1)  # f4e2m1, by its parts
    print(f"{five.name}: {five.bits} bits, {five.decode(np.arange(5, dtype=five.code_dtype))}")
    print(f"{tiny.name}: the largest value is {tiny.max}\n")

    # Dense packing, n bits after n bits, is what files use.
    codes = np.arange(8, dtype=np.uint8)
    assert np.array_equal(bw.unpack(bw.pack(codes, 3), 3, 8), codes)
    print(f"codes 0 .. 7 in 3 bits each: {bw.pack(codes, 3).tobytes().hex(' ')}\n")

    rng = np.random.default_rng(0)
    x = rng.standard_normal(K).astype(np.float32)
    scale = rng.uniform(0.5, 1.5, (K // GROUP, N)).astype(np.float16)
    print(f"y[{N}] = x[{K}] @ w[{K}, {N}] by {FILE.name}")
    for kind in (*(bw.dtype(f"u{bits}") for bits in range(1, 9)), bw.dtype("f6e3m2"), bw.dtype("nf4"), five):
        kernel = bw.compile(FILE, W=kind)
        codes = kind.encode(rng.standard_normal((K, N)) * kind.max)
        packed = kernel.pack("w", codes)  # derived from the layout in the kernel's text
        y = np.zeros(N, np.float32)
        kernel(x, packed, scale, y)
        exact = x.astype(np.float64) @ (kind.decode(codes).astype(np.float64) * np.repeat(scale, GROUP, axis=0))
        error = np.abs(y - exact).max() / np.abs(exact).max()
        assert error < 1e-5
        print(f"{kind.name:8}{packed.nbytes:7,} bytes, {packed.nbytes * 8 / codes.size} bits each, error {error:.1e}")


if __name__ == "__main__":
    main()
