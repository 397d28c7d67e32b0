"""Does what is asked of a run's cameras: checked as the configuration is, kept, then done."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.errors import MagpieError
from streamer.cameras import Cameras
from streamer.config import AppConfig
from streamer.control.requests import (
    AddCamera,
    CameraList,
    CameraView,
    ChangeCamera,
    Reloaded,
    Status,
    refused,
    refused_as,
)
from streamer.process_table import camera_specs, rings
from streamer.redaction import redact
from streamer.reporting import Log
from streamer.ring_file import check_room
from streamer.state_file import CameraChange, Laid, mark_of, section_of
from streamer.wanted_cameras import WantedCameras

log = Log("changes")

Reread = Callable[[], AppConfig]


class CameraChanges:
    """Raises RefusedError for what is not done; nothing is changed then."""

    def __init__(self, wanted: WantedCameras, cameras: Cameras, run_dir: Path) -> None:
        self._wanted, self._cameras, self._run_dir = wanted, cameras, run_dir

    def list(self) -> CameraList:
        """Return all cameras as they are."""
        views = tuple(self.view(name) for name in self._wanted.cameras)
        return CameraList(cameras=views, removed=self._wanted.removed)

    def view(self, name: str) -> CameraView:
        """Return a camera as it is told of."""
        laid, catalog = self._wanted.laid[name], self._wanted.cameras[name].options.catalog
        state, reason = self._cameras.state(name)
        return CameraView(
            name=name,
            options=_hidden(laid.section),
            origin=laid.origin,
            is_paused=laid.is_paused,
            is_changed=laid.is_changed,
            state=state.value,
            reason=reason,
            matcher=self._cameras.matcher_of().get(name),
            catalog=None if catalog is None else str(catalog),
        )

    def add(self, asked: AddCamera) -> CameraView:
        """Take in a camera. One of the configuration that was removed may come back as another."""
        name, section = asked.name, self._wanted.section(asked.name)
        if name in self._wanted.cameras:
            rule, remedy = "there is a camera of this name", "choose another, or change that one"
            raise refused("conflict", f"cameras.{name}", rule, remedy=remedy)
        change = CameraChange(
            section=mark_of(section),
            options=self._checked(name, asked.options),
            is_whole=section is not None,
            is_paused=asked.is_paused,
        )
        self._keep(name, change, "added")
        return self.view(name)

    def change(self, asked: ChangeCamera) -> CameraView:
        """Give a camera other options; those that are not named stay."""
        name = asked.name
        checked = self._checked(name, {**self._there(name).section, **asked.options})
        change = self._wanted.change_of(name)
        keys = {**(change.options or {}), **asked.options}.keys()
        options = {key: checked[key] for key in keys if key in checked}
        self._keep(name, change.model_copy(update={"options": options}), "changed")
        return self.view(name)

    def remove(self, name: str) -> CameraView:
        """Let there be no such camera; returns it as it was."""
        self._there(name)
        view = self.view(name)
        section = mark_of(self._wanted.section(name))
        self._keep(name, CameraChange(section=section, is_removed=True), "removed")
        return view

    def pause(self, name: str, is_paused: bool) -> CameraView:
        """Let nothing of a camera run, or let it go on."""
        self._there(name)
        change = self._wanted.change_of(name).model_copy(update={"is_paused": is_paused})
        self._keep(name, change, "paused" if is_paused else "resumed")
        return self.view(name)

    def reload(self, reread: Reread | None, running: AppConfig) -> Reloaded:
        """Read the configuration again and apply what changed of its cameras.

        running: what the run was started with; its other keys stay as they are.
        """
        if reread is None:
            remedy = "start with --config FILE, or change the cameras one by one"
            raise refused("conflict", "reload", "this run has no configuration file", None, remedy)
        old = self._wanted.config
        try:
            new = reread()
            self._wanted.reread(new)
        except MagpieError as error:
            log.error(f"the configuration is not taken over, the run goes on as it is: {error}")
            raise refused_as(error, "invalid") from error
        self._apply()
        before, after = (
            {name: section_of(one) for name, one in each.cameras.items()} for each in (old, new)
        )
        told = Reloaded(
            added=tuple(name for name in after if name not in before),
            changed=tuple(n for n in after if n in before and after[n] != before[n]),
            removed=tuple(name for name in before if name not in after),
            needs_restart=_not_applied(running, new),
            kept=tuple(self._wanted.changes),
        )
        fields = {key: ",".join(names) for key, names in told.model_dump().items() if names}
        log.info("the configuration was read again", **fields)
        return told

    def _there(self, name: str) -> Laid:
        if name not in self._wanted.laid:
            remedy = "magpie camera list says which there are"
            raise refused("missing", f"cameras.{name}", "there is no such camera", None, remedy)
        return self._wanted.laid[name]

    def _checked(self, name: str, section: Mapping[str, Any]) -> dict[str, Any]:
        """Return the section as it is kept, when a camera can be so."""
        status: Status = "invalid"
        try:
            checked = self._wanted.read(name, section)
            options = self._wanted.options(name, checked)
            status = "busy"
            check_room(
                self._run_dir, rings(camera_specs(name, options, 0, self._wanted.config.supervisor))
            )
        except MagpieError as error:
            raise refused_as(error, status) from error
        return checked

    def _keep(self, name: str, change: CameraChange, done: str) -> None:
        try:
            self._wanted.keep(name, change)
        except MagpieError as error:
            raise refused_as(error, "busy") from error
        self._apply()
        log.info(f"camera {done}", camera=name)

    def _apply(self) -> None:
        there = self._cameras.wanted()
        for name in there.keys() - self._wanted.cameras.keys():
            self._cameras.unwant(name)
        for name, wanted in self._wanted.cameras.items():
            if there.get(name) != wanted:
                self._cameras.want(name, wanted)


def _not_applied(running: AppConfig, new: AppConfig) -> tuple[str, ...]:
    """Return the keys that differ and take a restart."""
    keys = [key for key in AppConfig.model_fields if key not in ("cameras", "catalog")]
    return tuple(
        path for key in keys for path in _differing(key, getattr(running, key), getattr(new, key))
    )


def _differing(key: str, old: object, new: object) -> Iterator[str]:
    """Yield the paths of the keys under this one that differ."""
    if old == new:
        return
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        for inner in type(old).model_fields:
            yield from _differing(f"{key}.{inner}", getattr(old, inner), getattr(new, inner))
    else:
        yield key


def _hidden(content: Any) -> Any:
    """Return a section without secrets."""
    if isinstance(content, str):
        return redact(content)
    if isinstance(content, dict):
        return {key: _hidden(inner) for key, inner in content.items()}
    return [_hidden(inner) for inner in content] if isinstance(content, list) else content
