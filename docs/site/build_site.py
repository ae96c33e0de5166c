#!/usr/bin/env python3
# ===- build_site.py - The documentation as a static site ----------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Stages the pages of docs/, the reference that tablegen generated, the tools' own help,
and every file of the repository that a page links to; then runs MkDocs on them.

    build_site.py --reference BUILD/docs/reference --bin BUILD/bin -o OUTPUT

The site is OUTPUT/html. A link to nowhere, an anchor that does not exist or a page that
the navigation lacks is an error. `ninja qlinear-docs` runs this.
"""

import argparse
import os
import pathlib
import posixpath
import re
import shutil
import subprocess
import sys
import textwrap

import api_pages
import kernel_page
import messages_page

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
LANGUAGES = {
    ".c": "c", ".h": "c++", ".cpp": "c++", ".cu": "cuda", ".td": "tablegen", ".py": "python",
    ".sh": "sh", ".mlir": "mlir", ".yaml": "yaml", ".json": "json", ".cmake": "cmake",
}  # fmt: skip
# Tools and the part of their help that is theirs (MLIR's drivers list all of upstream).
TOOLS = {
    "quant-pack": None,
    "quant-import-onnx": None,
    "quant-compile": None,
    "quant-inspect": None,
    "quant-run": None,
    "quant-bench": None,
    "quant-tune": None,
    "quant-opt": "mlir-opt with the dialect, passes and pipelines of QLinear beside all of"
    " upstream's, so everything mlir-opt does works here too. Of its own:",
    "quant-reduce": "mlir-reduce with the dialect: shrinks a module for which a script says that"
    " something goes wrong. `quant-reduce case.mlir --reduction-tree='traversal-mode=0"
    " test=fails.sh'`; [pipeline.md](../pipeline.md#reduce-a-failing-module) shows it at work.",
    "quant-lsp-server": "MLIR's language server with the dialect; an editor starts it"
    " ([pipeline.md](../pipeline.md#in-an-editor)).",
}


def indent_lists(text):
    """What belongs to a list item, indented by 2 or 3 spaces, with the 4 that MkDocs wants;
    after a listing in an item, a blank line before each next item."""
    lines, fence, shift, loose = [], None, 0, False
    for line in text.splitlines():
        bare = line.lstrip(" ")
        indent = len(line) - len(bare)
        if fence is None:
            shift = 4 - indent if indent in (2, 3) else 0
            loose = loose and not line.startswith("#")
            if loose and re.match(r"- |\d+\. ", line):
                lines.append("")
        if bare.startswith("```"):
            mark = re.match("`+", bare)[0]
            loose = loose or shift > 0
            if fence is None:
                fence = mark
            elif mark == fence:
                fence = None
        lines.append(" " * shift + line if line else line)
    return "\n".join(lines) + "\n"


class Stage:
    """The pages as MkDocs wants them. A file of docs/ keeps its path, any other file of the
    repository lies below source/. `texts` are those of pages that are made."""

    def __init__(self, pages, texts):
        self.pages = pages
        self.texts = texts
        self.done = set()

    def site_path(self, repo_path):
        """Where a file or folder of the repository is in the site."""
        path = ROOT / repo_path
        if repo_path.startswith("docs/"):
            return repo_path[len("docs/") :]
        if path.is_dir():
            return f"source/{repo_path}/index.md"
        return f"source/{repo_path}" + ("" if path.suffix in (".md", ".svg") else ".md")

    def write(self, site_path, text):
        out = self.pages / site_path
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)

    def add(self, repo_path):
        """Stages a file or folder and what it links to."""
        if repo_path in self.done:
            return
        self.done.add(repo_path)
        path = ROOT / repo_path
        site_path = self.site_path(repo_path)
        if path.is_dir():
            self.write(site_path, self.links(self.folder(repo_path), repo_path + "/x", site_path))
        elif path.suffix == ".md":
            text = indent_lists(self.texts.get(path) or path.read_text())
            text = text.replace("```console\n", "```sh\n")  # there are no prompts in them
            self.write(site_path, self.links(text, repo_path, site_path))
        elif site_path.endswith(".md"):  # a source file
            language = LANGUAGES.get(path.suffix, "text")
            if path.name == "CMakeLists.txt":
                language = "cmake"
            self.write(site_path, f"# {repo_path}\n\n````{language}\n{path.read_text()}````\n")
        else:
            out = self.pages / site_path
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out)

    def folder(self, repo_path):
        readme = ROOT / repo_path / "README.md"
        files = sorted(p for p in (ROOT / repo_path).iterdir() if p.name != "README.md")
        names = "".join(f"- [{p.name}]({p.name})\n" for p in files if not p.name.startswith("."))
        intro = readme.read_text() if readme.exists() else f"# {repo_path}\n"
        return f"{intro}\n## Files of this folder\n\n{names}"

    def links(self, text, repo_path, site_path):
        """Text of the page with its links as they are in the site."""

        def target(match):
            link, _, anchor = match[2].partition("#")
            if "://" in link or not link or link.startswith("mailto:"):
                return match[0]
            to = posixpath.normpath(posixpath.join(posixpath.dirname(repo_path), link))
            if not (ROOT / to).exists():
                return match[0]  # MkDocs says so, with the page's name
            self.add(to)
            relative = posixpath.relpath(self.site_path(to), posixpath.dirname(site_path) or ".")
            return f"{match[1]}{relative}{'#' + anchor if anchor else ''}{match[3]}"

        # A list item's first line of code alone (a message) is a line of its own.
        text = re.sub(r"^(- `[^`\n]+`)$", r"\1  ", text, flags=re.M)
        # Not inside fenced code.
        parts = re.split(r"(^ *```.*?^ *```$|^ *````.*?^ *````$)", text, flags=re.M | re.S)
        return "".join(p if i % 2 else LINK.sub(target, p) for i, p in enumerate(parts))


def generated_reference(text, title):
    """A page of mlir-tblgen for this site: one title, no headings that repeat."""
    text = text.replace("[TOC]\n", "")
    if title:
        text = f"# {title}\n\n" + re.sub(r"^###", "##", text, flags=re.M)
    # Headings such as "Options" come once per pass: as bold text they give no anchors.
    text = re.sub(r"^#{3,5} (Options|Statistics|Parameters:?|Attributes:|Operands:|Results:)$",
                  r"**\1**", text, flags=re.M)  # fmt: skip
    return re.sub(r"^(#+) `-?(qlinear[\w.-]*)`( \(.*\))?$", r"\1 \2", text, flags=re.M)


def own_passes(text):
    """Of an MLIR driver's help, the passes and pipelines named qlinear-*."""
    lines, keep = [], False
    for line in text.splitlines():
        if match := re.match(r"( *)(--([\w-]+)\S*) +- +(.*)", line):
            is_option = len(match[1]) > 6
            keep = keep if is_option else match[3].startswith("qlinear-")
            if keep:
                lines.append(f"{'  ' * is_option + match[2]:<34}  {match[4]}")
        elif not re.match(r" +=", line):
            keep = False
    return "\n".join(lines)


