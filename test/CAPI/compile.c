/*===- compile.c - The compiler through the C API ---------------------------===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/

// What is compiled in the process runs as what quant-compile writes.
// RUN: rm -rf %t && mkdir %t
// RUN: qlinear-capi-compile-test %t/layer.so %t/layer.h | FileCheck %s
// RUN: quant-run %t/layer.so --verify --rows 1,3 | FileCheck %s --check-prefix=RESULT
// RUN: %cc -fsyntax-only -x c -I %src/runtime/include %t/layer.h
// RUN: ls %t | count 2

// RESULT: twice_of  M = 1
// RESULT: ok
// RESULT: twice_of  M = 3
// RESULT: ok

#include "qlinear-c/Compiler.h"
#include "qlinear-c/Dialect.h"

#include "mlir-c/Diagnostics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static MlirStringRef str(const char *text) {
  return mlirStringRefCreateFromCString(text);
}

static void print(MlirStringRef part, void *file) {
  fwrite(part.data, 1, part.length, (FILE *)file);
}

static MlirLogicalResult onDiagnostic(MlirDiagnostic diagnostic, void *unused) {
  (void)unused;
  if (mlirDiagnosticGetSeverity(diagnostic) == MlirDiagnosticError) {
    printf("error: ");
    mlirDiagnosticPrint(diagnostic, print, stdout);
    printf("\n");
  }
  return mlirLogicalResultSuccess();
}

/* A weight of constants, so that no archive is needed: 2 in each place. */
static const char *const source =
    "func.func @twice_of(%x: tensor<?x64xf32>) -> tensor<?x16xf32> {\n"
    "  %q = arith.constant dense<4> : tensor<16x64xi8>\n"
    "  %s = arith.constant dense<0.5> : tensor<16x2xf32>\n"
    "  %w = qlinear.pack %q, %s : (tensor<16x64xi8>, tensor<16x2xf32>) ->"
    " !qlinear.weight<16x64, #qlinear.encoding<i8, group = 32, symmetric, scale = "
    "f32>>\n"
    "  %y = qlinear.linear %x, %w : (tensor<?x64xf32>, !qlinear.weight<16x64,"
    " #qlinear.encoding<i8, group = 32, symmetric, scale = f32>>) -> tensor<?x16xf32>\n"
    "  return %y : tensor<?x16xf32>\n"
    "}\n";

static MlirModule parse(MlirContext context, const char *text) {
  MlirModule module = mlirModuleCreateParse(context, str(text));
  if (mlirModuleIsNull(module))
    exit(1);
  return module;
}

static bool compile(MlirContext context, const char *text,
                    const MlirQLinearCompileOptions *options, const char *path,
                    const char *header) {
  MlirModule module = parse(context, text);
  MlirLogicalResult result =
      mlirQLinearCompile(module, options, str(path), str(header));
  mlirModuleDestroy(module);
  return mlirLogicalResultIsSuccess(result);
}

struct Text {
  char *data;
  size_t size;
};

static void append(MlirStringRef part, void *to) {
  struct Text *text = (struct Text *)to;
  text->data = (char *)realloc(text->data, text->size + part.length + 1);
  memcpy(text->data + text->size, part.data, part.length);
  text->size += part.length;
  text->data[text->size] = 0;
}

/* The PTX for a target, and its first directives printed. */
static struct Text ptxOf(MlirModule module, MlirQLinearCompileOptions *options,
                         const char *target) {
  struct Text text = {NULL, 0};
  const char *version;
  options->targets = str(target);
  if (mlirLogicalResultIsFailure(
          mlirQLinearCompileToPTX(module, options, append, &text)))
    return text;
  version = strstr(text.data, ".version");
  printf("%.26s\n", version ? version : "none");
  return text;
}

