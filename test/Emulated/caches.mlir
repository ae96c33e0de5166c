// Keys and values that qlinear.rotary writes into caches, against float64, on the emulated device,
// its accesses checked, and on CPUs: a place for each head or for each token, pieces of some heads,
// places outside, which nothing is written to, heads that are normalized first, values that are only
// copied, no queries, two writes of one cache, heads that are no multiple of a vector.

// REQUIRES: asan-runtime
// RUN: quant-compile %s --target=cuda:emulated --sanitize=address -o %t.so
// RUN: %with_asan quant-run %t.so --device emulated --rows 1,3,8,70 --verify > %t.log
// RUN: %with_asan quant-run %t.so --device emulated:5 --rows 5,400 --verify >> %t.log
// RUN: quant-compile %s --target=cpu -o %t.cpu.so
// RUN: quant-run %t.cpu.so --device cpu --rows 1,3,8,70 --verify >> %t.log
// RUN: quant-run %t.cpu.so --device cpu:2 --rows 5,400 --verify >> %t.log
// RUN: grep -c ": ok" %t.log | FileCheck %s
// CHECK: {{^}}192{{$}}

// A function writes caches that are its arguments.
// RUN: quant-inspect %t.cpu.so | FileCheck %s --check-prefix=SIGNATURE
// SIGNATURE: heads {{.*}}bf16 [R,64], bf16 [R,64], i32 [M,2]{{ +}}bf16 [M,512]

// On buffers it is the same operation, which writes them in place; a cache that is read later is
// copied first.
// RUN: quant-opt %s --one-shot-bufferize="bufferize-function-boundaries" \
// RUN:   | FileCheck %s --check-prefix=BUFFERS
// BUFFERS-LABEL: func.func @heads(
// BUFFERS-SAME: %[[KEYS:[a-z0-9]+]]: memref<?x64xbf16, strided<[?, ?], offset: ?>>, %[[VALUES:[a-z0-9]+]]: memref<?x64xbf16, strided<[?, ?], offset: ?>>, %[[AT:[a-z0-9]+]]: memref<?x2xi32
// BUFFERS-NOT: memref.copy
// BUFFERS: qlinear.rotary {{.*}} into(%[[KEYS]], %[[VALUES]] at %[[AT]]) outs(%{{.*}})
// BUFFERS-NOT: memref.copy
// BUFFERS-LABEL: func.func @twice

// RUN: quant-opt %s --qlinear-to-reference | FileCheck %s --check-prefix=REFERENCE
// REFERENCE-LABEL: @heads
// REFERENCE: scf.for
// REFERENCE: tensor.insert_slice
// REFERENCE-NOT: qlinear.rotary

// One launch, to which the caches and how many rows they have are arguments.
// RUN: quant-opt %s --qlinear-cuda=target=cuda:sm_90 | FileCheck %s --check-prefix=LAUNCH
// LAUNCH-LABEL: func.func @heads
// LAUNCH: qlinear.launch {{.*}} caches(%{{.*}}, %{{.*}}) pdl
// LAUNCH-NOT: qlinear.launch
// LAUNCH: return

func.func @heads(%q: tensor<?x512xbf16>, %k: tensor<?x128xbf16>, %v: tensor<?x128xbf16>, %c: tensor<?x64xf32>, %s: tensor<?x64xf32>,
                 %keys: tensor<?x64xbf16>, %values: tensor<?x64xbf16>, %at: tensor<?x2xi32>)
    -> (tensor<?x512xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>) {
  %a, %b, %d = qlinear.rotary %q, %k, %v by %c, %s head = 64 unrotated = 1 into(%keys, %values at %at)
      : (tensor<?x512xbf16>, tensor<?x128xbf16>, tensor<?x128xbf16>, tensor<?x64xf32>, tensor<?x64xf32>,
         tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x2xi32>) -> (tensor<?x512xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>)
  return %a, %b, %d : tensor<?x512xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>
}

// Two operations write it, one after the other.
func.func @twice(%k: tensor<?x24xf32>, %l: tensor<?x24xf32>, %c: tensor<?x8xf16>, %keys: tensor<?x24xf32>, %at: tensor<?x1xi32>)
    -> tensor<?x24xf32> {
  %a = qlinear.rotary %k by %c, %c head = 8 into(%keys at %at)
      : (tensor<?x24xf32>, tensor<?x8xf16>, tensor<?x8xf16>, tensor<?x24xf32>, tensor<?x1xi32>) -> tensor<?x24xf32>
  %b = qlinear.rotary %l by %c, %c head = 8 into(%a at %at)
      : (tensor<?x24xf32>, tensor<?x8xf16>, tensor<?x8xf16>, tensor<?x24xf32>, tensor<?x1xi32>) -> tensor<?x24xf32>
  return %b : tensor<?x24xf32>
}

// All heads of a token side by side; values that are the keys, normalized.
func.func @tokens(%q: tensor<?x256xf16>, %k: tensor<?x128xf16>, %qs: tensor<32xf32>, %ks: tensor<32xf32>, %vs: tensor<32xf32>,
                  %c: tensor<?x32xbf16>, %s: tensor<?x32xbf16>, %at: tensor<?x1xi32>, %keys: tensor<?x128xf16>, %values: tensor<?x128xf16>)
    -> (tensor<?x256xf16>, tensor<?x128xf16>, tensor<?x128xf16>) {
  %a, %b, %d = qlinear.rotary %q, %k, %k norms(%qs, %ks, %vs) zero_centered epsilon = 1.0e-06 by %c, %s head = 32 unrotated = 1
      into(%keys, %values at %at)
      : (tensor<?x256xf16>, tensor<?x128xf16>, tensor<?x128xf16>, tensor<32xf32>, tensor<32xf32>, tensor<32xf32>,
         tensor<?x32xbf16>, tensor<?x32xbf16>, tensor<?x128xf16>, tensor<?x128xf16>, tensor<?x1xi32>)
        -> (tensor<?x256xf16>, tensor<?x128xf16>, tensor<?x128xf16>)
  return %a, %b, %d : tensor<?x256xf16>, tensor<?x128xf16>, tensor<?x128xf16>
}

