"""Converts upstream weights, once, into Magpie's own files, so that engines, catalogs and exports
know one format only.

Files are read without running anything that they hold: plain tensors by torch's restricted loader,
ultralytics' checkpoints by ultralytics' restricted one. What a file is shows in its tensors' names
and shapes; LightGlue's files look alike, so theirs must also say which keypoints they are for.
"""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch and ultralytics)

# isort: split
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from catalog_tools.weights import WeightsEntry, converted_path, read_manifest
from pipeline.engines.torch_detector import DetectorSpec, build_detector
from pipeline.engines.torch_embedder import EmbedderSpec, build_embedder
from pipeline.engines.torch_keypoints import KeypointsSpec, build_keypoints
from pipeline.engines.torch_lightglue import LightGlueSpec, build_lightglue
from pipeline.engines.torch_networks import save_weights, spec_json
from pipeline.errors import WeightsError
from pipeline.weights import KINDS, Kind, read_metadata, sha256_of

Tensors = dict[str, torch.Tensor]
Form = Literal["safetensors", "openvino"]

KNOWN = "YOLO26, a timm ResNet-18, 34 or 50, ALIKED, XFeat or LightGlue"
RESNET_SIDE_PX = 224
RESNETS = {  # (a block's convolutions, blocks of each layer)
    (2, (2, 2, 2, 2)): "resnet18",
    (2, (3, 4, 6, 3)): "resnet34",
    (3, (3, 4, 6, 3)): "resnet50",
}
ALIKEDS = {  # (first channels, sampling positions): the names that fit, the usual one first
    (8, 16): ("aliked-t16",),
    (16, 16): ("aliked-n16", "aliked-n16rot"),
    (16, 32): ("aliked-n32",),
}
LIGHTGLUES = {  # keypoints by a word in the file's name: (input_dim, geometry)
    "aliked": ("aliked", 128, "position"),
    "xfeat": ("xfeat", 64, "position"),
    "sift": ("rootsift", 128, "raw_scale"),
}
NEVER_RUN = ("token_confidence.", "confidence_thresholds")  # early stopping, which is left out


@dataclass(frozen=True, slots=True)
class Converted:
    """What an upstream file becomes."""

    kind: Kind
    architecture: str
    spec: Any
    input_size_wh: str
    state: Tensors


def export_weights(source: Path, out: Path, form: Form = "safetensors") -> Path:
    """Write weights, Magpie's own or upstream's, as safetensors or for OpenVINO; give the path.

    out: a folder, or (safetensors) a file that ends in .safetensors. WeightsError when the source
    is nothing that Magpie knows.
    """
    is_file = out.suffix == ".safetensors"
    if form == "openvino":
        from pipeline.engines.torch_export import export_openvino

        if is_file or out.is_file():
            raise WeightsError.at("--out", "expected a folder for network.xml and .bin", str(out))
        with tempfile.TemporaryDirectory() as folder:
            return export_openvino(_as_own(source, Path(folder) / "own.safetensors"), out)
    target = out if is_file else out / f"{source.stem}.safetensors"
    if target.exists() and target.samefile(source):
        raise WeightsError.at("--out", "must not be the file itself", str(target))
    own = _as_own(source, target)
    if own != target:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(own, target)
    return target


def convert_entry(entry: WeightsEntry, source: Path) -> Path:
    """Give Magpie's own file of a pulled entry, converted unless it was before."""
    target = converted_path(entry)
    if target.is_file() and read_metadata(target).get("source_sha256") == sha256_of(source):
        return target
    return convert_upstream(source, target, entry.name, entry.licence)


