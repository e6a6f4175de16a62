"""deploy/nginx.conf: nginx serves the tree as repo_static/app.py does."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from repo_static import app
from repo_static.app import IMMUTABLE, MEDIA_TYPES, SECURITY_HEADERS
from repo_static.store import EMPTY, Store
from tests.world.addresses import free_port

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("nginx") is None, reason="nginx is not installed: apt-get install nginx-light"
    ),
]


class Status(BaseHTTPRequestHandler):
    """Stands for the status process: answers with the path it was asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, format: str, *args: object) -> None:
        del format, args


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        return None


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="module")
def site(directory: Path) -> Iterator[str]:
    root = directory / "tree"
    root.mkdir()
    store = Store(root)
    for suffix in MEDIA_TYPES:
        store.replace(f"a{suffix}", f"a{suffix}".encode())
        store.replace(f"long{suffix}", f"a{suffix}".encode() * 1000)
    store.grow("day.jsonl", EMPTY, b"{}\n")
    store.grow("day.jsonl.gz", EMPTY, gzip.compress(b"{}\n"))
    store.replace("index.html", b"index")
    store.replace("ja/index.html", b"ja")
    (directory / "secret.txt").write_text("secret")
    (root / "empty").mkdir()
    (root / ".a.crl.new").write_text("half")
    (root / "link.txt").symlink_to(directory / "secret.txt")
    (root / "up").symlink_to(directory)
    (root / "program.py").write_text("run me")

    status = HTTPServer(("127.0.0.1", 0), Status)
    Thread(target=status.serve_forever, daemon=True).start()
    port = free_port()
    text = CONFIGURATION.read_text()
    for before, after in {
        "/run/nginx.pid": f"{directory}/nginx.pid",
        "127.0.0.1:14080": f"127.0.0.1:{status.server_port}",
        "listen 80 default_server": f"listen 127.0.0.1:{port} default_server",
        "/var/lib/acme-server/repository": str(root),
        "server_tokens off;": "server_tokens off;"
        + "".join(f" {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy")),
    }.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    # The directories of a test belong to whoever runs it.
    prologue = "daemon off;\n" + ("user root;\n" if os.geteuid() == 0 else "")
    (directory / "nginx.conf").write_text(f"{prologue}error_log {directory}/error.log;\n{text}")
    command = ["nginx", "-p", str(directory), "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            ask(f"{url}/")
            break
        except urllib.error.URLError:
            assert process.poll() is None, (directory / "error.log").read_text()
    yield url
    process.terminate()
    process.wait(10)
    status.shutdown()
    status.server_close()


def ask(
    url: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, method=method, headers=headers or {})
    try:
        with urllib.request.build_opener(NoRedirect).open(request, timeout=10) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@pytest.mark.parametrize("suffix", MEDIA_TYPES)
def test_the_media_types_and_cache_times_are_the_same(site: str, suffix: str) -> None:
    media_type, seconds = MEDIA_TYPES[suffix]
    status, headers, body = ask(f"{site}/a{suffix}")
    assert (status, body) == (200, f"a{suffix}".encode())
    assert headers["Content-Type"] == media_type
    immutable = ", immutable" if suffix in IMMUTABLE else ""
    assert headers["Cache-Control"] == f"public, max-age={seconds}{immutable}"
    assert {"ETag", "Last-Modified"} <= headers.keys()


def test_the_security_headers_are_the_same(site: str) -> None:
    for path in ("/", "/a.crl", "/nothing.txt"):
        _, headers, _ = ask(f"{site}{path}")
        assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert headers["Server"] == "nginx"


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/a.crl", "/", "/nothing"])
def test_the_public_can_only_read(site: str, method: str, path: str) -> None:
    status, headers, _ = ask(f"{site}{path}", method)
    assert status == 405
    assert headers["Allow"].replace(" ", "") == "GET,HEAD"


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/..%2fsecret.txt",
            "/link.txt",
            "/up/secret.txt",
            "/program.py",
        ),
        *("/.a.crl.new", "/empty/", "/nothing", "/nothing.txt", "/ja/nothing/", "/a.txt/"),
    ],
)
def test_nothing_but_the_public_files_is_found(site: str, path: str) -> None:
    status, _, body = ask(f"{site}{path}")
    assert status in (400, 404)
    assert b"secret" not in body


def test_directories_have_their_index(site: str) -> None:
    assert ask(f"{site}/")[2] == b"index"
    assert ask(f"{site}/ja/")[2] == b"ja"
    status, headers, _ = ask(f"{site}/ja")
    assert (status, headers["Location"]) == (301, "/ja/")


@pytest.mark.parametrize("tail", ["MEU//a+b=", "MEU%2F%2Fa%2Bb%3D", "/MEU//a", ".hidden", "a.crl"])
def test_an_ocsp_request_reaches_the_status_process_as_it_came(site: str, tail: str) -> None:
    status, _, body = ask(f"{site}/ocsp/{tail}")
    assert (status, body.decode()) == (200, f"/ocsp/{tail}")


ALIKE = ("Content-Type", "Content-Encoding", "Content-Length", "Content-Range", "Cache-Control", "Location")
"""Headers that say the same, whoever serves.  Entity tags differ: nginx makes them of time and size."""


@pytest.fixture
async def ours(site: str, directory: Path) -> AsyncIterator[str]:
    """The same tree by repo_static/app.py."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", app.handler(directory / "tree"))
    server = TestServer(application)
    await server.start_server()
    yield f"http://127.0.0.1:{server.port}"
    await server.close()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Accept-Encoding": "gzip"},
        {"Accept-Encoding": "gzip;q=0"},
        {"Range": "bytes=10-19"},
        {"Range": "bytes=-5"},
        {"Range": "bytes=99999999-"},
        {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
        {"If-None-Match": "*"},
        {"If-Match": '"nothing"'},
    ],
    ids=lambda each: " ".join(f"{name} {value}" for name, value in each.items()) or "plain",
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_both_servers_answer_alike(site: str, ours: str, method: str, headers: dict[str, str]) -> None:
    if method == "HEAD" and "Range" in headers:
        pytest.skip("nginx sees a range in HEAD, too, which RFC 9110 section 14.2 has us ignore")
    names = [f"/long{suffix}" for suffix in MEDIA_TYPES]
    for name in (*names, "/", "/ja", "/day.jsonl", "/nothing.txt", "/repository.json", "/roster.json"):
        by_nginx, by_us = [
            await asyncio.to_thread(ask, f"{base}{name}", method, headers) for base in (site, ours)
        ]
        assert by_us[0] == by_nginx[0], name
        if by_us[0] < 400:
            assert by_us[2] == by_nginx[2] or by_us[0] == 301, name
            for each in ALIKE:
                if by_us[0] != 301 or each == "Location":
                    assert by_us[1].get(each) == by_nginx[1].get(each), (name, each)
            if "Content-Encoding" in by_us[1]:
                assert by_us[1]["Vary"] == by_nginx[1]["Vary"] == "Accept-Encoding"
