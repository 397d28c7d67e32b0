"""What a status of an RTSP or HTTP server means: a typed cause, its words, and what helps."""

from typing import NamedTuple

from pipeline.errors import MagpieError
from streamer.errors import (
    AuthenticationError,
    NotFoundError,
    UnreachableError,
    UnsupportedError,
)


class _Meaning(NamedTuple):
    cause: type[MagpieError]
    rule: str
    remedy: str


_OTHER_TRANSPORT = {
    "udp": "use tcp: transport: tcp",
    "tcp": "try udp: transport: udp",
}
_CREDENTIALS = "check user and password in the URL"
_WAIT = "it is tried again"
_MEANINGS = {
    400: _Meaning(UnsupportedError, "the server finds the request wrong", "check the URL"),
    401: _Meaning(AuthenticationError, "the server refuses access", _CREDENTIALS),
    402: _Meaning(AuthenticationError, "the server wants a payment", "check the account"),
    403: _Meaning(
        AuthenticationError,
        "the server refuses access",
        "check user and password in the URL, and what this user may see",
    ),
    404: _Meaning(NotFoundError, "no such stream", "check the path"),
    405: _Meaning(UnsupportedError, "the server does not allow it to be played", "check the path"),
    406: _Meaning(UnsupportedError, "the server has no form of it that fits", "check the path"),
    407: _Meaning(AuthenticationError, "a proxy on the way wants credentials", "ask it directly"),
    408: _Meaning(UnreachableError, "the server waited too long for the request", _WAIT),
    410: _Meaning(NotFoundError, "the stream is gone for good", "check the path"),
    415: _Meaning(
        UnsupportedError, "the server does not know this kind of stream", "check the URL"
    ),
    429: _Meaning(
        UnreachableError, "the server is asked too often", "lower fps, or stop other clients"
    ),
    451: _Meaning(UnsupportedError, "the server does not understand a parameter", "check the URL"),
    453: _Meaning(
        UnreachableError,
        "the server has no bandwidth left",
        "stop other clients, or ask for its sub-stream",
    ),
    454: _Meaning(UnreachableError, "the server lost the session", _WAIT),
    455: _Meaning(UnreachableError, "the server cannot play it in this state", _WAIT),
    457: _Meaning(UnsupportedError, "the server has nothing for this time", "check the URL"),
    459: _Meaning(UnsupportedError, "the server plays its tracks only together", "check the URL"),
    460: _Meaning(UnsupportedError, "the server plays its tracks only one by one", "check the URL"),
    461: _Meaning(UnsupportedError, "the server does not send this way ({transport})", ""),
    462: _Meaning(UnsupportedError, "the server cannot reach where it should send to", "use tcp"),
    500: _Meaning(UnreachableError, "the server failed", "look at it: its own log says more"),
    501: _Meaning(UnsupportedError, "the server cannot do this at all", "check the URL"),
    502: _Meaning(UnreachableError, "a gateway cannot reach the camera", "is the camera up?"),
    503: _Meaning(
        UnreachableError,
        "the server has no room now",
        "stop other clients, or wait until it has started",
    ),
    504: _Meaning(UnreachableError, "a gateway had no answer from the camera", "is the camera up?"),
    505: _Meaning(UnsupportedError, "the server speaks another version", "check the port"),
    511: _Meaning(AuthenticationError, "the network wants a login first", "log in to the network"),
    551: _Meaning(UnsupportedError, "the server lacks an option that it needs", "check the URL"),
}


def status_error(where: str, status: int, transport: str = "tcp") -> MagpieError:
    """Return the error of a status that is no success.

    transport: how RTSP was asked to carry the pictures.
    """
    meaning = _MEANINGS.get(status)
    if meaning is None:
        is_failure = status >= 500
        meaning = _Meaning(
            UnreachableError if is_failure else UnsupportedError,
            "the server failed" if is_failure else "the server does not give the stream",
            "look at it: its own log says more" if is_failure else "check the URL",
        )
    remedy = _OTHER_TRANSPORT[transport] if status == 461 else meaning.remedy
    rule = meaning.rule.format(transport=transport)
    return meaning.cause.at(where, rule, f"status {status}", remedy)
