"""Catalogs over HTTP: made, listed, rolled back, checked, rebuilt and deleted while cameras run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Response
from fastapi import Path as PathPart
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from streamer.control.asking import ask as ask_daemon
from streamer.control.requests import CameraList, ListCameras
from streamer.query.requests import (
    CATALOG_PATTERN,
    Check,
    CreateCatalog,
    DecideDuplicate,
    DeleteCatalog,
    FindDuplicates,
    JobView,
    ListCatalogs,
    ListGenerations,
    NamedPicture,
    Rebuild,
    RollBack,
    ShowCatalog,
)
from streamer.query.results import (
    CatalogList,
    CatalogView,
    DuplicateList,
    GenerationList,
    GenerationView,
)
from streamer.web.access import Reader, Writer
from streamer.web.context import WebContext, context_of
from streamer.web.pages import Cursor, Limit, cursor_of, value_of
from streamer.web.problems import Refusal, problem_responses
from streamer.web.query_desk import answer_of, job_of, started

router = APIRouter(prefix="/catalogs", tags=["catalogs"])

Context = Annotated[WebContext, Depends(context_of)]
CatalogName = Annotated[str, PathPart(pattern=CATALOG_PATTERN)]
IfMatch = Annotated[
    str | None, Header(max_length=1000, description="the ETag that was seen, else 412")
]
READ = problem_responses(401, 403, 404, 422, 503)
WRITE = problem_responses(401, 403, 404, 409, 412, 422, 503)
LATER: dict[int | str, dict[str, Any]] = {
    202: {"model": JobView, "description": "It goes on; ask for the job"}
}
_DAEMON_WITHIN_S = 10.0


class NewCatalog(BaseModel):
    """A catalog to make: a draft until its first picture."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=CATALOG_PATTERN)
    turns: bool = Field(False, description="each picture gives four views, by quarter turns")
    trim: bool = Field(True, description="plain margins round the item are cut off")


class CatalogPage(BaseModel):
    items: list[CatalogView]
    next_cursor: str | None


class GenerationPage(BaseModel):
    items: list[GenerationView]
    next_cursor: str | None


class Back(BaseModel):
    """to: a generation; none: the one before."""

    model_config = ConfigDict(extra="forbid")

    to: int | None = Field(None, ge=1, le=2**31)


class Decided(BaseModel):
    """What is decided of two pictures that may be one."""

    model_config = ConfigDict(extra="forbid")

    one: NamedPicture
    other: NamedPicture
    choice: Literal["keep", "merge", "remove"]


@router.get("", response_model=CatalogPage, responses=READ)
async def list_catalogs(
    context: Context, caller: Reader, limit: Limit = 100, cursor: Cursor = None
) -> CatalogPage:
    """Return all catalogs by name: those made here, and those that the configuration names."""
    found = (await answer_of(context, ListCatalogs(), CatalogList)).catalogs
    first = value_of(cursor, "catalog") or 0
    rest = first + limit if first + limit < len(found) else None
    page = list(found[first : first + limit])
    return CatalogPage(items=page, next_cursor=cursor_of("catalog", rest))


@router.post("", status_code=201, response_model=CatalogView, responses=WRITE)
async def create_catalog(
    new: NewCatalog, context: Context, caller: Writer, response: Response
) -> CatalogView:
    """Make a catalog; it is a draft until its first picture."""
    asked = CreateCatalog(catalog=new.name, turns=new.turns, trim=new.trim)
    return _with_etag(response, await answer_of(context, asked, CatalogView))


@router.get("/{catalog}", response_model=CatalogView, responses=READ)
async def read_catalog(
    catalog: CatalogName, context: Context, caller: Reader, response: Response
) -> CatalogView:
    """Return a catalog as it is now, with its ETag."""
    view = await answer_of(context, ShowCatalog(catalog=catalog), CatalogView)
    return _with_etag(response, view)


@router.delete("/{catalog}", response_model=CatalogView, responses=WRITE)
async def delete_catalog(
    catalog: CatalogName, context: Context, caller: Writer, if_match: IfMatch = None
) -> CatalogView:
    """Delete a catalog that no camera uses; returns it as it was."""
    view = await answer_of(context, ShowCatalog(catalog=catalog), CatalogView)
    listed = await run_in_threadpool(
        ask_daemon, context.run_dir, ListCameras(), CameraList, _DAEMON_WITHIN_S
    )
    for camera in listed.cameras:
        if camera.catalog is not None and Path(camera.catalog) == Path(view.directory):
            shown = camera.name if caller.may_see(camera.name) else "one that this key can't see"
            rule = "a camera uses it"
            raise Refusal(409, f"catalog {catalog!r}", rule, shown, "give it another, or remove it")
    asked = DeleteCatalog(catalog=catalog, if_match=if_match)
    return await answer_of(context, asked, CatalogView)


@router.get("/{catalog}/generations", response_model=GenerationPage, responses=READ)
async def list_generations(
    catalog: CatalogName, context: Context, caller: Reader
) -> GenerationPage:
    """Return what can be rolled back to, the oldest first: a few at most."""
    asked = ListGenerations(catalog=catalog)
    found = (await answer_of(context, asked, GenerationList)).generations
    return GenerationPage(items=list(found), next_cursor=None)


@router.post("/{catalog}/rollback", response_model=CatalogView, responses=WRITE)
async def roll_back(
    catalog: CatalogName,
    context: Context,
    caller: Writer,
    response: Response,
    back: Back | None = None,
    if_match: IfMatch = None,
) -> CatalogView:
    """Put an earlier generation in use; cameras follow within a second."""
    to = None if back is None else back.to
    asked = RollBack(catalog=catalog, to=to, if_match=if_match)
    return _with_etag(response, await answer_of(context, asked, CatalogView))


@router.post("/{catalog}/check", status_code=202, response_model=JobView, responses=WRITE)
async def check_catalog(catalog: CatalogName, context: Context, caller: Writer) -> Response:
    """Look a catalog over; the job's result names poor pictures and near-twins."""
    return await started(context, Check(catalog=catalog))


@router.post("/{catalog}/rebuild", status_code=202, response_model=JobView, responses=WRITE)
async def rebuild_catalog(
    catalog: CatalogName, context: Context, caller: Writer, if_match: IfMatch = None
) -> Response:
    """Describe all pictures by the weights that are configured now."""
    return await started(context, Rebuild(catalog=catalog, if_match=if_match))


@router.get("/{catalog}/duplicates", response_model=DuplicateList, responses={**LATER, **READ})
async def list_duplicates(catalog: CatalogName, context: Context, caller: Reader) -> Response:
    """Return pictures that may be one picture twice, of which nothing is decided yet."""
    return await job_of(context, FindDuplicates(catalog=catalog))


@router.put("/{catalog}/duplicates", response_model=CatalogView, responses={**LATER, **WRITE})
async def decide_duplicate(
    catalog: CatalogName,
    decided: Decided,
    context: Context,
    caller: Writer,
    if_match: IfMatch = None,
) -> Response:
    """Keep both, merge the second's item into the first's, or remove the second picture."""
    asked = DecideDuplicate(
        catalog=catalog,
        one=decided.one,
        other=decided.other,
        choice=decided.choice,
        if_match=if_match,
    )
    return await job_of(context, asked)


def _with_etag(response: Response, view: CatalogView) -> CatalogView:
    if view.etag is not None:
        response.headers["ETag"] = view.etag
    return view
