/*===- packed.h - Parts of packed weights ------------------------*- C -*-===*\
|*                                                                            *|
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.       *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|* A packed weight of N x K (outputs x inputs) is cut, and put together       *|
|* again, without decoding: for shards of a layer over several devices, say.  *|
|* `encoding` is a spelling as archives have it, such as                      *|
|* "u4, group = 32, zero, scale = u8 * row<bf16>, offset = u8 * row<bf16>".   *|
|* All memory is the host's. A range of rows begins at a multiple of 16, one  *|
|* of columns at a multiple of the group, or of 256 where the encoding has    *|
|* steps per block; each ends at one, or with the weight.                     *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/
#ifndef QLINEAR_RUNTIME_PACKED_H
#define QLINEAR_RUNTIME_PACKED_H

#include "qlinear-runtime/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a packed n x k weight. */
QLR_API qlr_status qlr_packed_bytes(const char *encoding, int64_t n, int64_t k,
                                    size_t *bytes);

/* Copies rows row_begin .. row_end - 1 and columns column_begin .. column_end - 1 of
 * the packed n x k weight `whole` to `part`, which has room for exactly the packed
 * bytes of that many rows and columns, and does not overlap `whole`. */
QLR_API qlr_status qlr_packed_slice(const char *encoding, int64_t n, int64_t k,
                                    qlr_blob whole, int64_t row_begin, int64_t row_end,
                                    int64_t column_begin, int64_t column_end,
                                    void *part, size_t part_bytes);

typedef enum qlr_axis { QLR_ROWS = 0, QLR_COLUMNS = 1 } qlr_axis;

/* Puts n_parts packed weights one after the other along `axis`: part i has extents[i]
 * rows (columns, along QLR_COLUMNS) and `other` columns (rows). All but the last have a
 * multiple of 16 (256). Along columns, steps and bases of rows must be the same in all
 * parts. `whole` has room for exactly the packed bytes and overlaps no part. */
QLR_API qlr_status qlr_packed_concat(const char *encoding, qlr_axis axis, int64_t other,
                                     const int64_t *extents, const qlr_blob *parts,
                                     int32_t n_parts, void *whole, size_t whole_bytes);

/* The values of `count` rows of the packed n x k weight `whole`, as floats, one row of
 * k after the other: a lookup in an embedding whose weight is packed. */
QLR_API qlr_status qlr_packed_rows(const char *encoding, int64_t n, int64_t k,
                                   qlr_blob whole, const int64_t *rows, int64_t count,
                                   float *values);

#ifdef __cplusplus
}
#endif
#endif
