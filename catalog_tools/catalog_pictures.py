"""A user's own items as the trainings take them: all pictures of each item."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from catalog_tools.images import find_images
from catalog_tools.reading import PictureError, read_picture, trim_margin
from pipeline.catalog import Catalog
from pipeline.errors import ConfigError

SIDE_PX = 320
log = logging.getLogger(__name__)


def read_items(folder: Path) -> list[list[np.ndarray]]:
    """Give the pictures of each item, (h, w, 3) uint8 BGR, the longer side at most 320 px.

    folder: a built catalog, or what one is built from (a folder of pictures, a CSV). Pictures that
    cannot be read are left out with a warning. Raises ConfigError or CatalogError when nothing is
    left.
    """
    if (folder / "CURRENT").is_file():
        return _read_built(Catalog.load(folder, None))
    pictures: dict[str, list[np.ndarray]] = {}
    for source in find_images(folder).sources:
        try:
            image_bgr = trim_margin(read_picture(source.path, SIDE_PX).image_bgr)
        except PictureError as error:
            log.warning("%s %s: left out", source.place, error)
            continue
        pictures.setdefault(source.item_id, []).append(image_bgr)
    if not pictures:
        raise ConfigError.at("--catalog", "must hold readable pictures", str(folder))
    return list(pictures.values())


def _read_built(catalog: Catalog) -> list[list[np.ndarray]]:
    views = np.unique(catalog.view_picture, return_index=True)[1]  # each picture once, unturned
    items: list[list[np.ndarray]] = [[] for _ in catalog.items]
    for view in views:
        items[int(catalog.view_item[view])].append(catalog.view_image_bgr(int(view)))
    return [pictures for pictures in items if pictures]
