"""status/ocsp/responder.py"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from cryptography.x509 import ocsp

from core import certificates, der, revocations
from signer.api import OcspRequest, Signed
from status.ocsp.answer import UNAUTHORIZED
from status.ocsp.index.records import NotAnAnswer, taken_apart
from status.ocsp.representation import http_date, not_modified
from status.ocsp.request import read

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
Response = ocsp.OCSPResponseStatus
HOUR = 3600


@pytest.mark.must("rfc6960.2.2.good")
@pytest.mark.must("rfc6960.4.1.1.hashes")
@pytest.mark.clause("RFC 6960 section 2.2")
@pytest.mark.parametrize("issuer_id", ["ec1", "rsa1"])
@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
async def test_an_issued_certificate_is_good(house: Any, issuer_id: str, hash_name: str) -> None:
    serial = await house.issue(issuer_id)
    response = await house.ask(serial, issuer_id, hash_name)
    assert response.certificate_status is GOOD
    assert response.serial_number == int.from_bytes(serial, "big")
    assert response.hash_algorithm.name == hash_name


@pytest.mark.clause("RFC 6960 section 2.3")
async def test_of_our_own_servers_certificates_the_crl_alone_tells(house: Any) -> None:
    serial = await house.issue("local1")
    assert (await house.ask(serial, "local1")).response_status is Response.UNAUTHORIZED


@pytest.mark.must("rfc6960.2.2.revoked")
async def test_a_revoked_certificate_is_revoked_with_its_time_and_reason(house: Any) -> None:
    serial = await house.issue()
    revocation = await house.revoke(serial, 4)
    response = await house.ask(serial)
    assert response.certificate_status is REVOKED
    assert response.revocation_time_utc.timestamp() == revocation.revoked_at
    assert response.revocation_reason.value == "superseded"


@pytest.mark.clause("RFC 9110 section 8.8.2.2")
async def test_who_has_good_is_not_told_that_nothing_was_modified_in_the_second_of_the_revocation(
    house: Any,
) -> None:
    serial = await house.issue()
    [asked] = read(house.request(serial))
    good = await house.responder.answer(house.request(serial))
    date = http_date(good.this_update).decode()
    assert not_modified(house.responder.at_hand(asked), None, date)
    await house.revoke(serial)
    revoked = await house.responder.answer(house.request(serial))
    assert revoked.this_update == good.this_update
    assert not not_modified(revoked, None, date)
    house.clock.at += 2 * 24 * HOUR
    later = await house.responder.answer(house.request(serial))
    assert not_modified(later, None, http_date(later.this_update).decode())


@pytest.mark.must("rfc8555.7.6.no-reason")
async def test_a_revocation_without_a_reason_states_none(house: Any) -> None:
    serial = await house.issue()
    await house.revoke(serial, 0)
    assert (await house.ask(serial)).revocation_reason is None


@pytest.mark.must("rfc6960.2.3.unauthorized")
@pytest.mark.must("rfc9919.3.2.3.unauthorized")
@pytest.mark.clause("BR 4.9.10")
async def test_a_serial_nobody_drew_is_unauthorized(house: Any) -> None:
    await house.issue()
    assert (await house.ask(b"\x01\x02")).response_status is Response.UNAUTHORIZED
    assert house.vault.ocsp_requests == []


@pytest.mark.clause("BR 4.9.10")
@pytest.mark.parametrize("octets", [21, 255, 256, 3000])
async def test_a_serial_longer_than_any_is_unauthorized(house: Any, octets: int) -> None:
    serial = await house.issue()
    whole = house.request(serial)
    [asked] = read(whole)
    longer = asked._replace(serial=b"\x01" * octets)
    assert house.responder.at_hand(longer) is UNAUTHORIZED
    issuer = der.sequence(
        der.algorithm("2.16.840.1.101.3.4.2.1"),
        der.octet_string(asked.name_hash),
        der.octet_string(asked.key_hash),
        der.tlv(der.INTEGER, longer.serial),
    )
    request = der.sequence(der.sequence(der.sequence(der.sequence(issuer))))
    assert await house.responder.answer(request) is UNAUTHORIZED


@pytest.mark.clause("BR 4.9.10")
async def test_a_reserved_serial_is_unauthorized_until_its_signature_is_recorded(house: Any) -> None:
    serial = await house.reserve()
    assert (await house.ask(serial)).response_status is Response.UNAUTHORIZED
    await house.database.write(lambda tx: certificates.store(tx, serial.hex(), b"x", 1, bytes(32), None))
    assert (await house.ask(serial)).certificate_status is GOOD


@pytest.mark.clause("Mozilla Root Store Policy 5.4")
async def test_a_precertificate_alone_is_good_and_then_revoked(house: Any) -> None:
    serial = await house.precertify()
    assert (await house.ask(serial)).certificate_status is GOOD
    await house.revoke(serial)
    assert (await house.ask(serial)).certificate_status is REVOKED


async def test_an_abandoned_serial_is_unauthorized(house: Any) -> None:
    serial = await house.reserve()
    await house.database.write(lambda tx: certificates.abandon(tx, serial.hex()))
    assert (await house.ask(serial)).response_status is Response.UNAUTHORIZED


async def test_a_lost_serial_is_revoked(house: Any) -> None:
    serial = await house.reserve()
    await house.database.write(lambda tx: certificates.mark_lost(tx, serial.hex()))
    assert (await house.ask(serial)).certificate_status is REVOKED


async def test_a_serial_asked_of_another_issuer_is_unauthorized(house: Any) -> None:
    serial = await house.issue("ec1")
    assert (await house.ask(serial, "rsa1")).response_status is Response.UNAUTHORIZED


async def test_an_issuer_added_later_is_found(house: Any) -> None:
    serial = await house.issue("rsa1")
    house.responder._issuers._issuers.clear()
    assert (await house.ask(serial, "rsa1")).certificate_status is GOOD


async def test_a_second_question_needs_no_second_signature(house: Any) -> None:
    serial = await house.issue()
    first = await house.responder.answer(house.request(serial))
    house.clock.at += HOUR
    assert await house.responder.answer(house.request(serial)) == first
    assert len(house.vault.ocsp_requests) == 1


@pytest.mark.clause("BR 4.9.10")
async def test_at_hand_is_what_needs_no_signature_and_is_true(house: Any) -> None:
    serial = await house.issue()
    asked = read(house.request(serial))[0]
    assert house.responder.at_hand(asked) is None
    answer = await house.responder.answer(house.request(serial))
    assert house.responder.at_hand(asked) == answer
    await house.revoke(serial)
    assert house.responder.at_hand(asked) is None
    assert house.responder.at_hand(asked._replace(serial=b"\x01")) == UNAUTHORIZED
    assert len(house.vault.ocsp_requests) == 1


async def test_many_who_ask_at_once_share_one_signature(house: Any) -> None:
    serial = await house.issue()
    answers = await asyncio.gather(*(house.responder.answer(house.request(serial)) for _ in range(20)))
    assert len(set(answers)) == 1
    assert len(house.vault.ocsp_requests) == 1


@pytest.mark.must("rfc6960.2.4.times")
@pytest.mark.must("rfc9919.3.2.4.this-update")
@pytest.mark.must("rfc9919.7.1.refresh")
@pytest.mark.clause("BR 4.9.10")
async def test_an_answer_that_nobody_renewed_is_renewed_when_asked_for(house: Any) -> None:
    serial = await house.issue()
    first = await house.ask(serial)
    house.clock.at += house.settings.status.ocsp_refresh
    assert (await house.ask(serial)).this_update_utc == first.this_update_utc  # the keeper has some grace
    house.clock.at += house.settings.status.ocsp_refresh // 4
    response = await house.ask(serial)
    assert response.this_update_utc.timestamp() == house.clock.at
    assert len(house.vault.ocsp_requests) == 2


@pytest.mark.clause("BR 4.9.5")
async def test_a_revocation_is_seen_at_once_though_a_good_answer_is_cached(house: Any) -> None:
    serial = await house.issue()
    await house.ask(serial)
    await house.revoke(serial)
    assert (await house.ask(serial)).certificate_status is REVOKED


async def test_a_later_key_compromise_is_seen_at_once(house: Any) -> None:
    serial = await house.issue()
    await house.revoke(serial, 4)
    await house.ask(serial)
    await house.database.write(lambda tx: revocations.upgrade_reason(tx, serial, "a test"))
    assert (await house.ask(serial)).revocation_reason.value == "keyCompromise"


@pytest.mark.clause("BR 4.9.5")
async def test_a_revocation_that_commits_while_the_signer_is_paused_wins(house: Any) -> None:
    serial = await house.issue()
    house.vault.gate = asyncio.Event()
    asking = asyncio.create_task(house.ask(serial))
    await house.vault.waiting.wait()
    assert house.vault.ocsp_requests[0].revoked_at is None  # the signer holds a request that says good,
    await house.revoke(serial, 1)  # while the revocation commits
    house.vault.gate.set()
    assert (await asking).certificate_status is REVOKED
    assert (await house.ask(serial)).certificate_status is REVOKED
    assert [each.revoked_at is None for each in house.vault.ocsp_requests] == [True, False]


async def test_without_the_vault_a_valid_answer_is_still_given(house: Any) -> None:
    serial = await house.issue()
    first = await house.responder.answer(house.request(serial))
    house.vault.away = True
    house.clock.at += 2 * house.settings.status.ocsp_refresh
    assert await house.responder.answer(house.request(serial)) == first


async def test_without_the_vault_an_expired_answer_is_try_later(house: Any) -> None:
    serial = await house.issue()
    await house.ask(serial)
    house.vault.away = True
    house.clock.at += house.settings.status.ocsp_validity
    assert (await house.ask(serial)).response_status is Response.TRY_LATER


async def test_without_the_vault_a_good_answer_of_a_revoked_certificate_is_not_given(house: Any) -> None:
    serial = await house.issue()
    await house.ask(serial)
    await house.revoke(serial)
    house.vault.away = True
    assert (await house.ask(serial)).response_status is Response.TRY_LATER


@pytest.mark.must("rfc6960.2.3.try-later")
async def test_without_the_vault_an_unsigned_serial_is_try_later(house: Any) -> None:
    serial = await house.issue()
    house.vault.away = True
    assert (await house.ask(serial)).response_status is Response.TRY_LATER
    house.vault.away = False
    assert (await house.ask(serial)).certificate_status is GOOD


async def test_strangers_do_not_choose_how_long_the_log_gets(
    house: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serial = await house.issue()
    house.vault.away = True
    for _ in range(50):
        await house.ask(serial)
    assert len(caplog.records) == 1
    house.clock.at += 10
    await house.ask(serial)
    assert "(49 more since the last line)" in caplog.records[-1].getMessage()


@pytest.mark.clause("BR 4.9.10: nextUpdate not past the responder certificate")
async def test_next_update_never_passes_the_responder_certificate(house: Any) -> None:
    serial = await house.issue()
    until = house.clock.now() + 5 * HOUR
    house.vault.renew_responders(until)
    assert (await house.ask(serial)).next_update_utc.timestamp() == until


async def test_a_renewed_responder_is_noticed(house: Any) -> None:
    serial, other = await house.issue(), await house.issue()
    house.vault.renew_responders(house.clock.now() + 5 * HOUR)
    await house.ask(serial)
    house.vault.renew_responders(house.clock.now() + 500 * HOUR)
    response = await house.ask(other)
    assert response.next_update_utc.timestamp() == house.clock.now() + house.settings.status.ocsp_validity


async def test_an_expired_responder_is_try_later(house: Any) -> None:
    serial = await house.issue()
    house.vault.renew_responders(house.clock.now())
    assert (await house.ask(serial)).response_status is Response.TRY_LATER


async def test_what_is_no_request_is_malformed(house: Any) -> None:
    answer = await house.responder.answer(b"\x30\x03\x02\x01\x00")
    response = ocsp.load_der_ocsp_response(answer.der)
    assert response.response_status is Response.MALFORMED_REQUEST


async def test_a_client_that_goes_away_does_not_cancel_the_others(house: Any) -> None:
    serial = await house.issue()
    house.vault.gate = asyncio.Event()
    leaving = asyncio.create_task(house.ask(serial))
    staying = asyncio.create_task(house.ask(serial))
    await house.vault.waiting.wait()
    leaving.cancel()
    house.vault.gate.set()
    assert (await staying).certificate_status is GOOD
    with pytest.raises(asyncio.CancelledError):
        await leaving


@pytest.mark.parametrize(
    "change",
    [
        {"serial": b"\x05"},
        {"revoked_at": 1_795_392_000},
        {"this_update": 1_795_391_999},
        {"next_update": 1_795_399_999},
    ],
)
async def test_a_signed_answer_that_says_something_else_is_refused(
    house: Any, change: dict[str, Any]
) -> None:
    now = house.clock.now()
    asked = OcspRequest("ec1", b"\x04", "sha256", now, now + HOUR, None, None)
    signed = await house.vault.sign_ocsp(replace(asked, **change))
    with pytest.raises(NotAnAnswer):
        taken_apart(signed.der, asked, 0)


async def test_an_answer_that_outlives_its_responder_is_refused_and_not_given(house: Any) -> None:
    serial = await house.issue()
    sign = house.vault.sign_ocsp

    async def with_an_old_responder(request: OcspRequest) -> Signed:
        house.vault.renew_responders(request.next_update - 1)
        signed: Signed = await sign(request)
        return signed

    house.vault.sign_ocsp = with_an_old_responder
    assert (await house.ask(serial)).response_status is Response.TRY_LATER
    assert len(house.responder._fresh) == 0


@pytest.mark.clause("CPS 6.3.2")
async def test_after_its_end_an_issuer_says_nothing_any_more(house: Any) -> None:
    serial = await house.issue("ec1")
    end = int(house.vault.issuers["ec1"].certificate.not_valid_after_utc.timestamp())
    house.vault.renew_responders(end)
    house.clock.at = end
    assert (await house.ask(serial)).response_status is not ocsp.OCSPResponseStatus.UNAUTHORIZED
    house.clock.at = end + 1
    assert (await house.ask(serial)).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
