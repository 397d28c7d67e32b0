"""Networks on disk: safetensors whose header says what to build; loaded as float32 modules."""

from __future__ import annotations

import pipeline.offline  # noqa: F401  (first: before torch and ultralytics)

# isort: split
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pipeline.engines.torch_detector import DetectorSpec, build_detector
from pipeline.engines.torch_embedder import EmbedderSpec, build_embedder
from pipeline.errors import WeightsError
from pipeline.weights import KINDS

REQUIRED_METADATA = ("kind", "architecture", "spec", "input_size_wh", "licence")
Spec = TypeVar("Spec")


def read_weights(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Read a weights file: its metadata (str → str) and its tensors in float32, whole numbers as
    they are.

    Raises WeightsError when the file is missing, damaged, or says not what it is.
    """
    if not path.is_file():
        raise WeightsError.at(
            f"weights '{path}'", "must be a file", "none", "see: magpie weights list"
        )
    try:
        with safe_open(path, framework="pt") as archive:
            metadata = dict(archive.metadata() or {})
            state = {name: archive.get_tensor(name) for name in archive.keys()}
    except SafetensorError as error:
        raise WeightsError.at(
            f"weights '{path}'", "must be a whole safetensors file", str(error), "fetch it again"
        ) from error
    missing = [key for key in REQUIRED_METADATA if key not in metadata]
    if missing:
        raise WeightsError.at(
            f"weights '{path}'",
            f"must say {', '.join(REQUIRED_METADATA)} in the header",
            f"none of {', '.join(missing)}",
            "export it with: magpie weights export",
        )
    return metadata, {name: t.float() if t.is_floating_point() else t for name, t in state.items()}


def load_network(path: Path, device: str = "cpu") -> torch.nn.Module:
    """Build the network that a weights file describes, with its weights, in float32, ready to run.

    Raises WeightsError as `read_weights`, and when kind, spec or tensors do not fit each other.
    """
    metadata, state = read_weights(path)
    try:
        network = _build(metadata)
        network.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError.at(
            f"weights '{path}'", "tensors and header must fit each other", reason
        ) from error
    return network.eval().to(device)


def _build(metadata: Mapping[str, str]) -> torch.nn.Module:
    kind = metadata["kind"]
    if kind == "detector":
        return build_detector(parse_spec(DetectorSpec, metadata["spec"]))
    if kind == "embedder":
        return build_embedder(parse_spec(EmbedderSpec, metadata["spec"]))
    if kind == "matcher":
        from pipeline.engines.torch_lightglue import LightGlueSpec, build_lightglue

        return build_lightglue(parse_spec(LightGlueSpec, metadata["spec"]))
    if kind == "keypoints":
        from pipeline.engines.torch_keypoints import KeypointsSpec, build_keypoints

        return build_keypoints(parse_spec(KeypointsSpec, metadata["spec"]))
    if kind == "comparer":
        from pipeline.engines.torch_comparer import ComparerSpec, build_comparer

        return build_comparer(parse_spec(ComparerSpec, metadata["spec"]))
    raise ValueError(f"kind must be one of {', '.join(KINDS)}, got '{kind}'")


def parse_spec(spec_type: type[Spec], text: str) -> Spec:
    """Read a spec dataclass from its JSON; unknown or missing numbers raise TypeError.

    Only what came later than the first weights (`metadata={"later": True}`) may be missing.
    """
    given: dict[str, Any] = json.loads(text)
    items = fields(spec_type)  # type: ignore[arg-type]
    known = {item.name for item in items}
    needed = {item.name for item in items if not item.metadata.get("later")}
    if not needed <= set(given) <= known:
        raise TypeError(f"{spec_type.__name__} has {sorted(known)}, got {sorted(given)}")
    return spec_type(**{key: tuple(v) if isinstance(v, list) else v for key, v in given.items()})


def spec_json(spec: Any) -> str:
    """Give a spec dataclass as JSON for the header."""
    return json.dumps(asdict(spec), sort_keys=True)


def save_weights(
    path: Path,
    module_state: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str],
    dtype: torch.dtype | None = torch.float16,
) -> None:
    """Write tensors in float16 (whole numbers as they are) with their metadata; the file appears
    whole or not.

    dtype: another one for the floating-point tensors; None keeps each tensor's own.
    """
    state = {
        name: tensor.to(dtype if dtype and tensor.is_floating_point() else tensor.dtype)
        for name, tensor in module_state.items()
    }
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    broken = [name for name, t in state.items() if t.is_floating_point() and not t.isfinite().all()]
    if broken:
        shown = str(dtype).removeprefix("torch.") if dtype else "their own precision"
        raise WeightsError.at(
            f"weights '{path}'", f"must be finite in {shown}", f"{len(broken)} tensors that are not"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(state, part, metadata=dict(metadata))
    _sort_header(part)
    part.chmod(0o644)  # safetensors writes for the owner alone
    part.replace(path)


def _sort_header(path: Path) -> None:
    """Put the metadata in order: safetensors shuffles it, and catalogs are bound to a file's hash,
    which must be the same wherever the same weights are written.
    """
    with path.open("r+b") as file:
        (n_bytes,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(n_bytes))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > n_bytes:
            raise ValueError(f"a sorted header must fit {n_bytes} bytes, got {len(text)}")
        file.seek(8)
        file.write(text.ljust(n_bytes))
