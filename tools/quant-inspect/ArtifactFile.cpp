//===- ArtifactFile.cpp - An artifact as a file ---------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ArtifactFile.h"

#include "qlinear-runtime/artifact.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/ELF.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FormatVariadic.h"

#include <cstddef>

using namespace llvm;
using llvm::object::ELF64LE;
using llvm::object::ELFFile;

namespace qlinear::inspect {

namespace {

/// Looks up addresses as the loader would. What cannot be looked up is 0 or empty, and
/// `problem` says of the first why.
class Loader {
public:
  explicit Loader(const ELFFile<ELF64LE> &elf) : elf(elf) {}

  Error readTables() {
    auto sections = elf.sections();
    if (!sections)
      return sections.takeError();
    for (const auto &section : *sections) {
      if (section.sh_type == ELF::SHT_RELA) {
        auto relocations = elf.relas(section);
        if (!relocations)
          return relocations.takeError();
        for (const auto &r : *relocations)
          addends[r.r_offset] = uint64_t(int64_t(r.r_addend));
      }
      if (section.sh_type != ELF::SHT_DYNSYM)
        continue;
      auto symbols = elf.symbols(&section);
      if (!symbols)
        return symbols.takeError();
      auto names = elf.getStringTableForSymtab(section);
      if (!names)
        return names.takeError();
      for (const auto &symbol : *symbols)
        if (auto name = symbol.getName(*names); !name)
          return name.takeError();
        else if (*name == "qlinear_artifact" && symbol.st_shndx != ELF::SHN_UNDEF)
          descriptor = symbol.st_value;
    }
    return Error::success();
  }

  ArrayRef<uint8_t> bytes(uint64_t address, uint64_t size) {
    auto at = elf.toMappedAddr(address);
    const uint8_t *end = elf.base() + elf.getBufSize();
    if (at && *at >= elf.base() && *at <= end && size <= uint64_t(end - *at))
      return ArrayRef(*at, size_t(size));
    std::string why =
        at ? formatv("{0} bytes at address {1:x} reach beyond the file", size, address)
                 .str()
           : toString(at.takeError());
    if (problem.empty())
      problem = why;
    return {};
  }
  uint64_t word(uint64_t address) {
    ArrayRef<uint8_t> data = bytes(address, 8);
    return data.empty() ? 0 : support::endian::read64le(data.data());
  }
  /// A pointer that the loader would fill in.
  uint64_t pointer(uint64_t address) {
    auto at = addends.find(address);
    return at == addends.end() ? word(address) : at->second;
  }
  std::string text(uint64_t address) {
    std::string out;
    for (;; ++address) {
      ArrayRef<uint8_t> c = bytes(address, 1);
      if (c.empty() || !c.front())
        return out;
      out += char(c.front());
    }
  }

  std::optional<uint64_t> descriptor;
  std::string problem;

private:
  const ELFFile<ELF64LE> &elf;
  DenseMap<uint64_t, uint64_t> addends; ///< by the address that they are put at
};

// The structures of the file are those of this machine's compiler: fields of 8 bytes.
using Descriptor = qlinear_artifact_v1;
using Image = qlinear_image;

void readDescriptor(Loader &loader, ArtifactFile &out) {
  uint64_t at = *loader.descriptor;
  if (loader.word(at + offsetof(Descriptor, magic)) != QLINEAR_ARTIFACT_MAGIC) {
    loader.problem = "its descriptor does not begin with QLINEAR1";
    return;
  }
  ArrayRef<uint8_t> manifest =
      loader.bytes(loader.pointer(at + offsetof(Descriptor, manifest)),
                   loader.word(at + offsetof(Descriptor, manifest_size)));
  out.manifest.assign(manifest.begin(), manifest.end());
  uint64_t image = loader.pointer(at + offsetof(Descriptor, images));
  uint64_t count = loader.word(at + offsetof(Descriptor, n_images));
  for (; count && loader.problem.empty(); --count, image += sizeof(Image)) {
    ArtifactImage &added = out.images.emplace_back();
    added.name = loader.text(loader.pointer(image + offsetof(Image, name)));
    if (uint64_t size = loader.word(image + offsetof(Image, size)))
      added.data = loader.bytes(loader.pointer(image + offsetof(Image, data)), size);
  }
}

} // namespace

Expected<ArtifactFile> ArtifactFile::open(const std::string &path) {
  auto fail = [&](const Twine &why) {
    return createStringError("'" + path + "' is not an artifact: " + why);
  };
  auto file = MemoryBuffer::getFile(path, /*IsText=*/false,
                                    /*RequiresNullTerminator=*/false);
  if (!file)
    return createStringError("cannot open '" + path +
                             "': " + file.getError().message());
  ArtifactFile out;
  out.file = std::move(*file);
  auto elf = ELFFile<ELF64LE>::create(out.file->getBuffer());
  if (!elf)
    return fail(toString(elf.takeError()));
  if (elf->getHeader().getFileClass() != ELF::ELFCLASS64 ||
      elf->getHeader().getDataEncoding() != ELF::ELFDATA2LSB)
    return fail("it is no 64-bit little-endian ELF");
  out.architecture = elf->getHeader().e_machine == ELF::EM_X86_64    ? "x86-64"
                     : elf->getHeader().e_machine == ELF::EM_AARCH64 ? "arm64"
                                                                     : "unknown";
  Loader loader(*elf);
  if (Error error = loader.readTables())
    return fail(toString(std::move(error)));
  if (!loader.descriptor)
    return fail("it has no symbol qlinear_artifact, as shared libraries of "
                "quant-compile have");
  readDescriptor(loader, out);
  if (!loader.problem.empty())
    return fail(loader.problem);
  return out;
}

StringMap<unsigned> registersOf(ArrayRef<uint8_t> cubin) {
  StringMap<unsigned> out;
  auto elf = ELFFile<ELF64LE>::create(toStringRef(cubin));
  if (!elf) {
    consumeError(elf.takeError());
    return out;
  }
  auto sections = elf->sections();
  if (!sections) {
    consumeError(sections.takeError());
    return out;
  }
  // The code of a kernel has them in the highest byte of its section's info.
  for (const auto &section : *sections) {
    auto name = elf->getSectionName(section);
    if (!name)
      consumeError(name.takeError());
    else if (StringRef kernel = *name; kernel.consume_front(".text."))
      out[kernel] = section.sh_info >> 24;
  }
  return out;
}

} // namespace qlinear::inspect
