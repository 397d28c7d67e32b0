"""A catalog that is replaced from outside: followed soon, whatever the way, and never half."""

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.errors import CatalogError
from streamer.catalog_watch import CatalogWatch
from tests.fakes import ScriptedCatalog, wait_until, write_scripted_catalog


class User:
    """Uses one catalog for two cameras; a catalog is whole when it has its file `whole`."""

    def __init__(self, directory: Path) -> None:
        self._catalogs = dict.fromkeys(("door", "till"), ScriptedCatalog.load(directory))
        self.n_loads = 0

    @property
    def catalogs(self) -> Mapping[str, ScriptedCatalog]:
        return self._catalogs

    def load_catalog(self, directory: Path) -> ScriptedCatalog:
        self.n_loads += 1
        catalog = ScriptedCatalog.load(directory)
        if not (directory / "script.json").is_file():
            raise CatalogError.at("catalog", "has no script yet")
        return catalog

    def switch(self, camera: str, catalog: ScriptedCatalog) -> None:
        self._catalogs[camera] = catalog


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return write_scripted_catalog(tmp_path / "shelf", 1, period=10)


def watch(shelf: Path) -> tuple[CatalogWatch, User]:
    user = User(shelf)
    return CatalogWatch({"door": shelf, "till": shelf}, user), user


def follows(watching: CatalogWatch, user: User, identity: str, within_s: float = 5.0) -> None:
    def is_there() -> bool:
        for camera, catalog in watching.ready():
            user.switch(camera, catalog)
        return {catalog.identity for catalog in user.catalogs.values()} == {identity}

    wait_until(is_there, "the catalog is followed", within_s)


def look(watching: CatalogWatch, user: User, n: int = 200) -> None:
    """Let it look a while."""
    looked = [0]

    def often() -> bool:
        for camera, catalog in watching.ready():
            user.switch(camera, catalog)
        looked[0] += 1
        return looked[0] > n

    wait_until(often)


def test_another_build_of_the_same_number_is_followed(shelf: Path, tmp_path: Path) -> None:
    watching, user = watch(shelf)
    other = write_scripted_catalog(tmp_path / "other", 1, period=20)
    shelf.rename(tmp_path / "before")
    other.rename(shelf)
    follows(watching, user, ScriptedCatalog.load(shelf).identity)


def test_a_link_that_is_switched_is_followed(shelf: Path, tmp_path: Path) -> None:
    other = write_scripted_catalog(tmp_path / "other", 1, period=20)
    link = tmp_path / "link"
    link.symlink_to(shelf)
    watching, user = watch(link)
    new = tmp_path / "new-link"
    new.symlink_to(other)
    new.replace(link)
    follows(watching, user, ScriptedCatalog.load(other).identity)


def test_a_copy_is_followed_when_it_is_whole_and_said_once_before(
    shelf: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As rsync does it: CURRENT first, the manifest, its files last."""
    watching, user = watch(shelf)
    before = user.catalogs["door"].identity
    other = write_scripted_catalog(tmp_path / "other", 2, period=20)
    with caplog.at_level(logging.INFO, "magpie"):
        (shelf / "script.json").unlink()
        shutil.copy(other / "CURRENT", shelf / "CURRENT")
        wait_until(lambda: look(watching, user, 5) or "trying again" in caplog.text)
        shutil.copytree(other / "generations", shelf / "generations", dirs_exist_ok=True)
        wait_until(lambda: look(watching, user, 5) or user.n_loads > 1)
        assert user.catalogs["door"].identity == before
        shutil.copy(other / "script.json", shelf / "script.json")
        follows(watching, user, ScriptedCatalog.load(other).identity)
    said = [r.getMessage() for r in caplog.records]
    assert sum("trying again" in line for line in said) == 1
    assert sum(line.startswith("switched") for line in said) == 1


def test_a_catalog_that_goes_and_comes_back_is_said_and_not_switched(
    shelf: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watching, user = watch(shelf)
    with caplog.at_level(logging.INFO, "magpie"):
        shelf.rename(tmp_path / "away")
        wait_until(lambda: look(watching, user, 5) or "keeping the one in use" in caplog.text)
        (tmp_path / "away").rename(shelf)
        wait_until(lambda: look(watching, user, 5) or "whole again" in caplog.text)
    assert user.n_loads == 0 and "switched" not in caplog.text


def test_the_same_content_written_again_changes_nothing(shelf: Path) -> None:
    watching, user = watch(shelf)
    manifest = shelf / "generations" / "000001" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes())
    os.utime(manifest)
    look(watching, user, 300)
    assert user.n_loads == 0


def test_a_camera_that_comes_later_gets_the_catalog_in_use_or_its_own(
    shelf: Path, tmp_path: Path
) -> None:
    """1. One comes that shares a catalog. 2. One comes with another. 3. That one goes again."""
    watching, user = watch(shelf)
    watching.add("hall", shelf)
    follows(watching, user, ScriptedCatalog.load(shelf).identity)
    assert "hall" in user.catalogs and user.n_loads == 0
    other = write_scripted_catalog(tmp_path / "other", 1, period=20)
    watching.add("yard", other)
    wait_until(lambda: look(watching, user, 1) is None and "yard" in user.catalogs)
    assert user.catalogs["yard"] == ScriptedCatalog.load(other) and user.n_loads == 1
    watching.remove("yard")
    write_scripted_catalog(other, 2, period=30)
    look(watching, user)
    assert user.catalogs["yard"].generation == 1


def test_a_camera_whose_first_catalog_is_not_whole_waits_for_it_and_says_why(
    shelf: Path, tmp_path: Path
) -> None:
    watching, user = watch(shelf)
    watching.add("yard", tmp_path / "other")
    wait_until(lambda: look(watching, user, 1) is None and watching.trouble("yard"))
    assert watching.trouble("door") is None
    write_scripted_catalog(tmp_path / "other", 1, period=20)
    wait_until(lambda: look(watching, user, 1) is None and "yard" in user.catalogs)
    assert watching.trouble("yard") is None
