"""What a catalog is now, in one word, and changes that only hold for what their caller has seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog_tools.draft import DRAFT, read_draft
from pipeline.catalog_format import catalog_error, current_generation, generation_identity
from pipeline.catalog_writing import catalog_lock
from pipeline.errors import CatalogChangedError


def catalog_etag(directory: Path) -> str:
    """Return the identity of what is in use, in quotes as HTTP's ETag has it.

    Equal if and only if every file is. CatalogError when there is neither a generation nor a draft.
    """
    if read_draft(directory) is not None:
        return f'"{hashlib.sha256((directory / DRAFT).read_bytes()).hexdigest()}"'
    return f'"{generation_identity(directory, current_generation(directory))}"'


@contextmanager
def changing(directory: Path, if_match: str | None = None) -> Iterator[None]:
    """Hold the right to write a catalog that is there.

    if_match: as HTTP's header, ETags between commas or `*`; None: whatever it is now.
    NotInCatalogError, CatalogLockedError when another command writes it, and CatalogChangedError
    when it is none of what is named: all before anything is done.
    """
    read_draft(directory)
    with catalog_lock(directory):
        etag = catalog_etag(directory)
        wanted = [] if if_match is None else [each.strip() for each in if_match.split(",")]
        if if_match is not None and "*" not in wanted and etag not in wanted:
            rule = "has changed since it was read"
            remedy = "read it again, then repeat the change"
            raise catalog_error(directory, rule, None, remedy, CatalogChangedError)
        yield
