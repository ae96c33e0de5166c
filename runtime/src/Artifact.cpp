//===- Artifact.cpp - Open artifacts --------------------------------------===//
//
// Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Artifact.h"
#include "qlinear/Support/InstructionSets.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

using namespace qlinear;
using namespace qlinear::runtime;

/// Of a machine as ELF has it.
static Architecture architectureOf(unsigned machine) {
  return machine == EM_X86_64    ? Architecture::x86_64
         : machine == EM_AARCH64 ? Architecture::arm64
                                 : Architecture::other;
}

/// Fails for another architecture's library, of which the loader says that it is not
/// there, and where segments reach beyond the end of the file: the loader maps them all
/// the same, and reading such a page is a SIGBUS. What else is wrong with a file the
/// loader says.
static Status checkLibrary(const std::string &path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  uint64_t size = in ? uint64_t(in.tellg()) : 0;
  auto cut = [&](const auto &...what) {
    return fail(QLR_BAD_ARTIFACT, "'", path, "' is cut short: it has ", size,
                " bytes, and ", what..., "; copy or compile it again");
  };
  ElfW(Ehdr) header;
  if (!in.seekg(0) || !in.read(reinterpret_cast<char *>(&header), sizeof header) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_phentsize != sizeof(ElfW(Phdr)))
    return {};
  if (Architecture its = architectureOf(header.e_machine); its != kHostArchitecture)
    return fail(QLR_NO_DEVICE, "'", path, "' has code for ", spell(its),
                ", and this machine is ", spell(kHostArchitecture),
                "; compile it with --target=cpu:", spell(kHostArchitecture));
  uint64_t bytes = uint64_t(header.e_phnum) * sizeof(ElfW(Phdr)), end;
  if (__builtin_add_overflow(uint64_t(header.e_phoff), bytes, &end) || end > size)
    return cut("its table of segments ends at ", end);
  std::vector<ElfW(Phdr)> segments(header.e_phnum);
  if (!in.seekg(std::streamoff(header.e_phoff)) ||
      !in.read(reinterpret_cast<char *>(segments.data()), std::streamsize(bytes)))
    return {};
  for (const ElfW(Phdr) &segment : segments)
    if (segment.p_filesz && (__builtin_add_overflow(uint64_t(segment.p_offset),
                                                    uint64_t(segment.p_filesz), &end) ||
                             end > size))
      return cut("a segment of it ends at ", end);
  return {};
}

/// The inode of the file that is mapped at an address, and of a file; 0 if unknown.
static uint64_t inodeAt(const void *address) {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    std::istringstream fields(line);
    uint64_t begin = 0, end = 0, inode = 0;
    std::string rest;
    char dash;
    fields >> std::hex >> begin >> dash >> end >> rest >> rest >> rest >> std::dec >>
        inode;
    auto at = reinterpret_cast<uintptr_t>(address);
    if (begin <= at && at < end)
      return inode;
  }
  return 0;
}
static uint64_t inodeOf(const std::string &path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

namespace {
/// A loaded library and its artifact's descriptor.
struct Library {
  std::shared_ptr<void> handle;
  const void *descriptor;
  /// `name`: the file's for messages. `keeps` goes after the library.
  static Expected<Library> open(const std::string &path, const std::string &name,
                                std::shared_ptr<int> keeps = {}) {
    void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle)
      return fail(QLR_BAD_ARTIFACT, "'", name,
                  "' is not a loadable library: ", dlerror());
    return Library{{handle, [keeps](void *h) { dlclose(h); }},
                   dlsym(handle, "qlinear_artifact")};
  }
};
} // namespace

Expected<std::shared_ptr<const Artifact>> Artifact::open(const std::string &path) {
  // An absolute path: dlopen would look a bare name up in the system's folders.
  std::error_code error;
  std::filesystem::path file = std::filesystem::canonical(path, error);
  if (error)
    return fail(QLR_NOT_FOUND, "cannot open the artifact '", path,
                "': ", error.message());
  QLR_TRY(checkLibrary(file));
  bool tells = access("/proc/self/maps", R_OK) == 0;
  if (void *loaded = tells ? nullptr : dlopen(file.c_str(), RTLD_NOW | RTLD_NOLOAD)) {
    dlclose(loaded);
    return fail(
        QLR_BAD_ARTIFACT, "'", path,
        "' is loaded already, or another file that had this name was; /proc, which "
        "tells, is not mounted: mount it, or open the artifact only once");
  }
  Expected<Library> library = Library::open(file, path);
  // The loader goes by names: where another file had this one when it was loaded, it
  // gives that library again.
  if (tells && library && library->descriptor &&
      inodeAt(library->descriptor) != inodeOf(file)) {
    // Under a descriptor of the file, which stays open as long as the library, so that
    // no other has that name.
    std::shared_ptr<int> opened(new int(::open(file.c_str(), O_RDONLY | O_CLOEXEC)),
                                [](int *d) {
                                  ::close(*d);
                                  delete d;
                                });
    library = Library::open("/proc/self/fd/" + std::to_string(*opened), path, opened);
  }
  if (!library)
    return library.status();
  if (!library->descriptor)
    return fail(QLR_BAD_ARTIFACT, "'", path,
                "' has no symbol qlinear_artifact; it was not written by "
                "quant-compile");
  return fromDescriptor(library->descriptor, std::move(library->handle));
}

Expected<std::shared_ptr<const Artifact>>
Artifact::fromDescriptor(const void *data, std::shared_ptr<void> library) {
  auto *descriptor = static_cast<const qlinear_artifact_v1 *>(data);
  if (!descriptor || descriptor->magic != QLINEAR_ARTIFACT_MAGIC)
    return fail(QLR_BAD_ARTIFACT,
                "the artifact does not start with the magic QLINEAR1");
  if (!descriptor->manifest || descriptor->manifest_size > (uint64_t(1) << 32))
    return fail(QLR_BAD_ARTIFACT, "the artifact has a manifest of ",
                descriptor->manifest_size, " bytes; at most 2^32 are read");
  if (!descriptor->images && descriptor->n_images)
    return fail(QLR_BAD_ARTIFACT, "the artifact has ", descriptor->n_images,
                " images but no table of them");
  auto artifact = std::make_shared<Artifact>();
  artifact->library = std::move(library);
  artifact->json.assign(descriptor->manifest, descriptor->manifest_size);
  Expected<Manifest> manifest = Manifest::parse(artifact->json);
  if (!manifest)
    return manifest.status();
  artifact->parsed = std::move(*manifest);
  for (uint64_t i = 0; i < descriptor->n_images; ++i) {
    const qlinear_image &image = descriptor->images[i];
    if (!image.name || !image.data)
      return fail(QLR_BAD_ARTIFACT, "image ", i, " of the artifact has no ",
                  image.name ? "data" : "name");
    if (!artifact->images.emplace(image.name, image).second)
      return fail(QLR_BAD_ARTIFACT, "the artifact has two images named \"", image.name,
                  "\"");
  }
  return std::shared_ptr<const Artifact>(std::move(artifact));
}

const qlinear_image *Artifact::image(const std::string &name) const {
  auto it = images.find(name);
  return it == images.end() ? nullptr : &it->second;
}

std::string Artifact::targetNames() const {
  std::string names;
  for (const TargetInfo &t : parsed.targets)
    names += (names.empty() ? "" : ", ") + t.target;
  return names.empty() ? "none" : names;
}
