"""Who runs: one row a worker, as data. Targets are strings, so that nothing heavy is imported."""

from collections.abc import Mapping

from streamer.camera_process import CameraArgs
from streamer.config import AppConfig, CameraOptions
from streamer.dealing import deal_out
from streamer.matcher_args import DEFAULT_CREATOR, CameraFeed, MatcherArgs, main_ring
from streamer.sinks.options import SinkArgs
from streamer.sources.base import SourceOptions
from streamer.supervisor import SupervisorOptions
from streamer.web.arguments import WebArgs
from streamer.worker import WorkerSpec

CAMERA_TARGET = "streamer.camera_process:run_camera"
WEB_TARGET = "streamer.web.web_process:run_web"
MATCHER_TARGET = "streamer.matcher_process:run_matcher"
CALLS_BEFORE_RECORDINGS = 2  # the follow lane helps while it waits (matcher_process); 50 MB
SINK_TARGETS = {
    "mqtt": "streamer.sinks.mqtt:run_mqtt",
    "webhook": "streamer.sinks.webhook:run_webhook",
}
SINK_READY_WITHIN_S = 30.0
SINK_STALL_AFTER_S = 60.0  # an address is looked up, a POST waits for its answer
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
    table = []
    for index, hand in enumerate(hands):
        cameras = [config.cameras[name] for name in hand]
        feeds = tuple(camera_feed(config, name, config.cameras[name]) for name in hand)
        is_any_live = any(camera.searched.is_live for camera in cameras)
        table.append(matcher_spec(config, index, feeds, creator, is_any_live))
    index_of = {name: index for index, hand in enumerate(hands) for name in hand}
    for name, camera in config.cameras.items():
        table += camera_specs(name, camera, index_of[name], config.supervisor)
    return table


def sink_workers(config: AppConfig) -> list[WorkerSpec]:
    """Return the workers that bring events elsewhere: beside the others, at any time."""
    return [
        WorkerSpec(
            name=f"sink.{kind}.{name}",
            kind="sink",
            target=SINK_TARGETS[kind],
            args=SinkArgs(kind=kind, name=name, options=options, publish=config.publish),
            ready_within_s=SINK_READY_WITHIN_S,
            stall_after_s=SINK_STALL_AFTER_S,
        )
        for kind, name, options in config.sinks.each()
    ]


def camera_specs(
    name: str, camera: CameraOptions, matcher: int, limits: SupervisorOptions
) -> list[WorkerSpec]:
    """Return the workers of one camera: of the stream that is searched, then of its main one."""
    specs = [_camera(camera_worker(name), CameraArgs(name, camera.searched, matcher), limits)]
    if camera.main is not None:
        args = CameraArgs(main_ring(name), camera.main, matcher, is_spare=True)
        specs.append(_camera(main_worker(name), args, limits))
    return specs


def camera_feed(config: AppConfig, name: str, camera: CameraOptions, life: int = 0) -> CameraFeed:
    """Return what a camera's matcher is told of it; ConfigError where no catalog is named."""
    return CameraFeed(
        name,
        camera.catalog or config.catalog_of(name),
        camera.regions,
        camera.detect_fps,
        camera.motion_gate,
        camera.look_again_s,
        camera.main is not None,
        life,
    )


def matcher_of(table: list[WorkerSpec]) -> dict[str, int]:
    """Return the number of the matcher by camera."""
    return {
        spec.args.name: spec.args.matcher
        for spec in table
        if isinstance(spec.args, CameraArgs) and not spec.args.is_spare
    }


def matcher_worker(index: int) -> str:
    """Return the name of a matcher's worker."""
    return f"matcher.{index}"


def camera_worker(camera: str) -> str:
    """Return the name of a camera's worker: of the stream that is searched."""
    return f"camera.{camera}"


def main_worker(camera: str) -> str:
    """Return the name of the worker that reads a camera's main stream beside it."""
    return f"camera.{camera}.main"


def rings(table: list[WorkerSpec]) -> dict[str, SourceOptions]:
    """Return the rings that the workers will fill, and from what."""
    args = [spec.args for spec in table if isinstance(spec.args, CameraArgs)]
    return {each.name: each.source for each in args}


def web_workers(config: AppConfig) -> list[WorkerSpec]:
    """Return the worker that serves HTTP, where it is asked for."""
    if not config.web.enabled:
        return []
    spec = WorkerSpec(
        name="web",
        kind="web",
        target=WEB_TARGET,
        args=WebArgs(config.web, config.publish, config.evidence),
        ready_within_s=config.supervisor.web_ready_within_s,
        stall_after_s=config.supervisor.web_stall_after_s,
    )
    return [spec]


def matcher_spec(
    config: AppConfig, index: int, feeds: tuple[CameraFeed, ...], creator: str, is_any_live: bool
) -> WorkerSpec:
    """Return a matcher's worker. is_any_live: else it begins with recordings alone."""
    options = config.matcher
    if not is_any_live and not options.engine.calls_at_once:
        engine = options.engine.model_copy(update={"calls_at_once": CALLS_BEFORE_RECORDINGS})
        options = options.model_copy(update={"engine": engine})
    if config.evidence is not None:
        options = options.model_copy(update={"keep_evidence": True})
    return WorkerSpec(
        name=matcher_worker(index),
        kind="matcher",
        target=MATCHER_TARGET,
        args=MatcherArgs(
            index=index,
            feeds=feeds,
            options=options,
            evidence=config.evidence,
            creator=creator,
        ),
        ready_within_s=config.supervisor.matcher_ready_within_s,
        stall_after_s=config.supervisor.matcher_stall_after_s,
    )


def _camera(worker: str, args: CameraArgs, limits: SupervisorOptions) -> WorkerSpec:
    return WorkerSpec(
        name=worker,
        kind="camera",
        target=CAMERA_TARGET,
        args=args,
        ready_within_s=limits.camera_ready_within_s,
        stall_after_s=max(limits.camera_stall_after_s, args.source.longest_call_s + 1),
        is_finite=args.source.kind in _FINITE,
    )
