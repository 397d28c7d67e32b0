"""What the query worker is told; apart from it, so that the parent loads nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.options import MatcherOptions
from streamer.config import AppConfig
from streamer.query.options import QueryOptions, catalogs_folder
from streamer.worker import WorkerSpec

QUERY_WORKER = "query"
QUERY_TARGET = "streamer.query.query_process:run_query"
DEFAULT_LOADER = "streamer.query.tools:load_tools"
READY_WITHIN_S = 30.0  # its networks come with the first job that needs them
STALL_AFTER_S = 60.0  # at the lowest priority a busy machine may keep it waiting


@dataclass(frozen=True, slots=True)
class QueryArgs:
    """What the query worker needs to start.

    folder: of the catalogs that are made while it runs. configured: catalogs elsewhere that the
    configuration names, by name; they can be searched and changed, and not deleted. loader:
    "module:function" that loads the networks (for tests).
    """

    folder: Path
    matcher: MatcherOptions
    query: QueryOptions
    configured: Mapping[str, Path] = field(default_factory=dict)
    loader: str = DEFAULT_LOADER


def query_worker(config: AppConfig, loader: str = DEFAULT_LOADER) -> WorkerSpec:
    """Return the row of the query worker; ConfigError when there is no folder for catalogs.

    loader: as in QueryArgs.
    """
    folder = catalogs_folder(config.query).absolute()
    elsewhere = {
        name: path for name, path in configured_catalogs(config).items() if path != folder / name
    }
    return WorkerSpec(
        name=QUERY_WORKER,
        kind="query",
        target=QUERY_TARGET,
        args=QueryArgs(folder, config.matcher, config.query, elsewhere, loader),
        ready_within_s=READY_WITHIN_S,
        stall_after_s=STALL_AFTER_S,
    )


def configured_catalogs(config: AppConfig) -> dict[str, Path]:
    """Return the catalogs that a configuration names, by the names of their folders."""
    cameras = (camera.catalog for camera in config.cameras.values())
    named = [path.absolute() for path in (config.catalog, *cameras) if path is not None]
    return {path.name: path for path in reversed(named)}
