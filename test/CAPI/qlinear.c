/*===- qlinear.c - The C API, used from C -----------------------------------===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
\*===----------------------------------------------------------------------===*/

// RUN: qlinear-capi-test | FileCheck %s

#include "qlinear-c/Dialect.h"
#include "qlinear-c/Passes.h"

#include "mlir-c/BuiltinAttributes.h"
#include "mlir-c/BuiltinTypes.h"
#include "mlir-c/Diagnostics.h"
#include "mlir-c/IR.h"
#include "mlir-c/Pass.h"
#include "mlir-c/RegisterEverything.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_THAT(condition)                                                          \
  do                                                                                   \
    if (!(condition)) {                                                                \
      printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                   \
      exit(1);                                                                         \
    }                                                                                  \
  while (0)

static MlirStringRef str(const char *text) {
  return mlirStringRefCreateFromCString(text);
}

static void print(MlirStringRef part, void *file) {
  fwrite(part.data, 1, part.length, (FILE *)file);
}

/* Prints diagnostics rather than MLIR itself, and counts them in *userData. */
static MlirLogicalResult onDiagnostic(MlirDiagnostic diagnostic, void *userData) {
  ++*(int *)userData;
  printf("%s: ", mlirDiagnosticGetSeverity(diagnostic) == MlirDiagnosticError
                     ? "error"
                     : "other");
  mlirDiagnosticPrint(diagnostic, print, stdout);
  printf("\n");
  return mlirLogicalResultSuccess();
}

typedef struct Buffer {
  char text[256];
  size_t length;
} Buffer;

static void append(MlirStringRef part, void *userData) {
  Buffer *buffer = (Buffer *)userData;
  CHECK_THAT(buffer->length + part.length < sizeof(buffer->text));
  memcpy(buffer->text + buffer->length, part.data, part.length);
  buffer->text[buffer->length += part.length] = 0;
}

static int textIs(MlirAttribute encoding, const char *expected) {
  Buffer buffer = {{0}, 0};
  mlirQLinearEncodingAttrPrint(encoding, append, &buffer);
  return strcmp(buffer.text, expected) == 0;
}

