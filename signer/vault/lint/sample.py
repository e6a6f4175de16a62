"""A sample of what was signed is linted again, by pkilint alone and as a whole: it must find nothing.

Before signing, pkilint is helped: profiles remember its findings (lint/fast/), a CRL is shown to it by
specimens, an OCSP answer by its shape.  If one of these shortcuts were wrong, so would be all that was signed
since.  So what was really signed is drawn at random and judged without any of them.  A finding, or a linter
that cannot tell, is reported to whoever halts issuance.

Must never: delay a signature, or judge from a remembered answer.

BR 4.3.1.2, 8.7 (self-audits); docs/adr/0011.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from core import der
from core.errors import Refused
from core.randomness import Randomness
from signer.vault.lint.pool import Kind, LintPool

CRL_ENTRIES = 1000
"""pkilint takes 0.1 ms and 10 KiB for an entry; of a longer CRL so many are drawn."""

_log = logging.getLogger(__name__)
OnFinding = Callable[[str], Awaitable[None]]


class Sampler:
    """Draws one in `one_in` of what it is offered; 0 draws nothing.  `on_finding` is given the reason."""

    def __init__(self, pool: LintPool, one_in: int, randomness: Randomness, on_finding: OnFinding) -> None:
        self._pool = pool
        self._one_in = one_in
        self._randomness = randomness
        self._on_finding = on_finding
        self._at_work: asyncio.Task[None] | None = None
        self.judged = 0
        """How many were linted again."""

    def offer(self, kind: Kind, signed: bytes | Callable[[], bytes]) -> None:
        """Perhaps lint this signed certificate, CRL or OCSP response, in the background, one at a time.

        What is large is given as a function that makes it, called when it was drawn.
        """
        if not self._one_in or self._below(self._one_in):
            return
        if self._at_work is None or self._at_work.done():
            octets = signed if isinstance(signed, bytes) else signed()
            self._at_work = asyncio.get_running_loop().create_task(self._judge(kind, octets))

    async def close(self) -> None:
        """Drop what is under way."""
        if self._at_work is not None:
            self._at_work.cancel()
            await asyncio.gather(self._at_work, return_exceptions=True)

    async def _judge(self, kind: Kind, signed: bytes) -> None:
        if kind in (Kind.CRL, Kind.ROOT_CRL):
            signed = await asyncio.to_thread(self._some_entries, signed)
        try:
            await self._pool.lint(signed, kind, plain=True)
        except Refused as refusal:
            if not self._pool.running:
                return
            _log.critical("signed, and found wrong afterwards: %s %s: %s", kind, signed.hex(), refusal)
            await self._on_finding(f"the lint of what was signed ({kind}) says {refusal}")
        self.judged += 1

    def _some_entries(self, certificate_list: bytes) -> bytes:
        """The CRL with `CRL_ENTRIES` of its entries, when it has more."""
        tbs, *rest = der.elements(der.only(certificate_list, der.SEQUENCE).content)
        fields = [*der.elements(tbs.content)]
        # version, signature, issuer, thisUpdate, nextUpdate, and revokedCertificates unless it is absent
        if len(fields) < 7:
            return certificate_list
        # Counted first, and drawn then: a list of a million would take more memory than all the rest.
        count = sum(1 for _ in der.elements(fields[5].content))
        if count <= CRL_ENTRIES:
            return certificate_list
        chosen = Counter(self._below(count) for _ in range(CRL_ENTRIES))
        listed = enumerate(der.elements(fields[5].content))
        drawn = [entry.encoding for number, entry in listed for _ in range(chosen[number])]
        head, tail = (field.encoding for field in fields[:5]), (field.encoding for field in fields[6:])
        return der.sequence(
            der.sequence(*head, der.sequence(*drawn), *tail), *(field.encoding for field in rest)
        )

    def _below(self, limit: int) -> int:
        return int.from_bytes(self._randomness.octets(8), "big") % limit
