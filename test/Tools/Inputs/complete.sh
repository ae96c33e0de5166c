#===- complete.sh - What Bash completes --------------------------*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===-----------------------------------------------------------------------===#
# shellcheck shell=bash
# With the completions of the folder $1. Bash takes "=" for a word.
complete_words() {
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  "_${1//-/_}"
  echo "${COMPREPLY[@]}"
}
# shellcheck disable=SC1090 # written by the tools
for tool in "$1"/*; do . "$tool"; done
complete_words quant-pack model.gguf --e
complete_words quant-compile --emit p
complete_words quant-compile --emit =
complete_words quant-pack m --dequantize = f
complete_words quant-compile --fun
complete_words quant-inspect --j
