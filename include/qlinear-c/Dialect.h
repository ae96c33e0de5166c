/*===-- qlinear-c/Dialect.h - C API of the qlinear dialect --------*- C -*-===*\
|*                                                                            *|
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.       *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* The dialect, its types and its attributes for C and for other languages'   *|
|* bindings, in the conventions of MLIR's own C API (mlir-c/). Operations are *|
|* built and read with mlir-c/IR.h by their names.                            *|
|*                                                                            *|
|* A Get function that is given impossible values returns a null attribute or *|
|* type, and emits a diagnostic that says why, at the given location.         *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/
#ifndef QLINEAR_C_DIALECT_H
#define QLINEAR_C_DIALECT_H

#include "mlir-c/IR.h"

#ifdef __cplusplus
extern "C" {
#endif

MLIR_DECLARE_CAPI_DIALECT_REGISTRATION(QLinear, qlinear);

/*===----------------------------------------------------------------------===*\
|* #qlinear.encoding                                                          *|
\*===----------------------------------------------------------------------===*/

/** The weight that code q stands for, with its group's scale s. */
typedef enum MlirQLinearForm {
  MLIR_QLINEAR_FORM_SYMMETRIC, /**< s q */
  MLIR_QLINEAR_FORM_ZERO,      /**< s (q - z), with the offset z */
  MLIR_QLINEAR_FORM_MIN,       /**< s q - m, with the offset m */
  MLIR_QLINEAR_FORM_CENTRED    /**< s (q - 2^(bits - 1) - z) */
} MlirQLinearForm;

typedef enum MlirQLinearFloat {
  MLIR_QLINEAR_FLOAT_BF16,
  MLIR_QLINEAR_FLOAT_F16,
  MLIR_QLINEAR_FLOAT_F32,
  MLIR_QLINEAR_FLOAT_E8M0, /**< a power of two; of plain scales only */
  MLIR_QLINEAR_FLOAT_E4M3  /**< of plain scales only */
} MlirQLinearFloat;

/** How a code becomes a number. */
typedef enum MlirQLinearCodeKind {
  MLIR_QLINEAR_CODES_INTEGER,  /**< it is one */
  MLIR_QLINEAR_CODES_EXAMPLE4, /**< by the table example4, which no format has */
  MLIR_QLINEAR_CODES_EXAMPLE2, /**< nor these */
  MLIR_QLINEAR_CODES_EXAMPLE3,
  MLIR_QLINEAR_CODES_EXAMPLE8,
  MLIR_QLINEAR_CODES_IQ4NL, /**< by the table of GGUF's IQ4_NL and IQ4_XS */
  MLIR_QLINEAR_CODES_E2M1,  /**< the 4-bit float of MXFP4 and NVFP4 */
  MLIR_QLINEAR_CODES_NF4    /**< by the table of NF4 */
} MlirQLinearCodeKind;

/** How the scales, or the offsets, are stored: the value of code c. */
typedef enum MlirQLinearStorageKind {
  MLIR_QLINEAR_STORAGE_NONE,   /**< absent: the offsets of the symmetric form */
  MLIR_QLINEAR_STORAGE_PLAIN,  /**< a float of `type` */
  MLIR_QLINEAR_STORAGE_LINEAR, /**< c * step */
  MLIR_QLINEAR_STORAGE_LOG,    /**< base * 2^(c * step) */
  MLIR_QLINEAR_STORAGE_DELTA,  /**< the bf16 with the bits base + c */
  MLIR_QLINEAR_STORAGE_SCALED  /**< the e4m3 with the bits c, times step */
} MlirQLinearStorageKind;

/** For how many weights a step is stored. */
typedef enum MlirQLinearStepScope {
  MLIR_QLINEAR_STEP_CONSTANT, /**< none is stored: it is 1 */
  MLIR_QLINEAR_STEP_ROW,      /**< for a row */
  MLIR_QLINEAR_STEP_BLOCK,    /**< for 256 weights of a row */
  MLIR_QLINEAR_STEP_TENSOR    /**< for all weights; not supported yet */
} MlirQLinearStepScope;

typedef struct MlirQLinearStorage {
  MlirQLinearStorageKind kind;
  MlirQLinearFloat type; /**< of the value (plain), or of step and base */
  unsigned bits;         /**< of a code; 0 if plain */
  bool isSigned;         /**< codes are two's complement; linear only */
  MlirQLinearStepScope scope;
} MlirQLinearStorage;

typedef struct MlirQLinearEncoding {
  unsigned codeBits; /**< 2, 3, 4, 5, 6 or 8; a table has 2^codeBits values */
  bool codesSigned;  /**< of tables: true */
  unsigned group;    /**< 16, 32, 64, 128, 256, or 0: the whole row */
  MlirQLinearForm form;
  MlirQLinearStorage scale, offset;
  MlirQLinearCodeKind codeKind;
} MlirQLinearEncoding;

