"""Whether the vault can sign now, asked before a register row is reserved for it.

While the vault is locked or issuance is halted every try would leave an abandoned row behind.

Must never: cost a call while all is well.
"""

from __future__ import annotations

from core.errors import HaltIssuance, TransientError
from signer.client import Vault


class Standby:
    """In doubt at start and whenever the vault failed."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._in_doubt = True

    def doubt(self) -> None:
        """It failed: ask before the next try."""
        self._in_doubt = True

    async def must_be_able(self) -> None:
        """Raises `TransientError` while the vault is locked or away, `HaltIssuance` while it is halted."""
        if not self._in_doubt:
            return
        state = await self._vault.activation()
        if state.halted:
            raise HaltIssuance(f"issuance was halted by {state.halted}")
        if state.locked:
            raise TransientError(
                f"the vault is locked: {state.threshold} of {state.holders} people must activate it"
            )
        self._in_doubt = False
