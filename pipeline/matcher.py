"""The whole product on one page: a batch of frames goes in, sightings come out.

Cameras have two lanes. `follow`: detect → track → attend → crop, and what is told of what is known.
`identify`: propose → plan → check → compare → weigh (pipeline/identify), of the looks that wait,
without a camera's state; `apply` takes its answers in. `match` is both in turn. Single pictures
walk the same road. Plain calls; only this file and identify/__init__.py know an order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.camera import Camera
from pipeline.catalog import Catalog
from pipeline.color import frame_from_bgr
from pipeline.crop import Cropper
from pipeline.detect import Detector, load_detector
from pipeline.engines.thread_plan import share_cores
from pipeline.identify import Stages, identify, identify_tracks, load_stages
from pipeline.identify.shelf import Shelf, Shelves
from pipeline.identify.tuning import PICTURE, Budget
from pipeline.identify.types import Answer, Check, Judged, Look, Proposed
from pipeline.options import MatcherOptions, Regions
from pipeline.panels import join_panels, panel_of
from pipeline.pictures import picture_regions, picture_result, search_side_px
from pipeline.timing import FrameStamp, StageTimer
from pipeline.types import U8, Frame, ItemId, PictureResult, Proposal, Sighting, Track

PICTURES_AT_ONCE = 8


class Matcher:
    """Finds the catalog's items before cameras and in pictures.

    regions: fixed regions of cameras that have their own, in place of the options'.
    """

    def __init__(
        self,
        options: MatcherOptions,
        detector: Detector,
        stages: Stages,
        regions: Mapping[str, Regions] | None = None,
    ) -> None:
        self.options = options
        self._regions = dict(regions or {})
        self._detector = detector
        self._cropper = Cropper(options.crop)
        self.stages = stages
        self._cameras: dict[str, Camera] = {}
        self.shelves = Shelves(options)
        self.stage_ms: dict[str, float] = {}  # of the last batch

    def match(self, frames: Sequence[Frame]) -> list[Sighting]:
        """Return what appeared, changed or left with these frames: both lanes in turn.

        Nothing of the frames' planes is kept.
        """
        timer, seen, looks = self._look_out(frames)
        answers = self.identify(looks)
        with timer.stage("decide"):
            for answer in answers:
                self._cameras[answer.track.camera].learn(answer)
        for answer in answers[:1]:  # they share their stages
            timer.add(answer.stage_ms)
        sightings: list[Sighting] = []
        for frame, camera, tracks, now_s in seen:
            stage_ms = timer.of_frame(frame)
            sightings += camera.step(FrameStamp.of(frame), tracks, now_s, stage_ms)
        self.stage_ms = timer.stage_ms
        return sightings

    def follow(
        self, frames: Sequence[Frame], waiting: Collection[tuple[str, int]] = ()
    ) -> tuple[list[Sighting], list[Look]]:
        """Return what changed with these frames by what is known, and what is to be looked at.

        The follow lane's part. Each look must come back by `apply` or `give_up`. waiting: camera
        and track number of looks that nobody has begun with: these frames' views replace them.
        """
        timer, seen, looks = self._look_out(frames, waiting)
        sightings: list[Sighting] = []
        frame_ms: dict[str, dict[str, float]] = {}
        for frame, camera, tracks, now_s in seen:
            stage_ms = frame_ms[frame.camera] = timer.of_frame(frame)
            sightings += camera.step(FrameStamp.of(frame), tracks, now_s, stage_ms)
        looks = [replace(look, frame_ms=frame_ms[look.camera]) for look in looks]
        for look in looks:  # last: where a frame's work fails, nobody waits for its looks
            self._cameras[look.camera].ask(look.crop.track)
        self.stage_ms = timer.stage_ms
        return sightings, looks

    def coast(self, frames: Sequence[Frame]) -> list[Sighting]:
        """Return what changed with frames that are not looked at: tracks go on as they moved."""
        return [s for frame in frames for s in self._cameras[frame.camera].coast(frame)]

    def is_still(self, frame: Frame, look_again_s: float) -> bool:
        """Whether a search of the frame would find what the camera's last one found.

        Asked of every frame that is due; where the answer is yes, `stay` takes its place.
        look_again_s: the longest without a search.
        """
        return self._cameras[frame.camera].is_still(frame, look_again_s)

    def stay(
        self, frames: Sequence[Frame], waiting: Collection[tuple[str, int]] = ()
    ) -> tuple[list[Sighting], list[Look]]:
        """Return what `follow` does for frames in which nothing moves: tracks stay as they are."""
        sightings: list[Sighting] = []
        looks: list[Look] = []
        for frame in frames:
            camera = self._cameras[frame.camera]
            chosen, now_s = camera.stay(frame, _of_camera(waiting, frame.camera))
            sightings += camera.step(FrameStamp.of(frame), camera.tracks, now_s, {})
            if chosen:
                panels = camera.shelf.find_panels(frame.y)
                looks += camera.looks_at(frame, chosen, self._cropper, panels, now_s)
        for look in looks:
            self._cameras[look.camera].ask(look.crop.track)
        return sightings, looks

    def identify(self, looks: Sequence[Look]) -> list[Answer]:
        """Return what each look shows. The identify lane's part: it touches no camera's state.

        `identifiers` threads may call at once.
        """
        return identify_tracks(looks, self.stages, StageTimer())

    def apply(self, answers: Sequence[Answer]) -> list[Sighting]:
        """Return what answers change that come after their frames. The follow lane's part.

        Those about a camera that has started anew or gone meanwhile, or looks for another catalog,
        are passed over.
        """
        sightings: list[Sighting] = []
        for answer in answers:
            camera = self._cameras.get(answer.track.camera)
            if camera is not None and camera.tracking == answer.tracking:
                camera.learn(answer)
                sightings += camera.tell(answer)
        return sightings

    def give_up(self, look: Look) -> None:
        """A look will have no answer: its track may be looked at again."""
        camera = self._cameras.get(look.camera)
        if camera is not None and camera.tracking == look.tracking:
            camera.give_up(look.crop.track)

    def match_pictures(
        self, images_bgr: Sequence[U8], catalog: Catalog, k: int = 5, tie_epsilon: float = 0.0
    ) -> list[PictureResult]:
        """Return what each picture shows: every instance of an item, and the k likeliest items.

        images_bgr: each (h, w, 3) uint8 BGR. tie_epsilon: as `picture_result`.
        """
        shelf = self.shelves.of(catalog)
        return [
            picture_result(
                [(one.look.region, known.judgements) for one, known in looks],
                np.array([0, 0, image.shape[1], image.shape[0]], np.float32),
                shelf.label,
                self.options.decide,
                shelf.calibration,
                k,
                tie_epsilon,
            )
            for image, looks in zip(
                images_bgr, self.identify_pictures(images_bgr, catalog, PICTURE), strict=True
            )
        ]

    def identify_pictures(
        self, images_bgr: Sequence[U8], catalog: Catalog, budget: Budget
    ) -> Iterator[list[tuple[Proposed, Judged]]]:
        """Yield what was proposed and found in each picture's regions that the budget has.

        images_bgr: each (h, w, 3) uint8 BGR.
        """
        shelf = self.shelves.of(catalog)
        for start in range(0, len(images_bgr), PICTURES_AT_ONCE):
            some = images_bgr[start : start + PICTURES_AT_ONCE]
            looks = [
                look
                for number, image in enumerate(some)
                for look in self._look_at(image, shelf, number)
            ]
            found = identify(looks, self.stages, budget, StageTimer())
            for number in range(len(some)):
                yield [(one, known) for one, known in found if one.look.picture == number]

    def tick(self, camera: str, now_ns: int) -> list[Sighting]:
        """Return the `left`s that are due because the camera gives no frames."""
        return self._cameras[camera].sightings.tick(now_ns)

    def reset_camera(self, camera: str) -> list[Sighting]:
        """Forget all tracks of a camera that starts anew or is gone; return its `left`s."""
        return self._renew(camera, self._cameras[camera].shelf, "camera_lost")

    def begin_camera(self, camera: str, catalog: Catalog, regions: Regions) -> None:
        """Take on a camera. regions: its own fixed ones, if any, in place of the options'."""
        self._regions[camera] = regions or self.options.detect.regions
        self._cameras[camera] = self._new_camera(camera, self.shelves.of(catalog))

    def end_camera(self, camera: str) -> list[Sighting]:
        """Let go of a camera and of what only it needed; return its `left`s."""
        ended = self._cameras.pop(camera)
        self.shelves.drop(ended.shelf.catalog.directory, self.catalogs.values())
        return ended.sightings.close("camera_lost")

    def load_catalog(self, directory: Path) -> Catalog:
        """Return the generation in use, made ready for `switch_catalog`; any thread may call.

        Every file's hash is compared: it may just be being copied.
        """
        catalog = Catalog.load(
            directory, self.embedder_sha256, extractor=self.stages.checker.extractor, verify=True
        )
        self.shelves.of(catalog)
        return catalog

    def switch_catalog(self, camera: str, catalog: Catalog) -> list[Sighting]:
        """Search another catalog, or generation, from the next frame on; return the `left`s."""
        old = self._cameras[camera].shelf if camera in self._cameras else None
        shelf = self.shelves.of(catalog)
        if old is None:
            self._cameras[camera] = self._new_camera(camera, shelf)
            return []
        sightings = self._renew(camera, shelf, "catalog_changed")
        self.shelves.keep(self.catalogs.values())
        return sightings

    def warm_up(self) -> None:
        """Run every network once: the first frame must not wait until they are compiled."""
        self._detector.detect([frame_from_bgr(np.zeros((720, 1280, 3), np.uint8))])
        for camera in list(self._cameras.values())[:1]:
            view = camera.shelf.view(0)
            self.stages.embedder.embed([view.image_bgr])
            check = Check(0, Proposal(ItemId(""), 0, 0.0), view, view)
            self.stages.comparer.compare(self.stages.checker.check([check]))

    @property
    def frames_at_once(self) -> int:
        """How many frames `follow` is best given: on a CPU one, so that it is done soon."""
        return self._detector.frames_at_once

    @property
    def looks_at_once(self) -> int:
        """How many looks `identify` is best given: on a CPU one, so that its answer is soon."""
        return self.stages.embedder.looks_at_once

    @property
    def identifiers(self) -> int:
        """How many threads may call `identify` at once."""
        return self.stages.embedder.calls_at_once

    @property
    def catalogs(self) -> Mapping[str, Catalog]:
        return {name: camera.shelf.catalog for name, camera in self._cameras.items()}

    @property
    def embedder_sha256(self) -> str:
        """What a catalog must have been built with."""
        return self.stages.embedder.weights_sha256

    def _look_out(
        self, frames: Sequence[Frame], waiting: Collection[tuple[str, int]] = ()
    ) -> tuple[StageTimer, list[tuple[Frame, Camera, list[Track], float]], list[Look]]:
        """Detect, track, choose and crop: what is in the frames, and the looks to take."""
        timer = StageTimer()
        with timer.stage("detect"):
            detections = self._detector.detect(frames)
        looks: list[Look] = []
        seen: list[tuple[Frame, Camera, list[Track], float]] = []
        for frame, found in zip(frames, detections, strict=True):
            camera = self._cameras[frame.camera]
            with timer.stage("detect"):
                panels = camera.shelf.find_panels(frame.y)
            with timer.stage("track"):
                now_s = camera.clock.advance(frame)
                tracks = camera.follow(
                    join_panels(found, panels, frame.size_wh), now_s, frame.size_wh
                )
                chosen = camera.attend(frame, tracks, now_s, _of_camera(waiting, frame.camera))
            with timer.stage("crop"):
                looks += camera.looks_at(frame, chosen, self._cropper, panels, now_s)
            seen.append((frame, camera, tracks, now_s))
        return timer, seen, looks

    def _look_at(self, image_bgr: U8, shelf: Shelf, number: int) -> list[Look]:
        """Return the looks at a picture: the whole, cuts of its middle, the detector's boxes."""
        frame = frame_from_bgr(image_bgr)
        side_px = search_side_px(frame.size_wh, self.options.detect.input_side_px)
        found = self._detector.detect([frame], side_px)[0]
        panels = shelf.find_panels(frame.y)
        regions = picture_regions(join_panels(found, panels, frame.size_wh), frame.size_wh)
        crops = self._cropper.crop(frame, [track for _, track in regions])
        return [
            Look(
                crop,
                shelf,
                panel=panel_of(crop.track.xyxy, panels),
                region=region,
                picture=number,
            )
            for crop, (region, _) in zip(crops, regions, strict=True)
        ]

    def _renew(self, camera: str, shelf: Shelf, reason: str) -> list[Sighting]:
        sightings = self._cameras[camera].sightings.close(reason)
        self._cameras[camera] = self._new_camera(camera, shelf)
        return sightings

    def _new_camera(self, camera: str, shelf: Shelf) -> Camera:
        regions = self._regions.get(camera, self.options.detect.regions)
        return Camera(camera, shelf, self.options, regions)


def _of_camera(waiting: Collection[tuple[str, int]], camera: str) -> set[int]:
    return {track_id for name, track_id in waiting if name == camera}


def create_matcher(
    options: MatcherOptions,
    catalogs: Mapping[str, Path],
    regions: Mapping[str, Regions] | None = None,
) -> Matcher:
    """Return a matcher ready to run.

    catalogs: a catalog's directory by camera. regions: of cameras that have their own.

    Raises WeightsError, EngineError or CatalogError, each in words a user can act on.
    """
    follows, identifies = share_cores(options)
    stages = load_stages(identifies, options)
    embedder_sha256, extractor = stages.embedder.weights_sha256, stages.checker.extractor
    by_directory = {
        directory: Catalog.load(directory, embedder_sha256, extractor=extractor)
        for directory in dict.fromkeys(catalogs.values())
    }
    detector = load_detector(follows, options.detect)
    matcher = Matcher(options, detector, stages, regions)
    for camera, directory in catalogs.items():
        matcher.switch_catalog(camera, by_directory[directory])
    matcher.warm_up()
    return matcher
