"""CRLs and OCSP answers before they are signed: all of each by our own lint, each shape of them by pkilint.

The entries of a CRL were judged in their blocks (crl_blocks.py); here it is the frame with a *specimen*, one
entry of each shape, that both lints see, every time.  Of OCSP answers it sees the first of
each shape; the shapes that passed are remembered under the linters' versions and the day of the rules, so
that a new rule is asked about all of them again.

Must never: let one pass that `crl_check` or `ocsp_check` refuses, whatever a lint worker says.

BR 4.3.1.2, 7.2, 7.3; RFC 5280 section 5; RFC 6960 section 4.2; docs/adr/0011.
"""

from __future__ import annotations

from collections.abc import Sequence

from core import requirements
from signer.api import OcspRequest
from signer.vault.lint import crl_check, ocsp_check
from signer.vault.lint.crl_check import Wanted
from signer.vault.lint.pool import Kind, LintPool
from signer.vault.status.responders import Responder
from signer.vault.templates import crl, ocsp
from signer.vault.templates.authority import Issuer

MAX_SHAPES = 4096
"""Remembered at most: two hashes, seven statuses, a responder a week and issuer.  Then all are asked anew."""


class StatusLint:
    """Builds and lints what tells of status."""

    def __init__(self, pool: LintPool) -> None:
        self._pool = pool
        self._passed: set[tuple[object, ...]] = set()

    async def crl(self, wanted: Wanted, now: int) -> bytes:
        """The TBSCertList that says what is wanted; for entries it has the specimens.  Raises `Refused`."""
        tbs = crl.build_tbs(
            wanted.issuer,
            wanted.number,
            wanted.this_update,
            wanted.next_update,
            wanted.entries,
            wanted.url,
        )
        specimen = crl_check.check(tbs, wanted)
        await self._pool.lint(crl.dummy_signed(specimen, wanted.issuer), Kind.CRL, at=now)
        return specimen

    async def ocsp(
        self, issuer: Issuer, responder: Responder, requests: Sequence[OcspRequest], now: int
    ) -> bytes:
        """The ResponseData that answers `requests`.  Raises `Refused`."""
        data = ocsp.build_tbs(issuer, responder.key_hash, responder.not_after, requests, now)
        draft = ocsp.assemble(
            data, responder.algorithm.identifier, responder.dummy_signature, responder.certificate
        )
        ocsp_check.check(draft, issuer, responder.certificate, responder.key_hash, requests, now)
        # Each status is a shape of its own among so many: a list with nothing new in it needs no new look.
        shapes = {
            (
                self._pool.linters,
                requirements.newest(now),
                responder.certificate,
                len(requests),
                request.hash_name,
                request.revoked_at is None,
                request.reason or 0,
                len(request.serial),
            )
            for request in requests
        }
        if not shapes <= self._passed:
            await self._pool.lint(draft, Kind.OCSP, at=now)
            if len(self._passed) >= MAX_SHAPES:
                self._passed.clear()
            self._passed |= shapes
        return data
