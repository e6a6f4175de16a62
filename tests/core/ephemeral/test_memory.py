from __future__ import annotations

from core.ephemeral.memory import MemoryNonces
from core.randomness import SystemRandomness


def nonces(**limits: int) -> MemoryNonces:
    return MemoryNonces(SystemRandomness(), "app", **limits)


async def test_the_nonce_of_another_process_or_of_before_a_restart_is_refused() -> None:
    assert not await nonces().consume(await nonces().issue())
    other = MemoryNonces(SystemRandomness(), "other")
    assert not await nonces().consume(await other.issue())


async def test_memory_is_bounded_and_only_the_oldest_nonces_go() -> None:
    ours = nonces(chunk_bits=8, max_chunks=4)
    issued = [await ours.issue() for _ in range(100)]
    accepted = [await ours.consume(nonce) for nonce in issued]
    assert accepted.index(True) == 72  # four chunks of eight, the newest one half full
    assert all(accepted[72:])
    assert len(ours._used) == 4
