"""What a request passes before any route: names, proxies, sizes, headers."""

from pathlib import Path

import pytest

from tests.streamer.web.asgi import Inside, make_context


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("[::1]:8080", 200),
        ("LOCALHOST.:99", 200),
        ("magpie.example", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8080", 421),
        ("", 421),
    ],
)
def test_on_loopback_only_its_own_names_are_known(tmp_path: Path, host: str, status: int) -> None:
    inside = Inside(make_context(tmp_path, allowed_hosts=["magpie.example"]))
    assert inside.ask("GET", "/healthz", headers={"host": host}).status == status


def test_every_answer_has_the_headers_of_security(tmp_path: Path) -> None:
    inside = Inside(make_context(tmp_path))
    for path in ("/healthz", "/nowhere", "/api/v1/events?limit=0"):
        headers = inside.ask("GET", path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers and "server" not in headers


def test_only_pages_of_listed_origins_may_use_it(tmp_path: Path) -> None:
    origin = "https://shop.example"
    inside = Inside(make_context(tmp_path, cors_origins=[origin]))
    allowed = inside.ask("GET", "/healthz", headers={"Origin": origin}).headers
    assert allowed["access-control-allow-origin"] == origin
    other = inside.ask("GET", "/healthz", headers={"Origin": "https://evil.example"}).headers
    assert "access-control-allow-origin" not in other
    assert inside.ask("POST", "/api/v1/keys", {"name": "k"}, {"Origin": origin}).status == 201


def test_it_is_understood_with_and_without_its_base_path(tmp_path: Path) -> None:
    inside = Inside(make_context(tmp_path, base_path="/magpie/"))
    assert inside.ask("GET", "/magpie/healthz").status == 200
    assert inside.ask("GET", "/healthz").status == 200
    assert inside.ask("GET", "/magpies/healthz").status == 404
    document = inside.ask("GET", "/magpie/openapi.json").json()
    assert document["servers"] == [{"url": "."}]
    key = inside.ask("POST", "/magpie/api/v1/keys", {"name": "k"}).json()["key"]
    cookie = inside.ask("POST", "/magpie/api/v1/session", {"key": key}).headers["set-cookie"]
    assert "Path=/magpie;" in cookie


def test_forwarded_headers_hold_only_from_listed_networks(tmp_path: Path) -> None:
    options = {"trusted_proxies": ["10.0.0.0/8"], "require_key": True}
    inside = Inside(make_context(tmp_path, **options, allowed_hosts=["cam.example"]))
    wrong = {"user": "ann", "password": "wrong horse"}
    through = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Host": "cam.example"}
    for number in range(5):
        faked = {**through, "X-Forwarded-For": f"6.6.6.{number}, 203.0.113.9"}
        inside.ask("POST", "/api/v1/session", wrong, faked, client="10.0.0.2")
    wait_s = inside.context.slowing.wait_s
    assert wait_s("203.0.113.9") > 0 and wait_s("10.0.0.2") == wait_s("6.6.6.1") == 0
    spoofed = {"X-Forwarded-Host": "cam.example", "host": "evil.example"}
    assert inside.ask("GET", "/healthz", headers=spoofed, client="192.0.2.1").status == 421
    assert inside.ask("GET", "/healthz", headers=spoofed, client="10.0.0.2").status == 200


@pytest.mark.parametrize(
    ("headers", "size", "status"),
    [
        ({}, 2**20 + 1, 413),
        ({"content-length": "-1"}, 1, 400),
        ({"content-length": "²"}, 1, 400),
        ({"content-type": "multipart/form-data; boundary=x"}, 2**20 + 1, 422),
        ({"content-type": "multipart/form-data; boundary=x"}, 2**21 + 1, 413),
    ],
)
def test_bodies_have_a_limit(
    tmp_path: Path, headers: dict[str, str], size: int, status: int
) -> None:
    inside = Inside(make_context(tmp_path, body_max_mb=2))
    headers = {k: v.encode().decode("latin-1") for k, v in headers.items()}
    assert inside.ask("POST", "/api/v1/keys", b" " * size, headers).status == status


def test_a_body_that_hides_its_length_is_cut_off(tmp_path: Path) -> None:
    inside = Inside(make_context(tmp_path))
    answer = inside.ask("POST", "/api/v1/keys", b" " * (2**20 + 1), {"content-length": "10"})
    assert answer.status == 413
    assert answer.json()["where"] == "body"
