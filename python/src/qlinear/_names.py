# ===- _names.py - Names of an archive's weights -------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Which weight of an archive is a layer's."""


def archive_names(model, archive, names):
    """A function from a layer's name to the PackedWeight of it."""
    return lambda name: archive.find((names or str)(name))
