"""Text to loaded code: results, refusals, what objects may refer to, and how long code lives."""

import ctypes
import gc
import math
import subprocess
import sys

import pytest

from bitwright.backend.llvm.build import BuildError, assemble, assembly, load
from bitwright.backend.target import target

HOST = target("cpu")
BASELINE = target("cpu:baseline")

ADD = "define i32 @add(i32 %x, i32 %y) {\n  %z = add i32 %x, %y\n  ret i32 %z\n}\n"


def call(library, symbol, result, *kinds):
    return ctypes.CFUNCTYPE(result, *kinds)(library.address(symbol))


@pytest.mark.parametrize("machine", [HOST, BASELINE], ids=["host", "baseline"])
def test_code_runs(machine):
    library = load(assemble(ADD, machine))
    assert call(library, "add", ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)(2, 40) == 42


def test_the_c_and_mathematics_libraries_are_found():
    text = """
    declare float @expf(float)
    declare double @llvm.sin.f64(double)
    define float @e(float %x) {
      %y = call float @expf(float %x)
      ret float %y
    }
    define double @s(double %x) {
      %y = call double @llvm.sin.f64(double %x)
      ret double %y
    }
    """
    library = load(assemble(text, HOST))
    assert call(library, "e", ctypes.c_float, ctypes.c_float)(1.0) == pytest.approx(math.e, rel=1e-6)
    assert call(library, "s", ctypes.c_double, ctypes.c_double)(1.0) == pytest.approx(math.sin(1.0), rel=1e-15)


def test_given_symbols_are_used_and_globals_work():
    text = """
    @counter = global i64 5
    declare i64 @helper(i64)
    define i64 @f() {
      %x = load i64, ptr @counter
      %y = call i64 @helper(i64 %x)
      store i64 %y, ptr @counter
      ret i64 %y
    }
    """
    helper = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(lambda x: x * 3)
    library = load(assemble(text, HOST), {"helper": ctypes.cast(helper, ctypes.c_void_p).value})
    run = call(library, "f", ctypes.c_int64)
    assert [run(), run()] == [15, 45]
    assert ctypes.c_int64.from_address(library.address("counter")).value == 45
    twin = load(assemble(text, HOST), {"helper": ctypes.cast(helper, ctypes.c_void_p).value})
    assert call(twin, "f", ctypes.c_int64)() == 15


def test_objects_outlive_their_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; from bitwright.backend.target import target; "
        "from bitwright.backend.llvm.build import assemble; "
        f"Path(sys.argv[1]).write_bytes(assemble({ADD!r}, target('cpu')))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "add.o"], check=True, timeout=60)
    library = load((tmp_path / "add.o").read_bytes())
    assert call(library, "add", ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)(-1, 1) == 0


def test_the_same_text_gives_the_same_object():
    assert assemble(ADD, HOST) == assemble(ADD, HOST)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("define i32 @f() {\n  ret i64 0\n}", "LLVM rejects the text"),
        ("define i32 @f() {\n  %x = add i32 %y, 1\n  ret i32 %x\n}", "%y"),
        ("nonsense", "LLVM rejects the text"),
    ],
)
def test_bad_text_is_refused(text, words):
    with pytest.raises(BuildError, match=words):
        assemble(text, HOST)


@pytest.mark.parametrize("name", ["llvm.x86.avx512.vpdpbusd.521", "llvm.x86.avx512.dpbf16ps", "llvm.smaxx.i32"])
def test_misspelt_intrinsics_are_refused(name):
    text = f"declare i32 @{name}(i32)\ndefine i32 @f(i32 %x) {{\n  %y = call i32 @{name}(i32 %x)\n  ret i32 %y\n}}\n"
    with pytest.raises(BuildError, match=f"no intrinsic '{name}'"):
        assemble(text, HOST)


def test_right_intrinsics_and_unused_declarations_pass():
    text = """
    declare i32 @llvm.smax.i32(i32, i32)
    declare i32 @llvm.misspelt.i32(i32)
    declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
    define i32 @f(i32 %x, ptr %p, i64 %n) {
      call void @llvm.memset.p0.i64(ptr %p, i8 1, i64 %n, i1 false)
      %y = call i32 @llvm.smax.i32(i32 %x, i32 7)
      ret i32 %y
    }
    """
    library = load(assemble(text, HOST))
    buffer = ctypes.create_string_buffer(8)
    run = call(library, "f", ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64)
    assert run(3, ctypes.addressof(buffer), 5) == 7
    assert buffer.raw == b"\1" * 5 + b"\0" * 3


def test_what_is_missing_is_named(capfd):
    text = "declare void @no_such_function()\ndefine void @f() {\n  call void @no_such_function()\n  ret void\n}\n"
    with pytest.raises(BuildError, match="calls a function that exists nowhere"):
        load(assemble(text, HOST)).address("f")
    assert "no_such_function" in capfd.readouterr().err
    with pytest.raises(BuildError, match="no symbol 'g'"):
        load(assemble(ADD, HOST)).address("g")
    with pytest.raises(BuildError):
        load(b"not an object").address("f")


def test_assembly_is_what_a_person_reads():
    text = assembly(ADD, HOST)
    assert "add:" in text
    assert "ret" in text


def test_libraries_come_and_go():
    code = assemble(ADD, HOST)
    kept = load(code)
    run = call(kept, "add", ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)
    for _ in range(50):
        other = load(code)
        assert call(other, "add", ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)(1, 1) == 2
        del other
    gc.collect()
    assert run(20, 3) == 23


def test_loading_does_not_import_torch():
    code = (
        "import sys; from bitwright.backend.llvm.build import assemble, load; "
        "from bitwright.backend.target import target; "
        "text = 'declare void @TVMFFIErrorSetRaisedFromCStr(ptr, ptr)\\n"
        "define void @f(ptr %x) {\\n  call void @TVMFFIErrorSetRaisedFromCStr(ptr %x, ptr %x)\\n  ret void\\n}\\n'; "
        "assert load(assemble(text, target('cpu'))).address('f'); "
        "assert 'torch' not in sys.modules and 'tvm_ffi' not in sys.modules; import tvm_ffi"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
