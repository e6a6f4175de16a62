"""What `acme-server run` says on its screen of a vault that waits for people.

Must never: show more than the vault tells every operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.data_directory import DataDirectory
from core.errors import CaError
from operations.screens import activation_lines
from signer.api import ActivationState
from signer.client import Vault

LOOK_EVERY = 1
"""Seconds: a person who has just activated looks at the screen."""


async def tell(data: DataDirectory, say: Callable[[str], None]) -> None:
    """Say it whenever it changes, for ever; nothing of a vault that has been active all along."""
    vault = Vault(data.vault_socket, owner=data.vault)
    said: tuple[str, ...] = ()
    try:
        while True:
            try:
                state: ActivationState | None = await vault.activation()
            except CaError:
                state = None  # the vault starts, or the supervisor says that it has died
            if state is not None:
                lines = notice(state)
                if lines != said and (said or state.locked or state.halted):
                    say("\n".join(f"  {line}" for line in lines))
                    said = lines
            await asyncio.sleep(LOOK_EVERY)
    finally:
        await vault.close()


def notice(state: ActivationState) -> tuple[str, ...]:
    """The lines for a state."""
    lines = activation_lines(state)
    if state.locked:
        lines.append("Each of them: acme-server activate --identity FILE [--share FILE] --data DIR")
        lines.append("Until then status that is published stays served, and orders wait.")
    return tuple(lines)
