"""No secret in any text, whatever form it takes; what is harmless comes back as it was."""

import json
import re
import time
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import redaction
from streamer.redaction import redact, remember_command_line, remember_secrets


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """Each test begins as a fresh process does, and leaves nothing to the next."""
    before = dict(redaction._known)
    redaction._known.clear()
    yield
    redaction._known.clear()
    redaction._known.update(before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open rtsp://me:p%40ss@camera:554/1 failed", "open rtsp://***@camera:554/1 failed"),
        ("rtsp://me:p@ss:w@camera/1", "rtsp://***@camera/1"),
        ("rtsp://me:p/a?s#s@camera/1 failed", "rtsp://***@camera/1 failed"),
        ("'rtsp://me:12345@camera/1'", "'rtsp://***@camera/1'"),
        ("rtsp://me:12/3@camera/1", "rtsp://***@camera/1"),
        ("rtsp://me:Ge heim@camera/1 failed", "rtsp://***@camera/1 failed"),
        ("""got "rtsp://me:Ge'h"eim@camera/1".""", 'got "rtsp://***@camera/1".'),
        ("rtsp://me:Geh\u00e9\u0416m@[fe80::1]:554/1", "rtsp://***@[fe80::1]:554/1"),
        ("rtsp://me:Gehe", "rtsp://***"),
        ("RTSPS://me@camera/1", "RTSPS://***@camera/1"),
        ("http://a:b@c and https://d:e@f", "http://***@c and https://***@f"),
        ("http://a:b@10.0.0.4/v?to=x@y", "http://***@10.0.0.4/v?to=x@y"),
        ("admin:Geheim@host/s", "***@host/s"),
        ("//admin:Geheim@host/s", "//***@host/s"),
        ("rtsp:/admin:Geheim@host/s", "rtsp:/***@host/s"),
        ("rtsp:admin:Geheim@host/s", "rtsp:***@host/s"),
        ("source '/etc/admin:Geh/eim@host/s': no", "source '/etc/***@host/s': no"),
        ("door=rtsp://a:b@c/1", "door=rtsp://***@c/1"),
        ("a.rtsp://admin:Geheim@h/s.url (line 3): x", "a.rtsp://***@h/s.url (line 3): x"),
        ("http://h/?url=rtsp%3A%2F%2Fme%3AGeheim%40cam%2Fs", "http://h/?url=rtsp://***@cam/s"),
    ],
)
def test_user_information_by_any_reading(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://camera/v?user=me&pwd=x1&n=3", "http://camera/v?user=***&pwd=***&n=3"),
        ("http://c/v?loginuse=me&loginpas=x&n=3", "http://c/v?loginuse=***&loginpas=***&n=3"),
        ("http://c/v.cgi?usr=me&pwd=x#1/2?3", "http://c/v.cgi?usr=***&pwd=***"),
        ("http://c/l.m3u8?access_token=abc#t", "http://c/l.m3u8?access_token=***"),
        ("http://c/a?cmd=Snap&token=ab&user=me&password=x", None),
        ("'http://c/a?auth=YWRtaW4=': no", "'http://c/a?auth=***': no"),
        ("http://c/a?X-Amz-Signature=ab&X-Amz-Date=1", "http://c/a?X-Amz-Signature=***&X-Amz-Date=1"),
        ("http://c/a?n=1&key=ab&sid=ab&ticket=ab", "http://c/a?n=1&key=***&sid=***&ticket=***"),
        ("http://c/a?api_key=ab&sig=ab&session=ab", "http://c/a?api_key=***&sig=***&session=***"),
        ("http://c/a?p%61ss%2577ord=ab&n=1", "http://c/a?p%61ss%2577ord=***&n=1"),
        ("http://c/a?pwd%3Dab&n=1", "http://c/a?pwd%3D***&n=1"),
        ("http://c/a?x=pwd%3Dab%26n%3D1", "http://c/a?x=pwd=***&n=***"),
        (
            "rtsp://h/user=me_password=tlJwpbo6_channel=1_stream=0.sdp?real_stream",
            "rtsp://h/user=***_password=***_channel=1_stream=0.sdp?real_stream",
        ),
        ("rtsp://h/user=me&password=x&channel=1", "rtsp://h/user=***&password=***&channel=1"),
        ("rtsp://h/s;password=ab", "rtsp://h/s;password=***"),
        ("rtsp://h/token/ab/1", "rtsp://h/token/***/1"),
        ("loginuse=me&loginpas=x", "loginuse=***&loginpas=***"),
        ("password: x y\nnext: 1", "password: ***\nnext: 1"),
        ("{'password': 'x', 'a': 3}", "{'password': '***', 'a': 3}"),
        (r'{"passwd":"x \"y","a":3}', '{"passwd":"***","a":3}'),
        (r'"{\"token\": \"ab\"}"', r'"{\"token\": \"***\"}"'),
        ("Authorization: Basic YTpi\r\nAccept: */*", "Authorization: ***\r\nAccept: */*"),
        (r"b'Proxy-Authorization: Digest x=1\r\nA: b'", r"b'Proxy-Authorization: ***\r\nA: b'"),
        ("Set-Cookie: a=b; c=d", "Set-Cookie: ***"),
    ],
)  # fmt: skip
def test_values_by_their_names(text: str, expected: str | None) -> None:
    expected = expected or "http://c/a?cmd=Snap&token=***&user=***&password=***"
    assert redact(text) == expected
    assert redact(expected) == expected


