"""Weights converted for OpenVINO, once, in the user's cache: no torch in the process that asks.

Where no cache can be written (a container that is read-only), they are converted for each start.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.errors import ConfigError, EngineError, WeightsError
from pipeline.weights import cache_dir, read_kind, sha256_of
from pipeline.writable import make_ready

EXPORT_VERSION = 2  # raise when torch_export or a network's definition changes its graph
EXPORT_TIMEOUT_S = 300.0
_REMEDY = "free some space, or name another folder in MAGPIE_CACHE"
_ROOT = Path(__file__).resolve().parent.parent.parent

log = logging.getLogger(__name__)


class CacheError(EngineError):
    """The engine cache cannot be written."""


@contextmanager
def network_file(weights: Path) -> Iterator[Path]:
    """Give the OpenVINO network (.xml) of a weights file, to be read while in this context.

    From the cache; where that cannot be written, converted into a folder that then goes.
    """
    with ExitStack() as stack:
        try:
            network = converted_network(weights)
        except CacheError as error:
            log.warning("%s; until then each start converts %s anew", error, weights.name)
            try:
                folder = tempfile.TemporaryDirectory(prefix="magpie-engines-")
                network = _convert_into(Path(stack.enter_context(folder)), weights)
            except OSError as refused:
                got = f"{error}; {refused}"
                rule = "neither the cache nor a temporary folder can be written"
                raise EngineError.at("engine cache", rule, got, _REMEDY) from refused
        yield network


def converted_network(weights: Path) -> Path:
    """Return the OpenVINO network (.xml) of a weights file, converted by a child process if new.

    Raises CacheError when the cache cannot be written.

    Safe when several processes ask at once: one converts, the others wait for it. The cache's key
    is the content of the weights, so that a retrained file never meets an old network.
    """
    read_kind(weights)
    try:
        folder = cache_dir() / "engines"
    except ConfigError as error:
        raise CacheError(str(error)) from error
    done = _folder_of(weights, folder)
    network = done / "network.xml"
    if network.is_file():
        return network
    try:
        make_ready(folder, "engine cache", _REMEDY, CacheError)
        with (folder / f"{done.name}.lock").open("w") as lock:
            _wait_for_lock(lock.fileno(), done.name)
            if not network.is_file():
                log.info("exporting %s for OpenVINO, once", weights.name)
                _export(weights, done)
    except OSError as error:
        rule = f"expected to write into {folder}"
        raise CacheError.at("engine cache", rule, str(error), _REMEDY) from error
    return network


def _folder_of(weights: Path, folder: Path) -> Path:
    return folder / f"{weights.stem}-{sha256_of(weights)[:20]}-e{EXPORT_VERSION}"


def _convert_into(folder: Path, weights: Path) -> Path:
    done = _folder_of(weights, folder)
    _export(weights, done)
    return done / "network.xml"


def _wait_for_lock(descriptor: int, name: str) -> None:
    deadline_s = time.monotonic() + EXPORT_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise EngineError.at(
                    f"engine cache {name}",
                    f"another process has been exporting it for {EXPORT_TIMEOUT_S:.0f} s",
                    remedy="end that process and start again",
                ) from None
            time.sleep(0.1)


def _export(weights: Path, done: Path) -> None:
    for stale in done.parent.glob(f".{done.name}.*"):  # of a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{done.name}.", dir=done.parent))
    command = [sys.executable, "-m", "pipeline.engines.torch_export", str(weights), str(work)]
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=EXPORT_TIMEOUT_S, env=environment
        )
        said = result.stderr.strip().splitlines()
        if result.returncode == WeightsError.exit_code and said:
            raise WeightsError(said[-1])
        if result.returncode != 0 and shutil.disk_usage(work).free < weights.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(done.parent))
        if result.returncode != 0:
            raise EngineError.at(
                f"weights {weights}",
                "expected to convert them for OpenVINO",
                said[-1] if said else f"exit code {result.returncode}",
            )
        shutil.rmtree(done, ignore_errors=True)
        work.replace(done)
    except subprocess.TimeoutExpired as error:
        raise EngineError.at(
            f"weights {weights}", f"converting them took more than {EXPORT_TIMEOUT_S:.0f} s"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
