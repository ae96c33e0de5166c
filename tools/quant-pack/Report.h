//===- Report.h - What quant-pack prints ------------------------*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_TOOLS_QUANT_PACK_REPORT_H
#define QLINEAR_TOOLS_QUANT_PACK_REPORT_H

#include "qlinear/Encoding/Packer.h"

namespace qlinear {

/// One line per tensor, and totals.
void printTable(const PackReport &report);

/// The same and more, for programs.
Result<void> writeReport(const PackReport &report, const std::string &input,
                         const std::string &output, const SelectionRule &rule,
                         OutputFile &file);

/// The tensors of a file, of any format.
Result<void> printContents(const Checkpoint &checkpoint);

/// Reads all weights of a packed archive: fails if one is not what its checksum says,
/// or has none.
Result<void> checkArchive(const Checkpoint &checkpoint);

} // namespace qlinear
#endif
