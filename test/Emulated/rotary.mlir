// Rotary embeddings of queries and keys against float64, on the emulated device, its accesses
// checked, and on CPUs: whole heads and parts of them, heads and halves that are no multiple of a
// vector or of a thread's columns, tables of another type, many rows; heads that are normalized
// first, of 1 + a scale, too; values that are only normalized, one of them the keys.

// REQUIRES: asan-runtime
// RUN: quant-compile %s --target=cuda:emulated --sanitize=address -o %t.so
// RUN: %with_asan quant-run %t.so --device emulated --rows 1,3,8,70 --verify > %t.log
// RUN: %with_asan quant-run %t.so --device emulated:5 --rows 5,400 --verify >> %t.log
// RUN: quant-compile %s --target=cpu -o %t.cpu.so
// RUN: quant-run %t.cpu.so --device cpu --rows 1,3,8,70 --verify >> %t.log
// RUN: quant-run %t.cpu.so --device cpu:2 --rows 5,400 --verify >> %t.log
// RUN: grep -c ": ok" %t.log | FileCheck %s
// CHECK: {{^}}216{{$}}

// The same by linalg, whose tensors are of another shape than rows: element by element.
// RUN: quant-opt %s --qlinear-to-reference | FileCheck %s --check-prefix=REFERENCE
// REFERENCE-LABEL: @whole
// REFERENCE-COUNT-2: linalg.generic
// REFERENCE-NOT: qlinear.rotary
// REFERENCE-LABEL: @norms
// REFERENCE: linalg.generic {{.*}}"reduction"
// REFERENCE-NOT: qlinear.rotary

// On buffers it is the same operation.
// RUN: quant-opt %s --one-shot-bufferize="bufferize-function-boundaries" \
// RUN:   | FileCheck %s --check-prefix=BUFFERS
// BUFFERS: qlinear.rotary %{{.*}}, %{{.*}} by %{{.*}}, %{{.*}} head = 64 outs(%{{.*}}, %{{.*}})

// One launch.
// RUN: quant-opt %s --qlinear-cuda=target=cuda:sm_90 | FileCheck %s --check-prefix=LAUNCH
// LAUNCH-LABEL: func.func @whole
// LAUNCH-COUNT-1: qlinear.launch
// LAUNCH-NOT: qlinear.launch
// LAUNCH: return

func.func @whole(%q: tensor<?x512xbf16>, %k: tensor<?x128xbf16>, %c: tensor<?x64xf32>, %s: tensor<?x64xf32>)
    -> (tensor<?x512xbf16>, tensor<?x128xbf16>) {
  %a, %b = qlinear.rotary %q, %k by %c, %s head = 64
      : (tensor<?x512xbf16>, tensor<?x128xbf16>, tensor<?x64xf32>, tensor<?x64xf32>) -> (tensor<?x512xbf16>, tensor<?x128xbf16>)
  return %a, %b : tensor<?x512xbf16>, tensor<?x128xbf16>
}

func.func @part(%q: tensor<?x240xf16>, %c: tensor<?x32xf16>, %s: tensor<?x32xf16>) -> tensor<?x240xf16> {
  %a = qlinear.rotary %q by %c, %s head = 80 : (tensor<?x240xf16>, tensor<?x32xf16>, tensor<?x32xf16>) -> tensor<?x240xf16>
  return %a : tensor<?x240xf16>
}

func.func @odd(%q: tensor<?x99xf32>, %k: tensor<?x33xf32>, %c: tensor<?x22xbf16>, %s: tensor<?x22xbf16>)
    -> (tensor<?x99xf32>, tensor<?x33xf32>) {
  %a, %b = qlinear.rotary %q, %k by %c, %s head = 33
      : (tensor<?x99xf32>, tensor<?x33xf32>, tensor<?x22xbf16>, tensor<?x22xbf16>) -> (tensor<?x99xf32>, tensor<?x33xf32>)
  return %a, %b : tensor<?x99xf32>, tensor<?x33xf32>
}

func.func @norms(%q: tensor<?x512xbf16>, %k: tensor<?x128xbf16>, %qs: tensor<64xbf16>, %ks: tensor<64xbf16>,
                 %c: tensor<?x64xf32>, %s: tensor<?x64xf32>)
    -> (tensor<?x512xbf16>, tensor<?x128xbf16>) {
  %a, %b = qlinear.rotary %q, %k norms(%qs, %ks) epsilon = 1.0e-06 by %c, %s head = 64
      : (tensor<?x512xbf16>, tensor<?x128xbf16>, tensor<64xbf16>, tensor<64xbf16>, tensor<?x64xf32>, tensor<?x64xf32>)
        -> (tensor<?x512xbf16>, tensor<?x128xbf16>)
  return %a, %b : tensor<?x512xbf16>, tensor<?x128xbf16>
}

func.func @norm_part(%q: tensor<?x240xf16>, %n: tensor<80xf32>, %c: tensor<?x32xf16>, %s: tensor<?x32xf16>) -> tensor<?x240xf16> {
  %a = qlinear.rotary %q norms(%n) zero_centered epsilon = 0.5 by %c, %s head = 80
      : (tensor<?x240xf16>, tensor<80xf32>, tensor<?x32xf16>, tensor<?x32xf16>) -> tensor<?x240xf16>
  return %a : tensor<?x240xf16>
}

