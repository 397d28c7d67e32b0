"""Secrets that a camera's URL only names: `rtsp://${CAM_USER}:${file:/run/secrets/cam}@host/`.

What they stand for is put in where a source is opened, so that options never hold it.
"""

import re
from typing import TypeVar
from urllib.parse import quote

from pydantic import SecretStr

from streamer.redaction import remember_secrets
from streamer.secret_text import read_secret
from streamer.sources.base import SourceOptions

_NAMED = re.compile(r"\$\{(?:(?P<file>file:[^}]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*))\}")
_O = TypeVar("_O", bound=SourceOptions)


def with_secrets(options: _O) -> _O:
    """Return options whose URL holds what it names, encoded as a URL wants it.

    Raises ConfigError when a variable is not set or a file cannot be read.
    """
    if "://" not in options.url or not _NAMED.search(options.url):
        return options
    url = _NAMED.sub(_read, options.url)
    remember_secrets(url)
    return options.model_copy(update={"url": url})


def _read(found: "re.Match[str]") -> str:
    named = found["file"] or f"${{{found['name']}}}"
    return quote(read_secret(SecretStr(named)), safe="")
