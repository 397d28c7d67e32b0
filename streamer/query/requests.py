"""What the query worker can be asked, and what it answers. Light: no zmq, no numpy.

A question is one JSON object, told apart by "do", and pictures in further frames. What takes long
is a job: it is answered at once by its number, and when it is done by its result.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

CATALOG_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"
MAX_PICTURES = 200
FRAMES_MAX_BYTES = 32 * 2**20  # of all pictures that come with a question

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
# invalid: the question is wrong. conflict: it can't be done now, as with a catalog that is being
# written. changed: the catalog is another than the asker has seen. busy: later it may be done.
Status = Literal["invalid", "conflict", "missing", "changed", "busy", "broken"]


class QueryModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FramePicture(QueryModel):
    """A picture whose bytes come with the question. frame: its place among them, from 0."""

    name: str = Field(max_length=400)
    frame: int = Field(ge=0, lt=MAX_PICTURES)


class AddressPicture(QueryModel):
    """A picture that is fetched."""

    url: str = Field(max_length=4000)


Picture = FramePicture | AddressPicture


class _OfCatalog(QueryModel):
    catalog: str = Field(pattern=CATALOG_PATTERN)


class _Change(_OfCatalog):
    if_match: str | None = Field(None, max_length=1000)


class ListCatalogs(QueryModel):
    """Answered by CatalogList."""

    do: Literal["catalogs"] = "catalogs"


class ShowCatalog(_OfCatalog):
    """Answered by CatalogView."""

    do: Literal["catalog"] = "catalog"


class ListItems(_OfCatalog):
    """Items whose id or label has `q` in it, from one on; answered by ItemList."""

    do: Literal["items"] = "items"
    q: str = Field("", max_length=200)
    offset: int = Field(0, ge=0)
    limit: int = Field(100, ge=1, le=1000)


class ShowItem(_OfCatalog):
    """Answered by ItemView."""

    do: Literal["item"] = "item"
    item_id: str


class ReadPicture(_OfCatalog):
    """Answered by PictureView, and the JPEG in a second frame."""

    do: Literal["picture"] = "picture"
    sha256: str = Field(pattern=SHA256_PATTERN)


class ListGenerations(_OfCatalog):
    """Answered by GenerationList."""

    do: Literal["generations"] = "generations"


class CreateCatalog(_OfCatalog):
    """Makes a draft; answered by CatalogView."""

    do: Literal["create"] = "create"
    turns: bool = False
    trim: bool = True


class DeleteCatalog(_Change):
    """Answered by CatalogView, as it was."""

    do: Literal["delete"] = "delete"


class RollBack(_Change):
    """Answered by CatalogView. to: a generation; none: the one before."""

    do: Literal["roll_back"] = "roll_back"
    to: int | None = Field(None, ge=1)


class AddPictures(_Change):
    """A job: adds pictures to an item, known or new; its result is an AddResult."""

    do: Literal["add"] = "add"
    item_id: str
    label: str = ""
    pictures: tuple[Picture, ...] = Field(min_length=1, max_length=MAX_PICTURES)


class RemoveItem(_Change):
    """A job; its result is a CatalogView."""

    do: Literal["remove_item"] = "remove_item"
    item_id: str


class RemovePicture(_Change):
    """A job; its result is a CatalogView."""

    do: Literal["remove_picture"] = "remove_picture"
    item_id: str
    sha256: str = Field(pattern=SHA256_PATTERN)


class LabelItem(_Change):
    """A job; its result is a CatalogView."""

    do: Literal["label"] = "label"
    item_id: str
    label: str


class Rebuild(_Change):
    """A job: describes all pictures by the configured weights; its result is an AddResult."""

    do: Literal["rebuild"] = "rebuild"


class Check(_OfCatalog):
    """A job; its result is a CheckResult."""

    do: Literal["check"] = "check"


class FindDuplicates(_OfCatalog):
    """A job; its result is a DuplicateList."""

    do: Literal["duplicates"] = "duplicates"


class NamedPicture(QueryModel):
    item_id: str
    image: str = ""
    sha256: str = Field(pattern=SHA256_PATTERN)


class DecideDuplicate(_Change):
    """A job: keep both, merge the second's item into the first's, or remove the second picture."""

    do: Literal["decide"] = "decide"
    one: NamedPicture
    other: NamedPicture
    choice: Literal["keep", "merge", "remove"]


class Search(_OfCatalog):
    """A job: names what pictures show; its result is a SearchResult."""

    do: Literal["search"] = "search"
    pictures: tuple[Picture, ...] = Field(min_length=1, max_length=MAX_PICTURES)
    k: int = Field(5, ge=1, le=100)
    min_probability: float = Field(0.0, ge=0, le=1)
    one_per_item: bool = False
    tie_epsilon: float = Field(0.02, ge=0, le=1)


class ShowJob(QueryModel):
    """Answered by JobView."""

    do: Literal["job"] = "job"
    id: str = Field(max_length=64)


class ListJobs(QueryModel):
    """Answered by JobList, the newest first."""

    do: Literal["jobs"] = "jobs"


class CancelJob(QueryModel):
    """Answered by JobView; a job that has ended stays as it is."""

    do: Literal["cancel"] = "cancel"
    id: str = Field(max_length=64)


JobRequest = (
    AddPictures
    | RemoveItem
    | RemovePicture
    | LabelItem
    | Rebuild
    | Check
    | FindDuplicates
    | DecideDuplicate
    | Search
)
QuickRequest = (
    ListCatalogs
    | ShowCatalog
    | ListItems
    | ShowItem
    | ReadPicture
    | ListGenerations
    | CreateCatalog
    | DeleteCatalog
    | RollBack
    | ShowJob
    | ListJobs
    | CancelJob
)
Request = JobRequest | QuickRequest
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="do")])


class Refusal(QueryModel):
    """Why something was not done; nothing was changed. retry_after_s: when it may be."""

    status: Status
    where: str
    rule: str
    got: str | None = None
    remedy: str = ""
    retry_after_s: int | None = None


class JobView(QueryModel):
    """How a job stands. n_done of n_total: its progress, in steps of its own."""

    id: str
    do: str
    catalog: str
    state: JobState
    n_done: int = 0
    n_total: int = 0
    created: str
    ended: str | None = None
    result: dict[str, Any] | None = None
    refused: Refusal | None = None


class JobList(QueryModel):
    jobs: tuple[JobView, ...]