def wrap(text, columns=92):
    """Long lines of a help text, continued where their last column begins."""
    lines = []
    for line in text.splitlines():
        columns_at = [m.end() for m in re.finditer(r"(?<=\S)  +(?:- +)?", line)]
        indent = " " * (columns_at[-1] if columns_at else len(line) - len(line.lstrip()))
        lines += textwrap.wrap(line, columns, subsequent_indent=indent) or [""]
    return "\n".join(line.rstrip() for line in lines)


def commands_page(tools):
    text = "# Command lines\n\nWhat each tool says with `--help`.\n"
    others = sorted(path.name for path in tools.glob("quant-*") if path.name not in TOOLS)
    for tool, intro in [*TOOLS.items(), *((tool, None) for tool in others)]:
        if not (tools / tool).exists():
            sys.exit(f"{tool} is not in {tools}; build it first")
        # Scripts among the tools run in the Python that runs this.
        path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
        run = subprocess.run([tools / tool, "--help"], capture_output=True, text=True, check=True,
                             env={**os.environ, "COLUMNS": "100", "PATH": path})  # fmt: skip
        text += f"\n## {tool}\n\n" + (intro + "\n" if intro else "")
        help_text = run.stdout.strip()
        if help_text.count("\n") > 200:  # one of MLIR's drivers
            help_text = own_passes(help_text)
        if help_text and tool not in ("quant-reduce", "quant-lsp-server"):
            text += f"\n```text\n{wrap(help_text)}\n```\n"
    return text


def stage(pages, reference, tools):
    # Listings of the kernel as it is now.
    staged = Stage(pages, {kernel_page.PAGE: kernel_page.make(kernel_page.PAGE.read_text(), tools)})
    for path in sorted((ROOT / "docs").glob("*.md")):
        staged.add(f"docs/{path.name}")
    staged.add("CONTRIBUTING.md")
    staged.add("docs/site/extra.css")
    titles = {"QLinearPasses": "Passes", "QLinearConversionPasses": "Lowering passes",
              "QLinearTargetPasses": "Passes to code"}
    for path in sorted(reference.glob("*.md")):
        page = generated_reference(path.read_text(), titles.get(path.stem))
        staged.write(f"reference/{path.name}", page)
    staged.write("reference/commands.md", commands_page(tools))
    staged.write("reference/messages.md", messages_page.page(ROOT))
    for name, text in (("c", api_pages.c_page(ROOT)), ("python", api_pages.python_page())):
        path = f"docs/reference/{name}.md" # as links are written in docs/
        staged.write(f"reference/{name}.md", staged.links(text, path, f"reference/{name}.md"))


def build(site):
    """Runs MkDocs on what is staged: its status, which a warning makes 1, and messages."""
    # Not with --quiet: it drops warnings before --strict counts them.
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "QLINEAR_PYTHON": str(ROOT / "python/src")}
    run = subprocess.run(mkdocs, cwd=site, env=env, check=False, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    lines = [line for line in run.stdout.splitlines() if line.strip()]
    return run.returncode, [line for line in lines if not line.startswith("INFO")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=pathlib.Path, required=True)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="where the tools are")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    if not list(args.reference.glob("*.md")):
        sys.exit(f"{args.reference} has no reference pages; run `ninja mlir-doc` first")
    shutil.rmtree(args.output, ignore_errors=True)
    stage(args.output / "pages", args.reference.resolve(), args.bin.resolve())
    for name in ("mkdocs.yml", "hooks.py", "docstrings.py"):
        shutil.copyfile(ROOT / "docs/site" / name, args.output / name)
    status, messages = build(args.output)
    print("\n".join(messages), end="\n" if messages else "", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
