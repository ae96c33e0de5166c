# ===- make_example.py - The checkpoint of table.test ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
import sys

from checkpoints import write_gguf

write_gguf(
    sys.argv[1],
    {
        "token_embd.weight": ("Q6_K", 64, 256),
        "blk.0.ffn_gate.weight": ("Q4_K", 48, 512),
        "blk.0.ffn_down.weight": ("IQ3_S", 32, 256),
        "output_norm.weight": ("F32", 0, 256),
    },
)
