"""What a report of trouble needs, without secrets: configuration, status, figures, log, machine.

Whatever stands in it was redacted value by value, after the configuration's secrets were read so
that they are known in any form. No command line of a process, no picture, no host's name.
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from pipeline.errors import ConfigError, MagpieError
from pipeline.printable import json_text, printable_lines
from pipeline.writable import writing
from streamer.config import AppConfig
from streamer.config_file import read_config
from streamer.redaction import redact, remember_texts
from streamer.run_dir import shared_memory
from streamer.secret_text import is_named
from streamer.sinks.options import find_sink_mistakes
from streamer.version import version
from streamer.yaml_file import read_yaml

UNIT = "magpie.service"
LOG_LINES = 2000
_LOG_MAX_BYTES = 4 * 2**20
_LINE_MAX = 4000
_ASK_S = 5.0
_VARIABLES = re.compile(r"(MAGPIE|XDG|OMP|CUDA|NVIDIA|OV|OPENVINO|LD_BIND)_?\w*")
_BEHIND_HOST = re.compile(r"(?<!/)(?<!:)[/?#](?!/).*", re.DOTALL)


def read_known_secrets(path: Path | None) -> tuple[AppConfig | None, dict[str, Any], str]:
    """Return a configuration, its values as they may be shown, and what is wrong with it.

    All its secrets are hidden in what this process writes from now on, those of the environment
    and of files as well.
    """
    if path is None:
        return None, {}, "no configuration was named: --config FILE"
    raw: dict[str, Any] = {}
    try:
        raw = read_yaml(path)[0]
        config = read_config(path)
    except MagpieError as error:
        return None, _shown(raw), str(error)
    mistakes = [f"{'.'.join(keys)}: {error}" for keys, error in find_sink_mistakes(config.sinks)]
    return config, _shown(raw), "\n".join(mistakes)


def remember_kept(journal: Path) -> None:
    """Hide the secrets of cameras that were added while a daemon ran: they lie beside its journal.

    What cannot be read is passed over.
    """
    for path in journal.parent.glob(f"{glob.escape(journal.name)}.*.json"):
        with contextlib.suppress(OSError, ValueError):
            if path.stat().st_size <= _LOG_MAX_BYTES:
                remember_texts(json.loads(path.read_bytes()))


def _shown(value: Any, keys: tuple[str, ...] = ()) -> Any:
    """Return a configuration's values without secrets; names of secrets (`${X}`, `file:`) stay."""
    if isinstance(value, dict):
        return {redact(str(key)): _shown(each, (*keys, str(key))) for key, each in value.items()}
    if isinstance(value, list):
        return [_shown(each, keys) for each in value]
    if not isinstance(value, str) or is_named(value):
        return value
    if keys and redact(f"{keys[-1]}=x0") != f"{keys[-1]}=x0":
        return "***"
    if keys[:2] == ("sinks", "webhook") and keys[-1] == "url":
        return _BEHIND_HOST.sub("/***", redact(value))
    return redact(value)


def clean(value: Any) -> Any:
    """Return JSON values with every text in them redacted, keys too."""
    if isinstance(value, Mapping):
        return {redact(str(key)): clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    return redact(value) if isinstance(value, str) else value


def versions() -> dict[str, str]:
    """Return the versions of Magpie, Python and every package that Magpie names."""
    found = {"magpie": version(), "python": platform.python_version()}
    try:
        required = metadata.requires("magpie") or []
    except metadata.PackageNotFoundError:
        required = []
    for text in required:
        name = re.split(r"[^A-Za-z0-9_.-]", text, maxsplit=1)[0]
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform, or an extra
    return found


def machine(config: AppConfig | None) -> dict[str, Any]:
    """Return what the machine is and how full it is."""
    memory, shm = psutil.virtual_memory(), shared_memory()
    folders = {"shared memory": shm, "here": Path.cwd()}
    if config is not None and config.publish.journal is not None:
        folders["journal"] = config.publish.journal.parent
    variables = {name: value for name, value in os.environ.items() if _VARIABLES.fullmatch(name)}
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "up_s": round(time.time() - psutil.boot_time()),
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)) if sys.platform == "linux" else None,
        "load": psutil.getloadavg(),
        "memory_bytes": memory.total,
        "memory_free_bytes": memory.available,
        "memory_limit": _first_line(Path("/sys/fs/cgroup/memory.max")),
        "is_container": any(Path(p).exists() for p in ("/.dockerenv", "/run/.containerenv")),
        "folders": {what: _room(folder) for what, folder in folders.items() if folder.is_dir()},
        "gpus": _output(
            "nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.used",
            "--format=csv,noheader",
        ),
        "variables": {
            name: "***" if redact(f"{name}=x0") != f"{name}=x0" else value
            for name, value in variables.items()
        },
    }  # fmt: skip


