"""An embedder taught by others: what it draws, what it keeps, and weights that load."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from catalog_tools.synthesize.device_views import Gallery, ViewDrawer
from catalog_tools.train.options import TaughtOptions
from catalog_tools.train.taught import KEPT_OF_START, TaughtRecipe, keep_of_start, train_taught
from catalog_tools.train.things import gather_things
from pipeline.embed import load_embedder
from pipeline.engines.torch_embedder import EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import load_network, save_weights, spec_json
from pipeline.options import EmbedOptions, EngineOptions


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Two sources of 130 pictures, and one with YOLO files beside its pictures."""
    rng = np.random.default_rng(0)
    for source in ("boofcv", "things", "shop"):
        (tmp_path / "pool" / source).mkdir(parents=True)
        for number in range(130 if source != "shop" else 12):
            noise = cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), (120, 96))
            cv2.imwrite(str(tmp_path / "pool" / source / f"{number:03d}.png"), noise)
            if source == "shop":
                label = tmp_path / "pool" / source / f"{number:03d}.txt"
                label.write_text("3 0.5 0.5 0.5 0.6\n1 0.1 0.1 0.05 0.05\n")
    return tmp_path / "pool"


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    spec = EmbedderSpec("resnet18", 512, 64, projection=False, fit="letterbox")
    about = {"kind": "embedder", "architecture": "resnet18", "spec": spec_json(spec)}
    path = tmp_path / "teacher.safetensors"
    about |= {"input_size_wh": "64x64", "licence": "none"}
    save_weights(path, build_embedder(spec).state_dict(), about)
    return path


def options_of(tmp_path: Path, pool: Path, teacher: Path, **given: object) -> TaughtOptions:
    few = {"packs": 8, "batch": 12, "check_count": 2, "side": 64, "minutes": 0.001}
    paths = {"pool": pool, "out": tmp_path / "out", "start": teacher, "teachers": [teacher]}
    return TaughtOptions(**{**few, **paths, **given})


def test_held_out_things_are_never_drawn_and_boxes_are_things(
    tmp_path: Path, pool: Path, teacher: Path
) -> None:
    things = gather_things(options_of(tmp_path, pool, teacher))
    kept = {int(n) for numbers in things.held_out.values() for n in numbers}
    assert len(things.held_out["packs"]) == 2 * 3 and len(things.held_out["pool"]) == 6
    assert len(things.kinds["boxes of shop"]) == 10, "the large box of each picture but the kept"
    assert "shop" not in things.kinds
    for step in range(20):
        first, second, labels, hue = things.draw(np.random.default_rng(step), 12)
        assert len(first) == len(second) == len(set(labels.tolist())) == len(hue) == 12
        assert not kept & {*first.tolist(), *second.tolist()}


@pytest.mark.slow
def test_a_taught_embedder_begins_with_what_its_teacher_knows_and_loads(
    tmp_path: Path, pool: Path, teacher: Path
) -> None:
    path = train_taught(options_of(tmp_path, pool, teacher, rate=1e-8))
    embedder = load_embedder(
        EngineOptions(engine="torch", device="cpu"), EmbedOptions(weights=path)
    )
    pictures = [cv2.imread(str(p)) for p in sorted((pool / "things").iterdir())[:20]]
    found = embedder.embed(pictures)
    assert found.shape == (20, 256)
    by_teacher = load_embedder(
        EngineOptions(engine="torch", device="cpu"), EmbedOptions(weights=teacher)
    ).embed(pictures)
    centred = by_teacher - by_teacher.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    alike = np.corrcoef((found @ found.T).ravel(), (centred @ centred.T).ravel())[0, 1]
    assert alike > 0.75, "likenesses are the teacher's, its mean taken away"


def test_a_share_of_the_start_comes_back_at_the_end(teacher: Path) -> None:
    network = load_network(teacher)
    start = {name: torch.ones_like(t) for name, t in network.backbone.state_dict().items()}
    before = network.backbone.conv1.weight.clone()
    keep_of_start(network, start)
    wanted = before * (1 - KEPT_OF_START) + KEPT_OF_START
    assert torch.allclose(network.backbone.conv1.weight, wanted, atol=1e-6)


def test_a_checkpoint_goes_on_with_all_that_was_learnt(
    tmp_path: Path, pool: Path, teacher: Path
) -> None:
    """What turns vectors into the teachers' is learnt too: anew it would pull at the rest."""
    options = options_of(tmp_path, pool, teacher)
    things = gather_things(options)
    gallery = Gallery.of(things.pictures, 64, torch.device("cpu"))
    drawer = ViewDrawer(gallery, 64, torch.Generator().manual_seed(0))
    lessons = torch.rand(len(gallery), 24).half()

    def recipe() -> TaughtRecipe:
        network = build_embedder(EmbedderSpec("resnet18", 32, 64, fit="letterbox"))
        return TaughtRecipe(network, drawer, things, lessons, options)

    first, second = recipe(), recipe()
    second.restore(first.state())
    before, after = first.state()["head"], second.state()["head"]
    assert before.keys() == after.keys() and len(before) == 1
    assert all(torch.equal(before[name], after[name]) for name in before)
