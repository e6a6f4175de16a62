"""acme_server/store/attempts.py: every attempt is on record, whatever it showed (BR 5.4.1)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from acme_server.registration import caa_recheck
from acme_server.store import attempts
from core import tables
from core.clock import FakeClock
from core.database import Transaction
from core.errors import TransientError
from core.evidence import CaaSeen, ControlSeen, Result, SignedStatement, Statement
from core.outcome import Absence, Seen, View
from tests.support.acme_client import AcmeClient, b64, csr, ec_key
from tests.support.acme_front import BASE, Front
from tests.support.database import NOW, opened

NAME = "www.example.com"


async def answered(front: Front, client: AcmeClient, name: str = NAME) -> tuple[str, dict[str, Any]]:
    """A new order's authorization, its id and its http-01 challenge, which was answered."""
    order = await client.order(name)
    url = order.body["authorizations"][0]
    challenge = (await client.post(url)).body["challenges"][0]
    await client.post(challenge["url"], {})
    return url.rpartition("/")[2], challenge


@pytest.mark.clause("BR 5.4.1")
@pytest.mark.row("attacks.retry-shopping")
async def test_each_attempt_is_kept_with_its_result_and_what_each_perspective_said(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.undecided.add(NAME)
    authorization, challenge = await answered(front, subscriber)
    await front.run_jobs()
    front.perspectives.undecided.clear()
    front.clock.at += 9
    await front.run_jobs()

    first, second = attempts.of_authorization(front.database.reader, authorization)
    assert [each.outcome.result for each in (first, second)] == [Result.INDETERMINATE, Result.FAIL]
    assert first.outcome.attempt != second.outcome.attempt
    assert (second.challenge_id, second.order_id) == (challenge["url"].rpartition("/")[2], None)
    assert (second.name, second.method, second.adn) == (NAME, "http-01", NAME)
    assert second.oldest_datum == second.outcome.at == front.clock.at
    assert (second.outcome.problem, second.outcome.took) == ("connection", 5)
    (view,) = second.outcome.views
    assert view.control == Seen(Result.FAIL, "connection", f"{NAME}: connection refused")
    assert second.outcome.statements[0].statement().attempt == second.outcome.attempt
    assert (second.outcome.control_quorum, second.outcome.caa_quorum) == ("0/0", "0/0")


@pytest.mark.clause("BR 5.4.1")
async def test_the_audit_log_names_the_perspectives_and_the_quorum_and_is_tied_to_the_evidence(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.others = (
        View("sydney", Seen(Result.PASS), Seen(Result.FAIL, "caa", "no")),
        View("oregon", absence=Absence.SILENT, detail="no answer in time"),
    )
    front.perspectives.pass_names.add(NAME)
    authorization, _ = await answered(front, subscriber)
    await front.run_jobs()
    (record,) = front.audit("validation.result")
    content = json.loads(record["content"])
    assert content["perspectives"] == {
        "local": {"control": "pass", "caa": "pass"},
        "sydney": {"control": "pass", "caa": "fail"},
        "oregon": {"absent": "silent"},
    }
    assert (content["control"], content["caa"]) == ("1/2", "0/2")
    assert (content["name"], content["method"], content["adn"]) == (NAME, "http-01", NAME)
    assert content["oldest_datum"] == front.clock.at
    row = front.database.reader.one("SELECT statements FROM attempts")
    assert row is not None
    assert content["evidence"] == hashlib.sha256(row["statements"]).hexdigest()
    (kept,) = attempts.of_authorization(front.database.reader, authorization)
    assert kept.outcome.attempt == content["attempt"]
    assert kept.outcome.views[2].absence is Absence.SILENT


@pytest.mark.parametrize("sql", ["UPDATE attempts SET result = 'pass'", "DELETE FROM attempts"])
async def test_an_attempt_is_never_changed_and_never_taken_away(
    front: Front, subscriber: AcmeClient, sql: str
) -> None:
    await answered(front, subscriber)
    await front.run_jobs()
    with pytest.raises(sqlite3.IntegrityError, match="attempts"):
        await front.database.write(lambda tx: tx.execute(sql))
    assert front.counts()["attempts"] == 1


@pytest.mark.clause("BR 5.4.1")
@pytest.mark.row("attacks.caa-toctou")
async def test_caa_rechecks_are_attempts_of_their_order_whatever_they_show(
    front: Front, subscriber: AcmeClient
) -> None:
    order = await front.authorized(subscriber, NAME)
    authorization = order.body["authorizations"][0].rpartition("/")[2]
    front.clock.at += 7 * 3600 + 1
    front.perspectives.undecided = {NAME}
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    front.perspectives.undecided, front.perspectives.caa_forbids = set(), {NAME}
    await front.run_jobs()

    kept = attempts.of_authorization(front.database.reader, authorization)
    assert [(each.outcome.result, each.order_id is not None) for each in kept] == [
        (Result.PASS, False),
        (Result.INDETERMINATE, True),
        (Result.FAIL, True),
    ]
    assert kept[2].order_id == order.headers["Location"].rpartition("/")[2]
    assert kept[2].challenge_id is None
    assert (kept[2].outcome.control_quorum, kept[2].outcome.caa_quorum) == ("", "0/0")
    records = [json.loads(each["content"]) for each in front.audit("caa.result")]
    assert [(each["result"], each["problem"]) for each in records] == [
        ("indeterminate", "dns"),
        ("fail", "caa"),
    ]
    assert records[1]["perspectives"] == {"local": {"caa": "fail"}}
    after = (await subscriber.post(order.headers["Location"])).body
    assert (after["status"], after["error"]["type"].rpartition(":")[2]) == ("invalid", "caa")


@pytest.mark.row("attacks.retry-shopping")
async def test_a_recheck_that_was_seen_for_the_order_is_not_asked_again_and_one_that_was_not_is(
    front: Front, subscriber: AcmeClient
) -> None:
    names = [NAME, "other.example.com"]
    order = await front.authorized(subscriber, *names)
    front.clock.at += 7 * 3600 + 1
    front.perspectives.undecided = {names[1]}
    front.perspectives.asked.clear()
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), names))})
    await front.run_jobs()
    await front.run_jobs()
    assert [asked[0] for asked in front.perspectives.asked] == [names[0], names[1], names[1]]
    front.perspectives.undecided = set()
    await front.run_jobs()
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "valid"
    (approved,) = front.issuance.approved
    rechecks = [each.statement() for each in approved.evidence if each.statement().control is None]
    assert [each.name for each in rechecks] == names


