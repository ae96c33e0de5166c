// Without ptxas there is PTX alone, and a warning that says where it was looked for.

// RUN: rm -rf %t && mkdir -p %t
// RUN: env -u CUDA_ROOT -u CUDA_PATH CUDA_HOME=%t PATH=%t %obj/bin/quant-compile %s --target=cuda:sm_80 --emit=obj -o %t/f.o --save-temps=%t/temps 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=MANIFEST < %t/temps/manifest.json
// RUN: not env -u CUDA_ROOT -u CUDA_PATH CUDA_HOME=%t PATH=%t %obj/bin/quant-compile %s --target=cuda:sm_80 --emit=cubin -o %t/f.cubin 2>&1 | FileCheck %s --check-prefix=CUBIN
// RUN: env -u CUDA_ROOT -u CUDA_PATH CUDA_HOME=%t PATH=%t %obj/bin/quant-compile %s --target=cuda:sm_80 --emit=ptx -o %t/f.ptx 2>&1 | count 0

// CHECK: warning: ptxas was not found on PATH, in CUDA_ROOT, CUDA_HOME or CUDA_PATH, or else in /usr/local/cuda: only PTX is emitted, which the driver compiles when it is loaded; install the CUDA toolkit for machine code
// MANIFEST-NOT: "kind":"cubin"
// MANIFEST: "kind":"ptx"
// MANIFEST-NOT: "kind":"cubin"
// CUBIN: error: no cubin without ptxas; put it on PATH, set CUDA_HOME, or use --emit=ptx

#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = f16>
qlinear.parameter @w : !qlinear.weight<16x64, #q8>
func.func @f(%x: tensor<1x64xf16>) -> tensor<1x16xf16> {
  %w = qlinear.load @w : !qlinear.weight<16x64, #q8>
  %y = qlinear.linear %x, %w {schedule = #qlinear.schedule<kernels = [#qlinear.gemv<rows = 1, copy = async, warps = 2, stages = 3>], pdl = false>}
      : (tensor<1x64xf16>, !qlinear.weight<16x64, #q8>) -> tensor<1x16xf16>
  return %y : tensor<1x16xf16>
}
