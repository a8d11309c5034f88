"""A two-layer quantised MLP in TVM's Relax, run by our kernels.

The module is written with plain matrix products; `lower_linears` exchanges them for calls of quantised linears, Relax
does the rest (activation, memory, calls).
"""

import numpy as np

import bitwright as bw

D, HIDDEN, ROWS = 256, 512, 5


def build_module() -> object:
    """main(x, w1, w2) = silu(x @ w1.T) @ w2.T, for any number of rows."""
    import tvm
    from tvm import relax

    rows = tvm.tirx.Var("rows", "int64")
    block = relax.BlockBuilder()
    x, w1, w2 = (
        relax.Var(name, relax.TensorType(shape, "float32"))
        for name, shape in (("x", (rows, D)), ("w1", (HIDDEN, D)), ("w2", (D, HIDDEN)))
    )
    with block.function("main", [x, w1, w2]):
        with block.dataflow():
            hidden = block.emit(relax.op.matmul(x, block.emit(relax.op.permute_dims(w1))))
            active = block.emit(relax.op.nn.silu(hidden))
            out = block.emit_output(relax.op.matmul(active, block.emit(relax.op.permute_dims(w2))))
        block.emit_func_output(out)
    return block.get()


def main() -> None:
    import tvm
    from tvm import relax

    rng = np.random.default_rng(0)
    weights = {"w1": rng.standard_normal((HIDDEN, D)) / D**0.5, "w2": rng.standard_normal((D, HIDDEN)) / HIDDEN**0.5}
    quantised = {name: bw.quantize(w.astype(np.float32), "u4", group=64) for name, w in weights.items()}
    module = bw.relax.lower_linears(build_module(), quantised)

    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    x = rng.standard_normal((ROWS, D)).astype(np.float32)
    dense = [tvm.runtime.tensor(w.astype(np.float32)) for w in weights.values()]
    y = machine["main"](tvm.runtime.tensor(x), *dense).numpy()

    exact = {name: q.dequantize(np.float64) for name, q in quantised.items()}
    hidden = x @ exact["w1"].T
    expected = (hidden / (1 + np.exp(-hidden))) @ exact["w2"].T
    error = np.abs(y - expected).max() / np.abs(expected).max()
    print(f"a {D} -> {HIDDEN} -> {D} MLP in Relax, weights in u4 with groups of 64, {ROWS} rows")
    print(f"largest error against float64 on the same quantised weights: {error:.1e} of the largest output")
    assert error < 1e-5


if __name__ == "__main__":
    main()
