"""Stand-ins with which processes are tested without networks; named in tests as "tests.fakes:…"."""

import json
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.catalog_format import current_generation, generation_identity
from pipeline.errors import CatalogError
from pipeline.options import MatcherOptions, Regions
from pipeline.timing import FrameStamp
from pipeline.types import Frame, ItemId, Match, Phase, Sighting, Tier
from streamer.child import ChildContext, WorkerState


@dataclass(frozen=True)
class Script:
    """What a scripted worker does: it writes its pid to `mark`, then one of the modes below."""

    mode: str
    mark: Path


def run_script(context: ChildContext, script: Script) -> None:
    """A worker for the supervisor's tests.

    works: beats until asked to stop. ends: finishes its work. dies: raises before it is ready.
    silent: is ready and never beats again. deaf: beats and ignores every request to stop.
    late: never gets ready. mistake: a user's error. leaves: exits with code 0, work unfinished.
    hears: works, and notes the mark of each other script that it is told.
    """
    with script.mark.open("a") as file:
        file.write(f"{os.getpid()}\n")
    if script.mode == "dies":
        raise RuntimeError("rtsp://user:hunter2@camera/ fell over")
    if script.mode == "mistake":
        raise CatalogError.at("catalog 'shelf'", "expected a catalog", remedy="build it")
    if script.mode == "late":
        context.wait(60)
        return
    context.ready()
    context.report(WorkerState.RUNNING, None, n=1)
    if script.mode == "leaves":
        return
    if script.mode == "ends":
        context.report(WorkerState.ENDED)
        return
    while script.mode == "deaf" or not context.is_stopping():
        if script.mode != "silent":
            context.beat()
        if script.mode == "hears" and isinstance(told := context.told(), Script):
            context.note("told", mark=told.mark)
        if script.mode == "deaf":
            time.sleep(0.02)
        else:
            context.wait(0.02)


def wait_until(
    condition: Callable[[], object], what: str = "what was waited for", within_s: float = 20.0
) -> None:
    """Return when the condition holds; fail with `what` when it does not in time."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.005)


@dataclass(frozen=True)
class ScriptedCatalog:
    """What a scripted matcher searches: the directory's CURRENT and its script.json."""

    directory: Path
    generation: int
    identity: str

    @classmethod
    def load(cls, directory: Path) -> "ScriptedCatalog":
        generation = current_generation(directory)
        return cls(directory, generation, generation_identity(directory, generation))


def write_scripted_catalog(directory: Path, generation: int = 1, **script: object) -> Path:
    """Make a directory that passes for a catalog, with what its scripted matcher shall do.

    period, appear, leave: item "soup" is in view from frame `appear` to `leave` of each `period`.
    takes_s: what each frame costs. still: frame numbers in which nothing moves. fail: frame
    numbers on which the matcher raises.
    broken: the matcher dies of a CatalogError. dies: of a bug.
    """
    folder = directory / "generations" / f"{generation:06d}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"generation": generation, **script}))
    (directory / "script.json").write_text(json.dumps(script))
    unfinished = directory / "CURRENT.new"
    unfinished.write_text(f"{generation}\n")
    unfinished.replace(directory / "CURRENT")
    return directory


