"""Methods and identifiers that few clients know, from order to certificate against a running CA."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address

import pytest
from aiohttp import ClientSession, TCPConnector
from cryptography import x509

from core import account_hash
from tests.support import tls, web
from tests.support.acme_client import AcmeClient, Answer, b64, csr, ec_key, thumbprint
from tests.support.ca import RunningCa
from tests.support.web import WebServer
from tests.world.world import World

METHODS = ["http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01"]
SECONDS = 60

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def everything(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    """A CA that offers every method, and has each order validated anew."""
    running = RunningCa(
        tmp_path_factory.mktemp("methods"),
        {
            "validation.resolvers": [world.resolver],
            "validation.methods": METHODS,
            "acme.authorization_reuse": 0,
        },
    )
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
async def subscriber(everything: RunningCa) -> AsyncIterator[AcmeClient]:
    """A client with an account."""
    trust = ssl.create_default_context(cafile=str(everything.trust_anchor))
    async with ClientSession(connector=TCPConnector(ssl=trust)) as http:
        client = AcmeClient(http, everything.base_url)
        await client.register()
        yield client


@pytest.mark.row("methods.ip")
@pytest.mark.clause("RFC 8738")
async def test_an_address_gets_a_certificate_by_http_01_and_another_by_tls_alpn_01(
    everything: RunningCa, subscriber: AcmeClient
) -> None:
    order, challenges = await opened(subscriber, "127.0.0.1")
    assert sorted(challenges) == ["http-01", "tls-alpn-01"]
    answer = f"{challenges['http-01']['token']}.{thumbprint(subscriber.key)}".encode()
    async with WebServer(web.response(answer), port=everything.http_port) as server:
        leaf = await finished(subscriber, order, challenges["http-01"]["url"], "127.0.0.1")
    assert "Host: 127.0.0.1\r\n" in server.requests[0]
    assert sans(leaf) == [x509.IPAddress(ip_address("127.0.0.1"))]

    order, challenges = await opened(subscriber, "127.0.0.1")
    answer = f"{challenges['tls-alpn-01']['token']}.{thumbprint(subscriber.key)}".encode()
    digest = tls.acme_identifier(hashlib.sha256(answer).digest())
    shown = tls.der(tls.certificate(tls.names("127.0.0.1"), (digest, True)))
    async with tls.TlsServer(tls.context(shown), port=everything.tls_alpn_port) as alpn:
        leaf = await finished(subscriber, order, challenges["tls-alpn-01"]["url"], "127.0.0.1")
    assert alpn.asked == ["1.0.0.127.in-addr.arpa"]
    assert sans(leaf) == [x509.IPAddress(ip_address("127.0.0.1"))]


@pytest.mark.row("methods.dns-persist-01")
@pytest.mark.clause("BR 3.2.2.4.22")
async def test_a_record_that_stays_serves_a_name_and_with_its_policy_a_wildcard(
    world: World, subscriber: AcmeClient
) -> None:
    order, challenges = await opened(subscriber, "stays.example.com")
    persistent = challenges["dns-persist-01"]
    [issuer] = persistent["issuerDomainNames"]
    assert "token" not in persistent
    assert subscriber.kid is not None
    own = account_hash.uris("stays.example.com", thumbprint(subscriber.key), subscriber.kid)[0]
    world.set_txt("_validation-persist.stays.example.com", f"{issuer}; accounturi={own}")
    leaf = await finished(subscriber, order, persistent["url"], "stays.example.com")
    assert sans(leaf) == [x509.DNSName("stays.example.com")]

    # The record was made before the account had another key.
    before = account_hash.uris("*", thumbprint(subscriber.key), subscriber.kid)[1]
    world.set_txt("_validation-persist.wild.example.com", f"{issuer}; accounturi={before}; policy=wildcard")
    new = ec_key()
    assert (await subscriber.change_key(new)).status == 200
    subscriber.key = new
    order, challenges = await opened(subscriber, "*.wild.example.com")
    leaf = await finished(subscriber, order, challenges["dns-persist-01"]["url"], "*.wild.example.com")
    assert sans(leaf) == [x509.DNSName("*.wild.example.com")]


async def opened(client: AcmeClient, name: str) -> tuple[Answer, dict[str, dict]]:
    """A new order and its challenges by type."""
    order = await client.order(name)
    assert order.status == 201, order.body
    authorization = (await client.post(order.body["authorizations"][0])).body
    return order, {each["type"]: each for each in authorization["challenges"]}


async def finished(client: AcmeClient, order: Answer, challenge: str, name: str) -> x509.Certificate:
    """The certificate of the order, once `challenge` was answered."""
    url = order.headers["Location"]
    await client.post(challenge, {})
    ready = await settled(client, url, "ready")
    done = await client.post(ready["finalize"], {"csr": b64(csr(ec_key(), [name]))})
    assert done.status == 200, done.body
    valid = await settled(client, url, "valid")
    return x509.load_pem_x509_certificate((await client.post(valid["certificate"])).octets)


async def settled(client: AcmeClient, url: str, status: str) -> dict:
    """The order once it has the status; the CA holds each poll, so this asks seldom."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        order: dict = (await client.post(url)).body
        if order["status"] in (status, "invalid"):
            assert order["status"] == status, order
            return order
        await asyncio.sleep(0.1)
    raise AssertionError(f"{url} did not get {status}")


def sans(leaf: x509.Certificate) -> list[x509.GeneralName]:
    """Its subjectAltName."""
    return list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
