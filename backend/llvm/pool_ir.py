"""The thread pool's own code, as LLVM IR text.

The pool has up to 255 workers beside the calling thread. Each owns a slot of one cache line: a ticket (a counter that
the caller raises to hand out work) and a flag that says that the worker sleeps. A worker that finds its ticket raised
works and lowers `pending`. Both sides first spin for up to a tenth of a millisecond, then sleep.

The blocks are cut into one range for each thread, so that each reads memory front to back, and a range into pieces.
Who has finished its own range takes pieces of the others': processors are not equally fast, least of all virtual ones.

A sleeper sets its flag, then looks at the word once more; a waker changes the word, then looks at the flag. All four
accesses are sequentially consistent, so at least one of the two sees the other, and no wake-up is lost.

Only the holder of `busy` hands out work. Who finds it taken (a second Python thread, or a kernel called by a kernel)
runs all of its blocks itself: it has a core already, and nothing can wait for itself.
"""

from __future__ import annotations

from typing import Literal

from .float_mode import float_mode
from .pool_waiting import FUTEX, POLL

__all__ = ["MAX_THREADS", "Waiting", "pool_ir"]

MAX_THREADS = 256
# Pauses of about 55 ns (Zen 5). A worker spins over the gaps between the kernels of one model, a caller over the
# unevenness of the ranges. On a quiet machine of two processors, 20 µs after a call, handing over then costs 2 µs;
# with 300 pauses each it costs 55 µs, for the worker has gone to sleep. More than this wins nothing.
_WORKER_SPINS = 1000
_CALLER_SPINS = 2000
_PIECES = 32  # of each range, if it has as many blocks

Waiting = Literal["futex", "poll", "none"]
"""How a thread sleeps: in the kernel on a word (Linux), by looking again and again (other POSIX systems), or not at all
because there are no threads and every call runs all blocks itself.
"""

