"""How a certificate stands now: what OCSP answers at this moment, what the register has, what the CRL shows.

The word "good" is OCSP's: it is said only where a signed answer, asked for now, says it.  Of what the root
signed, the issuing CAs' certificates, the root's CRL tells, as long as it is fresh.  Where the register
cannot be read, what is published stands alone, and it is said that it does.  Of a bare serial number only
status, dates and issuer are told; whoever has the certificate has everything that is told besides.

Must never: say "good" where OCSP would not; decide anything.

BR 4.9.9, 4.9.10, 4.10.1; RFC 6960 section 2.2; RFC 5280 section 5.3.1.
"""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtensionOID

from core import revocations
from core.causes import REASONS
from core.clock import Clock
from core.database import Reader
from core.errors import CaError
from core.revocations import CertificateStatus
from repo_static.publisher import ROOT_ID
from status.crl import scopes
from status.ocsp.responder import Responder
from status.pages.log_names import LogNames
from status.pages.named import serial_of
from status.pages.published import Issuer, Published, Shard


class Answer(StrEnum):
    """The status in a word."""

    GOOD = "good"
    REVOKED = "revoked"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    UNKNOWN = "unknown"
    NOT_OURS = "not-ours"
    UNDETERMINED = "undetermined"
    TRUST_ANCHOR = "trust-anchor"


@dataclass(frozen=True, slots=True)
class OcspSaid:
    """A signed answer that was asked for now; `path` is the GET that gives the same, times POSIX seconds."""

    status: str
    this_update: int
    next_update: int
    path: str


@dataclass(frozen=True, slots=True)
class Logged:
    """An embedded SCT: the log's id (base64) and when it promised, POSIX seconds.

    `name` and `operator` are those of the log list, "" where it does not know the log.
    """

    log: str
    at: int
    name: str
    operator: str


@dataclass(frozen=True, slots=True)
class Found:
    """All that is known of one certificate.  Times are POSIX seconds.

    `certificate` is None when only the serial number was given; `register`: whether the register was read.
    """

    answer: Answer
    serial: bytes
    issuer: Issuer | None = None
    certificate: x509.Certificate | None = None
    not_before: int | None = None
    not_after: int | None = None
    revoked_at: int | None = None
    reason: str = ""
    ocsp: OcspSaid | None = None
    crl: Shard | None = None
    crl_name: str = ""
    register: bool = True
    logs: tuple[Logged, ...] = ()
    precertificate: bool = False


