"""The votes of keypoints: they find items that an embedding knows nothing of."""

import cv2
import numpy as np
import pytest

from catalog_tools.synthesize.packs import render_pack
from pipeline.catalog import Catalog, Item, Recipe, StoredPicture, write_generation
from pipeline.catalog_format import PictureRecord
from pipeline.keypoints import KeypointExtractor, no_keypoints
from pipeline.options import SearchOptions, VerifyOptions
from pipeline.shelf import Shelf
from pipeline.types import Candidate, ItemId
from pipeline.vote import Voter

N_ITEMS = 7
EXTRACTOR = KeypointExtractor(VerifyOptions())


def stored(item: int, image_bgr: np.ndarray) -> StoredPicture:
    jpeg = cv2.imencode(".jpg", image_bgr)[1].tobytes()
    record = PictureRecord(image=str(item), sha256="0" * 64, size_wh=(1, 1))
    embedding = np.zeros((1, 8), np.float32)
    embedding[0, 0] = 1.0  # all alike: the embedding tells nothing
    keypoints = EXTRACTOR.extract(image_bgr)
    return StoredPicture(ItemId(str(item)), record, embedding, lambda: (keypoints, jpeg))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Seven packs; the first has a second picture, of another pack; the last is plain grey."""
    directory = tmp_path_factory.mktemp("shelf")
    pictures = [stored(item, render_pack(item, (180, 240))) for item in range(N_ITEMS - 1)]
    pictures.insert(1, stored(0, render_pack(77, (180, 240))))
    pictures.append(stored(N_ITEMS - 1, np.full((240, 180, 3), 128, np.uint8)))
    recipe = Recipe(embedder_sha256="0" * 64, embedder="none", extractor=EXTRACTOR.name)
    items = [Item(ItemId(str(i)), str(i)) for i in range(N_ITEMS)]
    write_generation(directory, recipe, items, pictures)
    return Catalog.load(directory, None)


def photograph(pack: int) -> np.ndarray:
    """A pack turned by 25 degrees, half as large, before a plain background."""
    turn = cv2.getRotationMatrix2D((90, 120), 25, 0.6)
    return cv2.warpAffine(render_pack(pack, (180, 240)), turn, (220, 260), borderValue=(90, 99, 99))


def test_keypoints_vote_for_the_item_and_its_picture(catalog: Catalog) -> None:
    voter = Voter(catalog)
    for pack, item, view in ((0, 0, 0), (77, 0, 1), (1, 1, 2), (5, 5, 6)):
        found = voter.vote(EXTRACTOR.extract(photograph(pack)), k=3)
        assert found[0][:2] == (item, view)
        assert 0 < found[0][2] <= 1 and all(-1 <= lead <= 0 for _, _, lead in found[1:])
        assert len(found) <= 3 and len({i for i, _, _ in found}) == len(found)


def test_no_keypoints_no_votes(catalog: Catalog) -> None:
    assert Voter(catalog).vote(no_keypoints((10, 10)), k=3) == []


def test_votes_join_the_shortlist(catalog: Catalog) -> None:
    shelf = Shelf(catalog, SearchOptions(k=4))
    embedding = np.eye(8, dtype=np.float32)[0]
    searched = [Candidate(ItemId(str(i)), 0, 0.9) for i in (6, 4, 3, 2)]
    joined = shelf.join_votes(searched, embedding, EXTRACTOR.extract(photograph(5)))
    assert joined[0] == Candidate(ItemId("5"), 6, 1.0, joined[0].vote_lead)
    assert joined[0].vote_lead > 0 > joined[1].vote_lead
    assert joined[1].item_id == "6" and len(joined) == 4
    assert shelf.join_votes(searched, embedding, no_keypoints((10, 10))) == searched


def test_large_catalogs_go_without(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.vote.MAX_DESCRIPTORS", 200)
    assert not Voter.serves(catalog)
    shelf = Shelf(catalog, SearchOptions(k=4))
    searched = [Candidate(ItemId("6"), 0, 0.9)]
    assert shelf.join_votes(searched, np.zeros(8, np.float32), no_keypoints((9, 9))) == searched
