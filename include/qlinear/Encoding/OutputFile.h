//===- OutputFile.h - Files that appear whole or not at all -----*- C++ -*-===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Everything that a tool writes goes through an OutputFile: it is made under no
// name or a temporary one, and publish() puts it where it belongs. So a failure at
// any point leaves the old file, and nothing else.
//
// It depends on the path how the new file gets there:
//   a file, or nothing   the new file takes its place, with its mode and owner
//   a symbolic link      the same for the file it leads to; the link stays
//   a fifo, a terminal or another character device, standard output as "-",
//   /dev/stdout or /dev/fd/N: never replaced; the contents are written to it
//
//===----------------------------------------------------------------------===//
#ifndef QLINEAR_ENCODING_OUTPUTFILE_H
#define QLINEAR_ENCODING_OUTPUTFILE_H

#include "qlinear/Encoding/Result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace qlinear {

class OutputFile {
public:
  struct Options {
    /// The mode of a new file, less the umask. A replaced file keeps its own.
    mode_t mode = 0666;
    /// For programs that write by name: see name().
    bool isNamed = false;
  };
  /// Fails if there can be no file at `path`: a folder that does not exist or may not
  /// be written, a file that may not be written, a directory, a block device.
  static Result<OutputFile> create(const std::string &path);
  static Result<OutputFile> create(const std::string &path, Options options);
  OutputFile(OutputFile &&other) noexcept;
  OutputFile &operator=(OutputFile &&other) noexcept;
  ~OutputFile();

  /// Writes at an offset of the file.
  Result<void> write(std::span<const std::byte> bytes, uint64_t offset);
  Result<void> append(std::span<const std::byte> bytes);
  Result<void> append(std::string_view text) {
    return append(std::as_bytes(std::span(text)));
  }
  /// With `isNamed`, the temporary name under which another program writes the file
  /// before publish(); it may also replace it.
  const std::string &name() const { return temporary; }

  Result<void> publish();
  /// Several files of one run: none appears before all are ready.
  static Result<void> publish(std::span<OutputFile> files);

  const std::string &path() const { return given; }

private:
  OutputFile() = default;
  Result<void> resolve();
  Result<void> open(const Options &options);
  Result<void> prepare();
  Result<void> commit();
  Result<void> copyTo(int to);
  Error failure(int number) const;
  void reset();

  std::string given;          ///< the path, for messages
  std::string target;         ///< where it leads
  std::string temporary;      ///< a name to remove unless it is published
  std::optional<int> through; ///< a descriptor that stays, if it is written to
  bool isStream = false;      ///< written to, not replaced
  bool isNamed = false;
  /// Properties of the replaced file.
  struct Previous {
    mode_t mode;
    uid_t user;
    gid_t group;
  };
  std::optional<Previous> previous;
  mode_t mode = 0666;
  int fd = -1;
  uint64_t end = 0; ///< of what was appended
};

/// One output of one piece.
Result<void> writeOutput(const std::string &path, std::string_view contents);

/// Fails if two of `outputs` are one file, or one of them is a file of `inputs`. Empty
/// names are skipped; devices may come twice.
Result<void> checkOutputs(const std::vector<std::string> &outputs,
                          const std::vector<std::string> &inputs);

/// Writes out everything printed so far: call it before a tool exits. Fails if standard
/// output cannot be written.
Result<void> flushStandardOutput();

} // namespace qlinear
#endif
