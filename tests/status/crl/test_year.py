"""A year of CRLs by the fake clock: nothing public is ever stale, and every rule holds to the second."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from cryptography import x509

from core import certificates, revocations
from core.errors import TransientError
from core.settings import Status
from operations.alarms.urgency import Urgency
from operations.alarms.vault import crl_deadlines
from repo_static.store import Store
from status.crl import parts
from tests.support.software_vault import CREATED, DAY

YEAR = 365 * DAY
MINUTE = 60
SHARDS = 2
ISSUERS = ("ec1",)
"""One is enough: a year of CRLs takes its time."""


@pytest.fixture
def status_settings() -> Status:
    return Status(crl_shards=SHARDS)


@pytest.fixture(autouse=True)
async def one_issuer(house: Any) -> None:
    house.vault.shard_base = house.settings.repository.base_url
    await house.database.write(lambda tx: tx.execute("DELETE FROM issuers WHERE id <> 'ec1'").rowcount)


class Watcher:
    """A stranger who keeps what every CRL said, and finds fault."""

    def __init__(self, house: Any) -> None:
        self.house = house
        self.numbers: dict[str, int] = {}
        self.seen: dict[str, tuple[bytes, Any, set[bytes]]] = {}

    def look(self) -> dict[str, set[bytes]]:
        """Serial numbers by file, after all rules were checked at this second."""
        now, store = self.house.clock.now(), Store(self.house.data.repository)
        names = [f"crl/{issuer}-{shard}.crl" for issuer in ISSUERS for shard in range(SHARDS)]
        assert store.names("crl") == sorted(names)
        for name in names:
            content = store.read(name)
            assert content is not None
            digest = hashlib.sha256(content).digest()
            if name not in self.seen or self.seen[name][0] != digest:
                self.seen[name] = digest, *self._new(name, content)
            frame = self.seen[name][1]
            this, next_ = (int(each.timestamp()) for each in (frame.last_update_utc, frame.next_update_utc))
            assert this <= now < next_, f"{name} is stale"
            assert next_ - this <= 10 * DAY  # BR 7.2.1
            assert now - this <= DAY + MINUTE, (
                f"{name} was not renewed daily"
            )  # BR 4.9.7: every 7 d; ours: daily
        return {name: serials for name, (_, _, serials) in self.seen.items()}

    def _new(self, name: str, content: bytes) -> tuple[Any, set[bytes]]:
        frame = parts.taken_apart(content).frame()
        extensions = frame.extensions
        number = extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        assert number > self.numbers.get(name, 0), f"the number of {name} does not rise"
        self.numbers[name] = number
        point = extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        url = f"{self.house.settings.repository.base_url}/{name}"
        assert point.critical
        assert [each.value for each in point.value.full_name] == [url]
        entries = list(parts.said(bytes(parts.taken_apart(content).entries)))
        assert {reason for _, _, reason in entries} <= {0, 1, 3, 4, 5, 9}
        assert len({serial for serial, _, _ in entries}) == len(entries)
        return frame, {serial for serial, _, _ in entries}


@pytest.mark.clause("BR 4.9.7")
@pytest.mark.clause("BR 4.10.1")
@pytest.mark.clause("BR 7.2")
@pytest.mark.clause("RFC 5280 section 5.2.3")
@pytest.mark.clause("requirements 2.61")
@pytest.mark.clause("requirements 2.62")
@pytest.mark.clause("requirements 2.63")
@pytest.mark.clause("requirements 2.64")
async def test_nothing_that_is_public_is_stale_over_a_year(house: Any) -> None:
    chance, watcher = random.Random(2026), Watcher(house)
    updater, ends = house.updater(), {}
    for day in range(365):
        if day % 61 == 60:
            updater = house.updater()  # the app was started again
        if day % 90 == 45:
            house.vault.held.clear()  # and the vault
        await updater.update()
        watcher.look()
        for _ in range(chance.randrange(3)):
            # Some expire on the way, some on the day of a CRL, some are precertificates alone.
            make = house.precertify if chance.random() < 0.2 else house.issue
            issuer, shard = chance.choice(ISSUERS), chance.randrange(SHARDS)
            serial = await make(issuer, shard, chance.choice([1, 2, 30, 90]))
            await house.revoke(serial, chance.choice(sorted(revocations.REASONS)))
            row = certificates.by_serial(house.reader, serial)
            ends[serial] = f"crl/{issuer}-{shard}.crl", row.not_after
        # Within a minute of the revocation, by the updater's own promise; here at once.
        await updater.update()
        listed = watcher.look()
        for serial, (name, not_after) in ends.items():
            others = {each for each, serials in listed.items() if serial in serials}
            if not_after >= house.clock.now():
                assert others == {name}  # the union of the shards is the whole, and they are disjoint
            else:
                assert others <= {name}
        house.clock.at += DAY // 2 - chance.randrange(MINUTE)
        watcher.look()
        house.clock.at = CREATED + DAY + (day + 1) * DAY
    assert len(ends) > 200
    gone = [serial for serial in ends if all(serial not in serials for serials in listed.values())]
    assert len(gone) > 100  # entries leave, and each was on a CRL after its expiry (test_entries.py)


@pytest.mark.clause("BR 4.9.7")
@pytest.mark.clause("requirements 2.61")
async def test_a_crl_is_renewed_at_the_second_at_which_it_is_a_day_old(house: Any) -> None:
    updater = house.updater()
    assert len(await updater.update()) == len(ISSUERS) * SHARDS  # before any certificate: at once
    house.clock.at += DAY - 1
    assert await updater.update() == []
    house.clock.at += 1
    assert len(await updater.update()) == len(ISSUERS) * SHARDS


@pytest.mark.clause("BR 4.9.7")
@pytest.mark.parametrize(
    ("days_left", "urgency"),
    [(6.0, Urgency.CALM), (3.0, Urgency.HALF), (1.5, Urgency.MOST), (0.0, Urgency.OVER)],
)
async def test_while_the_vault_is_locked_alarms_rise_before_a_crl_is_stale(
    house: Any, days_left: float, urgency: Urgency
) -> None:
    updater = house.updater()
    await updater.update()
    house.vault.locked = True
    house.clock.at += int((7 - days_left) * DAY)
    with pytest.raises(TransientError, match="acme-server activate"):
        await updater.update()
    found = crl_deadlines(house.reader, house.settings.status, house.clock.now())
    assert {each.urgency(house.clock.now()) for each in found} == {urgency}
    house.vault.locked = False
    assert len(await updater.update()) == len(ISSUERS) * SHARDS  # all that waited, by itself


@pytest.mark.clause("BR 4.9.7")
@pytest.mark.clause("requirements 2.66")
async def test_crls_go_on_while_issuance_is_halted(house: Any) -> None:
    """Whoever halts stops leaves (signer/vault/service.py); CRLs do not ask whether issuance is halted."""
    updater, serial = house.updater(), await house.issue()
    await house.revoke(serial)
    await updater.update()
    for _ in range(10):
        house.clock.at += DAY
        assert len(await updater.update()) == len(ISSUERS) * SHARDS
