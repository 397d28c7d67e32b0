"""Items of catalogs and their pictures over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathPart
from pydantic import BaseModel, ConfigDict, Field

from streamer.query.requests import (
    SHA256_PATTERN,
    AddPictures,
    JobView,
    LabelItem,
    ListItems,
    ReadPicture,
    RemoveItem,
    RemovePicture,
    ShowItem,
)
from streamer.query.results import CatalogView, ItemList, ItemSummary, ItemView
from streamer.web.access import Reader, Writer
from streamer.web.catalog_routes import LATER, READ, WRITE, CatalogName, IfMatch
from streamer.web.context import WebContext, context_of
from streamer.web.pages import Cursor, Limit, cursor_of, value_of
from streamer.web.problems import problem_responses
from streamer.web.query_desk import answer_of, job_of, picture_of, started
from streamer.web.uploads import body_of, sent_in

router = APIRouter(prefix="/catalogs/{catalog}", tags=["catalogs"])

Context = Annotated[WebContext, Depends(context_of)]
ItemName = Annotated[str, PathPart(min_length=1, max_length=200)]
Sha256 = Annotated[str, PathPart(pattern=SHA256_PATTERN)]


class ItemPage(BaseModel):
    """Items by id. etag: of the catalog that they are of."""

    items: list[ItemSummary]
    n_total: int
    etag: str
    next_cursor: str | None


class ItemFields(BaseModel):
    """What of an item can be changed."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(max_length=500, description="empty: its id")


class PictureFields(BaseModel):
    """What may come beside pictures."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field("", max_length=500, description="of the item; empty: as it is")


@router.get("/items", response_model=ItemPage, responses=READ)
async def list_items(
    catalog: CatalogName,
    context: Context,
    caller: Reader,
    response: Response,
    q: Annotated[str, Query(max_length=200, description="in the id or the label")] = "",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> ItemPage:
    """Return the items of a catalog, by id."""
    first = value_of(cursor, "item") or 0
    asked = ListItems(catalog=catalog, q=q, offset=first, limit=limit)
    found = await answer_of(context, asked, ItemList)
    response.headers["ETag"] = found.etag
    rest = first + limit if found.is_more else None
    return ItemPage(
        items=list(found.items),
        n_total=found.n_total,
        etag=found.etag,
        next_cursor=cursor_of("item", rest),
    )


@router.get("/items/{item_id}", response_model=ItemView, responses=READ)
async def read_item(
    catalog: CatalogName, item_id: ItemName, context: Context, caller: Reader, response: Response
) -> ItemView:
    """Return an item with its pictures."""
    found = await answer_of(context, ShowItem(catalog=catalog, item_id=item_id), ItemView)
    response.headers["ETag"] = found.etag
    return found


@router.patch("/items/{item_id}", response_model=CatalogView, responses={**LATER, **WRITE})
async def label_item(
    catalog: CatalogName,
    item_id: ItemName,
    fields: ItemFields,
    context: Context,
    caller: Writer,
    if_match: IfMatch = None,
) -> Response:
    """Give an item another label."""
    asked = LabelItem(catalog=catalog, item_id=item_id, label=fields.label, if_match=if_match)
    return await job_of(context, asked)


@router.delete("/items/{item_id}", response_model=CatalogView, responses={**LATER, **WRITE})
async def remove_item(
    catalog: CatalogName,
    item_id: ItemName,
    context: Context,
    caller: Writer,
    if_match: IfMatch = None,
) -> Response:
    """Remove an item with its pictures; a catalog keeps at least one."""
    return await job_of(context, RemoveItem(catalog=catalog, item_id=item_id, if_match=if_match))


@router.post(
    "/items/{item_id}/pictures",
    status_code=202,
    response_model=JobView,
    responses={**WRITE, **problem_responses(400, 413, 415)},
    openapi_extra=body_of("Pictures", **PictureFields.model_json_schema()["properties"]),
)
async def add_pictures(
    catalog: CatalogName,
    item_id: ItemName,
    request: Request,
    context: Context,
    caller: Writer,
    if_match: IfMatch = None,
) -> Response:
    """Add pictures to an item, known or new: files of a form, or addresses.

    The job's result names each picture that could not be taken, and why.
    """
    async with sent_in(request) as sent:
        sent.require_pictures()
        fields = sent.as_model(PictureFields)
        asked = AddPictures(
            catalog=catalog,
            item_id=item_id,
            label=fields.label,
            pictures=sent.pictures,
            if_match=if_match,
        )
        return await started(context, asked, sent.frames)


@router.delete(
    "/items/{item_id}/pictures/{sha256}",
    response_model=CatalogView,
    responses={**LATER, **WRITE},
)
async def remove_picture(
    catalog: CatalogName,
    item_id: ItemName,
    sha256: Sha256,
    context: Context,
    caller: Writer,
    if_match: IfMatch = None,
) -> Response:
    """Remove one picture of an item; its last one goes with the item only."""
    asked = RemovePicture(catalog=catalog, item_id=item_id, sha256=sha256, if_match=if_match)
    return await job_of(context, asked)


@router.get(
    "/pictures/{sha256}",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        **READ,
    },
)
async def read_picture(
    catalog: CatalogName, sha256: Sha256, context: Context, caller: Reader
) -> Response:
    """Return a picture of the catalog as JPEG, at most 1,600 px."""
    data = await picture_of(context, ReadPicture(catalog=catalog, sha256=sha256))
    return Response(data, media_type="image/jpeg")
