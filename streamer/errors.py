"""What can go wrong with a stream, one class a cause.

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

from typing import ClassVar

from pipeline.errors import SourceError, WorkerError


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
