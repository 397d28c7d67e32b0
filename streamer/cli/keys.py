"""magpie keys: who may use the HTTP API, and pairs of CURVE keys for the event sockets."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.terminal import say, say_aside, show_table

if TYPE_CHECKING:
    from streamer.web.key_file import KeyEntry, Role, UserEntry

keys_app = typer.Typer(no_args_is_help=True, help="Keys of the HTTP API, and CURVE keys.")

File = Annotated[
    Path | None, typer.Option("--file", help="The file of keys; none: beside the journal.")
]
Config = Annotated[
    Path | None, typer.Option("--config", help="The configuration that the daemon runs with.")
]
Cameras = Annotated[
    str | None, typer.Option(metavar="NAME,NAME", help="Cameras that it may see; none: all.")
]


@keys_app.command()
def add(
    name: Annotated[str, typer.Argument(help="What it is for: grafana, shop-page.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, search, write, admin, metrics; may be given again."),
    ] = None,
    cameras: Cameras = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="It holds so long.")] = None,
    file: File = None,
    config: Config = None,
) -> None:
    """Make a key and print it; it is not kept in this form and cannot be printed again."""
    from pipeline.errors import ConfigError
    from streamer.web.key_file import Scope, change_key_file, read_key_file
    from streamer.web.keys import make_key, with_key

    place = _place(file, config)
    _check_name(name)
    known = [each.value for each in Scope]
    for each in scope or []:
        if each not in known:
            raise ConfigError.at("--scope", f"expected one of {', '.join(known)}", each)
    if any(key.name == name for key in read_key_file(place).keys):
        remedy = f"choose another, or: magpie keys revoke {name}"
        raise ConfigError.at("keys", "each key has its own name", name, remedy)
    lasts = None if days is None else timedelta(days=days)
    scopes = [Scope(each) for each in scope or ["read"]]
    text, entry = make_key(name, scopes, _named(cameras), lasts)
    change_key_file(place, lambda content: with_key(content, entry))
    say_aside(f"key {name} ({', '.join(sorted(entry.scopes))}) is kept, hashed, in {place}")
    say(text)


@keys_app.command()
def user(
    name: Annotated[str, typer.Argument(help="Who logs in on the page.")],
    role: Annotated[str, typer.Option(help="admin or viewer.")] = "viewer",
    cameras: Cameras = None,
    password_file: Annotated[
        Path | None, typer.Option(help="The password's file; none: it is asked for.")
    ] = None,
    file: File = None,
    config: Config = None,
) -> None:
    """Add a user with a password, or give one another."""
    from pipeline.errors import ConfigError
    from streamer.web.key_file import change_key_file
    from streamer.web.keys import make_user, with_user

    if role not in ("admin", "viewer"):
        raise ConfigError.at("--role", "expected admin or viewer", role)
    chosen: Role = "admin" if role == "admin" else "viewer"
    place = _place(file, config)
    _check_name(name)
    if password_file is None:
        password = str(typer.prompt("password", hide_input=True, confirmation_prompt=True))
    else:
        try:
            password = password_file.read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError.at("--password-file", "cannot be read", str(password_file)) from error
    if len(password) < 8:
        rule = "what a user logs in with must have 8 characters or more"
        raise ConfigError.at("keys", rule)  # "password:" would hide the rule
    entry = make_user(name, password, chosen, _named(cameras))
    change_key_file(place, lambda content: with_user(content, entry))
    say(f"user {name} ({role}) is kept in {place}")


@keys_app.command("list")
def list_keys(file: File = None, config: Config = None) -> None:
    """Show all keys and users, without their secrets."""
    from streamer.web.key_file import SCOPES_OF_ROLE, read_key_file

    content = read_key_file(_place(file, config))
    rows = [
        [key.name, key.id, " ".join(sorted(key.scopes)), *_when_and_where(key)]
        for key in content.keys
    ]
    for each in content.users:
        may = " ".join(sorted(SCOPES_OF_ROLE[each.role]))
        rows.append([each.name, f"user, {each.role}", may, *_when_and_where(each)])
    show_table(("name", "id", "may", "cameras", "expires", "last used"), rows)


@keys_app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="A key's name or id, or a user's name.")],
    file: File = None,
    config: Config = None,
) -> None:
    """Revoke a key or remove a user; a running daemon refuses it from now on."""
    from pipeline.errors import ConfigError
    from streamer.web.key_file import change_key_file, read_key_file
    from streamer.web.keys import without

    place = _place(file, config)
    before = read_key_file(place)
    if without(before, name) == before:
        raise ConfigError.at("keys", "no such key or user", name, "magpie keys list")
    change_key_file(place, lambda content: without(content, name))
    say(f"{name} is revoked")


@keys_app.command()
def curve(
    folder: Annotated[Path, typer.Argument(help="Where the keys go: publish.curve_keys.")],
    client: Annotated[
        list[str] | None,
        typer.Option(help="Also a pair for this reader; then only such readers are admitted."),
    ] = None,
) -> None:
    """Make CURVE keys for the event sockets: the daemon's pair, and one for each reader."""
    from streamer.publishing.curve_files import make_curve_keys

    for name in client or []:
        _check_name(name)
    for path in make_curve_keys(folder, client or []):
        say(path)


def _when_and_where(entry: "KeyEntry | UserEntry") -> list[str]:
    cameras = "all" if entry.cameras is None else " ".join(entry.cameras)
    return [cameras, str(entry.expires or "never"), str(entry.last_used or "never")]


def _place(file: Path | None, config: Path | None) -> Path:
    """Return the file of keys that a daemon with this configuration reads."""
    from pipeline.errors import ConfigError
    from streamer.config import AppConfig
    from streamer.config_file import read_config
    from streamer.publishing.options import journal_path
    from streamer.web.options import keys_path

    if file is not None:
        return file
    checked = AppConfig() if config is None else read_config(config)
    nowhere = Path("/")
    found = keys_path(checked.web, journal_path(checked.publish, nowhere))
    if found.parent == nowhere:
        rule = "a daemon on any free port keeps no keys"
        raise ConfigError.at("web.keys", rule, remedy="name a file: --file, or publish.journal")
    return found


def _named(cameras: str | None) -> list[str] | None:
    if cameras is None:
        return None
    from pipeline.errors import ConfigError

    names = [name.strip() for name in cameras.split(",") if name.strip()]
    if not names:
        raise ConfigError.at("--cameras", "expected names, with commas between", cameras)
    return names


def _check_name(name: str) -> None:
    import re

    from pipeline.errors import ConfigError
    from streamer.web.key_file import NAME_PATTERN

    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError.at("name", "may have 1 to 64 of A-Z a-z 0-9 . _ @ -", name)
