"""Fetching pictures from addresses, against real servers on loopback."""

import http.server
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from catalog_tools.fetch import Fetcher, FetchError, is_address
from catalog_tools.fetch_options import FetchOptions
from tests.catalog_tools.drawn_pictures import draw

LOOPBACK = ("127.0.0.0/8", "::1/128")


class Pages(http.server.BaseHTTPRequestHandler):
    """What the paths of the server do; `asked` has each request's path and host."""

    content = b""
    asked: list[tuple[str, str]]
    inside: str

    def do_GET(self) -> None:
        type(self).asked.append((self.path, self.headers["Host"]))
        getattr(self, f"get_{urlsplit(self.path).path.strip('/')}", self.get_missing)()

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def get_picture(self) -> None:
        self.answer(200, self.content)

    def get_missing(self) -> None:
        self.answer(404)

    def get_empty(self) -> None:
        self.answer(200)

    def get_moved(self) -> None:
        self.answer(302, Location="/picture")

    def get_round(self) -> None:
        self.answer(302, Location="/round")

    def get_inwards(self) -> None:
        self.answer(302, Location=type(self).inside)

    def get_file(self) -> None:
        self.answer(302, Location="file:///etc/passwd")

    def get_bucket(self) -> None:
        self.answer(302, Location="s3://bucket/key")

    def get_cut(self) -> None:
        self.answer(200, b"abc", Content_Length="1000")

    def get_large(self) -> None:
        self.answer(200, b"", Content_Length="99999999999")

    def get_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(10_000))
        except OSError:
            pass

    def get_packed(self) -> None:
        self.answer(200, b"abc", Content_Encoding="gzip")

    def get_drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(1000):
                self.wfile.write(b"a")
                time.sleep(0.05)
        except OSError:
            pass

    def get_head_drip(self) -> None:
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(1000):
                self.wfile.write(f"X-{number}: a\r\n".encode())
                time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[str, type[Pages]]]]:
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(
        host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> tuple[str, type[Pages]]:
        content = draw(tmp_path / "served.png", 1).read_bytes()
        pages = type("ThesePages", (Pages,), {"content": content, "asked": [], "inside": ""})
        server = http.server.ThreadingHTTPServer((host, 0), pages)
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://{host}:{server.server_port}", pages

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetcher(**options: object) -> Fetcher:
    return Fetcher(FetchOptions.model_validate({"networks": LOOPBACK, "http": True, **options}))


def refusal(address: str, **options: object) -> str:
    with pytest.raises(FetchError) as told:
        fetcher(**options).fetch(address)
    return str(told.value)


def test_a_picture_is_fetched_and_redirects_are_followed(serve: Callable[..., object]) -> None:
    url, pages = serve()
    assert fetcher().fetch(f"{url}/picture") == pages.content
    assert fetcher().fetch(f"{url}/moved") == pages.content
    assert fetcher().fetch(f"{url}/picture?größe=ü") == pages.content
    assert {host for _, host in pages.asked} == {urlsplit(url).netloc}


def test_nothing_inside_is_reached_unless_its_network_is_listed(
    serve: Callable[..., object],
) -> None:
    url, pages = serve()
    port = urlsplit(url).port
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0",
                 "[::1]", "[::ffff:127.0.0.1]", "[::]", "127.0.0.1."):  # fmt: skip
        told = refusal(f"http://{host}:{port}/picture", networks=())
        assert "not public" in told or "can't be found" in told, (host, told)
    assert pages.asked == []


