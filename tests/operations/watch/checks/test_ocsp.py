"""operations/watch/checks/ocsp.py: one thing at a time that is not well, and the watch says exactly that."""

from __future__ import annotations

import pytest

from operations.watch.finding import State
from tests.operations.watch.conftest import Watching
from tests.operations.watch.expected import all_of, one
from tests.support.paper_ca import DAY, HOUR, Page

OCSP = ("manifest-list", "ocsp-and-crl", "site-valid", "site-revoked", "site-expired")


@pytest.mark.clause("BR 4.9.10")
async def test_ocsp_out_of_date(watching: Watching) -> None:
    watching.ca.ocsp_this, watching.ca.ocsp_next = watching.ca.now - 4 * DAY, watching.ca.now - HOUR
    all_of(await watching.not_well(), "out of date: nextUpdate was 1.0 h ago", *OCSP)


@pytest.mark.clause("BR 4.9.10")
async def test_ocsp_that_is_not_renewed_eight_hours_before_its_end(watching: Watching) -> None:
    ca = watching.ca
    ca.ocsp_this, ca.ocsp_next = ca.now - 3 * DAY - 18 * HOUR, ca.now + 6 * HOUR
    all_of(await watching.not_well(), "there is no newer one", *OCSP)


@pytest.mark.clause("BR 4.9.10")
async def test_ocsp_older_than_four_days(watching: Watching) -> None:
    watching.ca.ocsp_this, watching.ca.ocsp_next = watching.ca.now - 5 * DAY, watching.ca.now + 2 * DAY
    all_of(await watching.not_well(), "BR 4.9.10 asks for a new one after four days", *OCSP)


@pytest.mark.clause("BR 4.9.10")
async def test_ocsp_that_is_valid_for_too_long_as_after_an_upgrade(watching: Watching) -> None:
    watching.ca.ocsp_next = watching.ca.now + 20 * DAY
    all_of(await watching.not_well(), "eight hours to ten days", *OCSP)


async def test_ocsp_past_half_of_its_life_is_warned_of(watching: Watching) -> None:
    watching.ca.ocsp_this, watching.ca.ocsp_next = watching.ca.now - 3 * DAY, watching.ca.now + DAY
    all_of(await watching.not_well(), "more than half of its life", *OCSP, state=State.WARN)


@pytest.mark.clause("BR 4.9.10")
async def test_ocsp_that_calls_a_serial_good_that_nobody_issued(watching: Watching) -> None:
    watching.ca.ocsp_blind = True
    one(await watching.not_well(), "ocsp-unassigned", "nobody issued is called good")


async def test_ocsp_that_does_not_know_a_certificate_that_is_shown(watching: Watching) -> None:
    serial = await watching.ca.site("valid", watching.ca.now - DAY, watching.ca.now + 60 * DAY)
    watching.ca.issued.remove(serial)
    one(await watching.not_well(), "site-valid", "OCSP says unauthorized")


async def test_ocsp_that_disagrees_with_the_crl(watching: Watching) -> None:
    serial = watching.ca.revoke(watching.ca.issue())
    watching.ca.ocsp_says[serial] = "good"
    one(await watching.not_well(), "ocsp-and-crl", "it is on the CRL, and OCSP says good")


async def test_a_cache_that_holds_an_old_answer_for_get(watching: Watching) -> None:
    serial = watching.ca.revoke(watching.ca.issue())
    watching.ca.ocsp_get_says[serial] = "good"
    one(await watching.not_well(), "ocsp-and-crl", "POST says revoked (superseded), GET says good")


async def test_a_cache_that_answers_for_another_certificate(watching: Watching) -> None:
    watching.ca.ocsp_mixes_up = True
    all_of(await watching.not_well(), "the answer is for", *OCSP)


async def test_ocsp_signed_by_somebody_else(watching: Watching) -> None:
    watching.ca.ocsp_signer = watching.ca.stranger
    all_of(await watching.not_well(), "not signed by the issuer", *OCSP)


async def test_a_responder_near_its_end(watching: Watching) -> None:
    ca = watching.ca
    ca.ocsp_next, ca.responder_ends = ca.now + DAY, ca.now + DAY + HOUR
    all_of(await watching.not_well(), "responder's certificate ends in", *OCSP, state=State.WARN)


@pytest.mark.clause("requirements 2.68")
async def test_an_answer_that_outlasts_its_responder(watching: Watching) -> None:
    watching.ca.responder_ends = watching.ca.now + 3 * DAY
    all_of(await watching.not_well(), "outlasts its responder", *OCSP)


async def test_http_headers_that_let_caches_keep_an_answer_beyond_its_end(watching: Watching) -> None:
    watching.ca.ocsp_headers = {"Cache-Control": "public, max-age=864000"}
    all_of(await watching.not_well(), "let caches keep an OCSP answer 6.0 d beyond", *OCSP)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (Page(b"", status=404), "HTTP status 404"),
        (Page(b"<html>", "text/html"), "no application/ocsp-response"),
        (Page(b"\x30\x03\x0a\x01\x06", "application/ocsp-response"), "unauthorized"),
        (Page(b"\x30\x03\x0a\x01\x03", "application/ocsp-response"), "TRY_LATER"),
        (Page(bytes(100_000), "application/ocsp-response"), "more than 65536 octets"),
        (Page(b"junk", "application/ocsp-response"), "no OCSP response that can be read"),
    ],
    ids=["404", "html", "unauthorized", "try-later", "huge", "junk"],
)
async def test_no_ocsp(watching: Watching, page: Page, words: str) -> None:
    watching.ca.files["/ocsp"] = page
    found = await watching.not_well()
    assert any(words in each.seen for each in found if each.check == "site-valid"), found
