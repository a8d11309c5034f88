"""How a thread of the pool sleeps and is woken, and who keeps it off the caller's processor, as LLVM IR text.

Each text defines @introduce, @steer, @sleep_on and @wake_on for the pool's own code.
"""

FUTEX = """
declare i64 @syscall(i64, ...)
declare i32 @getpid()
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
@allowed = internal global [16 x i64] zeroinitializer, align 64  ; the processors that workers may use

; A new worker says which thread it is, so that others can steer it.
define internal void @introduce(ptr %slot) {
  %process = call i32 @getpid()
  call i32 @sched_getaffinity(i32 %process, i64 128, ptr @allowed)   ; not the maker's: it may be bound to a processor
  call i32 @sched_setaffinity(i32 0, i64 128, ptr @allowed)
  %id = call i64 (i64, ...) @syscall(i64 $GETTID)
  %id32 = trunc i64 %id to i32
  %at = getelementptr %slot, ptr %slot, i32 0, i32 4
  store atomic i32 %id32, ptr %at release, align 4
  ret void
}

; Keeps a sleeping worker off the caller's processor. On some machines (virtual ones above all) the system wakes a
; thread on its waker's processor though others are idle, and there it would wait until the caller's range is done.
define internal void @steer(ptr %slot) {
entry:
  %mask = alloca [16 x i64], align 8
  %id_at = getelementptr %slot, ptr %slot, i32 0, i32 4
  %off_at = getelementptr %slot, ptr %slot, i32 0, i32 5
  %id = load atomic i32, ptr %id_at acquire, align 4
  %off = load i32, ptr %off_at
  %here = call i32 @sched_getcpu()
  %next = add i32 %here, 1
  %same = icmp eq i32 %off, %next
  %far = icmp ugt i32 %here, 1023
  %idle = or i1 %same, %far
  br i1 %idle, label %done, label %move
move:
  %masked = load [16 x i64], ptr @allowed
  store [16 x i64] %masked, ptr %mask
  %number = lshr i32 %here, 6
  %word = getelementptr i64, ptr %mask, i32 %number
  %inside = and i32 %here, 63
  %inside64 = zext i32 %inside to i64
  %bit = shl i64 1, %inside64
  %others = xor i64 %bit, -1
  %before = load i64, ptr %word
  %after = and i64 %before, %others
  store i64 %after, ptr %word
  call i32 @sched_setaffinity(i32 %id, i64 128, ptr %mask)   ; refused when no processor is left, which is right
  store i32 %next, ptr %off_at
  br label %done
done:
  ret void
}
define internal void @sleep_on(ptr %word, i32 %old) {
  call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i64 128, i32 %old, ptr null, ptr null, i64 0)
  ret void
}
define internal void @wake_on(ptr %word) {
  call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i64 129, i64 1, ptr null, ptr null, i64 0)
  ret void
}
"""

POLL = """
define internal void @introduce(ptr %slot) {
  ret void
}
define internal void @steer(ptr %slot) {
  ret void
}
declare i32 @usleep(i32)

; Looks again after 50 microseconds, then after a quarter longer each time, at most 5 milliseconds: who waits long may
; wait a little longer, and many threads that have nothing to do take next to nothing.
define internal void @sleep_on(ptr %word, i32 %old) {
entry:
  br label %again
again:
  %wait = phi i32 [ 50, %entry ], [ %longer, %still ]
  call i32 @usleep(i32 %wait)
  %now = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %now, %old
  br i1 %same, label %still, label %done
still:
  %quarter = lshr i32 %wait, 2
  %more = add i32 %wait, %quarter
  %few = icmp ult i32 %more, 5000
  %longer = select i1 %few, i32 %more, i32 5000
  br label %again
done:
  ret void
}
define internal void @wake_on(ptr %word) {
  ret void
}
"""
