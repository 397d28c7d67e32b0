"""Upstream weights are converted once and then are what upstream's own code would compute.

The files are made by the libraries' networks with random numbers, named as upstream names them.
"""

import json
import os
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from kornia.feature import ALIKED, LightGlue, XFeat
from safetensors.torch import save_file
from typer.testing import CliRunner
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from catalog_tools.train.embedder import begin_embedder
from catalog_tools.train.options import EmbedderOptions
from catalog_tools.upstream import convert_entry, convert_upstream, export_weights
from catalog_tools.weights import WeightsEntry, find_source, usable_path
from pipeline.color import frame_from_bgr
from pipeline.detect import load_detector
from pipeline.embed import load_embedder
from pipeline.engines.torch_networks import load_network, read_weights
from pipeline.errors import ConfigError, WeightsError
from pipeline.options import DetectOptions, EmbedOptions, EngineOptions
from pipeline.weights import find_weights, read_kind, read_metadata, read_spec
from streamer.cli.models import weights_app

TORCH = EngineOptions(engine="torch", device="cpu")


def convert(source: Path) -> Path:
    target = source.parent / "own" / f"{source.stem}.safetensors"
    return convert_upstream(source, target, source.stem, "MIT")


def yolo(architecture: str, names: list[str]) -> DetectionModel:
    config = yaml_model_load(f"{architecture}.yaml") | {"nc": len(names)}
    model = DetectionModel(config, verbose=False)
    model.names = dict(enumerate(names))
    return model


def test_yolo_comes_with_its_numbers_and_class_names(tmp_path: Path) -> None:
    model = yolo("yolo26n", ["person", "bottle"]).half()
    torch.save({"model": None, "ema": model, "train_args": {}}, tmp_path / "yolo26n.pt")
    own = convert(tmp_path / "yolo26n.pt")
    assert read_kind(own) == "detector" and read_metadata(own)["licence"] == "MIT"
    assert read_spec(own) == {
        "architecture": "yolo26n.yaml", "class_names": ["person", "bottle"], "activation": "silu",
    }  # fmt: skip
    _, state = read_weights(own)
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[f"network.{name}"], tensor.float()), name
    detector = load_detector(TORCH, DetectOptions(weights=own, classes=("bottle",)))
    frame = frame_from_bgr(np.zeros((90, 160, 3), np.uint8))
    assert set(detector.detect([frame], side_px=64)[0].class_id) <= {1}
    with pytest.raises(ConfigError, match=r"classes: person, bottle, got 'cup'"):
        load_detector(TORCH, DetectOptions(weights=own, classes=("cup",)))


def test_a_detector_without_end_to_end_head_is_refused(tmp_path: Path) -> None:
    torch.save({"model": yolo("yolo11n", ["item"])}, tmp_path / "old.pt")
    with pytest.raises(WeightsError, match=r"weights of YOLO26, .* got 'yolo11n, which has no end"):
        convert(tmp_path / "old.pt")


