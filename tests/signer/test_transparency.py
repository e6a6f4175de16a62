"""The issuance cycle with precertificates on a vault of memory: what the register holds at every end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from core import certificates, precertificates, revocations
from core.certificates import State
from core.clock import FakeClock
from core.database import Database, Transaction
from core.errors import HaltIssuance, Refused, TransientError
from core.requirements import DAY
from signer.ct import finals, sct
from signer.ct.finals import FinalJob
from signer.issuance import Issuance
from tests.support.database import NOW
from tests.support.memory_vault import APPROVED, Finished, MemoryVault, issuance_with, states

pytestmark = pytest.mark.clause("Mozilla Root Store Policy 5.4")


@dataclass
class Logs:
    """Gives SCTs that nobody verifies; a fault is raised once."""

    faults: list[Exception] = field(default_factory=list)
    possible: Exception | None = None
    taken: list[bytes] = field(default_factory=list)
    finals: list[bytes] = field(default_factory=list)

    def must_be_possible(self, not_before: int, not_after: int) -> None:
        if self.possible is not None:
            raise self.possible

    async def collect(self, precertificate: bytes, chain: Sequence[bytes], since: int) -> tuple[bytes, ...]:
        assert len(chain) == 2
        assert since <= NOW
        if self.faults:
            raise self.faults.pop(0)
        self.taken.append(precertificate)
        return tuple(sct.encode(sct.Sct(bytes([log]) * 32, NOW * 1000, b"", 4, 3, b"s")) for log in range(3))

    async def log_certificate(self, certificate: bytes, chain: Sequence[bytes], since: int) -> str:
        if self.faults:
            raise self.faults.pop(0)
        self.finals.append(certificate)
        return "Acorn 2026"


@pytest.fixture
def vault() -> MemoryVault:
    return MemoryVault(ct=True)


@pytest.fixture
def logs() -> Logs:
    return Logs()


@pytest.fixture
async def issuance(vault: MemoryVault, database: Database, logs: Logs) -> Issuance:
    made = issuance_with(vault, database, logs=logs)
    await made.reconcile()
    return made


def kinds(vault: MemoryVault) -> list[str]:
    return [entry.kind for entry in vault.entries]


def is_revoked(database: Database, serial: bytes) -> bool:
    status = revocations.status_of(database.reader, serial)
    assert status is not None
    return status.revocation is not None


async def test_precertificate_and_certificate_share_a_row(
    issuance: Issuance, vault: MemoryVault, database: Database, logs: Logs
) -> None:
    finished = Finished()
    id = await issuance.issue(APPROVED, finished)
    row = certificates.by_id(database.reader, id)
    assert row is not None
    assert row.state is State.ISSUED
    assert row.precertificate == logs.taken[0] != row.certificate
    assert kinds(vault) == ["precertificate-intent", "precertificate", "intent", "result"]
    assert finished.ids == [id]
    assert await issuance.issue(APPROVED, finished) == id
    assert len(vault.entries) == 4


async def test_without_logs_the_order_waits_with_a_precertificate_that_has_a_status(
    issuance: Issuance, vault: MemoryVault, database: Database, logs: Logs
) -> None:
    logs.faults = [TransientError("too few SCTs")] * 2
    for _ in range(2):
        with pytest.raises(TransientError):
            await issuance.issue(APPROVED, Finished())
    assert states(database) == ["precertified"]
    assert not is_revoked(database, vault.entries[0].serial)
    await issuance.issue(APPROVED, Finished())
    assert states(database) == ["issued"]
    assert len(vault.entries) == 4


async def test_while_logs_cannot_be_asked_no_precertificate_is_made(
    issuance: Issuance, vault: MemoryVault, database: Database, logs: Logs
) -> None:
    logs.possible = TransientError("the log list is too old")
    with pytest.raises(TransientError, match="too old"):
        await issuance.issue(APPROVED, Finished())
    assert states(database) == []
    assert vault.entries == []


async def test_a_precertificate_alone_can_be_revoked_and_gets_no_certificate_then(
    issuance: Issuance, vault: MemoryVault, database: Database, logs: Logs
) -> None:
    logs.faults = [TransientError("too few SCTs")]
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    serial = vault.entries[0].serial
    await database.write(lambda tx: revocations.revoke(tx, serial, 1, "its holder asked"))
    await issuance.issue(APPROVED, Finished())
    assert states(database) == ["precertified", "issued"]
    assert is_revoked(database, serial)
    assert [entry.kind for entry in vault.entries if entry.serial == serial] == kinds(vault)[:2]


@pytest.mark.clause("BR 4.9.1.1")
async def test_a_precertificate_revoked_while_logs_are_asked_gets_no_certificate(
    issuance: Issuance, vault: MemoryVault, database: Database, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect, finished = logs.collect, Finished()

    async def slowly(precertificate: bytes, chain: Sequence[bytes], since: int) -> tuple[bytes, ...]:
        serial = vault.entries[0].serial
        if not is_revoked(database, serial):
            await database.write(lambda tx: revocations.revoke(tx, serial, 1, "its key was published"))
        return await collect(precertificate, chain, since)

    monkeypatch.setattr(logs, "collect", slowly)
    with pytest.raises(TransientError, match="was revoked while logs were asked"):
        await issuance.issue(APPROVED, finished)
    assert kinds(vault) == ["precertificate-intent", "precertificate"]
    assert finished.ids == []
    await issuance.issue(APPROVED, finished)
    assert states(database) == ["precertified", "issued"]
    assert len({entry.serial for entry in vault.entries}) == 2


@pytest.mark.clause("house: the crash rule")
async def test_an_order_given_up_has_its_precertificate_revoked(
    issuance: Issuance, vault: MemoryVault, database: Database, logs: Logs
) -> None:
    logs.faults = [TransientError("too few SCTs")]
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    for _ in range(2):
        await issuance.withdraw("order-1", None, lambda tx: None)
    assert states(database) == ["precertified"]
    assert is_revoked(database, vault.entries[0].serial)
    revocation = revocations.of(database.reader, vault.entries[0].serial)
    assert revocation is not None
    assert "will not be issued" in revocation.cause


async def test_too_late_for_its_certificate_a_precertificate_is_revoked_and_another_made(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("prepare-final", Refused("precertificate.too-old", "begin again"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    assert is_revoked(database, vault.entries[0].serial)
    await issuance.issue(APPROVED, Finished())
    assert states(database) == ["precertified", "issued"]


async def test_a_refusing_linter_ends_the_request_and_its_precertificate(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("prepare-final", Refused("lint.odd", "pkilint says so"))
    with pytest.raises(Refused, match=r"lint\.odd"):
        await issuance.issue(APPROVED, Finished())
    await issuance.withdraw("order-1", None, lambda tx: None)
    assert is_revoked(database, vault.entries[0].serial)


@pytest.mark.parametrize("code", ["scts.time", "token.unknown"])
async def test_a_passing_refusal_keeps_the_precertificate(
    issuance: Issuance, vault: MemoryVault, database: Database, code: str
) -> None:
    vault.fault("prepare-final", Refused(code, "collect again"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    assert states(database) == ["precertified"]
    assert not is_revoked(database, vault.entries[0].serial)
    await issuance.issue(APPROVED, Finished())
    assert states(database) == ["issued"]


async def test_ct_turned_off_ends_what_waited_for_logs(
    issuance: Issuance, vault: MemoryVault, database: Database, logs: Logs
) -> None:
    logs.faults = [TransientError("too few SCTs")]
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    vault.ct = False
    without = issuance_with(vault, database)
    await without.issue(APPROVED, Finished())
    assert states(database) == ["precertified", "issued"]
    assert is_revoked(database, vault.entries[0].serial)


@pytest.mark.parametrize("ct", [False, True])
async def test_vault_and_app_must_agree_on_ct(database: Database, logs: Logs, ct: bool) -> None:
    vault = MemoryVault(ct=ct)
    one = issuance_with(vault, database, logs=None if ct else logs)
    await one.reconcile()
    with pytest.raises(HaltIssuance, match=r"\[ct\]"):
        await one.issue(APPROVED, Finished())
    assert states(database) == []
    assert vault.entries == []


WHERE = [
    *("prepare", "issue", "precertificate-intent", "precertificate", "logs"),
    *("prepare-final", "intent", "result"),
]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("again", [*WHERE, "recall", ""])
@pytest.mark.clause("house: the crash rule")
async def test_after_any_two_crashes_one_certificate_is_delivered_and_every_used_serial_is_known(
    vault: MemoryVault, database: Database, where: str, again: str
) -> None:
    finished, logs = Finished(), Logs()
    for fault in filter(None, (where, again)):
        if fault == "logs":
            logs.faults.append(TransientError("killed"))
        else:
            vault.fault(fault, TransientError("killed"))
    for _ in range(6):
        issuance = issuance_with(vault, database, logs=logs)
        try:
            await issuance.reconcile()
            id = await issuance.issue(APPROVED, finished)
            break
        except TransientError:
            continue
    assert set(finished.ids) == {id}
    assert states(database).count("issued") == 1
    assert not {"reserved"} & set(states(database))
    for entry in vault.entries:
        row = certificates.by_serial(database.reader, entry.serial)
        assert row is not None
        assert (row.id == id) is not is_revoked(database, entry.serial)
    begun = [entry.serial for entry in vault.entries if entry.kind == "intent"]
    assert len(set(begun)) == len(begun)


@pytest.mark.parametrize(
    ("fault", "state", "good"),
    [("precertificate", "precertified", False), ("intent", "lost", False), ("result", "issued", True)],
)
async def test_a_register_restored_from_a_backup_learns_of_precertificates(
    vault: MemoryVault, database: Database, logs: Logs, fault: str, state: str, good: bool
) -> None:
    lost = issuance_with(vault, database, logs=logs)
    await lost.reconcile()
    vault.fault(fault, TransientError("killed"))
    with pytest.raises(TransientError):
        await lost.issue(APPROVED, Finished())
    await database.write(lambda tx: tx.execute("DELETE FROM certificates"))
    await issuance_with(vault, database, logs=logs).reconcile()
    row = certificates.by_serial(database.reader, vault.entries[0].serial)
    assert row is not None
    assert row.state == state
    assert row.precertificate == vault.entries[1].certificate
    assert is_revoked(database, row.serial) is not good


@pytest.mark.clause("requirements.md 2.91")
async def test_the_final_certificate_goes_to_a_log_once(
    issuance: Issuance, database: Database, logs: Logs
) -> None:
    id = await issuance.issue(APPROVED, Finished())
    assert subjects(database) == [id]
    job = FinalJob(database, logs, issuance.chain_of, FakeClock(NOW))
    logs.faults = [TransientError("no log took it")]
    with pytest.raises(TransientError):
        await job(id)
    assert subjects(database) == [id]
    await job(id)
    row = certificates.by_id(database.reader, id)
    assert row is not None
    assert (logs.finals, subjects(database)) == ([row.certificate], [])


@pytest.mark.clause("requirements.md 2.91")
async def test_one_that_is_late_is_counted_and_said(
    issuance: Issuance, database: Database, logs: Logs, caplog: pytest.LogCaptureFixture
) -> None:
    id = await issuance.issue(APPROVED, Finished())
    clock = FakeClock(NOW)
    job = FinalJob(database, logs, issuance.chain_of, clock)
    for late, seconds in ((0, DAY), (1, DAY + 60)):
        clock.at = NOW + seconds
        logs.faults = [TransientError("no log took it")]
        with pytest.raises(TransientError):
            await job(id)
        assert finals.LATE._value.get() == late
        assert ("in no log" in caplog.text) is bool(late)
    clock.at = NOW + 91 * DAY
    await job(id)
    assert subjects(database) == []
    assert logs.finals == []


def subjects(database: Database) -> list[str]:
    rows = database.reader.all("SELECT subject FROM jobs WHERE kind = ?", (finals.KIND,))
    return [row["subject"] for row in rows]


async def test_a_precertificate_is_stored_once_and_given_up_once(
    issuance: Issuance, vault: MemoryVault, database: Database, logs: Logs
) -> None:
    logs.faults = [TransientError("too few SCTs")]
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    id, octets = vault.entries[1].issuance_id, vault.entries[1].certificate

    def again(tx: Transaction) -> None:
        precertificates.store(tx, id, octets, b"", None)
        with pytest.raises(certificates.IllegalMove):
            precertificates.store(tx, id, octets + b"!", b"", None)
        with pytest.raises(certificates.IllegalMove):
            certificates.abandon(tx, id)
        for _ in range(2):
            precertificates.give_up(tx, id, "a test")

    await database.write(again)
    assert states(database) == ["precertified"]
