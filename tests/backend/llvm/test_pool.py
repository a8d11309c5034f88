"""The thread pool: every block once, whoever calls, however it sleeps, after a fork, and until the process ends."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import llvmlite.binding as llvm
import numpy as np
import pytest

from bitwright.backend.cache import Cache, default_cache
from bitwright.backend.llvm import pool
from bitwright.backend.llvm.build import assemble, load
from bitwright.backend.llvm.pool_ir import pool_ir
from bitwright.backend.target import target

# @ranges: what each range was, and which thread ran it.  @nested: a body that calls the pool itself.
BODIES = """
declare void @bw_parallel(ptr, ptr, i64)
declare i32 @gettid()

; args: pointer to i32 counters, one per block; each call adds 1 to those of its range.
define void @count(ptr %counters, i64 %begin, i64 %end) {
entry:
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %i1, %loop ]
  %at = getelementptr i32, ptr %counters, i64 %i
  %before = atomicrmw add ptr %at, i32 1 monotonic
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

; args: i32 per block; each gets the number of the thread that ran it.
define void @who(ptr %ids, i64 %begin, i64 %end) {
entry:
  %id = call i32 @gettid()
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %i1, %loop ]
  %at = getelementptr i32, ptr %ids, i64 %i
  store i32 %id, ptr %at
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

declare i32 @usleep(i32)

; The same, and every block takes 5 ms: long enough for all threads to wake up and take theirs.
define void @linger(ptr %ids, i64 %begin, i64 %end) {
entry:
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %i1, %loop ]
  %i1 = add i64 %i, 1
  call void @who(ptr %ids, i64 %i, i64 %i1)
  call i32 @usleep(i32 5000)
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

; args: the number of one thread, then an i32 per block as for @who.  That thread takes 20 ms for a block.
define void @uneven(ptr %args, i64 %begin, i64 %end) {
entry:
  %slow = load i32, ptr %args
  %ids = getelementptr i32, ptr %args, i64 1
  %id = call i32 @gettid()
  call void @who(ptr %ids, i64 %begin, i64 %end)
  %is = icmp eq i32 %id, %slow
  br i1 %is, label %wait, label %done
wait:
  call i32 @usleep(i32 20000)
  br label %done
done:
  ret void
}

; Every block runs 50 blocks of @count on its own 50 counters.
define void @nested(ptr %counters, i64 %begin, i64 %end) {
entry:
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %i1, %loop ]
  %first = mul i64 %i, 50
  %at = getelementptr i32, ptr %counters, i64 %first
  call void @bw_parallel(ptr @count, ptr %at, i64 50)
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

; args: f32 per block: halves it, so that the smallest normal number becomes subnormal.
define void @halve(ptr %values, i64 %begin, i64 %end) {
entry:
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %i1, %loop ]
  %at = getelementptr float, ptr %values, i64 %i
  %x = load float, ptr %at
  %y = fmul float %x, 0.5
  store float %y, ptr %at
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

define void @repeat(ptr %counters, i64 %blocks, i64 %times) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]
  call void @bw_parallel(ptr @count, ptr %counters, i64 %blocks)
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""

RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


class Pool:
    """A pool under test, with the bodies above."""

    def __init__(self, address, set_threads):
        self.run = RUN(address)
        self.set_threads = set_threads
        self.bodies = load(assemble(BODIES, target("cpu:baseline")), {"bw_parallel": address})
        repeat = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self.repeat = repeat(self.bodies.address("repeat"))

    def __call__(self, body, array, blocks):
        self.run(self.bodies.address(body), array.ctypes.data, blocks)


@pytest.fixture(scope="module", params=["process", "futex", "poll", "none"])
def any_pool(request, tmp_path_factory):
    """The pool of this process, and pools of every way to wait, with four threads each."""
    if request.param == "process":
        usual = pool.threads()
        pool.set_threads(4)
        yield Pool(pool.parallel_address(), pool.set_threads)
        pool.set_threads(usual)
        return
    library = pool.compile_pool(target("cpu:baseline"), request.param, Cache(tmp_path_factory.mktemp("cache")))
    address, limit = library.address("bw_parallel"), library.address("bw_pool_limit")
    library.keep_forever()
    set_threads = ctypes.CFUNCTYPE(None, ctypes.c_int32)(limit)
    set_threads(4)
    yield Pool(address, set_threads)


