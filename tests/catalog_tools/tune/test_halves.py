"""Photos to fit on and photos to judge on."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from catalog_tools.evaluation.evaluate import read_truth
from catalog_tools.evaluation.scores import Labelled
from catalog_tools.tune.halves import split_photos
from pipeline.errors import ConfigError
from tests.catalog_tools.tune.rig import N_PHOTOS, take_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("halves") / "photos"
    return take_photos(folder, lambda item: np.full((24, 24, 3), item, np.uint8))


@pytest.fixture(scope="module")
def labels(folder: Path) -> list[Labelled]:
    return read_truth(folder / "truth.csv")


def test_photos_to_judge_on_are_never_among_those_to_fit_on(
    folder: Path, labels: list[Labelled]
) -> None:
    halves = split_photos(folder, labels)
    fitting, judging = set(halves.fitting), set(halves.judging)
    assert not fitting & judging and fitting | judging == set(labels)
    assert min(len(fitting), len(judging)) >= 30


def test_a_copy_of_a_photo_is_in_the_half_of_the_photo(
    folder: Path, labels: list[Labelled], tmp_path: Path
) -> None:
    """1. each photo is there twice; 2. the photos are split. Result: no content is in both."""
    shutil.copytree(folder, tmp_path / "photos")
    twice = list(labels)
    for label in labels:
        shutil.copyfile(folder / label.image, tmp_path / "photos" / f"again-{label.image}")
        twice.append(Labelled(f"again-{label.image}", label.item_id))
    halves = split_photos(tmp_path / "photos", twice)
    fitting, judging = (
        {label.image.removeprefix("again-") for label in half}
        for half in (halves.fitting, halves.judging)
    )
    assert not fitting & judging and len(halves.fitting) == 2 * len(fitting)


def test_no_photo_changes_its_half_when_more_are_labelled(
    folder: Path, labels: list[Labelled]
) -> None:
    before, after = split_photos(folder, labels[4:]), split_photos(folder, labels[::-1])
    assert set(before.fitting) <= set(after.fitting)
    assert set(before.judging) <= set(after.judging)


def test_too_few_photos_are_refused_with_what_to_do(folder: Path, labels: list[Labelled]) -> None:
    with pytest.raises(ConfigError) as refused:
        split_photos(folder, labels[:40])
    told = str(refused.value)
    assert "must label at least 30 photos to fit on and 30 others to judge on" in told
    assert "'; label more, some 80 in all; without labelled photos: magpie catalog cal" in told


def test_a_photo_that_cannot_be_used_is_told_before_any_work(
    folder: Path, labels: list[Labelled]
) -> None:
    seen: list[tuple[int, int]] = []
    gone = [*labels, Labelled("gone.png", "item-0")]
    with pytest.raises(ConfigError, match=r"photo 'gone\.png': no such file; mend it, or take"):
        split_photos(folder, gone, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (N_PHOTOS, N_PHOTOS + 1)
