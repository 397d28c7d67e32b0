"""Fitting the embedder to a catalog: kept only when it finds the catalog's items better."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch

from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from catalog_tools.train.batches_ahead import Clock
from catalog_tools.train.embedder import (
    EmbedderRecipe,
    ItemViews,
    begin_embedder,
    train_embedder,
)
from catalog_tools.train.embedder_batches import EmbedderBatches
from catalog_tools.train.options import EmbedderOptions
from catalog_tools.train.run import TrainingRun
from pipeline.engines.torch_networks import load_network, read_weights, save_weights, spec_json
from pipeline.weights import find_weights


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Ten packs."""
    (tmp_path / "items").mkdir()
    for item in range(10):
        picture = render_pack(DEMO_SEED_START + 700 + item, (72, 96))
        cv2.imwrite(str(tmp_path / "items" / f"{item}.png"), picture)
    return tmp_path / "items"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums come in another order with two, and a few steps may then gain next to nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """The shipped embedder, made blind to all but one direction, for 32 px."""
    network = load_network(find_weights("embedder"))
    with torch.no_grad():
        network.projection.weight[1:] = 0
    spec = replace(network.spec, input_side_px=32)
    header = {"kind": "embedder", "architecture": "resnet18", "spec": spec_json(spec)}
    path = tmp_path / "start.safetensors"
    save_weights(path, network.state_dict(), header | {"input_size_wh": "32x32", "licence": "x"})
    return path


def options_of(tmp_path: Path, catalog: Path, start: Path, rate: float) -> EmbedderOptions:
    return EmbedderOptions(
        out=tmp_path / "out",
        minutes=0.0001,
        catalog=catalog,
        start=start,
        batch=10,
        rate=rate,
        check_count=25,
    )


@pytest.mark.usefixtures("one_thread")
def test_steps_on_the_catalog_make_its_items_found(
    catalog: Path, start: Path, tmp_path: Path
) -> None:
    options = options_of(tmp_path, catalog, start, rate=0.001)
    torch.manual_seed(0)
    network = begin_embedder(options)
    batches = EmbedderBatches(options, 32, Clock(0.0, 0.0, 1e12))
    views = ItemViews.draw(batches, 32, "stretch", views_seed=1, count=200)
    before = views.recall(network)
    recipe = EmbedderRecipe(network, batches, options)
    statistics = network.whitening.running_mean.clone()
    for step in range(18):
        recipe.step(batches.make(step), 0.5)
    assert views.recall(network) > before + 0.02
    assert torch.equal(network.whitening.running_mean, statistics), "its statistics are frozen"


@pytest.mark.slow
def test_result_that_gains_is_kept(
    catalog: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1. a checkpoint holds a network that sees; 2. its minutes are over. Result: it is kept."""
    options = options_of(tmp_path, catalog, start, rate=1e-9)
    seeing = begin_embedder(options)
    seeing.load_state_dict(load_network(find_weights("embedder")).state_dict())
    recipe = EmbedderRecipe(seeing, EmbedderBatches(options, 32, Clock(0, 0, 1)), options)
    TrainingRun("embedder", options).save(recipe.state())
    path = train_embedder(options)
    told = capsys.readouterr().out
    assert path is not None and path.parent == options.out, told
    metadata, _ = read_weights(path)
    assert "--start start.safetensors" in metadata["trained_with"]
    assert metadata["input_size_wh"] == "32x32"
    assert "of 150 unseen views the weights begun with find" in told


@pytest.mark.slow
def test_result_that_does_not_gain_is_said_and_not_written(
    catalog: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = options_of(tmp_path, catalog, start, rate=1e-9)
    assert train_embedder(options) is None
    assert "no gain, so nothing was written" in capsys.readouterr().out
    assert not options.out.exists()
