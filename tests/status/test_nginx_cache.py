"""deploy/nginx-cache.conf: what a cache in front of the status process keeps, and for how long."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from status.ocsp.answer import UNAUTHORIZED, Answer
from status.ocsp.request import CertId
from tests.support.wire import GOOD, UNKNOWN, Pair, request
from tests.world.addresses import free_port

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx-cache.conf"
MAX_AGE = 2

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("nginx") is None, reason="nginx is not installed: apt-get install nginx-light"
    ),
]


@dataclass(frozen=True)
class Got:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Reports:
    """A page that says whose report of how many octets came."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post("/report/", self._take)

    async def _take(self, request: web.Request) -> web.Response:
        octets = await request.content.read()
        return web.Response(text=f"{len(octets)} {request.headers['X-Forwarded-For']}")


@dataclass
class Cache:
    """nginx, and the status server behind it, which counts."""

    url: str
    client: ClientSession
    pair: Pair
    answer: Answer
    asked: int = 0

    def at_hand(self, asked: CertId) -> Answer | None:
        self.asked += 1
        return self.answer if asked.serial == bytes([GOOD]) else UNAUTHORIZED

    async def get(self, serial: int = GOOD, safe: str = "", **options: Any) -> Got:
        path = "/ocsp/" + quote(base64.b64encode(request(serial)).decode(), safe=safe)
        async with self.client.get(URL(self.url + path, encoded=True), **options) as response:
            return Got(response.status, response.headers, await response.read())


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "a.crl").write_bytes(b"crl")
    pair = await Pair(root, max_age=MAX_AGE, now=int(time.time()), pages=[Reports()]).start()
    server = await asyncio.get_running_loop().create_server(pair.front, "127.0.0.1", 0)
    port = free_port()
    text = CONFIGURATION.read_text()
    for before, after in {
        "/run/nginx.pid": f"{tmp_path}/nginx.pid",
        "/var/cache/acme-status": f"{tmp_path}/cache",
        "127.0.0.1:14080": f"127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "listen 80 default_server reuseport": f"listen 127.0.0.1:{port} default_server reuseport",
        "server_tokens off;": f"server_tokens off; client_body_temp_path {tmp_path}/body;"
        f" proxy_temp_path {tmp_path}/proxy;",
    }.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    prologue = "daemon off;\n" + ("user root;\n" if os.geteuid() == 0 else "")
    (tmp_path / "nginx.conf").write_text(prologue + text)
    command = ["nginx", "-p", str(tmp_path), "-e", f"{tmp_path}/error.log", "-c", f"{tmp_path}/nginx.conf"]
    process = subprocess.Popen(command)
    async with ClientSession() as client:
        found = Cache(f"http://127.0.0.1:{port}", client, pair, pair.answers.good)
        pair.answers.at_hand = found.at_hand  # type: ignore[method-assign]
        pair.answers.seen = None  # so that it is asked each time
        for _ in range(400):
            try:
                async with client.get(f"{found.url}/nothing"):
                    break
            except OSError:
                assert process.poll() is None, (tmp_path / "error.log").read_text()
                await asyncio.sleep(0.02)
        yield found
    process.terminate()
    process.wait(10)
    server.close()
    await pair.stop()


@pytest.mark.must("rfc9919.7.2.proxies")
@pytest.mark.clause("RFC 9919 section 7.2")
async def test_a_second_question_is_answered_by_the_cache_with_the_same_headers(cache: Cache) -> None:
    first, second = await cache.get(), await cache.get()
    assert (first.headers["X-Cache"], second.headers["X-Cache"]) == ("MISS", "HIT")
    assert cache.asked == 1
    names = ("Cache-Control", "ETag", "Last-Modified", "Expires", "Content-Type", "Content-Length")
    assert [first.headers[name] for name in names] == [second.headers[name] for name in names]
    assert first.body == second.body == cache.answer.der


async def test_the_cache_answers_a_client_that_has_the_answer_already(cache: Cache) -> None:
    etag = (await cache.get()).headers["ETag"]
    again = await cache.get(headers={"If-None-Match": etag})
    assert (again.status, cache.asked) == (304, 1)


async def test_each_spelling_of_a_path_reaches_the_status_process_as_it_came(cache: Cache) -> None:
    for safe in ("", "/", "/+="):
        assert (await cache.get(safe=safe)).body == cache.answer.der


async def test_errors_and_posts_are_not_kept(cache: Cache) -> None:
    for _ in range(2):
        assert (await cache.get(UNKNOWN)).headers["X-Cache"] == "MISS"
    headers = {"Content-Type": "application/ocsp-request"}
    for _ in range(2):
        async with cache.client.post(f"{cache.url}/ocsp", data=request(), headers=headers) as response:
            assert await response.read() == cache.answer.der
    assert cache.asked == 4


@pytest.mark.clause("BR 4.9.5")
async def test_a_revocation_is_seen_behind_the_cache_at_the_latest_after_the_maximum_age(
    cache: Cache,
) -> None:
    loop = asyncio.get_running_loop()
    await cache.get()
    cache.answer = cache.answer._replace(der=b"revoked" * 20, this_update=int(time.time()), etag="ef" * 32)
    changed = asked = loop.time()
    while (await cache.get()).body != cache.answer.der:
        assert asked < changed + MAX_AGE + 2  # who asked later saw it, however long the answer took
        await asyncio.sleep(0.05)
        asked = loop.time()


async def test_what_is_old_and_has_not_changed_is_asked_for_without_its_octets(cache: Cache) -> None:
    await cache.get()
    until = asyncio.get_running_loop().time() + MAX_AGE + 5
    while (found := await cache.get()).headers["X-Cache"] == "HIT":
        assert asyncio.get_running_loop().time() < until
        await asyncio.sleep(0.05)
    assert found.headers["X-Cache"] == "REVALIDATED"
    assert found.body == cache.answer.der


@pytest.mark.clause("BR 4.9.3")
async def test_a_report_with_certificates_comes_through_and_its_sender_is_named(cache: Cache) -> None:
    async with cache.client.post(f"{cache.url}/report/", data=b"x" * 60_000) as response:
        assert (response.status, await response.text()) == (200, "60000 127.0.0.1")


async def test_the_repository_is_cached_too(cache: Cache) -> None:
    for expected in ("MISS", "HIT"):
        async with cache.client.get(f"{cache.url}/a.crl") as response:
            assert await response.read() == b"crl"
            assert response.headers["X-Cache"] == expected
