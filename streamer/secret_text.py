"""Secrets that a configuration names: written out, `${NAME}` of the environment, or `file:PATH`.

The configuration keeps the name; what it stands for is read where it is used, so that a file that
was changed counts at the next connection, and nothing that shows options shows a secret. Light.
"""

import os
import re
from pathlib import Path

from pydantic import SecretStr

from pipeline.errors import ConfigError
from pipeline.writable import expand_home
from streamer.redaction import remember_secret, remember_secrets

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")
_FILE = "file:"
_MOST_BYTES = 64 * 1024


def read_named(written: str) -> str:
    """Return what a configured text stands for.

    `${NAME}` may stand anywhere in it, in a `file:` path too. A file's last line break is none of
    its content. Raises ConfigError when a variable is not set or a file cannot be read.
    """
    text = _VARIABLE.sub(_variable, written)
    return _content(text.removeprefix(_FILE)) if written.startswith(_FILE) else text


def read_secret(named: SecretStr) -> str:
    """Return what a configured secret stands for; it is hidden in every output from now on.

    Raises ConfigError as read_named does.
    """
    text = read_named(named.get_secret_value())
    remember_secrets(text)
    remember_secret(text)
    return text


def is_named(written: str) -> bool:
    """Whether a configuration only names a text and does not hold it."""
    return written.startswith(_FILE) or bool(_VARIABLE.search(written))


def anchored(written: str, base: Path) -> str:
    """Return `file:PATH` with a relative path counted from a folder; other texts as they are."""
    path = written.removeprefix(_FILE)
    if path == written or path.startswith(("/", "~", "${")):
        return written
    return f"{_FILE}{base / path}"


def _variable(found: "re.Match[str]") -> str:
    name = found["name"]
    if name not in os.environ:
        rule = "a secret is to be read from it, and it is not set"
        raise ConfigError.at(f"environment variable {name}", rule, remedy=f"export {name}=…")
    return os.environ[name]


def _content(text: str) -> str:
    where = "file of a secret"
    path = expand_home(text, where)
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        secret = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        rule = f"this user must be able to read it ({error.strerror})"
        raise ConfigError.at(where, rule, str(path)) from None
    except UnicodeDecodeError:
        raise ConfigError.at(where, "must be UTF-8 text", str(path)) from None
    if not secret or len(content) > _MOST_BYTES or "\0" in secret:
        rule = f"must hold 1 to {_MOST_BYTES} bytes of text"
        raise ConfigError.at(where, rule, f"{len(content)} in {path}")
    return secret
