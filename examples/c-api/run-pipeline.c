/*===- run-pipeline.c - The compiler from a C program -----------------------===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===------------------------------------------------------------------------===*|
|*
|*   run-pipeline PIPELINE < layer.mlir
|*
|* Says how large each weight is, runs a textual pipeline and prints the result.
|*
\*===----------------------------------------------------------------------===*/
#include "qlinear-c/Dialect.h"
#include "qlinear-c/Passes.h"

#include "mlir-c/BuiltinAttributes.h"
#include "mlir-c/Pass.h"
#include "mlir-c/RegisterEverything.h"

#include <stdio.h>
#include <stdlib.h>

static void print(MlirStringRef text, void *file) {
  fwrite(text.data, 1, text.length, (FILE *)file);
}

/* Visits the operations: prints the sizes of the parameters. */
static MlirWalkResult describe(MlirOperation op, void *unused) {
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  (void)unused;
  if (mlirStringRefEqual(name, mlirStringRefCreateFromCString("qlinear.parameter"))) {
    MlirType type = mlirTypeAttrGetValue(
        mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("type")));
    MlirStringRef symbol = mlirStringAttrGetValue(mlirOperationGetAttributeByName(
        op, mlirStringRefCreateFromCString("sym_name")));
    double weights = (double)mlirQLinearWeightTypeGetN(type) *
                     (double)mlirQLinearWeightTypeGetK(type);
    fprintf(stderr, "%.*s: %.3f bits per weight\n", (int)symbol.length, symbol.data,
            8 * (double)mlirQLinearWeightTypeGetBytes(type) / weights);
  }
  return MlirWalkResultAdvance;
}

static char *readAll(FILE *file) {
  size_t size = 0, capacity = 4096, got;
  char *text = malloc(capacity);
  while (text && (got = fread(text + size, 1, capacity - size - 1, file)) > 0) {
    size += got;
    if (capacity - size < 2)
      text = realloc(text, capacity *= 2);
  }
  if (text)
    text[size] = 0;
  return text;
}

int main(int argc, char **argv) {
  MlirDialectRegistry registry;
  MlirContext context;
  MlirModule module;
  MlirPassManager manager;
  char *source;
  int status = 1;

  if (argc != 2) {
    fprintf(stderr, "usage: run-pipeline PIPELINE < layer.mlir\n");
    return 2;
  }
  mlirRegisterAllQLinearPasses();
  registry = mlirDialectRegistryCreate();
  mlirRegisterAllDialects(registry);
  mlirDialectHandleInsertDialect(mlirGetDialectHandle__qlinear__(), registry);
  context = mlirContextCreateWithRegistry(registry, /*threadingEnabled=*/false);
  manager = mlirPassManagerCreate(context);

  source = readAll(stdin);
  module = mlirModuleCreateParse(context, mlirStringRefCreateFromCString(source));
  free(source);
  if (!mlirModuleIsNull(module)) {
    MlirOperation op = mlirModuleGetOperation(module);
    if (mlirLogicalResultIsSuccess(mlirOpPassManagerAddPipeline(
            mlirPassManagerGetAsOpPassManager(manager),
            mlirStringRefCreateFromCString(argv[1]), print, stderr)) &&
        mlirLogicalResultIsSuccess(mlirPassManagerRunOnOp(manager, op))) {
      mlirOperationWalk(op, describe, NULL, MlirWalkPreOrder);
      mlirOperationPrint(op, print, stdout);
      status = 0;
    }
    mlirModuleDestroy(module);
  }
  mlirPassManagerDestroy(manager);
  mlirContextDestroy(context);
  mlirDialectRegistryDestroy(registry);
  return status;
}
