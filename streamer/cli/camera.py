"""magpie camera list, add, remove, pause, resume; magpie reload: a running daemon's cameras."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.terminal import say, say_json
from streamer.publishing.options import DEFAULT_ENDPOINT

if TYPE_CHECKING:
    from streamer.control.requests import CameraView

ASK_WITHIN_S = 2.0
PROBE_S = 3.0

camera_app = typer.Typer(
    no_args_is_help=True, help="Cameras of a running daemon: list, add, remove, pause, resume."
)

Endpoint = Annotated[str, typer.Option(metavar="ENDPOINT", help="Where the daemon publishes.")]
Ask = Annotated[str | None, typer.Option(help="The ask socket, if it is not the port after.")]
Keys = Annotated[Path | None, typer.Option(help="Folder with server.key (and client.key_secret).")]
Name = Annotated[str, typer.Argument(metavar="NAME")]


@camera_app.command("list")
def camera_list(
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    ask: Ask = None,
    keys: Keys = None,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show the cameras of a running daemon: how each is, and where it comes from."""
    from streamer.control.asking import ask as ask_control
    from streamer.control.requests import CameraList, ListCameras

    listed = ask_control(_control(endpoint, ask, keys), ListCameras(), CameraList)
    if json_output:
        say_json(listed.model_dump(mode="json"))
        return
    for camera in listed.cameras:
        say(_line(camera))
    if listed.removed:
        say(f"removed while running: {', '.join(listed.removed)}")


@camera_app.command("add")
def camera_add(
    source: Annotated[str, typer.Argument(metavar="[NAME=]SOURCE", help="As for `magpie run`.")],
    catalog: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What to look for; none: the daemon's own.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A key of a camera: --set max_fps=5."),
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Only once it is resumed.")] = False,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Open the source for a moment before.")
    ] = True,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    ask: Ask = None,
    keys: Keys = None,
) -> None:
    """Add a camera to a running daemon, for this run and those after it."""
    from streamer.config import default_name, parse_source
    from streamer.control.asking import ask as ask_control
    from streamer.control.requests import AddCamera, CameraList, CameraView, ListCameras
    from streamer.sources.base import source_kind

    place = _control(endpoint, ask, keys)
    name, url = parse_source(source)
    if name is None:
        taken = {one.name for one in ask_control(place, ListCameras(), CameraList).cameras}
        name = default_name(url, taken)
    if source_kind(url) in ("file", "folder"):
        url = os.path.abspath(os.path.expanduser(url))  # the daemon stands elsewhere
    options: dict[str, Any] = {"url": url, **_pairs(option or [])}
    if catalog is not None:
        options["catalog"] = os.path.abspath(catalog.expanduser())
    if probe:
        _probe(name, options)
    asked = AddCamera(name=name, options=options, is_paused=paused)
    say(_line(ask_control(place, asked, CameraView)))


@camera_app.command("remove")
def camera_remove(
    name: Name, endpoint: Endpoint = DEFAULT_ENDPOINT, ask: Ask = None, keys: Keys = None
) -> None:
    """Remove a camera, whatever its state; one of the configuration file stays away as well."""
    from streamer.control.asking import ask as ask_control
    from streamer.control.requests import CameraView, RemoveCamera

    ask_control(_control(endpoint, ask, keys), RemoveCamera(name=name), CameraView)
    say(f"camera {name}: removed")


@camera_app.command("pause")
def camera_pause(
    name: Name, endpoint: Endpoint = DEFAULT_ENDPOINT, ask: Ask = None, keys: Keys = None
) -> None:
    """Let nothing of a camera run until it is resumed, also after a restart of the daemon."""
    from streamer.control.asking import ask as ask_control
    from streamer.control.requests import CameraView, PauseCamera

    ask_control(_control(endpoint, ask, keys), PauseCamera(name=name), CameraView)
    say(f"camera {name}: paused")


@camera_app.command("resume")
def camera_resume(
    name: Name, endpoint: Endpoint = DEFAULT_ENDPOINT, ask: Ask = None, keys: Keys = None
) -> None:
    """Let a paused camera go on."""
    from streamer.control.asking import ask as ask_control
    from streamer.control.requests import CameraView, ResumeCamera

    say(_line(ask_control(_control(endpoint, ask, keys), ResumeCamera(name=name), CameraView)))


def reload(endpoint: Endpoint = DEFAULT_ENDPOINT, ask: Ask = None, keys: Keys = None) -> None:
    """Have a running daemon read its configuration file again, and apply what changed in it."""
    from streamer.control.asking import ask as ask_control
    from streamer.control.requests import Reload, Reloaded

    told = ask_control(_control(endpoint, ask, keys), Reload(), Reloaded)
    done = (("added", told.added), ("changed", told.changed), ("removed", told.removed))
    for what, names in done:
        if names:
            say(f"{what}: {', '.join(names)}")
    if not any(names for _, names in done):
        say("no camera of the file has changed")
    if told.needs_restart:
        say(f"needs a restart: {', '.join(told.needs_restart)}")
    if told.kept:
        say(f"changed while running, and goes on: {', '.join(told.kept)}")


def _control(endpoint: str, ask: str | None, keys: Path | None) -> str:
    """Return the control endpoint of the daemon that publishes there.

    Raises WorkerError where none answers, or it is another machine's.
    """
    from pipeline.errors import WorkerError
    from streamer.publishing.asking import ask_state

    state = ask_state(endpoint, ASK_WITHIN_S, keys, ask)
    if state is None:
        raise WorkerError.at(
            f"daemon {endpoint}",
            f"must answer within {ASK_WITHIN_S:g} s",
            remedy="start one with magpie run, or give its --endpoint",
        )
    control = str(state.get("control", {}).get("endpoint", ""))
    if not os.path.exists(control.removeprefix("ipc://")):
        rule = "its cameras can be changed only by its own user on its own machine"
        raise WorkerError.at(f"daemon {endpoint}", rule, remedy="run this command there")
    return control


def _pairs(texts: list[str]) -> dict[str, str]:
    """Return `KEY=VALUE` texts as keys and values; ConfigError for another form."""
    from pipeline.errors import ConfigError

    pairs = {}
    for text in texts:
        key, has_value, value = text.partition("=")
        if not has_value:
            raise ConfigError.at("--set", "expected KEY=VALUE", text)
        pairs[key] = value
    return pairs


def _probe(name: str, options: dict[str, Any]) -> None:
    """Open the source for a moment and say what it gives; raises the error of one that gives none.

    In this process: the daemon's must never wait for a camera, nor load a decoder.
    """
    from pipeline.errors import SourceError
    from streamer.config_file import read_camera
    from streamer.sources.probe import probe, report_lines

    logging.getLogger("magpie").addHandler(logging.NullHandler())  # the one sentence is enough
    camera = read_camera(name, options, Path.cwd())
    try:
        report = probe(camera.main or camera.searched, PROBE_S)
    except SourceError as error:
        raise type(error)(f"{error}; --no-probe adds it all the same") from error
    say(*report_lines(report)[:4])  # source, codec, size, fps


def _line(camera: "CameraView") -> str:
    """Return one camera as a line of text."""
    state = "paused" if camera.is_paused else camera.state
    reason = f" ({camera.reason})" if camera.reason and not camera.is_paused else ""
    origin = f"{camera.origin}, changed while running" if camera.is_changed else camera.origin
    return (
        f"camera {camera.name}: {state}{reason}, {camera.options.get('url')}, "
        f"catalog {camera.catalog}, {camera.matcher or 'no matcher'}, from {origin}"
    )
