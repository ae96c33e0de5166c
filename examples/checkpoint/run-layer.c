/*===- run-layer.c - A layer of a compiled checkpoint ------------- C -*-===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===--------------------------------------------------------------------===*|
|*
|* Gate and up of the first MLP, for one token, on this CPU. K and N are from
|* model.functions.json.
|*
\*===--------------------------------------------------------------------===*/
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

enum { K = 256, N = 512 };

static void check(int status) {
  if (status != QLR_OK) {
    fprintf(stderr, "%s\n", qlr_last_error());
    exit(1);
  }
}

int main(void) {
  qlr_device *device;
  qlr_artifact *artifact;
  qlr_module *module;
  qlr_workspace *workspace;
  static float x[K] = {1, 2, 3}, y[N];
  const qlr_tensor in = {x, QLR_F32, 2, {1, K}}, out = {y, QLR_F32, 2, {1, N}};
  check(qlr_device_open("cpu", &device));
  check(qlr_artifact_from_descriptor(&qlinear_artifact, &artifact));
  check(qlr_module_load(device, artifact, "model.packed.safetensors", &module));
  int32_t layer = qlr_function_index(module, "blk_0_ffn_gate_up");
  check(qlr_workspace_create(module, layer, /*max_rows=*/1, &workspace));
  check(blk_0_ffn_gate_up(module, workspace, &in, &out, /*stream=*/NULL));
  printf("%.6g %.6g\n", y[0], y[N - 1]);
}
