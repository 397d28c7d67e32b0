"""From YAML and the command line to an AppConfig, with every mistake told at once, by its line."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigError
from pipeline.writable import expand_home
from streamer.config import AppConfig, CameraOptions, find_mistakes
from streamer.redaction import redact, remember_texts
from streamer.secret_text import anchored
from streamer.sources.base import source_kind
from streamer.yaml_file import KeyPath, Origins, joined, read_yaml

_PLAIN = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?|true|false", re.IGNORECASE)
_PATHS_TO_ANCHOR: tuple[KeyPath, ...] = (
    ("catalog",),
    ("evidence",),
    ("summary_json",),
    ("cameras", "*", "catalog"),
    ("publish", "journal"),
    ("query", "catalogs"),
    ("publish", "curve_keys"),
    ("web", "keys"),
    ("web", "tls_cert"),
    ("web", "tls_key"),
    ("sinks", "*", "*", "ca"),
    ("sinks", "mqtt", "*", "client_cert"),
    ("sinks", "mqtt", "*", "client_key"),
    ("matcher", "detect", "weights"),
    ("matcher", "embed", "weights"),
    ("matcher", "verify", "weights"),
    ("matcher", "verify", "keypoint_weights"),
)
_NAMED_TEXTS = ("user", "password", "url", "secret")  # of a sink: may be file:PATH
_REPLACED: dict[KeyPath, dict[str, str]] = {
    ("matcher", "verify", "verifier"): {"sift": "rootsift", "orb_ssim": "orb_ssim"},
    ("matcher", "verify", "keypoints"): {
        "aliked": "aliked+lightglue",
        "xfeat": "xfeat+lighterglue",
    },
}


def load_config(
    path: Path | None,
    overrides: Mapping[KeyPath, tuple[object, str]] | None = None,
    may_be_empty: bool = False,
) -> AppConfig:
    """Return the checked configuration of a file, with the command line's values laid over it.

    overrides: value and option by key path, as ("publish", "endpoint"): ("tcp://…", "--publish").
    Relative paths in a file count from that file. may_be_empty: cameras may come later. Raises
    ConfigError naming every mistake.
    """
    config, origins = _read(path, overrides or {})
    outside = [] if may_be_empty and not config.cameras else find_mistakes(config)
    if outside:
        lines = []
        for keys, mistake in outside:
            origin = _origin(keys, origins)
            is_plain = not origin.startswith("line")
            lines.append(str(mistake) if is_plain else f"{'.'.join(keys)} ({origin}): {mistake}")
        if len(outside) == 1:
            raise type(outside[0][1])(lines[0])
        raise joined(_where(path), lines)
    return config


def read_config(
    path: Path | None, overrides: Mapping[KeyPath, tuple[object, str]] | None = None
) -> AppConfig:
    """Return a configuration as load_config does, for a command that opens none of its cameras and
    catalogs: they are not looked for."""
    return _read(path, overrides or {})[0]


def read_camera(name: str, section: Mapping[str, Any], base: Path | None) -> CameraOptions:
    """Return the checked options of one camera that is no file's; nothing is opened or looked for.

    section: its keys and values. base: what relative paths count from; None: they stay as they are.
    Raises ConfigError naming every mistake.
    """
    raw = {"cameras": {name: dict(section)}}
    remember_texts(raw)
    if base is not None:
        _anchor(raw, base)
    try:
        return AppConfig.model_validate(raw).cameras[name]
    except ValidationError as error:
        lines = _schema_mistakes(error, {})
        if len(lines) == 1:
            raise ConfigError(redact(lines[0])) from None
        raise joined(f"camera {name}", lines) from None


def _read(
    path: Path | None, overrides: Mapping[KeyPath, tuple[object, str]]
) -> tuple[AppConfig, Origins]:
    raw: dict[str, Any] = {}
    origins: Origins = {}
    if path is not None:
        raw, origins = read_yaml(path)
        _anchor(raw, path.resolve().parent)
    for keys, (value, option) in overrides.items():
        _put(raw, keys, value)
        origins[keys] = option
    remember_texts(raw)
    try:
        return AppConfig.model_validate(raw), origins
    except ValidationError as error:
        raise joined(_where(path), _schema_mistakes(error, origins)) from None


def _where(path: Path | None) -> str:
    return str(path) if path is not None else "command line"


def _anchor(raw: dict[str, Any], base: Path) -> None:
    """Make the relative paths of a file count from the file's own folder."""
    for keys in _PATHS_TO_ANCHOR:
        for holder in _holders(raw, keys[:-1]):
            value = holder.get(keys[-1])
            if isinstance(value, str) and not _is_weights_name(keys, value, base):
                holder[keys[-1]] = str(base / expand_home(value, ".".join(keys)))
    for sink in _holders(raw, ("sinks", "*", "*")):
        for key in _NAMED_TEXTS:
            if isinstance(text := sink.get(key), str):
                sink[key] = anchored(text, base)
    for camera in _holders(raw, ("cameras", "*")):
        for key in ("url", "detect_url"):
            url = camera.get(key)
            if isinstance(url, str) and _is_path(url):
                camera[key] = str(base / os.path.expanduser(url))


