"""What a user can set about searches and catalogs that are asked for while Magpie runs. Light."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from catalog_tools.fetch_options import FetchOptions
from pipeline.options import Options
from pipeline.writable import expand_home, user_folder


class QueryOptions(Options):
    """Searches in single pictures, and catalogs that are made and changed while Magpie runs."""

    catalogs: Path | None = Field(
        None,
        description="folder of the catalogs that are made so, a sub-folder each; none: "
        "magpie/catalogs in $XDG_DATA_HOME",
    )
    queue: int = Field(
        8, ge=1, le=1000, description="jobs that may wait; further ones are refused as busy"
    )
    idle_s: float = Field(
        300.0, gt=0, description="without a job for so long, its process ends until it is needed"
    )
    fetch: FetchOptions = FetchOptions()


def catalogs_folder(options: QueryOptions) -> Path:
    """Return where catalogs are made; ConfigError when this user has no home folder."""
    if options.catalogs is not None:
        return expand_home(options.catalogs, "query.catalogs")
    home = user_folder("XDG_DATA_HOME", "~/.local/share", "name a folder: query.catalogs")
    return home / "magpie" / "catalogs"
