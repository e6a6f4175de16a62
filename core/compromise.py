"""A key is *proven* compromised: it is blocked for ever, and every certificate with it is revoked.

What proves it is decided elsewhere (docs/revocation.md); here is what follows, in one transaction: the key is
blocked, all its unexpired certificates, whoever has them, are revoked with reason keyCompromise, those that
were revoked for another reason get this one (BR 7.2.2), and a job tells the vault, which refuses the key from
then on whatever the database says.

Must never: act on a mere word.

BR 4.9.1.1, 4.9.12, 6.1.1.3 (4), 7.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from core import blocked_keys, revocations
from core.database import Rows, Transaction
from core.revocations import AlreadyRevoked, Revocation


@dataclass(frozen=True, slots=True)
class Consequences:
    """What changed: whether the key was blocked only now; the serial numbers revoked, or given the reason."""

    blocked: bool
    revoked: tuple[bytes, ...]
    upgraded: tuple[bytes, ...]

    @property
    def any(self) -> bool:
        """Whether anything changed."""
        return self.blocked or bool(self.revoked) or bool(self.upgraded)


def prove(tx: Transaction, spki_sha256: bytes, cause: str, *, actor: str = "system") -> Consequences:
    """Block the key, and revoke all its unexpired certificates for keyCompromise."""
    blocked = blocked_keys.block(tx, spki_sha256, cause, actor=actor)
    revoked, upgraded = [], []
    for serial in unexpired(tx, spki_sha256, tx.now):
        existing = revocations.of(tx, serial)
        if existing is None:
            revocations.revoke(tx, serial, revocations.KEY_COMPROMISE, cause, actor=actor)
            revoked.append(serial)
        elif existing.reason != revocations.KEY_COMPROMISE:
            revocations.upgrade_reason(tx, serial, cause, actor=actor)
            upgraded.append(serial)
    return Consequences(blocked, tuple(revoked), tuple(upgraded))


def prove_of_certificate(tx: Transaction, serial: bytes, cause: str, *, actor: str = "system") -> Revocation:
    """The same for the key of the certificate `serial`, which is revoked even when it has expired.

    Raises: `UnknownCertificate`; `AlreadyRevoked` when all of that was done before.
    """
    existing = revocations.of(tx, serial)
    if existing is None:
        revocations.revoke(tx, serial, revocations.KEY_COMPROMISE, cause, actor=actor)
    elif existing.reason != revocations.KEY_COMPROMISE:
        revocations.upgrade_reason(tx, serial, cause, actor=actor)
    cause = f"keyCompromise of certificate {serial.hex()}: {cause}"
    key = key_of(tx, serial)
    # What was put back after a restore has no key: it stands alone, and not for all others without one.
    followed = prove(tx, key, cause, actor=actor) if key else Consequences(False, (), ())
    revocation = revocations.of(tx, serial)
    assert revocation is not None
    if revocation == existing and not followed.any:
        raise AlreadyRevoked(existing)
    return revocation


def unexpired(rows: Rows, spki_sha256: bytes, at: int) -> list[bytes]:
    """The serial numbers of all certificates with the key, revoked or not, that have not expired at `at`.

    One that is being signed has no certificate yet: the register revokes it when it is stored.
    """
    found = rows.all(
        "SELECT serial FROM certificates WHERE spki_sha256 = ? AND not_after >= ?"
        " AND state NOT IN ('reserved', 'abandoned') ORDER BY serial",
        (spki_sha256, at),
    )
    return [row["serial"] for row in found]


def key_of(rows: Rows, serial: bytes) -> bytes:
    """SHA-256 over the SubjectPublicKeyInfo of a certificate in the register; b"" where nobody knows it."""
    row = rows.one("SELECT spki_sha256 FROM certificates WHERE serial = ?", (serial,))
    assert row is not None
    return bytes(row["spki_sha256"])


def is_certified(rows: Rows, spki_sha256: bytes) -> bool:
    """Whether a certificate was ever asked for with this key."""
    found = rows.one("SELECT 1 FROM certificates WHERE spki_sha256 = ? LIMIT 1", (spki_sha256,))
    return found is not None
