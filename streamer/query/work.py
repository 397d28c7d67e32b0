"""Does the jobs: the same functions as the command line's, with networks that stay loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

from catalog_tools.build import BuildReport
from catalog_tools.changes import (
    NewPicture,
    add_pictures,
    label_item,
    remove_from_catalog,
    remove_pictures,
)
from catalog_tools.check import check_catalog
from catalog_tools.duplicates import PictureName, decide_duplicate, find_duplicates
from catalog_tools.fetch import Fetcher
from catalog_tools.query import SentPicture, Wishes, query_pictures
from catalog_tools.reading import PictureError
from catalog_tools.rebuild import rebuild_catalog
from pipeline.catalog import Catalog
from pipeline.catalog_format import current_generation, generation_identity
from pipeline.types import ItemId
from streamer.query.catalogs import Catalogs
from streamer.query.jobs import Progress
from streamer.query.options import QueryOptions
from streamer.query.requests import (
    AddPictures,
    AddressPicture,
    Check,
    DecideDuplicate,
    FindDuplicates,
    JobRequest,
    LabelItem,
    NamedPicture,
    Picture,
    QueryModel,
    Rebuild,
    RemoveItem,
    RemovePicture,
    Search,
)
from streamer.query.results import (
    AddResult,
    CatalogView,
    CheckResult,
    DuplicateList,
    DuplicateView,
    FindingView,
    FoundInPicture,
    LeftOut,
    QualityView,
    SamePictures,
    SearchResult,
)
from streamer.query.tools import Tools
from streamer.redaction import redact

CATALOGS_KEPT = 3  # made ready to be searched


class Work:
    """Does one job at a time. load: loads the networks, when a job first needs them."""

    def __init__(
        self, catalogs: Catalogs, options: QueryOptions, load: Callable[[], Tools]
    ) -> None:
        self._catalogs = catalogs
        self._fetcher = Fetcher(options.fetch)
        self._load = load
        self._opened: dict[Path, Catalog] = {}  # the last one used is the last one

    @cached_property
    def _tools(self) -> Tools:
        return self._load()

    def do(self, request: JobRequest, frames: Sequence[bytes], progress: Progress) -> QueryModel:
        """Return a job's result; MagpieError when it is refused, and then nothing was changed."""
        directory = self._catalogs.path(request.catalog)
        match request:
            case Search():
                pictures = [self._sent(picture, frames) for picture in request.pictures]
                return self._search(request, directory, pictures, progress)
            case AddPictures():
                pictures = [self._sent(picture, frames) for picture in request.pictures]
                return self._add(request, directory, pictures, progress)
            case Rebuild():
                networks = self._tools.networks
                report = rebuild_catalog(
                    directory, networks, if_match=request.if_match, progress=progress
                )
                return self._added(request.catalog, report)
            case Check():
                return self._check(directory, progress)
            case FindDuplicates():
                pairs = find_duplicates(directory, progress)
                return DuplicateList(
                    pairs=tuple(DuplicateView.model_validate(asdict(pair)) for pair in pairs)
                )
            case _:
                return self._change(request, directory)

    def _change(
        self,
        request: RemoveItem | RemovePicture | LabelItem | DecideDuplicate,
        directory: Path,
    ) -> CatalogView:
        etag = request.if_match
        match request:
            case RemoveItem(item_id=item_id):
                remove_from_catalog(directory, [item_id], if_match=etag, n_threads=1)
            case RemovePicture(item_id=item_id, sha256=sha256):
                remove_pictures(directory, [(item_id, sha256)], if_match=etag, n_threads=1)
            case LabelItem(item_id=item_id, label=label):
                label_item(directory, item_id, label, if_match=etag, n_threads=1)
            case DecideDuplicate():
                one, other = _name(request.one), _name(request.other)
                decide_duplicate(directory, one, other, request.choice, if_match=etag, n_threads=1)
        return self._catalogs.view(request.catalog)

    def _search(
        self,
        request: Search,
        directory: Path,
        pictures: Sequence[SentPicture],
        progress: Progress,
    ) -> SearchResult:
        matcher = self._tools.matcher
        catalog = self._open(directory)
        wishes = Wishes(
            request.k, request.min_probability, request.one_per_item, request.tie_epsilon
        )
        found: list[FoundInPicture] = []
        progress(0, len(pictures))
        for answer in query_pictures(pictures, catalog, matcher, wishes):
            found.append(FoundInPicture.model_validate({**answer.to_json(), "image": answer.image}))
            progress(len(found), len(pictures))
        return SearchResult(
            catalog=request.catalog, generation=catalog.generation, pictures=tuple(found)
        )

    def _open(self, directory: Path) -> Catalog:
        """Return the generation in use, made ready before if it was in use then too."""
        identity = generation_identity(directory, current_generation(directory))
        catalog = self._opened.pop(directory, None)
        if catalog is None or catalog.identity != identity:
            matcher = self._tools.matcher
            catalog = Catalog.load(
                directory, matcher.embedder_sha256, extractor=matcher.stages.checker.extractor
            )
        self._opened[directory] = catalog
        shelves = self._tools.matcher.shelves
        while len(self._opened) > CATALOGS_KEPT:
            gone = next(iter(self._opened))
            self._opened.pop(gone)
            shelves.drop(gone, self._opened.values())
        shelves.keep(self._opened.values())  # of each the generation in use
        return catalog

    def _add(
        self,
        request: AddPictures,
        directory: Path,
        pictures: Sequence[SentPicture],
        progress: Progress,
    ) -> AddResult:
        item_id = ItemId(request.item_id)
        new = [NewPicture(item_id, each.name, each.read, request.label) for each in pictures]
        report = add_pictures(
            directory, new, self._tools.networks, if_match=request.if_match, progress=progress
        )
        return self._added(request.catalog, report)

    def _added(self, catalog: str, report: BuildReport) -> AddResult:
        return AddResult(
            catalog=self._catalogs.view(catalog),
            left_out=tuple(LeftOut(image=x.place, reason=x.reason) for x in report.left_out),
            same_pictures=tuple(
                SamePictures(
                    item_id=pair.item_id,
                    image=pair.image,
                    other_id=pair.other_id,
                    other_image=pair.other_image,
                )
                for pair in report.same_pictures
            ),
            n_from_small=report.n_from_small,
        )

    def _check(self, directory: Path, progress: Progress) -> CheckResult:
        report = check_catalog(directory, progress, self._tools.detect)
        return CheckResult(
            generation=report.generation,
            damaged=report.damaged,
            findings=tuple(FindingView.model_validate(asdict(each)) for each in report.findings),
            qualities=tuple(
                QualityView(item_id=each.item_id, image=each.image, score=each.score)
                for each in report.qualities
            ),
        )

    def _sent(self, picture: Picture, frames: Sequence[bytes]) -> SentPicture:
        if isinstance(picture, AddressPicture):
            return SentPicture(redact(picture.url), partial(self._fetcher.fetch, picture.url))
        return SentPicture(picture.name, partial(_frame, frames, picture.frame))


def _frame(frames: Sequence[bytes], number: int) -> bytes:
    if number >= len(frames):
        raise PictureError("was not sent")
    return frames[number]


def _name(picture: NamedPicture) -> PictureName:
    return PictureName(picture.item_id, picture.image, picture.sha256)
