"""A catalog before its first picture: a folder that says how it will be built, and no more."""

from __future__ import annotations

import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.catalog_format import CURRENT, catalog_error, current_generation, damaged
from pipeline.errors import CatalogExistsError

DRAFT = "draft.json"


class Draft(BaseModel):
    """turns: each picture will give four views. trim: plain margins will be cut off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    turns: bool = False
    trim: bool = True
    created: str = ""


def create_draft(directory: Path, *, turns: bool = False, trim: bool = True) -> Draft:
    """Make a catalog without a generation; return what it will be built with.

    CatalogExistsError when something is there already.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    draft = Draft(turns=turns, trim=trim, created=now)
    unfinished = directory.with_name(f".{directory.name}.new")
    unfinished.mkdir(parents=True, exist_ok=True)
    (unfinished / DRAFT).write_text(draft.model_dump_json() + "\n", "utf-8")
    try:
        if directory.exists():
            raise FileExistsError
        unfinished.rename(directory)
    except OSError as error:
        (unfinished / DRAFT).unlink()
        unfinished.rmdir()
        if not directory.exists():
            raise catalog_error(directory, f"cannot be made: {error.strerror}") from None
        remedy = "choose another name"
        raise catalog_error(directory, "exists already", None, remedy, CatalogExistsError) from None
    return draft


def read_draft(directory: Path) -> Draft | None:
    """Return how a catalog that has no generation yet will be built; None: it has one.

    NotInCatalogError or CatalogError when there is neither.
    """
    if not (directory / CURRENT).exists():
        try:
            return Draft.model_validate_json((directory / DRAFT).read_bytes())
        except ValidationError:
            raise damaged(directory, f"{DRAFT} cannot be read") from None
        except OSError:
            pass
    current_generation(directory)  # tells what is missing
    return None


def end_draft(directory: Path) -> None:
    """The first generation is in use: what is said from now on stands in its manifest."""
    (directory / DRAFT).unlink(missing_ok=True)
