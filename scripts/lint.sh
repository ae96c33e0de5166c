#!/bin/bash
#===- lint.sh - Checks of all sources that need no build ----------*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
#
#   scripts/lint.sh [style|ruff|shellcheck|codespell|reuse ...]      default: all
#
# Looks at the files that git tracks. The tools are those of python/requirements-lint.txt,
# which scripts/setup.sh installs; their rules are in ruff.toml, .shellcheckrc,
# .codespellrc and REUSE.toml. The exit status is 0 if none has found anything.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
use_tools
cd "$root"

lint() {
  case $1 in
    style) python3 scripts/check_style.py ;;
    ruff) ruff check -q --no-cache ;;
    shellcheck) git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck ;;
    codespell) git ls-files -z | xargs -0 codespell ;;
    reuse) reuse lint --lines ;;
    *) die "unknown check '$1'; scripts/lint.sh [style|ruff|shellcheck|codespell|reuse ...]" ;;
  esac
}

[ $# -gt 0 ] || set -- style ruff shellcheck codespell reuse
status=0
for check in "$@"; do
  lint "$check" || { warn "$check has found what is above"; status=1; }
done
exit $status