class ScriptedMatcher:
    """A matcher without networks: sees "soup" in the frames that its catalog's script names."""

    def __init__(
        self,
        options: MatcherOptions,
        catalogs: Mapping[str, Path],
        regions: Mapping[str, Regions],
    ) -> None:
        self._leave_after_s = options.decide.leave_after_s
        self._catalogs = {name: ScriptedCatalog.load(path) for name, path in catalogs.items()}
        self._scripts = {
            name: json.loads((path / "script.json").read_text()) for name, path in catalogs.items()
        }
        self._open: dict[str, Sighting] = {}
        self._stamps: dict[str, FrameStamp] = {}  # of each camera's last frame
        self.stage_ms: dict[str, float] = {}
        for name, script in self._scripts.items():
            if script.get("broken"):
                raise CatalogError.at(
                    f"catalog of {name!r}", "expected a whole one", "a broken one"
                )
            if script.get("dies"):
                raise RuntimeError("the network fell over")

    def match(self, frames: Sequence[Frame]) -> list[Sighting]:
        found = []
        for frame in frames:
            script = self._scripts[frame.camera]
            time.sleep(script.get("takes_s", 0.0))
            if frame.number in script.get("fail", []):
                raise ValueError("an odd picture")
            phase = frame.number % script.get("period", 40)
            is_in_view = script.get("appear", 5) <= phase < script.get("leave", 25)
            found += self._see(frame, "soup" if is_in_view else None)
        self.stage_ms = {"detect": 0.5, "track": 0.1}
        return found

    looks_at_once = 1
    frames_at_once = 8
    identifiers = 2

    def follow(
        self, frames: Sequence[Frame], waiting: object = ()
    ) -> tuple[list[Sighting], list[object]]:
        return self.match(frames), []

    def coast(self, frames: Sequence[Frame]) -> list[Sighting]:
        return self.match(frames)

    def is_still(self, frame: Frame, look_again_s: float) -> bool:
        return frame.number in self._scripts[frame.camera].get("still", [])

    def stay(
        self, frames: Sequence[Frame], waiting: object = ()
    ) -> tuple[list[Sighting], list[object]]:
        return self.match(frames), []

    def identify(self, looks: Sequence[object]) -> list[object]:
        return []

    def apply(self, answers: Sequence[object]) -> list[Sighting]:
        return []

    def give_up(self, look: object) -> None:
        pass

    def tick(self, camera: str, now_ns: int) -> list[Sighting]:
        if camera not in self._open:
            return []
        silent_s = (now_ns - self._stamps[camera].captured_ns) / 1e9
        return self._leave(camera, "gone") if silent_s > self._leave_after_s else []

    def reset_camera(self, camera: str) -> list[Sighting]:
        return self._leave(camera, "camera_lost")

    def begin_camera(self, camera: str, catalog: ScriptedCatalog, regions: Regions) -> None:
        self._catalogs[camera] = catalog
        self._scripts[camera] = json.loads((catalog.directory / "script.json").read_text())

    def end_camera(self, camera: str) -> list[Sighting]:
        del self._catalogs[camera]
        return self._leave(camera, "camera_lost")

    def load_catalog(self, directory: Path) -> ScriptedCatalog:
        return ScriptedCatalog.load(directory)

    def switch_catalog(self, camera: str, catalog: ScriptedCatalog) -> list[Sighting]:
        self._catalogs[camera] = catalog
        return self._leave(camera, "catalog_changed")

    @property
    def catalogs(self) -> Mapping[str, ScriptedCatalog]:
        return self._catalogs

    def _see(self, frame: Frame, item: str | None) -> list[Sighting]:
        """Return what changes when this item, or none, is in view."""
        self._stamps[frame.camera] = FrameStamp.of(frame)
        seen = self._open.get(frame.camera)
        if seen is not None and seen.match.item_id == item:
            return []
        found = self._leave(frame.camera, "gone")
        if item is not None:
            self._open[frame.camera] = self._sighting(frame, item)
            found.append(self._open[frame.camera])
        return found

    def _leave(self, camera: str, reason: str) -> list[Sighting]:
        seen = self._open.pop(camera, None)
        if seen is None:
            return []
        stamp = self._stamps[camera]
        times = {"captured_ns": stamp.captured_ns, "wall_ns": stamp.wall_ns}
        left = replace(seen, phase=Phase.LEFT, reason=reason, frame_number=stamp.number, **times)
        return [left]

    def _sighting(self, frame: Frame, item: str) -> Sighting:
        box = np.array([10, 20, 110, 220], np.float32)
        match = Match(
            ItemId(item), item.title(), 0, Tier.EXACT, 0.99, 0.9, 0.3, 60, 0.8, box, None, 0.0
        )
        catalog = self._catalogs[frame.camera]
        return Sighting(
            uuid.uuid4().hex, Phase.APPEARED, frame.camera, 1, match, frame.number, frame.size_wh,
            frame.captured_ns, frame.wall_ns, frame.clock, catalog.directory.name,
            catalog.generation,
        )  # fmt: skip


class ColorMatcher(ScriptedMatcher):
    """A matcher that looks at the pictures: sees "red" or "blue" where most of one is."""

    def match(self, frames: Sequence[Frame]) -> list[Sighting]:
        found = []
        for frame in frames:
            blue, red = float(frame.u.mean()), float(frame.v.mean())
            item = "red" if red > 160 else "blue" if blue > 160 else None
            found += self._see(frame, item)
        self.stage_ms = {"detect": 0.5}
        return found


class PairMatcher(ScriptedMatcher):
    """A matcher that sees what it was given: the size of a frame's sharper picture and by how many
    pictures it is later than the frame, or "alone"; nothing in frames that are not searched. To it
    a frame without a sharper picture is still as well."""

    def match(self, frames: Sequence[Frame]) -> list[Sighting]:
        self.stage_ms = {"detect": 0.5, "track": 0.1}
        return [sighting for frame in frames for sighting in self._see(frame, _pair(frame))]

    def coast(self, frames: Sequence[Frame]) -> list[Sighting]:
        return []

    def is_still(self, frame: Frame, look_again_s: float) -> bool:
        return frame.sharper is None or super().is_still(frame, look_again_s)

    def stay(
        self, frames: Sequence[Frame], waiting: object = ()
    ) -> tuple[list[Sighting], list[object]]:
        return [], []


N_MOMENTS = 50  # that `moment_picture` tells apart
N_NEAR = 5  # pictures; two streams are 3.75 apart at most, and a picture's light is rounded


def moment_picture(number: int, size_wh: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 RGB: a gray that says the picture's number, as MomentMatcher reads it."""
    return np.full((size_wh[1], size_wh[0], 3), 20 + 4 * (number % N_MOMENTS), np.uint8)


class MomentMatcher(ScriptedMatcher):
    """A matcher that sees how many of moment_picture's pictures lie between a frame and its sharper
    picture: "1280x720 near rtcp" or "1280x720 far rtcp", or "arrival" while not both have the
    camera's clock; or "alone"."""

    def match(self, frames: Sequence[Frame]) -> list[Sighting]:
        self.stage_ms = {"detect": 0.5, "track": 0.1}
        return [sighting for frame in frames for sighting in self._see(frame, _apart(frame))]

    def coast(self, frames: Sequence[Frame]) -> list[Sighting]:
        return []


def _apart(frame: Frame) -> str:
    if frame.sharper is None:
        return "alone"
    gray = (float(frame.sharper.y.mean()) - float(frame.y.mean())) * 255 / 219  # of 8-bit video
    n_apart = (gray / 4 + N_MOMENTS / 2) % N_MOMENTS - N_MOMENTS / 2
    (width, height), clocks = frame.sharper.size_wh, {frame.clock, frame.sharper.clock}
    told = f"{width}x{height} {'near' if abs(n_apart) <= N_NEAR else 'far'}"
    return f"{told} {'rtcp' if clocks == {'rtcp'} else 'arrival'}"


def _pair(frame: Frame) -> str:
    if frame.sharper is None:
        return "alone"
    width, height = frame.sharper.size_wh
    return f"{width}x{height} {frame.sharper.number - frame.number:+d}"
