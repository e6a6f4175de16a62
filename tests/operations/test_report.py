"""`acme-server status`: what it names as not conforming."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import today
from core.data_directory import DataDirectory
from operations import report
from operations.isolation import Isolation
from tests.core.test_today import FIVE_REMOTES, public


@pytest.mark.clause("CPS 6.2")
def test_a_root_token_that_was_not_brought_to_its_safe_is_named(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    walls = Isolation("")

    def faults() -> list[str]:
        return [each for each in report._not_conforming(data, "", walls, None) if "on-line" in each]

    assert faults() == []
    (data.tokens / "root").mkdir(parents=True)
    (said,) = faults()
    assert str(data.tokens / "root") in said
    assert "bring it to its safe" in said


@pytest.mark.row("mpic.start")
def test_rules_that_come_and_rules_that_bind_are_named_to_a_person() -> None:
    found = {
        "data": "d", "rules": "public", "directory": "u", "processes": {}, "certificates": {},
        "revocations": 0, "jobs": 0, "crls": [], "incidents": [], "succession": {"issuers": {}, "alarms": []},
        "holds": {"waiting": 2, "oldest": FIVE_REMOTES},
        "perspectives": {"elsewhere": [], "alarms": []},
        "vault": {"says": []}, "isolated": True,
        "coming": today.coming(public(4), FIVE_REMOTES - 1),
        "not_conforming": today.refusals(public(4), FIVE_REMOTES),
    }  # fmt: skip
    shown = report.screen(found)
    assert "WARNING  from 2026-12-15 on nothing can be issued with these settings" in shown
    assert (
        "2 orders wait for a person, the oldest since 2026-12-15 00:00 UTC: acme-server holds list" in shown
    )
    assert "NOT CONFORMING  validation.perspectives = 4 remote" in shown
