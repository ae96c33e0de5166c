/*===- FromC.c - The runtime's headers are C --------------------------------===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/

#include "qlinear-runtime/artifact.h"
#include "qlinear-runtime/packed.h"
#include "qlinear-runtime/runtime.h"
#include "qlinear-runtime/torch.h"

#include <string.h>

/* Runs one doubling kernel through the C ABI; 0 if all is well, else the line. */
#define CHECK(condition)                                                               \
  if (!(condition))                                                                    \
  return __LINE__

static void twice(void *const *args, int32_t rows, int64_t begin, int64_t end) {
  const float *x = (const float *)args[0];
  float *y = (float *)args[1];
  for (int32_t m = 0; m < rows; ++m)
    for (int64_t i = begin; i < end; ++i)
      y[m * 4 + i] = 2 * x[m * 4 + i];
}

static const char manifest[] =
    "{\"version\": 1, \"weights\": [], \"targets\": [{\"target\": \"cpu:portable\","
    " \"functions\": [{\"name\": \"twice\","
    "  \"inputs\": [{\"dtype\": \"f32\", \"shape\": [-1, 4]}],"
    "  \"outputs\": [{\"dtype\": \"f32\", \"shape\": [-1, 4]}],"
    "  \"steps\": [{\"kernels\": [{\"rows\": 8, \"name\": \"twice\", \"items\": 4}],"
    "   \"args\": [{\"input\": 0, \"row_stride\": 16},"
    "              {\"output\": 0, \"row_stride\": 16}]}]}]}]}";

/* A packed weight whose second tile differs from the first, cut and put together. */
static int cutsWeights(void) {
  static const char encoding[] = "i4, group = 32, symmetric, scale = f16";
  unsigned char whole[8192], part[8192], again[8192];
  int64_t extents[2] = {16, 16};
  qlr_blob blob = {NULL, 0}, parts[2];
  size_t bytes = 0, i;
  CHECK(qlr_packed_bytes(encoding, 32, 256, &bytes) == QLR_OK);
  CHECK(bytes <= sizeof whole && bytes % 2 == 0);
  for (i = 0; i < bytes; ++i)
    whole[i] = (unsigned char)(i < bytes / 2 ? 1 : 2);
  blob.data = whole;
  blob.bytes = bytes;
  CHECK(qlr_packed_slice(encoding, 32, 256, blob, 16, 32, 0, 256, part, bytes / 2) ==
        QLR_OK);
  CHECK(part[0] == 2 && part[bytes / 2 - 1] == 2);
  parts[0].data = whole;
  parts[1].data = part;
  parts[0].bytes = parts[1].bytes = bytes / 2;
  CHECK(qlr_packed_concat(encoding, QLR_ROWS, 256, extents, parts, 2, again, bytes) ==
        QLR_OK);
  CHECK(memcmp(whole, again, bytes) == 0);
  CHECK(qlr_packed_slice(encoding, 32, 256, blob, -16, 32, 0, 256, part, bytes / 2) ==
        QLR_INVALID_ARGUMENT);
  CHECK(qlr_packed_slice(encoding, 32, 256, blob, 0, 16, 0, 256, NULL, bytes / 2) ==
        QLR_INVALID_ARGUMENT);
  CHECK(qlr_packed_bytes(NULL, 32, 256, &bytes) == QLR_INVALID_ARGUMENT);
  CHECK(qlr_packed_concat(encoding, QLR_ROWS, 256, NULL, NULL, 2, again, bytes) ==
        QLR_INVALID_ARGUMENT);
  return 0;
}

int qlrTestFromC(void);
int qlrTestFromC(void) {
  qlinear_image image;
  qlinear_artifact_v1 descriptor;
  qlr_device *device = NULL;
  qlr_artifact *artifact = NULL;
  qlr_module *module = NULL;
  float x[12] __attribute__((aligned(16))), y[12] __attribute__((aligned(16)));
  qlr_tensor in = {NULL, QLR_F32, 2, {3, 4, 0, 0}},
             out = {NULL, QLR_F32, 2, {3, 4, 0, 0}};
  qlr_dltensor dlIn = {NULL, 1, 0, 2, 2, 32, 1, NULL, NULL, 0}, dlOut = dlIn;
  const qlr_dltensor *dlInputs = &dlIn, *dlOutputs = &dlOut;
  int i, line = cutsWeights();

  if (line)
    return line;
  image.name = "cpu:portable/twice";
  image.data = (const void *)twice;
  image.size = 0;
  descriptor.magic = QLINEAR_ARTIFACT_MAGIC;
  descriptor.manifest = manifest;
  descriptor.manifest_size = sizeof manifest - 1;
  descriptor.images = &image;
  descriptor.n_images = 1;
  CHECK(memcmp(&descriptor.magic, "QLINEAR1", 8) == 0);
  CHECK(qlr_device_open("cpu:2", &device) == QLR_OK);
  CHECK(qlr_artifact_from_descriptor(&descriptor, &artifact) == QLR_OK);
  CHECK(qlr_module_load(device, artifact, NULL, &module) == QLR_OK);
  CHECK(strcmp(qlr_artifact_manifest(artifact), manifest) == 0);
  CHECK(qlr_function_count(module) == 1);
  CHECK(strcmp(qlr_function_name(module, 0), "twice") == 0);
  CHECK(qlr_function_name(module, 1) == NULL);
  CHECK(qlr_function_index(module, "once") == -1);
  for (i = 0; i < 12; ++i)
    x[i] = (float)i;
  in.data = x;
  out.data = y;
  CHECK(qlr_call(module, 0, NULL, &in, 1, &out, 1, NULL) == QLR_OK);
  for (i = 0; i < 12; ++i)
    CHECK(y[i] == 2 * x[i]);
  for (i = 0; i < 12; ++i)
    y[i] = -1;
  dlIn.data = x;
  dlOut.data = y;
  dlIn.shape = dlOut.shape = in.shape;
  CHECK(qlr_call_dlpack(module, 0, NULL, &dlInputs, 1, &dlOutputs, 1, NULL, 0, NULL) ==
        QLR_OK);
  for (i = 0; i < 12; ++i)
    CHECK(y[i] == 2 * x[i]);
  qlr_module_unload(module);
  qlr_artifact_close(artifact);
  qlr_device_close(device);
  return 0;
}
