"""What the daemon hands to the web worker. Light."""

from dataclasses import dataclass
from pathlib import Path

from streamer.publishing.options import PublishOptions
from streamer.web.options import WebOptions


@dataclass(frozen=True, slots=True)
class WebArgs:
    """The web worker's part of the configuration. evidence: the folder of pictures, if any."""

    options: WebOptions
    publish: PublishOptions
    evidence: Path | None
