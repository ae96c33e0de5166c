#!/bin/bash
#===- test.sh - Set up, build and run all tests without a GPU ----*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
#
#   scripts/test.sh [--no-setup] [--preset release|debug|sanitizers]
#
# Ends with the counts of tests; the exit status is 0 if none failed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

preset=release
setup=1
while [ $# -gt 0 ]; do
  case $1 in
    --no-setup) setup=0 ;;
    --preset) preset=${2:?--preset needs a name}; shift ;;
    -h | --help) sed -n '9,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown option '$1'; scripts/test.sh [--no-setup] [--preset NAME]" ;;
  esac
  shift
done

[ $setup = 0 ] || "$root/scripts/setup.sh"
use_tools
log=$root/build/$preset/test.log
mkdir -p "$(dirname "$log")"
status=0
LIT_OPTS="${LIT_OPTS:-} --timeout=900" build "$preset" check-qlinear 2>&1 | tee "$log" || status=$?
grep -q '^Total Discovered Tests' "$log" || die "the build failed before any test ran"
python3 "$root/scripts/count_tests.py" "$log" || status=1
exit $status