def convert_upstream(source: Path, target: Path, name: str, licence: str) -> Path:
    """Write an upstream file as Magpie's own, its numbers unchanged; give the target.

    Raises WeightsError when the file is damaged, holds more than weights, or is no network that
    Magpie knows.
    """
    try:
        converted = _recognise(source)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError.at(
            f"weights {source}", f"expected upstream weights of {KNOWN}", str(error).splitlines()[0]
        ) from error
    floats = {t.dtype for t in converted.state.values() if t.is_floating_point()}
    metadata = {
        "kind": converted.kind,
        "architecture": converted.architecture,
        "spec": spec_json(converted.spec),
        "input_size_wh": converted.input_size_wh,
        "licence": licence,
        "name": name,
        "source_file": source.name,
        "source_sha256": sha256_of(source),
    }
    is_half = floats <= {torch.float16}
    save_weights(target, converted.state, metadata, None if is_half else torch.float32)
    return target


def _as_own(source: Path, target: Path) -> Path:
    """Give the source itself when it is Magpie's own, else the target, converted."""
    if source.suffix == ".safetensors" and read_metadata(source).get("kind") in KINDS:
        return source
    entries = {entry.file: entry for entry in read_manifest()}
    licence = entries[source.name].licence if source.name in entries else "as its authors give it"
    return convert_upstream(source, target, source.stem, licence)


def _recognise(source: Path) -> Converted:
    tensors = _read_tensors(source)
    if isinstance(tensors, torch.nn.Module):
        return _from_ultralytics(tensors)
    bare = {re.sub(r"^(matcher|net)\.", "", key) for key in tensors}
    adapters: dict[str, Callable[[Tensors, str], Converted]] = {
        "posenc.Wr.weight": _from_lightglue,
        "desc_head.agg_weights": _from_aliked,
        "heatmap_head.0.layer.0.weight": _from_xfeat,
        "layer1.0.conv1.weight": _from_resnet,
    }
    for key, adapter in adapters.items():
        if key in bare:
            return adapter(tensors, source.stem.lower())
    raise ValueError(f"tensors such as {next(iter(tensors), 'none')}")


def _read_tensors(source: Path) -> Tensors | torch.nn.Module:
    """The file's tensors, or the model of an ultralytics checkpoint."""
    where = f"weights {source}"
    if not source.is_file():
        raise WeightsError.at(where, "no such file")
    try:
        if source.suffix == ".safetensors":
            return load_file(source)
        content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if source.suffix == ".pt" and "Unsupported" in str(error):
            return _read_ultralytics(source)
        raise WeightsError.at(where, "expected tensors alone", "pickled code or damage") from error
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError.at(where, "expected a whole file of weights", reason) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}")
    return {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}


def _read_ultralytics(source: Path) -> torch.nn.Module:
    from ultralytics.nn.tasks import DetectionModel, torch_safe_load

    # An absolute path: ultralytics would look a bare name up among its downloads.
    content, _ = torch_safe_load(source.resolve(), safe_only=True)
    model = content.get("ema") or content.get("model")
    if type(model) is not DetectionModel:
        raise ValueError(f"a {type(model).__name__}, not a detector")
    return model


def _from_ultralytics(model: Any) -> Converted:
    name = Path(str(model.yaml.get("yaml_file", ""))).stem
    if name == "yolo26":
        name += str(model.yaml.get("scale", ""))
    if not re.fullmatch(r"yolo26[nsmlx]", name):
        raise ValueError(f"{name or 'a detector without a name'}, which has no end-to-end head")
    spec = DetectorSpec(f"{name}.yaml", tuple(model.names[i] for i in sorted(model.names)))
    given = {f"network.{key}": tensor for key, tensor in model.state_dict().items()}
    state = _fit(build_detector(spec), given)
    return Converted("detector", spec.architecture, spec, "640x640", state)


def _from_resnet(tensors: Tensors, file_name: str) -> Converted:
    n_convolutions = 3 if "layer1.0.conv3.weight" in tensors else 2
    n_blocks = tuple(_count(tensors, rf"layer{layer}\.(\d+)\.") for layer in range(1, 5))
    name = RESNETS.get((n_convolutions, n_blocks))
    if name is None:
        raise ValueError(f"a ResNet of {n_blocks} blocks")
    given = {f"backbone.{k}": t for k, t in tensors.items() if not k.startswith("fc.")}
    dim = len(tensors[f"layer4.0.conv{n_convolutions}.weight"])
    spec = EmbedderSpec(name, dim, RESNET_SIDE_PX, projection=False)
    may_miss = ("gem_power", "mean", "std", "num_batches_tracked")
    state = _fit(build_embedder(spec), given, may_miss)
    return Converted("embedder", name, spec, f"{RESNET_SIDE_PX}x{RESNET_SIDE_PX}", state)


