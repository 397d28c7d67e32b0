"""Who may: every route against every kind of caller that it must refuse."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamer.web.access import rule_of
from streamer.web.application import ROUTERS, build_application, openapi_of, routes_of
from streamer.web.key_file import Scope, change_key_file
from streamer.web.keys import make_key, make_user, with_key, with_user
from tests.streamer.web.asgi import Inside, make_context

ROUTES = [
    (method, path, rule_of(route))
    for path, route in routes_of()
    for method in sorted(route.methods or ())
]
GUARDED = [(method, path, rule) for method, path, rule in ROUTES if rule != "anyone"]
OPEN_TO_ALL = {"/healthz", "/readyz", "/openapi.json", "/api/v1/session"}
OTHERS = [scope for scope in Scope if scope != Scope.ADMIN]
PARTS = {
    "name": "hall",
    "sighting_id": "0" * 32,
    "key_id": "0" * 8,
    "catalog": "shelf",
    "item_id": "tea",
    "sha256": "0" * 64,
    "job_id": "0" * 16,
}
BODIES = {
    ("POST", "/api/v1/cameras"): {"name": "hall", "url": "test:"},
    ("PATCH", "/api/v1/cameras/{name}"): {"max_fps": 5},
    ("POST", "/api/v1/keys"): {"name": "k"},
}


def add_key(inside: Inside, scopes: list[Scope], days: float = 1, cameras: object = None) -> str:
    text, entry = make_key(f"k{len(inside.context.keys.now().keys)}", scopes)
    entry = entry.model_copy(
        update={"expires": datetime.now(UTC) + timedelta(days=days), "cameras": cameras}
    )
    change_key_file(inside.context.keys.path, lambda file: with_key(file, entry))
    return text


def asked(inside: Inside, method: str, path: str, key: str | None):  # type: ignore[no-untyped-def]
    filled = re.sub(r"{(\w+)}", lambda part: PARTS[part[1]], path)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return inside.ask(method, filled, BODIES.get((method, path), b""), headers)


@pytest.fixture
def closed(tmp_path: Path) -> Inside:
    """A server of which every request needs a key."""
    return Inside(make_context(tmp_path, require_key=True))


def test_every_route_has_exactly_one_rule() -> None:
    missing = [f"{method} {path}" for method, path, rule in ROUTES if rule is None]
    assert not missing, f"routes without a rule (access.py): {missing}"
    assert {path for _, path, rule in ROUTES if rule == "anyone"} <= OPEN_TO_ALL
    app = build_application()
    assert len(app.routes) == len(ROUTERS), "a route beside those of ROUTERS has no rule"
    assert set(openapi_of(app)["paths"]) | {"/openapi.json"} == {path for _, path, _ in ROUTES}


@pytest.mark.parametrize(("method", "path", "rule"), GUARDED)
def test_every_route_refuses_whom_it_does_not_know(
    closed: Inside, method: str, path: str, rule: str
) -> None:
    expired = add_key(closed, list(Scope), days=-1)
    good = add_key(closed, list(Scope))
    wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
    for key in (None, "", "mgp_", "mgp_00000000_x", wrong, expired):
        answer = asked(closed, method, path, key)
        assert answer.status in (401, 429), (key, answer.body)
        assert answer.headers["content-type"] == "application/problem+json"
        assert good[13:] not in answer.body.decode()


@pytest.mark.parametrize(("method", "path", "rule"), [r for r in GUARDED if r[2] != "known"])
def test_every_route_refuses_a_key_of_another_scope(
    closed: Inside, method: str, path: str, rule: str
) -> None:
    key = add_key(closed, [scope for scope in OTHERS if scope != rule])
    answer = asked(closed, method, path, key)
    assert answer.status == 403 and answer.json()["rule"] == f"needs the scope {rule}"


@pytest.mark.parametrize(("method", "path", "rule"), [r for r in GUARDED if "{name}" in r[1]])
def test_every_route_of_a_camera_refuses_another_cameras_key(
    closed: Inside, method: str, path: str, rule: str
) -> None:
    key = add_key(closed, list(Scope), cameras=("door",))
    answer = asked(closed, method, path, key)
    assert answer.status == 403 and answer.json()["where"] == "camera"


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/events/stream"])
def test_events_of_a_camera_need_a_key_that_may_see_it(closed: Inside, path: str) -> None:
    key = add_key(closed, list(Scope), cameras=("door",))
    assert asked(closed, "GET", f"{path}?camera=hall", key).status == 403


def test_a_user_logs_in_is_known_by_the_cookie_and_logs_out(closed: Inside) -> None:
    user = make_user("ann", "correct horse", "viewer")
    change_key_file(closed.context.keys.path, lambda file: with_user(file, user))
    login = {"user": "ann", "password": "correct horse"}
    answer = closed.ask("POST", "/api/v1/session", login)
    assert answer.status == 200 and answer.json()["scopes"] == ["read", "search"]
    told = answer.headers["set-cookie"]
    assert "HttpOnly" in told and "SameSite=strict" in told
    cookie = {"Cookie": told.partition(";")[0]}
    assert closed.ask("GET", "/api/v1/session", headers=cookie).json()["name"] == "ann"
    assert closed.ask("GET", "/api/v1/keys", headers=cookie).status == 403
    no_origin = closed.ask("DELETE", "/api/v1/session", headers=cookie)
    foreign = closed.ask(
        "DELETE", "/api/v1/session", headers={**cookie, "Origin": "https://evil.example"}
    )
    assert no_origin.status == foreign.status == 403
    own = {**cookie, "Origin": "http://127.0.0.1:8080"}
    assert closed.ask("DELETE", "/api/v1/session", headers=own).status == 204
    assert closed.ask("GET", "/api/v1/session", headers=cookie).status == 401


def test_a_session_ends_with_its_user(closed: Inside) -> None:
    key = add_key(closed, [Scope.READ])
    answer = closed.ask("POST", "/api/v1/session", {"key": key})
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert closed.ask("GET", "/api/v1/session", headers=cookie).status == 200
    change_key_file(closed.context.keys.path, lambda file: file.model_copy(update={"keys": ()}))
    assert closed.ask("GET", "/api/v1/session", headers=cookie).status == 401


def test_guesses_are_slowed_down_and_a_right_key_goes_on(closed: Inside) -> None:
    key = add_key(closed, [Scope.READ])
    wrong = {"user": "ann", "password": "wrong horse"}
    statuses = [closed.ask("POST", "/api/v1/session", wrong).status for _ in range(7)]
    assert statuses[:5] == [401] * 5 and 429 in statuses[5:]
    answer = closed.ask("POST", "/api/v1/session", wrong)
    assert answer.status == 429 and int(answer.headers["retry-after"]) >= 1
    assert closed.ask("POST", "/api/v1/session", wrong, client="10.0.0.7").status == 401
    assert asked(closed, "GET", "/api/v1/session", key).status == 200


def test_a_login_that_breaks_a_rule_shows_no_password(closed: Inside) -> None:
    for login in (
        {"user": "ann", "password": "Geheim77" * 200},
        {"user": "ann", "password": ["Geheim77"]},
        {"user": "a n", "password": "Geheim77", "key": "Geheim77"},
    ):
        answer = closed.ask("POST", "/api/v1/session", login)
        assert answer.status == 422 and b"Geheim77" not in answer.body


def test_an_open_server_does_what_no_other_sites_page_asks(tmp_path: Path) -> None:
    inside = Inside(make_context(tmp_path))
    new = {"name": "k"}
    assert inside.ask("POST", "/api/v1/keys", new).status == 201
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert inside.ask("POST", "/api/v1/keys", {"name": "l"}, headers).status == 403
    assert len(inside.context.keys.now().keys) == 1
    assert (
        inside.ask("GET", "/api/v1/session", headers={"X-Forwarded-For": "8.8.8.8"}).status == 403
    )


def test_keys_are_made_listed_and_revoked_and_only_hashes_are_kept(closed: Inside) -> None:
    admin = {"Authorization": f"Bearer {add_key(closed, [Scope.ADMIN])}"}
    made = closed.ask(
        "POST", "/api/v1/keys", {"name": "page", "scopes": ["read"], "days": 1}, admin
    ).json()
    assert asked(closed, "GET", "/api/v1/session", made["key"]).json()["name"] == "page"
    path = closed.context.keys.path
    assert path.stat().st_mode & 0o777 == 0o600
    assert made["key"].rpartition("_")[2] not in path.read_text()
    listed = closed.ask("GET", "/api/v1/keys", headers=admin)
    assert made["key"] not in listed.body.decode()
    assert [k["last_used"] is not None for k in listed.json()["items"]] == [True, True]
    again = closed.ask("POST", "/api/v1/keys", {"name": "page"}, admin)
    assert again.status == 409 and again.json()["remedy"] == "choose another"
    gone = closed.ask("DELETE", f"/api/v1/keys/{made['id']}", headers=admin)
    assert gone.status == 204
    assert asked(closed, "GET", "/api/v1/session", made["key"]).status == 401
