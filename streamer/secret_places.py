"""Where in a text a secret may stand: user information by any reading, and values by their names.

Cameras' passwords hold @ # / ? and blanks, and users paste them as they are, so a URL is not read
as the standard would but as widely as it may be meant. Where two readings remain, the one that
hides more wins; what is evidently a host (a dot, brackets, localhost) is left as it is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,20}:"
_NAME = r"[\w.%\[\]~$-]"
# a quote or bracket that closes what stands around a URL, not one inside a password
_CLOSING = r"[\"'>)\]}]+[,.;:]?(?:\s|$)|[\"'](?=[\s,;:.)\]}|]|$)"
_URL = re.compile(
    rf"(?:(?P<scheme>\b{_SCHEME})|(?<![\w:/.]))/{{2,}}"
    rf"(?P<rest>(?:(?!{_CLOSING}|[,;|]?\b{_SCHEME}//)\S)*)"
)
_NO_SCHEME = re.compile(
    r"(?:(?<=[\s\"'(=,;<\[{|/])|^)(?:(?:rtsps?|https?):(?:/(?!/)|\\{1,2})?)?"
    r"(?P<rest>[^\s:/@\"'(=,;<\[{|]*"
    rf":(?![\s\"']|//)(?:(?!{_CLOSING})\S)*@(?=[\w\[.*-]))",
    re.IGNORECASE,
)
_SOURCE_START = re.compile(
    rf"(?:[\w-]{{1,64}}=)?(?:(?:{_SCHEME})?//+|(?:rtsps?|https?):[/\\]*(?=[^@:]*:))?", re.IGNORECASE
)
_HARMLESS_START = re.compile(
    r"(?:[A-Za-z]:[/\\]|\d*:\d|mailto:|(?:rtsps?|https?):[/\\]*\*\*\*@)", re.IGNORECASE
)
_PORT = re.compile(r"\d{0,5}")
_HOST = re.compile(
    r"(?:\[[^\]\s@]*\]|localhost|(?:[\w-]+\.)+[\w-]*)(?::\d{0,5})?|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f.]*",
    re.IGNORECASE,
)
_STREAMS = re.compile(r"(?:rtsp|rtsps|rtspu|rtmp|rtmps|http|https|srt):", re.IGNORECASE)

_PAIR = re.compile(rf"(?<!{_NAME})(?P<name>{_NAME}+)(?:=|%3D)", re.IGNORECASE)
_NEXT_PAIR = rf"[&;,|]+(?:amp;)?{_NAME}+=|_[A-Za-z]+=[\w*]"
_QUOTED = r"(?P<quote>\\*[\"'])(?:(?!(?P=quote))(?:\\.|[^\n]))*(?P=quote)"
_VALUE = re.compile(rf"{_QUOTED}|(?:(?!{_NEXT_PAIR}|{_CLOSING}|[,.;:]?(?:\s|$))\S)*")
_WHOLE_VALUE = re.compile(rf"(?:(?!{_NEXT_PAIR})(?:.|\n))*")  # of a source, which ends with it
_ENTRY = re.compile(rf"(?<![\w./-])(?P<mark>\\*[\"'])(?P<name>{_NAME}+)(?P=mark)[ \t]*:[ \t]*")
_ENTRY_VALUE = re.compile(rf"{_QUOTED}|[^\s,}}\]]+(?=\s*[,}}\]])")
_LINE_ENTRY = re.compile(r"(?<![\w./-])(?P<name>[\w-]+)[ \t]*:(?!//)[ \t]*")
_LINE_VALUE = re.compile(rf"{_QUOTED}|(?:(?!\\[rn])[^\r\n,}}\]\"'])*")
_STEP = re.compile(rf"(?<=/)(?P<name>{_NAME}+)(?=/(?P<value>[^/?#\s\"']+))")
_IN_URL = re.compile(r"://|%3A%2F%2F|[?&;]", re.IGNORECASE)

# names that no sentence and no figure of ours has
_PLAIN_NAME = re.compile(
    r"passw|passphrase|passcode|passkey|pwd|secret(?!ar)|token|credential|signature|jwt|hmac"
    r"|authorization|cookie|(?:api|access|auth|account|stream|private|shared|session|license)key"
    r"|^(?:login|user|usr|admin|rtsp|http|cam|cgi)?(?:pas|pass|pw|psw|pswd)\d*$|^loginuser?$"
)
# names that mean a secret in a URL and may mean anything elsewhere
_URL_NAMES = frozenset(
    "key sig sign auth authinfo session sessionid sid ssid ticket otp pin policy hash md5 digest "
    "nonce cred creds bearer hdnea hdnts hdntl pas pass pw psw".split()
)
_USER_NAMES = frozenset(
    "user username usr usrname uname userid uid login loginname loginuse loginuser account "
    "acct".split()
)


@dataclass(frozen=True, slots=True)
class UserInfo:
    """User and password in a text: from `start` to the `@` at `end` (or to where it stops)."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A value whose name looks secret, without its quotes. is_user: it only says who."""

    start: int
    end: int
    is_user: bool


