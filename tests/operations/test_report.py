"""`acme-server status`: what it names as not conforming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from acme_server.registration.binding_secret import BindingSecret
from acme_server.store import bindings
from acme_server.store.bindings import BindingKey
from core import today
from core.clock import FakeClock, SystemClock
from core.data_directory import DataDirectory
from core.database import Transaction
from core.randomness import SystemRandomness
from core.settings import Settings
from operations import report
from operations.isolation import Isolation
from tests.core.test_today import FIVE_REMOTES, public
from tests.support import redis_server
from tests.support.database import opened


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
        "closed": ["what a restore lost"],
        "clock": "the clock is 3600 s behind the last record",
        "revocations": 0, "jobs": 0, "crls": [], "incidents": [], "succession": {"issuers": {}, "alarms": []},
        "holds": {"waiting": 2, "oldest": FIVE_REMOTES},
        "problem_reports": {"alarm": True, "says": "1 problem reports are open, 1 TOO LATE"},
        "revocations_due": ["run r1 (BR 4.9.1.1 (3)): 2 certificates are not on a published CRL, OVERDUE"],
        "perspectives": {"elsewhere": [], "alarms": []},
        "manifest": {"sequence": 7, "next_update": "2026-12-15T00:00:00Z", "alarm": "it is stale"},
        "ocsp": {"says": "two signed ahead", "alarm": "OCSP ANSWERS OVERDUE: 2 of 2: catching up"},
        "vault": {"says": []}, "isolated": True,
        "redis": {"says": "well", "alarm": ""}, "bindings_lost": "3 keys: put the secret back",
        "documents": "cp-cps 1.0 is approved but not published", "production": True,
        "coming": today.coming(public(4), FIVE_REMOTES - 1),
        "not_conforming": today.refusals(public(4), FIVE_REMOTES),
    }  # fmt: skip
    shown = report.screen(found)
    assert "WARNING  from 2026-12-15 on nothing can be issued with these settings" in shown
    assert "manifest      7, next update 2026-12-15T00:00:00Z\n  ALARM  it is stale" in shown
    assert (
        "2 orders wait for a person, the oldest since 2026-12-15 00:00 UTC: acme-server holds list" in shown
    )
    assert "  ALARM  1 problem reports are open, 1 TOO LATE" in shown
    assert "NOT CONFORMING  validation.perspectives = 4 remote" in shown
    assert "redis         well" in shown
    assert "CLOSED  what a restore lost: acme-server reconcile" in shown
    assert "ALARM  the clock is 3600 s behind the last record" in shown
    assert "ALARM  3 keys: put the secret back" in shown
    assert "ALARM  cp-cps 1.0 is approved but not published" in shown


async def test_keys_of_external_accounts_whose_secret_was_lost_are_named_with_the_remedy(
    tmp_path: Path,
) -> None:
    data, now, settings = DataDirectory(tmp_path), 1_800_000_000, Settings()
    secret = BindingSecret.load("", data.bindings, SystemRandomness())
    good = BindingKey("a", "Anna", True, 0, secret.fingerprint, now, None, None)
    keys = [
        good,
        replace(good, kid="used", reusable=False, uses=1),
        replace(good, kid="expired", expires_at=now),
        replace(good, kid="withdrawn", withdrawn_at=now),
    ]

    def said() -> str:
        return str(report._from_database(settings, data, now)["bindings_lost"])

    def unit(tx: Transaction) -> None:
        for key in keys:
            bindings.insert(tx, key)

    async with opened(tmp_path, FakeClock(now)) as database:
        assert said() == ""
        await database.write(unit)
    assert said() == ""
    kept = data.bindings / "secret"
    kept.chmod(0o644)
    assert "chmod 600" in said()
    kept.unlink()
    assert said().startswith("1 keys of external accounts were derived from another secret")
    assert "acme.binding_secret_file" in said()
    BindingSecret.load("", data.bindings, SystemRandomness())
    assert "put the old one back" in said()


def test_a_redis_that_is_away_or_began_anew_is_named(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    assert report._redis(Settings(), data) == {"says": "", "alarm": ""}
    with redis_server.running(tmp_path / "redis") as redis:
        settings = Settings(redis=redis.settings)
        assert report._redis(settings, data) == {"says": "well", "alarm": ""}
        for since, says in ((SystemClock().now(), "nonces given out before"), (1_700_000_000, "well")):
            redis.ask("HSET", "{acme}:nonces:epoch", "since", str(since))
            assert report._redis(settings, data)["says"].startswith(says)
    away = report._redis(settings, data)
    assert away["says"] == ""
    assert "redis.url" in away["alarm"]
    assert "503" in away["alarm"]
