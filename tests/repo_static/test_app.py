"""repo_static/app.py"""

from __future__ import annotations

import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from yarl import URL

from repo_static import app
from repo_static.store import EMPTY, Store


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


@pytest.mark.clause("RFC 9110 section 14")
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("bytes=2-", (206, b"crl", "bytes 2-4/5")),
        ("bytes=0-0", (206, b"a", "bytes 0-0/5")),
        ("bytes=1-99", (206, b".crl", "bytes 1-4/5")),
        ("bytes=-3", (206, b"crl", "bytes 2-4/5")),
        ("bytes=-99", (206, b"a.crl", "bytes 0-4/5")),
        ("bytes=5-", (416, None, "bytes */5")),
        ("bytes=-0", (416, None, "bytes */5")),
        ("bytes=0-0,2-3", (200, b"a.crl", None)),
        ("bytes=3-1", (200, b"a.crl", None)),
        ("bytes=-", (200, b"a.crl", None)),
        ("lines=1-2", (200, b"a.crl", None)),
        ("bytes=0-" + "9" * 5000, (200, b"a.crl", None)),
    ],
)
async def test_one_range_is_served_and_what_is_none_is_ignored(
    get: Any, wanted: str, expected: tuple[int, bytes | None, str | None]
) -> None:
    status, headers, body = await get("/a.crl", Range=wanted)
    assert status == expected[0]
    assert headers.get("Content-Range") == expected[2]
    if expected[1] is not None:
        assert (body, headers["Content-Length"]) == (expected[1], str(len(expected[1])))


async def test_a_range_of_head_is_ignored(get: Any) -> None:
    status, headers, _ = await get("/a.crl", "HEAD", Range="bytes=2-")
    assert (status, headers["Content-Length"]) == (200, "5")


@pytest.mark.clause("RFC 9110 section 13.1.5")
async def test_a_range_of_another_file_than_was_begun_is_answered_with_the_whole(
    get: Any, tree: Path
) -> None:
    _, headers, _ = await get("/a.crl")
    for same in (headers["ETag"], headers["Last-Modified"]):
        assert (await get("/a.crl", Range="bytes=2-", If_Range=same))[0] == 206
    Store(tree).replace("a.crl", b"newer")
    for old in (headers["ETag"], f"W/{headers['ETag']}", "Mon, 01 Jan 2001 00:00:00 GMT"):
        status, _, body = await get("/a.crl", Range="bytes=2-", If_Range=old)
        assert (status, body) == (200, b"newer")


@pytest.mark.clause("RFC 9110 section 8.8.3")
async def test_the_entity_tag_is_that_of_the_content(get: Any, tree: Path) -> None:
    _, first, _ = await get("/a.crl")
    (tree / "a.crl").touch()
    assert (await get("/a.crl"))[1]["ETag"] == first["ETag"]
    Store(tree).replace("a.crl", b"b.crl")
    assert (await get("/a.crl"))[1]["ETag"] != first["ETag"]
    assert not first["ETag"].startswith("W/")


@pytest.mark.clause("RFC 9110 section 13.1")
async def test_a_precondition_that_fails_is_told(get: Any) -> None:
    _, headers, _ = await get("/a.crl")
    assert (await get("/a.crl", If_Match='"other"'))[0] == 412
    assert (await get("/a.crl", If_Match=f'"other", {headers["ETag"]}'))[0] == 200
    assert (await get("/a.crl", If_Unmodified_Since="Mon, 01 Jan 2001 00:00:00 GMT"))[0] == 412
    assert (await get("/a.crl", If_None_Match="*"))[0] == 304
    assert (await get("/a.crl", If_None_Match=f"W/{headers['ETag']}"))[0] == 304
    assert (await get("/a.crl", If_Modified_Since="no date"))[0] == 200


async def test_what_is_not_modified_keeps_the_headers_that_a_cache_needs(get: Any) -> None:
    _, first, _ = await get("/a.md")
    status, headers, body = await get("/a.md", If_None_Match=first["ETag"])
    assert (status, body) == (304, b"")
    for name in ("ETag", "Cache-Control", "Vary", "Last-Modified"):
        assert headers[name] == first[name]


@pytest.mark.clause("RFC 9110 section 12.5.3")
@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
    ],
)
async def test_the_packed_variant_is_sent_to_who_accepts_it(
    get: Any, tree: Path, accepted: str, packed: bool
) -> None:
    text = b"text " * 100
    Store(tree).replace("long.md", text)
    status, headers, body = await get("/long.md", Accept_Encoding=accepted)
    assert (status, headers.get("Content-Encoding") == "gzip", body) == (200, packed, text)
    assert headers["Vary"] == "Accept-Encoding"
    assert headers["Content-Type"] == "text/markdown; charset=utf-8"
    # Strong tags differ where octets do.
    _, other, _ = await get("/long.md", Accept_Encoding="identity")
    assert (headers["ETag"] != other["ETag"]) is packed


async def test_a_packed_list_can_be_fetched_as_the_file_that_it_is(get: Any, tree: Path) -> None:
    Store(tree).grow("issued/2026-11-23.jsonl.gz", EMPTY, gzip.compress(b"{}\n"))
    _, headers, body = await get("/issued/2026-11-23.jsonl.gz", Accept_Encoding="gzip")
    assert headers["Content-Type"] == "application/gzip"
    assert "Content-Encoding" not in headers
    assert gzip.decompress(body) == b"{}\n"


async def test_a_large_file_comes_whole_and_in_parts(get: Any, tree: Path) -> None:
    content = bytes(range(256)) * 4096
    Store(tree).replace("large.crl", content)
    status, headers, body = await get("/large.crl")
    assert (status, headers["Content-Length"], body) == (200, str(len(content)), content)
    status, _, body = await get("/large.crl", Range="bytes=100000-900000")
    assert (status, body) == (206, content[100000:900001])
    status, headers, body = await get("/large.crl", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(content)), b"")


@pytest.mark.parametrize("name", ["repository.json", "roster.json"])
async def test_who_reads_what_the_manifest_replaced_is_led_to_it(get: Any, name: str) -> None:
    status, headers, _ = await get(f"/{name}")
    assert (status, headers["Location"]) == (301, "/manifest.json")


async def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(get: Any, tree: Path) -> None:
    os.mkfifo(tree / "pipe.txt")
    assert (await get("/pipe.txt"))[0] == 404


@pytest.mark.clause("RFC 8246")
async def test_a_certificate_never_changes(get: Any) -> None:
    assert (await get("/a.crt"))[1]["Cache-Control"] == "public, max-age=86400, immutable"


async def test_a_query_is_ignored(get: Any) -> None:
    assert (await get("/a.crl?x=/../secret.txt"))[0] == 200


async def test_a_crl_may_be_cached_for_minutes_only(get: Any) -> None:
    assert (await get("/a.crl"))[1]["Cache-Control"] == "public, max-age=300"
