# ===- patches.py - The examples of CONTRIBUTING.md apply ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Checks that each patch of a folder applies to a source tree, of which nothing changes.

usage: patches.py SOURCES FOLDER
"""

import os
import pathlib
import shutil
import subprocess
import sys


def main():
    sources, folder = map(pathlib.Path, sys.argv[1:])
    git = shutil.which("git")
    if not git:
        print("skipped: there is no git to check patches with")
        return
    # The tree as it is, whether a repository or lying in another one.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(sources.resolve().parent)}
    # The lines next to a change have to be the same; a patch shows three.
    check = [git, "-c", "safe.directory=*", "apply", "--check", "-C1"]
    patches = sorted(folder.glob("*.patch"))
    assert patches, f"no patches in {folder}"
    broken = 0
    for patch in patches:
        done = subprocess.run(
            [*check, patch.resolve()], cwd=sources, env=environment, capture_output=True, text=True
        )
        added = patch.read_text().splitlines()
        if any(line.startswith(("+<<<<<<<", "+>>>>>>>")) for line in added):
            print(f"{patch.name} adds the marks of a merge that was not finished")
            broken += 1
        if done.returncode:
            print(f"{patch.name} does not apply; CONTRIBUTING.md says how to renew it")
            print(done.stderr, end="")
            broken += 1
    if broken:
        sys.exit(1)
    print(f"{len(patches)} patches apply")


if __name__ == "__main__":
    main()
