"""`magpie catalog`: what users type, what they get, and how mistakes end."""

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

import catalog_tools.networks
import pipeline.matcher
from catalog_tools.networks import Networks
from pipeline.catalog import Catalog
from pipeline.options import EmbedOptions, EngineOptions, MatcherOptions, VerifyOptions
from pipeline.types import ItemId, Match, PictureResult, Ranked, Tier
from tests.catalog_tools.conftest import Run
from tests.catalog_tools.drawn_pictures import draw
from tests.fake_networks import EMBEDDER_SHA256, make_networks


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a/1", "b/1", "[red]c/1")):
        draw(tmp_path / "images" / f"{name}.png", seed)
    return tmp_path / "images"


def test_build_add_remove_list_check_rollback(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "shelf"
    (images / "a" / "broken.jpg").write_bytes(b"text")
    code, said, errors = run("build", images, "--out", out)
    assert code == 0
    assert said.endswith("shelf: 3 items, 3 pictures, 1 files left out, generation 1 in use\n")
    assert f"left out: {images}/a/broken.jpg: is no picture of a known format" in errors
    draw(tmp_path / "more" / "d.png", 10)
    assert run("add", out, tmp_path / "more")[1].endswith("generation 2 in use\n")
    assert run("remove", out, "a")[1].endswith("1 items removed, generation 3 in use\n")
    code, said, _ = run("list", out, "--json")
    assert [json.loads(line)["item_id"] for line in said.splitlines()] == ["[red]c", "b", "d"]
    assert "[red]c" in run("list", out)[1]
    code, said, _ = run("list", out, "--generations", "--json")
    assert [json.loads(line)["in_use"] for line in said.splitlines()] == [False, False, True]
    assert run("rollback", out)[1].endswith("generation 2 in use\n")
    code, said, errors = run("check", out)
    assert code == 0 and "files whole" in said
    assert run("check", out, "--json")[0] == 0


def test_a_damaged_catalog_fails_its_check(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "shelf"
    run("build", images, "--out", out)
    (out / "generations" / "000001" / "items.json").write_text("[]")
    code, _, errors = run("check", out)
    assert code == 2 and "items.json: its content has changed" in errors
    assert "magpie catalog rollback" in errors


class FakeMatcher:
    """Finds item `a` in each picture; loads the catalog as the real one does."""

    options: MatcherOptions

    def __init__(self, options: MatcherOptions, catalogs: Mapping[str, Path]) -> None:
        FakeMatcher.options = options
        self.catalogs = {
            name: Catalog.load(path, EMBEDDER_SHA256) for name, path in catalogs.items()
        }

    def match_pictures(
        self, images_bgr: Sequence[np.ndarray], catalog: Catalog, k: int, tie_epsilon: float
    ) -> list[PictureResult]:
        box_xyxy = np.array([0, 0, 5, 5], np.float32)
        match = Match(
            ItemId("a"), "[b]A", 0, Tier.EXACT, 0.99, 0.8, 0.2, 40, 0.7, box_xyxy, None, 0.0
        )
        ranked = Ranked(ItemId("a"), "[b]A", 0.99, 0.8)
        return [PictureResult((match,), (ranked,) * k) for _ in images_bgr]


@pytest.fixture
def shelf(run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pipeline.matcher, "create_matcher", FakeMatcher)
    run("build", images, "--out", tmp_path / "shelf")
    return tmp_path / "shelf"


def test_query_prints_a_line_a_picture(
    run: Run, shelf: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = str(images / "a" / "1.png"), str(tmp_path / "missing.jpg")
    code, said, errors = run("query", shelf, bad, good, "--json", "--k", 2)
    lines = [json.loads(line) for line in said.splitlines()]
    assert code == 0 and errors == ""
    assert [line["image"] for line in lines] == [bad, good]
    assert lines[0] == {"image": bad, "error": "no such file"}
    assert [m["item_id"] for m in lines[1]["matches"]] == ["a"] and len(lines[1]["ranked"]) == 2
    (tmp_path / "names.txt").write_text(f"{good}\n\n{bad}\n{good}\n")
    code, said, _ = run("query", shelf, "--images-from", tmp_path / "names.txt", "--json")
    assert [json.loads(line)["image"] for line in said.splitlines()] == [good, bad, good]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{good}\n"))
    code, said, _ = run("query", shelf, bad, "--images-from", "-", "--json")
    assert [json.loads(line)["image"] for line in said.splitlines()] == [bad, good]


CONFIG = """
cameras:
  door: {url: not-here.mp4, catalog: not-here}
matcher:
  engine: {engine: openvino, threads: 1}
  embed: {weights: mine.safetensors}
  search: {k: 20}
  verify: {max_keypoints: 64}
"""


def test_query_takes_the_matcher_section_of_a_config(
    run: Run, shelf: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "magpie.yaml").write_text(CONFIG)
    picture, config = images / "a" / "1.png", ("--config", tmp_path / "magpie.yaml")
    assert run("query", shelf, picture, *config)[0] == 0
    options = FakeMatcher.options
    assert (options.engine.engine, options.engine.threads) == ("openvino", 1)
    assert (options.search.k, options.verify.max_keypoints) == (20, 64)
    assert options.embed.weights == tmp_path / "mine.safetensors"
    given = ("--engine", "torch", "--embedder", "/other", "--k", 30)
    assert run("query", shelf, picture, *config, *given)[0] == 0
    options = FakeMatcher.options
    assert (options.engine.engine, options.engine.threads) == ("torch", 1)
    assert (options.search.k, options.embed.weights) == (30, Path("/other"))
    assert run("query", shelf, picture)[0] == 0
    assert FakeMatcher.options == MatcherOptions()


def test_build_and_add_take_the_matcher_section_of_a_config(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "magpie.yaml").write_text(CONFIG)
    asked: list[MatcherOptions] = []

    def load_networks(
        engine: EngineOptions, embed: EmbedOptions, verify: VerifyOptions
    ) -> Networks:
        asked.append(MatcherOptions(engine=engine, embed=embed, verify=verify))
        return make_networks()

    monkeypatch.setattr(catalog_tools.networks, "load_networks", load_networks)
    shelf, config = tmp_path / "shelf", ("--config", tmp_path / "magpie.yaml")
    draw(tmp_path / "more" / "d.png", 10)
    assert run("build", images, "--out", shelf, *config, "--device", "cpu")[0] == 0
    assert run("add", shelf, tmp_path / "more", *config)[0] == 0
    for options, device in zip(asked, ("cpu", "auto"), strict=True):
        assert options.engine == EngineOptions(engine="openvino", threads=1, device=device)
        assert options.embed.weights == tmp_path / "mine.safetensors"
        assert options.verify.max_keypoints == 64


def test_query_prints_a_table(run: Run, shelf: Path, images: Path) -> None:
    code, said, errors = run("query", shelf, images / "a" / "1.png", "/missing.jpg")
    assert code == 0 and "exact" in said and "[b]A" in said
    assert errors == "/missing.jpg: no such file\n"


def test_query_of_only_unreadable_pictures_fails(run: Run, shelf: Path, tmp_path: Path) -> None:
    code, said, errors = run("query", shelf, "/missing.jpg", tmp_path, "--json")
    assert code == 2 and len(said.splitlines()) == 2
    assert errors == "magpie: IMAGE: at least one picture must be readable, got none of 2\n"


def test_a_name_that_is_not_utf8_makes_valid_json(run: Run, shelf: Path) -> None:
    name = os.fsdecode(b"/caf\xe9.jpg")
    _, said, _ = run("query", shelf, name, "--json")
    assert json.loads(said) == {"image": name, "error": "no such file"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build", "{tmp}/missing", "--out", "{tmp}/x"), "no such folder, CSV file or clip"),
        (("build", "{tmp}/empty", "--out", "{tmp}/x"), "must hold pictures"),
        (("build", "{images}", "--out", "{images}"), "must be new, empty or a catalog"),
        (("list", "{tmp}/missing"), "no such directory; build it: magpie catalog build"),
        (("check", "{tmp}/empty"), "must hold a finished catalog, has no file CURRENT"),
        (("add", "{tmp}/missing", "{images}"), "no such directory"),
        (("remove", "{tmp}/missing", "a"), "no such directory"),
        (("rollback", "{tmp}/missing"), "no such directory"),
        (("rollback", "{tmp}/shelf", "9"), "generation must be one of 1, got 9"),
        (("remove", "{tmp}/shelf", "x"), "does not hold 'x'"),
        (("query", "{tmp}/missing", "a.jpg"), "no such directory"),
        (("query", "{tmp}/shelf"), "at least one picture must be named"),
        (("query", "{tmp}/shelf", "--images-from", "{tmp}/no"), "No such file or directory"),
        (("query", "{tmp}/shelf", "a.jpg", "--config", "{tmp}/no"), "no such file; check --config"),
        (("build", "{images}", "--out", "{tmp}/x", "--config", "{tmp}/bad.yaml"), "(line 2)"),
    ],
)
def test_mistakes_end_in_one_sentence(
    run: Run, images: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.yaml").write_text("matcher:\n  embedd: {}\n")
    run("build", images, "--out", tmp_path / "shelf")
    code, out, errors = run(*(word.format(tmp=tmp_path, images=images) for word in words))
    assert (code, out) == (2, "")
    assert said in errors and "Traceback" not in errors
    assert errors.startswith("magpie: ") and len(errors.splitlines()) == 1
