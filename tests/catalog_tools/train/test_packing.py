"""Files in parts come back as they were, or not at all."""

import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools.train.packing import join_folder, pack_pool, read_parts, split_file
from catalog_tools.train.pool import open_pool
from pipeline.errors import ConfigError


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """A tar file and a sub-folder of pictures that hardly compress, 3.5 MB together."""
    folder = tmp_path / "pool"
    rng = np.random.default_rng(0)
    for source in ("shop", "places"):
        (folder / source).mkdir(parents=True)
        for number in range(2):
            noise = rng.integers(0, 255, (540, 540, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / source / f"{number}.png"), noise)
    with tarfile.open(folder / "shop.tar", "w") as archive:
        archive.add(folder / "shop", arcname="shop")
    for path in (folder / "shop").iterdir():
        path.unlink()
    (folder / "shop").rmdir()
    return folder


def test_a_packed_pool_is_the_pool(pool: Path, tmp_path: Path) -> None:
    """1. pack into parts of 1 MB; 2. open them. Result: the same pictures in the same groups."""
    index = pack_pool(pool, tmp_path / "packed", part_mb=1)
    parts = [p for p in index.parent.iterdir() if p != index]
    assert len(parts) == 4 and max(p.stat().st_size for p in parts) <= 1_000_000
    whole, packed = open_pool(pool), open_pool(index.parent)
    assert packed.encoded == whole.encoded and packed.groups == whole.groups


def test_a_split_file_is_joined_and_a_spoilt_one_refused(tmp_path: Path) -> None:
    content = np.random.default_rng(1).bytes(2_500_000)
    (tmp_path / "weights.bin").write_bytes(content)
    index = split_file(tmp_path / "weights.bin", 1)
    assert not (tmp_path / "weights.bin").exists()
    assert join_folder(tmp_path) == [tmp_path / "weights.bin"]
    assert (tmp_path / "weights.bin").read_bytes() == content
    (tmp_path / "weights.bin.001").write_bytes(b"another")
    with pytest.raises(ConfigError, match="must have their SHA-256"):
        read_parts(index)
    (tmp_path / "weights.bin.001").unlink()
    with pytest.raises(ConfigError, match=r"weights\.bin\.001.*copy all of its parts"):
        read_parts(index)


def test_nothing_to_pack_or_join_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--pool: must be a folder of tar files"):
        pack_pool(tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match="must hold files in parts"):
        join_folder(tmp_path)


def test_a_packed_pool_leaves_out_what_systems_put_there(pool: Path, tmp_path: Path) -> None:
    before = open_pool(pool).encoded
    for name in ("@eaDir", "places/@eaDir"):
        (pool / name).mkdir()
        (pool / name / "thumb.png").write_bytes(b"small")
    packed = tmp_path / "packed"
    pack_pool(pool, packed, part_mb=10)
    assert b"eaDir" not in (packed / "pool.tar.000").read_bytes()
    assert open_pool(packed).encoded == before
