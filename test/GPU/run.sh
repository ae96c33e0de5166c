#!/bin/sh
#===- run.sh - Runs the packed GPU suite in its directory ----------*- sh -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
# run.sh --help says what can be chosen. Needs Python 3.9 and the CUDA driver.
command -v python3 > /dev/null || {
  echo "run.sh: error: python3 is not on PATH" >&2
  exit 1
}
exec python3 "$(dirname "$0")/run.py" "$@"
