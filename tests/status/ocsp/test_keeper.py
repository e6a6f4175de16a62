"""The keeper has an answer about every serial of the register, and none of them is ever stale."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.x509 import ocsp

from core import answerable, certificates, revocations
from core.errors import TransientError
from status.keeper import Keeper
from status.keeper_state import KeeperState
from status.ocsp.index.index import Index
from status.ocsp.request import read
from status.ocsp.responder import Responder
from tests.support.keeper import Kept
from tests.support.software_vault import DAY

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
HOUR = 3600


@pytest.fixture
def kept(house: Any) -> Iterator[Kept]:
    made = Kept(house)
    yield made
    made.stop()


@pytest.mark.clause("BR 4.9.10")
@pytest.mark.parametrize("issuer_id", ["ec1", "rsa1"])
@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
async def test_what_is_issued_or_precertified_lies_ready_after_one_look(
    kept: Kept, issuer_id: str, hash_name: str
) -> None:
    await kept.work()
    serials = [await kept.house.issue(issuer_id), await kept.house.precertify(issuer_id)]
    await kept.news.look()
    for serial in serials:
        response = kept.ready(serial, issuer_id, hash_name)
        assert response.certificate_status is GOOD
        assert response.serial_number == int.from_bytes(serial)
        assert response.hash_algorithm.name == hash_name


async def test_a_signed_answer_comes_back_from_the_index_octet_for_octet(kept: Kept) -> None:
    serial = await kept.house.issue()
    await kept.house.revoke(serial, 4)
    signed: list[bytes] = []
    sign = kept.house.vault.sign_ocsp

    async def remember(request: Any) -> Any:
        answer = await sign(request)
        signed.append(answer.der)
        return answer

    kept.house.vault.sign_ocsp = remember
    await kept.work()
    found = [
        (await kept.house.responder.answer(kept.house.request(serial, hash_name=name))).der
        for name in ("sha1", "sha256")
    ]
    assert found == signed


@pytest.mark.clause("BR 4.9.10")
async def test_nothing_is_signed_about_what_is_only_drawn_or_given_up(kept: Kept) -> None:
    reserved, abandoned = await kept.house.reserve(), await kept.house.reserve()
    await kept.house.database.write(lambda tx: certificates.abandon(tx, abandoned.hex()))
    await kept.house.issue("local1")
    await kept.work()
    assert kept.house.vault.ocsp_requests == []
    await kept.house.database.write(
        lambda tx: certificates.store(tx, reserved.hex(), b"x", 1, bytes(32), None)
    )
    await kept.news.look()
    assert kept.ready(reserved).certificate_status is GOOD


async def test_what_was_reserved_when_the_keeper_died_is_found_when_it_is_back(kept: Kept) -> None:
    await kept.work()
    reserved = await kept.house.reserve()
    await kept.house.issue()
    await kept.news.look()
    kept.house.clock.at += 61
    await kept.news.look()
    kept.stop()
    await kept.house.database.write(
        lambda tx: certificates.store(tx, reserved.hex(), b"x", 1, bytes(32), None)
    )
    Kept.__post_init__(kept)
    await kept.news.look()
    assert kept.ready(reserved).certificate_status is GOOD


@pytest.mark.clause("BR 4.9.5")
async def test_a_revocation_lies_ready_after_one_look_and_overrules_until_then(kept: Kept) -> None:
    serial = await kept.house.issue()
    await kept.work()
    assert kept.ready(serial).certificate_status is GOOD
    await kept.house.revoke(serial, 4)
    assert kept.ready(serial) is None
    await kept.news.look()
    assert kept.ready(serial).certificate_status is REVOKED
    await kept.house.database.write(lambda tx: revocations.upgrade_reason(tx, serial, "a test"))
    assert kept.ready(serial) is None
    await kept.news.look()
    assert kept.ready(serial).revocation_reason.value == "keyCompromise"


@pytest.mark.clause("BR 4.9.5")
async def test_a_revocation_that_commits_while_a_round_signs_is_never_answered_good(kept: Kept) -> None:
    serial = await kept.house.issue()
    await kept.work()
    kept.house.clock.at += DAY
    kept.house.vault.gate = asyncio.Event()
    renewing = asyncio.create_task(kept.rounds.turn())
    await kept.house.vault.waiting.wait()  # the vault holds a request that says good,
    await kept.house.revoke(serial, 1)  # while the revocation commits
    kept.house.vault.gate.set()
    await renewing
    assert kept.ready(serial) is None  # the good answer was written, and the row overrules it
    assert (await kept.house.ask(serial)).certificate_status is REVOKED
    await kept.news.look()
    assert kept.ready(serial).certificate_status is REVOKED


@pytest.mark.clause("BR 4.9.5")
async def test_a_round_that_read_before_a_revocation_does_not_replace_its_answer(kept: Kept) -> None:
    serial = await kept.house.issue()
    await kept.work()
    kept.house.clock.at += DAY
    kept.house.vault.gate = asyncio.Event()
    renewing = asyncio.create_task(kept.rounds.turn())
    await kept.house.vault.waiting.wait()
    gate, kept.house.vault.gate = kept.house.vault.gate, None
    await kept.house.revoke(serial, 1)
    await kept.news.look()  # signs the revocation while the round still waits for its good answer
    gate.set()
    await renewing
    assert kept.ready(serial).certificate_status is REVOKED


@pytest.mark.clause("BR 4.9.5")
async def test_a_worker_with_an_old_generation_says_nothing_that_is_not_true_any_more(kept: Kept) -> None:
    serial = await kept.house.issue()
    await kept.work()
    status = kept.house.settings.status
    old = Responder(
        kept.house.reader,
        kept.house.vault,
        kept.house.clock,
        validity=status.ocsp_validity,
        refresh=status.ocsp_refresh,
        index=Index(kept.house.data.answers, kept.house.clock, every=1e9),  # it never looks again
    )
    [asked] = read(kept.house.request(serial))
    assert old.at_hand(asked) is not None
    await kept.house.revoke(serial, 1)
    assert old.at_hand(asked) is None
    for _ in range(3):  # files it has mapped are replaced and removed
        kept.house.clock.at += DAY
        await kept.work()
    assert old.at_hand(asked) is None
    response = ocsp.load_der_ocsp_response((await old.answer(kept.house.request(serial))).der)
    assert response.certificate_status is REVOKED


async def test_two_workers_give_the_same_octets(kept: Kept) -> None:
    serials = [await kept.house.issue() for _ in range(10)]
    await kept.work()
    status = kept.house.settings.status
    workers = [
        Responder(
            kept.house.reader,
            kept.house.vault,
            kept.house.clock,
            validity=status.ocsp_validity,
            refresh=status.ocsp_refresh,
            index=Index(kept.house.data.answers, kept.house.clock, every=0),
        )
        for _ in range(2)
    ]
    signed = len(kept.house.vault.ocsp_requests)
    for serial in serials:
        [asked] = read(kept.house.request(serial))
        first, second = (worker.at_hand(asked) for worker in workers)
        assert first is not None
        assert first == second
    assert len(kept.house.vault.ocsp_requests) == signed


async def test_while_the_register_cannot_be_read_what_was_published_is_said(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = await kept.house.issue()
    await kept.work()

    def away(rows: Any, serial: bytes) -> int:
        raise TransientError("ca.sqlite cannot be read now")

    assert kept.ready(serial) is not None
    [asked] = read(kept.house.request(serial))
    index = Index(kept.house.data.answers, kept.house.clock, every=0)
    worker = Responder(
        kept.house.reader, kept.house.vault, kept.house.clock, validity=4 * DAY, refresh=DAY, index=index
    )
    assert worker.at_hand(asked) is not None
    monkeypatch.setattr(answerable, "revocation", away)
    assert worker.at_hand(asked) is not None
    kept.house.clock.at += 4 * DAY
    assert worker.at_hand(asked) is None


async def test_a_register_that_is_older_than_what_was_published_takes_no_revocation_back(kept: Kept) -> None:
    serial = await kept.house.issue()
    await kept.house.revoke(serial, 1)
    await kept.work()
    await kept.house.database.write(lambda tx: tx.execute("DELETE FROM revocations"))
    kept.house.clock.at += DAY
    await kept.work()
    assert kept.ready(serial).certificate_status is REVOKED
    kept.house.clock.at += 4 * DAY
    await kept.work()
    assert (await kept.house.ask(serial)).response_status is ocsp.OCSPResponseStatus.TRY_LATER


async def test_a_register_that_was_replaced_is_compared_as_a_whole(kept: Kept) -> None:
    serials = [await kept.house.issue() for _ in range(3)]
    await kept.work()
    kept.house.clock.at += 61
    await kept.house.issue()
    await kept.news.look()
    kept.stop()
    await kept.house.database.write(
        lambda tx: tx.execute("UPDATE certificates SET id = id || 'x' WHERE rowid = 4")
    )
    late = await kept.house.issue()
    Kept.__post_init__(kept)
    await kept.work()
    for serial in (*serials, late):
        assert kept.ready(serial).certificate_status is GOOD


async def test_what_the_vault_refuses_spoils_nothing_else(kept: Kept) -> None:
    good, refused = await kept.house.issue(), await kept.house.issue()
    kept.house.vault.refuses = {refused}
    await kept.work()
    assert kept.ready(good).certificate_status is GOOD
    assert kept.ready(refused) is None
    before = len(kept.house.vault.ocsp_requests)
    await kept.work()
    assert len(kept.house.vault.ocsp_requests) == before


async def test_answers_that_the_vault_does_not_renew_end_in_no_silence(kept: Kept) -> None:
    good, refused = await kept.house.issue(), await kept.house.issue()
    await kept.work()
    assert kept.rounds.refused() == 0
    kept.house.vault.refuses = {refused}
    kept.house.clock.at += DAY
    await kept.work()
    assert kept.rounds.refused() == 2
    now, status = kept.house.clock.now(), kept.house.settings.status
    state = KeeperState(now, 4, 1, now, now + 4 * DAY, 0, kept.rounds.refused(), 0, 0, "")
    assert "REFUSED: 2 by the vault" in state.alarm(status, now)
    kept.house.vault.refuses = set()
    kept.house.clock.at += DAY
    await kept.work()
    assert kept.rounds.refused() == 0
    assert kept.ready(refused).this_update_utc == kept.ready(good).this_update_utc


async def test_while_the_vault_is_away_what_is_published_stays(kept: Kept) -> None:
    serial = await kept.house.issue()
    await kept.work()
    kept.house.vault.away = True
    kept.house.clock.at += DAY
    with pytest.raises(TransientError):
        await kept.work()
    assert kept.ready(serial).certificate_status is GOOD
    assert kept.rounds.overdue(kept.house.clock.now() + 2 * HOUR) == 2
    kept.house.vault.away = False
    await kept.work()
    assert kept.ready(serial).this_update_utc.timestamp() == kept.house.clock.now()
    assert kept.rounds.overdue(kept.house.clock.now()) == 0


@pytest.mark.clause("requirements 2.68")
async def test_answers_that_end_with_their_responder_are_signed_anew_when_it_is_renewed(kept: Kept) -> None:
    end = kept.house.clock.now() + 30 * HOUR
    kept.house.vault.renew_responders(end)
    serial = await kept.house.issue()
    await kept.work()
    assert kept.ready(serial).next_update_utc.timestamp() == end
    kept.house.clock.at += 10 * HOUR
    await kept.work()  # nothing better can be had yet, and nothing is signed in vain
    assert len(kept.house.vault.ocsp_requests) == 2
    kept.house.vault.renew_responders(end + 14 * DAY)
    await kept.work()
    assert kept.ready(serial).next_update_utc.timestamp() == kept.house.clock.now() + 4 * DAY


async def test_many_at_once_are_signed_by_the_rounds_in_segments(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept.work()
    monkeypatch.setattr("status.ocsp.news.TOO_MANY", 10)
    serials = [await kept.house.issue() for _ in range(40)]
    await kept.news.look()
    assert kept.ready(serials[0]) is None
    await kept.work()
    assert len(kept.writer.catalogue.segments) > 5
    assert all(kept.ready(serial).certificate_status is GOOD for serial in serials)
    for serial in serials:
        await kept.house.revoke(serial)
    await kept.work()
    assert all(kept.ready(serial).certificate_status is REVOKED for serial in serials)


@pytest.mark.clause("BR 4.9.5")
async def test_a_visit_takes_no_time_while_many_wait_for_the_rounds(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("status.keeper.LOOK_EVERY", 0)
    with contextlib.closing(Keeper(house.settings, house.data, house.clock, house.vault)) as keeper:
        await house.issue()
        await keeper.news.look()
        assert await keeper.rounds.turn() == 0
        pausing = asyncio.create_task(keeper.rounds._pause(600))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        assert not pausing.done()
        keeper.writer.want(answerable.Place(20_001, "", 0))
        async with asyncio.timeout(5):
            await pausing


async def test_a_round_spreads_over_the_day_and_is_steady_again_after_an_outage(kept: Kept) -> None:
    serials = [await kept.house.issue() for _ in range(40)]
    await kept.work()
    count = len(kept.writer.catalogue.segments)
    assert count > 5
    for away_for in (0, 30 * HOUR):
        kept.house.clock.at += away_for
        await kept.work()
        renewed = []
        for _ in range(48):
            before = kept.rounds.signed
            kept.house.clock.at += HOUR
            await kept.work()
            renewed.append(kept.rounds.signed - before)
        assert max(renewed[24:]) <= 2 * 2 * 6  # no hour has more than two segments of six serials
        assert sum(renewed[24:]) >= 2 * len(serials)
        ages = [kept.house.clock.now() - kept.ready(s).this_update_utc.timestamp() for s in serials]
        assert max(ages) <= DAY


@pytest.mark.long
@pytest.mark.clause("requirements 2.67")
async def test_over_a_year_of_issuing_revoking_and_outages_nothing_served_is_stale(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fsync", "fdatasync"):  # nothing crashes here, and a year has ten thousand of them
        monkeypatch.setattr(os, name, lambda descriptor: None)
    chance, living, revoked = random.Random(7), [], set()
    house = kept.house
    for step in range(366 * 4):
        house.clock.at += 6 * HOUR
        if step % 20 == 0:
            house.vault.renew_responders(house.clock.now() + 14 * DAY)
        if step % 6 == 0:
            living.append((await house.issue(days=chance.choice((6, 30, 90))), house.clock.now()))
        if living and chance.random() < 0.1:
            serial = chance.choice(living)[0]
            if serial not in revoked:
                await house.revoke(serial, 4)
                revoked.add(serial)
        house.vault.away = chance.random() < 0.05
        try:
            await kept.work()
        except TransientError:
            continue
        if chance.random() < 0.02:
            kept.stop()
            Kept.__post_init__(kept)
        now = house.clock.now()
        living = [each for each in living if certificates.by_serial(house.reader, each[0]).not_after >= now]
        for serial, _ in chance.sample(living, min(5, len(living))):
            response = kept.ready(serial)
            assert response.certificate_status is (REVOKED if serial in revoked else GOOD)
            assert response.this_update_utc.timestamp() <= now < response.next_update_utc.timestamp()
            assert now - response.this_update_utc.timestamp() <= DAY + 6 * HOUR
            assert response.next_update_utc <= response.certificates[0].not_valid_after_utc
    assert revoked
    assert len([*kept.writer.index.all()]) <= 2 * (len(living) + 12)  # what has expired has left


@pytest.mark.clause("RFC 6960 section 4.2.2.1")
async def test_at_the_second_of_next_update_an_answer_is_no_longer_given(kept: Kept) -> None:
    serial = await kept.house.issue()
    await kept.work()
    until = int(kept.ready(serial).next_update_utc.timestamp())
    kept.house.vault.away = True
    kept.house.clock.at = until - 1
    assert (await kept.house.ask(serial)).certificate_status is GOOD
    kept.house.clock.at = until
    assert kept.ready(serial) is None
    response = await kept.house.ask(serial)
    assert response.response_status is ocsp.OCSPResponseStatus.TRY_LATER
