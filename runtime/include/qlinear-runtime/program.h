/*===- program.h - Compiled layers inside another program ---------*- C -*-===*\
|*
|* Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
|*
|*===----------------------------------------------------------------------===*|
|*
|* What code calls that `qlinear-to-runtime` has lowered: launches in the middle of
|* functions that other passes compile. The state (device, module, workspaces) hangs
|* at a pointer in that code, `slot`, null at first; the runtime has none of its own.
|*
\*===----------------------------------------------------------------------===*/
#ifndef QLINEAR_RUNTIME_PROGRAM_H
#define QLINEAR_RUNTIME_PROGRAM_H

#include "qlinear-runtime/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qlr_program qlr_program;

/* Opens the program at `slot` on a device and binds its weights, unless it is open:
 * then QLR_INVALID_ARGUMENT. `device` as for qlr_device_open; NULL: the environment's
 * QLINEAR_DEVICE, else the first of cpu, emulated and cuda that `descriptor` (its
 * `qlinear_artifact`) has code for. `weights` is an archive; NULL: QLINEAR_WEIGHTS,
 * else none. Thread-safe. */
QLR_API qlr_status qlr_program_open(qlr_program **slot, const void *descriptor,
                                    const char *device, const char *weights);
/* No launch may be running. */
QLR_API void qlr_program_close(qlr_program **slot);
/* The stream (a CUstream) of all launches from now on; NULL, the default stream, at
 * first. The program must be open. */
QLR_API qlr_status qlr_program_set_stream(qlr_program **slot, void *stream);

/* Enqueues function number `function`. Opens the program first if it is not open yet.
 * Scratch memory is kept from one launch to the next, so the steady state allocates
 * nothing. Thread-safe. */
QLR_API qlr_status qlr_program_launch(qlr_program **slot, const void *descriptor,
                                      int32_t function, const qlr_tensor *inputs,
                                      int32_t n_inputs, const qlr_tensor *outputs,
                                      int32_t n_outputs);

/* What lowered code calls when a launch has failed with `status`, since it has nobody
 * to return an error to: the hook, with the message of qlr_last_error. Without a hook
 * the message is printed on standard error, and the process ends by exit(1). If a hook
 * returns, the function that launched goes on, and what the launch should have written
 * has the values that were there before: the hook has to see to it that they are not
 * used, for example by longjmp, or by a flag that the caller looks at. */
typedef void (*qlr_fail_hook)(qlr_status status, const char *message, void *user);
QLR_API void qlr_program_fail(qlr_status status);
/* For all programs of the process; NULL: as at first. Thread-safe; `user` is passed on.
 */
QLR_API void qlr_program_set_fail_hook(qlr_fail_hook hook, void *user);

#ifdef __cplusplus
}
#endif
#endif
