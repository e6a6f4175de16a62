"""repo_static/app.py"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from yarl import URL

from repo_static import app
from repo_static.store import Store


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("secret")
    root = tmp_path / "tree"
    root.mkdir()
    store = Store(root)
    for name in (
        "index.html",
        "ja/index.html",
        "a.crt",
        "a.pem",
        "a.crl",
        "a.css",
        "a.md",
        "a.json",
        "a.txt",
    ):
        store.replace(name, name.encode())
    (root / "empty").mkdir()
    (root / ".a.crl.new").write_text("half")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to(tmp_path)
    (root / "program.py").write_text("run me")
    return root


@pytest.fixture
async def get(tree: Path) -> AsyncIterator[Any]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", app.handler(tree))
    application.on_response_prepare.append(app.add_security_headers)
    server = TestServer(application)
    await server.start_server()
    async with ClientSession() as client:

        async def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
            url = URL(f"http://127.0.0.1:{server.port}{path}", encoded=True)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with client.request(method, url, allow_redirects=False, headers=named) as response:
                return response.status, response.headers, await response.read()

        yield ask
    await server.close()


@pytest.mark.clause("RFC 2585 section 4; RFC 8555 section 9.1")
@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/a.crt", "application/pkix-cert"),
        ("/a.crl", "application/pkix-crl"),
        ("/a.pem", "application/pem-certificate-chain"),
        ("/", "text/html; charset=utf-8"),
        ("/ja/", "text/html; charset=utf-8"),
        ("/a.css", "text/css; charset=utf-8"),
        ("/a.md", "text/markdown; charset=utf-8"),
    ],
)
async def test_each_kind_of_file_has_its_media_type(get: Any, path: str, media_type: str) -> None:
    status, headers, body = await get(path)
    assert status == 200
    assert headers["Content-Type"] == media_type
    assert body.decode() == path.removeprefix("/").replace("ja/", "ja/index.html") or path == "/"


async def test_head_has_the_headers_and_no_body(get: Any) -> None:
    status, headers, body = await get("/a.crl", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "5", b"")


@pytest.mark.clause("CP/CPS 2.4")
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_the_public_can_only_read(get: Any, tree: Path, method: str) -> None:
    status, headers, _ = await get("/a.crl", method)
    assert status == 405
    assert headers["Allow"] == "GET,HEAD"
    assert (tree / "a.crl").read_bytes() == b"a.crl"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/ja/../../secret.txt",
        "/ja/%2e%2e/%2e%2e/secret.txt",
        "//etc/passwd",
        "/%2Fetc%2Fpasswd",
        "/a.txt%00.crt",
        "/..\\secret.txt",
        "/link.txt",
        "/up/secret.txt",
        "/.a.crl.new",
        "/program.py",
        "/empty/",
        "/empty",
        "/a.txt/",
        "/a.txt/b",
        "/nothing",
        "/%FF",
        "/" + "a" * 4000,
    ],
)
async def test_nothing_but_the_public_files_is_found(get: Any, path: str) -> None:
    status, _, body = await get(path)
    assert status == 404
    assert b"secret" not in body
    assert b"half" not in body


async def test_a_directory_without_its_slash_is_redirected(get: Any) -> None:
    status, headers, _ = await get("/ja")
    assert (status, headers["Location"]) == (301, "/ja/")


async def test_a_conditional_request_is_not_modified(get: Any) -> None:
    _, headers, _ = await get("/a.crl")
    assert (await get("/a.crl", If_None_Match=headers["ETag"]))[0] == 304
    assert (await get("/a.crl", If_Modified_Since=headers["Last-Modified"]))[0] == 304


async def test_a_range_is_served(get: Any) -> None:
    status, _, body = await get("/a.crl", Range="bytes=2-")
    assert (status, body) == (206, b"crl")


async def test_a_query_is_ignored(get: Any) -> None:
    assert (await get("/a.crl?x=/../secret.txt"))[0] == 200


async def test_a_crl_may_be_cached_for_minutes_only(get: Any) -> None:
    assert (await get("/a.crl"))[1]["Cache-Control"] == "public, max-age=300"
