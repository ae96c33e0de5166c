#!/bin/bash
#===- build_wheel.sh - The Python package with the compiler ------*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
#
#   scripts/build_wheel.sh [--no-setup] [-o FOLDER]      default: dist
#
# A wheel for this architecture's Linux with this machine's glibc or a later one, and any
# Python from 3.9 on. It has the runtime, the tools, and all that they need: no LLVM, compiler,
# linker or CUDA has to be installed. scripts/test_wheel.sh tests it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

setup=1
output=$root/dist
while [ $# -gt 0 ]; do
  case $1 in
    --no-setup) setup=0 ;;
    -o) output=${2:?-o needs a folder}; shift ;;
    -h | --help) sed -n '9,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown option '$1'; scripts/build_wheel.sh [--no-setup] [-o FOLDER]" ;;
  esac
  shift
done
[ $setup = 0 ] || "$root/scripts/setup.sh" --wheel
use_tools
build=${QLINEAR_BUILD:-$root/build/release}
[ -n "${QLINEAR_BUILD:-}" ] || build release qlinear-wheel tool-pages

is_elf() { [ "$(head -c 4 "$1" | tail -c 3)" = ELF ]; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
cmake --install "$build" --component wheel --prefix "$tree" > /dev/null
[ -x "$tree/qlinear/bin/ld.lld" ] ||
  die "the build in $build has no linker for wheels: install liblld-22-dev (scripts/setup.sh --wheel) and configure it again"
# What is built only where a package of Python is.
for part in "qlinear_call.abi3.so numpy" "libQLinearTorch.so torch" "libQLinearJax.so jaxlib"; do
  [ -e "$tree/qlinear/lib/${part% *}" ] ||
    note "without ${part% *}: CMake found no ${part#* }"
done
cp "$root"/python/src/qlinear/*.py "$root/VERSION" "$tree/qlinear/"
cp "$root/python/wheel/_qlinear_tools.py" "$tree/"

say "Linking what the tools take from LLVM and MLIR"
llvm=/usr/lib/llvm-22
mapfile -t users < <(cd "$tree/qlinear" && grep -lF -e libLLVM.so -e libMLIR.so bin/* lib/*)
(cd "$tree/qlinear" && python3 "$root/python/wheel/trim_llvm.py" --llvm "$llvm" -o "$work/llvm" "${users[@]}")
cp "$work/llvm"/libLLVM.so.* "$tree/qlinear/lib/"
for file in "$tree"/qlinear/bin/*; do
  is_elf "$file" || continue # one in Python
  strip "$file"
  patchelf --set-rpath "\$ORIGIN/../lib" "$file"
done
for file in "${users[@]}"; do
  patchelf --remove-needed libMLIR.so.22.1 "$tree/qlinear/$file"
done
for file in "$tree"/qlinear/lib/*; do
  strip --strip-unneeded "$file"
  patchelf --set-rpath "\$ORIGIN" "$file"
done

say "Packing"
(cd "$root/python" && python3 -c "import scikit_build_core.build as b; b.prepare_metadata_for_build_wheel('$tree')") > "$work/log"
info=$(echo "$tree"/qlinear-*.dist-info)
{
  echo '[console_scripts]'
  for file in "$tree"/qlinear/bin/quant-*; do
    echo "$(basename "$file") = _qlinear_tools:main"
  done
} > "$info/entry_points.txt"
pages=${info%.dist-info}.data/data/share # of the Python it is installed in
mkdir -p "$pages"
cp -r "$build/share/man" "$build/share/bash-completion" "$pages/"
# The licences of what comes along.
mkdir -p "$info/licenses"
cp "$root/LICENSE" "$info/licenses/"
{ ldd "$tree"/qlinear/bin/* "$tree"/qlinear/lib/* 2> /dev/null || true; } |
  sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' | grep -v "^$tree" | sort -u > "$work/brought"
while read -r file; do
  for path in "$file" "/usr$file"; do
    package=$(dpkg -S "$path" 2> /dev/null | sed 's/:.*//;q') || continue
    cp "/usr/share/doc/$package/copyright" "$info/licenses/$package"
  done
done < "$work/brought"
cp /usr/share/doc/libllvm22/copyright "$info/licenses/libllvm22"

python3 -m wheel pack -d "$work" "$tree" >> "$work/log"
mkdir -p "$output"
# Its own PyTorch is where the operators are loaded.
auditwheel repair --exclude 'libtorch*.so' --exclude 'libc10*.so' --zip-compression-level 9 \
  -w "$output" "$work"/qlinear-*.whl >> "$work/log" 2>&1 || die "$(cat "$work/log")"
for wheel in "$output/$(basename "$info" .dist-info)"-*manylinux*.whl; do
  note "$wheel: $(($(stat -c %s "$wheel") / 1000000)) MB"
done
