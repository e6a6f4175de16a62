"""A token that was lost is opened again when it is back, where its PIN lies in a file (embedded).

A module may never notice that its token is back (SoftHSM2 does not), so the module is finalised and the token
opened like at the start: its keys prove themselves before they are used.  Where people share the PIN, they
activate it again instead (activation.py).

Must never: try a PIN twice that the token refused: some lock it after the third.

PKCS#11 v2.40 sections 5.4 and 5.6.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from itertools import chain, repeat

from core.errors import CaError
from signer.vault.people.lock import Lock
from signer.vault.tokens.cryptoki import PinRefused

_PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0)
_LAST_PAUSE = 30.0
"""Seconds between two tries: a cable is back at once, a network in half a minute."""

_log = logging.getLogger(__name__)


class Reopening:
    """Opens the lock again after `lost`, until it is open or the PIN is refused."""

    def __init__(
        self, lock: Lock, read_pin: Callable[[], str], pauses: Callable[[], Iterator[float]] | None = None
    ) -> None:
        self._lock = lock
        self._read_pin = read_pin
        self._pauses = pauses or (lambda: chain(_PAUSES, repeat(_LAST_PAUSE)))
        self._task: asyncio.Task[None] | None = None

    def lost(self) -> None:
        """The token or its login is lost.  Returns at once; may be called as often as errors come."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._reopen())

    async def close(self) -> None:
        """Try no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _reopen(self) -> None:
        _log.critical("vault: the token is lost: nothing is signed until it is back")
        await self._lock.close("the token was lost: the vault opens it again as soon as it is back")
        for pause in self._pauses():
            await asyncio.sleep(pause)
            try:
                await self._lock.open(bytearray(self._read_pin(), "utf-8"))
            except PinRefused as error:
                _log.critical("vault: the token is back and not opened: %s; then restart the vault", error)
                return
            except CaError as error:
                _log.warning("vault: the token is not back: %s", error)
            else:
                _log.warning("vault: the token is back")
                return