MLIR_CAPI_EXPORTED bool mlirAttributeIsAQLinearEncoding(MlirAttribute attr);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearEncodingAttrGetTypeID(void);

/** The encoding with these fields. */
MLIR_CAPI_EXPORTED MlirAttribute
mlirQLinearEncodingAttrGet(MlirLocation loc, MlirQLinearEncoding encoding);
/** The encoding with this spelling, without the angle brackets:
 *  "u4, group = 32, zero, scale = bf16, offset = bf16". */
MLIR_CAPI_EXPORTED MlirAttribute mlirQLinearEncodingAttrParse(MlirLocation loc,
                                                              MlirStringRef spelling);
/** The encoding in which a GGUF block format is stored without loss: Q4_0, Q4_1,
 *  Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4 or NVFP4. */
MLIR_CAPI_EXPORTED MlirAttribute mlirQLinearEncodingAttrGetGGUF(MlirLocation loc,
                                                                MlirStringRef ggufType);

/** All fields of an encoding. */
MLIR_CAPI_EXPORTED MlirQLinearEncoding
mlirQLinearEncodingAttrGetValue(MlirAttribute encoding);
/** Calls `callback`, possibly several times, with the parts of the spelling. */
MLIR_CAPI_EXPORTED void mlirQLinearEncodingAttrPrint(MlirAttribute encoding,
                                                     MlirStringCallback callback,
                                                     void *userData);
/** Whether every weight stored as `from` keeps its values when stored as `to`. */
MLIR_CAPI_EXPORTED bool mlirQLinearEncodingAttrIsLossless(MlirAttribute from,
                                                          MlirAttribute to);

/*===----------------------------------------------------------------------===*\
|* #qlinear.gemv, gemm, cpu_gemv, cpu_gemm: kernels; #qlinear.schedule: those of a *|
|* linear                                                                          *|
\*===----------------------------------------------------------------------===*/

typedef enum MlirQLinearDot {
  MLIR_QLINEAR_DOT_DP4A, /**< dp4a, row by row */
  MLIR_QLINEAR_DOT_MMA,  /**< tensor cores */
  MLIR_QLINEAR_DOT_FMA,  /**< row by row, of activations that stay floats */
  MLIR_QLINEAR_DOT_WGMMA /**< tensor cores, by groups of four warps (sm_90a) */
} MlirQLinearDot;

typedef enum MlirQLinearCopy {
  MLIR_QLINEAR_COPY_BULK,  /**< asynchronous bulk copies (sm_90 and later) */
  MLIR_QLINEAR_COPY_ASYNC, /**< asynchronous 16-byte copies (sm_80 and later) */
  MLIR_QLINEAR_COPY_LOAD   /**< loads to registers */
} MlirQLinearCopy;

typedef enum MlirQLinearQuantize {
  MLIR_QLINEAR_QUANTIZE_INSIDE,   /**< activations, in the linear's kernel */
  MLIR_QLINEAR_QUANTIZE_SEPARATE, /**< before it, by a kernel of their own */
  MLIR_QLINEAR_QUANTIZE_NORM      /**< by the kernel of the norm that makes them */
} MlirQLinearQuantize;

/** The value of a field that is left to the cost model. */
enum { MLIR_QLINEAR_CHOOSE = -1 };

/** A GPU kernel for up to `rows` rows; the reference of the dialect explains each
 * field. `dot` is an MlirQLinearDot, `copy` and `xCopy` are an MlirQLinearCopy, `ahead`
 * is 0 or 1; all but `rows` may be MLIR_QLINEAR_CHOOSE. */
typedef struct MlirQLinearGemv {
  int64_t rows, dot, copy, grid, warps, stages, early, ahead, xCopy, resident, phases,
      splitK;
} MlirQLinearGemv;

/** A kernel that takes any number of rows. */
enum { MLIR_QLINEAR_ANY_ROWS = 0x7FFFFFFF };

/** A GPU kernel for up to `rows` rows, many or any number; see MlirQLinearGemv. */
typedef struct MlirQLinearGemm {
  int64_t rows, tokens, dot, copy, grid, warps, tiles, stages, splitK;
} MlirQLinearGemm;

/** A CPU kernel for up to `rows` rows; `tiles` may be MLIR_QLINEAR_CHOOSE. */
typedef struct MlirQLinearCpuGemv {
  int64_t rows, tiles;
} MlirQLinearCpuGemv;

/** A CPU kernel for up to `rows` rows, many or any number; `tokens` and `tiles` may be
 * MLIR_QLINEAR_CHOOSE. */
