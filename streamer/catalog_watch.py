"""Notices a new generation of a catalog and loads it beside the work."""

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pipeline.catalog_format import current_generation
from pipeline.errors import MagpieError
from streamer.reporting import Log

LOOK_EVERY_S = 0.25

log = Log("catalog")


class CatalogUser(Protocol):
    """Who loads catalogs and knows the one in use."""

    def load_catalog(self, directory: Path) -> Any:
        """Return the catalog's current generation, ready to be searched; takes its time."""
        ...

    @property
    def catalogs(self) -> Mapping[str, Any]:
        """The catalog that each camera searches now; has `generation`."""
        ...


class CatalogWatch:
    """Looks at the catalogs' CURRENT four times a second; a new one is loaded in a thread.

    A generation that cannot be loaded is said once, and the one in use stays.
    """

    def __init__(self, directories: Mapping[str, Path], user: CatalogUser) -> None:
        """directories: by camera; cameras may share one."""
        self._user = user
        self._cameras: dict[Path, list[str]] = {}
        for camera, directory in directories.items():
            self._cameras.setdefault(directory, []).append(camera)
        self._known = {
            directory: int(user.catalogs[cameras[0]].generation)
            for directory, cameras in self._cameras.items()
        }
        self._loading: threading.Thread | None = None
        self._loaded: list[tuple[Path, Any]] = []
        self._looked_at_s = time.monotonic()

    def ready(self) -> Iterator[tuple[str, Any]]:
        """Yield each camera whose catalog has changed, with the loaded new one; never waits."""
        if self._loading is not None:
            if self._loading.is_alive():
                return
            self._loading = None
            while self._loaded:
                directory, catalog = self._loaded.pop()
                log.info("switched", catalog=directory.name, generation=catalog.generation)
                for camera in self._cameras[directory]:
                    yield camera, catalog
            return
        now_s = time.monotonic()
        if now_s - self._looked_at_s < LOOK_EVERY_S:
            return
        self._looked_at_s = now_s
        changed = [directory for directory in self._cameras if self._is_new(directory)]
        if changed:
            self._loading = threading.Thread(
                target=self._load, args=(changed,), name="catalog-loader", daemon=True
            )
            self._loading.start()

    def _is_new(self, directory: Path) -> bool:
        try:
            generation = current_generation(directory)
        except MagpieError as error:
            if self._known[directory] != -1:
                log.warning(f"keeping the one in use: {error}")
            self._known[directory] = -1
            return False
        if generation == self._known[directory]:
            return False
        self._known[directory] = generation
        return any(
            self._user.catalogs[camera].generation != generation
            for camera in self._cameras[directory]
        )

    def _load(self, directories: list[Path]) -> None:
        for directory in directories:
            try:
                self._loaded.append((directory, self._user.load_catalog(directory)))
            except MagpieError as error:
                log.warning(f"keeping the one in use: {error}")
