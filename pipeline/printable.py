"""Makes foreign text safe to show and to store: file names, labels, what a camera or a server said.

A name of another encoding (its bytes are lone surrogates in Python) cannot be written as UTF-8; a
label with an escape code steers the terminal of whoever lists it. Both come out visible, as
`\\udce9` and `\\x1b`, and always the same.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

# Control (C0, DEL, C1), format (bidi overrides, invisible marks), lone surrogates, line and
# paragraph separators.
_UNSAFE_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"  # Persian words and many emoji are written with them


def printable(text: str) -> str:
    """Return the text as one line of UTF-8 that steers no terminal; what is unsafe is escaped."""
    return _escape(text, lambda character: character.encode("unicode_escape").decode())


def printable_lines(text: str) -> str:
    """Return a text of several lines, each of them printable."""
    return "\n".join(printable(line) for line in text.split("\n"))


def json_text(value: Any, indent: int | None = None) -> str:
    """Return the value as JSON that keeps other alphabets readable and is safe to print.

    What is unsafe is escaped as JSON does it: who reads the JSON gets the very same text back.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "\n".join(
        _escape(line, lambda character: json.dumps(character)[1:-1]) for line in text.split("\n")
    )


def _escape(text: str, escaped: Callable[[str], str]) -> str:
    if text.isprintable():  # most are, and this is quick
        return text
    return "".join(escaped(c) if _is_unsafe(c) else c for c in text)


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE_CATEGORIES and character not in _JOINERS
