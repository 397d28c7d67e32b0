"""The arguments that the catalog commands share, and the pipeline options that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.options import MatcherOptions

if TYPE_CHECKING:
    from streamer.yaml_file import KeyPath

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The catalog's directory.")]
Truth = Annotated[
    Path | None, typer.Option(help="CSV with the columns image,item_id (none: PHOTOS/truth.csv).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="YAML as for `magpie run`; its `matcher:` section counts."),
]
Embedder = Annotated[Path | None, typer.Option("--embedder", help="Embedder weights.")]
EngineName = Annotated[
    Literal["auto", "openvino", "torch"] | None,
    typer.Option("--engine", help="Where networks run."),
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


def read_matcher_options(
    config: Path | None,
    embedder: Path | None,
    engine: str | None,
    device: str | None,
    *,
    at_least_k: int = 1,
) -> MatcherOptions:
    """Return the `matcher:` section of the file with the command line's values laid over it.

    at_least_k: how many items search must give. Raises ConfigError naming every mistake.
    """
    from streamer.config_file import read_config

    overrides: dict[KeyPath, tuple[object, str]] = {}
    for keys, value, option in (
        (("matcher", "embed", "weights"), embedder, "--embedder"),
        (("matcher", "engine", "engine"), engine, "--engine"),
        (("matcher", "engine", "device"), device, "--device"),
    ):
        if value is not None:
            overrides[keys] = (str(value), option)
    options = read_config(config, overrides).matcher
    k = max(at_least_k, options.search.k)
    return options.model_copy(update={"search": options.search.model_copy(update={"k": k})})
