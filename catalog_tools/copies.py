"""Catalogs made of others: one that shares a generation, and a generation written elsewhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from pipeline.catalog import Catalog, write_generation
from pipeline.catalog_format import (
    CALIBRATION,
    CURRENT,
    INDEX,
    NEAR_TWINS,
    VOTES,
    Manifest,
    generation_folder,
)
from pipeline.identify.calibration import Calibration


def link_generation(directory: Path, generation: int, copy: Path) -> None:
    """Make `copy` a catalog whose only generation is a link to that of another one.

    What is written into the copy lies beside the link: the other catalog is only read. OSError
    where the disk refuses.
    """
    link = generation_folder(copy, generation)
    link.parent.mkdir(parents=True)
    link.symlink_to(generation_folder(directory, generation).resolve())
    (copy / CURRENT).write_text(f"{generation}\n", "ascii")


def write_copy(catalog: Catalog, directory: Path, calibration: Calibration | None = None) -> int:
    """Write what a catalog holds as a new generation of `directory`, put in use; return its number.

    calibration: takes the place of the catalog's own. The caller holds `catalog_lock`.
    """

    def add_files(folder: Path, _: Manifest) -> None:
        for name in (INDEX, VOTES, NEAR_TWINS, CALIBRATION):
            if (catalog.folder / name).is_file():
                shutil.copyfile(catalog.folder / name, folder / name)
        if calibration is not None:
            (folder / CALIBRATION).write_text(json.dumps(asdict(calibration)) + "\n", "utf-8")

    return write_generation(
        directory,
        catalog.manifest.recipe,
        catalog.items,
        catalog.stored_pictures(),
        sources=catalog.manifest.sources,
        add_files=add_files,
    )
