"""magpie run, watch, probe, status, config; camera and reload are registered with them."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from streamer.cli.terminal import say, say_json
from streamer.publishing.options import DEFAULT_ENDPOINT

if TYPE_CHECKING:
    from streamer.daemon import Daemon
    from streamer.yaml_file import KeyPath

STATUS_WITHIN_S = 2.0

config_app = typer.Typer(no_args_is_help=True, help="Check and explain configurations.")


class RunCommand(TyperCommand):
    """`--web` may stand alone: what follows is its address only if it has the form of one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self.with_address(args))

    @staticmethod
    def with_address(args: list[str]) -> list[str]:
        """Return the words with the default address where `--web` has none."""
        from streamer.web.options import DEFAULT_ADDRESS, is_address

        return [
            f"--web={DEFAULT_ADDRESS}" if arg == "--web" and not is_address(after) else arg
            for arg, after in zip(args, [*args[1:], ""], strict=True)
        ]


def register(app: typer.Typer) -> None:
    """Add the daemon's commands to the application."""
    from streamer.cli import camera, watch

    app.command(cls=RunCommand)(run)
    watch.register(app)
    app.command()(probe)
    app.command()(status)
    app.add_typer(camera.camera_app, name="camera")
    app.command()(camera.reload)
    app.add_typer(config_app, name="config")


def run(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]SOURCE...",
            help="rtsp(s):// or http(s):// URL, webcam number or path, file, folder, test:",
        ),
    ] = None,
    catalog: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR", help="What to look for; with NAME= for one camera."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML; see `magpie config reference`.")
    ] = None,
    publish: Annotated[
        str | None, typer.Option(metavar="ENDPOINT", help="Default tcp://127.0.0.1:5555.")
    ] = None,
    web: Annotated[
        str | None,
        typer.Option(metavar="[ADDR]", help="Serve HTTP; without ADDR at 127.0.0.1:8080."),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(metavar="S", min=0, help="Stop after so many seconds.")
    ] = None,
    realtime: Annotated[bool, typer.Option("--realtime", help="Files at their own pace.")] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Files again and again.")] = False,
    evidence: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pictures of each appearance go there.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N.")] = None,
    engine: Annotated[str | None, typer.Option(help="auto, openvino, torch.")] = None,
    lockstep: Annotated[
        bool, typer.Option("--lockstep", help="Slow, and the same events every time.")
    ] = False,
    journal: Annotated[Path | None, typer.Option(metavar="FILE", help="Journal of events.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other machines reach the sockets, without keys.")
    ] = False,
    summary_json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the summary there.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text, json.")] = None,
) -> None:
    """Watch cameras and publish what of the catalog is in view, until stopped (ctrl-C)."""
    from streamer.config_file import load_config
    from streamer.daemon import Daemon
    from streamer.query.arguments import query_worker
    from streamer.reporting import configure_logging
    from streamer.run_signals import stop_on_signals
    from streamer.summary import write_summary

    overrides: dict[KeyPath, tuple[object, str]] = {}
    add_sources(overrides, sources or [], realtime, loop, config)
    add_catalogs(overrides, catalog or [])
    for keys, value, option in (
        (("publish", "endpoint"), publish, "--publish"),
        (("web", "enabled"), web is not None or None, "--web"),
        (("web", "address"), web, "--web"),
        (("duration_s",), duration, "--duration"),
        (("evidence",), evidence, "--evidence"),
        (("matcher", "engine", "device"), device, "--device"),
        (("matcher", "engine", "engine"), engine, "--engine"),
        (("matcher", "lockstep"), lockstep or None, "--lockstep"),
        (("publish", "journal"), journal, "--journal"),
        (("publish", "insecure"), insecure or None, "--insecure"),
        (("summary_json",), summary_json, "--summary-json"),
        (("log_level",), log_level, "--log-level"),
        (("log_format",), log_format, "--log-format"),
    ):
        if value is not None:
            overrides[keys] = (str(value) if isinstance(value, Path) else value, option)
    reread = partial(load_config, config, overrides, may_be_empty=True)
    checked = reread()
    configure_logging("daemon", checked.log_level, checked.log_format)
    daemon = Daemon(
        checked,
        reread=reread if config is not None else None,
        query=query_worker(checked) if checked.web.enabled else None,
    )
    with stop_on_signals(daemon):
        summary = daemon.run(_say_where)
    _print_summary(summary.as_json())
    if checked.summary_json is not None:
        write_summary(summary, checked.summary_json)


def _say_where(daemon: "Daemon") -> None:
    """Tell, on the terminal, where the events are: the first thing that a user needs."""
    say(f"events {daemon.endpoint}  ask {daemon.ask_endpoint}")


