"""The token under the running vault: locked, or open.

While it is locked the vault describes itself, tells its journal and recalls, and signs nothing.  Opening is
all or nothing: the keys in the token are those of the sealed certificates, and they prove it, or the token is
closed again.

Must never: keep a PIN; leave a token open that did not prove itself.

PKCS#11 v2.40 section 5.6 (login is of the application: the last session's end logs out); BR 6.2.8, 6.2.9.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from signer.vault.people.shares import wipe
from signer.vault.signing import Signer
from signer.vault.status.responders import Responders
from signer.vault.tokens.token import TokenThreads

Open = Callable[[bytearray], TokenThreads]
"""Opens the token with a PIN and proves it; raises `CaError` with everything closed.  May take seconds."""

_log = logging.getLogger(__name__)


class Lock:
    """Opens and closes the token; to be used from one event loop."""

    def __init__(self, open_token: Open, signer: Signer, responders: Responders) -> None:
        self._open_token = open_token
        self._signer = signer
        self._responders = responders
        self._tokens: TokenThreads | None = None

    @property
    def is_open(self) -> bool:
        """Whether the vault can sign."""
        return self._tokens is not None

    async def open(self, pin: bytearray) -> None:
        """Open the token, wipe `pin`, renew the responders.  Raises `CaError`: it is locked then."""
        assert self._tokens is None
        try:
            tokens = await asyncio.to_thread(self._open_token, pin)
        finally:
            wipe(pin)
        self._tokens = tokens
        self._signer.open(tokens)
        try:
            await self._responders.renew()
        except BaseException as error:
            await self.close(f"the vault's token was opened and closed again: {error}")
            raise

    async def close(self, why: str) -> None:
        """Finish what is being signed, log out of the token; callers are told `why`.  May be repeated."""
        await self._signer.close(why)
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            await asyncio.to_thread(tokens.close)
            _log.info("vault: the token is closed: %s", why)
