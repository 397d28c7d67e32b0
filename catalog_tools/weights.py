"""Lists, pulls and verifies weights by `weights/manifest.toml`.

`pull` is the one place of Magpie that downloads, and only what its user named.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from catalog_tools.download import Download, fetch, shown_url
from pipeline.errors import WeightsError
from pipeline.options import Options
from pipeline.weights import (
    MANIFEST_PATH,
    Kind,
    cache_dir,
    how_to_get,
    read_metadata,
    sha256_of,
    weights_folders,
)
from pipeline.writable import expand_home, make_ready

State = Literal["ok", "not here", "missing", "wrong hash", "hash unknown"]


class WeightsEntry(Options):
    """One table of the manifest; its head explains the keys."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    kind: Kind
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    url: str = Field("", pattern=r"^(https?://\S+)?$")
    package: str = Field("", pattern=r"^([a-z0-9][a-z0-9-]*)?$")
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    licence: str = Field(min_length=1)
    input_size_wh: tuple[int, int]
    normalisation: str = Field(min_length=1)
    shipped: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _has_a_source(self) -> WeightsEntry:
        if not self.shipped and not self.url and not self.package:
            raise ValueError("weights that are not shipped need a url or a package")
        return self


@dataclass(frozen=True, slots=True)
class WeightsState:
    """What was found of one entry: where it lies (None: nowhere) and whether it is what it says."""

    entry: WeightsEntry
    path: Path | None
    state: State
    sha256: str = ""

    @property
    def is_bad(self) -> bool:
        return self.state in ("missing", "wrong hash")


def read_manifest(path: Path = MANIFEST_PATH) -> list[WeightsEntry]:
    """Give the manifest's entries; WeightsError says which breaks a rule."""
    try:
        tables = tomllib.loads(path.read_text()).get("weights", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise WeightsError.at(
            str(path), "expected a TOML file of [[weights]]", str(error)
        ) from error
    entries: list[WeightsEntry] = []
    for table in tables:
        where = f"{path.name}, weights {table.get('name', '?')!r}"
        try:
            entries.append(WeightsEntry(**table))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise WeightsError.at(f"{where}, {key}", first["msg"], str(first["input"])) from error
        if entries[-1].name in {entry.name for entry in entries[:-1]}:
            raise WeightsError.at(where, "expected each name once")
    return entries


def find_entry(name: str, entries: list[WeightsEntry]) -> WeightsEntry:
    """Give the entry of this name; WeightsError lists the names there are."""
    for entry in entries:
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in entries)
    raise WeightsError.at("weights", f"expected one of {known}", name, "see: magpie weights list")


def locate(entry: WeightsEntry) -> Path | None:
    """Give the manifest's own file, looked for in the order of `pipeline.weights`."""
    for folder in weights_folders():
        if (folder / entry.file).is_file():
            return folder / entry.file
    return None


def converted_path(entry: WeightsEntry) -> Path:
    """Give where Magpie's own file of a pulled entry lies, or would."""
    return cache_dir() / "weights" / f"{entry.name}.safetensors"


def usable_path(entry: WeightsEntry) -> Path | None:
    """Give the file that can be loaded: the shipped one, or Magpie's own of what was pulled or
    imported.
    """
    if entry.shipped:
        return locate(entry)
    folders = [folder / f"{entry.name}.safetensors" for folder in weights_folders()]
    return next((path for path in folders if path.is_file()), None)


def find_source(file_or_name: str) -> Path:
    """Give the file of that path, or the weights of that name in the manifest, if they are here."""
    direct = expand_home(file_or_name, "weights")
    if direct.is_file():
        return direct
    if direct.suffix or direct.parent != Path("."):
        raise WeightsError.at("weights", "expected a file or a name", file_or_name)
    entry = find_entry(file_or_name, read_manifest())
    path = usable_path(entry) or locate(entry)
    if path is None:
        rule = "is not here"
        remedy = f"fetch it: {how_to_get(entry.name)}"
        raise WeightsError.at(f"weights {entry.name!r}", rule, remedy=remedy)
    return path