def add_sources(
    overrides: "dict[KeyPath, tuple[object, str]]",
    sources: list[str],
    realtime: bool,
    loop: bool,
    config: Path | None,
) -> None:
    """Lay the sources of the command line, and how files run, over the configuration.

    Raises ConfigError when two are given the same name.
    """
    from pipeline.errors import ConfigError
    from streamer.config import default_name, parse_source
    from streamer.yaml_file import read_yaml

    configured = read_yaml(config)[0].get("cameras") if config is not None else None
    names = set(configured) if isinstance(configured, dict) else set()
    given: set[str] = set()
    for source in sources:
        name, url = parse_source(source)
        name = name or default_name(url, names | given)
        if name in given:
            raise ConfigError.at(
                "command line", "each camera needs its own name", name, "NAME=SOURCE"
            )
        given.add(name)
        overrides["cameras", name, "url"] = (url, "command line")
        if isinstance(configured, dict) and "detect_url" in (configured.get(name) or ()):
            overrides["cameras", name, "detect_url"] = (None, "command line")  # of another camera
    for name in given or names:
        if realtime:
            overrides["cameras", name, "realtime"] = (True, "--realtime")
        if loop:
            overrides["cameras", name, "loop"] = (True, "--loop")


def add_catalogs(overrides: "dict[KeyPath, tuple[object, str]]", catalogs: list[str]) -> None:
    """Lay `--catalog DIR` and `--catalog NAME=DIR` over the configuration."""
    from streamer.config import parse_source

    for text in catalogs:
        name, directory = parse_source(text)
        keys = ("catalog",) if name is None else ("cameras", name, "catalog")
        overrides[keys] = (directory, "--catalog")


def _print_summary(summary: dict[str, Any]) -> None:
    from streamer.summary import summary_lines

    if not sys.stdout.isatty():
        say(*summary_lines(summary))
        return
    from streamer.cli.summary_table import print_summary

    print_summary(summary)


def probe(
    source: Annotated[str, typer.Argument(help="As for `magpie run`.")],
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Read for so long.")] = 5.0,
    transport: Annotated[str, typer.Option(help="RTSP over tcp or udp.")] = "tcp",
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the first picture (.png, .jpg).")
    ] = None,
) -> None:
    """Open a source for a moment: codec, size, fps, key frames, delay, colour, one picture."""
    from pipeline.errors import ConfigError
    from pipeline.writable import make_file_ready
    from streamer.sources.base import SourceOptions
    from streamer.sources.probe import describe, report_lines, save_picture
    from streamer.sources.probe import probe as probe_source

    logging.getLogger("magpie").addHandler(logging.NullHandler())  # the one sentence is enough
    if transport not in ("tcp", "udp"):
        raise ConfigError.at("--transport", "expected tcp or udp", transport)
    if picture is not None:
        make_file_ready(picture, "--picture", "choose another")
    options = SourceOptions.model_validate({"url": source, "transport": transport})
    report = probe_source(options, seconds)
    if json_output:
        say_json(describe(report))
    else:
        say(*report_lines(report))
    if picture is not None:
        save_picture(report, picture)


def status(
    endpoint: Annotated[
        str, typer.Option(metavar="ENDPOINT", help="Where the daemon publishes.")
    ] = DEFAULT_ENDPOINT,
    ask: Annotated[
        str | None, typer.Option(help="The ask socket, if it is not the port after.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="The whole answer as JSON.")] = False,
    keys: Annotated[
        Path | None, typer.Option(help="Folder with server.key (and client.key_secret).")
    ] = None,
) -> None:
    """Ask a running daemon how its cameras and matchers are."""
    from pipeline.errors import WorkerError
    from streamer.publishing import Subscriber

    with Subscriber(endpoint, ask_endpoint=ask, keys=keys) as subscriber:
        state = subscriber.state(STATUS_WITHIN_S)
    if state is None:
        raise WorkerError.at(
            f"status {endpoint}",
            f"a daemon must answer within {STATUS_WITHIN_S:g} s",
            remedy="start one with magpie run, or give its --endpoint",
        )
    if json_output:
        say_json(state)
        return
    for event in (*state["workers"].values(), *state["cameras"].values()):
        reason = f": {event['reason']}" if event["reason"] else ""
        say(f"{event['process']} {event['state']}{reason}")
    _say_origins(state.get("control", {}))
    say(f"open sightings {len(state['open_sightings'])}, last number {state['last_seq']}")
    if state["summary"]:
        _print_summary(state["summary"])


def _say_origins(control: dict[str, Any]) -> None:
    """Say of which cameras something else counts than what the configuration says."""
    for name, camera in control.get("cameras", {}).items():
        told = ["added while running"] if camera["origin"] == "api" else []
        told += ["changed while running"] if camera["is_changed"] else []
        told += ["paused"] if camera["is_paused"] else []
        if told:
            say(f"camera.{name} is {', '.join(told)}")
    for name in control.get("removed", ()):
        say(f"camera.{name} of the configuration was removed while running")


@config_app.command("check")
def config_check(
    file: Annotated[Path, typer.Argument(help="A YAML configuration.")],
) -> None:
    """Check a configuration: every mistake at once, each with its line."""
    from streamer.config_file import load_config

    config = load_config(file)
    for name in config.cameras:
        say(f"camera {name}: {config.cameras[name].kind}, catalog {config.catalog_of(name)}")
    say(f"{file}: no mistake found")


@config_app.command("reference")
def config_reference() -> None:
    """Print every key with its default and what it means."""
    from streamer.config_reference import render_reference

    say(*render_reference().splitlines())