class Lookup:
    """Looks certificates up for the status page."""

    def __init__(
        self, responder: Responder, reader: Reader, published: Published, names: LogNames, clock: Clock
    ) -> None:
        self._responder = responder
        self._reader = reader
        self._published = published
        self._names = names
        self._clock = clock

    def now(self) -> int:
        """POSIX seconds."""
        return self._clock.latest()

    async def by_serial(self, serial: bytes) -> Found:
        """The certificate of ours with that serial number."""
        row, register = self._register(serial)
        if row is None and (authority := self._authority(serial)) is not None:
            return await self.by_certificate(authority)
        if row is not None:
            issuer = self._published.issuer(row.issuer_id)
            if issuer is not None:
                return await self._of(serial, issuer, row, register)
        if register:
            return Found(Answer.UNKNOWN, serial)
        # Without the register each issuer's answer, or CRL, tells.
        found = Found(Answer.UNDETERMINED, serial, register=False)
        for issuer in self._published.issuers():
            candidate = await self._of(serial, issuer, None, register)
            if candidate.answer in (Answer.GOOD, Answer.REVOKED):
                return candidate
        return found

    async def by_certificate(self, certificate: x509.Certificate) -> Found:
        """A certificate that somebody has."""
        serial = serial_of(certificate)
        issuer = next((each for each in self._published.issuers() if each.signed(certificate)), None)
        not_before = int(certificate.not_valid_before_utc.timestamp())
        not_after = int(certificate.not_valid_after_utc.timestamp())
        if issuer is None or not serial:
            return Found(Answer.NOT_OURS, serial, None, certificate, not_before, not_after)
        if issuer.id == ROOT_ID:
            return await asyncio.to_thread(self._of_root, serial, issuer, certificate)
        row, register = self._register(serial)
        if row is not None and row.issuer_id != issuer.id:
            row = None
        return await self._of(serial, issuer, row, register, certificate)

    def _authority(self, serial: bytes) -> x509.Certificate | None:
        """The certificate with that serial number of an issuing CA, or the root: it is public."""
        certificates = (each.parsed for each in self._published.issuers())
        return next((each for each in certificates if serial_of(each) == serial), None)

    def _of_root(self, serial: bytes, root: Issuer, certificate: x509.Certificate) -> Found:
        """What the root signed: no register and no OCSP has it, and it has one CRL."""
        anchor = certificate == root.parsed
        crl = None if anchor else self._published.shard(ROOT_ID, 0, serial)
        now, (not_before, not_after) = self._clock.latest(), _dates(None, certificate)
        assert not_before is not None
        assert not_after is not None
        if crl is not None and crl.revoked_at is not None:
            answer = Answer.REVOKED
        elif now > not_after:
            answer = Answer.EXPIRED
        elif anchor:
            answer = Answer.TRUST_ANCHOR
        elif crl is None or now > crl.next_update:
            answer = Answer.UNDETERMINED
        else:
            answer = Answer.GOOD if now >= not_before else Answer.NOT_YET_VALID
        return Found(
            answer=answer,
            serial=serial,
            issuer=root,
            certificate=certificate,
            not_before=not_before,
            not_after=not_after,
            revoked_at=None if crl is None else crl.revoked_at,
            reason="" if crl is None else crl.reason,
            crl=crl,
            crl_name="" if anchor else f"crl/{ROOT_ID}-0.crl",
        )

    async def _of(
        self,
        serial: bytes,
        issuer: Issuer,
        row: CertificateStatus | None,
        register: bool,
        certificate: x509.Certificate | None = None,
    ) -> Found:
        said = await self._ocsp(serial, issuer)
        now = self._clock.latest()
        not_before, not_after = _dates(row, certificate)
        shard_number = _shard_number(issuer.id, row, certificate)
        shard, name = None, ""
        if shard_number is not None:
            name = f"crl/{issuer.id}-{shard_number}.crl"
            shard = await asyncio.to_thread(self._published.shard, issuer.id, shard_number, serial)
        elif not register:
            for number in self._published.shards(issuer.id):
                shard = await asyncio.to_thread(self._published.shard, issuer.id, number, serial)
                if shard is not None and shard.revoked_at is not None:
                    name = shard.name
                    break
            else:
                shard = None
        revoked_at, reason = _revocation(row, said, shard)
        answer = _answer(said, row, shard, revoked_at, register)
        if answer in (Answer.GOOD, Answer.UNDETERMINED) and not_after is not None and now > not_after:
            answer = Answer.EXPIRED
        elif answer is Answer.GOOD and not_before is not None and now < not_before:
            answer = Answer.NOT_YET_VALID
        return Found(
            answer=answer,
            serial=serial,
            issuer=issuer,
            certificate=certificate,
            not_before=not_before,
            not_after=not_after,
            revoked_at=revoked_at,
            reason=reason,
            ocsp=said[0] if said else None,
            crl=shard,
            crl_name=name,
            register=register,
            logs=_logs(certificate, self._names),
            precertificate=certificate is not None and _has(certificate, ExtensionOID.PRECERT_POISON),
        )

    def _register(self, serial: bytes) -> tuple[CertificateStatus | None, bool]:
        """The row, and whether the register could be read."""
        try:
            return revocations.status_of(self._reader, serial), True
        except (CaError, sqlite3.Error):
            return None, False

    async def _ocsp(self, serial: bytes, issuer: Issuer) -> tuple[OcspSaid, int | None, str] | None:
        """What OCSP answers now, and since when and why it is revoked; None for the unsigned answers."""
        name_hash, key_hash = issuer.hashes
        request = (
            ocsp.OCSPRequestBuilder()
            .add_certificate_by_hash(name_hash, key_hash, int.from_bytes(serial, "big"), hashes.SHA256())
            .build()
            .public_bytes(Encoding.DER)
        )
        answer = await self._responder.answer(request)
        if answer.this_update is None or answer.next_update is None:
            return None
        response = ocsp.load_der_ocsp_response(answer.der)
        text = base64.b64encode(request).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
        at = response.revocation_time_utc
        reason = response.revocation_reason
        said = OcspSaid(
            response.certificate_status.name.lower(), answer.this_update, answer.next_update, f"/ocsp/{text}"
        )
        return said, None if at is None else int(at.timestamp()), "" if reason is None else str(reason.value)


def _answer(
    said: tuple[OcspSaid, int | None, str] | None,
    row: CertificateStatus | None,
    shard: Shard | None,
    revoked_at: int | None,
    register: bool,
) -> Answer:
    if revoked_at is not None or (said is not None and said[0].status == "revoked"):
        return Answer.REVOKED
    if said is not None and said[0].status == "good":
        return Answer.GOOD
    if register and row is None:
        return Answer.UNKNOWN
    return Answer.UNDETERMINED


def _revocation(
    row: CertificateStatus | None, said: tuple[OcspSaid, int | None, str] | None, shard: Shard | None
) -> tuple[int | None, str]:
    """The register's word, which OCSP and CRL are read from; what they say where it is away."""
    if row is not None and row.revocation is not None:
        reason = row.revocation.reason
        return row.revocation.revoked_at, REASONS[reason] if reason else ""
    if said is not None and said[1] is not None:
        return said[1], said[2]
    if shard is not None and shard.revoked_at is not None:
        return shard.revoked_at, shard.reason
    return None, ""


def _dates(
    row: CertificateStatus | None, certificate: x509.Certificate | None
) -> tuple[int | None, int | None]:
    if certificate is not None:
        return (
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
        )
    return (None, None) if row is None else (row.not_before, row.not_after)


def _shard_number(
    issuer_id: str, row: CertificateStatus | None, certificate: x509.Certificate | None
) -> int | None:
    """The register's; else the one in the certificate's own CRL distribution point."""
    if row is not None:
        return row.crl_shard
    if certificate is None:
        return None
    return scopes.named_by(certificate, issuer_id)


def _logs(certificate: x509.Certificate | None, names: LogNames) -> tuple[Logged, ...]:
    if certificate is None:
        return ()
    try:
        found = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    except x509.ExtensionNotFound:
        return ()
    return tuple(
        Logged(
            base64.b64encode(each.log_id).decode(), int(each.timestamp.timestamp()), *names.of(each.log_id)
        )
        for each in found.value
    )


def _has(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bool:
    return any(each.oid == oid for each in certificate.extensions)