// CHECK-LABEL: encodings
static void testEncodings(MlirLocation loc) {
  static const char *const spelling =
      "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>";
  MlirContext context = mlirLocationGetContext(loc);
  MlirQLinearStorage rowStep = {MLIR_QLINEAR_STORAGE_LINEAR, MLIR_QLINEAR_FLOAT_BF16, 8,
                                false, MLIR_QLINEAR_STEP_ROW};
  MlirQLinearEncoding value = {
      4, false, 32, MLIR_QLINEAR_FORM_ZERO, rowStep, rowStep, MLIR_QLINEAR_CODES_INTEGER};
  MlirAttribute row, plain, q4k, q6k, table;
  MlirQLinearEncoding back;
  puts("encodings");

  /* From fields, from the spelling, from the attribute's text: one attribute. */
  row = mlirQLinearEncodingAttrGet(loc, value);
  CHECK_THAT(!mlirAttributeIsNull(row) && mlirAttributeIsAQLinearEncoding(row));
  CHECK_THAT(textIs(row, spelling));
  CHECK_THAT(mlirAttributeEqual(row, mlirQLinearEncodingAttrParse(loc, str(spelling))));
  CHECK_THAT(mlirAttributeEqual(
      row, mlirAttributeParseGet(
               context, str("#qlinear.encoding<u4, group = 32, zero, "
                            "scale = u8 * row<bf16>, offset = u8 * row<bf16>>"))));
  CHECK_THAT(
      mlirTypeIDEqual(mlirAttributeGetTypeID(row), mlirQLinearEncodingAttrGetTypeID()));
  CHECK_THAT(!mlirAttributeIsAQLinearEncoding(mlirUnitAttrGet(context)));
  back = mlirQLinearEncodingAttrGetValue(row);
  CHECK_THAT(back.codeBits == 4 && !back.codesSigned && back.group == 32 &&
             back.form == MLIR_QLINEAR_FORM_ZERO &&
             back.scale.kind == MLIR_QLINEAR_STORAGE_LINEAR && back.scale.bits == 8 &&
             !back.scale.isSigned && back.offset.scope == MLIR_QLINEAR_STEP_ROW &&
             back.offset.type == MLIR_QLINEAR_FLOAT_BF16);

  /* GGUF's, and what they say. */
  q4k = mlirQLinearEncodingAttrGetGGUF(loc, str("Q4_K"));
  CHECK_THAT(textIs(q4k, "u4, group = 32, min, scale = u6 * block<256, f16>, "
                         "offset = u6 * block<256, f16>"));
  q6k = mlirQLinearEncodingAttrGetGGUF(loc, str("Q6_K"));
  back = mlirQLinearEncodingAttrGetValue(q6k);
  CHECK_THAT(back.codeBits == 6 && back.codesSigned && back.group == 16 &&
             back.form == MLIR_QLINEAR_FORM_SYMMETRIC && back.scale.bits == 8 &&
             back.scale.isSigned && back.scale.scope == MLIR_QLINEAR_STEP_BLOCK &&
             back.scale.type == MLIR_QLINEAR_FLOAT_F16 &&
             back.offset.kind == MLIR_QLINEAR_STORAGE_NONE);
  CHECK_THAT(mlirAttributeEqual(q6k, mlirQLinearEncodingAttrGet(loc, back)));

  plain = mlirQLinearEncodingAttrParse(
      loc, str("u4, group = 32, zero, scale = bf16, offset = bf16"));
  CHECK_THAT(!mlirQLinearEncodingAttrIsLossless(plain, row));
  CHECK_THAT(mlirQLinearEncodingAttrIsLossless(plain, plain));

  /* Codes of a table: of 4 values, and of 16. */
  table = mlirQLinearEncodingAttrParse(
      loc, str("example2, group = 32, symmetric, scale = f16"));
  back = mlirQLinearEncodingAttrGetValue(table);
  CHECK_THAT(back.codeBits == 2 && back.codesSigned &&
             back.codeKind == MLIR_QLINEAR_CODES_EXAMPLE2);
  CHECK_THAT(mlirAttributeEqual(table, mlirQLinearEncodingAttrGet(loc, back)));
  table = mlirQLinearEncodingAttrParse(
      loc, str("example4, group = 32, symmetric, scale = f16"));
  back = mlirQLinearEncodingAttrGetValue(table);
  CHECK_THAT(back.codeBits == 4 && back.codesSigned &&
             back.codeKind == MLIR_QLINEAR_CODES_EXAMPLE4);
  CHECK_THAT(mlirAttributeEqual(table, mlirQLinearEncodingAttrGet(loc, back)));
  table = mlirQLinearEncodingAttrGetGGUF(loc, str("IQ4_XS"));
  CHECK_THAT(textIs(
      table, "iq4nl, group = 32, symmetric, scale = i6 * block<256, f16>"));
  back = mlirQLinearEncodingAttrGetValue(table);
  CHECK_THAT(back.codeBits == 4 && back.codeKind == MLIR_QLINEAR_CODES_IQ4NL);
  CHECK_THAT(mlirAttributeEqual(table, mlirQLinearEncodingAttrGet(loc, back)));
  table = mlirQLinearEncodingAttrParse(
      loc, str("e2m1, group = 16, symmetric, scale = e4m3 * row<f32>"));
  back = mlirQLinearEncodingAttrGetValue(table);
  CHECK_THAT(back.codeKind == MLIR_QLINEAR_CODES_E2M1 &&
             back.scale.kind == MLIR_QLINEAR_STORAGE_SCALED && back.scale.bits == 8 &&
             back.scale.type == MLIR_QLINEAR_FLOAT_F32);
  CHECK_THAT(mlirAttributeEqual(table, mlirQLinearEncodingAttrGet(loc, back)));
  table = mlirQLinearEncodingAttrParse(
      loc, str("nf4, group = 64, symmetric, scale = f32"));
  back = mlirQLinearEncodingAttrGetValue(table);
  CHECK_THAT(back.codeKind == MLIR_QLINEAR_CODES_NF4);
  table = mlirQLinearEncodingAttrGetGGUF(loc, str("MXFP4"));
  CHECK_THAT(textIs(table, "e2m1, group = 32, symmetric, scale = e8m0"));
  back = mlirQLinearEncodingAttrGetValue(table);
  CHECK_THAT(back.scale.type == MLIR_QLINEAR_FLOAT_E8M0);
  back.scale.type = MLIR_QLINEAR_FLOAT_F16;
  back.scale.kind = MLIR_QLINEAR_STORAGE_PLAIN;
  back.scale.bits = 0;
  back.scale.isSigned = false;
  back.scale.scope = MLIR_QLINEAR_STEP_CONSTANT;
  back.codeKind = MLIR_QLINEAR_CODES_INTEGER;
  CHECK_THAT(textIs(mlirQLinearEncodingAttrGet(loc, back),
                    "i4, group = 32, symmetric, scale = f16"));

  /* What is impossible is refused with a reason. */
  value.codeBits = 7;
  // CHECK: error: {{.*}}7{{.*}}2, 3, 4, 5, 6 or 8
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearEncodingAttrGet(loc, value)));
  value.codeBits = 256 + 4;
  // CHECK-NEXT: error: {{.*}}2, 3, 4, 5, 6 or 8
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearEncodingAttrGet(loc, value)));
  value.codeBits = 4;
  value.offset.kind = MLIR_QLINEAR_STORAGE_NONE;
  // CHECK-NEXT: error: {{.*}}offset
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearEncodingAttrGet(loc, value)));
  value.offset.kind = (MlirQLinearStorageKind)9;
  // CHECK-NEXT: error: MlirQLinearStorageKind 9 does not exist; the last one is 5
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearEncodingAttrGet(loc, value)));
  // CHECK-NEXT: error: {{.*}}IQ3_S
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearEncodingAttrGetGGUF(loc, str("IQ3_S"))));
  // CHECK-NEXT: error: {{.*}}middling
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearEncodingAttrParse(
      loc, str("u4, group = 32, middling, scale = bf16, offset = bf16"))));
}

