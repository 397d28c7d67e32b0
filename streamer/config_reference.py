"""Writes the reference configuration: every key, its default, what it means and may be."""

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from streamer.config import AppConfig, CameraOptions
from streamer.sinks.options import MqttOptions, WebhookOptions

EXAMPLE_CAMERA, EXAMPLE_URL = "door", "test:"
_NOT_BY_DEFAULT: dict[str, tuple[str, BaseModel]] = {  # what a named part may hold, as a comment
    "mqtt": ("home", MqttOptions(host="127.0.0.1")),
    "webhook": ("shop", WebhookOptions(url=SecretStr("https://127.0.0.1/magpie"))),
}

_HEAD = """\
# Every key that Magpie knows, with its default. Written by `magpie config reference`; a test holds
# it equal to the program. Take what you need: a file with `catalog` and `cameras` is enough.
#   magpie config check FILE       magpie run --config FILE
# Relative paths count from the file's own folder. The command line wins over the file.
"""


def render_reference() -> str:
    """Return the text of configs/reference.yaml: valid, and equal to the defaults."""
    return _HEAD + "\n" + "\n".join(_lines(AppConfig(), 0)) + "\n"


def _lines(options: BaseModel, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(options).model_fields.items():
        value = getattr(options, name)
        if depth == 0 and name == "cameras":
            yield from ("", f"{indent}cameras:  # {field.description}")
            yield f"{indent}  {EXAMPLE_CAMERA}:  # an example; give your own name and url"
            yield from _lines(CameraOptions(url=EXAMPLE_URL), depth + 2)
        elif isinstance(value, dict):
            example, inner = _NOT_BY_DEFAULT[name]
            yield f"{indent}{name}: {{}}  # {field.description}; of one, with an example's name:"
            yield f"{indent}#   {example}:"
            yield from (f"{indent}#   {line}" for line in _lines(inner, 1))
        elif isinstance(value, BaseModel):
            doc = (type(value).__doc__ or "").strip().splitlines()[0]
            yield from ("", f"{indent}{name}:  # {doc}")
            yield from _lines(value, depth + 1)
        else:
            comment = "; ".join(part for part in (_rule(field), field.description) if part)
            yield f"{indent}{name}: {_scalar(value)}" + (f"  # {comment}" if comment else "")


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, SecretStr):
        return json.dumps(value.get_secret_value())
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, str) and value.isidentifier():
        return value
    if isinstance(value, float) and value.is_integer():
        return f"{value:.1f}"
    return json.dumps(value)


def _rule(field: FieldInfo) -> str:
    """Return what values a field takes, in a few signs: choices or bounds."""
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Literal:
        return " | ".join(str(choice) for choice in get_args(annotation))
    low, high = "", ""
    for bound in field.metadata:
        if isinstance(bound, Ge):
            low = f">= {bound.ge}"
        elif isinstance(bound, Gt):
            low = f"> {bound.gt}"
        elif isinstance(bound, Le):
            high = f"<= {bound.le}"
        elif isinstance(bound, Lt):
            high = f"< {bound.lt}"
    return ", ".join(part for part in (low, high) if part)
