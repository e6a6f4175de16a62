"""Precertificates in the register: once one is signed it binds us like a certificate.

Its serial has a status, it is revoked like any other, and it is on the CRL then, whether or not the
certificate itself is ever signed (Mozilla Root Store Policy 5.4).

Must never: leave a precertificate valid whose certificate will not come; `give_up` ends it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core import certificates, revocations
from core.certificates import Certificate, State
from core.database import Rows, Transaction

GIVEN_UP = "the certificate of this precertificate will not be issued"


def store(tx: Transaction, id: str, precertificate: bytes, tbs_sha256: bytes, lint: Any) -> None:
    """reserved -> precertified: keep the signed octets; from now on the serial is good.

    `lint` as in `certificates.store`.  Storing the same octets again changes nothing.
    """
    row = certificates.move(tx, id, State.PRECERTIFIED, precertificate, "precertificate")
    if row is None:
        return
    tx.execute("UPDATE certificates SET precertificate = ? WHERE id = ?", (precertificate, id))
    tx.audit(
        "precertificate",
        row["account_url"] or "system",
        {
            "id": id,
            "serial": row["serial"].hex(),
            "issuer": row["issuer_id"],
            "tbs_sha256": tbs_sha256.hex(),
            "lint": msgspec.to_builtins(lint),
        },
    )
    revocations.revoke_if_blocked(tx, row)


def give_up(tx: Transaction, id: str, why: str) -> None:
    """Revoke a precertificate that will have no certificate.  Changes no row that has come further."""
    row = certificates.by_id(tx, id)
    if row is not None and is_open(tx, row):
        revocations.revoke(tx, row.serial, revocations.UNSPECIFIED, f"{GIVEN_UP}: {why}")


def is_open(rows: Rows, row: Certificate) -> bool:
    """Whether the certificate of this row's precertificate may still come: a revoked one has no future."""
    return row.state is State.PRECERTIFIED and revocations.of(rows, row.serial) is None