// CHECK-LABEL: types
static void testTypes(MlirLocation loc) {
  MlirContext context = mlirLocationGetContext(loc);
  MlirAttribute q4k = mlirQLinearEncodingAttrGetGGUF(loc, str("Q4_K"));
  MlirType weight, activations;
  MlirAttribute floats;
  puts("types");

  weight = mlirQLinearWeightTypeGet(loc, 64, 512, q4k);
  CHECK_THAT(mlirTypeIsAQLinearWeight(weight) &&
             !mlirTypeIsAQLinearActivations(weight));
  CHECK_THAT(mlirQLinearWeightTypeGetN(weight) == 64);
  CHECK_THAT(mlirQLinearWeightTypeGetK(weight) == 512);
  CHECK_THAT(mlirQLinearWeightTypeGetGroups(weight) == 16);
  CHECK_THAT(mlirAttributeEqual(mlirQLinearWeightTypeGetEncoding(weight), q4k));
  /* 4.5 bits a weight: N and K are multiples of a tile and of a unit. */
  CHECK_THAT(mlirQLinearWeightTypeGetBytes(weight) == 64 * 512 * 9 / 16);
  CHECK_THAT(
      mlirTypeIDEqual(mlirTypeGetTypeID(weight), mlirQLinearWeightTypeGetTypeID()));
  CHECK_THAT(mlirTypeEqual(
      weight,
      mlirTypeParseGet(context, str("!qlinear.weight<64x512, #qlinear.encoding<u4, "
                                    "group = 32, min, scale = u6 * block<256, f16>, "
                                    "offset = u6 * block<256, f16>>>"))));
  // CHECK: !qlinear.weight<64x512, #qlinear.encoding<u4, group = 32, min,
  mlirTypePrint(weight, print, stdout);
  puts("");

  activations = mlirQLinearActivationsTypeGet(loc, mlirShapedTypeGetDynamicSize(), 96);
  CHECK_THAT(mlirTypeIsAQLinearActivations(activations));
  CHECK_THAT(mlirShapedTypeIsDynamicSize(mlirQLinearActivationsTypeGetM(activations)));
  CHECK_THAT(mlirQLinearActivationsTypeGetK(activations) == 96);
  CHECK_THAT(mlirQLinearActivationsTypeGetRowBytes(activations) > 96);
  CHECK_THAT(mlirQLinearActivationFormatAttrGetKind(mlirQLinearActivationsTypeGetFormat(
                 activations)) == MLIR_QLINEAR_ACTIVATIONS_INT8);
  floats = mlirQLinearActivationFormatAttrGet(context, MLIR_QLINEAR_ACTIVATIONS_FLOAT);
  CHECK_THAT(mlirAttributeIsAQLinearActivationFormat(floats) &&
             !mlirAttributeIsAQLinearGemv(floats));
  CHECK_THAT(mlirTypeIDEqual(mlirAttributeGetTypeID(floats),
                             mlirQLinearActivationFormatAttrGetTypeID()));
  CHECK_THAT(mlirAttributeEqual(
      floats,
      mlirAttributeParseGet(context, str("#qlinear.activation_format<float>"))));
  CHECK_THAT(mlirTypeEqual(
      activations, mlirTypeParseGet(context, str("!qlinear.activations<?x96>"))));
  CHECK_THAT(mlirTypeIDEqual(mlirTypeGetTypeID(activations),
                             mlirQLinearActivationsTypeGetTypeID()));

  // CHECK-NEXT: error: K = 100 is not a multiple of the group size 32; pad K
  CHECK_THAT(mlirTypeIsNull(mlirQLinearWeightTypeGet(loc, 64, 100, q4k)));
  // CHECK-NEXT: error: a weight cannot be -1 x 512; N and K are at least 1
  CHECK_THAT(mlirTypeIsNull(mlirQLinearWeightTypeGet(loc, -1, 512, q4k)));
  // CHECK-NEXT: error: activations of 2 x 0 are out of range
  CHECK_THAT(mlirTypeIsNull(mlirQLinearActivationsTypeGet(loc, 2, 0)));
  // CHECK-NEXT: error: K = 100 is not a multiple of the group size 32; pad K
  CHECK_THAT(mlirTypeIsNull(mlirTypeParseGet(
      context, str("!qlinear.weight<64x100, #qlinear.encoding<i8, group = 32, "
                   "symmetric, scale = f16>>"))));
}