def _is_weights_name(keys: KeyPath, value: str, base: Path) -> bool:
    """Say whether weights are named as `magpie weights list` shows them, not by a path."""
    is_bare = not Path(value).suffix and Path(value).name == value and not value.startswith("~")
    return keys[-1].endswith("weights") and is_bare and not (base / value).exists()


def _is_path(url: str) -> bool:
    try:
        return source_kind(url) in ("file", "folder")
    except ConfigError:
        return False  # told later, with its line


def _holders(raw: object, keys: KeyPath) -> list[dict[str, Any]]:
    """Return the mappings that lie at a key path; "*" stands for every key."""
    if not isinstance(raw, dict):
        return []
    if not keys:
        return [raw]
    inner = raw.values() if keys[0] == "*" else [raw.get(keys[0])]
    return [holder for value in inner for holder in _holders(value, keys[1:])]


def _put(raw: dict[str, Any], keys: KeyPath, value: object) -> None:
    for key in keys[:-1]:
        inner = raw.get(key)
        if not isinstance(inner, dict):
            inner = raw[key] = {}
        raw = inner
    raw[keys[-1]] = value


def _schema_mistakes(error: ValidationError, origins: Origins) -> list[str]:
    lines = []
    for mistake in error.errors():
        keys = tuple(str(part) for part in mistake["loc"] if part != "[key]")
        origin = _origin(keys, origins)
        where = f"{'.'.join(keys)} ({origin})" if origin else ".".join(keys)
        got = mistake["input"]
        shown = "" if isinstance(got, dict | list) else f", got {_as_written(got)}"
        message = mistake["msg"]
        if mistake["type"] == "extra_forbidden":
            message, shown = _replaced_key(keys, got) or _unknown_key(keys), ""
        elif mistake["type"] == "missing":
            message, shown = "is required", ""
        elif mistake["type"] == "value_error":
            message = str(mistake.get("ctx", {}).get("error", message))
            shown = ""
            if message.startswith(keys[0]):
                where = f"{origin}, {keys[0]}" if origin else keys[0]
                message = message.removeprefix(keys[0]).lstrip()
                lines.append(f"{where}{message}" if message[:1] == "." else f"{where} {message}")
                continue
        elif message.startswith("Input should "):
            message = "must " + message.removeprefix("Input should ")
        elif mistake["type"].startswith("path"):
            message = "must be a path"
        elif "pattern" in mistake["type"]:
            message = "a name is 1 to 64 letters, digits, _ and -"
        lines.append(f"{where}: {message}{shown}")
    return lines


def _as_written(value: object) -> str:
    """Return a value as it stands in the file: text in quotes, numbers and booleans plain."""
    is_plain = isinstance(value, str) and _PLAIN.fullmatch(value)
    return str(value) if is_plain else repr(value)


def _origin(keys: KeyPath, origins: Origins) -> str:
    """Return where a key was written, or the nearest key around it, or beside it, that was."""
    for size in range(len(keys), 0, -1):
        around = keys[:size]
        if around in origins:
            return origins[around]
        beside = (origin for known, origin in origins.items() if known[:size] == around)
        if origin := next(beside, ""):
            return origin
    return ""


def _replaced_key(keys: KeyPath, value: object) -> str:
    """Return what to write in place of a key that there was once; "" of any other."""
    if keys not in _REPLACED:
        return ""
    new = _REPLACED[keys].get(str(value), "rootsift+lightglue")
    return f"method names the whole way of matching now; write `method: {new}` in its place"


def _unknown_key(keys: KeyPath) -> str:
    known = list(_fields_at(AppConfig, keys[:-1]))
    near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.6)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    return f"unknown key; known here: {', '.join(known)}"


def _fields_at(model: type[BaseModel], keys: KeyPath) -> Mapping[str, object]:
    """Return the fields of the model that lies at a key path."""
    if not keys:
        return model.model_fields
    annotation = model.model_fields[keys[0]].annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _fields_at(annotation, keys[1:])
    inner = [part for part in get_args(annotation) if isinstance(part, type)]
    models = [part for part in inner if issubclass(part, BaseModel)]
    return _fields_at(models[0], keys[2:]) if models else {}
