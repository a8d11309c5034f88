"""Code loads where free memory is scattered over a process, as with a large model that is mapped."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, mmap
import numpy as np
import bitwright as bw

kernel = bw.compile('''def f(x: f32[N], y: f32[N]):
    i = grid((N, 16))
    store(y, [i], exp(load(x, [i], [16])))
''')
kernel.code
c = ctypes.CDLL(None, use_errno=True)
c.mmap.restype = ctypes.c_void_p
c.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
c.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
RESERVED = 0x4000 | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # 0x4000: MAP_NORESERVE

large = [c.mmap(None, 3 << 30, 0, RESERVED, -1, 0) for _ in range(40)]
for _ in range(100_000):  # fill what is free above them
    if c.mmap(None, mmap.PAGESIZE, 0, RESERVED, -1, 0) < min(large):
        break
for start in large:  # one free page in each, 3 GiB apart
    c.munmap(start + (1 << 30), mmap.PAGESIZE)
x = np.ones(64, np.float32)
y = np.zeros_like(x)
kernel(x, y)
assert np.allclose(y, np.e)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="arranges memory as Linux does")
def test_free_pages_far_from_each_other() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
