"""A sighting's picture: found by the whole id, given as JPEG, to who may see its camera."""

import json
from pathlib import Path

import cv2
import numpy as np

from streamer.web.key_file import Scope
from tests.streamer.web.asgi import Inside, make_context
from tests.streamer.web.test_access import add_key

ID = "0123456789ab" + "c" * 20


def write(folder: Path, sighting_id: str, stamp: str, gray: int) -> None:
    folder.mkdir(exist_ok=True)
    stem = f"{stamp}-door-soup-{sighting_id[:12]}-exact"
    cv2.imwrite(str(folder / f"{stem}.png"), np.full((8, 8, 3), gray, np.uint8))
    told = {"sighting_id": sighting_id, "camera": "door"}
    (folder / f"{stem}.json").write_text(json.dumps(told))


def test_the_newest_picture_comes_as_jpeg(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert context.evidence is not None
    inside = Inside(context)
    address = f"/api/v1/sightings/{ID}/evidence.jpg"
    assert inside.ask("GET", address).status == 404
    write(context.evidence, ID, "20260101T000000.000", 50)
    write(context.evidence, ID, "20260101T000001.000", 200)
    write(context.evidence, ID[:12] + "d" * 20, "20260101T000002.000", 0)
    answer = inside.ask("GET", address)
    assert answer.status == 200 and answer.headers["content-type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and abs(float(picture.mean()) - 200) < 3


def test_a_picture_of_another_camera_is_not_there(tmp_path: Path) -> None:
    context = make_context(tmp_path, require_key=True)
    assert context.evidence is not None
    inside = Inside(context)
    write(context.evidence, ID, "20260101T000000.000", 50)
    address = f"/api/v1/sightings/{ID}/evidence.jpg"
    for camera, status in (("door", 200), ("hall", 404)):
        key = add_key(inside, [Scope.READ], cameras=(camera,))
        headers = {"Authorization": f"Bearer {key}"}
        assert inside.ask("GET", address, headers=headers).status == status
