"""Register = OCSP = CRL for random serial numbers in every state, and the test finds planted faults.

A fault is a way in which the code could be wrong; each of the list below is planted, and the same test that
passes without it must fail.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from core import certificates, precertificates, revocations
from core.certificates import State
from core.clock import FakeClock
from core.database import Transaction
from core.errors import Refused
from core.settings import Status
from repo_static.store import NotPublished, Store
from status.crl import entries as crl_entries
from status.crl import issue as crl_issue
from status.ocsp import request as ocsp_request
from status.ocsp.responder import Responder
from tests.support import agreement
from tests.support.database import NOW
from tests.support.restores import Alive, alive
from tests.support.software_vault import DAY, SoftwareVault

SHARDS = 3
STATUS = Status(crl_shards=SHARDS)
ISSUERS = ("ec1", "rsa1")
HOUR = 3600

pytestmark = [
    pytest.mark.clause("BR 4.9.10"),
    pytest.mark.clause("BR 4.10.1"),
    pytest.mark.clause("requirements 2.67"),
]


@dataclass
class Town:
    """A register full of serials, and everybody who speaks of them."""

    ca: Alive
    clock: FakeClock
    chance: random.Random
    serials: dict[bytes, str] = field(default_factory=dict)
    """Serial -> issuer."""

    @property
    def house(self) -> Any:
        return self.ca.house

    async def populate(self, count: int) -> None:
        """Serials in every state; each third of those that exist is revoked, for every reason."""

        def unit(tx: Transaction) -> None:
            for _ in range(count):
                serial = b"\x4c" + self.chance.randbytes(15)
                issuer, days = self.chance.choice(ISSUERS), self.chance.choice((1, 3, 90))
                self.serials[serial] = issuer
                _reserve(tx, serial, issuer, self.chance.randrange(SHARDS), days)
                _bring_on(tx, serial, self.chance.choice(list(State)))

        await self.ca.database.write(unit)
        existing = [s for s in self.serials if revocations.status_of(self.ca.database.reader, s) is not None]
        await self.revoke([s for s in existing if self.chance.random() < 0.3])

    async def revoke(self, serials: list[bytes]) -> None:
        def unit(tx: Transaction) -> None:
            for serial in serials:
                if revocations.of(tx, serial) is None:
                    reason = self.chance.choice(sorted(revocations.REASONS))
                    revocations.revoke(tx, serial, reason, "a test")

        await self.ca.database.write(unit)

    async def compromise(self, share: float) -> None:
        """Some of the revoked ones get the reason keyCompromise."""

        def unit(tx: Transaction) -> None:
            for row in tx.all("SELECT serial FROM revocations WHERE reason != 1 ORDER BY serial"):
                if self.chance.random() < share:
                    revocations.upgrade_reason(tx, row["serial"], "a test")

        await self.ca.database.write(unit)

    def good(self) -> list[bytes]:
        """Serials that are issued and not revoked."""
        found = self.ca.database.reader.all(
            "SELECT serial FROM certificates c WHERE state IN ('issued', 'precertified')"
            " AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial) ORDER BY serial"
        )
        return [row["serial"] for row in found]

    def good_in_the_first_scope(self) -> list[bytes]:
        """Those whose CRL is made before all others."""
        rows = [certificates.by_serial(self.ca.database.reader, serial) for serial in self.good()]
        return [row.serial for row in rows if row and (row.issuer_id, row.crl_shard) == ("ec1", 0)]

    async def ask(self) -> dict[str, dict[bytes, bytes]]:
        """Everybody's OCSP answer, by POST and by GET, and of serials that nobody ever drew."""
        strangers = {b"\x4d" + self.chance.randbytes(15): "ec1" for _ in range(20)}
        said: dict[str, dict[bytes, bytes]] = {"POST": {}, "GET": {}}
        for serial, issuer in {**self.serials, **strangers}.items():
            post = self.house.request(serial, issuer, self.chance.choice(("sha1", "sha256")))
            path = quote(base64.b64encode(post).decode(), safe="/+=" if self.chance.random() < 0.5 else "")
            said["POST"][serial] = (await self.house.responder.answer(post)).der
            said["GET"][serial] = (await self.house.responder.answer(ocsp_request.of_path(path))).der
        return said

    def crls(self) -> dict[tuple[str, int], bytes]:
        store = Store(self.house.data.repository)
        found = {}
        for issuer in self.house.vault.issuers:
            for shard in range(SHARDS):
                content = store.read(f"crl/{issuer}-{shard}.crl")
                if content is not None:
                    found[issuer, shard] = content
        return found

    async def contradictions(self) -> list[str]:
        """By all who can be asked now."""
        return self.contradictions_of_crls(await self.ask())

    def contradictions_of_crls(self, answers: Any = {}) -> list[str]:  # noqa: B006
        """Of the CRLs, and of these answers."""
        reader, crls = self.ca.database.reader, self.crls()
        before = agreement.before(reader, crls)
        return agreement.contradictions(agreement.rows(reader), answers, crls, ISSUERS, before)


