# ===- output.py - Files that appear whole or not at all --*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""What OutputFile.h is for the tools in C++: a file is made beside its place and renamed; a
link stays, a file that is replaced keeps its mode; devices, fifos and /dev/stdout ("-") are
written to, never replaced."""

import os
import shutil
import stat
import tempfile


def _leads_to(path):
    """(where links lead, the descriptor of this process that it is, or None)."""
    if path == "-":
        return path, 1
    for _ in range(40):
        folder, name = os.path.split(path)
        if name.isdigit() and os.path.realpath(folder) == os.path.realpath("/proc/self/fd"):
            return path, int(name)
        if not os.path.islink(path):
            return path, None
        path = os.path.join(folder, os.readlink(path))
    raise OSError(40, "Too many levels of symbolic links", path)


class OutputFile:
    """The file `path` in the making: write it under the name `temporary`, then publish()
    it. Raises OSError if there can be no such file."""

    def __init__(self, path):
        self.path = path
        self.target, self.descriptor = _leads_to(path)
        self.mode, self.owner = None, None
        self.is_stream = self.descriptor is not None
        try:
            status = None if self.is_stream else os.stat(self.target)
        except FileNotFoundError:
            status = None
        except OSError as e:  # a name that is too long, a folder that is a file
            raise OSError(e.errno, e.strerror, path) from None
        if status:
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(21, "Is a directory", path)
            if stat.S_ISBLK(status.st_mode):
                raise OSError(22, "It is a block device", path)
            if not os.access(self.target, os.W_OK):
                raise PermissionError(13, "Permission denied", path)
            self.is_stream = not stat.S_ISREG(status.st_mode)
            self.mode = stat.S_IMODE(status.st_mode) & 0o777
            self.owner = status.st_uid, status.st_gid
        folder = None if self.is_stream else os.path.dirname(self.target) or "."
        stem = os.fsdecode(os.fsencode(os.path.basename(self.target))[:200])
        try:
            handle, self.temporary = tempfile.mkstemp(".tmp", f".{stem}.", folder)
        except OSError as e:
            raise OSError(e.errno, e.strerror, path) from None
        os.close(handle)

    def publish(self):
        if not self.is_stream:
            self._keep_mode()
            os.replace(self.temporary, self.target)
            return
        target = self.target if self.descriptor is None else os.dup(self.descriptor)
        with open(self.temporary, "rb") as made, open(target, "wb", buffering=0) as to:
            shutil.copyfileobj(made, to)

    def _keep_mode(self):
        mode = self.mode
        if mode is None:
            mask = os.umask(0)
            os.umask(mask)
            mode = 0o666 & ~mask
        elif self.owner != (os.getuid(), os.getgid()):
            try:
                os.chown(self.temporary, *self.owner)
            except OSError:  # nobody may read it who could not
                mode &= ~0o070
        os.chmod(self.temporary, mode)

    def remove(self):
        if os.path.exists(self.temporary):
            os.remove(self.temporary)
