"""Keeps secrets out of every text: what looks like one, and what is known to be one.

`redact` is called at every door: log, errors, status over the wire, reports. `remember_secrets` is
called where a source is read, so that its password is hidden wherever it turns up afterwards, in
whatever form FFmpeg or Python quotes it. Light: everything imports this.
"""

import base64
import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, unquote, unquote_plus

from streamer.secret_places import (
    NamedValue,
    UserInfo,
    bare_user_infos,
    is_broken,
    named_values,
    source_user_info,
    user_infos,
)

_HIDDEN = "***"
_SHORTEST = 4  # shorter ones are hidden beside their user or host only
_SHORTEST_NUMBER = 6  # "37 frames" stays readable, whatever the password
_ORDINARY = frozenset(  # words of our own lines: weak passwords, and hiding them would tell
    "admin administrator broker camera channel daemon default guest host http https live login "
    "magpie main matcher mqtt none null pass password port root rtsp rtsps secret server service "
    "sink source stream system test token true user username video webhook".split()
)
_CUT = re.compile(r"[@#/?:&;,\s\\'\"<>%=]+")  # where programs cut a password that is not encoded
_HEADER = re.compile(
    r"(?P<name>\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*(?:key|token|auth)[\w-]*)"
    r"[\"']?\s*:\s*)(?!\s*\*\*\*)(?:(?!\\[rn])[^\r\n])*",
    re.IGNORECASE,
)
_ENCODED = re.compile("%(?:3A|40|3D)", re.IGNORECASE)  # in a URL that stands in another's query
# "%3A" or "\n" before a secret ends in a letter or digit, which is none of the secret's word
_BEFORE = r"(?:(?<![^\W_])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt])|(?<=\\x[0-9a-f]{2}))"
_AFTER = r"(?![^\W_])"

_known: dict[str, str] = {}  # a secret's text in small letters: what is written in its place


def redact(text: str) -> str:
    """Return the text with users, passwords and other secrets as `***`.

    The user name goes as well: on many cameras it is half of the secret. What holds no secret
    comes back as it was; redacting twice changes nothing.
    """
    text = _without_known(text)
    text = _HEADER.sub(lambda found: found["name"] + _HIDDEN, text)
    text = _without_places(text)
    for word in {word for word in text.split() if _ENCODED.search(word)}:
        decoded = unquote(word)
        hidden = _without_places(decoded)
        if hidden != decoded:
            text = text.replace(word, hidden)
    return text


def remember_secrets(source: str) -> None:
    """Hide the user information and secret values of a source's text from now on, in any text.

    source: one source as it was given, nothing around it. Kept for the life of the process.
    """
    whole = source_user_info(source)
    for info in {*([whole] if whole else []), *user_infos(source), *bare_user_infos(source)}:
        host = re.split(r"[/?#:\s]", source[info.end + 1 :], maxsplit=1)[0]
        if source[info.end : info.end + 1] == "@":  # else a port that is none, perhaps
            _remember_user_info(source[info.start : info.end], host)
    for value in named_values(source, is_source=True):
        if not value.is_user:
            _remember(source[value.start : value.end])


def remember_secret(secret: str) -> None:
    """Hide a secret that was given by itself (a password, a key) from now on, in any text."""
    _remember(secret)


def remember_texts(content: object) -> None:
    """Remember the secrets of every text of a configuration or a request, keys included: also of
    what is refused before it is known for a source."""
    if isinstance(content, str):
        remember_secrets(content)
    elif isinstance(content, dict):
        for inner in (*content, *content.values()):
            remember_texts(inner)
    elif isinstance(content, list):
        for inner in content:
            remember_texts(inner)


def remember_command_line(words: Sequence[str]) -> None:
    """Remember the secrets of a command line, also of a URL that the shell cut at a blank."""
    for index, word in enumerate(words):
        remember_secrets(word)
        if "@" not in word and is_broken(word.partition("=")[2] or word):
            rest = [later for later in words[index + 1 :] if "://" not in later]
            ends = [number for number, later in enumerate(rest) if "@" in later]
            if ends:
                remember_secrets(" ".join([word, *rest[: ends[0] + 1]]))


def _without_known(text: str) -> str:
    small = text.lower()
    for secret in sorted((each for each in _known if each in small), key=len, reverse=True):
        shown = _known[secret]
        text = _pattern_of(secret).sub(shown.replace("\\", "\\\\"), text)
    return text


@functools.lru_cache(4096)
def _pattern_of(secret: str) -> re.Pattern[str]:
    before = _BEFORE if secret[0].isalnum() else ""
    after = _AFTER if secret[-1].isalnum() else ""
    return re.compile(before + re.escape(secret) + after, re.IGNORECASE)


def _without_places(text: str) -> str:
    for find in (user_infos, bare_user_infos, named_values):
        text = _cut_out(text, find(text))
    return text


def _cut_out(text: str, places: Iterable[UserInfo | NamedValue]) -> str:
    pieces, done = [], 0
    for place in sorted(places, key=lambda place: (place.start, -place.end)):
        if place.start >= done:
            pieces += [text[done : place.start], _HIDDEN]
            done = place.end
    return "".join([*pieces, text[done:]])


def _remember_user_info(info: str, host: str) -> None:
    """Remember `user:password`, whole and as programs cut it, and the password by itself."""
    raw_user, has_password, raw_password = info.partition(":")
    if not has_password:
        return
    _remember(raw_password)
    raw_user = raw_user.rpartition("/")[2]  # of what was taken for a path
    for decode in (str, unquote):
        user, password = decode(raw_user), decode(raw_password)
        if not password:
            continue
        for cut in _CUT.finditer(password):
            if user and cut.start():
                _hide(f"{user}:{password[: cut.start()]}")
            if cut.end() < len(password):
                _hide(f"{password[cut.end() :]}@{host}", f"{_HIDDEN}@{host}")
        if user:
            _hide(f"{user}:{password}")
        _hide(f"{password}@{host}", f"{_HIDDEN}@{host}")
        _hide(base64.b64encode(f"{user}:{password}".encode(errors="replace")).decode())


def _remember(secret: str) -> None:
    for form in _forms(secret):
        for text in (form, *_CUT.split(form)):
            if _is_distinct(text):
                _hide(text)


def _hide(secret: str, shown: str = _HIDDEN) -> None:
    _known.setdefault(secret.lower(), shown)


def _is_distinct(text: str) -> bool:
    """Whether a text can be hidden wherever it stands without tearing ordinary lines apart."""
    shortest = _SHORTEST_NUMBER if text.isdigit() else _SHORTEST
    return len(text) >= shortest and text.lower() not in _ORDINARY and not set(text) <= {"*"}


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it was given, decoded, encoded, and as Python and JSON quote it."""
    for text in {secret, unquote(secret), unquote_plus(secret), unquote(unquote(secret))}:
        encoded = quote(text, safe="", errors="replace")
        yield from (text, encoded, quote(text, errors="replace"), encoded.replace("%20", "+"))
        yield from (quote(encoded, safe=""), repr(text)[1:-1], ascii(text)[1:-1])
        yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
        yield repr(text.encode(errors="replace"))[2:-1]
        yield text.replace("\\", "\\\\").replace("'", "\\'")