// CHECK-LABEL: schedules
static void testSchedules(MlirLocation loc) {
  MlirContext context = mlirLocationGetContext(loc);
  MlirQLinearGemv value = mlirQLinearGemvGetDefault(4), back;
  MlirQLinearCpuGemv cpu = {2, MLIR_QLINEAR_CHOOSE};
  MlirQLinearGemm many = mlirQLinearGemmGetDefault(MLIR_QLINEAR_ANY_ROWS), manyBack;
  MlirQLinearCpuGemm cpuMany = {100, 16, MLIR_QLINEAR_CHOOSE}, cpuManyBack;
  MlirAttribute kernels[2], schedule, empty;
  puts("schedules");
  CHECK_THAT(value.rows == 4 && value.grid == MLIR_QLINEAR_CHOOSE &&
             value.splitK == MLIR_QLINEAR_CHOOSE);
  kernels[0] = mlirQLinearGemvAttrGet(loc, value);
  CHECK_THAT(mlirAttributeEqual(
      kernels[0], mlirAttributeParseGet(context, str("#qlinear.gemv<rows = 4>"))));
  value.rows = 8;
  value.dot = MLIR_QLINEAR_DOT_MMA;
  value.copy = MLIR_QLINEAR_COPY_BULK;
  value.grid = 132;
  value.warps = 12;
  value.stages = 3;
  value.early = 2;
  value.ahead = 0;
  value.xCopy = MLIR_QLINEAR_COPY_LOAD;
  value.resident = 1;
  value.phases = 1;
  value.splitK = 2;
  kernels[1] = mlirQLinearGemvAttrGet(loc, value);
  // CHECK-NEXT: #qlinear.gemv<rows = 8, dot = mma, copy = bulk, grid = 132, warps = 12,
  // stages = 3, early = 2, ahead = false, x_copy = load, resident = 1, phases = 1,
  // split_k = 2>
  mlirAttributePrint(kernels[1], print, stdout);
  puts("");
  CHECK_THAT(mlirAttributeIsAQLinearGemv(kernels[1]));
  CHECK_THAT(mlirAttributeIsAQLinearKernel(kernels[1]));
  CHECK_THAT(!mlirAttributeIsAQLinearCpuGemv(kernels[1]));
  CHECK_THAT(mlirQLinearKernelAttrGetRows(kernels[1]) == 8);
  CHECK_THAT(mlirTypeIDEqual(mlirAttributeGetTypeID(kernels[1]),
                             mlirQLinearGemvAttrGetTypeID()));
  back = mlirQLinearGemvAttrGetValue(kernels[1]);
  CHECK_THAT(memcmp(&back, &value, sizeof value) == 0);

  schedule =
      mlirQLinearScheduleAttrGet(loc, 2, kernels, MLIR_QLINEAR_QUANTIZE_SEPARATE, 1);
  CHECK_THAT(mlirAttributeIsAQLinearSchedule(schedule));
  CHECK_THAT(mlirTypeIDEqual(mlirAttributeGetTypeID(schedule),
                             mlirQLinearScheduleAttrGetTypeID()));
  CHECK_THAT(mlirQLinearScheduleAttrGetNumKernels(schedule) == 2);
  CHECK_THAT(
      mlirAttributeEqual(mlirQLinearScheduleAttrGetKernel(schedule, 1), kernels[1]));
  CHECK_THAT(mlirQLinearScheduleAttrGetQuantize(schedule) ==
             MLIR_QLINEAR_QUANTIZE_SEPARATE);
  CHECK_THAT(mlirQLinearScheduleAttrGetPdl(schedule) == 1);
  CHECK_THAT(!mlirQLinearScheduleAttrIsComplete(schedule));
  CHECK_THAT(mlirQLinearScheduleAttrIsComplete(mlirQLinearScheduleAttrGet(
      loc, 1, kernels + 1, MLIR_QLINEAR_QUANTIZE_INSIDE, 0)));
  empty = mlirQLinearScheduleAttrGet(loc, 0, NULL, MLIR_QLINEAR_CHOOSE,
                                     MLIR_QLINEAR_CHOOSE);
  CHECK_THAT(mlirAttributeEqual(
      empty, mlirAttributeParseGet(context, str("#qlinear.schedule<>"))));
  CHECK_THAT(mlirQLinearScheduleAttrGetPdl(empty) == MLIR_QLINEAR_CHOOSE);

  kernels[1] = mlirQLinearCpuGemvAttrGet(loc, cpu);
  CHECK_THAT(mlirAttributeIsAQLinearCpuGemv(kernels[1]));
  CHECK_THAT(mlirTypeIDEqual(mlirAttributeGetTypeID(kernels[1]),
                             mlirQLinearCpuGemvAttrGetTypeID()));
  CHECK_THAT(mlirQLinearCpuGemvAttrGetValue(kernels[1]).rows == 2 &&
             mlirQLinearCpuGemvAttrGetValue(kernels[1]).tiles == MLIR_QLINEAR_CHOOSE);
  cpu.tiles = 3;
  CHECK_THAT(
      mlirQLinearCpuGemvAttrGetValue(mlirQLinearCpuGemvAttrGet(loc, cpu)).tiles == 3);

  many.tokens = 64;
  many.dot = MLIR_QLINEAR_DOT_WGMMA;
  many.copy = MLIR_QLINEAR_COPY_BULK;
  many.grid = 112;
  many.warps = 8;
  many.tiles = 2;
  many.stages = 3;
  many.splitK = 4;
  kernels[1] = mlirQLinearGemmAttrGet(loc, many);
  // CHECK-NEXT: #qlinear.gemm<rows = any, tokens = 64, dot = wgmma, copy = bulk, grid =
  // 112, warps = 8, tiles = 2, stages = 3, split_k = 4>
  mlirAttributePrint(kernels[1], print, stdout);
  puts("");
  CHECK_THAT(mlirAttributeIsAQLinearGemm(kernels[1]));
  CHECK_THAT(!mlirAttributeIsAQLinearGemm(kernels[0]));
  CHECK_THAT(mlirTypeIDEqual(mlirAttributeGetTypeID(kernels[1]),
                             mlirQLinearGemmAttrGetTypeID()));
  manyBack = mlirQLinearGemmAttrGetValue(kernels[1]);
  CHECK_THAT(memcmp(&manyBack, &many, sizeof many) == 0);

  kernels[1] = mlirQLinearCpuGemmAttrGet(loc, cpuMany);
  CHECK_THAT(mlirAttributeIsAQLinearCpuGemm(kernels[1]));
  CHECK_THAT(!mlirAttributeIsAQLinearCpuGemm(kernels[0]));
  CHECK_THAT(mlirTypeIDEqual(mlirAttributeGetTypeID(kernels[1]),
                             mlirQLinearCpuGemmAttrGetTypeID()));
  CHECK_THAT(mlirQLinearKernelAttrGetRows(kernels[1]) == 100);
  cpuManyBack = mlirQLinearCpuGemmAttrGetValue(kernels[1]);
  CHECK_THAT(memcmp(&cpuManyBack, &cpuMany, sizeof cpuMany) == 0);
  cpuMany.tokens = 12;
  // CHECK-NEXT: error: tokens = 12 is not a multiple of 8
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearCpuGemmAttrGet(loc, cpuMany)));
  cpuMany.rows = 2;
  cpuMany.tokens = MLIR_QLINEAR_CHOOSE;
  kernels[1] = mlirQLinearCpuGemmAttrGet(loc, cpuMany);
  CHECK_THAT(mlirQLinearCpuGemmAttrGetValue(kernels[1]).tokens == MLIR_QLINEAR_CHOOSE);

  value.rows = 9;
  // CHECK-NEXT: error: rows = 9 is not in 1..8
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearGemvAttrGet(loc, value)));
  value.rows = 8;
  value.dot = 4;
  // CHECK-NEXT: error: dot = 4 is not in 0..3, and not MLIR_QLINEAR_CHOOSE
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearGemvAttrGet(loc, value)));
  // CHECK-NEXT: error: a kernel for rows = 2 comes after one for rows = 4
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearScheduleAttrGet(
      loc, 2, kernels, MLIR_QLINEAR_CHOOSE, MLIR_QLINEAR_CHOOSE)));
  kernels[1] = mlirStringAttrGet(context, str("kernel"));
  // CHECK-NEXT: error: kernel 1 of the schedule is not a kernel attribute
  CHECK_THAT(mlirAttributeIsNull(mlirQLinearScheduleAttrGet(
      loc, 2, kernels, MLIR_QLINEAR_CHOOSE, MLIR_QLINEAR_CHOOSE)));
}

