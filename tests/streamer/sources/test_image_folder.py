"""Folders of pictures: by name, and what cannot be read is told."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.errors import CodecError
from streamer.sources.base import Damaged, Picture
from tests.streamer.sources.reading import bgr, read


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for number, name in enumerate(["a.png", "b.jpg", "d.webp"]):
        image = np.full((40 + number, 60, 3), 40 + 80 * number, np.uint8)
        assert cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("left out")
    seen = read(tmp_path)
    assert [type(each) for each in seen] == [Picture, Picture, Damaged, Picture]
    assert seen[2].reason.startswith("c.jpg: ")  # type: ignore[union-attr]
    good = [each for each in seen if isinstance(each, Picture)]
    assert [picture.size_wh for picture in good] == [(60, 40), (60, 41), (60, 42)]
    for number, picture in enumerate(good):
        assert abs(int(bgr(picture).mean()) - (40 + 80 * number)) <= 2


def test_a_folder_without_a_readable_image_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    with pytest.raises(CodecError, match="expected readable images"):
        read(tmp_path)


def test_what_systems_put_into_folders_is_no_picture(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60, 3), 90, np.uint8))
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    (tmp_path / "@eaDir").mkdir()
    assert [type(each) for each in read(tmp_path)] == [Picture]
