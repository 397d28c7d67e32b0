"""Calibrating a catalog, with the real matcher on fake networks."""

import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import pipeline.matcher
from catalog_tools.evaluation.calibrate import (
    calibrate_catalog,
    choose_exact,
    fit,
    fit_logistic,
    score,
)
from catalog_tools.evaluation.samples import Sample, draw_samples, read_samples, strangers
from catalog_tools.synthesize.packs import render_pack
from catalog_tools.synthesize.shots import make_twin, take_shot
from pipeline.catalog import Catalog
from pipeline.errors import ConfigError
from pipeline.identify.calibration import Calibration
from pipeline.identify.types import Judgement
from pipeline.types import Crop, ItemId, Proposal, Track, Verification
from streamer.cli import main
from tests.pipeline.matcher_rig import SEED, build_pack_catalog, make_matcher

PACK = render_pack(SEED)
OTHER = render_pack(SEED + 1)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pack_catalog(tmp_path_factory.mktemp("calibrate"), [SEED + i for i in range(4)])


def judged(
    item_id: str | None, says: str, inliers: int, agreement: float, sameness: float | None = None
) -> tuple[Sample, list[Judgement]]:
    """A sample, and one verified proposal for it."""
    found = Verification(inliers, inliers + 5, np.eye(3), None, 0.0, agreement, 1.0)
    found = replace(found, sameness=sameness)
    box = np.array([0, 0, 50, 50], np.float32)
    crop = Crop(Track("", 0, box, 1.0, 0, 0), box, np.zeros((50, 50, 3), np.uint8))
    judgement = Judgement(Proposal(ItemId(says), 0, 0.5), 0.0, found, 0.0, 1.0, 0.0, crop)
    return Sample(np.zeros((0, 0, 3), np.uint8), item_id, item_id), [judgement]


def test_logistic_fit_finds_what_tells_right_from_wrong() -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 1, 400)
    rows = np.c_[np.ones(400), signal, rng.normal(0, 1, 400)]
    truth = rng.random(400) < 1 / (1 + np.exp(-(3 * signal - 1)))
    constant, weight, noise = fit_logistic(rows.tolist(), truth.tolist(), (0.0, 0.0, 0.0))
    assert 2.0 < weight < 3.5 and -1.5 < constant < -0.5  # a little short of 3 and -1: it leans
    assert abs(noise) < 0.4


def test_logistic_fit_keeps_to_the_defaults_where_there_is_little_to_learn_from() -> None:
    assert fit_logistic([], [], (1.0, 2.0)) == (1.0, 2.0)
    constant, weight = fit_logistic([(1.0, 0.5)], [False], (1.0, 2.0))
    assert constant == pytest.approx(1.0, abs=0.3) and weight == pytest.approx(2.0, abs=0.3)


def near_twin_of_tea(sameness: float, distance: float | None = None) -> tuple[Sample, list]:
    """A sample of what tea is taken for and is not listed."""
    sample, (one,) = judged(None, "tea", 50, 0.6, sameness)
    assert one.verification is not None
    found = replace(one.verification, near_twin_distance=distance)
    return replace(sample, design_of="tea"), [replace(one, verification=found)]


def test_an_unlisted_near_twin_teaches_what_is_the_items_own_and_not_its_design() -> None:
    prior = Calibration()
    items = [judged("tea", "tea", 50, 0.6, 2.0) for _ in range(30)]
    learnt = fit([*items, *(near_twin_of_tea(1.0) for _ in range(60))], prior)
    assert learnt.own != prior.own
    assert learnt.design == fit(items, prior).design
    listed = fit([*items, *(near_twin_of_tea(1.0, 0.3) for _ in range(60))], prior)
    assert listed.own == prior.own, "where a close one is listed, nothing is learnt"


def test_how_many_near_twins_were_shot_does_not_count() -> None:
    def own(n_twins: int) -> tuple[float, ...]:
        items = [judged("tea", "tea", 50, 0.6, 1.0 + i % 3) for i in range(60)]
        twins = [near_twin_of_tea(-1.0 + i % 3) for i in range(n_twins)]
        return fit([*items, *twins], Calibration()).own

    assert own(30) == pytest.approx(own(90), abs=0.6)


