"""Lesson 1: a kernel in a file of its own, called from Python and from the shell.

python examples/01_first_kernel.py
"""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import numpy as np

import bitwright as bw

FILE = Path(__file__).parent / "kernels" / "axpy.bw"


def main() -> None:
    print(FILE.read_text())

    # From Python: a path is compiled for this machine. Arrays that the kernel writes change in place.
    axpy = bw.compile(FILE)
    x = np.arange(1000, dtype=np.float32)
    y = np.ones(1000, np.float32)
    axpy(x, y, 2.0)
    assert np.array_equal(y, 2 * x + 1)
    print(f"axpy(x, y, 2.0) in Python: y = {y[:4]} ... {y[-1]}, as NumPy has it\n")

    # A call that does not fit is refused, with what would fit.
    try:
        axpy(x, y[:10], 2.0)
    except bw.Diagnostic as problem:
        print(f"axpy(x, y[:10], 2.0):\n{problem}\n")

    # From the shell: random data, compared with the interpreter.
    script = str(Path(sysconfig.get_path("scripts")) / "bitwright")
    command = [script, "run", str(FILE), "--shape", "N=1000", "--input", "a=2", "--check"]
    print(f"$ bitwright {' '.join(command[1:])}")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(done.stdout)


if __name__ == "__main__":
    main()
