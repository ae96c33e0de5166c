#!/bin/bash
#===- test_wheel.sh - A wheel with the compiler, as a user has it -*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
#
#   scripts/test_wheel.sh WHEEL
#
# Installs it into an environment of its own, with numpy from the network, and uses all that it
# promises with no other program on PATH: compiles a layer, verifies it, calls it from numpy.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [ $# != 1 ] || [ "${1#-}" != "$1" ]; then
  sed -n '9,12s/^# \{0,1\}//p' "$0"
  exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
began=$SECONDS
python3 -m venv "$work/venv"
retry 3 "$work/venv/bin/pip" install -q --disable-pip-version-check "$1"
note "installed in $((SECONDS - began)) s, $(du -sm "$work/venv" | cut -f1) MB with numpy"
env -i "HOME=$work" "PATH=$work/venv/bin" "$work/venv/bin/python" -B \
  "$root/test/Package/Inputs/use_wheel.py" "$work/layer"
note "installed and verified in $((SECONDS - began)) s"
