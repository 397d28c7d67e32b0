"""magpie train embedder, detector, matcher, comparer, keypoints, mean, pack, join.

The options of a training are its options class: names, defaults and descriptions stand there alone.
"""

import importlib
import inspect
from pathlib import Path
from typing import Any

import typer

from catalog_tools.train.options import (
    ComparerOptions,
    DetectorOptions,
    EmbedderOptions,
    KeypointsOptions,
    MatcherOptions,
    TaughtOptions,
    TrainOptions,
    check_options,
)
from streamer.cli.terminal import say

train_app = typer.Typer(
    no_args_is_help=True, help="Train the networks, or fit them to your own items."
)
_FLAGS = {
    "resume": "--resume/--fresh",
    "turns": "--turns",
    "fresh_rates": "--fresh-rates",
}  # all others are `--name VALUE`


def _add_training(name: str, options_type: type[TrainOptions], told: str) -> None:
    """Add the command whose parameters are the options' fields."""

    def command(**given: Any) -> None:
        recipe = importlib.import_module(f"catalog_tools.train.{name}")
        path = getattr(recipe, f"train_{name}")(check_options(options_type, **given))
        if path is not None:
            say(path)

    parameters = []
    for key, field in options_type.model_fields.items():
        if key == "check_count":
            continue
        default = ... if field.is_required() else field.default
        flag = _FLAGS.get(key, "--" + key.replace("_", "-"))
        option = typer.Option(default, flag, help=field.description)
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(key, kind, default=option, annotation=field.annotation))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    train_app.command(name, help=told)(command)


_add_training(
    "embedder", EmbedderOptions, "Train the embedder, or fit it to a catalog; print its path."
)
_add_training(
    "taught",
    TaughtOptions,
    "Teach the embedder what published networks know; print its path.",
)
_add_training(
    "detector",
    DetectorOptions,
    "Train the detector, on your items and classes too; print its path.",
)
_add_training(
    "matcher", MatcherOptions, "Train the matcher of keypoints (LightGlue); print its path."
)
_add_training(
    "comparer", ComparerOptions, "Train the comparer of aligned pictures; print its path."
)
_add_training(
    "keypoints", KeypointsOptions, "Train a network of keypoints (XFeat); print its path."
)


@train_app.command("mean")
def mean_command(
    files: list[Path] = typer.Argument(..., metavar="FILE FILE…", help="weights of one start"),
    out: Path = typer.Option(..., "--out", help="FILE.safetensors"),
) -> None:
    """Write the mean of several trainings' weights, often better than each of them."""
    from catalog_tools.train.mean import write_mean

    say(write_mean(files, out))


@train_app.command("pack")
def pack_command(
    pool: Path = typer.Option(..., "--pool", help="folder of tar files or sub-folders"),
    out: Path = typer.Option(..., "--out", help="folder for the parts; then a --pool itself"),
    part_mb: int = typer.Option(25, "--part-mb", min=1, help="largest size of a part"),
) -> None:
    """Cut a pool into parts, for a machine that takes no larger files."""
    from catalog_tools.train.packing import pack_pool

    say(pack_pool(pool, out, part_mb))


@train_app.command("join")
def join_command(
    folder: Path = typer.Argument(..., help="where a training with --split-mb left its parts"),
) -> None:
    """Join the files that lie in a folder in parts, and check them."""
    from catalog_tools.train.packing import join_folder

    for path in join_folder(folder):
        say(path)
