"""What a training may be told, and how a wrong option is answered."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from catalog_tools.train.options import (
    DetectorOptions,
    EmbedderOptions,
    MatcherOptions,
    TrainOptions,
    check_options,
    command_of,
)
from pipeline.errors import ConfigError, EngineError
from streamer.cli.training import train_app


@pytest.mark.parametrize(
    ("key", "value", "flag"),
    [
        ("minutes", 0, "--minutes"),
        ("threads", 0, "--threads"),
        ("seed", -1, "--seed"),
        ("batch", 1, "--batch"),
        ("side", 100, "--side"),
        ("backbone", "vgg16", "--backbone"),
        ("split_mb", -1, "--split-mb"),
    ],
)
def test_wrong_option_is_named(key: str, value: object, flag: str, tmp_path: Path) -> None:
    given = {"pool": tmp_path, "out": tmp_path, "minutes": 1.0, key: value}
    with pytest.raises(ConfigError, match=f"^{flag}: .*got '{value}'"):
        check_options(EmbedderOptions, **given)


@pytest.mark.parametrize(
    ("kind", "instead"),
    [(EmbedderOptions, "--catalog"), (DetectorOptions, "--catalog or --boxes")],
)
def test_a_training_needs_pictures_from_somewhere(
    kind: type[TrainOptions], instead: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"^--pool: .* unless there is {instead}, got none"):
        check_options(kind, out=tmp_path, minutes=1)
    assert check_options(kind, out=tmp_path, minutes=1, catalog=tmp_path).pool is None


def test_the_command_in_the_header_tells_no_folder_of_this_machine(tmp_path: Path) -> None:
    options = EmbedderOptions(
        pool=tmp_path, out=tmp_path, minutes=90, turns=True, side=160, catalog=tmp_path,
        start=tmp_path / "mine.safetensors", rate=0.0005,
    )  # fmt: skip
    assert command_of("embedder", options) == (
        "magpie train embedder --pool POOL --minutes 90 --start mine.safetensors --rate 0.0005 "
        "--catalog CATALOG --side 160 --turns"
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [("embedder", EmbedderOptions), ("detector", DetectorOptions), ("matcher", MatcherOptions)],
)
def test_every_option_stands_on_the_command_line_with_its_words(
    name: str, kind: type[TrainOptions]
) -> None:
    done = CliRunner().invoke(train_app, [name, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    for key, field in kind.model_fields.items():
        if key != "check_count":
            assert "--" + key.replace("_", "-") in done.output
            assert (field.description or "")[:20] in done.output, key


def test_the_command_line_hands_its_options_over(tmp_path: Path) -> None:
    asked = ["matcher", "--pool", str(tmp_path), "--out", str(tmp_path / "o"), "--minutes", "1"]
    done = CliRunner().invoke(train_app, [*asked, "--device", "cuda:99"])
    assert isinstance(done.exception, EngineError)
    assert "--device: this machine has" in str(done.exception) and "cuda:99" in str(done.exception)