def test_a_redirect_is_checked_as_the_first_address(serve: Callable[..., object]) -> None:
    url, pages = serve()
    inner, inner_pages = serve("127.0.0.2")
    pages.inside = f"{inner}/picture"
    assert fetcher().fetch(f"{url}/inwards") == pages.content
    inner_pages.asked.clear()
    assert "not public" in refusal(f"{url}/inwards", networks=("127.0.0.1/32",))
    assert inner_pages.asked == []
    assert "no web address" in refusal(f"{url}/file")
    assert "no web address" in refusal(f"{url}/bucket", buckets=("bucket",))
    assert refusal(f"{url}/round", redirects=3) == "is redirected more than 3 times"


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    serve: Callable[..., object],
) -> None:
    """A name server that gives another address at each look-up (DNS rebinding)."""
    url, pages = serve()
    port = urlsplit(url).port
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    options = FetchOptions(networks=LOOPBACK, http=True)
    rebinding = Fetcher(options, lambda *_: next(answers))
    assert rebinding.fetch(f"http://shop.test:{port}/picture") == pages.content
    assert pages.asked[0][1] == f"shop.test:{port}"
    both = Fetcher(options, lambda *_: ["127.0.0.1", "10.0.0.1"])
    with pytest.raises(FetchError, match="not public"):
        both.fetch(f"http://shop.test:{port}/picture")


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("missing", "its server has no such file (HTTP 404)"),
        ("empty", "is empty"),
        ("cut", "broke off, or is no web server's answer"),
        ("large", "has more than 0.1 MB"),
        ("endless", "has more than 0.1 MB"),
        ("packed", "is sent compressed, which was not asked for"),
        ("drip", "took longer than 0.5 s"),
        ("head_drip", "took longer than 0.5 s"),
    ],
)
def test_a_servers_faults_are_told(serve: Callable[..., object], page: str, told: str) -> None:
    url, _ = serve()
    timeout_s = 0.5 if "drip" in page else 20
    assert refusal(f"{url}/{page}", max_bytes=100_000, timeout_s=timeout_s) == told


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://user:secret@127.0.0.1/a.jpg", "holds a login"),
        ("ftp://127.0.0.1/a.jpg", "must begin with https://"),
        ("https:///a.jpg", "names no host"),
        ("https://127.0.0.1:99999/a.jpg", "is no address"),
        ("https://[::1/a.jpg", "is no address"),
        ("https://a b/c", "is no address"),
        ("https://a\r\nHost: b/c", "is no address"),
        ("https://a\\@b/c", "names no host"),
        ("https://" + "a" * 70 + ".test/", "is no address"),
        ("s3://bucket/key", "lies in a bucket that query.fetch.buckets does not list"),
        ("https://nowhere.invalid/a.jpg", "names a host that can't be found"),
    ],
)
def test_odd_addresses_are_refused(address: str, told: str) -> None:
    def find_none(*_: object) -> list[str]:
        raise OSError("no such host")

    options = FetchOptions(networks=LOOPBACK, http=True)
    with pytest.raises(FetchError) as refused:
        Fetcher(options, find_none).fetch(address)
    assert told in str(refused.value) and "secret" not in str(refused.value)


def test_http_must_be_allowed() -> None:
    assert refusal("http://127.0.0.1/a", http=False) == "must begin with https://"


def test_a_port_where_nobody_listens(serve: Callable[..., object]) -> None:
    assert refusal("http://127.0.0.1:9/a.jpg") == "can't be reached"


def test_tls_verifies_the_name_though_the_address_is_pinned(
    serve: Callable[..., object], tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key,
         "-out", cert, "-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    url, pages = serve(tls=server)
    port = urlsplit(url).port
    trusting = ssl.create_default_context(cafile=str(cert))
    options = FetchOptions(networks=LOOPBACK)

    def fetch(host: str, context: ssl.SSLContext | None = trusting) -> bytes:
        return Fetcher(options, lambda *_: ["127.0.0.1"], context).fetch(
            f"https://{host}:{port}/picture"
        )

    assert fetch("shop.test") == pages.content
    for host, context in (("other.test", trusting), ("shop.test", None)):
        with pytest.raises(FetchError, match="certificate that is not its server's"):
            fetch(host, context)


class Store(http.server.BaseHTTPRequestHandler):
    """As much of S3 as reading an object takes."""

    objects: dict[str, bytes]

    def do_HEAD(self) -> None:
        content = self.objects.get(urlsplit(self.path).path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Sat, 28 Nov 2026 12:00:00 GMT")
        self.end_headers()
        self.content = content

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.content or b"")

    def log_message(self, *_: object) -> None:
        pass


def test_objects_of_listed_buckets_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs", reason="the extra `s3` is not installed")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    objects = {"/shelf/a%20b.png": b"a picture", "/shelf/large": bytes(5000), "/shelf/empty": b""}
    store = type("ThisStore", (Store,), {"objects": objects})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), store) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        options = {"buckets": ("shelf",), "s3_endpoint": url, "max_bytes": 4000}
        assert fetcher(**options).fetch("s3://shelf/a b.png") == b"a picture"
        assert refusal("s3://shelf/missing.png", **options) == "is not in its bucket"
        assert refusal("s3://shelf/large", **options) == "has more than 0.004 MB"
        assert refusal("s3://shelf/empty", **options) == "is empty"
        assert "does not list" in refusal("s3://other/a.png", **options)
        assert refusal("s3://shelf", **options) == "names no object of its bucket"
        server.shutdown()


def test_what_is_an_address() -> None:
    assert is_address("HTTPS://a/b.jpg") and is_address("s3://a/b")
    assert not is_address("/a/b.jpg") and not is_address("https.jpg")
