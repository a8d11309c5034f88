"""What all entries of a module share, as LLVM IR text: reading tvm-ffi's arguments, and raising errors.

Layouts are those of tvm-ffi's ``c_api.h`` and of ``dlpack.h``. A TVMFFIAny is {i32 type, i32, 8 bytes of value}: type 1
is an integer, 2 a bool, 3 a float, 7 a pointer to a DLTensor, and 70 an object that holds a DLTensor after a header of
24 bytes. A DLTensor is {data, {i32 device type, i32 device}, i32 rank, {u8 code, u8 bits, u16 lanes}, shape, strides,
u64 offset}; strides count elements, and no strides means row-major order.
"""

from __future__ import annotations

__all__ = ["ENTRY_PRELUDE", "ENTRY_SYMBOLS"]

ENTRY_SYMBOLS = ("bw_parallel", "TVMFFIErrorSetRaisedFromCStr", "snprintf")
"""What the prelude declares: a module that contains it must not declare these again."""

ENTRY_PRELUDE = """
%bw.any = type { i32, i32, i64 }
%bw.tensor = type { ptr, i32, i32, i32, i32, ptr, ptr, i64 }

@bw.TypeError = private constant [10 x i8] c"TypeError\\00"
@bw.ValueError = private constant [11 x i8] c"ValueError\\00"
@bw.RuntimeError = private constant [13 x i8] c"RuntimeError\\00"

declare void @bw_parallel(ptr, ptr, i64)
declare void @TVMFFIErrorSetRaisedFromCStr(ptr, ptr)
declare i32 @snprintf(ptr, i64, ptr, ...)

; Records an error whose text has up to two %lld, and gives the status that tells of it.
define internal i32 @bw.raise(ptr %kind, ptr %format, i64 %a, i64 %b) noinline cold {
  %text = alloca [1024 x i8]
  call i32 (ptr, i64, ptr, ...) @snprintf(ptr %text, i64 1024, ptr %format, i64 %a, i64 %b)
  call void @TVMFFIErrorSetRaisedFromCStr(ptr %kind, ptr %text)
  ret i32 -1
}

; The DLTensor of an argument, or null when it is no tensor.
define internal ptr @bw.tensor_of(ptr %any) {
  %type = load i32, ptr %any
  %value_at = getelementptr %bw.any, ptr %any, i32 0, i32 2
  %value = load ptr, ptr %value_at
  %inside = getelementptr i8, ptr %value, i64 24
  %is_object = icmp eq i32 %type, 70
  %is_pointer = icmp eq i32 %type, 7
  %plain = select i1 %is_pointer, ptr %value, ptr null
  %tensor = select i1 %is_object, ptr %inside, ptr %plain
  ret ptr %tensor
}

; The number of elements; -1 when it does not fit in 56 bits (then bits and bytes would not fit in 64).
define internal i64 @bw.elements(ptr %tensor) {
entry:
  %rank_at = getelementptr %bw.tensor, ptr %tensor, i32 0, i32 3
  %rank = load i32, ptr %rank_at
  %shape_at = getelementptr %bw.tensor, ptr %tensor, i32 0, i32 5
  %shape = load ptr, ptr %shape_at
  br label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %i1, %next ]
  %n = phi i64 [ 1, %entry ], [ %n1, %next ]
  %big = phi i1 [ false, %entry ], [ %big1, %next ]
  %more = icmp slt i32 %i, %rank
  br i1 %more, label %next, label %done
next:
  %size_at = getelementptr i64, ptr %shape, i32 %i
  %size = load i64, ptr %size_at
  %wide = call { i64, i1 } @llvm.umul.with.overflow.i64(i64 %n, i64 %size)
  %n1 = extractvalue { i64, i1 } %wide, 0
  %over = extractvalue { i64, i1 } %wide, 1
  %far = icmp ugt i64 %n1, 72057594037927935
  %bad = or i1 %over, %far
  %bad1 = or i1 %bad, %big
  %empty = icmp eq i64 %size, 0
  %whole = xor i1 %empty, true
  %big1 = and i1 %bad1, %whole
  %i1 = add i32 %i, 1
  br label %loop
done:
  %result = select i1 %big, i64 -1, i64 %n
  ret i64 %result
}
declare { i64, i1 } @llvm.umul.with.overflow.i64(i64, i64)

; Whether the elements lie one after the other in row-major order. The stride of a dimension of size 1 does not matter.
define internal i1 @bw.contiguous(ptr %tensor, i64 %elements) {
entry:
  %rank_at = getelementptr %bw.tensor, ptr %tensor, i32 0, i32 3
  %rank = load i32, ptr %rank_at
  %shape_at = getelementptr %bw.tensor, ptr %tensor, i32 0, i32 5
  %shape = load ptr, ptr %shape_at
  %strides_at = getelementptr %bw.tensor, ptr %tensor, i32 0, i32 6
  %strides = load ptr, ptr %strides_at
  %none = icmp eq ptr %strides, null
  %empty = icmp eq i64 %elements, 0
  %any = or i1 %none, %empty
  br i1 %any, label %yes, label %loop
loop:
  %i = phi i32 [ %rank, %entry ], [ %last, %next ]
  %run = phi i64 [ 1, %entry ], [ %run1, %next ]
  %more = icmp sgt i32 %i, 0
  br i1 %more, label %look, label %yes
look:
  %last = sub i32 %i, 1
  %size_at = getelementptr i64, ptr %shape, i32 %last
  %size = load i64, ptr %size_at
  %stride_at = getelementptr i64, ptr %strides, i32 %last
  %stride = load i64, ptr %stride_at
  %right = icmp eq i64 %stride, %run
  %single = icmp eq i64 %size, 1
  %fine = or i1 %right, %single
  br i1 %fine, label %next, label %no
next:
  %run1 = mul i64 %run, %size
  br label %loop
yes:
  ret i1 true
no:
  ret i1 false
}
"""
