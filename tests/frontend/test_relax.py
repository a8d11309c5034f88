"""The bridge to Relax: registered kernels are called with their arguments, and linears of a module become ours."""

import sys

import numpy as np
import pytest

import bitwright as bw

tvm = pytest.importorskip("tvm")
relax = pytest.importorskip("tvm.relax")

SCALE = """
def scale(x: f32[M, N], y: f32[M, N], *, T: int = 32):
    m, n0 = grid(M, ceildiv(N, T))
    store(y, [m, n0 * T], load(x, [m, n0 * T], [1, T]) * 3.0)
"""


def run(module: object, *arrays: np.ndarray) -> np.ndarray:
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    return machine["main"](*(tvm.runtime.tensor(a) for a in arrays)).numpy()


def variable(name: str, *shape: object) -> object:
    return relax.Var(name, relax.TensorType(shape, "float32"))


def packed_call(name: str) -> object:
    block = relax.BlockBuilder()
    x = variable("x", tvm.tirx.Var("m", "int64"), 40)
    with block.function("main", [x]):
        with block.dataflow():
            out = block.emit_output(relax.op.call_dps_packed(name, relax.Tuple([x]), out_ty=x.ty))
        block.emit_func_output(out)
    return block.get()


def product(n: int, k: int, turned: bool = True) -> object:
    """main(x, w): x @ w.T, or x @ w for a square weight that is not turned."""
    block = relax.BlockBuilder()
    x, w = variable("x", tvm.tirx.Var("m", "int64"), k), variable("w", n, k)
    with block.function("main", [x, w]):
        with block.dataflow():
            right = block.emit(relax.op.permute_dims(w)) if turned else w
            out = block.emit_output(relax.op.matmul(x, right))
        block.emit_func_output(out)
    return block.get()


def weights(n: int, k: int) -> np.ndarray:
    return np.random.default_rng(n + k).standard_normal((n, k)).astype(np.float32)


def test_a_registered_kernel_is_called_with_any_number_of_rows() -> None:
    bw.relax.register(bw.compile(SCALE), "test.scale", override=True)
    module = packed_call("test.scale")
    for rows in (1, 7):
        x = np.random.default_rng(rows).standard_normal((rows, 40)).astype(np.float32)
        assert np.array_equal(run(module, x), x * np.float32(3))


def test_a_name_that_is_taken_is_refused_unless_overridden() -> None:
    bw.relax.register(bw.compile(SCALE), "test.taken", override=True)
    with pytest.raises(ValueError, match=r"already.*override=True"):
        bw.relax.register(bw.compile(SCALE), "test.taken")


@pytest.mark.parametrize("activations", ["f32", "int8"])
def test_linears_of_a_module_become_quantised(activations: str) -> None:
    w = weights(48, 64)
    q = bw.quantize(w, "u4", group=32)
    module = bw.relax.lower_linears(product(48, 64), {"w": q}, activations=activations)
    assert "call_dps_packed" in str(module)
    assert "matmul" not in str(module)
    x = np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)
    # What is multiplied is the quantised tensor: the dense weight that is passed is not read.
    y = run(module, x, np.full_like(w, np.nan))
    assert np.array_equal(y, bw.linear(x, q, activations=activations))


def test_a_product_that_is_not_turned_stays() -> None:
    w = weights(32, 32)
    module = bw.relax.lower_linears(product(32, 32, turned=False), {"w": bw.quantize(w, "u8", group=32)})
    assert "call_dps_packed" not in str(module)
    x = weights(3, 32)
    assert np.allclose(run(module, x, w), x @ w, atol=1e-4)


def test_a_weight_that_the_module_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="other"):
        bw.relax.lower_linears(product(32, 32), {"other": bw.quantize(weights(32, 32), "u8", group=32)})


def test_a_weight_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[48, 64\].*\[32, 64\]"):
        bw.relax.lower_linears(product(48, 64), {"w": bw.quantize(weights(32, 64), "u8", group=32)})


def test_a_bias_is_added() -> None:
    q, bias = bw.quantize(weights(16, 64), "i5", group=64), np.arange(16, dtype=np.float32)
    name = bw.relax.register_linear(q, "test.biased", bias, override=True)
    x, y = weights(2, 64), np.zeros((2, 16), np.float32)
    tensor = tvm.runtime.tensor(y)
    tvm.get_global_func(name)(tvm.runtime.tensor(x), tensor)
    assert np.array_equal(tensor.numpy(), bw.linear(x, q, bias))


def test_importing_tvm_leaves_the_exception_hook_alone() -> None:
    import subprocess

    code = (
        "import sys; hook = sys.excepthook; import bitwright as bw; "
        "assert 'tvm' not in sys.modules, 'TVM is imported too early'; "
        "bw.relax._tvm(); assert 'tvm' in sys.modules; assert sys.excepthook is hook"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_module_that_was_given_is_left_as_it_was() -> None:
    module = product(32, 32)
    before = str(module)
    bw.relax.lower_linears(module, {"w": bw.quantize(weights(32, 32), "u8", group=32)})
    assert str(module) == before
