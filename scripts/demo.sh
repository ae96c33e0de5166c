#!/bin/bash
#===- demo.sh - The main job on a real model's weights -----------*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
#
#   scripts/demo.sh [--no-setup] [OUTPUT]      default: demo-output
#
# Installs what is missing, builds the tools, then quantizes, packs, compiles and
# runs the linear layers of a sentence-embedding model on this CPU.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

setup=1
output=$root/demo-output
for arg in "$@"; do
  case $arg in
    --no-setup) setup=0 ;;
    -h | --help) sed -n '9,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) die "unknown option '$arg'; scripts/demo.sh [--no-setup] [OUTPUT]" ;;
    *) output=$arg ;;
  esac
done

[ $setup = 0 ] || "$root/scripts/setup.sh" --demo
use_tools
build release quant-pack quant-opt quant-compile quant-run
say "Running examples/sentence-embedding/demo.py"
exec python3 "$root/examples/sentence-embedding/demo.py" --bin "$root/build/release/bin" -o "$output"
