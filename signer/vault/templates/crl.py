"""A TBSCertList from a DER template (docs/adr/0003); the entries of long CRLs come encoded (docs/adr/0035).

Must never: decide what is revoked, or choose a CRL number (the vault's journal remembers the last).

RFC 5280 section 5; BR 7.2; no delta, no indirect CRL.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from core import der
from core.errors import Refused
from signer.api import CrlEntry, SignedCrl
from signer.vault.templates.authority import Issuer
from signer.vault.tokens import algorithms

_DAY = 86400

ALLOWED_REASONS = frozenset({1, 3, 4, 5, 9})
"""keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn (BR 7.2.2)."""

CA_REASONS = ALLOWED_REASONS | {2}
"""A root's CRL may also say cACompromise, of a subordinate CA."""

MAX_VALIDITY = 10 * 86400
"""Seconds: nextUpdate at most 10 days after thisUpdate for subscriber certificates (BR 7.2.1)."""

MAX_ROOT_VALIDITY = 365 * 86400
"""Seconds: 12 months for a CRL of CA certificates (BR 4.9.7)."""

_VERSION_2 = der.integer(1)
_CRL_NUMBER, _REASON, _AKI, _IDP = "2.5.29.20", "2.5.29.21", "2.5.29.35", "2.5.29.28"
_MAX_NUMBER = 1 << 159


def build_tbs(
    issuer: Issuer,
    number: int,
    this_update: int,
    next_update: int,
    entries: Sequence[CrlEntry],
    idp_url: str | None,
    *,
    of_cas: bool = False,
) -> bytes:
    """The TBSCertList in DER.

    `idp_url` is the shard's URL, octet for octet the one in the CRLDP of its certificates, or None when there
    is one full CRL (then no issuingDistributionPoint).  `of_cas`: a root's CRL of CA certificates.
    Raises `Refused` for what BR 7.2 forbids.
    """
    if not 0 <= number < _MAX_NUMBER:
        raise Refused("crl.number", "a CRL number is below 2^159 (BR 7.2.2)")
    if not 0 < next_update - this_update <= (MAX_ROOT_VALIDITY if of_cas else MAX_VALIDITY):
        raise Refused(
            "crl.validity", "nextUpdate is too far from thisUpdate (BR 7.2.1): set status.crl_validity"
        )
    allowed = CA_REASONS if of_cas else ALLOWED_REASONS
    revoked = _entries(entries, this_update, allowed)
    if len({entry.serial for entry in entries}) != len(entries):
        raise Refused("crl.serial", "a serial number occurs twice in the CRL")
    extensions = [
        der.extension(_AKI, der.sequence(der.implicit(0, issuer.key_id))),
        der.extension(_CRL_NUMBER, der.integer(number)),
    ]
    if idp_url is not None:
        extensions.append(der.extension(_IDP, _distribution_point(idp_url), critical=True))
    return der.sequence(
        _VERSION_2,
        issuer.algorithm.identifier,
        issuer.name,
        der.time(this_update),
        der.time(next_update),
        # RFC 5280 section 5.1.2.6: absent, not empty, when nothing is revoked.
        der.sequence(*revoked) if revoked else b"",
        der.explicit(0, der.sequence(*extensions)),
    )


def around(specimen: bytes, octets: int) -> tuple[bytes, bytes]:
    """What stands before and after `octets` of entries in a TBSCertList that is otherwise like `specimen`."""
    fields = [field.encoding for field in der.elements(der.only(specimen, der.SEQUENCE).content)]
    head, tail = b"".join(fields[:5]), fields[-1]
    listed = der.header(der.SEQUENCE, octets) if octets else b""
    length = len(head) + len(listed) + octets + len(tail)
    return der.header(der.SEQUENCE, length) + head + listed, tail


def assemble(tbs: bytes, signature_algorithm: bytes, signature: bytes) -> bytes:
    """The CertificateList."""
    return der.sequence(tbs, signature_algorithm, der.bit_string(signature))


def signed(
    before: bytes, tbs_octets: int, after: bytes, signature_algorithm: bytes, signature: bytes
) -> SignedCrl:
    """The CertificateList without its entries, of a TBSCertList of `tbs_octets` as `around` has it."""
    end = signature_algorithm + der.bit_string(signature)
    return SignedCrl(der.header(der.SEQUENCE, tbs_octets + len(end)) + before, after + end)


def dummy_signed(tbs: bytes, issuer: Issuer) -> bytes:
    """The CertificateList with a signature that is none, for the linter."""
    return assemble(tbs, issuer.algorithm.identifier, algorithms.dummy_signature(issuer.public_key))


def _entries(entries: Sequence[CrlEntry], this_update: int, allowed: frozenset[int]) -> list[bytes]:
    """The entries.  Of a million the dates are few: a date is encoded once, and the time of day beside it."""
    made, dates = [], dict[int, bytes]()
    for entry in entries:
        serial, reason = entry.serial, entry.reason
        if entry.revoked_at > this_update:
            raise Refused(
                "crl.revoked-at", "a revocation lies after thisUpdate: the clock or the register is wrong"
            )
        day, second = divmod(entry.revoked_at, _DAY)
        date = dates.get(day)
        if date is None:
            date = dates[day] = der.time(day * _DAY)[: -len(b"000000Z")]
        # CRLReason unspecified (0) is said by leaving the extension out (RFC 5280 section 5.3.1).
        if not reason:
            rest = date + _time_of_day(second)
        elif reason in allowed:
            rest = date + _time_of_day(second) + _REASON_EXTENSIONS[reason]
        else:
            raise Refused("crl.reason", f"reason code {reason} may not stand in a CRL (BR 7.2.2)")
        made.append(_header(len(serial), len(rest)) + serial + rest)
    return made


@cache
def _time_of_day(second: int) -> bytes:
    minutes, seconds = divmod(second, 60)
    return b"%02d%02d%02dZ" % (*divmod(minutes, 60), seconds)


@cache
def _header(serial: int, rest: int) -> bytes:
    """SEQUENCE and INTEGER with their lengths, for so many octets of serial number and of what follows."""
    integer = der.tlv(der.INTEGER, bytes(serial))
    return der.sequence(integer, bytes(rest))[: -(serial + rest)]


def _distribution_point(url: str) -> bytes:
    """BR 7.2.2.1: distributionPoint with fullName, and nothing else of the IDP's fields."""
    return der.sequence(der.explicit(0, der.explicit(0, der.implicit(6, url.encode("ascii")))))


_REASON_EXTENSIONS = {
    reason: der.sequence(der.extension(_REASON, der.enumerated(reason))) for reason in CA_REASONS
}
