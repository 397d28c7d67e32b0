"""What a run leaves behind beside its events: checked at first, kept small while it runs."""

import contextlib
from collections.abc import Iterator

from pipeline.writable import make_file_ready, make_ready
from streamer.config import AppConfig
from streamer.evidence_keeper import EvidenceKeeper


def check_outputs(config: AppConfig) -> None:
    """Raise ConfigError when what a run leaves behind could not be written."""
    if config.evidence is not None:
        make_ready(config.evidence, "evidence", "choose another")
    if config.summary_json is not None:
        make_file_ready(config.summary_json, "summary_json", "choose another")


@contextlib.contextmanager
def outputs_kept_small(config: AppConfig) -> Iterator[None]:
    """Forget old evidence while in this context."""
    if config.evidence is None:
        yield
        return
    keeper = EvidenceKeeper(config.evidence, config.evidence_keep_days, config.evidence_keep_mb)
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()
