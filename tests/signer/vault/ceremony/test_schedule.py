"""A rollover by ceremony: an issuing CA that is planned, then scheduled; the vault keeps the days."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from core.errors import Refused
from core.settings import Settings
from signer.api import IssuerState
from signer.vault.sealed import hierarchy
from signer.vault.sealed.lifetimes import Life, must_issue
from signer.vault.sealed.seal import Hierarchy, SealedIssuer
from tests.support import ceremonies

PLANNED = """
[[steps]]
kind = "generate-key"
token = "issuing"
label = "ec-2"
algorithm = "ec-p256"
[[steps]]
kind = "issuing-certificate"
id = "ec-2"
common_name = "EC Issuing CA 2"
state = "planned"
[[steps]]
kind = "root-crl"
"""
SEAL = '[[steps]]\nkind = "seal"\n'
JUNE_FIRST = 1_811_808_000
"""2027-06-01T00:00:00Z."""


def hold(data: DataDirectory, steps: str) -> Hierarchy:
    return ceremonies.hold(data, ceremonies.script([], steps + SEAL), []).hierarchy


def schedule(issuer: str, **days: str) -> str:
    return f'[[steps]]\nkind = "schedule-issuer"\nissuer = "{issuer}"\n' + "".join(
        f"{name} = {day}\n" for name, day in days.items()
    )


def may_issue(sealed: Hierarchy, id: str, at: int) -> bool:
    """What the vault says of it."""
    each: SealedIssuer = next(each for each in sealed.issuers if each.id == id)
    issuer = hierarchy.authority(Settings(), id, each.certificate)
    try:
        must_issue(issuer, Life(each.state, each.since, each.until), at)
    except Refused:
        return False
    return True


@pytest.mark.clause("CPS 5.6")
def test_a_planned_issuer_takes_over_on_its_day_and_the_old_one_ends_on_its_own(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    ceremonies.hold(data, ceremonies.script([]), [])
    planned = hold(data, PLANNED)
    assert planned.issuers[-1].state is IssuerState.PLANNED
    assert not may_issue(planned, "ec-2", JUNE_FIRST)
    sealed = hold(data, schedule("ec-2", since="2027-06-01") + schedule("ec-1", until="2027-06-07"))
    assert may_issue(sealed, "ec-1", JUNE_FIRST)
    assert [may_issue(sealed, "ec-2", at) for at in (JUNE_FIRST - 1, JUNE_FIRST)] == [False, True]
    last = JUNE_FIRST + 7 * 86400 - 1
    assert [may_issue(sealed, "ec-1", at) for at in (last, last + 1)] == [True, False]


def test_what_was_retired_stays_retired(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    ceremonies.hold(data, ceremonies.script([]), [])
    hold(data, '[[steps]]\nkind = "retire-issuer"\nissuer = "ec-1"\n')
    with pytest.raises(Refused, match="stays so"):
        hold(data, schedule("ec-1"))
    assert hierarchy.load(data, Settings()).issuers[0].state is IssuerState.RETIRED


def test_no_issuer_is_scheduled_beyond_its_certificate(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    before = ceremonies.hold(data, ceremonies.script([]), []).hierarchy
    with pytest.raises(Refused, match="ends before"):
        hold(data, schedule("ec-1", until="2039-01-01"))
    assert hierarchy.load(data, Settings()) == before
