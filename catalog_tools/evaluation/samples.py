"""Photos that a calibration learns from: shots of the catalog's pictures, or the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catalog_tools.evaluation.evaluate import check_labels, read_truth
from catalog_tools.evaluation.scores import Labelled
from catalog_tools.query import QUERY_SIDE_PX
from catalog_tools.reading import PictureError, ReadPicture, read_picture
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from catalog_tools.synthesize.shots import make_twin, take_shot
from catalog_tools.synthesize.views import flat_bgr
from catalog_tools.train.pool import open_pool
from pipeline.catalog import Catalog
from pipeline.errors import ConfigError
from pipeline.types import U8

TWIN_SHARE, STRANGER_SHARE = 0.25, 0.2  # of the samples; the rest shows items
OTHERS_A_SHOT = 6
LEAST_PHOTOS = 30

DrawStranger = Callable[[np.random.Generator], U8]


@dataclass(frozen=True, slots=True)
class Sample:
    """A photo and what it shows.

    item_id: the item, or None. design_of: the item whose design it has (its own, or that of which
    it is a near-twin), or None.
    """

    image_bgr: U8
    item_id: str | None
    design_of: str | None


def draw_samples(catalog: Catalog, draw_stranger: DrawStranger, seed: int = 0) -> Iterator[Sample]:
    """Yield shots of the catalog's pictures, of near-twins of them and of strangers, for ever."""
    rng = np.random.default_rng(seed)
    n_views = len(catalog.view_item)
    while True:
        others = [
            draw_stranger(rng) if rng.random() < 0.5 else _view(catalog, int(rng.integers(n_views)))
            for _ in range(OTHERS_A_SHOT)
        ]
        kind = rng.random()
        if kind < STRANGER_SHARE:
            yield Sample(take_shot(rng, draw_stranger(rng), others), None, None)
            continue
        view = int(rng.integers(n_views))
        picture = _view(catalog, view)
        item_id = catalog.items[catalog.view_item[view]].item_id
        if kind < STRANGER_SHARE + TWIN_SHARE:
            twin = make_twin(rng, picture, others[0])
            yield Sample(take_shot(rng, twin, others[1:]), None, item_id)
        else:
            yield Sample(take_shot(rng, picture, others), item_id, item_id)


def read_samples(photos: Path, item_ids: Sequence[str]) -> tuple[Iterator[Sample], int]:
    """Return the labelled photos of a folder (truth.csv: image,item_id) and how many there are.

    ConfigError when the truth names items that the catalog does not hold, or there are too few;
    when a photo cannot be used, as soon as it is its turn.
    """
    truth = photos / "truth.csv"
    labels = read_truth(truth)
    check_labels(labels, item_ids, f"truth {truth}")
    if len(labels) < LEAST_PHOTOS:
        raise ConfigError.at(
            f"truth {truth}",
            f"must label at least {LEAST_PHOTOS} photos to learn from",
            len(labels),
            "label more, or leave --photos out: shots of the catalog's pictures are made then",
        )
    return samples_of(photos, labels), len(labels)


def samples_of(photos: Path, labels: Sequence[Labelled]) -> Iterator[Sample]:
    """Yield labelled photos of a folder; ConfigError when it is the turn of one that is unusable.

    In a fixed random order: what is held out must not follow the file's order.
    """
    for index in np.random.default_rng(0).permutation(len(labels)):
        label = labels[int(index)]
        picture = read_labelled(photos, label, QUERY_SIDE_PX)
        yield Sample(picture.image_bgr, label.item_id, label.item_id)


def read_labelled(photos: Path, label: Labelled, max_side_px: int) -> ReadPicture:
    """Return a labelled photo, its longer side at most so long; ConfigError says what is wrong."""
    try:
        return read_picture(photos / label.image, max_side_px)
    except PictureError as error:
        remedy = "mend it, or take its line out"
        where = f"truth of {photos}: photo {label.image!r}"
        raise ConfigError.at(where, str(error), remedy=remedy) from None


def strangers(pool: Path | None) -> DrawStranger:
    """Return a function that draws pictures of things that no catalog holds.

    pool: a folder of pictures as the trainings take it; None: synthetic packs alone.
    ConfigError when the pool holds no picture.
    """
    pictures = open_pool(pool) if pool is not None else None

    def draw(rng: np.random.Generator) -> U8:
        if pictures is not None and rng.random() < 0.5:
            group = pictures.draw_group(rng)
            return np.asarray(
                flat_bgr(pictures.read(group[int(rng.integers(len(group)))])), np.uint8
            )
        return np.asarray(render_pack(int(rng.integers(DEMO_SEED_START))), np.uint8)

    return draw


def _view(catalog: Catalog, view: int) -> U8:
    return catalog.view_image_bgr(view)
