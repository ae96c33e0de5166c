// --remarks-filter prints the remarks of the passes whose names match, and no others: with the
// place in the file, what was done, or what was declined and why.

// RUN: not quant-compile %s --raise --target=cpu:portable -o %t.so --remarks-filter='qlinear-(raise|fuse)' 2>&1 | FileCheck %s --check-prefixes=RAISE,FUSE --implicit-check-not=remark:
// RUN: not quant-compile %s --raise --target=cpu:portable -o %t.so --remarks-filter=qlinear-raise 2>&1 | FileCheck %s --check-prefix=RAISE --implicit-check-not=remark:
// RUN: not quant-compile %s --raise --target=cpu:portable -o %t.so --remarks-filter=qlinear-fuse 2>&1 | FileCheck %s --check-prefix=FUSE --implicit-check-not=remark:
// RUN: not quant-compile %s --raise --target=cpu:portable -o %t.so 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not quant-compile %s --raise --target=cpu:portable -o %t.so '--remarks-filter=qlinear(' 2>&1 | FileCheck %s --check-prefix=REGEX

// NONE-NOT: remark:
// NONE: error:
// REGEX: error: --remarks-filter=qlinear( is not a regular expression: parentheses not balanced

#w = affine_map<(n, k) -> (n, k)>
#s = affine_map<(n, k) -> (n, k floordiv 32)>
func.func @linear(%x: tensor<2x64xf32>) -> tensor<2x16xf32> {
  %q = arith.constant dense<3> : tensor<16x64xi4>
  %s = arith.constant dense<0.5> : tensor<16x2xf32>
  %e = tensor.empty() : tensor<16x64xf32>
  %w = linalg.generic {indexing_maps = [#w, #s, #w], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<16x64xi4>, tensor<16x2xf32>) outs(%e : tensor<16x64xf32>) {
  ^bb0(%a: i4, %b: f32, %o: f32):
    %0 = arith.extsi %a : i4 to i32
    %1 = arith.sitofp %0 : i32 to f32
    %2 = arith.mulf %1, %b : f32
    linalg.yield %2 : f32
  } -> tensor<16x64xf32>
  %init = arith.constant dense<0.0> : tensor<2x16xf32>
  // RAISE-DAG: [[@LINE+1]]:8: remark: [Passed] Raise | Category:qlinear-raise | Remark="linalg.matmul became qlinear.linear", encoding="u2, group = row, zero, scale = f32, offset = u4"
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
      affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %w : tensor<2x64xf32>, tensor<16x64xf32>) outs(%init : tensor<2x16xf32>)
      -> tensor<2x16xf32>
  // FUSE-DAG: remark: [Passed] Fuse | Category:qlinear-fuse
  %z = math.tanh %y : tensor<2x16xf32>
  return %z : tensor<2x16xf32>
}

func.func @stays(%x: tensor<2x64xf32>) -> (tensor<2x16xf32>, tensor<16x64xf32>) {
  %q = arith.constant dense<3> : tensor<16x64xi4>
  %s = arith.constant dense<0.5> : tensor<16x2xf32>
  %e = tensor.empty() : tensor<16x64xf32>
  %w = linalg.generic {indexing_maps = [#w, #s, #w], iterator_types = ["parallel", "parallel"]}
      ins(%q, %s : tensor<16x64xi4>, tensor<16x2xf32>) outs(%e : tensor<16x64xf32>) {
  ^bb0(%a: i4, %b: f32, %o: f32):
    %0 = arith.extsi %a : i4 to i32
    %1 = arith.sitofp %0 : i32 to f32
    %2 = arith.mulf %1, %b : f32
    linalg.yield %2 : f32
  } -> tensor<16x64xf32>
  %init = arith.constant dense<0.0> : tensor<2x16xf32>
  // RAISE-DAG: [[@LINE+1]]:8: remark: [Missed] Raise | Category:qlinear-raise | Reason="the dequantized value has another user", Remark="linalg.matmul of a quantized weight stays"
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
      affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %w : tensor<2x64xf32>, tensor<16x64xf32>) outs(%init : tensor<2x16xf32>)
      -> tensor<2x16xf32>
  return %y, %w : tensor<2x16xf32>, tensor<16x64xf32>
}
