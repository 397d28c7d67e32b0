"""Files in parts that a machine with a size limit takes: `<file>.000`, `.001`…, and `<file>.parts`
beside them, which says how many there are and what the whole must hash to.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path, PurePath

from pipeline.errors import ConfigError
from pipeline.folders import entries_of, is_passed_over
from pipeline.writable import make_ready

PARTS_SUFFIX = ".parts"
MB = 1_000_000


def pack_pool(pool: Path, out: Path, part_mb: int = 25) -> Path:
    """Put a pool's tar files and sub-folders into parts of at most so many MB; give the index.

    Raises ConfigError when the pool holds neither, or the size makes no sense.
    """
    if part_mb < 1:
        raise ConfigError.at("--part-mb", "must be at least 1", part_mb)
    entries = (
        [p for p in entries_of(pool) if p.is_dir() or p.suffix == ".tar"] if pool.is_dir() else []
    )
    if not entries:
        raise ConfigError.at("--pool", "must be a folder of tar files or sub-folders", str(pool))
    make_ready(out, "--out", "choose another")
    whole = out / "pool.tar"
    with tarfile.open(whole, "w") as archive:
        for entry in entries:
            archive.add(entry, arcname=entry.name, filter=_kept)
    return split_file(whole, part_mb)


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if is_passed_over(PurePath(member.name)) else member


def split_file(path: Path, part_mb: int) -> Path:
    """Replace a file by its parts; give their index."""
    digest, sizes_bytes = hashlib.sha256(), []
    with path.open("rb") as file:
        while data := file.read(part_mb * MB):
            digest.update(data)
            _part(path, len(sizes_bytes)).write_bytes(data)
            sizes_bytes.append(len(data))
    index = path.with_name(path.name + PARTS_SUFFIX)
    about = {"parts": len(sizes_bytes), "bytes": sum(sizes_bytes), "sha256": digest.hexdigest()}
    index.write_text(json.dumps(about) + "\n")
    path.unlink()
    return index


def read_parts(index: Path) -> bytes:
    """Give the whole that the parts beside an index make; ConfigError when it is not itself."""
    path = index.with_name(index.name.removesuffix(PARTS_SUFFIX))
    remedy = "copy all of its parts again"
    try:
        about = json.loads(index.read_text())
        data = b"".join(_part(path, number).read_bytes() for number in range(about["parts"]))
        expected = about["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError.at(f"parts '{index}'", "must be whole", str(error), remedy) from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise ConfigError.at(f"parts '{index}'", "must have their SHA-256", "another", remedy)
    return data


def join_parts(path: Path) -> bool:
    """Write a file anew from its parts, which stay; False when there are none."""
    index = path.with_name(path.name + PARTS_SUFFIX)
    if not index.is_file():
        return False
    part = path.with_name(path.name + ".joined")
    part.write_bytes(read_parts(index))
    part.replace(path)
    return True


def join_folder(folder: Path) -> list[Path]:
    """Join every file that lies in a folder in parts; give their paths."""
    indexes = sorted(folder.glob(f"*{PARTS_SUFFIX}"))
    if not indexes:
        raise ConfigError.at(f"folder '{folder}'", f"must hold files in parts (*{PARTS_SUFFIX})")
    paths = [index.with_name(index.name.removesuffix(PARTS_SUFFIX)) for index in indexes]
    for path in paths:
        join_parts(path)
    return paths


def _part(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number:03d}")