// Odd heads, two of them a piece; the cache comes back first.
func.func @odd(%q: tensor<?x33xf32>, %k: tensor<?x198xf32>, %c: tensor<?x22xf32>, %s: tensor<?x22xf32>,
               %keys: tensor<?x66xf32>, %at: tensor<?x3xi32>) -> (tensor<?x66xf32>, tensor<?x33xf32>) {
  %a, %b = qlinear.rotary %q, %k by %c, %s head = 33 into(%keys at %at)
      : (tensor<?x33xf32>, tensor<?x198xf32>, tensor<?x22xf32>, tensor<?x22xf32>, tensor<?x66xf32>, tensor<?x3xi32>)
        -> (tensor<?x33xf32>, tensor<?x66xf32>)
  return %b, %a : tensor<?x66xf32>, tensor<?x33xf32>
}

// Values are neither normalized nor rotated.
func.func @some_norms(%q: tensor<?x64xbf16>, %k: tensor<?x128xbf16>, %v: tensor<?x128xbf16>, %qs: tensor<64xbf16>, %ks: tensor<64xbf16>,
                      %c: tensor<?x64xf32>, %s: tensor<?x64xf32>, %at: tensor<?x2xi32>, %keys: tensor<?x64xbf16>, %values: tensor<?x64xbf16>)
    -> (tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>) {
  %a, %b, %d = qlinear.rotary %q, %k, %v norms(%qs, %ks) epsilon = 1.0e-05 by %c, %s head = 64 unrotated = 1 into(%keys, %values at %at)
      : (tensor<?x64xbf16>, tensor<?x128xbf16>, tensor<?x128xbf16>, tensor<64xbf16>, tensor<64xbf16>,
         tensor<?x64xf32>, tensor<?x64xf32>, tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x2xi32>)
        -> (tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>)
  return %a, %b, %d : tensor<?x64xbf16>, tensor<?x64xbf16>, tensor<?x64xbf16>
}

// Of as many rows as the type says.
func.func @fixed(%k: tensor<?x64xf16>, %v: tensor<?x64xf16>, %n: tensor<32xf16>, %c: tensor<?x16xf16>, %s: tensor<?x16xf16>,
                 %keys: tensor<500x64xf16>, %values: tensor<500x64xf16>, %at: tensor<?x1xi32>)
    -> (tensor<500x64xf16>, tensor<500x64xf16>) {
  %a, %b = qlinear.rotary %k, %v norms(%n, %n) epsilon = 0.25 by %c, %s head = 32 into(%keys, %values at %at)
      : (tensor<?x64xf16>, tensor<?x64xf16>, tensor<32xf16>, tensor<32xf16>, tensor<?x16xf16>, tensor<?x16xf16>,
         tensor<500x64xf16>, tensor<500x64xf16>, tensor<?x1xi32>) -> (tensor<500x64xf16>, tensor<500x64xf16>)
  return %a, %b : tensor<500x64xf16>, tensor<500x64xf16>
}

// Behind a linear, with its result.
#q4 = #qlinear.encoding<i4, group = 32, symmetric, scale = f32>
func.func @linear(%x: tensor<?x32xf32>, %c: tensor<?x2xf32>, %s: tensor<?x2xf32>, %keys: tensor<?x2xf32>, %at: tensor<?x2xi32>)
    -> (tensor<?x4xf32>, tensor<?x2xf32>) {
  %codes = arith.constant dense<[
      [-1, -4, 3, 7, -6, -8, 7, 0, -1, -2, 7, 7, 4, -4, -1, -4, 4, -8, -6, -3, -7, 1, -8, 0, 7, 4, 5, 4, 6, -4, 3, -5],
      [-7, -4, 7, -2, 0, 5, 1, 5, 4, 3, 5, -1, 2, -8, 0, -3, 2, -5, -2, 0, 1, -5, -6, 7, 7, -6, 3, -6, 5, -4, -8, 1],
      [1, 2, -5, -7, 0, 4, 2, 3, -1, 7, 1, -8, -6, 5, -7, -2, 5, 1, 3, -4, -7, 2, 2, 3, -4, -4, 4, 6, 4, -5, 1, 5],
      [5, 5, -5, -7, -7, 4, 2, 0, -1, -7, 1, -8, -6, -5, -7, -2, 5, 1, 0, -4, -7, 2, 2, 3, -4, 4, 4, 6, 4, -5, 0, 5]]> : tensor<4x32xi4>
  %scales = arith.constant dense<0.5> : tensor<4x1xf32>
  %w = qlinear.pack %codes, %scales : (tensor<4x32xi4>, tensor<4x1xf32>) -> !qlinear.weight<4x32, #q4>
  %y = qlinear.linear %x, %w {activations = #qlinear.activation_format<float>}
      : (tensor<?x32xf32>, !qlinear.weight<4x32, #q4>) -> tensor<?x4xf32>
  %r, %n = qlinear.rotary %y, %y by %c, %s head = 2 into(%keys at %at)
      : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xi32>)
        -> (tensor<?x4xf32>, tensor<?x2xf32>)
  return %r, %n : tensor<?x4xf32>, tensor<?x2xf32>
}
