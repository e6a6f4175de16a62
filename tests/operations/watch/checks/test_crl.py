"""operations/watch/checks/crl.py: one thing at a time that is not well, and the watch says exactly that."""

from __future__ import annotations

import pytest

from operations.watch.finding import State
from tests.operations.watch.conftest import Watching
from tests.operations.watch.expected import CRL, one
from tests.support.paper_ca import DAY, HOUR, Page


@pytest.mark.clause("BR 4.9.7")
async def test_a_crl_out_of_date(watching: Watching) -> None:
    watching.ca.crl_this, watching.ca.crl_next = watching.ca.now - 8 * DAY, watching.ca.now - DAY
    one(await watching.not_well(), "crl", "out of date: nextUpdate was 1.0 d ago")


@pytest.mark.clause("BR 4.9.7")
async def test_a_crl_that_will_be_out_of_date_by_tomorrow_is_told_today(watching: Watching) -> None:
    ca = watching.ca
    ca.crl_this, ca.crl_next = ca.now - 6 * DAY - 20 * HOUR, ca.now + 4 * HOUR
    one(await watching.not_well(), "crl", "there is no newer one")


async def test_a_crl_that_was_not_renewed_last_night_is_warned_of(watching: Watching) -> None:
    ca = watching.ca
    ca.crl_this, ca.crl_next = ca.now - 36 * HOUR, ca.now + 7 * DAY - 36 * HOUR
    one(await watching.not_well(), "crl", "is 1.5 d old", State.WARN)


@pytest.mark.clause("BR 4.9.7")
async def test_a_crl_that_is_valid_for_too_long(watching: Watching) -> None:
    watching.ca.crl_next = watching.ca.now + 20 * DAY
    one(await watching.not_well(), "crl", "BR 4.9.7 allows ten days")


async def test_a_crl_from_the_future(watching: Watching) -> None:
    watching.ca.crl_this = watching.ca.now + 2 * HOUR
    one(await watching.not_well(), "crl", "in the future")


async def test_http_headers_that_let_caches_keep_a_crl_beyond_its_end(watching: Watching) -> None:
    watching.ca.crl_headers = {"Cache-Control": "max-age=604800"}
    watching.ca.crl_next = watching.ca.now + 6 * DAY
    one(await watching.not_well(), "crl", "let caches keep the CRL 1.0 d beyond its end")


async def test_the_roots_crl_is_asked_for_weeks_before_its_end(watching: Watching) -> None:
    watching.ca.root_crl_next = watching.ca.now + 20 * DAY
    one(await watching.not_well(), "crl", "ends in 20.0 d", State.WARN)


async def test_a_crl_with_a_wrong_signature(watching: Watching) -> None:
    watching.ca.crl_signer = watching.ca.stranger
    one(await watching.not_well(), "crl", "not signed by ec-1: wrong signature")


async def test_a_crl_that_is_none(watching: Watching) -> None:
    watching.ca.files[CRL] = Page(b"<html>we are sorry</html>")
    one(await watching.not_well(), "crl", "no CRL that can be read")


async def test_a_crl_number_that_fell(watching: Watching) -> None:
    assert await watching.not_well() == []
    watching.ca.crl_number = 5
    one(await watching.not_well(), "crl", "fell from 7 to 5")
    watching.ca.crl_number = 8
    assert await watching.not_well() == []


async def test_two_crls_of_one_number(watching: Watching) -> None:
    assert await watching.not_well() == []
    watching.ca.crl_this -= 600
    one(await watching.not_well(), "crl", "two CRLs have the number 7")


@pytest.mark.clause("BR 4.10.1")
async def test_an_entry_that_left_the_crl_while_ocsp_calls_it_good_is_a_lost_revocation(
    watching: Watching,
) -> None:
    lost = watching.ca.revoke(watching.ca.issue())
    assert await watching.not_well() == []
    del watching.ca.revoked[lost]
    watching.ca.crl_number += 1
    one(await watching.not_well(), "crl", f"serial {lost:x} left the CRL, and OCSP says that it is good")


@pytest.mark.clause("BR 4.10.1")
async def test_an_entry_that_left_the_crl_before_its_certificates_end_is_told_although_ocsp_remembers(
    watching: Watching,
) -> None:
    serial = await watching.ca.site("revoked", watching.ca.now - DAY, watching.ca.now + 30 * DAY)
    assert await watching.not_well() == []
    watching.ca.crl_leaves_out.add(serial)
    watching.ca.crl_number += 1
    found = await watching.not_well()
    assert {each.check for each in found} == {"crl", "site-revoked"}
    assert f"serial {serial:x} left the CRL 30.0 d before its certificate's end" in found[0].seen


async def test_entries_of_expired_certificates_may_leave(watching: Watching) -> None:
    ca = watching.ca
    gone = ca.revoke(ca.issue())
    watching.memory.know("ec-1", gone, ca.now - HOUR)
    assert await watching.not_well() == []
    ca.crl_leaves_out.add(gone)
    ca.crl_number += 1
    assert await watching.not_well() == []


async def test_half_of_all_entries_that_leave_at_once_are_not_believed_to_have_expired(
    watching: Watching,
) -> None:
    ca = watching.ca
    many = {ca.revoke(ca.issue()) for _ in range(40)}
    assert await watching.not_well() == []
    ca.crl_leaves_out |= many
    ca.crl_number += 1
    one(await watching.not_well(), "crl", "40 of 44 entries that were followed left at once")
