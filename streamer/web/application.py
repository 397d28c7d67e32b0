"""Puts the routes together into one application."""

from __future__ import annotations

import sqlite3
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from streamer.reporting import Log
from streamer.web import (
    camera_routes,
    catalog_routes,
    event_routes,
    health_routes,
    item_routes,
    jobs_routes,
    key_routes,
    search_routes,
    session_routes,
    sighting_routes,
)
from streamer.web.access import Anyone
from streamer.web.context import WebContext, context_of
from streamer.web.gate import Gate
from streamer.web.options import WebOptions
from streamer.web.problems import Problem, Refusal, add_problems, problem_responses

API = "/api/v1"
# FastAPI can send traces where the environment says; nothing is sent that no user named.
_NO_TELEMETRY: Any = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

_document_router = APIRouter()
ROUTERS: tuple[tuple[str, APIRouter], ...] = (  # all of them: a test asks each route for its rule
    (API, camera_routes.router),
    (API, catalog_routes.router),
    (API, item_routes.router),
    (API, search_routes.router),
    (API, jobs_routes.router),
    (API, event_routes.router),
    (API, sighting_routes.router),
    (API, session_routes.router),
    (API, key_routes.router),
    ("", health_routes.router),
    ("", _document_router),
)

log = Log("web")


def build_application() -> FastAPI:
    """Return the application with all routes, without a context yet."""
    app = FastAPI(
        title="Magpie",
        version=version("magpie"),
        summary="Watches live video and tells when an item of your catalog is in view.",
        openapi_url=None,
        docs_url=None,  # they fetch their scripts from elsewhere
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
        generate_unique_id_function=lambda route: route.name,
    )
    for prefix, router in ROUTERS:
        app.include_router(router, prefix=prefix)
    add_problems(app)
    app.add_exception_handler(sqlite3.Error, _on_journal_error)
    return app


def with_gate(app: FastAPI, context: WebContext) -> ASGIApp:
    """Return what the server calls: the application behind its gate, for this context."""
    app.state.context = context
    return gated(app, context.options)


def gated(app: ASGIApp, options: WebOptions) -> ASGIApp:
    """Return an application behind the gate; pages of listed origins may use it."""
    if options.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=options.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "Last-Event-ID"],
        )
    return Gate(app, options)


def routes_of() -> list[tuple[str, APIRoute]]:
    """Return every route with its whole path."""
    found: list[tuple[str, APIRoute]] = []
    for prefix, router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute), f"a route that no rule can be found of: {route}"
            found.append((f"{prefix}{route.path}", route))
    return found


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes
        )
        _tell_problems(document)
        schemas = document["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        document["servers"] = [{"url": "."}]  # wherever it was fetched from
        document["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": "magpie_session"},
        }
        document["security"] = [{}, {"key": []}, {"session": []}]
        app.openapi_schema = document
    return app.openapi_schema


def _tell_problems(document: dict[str, Any]) -> None:
    """Let every 422 be a problem, where a route has not said so."""
    for methods in document["paths"].values():
        for operation in methods.values():
            if "422" in operation["responses"]:
                operation["responses"]["422"] = problem_responses(422)[422]


@_document_router.get("/openapi.json", dependencies=[Anyone], include_in_schema=False)
async def read_document(request: Request) -> JSONResponse:
    """Return the OpenAPI document."""
    return JSONResponse(openapi_of(request.app))


async def _on_journal_error(request: Request, error: Exception) -> JSONResponse:
    log.error("the journal cannot be read", cause=error)
    headers = {"Retry-After": "1"}
    rule = "cannot be read now"
    remedy = "the daemon's log tells more"
    path = str(context_of(request).journal_path.name)
    return Refusal(503, "journal", rule, path, remedy, headers).response()