_CORE = """
; ticket, asleep, next block, end, thread, 1 + the processor it keeps off (0: none); a whole cache line
%slot = type { i32, i32, i64, i64, i32, i32, [32 x i8] }
@slots = internal global [$MAX x %slot] zeroinitializer, align 64
@pending = internal global i32 0, align 64           ; ranges handed out and not finished
@waiting = internal global i32 0                     ; 1 while the caller sleeps on @pending
@busy = internal global i32 0, align 64
@started = internal global i32 1                     ; threads that exist, the calling one included
@limit = internal global i32 1
@worker_spins = internal global i32 $WORKER_SPINS
@caller_spins = internal global i32 $CALLER_SPINS
@work_body = internal global ptr null, align 64
@work_args = internal global ptr null
@work_ranges = internal global i64 0
@work_piece = internal global i64 0                  ; blocks that are taken at a time

declare i64 @llvm.umax.i64(i64, i64)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)

define void @bw_pool_limit(i32 %threads) {
  store atomic i32 %threads, ptr @limit seq_cst, align 4
  ret void
}

; With more threads than processors (1), who spins keeps another from its work: then nobody does.
define void @bw_pool_crowded(i32 %crowded) {
  %is = icmp ne i32 %crowded, 0
  %worker = select i1 %is, i32 1, i32 $WORKER_SPINS
  %caller = select i1 %is, i32 1, i32 $CALLER_SPINS
  store atomic i32 %worker, ptr @worker_spins monotonic, align 4
  store atomic i32 %caller, ptr @caller_spins monotonic, align 4
  ret void
}

; After a fork only the forking thread exists, and whoever held @busy may be gone: begin anew.
define void @bw_pool_forked() {
  store atomic i32 1, ptr @started seq_cst, align 4
  store atomic i32 0, ptr @pending seq_cst, align 4
  store atomic i32 0, ptr @waiting seq_cst, align 4
  store [$MAX x %slot] zeroinitializer, ptr @slots, align 64
  store atomic i32 0, ptr @busy seq_cst, align 4
  ret void
}

; Returns once the word differs from %old. %flag is nonzero while this thread may be asleep.
define internal void @await_change(ptr %word, i32 %old, ptr %flag, i32 %spins) {
entry:
  br label %spin
spin:
  %n = phi i32 [ 0, %entry ], [ %n1, %again ]
  %v = load atomic i32, ptr %word acquire, align 4
  %changed = icmp ne i32 %v, %old
  br i1 %changed, label %done, label %again
again:
  $PAUSE
  %n1 = add i32 %n, 1
  %more = icmp ult i32 %n1, %spins
  br i1 %more, label %spin, label %sleep
sleep:
  store atomic i32 1, ptr %flag seq_cst, align 4
  br label %check
check:
  %w = load atomic i32, ptr %word seq_cst, align 4
  %changed2 = icmp ne i32 %w, %old
  br i1 %changed2, label %awake, label %block
block:
  call void @sleep_on(ptr %word, i32 %old)
  br label %check
awake:
  store atomic i32 0, ptr %flag seq_cst, align 4
  br label %done
done:
  ret void
}

; Runs the pieces of range %own, then what is left of the ranges after it.
define internal void @work(i64 %own) {
entry:
  %body = load ptr, ptr @work_body
  %args = load ptr, ptr @work_args
  %ranges = load i64, ptr @work_ranges
  %piece = load i64, ptr @work_piece
  br label %range
range:
  %i = phi i64 [ 0, %entry ], [ %i1, %empty ]
  %ahead = add i64 %own, %i
  %which = urem i64 %ahead, %ranges
  %next_at = getelementptr [$MAX x %slot], ptr @slots, i64 0, i64 %which, i32 2
  %end_at = getelementptr [$MAX x %slot], ptr @slots, i64 0, i64 %which, i32 3
  %end = load i64, ptr %end_at
  br label %take
take:
  %begin = atomicrmw add ptr %next_at, i64 %piece monotonic
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %run, label %empty
run:
  %beyond = add i64 %begin, %piece
  %whole = icmp slt i64 %beyond, %end
  %stop = select i1 %whole, i64 %beyond, i64 %end
  call void %body(ptr %args, i64 %begin, i64 %stop)
  br label %take
empty:
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %ranges
  br i1 %more, label %range, label %done
done:
  ret void
}

define internal ptr @worker(ptr %index_ptr) {
entry:
  $WORKER_FLOAT
  %mask = alloca [16 x i64], align 8
  store [16 x i64] [$SIGNALS], ptr %mask
  call i32 @pthread_sigmask(i32 $SIG_BLOCK, ptr %mask, ptr null)
  %index = ptrtoint ptr %index_ptr to i64
  %slot = getelementptr [$MAX x %slot], ptr @slots, i64 0, i64 %index
  %flag = getelementptr %slot, ptr %slot, i32 0, i32 1
  call void @introduce(ptr %slot)
  br label %loop
loop:
  %seen = phi i32 [ 0, %entry ], [ %seen1, %next ]
  %spins = load atomic i32, ptr @worker_spins monotonic, align 4
  call void @await_change(ptr %slot, i32 %seen, ptr %flag, i32 %spins)
  %seen1 = add i32 %seen, 1
  call void @work(i64 %index)
  %before = atomicrmw sub ptr @pending, i32 1 seq_cst
  %last = icmp eq i32 %before, 1
  br i1 %last, label %finish, label %next
finish:
  %asleep = load atomic i32, ptr @waiting seq_cst, align 4
  %wake = icmp ne i32 %asleep, 0
  br i1 %wake, label %rouse, label %next
rouse:
  call void @wake_on(ptr @pending)
  br label %next
next:
  br label %loop
}

; Makes threads until %wanted exist; returns how many do (fewer when the system refuses).
define internal i32 @ensure(i32 %wanted) {
entry:
  %thread = alloca ptr
  %have = load atomic i32, ptr @started monotonic, align 4
  br label %loop
loop:
  %n = phi i32 [ %have, %entry ], [ %n1, %made ]
  %enough = icmp uge i32 %n, %wanted
  br i1 %enough, label %done, label %make
make:
  %n64 = zext i32 %n to i64
  %index = inttoptr i64 %n64 to ptr
  %error = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr %index)
  %failed = icmp ne i32 %error, 0
  br i1 %failed, label %done, label %made
made:
  %handle = load ptr, ptr %thread
  call i32 @pthread_detach(ptr %handle)
  %n1 = add i32 %n, 1
  store atomic i32 %n1, ptr @started monotonic, align 4
  br label %loop
done:
  %least = icmp ult i32 %n, %wanted
  %result = select i1 %least, i32 %n, i32 %wanted
  ret i32 %result
}

; Where range number %i of %n begins. Split this way the product never leaves 64 bits.
define internal i64 @bound(i64 %blocks, i64 %n, i64 %i) alwaysinline {
  %each = udiv i64 %blocks, %n
  %rest = urem i64 %blocks, %n
  %whole = mul i64 %each, %i
  %few = icmp ult i64 %i, %rest
  %extra = select i1 %few, i64 %i, i64 %rest
  %at = add i64 %whole, %extra
  ret i64 %at
}

define internal void @share_out(ptr %body, ptr %args, i64 %blocks, i32 %threads) {
entry:
  store ptr %body, ptr @work_body
  store ptr %args, ptr @work_args
  %others = sub i32 %threads, 1
  store atomic i32 %others, ptr @pending seq_cst, align 4
  %n = zext i32 %threads to i64
  %pieces = mul i64 %n, $PIECES
  %share = udiv i64 %blocks, %pieces
  %piece = call i64 @llvm.umax.i64(i64 %share, i64 1)
  store i64 %n, ptr @work_ranges
  store i64 %piece, ptr @work_piece
  br label %cut
cut:
  %c = phi i64 [ 0, %entry ], [ %c1, %cut ]
  %c1 = add i64 %c, 1
  %next_at = getelementptr [$MAX x %slot], ptr @slots, i64 0, i64 %c, i32 2
  %end_at = getelementptr [$MAX x %slot], ptr @slots, i64 0, i64 %c, i32 3
  %begin = call i64 @bound(i64 %blocks, i64 %n, i64 %c)
  %end = call i64 @bound(i64 %blocks, i64 %n, i64 %c1)
  store i64 %begin, ptr %next_at
  store i64 %end, ptr %end_at
  %uncut = icmp ult i64 %c1, %n
  br i1 %uncut, label %cut, label %loop
loop:
  %i = phi i64 [ 1, %cut ], [ %i1, %next ]
  %i1 = add i64 %i, 1
  %slot = getelementptr [$MAX x %slot], ptr @slots, i64 0, i64 %i
  %flag = getelementptr %slot, ptr %slot, i32 0, i32 1
  atomicrmw add ptr %slot, i32 1 seq_cst
  %asleep = load atomic i32, ptr %flag seq_cst, align 4
  %wake = icmp ne i32 %asleep, 0
  br i1 %wake, label %rouse, label %next
rouse:
  call void @steer(ptr %slot)
  call void @wake_on(ptr %slot)
  br label %next
next:
  %more = icmp ult i64 %i1, %n
  br i1 %more, label %loop, label %own
own:
  call void @work(i64 0)
  br label %join
join:
  %left = load atomic i32, ptr @pending acquire, align 4
  %all = icmp eq i32 %left, 0
  br i1 %all, label %done, label %hold
hold:
  %spins = load atomic i32, ptr @caller_spins monotonic, align 4
  call void @await_change(ptr @pending, i32 %left, ptr @waiting, i32 %spins)
  br label %join
done:
  ret void
}

define internal void @dispatch(ptr %body, ptr %args, i64 %blocks) {
entry:
  %limit = load atomic i32, ptr @limit monotonic, align 4
  %limit64 = zext i32 %limit to i64
  %few = icmp ult i64 %blocks, %limit64
  %wanted64 = select i1 %few, i64 %blocks, i64 %limit64
  %wanted = trunc i64 %wanted64 to i32
  %single = icmp ule i32 %wanted, 1
  br i1 %single, label %alone, label %try
try:
  %got = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic
  %free = extractvalue { i32, i1 } %got, 1
  br i1 %free, label %shared, label %alone
shared:
  %threads = call i32 @ensure(i32 %wanted)
  %lonely = icmp ule i32 %threads, 1
  br i1 %lonely, label %refused, label %several
several:
  call void @share_out(ptr %body, ptr %args, i64 %blocks, i32 %threads)
  store atomic i32 0, ptr @busy release, align 4
  ret void
refused:
  store atomic i32 0, ptr @busy release, align 4
  br label %alone
alone:
  call void %body(ptr %args, i64 0, i64 %blocks)
  ret void
}
"""

