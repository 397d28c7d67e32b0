"""Who runs: one row a worker, as data. Targets are strings, so that nothing heavy is imported."""

from collections.abc import Mapping

from streamer.camera_process import CameraArgs
from streamer.config import AppConfig
from streamer.dealing import deal_out
from streamer.matcher_args import DEFAULT_CREATOR, CameraFeed, MatcherArgs
from streamer.sources.base import SourceOptions
from streamer.worker import WorkerSpec

CAMERA_TARGET = "streamer.camera_process:run_camera"
MATCHER_TARGET = "streamer.matcher_process:run_matcher"
_FINITE = ("file", "folder", "test")  # kinds that have an end of their own


def build_process_table(
    config: AppConfig, creator: str = DEFAULT_CREATOR, loads: Mapping[str, float] | None = None
) -> list[WorkerSpec]:
    """Return the workers of a run in order of start: matchers, then cameras.

    creator: who makes the matcher (for tests). loads: what earlier runs measured of cameras, by
    which they are dealt out to the matchers.
    """
    names = list(config.cameras)
    hands = deal_out(names, min(config.matchers, len(names)), loads or {})
    table = [_matcher(config, index, hand, creator) for index, hand in enumerate(hands)]
    index_of = {name: index for index, hand in enumerate(hands) for name in hand}
    return table + [_camera(config, name, index_of[name]) for name in names]


def matcher_of(table: list[WorkerSpec]) -> dict[str, str]:
    """Return the matcher's worker by camera."""
    return {
        spec.args.name: matcher_worker(spec.args.matcher)
        for spec in table
        if isinstance(spec.args, CameraArgs)
    }


def matcher_worker(index: int) -> str:
    """Return the name of a matcher's worker."""
    return f"matcher.{index}"


def camera_worker(camera: str) -> str:
    """Return the name of a camera's worker."""
    return f"camera.{camera}"


def _matcher(config: AppConfig, index: int, cameras: list[str], creator: str) -> WorkerSpec:
    options = config.matcher
    if config.evidence is not None:
        options = options.model_copy(update={"keep_evidence": True})
    return WorkerSpec(
        name=matcher_worker(index),
        kind="matcher",
        target=MATCHER_TARGET,
        args=MatcherArgs(
            index=index,
            feeds=tuple(
                CameraFeed(
                    name,
                    config.catalog_of(name),
                    config.cameras[name].regions,
                    config.cameras[name].detect_fps,
                    config.cameras[name].motion_gate,
                    config.cameras[name].look_again_s,
                )
                for name in cameras
            ),
            options=options,
            evidence=config.evidence,
            creator=creator,
        ),
        ready_within_s=config.supervisor.matcher_ready_within_s,
        stall_after_s=config.supervisor.matcher_stall_after_s,
    )


def _camera(config: AppConfig, name: str, matcher: int) -> WorkerSpec:
    camera = config.cameras[name]
    source = SourceOptions(**{key: getattr(camera, key) for key in SourceOptions.model_fields})
    limits = config.supervisor
    return WorkerSpec(
        name=camera_worker(name),
        kind="camera",
        target=CAMERA_TARGET,
        args=CameraArgs(name=name, source=source, matcher=matcher),
        ready_within_s=limits.camera_ready_within_s,
        stall_after_s=max(limits.camera_stall_after_s, source.longest_call_s + 1),
        is_finite=camera.kind in _FINITE,
    )
