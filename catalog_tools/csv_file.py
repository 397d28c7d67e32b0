"""Reads the CSV files that users write: by hand, by a program, or by Excel in any country."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import MagpieError
from pipeline.printable import printable

SEPARATORS = (",", ";", "\t")  # Excel writes ; where the comma is in numbers, and tabs as "text"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_AS_UTF8 = "save it as UTF-8 (in Excel: `CSV UTF-8`)"

Row = dict[str, str]


def read_csv(
    path: Path,
    columns: Sequence[str],
    where: str,
    error: type[MagpieError],
    optional: Sequence[str] = (),
) -> list[tuple[int, Row]]:
    """Return each row's line and its cells by column, blanks around them cut off.

    columns: which the header must have, in any order and case; further ones are passed over.
    optional: which it may have; their cells are empty where it does not.
    The header says whether commas, semicolons or tabs stand between the cells. where: begins the
    error, which is of the given class and tells the line that must be mended.
    """
    # Not splitlines: a label may hold U+2028 or a form feed.
    lines = list(io.StringIO(_text_of(path, where, error), newline=""))
    first = 0
    if lines and lines[0].lower().startswith("sep="):  # for Excel alone
        first = 1
    separator, names = _read_header(lines[first : first + 1], columns)
    missing = [name for name in columns if name not in names]
    if missing:
        found = ",".join(names) if any(names) else "an empty file"
        rule = f"must have the columns {','.join(columns)}"
        raise error.at(f"{where}:{first + 1}", rule, found)
    wanted = (*columns, *optional)
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        raise error.at(f"{where}:{first + 1}", f"must have the column {twice[0]} once")
    rows = []
    for line, cells in _records(lines, separator, where, error):
        if line > first + 1 and any(cells):
            _refuse_width(cells, names, columns, f"{where}:{line}", error)
            row = dict(zip(names, cells, strict=False))
            rows.append((line, {name: row.get(name, "") for name in wanted}))
    return rows


def _text_of(path: Path, where: str, error: type[MagpieError]) -> str:
    try:
        data = path.read_bytes()
    except OSError as failed:
        raise error.at(where, f"cannot be read: {failed.strerror}") from None
    encoding = "utf-16" if data.startswith(_UTF16_MARKS) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as failed:
        line = data.count(b"\n", 0, failed.start) + 1
        raise error.at(f"{where}:{line}", "must be UTF-8 text", None, _AS_UTF8) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise error.at(f"{where}:{line}", "must be text, holds a NUL byte", None, _AS_UTF8)
    return text


def _read_header(lines: list[str], columns: Sequence[str]) -> tuple[str, list[str]]:
    """Return the separator under which the header has most of the columns, and its names."""
    names_by_separator: dict[str, list[str]] = {}
    for separator in SEPARATORS:
        cells = next(csv.reader(lines, delimiter=separator), [])
        names_by_separator[separator] = [cell.strip().lower() for cell in cells]

    def n_found(separator: str) -> int:
        return len(set(columns) & set(names_by_separator[separator]))

    best = max(SEPARATORS, key=n_found)
    return best, names_by_separator[best]


def _records(
    lines: list[str], separator: str, where: str, error: type[MagpieError]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line in which each record begins, and its cells."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, [cell.strip() for cell in cells]
            line = reader.line_num + 1
    except csv.Error as failed:
        rule = f"a quote that opens here must be closed before a separator ({failed})"
        raise error.at(f"{where}:{line}", rule) from None


def _refuse_width(
    cells: list[str], names: list[str], columns: Sequence[str], where: str, error: type[MagpieError]
) -> None:
    """Refuse a row that is not as wide as the header, where it matters."""
    needed = 1 + max(names.index(name) for name in columns)
    if needed <= len(cells) and not any(cells[len(names) :]):
        return
    shown = printable(" | ".join(cells))[:80]
    remedy = "put a text that holds a separator in double quotes"
    raise error.at(where, f"must have {len(names)} columns", f"{len(cells)}: {shown}", remedy)
