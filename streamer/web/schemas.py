"""Writes the OpenAPI document: `python -m streamer.web.schemas docs/openapi.json`."""

import json
import sys
from pathlib import Path

from streamer.web.application import build_application, openapi_of


def openapi_text() -> str:
    """Return the OpenAPI document as it stands in docs/."""
    return json.dumps(openapi_of(build_application()), indent=2) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(openapi_text(), encoding="utf-8")