static const char *const source =
    "#q4 = #qlinear.encoding<u4, group = 32, zero, scale = bf16, offset = bf16>\n"
    "qlinear.parameter @up : !qlinear.weight<64x128, #q4> from \"blk.0.ffn_up\"\n"
    "func.func @up_of(%x: tensor<?x128xf32>) -> tensor<?x64xf32> {\n"
    "  %w = qlinear.load @up : !qlinear.weight<64x128, #q4>\n"
    "  %y = qlinear.linear %x, %w : (tensor<?x128xf32>, !qlinear.weight<64x128, #q4>)"
    " -> tensor<?x64xf32>\n"
    "  return %y : tensor<?x64xf32>\n"
    "}\n";

/* Adds `pipeline` and runs it, on a fresh copy of the module above. */
static bool run(MlirContext context, const char *pipeline, bool printResult) {
  MlirModule module = mlirModuleCreateParse(context, str(source));
  MlirPassManager manager = mlirPassManagerCreate(context);
  bool done;
  CHECK_THAT(!mlirModuleIsNull(module));
  done = mlirLogicalResultIsSuccess(mlirOpPassManagerAddPipeline(
      mlirPassManagerGetAsOpPassManager(manager), str(pipeline), print, stdout));
  done = done && mlirLogicalResultIsSuccess(
                     mlirPassManagerRunOnOp(manager, mlirModuleGetOperation(module)));
  if (done && printResult)
    mlirOperationPrint(mlirModuleGetOperation(module), print, stdout);
  mlirPassManagerDestroy(manager);
  mlirModuleDestroy(module);
  puts("");
  return done;
}

