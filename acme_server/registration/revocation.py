"""Who may revoke what, and for which reason (RFC 8555 section 7.6; BR 4.9.1.1, 7.2.2).

Must never: revoke on the word of someone who proved none of the three; answer before the row is durable.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from cryptography import x509

from acme_server.authentication import ForeignResource
from acme_server.exchange import ByAccount, ByKey
from acme_server.problems import ErrorType, malformed, not_found, refusal
from acme_server.registration import compromise
from acme_server.store import authorizations
from core import certificates, revocations
from core.causes import CESSATION_OF_OPERATION, SUBSCRIBERS
from core.certificates import Certificate
from core.database import Rows, Transaction
from core.errors import Problem


class Proof(StrEnum):
    """The three authorities of section 7.6."""

    ACCOUNT = "the account that the certificate was issued to"
    AUTHORIZATIONS = "an account that holds valid authorizations for all of its names"
    KEY = "the key pair of the certificate"


def reason(value: Any) -> int:
    """The reason code asked for; 0 when none is.  Raises `Problem` (badRevocationReason)."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value not in SUBSCRIBERS:
        allowed = ", ".join(f"{code} ({word})" for code, word in SUBSCRIBERS.items())
        raise refusal(ErrorType.BAD_REVOCATION_REASON, f"the reasons that you may give are {allowed}")
    return value


def serial_of(der: bytes) -> bytes:
    """The serial number in a certificate's DER, as the register keeps it.  Raises `Problem` (malformed)."""
    try:
        number = x509.load_der_x509_certificate(der).serial_number
    except (ValueError, x509.InvalidVersion) as error:
        raise malformed("certificate must be a DER certificate (not PEM), base64url-encoded") from error
    if number <= 0:
        raise not_found("certificate")
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def revoke(tx: Transaction, der: bytes, serial: bytes, reason_code: int, request: ByAccount | ByKey) -> None:
    """Write the revocation.  Raises `Problem` (malformed, unauthorized, alreadyRevoked)."""
    certificate = certificates.by_serial(tx, serial)
    if certificate is None or der not in (certificate.certificate, certificate.precertificate):
        raise not_found("certificate")
    proof = _prove(tx, certificate, request, tx.now)
    if proof is Proof.AUTHORIZATIONS:
        reason_code = _new_holders(reason_code)
    actor = f"account:{request.account.id}" if isinstance(request, ByAccount) else "certificate-key"
    cause = f"revokeCert, signed by {proof}"
    try:
        if proof is Proof.KEY and reason_code == revocations.KEY_COMPROMISE:
            # Signed with the key itself: a thief or its holder says so, and either is proof (BR 4.9.1.1).
            compromise.prove_of_certificate(tx, serial, cause, actor=actor)
        else:
            # An account's word proves nothing about a key: else whoever can validate the names for a moment
            # could have their holder's key blocked for ever.  The reason stands on this certificate alone.
            revocations.revoke(tx, serial, reason_code, cause, actor=actor)
    except revocations.AlreadyRevoked:
        raise refusal(ErrorType.ALREADY_REVOKED, "the certificate is revoked already") from None


def _prove(rows: Rows, certificate: Certificate, request: ByAccount | ByKey, now: int) -> Proof:
    if isinstance(request, ByKey):
        if request.key.spki_sha256 == certificate.spki_sha256:
            return Proof.KEY
        raise _nobody("the request's key is not the certificate's key")
    if request.account.url == certificate.account_url:
        return Proof.ACCOUNT
    if all(authorizations.holds(rows, request.account.id, name, now) for name in certificate.names):
        return Proof.AUTHORIZATIONS
    raise _nobody("the certificate was issued to another account")


def _new_holders(reason_code: int) -> int:
    """What an account may say of a certificate of another: that its names have changed hands.

    Whether the subscriber has a new certificate, another affiliation or a stolen key, it cannot know; the
    reason cessationOfOperation is what BR 4.9.1.1 (9) and 7.2.2 have for a domain that changed hands.
    """
    if reason_code in (revocations.UNSPECIFIED, CESSATION_OF_OPERATION):
        return CESSATION_OF_OPERATION
    raise refusal(
        ErrorType.BAD_REVOCATION_REASON,
        "of a certificate that was issued to another account you may say 5 (cessationOfOperation) or nothing;"
        " who knows its key compromised signs the request with that key",
    )


def _nobody(why: str) -> Problem:
    return ForeignResource(
        ErrorType.UNAUTHORIZED,
        f"{why}; sign with the issuing account, with the certificate's key, or validate all its names first",
        status=403,
    )
