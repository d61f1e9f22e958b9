; The DXIL intrinsics that pass DXIL's own structures by value, as thin calls of shader_runtime.cpp.
; C++ has no way to write these signatures. %thread is the argument that the compiler adds.
; https://github.com/microsoft/DirectXShaderCompiler/blob/main/docs/DXIL.rst

target datalayout =
"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-pc-linux-gnu"

%dx.types.Handle = type { ptr }
%dx.types.CBufRet.i32 = type { i32, i32, i32, i32 }
%dx.types.CBufRet.f32 = type { float, float, float, float }
%dx.types.ResRet.i32 = type { i32, i32, i32, i32, i32 }
%dx.types.ResRet.f32 = type { float, float, float, float, i32 }
%dx.types.twoi32 = type { i32, i32 }

declare ptr @runtime_descriptor(ptr, i32, i32)
declare ptr @runtime_constants(ptr, i32)
declare <4 x i32> @runtime_buffer_load(ptr, ptr, i32, i32)
declare void @runtime_buffer_store(ptr, ptr, i32, i32, i32, i32, i32, i32, i32)
declare i32 @runtime_atomic(ptr, ptr, i32, i32, i32, i32)
declare i32 @runtime_compare_exchange(ptr, ptr, i32, i32, i32, i32)
declare i64 @runtime_binary_with_two_results(ptr, i32, i32, i32)

define %dx.types.Handle @dx.op.createHandle(ptr %thread, i32 %opcode, i8 %class, i32 %range,
                                            i32 %index, i1 %non_uniform) alwaysinline {
  %c = zext i8 %class to i32
  %d = call ptr @runtime_descriptor(ptr %thread, i32 %c, i32 %index)
  %h = insertvalue %dx.types.Handle poison, ptr %d, 0
  ret %dx.types.Handle %h
}

; Constants do not change while a shader runs: !invariant.load lets the optimizer rely on it.
define %dx.types.CBufRet.i32 @dx.op.cbufferLoadLegacy.i32(ptr %thread, i32 %opcode,
                                            %dx.types.Handle %h, i32 %row) alwaysinline {
  %d = extractvalue %dx.types.Handle %h, 0
  %p = call ptr @runtime_constants(ptr %d, i32 %row)
  %v = load %dx.types.CBufRet.i32, ptr %p, align 4, !invariant.load !0
  ret %dx.types.CBufRet.i32 %v
}

define %dx.types.CBufRet.f32 @dx.op.cbufferLoadLegacy.f32(ptr %thread, i32 %opcode,
                                            %dx.types.Handle %h, i32 %row) alwaysinline {
  %d = extractvalue %dx.types.Handle %h, 0
  %p = call ptr @runtime_constants(ptr %d, i32 %row)
  %v = load %dx.types.CBufRet.f32, ptr %p, align 4, !invariant.load !0
  ret %dx.types.CBufRet.f32 %v
}

; The fifth result is the status for CheckAccessFullyMapped: always 1, "mapped".
define %dx.types.ResRet.i32 @dx.op.bufferLoad.i32(ptr %thread, i32 %opcode, %dx.types.Handle %h,
                                            i32 %index, i32 %offset) alwaysinline {
  %d = extractvalue %dx.types.Handle %h, 0
  %v = call <4 x i32> @runtime_buffer_load(ptr %thread, ptr %d, i32 %index, i32 %offset)
  %x = extractelement <4 x i32> %v, i32 0
  %y = extractelement <4 x i32> %v, i32 1
  %z = extractelement <4 x i32> %v, i32 2
  %w = extractelement <4 x i32> %v, i32 3
  %r0 = insertvalue %dx.types.ResRet.i32 poison, i32 %x, 0
  %r1 = insertvalue %dx.types.ResRet.i32 %r0, i32 %y, 1
  %r2 = insertvalue %dx.types.ResRet.i32 %r1, i32 %z, 2
  %r3 = insertvalue %dx.types.ResRet.i32 %r2, i32 %w, 3
  %r4 = insertvalue %dx.types.ResRet.i32 %r3, i32 1, 4
  ret %dx.types.ResRet.i32 %r4
}

