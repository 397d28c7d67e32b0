"""magpie diag, and magpie --version."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.terminal import say
from streamer.publishing.options import DEFAULT_ENDPOINT, journal_path

if TYPE_CHECKING:
    from streamer.config import AppConfig

CONFIG = Path("/etc/magpie/magpie.yaml")
_ASK_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the command and the option to the application."""
    app.command()(diag)
    app.callback()(_magpie)


def _say_version(is_asked: bool) -> None:
    if is_asked:
        from streamer.version import version

        say(f"magpie {version()}")
        raise typer.Exit


def _magpie(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Watches live video and tells you when an item of your catalog is in view."""


def diag(
    config: Annotated[
        Path | None, typer.Option(help=f"The run's configuration; {CONFIG} if that is there.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="ENDPOINT", help="Where the daemon publishes.")
    ] = None,
    ask: Annotated[
        str | None, typer.Option(help="The ask socket, if it is not the port after.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="Folder with server.key (and client.key_secret).")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The log; else the service's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A .tar.gz.")] = None,
) -> None:
    """Pack what a report of trouble needs into one file, without secrets: look at it, attach it."""
    from streamer import diagnosis

    if config is None and CONFIG.is_file():
        config = CONFIG
    read, shown, wrong = diagnosis.read_known_secrets(config)
    journal = _journal_path(read)
    if journal is not None:
        diagnosis.remember_kept(journal)
    endpoint = endpoint or (read.publish.endpoint if read else DEFAULT_ENDPOINT)
    ask = ask or (read.publish.ask_endpoint if read else None)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = out or Path(f"magpie-diag-{stamp}.tar.gz")
    names = diagnosis.pack(
        path,
        {
            "versions.json": diagnosis.versions,
            "machine.json": partial(diagnosis.machine, read),
            "config.json": lambda: {"mistakes": wrong.splitlines(), "config": shown},
            "status.json": partial(_status, endpoint, ask, keys),
            "processes.json": diagnosis.processes,
            "journal.json": partial(_journal, journal),
            "log.txt": partial(diagnosis.log_lines, log),
        },
    )
    say(f"{path}: {', '.join(names)}")


def _status(endpoint: str, ask: str | None, keys: Path | None) -> dict[str, Any]:
    """Return what the daemon answers: states, figures, open sightings."""
    from streamer.publishing.asking import ask_state

    state = ask_state(endpoint, _ASK_S, keys, ask)
    return state or {"error": f"no daemon answers within {_ASK_S:g} s at {endpoint}"}


def _journal_path(config: "AppConfig | None") -> Path | None:
    """Return where the journal lies that this configuration has; None if there is none."""
    from pipeline.errors import MagpieError
    from streamer.config import AppConfig

    try:
        path = journal_path((config or AppConfig()).publish, Path("/nowhere"))
    except MagpieError:  # a user without a home folder
        return None
    return path if path.is_file() else None


def _journal(path: Path | None) -> dict[str, Any]:
    from streamer.diagnosis import journal_facts

    if path is None:
        return {"error": "no journal lies where this configuration has it"}
    return journal_facts(path)
