from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from signer.vault.sealed import watch as seal_watch


async def ends(path: Path, sealed: bytes, act: str, within: float = 10) -> bool:
    """Whether the watch ends in so many seconds after `act`."""
    watch = asyncio.create_task(seal_watch.until_sealed_anew(path, sealed, 0.001))
    await asyncio.sleep(0.005)
    match act:
        case "replaced":
            (path.parent / "new").write_bytes(b"another")
            (path.parent / "new").rename(path)
        case "touched":
            (path.parent / "new").write_bytes(sealed)
            (path.parent / "new").rename(path)
        case "removed":
            path.unlink()
    done, _ = await asyncio.wait({watch}, timeout=within)
    watch.cancel()
    return bool(done)


@pytest.mark.parametrize(
    ("act", "ended"), [("replaced", True), ("touched", False), ("removed", False), ("nothing", False)]
)
async def test_the_vault_ends_when_another_hierarchy_is_in_force_and_only_then(
    tmp_path: Path, act: str, ended: bool
) -> None:
    path = tmp_path / "hierarchy.json"
    path.write_bytes(b"sealed")
    assert await ends(path, b"sealed", act, 10 if ended else 0.2) is ended


async def test_a_hierarchy_that_came_while_the_vault_started_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "hierarchy.json"
    path.write_bytes(b"newer than what was loaded")
    assert await ends(path, b"loaded", "nothing")
