"""status/crl/forgotten.py: a database restored from a backup takes no published revocation back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from core import revocations
from core.database import Transaction
from repo_static.store import NotPublished, Store

NAME = "crl/ec1-0.crl"
pytestmark = pytest.mark.clause("BR 4.10.1")


def entries(house: Any) -> dict[bytes, tuple[int, int]]:
    """By serial: when, and the number of extensions."""
    crl = x509.load_der_x509_crl(Store(house.data.repository).read(NAME))
    return {
        each.serial_number.to_bytes(16, "big"): (
            int(each.revocation_date_utc.timestamp()),
            len(each.extensions),
        )
        for each in crl
    }


async def restore(house: Any, statements: Iterable[str]) -> None:
    """As if the rows had not been written yet when the backup was made."""

    def unit(tx: Transaction) -> None:
        for statement in statements:
            tx.execute(statement)

    await house.database.write(unit)


async def test_a_revocation_of_which_only_the_public_crl_tells_is_entered_again(house: Any) -> None:
    serials = [await house.issue() for _ in range(2)]
    await house.updater().update()
    await house.revoke(serials[0], 1)
    house.clock.at += 60
    await house.revoke(serials[1], 0)
    await house.updater().update()
    before = entries(house)
    await restore(house, ["DELETE FROM revocations", "DELETE FROM crls WHERE number > 1"])
    house.clock.at += 3600
    await house.updater().update()
    assert entries(house) == before
    assert [revocations.of(house.reader, each).reason for each in serials] == [1, 0]
    assert (await house.ask(serials[0])).certificate_status is ocsp.OCSPCertStatus.REVOKED
    records = house.reader.all("SELECT content FROM audit WHERE kind = 'revocation'")
    assert sum("had forgotten" in each["content"] for each in records) == 2
    assert await house.updater().update() == []


@pytest.mark.clause("BR 7.2.2")
async def test_a_reason_that_was_raised_since_the_backup_is_raised_again(house: Any) -> None:
    serial = await house.issue()
    await house.revoke(serial, 0)
    await house.updater().update()
    await house.database.write(lambda tx: revocations.upgrade_reason(tx, serial, "a test"))
    await house.updater().update()
    before = entries(house)
    await restore(
        house,
        [
            "DROP TRIGGER revocations_version",
            "UPDATE revocations SET reason = 0, version = 1",
            "DELETE FROM crls WHERE number > 1",
        ],
    )
    await house.updater().update()
    assert entries(house) == before
    assert revocations.of(house.reader, serial).reason == revocations.KEY_COMPROMISE


async def test_while_the_certificate_itself_is_forgotten_the_public_crl_stands(house: Any) -> None:
    serial = await house.issue()
    await house.revoke(serial)
    await house.updater().update()
    public = Store(house.data.repository).read(NAME)
    await restore(house, ["DELETE FROM revocations", "DELETE FROM certificates", "DELETE FROM crls"])
    with pytest.raises(NotPublished, match="knows nothing"):
        await house.updater().update()
    assert Store(house.data.repository).read(NAME) == public


async def test_a_file_of_another_key_tells_nothing(house: Any) -> None:
    serial = await house.issue("rsa1")
    await house.revoke(serial)
    await house.updater().update()
    store = Store(house.data.repository)
    foreign = store.read("crl/rsa1-0.crl")
    store.replace(NAME, foreign)
    await house.updater().update()
    assert entries(house) == {}
