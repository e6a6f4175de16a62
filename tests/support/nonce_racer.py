"""A front process of its own that uses the nonces it is told, as fast as it can: one of several in a race.

usage: python -m tests.support.nonce_racer URL PREFIX; writes "ready", then for each JSON list of nonces on
standard input the list of indices of those that were fresh.
"""

from __future__ import annotations

import asyncio
import json
import sys

from core.clock import SystemClock
from core.ephemeral.redis.nonces import RedisNonces
from core.ephemeral.redis.server import Server
from core.randomness import SystemRandomness
from core.settings import Redis
from tests.support.redis_server import SECRET

AT_ONCE = 10
"""So that no racer takes all of a list in one step."""


async def main(url: str, prefix: str) -> None:
    """Race."""
    server = Server(Redis(url=url, timeout=30), SystemClock())
    nonces = RedisNonces(server, prefix, SECRET, SystemClock(), SystemRandomness())
    await nonces.issue()  # connected, and the epoch is known
    print("ready", flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        answers: list[bool] = []
        while len(answers) < len(told):
            some = told[len(answers) : len(answers) + AT_ONCE]
            answers += await asyncio.gather(*(nonces.consume(each) for each in some))
        print(json.dumps([index for index, fresh in enumerate(answers) if fresh]), flush=True)
    await server.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
