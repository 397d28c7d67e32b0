"""What the query worker tells of catalogs and pictures, as it goes over the wire. Light."""

from __future__ import annotations

from streamer.query.requests import NamedPicture, QueryModel


class CatalogView(QueryModel):
    """A catalog. etag: what it is now, for If-Match. generation: none while it is a draft.

    is_configured: the configuration names it, so that it can't be deleted here. problem: why it
    can't be read, if so.
    """

    name: str
    directory: str
    is_configured: bool
    is_draft: bool = False
    etag: str | None = None
    generation: int | None = None
    created: str = ""
    n_items: int = 0
    n_pictures: int = 0
    embedder: str = ""
    turns: bool = False
    trim: bool = True
    problem: str | None = None


class CatalogList(QueryModel):
    catalogs: tuple[CatalogView, ...]


class ItemSummary(QueryModel):
    item_id: str
    label: str
    n_pictures: int


class ItemList(QueryModel):
    """n_total: how many there are in all. is_more: there are some after these."""

    etag: str
    items: tuple[ItemSummary, ...]
    n_total: int
    is_more: bool


class PictureView(QueryModel):
    """size_wh: of the picture that was given. has_original: it is kept at up to 1,600 px."""

    image: str
    sha256: str
    size_wh: tuple[int, int]
    has_original: bool


class ItemView(QueryModel):
    etag: str
    item_id: str
    label: str
    pictures: tuple[PictureView, ...]


class PictureSize(QueryModel):
    n_bytes: int


class GenerationView(QueryModel):
    generation: int
    in_use: bool
    created: str
    n_items: int
    n_pictures: int
    embedder: str
    embedder_sha256: str


class GenerationList(QueryModel):
    generations: tuple[GenerationView, ...]


class LeftOut(QueryModel):
    """A picture that was not taken, and why."""

    image: str
    reason: str


class SamePictures(QueryModel):
    """Two items that what is seen cannot tell apart: neither is told as exact."""

    item_id: str
    image: str
    other_id: str
    other_image: str


class AddResult(QueryModel):
    """What an addition or a rebuild did. n_from_small: pictures without an original."""

    catalog: CatalogView
    left_out: tuple[LeftOut, ...] = ()
    same_pictures: tuple[SamePictures, ...] = ()
    n_from_small: int = 0


class FindingView(QueryModel):
    kind: str
    item_id: str
    image: str
    text: str


class QualityView(QueryModel):
    """How good a reference picture is, 0..1."""

    item_id: str
    image: str
    score: float


class CheckResult(QueryModel):
    """damaged: files that are not what was written. qualities: the poorest first."""

    generation: int
    damaged: tuple[str, ...]
    findings: tuple[FindingView, ...]
    qualities: tuple[QualityView, ...]


class DuplicateView(QueryModel):
    """hash_distance: 0..64 bits; similarity: of the embeddings, at most 1."""

    one: NamedPicture
    other: NamedPicture
    hash_distance: int
    similarity: float


class DuplicateList(QueryModel):
    pairs: tuple[DuplicateView, ...]


class ReferencePicture(QueryModel):
    """The picture of the catalog that was found."""

    image: str
    sha256: str


class MatchView(QueryModel):
    """An item where it was found, in pixels of the upright picture."""

    item_id: str
    label: str
    tier: str
    probability: float
    percent: float
    similarity: float
    inliers: int
    box_xyxy: tuple[float, float, float, float]
    outline: tuple[tuple[float, float], ...] | None
    angle_deg: float
    picture: ReferencePicture | None


class RankedView(QueryModel):
    """An item that the picture as a whole may show, whatever its tier."""

    item_id: str
    label: str
    probability: float
    percent: float
    similarity: float
    inliers: int
    picture: ReferencePicture | None


class FoundInPicture(QueryModel):
    """What one picture shows. error: why it could not be read."""

    image: str
    error: str | None = None
    size_wh: tuple[int, int] | None = None
    matches: tuple[MatchView, ...] = ()
    ranked: tuple[RankedView, ...] = ()


class SearchResult(QueryModel):
    catalog: str
    generation: int
    pictures: tuple[FoundInPicture, ...]


Answer = CatalogView | CatalogList | ItemList | ItemView | PictureSize | GenerationList
