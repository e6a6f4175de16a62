"""The issuance cycle against a vault of memory: what the register holds, however the cycle ends."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from core import certificates, issuers
from core.certificates import State
from core.clock import FakeClock
from core.database import Database, Transaction
from core.errors import HaltIssuance, Refused, TransientError
from core.randomness import SystemRandomness
from core.settings import Settings
from core.settings import Status as StatusSettings
from signer import api
from signer.api import KeyUse
from signer.issuance import Approved, Issuance
from signer.vault import leaf
from tests.support.database import NOW, opened
from tests.support.software_ca import private_key, profile, sign, software_ca, spki

Fault = Callable[[], None]
LINT = api.LintRecord(("lint 1",), ("warning odd",))


def _fail(error: Exception) -> Fault:
    def fail() -> None:
        raise error

    return fail


@dataclass
class MemoryVault:
    """The vault's words with a software key; a fault can be laid before or after each of them."""

    faults: dict[str, list[Fault]] = field(default_factory=dict)
    entries: list[api.JournalEntry] = field(default_factory=list)
    prepared: dict[str, tuple[api.LeafRequest, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def describe(self) -> api.Description:
        self._pass("describe")
        infos = tuple(
            api.IssuerInfo(
                id,
                KeyUse.ISSUING,
                algorithm,
                software_ca(algorithm).certificate,
                (software_ca(algorithm).certificate, software_ca(algorithm).root),
                b"",
                b"",
                b"",
                b"",
            )
            for id, algorithm in (("rsa-1", "rsa-2048"), ("ec-1", "ec-p256"))
        )
        return api.Description("public", b"", infos, (), (), "lint 1", len(self.entries))

    async def prepare(self, request: api.LeafRequest) -> api.Prepared:
        self._pass("prepare")
        tbs = leaf.build_tbs(software_ca("ec-p256").issuer, profile(), request)
        token = f"token-{len(self.asked)}"
        self.prepared[token] = (request, tbs)
        return api.Prepared(token, hashlib.sha256(tbs).digest(), LINT)

    async def issue(self, token: str) -> api.Issued:
        self._pass("issue")
        if token not in self.prepared:
            raise Refused("token.unknown", "gone")
        request, tbs = self.prepared.pop(token)
        self._append("intent", request, tbs=tbs)
        self._pass("intent")
        ca = software_ca("ec-p256")
        certificate = leaf.assemble(tbs, ca.issuer.algorithm.identifier, sign(ca.key, tbs))
        self._append("result", request, certificate=certificate)
        self._pass("result")
        return api.Issued(certificate)

    async def recall(self, issuance_id: str) -> api.Recalled:
        self._pass("recall")
        mine = [entry for entry in self.entries if entry.issuance_id == issuance_id]
        results = [entry.certificate for entry in mine if entry.kind == "result"]
        return api.Recalled(bool(mine), results[0] if results else None, LINT if results else None)

    async def journal(self, after: int, limit: int = 1000) -> api.Journal:
        self._pass("journal")
        return api.Journal(tuple(self.entries[after : after + min(limit, 3)]))

    def fault(self, where: str, error: Exception) -> None:
        """Raise `error` the next time that `where` is passed."""
        self.faults.setdefault(where, []).append(_fail(error))

    def _pass(self, where: str) -> None:
        self.asked.append(where)
        if self.faults.get(where):
            self.faults[where].pop(0)()

    def _append(
        self, kind: str, request: api.LeafRequest, tbs: bytes = b"", certificate: bytes = b""
    ) -> None:
        number = len(self.entries) + 1
        self.entries.append(
            api.JournalEntry(
                number,
                NOW,
                kind,
                request.issuance_id,
                request.issuer_id,
                request.serial,
                tbs,
                certificate,
                LINT,
                hashlib.sha256(b"%d" % number).digest(),
            )
        )


SETTINGS = Settings()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(tmp_path) as database:
        yield database


@pytest.fixture
def vault() -> MemoryVault:
    return MemoryVault()


@pytest.fixture
async def issuance(vault: MemoryVault, database: Database) -> Issuance:
    made = _issuance(vault, database)
    await made.reconcile()
    return made


def _issuance(vault: MemoryVault, database: Database, settings: Settings = SETTINGS) -> Issuance:
    return Issuance(vault, database, settings, FakeClock(NOW), SystemRandomness())  # type: ignore[arg-type]


APPROVED = Approved(
    request_id="order-1",
    account_url="https://ca.acme-ca.com/acme/account/1",
    names=("www.acme-shop.com",),
    public_key=spki(private_key("ec-p256")),
    profile="tlsserver",
    not_before=None,
    not_after=None,
    evidence=(),
)


_SHARDS = "SELECT crl_shard FROM certificates ORDER BY rowid"


class Finished:
    """A `finish` that remembers in the transaction's database what it was given, as the caller's would."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def __call__(self, tx: Transaction, id: str) -> None:
        self.ids.append(id)
        found = certificates.by_id(tx, id)
        assert found is not None
        assert found.state is State.ISSUED


def states(database: Database, request_id: str = "order-1") -> list[str]:
    return [row.state.value for row in certificates.by_request(database.reader, request_id)]


async def test_an_approved_request_ends_in_the_register_and_is_finished_in_the_same_transaction(
    issuance: Issuance, database: Database
) -> None:
    finished = Finished()
    id = await issuance.issue(APPROVED, finished)
    assert finished.ids == [id]
    row = certificates.by_id(database.reader, id)
    assert row is not None
    assert row.certificate is not None
    assert row.versions == {
        "terms": "1",
        "cps": "1.0",
        "profile": "tlsserver",
        "linter": "lint 1",
        "software": row.versions["software"],
    }


@pytest.mark.clause("BR 6.3.2")
async def test_the_validity_is_the_profiles_counted_with_both_ends(
    issuance: Issuance, database: Database
) -> None:
    row = certificates.by_id(database.reader, await issuance.issue(APPROVED, Finished()))
    assert row is not None
    assert row.not_before == NOW - 60
    assert row.not_after - row.not_before + 1 == SETTINGS.profiles["tlsserver"].validity


@pytest.mark.parametrize(("algorithm", "issuer_id"), [("rsa-2048", "rsa-1"), ("ec-p384", "ec-1")])
async def test_the_issuer_is_of_the_family_of_the_subscribers_key(
    issuance: Issuance, database: Database, algorithm: str, issuer_id: str
) -> None:
    approved = replace(APPROVED, public_key=spki(private_key(algorithm)))
    row = certificates.by_id(database.reader, await issuance.issue(approved, Finished()))
    assert row is not None
    assert row.issuer_id == issuer_id


@pytest.mark.clause("BR 7.1.2.7")
async def test_serial_numbers_are_positive_and_hold_128_random_bits(
    issuance: Issuance, database: Database
) -> None:
    for number in range(20):
        await issuance.issue(replace(APPROVED, request_id=f"order-{number}"), Finished())
    serials = [row["serial"] for row in database.reader.all("SELECT serial FROM certificates")]
    assert {len(serial) for serial in serials} == {17}
    assert all(0 < serial[0] < 0x80 for serial in serials)
    assert len({serial[1:5] for serial in serials}) == 20


async def test_crl_shards_are_all_used(vault: MemoryVault, database: Database) -> None:
    sharded = _issuance(vault, database, replace(SETTINGS, status=StatusSettings(crl_shards=2)))
    await sharded.reconcile()
    for number in range(16):
        await sharded.issue(replace(APPROVED, request_id=f"order-{number}"), Finished())
    shards = {row[0] for row in database.reader.all("SELECT crl_shard FROM certificates")}
    assert shards == {0, 1}


async def test_a_repeated_call_gives_the_same_certificate(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    id = await issuance.issue(APPROVED, Finished())
    signatures = len(vault.entries)
    assert await issuance.issue(APPROVED, Finished()) == id
    assert len(vault.entries) == signatures
    assert states(database) == ["issued"]


async def test_a_refusal_leaves_an_abandoned_serial_and_is_passed_on(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("prepare", Refused("evidence.missing", "none"))
    finished = Finished()
    with pytest.raises(Refused, match=r"evidence\.missing"):
        await issuance.issue(APPROVED, finished)
    assert states(database) == ["abandoned"]
    assert finished.ids == []
    assert vault.entries == []


async def test_an_unknown_profile_is_refused_before_a_serial_is_drawn(
    issuance: Issuance, database: Database
) -> None:
    with pytest.raises(Refused, match=r"profile\.unknown"):
        await issuance.issue(replace(APPROVED, profile="none"), Finished())
    assert states(database) == []


async def test_a_vault_that_is_away_leaves_the_request_to_be_repeated(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("prepare", TransientError("away"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    assert states(database) == ["reserved"]
    await issuance.issue(APPROVED, Finished())
    assert states(database) == ["abandoned", "issued"]


@pytest.mark.clause("house: the crash rule")
async def test_no_intent_means_a_new_serial_and_the_old_one_unused(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("issue", TransientError("killed before the intent"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    finished = Finished()
    id = await issuance.issue(APPROVED, finished)
    assert states(database) == ["abandoned", "issued"]
    abandoned = certificates.by_request(database.reader, "order-1")[0]
    assert certificates.status_of(database.reader, abandoned.serial) is None
    assert finished.ids == [id]


@pytest.mark.clause("house: the crash rule")
async def test_an_intent_without_result_counts_as_issued_and_is_revoked(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("intent", TransientError("killed while it signed"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    finished = Finished()
    id = await issuance.issue(APPROVED, finished)
    assert states(database) == ["lost", "issued"]
    lost, issued = certificates.by_request(database.reader, "order-1")
    status = certificates.status_of(database.reader, lost.serial)
    assert status is not None
    assert status.revocation is not None
    assert finished.ids == [id] == [issued.id]
    assert lost.serial != issued.serial


@pytest.mark.clause("house: the crash rule")
async def test_a_result_that_never_arrived_is_fetched_and_delivered(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("result", TransientError("killed before it answered"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    finished = Finished()
    id = await issuance.issue(APPROVED, finished)
    assert states(database) == ["issued"]
    assert finished.ids == [id]
    assert len(vault.entries) == 2
    row = certificates.by_id(database.reader, id)
    assert row is not None
    assert row.lint == {"linters": ["lint 1"], "findings": ["warning odd"]}


async def test_a_finish_that_fails_stores_nothing_and_the_next_call_delivers(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    def failing(tx: Transaction, id: str) -> None:
        raise TransientError("the order's table is away")

    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, failing)
    assert states(database) == ["reserved"]
    finished = Finished()
    await issuance.issue(APPROVED, finished)
    assert states(database) == ["issued"]
    assert len(finished.ids) == 1
    assert len(vault.entries) == 2


async def test_a_vault_that_forgot_what_it_prepared_is_asked_again(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    vault.fault("issue", Refused("token.unknown", "restarted"))
    with pytest.raises(TransientError):
        await issuance.issue(APPROVED, Finished())
    await issuance.issue(APPROVED, Finished())
    assert states(database) == ["abandoned", "issued"]


@pytest.mark.parametrize("where", ["prepare", "issue", "intent", "result"])
@pytest.mark.parametrize("again", ["prepare", "issue", "intent", "result", "recall", ""])
@pytest.mark.clause("house: the crash rule")
async def test_after_any_two_crashes_one_certificate_is_delivered_and_every_used_serial_is_known(
    vault: MemoryVault, database: Database, where: str, again: str
) -> None:
    finished = Finished()
    vault.fault(where, TransientError("killed"))
    if again:
        vault.fault(again, TransientError("killed again"))
    for _ in range(5):
        issuance = _issuance(vault, database)
        try:
            await issuance.reconcile()
            id = await issuance.issue(APPROVED, finished)
            break
        except TransientError:
            continue
    assert set(finished.ids) == {id}
    assert states(database).count("issued") == 1
    assert "reserved" not in states(database)
    for entry in vault.entries:
        status = certificates.status_of(database.reader, entry.serial)
        assert status is not None
        row = certificates.by_serial(database.reader, entry.serial)
        assert row is not None
        assert (row.id == id) is (status.revocation is None)


async def test_requests_at_once_get_a_certificate_each(issuance: Issuance, database: Database) -> None:
    finished = Finished()
    ids = await asyncio.gather(
        *(issuance.issue(replace(APPROVED, request_id=f"order-{number}"), finished) for number in range(20))
    )
    assert len(set(ids)) == 20
    assert sorted(ids) == sorted(finished.ids)


async def test_reconciling_enters_the_issuers_with_their_chain_but_not_the_root(
    issuance: Issuance, database: Database
) -> None:
    known = issuers.issuers(database.reader)
    assert {issuer.id for issuer in known} == {"rsa-1", "ec-1"}
    assert all(issuer.chain.count(b"BEGIN CERTIFICATE") == 1 for issuer in known)


async def test_reconciling_leaves_what_is_under_way_alone(
    issuance: Issuance, vault: MemoryVault, database: Database
) -> None:
    held = asyncio.Event()
    released = asyncio.Event()
    prepare = vault.prepare

    async def slow(request: api.LeafRequest) -> api.Prepared:
        held.set()
        await released.wait()
        return await prepare(request)

    vault.prepare = slow  # type: ignore[method-assign]
    task = asyncio.create_task(issuance.issue(APPROVED, Finished()))
    await held.wait()
    await issuance.reconcile()
    assert states(database) == ["reserved"]
    released.set()
    await task
    assert states(database) == ["issued"]


@pytest.mark.clause("BR 4.9.9")
async def test_a_serial_that_only_the_journal_knows_is_entered(vault: MemoryVault, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    async with opened(tmp_path / "first") as first:
        sharded = replace(SETTINGS, status=StatusSettings(crl_shards=3))
        issuance = _issuance(vault, first, sharded)
        await issuance.reconcile()
        for number in range(4):
            await issuance.issue(replace(APPROVED, request_id=f"order-{number}"), Finished())
        vault.fault("intent", TransientError("killed"))
        with pytest.raises(TransientError):
            await issuance.issue(replace(APPROVED, request_id="order-9"), Finished())
        shards = [each["crl_shard"] for each in first.reader.all(_SHARDS)]
    # The database is lost with all rows, and an empty one takes its place.
    async with opened(tmp_path / "second") as second:
        await _issuance(vault, second, sharded).reconcile()
        rows = second.reader.all("SELECT id, state FROM certificates ORDER BY rowid")
        assert [row["state"] for row in rows] == ["issued"] * 4 + ["lost"]
        await _issuance(vault, second, sharded).reconcile()
        assert len(second.reader.all("SELECT id FROM certificates")) == 5
        row = certificates.by_id(second.reader, rows[0]["id"])
        assert row is not None
        assert row.names == APPROVED.names
        assert [each["crl_shard"] for each in second.reader.all(_SHARDS)] == shards
        assert row.spki_sha256 == hashlib.sha256(APPROVED.public_key).digest()


@pytest.mark.clause("BR 5.4.1")
async def test_a_journal_that_was_cut_behind_its_anchor_stops_issuance(
    issuance: Issuance, vault: MemoryVault
) -> None:
    await issuance.issue(APPROVED, Finished())
    await issuance.reconcile()
    cut = vault.entries.pop()
    with pytest.raises(HaltIssuance, match="replaced or cut"):
        await issuance.reconcile()
    signed = len(vault.entries)
    with pytest.raises(HaltIssuance, match="replaced or cut"):
        await issuance.issue(replace(APPROVED, request_id="order-2"), Finished())
    assert len(vault.entries) == signed
    vault.entries.append(cut)
    await issuance.reconcile()
    await issuance.issue(replace(APPROVED, request_id="order-2"), Finished())


async def test_a_journal_that_was_rewritten_before_its_anchor_stops_issuance(
    issuance: Issuance, vault: MemoryVault
) -> None:
    await issuance.issue(APPROVED, Finished())
    await issuance.reconcile()
    vault.entries[-1] = replace(vault.entries[-1], hash=b"another")
    with pytest.raises(HaltIssuance, match="replaced or cut"):
        await issuance.reconcile()


async def test_the_anchor_is_written_only_when_the_journal_grew(
    issuance: Issuance, database: Database
) -> None:
    def anchors() -> int:
        return len(database.reader.all("SELECT 1 FROM audit WHERE kind = 'vault-journal'"))

    await issuance.issue(APPROVED, Finished())
    await issuance.reconcile()
    assert anchors() == 1
    await issuance.reconcile()
    assert anchors() == 1
