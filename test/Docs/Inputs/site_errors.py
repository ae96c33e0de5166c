# ===- site_errors.py - Broken pages fail the site's build ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Usage: site_errors.py SITE, a folder that build_site.py made.

import pathlib
import subprocess
import sys


def main():
    site = pathlib.Path(sys.argv[1])
    mistakes = {
        "[x](nowhere.md)": "nowhere.md",
        "[x](encodings.md#no-such-section)": "#no-such-section",
        "![x](figures/none.svg)": "figures/none.svg",
    }
    with open(site / "pages/artifact.md", "a", encoding="utf-8") as page:
        page.write("\n" + "\n\n".join(mistakes) + "\n")
    (site / "pages/stray.md").write_text("# Stray\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    run = subprocess.run(command, cwd=site, capture_output=True, text=True, check=False)
    if run.returncode == 0:
        sys.exit("a site with mistakes was built")
    for message in [*mistakes.values(), "stray.md"]:
        if message not in run.stderr:
            sys.exit(f"no warning about {message}: {run.stderr}")


if __name__ == "__main__":
    main()
