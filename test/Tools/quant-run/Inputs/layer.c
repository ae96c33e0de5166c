/*===- layer.c - An artifact written by hand --------------------------------===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* y = x W^T for a 48 x 64 weight of int8 codes with an f32 scale per group of 32,
|* on activations quantized to int8 per 32, as C; `gate` adds a bias and a tanh;
|* `wrong` is off by 1%; `nans` has a NaN in the first row of all. make_archive.py writes
|* the weight.
|*
\*===----------------------------------------------------------------------===*/

#include "qlinear-runtime/artifact.h"

#include <math.h>
#include <string.h>

enum { N = 48, K = 64, CHUNKS = 2, TILE = 1152, CODES = 1024 };

static float dot(const unsigned char *blob, const float *x, int64_t n) {
  const unsigned char *tile = blob + n / 16 * TILE;
  int64_t row = n % 16, j = row / 4, r0 = row % 4;
  double sum = 0;
  for (int c = 0; c < CHUNKS; ++c) {
    float largest = 0, inverse, scale;
    int64_t integer = 0;
    for (int i = 0; i < 32; ++i)
      largest = fmaxf(largest, fabsf(x[32 * c + i]));
    inverse = largest > 0 ? 127.0f / largest : 0;
    for (int i = 0; i < 32; ++i) {
      const unsigned char *codes = tile + i / 16 * (CODES / 2) + (row * CHUNKS + c) * 16;
      integer += (int)rintf(x[32 * c + i] * inverse) * (codes[i % 16] - 128);
    }
    memcpy(&scale, tile + CODES + (r0 * CHUNKS + c) * 16 + j * 4, 4);
    sum += (double)scale * (double)(largest / 127.0f) * (double)integer;
  }
  return (float)sum;
}

static void linear(void *const *args, int32_t rows, int64_t begin, int64_t end) {
  for (int32_t m = 0; m < rows; ++m)
    for (int64_t n = begin; n < end; ++n)
      ((float *)args[2])[m * N + n] = dot(args[0], (const float *)args[1] + m * K, n);
}

static void wrong(void *const *args, int32_t rows, int64_t begin, int64_t end) {
  linear(args, rows, begin, end);
  for (int32_t m = 0; m < rows; ++m)
    for (int64_t n = begin; n < end; ++n)
      ((float *)args[2])[m * N + n] *= 1.01f;
}

static void nans(void *const *args, int32_t rows, int64_t begin, int64_t end) {
  static int calls;
  linear(args, rows, begin, end);
  if (begin == 0 && calls++ == 0)
    *(float *)args[2] = NAN;
}

/* bf16, rounded to nearest even. */
static uint16_t narrow(float v) {
  uint32_t bits;
  memcpy(&bits, &v, 4);
  return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static void gate(void *const *args, int32_t rows, int64_t begin, int64_t end) {
  const float *bias = args[2];
  for (int32_t m = 0; m < rows; ++m)
    for (int64_t n = begin; n < end; ++n) {
      float v = dot(args[0], (const float *)args[1] + m * K, n) + bias[n];
      ((uint16_t *)args[3])[m * N + n] = narrow(tanhf(v) * v);
    }
}

#define SIGNATURE(NAME)                                                        \
  "{\"name\": \"" NAME "\","                                                   \
  " \"inputs\": [{\"dtype\": \"f32\", \"shape\": [-1, 64]}],"                  \
  " \"outputs\": [{\"dtype\": \"f32\", \"shape\": [-1, 48]}],"                 \
  " \"steps\": [{\"kernels\": [{\"rows\": 2, \"name\": \"" NAME "\", \"items\": 48}]," \
  "   \"args\": [{\"weight\": 0}, {\"input\": 0, \"row_stride\": 256},"        \
  "              {\"output\": 0, \"row_stride\": 192}]}],"                     \
  " \"reference\": {\"ops\": [{\"op\": \"linear\", \"x\": {\"input\": 0},"     \
  "                 \"int8\": true, \"weights\": [0]}],"                       \
  "                 \"outputs\": [{\"result\": 0}]}}"

static const char manifest[] =
    "{\"version\": 1, \"producer\": \"by hand\","
    " \"weights\": [{\"name\": \"w\", \"n\": 48, \"k\": 64, \"bytes\": 3456,"
    "   \"encoding\": \"i8, group = 32, symmetric, scale = f32\"}],"
    " \"targets\": [{\"target\": \"cpu:portable\", \"functions\": ["
    SIGNATURE("linear") "," SIGNATURE("wrong") "," SIGNATURE("nans") ","
    "{\"name\": \"gate\","
    " \"inputs\": [{\"dtype\": \"f32\", \"shape\": [-1, 64]},"
    "              {\"dtype\": \"f32\", \"shape\": [48]}],"
    " \"outputs\": [{\"dtype\": \"bf16\", \"shape\": [-1, 48]}],"
    " \"steps\": [{\"kernels\": [{\"rows\": 1, \"name\": \"gate\", \"items\": 48}],"
    "   \"args\": [{\"weight\": 0}, {\"input\": 0, \"row_stride\": 256},"
    "              {\"input\": 1}, {\"output\": 0, \"row_stride\": 96}]}],"
    " \"reference\": {\"ops\": [{\"op\": \"linear\", \"x\": {\"input\": 0},"
    "   \"int8\": true, \"weights\": [0], \"extras\": [{\"input\": 1}],"
    "   \"body\": [{\"op\": \"arith.addf\", \"args\": [0, 1]},"
    "              {\"op\": \"math.tanh\", \"args\": [2]},"
    "              {\"op\": \"arith.mulf\", \"args\": [3, 2]}],"
    "   \"yield\": [4], \"dtypes\": [\"bf16\"]}],"
    "   \"outputs\": [{\"result\": 0}]}}]}]}";

static const qlinear_image images[] = {
    {"cpu:portable/linear", (const void *)linear, 0},
    {"cpu:portable/wrong", (const void *)wrong, 0},
    {"cpu:portable/nans", (const void *)nans, 0},
    {"cpu:portable/gate", (const void *)gate, 0},
};

__attribute__((visibility("default"))) const qlinear_artifact_v1 qlinear_artifact = {
    UINT64_C(0x315241454E494C51), manifest, sizeof manifest - 1, images, 4};
