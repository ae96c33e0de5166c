#!/bin/bash
#===- gpu-suite.sh - Tests of compiled kernels on a GPU ------------*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
#
#   scripts/gpu-suite.sh pack [--bin DIR] [--target cuda:sm_90] [--only REGEX] DIR
#   scripts/gpu-suite.sh check [--bin DIR] DIR
#
# `pack` compiles the suite and puts all that it needs into DIR. Copy DIR to a machine
# with a GPU, without LLVM or CUDA's toolkit, and run DIR/run.sh there. `check` does
# both here, for this machine's GPU. --bin is where the tools lie (build/release/bin).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  sed -n '9,14s/^# \{0,1\}//p' "$0"
  exit "$1"
}

[ $# -gt 0 ] || usage 2
command=$1
shift
bin=$root/build/release/bin
programs=() # gpu-runtime-tests and gpu-stress
target=cuda:sm_90
only=()
directory=
while [ $# -gt 0 ]; do
  case $1 in
    --bin) bin=${2:?--bin needs a folder}; shift ;;
    --target) target=${2:?--target needs a name}; shift ;;
    --only) only=(--only "${2:?--only needs a regular expression}"); shift ;;
    -h | --help) usage 0 ;;
    -*) die "unknown option '$1'; see scripts/gpu-suite.sh --help" ;;
    *) directory=$1 ;;
  esac
  shift
done
case $command in pack | check) ;; *) usage 2 ;; esac
[ -n "$directory" ] || die "$command needs the folder to write"

# The libraries of our tools that a plain system lacks.
libraries() {
  ldd "$bin/quant-run" "$bin/quant-pack" "${programs[@]}" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
    grep -Ev '/(libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|ld-linux[^/]*)\.so'
}

pack() {
  local tool
  use_tools
  for tool in quant-compile quant-pack quant-run; do
    [ -x "$bin/$tool" ] || die "'$bin/$tool' is not built; ninja -C build/release $tool"
  done
  for tool in gpu-runtime-tests gpu-stress; do
    programs+=("$bin/../unittests/$tool")
    [ -x "${programs[-1]}" ] || die "'${programs[-1]}' is not built; ninja -C build/release $tool"
  done
  # What is there may be a suite; anything else is not ours to delete.
  if [ -e "$directory" ] && [ -n "$(ls -A "$directory")" ]; then
    [ -e "$directory/run.sh" ] || die "'$directory' has other files; name a new folder"
    rm -rf "$directory"
  fi
  mkdir -p "$directory"
  cp "$root"/test/GPU/run.sh "$root"/test/GPU/{run,suite,entries}.py \
    "$root"/test/Emulated/Inputs/{experts,joined,matrix}.py "$root"/benchmarks/gpu/layers.py "$bin"/quant-{run,pack} "${programs[@]}" "$directory"
  libraries | xargs -I{} cp -L {} "$directory"
  strip -s "$directory"/quant-{run,pack} "$directory"/gpu-{runtime-tests,stress}
  PYTHONPATH=$root/test/Emulated/Inputs:$root/benchmarks/gpu PYTHONDONTWRITEBYTECODE=1 python3 "$root/test/GPU/suite.py" \
    "$directory" --bin "$bin" --target "$target" "${only[@]}"
  rm -rf "$directory/work"
  say "$directory: $(du -sh "$directory" | cut -f1); run $directory/run.sh on the machine with the GPU"
}

# The target of this machine's first GPU, or what is missing.
local_target() {
  local capability
  command -v nvidia-smi > /dev/null ||
    die "no GPU here: nvidia-smi is not on PATH; for another machine: scripts/gpu-suite.sh pack DIR, and DIR/run.sh there"
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>&1 | head -1) || true
  [[ $capability =~ ^[0-9]+\.[0-9]$ ]] || die "no GPU here: nvidia-smi says '$capability'"
  echo "cuda:sm_${capability/./}"
}

if [ "$command" = check ]; then
  target=$(local_target)
  pack
  exec "$directory/run.sh"
fi
pack