@pytest.fixture
def process_pool():
    usual = pool.threads()
    pool.set_threads(4)
    yield Pool(pool.parallel_address(), pool.set_threads)
    pool.set_threads(usual)


def test_every_block_runs_once(any_pool):
    for threads in (4, 1, 2, 7, 3):
        any_pool.set_threads(threads)
        for blocks in (0, 1, 2, 3, 4, 5, 6, 7, 8, 63, 1000):
            counters = np.zeros(1001, np.int32)
            any_pool("count", counters, blocks)
            assert (counters[:blocks] == 1).all(), (threads, blocks)
            assert not counters[blocks:].any()
    any_pool.set_threads(4)


def test_thousands_of_calls_one_after_the_other(any_pool):
    for blocks in (2, 4, 9):
        counters = np.zeros(blocks, np.int32)
        any_pool.repeat(counters.ctypes.data, blocks, 1000)
        assert (counters == 1000).all()


def test_calls_after_the_threads_fell_asleep(any_pool):
    counters = np.zeros(8, np.int32)
    for _ in range(20):
        time.sleep(0.002)
        any_pool("count", counters, 8)
    assert (counters == 20).all()


@pytest.mark.parametrize("waiting", ["futex", "poll", "none"])
def test_threads_that_sleep_at_once(waiting, tmp_path):
    """More threads than processors do not spin; every block still runs once, before and after they may spin again."""
    library = pool.compile_pool(target("cpu:baseline"), waiting, Cache(tmp_path))
    address, limit, crowded = (library.address(f"bw_{x}") for x in ("parallel", "pool_limit", "pool_crowded"))
    library.keep_forever()
    number = ctypes.CFUNCTYPE(None, ctypes.c_int32)
    number(crowded)(1)
    many = Pool(address, number(limit))
    many.set_threads(32)
    counters = np.zeros(100, np.int32)
    many.repeat(counters.ctypes.data, 100, 30)
    assert (counters == 30).all()
    number(crowded)(0)
    many.repeat(counters.ctypes.data, 100, 30)
    assert (counters == 60).all()


def test_several_callers_at_once(any_pool):
    arrays = [np.zeros(6, np.int32) for _ in range(4)]
    callers = [threading.Thread(target=any_pool.repeat, args=(a.ctypes.data, 6, 3000)) for a in arrays]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert all((a == 3000).all() for a in arrays)


def test_the_caller_and_the_workers_keep_off_each_other(process_pool):
    processors = os.sched_getaffinity(0)
    counters, ids = np.zeros(2, np.int32), np.zeros(2, np.int32)
    process_pool.set_threads(2)
    process_pool("count", counters, 2)
    try:
        for processor in sorted(processors):
            os.sched_setaffinity(0, {processor})
            time.sleep(0.005)  # the worker falls asleep
            process_pool("count", counters, 2)
            process_pool("linger", ids, 2)
            if len(processors) > 1:
                assert os.sched_getaffinity(ids[1]) == processors - {processor}
    finally:
        os.sched_setaffinity(0, processors)
    assert (counters == len(processors) + 1).all()


def test_calls_within_calls(any_pool):
    counters = np.zeros(50 * 20, np.int32)
    for _ in range(50):
        any_pool("nested", counters, 20)
    assert (counters == 50).all()


def test_every_thread_begins_with_a_range_of_its_own(process_pool):
    for threads, blocks in [(4, 4), (4, 10), (3, 7), (4, 2), (1, 3)]:
        process_pool.set_threads(threads)
        ids = np.zeros(blocks, np.int32)
        process_pool("linger", ids, blocks)
        ranges = np.array_split(ids, min(threads, blocks))  # as even as they can be, the longer ones first
        assert len({int(r[0]) for r in ranges}) == len(ranges)
        assert ids[0] == threading.get_native_id()


def test_who_is_done_takes_from_the_others(process_pool):
    process_pool.set_threads(2)
    args = np.zeros(1 + 40, np.int32)
    args[0] = threading.get_native_id()
    process_pool("uneven", args, 40)
    slow = args[1:] == args[0]
    assert (args[1:] != 0).all()
    assert slow[0]
    assert not slow[20:].any()
    assert slow.sum() < 10  # of the 20 in its range


