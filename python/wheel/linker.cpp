//===- linker.cpp - LLVM's linker of ELF files, for wheels -----------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The ld.lld beside quant-compile in a wheel. The distribution's is also one of Windows
// and macOS, which would pull in libxml2 and its tables.
//
//===----------------------------------------------------------------------===//
#include "lld/Common/Driver.h"
#include "llvm/Support/raw_ostream.h"

LLD_HAS_DRIVER(elf)

int main(int argc, char **argv) {
  return lld::elf::link({argv, argv + argc}, llvm::outs(), llvm::errs(),
                        /*exitEarly=*/true, /*disableOutput=*/false)
             ? 0
             : 1;
}
