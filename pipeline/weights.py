"""Where weights lie, and what they are. Light: reads headers, loads no network.

Looked for in this order: the path of the configuration, the folder $MAGPIE_WEIGHTS, the shipped
`weights/`, the cache (where `magpie weights pull` and `import` put what others have published).
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tomllib
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import ConfigError, WeightsError
from pipeline.writable import expand_home, user_folder

Kind = Literal["detector", "embedder", "keypoints", "matcher", "comparer"]
KINDS: tuple[Kind, ...] = ("detector", "embedder", "keypoints", "matcher", "comparer")

SHIPPED_DIR = Path(__file__).resolve().parent.parent / "weights"
MANIFEST_PATH = SHIPPED_DIR / "manifest.toml"
SHIPPED_NAMES: dict[Kind, str] = {
    "detector": "magpie-detector-n",
    "embedder": "magpie-embedder-lite0",
    "matcher": "magpie-lightglue-sift",
    "comparer": "magpie-comparer",
}
_HEADER_LIMIT_BYTES = 16 << 20


def cache_dir() -> Path:
    """Return the user's cache folder: $MAGPIE_CACHE, else $XDG_CACHE_HOME/magpie or ~/.cache.

    ConfigError when this user has no home folder.
    """
    named = os.environ.get("MAGPIE_CACHE")
    if named:
        return expand_home(named, "MAGPIE_CACHE")
    return user_folder("XDG_CACHE_HOME", "~/.cache", "name a folder in MAGPIE_CACHE") / "magpie"


def find_weights(kind: Kind, configured: Path | None = None, default: str = "") -> Path:
    """Return the weights file to use for a network of this kind; WeightsError when there is none.

    configured: a file, or a bare name (`magpie-detector-n`) that is looked up in the folders.
    default: the name to look up when nothing is configured; none: that of the shipped weights.
    """
    if configured is not None:
        direct = expand_home(configured, f"weights of the {kind}")
        if direct.is_file():
            return direct.resolve()
        if direct.parent != Path("."):
            raise WeightsError.at(
                f"weights of the {kind}",
                "expected a file",
                str(configured),
                "correct the path, or leave it out to use the shipped weights",
            )
    name = str(configured) if configured is not None else default or SHIPPED_NAMES[kind]
    file_name = name if Path(name).suffix else f"{name}.safetensors"
    folders = weights_folders()
    for folder in folders:
        if (folder / file_name).is_file():
            return (folder / file_name).resolve()
    raise WeightsError.at(
        f"weights of the {kind}",
        f"no {file_name} in {', '.join(str(folder) for folder in folders)}",
        remedy=f"{how_to_get(Path(file_name).stem) or 'see: magpie weights list'}, or name a file",
    )


def how_to_get(name: str) -> str:
    """Return the command that brings the weights of this name here; "" where the manifest has none.

    catalog_tools/weights.py reads and checks the whole manifest, this only where weights come from.
    """
    if not MANIFEST_PATH.is_file():
        return "git checkout weights"
    for entry in tomllib.loads(MANIFEST_PATH.read_text())["weights"]:
        if entry["name"] == name:
            if entry.get("shipped"):
                return "git checkout weights"
            if entry.get("url"):
                return f"magpie weights pull {name}"
            return f"magpie weights import {entry['package']}"
    return ""


def weights_folders() -> list[Path]:
    """Return the folders that weights are looked up in, in their order."""
    named = os.environ.get("MAGPIE_WEIGHTS")
    first = [expand_home(named, "MAGPIE_WEIGHTS")] if named else []
    try:
        return [*first, SHIPPED_DIR, cache_dir() / "weights"]
    except ConfigError:  # no home, hence nothing was ever pulled
        return [*first, SHIPPED_DIR]


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file, from its header alone; WeightsError if damaged."""
    if path.suffix in (".pt", ".pth") and path.is_file():
        raise WeightsError.at(
            f"weights {path}",
            "expected safetensors",
            "an upstream file",
            f"convert it, once: magpie weights export {path} --out DIR",
        )
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            (n_bytes,) = struct.unpack("<Q", file.read(8))
            if n_bytes > min(_HEADER_LIMIT_BYTES, size_bytes - 8):
                raise ValueError(f"a header of {n_bytes} bytes in a file of {size_bytes}")
            header = json.loads(file.read(n_bytes))
        metadata = header.pop("__metadata__", {})
        end_bytes = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if size_bytes != 8 + n_bytes + end_bytes:
            raise ValueError(f"{size_bytes} bytes where {8 + n_bytes + end_bytes} are announced")
    except FileNotFoundError as error:
        raise WeightsError.at(f"weights {path}", "no such file") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        raise WeightsError.at(
            f"weights {path}",
            "expected a whole safetensors file",
            str(error),
            f"restore it: {how_to_get(path.stem)}".removesuffix(": "),
        ) from error
    return {str(key): str(value) for key, value in metadata.items()}


def read_spec(path: Path) -> dict[str, Any]:
    """Return the numbers that the network of a weights file is built from, from its header."""
    try:
        spec = json.loads(read_metadata(path).get("spec", "{}"))
    except ValueError as error:
        raise WeightsError.at(f"weights {path}", "spec must be JSON", str(error)) from error
    return spec if isinstance(spec, dict) else {}


def read_kind(path: Path, expected: Kind | None = None) -> Kind:
    """Return what network the file holds; WeightsError when it is none, or not the expected one."""
    found = read_metadata(path).get("kind")
    kind = next((known for known in KINDS if known == found), None)
    if kind is None or (expected is not None and kind != expected):
        raise WeightsError.at(
            f"weights {path}",
            f"expected a file of kind {expected or ', '.join(KINDS)}",
            found or "a file without its kind in the header",
            "" if found else "an upstream file is made ready by: magpie weights export",
        )
    return kind
