"""Writes the JSON Schemas of the wire: `python -m streamer.publishing.schemas docs/schemas`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from streamer.publishing.events import HeartbeatEvent, MatchEvent, StatusEvent

MODEL_BY_NAME: dict[str, type[BaseModel]] = {
    "match": MatchEvent,
    "status": StatusEvent,
    "heartbeat": HeartbeatEvent,
}


def schema_text(name: str) -> str:
    """Return the JSON Schema (2020-12) of match, status or heartbeat, as it stands in docs/."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **MODEL_BY_NAME[name].model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2) + "\n"


def write_schemas(directory: Path) -> list[Path]:
    """Write all schemas and return their files."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in MODEL_BY_NAME:
        path = directory / f"{name}.schema.json"
        path.write_text(schema_text(name), encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_schemas(Path(sys.argv[1])):
        print(written)
