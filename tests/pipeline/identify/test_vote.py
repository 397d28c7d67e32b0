"""The votes of keypoints: they find items that an embedding knows nothing of."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools.synthesize.packs import render_pack
from pipeline.catalog import Catalog, Item, Recipe, StoredPicture, write_generation
from pipeline.catalog_format import VOTES, PictureRecord
from pipeline.errors import CatalogError
from pipeline.identify.shelf import Shelf
from pipeline.identify.vote import Voter, kept_a_picture, write_votes_index
from pipeline.keypoints import KeypointExtractor, no_keypoints
from pipeline.options import SearchOptions, VerifyOptions
from pipeline.types import ItemId, Proposal

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


def test_an_item_of_very_many_pictures_still_gets_votes(tmp_path: Path) -> None:
    """Then all that a keypoint finds near may be of that one item."""
    pack = render_pack(0, (180, 240))
    pictures = [stored(0, cv2.convertScaleAbs(pack, alpha=1 - i / 400)) for i in range(90)]
    pictures += [stored(item, render_pack(item, (180, 240))) for item in (1, 2)]
    recipe = Recipe(embedder_sha256="0" * 64, embedder="none", extractor=EXTRACTOR.name)
    items = [Item(ItemId(str(i)), str(i)) for i in range(3)]
    write_generation(tmp_path, recipe, items, pictures)
    voter = Voter(Catalog.load(tmp_path, None))
    for shown in (0, 1, 2):
        found = voter.vote(EXTRACTOR.extract(photograph(shown)), k=3)
        assert found[0][0] == shown and found[0][2] > 0


def test_votes_join_the_shortlist(catalog: Catalog) -> None:
    shelf = Shelf(catalog, SearchOptions(k=4))
    embedding = np.eye(8, dtype=np.float32)[0]
    searched = [Proposal(ItemId(str(i)), 0, 0.9) for i in (6, 4, 3, 2)]
    joined = shelf.join_votes(searched, embedding, EXTRACTOR.extract(photograph(5)))
    assert joined[0] == Proposal(ItemId("5"), 6, 1.0, joined[0].vote_lead)
    assert joined[0].vote_lead > 0 > joined[1].vote_lead
    assert joined[1].item_id == "6" and len(joined) == 4
    assert shelf.join_votes(searched, embedding, no_keypoints((10, 10))) == searched


def test_larger_catalogs_vote_by_an_index_that_is_built_with_them(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.identify.vote.MAX_EXACT", 200)
    monkeypatch.setattr("pipeline.identify.search.DESCRIPTOR_LISTS", 16)
    path = catalog.folder / VOTES
    write_votes_index(catalog.folder)
    assert path.is_file()
    try:
        voter = Voter(catalog)
        for pack, item, view in ((0, 0, 0), (77, 0, 1), (1, 1, 2), (5, 5, 6)):
            found = voter.vote(EXTRACTOR.extract(photograph(pack)), k=3)
            assert found[0][:2] == (item, view) and found[0][2] > 0
        damaged = path.read_bytes()[:-999]
        path.unlink()  # not cut short in place: the voter still has it mapped
        path.write_bytes(damaged)
        with pytest.raises(CatalogError, match="rebuild the catalog"):
            Voter(catalog)
    finally:
        path.unlink()


def test_small_catalogs_need_no_index(catalog: Catalog) -> None:
    write_votes_index(catalog.folder)
    assert not (catalog.folder / VOTES).exists()


@pytest.mark.parametrize(
    ("n_pictures", "kept"),
    [(1, 12_800), (64, 200), (128, 100), (129, 128), (10_000, 40), (25_000, 16), (25_001, 0)],
)
def test_the_more_pictures_the_fewer_of_their_keypoints_vote(n_pictures: int, kept: int) -> None:
    assert kept_a_picture(n_pictures) == kept


@pytest.mark.parametrize("max_indexed", [400_000, 10])
def test_without_an_index_a_larger_catalog_goes_without_votes(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, max_indexed: int
) -> None:
    """As one that was built before there was such an index, or one that is too large for it."""
    monkeypatch.setattr("pipeline.identify.vote.MAX_EXACT", 200)
    monkeypatch.setattr("pipeline.identify.vote.MAX_INDEXED", max_indexed)
    shelf = Shelf(catalog, SearchOptions(k=4))
    searched = [Proposal(ItemId("6"), 0, 0.9)]
    keypoints = EXTRACTOR.extract(photograph(5))
    assert shelf.join_votes(searched, np.zeros(8, np.float32), keypoints) == searched