def _reserve(tx: Transaction, serial: bytes, issuer: str, shard: int, days: int) -> None:
    certificates.reserve(
        tx,
        certificates.Reservation(
            id=serial.hex(),
            serial=serial,
            issuer_id=issuer,
            crl_shard=shard,
            request_id=None,
            account_url=None,
            profile="tlsserver",
            names=("www.ca.example",),
            spki_sha256=serial * 2,
            not_before=tx.now,
            not_after=tx.now + days * DAY - 1,
            versions={},
        ),
    )


def _bring_on(tx: Transaction, serial: bytes, state: State) -> None:
    id = serial.hex()
    if state is State.PRECERTIFIED:
        precertificates.store(tx, id, b"poisoned" + serial, bytes(32), None)
    elif state is State.ISSUED:
        certificates.store(tx, id, b"leaf" + serial, tx.now, bytes(32), None)
    elif state is State.LOST:
        certificates.mark_lost(tx, id)
    elif state is State.ABANDONED:
        certificates.abandon(tx, id)


async def history(town: Town, count: int) -> list[str]:
    """Days of a CA; every contradiction on the way."""
    updater = town.house.updater()
    await town.populate(count)
    await updater.update()
    found = await town.contradictions()
    # Answers are held now: what is revoked next overrules them.
    await town.revoke(town.chance.sample(town.good(), len(town.good()) // 4))
    await town.compromise(0.2)
    await updater.update()
    found += await town.contradictions()
    found += await paused_between_read_and_write(town)
    # Some have expired, and are once more on the CRL after that; some are revoked after they expired.
    for hours in (30, 26, 30):
        town.clock.at += hours * HOUR
        await town.revoke(town.chance.sample(town.good(), len(town.good()) // 10))
        await town.compromise(0.05)
        await updater.update()
        found += await town.contradictions()
    found += await stale_publishers(town)
    return found


async def paused_between_read_and_write(town: Town) -> list[str]:
    """A revocation commits while the CRL updater and the OCSP signer wait for the vault."""
    vault, updater = town.house.vault, town.house.updater()
    late, asked = town.good_in_the_first_scope()[:2]
    vault.gate, vault.waiting = asyncio.Event(), asyncio.Event()
    await _during_a_crl(town, updater, late)
    await updater.update()
    found = town.contradictions_of_crls()
    vault.gate, vault.waiting = asyncio.Event(), asyncio.Event()
    found += await _during_an_answer(town, asked)
    vault.gate = None
    await updater.update()
    return found + await town.contradictions()


async def _during_a_crl(town: Town, updater: Any, serial: bytes) -> None:
    vault = town.house.vault
    task = asyncio.create_task(updater.update(force=True))
    await vault.waiting.wait()
    await town.revoke([serial])
    vault.gate.set()
    await task
    vault.gate = None


async def _during_an_answer(town: Town, serial: bytes) -> list[str]:
    """Who asks after the commit must not be told good, though the answer was begun before."""
    vault = town.house.vault
    town.clock.at += 31 * HOUR  # its answer should have been renewed, also by a keeper
    der = town.house.request(serial, town.serials[serial])
    first = asyncio.create_task(town.house.responder.answer(der))
    await vault.waiting.wait()
    await town.revoke([serial])
    second = asyncio.create_task(town.house.responder.answer(der))
    await asyncio.sleep(0)
    vault.gate.set()
    await first
    word = agreement.ocsp_word((await second).der, serial)
    return [f"asked after the revocation of {serial.hex()}: {word}"] if word[0] != "revoked" else []


async def stale_publishers(town: Town) -> list[str]:
    """Who comes late with what was made from an older register publishes nothing."""
    name, slow = "crl/ec1-0.crl", town.house.updater()  # the first that it makes
    serial = town.good_in_the_first_scope()[0]
    vault = town.house.vault
    vault.gate, vault.waiting = asyncio.Event(), asyncio.Event()
    late = asyncio.create_task(slow.update(force=True))
    await vault.waiting.wait()
    gate, vault.gate = vault.gate, None
    await town.revoke([serial])
    await town.house.updater().update(force=True)  # the process that took its place
    public = Store(town.house.data.repository).read(name)
    gate.set()
    with contextlib.suppress(NotPublished):
        await late
    found = []
    if Store(town.house.data.repository).read(name) != public:
        found.append(f"{name}: an older CRL took the place of a newer one")
    await town.house.updater().update()
    return found + await town.contradictions()


async def played(house_class: Any, directory: Path, seed: int, count: int) -> list[str]:
    vault, clock = SoftwareVault(NOW + 365 * DAY), FakeClock(NOW)
    vault.shard_base = "http://localhost:14080"
    async with alive(house_class, directory, clock, vault, STATUS) as ca:
        return await history(Town(ca, clock, random.Random(seed)), count)


async def test_all_who_speak_of_status_say_the_same_of_every_serial(house_class: Any, tmp_path: Path) -> None:
    assert await played(house_class, tmp_path, 1, 800) == []


def forgets_what_changed(patch: pytest.MonkeyPatch) -> None:
    """A CRL is made of the blocks of the one before, without the revocations since."""
    patch.setattr(crl_entries, "_changed", lambda *arguments: [])


def _asks_for(patch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    assert right in crl_entries._SQL
    patch.setattr(crl_entries, "_SQL", crl_entries._SQL.replace(right, wrong))


def drops_entries_at_expiry(patch: pytest.MonkeyPatch) -> None:
    """Without having them once on a CRL that was made after the certificate had expired."""
    now = "(SELECT MAX(at) FROM audit)"
    _asks_for(patch, "(not_after >= ? OR version > ?)", f"not_after >= max(?, 0 * ?, {now})")


def loses_the_reason(patch: pytest.MonkeyPatch) -> None:
    _asks_for(patch, "revoked_at, reason FROM", "revoked_at, 0 AS reason FROM")


def mixes_the_shards(patch: pytest.MonkeyPatch) -> None:
    _asks_for(patch, "crl_shard = ?", "crl_shard >= 0 * ?")


def counts_what_came_later_as_published(patch: pytest.MonkeyPatch) -> None:
    """The version is read after the entries, so what commits between is taken for published."""
    whole = crl_issue.Issuing._record

    async def record(self: Any, scope: Any, request: Any, entries: Any, digest: bytes) -> None:
        entries.version = revocations.version(self._database.reader)
        await whole(self, scope, request, entries, digest)

    patch.setattr(crl_issue.Issuing, "_record", record)


def leaves_the_old_file(patch: pytest.MonkeyPatch) -> None:
    """Only the first CRL of a scope ever reaches the public."""
    whole = Store.put

    def once(self: Store, name: str, pieces: Iterable[bytes], guard: Any) -> None:
        if self.read(name) is None:
            whole(self, name, pieces, guard)

    patch.setattr(Store, "put", once)


def says_good_of_what_was_only_drawn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(revocations, "_EXISTS", "state != 'abandoned'")


def raises_a_reason_without_a_version(patch: pytest.MonkeyPatch) -> None:
    def quietly(tx: Transaction, serial: bytes, cause: str, *, actor: str = "") -> None:
        tx.execute("UPDATE revocations SET reason = 1, cause = ? WHERE serial = ?", (cause, serial))

    patch.setattr(revocations, "upgrade_reason", quietly)


def looks_at_a_row_once(patch: pytest.MonkeyPatch) -> None:
    """An hour's standing is remembered, so nobody sees what commits meanwhile."""
    whole = Responder._look
    seen: dict[Any, Any] = {}

    def remembered(self: Responder, issuer_id: str, serial: bytes) -> Any:
        key = id(self), serial, self._clock.now() // HOUR
        if key not in seen:
            seen[key] = whole(self, issuer_id, serial)
        return seen[key]

    patch.setattr(Responder, "_look", remembered)


def replaces_whatever_is_public(patch: pytest.MonkeyPatch) -> None:
    """A publisher that comes late puts its older CRL in the place of a newer one."""
    whole = Store.put

    def unguarded(self: Store, name: str, pieces: Iterable[bytes], guard: Any) -> None:
        whole(self, name, pieces, lambda published: None)

    patch.setattr(Store, "put", unguarded)


FAULTS = (
    forgets_what_changed,
    leaves_the_old_file,
    says_good_of_what_was_only_drawn,
    drops_entries_at_expiry,
    counts_what_came_later_as_published,
    loses_the_reason,
    mixes_the_shards,
    raises_a_reason_without_a_version,
    looks_at_a_row_once,
    replaces_whatever_is_public,
)


@pytest.mark.parametrize("fault", FAULTS, ids=[each.__name__ for each in FAULTS])
async def test_the_consistency_test_finds_a_planted_fault(
    house_class: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    fault(monkeypatch)
    with contextlib.suppress(Refused, sqlite3.IntegrityError):  # found even earlier, by the code itself
        assert await played(house_class, tmp_path, 2, 80) != []


async def test_nothing_is_found_where_nothing_is_planted(house_class: Any, tmp_path: Path) -> None:
    assert await played(house_class, tmp_path, 2, 80) == []
