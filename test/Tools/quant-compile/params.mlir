// --params: the types of parameters against a packed archive. Nothing is compiled
// where one does not fit.

// RUN: rm -rf %t && mkdir -p %t
// RUN: %python %src/test/Emulated/Inputs/matrix.py 8 %t quant-pack
// RUN: not quant-compile %s --target=cpu:portable -o %t/l.so --params %t/weights.safetensors 2>&1 | FileCheck %s
// RUN: not ls %t/l.so
// RUN: not quant-compile %s --target=cpu:portable -o %t/l.so --params %t/source.safetensors 2>&1 | FileCheck %s --check-prefix=FLOATS
// RUN: not quant-compile %s --target=cpu:portable -o %t/l.so --params %t/nothing 2>&1 | FileCheck %s --check-prefix=MISSING

// CHECK-DAG: [[@LINE+6]]:1: error: weight "absent" is not in {{.*}}weights.safetensors; pack it with quant-pack, or name another entry after 'from'
// CHECK-DAG: [[@LINE+6]]:1: error: weight "w35" is 34 x 384 here, and 33 x 384 in
// CHECK-DAG: [[@LINE+6]]:1: error: weight "w35" is <i8, group = 32, symmetric, scale = bf16> here, and <i8, group = 32, symmetric, scale = f16> in {{.*}}; change the type, or pack the weight with that encoding
// FLOATS: is not a packed archive
// MISSING: nothing
#q8 = #qlinear.encoding<i8, group = 32, symmetric, scale = bf16>
qlinear.parameter @w : !qlinear.weight<33x384, #q8> from "absent"
qlinear.parameter @n : !qlinear.weight<34x384, #q8> from "w35"
qlinear.parameter @e : !qlinear.weight<33x384, #q8> from "w35"
func.func @f() { return }
