"""The final certificate from its precertificate: steps (5) and (7) of docs/issuance.md.

The final TBSCertificate is made from the octets that were signed as precertificate, with the SCT list in
the place of the poison: nothing else can differ.  And then it is looked at once more, as if somebody else
had made it (`must_correspond`).

SCTs are judged by form, number and time here; their signatures are the issuance worker's to verify, which has
the log list (docs/adr/0010).

Must never: take a field of the certificate from the caller.

RFC 6962 sections 3.1 and 3.3; BR 7.1.2.9, 7.1.2.11.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from core import der
from core.errors import HaltIssuance, Refused
from core.requirements import Limit, limit
from signer.ct import sct, tbs

FINAL_WITHIN = 3000
"""Seconds from a precertificate to the end of its final certificate's signing.  `prepare` judges evidence and
dates for the last of them.  An hour is what registration leaves of the 8 hours that CAA is good for
(finalize.CAA_GOOD_FOR); its clock and ours read the time at different moments."""

MAX_SCTS = 8
"""Three are wanted; a caller may not fill a certificate with more."""

CLOCK_TOLERANCE = 5
"""Seconds that a log's clock may be ahead of ours, or behind it."""

POISON = der.extension(sct.POISON, der.NULL, critical=True)
"""RFC 6962 section 3.1: critical, its value the two octets of NULL."""


def final_tbs(precertificate: bytes, signed_at: int, scts: Sequence[bytes], now: int) -> bytes:
    """The to-be-signed octets of the final certificate.

    `precertificate` is DER as the journal keeps it, signed at `signed_at` (POSIX seconds, like `now`); `scts`
    are encoded SCTs.  Raises `Refused` when it is too late for one, or the SCTs are too few or malformed.
    """
    if now > signed_at + FINAL_WITHIN:
        raise Refused(
            "precertificate.too-old",
            f"what was judged for this precertificate held for {FINAL_WITHIN} s: revoke it and begin again",
        )
    parsed = x509.load_der_x509_certificate(precertificate)
    validity = parsed.not_valid_after_utc - parsed.not_valid_before_utc
    _must_be_scts(scts, int(validity.total_seconds()) + 1, signed_at, now)
    poisoned = tbs.of(precertificate)
    head, extensions = tbs.split(poisoned)
    scts_extension = der.extension(sct.SCT_LIST, der.octet_string(sct.encode_list(scts)))
    final = tbs.joined(head, [scts_extension if each == POISON else each for each in extensions])
    must_correspond(poisoned, final)
    return final


def must_correspond(precertificate: bytes, certificate: bytes) -> None:
    """Two TBSCertificates: without poison and SCT list every octet is the same.  Raises `HaltIssuance`.

    A difference is no caller's fault: something in the vault itself is wrong.
    """
    try:
        same = tbs.unpoisoned(precertificate) == tbs.without_scts(certificate)
    except ValueError as error:
        raise HaltIssuance(f"the certificate does not correspond to its precertificate: {error}") from error
    if not same:
        raise HaltIssuance("the certificate does not correspond to its precertificate (BR 7.1.2.9)")


def _must_be_scts(scts: Sequence[bytes], validity: int, signed_at: int, now: int) -> None:
    least = limit(Limit.SCTS if validity <= limit(Limit.SCTS_VALIDITY, now) else Limit.SCTS_LONG, now)
    if not least <= len(scts) <= MAX_SCTS:
        raise Refused(
            "scts.number", f"{len(scts)} SCTs: a certificate of this validity needs {least} or more"
        )
    logs = set()
    for each in scts:
        try:
            read = sct.decode(each)
        except ValueError as error:
            raise Refused("scts.encoding", f"an SCT cannot be read ({error}): collect another") from error
        logs.add(read.log_id)
        at = read.timestamp / 1000
        if not signed_at - CLOCK_TOLERANCE <= at <= now + CLOCK_TOLERANCE:
            raise Refused("scts.time", "an SCT is older than the precertificate or from the future")
    if len(logs) != len(scts):
        raise Refused("scts.logs", "two SCTs are of one log and count once: collect another")
