"""docs/openapi.json is what the server says of itself, and whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamer.web.application import API, build_application, openapi_of
from streamer.web.schemas import openapi_text

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "openapi.json"


def test_the_document_in_docs_is_the_servers() -> None:
    told = "run: python -m streamer.web.schemas docs/openapi.json"
    assert DOCUMENT.read_text(encoding="utf-8") == openapi_text(), told


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_every_reference_leads_somewhere_and_every_refusal_is_a_problem() -> None:
    document = openapi_of(build_application())
    schemas = document["components"]["schemas"]
    missing = {name.rpartition("/")[2] for name in references(document)} - set(schemas)
    assert not missing
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            refusals = {int(s) for s in operation["responses"] if int(s) >= 400}
            if path.startswith(API):
                assert {401, 403} <= refusals, f"{method} {path}"
            for status in refusals - {503}:
                content = operation["responses"][str(status)]["content"]
                assert list(content) == ["application/problem+json"], f"{method} {path} {status}"
    assert "Geheim" not in json.dumps(document)
