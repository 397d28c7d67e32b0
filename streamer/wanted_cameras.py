"""Which cameras a run shall have: the configuration's, with what was changed laid over them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, MagpieError
from streamer.cameras import Wanted
from streamer.config import AppConfig, CameraOptions, find_mistakes
from streamer.reporting import Log
from streamer.state_file import (
    CameraChange,
    Changes,
    Laid,
    StateFile,
    lay_over,
    mark_of,
    section_of,
)

log = Log("cameras")


class WantedCameras:
    """What is wanted now. config: what the configuration says, as it was read last.

    laid: each camera's section and origin. cameras: the same as options, with their catalogs.
    changes: what was changed while running, and goes on.
    """

    def __init__(self, config: AppConfig, state_file: StateFile) -> None:
        """Relative paths of a request count from where this process stands now.

        Raises ConfigError where what is kept is no camera's options.
        """
        self.config = config
        self._state_file, self._base = state_file, Path.cwd()
        self.laid, self.changes = lay_over(_sections(config), state_file.changes)
        for name in state_file.changes.keys() - self.changes.keys():
            log.info("the configuration's word is newer than what was changed", camera=name)
        try:
            self.cameras = self._read(self.laid, config)
        except ConfigError as error:
            where = f"state file '{state_file.path}'"
            raise ConfigError(f"{where}: {error}; mend it, or move it away") from None

    @property
    def removed(self) -> tuple[str, ...]:
        """The configuration's cameras that were removed while running."""
        return tuple(name for name, change in self.changes.items() if change.is_removed)

    def check_any(self, may_be_empty: bool) -> None:
        """Raise ConfigError for a run that has no camera, unless some may come later."""
        if not may_be_empty and not self.config.cameras and not self.changes:
            rule, remedy = "a run needs at least one source", "magpie run SOURCE --catalog DIR"
            raise ConfigError.at("cameras", rule, remedy=remedy)

    def at_start(self) -> AppConfig:
        """Return the configuration of the cameras that a run begins with.

        A camera that was changed while running and has a mistake now is not among them: it comes as
        one that is added does, says what it waits for, and keeps no other from starting.
        """
        cameras = {
            name: wanted.options
            for name, wanted in self.cameras.items()
            if not wanted.is_paused and not self._has_mistake(name, wanted.options)
        }
        return self.config.model_copy(update={"cameras": cameras})

    def read(self, name: str, section: Mapping[str, Any]) -> dict[str, Any]:
        """Return a camera's section as it is kept: checked, with whole paths.

        Raises ConfigError with what is wrong of it, also outside: a missing file or catalog.
        """
        options = _options(name, section, self._base)
        config = self.config.model_copy(update={"cameras": {name: options}})
        for keys, mistake in find_mistakes(config):
            raise ConfigError(f"{'.'.join(keys)}: {mistake}")
        return section_of(options)

    def options(self, name: str, section: Mapping[str, Any]) -> CameraOptions:
        """Return the options that a checked section comes to."""
        return _with_catalog(_options(name, section), self.config)

    def section(self, name: str) -> dict[str, Any] | None:
        """Return a camera's section in the configuration."""
        return _sections(self.config).get(name)

    def change_of(self, name: str) -> CameraChange:
        """Return what was changed of a camera so far."""
        return self.changes.get(name, CameraChange(section=mark_of(self.section(name))))

    def keep(self, name: str, change: CameraChange) -> None:
        """Change one camera; nothing is changed where it cannot be kept (WorkerError)."""
        changes = {**self.changes, name: change}
        if change.is_nothing or (change.is_removed and name not in self.config.cameras):
            del changes[name]
        self._take_over(self.config, changes)

    def reread(self, config: AppConfig) -> None:
        """Take over the cameras of another configuration, as `keep` does."""
        self._take_over(config, self.changes)

    def _take_over(self, config: AppConfig, changes: Changes) -> None:
        laid, changes = lay_over(_sections(config), changes)
        cameras = self._read(laid, config)
        self._state_file.keep(changes)
        self.config, self.laid, self.changes, self.cameras = config, laid, changes, cameras

    def _read(self, laid: Mapping[str, Laid], config: AppConfig) -> dict[str, Wanted]:
        return {
            name: Wanted(
                _with_catalog(_options(name, one.section), config), one.origin, one.is_paused
            )
            for name, one in laid.items()
        }

    def _has_mistake(self, name: str, options: CameraOptions) -> bool:
        if self.laid[name].origin == "file" and not self.laid[name].is_changed:
            return False  # looked into when the configuration was read
        try:
            mistakes = find_mistakes(self.config.model_copy(update={"cameras": {name: options}}))
        except MagpieError as error:
            mistakes = [((), error)]
        for _, mistake in mistakes:
            log.warning(f"camera {name}, as it was changed while running: {mistake}")
        return bool(mistakes)


def _options(name: str, section: Mapping[str, Any], base: Path | None = None) -> CameraOptions:
    from streamer.config_file import read_camera  # here: it brings the parser of YAML

    return read_camera(name, section, base)


def _with_catalog(options: CameraOptions, config: AppConfig) -> CameraOptions:
    return options.model_copy(update={"catalog": options.catalog or config.catalog})


def _sections(config: AppConfig) -> dict[str, dict[str, Any]]:
    return {name: section_of(options) for name, options in config.cameras.items()}
