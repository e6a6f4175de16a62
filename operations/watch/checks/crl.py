"""A CRL: whose it is, how fresh, and whether it forgot what it said the last time.

RFC 5280 section 5; BR 4.9.7, 7.2; CCADB policy 6.2.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from operations.watch.fetch import Fetcher, must_be_quick, must_not_be_kept
from operations.watch.finding import State, Wrong
from operations.watch.limits import (
    CLOCKS_DIFFER,
    CRL_AGE,
    CRL_AGE_WARNING,
    CRL_OCTETS,
    CRL_VALIDITY,
    MARGIN,
    ROOT_CRL_MARGIN,
    ROOT_CRL_VALIDITY,
    THIRD,
    about,
)
from operations.watch.memory import Memory, SeenCrl, followed
from operations.watch.scope import Issuer

_STALE = "see why the CA publishes none: its log, its vault, its clock, the disk, the cache in front"
_FORGED = "publish the CA's own file again, and find out who changed it"


@dataclass(frozen=True, slots=True)
class Entry:
    """A revoked certificate as a CRL has it; `reason` is the RFC's word, "" for none."""

    serial: int
    revoked_at: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReadCrl:
    """A CRL that is its issuer's."""

    url: str
    issuer: Issuer
    number: int
    this_update: int
    next_update: int
    sha256: str
    serials: frozenset[int] = field(repr=False)
    crl: x509.CertificateRevocationList = field(repr=False)

    def entry(self, serial: int) -> Entry | None:
        found = self.crl.get_revoked_certificate_by_serial_number(serial)
        return None if found is None else _entry(found)


async def read(fetcher: Fetcher, url: str, issuer: Issuer, now: int) -> ReadCrl:
    """The CRL at `url`, whose signature is right.  Raises `Wrong`."""
    got = await fetcher.get(url, CRL_OCTETS)
    try:
        crl = x509.load_der_x509_crl(got.octets)
        _must_be_signed(crl, issuer)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        this_update, next_update = crl.last_update_utc, crl.next_update_utc
        _must_be_its_own(crl, url)
        serials = frozenset(each.serial_number for each in crl)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise Wrong(f"no CRL that can be read ({len(got.octets)} octets): {error}", _FORGED) from error
    if next_update is None:
        raise Wrong("the CRL has no nextUpdate", _FORGED)
    must_be_quick(got, url)
    times = int(this_update.timestamp()), int(next_update.timestamp())
    if times[1] > now:
        must_not_be_kept(got, "the CRL", times[1], now)
    return ReadCrl(url, issuer, number, *times, hashlib.sha256(got.octets).hexdigest(), serials, crl)


def judge(crl: ReadCrl, now: int) -> str:
    """What is seen of a fresh CRL.  Raises `Wrong` for one that is, or soon will be, stale."""
    age, left = now - crl.this_update, crl.next_update - now
    life = crl.next_update - crl.this_update
    if left < 0:
        raise Wrong(f"the CRL is out of date: nextUpdate was {about(-left)} ago", _STALE)
    if age < -CLOCKS_DIFFER:
        raise Wrong(f"thisUpdate is {about(-age)} in the future", "see the clocks, ours and the CA's")
    if crl.issuer.root:
        if life > ROOT_CRL_VALIDITY:
            raise Wrong(f"valid for {about(life)}: BR 4.9.7 allows twelve months", _FORGED)
        if left < ROOT_CRL_MARGIN:
            state = State.FAIL if left < 7 * 86400 else State.WARN
            raise Wrong(f"ends in {about(left)}", "hold a ceremony that signs the root's next CRL", state)
    else:
        if age > CRL_AGE:
            raise Wrong(f"the CRL is {about(age)} old: BR 4.9.7 asks for one every seven days", _STALE)
        if life > CRL_VALIDITY:
            raise Wrong(f"valid for {about(life)}: BR 4.9.7 allows ten days", "set status.crl_validity")
        if left < MARGIN and life > 2 * MARGIN:
            raise Wrong(f"the CRL ends in {about(left)} and there is no newer one", _STALE)
        if left < life / THIRD or age > CRL_AGE_WARNING:
            raise Wrong(f"the CRL is {about(age)} old and ends in {about(left)}", _STALE, State.WARN)
    return f"number {crl.number}, {len(crl.serials)} entries, {about(age)} old, ends in {about(left)}"


def compare(crl: ReadCrl, memory: Memory) -> list[int]:
    """Followed serials that are not on it any more, and remembers this one.

    Raises `Wrong` when the CRL is an older one than the last look had; then nothing is remembered.
    """
    before = memory.crls.get(crl.url)
    if before is not None and crl.number < before.number:
        raise Wrong(
            f"the CRLNumber fell from {before.number} to {crl.number}",
            "an older file is served (a restored backup, a cache, one of several servers): find which, and "
            "publish the newest; if the CA itself was put back: acme-server reconcile --restored",
        )
    if before is not None and crl.number == before.number and crl.this_update != before.this_update:
        raise Wrong(
            f"two CRLs have the number {crl.number}", "see whether two CAs sign; revoke nothing by hand"
        )
    gone = (
        []
        if before is None
        else [s for s in (int(each, 16) for each in before.serials) if s not in crl.serials]
    )
    kept = followed(crl.serials)
    memory.saw(crl.url, SeenCrl(crl.number, crl.this_update, [f"{each:x}" for each in kept]))
    return gone


def _must_be_signed(crl: x509.CertificateRevocationList, issuer: Issuer) -> None:
    """Before its entries are looked at: a stranger's may be a million."""
    key = issuer.certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    if crl.issuer != issuer.certificate.subject or not crl.is_signature_valid(key):
        raise Wrong(f"the CRL is not signed by {issuer.id}: wrong signature or issuer", _FORGED)


def _must_be_its_own(crl: x509.CertificateRevocationList, url: str) -> None:
    """The issuing distribution point, where there is one, names this URL (RFC 5280 section 5.2.5)."""
    try:
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return
    names = [each.value for each in point.full_name or ()]
    if names and url not in names:
        raise Wrong(f"it is the CRL of another scope: {', '.join(map(str, names))[:200]}", _FORGED)


def _entry(revoked: x509.RevokedCertificate) -> Entry:
    try:
        reason = revoked.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        reason = ""
    return Entry(revoked.serial_number, int(revoked.revocation_date_utc.timestamp()), reason)
