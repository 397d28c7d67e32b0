"""A YAML file as it is written: every value keeps its text, every key its line.

YAML 1.1 makes `no` a boolean, `12:30` a number and `2024-01-01` a date, and a camera, a folder or
an item may be called so. Here plain values stay text: the options make numbers and booleans of it
where they want them. Only null (`~`, or nothing) is null.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import ConfigError
from streamer.redaction import redact

KeyPath = tuple[str, ...]
Origins = dict[KeyPath, str]  # where each key was written: "line 12"

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_MOST_VALUES = 20_000  # aliases of aliases make a small file large
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> tuple[dict[str, Any], Origins]:
    """Return a YAML file's content (keys and plain values as text) and the line of each key.

    Raises ConfigError for what is no YAML, for a key given twice, and for content that is not keys
    and values.
    """
    where = f"config '{path}'"
    try:
        node = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise ConfigError.at(where, "no such file", remedy="check --config") from None
    except UnicodeDecodeError:
        raise ConfigError.at(where, "must be UTF-8 text", remedy="save it as UTF-8") from None
    except OSError as error:
        raise ConfigError.at(where, f"cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        problem = getattr(error, "problem", None) or "no valid YAML"
        raise ConfigError.at(f"{where}{line}", f"not YAML: {problem}") from None
    if node is None:
        return {}, {}
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        raise ConfigError.at(where, "expected keys and values", kind)
    reading = _Reading(where)
    content = reading.mapping(node, ())
    if reading.repeated:
        raise joined(str(path), reading.repeated)
    return content, reading.origins


def joined(where: str, lines: list[str]) -> ConfigError:
    """Return one ConfigError for all mistakes of a file."""
    lines = [redact(line) for line in lines]
    if len(lines) == 1:
        return ConfigError(f"{where}: {lines[0]}")
    return ConfigError(f"{where}: {len(lines)} mistakes\n  " + "\n  ".join(lines))


class _Reading:
    """Turns nodes into values and notes where each key stands."""

    def __init__(self, where: str) -> None:
        self.origins: Origins = {}
        self.repeated: list[str] = []
        self._where = where
        self._n_values = 0

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        """Return a mapping with text keys; what `<<` merges in gives way to its own keys."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                for each in self._merged(value, line):
                    merged = self.mapping(each, path) | merged
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError.at(f"{self._where} (line {line})", "a key must be a plain value")
            keys = (*path, key.value)
            if key.value in own:
                before = self.origins[keys]
                self.repeated.append(f"{'.'.join(keys)} (line {line}): given before ({before})")
            self.origins[keys] = f"line {line}"
            own[key.value] = self._value(value, keys)
        return merged | own

    def _merged(self, node: yaml.Node, line: int) -> Iterator[yaml.MappingNode]:
        for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(each, yaml.MappingNode):
                raise ConfigError.at(f"{self._where} (line {line})", "<< takes keys and values")
            yield each

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._n_values += 1
        if self._n_values > _MOST_VALUES:
            raise ConfigError.at(self._where, f"at most {_MOST_VALUES} values", "more, by aliases")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(each, path) for each in node.value]
        is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return None if is_plain and node.value in _NULL else node.value