int main(int argc, char **argv) {
  MlirDialectRegistry registry = mlirDialectRegistryCreate();
  MlirQLinearCompileOptions options = mlirQLinearCompileOptionsGetDefault();
  MlirContext context;
  MlirModule module;
  struct Text ptx[4];
  int i;
  if (argc != 3)
    return 2;
  setvbuf(stdout, NULL, _IONBF, 0);
  mlirRegisterQLinearCompiler(registry);
  context = mlirContextCreateWithRegistry(registry, /*threadingEnabled=*/false);
  mlirContextAttachDiagnosticHandler(context, onDiagnostic, NULL, NULL);

  if (!compile(context, source, &options, argv[1], argv[2]))
    return 1;

  // Compilations for different targets in one process have nothing of each other.
  // CHECK: .version 8.0
  // CHECK-NEXT: .target sm_90
  // CHECK-NEXT: .version 7.4
  // CHECK-NEXT: .target sm_80
  // CHECK-NEXT: .version 8.0
  // CHECK-NEXT: .target sm_90
  // CHECK-NEXT: .version 7.4
  // CHECK-NEXT: .target sm_80
  module = parse(context, source);
  for (i = 0; i < 4; ++i)
    ptx[i] = ptxOf(module, &options, i % 2 ? "cuda:sm_80" : "cuda:sm_90");
  for (i = 0; i < 4; ++i)
    if (!ptx[i].data || (i >= 2 && strcmp(ptx[i].data, ptx[i - 2].data) != 0))
      return 1;
  for (i = 0; i < 4; ++i)
    free(ptx[i].data);

  // CHECK-NEXT: error: PTX is made for one CUDA target, such as cuda:sm_90, not for
  // CHECK-SAME: 'cpu'
  options.targets = str("cpu");
  if (mlirLogicalResultIsSuccess(
          mlirQLinearCompileToPTX(module, &options, append, &ptx[0])))
    return 1;

  // A version of PTX that is none, that LLVM does not write, or that lacks the chip.
  // CHECK-COUNT-2: error: there is no PTX version 'x' for kernels on sm_90; there
  // are 8.0, CHECK-COUNT-2: error: there is no PTX version '9.9' for kernels on sm_90;
  // there are 8.0, CHECK-COUNT-2: error: there is no PTX version '8.0' for kernels on
  // sm_120; there are 8.
  {
    const char *versions[3] = {"x", "9.9", "8.0"};
    for (i = 0; i < 3; ++i) {
      options.ptxVersion = str(versions[i]);
      if (ptxOf(module, &options, i == 2 ? "cuda:sm_120" : "cuda:sm_90").data)
        return 1;
      if (compile(context, source, &options, argv[1], ""))
        return 1;
    }
    options.ptxVersion = str("8.1");
    // CHECK-NEXT: .version 8.1
    // CHECK-NEXT: .target sm_90
    ptx[0] = ptxOf(module, &options, "cuda:sm_90");
    if (!ptx[0].data)
      return 1;
    free(ptx[0].data);
    options.ptxVersion = mlirQLinearCompileOptionsGetDefault().ptxVersion;
  }

  // Kernels for one row only are among those of which each is the fastest.
  // CHECK-NEXT: .version 8.0
  // CHECK-NEXT: .target sm_90
  // CHECK-NEXT: .version 8.0
  // CHECK-NEXT: .target sm_90
  for (i = 0; i < 2; ++i) {
    options.batchInvariant = i == 1;
    ptx[0] = ptxOf(module, &options, "cuda:sm_90");
    if (!ptx[0].data || (strstr(ptx[0].data, "_m1(") != NULL) != (i == 0))
      return 1;
    free(ptx[0].data);
  }
  options.batchInvariant = false;
  mlirModuleDestroy(module);

  // CHECK-NEXT: error: unknown target 'tpu'; targets are cuda:sm_NN
  options.targets = str("tpu");
  if (compile(context, source, &options, argv[1], ""))
    return 1;

  // CHECK-NEXT: error: the module has no public function with a body
  options.targets = str("cpu");
  if (compile(context, "module {}", &options, argv[1], ""))
    return 1;

  options.targets = str("cpu:portable");
  // CHECK-NEXT: error: {{.*}}/nowhere/at/all
  if (compile(context, source, &options, "/nowhere/at/all/layer.so", ""))
    return 1;

  // CHECK-NEXT: error: {{.*}}QLinearRuntime
  options.runtimeDir = str("/nowhere/at/all");
  if (compile(context, source, &options, argv[1], ""))
    return 1;

  mlirContextDestroy(context);
  mlirDialectRegistryDestroy(registry);
  // CHECK-NEXT: all well
  puts("all well");
  return 0;
}