async def test_a_recheck_that_got_too_old_while_another_was_waited_for_is_asked_again(
    front: Front, subscriber: AcmeClient
) -> None:
    names = [NAME, "other.example.com"]
    order = await front.authorized(subscriber, *names)
    front.clock.at += 7 * 3600 + 1
    front.perspectives.undecided = {names[1]}
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), names))})
    await front.run_jobs()
    front.clock.at += 7 * 3600 + 1
    front.perspectives.undecided, front.perspectives.caa_forbids = set(), {NAME}
    await front.run_jobs()
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "invalid"


async def test_rechecks_that_find_no_verdict_for_days_do_not_fill_the_record(
    front: Front, subscriber: AcmeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caa_recheck, "RECORDED", 3)
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 7 * 3600 + 1
    front.perspectives.undecided = {NAME}
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    for _ in range(6):
        await front.run_jobs()
    assert front.counts()["attempts"] == 1 + 3
    front.perspectives.undecided = set()
    await front.run_jobs()
    assert (await subscriber.post(order.headers["Location"])).body["status"] == "valid"
    assert front.counts()["attempts"] == 1 + 3 + 1


async def test_the_vault_gets_the_statements_of_the_attempt_that_passed_and_of_the_recheck(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.undecided.add(NAME)
    await answered(front, subscriber)
    await front.run_jobs()
    front.perspectives.undecided.clear()
    order = await front.authorized(subscriber, NAME)
    front.clock.at += 7 * 3600 + 1
    await subscriber.post(order.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})
    await front.run_jobs()
    (approved,) = front.issuance.approved
    seen = [each.statement() for each in approved.evidence]
    assert [each.control is not None for each in seen] == [True, False]
    assert {each.caa.result for each in seen if each.caa} == {Result.PASS}


