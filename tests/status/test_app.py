"""status/app.py"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from cryptography.x509 import ocsp
from yarl import URL

from status import app

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


@pytest.fixture
async def site(house: Any) -> Any:
    server = TestServer(app.build(house.responder, house.data.repository, house.clock))
    await server.start_server()
    async with ClientSession() as client:
        yield Site(server, client)
    await server.close()


class Site:
    """GET and POST with the path exactly as it is given."""

    def __init__(self, server: TestServer, client: ClientSession) -> None:
        self.server = server
        self.client = client

    def request(self, method: str, path: str, **options: Any) -> Any:
        url = URL(f"http://127.0.0.1:{self.server.port}{path}", encoded=True)
        return self.client.request(method, url, allow_redirects=False, **options)


def escaped(der: bytes) -> str:
    return quote(base64.b64encode(der).decode(), safe="")


@pytest.mark.must("rfc6960.A.1.post")
@pytest.mark.must("rfc6960.A.2.type")
@pytest.mark.must("rfc6960.A.2.length")
@pytest.mark.clause("RFC 6960 appendix A.1")
@pytest.mark.parametrize("path", ["/ocsp", "/ocsp/"])
async def test_post_is_answered(house: Any, site: Site, path: str) -> None:
    der = house.request(await house.issue())
    headers = {"Content-Type": "application/ocsp-request"}
    async with site.request("POST", path, data=der, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "application/ocsp-response"
        body = await response.read()
        assert response.headers["Content-Length"] == str(len(body))
        assert ocsp.load_der_ocsp_response(body).certificate_status is GOOD


@pytest.mark.parametrize("form", [escaped, lambda der: base64.b64encode(der).decode()])
async def test_get_is_answered(house: Any, site: Site, form: Any) -> None:
    for _ in range(8):  # some of these serials give "//", '+' and '='
        der = house.request(await house.issue())
        for path in (f"/ocsp/{form(der)}", f"/ocsp//{form(der)}"):
            async with site.request("GET", path) as response:
                assert ocsp.load_der_ocsp_response(await response.read()).certificate_status is GOOD


@pytest.mark.must("rfc9919.6.headers")
@pytest.mark.must("rfc9919.7.2.dates")
@pytest.mark.must("rfc9919.7.2.etag")
@pytest.mark.must("rfc9919.7.2.max-age")
@pytest.mark.clause("RFC 9919 section 7.2")
async def test_get_says_how_long_it_may_be_cached(house: Any, site: Site) -> None:
    path = f"/ocsp/{escaped(house.request(await house.issue()))}"
    async with site.request("GET", path) as response:
        answer = ocsp.load_der_ocsp_response(await response.read())
        assert parsedate_to_datetime(response.headers["Last-Modified"]) == answer.this_update_utc
        assert parsedate_to_datetime(response.headers["Expires"]) == answer.next_update_utc
        control = response.headers["Cache-Control"]
        etag = response.headers["ETag"]
        assert etag == f'"{hashlib.sha256(await response.read()).hexdigest()}"'
        assert "Date" in response.headers
    assert control == f"max-age={app.MAX_AGE}, public, no-transform, must-revalidate"
    async with site.request("GET", path, headers={"If-None-Match": etag}) as response:
        assert response.status == 304
        assert await response.read() == b""


@pytest.mark.must("rfc9919.7.2.max-age")
@pytest.mark.clause("RFC 9919 section 7.2")
async def test_the_cache_time_never_passes_next_update(house: Any, site: Site) -> None:
    house.vault.renew_responders(house.clock.now() + 90)
    path = f"/ocsp/{escaped(house.request(await house.issue()))}"
    async with site.request("GET", path) as response:
        assert response.headers["Cache-Control"].startswith("max-age=89,")  # "earlier than nextUpdate"


@pytest.mark.must("rfc9919.7.2.no-no-store")
@pytest.mark.clause("RFC 9919 section 7.2")
async def test_an_answer_to_post_has_the_headers_of_one_to_get(house: Any, site: Site) -> None:
    der = house.request(await house.issue())
    names = ("Cache-Control", "ETag", "Last-Modified", "Expires", "Content-Type", "Content-Length")
    async with site.request("GET", f"/ocsp/{escaped(der)}") as response:
        by_get = [response.headers[name] for name in names]
        assert "Pragma" not in response.headers
    headers = {"Content-Type": "application/ocsp-request"}
    async with site.request("POST", "/ocsp", data=der, headers=headers) as response:
        assert [response.headers[name] for name in names] == by_get


@pytest.mark.clause("RFC 9110 section 13.1.3")
async def test_a_get_of_what_has_not_changed_since_is_304(house: Any, site: Site) -> None:
    path = f"/ocsp/{escaped(house.request(await house.issue()))}"
    async with site.request("GET", path) as response:
        modified = response.headers["Last-Modified"]
    async with site.request("GET", path, headers={"If-Modified-Since": modified}) as response:
        assert (response.status, await response.read()) == (304, b"")
        assert "Content-Type" not in response.headers
        assert {"ETag", "Cache-Control", "Expires"} <= response.headers.keys()


@pytest.mark.clause("RFC 9110 section 9.3.2")
async def test_head_tells_what_get_would_send(house: Any, site: Site) -> None:
    path = f"/ocsp/{escaped(house.request(await house.issue()))}"
    names = ("Cache-Control", "ETag", "Last-Modified", "Expires", "Content-Type", "Content-Length")
    async with site.request("GET", path) as response:
        by_get = [response.headers[name] for name in names]
    async with site.request("HEAD", path) as response:
        assert [response.headers[name] for name in names] == by_get


@pytest.mark.clause("RFC 9110 section 15.5.6")
@pytest.mark.parametrize(
    ("path", "allowed"), [("/ocsp", "POST"), ("/ocsp/", "GET,HEAD,POST"), ("/ocsp/AAAA", "GET,HEAD")]
)
async def test_another_method_is_told_which_are_allowed(site: Site, path: str, allowed: str) -> None:
    async with site.request("DELETE", path) as response:
        assert response.status == 405
        assert sorted(response.headers["Allow"].split(",")) == sorted(allowed.split(","))


@pytest.mark.clause("RFC 9112 section 3.2")
async def test_a_request_without_a_host_or_with_two_is_refused(site: Site) -> None:
    for head in (b"", b"Host: a\r\nHost: b\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
        writer.write(b"GET / HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 10)).split(b" ")[1] == b"400"
        writer.close()
        await writer.wait_closed()


@pytest.mark.clause("RFC 9110 section 15.5.9")
async def test_a_body_that_does_not_come_ends_the_connection(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(app, "BODY_TIME", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    writer.write(
        b"POST /ocsp HTTP/1.1\r\nHost: a\r\nContent-Type: application/ocsp-request\r\n"
        b"Content-Length: 90\r\n\r\nsome"
    )
    said = await asyncio.wait_for(reader.readuntil(b"in time\n"), 10)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in said
    writer.close()
    await writer.wait_closed()


async def test_the_etag_changes_with_a_revocation(house: Any, site: Site) -> None:
    serial = await house.issue()
    path = f"/ocsp/{escaped(house.request(serial))}"
    async with site.request("GET", path) as response:
        etag = response.headers["ETag"]
    await house.revoke(serial)
    async with site.request("GET", path, headers={"If-None-Match": etag}) as response:
        assert ocsp.load_der_ocsp_response(await response.read()).certificate_status is REVOKED


@pytest.mark.must("rfc6960.2.3.unsigned")
@pytest.mark.must("rfc6960.2.3.malformed")
@pytest.mark.must("rfc9919.7.2.errors")
@pytest.mark.clause("RFC 6960 appendix A.2")
@pytest.mark.parametrize("path", ["/ocsp/!!!", "/ocsp/AAAA", "/ocsp/%00", "/ocsp/" + "A" * 3000])
async def test_a_malformed_get_is_http_200_and_malformed_request(site: Site, path: str) -> None:
    async with site.request("GET", path) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        answer = ocsp.load_der_ocsp_response(await response.read())
        assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


async def test_a_post_of_another_type_is_refused(site: Site) -> None:
    async with site.request("POST", "/ocsp", data=b"x", headers={"Content-Type": "text/plain"}) as response:
        assert response.status == 415


async def test_a_post_of_ten_megabytes_is_refused(site: Site) -> None:
    headers = {"Content-Type": "application/ocsp-request"}
    async with site.request("POST", "/ocsp", data=io.BytesIO(bytes(10_000_000)), headers=headers) as response:
        assert response.status == 413


@pytest.mark.clause("CP/CPS 2.4")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/ocsp", "/ocsp/AAAA", "/", "/trust-anchor.pem"])
async def test_other_methods_are_not_allowed(site: Site, method: str, path: str) -> None:
    async with site.request(method, path) as response:
        assert response.status == 405


async def test_every_answer_carries_the_security_headers_and_no_version(site: Site) -> None:
    for method, path in (("GET", "/nothing"), ("PUT", "/"), ("PUT", "/ocsp")):
        async with site.request(method, path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert response.headers["Server"] == "acme-server"


async def test_an_ocsp_answer_carries_only_what_is_for_machines(site: Site) -> None:
    async with site.request("GET", "/ocsp/AAAA") as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Server"] == "acme-server"
        assert "Content-Security-Policy" not in response.headers


async def test_the_repository_is_served_beside_it(house: Any, site: Site) -> None:
    await house.updater().update()
    async with site.request("GET", "/crl/ec1-0.crl") as response:
        assert response.status == 200
        assert response.content_type == "application/pkix-crl"
