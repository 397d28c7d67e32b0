"""Pages of lists: `?limit&cursor`, and a cursor that is nobody's business but ours."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Query

from streamer.web.problems import Refusal

LIMIT_MAX = 500
_CURSOR = re.compile(r"(?P<kind>[a-z]+)(?P<value>\d{1,19})")

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="entries a page")]
Cursor = Annotated[
    str | None,
    Query(max_length=64, description="`next_cursor` of the page before; none: the first"),
]


def cursor_of(kind: str, value: int | None) -> str | None:
    """Return the cursor of a place in a list; None at its end."""
    return None if value is None else f"{kind}{value}"


def value_of(cursor: str | None, kind: str) -> int | None:
    """Return the place that a cursor of this kind stands for; raises a Refusal for another's."""
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None or found["kind"] != kind:
        rule = "must be the next_cursor of a page of this very list"
        raise Refusal(422, "query.cursor", rule, cursor, "leave it out for the first page")
    return int(found["value"])