def test_exact_starts_above_what_unlisted_things_reach() -> None:
    strangers_seen = [judged(None, "tea", 8 + i // 4, 0.3 + i / 500) for i in range(100)]
    for wanted in (0.02, 0.2):
        exact = choose_exact(strangers_seen, Calibration(), wanted)
        told = score(strangers_seen, replace(Calibration(), exact=exact))["false_exact"]
        assert told <= wanted
    strict, lax = (choose_exact(strangers_seen, Calibration(), w) for w in (0.0, 0.3))
    assert strict >= lax


def test_score_tells_listed_and_unlisted_apart() -> None:
    pairs = [
        judged("tea", "tea", 90, 0.9),
        judged("milk", "tea", 90, 0.9),
        judged(None, "tea", 90, 0.9),
        judged(None, "tea", 5, 0.0),
    ]
    figures = score(pairs, Calibration())
    assert (figures["top_1"], figures["exact_recall"], figures["exact_wrong"]) == (0.5, 0.5, 0.5)
    assert figures["false_exact"] == 0.5


def test_what_the_comparer_doubts_is_not_exact_and_needs_no_higher_threshold() -> None:
    doubted = [judged(None, "tea", 90, 0.9, sameness=-1.0)] * 3
    assert score(doubted, Calibration())["false_exact"] == 0.0
    told = [judged(None, "tea", 90, 0.9, sameness=1.0)] * 3
    assert score(told, Calibration())["false_exact"] == 1.0
    assert choose_exact(doubted, Calibration(), 0.0) <= choose_exact(told, Calibration(), 0.0)


def test_twin_is_alike_and_yet_differs_and_a_seed_gives_the_same_one() -> None:
    same_print = []
    for seed in range(20):
        twin = make_twin(np.random.default_rng(seed), PACK, OTHER)
        again = make_twin(np.random.default_rng(seed), PACK, OTHER)
        difference = np.abs(twin.astype(int) - PACK)
        assert twin.shape == PACK.shape and np.array_equal(twin, again)
        assert difference.mean() > 1.0
        same_print.append(float((difference.max(axis=2) < 12).mean()))
    assert np.median(same_print) > 0.6, "a twin shares most of its print"


def test_shot_is_a_photo_of_the_thing_that_a_seed_gives_again() -> None:
    shots = [take_shot(np.random.default_rng(seed), PACK, [OTHER]) for seed in range(8)]
    assert all(shot.dtype == np.uint8 and shot.shape[2] == 3 for shot in shots)
    assert len({shot.shape for shot in shots}) > 1
    assert np.array_equal(shots[3], take_shot(np.random.default_rng(3), PACK, [OTHER]))


def test_samples_show_items_near_twins_and_strangers(catalog: Path) -> None:
    samples = list(islice(draw_samples(Catalog.load(catalog, None), strangers(None)), 40))
    listed = [s for s in samples if s.item_id is not None]
    twins = [s for s in samples if s.item_id is None and s.design_of is not None]
    unknown = [s for s in samples if s.design_of is None]
    assert min(len(listed), len(twins), len(unknown)) >= 3
    assert all(s.design_of == s.item_id for s in listed)


def test_calibration_comes_with_a_new_generation_and_the_items_stay(catalog: Path) -> None:
    before = Catalog.load(catalog, None)
    matcher = make_matcher({"calibrate": catalog})
    samples = draw_samples(before, strangers(None), seed=3)
    report = calibrate_catalog(catalog, matcher, samples, 48)
    after = Catalog.load(catalog, None)
    assert after.generation == report.generation == before.generation + 1
    assert after.items == before.items
    assert np.array_equal(after.embeddings, before.embeddings)
    assert Calibration.of_catalog(after.folder) == report.calibration != Calibration()
    assert report.n_samples == 48
    assert sum(count for _, _, count in report.reliability) <= 16
    assert json.loads(json.dumps(report.to_json()))["after"] == report.after


def test_too_few_labelled_photos_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("image,item_id\na.jpg,pack-0\n")
    with pytest.raises(ConfigError, match=r"must label at least 30 photos .* got 1; label more"):
        read_samples(tmp_path, ["pack-0"])


def test_command_prints_before_and_now_and_draws_the_diagram(
    catalog: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        pipeline.matcher, "create_matcher", lambda *_: make_matcher({"calibrate": catalog})
    )
    plot = tmp_path / "reliability.png"
    arguments = ["catalog", "calibrate", str(catalog), "--count", "50", "--plot", str(plot)]
    monkeypatch.setattr(sys, "argv", ["magpie", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "exact recall" in printed and "before" in printed and "50 samples" in printed
    assert plot.stat().st_size > 5000


def test_a_labelled_photo_of_another_format_is_told_in_words(tmp_path: Path) -> None:
    lines = [f"{number}.heic,pack-0\n" for number in range(30)]
    (tmp_path / "truth.csv").write_text("image,item_id\n" + "".join(lines))
    for number in range(30):
        (tmp_path / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 60)
    samples, _ = read_samples(tmp_path, ["pack-0"])
    with pytest.raises(ConfigError, match=r"photo '\d+.heic': is HEIC, which is not read here"):
        next(samples)
