"""Catalogs, items, searches and jobs over HTTP: a real daemon, web worker and query worker."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.web.uploads import UPLOAD_MAX_BYTES
from tests.catalog_tools.test_fetch import LOOPBACK
from tests.fakes import wait_until
from tests.pipeline.matcher_rig import OPTIONS
from tests.streamer.query.query_rig import pack
from tests.streamer.web.rig import Answer, Client, WebRun, web_run

API = "/api/v1"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebRun]:
    folder = tmp_path_factory.mktemp("catalogs")
    with web_run(
        folder,
        query={
            "catalogs": str(folder / "made"),
            "fetch": {"networks": LOOPBACK, "http": True},
        },
        matcher=OPTIONS.model_dump(mode="json"),
    ) as run:
        yield run


def form(files: dict[str, bytes], **fields: str) -> tuple[bytes, dict[str, str]]:
    """A body of multipart/form-data, and its header."""
    parts = b""
    for name, value in fields.items():
        parts += b'--cut\r\nContent-Disposition: form-data; name="%s"\r\n\r\n' % name.encode()
        parts += value.encode() + b"\r\n"
    for name, content in files.items():
        parts += b'--cut\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n' % (
            name.encode()
        )
        parts += content + b"\r\n"
    return parts + b"--cut--\r\n", {"Content-Type": "multipart/form-data; boundary=cut"}


def send(client: Client, path: str, files: dict[str, bytes], **more: Any) -> Answer:
    headers = more.pop("headers", {})
    body, kind = form(files, **more)
    return client.send("POST", API + path, body, {**kind, **headers})


def done(client: Client, answer: Answer) -> dict[str, Any]:
    """Return the job of an answer, once it has ended."""
    assert answer.status == 202, answer.body
    place = answer.headers["location"]
    last: dict[str, Any] = {}

    def has_ended() -> bool:
        last.update(client.get(place).json())
        return last["ended"] is not None

    wait_until(has_ended, "the job's end", 60)
    return last


def make(client: Client, name: str, **items: list[int]) -> str:
    """Make a catalog of packs; return its ETag."""
    assert client.ask("POST", f"{API}/catalogs", {"name": name}).status == 201
    for item_id, numbers in items.items():
        files = {f"{number}.png": pack(number) for number in numbers}
        answer = send(client, f"/catalogs/{name}/items/{item_id}/pictures", files)
        assert done(client, answer)["state"] == "done"
    return client.get(f"{API}/catalogs/{name}").headers["etag"]


def problem(answer: Answer, status: int) -> str:
    assert (answer.status, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.body
    told: dict[str, str] = answer.json()
    return f"{told['where']}: {told['rule']}"


def test_from_a_draft_to_a_search_and_back(web: WebRun) -> None:
    client = web.client
    made = client.ask("POST", f"{API}/catalogs", {"name": "shop", "trim": False})
    assert made.status == 201 and made.json()["is_draft"] and not made.json()["trim"]
    files = {"a.png": pack(0), "b.png": pack(1), "no.png": b"text"}
    headers = {"If-Match": made.headers["etag"]}
    job = done(client, send(client, "/catalogs/shop/items/green%20tea/pictures", files,
                            label="Green tea", headers=headers))  # fmt: skip
    assert job["state"] == "done"
    assert [left["image"] for left in job["result"]["left_out"]] == ["no.png"]
    done(client, send(client, "/catalogs/shop/items/milk/pictures", {"c.png": pack(2)}))

    page = client.get(f"{API}/catalogs/shop/items?limit=1")
    assert page.headers["etag"] == page.json()["etag"]
    assert [item["item_id"] for item in page.json()["items"]] == ["green tea"]
    rest = client.get(f"{API}/catalogs/shop/items?cursor={page.json()['next_cursor']}").json()
    assert [item["item_id"] for item in rest["items"]] == ["milk"]
    assert rest["next_cursor"] is None
    item = client.get(f"{API}/catalogs/shop/items/green%20tea").json()
    sha256 = item["pictures"][0]["sha256"]
    picture = client.get(f"{API}/catalogs/shop/pictures/{sha256}")
    assert picture.headers["content-type"] == "image/jpeg" and picture.body[:2] == b"\xff\xd8"

    found = send(client, "/search", {"photo.png": pack(2)}, catalog="shop", k="1")
    assert found.status == 200, found.body
    (told,) = found.json()["pictures"]
    assert told["matches"][0]["item_id"] == "milk" and told["matches"][0]["tier"] == "exact"
    assert told["matches"][0]["picture"]["image"] == "c.png" and len(told["ranked"]) == 1

    etag = client.get(f"{API}/catalogs/shop").headers["etag"]
    changed = client.ask("PATCH", f"{API}/catalogs/shop/items/milk", {"label": "Milk"},
                         {"If-Match": etag})  # fmt: skip
    assert changed.status == 200 and changed.headers["etag"] != etag
    stale = client.ask("DELETE", f"{API}/catalogs/shop/items/milk", headers={"If-Match": etag})
    assert "has changed since" in problem(stale, 412)
    assert client.ask("DELETE", f"{API}/catalogs/shop/items/milk").json()["n_items"] == 1
    back = client.ask("POST", f"{API}/catalogs/shop/rollback", {"to": 2})
    assert back.json()["n_items"] == 2 and back.headers["etag"] == etag
    generations = client.get(f"{API}/catalogs/shop/generations").json()["items"]
    assert [one["in_use"] for one in generations].count(True) == 1
    removed = client.ask("DELETE", f"{API}/catalogs/shop/items/green%20tea/pictures/{sha256}")
    assert removed.json()["n_pictures"] == 2
    assert done(client, client.ask("POST", f"{API}/catalogs/shop/check"))["state"] == "done"
    assert done(client, client.ask("POST", f"{API}/catalogs/shop/rebuild"))["state"] == "done"
    deleted = client.ask("DELETE", f"{API}/catalogs/shop")
    assert deleted.status == 200
    problem(client.get(f"{API}/catalogs/shop"), 404)


def test_duplicates_are_told_and_decided(web: WebRun) -> None:
    client = web.client
    make(client, "twice", tea=[0], tee=[0], milk=[1])
    (pair,) = client.get(f"{API}/catalogs/twice/duplicates").json()["pairs"]
    decided = {"one": pair["one"], "other": pair["other"], "choice": "merge"}
    merged = client.ask("PUT", f"{API}/catalogs/twice/duplicates", decided)
    assert merged.status == 200 and merged.json()["n_items"] == 2
    assert client.get(f"{API}/catalogs/twice/duplicates").json()["pairs"] == []


def test_addresses_in_json_are_fetched(web: WebRun) -> None:
    data = pack(3)

    class Shop(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    client = web.client
    make(client, "far")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        urls = [f"http://127.0.0.1:{server.server_port}/a.png", "https://10.0.0.1/a.png",
                "file:///etc/passwd"]  # fmt: skip
        answer = client.ask("POST", f"{API}/catalogs/far/items/tea/pictures", {"urls": urls})
        result = done(client, answer)["result"]
        found = client.ask("POST", f"{API}/search", {"catalog": "far", "urls": urls[:1]}).json()
        server.shutdown()
    reasons = {left["image"]: left["reason"] for left in result["left_out"]}
    assert "not public" in reasons["https://10.0.0.1/a.png"]
    assert "must begin with" in reasons["file:///etc/passwd"]
    assert result["catalog"]["n_pictures"] == 1
    assert found["pictures"][0]["ranked"][0]["item_id"] == "tea"


def test_a_configured_catalog_that_cameras_use_cannot_be_deleted(web: WebRun) -> None:
    names = {one["name"]: one for one in web.client.get(f"{API}/catalogs").json()["items"]}
    assert names["shelf"]["is_configured"] and names["shelf"]["problem"]
    told = problem(web.client.ask("DELETE", f"{API}/catalogs/shelf"), 422)
    assert "catalog" in told


def test_a_catalog_that_a_camera_uses_cannot_be_deleted(web: WebRun, tmp_path: Path) -> None:
    client = web.client
    make(client, "used", tea=[0])
    directory = client.get(f"{API}/catalogs/used").json()["directory"]
    (Path(directory) / "script.json").write_text("{}")  # of the scripted matcher
    camera = {"name": "yard", "url": "test:?size=320x240&fps=5", "catalog": directory}
    assert client.ask("POST", f"{API}/cameras", camera).status == 201
    told = problem(client.ask("DELETE", f"{API}/catalogs/used"), 409)
    assert told == "catalog 'used': a camera uses it"
    assert client.ask("DELETE", f"{API}/cameras/yard").status == 200
    assert client.ask("DELETE", f"{API}/catalogs/used").status == 200


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/search", b"", {}, 415),
        ("/search", b"x", {"Content-Type": "image/jpeg"}, 415),
        ("/search", b"{", {"Content-Type": "application/json"}, 422),
        ("/search", b"[" * 5000, {"Content-Type": "application/json"}, 422),
        ("/search", b"[]", {"Content-Type": "application/json"}, 422),
        ("/search", b'{"urls": "a"}', {"Content-Type": "application/json"}, 422),
        ("/search", b'{"urls": ["https://a/b"], "catalog": "../x"}',
         {"Content-Type": "application/json"}, 422),
        ("/search", b'{"urls": ["https://a/b"], "catalog": "none"}',
         {"Content-Type": "application/json"}, 404),
        ("/search", b'{"urls": ["https://a/b"], "catalog": "x", "more": 1}',
         {"Content-Type": "application/json"}, 422),
        ("/search", b"--x\r\nnonsense", {"Content-Type": "multipart/form-data; boundary=x"}, 422),
        ("/search", b"abc", {"Content-Type": "multipart/form-data"}, 400),
        ("/catalogs/none/items/a/pictures", b'{"urls": []}',
         {"Content-Type": "application/json"}, 422),
        ("/catalogs/%2e%2e/items/a/pictures", b'{"urls": ["https://a/b"]}',
         {"Content-Type": "application/json"}, 422),
        ("/catalogs", b'{"name": "../up"}', {"Content-Type": "application/json"}, 422),
        ("/catalogs", b'{"name": "a", "more": 1}', {"Content-Type": "application/json"}, 422),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_problem(
    web: WebRun, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    problem(web.client.send("POST", API + path, body, headers), status)


def test_uploads_have_a_limit(web: WebRun) -> None:
    files = {"a": bytes(UPLOAD_MAX_BYTES // 2 + 1), "b": bytes(UPLOAD_MAX_BYTES // 2 + 1)}
    assert "at most" in problem(send(web.client, "/search", files, catalog="x"), 413)
    many = {f"{number}": b"a" for number in range(201)}
    problem(send(web.client, "/search", many, catalog="x"), 400)
    urls = json.dumps({"catalog": "x", "urls": ["https://a/b"] * 201}).encode()
    kind = {"Content-Type": "application/json"}
    problem(web.client.send("POST", f"{API}/search", urls, kind), 413)


def test_jobs_are_listed_and_an_unknown_one_is_missing(web: WebRun) -> None:
    make(web.client, "listed", tea=[0])
    jobs = web.client.get(f"{API}/jobs?limit=1").json()
    assert len(jobs["items"]) == 1 and jobs["items"][0]["do"] == "add"
    problem(web.client.get(f"{API}/jobs/{'0' * 16}"), 404)
    cancelled = web.client.ask("DELETE", f"{API}/jobs/{jobs['items'][0]['id']}")
    assert cancelled.json()["state"] == "done"
