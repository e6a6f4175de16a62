"""Revocations in random histories, where many a one cannot be."""

from __future__ import annotations

import contextlib
from typing import Any

from core import revocations


async def revoke_if_it_can_be(house: Any, serial: bytes, kind: str) -> None:
    """Revoke for "revoke", else raise the reason to keyCompromise."""
    with contextlib.suppress(revocations.AlreadyRevoked, revocations.UnknownCertificate):
        if kind == "revoke":
            await house.revoke(serial, 4)
        else:
            await house.database.write(lambda tx: revocations.upgrade_reason(tx, serial, "a test"))
