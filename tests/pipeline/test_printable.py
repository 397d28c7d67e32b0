"""Foreign text: nothing in it steers a terminal, breaks a line or cannot be written."""

import json
import os

import pytest

from pipeline.errors import CatalogError, MagpieError
from pipeline.printable import json_text, printable, printable_lines

LATIN_1 = os.fsdecode(b"caf\xe9.jpg")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Zoë 文字 😀 a b", "Zoë 文字 😀 a b"),
        ("\u3000wide and\xa0hard blanks", "\u3000wide and\xa0hard blanks"),
        ("می\u200cخواهم 👩\u200d🚀", "می\u200cخواهم 👩\u200d🚀"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\rb\nc\td\x7f", r"a\rb\nc\td\x7f"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("gpj.\u202egood\u2066", r"gpj.\u202egood\u2066"),
        ("a\u2028b\u2029c\ufeff", r"a\u2028b\u2029c\ufeff"),
        (LATIN_1, r"caf\udce9.jpg"),
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_what_is_unsafe_is_escaped_and_the_rest_stays(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    shown.encode("utf-8")


def test_lines_stay_lines() -> None:
    assert printable_lines("one\ntwo\x1b\r\n") == "one\ntwo\\x1b\\r\n"


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("text", ["\x1b\x9b\x7f", "a\u2028b\u202e", LATIN_1, "\U000e0041", "é\n"])
def test_json_gives_the_very_text_back_and_is_safe_to_print(text: str, indent: int | None) -> None:
    written = json_text({text: [text, 1]}, indent)
    assert json.loads(written) == {text: [text, 1]}
    assert all(line == printable(line) for line in written.split("\n"))
    assert len(written.splitlines()) == (1 if indent is None else 6)


def test_json_keeps_other_alphabets_readable() -> None:
    assert json_text({"label": "Zoë 文字"}) == '{"label": "Zoë 文字"}'


def test_every_error_is_printable_whatever_it_tells_of() -> None:
    told = str(CatalogError.at(f"catalog '{LATIN_1}\x1b[2J'", "broken\nrule", LATIN_1))
    assert told == r"catalog 'caf\udce9.jpg\x1b[2J': broken\nrule, got 'caf\udce9.jpg'"
    assert str(MagpieError("two\x1b\nlines")) == "two\\x1b\nlines"
