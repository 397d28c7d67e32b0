"""A track's evidence adds up: more frames never make a verdict worse, on moved real photos."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.eval_motion import judge_clip, move
from benchmarks.eval_setup import CLIP_CAMERA, built_catalog, options_of, take
from catalog_tools.evaluation.evaluate import read_truth

EVERY, N_FRAMES = 97, 12  # ten photos of as many items


@pytest.mark.slow
def test_what_a_track_has_shown_is_not_taken_back_by_more_frames(shared_data: Path) -> None:
    """Each photo is panned and shaken as by a hand; what is told of its middle after all frames is
    no worse than after the first frame, and no item is told that the photo does not show.
    """
    grocery = shared_data / "eval" / "grocery"
    known = [label for label in read_truth(grocery / "truth.csv") if label.item_id is not None]
    first, last = [], []
    with built_catalog(grocery / "catalog", options_of(0)) as built:
        catalog = built.matcher.catalogs[CLIP_CAMERA]
        for seed, label in enumerate(take(known, EVERY, None)):
            photo = np.asarray(cv2.imread(str(grocery / label.image)), np.uint8)
            built.matcher.switch_catalog(CLIP_CAMERA, catalog)
            clip = move(photo, N_FRAMES, np.random.default_rng(seed))
            values = judge_clip(built.matcher, clip, label.item_id)
            first.append(values[0])
            last.append(values[-1])
    assert all(after >= before for before, after in zip(first, last, strict=True)), (first, last)
    assert sum(last) > sum(first), "and some are told that one frame did not show"