static MlirWalkResult findLaunch(MlirOperation op, void *userData) {
  if (!mlirStringRefEqual(mlirIdentifierStr(mlirOperationGetName(op)),
                          str("qlinear.launch")))
    return MlirWalkResultAdvance;
  *(MlirOperation *)userData = op;
  return MlirWalkResultInterrupt;
}

// CHECK-LABEL: pipelines
static void testPipelines(MlirContext context) {
  puts("pipelines");
  /* A pass by name, with options. */
  // CHECK: qlinear.parameter @up : !qlinear.weight<64x128, #{{.*}}> from "blk.0.ffn_up"
  CHECK_THAT(run(context, "qlinear-compact-metadata{encoding=row-u8}", true));

  // CHECK: qlinear.launch
  CHECK_THAT(run(context, "qlinear-cpu{target=cpu:avx2 encoding=row-u8}", true));
  // CHECK: gpu.module
  CHECK_THAT(run(context, "qlinear-cuda{target=cuda:sm_90}", true));

  // CHECK: unknown target 'tpu:v5'; targets are cuda:sm_NN
  CHECK_THAT(!run(context, "qlinear-cpu{target=tpu:v5}", false));
  // CHECK: qlinear-nonsense
  CHECK_THAT(!run(context, "qlinear-nonsense", false));
  // CHECK: no such option colour
  CHECK_THAT(!run(context, "qlinear-fuse{colour=red}", false));
  /* The pass itself fails, and says so to the diagnostic handler. */
  // CHECK: error: {{.*}}tiny
  CHECK_THAT(!run(context, "qlinear-compact-metadata{encoding=tiny}", false));
}

