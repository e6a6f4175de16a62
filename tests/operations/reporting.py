"""A certificate in the register of a test, for problem reports about it."""

from __future__ import annotations

import itertools

from core import certificates
from core.certificates import Reservation
from core.database import Database, Transaction
from core.issuers import Issuer, put_issuer

_drawn = itertools.count(1)


async def issue(database: Database, spki_sha256: bytes, account_url: str | None = None) -> bytes:
    """Its serial number."""
    serial = (0x4C0FFEE0_00000000_00000000_00000000 + next(_drawn)).to_bytes(16, "big")

    def unit(tx: Transaction) -> None:
        put_issuer(tx, Issuer("ec1", "issuing", "ec-p256", b"der", b"", 1))
        reservation = Reservation(
            id=serial.hex(),
            serial=serial,
            issuer_id="ec1",
            crl_shard=0,
            request_id=None,
            account_url=account_url,
            profile="tlsserver",
            names=("www.ca.example",),
            spki_sha256=spki_sha256,
            not_before=tx.now,
            not_after=tx.now + 90 * 86400 - 1,
            versions={},
        )
        certificates.reserve(tx, reservation)
        certificates.store(tx, serial.hex(), b"leaf" + serial, tx.now, bytes(32), None)

    await database.write(unit)
    return serial
