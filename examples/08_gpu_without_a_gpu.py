"""Lesson 8: a GPU's kernel on a machine without a GPU: compiled for it, counted in its machine code, and simulated.

pip install -e ".[cuda]"
python examples/08_gpu_without_a_gpu.py
"""

from __future__ import annotations

import numpy as np

import bitwright as bw

# Weights are the 16-row operand of the tensor core.  Their storage says which lane holds what, and products follow it.
PRODUCT = """
def product(
    x: f16[M, K], w: W[K, N] @ L, scale: f16[K // 128, N], y: f32[N, M],
    *, W: dtype = u3,
    L: layout = tiled(
        "spatial(1, 8) * local(16, 1) * spatial(4, 1) * local(1, 4) * local(2, 1)", container=16, vector=4
    ),
):
    n, m = grid((N, 32), (M, 8), lanes=32)
    acc = zeros(f32, [32, 8])
    for k in range(0, K, 128, stages=3):
        a = transpose(cast(load(w, [k, n], [128, 32]), f16), [1, 0])
        b = transpose(load(x, [m, k], [8, 128]), [1, 0])
        f = cast(reshape(load(scale, [k // 128, n], [1, 32]), [32, 1]), f32)
        acc = fma(dot(a, b), f, acc)
    store(y, [n, m], acc)
"""

THROUGH_SHARED = """
def pass_on(x: f32[N], y: f32[N], *, L: layout):
    i = grid((N, 1024), lanes=32)
    tile = shared(f32, [1024])
    store(tile, [0], load(x, [i], [1024], layout=L))
    barrier()
    store(y, [i], load(tile, [0], [1024], layout=L))
"""

RACE = """
def swap_halves(x: f32[N], y: f32[N], *, T: int = 64):
    i = grid((N, T), lanes=64)
    tile = shared(f32, [T])
    store(tile, [0], load(x, [i], [T]))
    store(y, [i], load(tile, [T // 2], [T // 2]))
    store(y, [i + T // 2], load(tile, [0], [T // 2]))
"""


def show_costs() -> None:
    """The library's kernel for one row of x, in the machine code of two GPUs."""
    for gpu in ("cuda:sm_90a", "cuda:sm_80"):
        kernel = bw.linear_kernel("u3", activations="f16", target=gpu, zero_point=False, n=8192, k=8192)
        report = kernel.report()
        kinds = ("tensor", "logic", "memory", "float")
        parts = ", ".join(f"{report[f'main.{kind}_per_weight']:.2f} {kind}" for kind in kinds)
        print(f"--- u3 on {gpu}: {report['issue_slots_per_weight']:.2f} issue slots per weight: {parts}")
        print(f"    {report['registers']} registers, {report['spills']} spilled, {report['shared_memory_bytes']} bytes")


def show_product() -> None:
    """A product of 3-bit weights as the lanes of an H100 do it, beside float64."""
    m, n, k = 8, 64, 512
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 8, (k, n), np.uint8)
    x = rng.standard_normal((m, k)).astype(np.float16)
    scale = rng.random((k // 128, n)).astype(np.float16)
    y = np.full((n, m), np.nan, np.float32)
    kernel = bw.compile(PRODUCT, target="cuda:sm_90a", M=m, N=n, K=k)
    facts = bw.simulate(kernel, x, kernel.pack("w", codes), scale, y)
    exact = x.astype(np.float64) @ (codes * scale.astype(np.float64).repeat(128, axis=0))
    error = np.abs(y.T - exact).max() / np.abs(exact).max()
    assert error < 1e-6, error
    assert (facts.conflicts, facts.sectors) == (0, facts.needed)
    copies = sum(count for name, count in facts.operations.items() if name == "copy async")
    print(f"\n--- simulated: at most {error:.0e} from float64, relative to the largest result")
    print(f"    {facts.operations['mma_f16']} matrix instructions, {copies} copies ahead of their use")
    print(f"    {facts.conflicts} bank conflicts; {facts.sectors} sectors of memory, {facts.needed} needed")


def show_conflicts() -> None:
    """The same copy through shared memory by two layouts: one lane's 32 neighbours, or 4 of each lane in turn."""
    x = np.arange(1024, dtype=np.float32)
    print()
    for layout in ("spatial(32) * local(32)", "local(8) * spatial(32) * local(4)"):
        kernel = bw.compile(THROUGH_SHARED, target="cuda:sm_90a", L=layout, N=1024)
        y = np.zeros_like(x)
        facts = bw.simulate(kernel, x, y)
        assert np.array_equal(x, y)
        print(f"--- {layout:34} {facts.conflicts:3} conflicts, {facts.sectors} sectors, {facts.needed} needed")


def show_race() -> None:
    """Half of the lanes read what the other half wrote, and no barrier is between them."""
    x = np.arange(64, dtype=np.float32)
    try:
        bw.simulate(bw.compile(RACE, target="cuda:sm_90a"), x, np.zeros_like(x))
    except bw.LaneError as problem:
        print(f"\n--- a GPU would do this wrong now and then\n{problem}")
    else:
        raise AssertionError("the race was not found")


def main() -> None:
    show_costs()
    show_product()
    show_conflicts()
    show_race()


if __name__ == "__main__":
    main()