@pytest.mark.clause("RFC 8555 section 7.3.6")
@pytest.mark.row("attacks.token-confusion")
async def test_the_pending_work_of_a_deactivated_account_is_cancelled_and_nobody_is_asked(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.pass_names.add(NAME)
    await answered(front, subscriber)
    await subscriber.post(subscriber.kid, {"status": "deactivated"})
    await front.run_jobs()
    assert front.perspectives.asked == []
    assert (front.counts()["jobs"], front.counts()["attempts"]) == (0, 0)


async def test_an_authorization_whose_time_is_over_is_not_looked_at_any_more(
    front: Front, subscriber: AcmeClient
) -> None:
    await answered(front, subscriber)
    front.clock.at += 7 * 86400
    await front.run_jobs()
    assert (front.perspectives.asked, front.counts()["jobs"]) == ([], 0)


@pytest.mark.row("attacks.token-confusion")
async def test_a_result_that_comes_after_the_deactivation_is_on_record_and_moves_nothing(
    front: Front, subscriber: AcmeClient
) -> None:
    front.perspectives.pass_names.add(NAME)
    authorization, challenge = await answered(front, subscriber)
    url = challenge["url"]

    async def deactivate() -> None:
        await subscriber.post(f"{BASE}/acme/authorization/{authorization}", {"status": "deactivated"})

    front.perspectives.meanwhile = deactivate
    await front.run_jobs()
    (kept,) = attempts.of_authorization(front.database.reader, authorization)
    assert kept.outcome.result is Result.PASS
    assert (await subscriber.post(url)).body["status"] == "processing"
    row = front.database.reader.one("SELECT status, attempt FROM authorizations")
    assert row is not None
    assert (row["status"], row["attempt"]) == ("deactivated", None)


@pytest.mark.row("errors.server-internal")
@pytest.mark.row("errors.processing-error")
@pytest.mark.parametrize("fault", [RuntimeError("a bug"), TransientError("busy")])
async def test_a_fault_before_any_verdict_leaves_the_challenge_as_it_is(
    front: Front, subscriber: AcmeClient, fault: Exception
) -> None:
    _, challenge = await answered(front, subscriber)
    front.perspectives.fault = fault
    if isinstance(fault, RuntimeError):
        with pytest.raises(RuntimeError):
            await front.run_jobs()
    else:
        await front.run_jobs()
    assert (await subscriber.post(challenge["url"])).body["status"] == "processing"
    assert front.counts()["jobs"] == 1
    front.perspectives.fault = None
    front.perspectives.pass_names.add(NAME)
    await front.run_jobs()
    assert (await subscriber.post(challenge["url"])).body["status"] == "valid"


async def test_what_older_software_stored_with_authorizations_becomes_their_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, new = tmp_path / "ca.sqlite", tables.migrations()
    monkeypatch.setattr(tables, "migrations", lambda: new[:2])
    tables.migrate(path, FakeClock(NOW))
    statement = Statement(
        "local", f"*.{NAME}", "u", "a", NOW, ControlSeen("dns-01", NAME, Result.PASS), CaaSeen(Result.PASS)
    )
    signed = (SignedStatement(b"key", msgspec.msgpack.encode(statement), b"signature"),)
    connection = sqlite3.connect(path)
    connection.executescript(
        "INSERT INTO accounts VALUES ('acc', 'u', 'valid', '[]', NULL, NULL, 1);"
        "INSERT INTO orders (id, account_id, status, identifiers, profile, expires, created_at)"
        " VALUES ('o', 'acc', 'ready', '[]', 'p', 9, 1);"
        "INSERT INTO authorizations (id, account_id, status, type, value, wildcard, expires, created_at)"
        f" VALUES ('pending', 'acc', 'pending', 'dns', 'b', 0, 9, 1),"
        f" ('z', 'acc', 'valid', 'dns', '{NAME}', 1, 9, 1);"
        "INSERT INTO challenges (id, authorization_id, type, status, token)"
        " VALUES ('c1', 'z', 'http-01', 'pending', 't'), ('c2', 'z', 'dns-01', 'valid', 't');"
        "INSERT INTO order_authorizations VALUES ('o', 0, 'z');"
    )  # fmt: skip
    connection.execute(
        "UPDATE authorizations SET method = 'dns-01', adn = ?, oldest_datum = ?, evidence = ? WHERE id = 'z'",
        (NAME, NOW, msgspec.msgpack.encode(signed)),
    )
    connection.commit()
    connection.close()

    monkeypatch.setattr(tables, "migrations", lambda: new)
    tables.migrate(path, FakeClock(NOW))
    async with opened(tmp_path) as database:
        (kept,) = attempts.of_authorization(database.reader, "z")
        assert (kept.name, kept.method, kept.adn, kept.challenge_id) == (f"*.{NAME}", "dns-01", NAME, "c2")
        assert (kept.outcome.result, kept.oldest_datum, kept.outcome.views) == (Result.PASS, NOW, ())
        assert attempts.evidence_of_order(database.reader, "o") == signed
        row = database.reader.one("SELECT attempt FROM authorizations WHERE id = 'pending'")
        assert row is not None
        assert row["attempt"] is None


async def test_an_attempt_is_one_insert_and_one_audit_record_of_the_results_own_transaction(
    front: Front, subscriber: AcmeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    front.perspectives.pass_names.add(NAME)
    await answered(front, subscriber)
    before = front.counts()
    said: list[str] = []
    execute = Transaction.execute

    def counted(tx: Transaction, sql: str, parameters: Any = ()) -> Any:
        said.append(sql.split(" ")[0])
        return execute(tx, sql, parameters)

    monkeypatch.setattr(Transaction, "execute", counted)
    await front.run_jobs()
    after = front.counts()
    assert after["attempts"] - before["attempts"] == 1
    assert after["audit"] - before["audit"] == 1
    assert said.count("INSERT") == 1
