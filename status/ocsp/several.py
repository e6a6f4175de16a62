"""Answers a request about several certificates: one signature, made while the client waits.

RFC 6960 permits it; RFC 9919 section 3.1.1 does not, and hardly anybody asks so.  Nothing of it is kept.  It
is answered as a whole or not at all ("The response MUST include a SingleResponse for each certificate in the
request"): `unauthorized` when one of them is none of ours, when their issuers differ (one delegated responder
signs, and it speaks for one issuer), or when there are more than the limit.

Must never: say more, or anything else, of one of them than it would be told alone.

RFC 6960 sections 2.3, 4.1.1, 4.2.2.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from cryptography.x509 import ocsp

from core.clock import Clock
from core.errors import Refused, TransientError
from signer.api import OcspList, OcspRequest, Signed
from status.ocsp.answer import UNAUTHORIZED, Answer
from status.ocsp.request import CertId

ATTEMPTS = 3
"""Signatures tried while a revocation row keeps changing; a row changes twice in its life at most."""


class Standing(Protocol):
    """What the register says of one certificate; equal while it says the same."""

    @property
    def revoked_at(self) -> int | None: ...

    @property
    def reason(self) -> int | None: ...


class ListSigner(Protocol):
    """What this needs of the vault."""

    async def sign_ocsp_list(self, request: OcspList) -> Signed: ...


class Several:
    """Signs lists.  `find`, `look` and `until` are the responder's own: the issuer of a CertID, what the
    register says of a serial, and the last moment for which the issuer's responder may speak.
    """

    def __init__(
        self,
        signer: ListSigner,
        clock: Clock,
        *,
        most: int,
        validity: int,
        find: Callable[[CertId], str | None],
        look: Callable[[str, bytes], Standing | None],
        until: Callable[[str, int], Awaitable[int]],
    ) -> None:
        self._signer = signer
        self._clock = clock
        self._most = most
        self._validity = validity
        self._find = find
        self._look = look
        self._until = until

    def issuer_of(self, asked: Sequence[CertId]) -> str | None:
        """The issuer of all of them, when there is one and they may be asked about together."""
        issuers = {self._find(each) for each in asked} if len(asked) <= self._most else {None}
        return issuers.pop() if len(issuers) == 1 else None

    async def answer(self, issuer_id: str, asked: Sequence[CertId]) -> Answer:
        """One answer about all of them.  Raises: `TransientError`, `Refused`."""
        for _ in range(ATTEMPTS):
            standings = self._looked(issuer_id, asked)
            if None in standings:
                return UNAUTHORIZED
            now = self._clock.latest()
            next_update = min(now + self._validity, await self._until(issuer_id, now))
            wanted = tuple(
                OcspRequest(
                    issuer_id=issuer_id,
                    serial=each.serial,
                    hash_name=each.hash_name,
                    this_update=now,
                    next_update=next_update,
                    revoked_at=standing.revoked_at,
                    reason=standing.reason or None,
                )
                for each, standing in zip(asked, standings, strict=True)
                if standing is not None
            )
            signed = await self._signer.sign_ocsp_list(OcspList(wanted))
            check(signed.der, wanted)
            # As for a single answer: what committed while the vault was busy must be in it.
            if self._looked(issuer_id, asked) == standings:
                return Answer(
                    signed.der, now, next_update, hashlib.sha256(signed.der).hexdigest(), young=True
                )
        raise TransientError("the revocation rows keep changing")

    def _looked(self, issuer_id: str, asked: Sequence[CertId]) -> list[Standing | None]:
        return [self._look(issuer_id, each.serial) for each in asked]


def check(der: bytes, wanted: Sequence[OcspRequest]) -> None:
    """Check that a signed answer says what was asked for, in that order.

    Raises: `Refused`.
    """
    response = ocsp.load_der_ocsp_response(der)
    said = [
        (
            each.serial_number,
            each.hash_algorithm.name,
            each.certificate_status,
            None if each.revocation_time_utc is None else int(each.revocation_time_utc.timestamp()),
            int(each.this_update_utc.timestamp()),
            None if each.next_update_utc is None else int(each.next_update_utc.timestamp()),
        )
        for each in response.responses
    ]
    asked_for = [
        (
            int.from_bytes(each.serial, "big", signed=True),
            each.hash_name,
            ocsp.OCSPCertStatus.GOOD if each.revoked_at is None else ocsp.OCSPCertStatus.REVOKED,
            each.revoked_at,
            each.this_update,
            each.next_update,
        )
        for each in wanted
    ]
    if said != asked_for:
        raise Refused("status.ocsp-mismatch", f"the vault signed {said} where {asked_for} was asked for")
    until = min((int(each.not_valid_after_utc.timestamp()) for each in response.certificates), default=0)
    if until < wanted[0].next_update:
        raise Refused(
            "status.ocsp-outlives", "the answer would outlive its responder certificate: renew that"
        )
