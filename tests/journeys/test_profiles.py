"""Every profile from order to relying party, the times of an order, and an order that waits for a person."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from bench.client import ChallengeServer, open_session
from core.identifiers import type_of
from tests.support.acme_client import csr, ec_key
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.clients import addresses, eventually, load, ocsp, parted, run, verify
from tests.support.subscriber import Ended, Subscriber

DAY = 86400


@asynccontextmanager
async def subscribing(ca: RunningCa) -> AsyncIterator[Subscriber]:
    http01 = ChallengeServer()
    await http01.start("127.0.0.1", ca.http_port)
    session = open_session(str(ca.trust_anchor), 8)
    try:
        yield await Subscriber.register(session, ca.directory_url, http01)
    finally:
        await session.close()
        await http01.stop()


async def placed(subscriber: Subscriber, name: str, **members: Any) -> str:
    payload = {"identifiers": [{"type": type_of(name), "value": name}], **members}
    headers, _ = await subscriber.client.post(subscriber.client.directory["newOrder"], payload)
    return str(headers["Location"])


def obtained(ca: RunningCa, directory: Path, name: str, **members: Any) -> tuple[Ended, Path, Path]:
    """The order as it ended, the certificate and its issuer's."""

    async def obtain() -> Ended:
        async with subscribing(ca) as subscriber:
            url = await placed(subscriber, name, **members)
            return await subscriber.finish(url, csr(ec_key(), (name,)))

    ended = asyncio.run(obtain())
    assert ended.status == "valid", ended.order
    file = directory / "chain.pem"
    file.write_bytes(ended.chain)
    return ended, *parted(file)


def seconds(certificate: x509.Certificate) -> int:
    """Both ends included (BR 6.3.2)."""
    return int((certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds()) + 1


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
def test_shortlived_names_no_revocation_and_is_revoked_all_the_same(ca: RunningCa, tmp_path: Path) -> None:
    name = "shortlived.example.com"
    ended, leaf, issuer = obtained(ca, tmp_path, name, profile="shortlived")
    certificate = load(leaf)
    assert (ended.order["profile"], seconds(certificate)) == ("shortlived", 6 * DAY)
    verify(ca, leaf, issuer, name).ok()
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [each.access_method for each in access] == [AuthorityInformationAccessOID.CA_ISSUERS]
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)

    # Whoever asks where the certificate does not say is told the truth.
    assert ocsp(ca, leaf, issuer) == "good"
    serial = f"{certificate.serial_number:x}"
    words = ["revoke", serial, "--cause", "subscriber-request"]
    done = subprocess.run(ca.command(*words), capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    assert done.returncode == 0, done.stderr
    eventually(lambda: ocsp(ca, leaf, issuer) == "revoked", 20, "OCSP knows of it")
    eventually(lambda: certificate.serial_number in _revoked(ca), 20, "a CRL knows of it")


def test_an_address_has_six_days_with_revocation_when_its_order_names_no_profile(
    ca: RunningCa, tmp_path: Path
) -> None:
    ended, leaf, _ = obtained(ca, tmp_path, "127.0.0.1")
    certificate = load(leaf)
    assert (ended.order["profile"], seconds(certificate)) == ("ip", 6 * DAY)
    assert addresses(certificate) == ["127.0.0.1"]
    assert certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)


@pytest.mark.clause("RFC 5280 section 4.2.1.12")
@pytest.mark.parametrize(("profile", "client"), [("tlsserver", False), ("both-sides", True)])
def test_a_client_is_known_by_a_certificate_for_both_sides_only(
    ca: RunningCa, tmp_path: Path, profile: str, client: bool
) -> None:
    name = f"{profile}.example.com"
    _, leaf, issuer = obtained(ca, tmp_path, name, profile=profile)
    found = list(load(leaf).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert found == (both if client else both[:1])
    verify(ca, leaf, issuer, name).ok()
    asked = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", str(ca.trust_anchor)]
    assert (run([*asked, "-untrusted", str(issuer), str(leaf)], tmp_path).code == 0) is client


@pytest.mark.clause("RFC 8555 section 7.4")
def test_a_certificate_begins_and_ends_to_the_second_that_was_asked_for(
    ca: RunningCa, tmp_path: Path
) -> None:
    begins = int(time.time()) + 3600
    asked = {
        "notBefore": datetime.fromtimestamp(begins, UTC).isoformat(),
        "notAfter": datetime.fromtimestamp(begins + 10 * DAY, UTC).isoformat(),
    }
    ended, leaf, _ = obtained(ca, tmp_path, "times.example.com", **asked)
    certificate = load(leaf)
    assert certificate.not_valid_before_utc.timestamp() == begins
    assert certificate.not_valid_after_utc.timestamp() == begins + 10 * DAY
    for name in asked:
        assert datetime.fromisoformat(ended.order[name]) == datetime.fromisoformat(asked[name])


@pytest.mark.clause("BR 4.2.1")
def test_an_order_for_a_high_risk_name_waits_for_the_operators_word(ca: RunningCa) -> None:
    name = "www.high-risk.example.com"

    async def wait() -> Ended:
        async with subscribing(ca) as subscriber:
            url = await placed(subscriber, name)
            finishing = asyncio.create_task(subscriber.finish(url, csr(ec_key(), (name,))))
            waiting = await asyncio.to_thread(_waiting, ca, name)
            order = json.loads((await subscriber.client.post(url, None))[1])
            assert order["status"] == "processing"
            note = ["--note", "asked by telephone"]
            await asyncio.to_thread(_holds, ca, "approve", waiting["order_id"], *note)
            return await finishing

    ended = asyncio.run(wait())
    assert ended.status == "valid"
    assert name in ended.order["identifiers"][0]["value"]
    assert json.loads(_holds(ca, "list", "--json")) == []


def _waiting(ca: RunningCa, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        found = [each for each in json.loads(_holds(ca, "list", "--json")) if name in each["names"]]
        if found:
            return dict(found[0])
        assert time.monotonic() < deadline, "the order does not wait"
        time.sleep(0.2)


def _holds(ca: RunningCa, *words: str) -> str:
    done = subprocess.run(
        ca.command("holds", *words), capture_output=True, text=True, cwd=REPOSITORY, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _revoked(ca: RunningCa) -> set[int]:
    """The serial numbers on all CRLs of issuing CAs."""
    numbers = set()
    for file in (ca.data / "repository" / "crl").glob("*.crl"):
        numbers |= {each.serial_number for each in x509.load_der_x509_crl(file.read_bytes())}
    return numbers
