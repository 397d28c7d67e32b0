"""Evidence on disk: one picture and one JSON file for each appearance and change of tier."""

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import CatalogError
from pipeline.types import Evidence, ItemId, Match, Phase, Sighting, Tier
from streamer.evidence import EvidenceWriter
from streamer.reporting import configure_logging
from tests.pipeline.test_picture_file import files_of_at_most


class PlainCatalog:
    """Every view is a grey picture."""

    def view_image_bgr(self, view_index: int) -> np.ndarray:
        return np.full((60, 40, 3), 100 + view_index, np.uint8)


@pytest.fixture
def sighting() -> Sighting:
    box = np.array([10, 20, 110, 220], np.float32)
    match = Match(
        ItemId("soup/ä.1"), "Soup", 3, Tier.SIMILAR, 0.7, 0.9, 0.3, 60, 0.8, box, None, 0.0
    )
    pairs = np.array([[5, 5, 10, 10], [20, 30, 40, 60]], np.float32)
    evidence = Evidence(np.full((120, 80, 3), 50, np.uint8), 3, pairs)
    return Sighting(
        "abcdef0123456789", Phase.APPEARED, "door", 1, match, 7, (640, 480), 1, 10**18, "arrival",
        "shelf", 1, evidence=evidence,
    )  # fmt: skip


def test_each_tier_of_a_sighting_is_written_once(tmp_path: Path, sighting: Sighting) -> None:
    writer = EvidenceWriter(tmp_path / "new", lambda camera: PlainCatalog())
    better = replace(sighting, phase=Phase.UPDATED)
    exact = replace(better, match=replace(better.match, tier=Tier.EXACT))
    for step in (
        sighting,
        better,
        exact,
        exact,
        replace(sighting, phase=Phase.LEFT, reason="gone"),
    ):
        writer.write(step)
    writer.close()
    writer.close()
    pictures = sorted((tmp_path / "new").glob("*.png"))
    assert [path.stem.rsplit("-", 1)[1] for path in pictures] == ["exact", "similar"]
    assert all("-door-soup_ä_1-abcdef012345-" in path.name for path in pictures)
    picture = cv2.imdecode(np.frombuffer(pictures[0].read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape[1] > 100
    told = json.loads(pictures[0].with_suffix(".json").read_text())
    assert told["item_id"] == "soup/ä.1" and told["tier"] == "exact"
    assert told["box_xyxy"] == [10, 20, 110, 220] and "captured_ns" not in told


def test_sighting_without_pictures_writes_nothing(tmp_path: Path, sighting: Sighting) -> None:
    writer = EvidenceWriter(tmp_path, lambda camera: PlainCatalog())
    writer.write(replace(sighting, evidence=None))
    writer.close()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_and_leaves_no_half_file(
    tmp_path: Path, sighting: Sighting, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging("matcher.0")
    writer = EvidenceWriter(tmp_path, lambda camera: PlainCatalog())
    with files_of_at_most(400):  # less than the picture
        writer.write(sighting)
        writer.close()
    said = capfd.readouterr().err
    assert "evidence left out File too large=1" in said and len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_picture_without_its_json_does_not_stay(
    tmp_path: Path, sighting: Sighting, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging("matcher.0")
    for place in ("good", "bad"):
        writer = EvidenceWriter(tmp_path / place, lambda camera: PlainCatalog())
        if place == "bad":
            (name,) = (path.name for path in (tmp_path / "good").glob("*.json"))
            (tmp_path / "bad" / name).mkdir(parents=True)  # nobody can write a file there
        writer.write(sighting)
        writer.close()
    assert "evidence left out Is a directory=1" in capfd.readouterr().err
    assert not list((tmp_path / "bad").glob("*.png"))


def test_a_damaged_catalog_ends_no_evidence(tmp_path: Path, sighting: Sighting) -> None:
    class Damaged(PlainCatalog):
        n_asked = 0

        def view_image_bgr(self, view_index: int) -> np.ndarray:
            self.n_asked += 1
            if self.n_asked == 1:
                raise CatalogError.at("catalog 'shelf'", "damaged")
            return super().view_image_bgr(view_index)

    catalog = Damaged()
    writer = EvidenceWriter(tmp_path, lambda camera: catalog)
    writer.write(sighting)
    writer.write(replace(sighting, sighting_id="next"))
    writer.close()
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_a_long_item_id_of_another_alphabet_makes_a_name_that_disks_take(
    tmp_path: Path, sighting: Sighting
) -> None:
    writer = EvidenceWriter(tmp_path, lambda camera: PlainCatalog())
    match = replace(sighting.match, item_id=ItemId("\U00020000" * 100))
    writer.write(replace(sighting, match=match))
    writer.close()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".png"]


def test_the_folder_may_have_any_name(tmp_path: Path, sighting: Sighting) -> None:
    folder = tmp_path / os.fsdecode(b"%d:caf\xe9")
    writer = EvidenceWriter(folder, lambda camera: PlainCatalog())
    writer.write(sighting)
    writer.close()
    assert len(list(folder.glob("*.png"))) == len(list(folder.glob("*.json"))) == 1


def test_a_folder_that_refuses_costs_pictures_and_not_the_matcher(
    tmp_path: Path, sighting: Sighting, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").touch()
    writer = EvidenceWriter(tmp_path / "taken", lambda camera: PlainCatalog())
    writer.write(sighting)
    writer.close()
    assert "evidence left out" in caplog.text
    assert (tmp_path / "taken").read_text() == ""


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path, sighting: Sighting) -> None:
    (tmp_path / "new").mkdir()
    writer = EvidenceWriter(tmp_path / "new", lambda camera: PlainCatalog())
    (tmp_path / "new").rmdir()
    writer.write(sighting)
    writer.close()
    assert len(list((tmp_path / "new").iterdir())) == 2
