"""Notices that a catalog was replaced or is new to its user, and loads it beside the work."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pipeline.catalog_format import (
    CURRENT,
    MANIFEST,
    current_generation,
    generation_folder,
    generation_identity,
)
from pipeline.errors import MagpieError
from streamer.reporting import Log

LOOK_EVERY_S = 0.25
TRY_AGAIN_S = 0.5  # a catalog that is not whole; reading it anew costs as long as it is large

log = Log("catalog")

_Marks = tuple[tuple[int, ...], ...]


class CatalogUser(Protocol):
    """Who loads catalogs and knows the one in use."""

    def load_catalog(self, directory: Path) -> Any:
        """Return the catalog that is there now, ready to be searched; takes its time."""
        ...

    @property
    def catalogs(self) -> Mapping[str, Any]:
        """The catalog that each camera searches now; has `generation` and `identity`.

        A camera that is watched for and not here waits for its first.
        """
        ...


class CatalogWatch:
    """Looks at the catalogs four times a second; another one is loaded in a thread.

    What is there is known by the hash of its manifest: the number of a generation may come again in
    another build, in a folder that was moved or linked there. A catalog that is not whole (a copy
    in progress) is tried again until it is, and said once; the one in use stays meanwhile.
    """

    def __init__(self, directories: Mapping[str, Path], user: CatalogUser) -> None:
        """directories: by camera; cameras may share one."""
        self._user = user
        self._cameras: dict[Path, list[str]] = {}
        for camera, directory in directories.items():
            self._cameras.setdefault(directory, []).append(camera)
        self._marks: dict[Path, _Marks | None] = {}  # of what is known to be in use
        self._broken: dict[Path, str] = {}  # what was said of one that could not be loaded
        self._try_at_s: dict[Path, float] = {}
        self._loading: threading.Thread | None = None
        self._loaded: list[tuple[Path, Any]] = []
        self._failed: list[tuple[Path, str]] = []
        self._looked_at_s = time.monotonic()

    def add(self, camera: str, directory: Path) -> None:
        """Look for the catalog of a camera that has none yet: `ready` yields it."""
        self._cameras.setdefault(directory, []).append(camera)
        self._looked_at_s = 0.0
        self._try_at_s.pop(directory, None)
        self._marks.pop(directory, None)

    def remove(self, camera: str) -> None:
        """Look no longer for a camera's catalog."""
        for directory, cameras in list(self._cameras.items()):
            if camera in cameras:
                cameras.remove(camera)
                if not cameras:
                    del self._cameras[directory]
                    self._marks.pop(directory, None)
                    self._broken.pop(directory, None)
                    self._try_at_s.pop(directory, None)

    def trouble(self, camera: str) -> str | None:
        """Return why a camera's catalog cannot be loaded now; None while nothing is known."""
        mine = [directory for directory, cameras in self._cameras.items() if camera in cameras]
        return next((self._broken.get(directory) for directory in mine), None)

    def ready(self) -> Iterator[tuple[str, Any]]:
        """Yield each camera whose catalog has changed, with the loaded new one; never waits."""
        if self._loading is not None:
            if self._loading.is_alive():
                return
            self._loading = None
            self._note_failures()
            yield from self._take_loaded()
            return
        now_s = time.monotonic()
        if now_s - self._looked_at_s < LOOK_EVERY_S:
            return
        self._looked_at_s = now_s
        yield from self._shared()
        changed = [directory for directory in self._cameras if self._is_new(directory, now_s)]
        if changed:
            self._loading = threading.Thread(
                target=self._load, args=(changed,), name="catalog-loader", daemon=True
            )
            self._loading.start()

    def _shared(self) -> Iterator[tuple[str, Any]]:
        """Yield each camera that waits for a catalog which another one searches already."""
        catalogs = self._user.catalogs
        for cameras in self._cameras.values():
            in_use = next((catalogs[each] for each in cameras if each in catalogs), None)
            if in_use is not None:
                yield from ((each, in_use) for each in cameras if each not in catalogs)

    def _take_loaded(self) -> Iterator[tuple[str, Any]]:
        while self._loaded:
            directory, catalog = self._loaded.pop()
            self._broken.pop(directory, None)
            if catalog.identity == self._identity_in_use(directory):
                continue  # changed and changed back while it was read
            log.info(
                "switched",
                catalog=directory.name,
                generation=catalog.generation,
                manifest=catalog.identity[:8],
            )
            for camera in self._cameras.get(directory, ()):
                yield camera, catalog

    def _is_new(self, directory: Path, now_s: float) -> bool:
        """Whether another catalog is there than the one in use, and it is time to try it."""
        marks = _marks_of(directory)
        if marks is not None and marks == self._marks.get(directory):
            return False
        if now_s < self._try_at_s.get(directory, 0.0):
            return False
        try:
            identity = generation_identity(directory, current_generation(directory))
        except MagpieError as error:
            self._say_broken(directory, str(error))
            return False
        if identity != self._identity_in_use(directory):
            return True
        self._marks[directory] = marks
        if self._broken.pop(directory, None) is not None:
            log.info("whole again, and the one in use", catalog=directory.name)
        return False

    def _identity_in_use(self, directory: Path) -> str | None:
        """Return what is in use of a directory; None: nothing yet, or nothing any more."""
        catalogs = self._user.catalogs
        cameras = self._cameras.get(directory, ())
        return next((str(catalogs[each].identity) for each in cameras if each in catalogs), None)

    def _say_broken(self, directory: Path, error: str) -> None:
        """Say once that a catalog cannot be loaded; it is tried again."""
        self._try_at_s[directory] = time.monotonic() + TRY_AGAIN_S
        if directory not in self._broken:
            is_used = self._identity_in_use(directory) is not None
            what = "keeping the one in use, trying" if is_used else "no catalog yet, trying"
            log.warning(f"{what} again until it is whole: {error}")
        self._broken[directory] = error

    def _note_failures(self) -> None:
        while self._failed:
            directory, error = self._failed.pop()
            if directory in self._cameras:
                self._say_broken(directory, error)

    def _load(self, directories: list[Path]) -> None:
        for directory in directories:
            try:
                self._loaded.append((directory, self._user.load_catalog(directory)))
            except (MagpieError, OSError, EOFError, ValueError) as error:
                self._failed.append((directory, str(error)))


def _marks_of(directory: Path) -> _Marks | None:
    """Return what tells cheaply that CURRENT and the manifest are those looked at before.

    None while they are not there. Links are followed: one that is switched leads to other files.
    """
    try:
        current = os.stat(directory / CURRENT)
        generation = current_generation(directory)
        manifest = os.stat(generation_folder(directory, generation) / MANIFEST)
    except (OSError, MagpieError):
        return None
    return tuple(
        (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        for stat in (current, manifest)
    )