// CHECK-LABEL: launches
static void testLaunches(MlirContext context) {
  MlirModule module = mlirModuleCreateParse(context, str(source));
  MlirPassManager manager = mlirPassManagerCreate(context);
  MlirOperation launch = {NULL};
  MlirAttribute variants, variant;
  puts("launches");
  mlirPassManagerAddOwnedPass(manager, mlirCreateQLinearFuse());
  mlirPassManagerAddOwnedPass(manager, mlirCreateQLinearSchedule());
  mlirPassManagerAddOwnedPass(manager, mlirCreateQLinearConversionQLinearToGPU());
  CHECK_THAT(mlirLogicalResultIsSuccess(
      mlirPassManagerRunOnOp(manager, mlirModuleGetOperation(module))));
  mlirOperationWalk(mlirModuleGetOperation(module), findLaunch, &launch,
                    MlirWalkPreOrder);
  CHECK_THAT(launch.ptr);
  variants = mlirOperationGetAttributeByName(launch, str("variants"));
  CHECK_THAT(mlirAttributeIsAArray(variants) && mlirArrayAttrGetNumElements(variants));
  variant = mlirArrayAttrGetElement(variants, 0);
  CHECK_THAT(mlirAttributeIsAQLinearVariant(variant));
  CHECK_THAT(mlirQLinearVariantAttrGetRows(variant) == 1);
  CHECK_THAT(mlirQLinearVariantAttrGetGrid(variant) > 0);
  CHECK_THAT(mlirQLinearVariantAttrGetBlock(variant) % 32 == 0);
  CHECK_THAT(mlirQLinearVariantAttrGetSmem(variant) > 0);
  CHECK_THAT(mlirQLinearVariantAttrGetItems(variant) == 0);
  CHECK_THAT(mlirAttributeIsASymbolRef(mlirQLinearVariantAttrGetKernel(variant)));
  CHECK_THAT(mlirTypeIDEqual(mlirAttributeGetTypeID(variant),
                             mlirQLinearVariantAttrGetTypeID()));
  mlirPassManagerDestroy(manager);
  mlirModuleDestroy(module);
}

