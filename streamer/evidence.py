"""Evidence on disk: a picture and a JSON file for each appearance and each change of tier."""

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from pipeline.draw import draw_evidence
from pipeline.errors import MagpieError
from pipeline.picture_file import encode_picture, write_whole
from pipeline.printable import json_text
from pipeline.types import Phase, Sighting, Tier
from streamer.publishing.events import match_event_from, utc_from_ns
from streamer.reporting import Log, Tally

_WAITING_MAX = 64
_ITEM_BYTES = 64  # of its id, in the name of a file
_STOP_WITHIN_S = 0.3  # twice of it fits into the grace of a stop

log = Log("evidence")


class EvidenceWriter:
    """Writes `<time>-<camera>-<item>-<sighting>-<tier>.png` and `.json`, in its own thread.

    When the disk refuses, or is slower than the sightings come, evidence is left out and counted.
    """

    def __init__(self, folder: Path, catalog_of: Callable[[str], Any]) -> None:
        """catalog_of: the catalog that a camera searches now; has view_image_bgr(view_index)."""
        self._folder = folder
        self._catalog_of = catalog_of
        self._tiers: dict[str, Tier] = {}
        self._lost = Tally(log, "evidence left out")
        self._queue: queue.Queue[tuple[Sighting, Any] | None] = queue.Queue(_WAITING_MAX)
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
        self._thread.start()

    def write(self, sighting: Sighting) -> None:
        """Queue a sighting's evidence if it is new: appeared, or another tier; never waits."""
        if sighting.phase == Phase.LEFT:
            self._tiers.pop(sighting.sighting_id, None)
            return
        tier = sighting.match.tier
        if sighting.evidence is None or self._tiers.get(sighting.sighting_id) == tier:
            return
        self._tiers[sighting.sighting_id] = tier
        try:
            self._queue.put_nowait((sighting, self._catalog_of(sighting.camera)))
        except queue.Full:
            self._lost.add("disk too slow")

    def close(self) -> None:
        """Write what is queued, for as long as a stop allows, and end; twice is fine."""
        try:
            self._queue.put(None, timeout=_STOP_WITHIN_S)
        except queue.Full:
            return
        self._thread.join(_STOP_WITHIN_S)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                self._write(*job)
            except OSError as error:
                self._lost.add(error.strerror or type(error).__name__)
            except (MagpieError, cv2.error) as error:  # a catalog that was damaged meanwhile
                self._lost.add(type(error).__name__)

    def _write(self, sighting: Sighting, catalog: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)  # again each time: one may have removed it
        evidence, match = sighting.evidence, sighting.match
        assert evidence is not None
        view_bgr = catalog.view_image_bgr(evidence.view_index)
        picture = draw_evidence(evidence.crop_bgr, view_bgr, evidence.correspondences_xyxy, match)
        stamp = utc_from_ns(sighting.wall_ns).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        item = "".join(c if c.isalnum() or c in "-_" else "_" for c in match.item_id)
        item = item.encode()[:_ITEM_BYTES].decode(errors="ignore")  # a file's name has 255 bytes
        stem = f"{stamp}-{sighting.camera}-{item}-{sighting.sighting_id[:12]}-{match.tier}"
        draft = match_event_from(sighting, sent_ns=0).model_dump(mode="json")
        for key in ("captured_ns", "sent_ns"):
            del draft[key]
        picture_path = self._folder / f"{stem}.png"
        write_whole(picture_path, encode_picture(picture))
        try:
            text = json_text(draft, indent=2) + "\n"
            write_whole(picture_path.with_suffix(".json"), text.encode())
        except OSError:
            picture_path.unlink(missing_ok=True)  # evidence is both
            raise
