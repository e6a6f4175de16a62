"""The job that tells the vault of a blocked key: from its reply on the vault refuses the key by itself.

The row is made in the transaction that blocks the key (core/blocked_keys.py) and removed after the vault's
journal holds the key, so no crash in between lets the vault forget.

Must never: give up.

BR 4.9.12, 6.1.1.3 (4).
"""

from __future__ import annotations

from core import blocked_keys, jobs
from core.database import Database
from signer.client import Vault


class BlockKeyJob:
    """Handler of the jobs of kind `blocked_keys.KIND`."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def __call__(self, subject: str) -> None:
        """Raises `TransientError` and `HaltIssuance` of the vault: the row stays."""
        await self._vault.block_key(bytes.fromhex(subject))
        await self._database.write(lambda tx: jobs.done(tx, blocked_keys.KIND, subject), at_any_time=True)