typedef struct MlirQLinearCpuGemm {
  int64_t rows, tokens, tiles;
} MlirQLinearCpuGemm;

MLIR_CAPI_EXPORTED bool mlirAttributeIsAQLinearGemv(MlirAttribute attr);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearGemvAttrGetTypeID(void);
/** A kernel with all but `rows` left to the cost model. */
MLIR_CAPI_EXPORTED MlirQLinearGemv mlirQLinearGemvGetDefault(int64_t rows);
MLIR_CAPI_EXPORTED MlirAttribute mlirQLinearGemvAttrGet(MlirLocation loc,
                                                        MlirQLinearGemv kernel);
MLIR_CAPI_EXPORTED MlirQLinearGemv mlirQLinearGemvAttrGetValue(MlirAttribute kernel);

MLIR_CAPI_EXPORTED bool mlirAttributeIsAQLinearGemm(MlirAttribute attr);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearGemmAttrGetTypeID(void);
/** A kernel with all but `rows` left to the cost model. */
MLIR_CAPI_EXPORTED MlirQLinearGemm mlirQLinearGemmGetDefault(int64_t rows);
MLIR_CAPI_EXPORTED MlirAttribute mlirQLinearGemmAttrGet(MlirLocation loc,
                                                        MlirQLinearGemm kernel);
MLIR_CAPI_EXPORTED MlirQLinearGemm mlirQLinearGemmAttrGetValue(MlirAttribute kernel);

MLIR_CAPI_EXPORTED bool mlirAttributeIsAQLinearCpuGemv(MlirAttribute attr);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearCpuGemvAttrGetTypeID(void);
MLIR_CAPI_EXPORTED MlirAttribute mlirQLinearCpuGemvAttrGet(MlirLocation loc,
                                                           MlirQLinearCpuGemv kernel);
MLIR_CAPI_EXPORTED MlirQLinearCpuGemv
mlirQLinearCpuGemvAttrGetValue(MlirAttribute kernel);

MLIR_CAPI_EXPORTED bool mlirAttributeIsAQLinearCpuGemm(MlirAttribute attr);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearCpuGemmAttrGetTypeID(void);
MLIR_CAPI_EXPORTED MlirAttribute mlirQLinearCpuGemmAttrGet(MlirLocation loc,
                                                           MlirQLinearCpuGemm kernel);
MLIR_CAPI_EXPORTED MlirQLinearCpuGemm
mlirQLinearCpuGemmAttrGetValue(MlirAttribute kernel);

/** Whether an attribute is a kernel of any family; how many rows it takes. */
MLIR_CAPI_EXPORTED bool mlirAttributeIsAQLinearKernel(MlirAttribute attr);
MLIR_CAPI_EXPORTED int64_t mlirQLinearKernelAttrGetRows(MlirAttribute kernel);

MLIR_CAPI_EXPORTED bool mlirAttributeIsAQLinearSchedule(MlirAttribute attr);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearScheduleAttrGetTypeID(void);
/** `quantize` is an MlirQLinearQuantize, `pdl` is 0 or 1, or they are
 *  MLIR_QLINEAR_CHOOSE; without kernels those are chosen, too. */
MLIR_CAPI_EXPORTED MlirAttribute
mlirQLinearScheduleAttrGet(MlirLocation loc, intptr_t numKernels,
                           MlirAttribute const *kernels, int64_t quantize, int64_t pdl);
MLIR_CAPI_EXPORTED intptr_t
mlirQLinearScheduleAttrGetNumKernels(MlirAttribute schedule);
MLIR_CAPI_EXPORTED MlirAttribute
mlirQLinearScheduleAttrGetKernel(MlirAttribute schedule, intptr_t pos);
MLIR_CAPI_EXPORTED int64_t mlirQLinearScheduleAttrGetQuantize(MlirAttribute schedule);
MLIR_CAPI_EXPORTED int64_t mlirQLinearScheduleAttrGetPdl(MlirAttribute schedule);
/** Whether nothing is left to the cost model. */
MLIR_CAPI_EXPORTED bool mlirQLinearScheduleAttrIsComplete(MlirAttribute schedule);

/*===----------------------------------------------------------------------===*\
|* #qlinear.variant, #qlinear.temp: what a qlinear.launch needs               *|
\*===----------------------------------------------------------------------===*/

