"""What both halves of the keeper share: signing what is wanted in batches, and whether an answer will do.

Must never: sign what the index has and what is still true and fresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from core.answerable import Standing
from core.clock import Clock
from status.ocsp.index.files import Kept
from status.ocsp.index.records import HASH_NAMES, key_of
from status.ocsp.index.writer import Writer
from status.ocsp.signing import AnswerSigner, Wanted

BATCH = 128
"""Answers in one call: forty milliseconds of the vault, so that an issuance never waits long behind one."""

Pause = Callable[[float], Awaitable[object]]
"""Waits some seconds, or until something is urgent."""


class Batches:
    """Signs for the keeper.  `refresh`: seconds after which an answer is renewed."""

    def __init__(self, signer: AnswerSigner, writer: Writer, clock: Clock, refresh: int) -> None:
        self._signer = signer
        self._writer = writer
        self._clock = clock
        self._refresh = refresh

    def will_do(self, standing: Standing, hash_name: str) -> Kept | None:
        """The answer in the index that says what is to be said and need not be renewed yet."""
        found = self._writer.index.newest(key_of(standing.serial, hash_name))
        now = self._clock.latest()
        if found is None or found[0].issuer_id != standing.issuer_id or now >= found[1].next_update:
            return None
        if found[1].version > standing.version:
            return found  # the register is older than what the public saw
        fresh = now < found[1].this_update + self._refresh and found[1].version == standing.version
        return found if fresh else None

    async def answers(
        self, standings: Sequence[Standing], *, renew: bool, seconds: float, pause: Pause = asyncio.sleep
    ) -> tuple[list[Kept], int, int]:
        """The answers about `standings` in the order of their keys; how many were signed, how many refused.

        `renew` has all of them signed, else those that will not do.  Spread over `seconds`.  What the vault
        refuses keeps the answer that it has, if any.  Raises `TransientError`, `HaltIssuance`.
        """
        every = [(standing, hash_name) for standing in standings for hash_name in HASH_NAMES]
        found = {} if renew else {each: held for each in every if (held := self.will_do(*each)) is not None}
        wanted = [each for each in every if each not in found]
        batches = [wanted[at : at + BATCH] for at in range(0, len(wanted), BATCH)]
        signed = 0
        for batch in batches:
            started = self._clock.monotonic()
            for each, kept in zip(batch, await self._signer.many(batch), strict=True):
                signed += kept is not None
                old = self._writer.index.newest(key_of(each[0].serial, each[1]))
                if kept is None and old is not None and self._clock.latest() >= old[1].next_update:
                    old = None
                if (best := kept or old) is not None:
                    found[each] = best
            left = seconds / len(batches) - (self._clock.monotonic() - started)
            if left > 0 and len(batches) > 1:
                await pause(left)
        return [found[each] for each in every if each in found], signed, len(wanted) - signed


def missing(batches: Batches, standings: Sequence[Standing]) -> list[Standing]:
    """Those of which an answer is wanted."""
    return [each for each in standings if any(batches.will_do(each, name) is None for name in HASH_NAMES)]


__all__ = ["BATCH", "Batches", "Pause", "Wanted", "missing"]
