"""How Redis stands with us: whether it is there, fit, and since when the epoch of its nonces lives.

For who starts, and who watches.

Must never: change anything there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core import settings
from core.clock import Clock
from core.ephemeral.redis.secret import NonceSecret
from core.ephemeral.redis.server import Server, Unfit
from core.errors import ConfigurationError

LATELY = 86400
"""Seconds for which an epoch that began is worth a word: as long as clients may hold a nonce of the last."""

# Returns the fingerprint of the epoch's secret and since when it lives, each None when there is none.
_LOOK = "return redis.call('HMGET', KEYS[1], 'fingerprint', 'since')"


@dataclass(frozen=True, slots=True)
class Standing:
    """`since` is when the epoch began, in POSIX seconds; None when there was none yet."""

    since: int | None

    def lately(self, now: int) -> str:
        """What to say while clients may still hold nonces of an epoch that has ended; "" at other times."""
        if self.since is None or now - self.since >= LATELY:
            return ""
        began = datetime.fromtimestamp(self.since, UTC)
        return (
            f"nonces given out before {began:%Y-%m-%d %H:%M} UTC are refused: Redis was first used then, "
            "or has started, failed over or lost data; see its log if nobody meant that"
        )


def epoch_key(prefix: str) -> str:
    """The key of the epoch; the braces keep all keys in one slot of a cluster."""
    return f"{{{prefix}}}:nonces:epoch"


def other_secret(server: Server, prefix: str, theirs: bytes, secret: NonceSecret) -> Unfit:
    """What to raise when the epoch is of another secret."""
    return server.unfit(
        f"another host closes nonces with another secret (its fingerprint is {theirs[:16]!r}, that of this "
        f"host {secret.fingerprint.encode()!r}): give all hosts the same file in redis.secret_file; if you "
        f"have changed it on all of them, stop them and redis-cli DEL {epoch_key(prefix)}"
    )


async def look(server: Server, prefix: str, secret: NonceSecret | None) -> Standing:
    """Ask it; without a `secret` whose it is stays open.

    Raises `Unfit` when it must not be used, `TransientError` when it does not answer.
    """
    await server.check()
    theirs, since = await server.run(_LOOK, [epoch_key(prefix)], [])
    if theirs and secret is not None and theirs != secret.fingerprint.encode():
        raise other_secret(server, prefix, theirs, secret)
    return Standing(int(since) if since else None)


def examine(where: settings.Redis, directory: Path, clock: Clock) -> Standing:
    """The same for a command.  `directory` is where the app keeps the secret that no setting names.

    Raises `ConfigurationError`; `TransientError` when it does not answer.
    """

    async def ask() -> Standing:
        secret = NonceSecret.existing(where.secret_file, directory)
        server = Server(where, clock)
        try:
            return await look(server, where.prefix, secret)
        except Unfit as unfit:
            raise ConfigurationError(str(unfit)) from unfit
        finally:
            await server.close()

    return asyncio.run(ask())
