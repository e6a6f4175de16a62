"""What a proven compromise of a key means for accounts: core/compromise.py, and no account keeps the key.

An account key is no certificate's key (RFC 8555 section 11.1), so this is rare: an operator was shown
somebody's account key, or the two were the same before this CA knew.  Whoever has the key could finalize
orders for every name that the account has validated, so the account ends, as if its owner had deactivated it
(section 7.3.6); its certificates stay, but for those with this key.  Orders that wait for a certificate with
the key are refused when their job comes to the register.

Must never: act on a mere word.

BR 4.9.1.1, 4.9.12, 6.1.1.3 (4); RFC 8555 sections 7.3.6, 7.6, 11.1.
"""

from __future__ import annotations

from acme_server.jws import PublicKey
from acme_server.problems import ErrorType, refusal
from acme_server.registration.deactivate import deactivate_account
from acme_server.states import AccountStatus
from acme_server.store import accounts
from core import blocked_keys, compromise
from core.blocklist import Blocklist
from core.compromise import Consequences
from core.database import Rows, Transaction
from core.revocations import Revocation


def prove(tx: Transaction, spki_sha256: bytes, cause: str, *, actor: str) -> Consequences:
    """Everything that follows, in this transaction; wake jobs and CRLs after it."""
    found = compromise.prove(tx, spki_sha256, cause, actor=actor)
    _end_account(tx, spki_sha256)
    return found


def prove_of_certificate(tx: Transaction, serial: bytes, cause: str, *, actor: str) -> Revocation:
    """The same for the key of the certificate `serial`.  Raises as `core.compromise.prove_of_certificate`."""
    revocation = compromise.prove_of_certificate(tx, serial, cause, actor=actor)
    spki_sha256 = compromise.key_of(tx, serial)
    _end_account(tx, spki_sha256)
    return revocation


def must_suit_an_account(rows: Rows, key: PublicKey, blocklist: Blocklist) -> None:
    """No account takes a key that is blocked, or a certificate's.  Raises `Problem` (badPublicKey)."""
    if blocked_keys.is_blocked(rows, key.spki_sha256) or blocklist.holds(key.spki):
        raise refusal(ErrorType.BAD_PUBLIC_KEY, "this key is known to be compromised; make a new one")
    if compromise.is_certified(rows, key.spki_sha256):
        raise refusal(
            ErrorType.BAD_PUBLIC_KEY,
            "a certificate has this key; an account needs a key of its own (RFC 8555 section 11.1)",
        )


def _end_account(tx: Transaction, spki_sha256: bytes) -> None:
    account = accounts.by_key(tx, spki_sha256)
    if account is not None and account.status is AccountStatus.VALID:
        deactivate_account(tx, account)
