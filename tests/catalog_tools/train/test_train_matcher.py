"""The matcher's training: its loss, its head start, and a short run that is gone on with."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from catalog_tools.train.matcher import (
    assignment_loss,
    measure,
    start_from_principal_axes,
    train_matcher,
)
from catalog_tools.train.options import MatcherOptions
from catalog_tools.train.pair_batches import make_pairs
from catalog_tools.train.pairs import IGNORED, UNMATCHED
from pipeline.engines.torch_lightglue import LightGlueSpec, build_lightglue
from pipeline.engines.torch_networks import load_network, parse_spec, read_weights


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    (folder / "printed").mkdir()
    for seed in range(6):
        picture = render_pack(DEMO_SEED_START + 950 + seed, (160, 220))
        cv2.imwrite(str(folder / "printed" / f"{seed}.jpg"), picture)
    return folder


def test_the_loss_is_the_mean_surprise_of_the_truth() -> None:
    pairs = torch.log(torch.tensor([[[0.5, 0.1], [0.2, 0.4]]]))
    alone0, alone1 = torch.log(torch.tensor([[0.3, 0.25]])), torch.log(torch.tensor([[0.3, 0.8]]))
    layer = (pairs, alone0, alone1)
    partner0 = torch.tensor([[0, UNMATCHED]])
    partner1 = torch.tensor([[0, IGNORED]])
    expected = -np.log(0.5) - 0.5 * np.log(0.25)
    assert float(assignment_loss(layer, partner0, partner1)) == pytest.approx(expected, rel=1e-5)
    nothing = torch.full((1, 2), IGNORED)
    assert float(assignment_loss(layer, nothing, nothing)) == 0


def test_the_head_start_already_finds_correspondences(pool: Path) -> None:
    torch.manual_seed(0)
    pairs = make_pairs(MatcherOptions(pool=pool, out=pool, minutes=1, seed=1), 8)
    network = build_lightglue(LightGlueSpec())
    before = measure(network, pairs)
    start_from_principal_axes(network, pairs)
    after = measure(network, pairs)
    assert before["recall"] < 0.05
    assert after["recall"] > 0.15 and after["precision"] > 0.5


@pytest.mark.slow
def test_a_training_writes_weights_and_goes_on_from_its_checkpoint(
    pool: Path, tmp_path: Path
) -> None:
    options = MatcherOptions(
        pool=pool, out=tmp_path, minutes=0.0001, threads=1, batch=2, check_count=2, layers=2
    )
    path = train_matcher(options)
    metadata, state = read_weights(path)
    assert path.name == "magpie-lightglue-sift.safetensors"
    assert metadata["kind"] == "matcher" and "--minutes 0.0001" in metadata["trained_with"]
    assert all(torch.isfinite(t).all() for t in state.values())
    assert (tmp_path / "matcher.png").is_file()
    load_network(path, "cpu")
    steps = int(metadata["steps"])
    assert steps >= 1
    assert parse_spec(LightGlueSpec, metadata["spec"]).n_layers == 2
    longer = train_matcher(options.model_copy(update={"minutes": 0.0002}))
    assert int(read_weights(longer)[0]["steps"]) > steps
