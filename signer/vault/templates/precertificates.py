"""The final certificate from its precertificate: steps (5) and (7) of docs/issuance.md.

The final TBSCertificate is made from the octets that were signed as precertificate, with the SCT list in
the place of the poison: nothing else can differ.  And then it is looked at once more, as if somebody else
had made it (`must_correspond`).

Must never: take a field of the certificate from the caller.

RFC 6962 sections 3.1 and 3.3; BR 7.1.2.9, 7.1.2.11.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from core import der
from core.errors import HaltIssuance, Refused
from signer.ct import sct, tbs

FINAL_WITHIN = 3000
"""Seconds from a precertificate to the end of its final certificate's signing.  `prepare` judges evidence and
dates for the last of them.  An hour is what registration leaves of the 8 hours that CAA is good for
(caa_recheck.CAA_GOOD_FOR); its clock and ours read the time at different moments."""

POISON = der.extension(sct.POISON, der.NULL, critical=True)
"""RFC 6962 section 3.1: critical, its value the two octets of NULL."""


def must_be_in_time(signed_at: int, now: int) -> None:
    """That a precertificate of `signed_at` may still be followed at `now`, POSIX seconds; else `Refused`."""
    if now > signed_at + FINAL_WITHIN:
        raise Refused(
            "precertificate.too-old",
            f"what was judged for this precertificate held for {FINAL_WITHIN} s: revoke it and begin again",
        )


def final_tbs(precertificate: bytes, scts: Sequence[bytes]) -> bytes:
    """The to-be-signed octets of the final certificate.

    `precertificate` is DER as the journal keeps it; `scts` are encoded and were judged (transparency.py).
    """
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