def test_subnormal_numbers_survive_a_caller_that_flushes_them(process_pool):
    torch = pytest.importorskip("torch")
    tiny = np.float32(2.0**-126)
    values = np.full(64, tiny, np.float32)
    assert torch.set_flush_denormal(True)
    try:
        process_pool("halve", values, 64)
        flushed = np.full(4, tiny, np.float32) * np.float32(0.5)
    finally:
        torch.set_flush_denormal(False)
    assert (values.view(np.int32) == 1 << 22).all()
    assert not flushed.view(np.int32).any()  # the caller's mode was put back


def test_a_forked_child_has_its_own_threads(process_pool):
    code = """
import os, sys, threading, numpy as np
sys.path[:0] = [sys.argv[1]]
import test_pool
p = test_pool.Pool(test_pool.pool.parallel_address(), test_pool.pool.set_threads)
p.set_threads(4)
counters = np.zeros(8, np.int32)
p("count", counters, 8)
stop = []
def busy():
    a = np.zeros(4, np.int32)
    while not stop:
        p.repeat(a.ctypes.data, 4, 50)
caller = threading.Thread(target=busy)
caller.start()
for _ in range(12):
    child = os.fork()
    if child == 0:
        ids, counters = np.zeros(8, np.int32), np.zeros(8, np.int32)
        p.repeat(counters.ctypes.data, 8, 100)
        p("linger", ids, 8)
        os._exit(0 if (counters == 100).all() and len(set(ids)) == 4 else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.append(1)
caller.join()
p("count", counters, 8)
assert (counters == 2).all()
"""
    here = os.path.dirname(__file__)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, here], check=True, timeout=60)


def test_a_process_ends_while_the_pool_is_at_work():
    code = """
import sys, threading, time, numpy as np
sys.path[:0] = [sys.argv[1]]
import test_pool
p = test_pool.Pool(test_pool.pool.parallel_address(), test_pool.pool.set_threads)
p.set_threads(4)
a = np.zeros(4, np.int32)
threading.Thread(target=p.repeat, args=(a.ctypes.data, 4, 1 << 40), daemon=True).start()
time.sleep(0.1)
assert a.all()
"""
    subprocess.run([sys.executable, "-c", code, os.path.dirname(__file__)], check=True, timeout=30)


def test_signals_do_not_disturb_it(process_pool):
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(threading.get_native_id()))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        counters = np.zeros(4, np.int32)
        deadline, calls = time.monotonic() + 0.2, 0
        while time.monotonic() < deadline:
            process_pool.repeat(counters.ctypes.data, 4, 100)
            calls += 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (counters == calls).all()
    assert seen


def run_with(number):
    code = "from bitwright.backend.llvm import pool; pool.parallel_address(); print(pool.threads())"
    environment = {**os.environ, "BITWRIGHT_NUM_THREADS": number}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_the_number_of_threads():
    assert run_with("3").stdout.strip() == "3"
    assert run_with("").stdout.strip() == str(len(os.sched_getaffinity(0)))
    for bad in ("0", "-1", "many", "1000"):
        result = run_with(bad)
        assert result.returncode != 0
        assert f"BITWRIGHT_NUM_THREADS is '{bad}'; set it to a number from 1 to 256" in result.stderr
    for bad in (0, -1, 257):
        with pytest.raises(pool.PoolError, match="from 1 to 256"):
            pool.set_threads(bad)


def test_the_code_comes_from_the_cache(tmp_path):
    cache = Cache(tmp_path)
    pool.compile_pool(target("cpu:baseline"), "poll", cache)
    assert cache.stats().entries == 1
    pool.compile_pool(target("cpu:baseline"), "poll", cache)
    assert cache.stats().entries == 1
    assert default_cache().directory != tmp_path


def test_other_architectures_get_code_of_their_own():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for triple in ("aarch64-unknown-linux-gnu", "riscv64-unknown-linux-gnu"):
        machine = llvm.Target.from_triple(triple).create_target_machine()
        for waiting in ("futex", "poll", "none"):
            module = llvm.parse_assembly(pool_ir(triple, waiting))
            module.verify()
            made = machine.emit_assembly(module)
            assert "bw_parallel" in made
            assert "llvm." not in made  # every intrinsic has become instructions
            assert ("fpcr" in made.lower()) == triple.startswith("aarch64")
