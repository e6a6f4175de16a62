"""status/ocsp/several.py and live.py: what is signed while a stranger waits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from cryptography.x509 import ocsp

from core import der
from core.errors import Refused, TransientError
from core.settings import Limits
from signer.api import OcspList, OcspRequest
from status.ocsp.live import LiveSignatures
from status.ocsp.responder import Responder
from status.ocsp.several import check

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
Response = ocsp.OCSPResponseStatus
HOUR = 3600


def joined(*requests: bytes) -> bytes:
    """One request about all of them."""
    parts = []
    for each in requests:
        inner = each
        for _ in range(3):
            inner = der.only(inner, der.SEQUENCE).content
        parts.append(inner)
    return der.sequence(der.sequence(der.sequence(*parts)))


async def told(house: Any, *requests: bytes) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response((await house.responder.answer(joined(*requests))).der)


@pytest.mark.must("rfc6960.4.2.2.3.each")
@pytest.mark.must("rfc6960.4.2.2.3.no-more")
@pytest.mark.clause("RFC 6960 section 4.2.2.3")
async def test_each_certificate_asked_about_has_its_own_status_in_the_order_of_the_request(
    house: Any,
) -> None:
    good, revoked = await house.issue(), await house.issue()
    at = (await house.revoke(revoked, 1)).revoked_at
    response = await told(
        house, house.request(good), house.request(revoked, hash_name="sha1"), house.request(good)
    )
    said = [
        (each.serial_number, each.hash_algorithm.name, each.certificate_status) for each in response.responses
    ]
    first, second = (int.from_bytes(each, "big") for each in (good, revoked))
    assert said == [(first, "sha256", GOOD), (second, "sha1", REVOKED), (first, "sha256", GOOD)]
    assert [*response.responses][1].revocation_time_utc.timestamp() == at
    assert len(house.vault.ocsp_lists) == 1


@pytest.mark.clause("RFC 6960 section 2.3")
async def test_a_list_with_one_that_we_say_nothing_about_is_unauthorized_and_nothing_is_signed(
    house: Any,
) -> None:
    good, drawn = await house.issue(), await house.reserve()
    for other in (house.request(drawn), house.request(b"\x01\x02"), house.request(good, "rsa1")):
        response = await told(house, house.request(good), other)
        assert response.response_status is Response.UNAUTHORIZED
    assert house.vault.ocsp_lists == []


@pytest.mark.clause("RFC 6960 section 4.2.2.2")
async def test_certificates_of_two_issuers_are_not_answered_together(house: Any) -> None:
    one, other = await house.issue("ec1"), await house.issue("rsa1")
    response = await told(house, house.request(one, "ec1"), house.request(other, "rsa1"))
    assert response.response_status is Response.UNAUTHORIZED
    assert house.vault.ocsp_lists == []


async def test_more_than_the_limit_is_unauthorized_and_nothing_is_signed(house: Any) -> None:
    most = house.settings.status.ocsp_certificates
    requests = [house.request(await house.issue()) for _ in range(most + 1)]
    assert (await told(house, *requests)).response_status is Response.UNAUTHORIZED
    assert house.vault.ocsp_lists == []
    assert len([*(await told(house, *requests[:most])).responses]) == most


async def test_a_list_is_signed_anew_each_time(house: Any) -> None:
    requests = [house.request(await house.issue()) for _ in range(2)]
    await told(house, *requests)
    await told(house, *requests)
    assert len(house.vault.ocsp_lists) == 2


@pytest.mark.clause("BR 4.9.5")
async def test_a_revocation_that_commits_while_the_list_is_signed_is_in_the_answer(house: Any) -> None:
    one, other = await house.issue(), await house.issue()
    house.vault.gate = asyncio.Event()
    asking = asyncio.create_task(told(house, house.request(one), house.request(other)))
    await house.vault.waiting.wait()
    await house.revoke(other)
    house.vault.gate.set()
    assert [each.certificate_status for each in (await asking).responses] == [GOOD, REVOKED]


async def test_without_the_vault_a_list_is_try_later(house: Any) -> None:
    requests = [house.request(await house.issue()) for _ in range(2)]
    house.vault.away = True
    assert (await told(house, *requests)).response_status is Response.TRY_LATER


@pytest.mark.parametrize(
    "change",
    [{"serial": b"\x05"}, {"revoked_at": 5}, {"this_update": 6}, {"next_update": 7}, {"hash_name": "sha1"}],
)
async def test_a_signed_list_that_says_something_else_is_refused(house: Any, change: dict[str, Any]) -> None:
    now = house.clock.now()
    asked = OcspRequest("ec1", b"\x04", "sha256", now, now + HOUR, None, None)
    signed = await house.vault.sign_ocsp_list(OcspList((asked, replace(asked, **change))))
    with pytest.raises(Refused, match="mismatch"):
        check(signed.der, (asked, asked))
    with pytest.raises(Refused, match="mismatch"):
        check(signed.der, (asked,))


async def test_a_signed_list_that_outlives_its_responder_is_refused(house: Any) -> None:
    now = house.clock.now()
    asked = OcspRequest("ec1", b"\x04", "sha256", now, now + HOUR, None, None)
    house.vault.renew_responders(now + HOUR - 1)
    signed = await house.vault.sign_ocsp_list(OcspList((asked,)))
    with pytest.raises(Refused, match="outlive"):
        check(signed.der, (asked,))


@pytest.mark.must("rfc9919.8.4.limited")
@pytest.mark.clause("RFC 9919 section 8.4")
async def test_beyond_the_bound_of_live_signatures_the_answer_is_try_later(house: Any) -> None:
    limits = Limits(ocsp_signatures_address=3, ocsp_signatures_address_period=10)
    responder = Responder(
        house.reader,
        house.vault,
        house.clock,
        validity=4 * 86400,
        refresh=86400,
        live=LiveSignatures(limits, house.clock),
    )
    requests = [house.request(await house.issue()) for _ in range(5)]

    async def status(request: bytes, asker: str | None) -> ocsp.OCSPResponseStatus:
        return ocsp.load_der_ocsp_response((await responder.answer(request, asker)).der).response_status

    assert [await status(each, "192.0.2.1") for each in requests] == [Response.SUCCESSFUL] * 3 + [
        Response.TRY_LATER
    ] * 2
    assert await status(joined(*requests[:2]), "192.0.2.1") is Response.TRY_LATER
    assert await status(requests[0], "192.0.2.1") is Response.SUCCESSFUL  # it lies ready: nothing is counted
    assert await status(requests[3], "192.0.2.2") is Response.SUCCESSFUL
    assert await status(requests[4], None) is Response.SUCCESSFUL  # a trusted proxy counts for all only
    house.clock.at += 4
    assert await status(joined(*requests[:2]), "192.0.2.1") is Response.SUCCESSFUL


async def test_all_addresses_together_have_a_bound_of_their_own(house: Any) -> None:
    live = LiveSignatures(Limits(ocsp_signatures=4, ocsp_signatures_period=10), house.clock)
    for number in range(4):
        await live.take(f"192.0.2.{number}")
    with pytest.raises(TransientError, match="all addresses"):
        await live.take("192.0.2.9")


async def test_a_bound_of_zero_is_none(house: Any) -> None:
    live = LiveSignatures(Limits(ocsp_signatures=0, ocsp_signatures_address=0), house.clock)
    for _ in range(5000):
        await live.take("192.0.2.1")