define %dx.types.ResRet.f32 @dx.op.bufferLoad.f32(ptr %thread, i32 %opcode, %dx.types.Handle %h,
                                            i32 %index, i32 %offset) alwaysinline {
  %d = extractvalue %dx.types.Handle %h, 0
  %i = call <4 x i32> @runtime_buffer_load(ptr %thread, ptr %d, i32 %index, i32 %offset)
  %v = bitcast <4 x i32> %i to <4 x float>
  %x = extractelement <4 x float> %v, i32 0
  %y = extractelement <4 x float> %v, i32 1
  %z = extractelement <4 x float> %v, i32 2
  %w = extractelement <4 x float> %v, i32 3
  %r0 = insertvalue %dx.types.ResRet.f32 poison, float %x, 0
  %r1 = insertvalue %dx.types.ResRet.f32 %r0, float %y, 1
  %r2 = insertvalue %dx.types.ResRet.f32 %r1, float %z, 2
  %r3 = insertvalue %dx.types.ResRet.f32 %r2, float %w, 3
  %r4 = insertvalue %dx.types.ResRet.f32 %r3, i32 1, 4
  ret %dx.types.ResRet.f32 %r4
}

define void @dx.op.bufferStore.i32(ptr %thread, i32 %opcode, %dx.types.Handle %h, i32 %index,
                                   i32 %offset, i32 %x, i32 %y, i32 %z, i32 %w,
                                   i8 %mask) alwaysinline {
  %d = extractvalue %dx.types.Handle %h, 0
  %m = zext i8 %mask to i32
  call void @runtime_buffer_store(ptr %thread, ptr %d, i32 %index, i32 %offset,
                                  i32 %x, i32 %y, i32 %z, i32 %w, i32 %m)
  ret void
}

define void @dx.op.bufferStore.f32(ptr %thread, i32 %opcode, %dx.types.Handle %h, i32 %index,
                                   i32 %offset, float %x, float %y, float %z, float %w,
                                   i8 %mask) alwaysinline {
  %i = bitcast float %x to i32
  %j = bitcast float %y to i32
  %k = bitcast float %z to i32
  %l = bitcast float %w to i32
  call void @dx.op.bufferStore.i32(ptr %thread, i32 %opcode, %dx.types.Handle %h, i32 %index,
                                   i32 %offset, i32 %i, i32 %j, i32 %k, i32 %l, i8 %mask)
  ret void
}

define i32 @dx.op.atomicBinOp.i32(ptr %thread, i32 %opcode, %dx.types.Handle %h, i32 %operation,
                                  i32 %index, i32 %offset, i32 %c2, i32 %value) alwaysinline {
  %d = extractvalue %dx.types.Handle %h, 0
  %v = call i32 @runtime_atomic(ptr %thread, ptr %d, i32 %operation, i32 %index, i32 %offset,
                                i32 %value)
  ret i32 %v
}

define i32 @dx.op.atomicCompareExchange.i32(ptr %thread, i32 %opcode, %dx.types.Handle %h,
                                  i32 %index, i32 %offset, i32 %c2, i32 %expected,
                                  i32 %value) alwaysinline {
  %d = extractvalue %dx.types.Handle %h, 0
  %v = call i32 @runtime_compare_exchange(ptr %thread, ptr %d, i32 %index, i32 %offset,
                                          i32 %expected, i32 %value)
  ret i32 %v
}

define %dx.types.twoi32 @dx.op.binaryWithTwoOuts.i32(ptr %thread, i32 %opcode, i32 %a,
                                                     i32 %b) alwaysinline {
  %v = call i64 @runtime_binary_with_two_results(ptr %thread, i32 %opcode, i32 %a, i32 %b)
  %x = trunc i64 %v to i32
  %s = lshr i64 %v, 32
  %y = trunc i64 %s to i32
  %r0 = insertvalue %dx.types.twoi32 poison, i32 %x, 0
  %r1 = insertvalue %dx.types.twoi32 %r0, i32 %y, 1
  ret %dx.types.twoi32 %r1
}

!0 = !{}
