"""What a user can set about the trainings. Light: the command line reads it before torch loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from pipeline.errors import ConfigError
from pipeline.options import Options

Chosen = TypeVar("Chosen", bound="TrainOptions")


class TrainOptions(Options):
    """What every training takes."""

    pool: Path | None = Field(
        None,
        description="training pictures: a folder of tar files, of sub-folders, or a packed one",
    )
    out: Path = Field(description="folder for checkpoint, curve and the exported weights")
    minutes: float = Field(gt=0, description="wall time, resumed parts together")
    start: Path | None = Field(None, description="weights to begin with instead of random ones")
    seed: int = Field(0, ge=0)
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(2, ge=1, description="CPU threads of the network")
    workers: int = Field(
        0, ge=0, le=256, description="processes that make batches; 0: a thread (enough on a CPU)"
    )
    batch: int = Field(64, ge=2, description="examples a step")
    rate: float | None = Field(
        None, gt=0, le=1, description="peak learning rate; none: the recipe's"
    )
    check_count: int = Field(60, ge=1, description="unseen examples in each check")
    resume: bool = Field(True, description="go on from the checkpoint in --out")
    split_mb: int = Field(
        0, ge=0, description="cut results into parts of so many MB at the end; 0: leave them whole"
    )

    @model_validator(mode="after")
    def _has_pictures(self) -> Self:
        if not self._picture_folders():
            instead = " or ".join(
                f"--{name}" for name in ("catalog", "boxes") if hasattr(self, name)
            )
            unless = f" unless there is {instead}" if instead else ""
            raise ValueError(f"--pool: expected a folder of training pictures{unless}, got none")
        return self

    def _picture_folders(self) -> list[Path]:
        folders = (self.pool, getattr(self, "catalog", None), getattr(self, "boxes", None))
        return [folder for folder in folders if folder is not None]


class EmbedderOptions(TrainOptions):
    """Training or fine-tuning the embedder."""

    batch: int = Field(96, ge=2, description="pairs of views a step")
    catalog: Path | None = Field(
        None, description="fine-tune on your items: a built catalog, or a folder of pictures"
    )
    backbone: Literal["resnet18", "resnet34", "resnet50"] | None = Field(
        None, description="none: resnet18, or that of the weights begun with"
    )
    side: int | None = Field(
        None, ge=32, le=512, multiple_of=32, description="px of the input's side; none: 128"
    )
    turns: bool = Field(False, description="views turned by any angle, not only about upright")


class TaughtOptions(TrainOptions):
    """Teaching the embedder what published networks know."""

    batch: int = Field(64, ge=2, description="things a step, a clean and a camera's view of each")
    check_count: int = Field(60, ge=1, description="unseen families of packs in each check")
    teachers: list[Path] = Field(min_length=1, description="weights of the networks that teach")
    side: int = Field(192, ge=64, le=448, multiple_of=32, description="of the network's input, px")
    packs: int = Field(3000, ge=8, description="families of packs that are rendered first")
    turns: bool = Field(False, description="views turned by any angle, not only about upright")
    fresh_rates: bool = Field(
        False, description="one rate for all layers, for a start that knows little"
    )


class DetectorOptions(TrainOptions):
    """Training or fine-tuning the detector."""

    batch: int = Field(16, ge=2, description="scenes a step")
    check_count: int = Field(24, ge=1, description="unseen scenes in each check")
    activation: Literal["hardswish", "silu"] | None = Field(
        None, description="none: hardswish, or that of the weights begun with"
    )
    teacher: Path | None = Field(
        None, description="weights of an embedder whose features the backbone learns as well"
    )
    catalog: Path | None = Field(
        None,
        description="your items, put into the scenes: a built catalog, or a folder of pictures",
    )
    boxes: Path | None = Field(
        None, description="your classes: a folder with images/, YOLO labels/ and names.txt"
    )


class MatcherOptions(TrainOptions):
    """Training the matcher of keypoints."""

    batch: int = Field(8, ge=2, description="pairs of pictures a step")
    check_count: int = Field(48, ge=1, description="unseen pairs in each check")
    layers: int | None = Field(
        None, ge=1, le=9, description="none: 4, or those of the weights begun with"
    )
    width: int | None = Field(
        None, ge=32, le=256, multiple_of=8, description="numbers a keypoint; none: 96"
    )


class KeypointsOptions(TrainOptions):
    """Training a network of keypoints (XFeat)."""

    batch: int = Field(8, ge=2, description="pairs of pictures a step")
    check_count: int = Field(48, ge=1, description="unseen pairs in each check")


class ComparerOptions(TrainOptions):
    """Training the comparer of aligned pictures."""

    batch: int = Field(64, ge=2, description="pairs of pictures a step")
    check_count: int = Field(600, ge=2, description="unseen pairs in each check")


def check_options(kind: type[Chosen], **given: Any) -> Chosen:
    """Give the options, or raise ConfigError that says which is wrong."""
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise ConfigError(first["msg"].removeprefix("Value error, ")) from error
        where = "--" + ".".join(str(part) for part in first["loc"]).replace("_", "-")
        got = None if first["type"] == "missing" else str(first["input"])
        raise ConfigError.at(where, first["msg"], got) from error


def command_of(name: str, options: TrainOptions) -> str:
    """Give the command that trains so, without the folders of this machine."""
    words = [f"magpie train {name}"]
    for key, field in type(options).model_fields.items():
        value = getattr(options, key)
        if key in ("out", "resume", "check_count", "split_mb") or value == field.default:
            continue
        flag = "--" + key.replace("_", "-")
        if isinstance(value, Path):
            words.append(f"{flag} {value.name if key == 'start' else key.upper()}")
        elif isinstance(value, list):
            words += [f"{flag} {path.name}" for path in value]
        elif isinstance(value, float):
            words.append(f"{flag} {value:g}")
        else:
            words.append(flag if value is True else f"{flag} {value}")
    return " ".join(words)
