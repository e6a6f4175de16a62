"""A compromised key at the front: what proves it, and what nobody may do with it afterwards."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509

from acme_server.registration import compromise
from core import blocked_keys
from tests.acme_server.test_revocation import NAMES, revoke, revoked
from tests.support.acme_client import AcmeClient, PrivateKey, b64, csr, ec_key
from tests.support.acme_front import Front
from tests.support.software_ca import spki

pytestmark = pytest.mark.clause("BR 4.9.12")


async def block(front: Front, key: PrivateKey) -> None:
    digest = hashlib.sha256(spki(key)).digest()
    await front.database.write(lambda tx: compromise.prove(tx, digest, "shown", actor="operator a"))


async def test_the_keys_own_word_revokes_its_siblings_in_every_account_and_tells_the_vault(
    front: Front, subscriber: AcmeClient
) -> None:
    key, other = ec_key(), await front.subscriber()
    _, first = await front.issued(subscriber, *NAMES, key=key)
    await front.issued(other, "other.example.com", key=key)
    await front.issued(other, "unharmed.example.com")
    assert (await revoke(front.client(key), first, reason=1)).status == 200
    assert [row[0] for row in revoked(front)] == [1, 1]
    await front.run_jobs()
    (blocked,) = blocked_keys.all_blocked(front.database.reader)
    assert front.vault_told == [blocked[0].hex()]
    assert front.database.reader.all("SELECT * FROM jobs") == []


@pytest.mark.parametrize("reason", [None, 0, 4])
async def test_the_keys_word_without_that_reason_blocks_nothing(
    front: Front, subscriber: AcmeClient, reason: int | None
) -> None:
    key = ec_key()
    _, first = await front.issued(subscriber, *NAMES, key=key)
    await front.issued(subscriber, "b.example.com", key=key)
    answer = await revoke(front.client(key), first, **({} if reason is None else {"reason": reason}))
    assert answer.status == 200
    assert len(revoked(front)) == 1
    assert (front.counts()["blocked_keys"], front.counts()["jobs"]) == (0, 0)


async def test_an_account_holders_word_revokes_its_own_certificate_only(
    front: Front, subscriber: AcmeClient
) -> None:
    key = ec_key()
    _, first = await front.issued(subscriber, *NAMES, key=key)
    await front.issued(subscriber, "b.example.com", key=key)
    assert (await revoke(subscriber, first, reason=1)).status == 200
    assert revoked(front) == [(1, "revokeCert, signed by the account that the certificate was issued to")]
    assert (front.counts()["blocked_keys"], front.counts()["jobs"]) == (0, 0)
    order = await front.authorized(subscriber, "c.example.com")
    again = await subscriber.post(order.body["finalize"], {"csr": b64(csr(key, ("c.example.com",)))})
    assert again.body["status"] == "processing"


@pytest.mark.clause("BR 6.1.1.3")
async def test_nobody_finalizes_with_a_blocked_key_and_the_order_stays_ready(
    front: Front, subscriber: AcmeClient
) -> None:
    key = ec_key()
    await block(front, key)
    for client in (subscriber, await front.subscriber()):
        order = await front.authorized(client, *NAMES)
        before = front.counts()
        answer = await client.post(order.body["finalize"], {"csr": b64(csr(key, NAMES))})
        assert (answer.status, answer.problem) == (400, "badCSR")
        assert "make a new key" in answer.body["detail"]
        assert front.counts() == before
        assert (await client.post(order.headers["Location"])).body["status"] == "ready"


@pytest.mark.clause("RFC 8555 section 11.1")
@pytest.mark.must("rfc8555.11.1.account-only")
@pytest.mark.parametrize("why", ["blocked", "a certificate's"])
async def test_no_account_begins_with_or_changes_to_such_a_key(
    front: Front, subscriber: AcmeClient, why: str
) -> None:
    key = ec_key()
    if why == "blocked":
        await block(front, key)
    else:
        await front.issued(subscriber, *NAMES, key=key)
    before = front.counts()
    answer = await front.client(key).register()
    assert (answer.status, answer.problem) == (400, "badPublicKey")
    answer = await subscriber.change_key(key)
    assert (answer.status, answer.problem) == (400, "badPublicKey")
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 11.1")
@pytest.mark.must("rfc8555.11.1.no-account-key", "rfc8555.11.1.any-account")
@pytest.mark.parametrize("state", ["current", "deactivated", "former"])
async def test_no_certificate_gets_a_key_that_is_or_was_an_accounts(
    front: Front, subscriber: AcmeClient, state: str
) -> None:
    other = await front.subscriber()
    key = other.key
    if state == "deactivated":
        assert other.kid is not None
        await other.post(other.kid, {"status": "deactivated"})
    if state == "former":
        await other.change_key(ec_key())
    order = await front.authorized(subscriber, *NAMES)
    before = front.counts()
    answer = await subscriber.post(order.body["finalize"], {"csr": b64(csr(key, NAMES))})
    assert (answer.status, answer.problem) == (400, "badCSR")
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.3.6")
async def test_an_account_whose_key_is_compromised_ends_and_keeps_its_certificates(
    front: Front, subscriber: AcmeClient
) -> None:
    _, certificate = await front.issued(subscriber, *NAMES)
    pending = await subscriber.order("later.example.com")
    await block(front, subscriber.key)
    assert (await subscriber.post(pending.headers["Location"])).status == 401
    assert revoked(front) == []
    assert isinstance(certificate, x509.Certificate)
    row = front.database.reader.one("SELECT status FROM orders WHERE status = 'invalid'")
    assert row is not None
    assert len(front.audit("account.deactivated")) == 1


async def test_an_account_that_gave_the_key_up_before_goes_on(front: Front, subscriber: AcmeClient) -> None:
    old = subscriber.key
    new = ec_key()
    await subscriber.change_key(new)
    subscriber.key = new
    await block(front, old)
    assert (await subscriber.order(*NAMES)).status == 201
