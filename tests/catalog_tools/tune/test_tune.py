"""Tuning a catalog: kept only when it is better, and undone by a rollback."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import pytest

import streamer.cli.tune
from catalog_tools.changes import remove_from_catalog
from catalog_tools.copies import write_copy
from catalog_tools.listing import roll_back
from catalog_tools.train.options import EmbedderOptions
from catalog_tools.tune.candidates import Candidate
from catalog_tools.tune.report import decision, table_rows, write_report
from catalog_tools.tune.tune import Tuning, choose, install, read_photos, tune_catalog
from catalog_tools.tune.verdict import Outcome
from pipeline.catalog import Catalog, current_generation
from pipeline.errors import CatalogError
from pipeline.identify.calibration import Calibration
from streamer.cli import main
from tests.catalog_tools.tune.rig import (
    BLIND_SHA256,
    OPTIONS,
    SEEING,
    SEEING_SHA256,
    Fit,
    build,
    draw_pack,
    draw_plain,
    files_of,
    fit_badly,
    fit_in_vain,
    fit_well,
    means_with,
    take_photos,
)

TIMID = Calibration(exact=0.9999)  # tells nothing as exact


@dataclass(frozen=True)
class Run:
    """A tuning, where it wrote, and the catalog's files before it."""

    tuning: Tuning
    shelf: Path
    out: Path
    before: dict[str, bytes]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog (plain/shelf) and photos (plain/photos) of items that only an embedder can tell
    apart, and this catalog's cannot.
    """
    folder = tmp_path_factory.mktemp("plain")
    build(folder, draw_plain)
    take_photos(folder / "photos", draw_plain)
    return folder


def run_tuning(made: Path, shelf: Path, fit: Fit) -> Run:
    before, photos, out = files_of(shelf), made / "photos", shelf.with_name("out")
    out.mkdir()
    training = EmbedderOptions(out=out, minutes=1, catalog=shelf)
    labelled = read_photos(photos, photos / "truth.csv", Catalog.load(shelf, None))
    tuning = tune_catalog(shelf, labelled, OPTIONS, training, out, means_with(fit))
    return Run(tuning, shelf, out, before)


@pytest.fixture(scope="module")
def gained(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An embedder that sees nothing was fitted, and sees."""
    shelf = tmp_path_factory.mktemp("gained") / "shelf"
    shutil.copytree(plain / "shelf", shelf)
    return run_tuning(plain, shelf, fit_well)


def test_a_catalog_that_nothing_is_better_than_stays_as_it_is(plain: Path, tmp_path: Path) -> None:
    """1. new weights are trained; 2. they find no more on photos. Result: nothing is kept."""
    shutil.copytree(plain / "shelf", tmp_path / "shelf")
    run = run_tuning(plain, tmp_path / "shelf", fit_badly)
    assert [c.name for c in run.tuning.candidates][1:] == ["calibrated", "fitted and calibrated"]
    assert files_of(run.shelf) == run.before and not list(run.out.iterdir())
    assert run.tuning.generation == 1 and run.tuning.weights is None
    told = list(decision(run.tuning))
    assert told[-1] == f"Nothing is better than what was: {run.shelf} is unchanged."


def test_a_calibration_that_gains_is_kept_and_rolled_back(tmp_path: Path) -> None:
    """1. a catalog tells nothing as exact; 2. it is tuned; 3. and rolled back.
    Result: calibrated as a new generation, without new weights; then as before.
    """
    shelf = build(tmp_path, draw_pack)
    take_photos(tmp_path / "photos", draw_pack)
    write_copy(Catalog.load(shelf, None), shelf, TIMID)
    run = run_tuning(tmp_path, shelf, fit_in_vain)
    tuning = run.tuning
    assert tuning.kept.name == "calibrated" and tuning.weights is None
    assert (tuning.generation_before, tuning.generation) == (2, 3) and not list(run.out.iterdir())
    assert Calibration.of_catalog(Catalog.load(shelf, BLIND_SHA256).folder).exact < TIMID.exact
    assert any("no better than the weights begun with" in line for line in decision(tuning))
    assert tuning.rollback_command == f"magpie catalog rollback {shelf} 2"
    assert roll_back(shelf, 2) == 2
    now = files_of(shelf)
    assert {name: now[name] for name in run.before} == run.before


def test_weights_that_gain_are_kept_beside_a_generation_that_is_bound_to_them(gained: Run) -> None:
    tuning = gained.tuning
    assert tuning.kept.name == "fitted and calibrated" and tuning.generation == 2
    (weights,) = gained.out.glob("*.safetensors")
    assert tuning.weights == weights and weights.read_bytes() == SEEING
    now = Catalog.load(gained.shelf, SEEING_SHA256, 2)
    assert (now.folder / "calibration.json").is_file()
    assert now.manifest.recipe.embedder == weights.stem  # named for what is in it
    told = list(decision(tuning, Path("my shop.yaml")))
    assert f'matcher: {{embed: {{weights: "{weights}"}}}}' in told
    assert any("magpie run --config 'my shop.yaml'" in line for line in told)


def test_a_rollback_brings_back_what_was_before_new_weights(gained: Run) -> None:
    roll_back(gained.shelf, None)
    assert Catalog.load(gained.shelf, BLIND_SHA256).generation == 1
    now = files_of(gained.shelf)
    assert {name: now[name] for name in gained.before} == gained.before