HARMLESS = [
    "",
    "no URL in it: a@b",
    "label: someone@example.org",
    "mailto:a@b.c",
    "rtsp://camera/1",
    "rtsp://host/user@domain",
    "rtsp://10.0.0.4:554/me@1",
    "http://nas.local:5000/photo/@eaDir/x.jpg",
    "http://[::1]:8080/a@b",
    "rtsp://[::1]:554/1",
    "/volume1/photo/@eaDir/x.jpg: no such file",
    r"C:\Users\me@home\a.mp4 and C:/photos/@eaDir/a",
    "at 10:00:00 camera door: 37 frames, 10:00@25",
    "2026-11-21T10:00:00.123Z camera.door info opened size=1280x720 key=7 user=3",
    "item monkey=3 keyboard=2 compass=1 bypass=no author=me turkey_key=1",
    "http://c/v?monkey=3&keyboard=2&channel=1&keyframe=2",
    "[rtsp @ 0x55d0] method DESCRIBE failed: 401 Unauthorized",
    "source 'token': no such file",
    "client.key_secret: must be readable",
    "expected tcp://HOST:PORT or ipc://PATH",
    "git@github.com:x/y and image@sha256:abcd",
    "source 'rtsp://cam/1': the server refuses access; check user and password in the URL",
    "rtsp://***@camera/1?pwd=***",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_comes_back_as_it_was(text: str) -> None:
    assert redact(text) == text


def test_a_known_secret_is_hidden_in_every_form_of_every_message() -> None:
    remember_secrets("rtsp://anna:Geheim%231%2Fx y@cam:554/s")
    for form in ("Geheim%231%2Fx y", "Geheim#1/x y", "Geheim%231%2Fx%20y", "Geheim%231%2fx%20y"):
        assert redact(f"cannot use {form}.") == "cannot use ***."
    assert redact("port 'geheim' and host '1/x y@cam'") == "port '***' and host '***@cam'"
    assert redact("failed to resolve anna:Geheim") == "failed to resolve ***"
    assert redact(r"'\nGeheim' user%3AGeheim%40cam") == r"'\n***' ***@cam"
    assert redact("Geheimnis, anna and cam stay") == "Geheimnis, anna and cam stay"


def test_a_known_query_value_is_hidden_elsewhere_and_its_user_is_not() -> None:
    remember_secrets("http://cam/v?loginuse=operator&loginpas=Geheim/1&rate=0")
    assert redact("GET 'Geheim/1' for operator") == "GET '***' for operator"


def test_weak_passwords_do_not_tear_other_lines_apart() -> None:
    for password in ("admin", "camera", "1234", "12", "a"):
        remember_secrets(f"rtsp://root:{password}@host/s")
    text = "camera door: 1234 frames, 12 a second for admin"
    assert redact(text) == text
    assert redact("root:1234 at 12@host") == "*** at ***@host"


def test_a_port_that_is_none_is_not_taken_for_a_password_everywhere() -> None:
    remember_secrets("rtsp://camera:fourth/1")
    assert redact("the fourth of camera") == "the fourth of camera"


def test_a_url_that_the_shell_cut_at_a_blank_is_known_whole() -> None:
    remember_command_line(["run", "door=rtsp://admin:Geheim", "zwei@host/s", "--loop"])
    assert redact("unexpected argument (zwei@host/s)") == "unexpected argument (***@host/s)"


@pytest.mark.parametrize(
    "part", ["a.b", "a:b,", "/a", "%3A", "key=1&", "http://a@b:c/", '"a":"b",']
)
def test_a_very_long_line_takes_no_long_time(part: str) -> None:
    """A line is read a few times over, not once for each of its characters (that took minutes)."""
    began_s = time.process_time()
    redact(part * (60_000 // len(part)))
    assert time.process_time() - began_s < 1


# --- made URLs --------------------------------------------------------------------------

WORDS = st.text("abcXYZ019", min_size=1, max_size=6)
USERS = WORDS.map(lambda word: "u" + word)
PASSWORDS = st.text("abcdXYZ0189é@#/?%&;:=+ '\"\\<>()[]_.,-Ж", min_size=3, max_size=12).map(
    lambda text: f"Q{text}Z"
)
HOSTS = st.sampled_from(["host", "10.0.0.4", "cam.local:554", "[fe80::1]:8554", "host:80"])
PATHS = st.sampled_from(["", "/", "/s", "/a/b.sdp?channel=1&subtype=0", "/live#t"])
SCHEMES = st.sampled_from(["rtsp://", "RTSPS://", "http://", "//", "rtsp:/", "rtsp:", "", "htp://"])
KEYS = st.sampled_from(
    "loginpas pwd password psw passwd pass token access_token api_key signature sig secret auth "
    "session sid ticket credentials X-Amz-Signature p%61ssword".split()
)
SOURCES = st.one_of(
    st.tuples(SCHEMES, USERS, PASSWORDS, HOSTS, PATHS).map(
        lambda parts: (parts[2], "{}{}:{}@{}{}".format(*parts))
    ),
    st.tuples(SCHEMES.filter(lambda s: s.endswith("//")), HOSTS, KEYS, WORDS).map(
        lambda parts: (f"Q{parts[3]}7Z", "{}{}/v?n=1&{}=Q{}7Z&rate=0".format(*parts))
    ),
    st.tuples(HOSTS, USERS, WORDS).map(
        lambda parts: (
            f"Q{parts[2]}7Z",
            "rtsp://{}/user={}_password=Q{}7Z_channel=1_stream=0.sdp".format(*parts),
        )
    ),
)


def messages(source: str, secret: str) -> Iterator[str]:
    """Yield what we, Python and FFmpeg may say about a source."""
    yield f"source {source!r}: no such stream, got {source}; check the path"
    yield f'camera is back url={source} reason="{source}"'
    yield json.dumps({"url": source}) + repr({"url": source})
    yield f"Opening '{source}' for reading\n[tcp @ 0x55] Failed to resolve hostname {source}"
    yield f"'{unquote(source)}' {quote(source)} {quote(source, safe='')}"
    yield f"method failed for {secret} and {quote(secret, safe='')}: {secret!r}, {unquote(secret)}"
    for cut in "@#/?":
        yield f"{source.partition(cut)[2]}: Invalid argument"
    try:
        parts = urlsplit(source)
        yield f"{parts} {parts.hostname} {parts.port}"
    except ValueError as error:
        yield str(error)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(SOURCES)
def test_no_message_about_a_made_source_shows_its_secret(made: tuple[str, str]) -> None:
    secret, source = made
    redaction._known.clear()
    remember_secrets(source)
    for message in messages(source, secret):
        said = redact(message)
        for form in {secret, unquote(secret), quote(secret, safe=""), repr(secret)[1:-1]}:
            assert form.lower() not in said.lower()
        assert redact(said) == said


@settings(derandomize=True, max_examples=150, deadline=None)
@given(SOURCES)
def test_a_source_that_nobody_remembered_loses_its_secret_as_well(made: tuple[str, str]) -> None:
    secret, source = made
    redaction._known.clear()
    is_url = re.match("(rtsps?|https?)://", source, re.IGNORECASE)
    if not is_url:  # nothing tells then where a password with blanks begins
        source, secret = ("".join(re.split("[\\s'\"]", text)) for text in (source, secret))
    assert secret not in redact(f"source {source}: no such stream")


@settings(derandomize=True, max_examples=100, deadline=None)
@given(HOSTS, PATHS, WORDS, st.sampled_from(HARMLESS))
def test_a_made_source_without_a_secret_is_unchanged(
    host: str, path: str, word: str, around: str
) -> None:
    text = f"source 'rtsp://{host}{path}': {word} {around}"
    assert redact(text) == text