MLIR_CAPI_EXPORTED bool mlirAttributeIsAQLinearVariant(MlirAttribute attr);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearVariantAttrGetTypeID(void);
/** The most rows of the input in one launch. */
MLIR_CAPI_EXPORTED int64_t mlirQLinearVariantAttrGetRows(MlirAttribute variant);
/** The kernel's symbol, an attribute of MLIR's SymbolRef kind. */
MLIR_CAPI_EXPORTED MlirAttribute mlirQLinearVariantAttrGetKernel(MlirAttribute variant);
/** GPU: thread blocks, threads of a block, bytes of dynamic shared memory. */
MLIR_CAPI_EXPORTED int64_t mlirQLinearVariantAttrGetGrid(MlirAttribute variant);
MLIR_CAPI_EXPORTED int64_t mlirQLinearVariantAttrGetBlock(MlirAttribute variant);
MLIR_CAPI_EXPORTED int64_t mlirQLinearVariantAttrGetSmem(MlirAttribute variant);
/** CPU: work items. */
MLIR_CAPI_EXPORTED int64_t mlirQLinearVariantAttrGetItems(MlirAttribute variant);

MLIR_CAPI_EXPORTED bool mlirAttributeIsAQLinearTemp(MlirAttribute attr);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearTempAttrGetTypeID(void);
MLIR_CAPI_EXPORTED int64_t mlirQLinearTempAttrGetBytes(MlirAttribute temp);
MLIR_CAPI_EXPORTED int64_t mlirQLinearTempAttrGetBytesPerRow(MlirAttribute temp);
/** Whether it has to be zero before the first launch. */
MLIR_CAPI_EXPORTED bool mlirQLinearTempAttrIsZero(MlirAttribute temp);

/*===----------------------------------------------------------------------===*\
|* !qlinear.weight                                                            *|
\*===----------------------------------------------------------------------===*/

MLIR_CAPI_EXPORTED bool mlirTypeIsAQLinearWeight(MlirType type);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearWeightTypeGetTypeID(void);
/** A weight of N rows (outputs) and K columns (inputs). */
MLIR_CAPI_EXPORTED MlirType mlirQLinearWeightTypeGet(MlirLocation loc, int64_t n,
                                                     int64_t k, MlirAttribute encoding);
MLIR_CAPI_EXPORTED int64_t mlirQLinearWeightTypeGetN(MlirType weight);
MLIR_CAPI_EXPORTED int64_t mlirQLinearWeightTypeGetK(MlirType weight);
MLIR_CAPI_EXPORTED MlirAttribute mlirQLinearWeightTypeGetEncoding(MlirType weight);
/** Groups in a row: the second dimension of the metadata tensors. */
MLIR_CAPI_EXPORTED int64_t mlirQLinearWeightTypeGetGroups(MlirType weight);
/** Bytes of the packed weight. */
MLIR_CAPI_EXPORTED int64_t mlirQLinearWeightTypeGetBytes(MlirType weight);

/*===----------------------------------------------------------------------===*\
|* #qlinear.activation_format                                                 *|
\*===----------------------------------------------------------------------===*/

typedef enum MlirQLinearActivationKind {
  MLIR_QLINEAR_ACTIVATIONS_INT8, /**< codes and a scale per 32 columns */
  MLIR_QLINEAR_ACTIVATIONS_FLOAT /**< the numbers of x themselves */
} MlirQLinearActivationKind;

MLIR_CAPI_EXPORTED bool mlirAttributeIsAQLinearActivationFormat(MlirAttribute attr);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearActivationFormatAttrGetTypeID(void);
/** The attribute `activations` of a linear. */
MLIR_CAPI_EXPORTED MlirAttribute
mlirQLinearActivationFormatAttrGet(MlirContext context, MlirQLinearActivationKind kind);
MLIR_CAPI_EXPORTED MlirQLinearActivationKind
mlirQLinearActivationFormatAttrGetKind(MlirAttribute format);

/*===----------------------------------------------------------------------===*\
|* !qlinear.activations                                                       *|
\*===----------------------------------------------------------------------===*/

MLIR_CAPI_EXPORTED bool mlirTypeIsAQLinearActivations(MlirType type);
MLIR_CAPI_EXPORTED MlirTypeID mlirQLinearActivationsTypeGetTypeID(void);
/** M rows of K activations, int8 per 32 columns; M may be
 * mlirShapedTypeGetDynamicSize(). */
MLIR_CAPI_EXPORTED MlirType mlirQLinearActivationsTypeGet(MlirLocation loc, int64_t m,
                                                          int64_t k);
MLIR_CAPI_EXPORTED MlirAttribute
mlirQLinearActivationsTypeGetFormat(MlirType activations);
MLIR_CAPI_EXPORTED int64_t mlirQLinearActivationsTypeGetM(MlirType activations);
MLIR_CAPI_EXPORTED int64_t mlirQLinearActivationsTypeGetK(MlirType activations);
/** Bytes of one quantized row. */
MLIR_CAPI_EXPORTED int64_t mlirQLinearActivationsTypeGetRowBytes(MlirType activations);

#ifdef __cplusplus
}
#endif
#endif