def test_the_report_is_a_table_a_json_and_a_picture(gained: Run, tmp_path: Path) -> None:
    files = write_report(gained.tuning, tmp_path)
    assert [path.name for path in files] == ["tune.json", "tune.png"]
    found = json.loads((tmp_path / "tune.json").read_text())
    assert found["kept"] == "fitted and calibrated" and found["generation"] == 2
    assert [c["name"] for c in found["candidates"]][:2] == ["as it is", "calibrated"]
    images = [{photo["image"] for photo in found["photos"][h]} for h in ("fitting", "judging")]
    assert images[0] and images[1] and not images[0] & images[1]
    assert cv2.imread(str(tmp_path / "tune.png")) is not None
    last = table_rows(gained.tuning)[2]
    assert last[1] == "100.0 %" and last[-1].startswith("exact 0, 0; top-1 ")


def candidate(shelf: Path, name: str, n_exact: int) -> Candidate:
    outcomes = (Outcome(1, True),) * n_exact + (Outcome(0, True),) * (40 - n_exact)
    return Candidate(name, Catalog.load(shelf, None), None, {}, outcomes, 0.0)


@pytest.mark.parametrize(
    ("n_exact", "kept"), [((9, 9, 9), 0), ((9, 20, 22), 1), ((9, 20, 30), 2), ((9, 12, 18), 2)]
)
def test_new_weights_must_be_better_than_a_calibration_too(
    plain: Path, n_exact: tuple[int, ...], kept: int
) -> None:
    candidates = [candidate(plain / "shelf", str(n), n) for n in n_exact]
    best, verdicts = choose(candidates)
    assert best is candidates[kept] and len(verdicts) == 2


def test_a_catalog_that_somebody_changed_meanwhile_is_left_alone(
    plain: Path, tmp_path: Path
) -> None:
    shelf = Path(shutil.copytree(plain / "shelf", tmp_path / "shelf"))
    tuned = candidate(shelf, "calibrated", 9)
    remove_from_catalog(shelf, ["item-3"])
    with pytest.raises(CatalogError, match=r"changed while it was being tuned, so nothing .*again"):
        install(tuned, tuned.catalog, tmp_path)
    assert current_generation(shelf) == 2


def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["magpie", "catalog", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), *capsys.readouterr()


def test_the_command_prints_one_page_and_tells_mistakes(
    plain: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streamer.cli.tune, "read_matcher_options", lambda *_: OPTIONS)
    monkeypatch.setattr(streamer.cli.tune, "_means", lambda: means_with(fit_in_vain))
    shelf = Path(shutil.copytree(plain / "shelf", tmp_path / "shelf"))

    def tune(*words: object) -> tuple[int, str, str]:
        return run_command(monkeypatch, capsys, "tune", shelf, "--photos", *words)

    code, told, _ = tune(plain / "photos")
    assert code == 0 and "as it is" in told and "Nothing is better than what was" in told
    assert told.endswith(f"{tmp_path}/shelf-tuned/tune.png\n")
    code, _, errors = tune(plain / "photos", "--minutes", "0")
    assert code == 2 and "--minutes: " in errors and "got '0.0'" in errors
    code, _, errors = tune(take_photos(tmp_path / "few", draw_plain, count=8))
    assert code == 2 and "label more, some 80 in all" in errors and len(errors.splitlines()) == 1
    code, _, errors = tune(tmp_path)
    assert code == 2 and "truth.csv: no such file" in errors


@pytest.mark.slow
def test_a_real_training_ends_in_a_catalog_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. a catalog of made packs is built with the shipped weights; 2. it is tuned on photos, with
    a training of a second. Result: what was kept is what is in use, and the weights are there.
    """
    build(tmp_path, draw_pack)
    shutil.rmtree(tmp_path / "shelf")
    photos = take_photos(tmp_path / "photos", draw_pack)
    shelf, out = tmp_path / "shelf", tmp_path / "shelf-tuned"
    means = streamer.cli.tune._means()

    def fit_a_little(training: EmbedderOptions) -> Path | None:
        return means.fit(training.model_copy(update={"batch": 8, "check_count": 15}))

    monkeypatch.setattr(streamer.cli.tune, "_means", lambda: replace(means, fit=fit_a_little))
    quick = {
        "detect": {"panels": False, "input_side_px": 320},
        "search": {"k": 2},
        "verify": {"method": "rootsift", "comparer": False, "max_keypoints": 128},
    }
    (tmp_path / "quick.yaml").write_text(json.dumps({"matcher": quick}))
    config = ("--config", tmp_path / "quick.yaml")
    words = ("build", tmp_path / "images", "--out", shelf, *config)
    assert run_command(monkeypatch, capsys, *words)[0] == 0
    words = ("tune", shelf, "--photos", photos, "--minutes", "0.02", "--json", *config)
    code, told, aside = run_command(monkeypatch, capsys, *words)
    assert code == 0, aside
    assert "fitting the embedder: 0.02 minutes" in aside and "unseen views" in aside
    found = json.loads(told)
    assert found["candidates"][0]["figures"]["top_1"] > 0.9
    assert found["generation"] == current_generation(shelf)
    assert (found["generation"] == 1) == (found["kept"] == "as it is")
    assert (found["weights"] is not None) == bool(list(out.glob("*.safetensors")))
    assert {path.name for path in out.iterdir()} >= {"tune.json", "tune.png"}
