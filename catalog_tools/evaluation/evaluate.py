"""Measures a catalog on labelled photos: `magpie catalog evaluate`.

Three passes: the photos asked of the catalog as it is; search alone; and each photo asked of a
catalog that lacks its item, which must then not be named. The catalog itself is never written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from catalog_tools.build import no_progress
from catalog_tools.changes import remove_from_catalog
from catalog_tools.copies import link_generation
from catalog_tools.csv_file import read_csv
from catalog_tools.evaluation.scores import Labelled, Photo, score_leave_out, score_photos
from catalog_tools.evaluation.search import Shortlists, score_search
from catalog_tools.query import QUERY_SIDE_PX, PictureMatcher, Wishes, query_pictures
from catalog_tools.reading import PictureError, read_picture
from pipeline.catalog import Catalog
from pipeline.catalog_format import catalog_error
from pipeline.errors import ConfigError
from pipeline.identify import Stages
from pipeline.identify.tuning import SHORTLISTS, Budget
from pipeline.identify.types import Judged, Proposed
from pipeline.options import MatcherOptions
from pipeline.types import U8

NOTHING = "none"
COLUMNS = ("image", "item_id")
MAX_SHOWN = 5

Progress = Callable[[int, int], None]


class CatalogMatcher(PictureMatcher, Protocol):
    @property
    def options(self) -> MatcherOptions: ...
    @property
    def stages(self) -> Stages: ...
    def load_catalog(self, directory: Path) -> Catalog: ...
    def identify_pictures(
        self, images_bgr: Sequence[U8], catalog: Catalog, budget: Budget
    ) -> Iterator[list[tuple[Proposed, Judged]]]: ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found.

    figures: as evaluation.json has them. photos: in the truth's order. left_out: each photo with an
    item, asked while that item was hidden; empty when that was not done. folder: of the photos.
    """

    figures: dict[str, Any]
    photos: tuple[Photo, ...]
    left_out: tuple[Photo, ...]
    catalog: Catalog
    folder: Path


def read_truth(path: Path) -> list[Labelled]:
    """Return the labelled photos of a CSV with the columns image and item_id, in its order.

    item_id `none`: the photo shows nothing of the catalog. ConfigError says which line is wrong.
    """
    where = f"truth {path}"
    if not path.is_file():
        remedy = f"write one with the columns {','.join(COLUMNS)}, or name another: --truth FILE"
        raise ConfigError.at(where, "no such file", remedy=remedy)
    rows = [
        (line, row["image"], row["item_id"])
        for line, row in read_csv(path, COLUMNS, where, ConfigError)
    ]
    if not rows:
        raise ConfigError.at(where, "must name at least one photo", 0)
    line_of: dict[str, int] = {}
    for line, image, item_id in rows:
        if not image or not item_id:
            raise ConfigError.at(f"{where}:{line}", "needs an image and an item_id")
        if image in line_of:
            rule = f"a photo may be named once, {image!r} is in line {line_of[image]} as well"
            raise ConfigError.at(f"{where}:{line}", rule)
        line_of[image] = line
    return [Labelled(image, None if i == NOTHING else i) for _, image, i in rows]


def check_labels(labels: Sequence[Labelled], item_ids: Collection[str], where: str) -> None:
    """Raise ConfigError when the truth names items that the catalog does not have."""
    unknown = sorted({label.item_id for label in labels if label.item_id} - set(item_ids))
    if unknown:
        more = f" and {len(unknown) - MAX_SHOWN} more" if len(unknown) > MAX_SHOWN else ""
        raise ConfigError.at(
            where,
            f"each item_id must be in the catalog or `{NOTHING}`",
            ", ".join(unknown[:MAX_SHOWN]) + more,
            "see the items: magpie catalog list DIR",
        )


def evaluate_catalog(
    directory: Path,
    folder: Path,
    labels: Sequence[Labelled],
    matcher: CatalogMatcher,
    *,
    k: int = 5,
    leave_out: bool = True,
    progress: Progress = no_progress,
) -> Evaluation:
    """Return the figures of a catalog on labelled photos, and every answer.

    folder: what the photos' names are relative to.
    leave_out: also ask about each item while it is hidden; needs two items at least.
    """
    catalog = matcher.load_catalog(directory)
    known = [label for label in labels if label.item_id is not None]
    leave_out = leave_out and len(catalog.items) > 1 and bool(known)
    n_total = len(labels) + len(known) * (2 if leave_out else 1)
    n_done = 0

    def step() -> None:
        nonlocal n_done
        n_done += 1
        progress(n_done, n_total)

    photos = ask_photos(folder, labels, catalog, matcher, k, step)
    figures = {
        "catalog": catalog.name,
        "generation": catalog.generation,
        "n_items": len(catalog.items),
        "embedder_sha256": catalog.manifest.recipe.embedder_sha256,
        **score_photos(photos, k),
        "search": _measure_search(folder, known, catalog, matcher, step),
    }
    left_out: list[Photo] = []
    if leave_out:
        for half in split_items([item.item_id for item in catalog.items]):
            shown = [label for label in known if label.item_id in half]
            if shown:
                with hide_items(directory, catalog.generation, half) as rest:
                    other = matcher.load_catalog(rest)
                    left_out += ask_photos(folder, shown, other, matcher, k, step)
        figures["leave_out"] = score_leave_out(left_out)
    return Evaluation(figures, tuple(photos), tuple(left_out), catalog, folder)


def ask_photos(
    folder: Path,
    labels: Sequence[Labelled],
    catalog: Catalog,
    matcher: PictureMatcher,
    k: int,
    step: Callable[[], None],
) -> list[Photo]:
    """Return each photo with the catalog's answer; calls step after each."""
    paths = [str(folder / label.image) for label in labels]
    photos = []
    answers = query_pictures(paths, catalog, matcher, Wishes(k, tie_epsilon=0.0))
    for label, answer in zip(labels, answers, strict=True):
        photos.append(Photo(label, answer))
        step()
    return photos


def split_items(item_ids: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return two halves: the even and the odd places of the sorted item ids."""
    ordered = sorted(item_ids)
    return set(ordered[::2]), set(ordered[1::2])


@contextmanager
def hide_items(directory: Path, generation: int, item_ids: Collection[str]) -> Iterator[Path]:
    """Give a temporary catalog like the given generation, without some of its items.

    A new generation is written beside a link to the user's own, which is only read.
    """
    with tempfile.TemporaryDirectory(prefix="magpie-evaluate-") as name:
        copy = Path(name) / "catalog"
        try:
            link_generation(directory, generation, copy)
        except OSError as error:
            rule = f"cannot be linked to in {copy}: {error.strerror}"
            raise catalog_error(directory, rule, None, "set TMPDIR to another disk") from error
        remove_from_catalog(copy, sorted(item_ids))
        yield copy


def _measure_search(
    folder: Path,
    known: Sequence[Labelled],
    catalog: Catalog,
    matcher: CatalogMatcher,
    step: Callable[[], None],
) -> dict[str, Any]:
    found: list[Shortlists] = []
    for label in known:
        try:
            image_bgr = read_picture(folder / label.image, QUERY_SIDE_PX).image_bgr
            ((whole, _),) = next(matcher.identify_pictures([image_bgr], catalog, SHORTLISTS))
            embedded, joined = (
                tuple(proposal.item_id for proposal in some)
                for some in (whole.embedded, whole.ranked)
            )
            found.append(Shortlists(embedded, joined))
        except PictureError:
            found.append(Shortlists((), ()))  # not found, as in the answers
        step()
    item_ids = [label.item_id or "" for label in known]
    return score_search(item_ids, found, matcher.options.search.k)