_NO_THREADS = """
define void @bw_pool_limit(i32 %threads) {
  ret void
}
define void @bw_pool_crowded(i32 %crowded) {
  ret void
}
define void @bw_pool_forked() {
  ret void
}
define internal void @dispatch(ptr %body, ptr %args, i64 %blocks) {
  call void %body(ptr %args, i64 0, i64 %blocks)
  ret void
}
"""

_ENTRY = """
; Runs body(args, begin, end) over ranges that together are 0..blocks, and returns when all are done.
define void @bw_parallel(ptr %body, ptr %args, i64 %blocks) {
  $SAVE_FLOAT
  %some = icmp sgt i64 %blocks, 0
  br i1 %some, label %run, label %done
run:
  call void @dispatch(ptr %body, ptr %args, i64 %blocks)
  br label %done
done:
  $RESTORE_FLOAT
  ret void
}
"""


def pool_ir(triple: str, waiting: Waiting) -> str:
    """The module text: @bw_parallel, and for Python @bw_pool_limit (threads that may work at once), @bw_pool_crowded
    (whether these are more than the processors) and @bw_pool_forked.
    """
    x86 = triple.startswith("x86_64")
    text = _NO_THREADS if waiting == "none" else _CORE + (FUTEX if waiting == "futex" else POLL)
    mode = float_mode(triple)
    text += _ENTRY + mode.declarations + ("declare void @llvm.x86.sse2.pause()\n" if x86 else "")
    # Workers block all signals, so that handlers run in the threads that expect them; faults of their own excepted.
    faults = sum(1 << (number - 1) for number in (4, 5, 7, 8, 11))
    linux = "linux" in triple
    words = {
        "$SAVE_FLOAT": mode.save,
        "$RESTORE_FLOAT": mode.restore,
        "$WORKER_FLOAT": mode.usual,
        "$PAUSE": "call void @llvm.x86.sse2.pause()" if x86 else "",
        "$SIGNALS": ", ".join([f"i64 {~faults}"] + ["i64 -1"] * 15),
        "$SIG_BLOCK": "0" if linux else "1",
        "$FUTEX": "202" if x86 else "98",
        "$GETTID": "186" if x86 else "178",
        "$WORKER_SPINS": str(_WORKER_SPINS),
        "$CALLER_SPINS": str(_CALLER_SPINS),
        "$MAX": str(MAX_THREADS),
        "$PIECES": str(_PIECES),
    }
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text
