"""The whole product on one page: a batch of frames goes in, sightings come out.

Cameras have two lanes. `follow`: detect → track → attend → crop, and what is told of what is known.
`identify`: embed → search → verify, of the looks that wait, without a camera's state; `apply` takes
its answers in. `match` is both in turn. `match_pictures` serves single pictures, with the same
stages. Plain calls; only this file knows the order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.attend import FIRST_CANDIDATES, PICTURE_CANDIDATES
from pipeline.camera import Camera
from pipeline.catalog import Catalog
from pipeline.color import frame_from_bgr
from pipeline.crop import Cropper
from pipeline.detect import Detector, load_detector
from pipeline.embed import Embedder, load_embedder
from pipeline.engines import share_cores
from pipeline.identify.check import Verifier, load_verifier
from pipeline.identify.look import Answer, Look, verify_looks
from pipeline.identify.shelf import Shelf, Shelves
from pipeline.identify.types import Judgement
from pipeline.options import MatcherOptions, Regions
from pipeline.panels import join_panels, panel_of
from pipeline.pictures import (
    CENTRE_ID,
    INNER_ID,
    WHOLE_ID,
    holds_centre,
    merge_shortlists,
    picture_result,
    picture_tracks,
    search_side_px,
)
from pipeline.timing import FrameStamp, StageTimer
from pipeline.types import U8, Frame, PictureResult, Sighting, Track

PICTURES_AT_ONCE = 8


class Matcher:
    """Finds the catalog's items before cameras and in pictures.

    regions: fixed regions of cameras that have their own, in place of the options'.
    """

    def __init__(
        self,
        options: MatcherOptions,
        detector: Detector,
        embedder: Embedder,
        verifier: Verifier,
        regions: Mapping[str, Regions] | None = None,
    ) -> None:
        self._options = options
        self._regions = dict(regions or {})
        self._detector = detector
        self._cropper = Cropper(options.crop)
        self._embedder = embedder
        self._verifier = verifier
        self._cameras: dict[str, Camera] = {}
        self._shelves = Shelves(options)
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

    def follow(self, frames: Sequence[Frame]) -> tuple[list[Sighting], list[Look]]:
        """Return what changed with these frames by what is known, and what is to be looked at.

        The follow lane's part. Each look must come back by `apply` or `give_up`.
        """
        timer, seen, looks = self._look_out(frames)
        sightings: list[Sighting] = []
        for frame, camera, tracks, now_s in seen:
            stage_ms = timer.of_frame(frame)
            sightings += camera.step(FrameStamp.of(frame), tracks, now_s, stage_ms)
            for look in looks:
                if look.camera == frame.camera:
                    look.frame_ms = stage_ms
        for look in looks:  # last: where a frame's work fails, nobody waits for its looks
            self._cameras[look.camera].ask(look.crop.track)
        self.stage_ms = timer.stage_ms
        return sightings, looks

    def coast(self, frames: Sequence[Frame]) -> list[Sighting]:
        """Return what changed with frames that are not looked at: tracks go on as they moved."""
        return [s for frame in frames for s in self._cameras[frame.camera].coast(frame)]

    def identify(self, looks: Sequence[Look]) -> list[Answer]:
        """Return what each look shows. The identify lane's part: it touches no camera's state."""
        timer = StageTimer()
        self._describe(looks, timer)
        with timer.stage("verify"):
            # The camera must not wait: a track gets further looks.
            verify_looks(self._verifier, looks, one_by_one=True)
        return [look.answer(timer.stage_ms) for look in looks]

    def apply(self, answers: Sequence[Answer]) -> list[Sighting]:
        """Return what answers change that come after their frames. The follow lane's part.

        Those about a camera that has started anew meanwhile, or looks for another catalog, are
        passed over.
        """
        sightings: list[Sighting] = []
        for answer in answers:
            camera = self._cameras[answer.track.camera]
            if camera.tracking == answer.tracking:
                camera.learn(answer)
                sightings += camera.tell(answer)
        return sightings

    def give_up(self, look: Look) -> None:
        """A look will have no answer: its track may be looked at again."""
        camera = self._cameras[look.camera]
        if camera.tracking == look.tracking:
            camera.give_up(look.crop.track)

    def match_pictures(
        self, images_bgr: Sequence[U8], catalog: Catalog, k: int = 5
    ) -> list[PictureResult]:
        """Return what each picture shows: every instance of an item, and the k likeliest items.

        images_bgr: each (h, w, 3) uint8 BGR.
        """
        shelf = self._shelves.of(catalog)
        results = []
        for start in range(0, len(images_bgr), PICTURES_AT_ONCE):
            results += self._match_some(images_bgr[start : start + PICTURES_AT_ONCE], shelf, k)
        return results

    def tick(self, camera: str, now_ns: int) -> list[Sighting]:
        """Return the `left`s that are due because the camera gives no frames."""
        return self._cameras[camera].sightings.tick(now_ns)

    def reset_camera(self, camera: str) -> list[Sighting]:
        """Forget all tracks of a camera that starts anew or is gone; return its `left`s."""
        return self._renew(camera, self._cameras[camera].shelf, "camera_lost")

    def load_catalog(self, directory: Path) -> Catalog:
        """Return the generation in use, made ready for `switch_catalog`; any thread may call.

        Every file's hash is compared: it may just be being copied.
        """
        catalog = Catalog.load(
            directory, self.embedder_sha256, extractor=self._verifier.extractor, verify=True
        )
        self._shelves.of(catalog)
        return catalog

    def switch_catalog(self, camera: str, catalog: Catalog) -> list[Sighting]:
        """Search another catalog, or generation, from the next frame on; return the `left`s."""
        old = self._cameras[camera].shelf if camera in self._cameras else None
        shelf = self._shelves.of(catalog)
        if old is None:
            self._cameras[camera] = self._new_camera(camera, shelf)
            return []
        sightings = self._renew(camera, shelf, "catalog_changed")
        self._shelves.keep(self.catalogs.values())
        return sightings

    def warm_up(self) -> None:
        """Run every network once: the first frame must not wait until they are compiled."""
        self._detector.detect([frame_from_bgr(np.zeros((720, 1280, 3), np.uint8))])
        for camera in list(self._cameras.values())[:1]:
            view = camera.shelf.view(0)
            self._embedder.embed([view.image_bgr])
            self._verifier.verify([(view, view)])

    @property
    def looks_at_once(self) -> int:
        """How many looks `identify` is best given: on a CPU one, so that its answer is soon."""
        return self._embedder.looks_at_once

    @property
    def catalogs(self) -> Mapping[str, Catalog]:
        return {name: camera.shelf.catalog for name, camera in self._cameras.items()}

    @property
    def embedder_sha256(self) -> str:
        """What a catalog must have been built with."""
        return self._embedder.weights_sha256

    def _look_out(
        self, frames: Sequence[Frame]
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
                chosen = camera.attend(frame, tracks, now_s)
            with timer.stage("crop"):
                crops = self._cropper.crop(frame, [each.track for each in chosen])
            looks += [
                Look(
                    crop,
                    camera.shelf,
                    *camera.believed(each.track),
                    panel_of(each.track.xyxy, panels),
                    FrameStamp.of(frame),
                    now_s,
                    camera.tracking,
                    each.overdue,
                )
                for crop, each in zip(crops, chosen, strict=True)
            ]
            seen.append((frame, camera, tracks, now_s))
        return timer, seen, looks

    def _describe(self, looks: Sequence[Look], timer: StageTimer) -> None:
        """Give each look its shortlist; crops of all cameras share the network's batches."""
        with timer.stage("embed"):
            embeddings = self._embedder.embed([look.crop.image_bgr for look in looks])
        with timer.stage("search"):
            for shelf in {id(look.shelf): look.shelf for look in looks}.values():
                rows = [i for i, look in enumerate(looks) if look.shelf is shelf]
                found = shelf.searcher.search(embeddings[rows])
                for row, shortlist in zip(rows, found, strict=True):
                    looks[row].shortlist = shortlist
                    looks[row].embedding = embeddings[row]

    def judge_pictures(
        self, images_bgr: Sequence[U8], catalog: Catalog
    ) -> Iterator[list[Judgement]]:
        """Yield the evidence for each candidate in a picture as a whole, the likeliest first.

        images_bgr: each (h, w, 3) uint8 BGR. What `magpie catalog calibrate` learns from.
        """
        shelf = self._shelves.of(catalog)
        for start in range(0, len(images_bgr), PICTURES_AT_ONCE):
            for looks in self._look_at(images_bgr[start : start + PICTURES_AT_ONCE], shelf):
                verify_looks(self._verifier, [looks[WHOLE_ID]], 2, PICTURE_CANDIDATES)
                yield looks[WHOLE_ID].judgements

    def _match_some(self, images_bgr: Sequence[U8], shelf: Shelf, k: int) -> list[PictureResult]:
        looks_of = self._look_at(images_bgr, shelf)
        centres = [looks[CENTRE_ID] for looks in looks_of]
        verify_looks(self._verifier, centres, 2, PICTURE_CANDIDATES)
        for looks in looks_of:  # regions that show one object must speak of the same items
            likeliest = looks[CENTRE_ID].judgements[:FIRST_CANDIDATES]
            for look in looks:
                if holds_centre(look.crop.track.xyxy, looks[WHOLE_ID].crop.track.xyxy):
                    look.first_checks = [judgement.candidate for judgement in likeliest]
        others = [look for looks in looks_of for i, look in enumerate(looks) if i != CENTRE_ID]
        verify_looks(self._verifier, others)
        return [
            picture_result(
                [look.judgements for look in looks],
                looks[WHOLE_ID].crop.track.xyxy,
                shelf.label,
                self._options.decide,
                shelf.calibration,
                k,
            )
            for looks in looks_of
        ]

    def _look_at(self, images_bgr: Sequence[U8], shelf: Shelf) -> list[list[Look]]:
        """Return the looks at each picture: the whole and its middle, with the shortlist of all,
        and the detector's boxes.
        """
        looks_of: list[list[Look]] = []
        for image in images_bgr:
            frame = frame_from_bgr(image)
            side_px = search_side_px(frame.size_wh, self._options.detect.input_side_px)
            found = self._detector.detect([frame], side_px)[0]
            panels = shelf.find_panels(frame.y)
            tracks = picture_tracks(join_panels(found, panels, frame.size_wh), frame.size_wh)
            crops = self._cropper.crop(frame, tracks)
            looks_of.append(
                [Look(crop, shelf, panel=panel_of(crop.track.xyxy, panels)) for crop in crops]
            )
        self._describe([look for looks in looks_of for look in looks], StageTimer())
        for looks in looks_of:
            merged = merge_shortlists([look.shortlist for look in looks], self._options.search.k)
            looks[WHOLE_ID].shortlist = looks[CENTRE_ID].shortlist = merged
            del looks[INNER_ID]  # it was to be described only
        return looks_of

    def _renew(self, camera: str, shelf: Shelf, reason: str) -> list[Sighting]:
        sightings = self._cameras[camera].sightings.close(reason)
        self._cameras[camera] = self._new_camera(camera, shelf)
        return sightings

    def _new_camera(self, camera: str, shelf: Shelf) -> Camera:
        regions = self._regions.get(camera, self._options.detect.regions)
        return Camera(camera, shelf, self._options, regions)


def create_matcher(
    options: MatcherOptions,
    catalogs: Mapping[str, Path],
    regions: Mapping[str, Regions] | None = None,
) -> Matcher:
    """Return a matcher ready to run.

    catalogs: a catalog's directory by camera. regions: of cameras that have their own.

    Raises WeightsError, EngineError or CatalogError, each in words a user can act on.
    """
    follows, identifies = share_cores(options.engine, is_shared=not options.lockstep)
    embedder = load_embedder(identifies, options.embed)
    verifier = load_verifier(identifies, options.verify)
    by_directory = {
        directory: Catalog.load(directory, embedder.weights_sha256, extractor=verifier.extractor)
        for directory in dict.fromkeys(catalogs.values())
    }
    detector = load_detector(follows, options.detect)
    matcher = Matcher(options, detector, embedder, verifier, regions)
    for camera, directory in catalogs.items():
        matcher.switch_catalog(camera, by_directory[directory])
    matcher.warm_up()
    return matcher
