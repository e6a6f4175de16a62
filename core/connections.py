"""How many connections a server holds, in all and from each block of addresses."""

from __future__ import annotations

from collections import Counter

from core.settings import Limits


class Connections:
    """The count of one server.  A block is what `core.addresses.Blocks.block` says of a peer."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.connections
        self._most_of_block = limits.connections_address
        self._all = 0
        self._by_block: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._all

    def came(self, block: str | None) -> bool:
        """A connection is there, from this block (None is not counted by itself); whether it is one too many.

        It counts until it `went`, too many or not.
        """
        self._all += 1
        if block is None:
            return self._all > self._most
        self._by_block[block] += 1
        return self._all > self._most or self._by_block[block] > self._most_of_block

    def went(self, block: str | None) -> None:
        """It is gone."""
        self._all -= 1
        if block is not None:
            self._by_block[block] -= 1
            if not self._by_block[block]:
                del self._by_block[block]