func.func @norm_odd(%q: tensor<?x99xf32>, %k: tensor<?x33xf32>, %qs: tensor<33xf16>, %ks: tensor<33xf16>,
                    %c: tensor<?x22xbf16>, %s: tensor<?x22xbf16>) -> (tensor<?x99xf32>, tensor<?x33xf32>) {
  %a, %b = qlinear.rotary %q, %k norms(%qs, %ks) zero_centered epsilon = 1.0e-05 by %c, %s head = 33
      : (tensor<?x99xf32>, tensor<?x33xf32>, tensor<33xf16>, tensor<33xf16>, tensor<?x22xbf16>, tensor<?x22xbf16>)
        -> (tensor<?x99xf32>, tensor<?x33xf32>)
  return %a, %b : tensor<?x99xf32>, tensor<?x33xf32>
}

// Heads of more columns than a warp's lanes take at a time.
func.func @norm_wide(%q: tensor<?x512xf16>, %n: tensor<256xbf16>, %c: tensor<?x256xf32>, %s: tensor<?x256xf32>) -> tensor<?x512xf16> {
  %a = qlinear.rotary %q norms(%n) epsilon = 0.0 by %c, %s head = 256
      : (tensor<?x512xf16>, tensor<256xbf16>, tensor<?x256xf32>, tensor<?x256xf32>) -> tensor<?x512xf16>
  return %a : tensor<?x512xf16>
}

func.func @values(%q: tensor<?x512xbf16>, %k: tensor<?x128xbf16>, %v: tensor<?x64xbf16>, %qs: tensor<64xf32>, %ks: tensor<64xf32>,
                  %vs: tensor<64xf32>, %c: tensor<?x64xbf16>, %s: tensor<?x64xbf16>)
    -> (tensor<?x512xbf16>, tensor<?x128xbf16>, tensor<?x64xbf16>) {
  %a, %b, %d = qlinear.rotary %q, %k, %v norms(%qs, %ks, %vs) epsilon = 1.0e-06 by %c, %s head = 64 unrotated = 1
      : (tensor<?x512xbf16>, tensor<?x128xbf16>, tensor<?x64xbf16>, tensor<64xf32>, tensor<64xf32>, tensor<64xf32>,
         tensor<?x64xbf16>, tensor<?x64xbf16>) -> (tensor<?x512xbf16>, tensor<?x128xbf16>, tensor<?x64xbf16>)
  return %a, %b, %d : tensor<?x512xbf16>, tensor<?x128xbf16>, tensor<?x64xbf16>
}

func.func @keys_are_values(%q: tensor<?x99xf16>, %k: tensor<?x66xf16>, %qs: tensor<33xf16>, %ks: tensor<33xf16>,
                           %c: tensor<?x22xf32>, %s: tensor<?x22xf32>)
    -> (tensor<?x99xf16>, tensor<?x66xf16>, tensor<?x66xf16>) {
  %zeros = arith.constant dense<0.0> : tensor<33xf16>
  %a, %b, %d = qlinear.rotary %q, %k, %k norms(%qs, %ks, %zeros) zero_centered epsilon = 0.1 by %c, %s head = 33 unrotated = 1
      : (tensor<?x99xf16>, tensor<?x66xf16>, tensor<?x66xf16>, tensor<33xf16>, tensor<33xf16>, tensor<33xf16>,
         tensor<?x22xf32>, tensor<?x22xf32>) -> (tensor<?x99xf16>, tensor<?x66xf16>, tensor<?x66xf16>)
  return %a, %b, %d : tensor<?x99xf16>, tensor<?x66xf16>, tensor<?x66xf16>
}

// Between a linear and what follows.
#q4 = #qlinear.encoding<i4, group = 32, symmetric, scale = f32>
func.func @linear(%x: tensor<?x32xf32>, %c: tensor<?x2xf32>, %s: tensor<?x2xf32>) -> tensor<?x4xf32> {
  %codes = arith.constant dense<[
      [-1, -4, 3, 7, -6, -8, 7, 0, -1, -2, 7, 7, 4, -4, -1, -4, 4, -8, -6, -3, -7, 1, -8, 0, 7, 4, 5, 4, 6, -4, 3, -5],
      [-7, -4, 7, -2, 0, 5, 1, 5, 4, 3, 5, -1, 2, -8, 0, -3, 2, -5, -2, 0, 1, -5, -6, 7, 7, -6, 3, -6, 5, -4, -8, 1],
      [1, 2, -5, -7, 0, 4, 2, 3, -1, 7, 1, -8, -6, 5, -7, -2, 5, 1, 3, -4, -7, 2, 2, 3, -4, -4, 4, 6, 4, -5, 1, 5],
      [5, 5, -5, -7, -7, 4, 2, 0, -1, -7, 1, -8, -6, -5, -7, -2, 5, 1, 0, -4, -7, 2, 2, 3, -4, 4, 4, 6, 4, -5, 0, 5]]> : tensor<4x32xi4>
  %scales = arith.constant dense<0.5> : tensor<4x1xf32>
  %w = qlinear.pack %codes, %scales : (tensor<4x32xi4>, tensor<4x1xf32>) -> !qlinear.weight<4x32, #q4>
  %y = qlinear.linear %x, %w {activations = #qlinear.activation_format<float>}
      : (tensor<?x32xf32>, !qlinear.weight<4x32, #q4>) -> tensor<?x4xf32>
  %r = qlinear.rotary %y by %c, %s head = 4 : (tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>
  return %r : tensor<?x4xf32>
}
