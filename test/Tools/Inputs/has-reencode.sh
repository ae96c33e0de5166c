#!/bin/sh
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Tells quant-reduce (by status 1) that the module still has what goes wrong.
! grep -q qlinear.reencode "$1"
