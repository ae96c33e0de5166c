// The PTX of the device operations that only sm_90a has, as intrinsics-sm_80.mlir does.
//
// RUN: quant-opt %s --pass-pipeline='builtin.module(gpu.module(qlinear-print-ptx{chip=sm_90a}))' -o %t.mlir > %t.ptx
// RUN: FileCheck %s --match-full-lines < %t.ptx
// RUN: %if ptxas %{ %ptxas -arch=sm_90a %t.ptx -o %t.cubin %}

gpu.module @operations {
// Six instructions, by the number of tokens.
// CHECK-LABEL: .visible .entry wgmma(
// CHECK-DAG: wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 {{[{](%r[0-9]+,){7}%r[0-9]+[}], [{](%r[0-9]+,){3}%r[0-9]+[}], %rd[0-9]+, 1, 1, 1, 0;}}
// CHECK-DAG: wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {{[{](%r[0-9]+,){15}%r[0-9]+[}], [{](%r[0-9]+,){3}%r[0-9]+[}], %rd[0-9]+, 1, 1, 1, 0;}}
// CHECK-DAG: wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {{[{](%r[0-9]+,){31}%r[0-9]+[}], [{](%r[0-9]+,){3}%r[0-9]+[}], %rd[0-9]+, 1, 1, 1, 0;}}
// CHECK-DAG: wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {{[{](%r[0-9]+,){63}%r[0-9]+[}], [{](%r[0-9]+,){3}%r[0-9]+[}], %rd[0-9]+, 1, 1, 1, 0;}}
// CHECK-DAG: wgmma.mma_async.sync.aligned.m64n192k16.f32.f16.f16 {{[{](%r[0-9]+,){95}%r[0-9]+[}], [{](%r[0-9]+,){3}%r[0-9]+[}], %rd[0-9]+, 1, 1, 1, 0;}}
// CHECK-DAG: wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {{[{](%r[0-9]+,){127}%r[0-9]+[}], [{](%r[0-9]+,){3}%r[0-9]+[}], %rd[0-9]+, 1, 1, 1, 0;}}
llvm.func @wgmma(%sums: !llvm.ptr, %tokens: i32, %a: vector<4xi32>, %x: i64) attributes {nvvm.kernel} {
  llvm.call @ql_ptx_wgmma(%sums, %tokens, %a, %x) : (!llvm.ptr, i32, vector<4xi32>, i64) -> ()
  llvm.return
}
llvm.func @ql_ptx_wgmma(!llvm.ptr, i32, vector<4xi32>, i64)

// The address in units of 16 bytes; 1024 bytes for 8 rows, swizzled by 128.
// CHECK-LABEL: .visible .entry wgmma_descriptor(
// CHECK-DAG: ld.param.b{{32|64}} [[X:%rd?[0-9]+]], [wgmma_descriptor_param_0];
// CHECK: bfe.u{{32|64}} [[A:%rd?[0-9]+]], {{%rd?[0-9]+}}, 4, 14;
// CHECK: shfl.sync.idx.b32 {{%r[0-9]+}}, [[A]], 0, 31, -1;
// CHECK: or.b{{32|64}} [[R:%rd?[0-9]+]], {{%rd?[0-9]+}}, 65536;
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
// CHECK: st.global.b32 [{{%rd[0-9]+}}+4], 1073741888;
llvm.func @wgmma_descriptor(%x: !llvm.ptr<3>, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_wgmma_descriptor(%x) : (!llvm.ptr<3>) -> i64
  llvm.store %r, %to : i64, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_wgmma_descriptor(!llvm.ptr<3>) -> i64

// 8 columns are 16 bytes.
// CHECK-LABEL: .visible .entry wgmma_columns(
// CHECK-DAG: ld.param.b64 [[A:%rd[0-9]+]], [wgmma_columns_param_0];
// CHECK-DAG: shr.u32 {{%r[0-9]+}}, {{%r[0-9]+}}, 3;
// CHECK: add.s64 [[R:%rd[0-9]+]], [[A]], {{%rd[0-9]+}};
// CHECK: st.global.b32 [{{%rd[0-9]+}}], [[R]];
llvm.func @wgmma_columns(%x: i64, %columns: i32, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %r = llvm.call @ql_ptx_wgmma_columns(%x, %columns) : (i64, i32) -> i64
  llvm.store %r, %to : i64, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_wgmma_columns(i64, i32) -> i64

// CHECK-LABEL: .visible .entry wgmma_fence(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: wgmma.fence.sync.aligned;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @wgmma_fence(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_wgmma_fence() : () -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_wgmma_fence()

// CHECK-LABEL: .visible .entry wgmma_commit(
// CHECK-DAG: st.global.b32 [{{%rd[0-9]+}}], 1;
// CHECK: // begin inline asm
// CHECK-NEXT: wgmma.commit_group.sync.aligned;
// CHECK-NEXT: // end inline asm
// CHECK: st.global.b32 [{{%rd[0-9]+}}], 2;
llvm.func @wgmma_commit(%word: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  llvm.store %one, %word : i32, !llvm.ptr<1>
  llvm.call @ql_ptx_wgmma_commit() : () -> ()
  llvm.store %two, %word : i32, !llvm.ptr<1>
  llvm.return
}
llvm.func @ql_ptx_wgmma_commit()

// Of pending groups the number is part of the instruction.
// CHECK-LABEL: .visible .entry wgmma_wait(
// CHECK-DAG: wgmma.wait_group.sync.aligned 0;
// CHECK-DAG: wgmma.wait_group.sync.aligned 1;
llvm.func @wgmma_wait(%pending: i32) attributes {nvvm.kernel} {
  llvm.call @ql_ptx_wgmma_wait(%pending) : (i32) -> ()
  llvm.return
}
llvm.func @ql_ptx_wgmma_wait(i32)
}
