# ===- hooks.py - MkDocs: highlighting of MLIR ---------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Teaches Pygments MLIR and SASS, of which it knows nothing."""

import sys

from pygments import lexers, token
from pygments.lexer import RegexLexer, bygroups


class MlirLexer(RegexLexer):
    name = "MLIR"
    aliases = ["mlir"]
    tokens = {
        "root": [
            (r"//.*", token.Comment.Single),
            (r'"(?:[^"\\]|\\.)*"', token.String),
            (r"(\^)([\w$.]+)", bygroups(token.Punctuation, token.Name.Label)),
            (r"%[\w$.-]+(?:#\d+)?", token.Name.Variable),
            (r"@[\w$.-]+", token.Name.Function),
            (r"[#!][\w$.-]+", token.Name.Class),
            (r"\b(?:[iu]\d+|si\d+|ui\d+|bf16|f16|f32|f64|index|none)\b", token.Keyword.Type),
            (r"\b(?:tensor|memref|vector|tuple|ptr)(?=<)", token.Keyword.Type),
            (r"\b(?:true|false|unit|dense|loc|to|from|step|iter_args)\b", token.Keyword),
            (r"\b[a-z_]\w*\.[\w.]+", token.Keyword.Reserved),
            (r"-?\b\d+(?:\.\d*)?(?:[eE][-+]?\d+)?\b", token.Number),
            (r"\b0x[0-9a-fA-F]+\b", token.Number.Hex),
            (r"(->|[-=+*:,<>(){}\[\]?])", token.Punctuation),
            (r"[\w$]+", token.Text),
            (r"\s+", token.Whitespace),
            (r".", token.Text),
        ]
    }


class SassLexer(RegexLexer):
    name = "SASS"
    aliases = ["sass"]
    tokens = {
        "root": [
            (r"//.*", token.Comment.Single),
            (r"/\*[0-9a-f]+\*/", token.Comment.Multiline),
            (r"\.L_\w+:?", token.Name.Label),
            (r"@!?U?P\d\w*", token.Name.Decorator),
            (r"\b(?:U?R(?:\d+|Z)|U?P(?:\d|T)|SR_[\w.]+|B\d+)\b", token.Name.Variable),
            (r"\b[A-Z][A-Z0-9]+(?:\.[A-Z0-9_]+)*\b", token.Keyword.Reserved),
            (r"-?\b0x[0-9a-f]+\b|\b\d+\b", token.Number),
            (r"\s+", token.Whitespace),
            (r".", token.Text),
        ]
    }


for lexer in (MlirLexer, SassLexer):
    setattr(sys.modules[__name__], lexer.__name__, lexer)
    lexers.LEXERS[lexer.__name__] = (__name__, lexer.name, tuple(lexer.aliases), (), ())
    lexers._lexer_cache[lexer.name] = lexer
