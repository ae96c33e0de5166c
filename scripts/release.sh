#!/bin/bash
#===- release.sh - Makes what a release consists of ---------------*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
#
#   scripts/release.sh [--check]      --check: says only whether it could be made
#
# From a clean checkout whose VERSION is new and has its section in CHANGELOG.md, writes
# dist/VERSION: the sources, the wheel with the compiler (tested), the Debian package, the
# notes and their checksums. Says which tag to set; sets and pushes nothing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

check=0
case ${1:-} in
  '') ;;
  --check) check=1 ;;
  -h | --help) sed -n '9,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) die "unknown option '$1'; scripts/release.sh [--check]" ;;
esac

version=$(cat VERSION)
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || die "VERSION has '$version', which is not MAJOR.MINOR.PATCH"
[ -z "$(git status --porcelain)" ] || die "the checkout has changes; commit or remove what 'git status' shows"
! git rev-parse -q --verify "refs/tags/v$version" > /dev/null ||
  die "the tag v$version exists; raise VERSION, and begin a section for it in CHANGELOG.md"
notes=$(awk -v title="## $version" '$0 == title {on = 1; next} /^## / {on = 0} on' CHANGELOG.md)
[ -n "${notes//[[:space:]]/}" ] || die "CHANGELOG.md has no section '## $version', or nothing in it"
grep -qx "version: $version" CITATION.cff || die "CITATION.cff has another version than VERSION, $version"
note "version $version of $(git rev-parse --short HEAD) can be released"
[ $check = 0 ] || exit 0

output=$root/dist/$version
rm -rf "$output"
mkdir -p "$output"
use_tools
printf '%s\n' "$notes" > "$output/NOTES.md"
git archive --prefix="qlinear-$version/" -o "$output/qlinear-$version.tar.gz" HEAD
scripts/build_wheel.sh --no-setup -o "$output"
for library in qlinear_call.abi3.so libQLinear{Torch,Jax,Onnxruntime,Runtime}.so; do
  python3 -m zipfile -l "$output"/qlinear-*.whl | grep -qF "/$library" ||
    die "the wheel has no $library, which a release has: build where numpy, PyTorch 2.10 or later and jaxlib are (scripts/setup.sh, scripts/setup.sh --torch)"
done
scripts/test_wheel.sh "$output"/qlinear-*.whl
build release all
say "Debian package"
rm -rf build/package # of other versions
cpack --config build/release/CPackConfig.cmake -B "$root/build/package" > /dev/null
cp build/package/qlinear_*.deb "$output/"
(cd "$output" && sha256sum -- * > SHA256SUMS)
ls -l "$output"
note "then: git tag -a v$version -F $output/NOTES.md, push it, and upload the files"