def _from_aliked(tensors: Tensors, file_name: str) -> Converted:
    weights = tensors["desc_head.agg_weights"]
    names = ALIKEDS.get((len(tensors["block1.conv1.weight"]), len(weights)))
    if names is None:
        raise ValueError("an ALIKED of another size")
    name = file_name if file_name in names else names[0]
    spec = KeypointsSpec(name, int(weights.shape[-1]))
    given = {f"net.{key}": tensor for key, tensor in tensors.items()}
    state = _fit(build_keypoints(spec), given, ("dkd.hw_grid", "num_batches_tracked"))
    return Converted("keypoints", name, spec, "any", state)


def _from_xfeat(tensors: Tensors, file_name: str) -> Converted:
    spec = KeypointsSpec("xfeat", descriptor_dim=64)
    given = {f"net.{key.removeprefix('net.')}": tensor for key, tensor in tensors.items()}
    state = _fit(build_keypoints(spec), given, ("num_batches_tracked",))
    return Converted("keypoints", "xfeat", spec, "any", state)


def _from_lightglue(tensors: Tensors, file_name: str) -> Converted:
    nested = {k.removeprefix("matcher."): t for k, t in tensors.items() if k.startswith("matcher.")}
    given = {
        re.sub(r"^(self|cross)_attn\.(\d+)\.", r"transformers.\2.\1_attn.", key): tensor
        for key, tensor in (nested or tensors).items()
    }
    width = given["transformers.0.self_attn.Wqkv.weight"].shape[1]
    input_dim = given["input_proj.weight"].shape[1] if "input_proj.weight" in given else width
    half_head, n_coordinates = given["posenc.Wr.weight"].shape
    word = next((word for word in LIGHTGLUES if word in file_name), None)
    if word is None:
        raise ValueError(
            f"LightGlue in '{file_name}', whose name says none of {', '.join(LIGHTGLUES)}"
        )
    keypoints, dim, geometry = LIGHTGLUES[word]
    if (input_dim, n_coordinates) != (dim, 2 if geometry == "position" else 4):
        raise ValueError(f"LightGlue for {input_dim}-d keypoints, not for {keypoints}")
    spec = LightGlueSpec(
        input_dim=input_dim,
        descriptor_dim=width,
        n_layers=_count(given, r"transformers\.(\d+)\."),
        num_heads=width // (2 * half_head),
        keypoints=keypoints,
        geometry=geometry,
    )
    given = {f"net.{key}": tensor for key, tensor in given.items()}
    state = _fit(build_lightglue(spec), given, NEVER_RUN)
    return Converted("matcher", f"lightglue-{keypoints}", spec, "any", state)


def _fit(network: torch.nn.Module, given: Tensors, may_miss: tuple[str, ...] = ()) -> Tensors:
    """The network's tensors, all of them from `given` but those that may be missing there."""
    own = network.state_dict()
    missing = [k for k in own if k not in given and not any(word in k for word in may_miss)]
    strange = [k for k in given if k not in own or own[k].shape != given[k].shape]
    if missing or strange:
        raise ValueError(f"tensors that do not fit, such as {(missing + strange)[0]}")
    # Layers that never run would otherwise be random numbers, and the file another one each time.
    idle = {k: torch.zeros_like(t) for k, t in own.items() if NEVER_RUN[0] in k}
    return {key: given.get(key, idle.get(key, own[key])) for key in own}


def _count(tensors: Tensors, pattern: str) -> int:
    """How many numbers, from 0, the names have at that place."""
    found = {int(match[1]) for match in (re.match(pattern, key) for key in tensors) if match}
    return len(found)
