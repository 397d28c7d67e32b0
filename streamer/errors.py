"""What can go wrong with a stream, one class a cause, and how secrets are kept out of text.

SourceError                      pipeline/errors.py
├── UnreachableError             no such host, no route, no answer in time
├── RefusedError                 the host answers, nobody listens there
├── AuthenticationError          the server wants other credentials (401, 403)
├── NotFoundError                the server, folder or device has no such stream (404)
├── UnsupportedError             the server or this program cannot do what is asked (461, 501)
├── CodecError                   the data cannot be understood or decoded
├── EndedError                   a live stream was ended by its server
└── StalledError                 a stream that was open gives nothing any more

A file that comes to its end raises nothing.
"""

import re
from typing import ClassVar

from pipeline.errors import SourceError, WorkerError

_USER_INFO = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^/?#\s]*@)")
# a password with / ? or # in it, not encoded: what follows the first colon is no port
_RAW_USER_INFO = re.compile(
    r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#\s:@]*:(?!\d+(?:[/?#\s'\"]|$))[^\s'\"]*@"
)
_SECRET_PARAMETER = re.compile(
    r"(?P<key>[?&;](?:[^=&;\s]*(?:pass(?:word|wd)?|pwd|token|secret|auth|key|signature|sig)"
    r"[^=&;\s]*|psw|user(?:name)?|usr|login|account)=)[^&;#\s'\"]*",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(?P<name>\bauthorization\s*:\s*)[^\r\n]*", re.IGNORECASE)


def redact(text: str) -> str:
    """Return the text with every URL's user, password and secret-looking parameters as `***`.

    The user name goes as well: on many cameras it is half of the secret. Works on a whole log
    line; what holds no URL comes back as it was.
    """
    text = _RAW_USER_INFO.sub(lambda found: f"{found['scheme']}***@", text)
    text = _USER_INFO.sub(lambda found: f"{found['scheme']}***@", text)
    text = _SECRET_PARAMETER.sub(lambda found: f"{found['key']}***", text)
    return _HEADER.sub(lambda found: f"{found['name']}***", text)


class UnreachableError(SourceError):
    """No such host, no route to it, or no answer in time."""


class RefusedError(SourceError):
    """The host is there and nothing listens at the port."""


class AuthenticationError(SourceError):
    """The server wants other credentials."""

    heals: ClassVar[bool] = False


class NotFoundError(SourceError):
    """The server is there and has no such stream; or no such device, file or folder."""

    heals: ClassVar[bool] = False


class UnsupportedError(SourceError):
    """What is asked cannot be done: another transport or version, a web page for a stream."""

    heals: ClassVar[bool] = False


class CodecError(SourceError):
    """The data cannot be understood or decoded."""

    heals: ClassVar[bool] = False


class EndedError(SourceError):
    """A live stream was ended by its server."""


class StalledError(SourceError):
    """A stream that was open gives nothing any more."""


class RingSpaceError(WorkerError):
    """Shared memory is too small for a camera's frame ring."""
