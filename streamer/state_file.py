"""What was changed while the daemon ran, beside the journal, laid over the configuration.

Nobody's YAML is rewritten. Of two words about a camera the newer one counts: a change goes on for
as long as the configuration says of that camera what it said when the change was made; when its
section is written anew, added or taken away, that counts. A pause stays until it is resumed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ConfigError, WorkerError
from streamer.config import CameraOptions
from streamer.publishing.options import PublishOptions, journal_path
from streamer.redaction import redact, remember_texts

MAX_BYTES = 4 * 2**20

Section = Mapping[str, Any]  # a camera's options as they were given, JSON values


class CameraChange(BaseModel):
    """What was changed of one camera.

    section: which section of the configuration it was made over; None: there was none. options:
    those that are others than the section's, or where is_whole, all; None: none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    section: str | None = None
    options: dict[str, Any] | None = None
    is_whole: bool = False
    is_removed: bool = False
    is_paused: bool = False

    @property
    def is_nothing(self) -> bool:
        return self.options is None and not self.is_removed and not self.is_paused


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    cameras: dict[str, CameraChange]


Changes = dict[str, CameraChange]


def state_path(options: PublishOptions) -> Path | None:
    """Return where the changes are kept; None where the journal itself goes with the run."""
    run_dir = Path("/run folder")
    journal = journal_path(options, run_dir)
    return None if journal.parent == run_dir else journal.with_name(f"{journal.name}.state.json")


def section_of(options: CameraOptions) -> dict[str, Any]:
    """Return a camera's options as they were given."""
    return options.model_dump(mode="json", exclude_unset=True)


def mark_of(section: Section | None) -> str | None:
    """Return what tells a section from another, and nothing of what it says."""
    if section is None:
        return None
    return hashlib.sha256(json.dumps(section, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Laid:
    """A camera with what was changed laid over its section. is_changed: its options are others."""

    section: dict[str, Any]
    origin: Literal["file", "api"]
    is_paused: bool
    is_changed: bool


def lay_over(sections: Mapping[str, Section], changes: Changes) -> tuple[dict[str, Laid], Changes]:
    """Return the cameras that there shall be, and the changes that go on.

    sections: of the configuration, by camera.
    """
    kept: Changes = {}
    for name, change in changes.items():
        if change.section != mark_of(sections.get(name)):  # the configuration has a newer word
            is_paused = change.is_paused and name in sections
            change = CameraChange(section=mark_of(sections.get(name)), is_paused=is_paused)
        if not change.is_nothing:
            kept[name] = change
    cameras: dict[str, Laid] = {}
    for name in dict.fromkeys((*sections, *kept)):
        change = kept.get(name, CameraChange())
        if change.is_removed:
            continue
        under = {} if change.is_whole else sections.get(name, {})
        section = {**under, **(change.options or {})}
        origin: Literal["file", "api"] = "file" if name in sections else "api"
        is_changed = name in sections and change.options is not None
        cameras[name] = Laid(section, origin, change.is_paused, is_changed)
    return cameras, kept


class StateFile:
    """The changes that are kept. path: None: they go with the run."""

    def __init__(self, path: Path | None) -> None:
        """Read what earlier runs left.

        Raises ConfigError for a damaged file: to go on without it might show what was removed, and
        to write it anew would lose what it holds.
        """
        self.path = path
        self.changes: Changes = {} if path is None else _read(path)

    def keep(self, changes: Changes) -> None:
        """Keep these changes in place of those before; WorkerError when the disk refuses, and then
        those before stay."""
        if self.path is not None and changes != self.changes:
            cameras = {
                name: change.model_dump(exclude_defaults=True) for name, change in changes.items()
            }
            _write(self.path, json.dumps({"format": 1, "cameras": cameras}, indent=2) + "\n")
        self.changes = changes


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.new")
    try:
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
        unfinished.replace(path)
    except OSError as error:
        rule = f"what is changed cannot be kept ({error.strerror})"
        raise WorkerError.at("state file", rule, str(path), "free some space there") from error


def _read(path: Path) -> Changes:
    try:
        if not path.exists():
            return {}
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        text = path.read_bytes()
        raw = json.loads(text)
        remember_texts(raw)
        return _Content.model_validate(raw).cameras
    except (OSError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        keys = ".".join(str(part) for part in first["loc"]) if first else ""
        cause = f"{keys} {first['msg'].lower()}" if first else redact(str(error))
        remedy = "mend it; or move it away, and what was changed while running is forgotten"
        raise ConfigError.at(f"state file '{path}'", f"is damaged: {cause}", None, remedy) from None
