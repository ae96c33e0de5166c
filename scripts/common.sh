#===- common.sh - What setup.sh, test.sh and demo.sh share -------*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
# Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Whether commands can be run as root: as root, or by sudo, which can ask for its
# password only on a terminal.
can_be_root() {
  [ "$(id -u)" = 0 ] || { command -v sudo > /dev/null && { [ -t 0 ] || sudo -n true; } 2> /dev/null; }
}

# Runs a command as root, with the network's settings.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo env "http_proxy=${http_proxy:-}" "https_proxy=${https_proxy:-}" "no_proxy=${no_proxy:-}" "$@"
  fi
}

# retry N COMMAND...: up to N times, with a growing pause: for the network.
retry() {
  local n=$1 i
  shift
  for ((i = 1; i <= n; i++)); do
    "$@" && return 0
    [ "$i" = "$n" ] || { warn "'$*' failed (attempt $i of $n)"; sleep $((3 * i)); }
  done
  return 1
}

# Puts the virtual environment, LLVM's tools and CUDA's ptxas, where there are
# any, on PATH. A ptxas of the system goes before the one of the environment.
use_tools() {
  local dir
  [ -d "$venv/bin" ] && PATH=$venv/bin:$PATH
  for dir in /usr/local/cuda/bin "$venv"/lib/python3*/site-packages/nvidia/cu13/bin; do
    if [ -x "$dir/ptxas" ] && ! command -v ptxas > /dev/null; then
      PATH=$PATH:$dir
    fi
  done
  export PATH
}

# build PRESET TARGET...
build() {
  local preset=$1
  shift
  say "Configure and build ($preset): $*"
  (cd "$root" && cmake --preset "$preset" "-DPython3_EXECUTABLE=$venv/bin/python3" > /dev/null &&
    cmake --build --preset "$preset" --target "$@")
}
