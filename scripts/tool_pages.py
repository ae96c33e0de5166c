#!/usr/bin/env python3
# ===- tool_pages.py - Completions and man pages of the tools ------ -*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Makes them of what the tools themselves say under --help:

    tool_pages.py --bin BUILD/bin -o BUILD/share TOOL...

gives man/man1/TOOL.1, bash-completion/completions/TOOL, zsh/site-functions/_TOOL and
fish/vendor_completions.d/TOOL.fish below the output folder. The build runs this, and the
installation has them."""

import argparse
import itertools
import pathlib
import re
import subprocess

# An option's line: its names, what it takes, and the text, which CLI11 and argparse put on the
# next lines if there is no room. LLVM puts a dash before it.
OPTION = re.compile(r"^ {2,6}(?P<names>-{1,2}[A-Za-z][^\n]*?)(?:  +(?:- +)?(?P<text>\S.*))?$")
NAME = re.compile(r"-{1,2}[A-Za-z][\w-]*")
VALUE = re.compile(r"^    =(?P<value>\S+)\s+-\s+(?P<text>.*)$")
# MLIR's drivers have all options of LLVM and of upstream's passes: these are ours.
OURS = {"quant-opt": re.compile(r"--(qlinear-|pass-pipeline|help$|version$|remarks-filter$)")}


class Option:
    def __init__(self, names, text):
        # What follows these words in CLI11's help is not what the option takes, but other
        # options, and the text if there is room for it.
        head, *rest = re.split(r" (?:Excludes|Needs): (?:-\S+ ?)+| REQUIRED", names, maxsplit=1)
        text = text or "".join(rest).strip()
        self.names = NAME.findall(re.sub(r"[=<\[{].*", "", head)) or NAME.findall(head)
        rest = head
        for name in self.names:
            rest = rest.replace(name, "", 1)
        self.takes = rest.strip(" ,=")
        self.shown = re.sub(r":(\{[^{}]*\}|[A-Z]+( in \[[^]]*\])?)(?==|$)", "", self.takes)
        self.text = text or ""
        choices = re.search(r"\{([^{}]*)\}", self.takes)
        self.values = choices[1].split(",") if choices else []


def options_of(tool, text):
    options = []
    for line in text.splitlines():
        value, option = VALUE.match(line), OPTION.match(line)
        if value and options:
            options[-1].values.append(value["value"])
        elif option:
            options.append(Option(option["names"], option["text"]))
        elif options and re.match(r" {20,}\S", line):
            options[-1].text = f"{options[-1].text} {line.strip()}".strip()
        elif line and not line.startswith("  "):
            if options and line.startswith(("Examples", "Encodings")):
                break
    ours = OURS.get(tool)
    return [o for o in options if o.names and (not ours or any(map(ours.match, o.names)))]


def summary_of(text):
    """The first sentence, and the lines about how it is called."""
    lines = [re.sub(r"^OVERVIEW: ", "", line) for line in text.splitlines()]
    other = re.compile(r"(?i)usage: |  |$")
    prose = list(itertools.dropwhile(other.match, lines))
    first = " ".join(itertools.takewhile(lambda line: not other.match(line), prose))
    usage = next((line for line in lines if re.match(r"(?i)usage: ", line)), "")
    if not re.match(r"\w*[A-Z]\w*[A-Z]", first):
        first = first[:1].lower() + first[1:]
    return first.rstrip("."), re.sub(r"(?i)^usage: (\S*/)?", "", usage)


def roff(text):
    """Text for man: backslashes, dashes, and no line that is a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def man_page(tool, text, options):
    first, usage = summary_of(text)
    lines = [
        f'.TH {tool.upper()} 1 "" "QLinear" ""',
        ".SH NAME",
        f"{tool} \\- {roff(first)}",
        ".SH SYNOPSIS",
        roff(usage or tool),
        ".SH OPTIONS",
    ]
    for option in options:
        names = ", ".join(f"\\fB{roff(name)}\\fR" for name in option.names)
        lines += [".TP", f"{names} {roff(option.shown)}".rstrip(), roff(option.text)]
        if option.values and "{" not in option.takes and "=" not in option.shown:
            lines.append("Values: " + roff(", ".join(option.values)))
    lines += [".SH SEE ALSO", "The documentation in share/doc/qlinear, and \\-\\-help."]
    return "\n".join(lines) + "\n"


def bash(tool, options):
    names = " ".join(name for option in options for name in option.names)
    cases = "".join(
        f"    {'|'.join(option.names)}) COMPREPLY=($(compgen -W '{' '.join(option.values)}'"
        ' -- "$current")); return;;\n'
        for option in options
        if option.values
    )
    function = "_" + tool.replace("-", "_")
    return f"""# Completion of {tool} for bash, made of its --help.
{function}() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD - 1]}}
  # Bash takes the = of --option=value for a word.
  if [[ $option == "=" ]]; then option=${{COMP_WORDS[COMP_CWORD - 2]}}; fi
  if [[ $current == "=" ]]; then option=${{COMP_WORDS[COMP_CWORD - 1]}} current=; fi
  case $option in
{cases}    *) ;;
  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W '{names}' -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}}
complete -o filenames -F {function} {tool}
"""


def zsh(tool, options):
    specs = []
    for option in options:
        text = re.sub(r"[\[\]'\\:]", " ", option.text)[:60]
        for name in option.names:
            takes = ""
            if option.values:
                takes = f":value:({' '.join(option.values)})"
            elif option.takes:
                takes = ":value:_files"
            equal = "=" if takes and name.startswith("--") else ""
            specs.append(f"  '*{name}{equal}[{text}]{takes}' \\")
    return f"#compdef {tool}\n_arguments \\\n" + "\n".join(specs) + "\n  '*:file:_files'\n"


def fish(tool, options):
    lines = [f"# Completion of {tool} for fish, made of its --help."]
    for option in options:
        words = [f"complete -c {tool}"]
        for name in option.names:
            short = len(name) == 2
            # LLVM takes a long name after one dash, too.
            words.append(("-s " if short else "-l ") + name.lstrip("-"))
        if option.values:
            words.append(f"-x -a '{' '.join(option.values)}'")
        elif option.takes:
            words.append("-r")
        text = re.sub(r"[\\'\s]+", " ", option.text)[:60].strip()
        lines.append(" ".join([*words, f"-d '{text}'"]))
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("tools", nargs="+")
    args = parser.parse_args()
    for tool in args.tools:
        run = subprocess.run(
            [args.bin / tool, "--help"], capture_output=True, text=True, check=True,
        )  # fmt: skip
        options = options_of(tool, run.stdout)
        for path, text in (
            (f"man/man1/{tool}.1", man_page(tool, run.stdout, options)),
            (f"bash-completion/completions/{tool}", bash(tool, options)),
            (f"zsh/site-functions/_{tool}", zsh(tool, options)),
            (f"fish/vendor_completions.d/{tool}.fish", fish(tool, options)),
        ):
            file = args.output / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


if __name__ == "__main__":
    main()
