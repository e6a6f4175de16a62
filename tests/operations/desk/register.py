"""The register that operators' acts in bulk are tried on."""

from __future__ import annotations

from core.database import Transaction
from core.issuers import Issuer, put_issuer
from tests.acme_server.test_revocation_run import ACCOUNT, put, put_accounts


def five_certificates(tx: Transaction) -> None:
    """Three of them of account one, two of account two."""
    put_issuer(tx, Issuer("ec-1", "issuing", "ec-p256", b"certificate", b"chain", 1))
    put_accounts(tx)
    for number in range(5):
        put(tx, number, account_url=f"{ACCOUNT}{'one' if number < 3 else 'two'}")
