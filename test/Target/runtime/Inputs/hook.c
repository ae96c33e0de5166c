/*===- hook.c - What a program does about launches that fail ------*- C -*-===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/
#include "qlinear-runtime/program.h"

#include <stdio.h>
#include <stdlib.h>

static int seven = 7;

static void onFailure(qlr_status status, const char *message, void *user) {
  fprintf(stderr, "the hook of %d got %d: %s\n", *(int *)user, (int)status, message);
  exit(3);
}

__attribute__((constructor)) static void install(void) {
  qlr_program_set_fail_hook(onFailure, &seven);
}
