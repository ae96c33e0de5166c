# ===- site_errors.py - Broken pages fail the site's build ---------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
#
# Usage: site_errors.py SITE, a folder that build_site.py made.

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "docs/site"))
import build_site


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
    status, messages = build_site.build(site)
    if status == 0:
        sys.exit("a site with mistakes was built")
    for message in [*mistakes.values(), "stray.md"]:
        if not any(message in line for line in messages):
            sys.exit(f"no warning about {message}: {messages}")


if __name__ == "__main__":
    main()
