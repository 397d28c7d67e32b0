"""What a run is made of: every key, its default and its rule. Reading files: config_file.py.

AppConfig only composes; each part's options lie beside the part (all of them light).
"""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from pipeline.catalog_format import current_generation
from pipeline.errors import ConfigError, MagpieError
from pipeline.options import MatcherOptions, Options, Regions
from streamer.names import NAME_PATTERN
from streamer.publishing.options import PublishOptions
from streamer.query.options import QueryOptions
from streamer.redaction import redact
from streamer.reporting import LogFormat
from streamer.sinks.options import SinksOptions, find_sink_mistakes
from streamer.sources.base import SourceOptions, check_source, with_plain_scheme
from streamer.sources.named_secrets import with_secrets
from streamer.supervisor import SupervisorOptions
from streamer.web.options import WebOptions

_NAMED_SOURCE = re.compile(r"(?P<name>[A-Za-z0-9_-]{1,64})=(?P<url>.+)", re.DOTALL)

CameraName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class CameraOptions(SourceOptions):
    """One camera: its stream and what it looks for."""

    detect_url: str | None = Field(
        None,
        description="the camera's small stream, written as url: objects are searched in it and "
        "identified in url; skip_frame is url's then, max_fps this one's; none: both in url",
    )
    catalog: Path | None = Field(None, description="what it looks for; none: the one above")
    detect_fps: float = Field(
        10,
        ge=0,
        le=1000,
        description="frames a second that are searched for objects; between them tracks go on as "
        "they moved; 0: all",
    )
    motion_gate: bool = Field(
        False,
        description="of these frames, those that show nothing new are not searched, but skipped",
    )
    look_again_s: float = Field(
        2.0, gt=0, le=3600, description="with motion_gate, the longest without a search"
    )
    regions: Regions = Field(
        (), description="its own fixed regions, as matcher.detect.regions; none: those"
    )

    @field_validator("detect_url")
    @classmethod
    def _detect_with_plain_scheme(cls, url: str | None) -> str | None:
        return None if url is None else with_plain_scheme(url)

    @property
    def searched(self) -> SourceOptions:
        """The stream that objects are searched in."""
        if self.detect_url is None:
            return self._source()
        return self._source(url=self.detect_url, skip_frame="none")

    @property
    def main(self) -> SourceOptions | None:
        """The stream that crops are cut from, where it is another one.

        All its pictures come: one that max_fps left out might be the one of a search's moment.
        """
        return None if self.detect_url is None else self._source(max_fps=0)

    def _source(self, **changed: object) -> SourceOptions:
        same = {key: getattr(self, key) for key in SourceOptions.model_fields}
        return SourceOptions.model_validate(same | changed)

    @field_validator("regions")
    @classmethod
    def _are_regions(cls, regions: Regions) -> Regions:
        for x0, y0, x1, y1 in regions:
            if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
                raise ValueError(
                    f"expected x0 < x1 and y0 < y1, shares from 0 to 1, got {[x0, y0, x1, y1]}"
                )
        return regions


class AppConfig(Options):
    """One run of the daemon."""

    catalog: Path | None = Field(None, description="catalog of every camera that names none")
    duration_s: float = Field(0, ge=0, description="stop after so long; 0: when asked, at the end")
    matchers: int = Field(
        1, ge=1, le=64, description="matcher processes; cameras are dealt out by load"
    )
    evidence: Path | None = Field(
        None, description="folder for a picture and a JSON file of each appearance; none: no"
    )
    evidence_keep_days: float = Field(
        30.0, ge=0, description="older pictures are forgotten; 0: none are"
    )
    evidence_keep_mb: int = Field(
        4096, ge=0, description="above, the oldest pictures are forgotten; 0: none are"
    )
    summary_json: Path | None = Field(None, description="the summary goes there as well")
    log_level: Literal["debug", "info", "warning"] = "info"
    log_format: LogFormat = Field(
        "text", description="lines of text, or one JSON object a line with the same fields"
    )
    cameras: dict[CameraName, CameraOptions] = Field(
        default_factory=dict, description="by name: letters, digits, _ and -, at most 64"
    )
    publish: PublishOptions = PublishOptions()
    query: QueryOptions = QueryOptions()
    web: WebOptions = WebOptions()
    sinks: SinksOptions = SinksOptions()
    matcher: MatcherOptions = MatcherOptions()
    supervisor: SupervisorOptions = SupervisorOptions()

    def catalog_of(self, camera: str) -> Path:
        """Return where a camera's catalog lies; raises ConfigError when none is named."""
        directory = self.cameras[camera].catalog or self.catalog
        if directory is None:
            raise ConfigError.at(
                f"cameras.{camera}.catalog",
                "a camera needs a catalog",
                remedy="give --catalog DIR or a `catalog:` line",
            )
        return directory


def parse_source(text: str) -> tuple[str | None, str]:
    """Return the name and the source of `NAME=SOURCE` or `SOURCE` (name None)."""
    named = _NAMED_SOURCE.fullmatch(text)
    if named is None or os.path.exists(text):
        return None, text
    return named["name"], named["url"]


def default_name(url: str, taken: set[str]) -> str:
    """Return a name for a camera that was given none: a file's stem, else cam0, cam1…"""
    if os.path.isfile(url) or os.path.isdir(url):
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(url).stem).strip("-")[:56]
        if stem and stem not in taken:
            return stem
        if stem:
            return next(f"{stem}-{n}" for n in range(2, 10_000) if f"{stem}-{n}" not in taken)
    return next(f"cam{n}" for n in range(10_000) if f"cam{n}" not in taken)


def find_mistakes(config: AppConfig) -> list[tuple[tuple[str, ...], MagpieError]]:
    """Return what only the outside world can tell: missing files, missing or empty catalogs.

    Each mistake comes with the path of its key. Streams and devices are not opened.
    """
    mistakes: list[tuple[tuple[str, ...], MagpieError]] = []
    if not config.cameras and not config.web.enabled:
        error = ConfigError.at(
            "cameras", "a run needs at least one source", remedy="magpie run SOURCE --catalog DIR"
        )
        return [(("cameras",), error)]
    seen: set[Path] = set()
    for name, camera in config.cameras.items():
        mistakes += [(("cameras", name, key), error) for key, error in _stream_mistakes(camera)]
        try:
            directory = config.catalog_of(name)
        except MagpieError as error:
            mistakes.append((("cameras", name, "catalog"), error))
            continue
        if directory not in seen:
            seen.add(directory)
            try:
                current_generation(directory)
            except MagpieError as error:
                key = ("cameras", name, "catalog") if camera.catalog else ("catalog",)
                mistakes.append((key, error))
    return [*mistakes, *find_sink_mistakes(config.sinks)]


def _stream_mistakes(camera: CameraOptions) -> list[tuple[str, MagpieError]]:
    """Return what is wrong with a camera's streams, each with its key."""
    streams = {"url": camera.main or camera.searched}
    if camera.detect_url is not None:
        streams["detect_url"] = camera.searched
    mistakes: list[tuple[str, MagpieError]] = []
    for key, source in streams.items():
        try:
            check_source(with_secrets(source))
        except MagpieError as error:
            mistakes.append((key, error))
    if not mistakes and len({source.is_live for source in streams.values()}) > 1:
        rule = "expected both streams live, or both recordings: pictures of one moment are paired"
        where = f"source {redact(streams['detect_url'].url)!r}"
        mistakes.append(("detect_url", ConfigError.at(where, rule)))
    return mistakes