def processes() -> list[dict[str, Any]]:
    """Return each daemon of this machine that keeps its frames here, and its workers."""
    found = []
    for folder in sorted(shared_memory().glob("magpie-*-*")):
        try:
            daemon = psutil.Process(int(folder.name.split("-")[1]))
            family = [daemon, *daemon.children(recursive=True)]
        except (psutil.Error, ValueError):
            continue
        for process in family:
            try:
                with process.oneshot():
                    found.append(
                        {
                            "daemon": daemon.pid,
                            "pid": process.pid,
                            "name": process.name(),
                            "state": process.status(),
                            "memory_bytes": process.memory_info().rss,
                            "threads": process.num_threads(),
                            "cpu_s": round(sum(process.cpu_times()[:2]), 1),
                            "age_s": round(time.time() - process.create_time()),
                        }
                    )
            except psutil.Error:
                continue
    return found


def journal_facts(journal: Path) -> dict[str, Any]:
    """Return how large a journal is, its numbers, and where each sink stands in it.

    Raises OSError or sqlite3.Error when it cannot be read.
    """
    with contextlib.closing(
        sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True, timeout=1.0)
    ) as db:
        count, first, last = db.execute(
            "SELECT count(*), min(seq), max(seq) FROM events"
        ).fetchone()
    beside = sorted(journal.parent.glob(f"{glob.escape(journal.name)}*"))
    return {
        "events": count,
        "first_seq": first,
        "last_seq": last,
        "files": {path.name: path.stat().st_size for path in beside},
        "positions": {
            path.name: _first_line(path)
            for path in beside
            if ".sink-" in path.name and not path.name.endswith(".items.json")
        },
    }


def log_lines(file: Path | None) -> str:
    """Return the last lines of a log file, or of the service's log where the system keeps one.

    Raises ConfigError for a file that cannot be read.
    """
    if file is not None:
        try:
            with file.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_MAX_BYTES))
                text = log.read(_LOG_MAX_BYTES).decode(errors="replace")
        except OSError as error:
            raise ConfigError.at("--log", f"cannot be read ({error.strerror})", str(file)) from None
    elif Path("/run/systemd/system").is_dir():
        text = _output("journalctl", "--unit", UNIT, "--lines", str(LOG_LINES), "--no-pager",
                       "--output", "cat")  # fmt: skip
    else:
        return "no log was named: --log FILE\n"
    lines = text.splitlines()[-LOG_LINES:]
    return "".join(f"{redact(line)[:_LINE_MAX]}\n" for line in lines)


def pack(path: Path, parts: Mapping[str, Callable[[], Any]]) -> list[str]:
    """Write a .tar.gz (0600) of the parts and return their names.

    parts: file name, and what gives its content: text, or values for JSON. One that fails is told
    in its place. Raises ConfigError when the file is there already, WorkerError on a full disk.
    """
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError.at("--out", "is there already", str(path), "name another") from None
    except OSError as error:
        rule = f"cannot be written ({error.strerror})"
        raise ConfigError.at("--out", rule, str(path), "name another") from None
    folder = path.name.removesuffix(".tar.gz")
    with (
        writing(path, "--out", "free some space"),
        os.fdopen(number, "wb") as file,
        tarfile.open(fileobj=file, mode="w:gz") as archive,
    ):
        for name, content_of in parts.items():
            content = _content(content_of)
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(content))
    return list(parts)


def _content(content_of: Callable[[], Any]) -> bytes:
    try:
        content = content_of()
    except (MagpieError, OSError, sqlite3.Error, psutil.Error) as error:
        content = {"error": redact(f"{type(error).__name__}: {error}")}
    if isinstance(content, str):
        text = printable_lines(content)
    else:
        text = json_text(clean(content), indent=2) + "\n"
    return text.encode(errors="replace")


def _output(*command: str) -> str:
    """Return what a command prints; "" when it is not there, fails or takes too long."""
    where = shutil.which(command[0])
    if where is None:
        return ""
    try:
        done = subprocess.run(
            [where, *command[1:]], capture_output=True, timeout=_ASK_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip()


def _first_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:_LINE_MAX].partition("\n")[0]
    except OSError:
        return ""


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return platform.processor()
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _room(folder: Path) -> dict[str, int]:
    usage = shutil.disk_usage(folder)
    return {"bytes": usage.total, "free_bytes": usage.free}
