"""Signed answers outlast a restart of the status process, and nothing that is not true any more does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ocsp

from status.ocsp.kept import Kept, KeptAnswers
from status.ocsp.responder import AnswerCache, Responder

NOW = 1_800_000_000
KEY = ("ec1", b"\x01", "sha1")
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER


def kept(version: int, this_update: int, der: bytes = b"answer") -> Kept:
    return Kept(version, this_update, this_update + 100, der, "etag")


def test_what_was_put_is_there_after_a_restart_until_it_is_over(tmp_path: Path) -> None:
    first = KeptAnswers(tmp_path / "answers", NOW)
    first.put(KEY, kept(0, NOW))
    first.close()
    second = KeptAnswers(tmp_path / "answers", NOW + 99)
    assert second.get(KEY) == kept(0, NOW)
    assert second.get(("ec1", b"\x01", "sha256")) is None
    second.close()
    third = KeptAnswers(tmp_path / "answers", NOW + 100)
    assert third.get(KEY) is None
    third.close()


@pytest.mark.clause("BR 4.9.9")
def test_an_older_answer_never_replaces_a_newer_one(tmp_path: Path) -> None:
    for version, this_update in ((2, NOW), (1, NOW + 5), (2, NOW - 5)):
        opened = KeptAnswers(tmp_path / "answers", NOW)
        opened.put(KEY, kept(version, this_update, b"%d" % version))
        opened.close()
    last = KeptAnswers(tmp_path / "answers", NOW)
    assert last.get(KEY) == kept(2, NOW, b"2")
    last.close()


def test_a_damaged_file_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "answers").write_bytes(b"no database at all" * 100)
    opened = KeptAnswers(tmp_path / "answers", NOW)
    assert opened.get(KEY) is None
    opened.put(KEY, kept(0, NOW))
    opened.close()


@pytest.fixture
def restarted(house: Any) -> Callable[[], KeptAnswers]:
    """Give the house a responder with an empty memory and the same file."""

    def restart() -> KeptAnswers:
        opened = KeptAnswers(house.data.root / "answers", house.clock.now())
        status = house.settings.status
        house._responder = Responder(
            house.reader,
            house.vault,
            house.clock,
            validity=status.ocsp_validity,
            refresh=status.ocsp_refresh,
            cache=AnswerCache(kept=opened),
        )
        return opened

    return restart


@pytest.mark.clause("BR 4.9.10")
async def test_after_a_restart_with_a_locked_vault_published_answers_stay_served(
    house: Any, restarted: Callable[[], KeptAnswers]
) -> None:
    serial, unasked = await house.issue(), await house.issue()
    before = restarted()
    assert (await house.ask(serial)).certificate_status is GOOD
    before.close()
    house.vault.away = True
    house.clock.at += house.settings.status.ocsp_refresh + 1
    after = restarted()
    assert (await house.ask(serial)).certificate_status is GOOD
    assert (await house.ask(unasked)).response_status is TRY_LATER
    house.clock.at += house.settings.status.ocsp_validity
    assert (await house.ask(serial)).response_status is TRY_LATER
    after.close()


async def test_a_kept_good_is_never_said_of_a_certificate_that_was_revoked_since(
    house: Any, restarted: Callable[[], KeptAnswers]
) -> None:
    serial = await house.issue()
    before = restarted()
    assert (await house.ask(serial)).certificate_status is GOOD
    before.close()
    await house.revoke(serial)
    house.vault.away = True
    after = restarted()
    assert (await house.ask(serial)).response_status is TRY_LATER
    house.vault.away = False
    assert (await house.ask(serial)).certificate_status is REVOKED
    after.close()
