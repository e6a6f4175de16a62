"""Where a row of the register belongs by the word of the vault's journal: the crash rule.

    the journal has                            the row becomes
    no intent                                  abandoned: the key was never used
    an intent without its result               lost: the key may have been used
    a precertificate, no intent after it       precertified: the certificate may still follow
    a certificate                              issued

Must never: ask anybody; the vault's answer is all that counts.  docs/issuance.md.
"""

from __future__ import annotations

import hashlib

from core import certificates, jobs, precertificates
from core.database import Transaction
from signer.api import Recalled
from signer.ct import tbs
from signer.ct.finals import KIND


def settle(tx: Transaction, id: str, recalled: Recalled, at: int) -> None:
    """Move a *reserved* or *precertified* row; `at`, POSIX seconds, is kept as the time of signing."""
    if recalled.precertificate is not None:
        precertificates.store(tx, id, recalled.precertificate, _digest(recalled.precertificate), None)
    if recalled.certificate is not None:
        digest = _digest(recalled.certificate)
        certificates.store(tx, id, recalled.certificate, at, digest, recalled.lint)
        if recalled.precertificate is not None:
            jobs.add(tx, KIND, id)  # (9)
    elif recalled.precertificate is not None:
        if recalled.followed:
            certificates.mark_lost(tx, id)
    elif recalled.intent:
        certificates.mark_lost(tx, id)
    else:
        certificates.abandon(tx, id)


def _digest(certificate: bytes) -> bytes:
    return hashlib.sha256(tbs.of(certificate)).digest()
