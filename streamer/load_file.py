"""Keeps the cameras' loads from one run to the next, in a small file beside the journal."""

import contextlib
import os
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamer.camera_load import Load
from streamer.reporting import Log

FIRST_KEPT_AFTER_S, KEPT_EVERY_S = 5.0, 60.0  # ever more seldom: a killed daemon has them too
REMEMBERED_S = 600.0  # what earlier runs count at most: a minute's run does not undo a day's
MAX_CAMERAS, MAX_BYTES = 256, 2**20

log = Log("loads")


class _KeptLoad(BaseModel):
    """load: the share of one lane's time; seconds: over how long it was measured."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    load: float = Field(ge=0, le=1000)
    seconds: float = Field(gt=0, le=REMEMBERED_S)


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1] = 1
    cameras: dict[str, _KeptLoad]


def load_path(journal: Path, run_dir: Path) -> Path | None:
    """Return where the loads lie; none where the journal itself goes with the run."""
    return None if journal.parent == run_dir else journal.with_name(f"{journal.name}.loads.json")


class LoadFile:
    """The loads of earlier runs, joined by this one's. path: none: nothing is read or kept.

    Nothing here ever fails a run: what cannot be read or written is said once in the log.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._earlier: dict[str, Load] = {} if path is None else _read(path)
        self._every_s = FIRST_KEPT_AFTER_S
        self._keep_at_s = time.monotonic() + self._every_s
        self._is_refused = False

    def loads(self) -> dict[str, float]:
        """Return the loads of earlier runs by camera."""
        return {camera: load.share for camera, load in self._earlier.items()}

    def keep_now_and_then(self, measured: Mapping[str, Load]) -> None:
        """Keep the loads of this run so far, when it is time."""
        if time.monotonic() >= self._keep_at_s:
            self._every_s = min(2 * self._every_s, KEPT_EVERY_S)
            self._keep_at_s = time.monotonic() + self._every_s
            self.keep(measured)

    def keep(self, measured: Mapping[str, Load]) -> None:
        """Write down what this run measured, joined with what earlier ones did.

        Cameras that are not in this run stay, as far as there is room.
        """
        if self._path is None or not measured:
            return
        joined = {
            camera: load + self._earlier[camera] if camera in self._earlier else load
            for camera, load in measured.items()
        }
        others = {camera: load for camera, load in self._earlier.items() if camera not in joined}
        content = _Content(
            cameras={
                camera: _KeptLoad(load=load.share, seconds=min(load.seconds, REMEMBERED_S))
                for camera, load in islice((joined | others).items(), MAX_CAMERAS)
            }
        )
        self._write(self._path, content.model_dump_json(indent=2) + "\n")

    def _write(self, path: Path, text: str) -> None:
        unfinished = path.with_name(f"{path.name}.new")
        try:
            fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "w") as file:
                file.write(text)
            unfinished.replace(path)  # no fsync: the file is not worth a wait for the disk
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            if not self._is_refused:
                self._is_refused = True
                log.warning("the cameras' loads cannot be kept", file=path, cause=error)


def _read(path: Path) -> dict[str, Load]:
    """Return what the file holds; nothing, said in the log, when it is odd."""
    try:
        if not path.exists():
            return {}
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise ValueError("no file of loads")
        content = _Content.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        cause = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        log.warning("the cameras' loads of earlier runs are not used", file=path, cause=cause)
        return {}
    return {
        camera: Load(kept.load * kept.seconds, kept.seconds)
        for camera, kept in content.cameras.items()
    }
