"""acme_server/handlers/{revocation,certificate}.py, registration/revocation.py."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core import revocations
from tests.support.acme_client import AcmeClient, Answer, b64, ec_key
from tests.support.acme_front import Front

NAMES = ("a.example.com", "b.example.com")
URL = "/acme/revoke-cert"


async def revoke(client: AcmeClient, certificate: x509.Certificate, **members: Any) -> Answer:
    return await client.post(URL, {"certificate": b64(certificate.public_bytes(Encoding.DER))} | members)


def revoked(front: Front) -> list[tuple[int, str]]:
    rows = front.database.reader.all("SELECT reason, cause FROM revocations")
    return [(row["reason"], row["cause"]) for row in rows]


@pytest.mark.clause("RFC 8555 section 7.6")
@pytest.mark.must("rfc8555.7.6.issuing-account")
@pytest.mark.parametrize("reason", [None, 0, 1, 3, 4, 5])
async def test_the_issuing_account_revokes(front: Front, subscriber: AcmeClient, reason: int | None) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    answer = await revoke(subscriber, certificate, **({} if reason is None else {"reason": reason}))
    assert (answer.status, answer.octets) == (200, b"")
    assert [row[0] for row in revoked(front)] == [reason or 0]
    assert front.wakes[-1] == "revocation"


@pytest.mark.clause("RFC 8555 section 7.6")
@pytest.mark.must("rfc8555.7.6.certificate-key", "rfc8555.6.2.jwk")
async def test_the_certificates_own_key_revokes_without_an_account(
    front: Front, subscriber: AcmeClient
) -> None:
    key = ec_key()
    _, certificate = await front.issued(subscriber, *NAMES, key=key)
    answer = await revoke(front.client(key), certificate, reason=4)
    assert answer.status == 200
    assert revoked(front)[0] == (4, "revokeCert, signed by the key pair of the certificate")


@pytest.mark.clause("RFC 8555 section 7.6")
@pytest.mark.must("rfc8555.7.6.authorized-account")
async def test_an_account_with_authorizations_for_all_names_revokes(
    front: Front, subscriber: AcmeClient
) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    other = await front.subscriber()
    await front.authorized(other, NAMES[0])
    partly = await revoke(other, certificate)
    assert (partly.status, partly.problem) == (403, "unauthorized")
    await front.authorized(other, NAMES[1])
    assert (await revoke(other, certificate)).status == 200
    assert [row[0] for row in revoked(front)] == [5]


@pytest.mark.clause("BR 4.9.1.1")
@pytest.mark.clause("BR 7.2.2")
@pytest.mark.parametrize(("reason", "recorded"), [(None, 5), (0, 5), (5, 5), (1, None), (3, None), (4, None)])
async def test_who_validated_anothers_names_may_only_say_that_they_changed_hands(
    front: Front, subscriber: AcmeClient, reason: int | None, recorded: int | None
) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    other = await front.subscriber()
    await front.authorized(other, *NAMES)
    before = front.counts()
    answer = await revoke(other, certificate, **({} if reason is None else {"reason": reason}))
    if recorded is not None:
        assert answer.status == 200
        assert [row[0] for row in revoked(front)] == [recorded]
    else:
        assert (answer.status, answer.problem) == (400, "badRevocationReason")
        assert "5 (cessationOfOperation)" in answer.body["detail"]
        assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.6")
@pytest.mark.must("rfc8555.7.6.authorized")
async def test_authorizations_that_have_expired_prove_nothing(front: Front, subscriber: AcmeClient) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    other = await front.subscriber()
    await front.authorized(other, *NAMES)
    front.clock.at += 30 * 86400
    answer = await revoke(other, certificate)
    assert (answer.status, answer.problem) == (403, "unauthorized")
    assert revoked(front) == []


@pytest.mark.clause("RFC 8555 section 7.6")
@pytest.mark.must("rfc8555.7.6.authorized")
@pytest.mark.parametrize("who", ["another account", "another key"])
async def test_who_proves_nothing_revokes_nothing(front: Front, subscriber: AcmeClient, who: str) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    client = await front.subscriber() if who == "another account" else front.client()
    before = front.counts()
    for _ in range(2):
        answer = await revoke(client, certificate, reason=1)
        assert (answer.status, answer.problem) == (403, "unauthorized")
    # Nothing changed; but who tried is in the audit log, once a minute.
    assert front.counts() == before | {"audit": before["audit"] + 1}
    assert len(front.audit("access.foreign-resource")) == 1
    assert front.wakes.count("revocation") == 0


@pytest.mark.clause("RFC 8555 section 7.6")
@pytest.mark.must("rfc8555.7.6.bad-reason", "rfc8555.7.6.reasons")
@pytest.mark.parametrize("reason", [2, 6, 7, 8, 9, 10, 11, -1, True, "1", 1.0, [1]])
async def test_a_reason_that_is_not_a_subscribers_is_refused_with_the_list(
    front: Front, subscriber: AcmeClient, reason: Any
) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    before = front.counts()
    answer = await revoke(subscriber, certificate, reason=reason)
    assert (answer.status, answer.problem) == (400, "badRevocationReason")
    assert "4 (superseded)" in answer.body["detail"]
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.6")
@pytest.mark.must("rfc8555.7.6.already-revoked")
async def test_revoking_twice_is_refused_and_changes_nothing(front: Front, subscriber: AcmeClient) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    assert (await revoke(subscriber, certificate, reason=4)).status == 200
    before = front.counts()
    answer = await revoke(subscriber, certificate, reason=1)
    assert (answer.status, answer.problem) == (400, "alreadyRevoked")
    assert front.counts() == before
    assert revoked(front)[0][0] == 4


@pytest.mark.clause("BR 7.2.2")
async def test_a_proven_compromise_changes_the_reason_afterwards_and_blocks_the_key(
    front: Front, subscriber: AcmeClient
) -> None:
    key = ec_key()
    _, certificate = await front.issued(subscriber, *NAMES, key=key)
    assert (await revoke(subscriber, certificate, reason=4)).status == 200
    assert (await revoke(front.client(key), certificate, reason=1)).status == 200
    assert revoked(front)[0][0] == 1
    assert front.counts()["blocked_keys"] == 1
    again = await revoke(front.client(key), certificate, reason=1)
    assert again.problem == "alreadyRevoked"


@pytest.mark.clause("BR 6.1.1.3")
async def test_an_accounts_word_blocks_no_key_and_the_keys_own_does_afterwards(
    front: Front, subscriber: AcmeClient
) -> None:
    key = ec_key()
    _, certificate = await front.issued(subscriber, *NAMES, key=key)
    assert (await revoke(subscriber, certificate, reason=1)).status == 200
    assert front.counts()["blocked_keys"] == 0
    await front.issued(subscriber, "c.example.com", key=key)
    assert (await revoke(front.client(key), certificate, reason=1)).status == 200
    assert front.counts()["blocked_keys"] == 1
    assert front.audit("key-blocked")[0]["subject"] == "certificate-key"


@pytest.mark.clause("RFC 8555 section 7.6")
async def test_a_certificate_that_is_not_ours_is_not_found_even_with_a_serial_of_ours(
    front: Front, subscriber: AcmeClient
) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    der = bytearray(certificate.public_bytes(Encoding.DER))
    der[-1] ^= 1
    before = front.counts()
    for octets in (bytes(der), front.issuance.chain_der):
        answer = await subscriber.post(URL, {"certificate": b64(octets)})
        assert (answer.status, answer.problem) == (404, "malformed")
    assert front.counts() == before


async def test_a_certificate_of_a_version_that_there_is_not_is_malformed(
    front: Front, subscriber: AcmeClient
) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    der = certificate.public_bytes(Encoding.DER).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
    answer = await subscriber.post(URL, {"certificate": b64(der)})
    assert (answer.status, answer.problem) == (400, "malformed")


@pytest.mark.parametrize("value", [None, 1, "", "AAAA", "-----BEGIN", "MAA="])
async def test_a_request_without_a_certificate_is_malformed(
    front: Front, subscriber: AcmeClient, value: Any
) -> None:
    before = front.counts()
    answer = await subscriber.post(URL, {"certificate": value})
    assert (answer.status, answer.problem) == (400, "malformed")
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.6")
async def test_the_revocation_is_in_the_register_before_the_answer_leaves(
    front: Front, subscriber: AcmeClient
) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    await revoke(subscriber, certificate)
    serial = front.database.reader.all("SELECT serial FROM certificates")[0]["serial"]
    status = revocations.status_of(front.database.reader, serial)
    assert status is not None
    assert status.revocation is not None


@pytest.mark.clause("RFC 8555 section 7.4.2")
async def test_a_certificate_is_shown_to_its_own_account_only(front: Front, subscriber: AcmeClient) -> None:
    order, _ = await front.issued(subscriber, *NAMES)
    url = order.body["certificate"]
    other = await front.subscriber()
    foreign = await other.post(url)
    assert (foreign.status, foreign.problem) == (403, "unauthorized")
    missing = await subscriber.post(url + "x")
    assert (missing.status, missing.problem) == (404, "malformed")
    assert len(front.audit("access.foreign-resource")) == 1


@pytest.mark.clause("RFC 8555 section 7.4.2")
async def test_a_revoked_certificate_can_still_be_downloaded(front: Front, subscriber: AcmeClient) -> None:
    order, certificate = await front.issued(subscriber, *NAMES)
    await revoke(subscriber, certificate)
    chain = await subscriber.post(order.body["certificate"])
    assert chain.octets.startswith(b"-----BEGIN CERTIFICATE-----\n")
    assert x509.load_pem_x509_certificates(chain.octets)[0] == certificate


@pytest.mark.clause("RFC 8555 section 7.6")
@pytest.mark.clause("Mozilla Root Store Policy 5.4")
@pytest.mark.parametrize("state", ["precertified", "issued"])
async def test_a_precertificate_revokes_too_whether_its_certificate_came_or_not(
    front: Front, subscriber: AcmeClient, state: str
) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    # To the register a precertificate is octets: those that a log shows to everybody.
    await front.database.write(
        lambda tx: tx.execute(
            "UPDATE certificates SET precertificate = certificate, state = ?, certificate = ?",
            (state, None if state == "precertified" else b"the final one"),
        )
    )
    assert (await revoke(subscriber, certificate)).status == 200
    assert [row[0] for row in revoked(front)] == [0]


@pytest.mark.clause("BR 4.9.3")
async def test_a_clock_that_stepped_back_stops_no_revocation(front: Front, subscriber: AcmeClient) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    latest = front.clock.now()
    front.clock.at -= 7200
    assert (await revoke(subscriber, certificate, reason=4)).status == 200
    (row,) = front.database.reader.all("SELECT revoked_at FROM revocations")
    assert row["revoked_at"] == latest
