"""What of a user's folder counts: not what is hidden, nor what NAS, macOS and Windows put there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePath

_SYSTEM_NAMES = frozenset(
    name.casefold()
    for name in (
        # Synology
        *("@eaDir", "@tmp", "@sharesnap", "@SynoResource", "#recycle", "#snapshot"),
        # QNAP
        *("@Recycle", "@Recently-Snapshot", "@__thumb"),
        # NetApp; old netatalk, which writes the dot of a hidden name as :2e
        *("~snapshot", ":2eDS_Store", ":2eAppleDouble"),
        # macOS: what its archives hold beside the files; the icon of a folder
        *("__MACOSX", "Icon\r", "Network Trash Folder"),
        # Windows
        *("System Volume Information", "$RECYCLE.BIN", "Thumbs.db", "ehthumbs.db", "desktop.ini"),
        # ext file systems
        "lost+found",
    )
)
_SYSTEM_ENDS = ("@synoeastream", "@synoresource")  # Synology, after a file's own name


def is_passed_over(path: PurePath) -> bool:
    """Say whether a path, relative to the folder that the user named, is none of the user's files.

    Whole names are compared, in any case: an item may be called `@home`.
    """
    return any(_is_system_name(part) for part in path.parts)


def entries_of(folder: Path) -> list[Path]:
    """Return what lies in the folder itself, in order of the names; OSError when unreadable."""
    return sorted(path for path in folder.iterdir() if not _is_system_name(path.name))


def files_below(folder: Path, on_error: Callable[[OSError], None] | None = None) -> list[Path]:
    """Return the files at every depth, in order of their paths; linked folders are not entered.

    on_error: told of each deeper folder that cannot be read; without it OSError is raised.
    """

    def told(error: OSError) -> None:
        if on_error is None:
            raise error
        on_error(error)

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=told):
        folders[:] = [name for name in folders if not _is_system_name(name)]
        found += [Path(place, name) for name in files if not _is_system_name(name)]
    return sorted(found)


def _is_system_name(name: str) -> bool:
    folded = name.casefold()
    return name.startswith(".") or folded in _SYSTEM_NAMES or folded.endswith(_SYSTEM_ENDS)
