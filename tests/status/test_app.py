"""status/app.py"""

from __future__ import annotations

import base64
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


@pytest.mark.clause("RFC 6960 appendix A.1")
@pytest.mark.parametrize("path", ["/ocsp", "/ocsp/"])
async def test_post_is_answered(house: Any, site: Site, path: str) -> None:
    der = house.request(await house.issue())
    headers = {"Content-Type": "application/ocsp-request"}
    async with site.request("POST", path, data=der, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "application/ocsp-response"
        assert ocsp.load_der_ocsp_response(await response.read()).certificate_status is GOOD


@pytest.mark.parametrize("form", [escaped, lambda der: base64.b64encode(der).decode()])
async def test_get_is_answered(house: Any, site: Site, form: Any) -> None:
    for _ in range(8):  # some of these serials give "//", '+' and '='
        der = house.request(await house.issue())
        for path in (f"/ocsp/{form(der)}", f"/ocsp//{form(der)}"):
            async with site.request("GET", path) as response:
                assert ocsp.load_der_ocsp_response(await response.read()).certificate_status is GOOD


@pytest.mark.clause("RFC 9919 section 7.2")
async def test_get_says_how_long_it_may_be_cached(house: Any, site: Site) -> None:
    path = f"/ocsp/{escaped(house.request(await house.issue()))}"
    async with site.request("GET", path) as response:
        answer = ocsp.load_der_ocsp_response(await response.read())
        assert parsedate_to_datetime(response.headers["Last-Modified"]) == answer.this_update_utc
        assert parsedate_to_datetime(response.headers["Expires"]) == answer.next_update_utc
        control = response.headers["Cache-Control"]
        etag = response.headers["ETag"]
    assert control == f"max-age={app.MAX_AGE}, public, no-transform, must-revalidate"
    async with site.request("GET", path, headers={"If-None-Match": etag}) as response:
        assert response.status == 304
        assert await response.read() == b""


@pytest.mark.clause("RFC 9919 section 7.2")
async def test_the_cache_time_never_passes_next_update(house: Any, site: Site) -> None:
    house.vault.renew_responders(house.clock.now() + 90)
    path = f"/ocsp/{escaped(house.request(await house.issue()))}"
    async with site.request("GET", path) as response:
        assert response.headers["Cache-Control"].startswith("max-age=89,")  # "earlier than nextUpdate"


async def test_the_etag_changes_with_a_revocation(house: Any, site: Site) -> None:
    serial = await house.issue()
    path = f"/ocsp/{escaped(house.request(serial))}"
    async with site.request("GET", path) as response:
        etag = response.headers["ETag"]
    await house.revoke(serial)
    async with site.request("GET", path, headers={"If-None-Match": etag}) as response:
        assert ocsp.load_der_ocsp_response(await response.read()).certificate_status is REVOKED


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
