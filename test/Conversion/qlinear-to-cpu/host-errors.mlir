// RUN: quant-opt %s --split-input-file --verify-diagnostics --pass-pipeline='builtin.module(qlinear-to-cpu,qlinear-print-host-llvm{isa=portable})'

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>

func.func @double(%x: tensor<1x64xf32>, %w: !qlinear.weight<8x64, #q8>) -> tensor<1x8xf32> {
  %0 = qlinear.linear %x, %w
      : (tensor<1x64xf32>, !qlinear.weight<8x64, #q8>) -> tensor<1x8xf32> {
  ^bb0(%a: f32):
    %0 = arith.extf %a : f32 to f64
    // expected-error @below {{'math.exp' has no inline form for cpu:portable on 'vector<16xf64>'; compute it in f32, or outside of the linear}}
    %1 = math.exp %0 : f64
    %2 = arith.truncf %1 : f64 to f32
    qlinear.yield %2 : f32
  }
  return %0 : tensor<1x8xf32>
}

// -----

module @a {
  llvm.func @k(%args: !llvm.ptr, %rows: i32, %begin: i64, %end: i64) attributes {qlinear.kernel} {
    llvm.return
  }
}
module @b {
  // expected-error @below {{another module has a kernel of the same name, 'k'; rename one}}
  llvm.func @k(%args: !llvm.ptr, %rows: i32, %begin: i64, %end: i64) attributes {qlinear.kernel} {
    llvm.return
  }
}

// -----

// expected-error @below {{CPU kernels call 'ql_cpu_nothing', which nothing defines}}
module {
  llvm.func @ql_cpu_nothing()
  llvm.func @k(%args: !llvm.ptr, %rows: i32, %begin: i64, %end: i64) attributes {qlinear.kernel} {
    llvm.call @ql_cpu_nothing() : () -> ()
    llvm.return
  }
}