static void testTemps(MlirContext context) {
  MlirAttribute temp = mlirAttributeParseGet(
      context, str("#qlinear.temp<bytes = 512, bytes_per_row = 64, zero = true>"));
  CHECK_THAT(mlirAttributeIsAQLinearTemp(temp));
  CHECK_THAT(mlirQLinearTempAttrGetBytes(temp) == 512);
  CHECK_THAT(mlirQLinearTempAttrGetBytesPerRow(temp) == 64);
  CHECK_THAT(mlirQLinearTempAttrIsZero(temp));
  CHECK_THAT(
      mlirTypeIDEqual(mlirAttributeGetTypeID(temp), mlirQLinearTempAttrGetTypeID()));
}

int main(void) {
  MlirDialectRegistry registry = mlirDialectRegistryCreate();
  MlirContext context;
  MlirDialect dialect;
  MlirLocation loc;
  MlirDiagnosticHandlerID handler;
  int diagnostics = 0;

  setvbuf(stdout, NULL, _IONBF, 0);
  mlirRegisterAllQLinearPasses();
  mlirRegisterAllQLinearPasses(); /* again does no harm */
  mlirRegisterAllDialects(registry);
  mlirDialectHandleInsertDialect(mlirGetDialectHandle__qlinear__(), registry);
  context = mlirContextCreateWithRegistry(registry, /*threadingEnabled=*/false);
  dialect = mlirContextGetOrLoadDialect(context, str("qlinear"));
  CHECK_THAT(!mlirDialectIsNull(dialect));
  CHECK_THAT(mlirStringRefEqual(
      mlirDialectHandleGetNamespace(mlirGetDialectHandle__qlinear__()),
      str("qlinear")));
  CHECK_THAT(mlirDialectEqual(
      dialect,
      mlirDialectHandleLoadDialect(mlirGetDialectHandle__qlinear__(), context)));
  handler =
      mlirContextAttachDiagnosticHandler(context, onDiagnostic, &diagnostics, NULL);

  loc = mlirLocationUnknownGet(context);
  testEncodings(loc);
  testTypes(loc);
  testSchedules(loc);
  testPipelines(context);
  testLaunches(context);
  testTemps(context);
  CHECK_THAT(diagnostics > 0);
  mlirContextDetachDiagnosticHandler(context, handler);

  /* A second context, which knows nothing but this dialect. */
  mlirContextDestroy(context);
  mlirDialectRegistryDestroy(registry);
  context = mlirContextCreate();
  mlirDialectHandleRegisterDialect(mlirGetDialectHandle__qlinear__(), context);
  CHECK_THAT(!mlirTypeIsNull(
      mlirQLinearActivationsTypeGet(mlirLocationUnknownGet(context), 1, 96)));
  CHECK_THAT(
      !mlirTypeIsNull(mlirTypeParseGet(context, str("!qlinear.activations<?x96>"))));
  mlirContextDestroy(context);
  // CHECK: all well
  puts("all well");
  return 0;
}