def user_infos(text: str) -> Iterator[UserInfo]:
    """Yield the user information of every URL in a text, in order; none of them overlap."""
    done = 0
    for found in _URL.finditer(text):
        start, end = found.span("rest")
        if start < done:
            continue
        at = user_info_end(found["rest"])
        if at < 0 and is_broken(found[0]):
            # the password goes on behind a blank or a quote, or its @ is missing
            line_end = _end_of(text, end)
            far = text.rfind("@", end, line_end)
            at = (far if far >= 0 else end) - start
        if at >= 0:
            done = start + at
            yield UserInfo(start, done)


def bare_user_infos(text: str) -> Iterator[UserInfo]:
    """Yield `user:password` of every `user:password@host` without a scheme."""
    for found in _NO_SCHEME.finditer(text) if "@" in text else ():
        rest = found["rest"]
        start = found.start("rest")
        is_in_url = "//" in _word_before(text, start)
        at = -1 if is_in_url or _HARMLESS_START.match(rest) else user_info_end(rest)
        if at >= 0:
            yield UserInfo(start, start + at)


def source_user_info(source: str) -> UserInfo | None:
    """Return the user information of one source, in a URL or in what may be meant as one.

    The source begins and ends with the text, so blanks and quotes may belong to the password.
    """
    start = _SOURCE_START.match(source).end()  # type: ignore[union-attr]  # it matches nothing too
    rest = source[start:]
    at = user_info_end(rest)
    is_url = "//" in source[:start]
    if at < 0 or not (is_url or re.match(r"[^\s:]*:\S", rest)) or _HARMLESS_START.match(rest):
        return None
    return UserInfo(start, start + at)


def user_info_end(rest: str) -> int:
    """Return where the `@` behind user and password stands in what follows `//`; -1: nowhere."""
    last = rest.rfind("@")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    info, has_info, host = authority.rpartition("@")
    is_path_next = rest[len(authority) :][:1] in ("", "/")
    if has_info:
        is_clear = ":" not in info or (bool(_HOST.fullmatch(host)) and "#" not in rest)
        return len(info) if is_clear else last
    if last < 0 or (is_path_next and _HOST.fullmatch(authority)):
        return -1
    return last if ":" in rest[:last] else -1


def is_broken(url: str) -> bool:
    """Whether what follows the first colon of a stream's URL can be no port."""
    scheme, _, rest = url.partition("//")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not _STREAMS.fullmatch(scheme) or "@" in authority or _HOST.fullmatch(authority):
        return False
    host, colon, port = authority.partition(":")
    is_port = _PORT.fullmatch(port) and int(port or 0) <= 65535
    return bool(colon) and not is_port and not host.startswith("[")


def named_values(text: str, is_source: bool = False) -> Iterator[NamedValue]:
    """Yield the values with a secret-looking name, in order of kind and place.

    is_source: the text is one URL as it was given, so blanks and quotes belong to a value.
    """
    done = 0
    for found in _PAIR.finditer(text):
        if found.end() <= done or not _is_secret(found["name"], True):
            continue
        value = (_WHOLE_VALUE if is_source else _VALUE).match(text, found.end())
        if value is None or not value[0]:
            continue
        before = _word_before(text, found.start())
        is_in_url = bool(_IN_URL.search(before)) or text[value.end() : value.end() + 1] == "&"
        if _is_secret(found["name"], is_in_url or is_source):
            done = value.end()
            yield _within(value, found["name"])
    for entry, value_of in ((_ENTRY, _ENTRY_VALUE), (_LINE_ENTRY, _LINE_VALUE)):
        for found in entry.finditer(text):
            is_secret = _is_secret(found["name"], False)
            value = value_of.match(text, found.end()) if is_secret else None
            if value is not None and value[0].strip():
                yield _within(value, found["name"])
    for found in _STEP.finditer(text):
        name = found["name"]
        is_secret = _is_secret(name, True) and not _is_user(name)
        if is_secret and "://" in _word_before(text, found.start()):
            yield NamedValue(*found.span("value"), is_user=False)


def _within(value: "re.Match[str]", name: str) -> NamedValue:
    quote = len(value.groupdict().get("quote") or "")
    return NamedValue(value.start() + quote, value.end() - quote, _is_user(name))


def _word_before(text: str, end: int) -> str:
    """Return what stands before a place without a blank between."""
    return text[max(text.rfind(blank, 0, end) for blank in " \t\r\n") + 1 : end]


def _end_of(text: str, start: int) -> int:
    """Return where the line ends, or the next URL of it begins."""
    found = re.compile(rf"\n|\b{_SCHEME}//").search(text, start)
    return found.start() if found else len(text)


def _bare_name(name: str) -> str:
    """Return a name as it is meant: decoded, in small letters."""
    while "%" in name and (decoded := unquote(name)) != name:
        name = decoded
    return name.lower()


def _is_secret(name: str, is_in_url: bool) -> bool:
    bare = _bare_name(name)
    parts = re.split(r"[^a-z0-9]+", bare)
    if _PLAIN_NAME.search("".join(parts)) or _PLAIN_NAME.search(parts[-1]):
        return True
    return is_in_url and any(part in _URL_NAMES or part in _USER_NAMES for part in parts)


def _is_user(name: str) -> bool:
    return re.split(r"[^a-z0-9]+", _bare_name(name))[-1] in _USER_NAMES
