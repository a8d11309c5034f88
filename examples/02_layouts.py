"""Lesson 2: layouts say which lane and which register holds each element of a tile, and everything follows from them.

python examples/02_layouts.py
"""

from __future__ import annotations

import numpy as np

import bitwright as bw
from bitwright.vm.layout.draw import table
from bitwright.vm.layout.text import storage
from bitwright.vm.layout.views import address, aligned_run, dense


def main() -> None:
    # `spatial` puts one element on each lane, `local` puts all into registers of one lane; `*` nests them.
    rows, columns = bw.layout("spatial(4, 1) * local(1, 4)"), bw.layout("local(4, 1) * spatial(1, 4)")
    print("4 x 4 elements on 4 lanes; a cell is lane:register\n")
    for tile in (rows, columns):
        print(table(tile), "\n")

    # A layout is a relation, so it can be joined with another: with row-major memory, that is address generation.
    memory = dense(4, 4)
    for name, tile in (("rows", rows), ("columns", columns)):
        transfer = address(tile, memory)
        print(f"{name}: lane and register to memory: {transfer}; a lane reads {aligned_run(transfer)} at once")
    print()

    # The same tile is the same relation, however it is written.
    assert bw.layout("spatial(2, 1) * spatial(2, 1) * local(1, 4)") == rows
    print("spatial(2, 1) * spatial(2, 1) * local(1, 4) is equal to spatial(4, 1) * local(1, 4)\n")

    # Storage adds where the bits are: here 3-bit elements as a plane of 2 bits and a plane of 1 bit.
    stored = storage('tiled("local(32, 1) * spatial(1, 16)", container=8)', bits=3)
    codes = np.random.default_rng(0).integers(0, 8, (64, 48), dtype=np.uint8)
    packed = stored.pack(codes)
    assert np.array_equal(stored.unpack(packed, codes.shape), codes)
    print(f"{stored}\n64 x 48 elements of 3 bits: {packed.nbytes} bytes, {packed.nbytes * 8 / codes.size} bits each")


if __name__ == "__main__":
    main()
