"""One file over HTTP: resumed where it stopped, whole or not there, each failure in a sentence."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import http.client
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from pipeline.errors import MagpieError, WeightsError

TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 20
_CAUSES = {
    401: "the server wants a login",
    403: "the server refuses it",
    404: "the server has no such file",
    410: "the server has no such file any more",
}


@dataclass(frozen=True, slots=True)
class Download:
    """What to fetch and where it goes; `where` begins the error's sentence."""

    url: str
    target: Path
    where: str


def shown_url(url: str) -> str:
    """Give the URL without user name, password and query, which may hold secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@contextmanager
def fetch(
    download: Download, progress: Callable[[int, int | None], None] | None = None
) -> Iterator[Path]:
    """Give the path of the complete `.part` file; the caller checks it and moves it to its name.

    An interrupted download goes on where it stopped, as long as the server's file is the same.
    Holds a lock, so that two downloads of one file don't write into each other.
    """
    part = download.target.with_name(download.target.name + ".part")
    with part.with_name(part.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WeightsError.at(
                download.where, "is being downloaded by another magpie", remedy="wait for it"
            ) from error
        try:
            _download(download, part, progress)
        except OSError as error:
            raise _as_weights_error(download, error) from error
        except http.client.HTTPException as error:
            raise _interrupted(download, type(error).__name__) from error
        try:
            yield part
        finally:
            part.with_name(part.name + ".json").unlink(missing_ok=True)
            Path(lock.name).unlink(missing_ok=True)


def _download(
    download: Download, part: Path, progress: Callable[[int, int | None], None] | None
) -> None:
    state_path = part.with_name(part.name + ".json")
    have_bytes, validator = _resume_point(part, state_path, download.url)
    try:
        response = _open(download.url, have_bytes, validator)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # beyond the end: the server's file is another one than before
            raise
        error.close()
        have_bytes, response = 0, _open(download.url, 0, "")
    with response:
        if response.status != 206:
            have_bytes = 0
        length = response.headers.get("Content-Length")
        total_bytes = have_bytes + int(length) if length and length.isdigit() else None
        tag = response.headers.get("ETag") or ""
        if not tag or tag.startswith("W/"):  # a weak mark is not allowed in If-Range
            tag = response.headers.get("Last-Modified") or ""
        state_path.write_text(json.dumps({"url": _mark_of(download.url), "validator": tag}))
        _check_room(download, part, (total_bytes or have_bytes) - have_bytes)
        with part.open("ab" if have_bytes else "wb") as file:
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                have_bytes += len(chunk)
                if progress is not None:
                    progress(have_bytes, total_bytes)
    if total_bytes is not None and have_bytes < total_bytes:
        raise _interrupted(download, f"{have_bytes} of {total_bytes} bytes")


def _resume_point(part: Path, state_path: Path, url: str) -> tuple[int, str]:
    """Give how many bytes are here and the server's mark of that file; (0, "") to start afresh."""
    try:
        state = json.loads(state_path.read_text())
        if state["url"] == _mark_of(url) and state["validator"]:
            return part.stat().st_size, str(state["validator"])
    except (OSError, ValueError, KeyError):
        pass
    return 0, ""


def _mark_of(url: str) -> str:
    """Give what tells a URL from another without its password."""
    return hashlib.sha256(url.encode(errors="replace")).hexdigest()


def _open(url: str, have_bytes: int, validator: str) -> Any:
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    request = urllib.request.Request(bare, headers={"User-Agent": "magpie"})
    if login:
        encoded = base64.b64encode(unquote(login).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {encoded}")
    if have_bytes and validator:
        request.add_header("Range", f"bytes={have_bytes}-")
        request.add_header("If-Range", validator)  # else the whole file, when it has changed
    return urllib.request.urlopen(request, timeout=TIMEOUT_S)


def _check_room(download: Download, part: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(part.parent).free
    if needed_bytes > free_bytes:
        raise WeightsError.at(
            download.where,
            f"needs {needed_bytes} bytes in {part.parent}",
            f"{free_bytes} free",
            "free some, or set MAGPIE_CACHE to another disk",
        )


def _interrupted(download: Download, got: str) -> MagpieError:
    return WeightsError.at(
        download.where,
        f"the download of {shown_url(download.url)} broke off",
        got,
        "run it again: it goes on where it stopped",
    )


def _as_weights_error(download: Download, error: OSError) -> MagpieError:
    url = shown_url(download.url)
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        cause = _CAUSES.get(error.code, "the server can't give it")
        remedy = "another source: --from URL_PREFIX"
        return WeightsError.at(download.where, f"{cause}: {url}", f"HTTP {error.code}", remedy)
    if isinstance(error, urllib.error.URLError | TimeoutError | ConnectionError):
        reason = getattr(error, "reason", error)
        return WeightsError.at(
            download.where,
            f"no connection to {urlsplit(url).netloc}",
            str(reason),
            "check the network, or name a mirror: --from URL_PREFIX",
        )
    return WeightsError.at(download.where, f"can't write {download.target}", str(error))
