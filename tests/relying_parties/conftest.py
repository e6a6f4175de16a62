"""A CA with sharded CRLs, and certificates of it that are good, revoked, expired and never issued."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.client import ChallengeServer, open_session
from tests.relying_parties.site import Site, TlsServer
from tests.support.acme_client import csr, ec_key
from tests.support.ca import RunningCa
from tests.support.clients import eventually, load, on_crl, parted
from tests.support.subscriber import Subscriber
from tests.world.world import World

STATES = {"good": "tlsserver", "revoked": "tlsserver", "expired": "moments"}
"""State of a certificate -> its profile."""

MOMENTS = 20
"""Seconds that a certificate of the profile lives."""

SUPERSEDED = 4


@pytest.fixture(scope="session")
def sharded_ca(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCa]:
    """Two CRLs for each issuer, so that the critical issuingDistributionPoint is met by everybody."""
    running = RunningCa(
        tmp_path_factory.mktemp("sharded"),
        {
            "validation.resolvers": [world.resolver],
            "status.crl_delay": 1,
            "status.crl_shards": 2,
            "profiles.tlsserver.offered": True,
            "profiles.moments.validity": MOMENTS,
        },
    )
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def sites(sharded_ca: RunningCa, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """State -> a host whose certificate is in it."""
    directory = tmp_path_factory.mktemp("sites")
    made = {state: _site(sharded_ca, directory, state) for state in STATES}
    asyncio.run(_obtain(sharded_ca, made))
    for state, site in made.items():
        leaf, issuer = parted(site.chain)
        made[state] = replace(site, certificate=leaf, issuer=issuer)
    certificate, issuer = load(made["revoked"].certificate), made["revoked"].issuer
    eventually(lambda: on_crl(sharded_ca, certificate, issuer), 10, "the revocation on its CRL")
    made["unknown"] = _never_issued(made["good"], directory)
    crls = b"".join(_pem_crl(sharded_ca.get(url)) for url in _crl_urls(sharded_ca))
    made["good"].crls.write_bytes(crls)
    servers = []
    try:
        for state in STATES:
            server = TlsServer(made[state].chain, made[state].key)
            servers.append(server)
            made[state] = replace(made[state], port=server.port)
        ends = load(made["expired"].certificate).not_valid_after_utc
        time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds() + 1))
        yield made
    finally:
        for server in servers:
            server.stop()


def _site(ca: RunningCa, directory: Path, state: str) -> Site:
    return Site(
        f"{state}.example.com",
        directory / f"{state}.pem",
        directory / f"{state}-chain.pem",
        directory / f"{state}.key",
        directory / "issuer.pem",
        ca.trust_anchor,
        directory / "crls.pem",
        f"{ca.public_url}/ocsp",
    )


async def _obtain(ca: RunningCa, sites: dict[str, Site]) -> None:
    http01 = ChallengeServer()
    await http01.start("127.0.0.1", ca.http_port)
    session = open_session(str(ca.trust_anchor), 8)
    try:
        subscriber = await Subscriber.register(session, ca.directory_url, http01)
        for state, site in sites.items():
            key = ec_key()
            site.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            url = await subscriber.order(site.host, profile=STATES[state])
            ended = await subscriber.finish(url, csr(key, (site.host,)))
            assert ended.status == "valid", ended.order
            site.chain.write_bytes(ended.chain)
        der = load(sites["revoked"].chain).public_bytes(Encoding.DER)
        revocation = {
            "certificate": base64.urlsafe_b64encode(der).rstrip(b"=").decode(),
            "reason": SUPERSEDED,
        }
        await subscriber.client.post(subscriber.client.directory["revokeCert"], revocation)
    finally:
        await session.close()
        await http01.stop()


def _never_issued(good: Site, directory: Path) -> Site:
    """Somebody else signed in the issuer's name: the serial number was never assigned."""
    real = load(good.certificate)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=real.issuer,
        subject_name=real.subject,
        public_key=key.public_key(),
        serial_number=real.serial_number ^ 0xFFFF,
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + timedelta(days=1),
        extensions=list(real.extensions),
    )
    path = directory / "unknown.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return replace(good, certificate=path)


def _crl_urls(ca: RunningCa) -> list[str]:
    return [f"{ca.public_url}/crl/{name}.crl" for name in ("root-0", "ec-1-0", "ec-1-1")]


def _pem_crl(der: bytes) -> bytes:
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