def verify(entry: WeightsEntry) -> WeightsState:
    """Compare the file's hash with the manifest's, or with what its first pull recorded.

    Of imported weights: the hash of the package's file, as the import has written it down.
    """
    path = locate(entry)
    if entry.package and path is None:
        return _verify_imported(entry)
    if path is None:
        return WeightsState(entry, None, "missing" if entry.shipped else "not here")
    actual, wanted = sha256_of(path), expected_sha256(entry)
    if not wanted:
        return WeightsState(entry, path, "hash unknown", actual)
    return WeightsState(entry, path, "ok" if actual == wanted else "wrong hash", actual)


def _verify_imported(entry: WeightsEntry) -> WeightsState:
    path = usable_path(entry)
    if path is None:
        return WeightsState(entry, None, "not here")
    source = read_metadata(path).get("source_sha256", "")
    return WeightsState(entry, path, "ok" if source == entry.sha256 else "wrong hash", source)


def expected_sha256(entry: WeightsEntry) -> str:
    """Give the manifest's hash, else the one recorded at a trusted first download, else ""."""
    if entry.sha256:
        return entry.sha256
    record = _record_path(entry)
    return record.read_text().split()[0] if record.is_file() else ""


def _record_path(entry: WeightsEntry) -> Path:
    return cache_dir() / "weights" / f"{entry.file}.sha256"


def record_shipped_hashes(path: Path = MANIFEST_PATH) -> list[str]:
    """Write the hashes of the shipped files as they are now into the manifest; give the names.

    For maintainers, after a training: the manifest's own text and order stay.
    """
    recorded = []
    for entry in read_manifest(path):
        shipped = path.parent / entry.file
        if not entry.shipped or not shipped.is_file():
            continue
        pattern = rf'(file = "{re.escape(entry.file)}"\n(?:.*\n)*?sha256 = )"[0-9a-f]*"'
        text = path.read_text()
        path.write_text(re.sub(pattern, rf'\g<1>"{sha256_of(shipped)}"', text, count=1))
        recorded.append(entry.name)
    return recorded


def pull(
    entry: WeightsEntry,
    mirror: str = "",
    trust_first_download: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Give the path of the entry's file in the cache, downloaded unless a good one is there.

    mirror: a URL prefix to fetch from instead; the file's name is appended to it.
    trust_first_download: accept a file whose hash the manifest doesn't know, and record its hash.
    progress: told the bytes so far and of the whole (None: not said by the server).
    WeightsError: it comes in a package, no URL, no such file there, no network, wrong hash, full.
    """
    where = f"weights {entry.name!r}"
    if entry.package and not entry.url:
        raise WeightsError.at(where, "come in a package", remedy=how_to_get(entry.name))
    url = f"{mirror.rstrip('/')}/{entry.file}" if mirror else entry.url
    wanted = expected_sha256(entry)
    target = cache_dir() / "weights" / entry.file
    if target.is_file() and wanted and sha256_of(target) == wanted:
        return target
    if not url:
        raise WeightsError.at(
            where,
            "is shipped in weights/, not downloaded",
            remedy="restore it: git checkout weights, or name a mirror: --from URL_PREFIX",
        )
    if not url.startswith(("http://", "https://")):
        raise WeightsError.at(where, "expected --from http(s)://…", shown_url(url))
    if not wanted and not trust_first_download:
        raise WeightsError.at(
            where,
            f"nobody recorded the hash of {shown_url(url)}",
            remedy="if you trust it: --trust-first-download (its hash is then kept and checked)",
        )
    return _fetch_checked(Download(url, target, where), entry, wanted, progress)


def _fetch_checked(
    download: Download,
    entry: WeightsEntry,
    wanted: str,
    progress: Callable[[int, int | None], None] | None,
) -> Path:
    remedy = "name another folder in MAGPIE_CACHE"
    make_ready(download.target.parent, download.where, remedy, WeightsError)
    with fetch(download, progress) as part:
        actual = sha256_of(part)
        if wanted and actual != wanted:
            part.unlink()
            raise WeightsError.at(
                download.where,
                f"expected sha256 {wanted}",
                actual,
                "the file was thrown away; pull again, or take another mirror: --from URL_PREFIX",
            )
        if not wanted:
            _record_path(entry).write_text(f"{actual}  {entry.file}\n")
        part.replace(download.target)
    return download.target