class Bomb:
    """What a file with code in it would do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["evil.pt", "evil.pth"])
def test_code_in_a_file_is_never_run(tmp_path: Path, name: str) -> None:
    torch.save({"model": Bomb(tmp_path / "owned")}, tmp_path / name)
    with pytest.raises(WeightsError):
        convert(tmp_path / name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(("name", "dim"), [("resnet18", 512), ("resnet50", 2048)])
def test_timm_backbones_embed_by_their_pooled_features(tmp_path: Path, name: str, dim: int) -> None:
    torch.manual_seed(0)
    backbone = timm.create_model(name, pretrained=False).eval()
    save_file(backbone.state_dict(), tmp_path / "r.safetensors")
    own = convert(tmp_path / "r.safetensors")
    spec = read_spec(own)
    assert (spec["backbone"], spec["dim"], spec["input_side_px"]) == (name, dim, 224)
    network = load_network(own)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        maps = backbone.forward_features((images - network.mean) / network.std)
        pooled = maps.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
        expected = torch.nn.functional.normalize(pooled, dim=1)
        assert torch.allclose(network(images), expected, atol=1e-5)
    vectors = load_embedder(TORCH, EmbedOptions(weights=own)).embed(
        [np.full((9, 9, 3), 9, np.uint8)]
    )
    assert vectors.shape == (1, dim) and abs(np.linalg.norm(vectors) - 1) < 1e-5
    options = EmbedderOptions(out=tmp_path, minutes=1, pool=tmp_path, start=own, side=128)
    begun = begin_embedder(options)
    assert (begun.spec.dim, begun.spec.input_side_px, begun.spec.projection) == (256, 128, True)
    assert torch.equal(begun.backbone.conv1.weight, backbone.conv1.weight)


def test_xfeat_finds_what_kornia_finds(tmp_path: Path) -> None:
    torch.manual_seed(1)
    reference = XFeat(top_k=300).eval()
    with torch.no_grad():  # random logits are too even for any keypoint
        reference.net.keypoint_head[-1].weight.mul_(40)
    torch.save(reference.net.state_dict(), tmp_path / "xfeat.pt")
    own = convert(tmp_path / "xfeat.pt")
    assert read_kind(own) == "keypoints" and read_spec(own)["descriptor_dim"] == 64
    images = torch.rand(2, 3, 96, 128)
    expected = reference.detectAndCompute(images)
    with torch.inference_mode():
        xy, scores, descriptors = load_network(own)(images, torch.tensor([[128.0, 96.0]] * 2))
    for row, wanted in enumerate(expected):
        found = {tuple(p): i for i, p in enumerate((xy[row] - 0.5).tolist()) if scores[row, i] > 0}
        shared = [(found[tuple(p)], i) for i, p in enumerate(wanted["keypoints"].tolist())
                  if tuple(p) in found]  # fmt: skip
        assert len(shared) > 100 and len(shared) > 0.95 * len(wanted["keypoints"])
        ours, theirs = (list(column) for column in zip(*shared, strict=True))
        cosine = (descriptors[row, ours] * wanted["descriptors"][theirs]).sum(1)
        assert cosine.min() > 0.999


def test_aliked_finds_what_kornia_finds(tmp_path: Path) -> None:
    torch.manual_seed(2)
    reference = ALIKED("aliked-t16", max_num_keypoints=200, detection_threshold=-1).eval()
    state = {k: t for k, t in reference.state_dict().items() if k != "dkd.hw_grid"}
    torch.save(state, tmp_path / "aliked-t16.pth")
    own = convert(tmp_path / "aliked-t16.pth")
    assert read_spec(own)["architecture"] == "aliked-t16"
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        wanted = reference(images)[0]
        xy, scores, descriptors = load_network(own)(images, torch.tensor([[96.0, 64.0]]))
    found = xy[0][scores[0] > 0] - 0.5
    distance = (wanted.keypoints[:, None] - found).norm(dim=-1)
    assert distance.min(1).values.max() < 1e-2
    nearest = descriptors[0][distance.argmin(1)]
    assert (wanted.descriptors * nearest).sum(1).min() > 0.999


def upstream_lightglue(scale_ori: bool, input_dim: int) -> LightGlue:
    torch.manual_seed(3)
    return LightGlue(
        features=None, input_dim=input_dim, descriptor_dim=32, n_layers=2, num_heads=2,
        add_scale_ori=scale_ori, depth_confidence=-1, width_confidence=-1, flash=False,
    ).eval()  # fmt: skip


@pytest.mark.parametrize(("name", "dim"), [("sift", 128), ("aliked", 128), ("xfeat", 64)])
def test_lightglue_assigns_what_kornia_assigns(tmp_path: Path, name: str, dim: int) -> None:
    reference = upstream_lightglue(name == "sift", dim)
    state = dict(reference.state_dict())
    del state["confidence_thresholds"]
    if name == "xfeat":  # nested, beside another module, without the heads of early stopping
        state = {f"matcher.{k}": t for k, t in state.items() if "token_confidence" not in k}
        state["extractor.weight"] = torch.zeros(1)
    else:
        old = r"transformers\.(\d+)\.(self|cross)_attn"
        state = {re.sub(old, r"\2_attn.\1", k): t for k, t in state.items()}
    torch.save(state, tmp_path / f"{name}_lightglue.pth")
    own = convert(tmp_path / f"{name}_lightglue.pth")
    spec = read_spec(own)
    assert spec["keypoints"] == {"sift": "rootsift"}.get(name, name)
    assert (spec["input_dim"], spec["num_heads"], spec["n_layers"]) == (dim, 2, 2)
    size = torch.tensor([[1024.0, 700.0]])
    keypoints = [torch.rand(1, 20, 4) * 600 + 1 for _ in range(2)]
    descriptors = [torch.nn.functional.normalize(torch.rand(1, 20, dim), dim=-1) for _ in range(2)]
    images = {
        f"image{i}": {
            "keypoints": keypoints[i][..., :2], "descriptors": descriptors[i], "image_size": size,
            "scales": keypoints[i][..., 2], "oris": keypoints[i][..., 3],
        }
        for i in range(2)
    }  # fmt: skip
    with torch.inference_mode():
        expected = reference(images)["log_assignment"][:, :-1, :-1].exp()
        found = load_network(own)(*keypoints, *descriptors, size, size)
    assert torch.allclose(found, expected, atol=1e-5) and expected.max() > 0


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    state = upstream_lightglue(True, 128).state_dict()
    state = {k: t for k, t in state.items() if "token_confidence" not in k}
    torch.save(state, tmp_path / "sift.pth")
    first = convert(tmp_path / "sift.pth").read_bytes()
    assert convert(tmp_path / "sift.pth").read_bytes() == first


@pytest.mark.parametrize(
    ("file", "make", "told"),
    [
        ("a.pth", lambda: {"w": torch.zeros(1)}, "tensors such as w"),
        ("a.pth", lambda: [1, 2], "a list"),
        ("other_lightglue.pth", lambda: upstream_lightglue(False, 128).state_dict(), "says none"),
        ("aliked.pth", lambda: upstream_lightglue(False, 256).state_dict(), "not for aliked"),
        ("r.pth", lambda: timm.create_model("resnet26").state_dict(), "a ResNet of"),
        ("s.pth", lambda: {**XFeat().net.state_dict(), "x": torch.zeros(1)}, "not fit, .* net.x"),
    ],
)  # fmt: skip
def test_what_is_no_known_network_is_said(tmp_path, file, make, told) -> None:
    torch.save(make(), tmp_path / file)
    with pytest.raises(WeightsError, match=r"expected upstream weights of YOLO26.*" + told):
        convert(tmp_path / file)


def test_damage_is_said(tmp_path: Path) -> None:
    for name in ("cut.pth", "cut.pt", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 nothing")
        with pytest.raises(WeightsError, match=f"weights .*{name}: expected"):
            convert(tmp_path / name)
    with pytest.raises(WeightsError, match="no such file"):
        convert(tmp_path / "none.pth")


@pytest.fixture
def pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[WeightsEntry, Path]:
    """An entry and its file in the cache, as `magpie weights pull` leaves it."""
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path))
    monkeypatch.delenv("MAGPIE_WEIGHTS", raising=False)
    entry = WeightsEntry(
        name="xfeat", kind="keypoints", file="xfeat.pt", url="https://example.invalid/xfeat.pt",
        licence="Apache-2.0", input_size_wh=(0, 0), normalisation="x",
    )  # fmt: skip
    (tmp_path / "weights").mkdir()
    torch.save(XFeat().net.state_dict(), tmp_path / "weights" / "xfeat.pt")
    return entry, tmp_path / "weights" / "xfeat.pt"


def test_a_pulled_file_is_converted_once_and_found_by_name(
    pulled: tuple[WeightsEntry, Path],
) -> None:
    entry, source = pulled
    assert usable_path(entry) is None and find_source("xfeat") == source
    own = convert_entry(entry, source)
    assert find_weights("keypoints", Path("xfeat")) == own == usable_path(entry)
    assert find_source("xfeat") == own and read_metadata(own)["licence"] == "Apache-2.0"
    written_ns = own.stat().st_mtime_ns
    assert convert_entry(entry, source) == own and own.stat().st_mtime_ns == written_ns
    torch.save(XFeat().net.state_dict(), source)  # other random numbers
    before = read_metadata(own)["source_sha256"]
    assert read_metadata(convert_entry(entry, source))["source_sha256"] != before


def test_export_writes_files_folders_and_refuses_itself(
    tmp_path: Path, pulled: tuple[WeightsEntry, Path]
) -> None:
    _, source = pulled
    own = export_weights(source, tmp_path / "out")
    assert own == tmp_path / "out" / "xfeat.safetensors" and read_kind(own) == "keypoints"
    assert read_metadata(own)["licence"] == "Apache-2.0", "the manifest knows the file's name"
    copy = export_weights(own, tmp_path / "again" / "mine.safetensors")
    assert copy.read_bytes() == own.read_bytes()
    with pytest.raises(WeightsError, match="must not be the file itself"):
        export_weights(own, own.parent)
    with pytest.raises(WeightsError, match=r"expected a folder for network\.xml"):
        export_weights(own, tmp_path / "x.safetensors", "openvino")


@pytest.mark.slow
def test_an_upstream_file_is_exported_for_openvino(
    tmp_path: Path, pulled: tuple[WeightsEntry, Path]
) -> None:
    import openvino

    network = export_weights(pulled[1], tmp_path / "ir", "openvino")
    assert network == tmp_path / "ir" / "network.xml" and network.with_suffix(".bin").is_file()
    compiled = openvino.Core().compile_model(network, "CPU")
    images = np.random.default_rng(0).random((1, 3, 64, 96), np.float32)
    found = compiled([images, np.array([[96, 64]], np.float32)])
    assert [value.shape for value in found.values()] == [(1, 512, 2), (1, 512), (1, 512, 64)]


def test_the_command_pulls_converts_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MAGPIE_WEIGHTS", raising=False)
    (tmp_path / "mirror").mkdir()
    network = timm.create_model("resnet18", pretrained=False)
    save_file(network.state_dict(), tmp_path / "mirror" / "resnet18.a1_in1k.safetensors")
    serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        mirror = f"http://127.0.0.1:{server.server_port}"
        arguments = ["pull", "resnet18-a1-in1k", "--from", mirror, "--trust-first-download"]
        done = CliRunner().invoke(weights_app, arguments)
        server.shutdown()
        thread.join()
    assert done.exit_code == 0, done.output
    own = tmp_path / "cache" / "weights" / "resnet18-a1-in1k.safetensors"
    assert "converting resnet18.a1_in1k.safetensors for Magpie" in done.stderr
    assert done.stdout.strip().endswith(str(own))
    assert find_weights("embedder", None, "resnet18-a1-in1k") == own
    listed = CliRunner().invoke(weights_app, ["list", "--json"]).stdout.splitlines()
    assert [json.loads(line)["path"] for line in listed if '"resnet18-' in line] == [str(own)]
