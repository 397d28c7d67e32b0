"""The catalogs that can be asked about, by name, and what of them is told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from catalog_tools.changes import delete_catalog
from catalog_tools.draft import create_draft, read_draft
from catalog_tools.etag import catalog_etag, changing
from catalog_tools.listing import (
    list_catalog_generations,
    list_catalog_items,
    list_item_pictures,
    read_stored_picture,
    roll_back,
)
from pipeline.catalog_format import catalog_error, current_generation, read_manifest
from pipeline.errors import CatalogError, CatalogExistsError, NotInCatalogError
from streamer.query.refusals import refused
from streamer.query.requests import (
    CATALOG_PATTERN,
    CreateCatalog,
    DeleteCatalog,
    ListItems,
    RollBack,
)
from streamer.query.results import (
    CatalogList,
    CatalogView,
    GenerationList,
    GenerationView,
    ItemList,
    ItemSummary,
    ItemView,
    PictureView,
)


class Catalogs:
    """Those of the folder, a sub-folder each, and those that the configuration names elsewhere."""

    def __init__(self, folder: Path, configured: Mapping[str, Path]) -> None:
        self.folder = folder
        self._configured = dict(configured)

    def path(self, name: str) -> Path:
        """Return where a catalog lies; NotInCatalogError when there is none of that name."""
        path = self._configured.get(name, self.folder / name)
        if not path.is_dir():
            remedy = "see the names: GET /api/v1/catalogs"
            raise NotInCatalogError.at(f"catalog {name!r}", "no such catalog", remedy=remedy)
        return path

    def check(self, name: str, if_match: str | None) -> None:
        """Raise what would refuse a change of a catalog now: changed, or written by another."""
        with changing(self.path(name), if_match):
            pass

    def all(self) -> CatalogList:
        """Return all of them, in order of their names."""
        found = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        names = {name for name in found if re.fullmatch(CATALOG_PATTERN, name)}
        names |= set(self._configured)
        return CatalogList(catalogs=tuple(self._view_or_problem(name) for name in sorted(names)))

    def view(self, name: str) -> CatalogView:
        """Return what is told of one; CatalogError when it can't be read."""
        directory = self.path(name)
        draft = read_draft(directory)
        view = CatalogView(
            name=name,
            directory=str(directory),
            is_configured=name in self._configured,
            etag=catalog_etag(directory),
        )
        if draft is not None:
            told = {"is_draft": True, "turns": draft.turns, "trim": draft.trim}
            return view.model_copy(update={**told, "created": draft.created})
        generation = current_generation(directory)
        manifest = read_manifest(directory, generation)
        return view.model_copy(
            update={
                "generation": generation,
                "created": manifest.created,
                "n_items": manifest.n_items,
                "n_pictures": manifest.n_pictures,
                "embedder": manifest.recipe.embedder,
                "turns": len(manifest.recipe.turns_deg) > 1,
                "trim": manifest.recipe.trim,
            }
        )

    def create(self, asked: CreateCatalog) -> CatalogView:
        """Make a draft; CatalogExistsError when the name is taken."""
        if asked.catalog in self._configured:
            remedy = "choose another name"
            raise CatalogExistsError.at(
                f"catalog {asked.catalog!r}", "exists already", remedy=remedy
            )
        create_draft(self.folder / asked.catalog, turns=asked.turns, trim=asked.trim)
        return self.view(asked.catalog)

    def delete(self, asked: DeleteCatalog) -> CatalogView:
        """Remove one that was made here; return it as it was."""
        directory = self.path(asked.catalog)
        if asked.catalog in self._configured:
            rule = "the configuration names it"
            remedy = "take it out of the configuration, then delete its folder"
            raise refused("conflict", f"catalog {asked.catalog!r}", rule, None, remedy)
        view = self._view_or_problem(asked.catalog)
        delete_catalog(directory, if_match=asked.if_match)
        return view

    def roll_back(self, asked: RollBack) -> CatalogView:
        """Put an earlier generation in use."""
        roll_back(self.path(asked.catalog), asked.to, if_match=asked.if_match)
        return self.view(asked.catalog)

    def items(self, asked: ListItems) -> ItemList:
        """Return a page of the items, in order of their ids."""
        directory = self.path(asked.catalog)
        etag, q = catalog_etag(directory), asked.q.casefold()
        all_items = [] if read_draft(directory) is not None else list_catalog_items(directory)
        found = sorted(
            (str(item["item_id"]), str(item["label"]), int(item["pictures"]))
            for item in all_items
            if q in str(item["item_id"]).casefold() or q in str(item["label"]).casefold()
        )
        rest = found[asked.offset :]
        return ItemList(
            etag=etag,
            items=tuple(
                ItemSummary(item_id=item_id, label=label, n_pictures=n)
                for item_id, label, n in rest[: asked.limit]
            ),
            n_total=len(found),
            is_more=len(rest) > asked.limit,
        )

    def item(self, catalog: str, item_id: str) -> ItemView:
        """Return an item with its pictures; NotInCatalogError when it is not there."""
        directory = self.path(catalog)
        etag = catalog_etag(directory)
        if read_draft(directory) is not None:
            raise catalog_error(directory, f"must hold item {item_id!r}", kind=NotInCatalogError)
        labels = {item["item_id"]: item["label"] for item in list_catalog_items(directory)}
        pictures = tuple(
            PictureView.model_validate(each) for each in list_item_pictures(directory, item_id)
        )
        label = str(labels.get(item_id, item_id))
        return ItemView(etag=etag, item_id=item_id, label=label, pictures=pictures)

    def picture(self, catalog: str, sha256: str) -> bytes:
        """Return a picture's JPEG; NotInCatalogError when it is not there."""
        return read_stored_picture(self.path(catalog), sha256)

    def generations(self, catalog: str) -> GenerationList:
        """Return what can be rolled back to, the oldest first; none of a draft."""
        directory = self.path(catalog)
        if read_draft(directory) is not None:
            return GenerationList(generations=())
        views = [
            GenerationView(n_items=one.pop("items"), n_pictures=one.pop("pictures"), **one)
            for one in list_catalog_generations(directory)
        ]
        return GenerationList(generations=tuple(views))

    def _view_or_problem(self, name: str) -> CatalogView:
        try:
            return self.view(name)
        except CatalogError as error:
            return CatalogView(
                name=name,
                directory=str(self._configured.get(name, self.folder / name)),
                is_configured=name in self._configured,
                problem=str(error),
            )
