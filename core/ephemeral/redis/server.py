"""The way to one Redis: its connections, and scripts that it runs in one step.

What goes wrong there is a `TransientError` within the time limit, and nothing is tried twice: a script whose
answer was lost may have been run.  The next call connects anew, so a Redis that is back is used.

Must never: wait longer than the time limit, or show the password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import Counter
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError

from core import settings
from core.clock import Clock
from core.errors import TransientError
from core.metrics import REGISTRY
from core.refusal import wrong

CALLS = Counter("acme_redis_calls", "Calls to Redis, by outcome.", ("outcome",), registry=REGISTRY)

CONNECTIONS = 16

PAUSE = 1
"""Seconds.  A Redis that was silent for the whole time limit is not asked again for so long: else every
request would wait in vain, and they would pile up."""

OLDEST = (6, 2)

DENIED = (AuthenticationError, AuthorizationError, NoPermissionError)


class Unfit(TransientError):
    """This Redis answers but must not be used; the message says what to change."""


class Server:
    """One Redis.  For one event loop."""

    def __init__(self, where: settings.Redis, clock: Clock) -> None:
        """Raises: `ConfigurationError` when the file of the password cannot be read."""
        self.name = where.url
        self._timeout = where.timeout
        self._clock = clock
        self._silent_until = 0.0
        trust = {"ssl_ca_certs": where.ca_file} if where.ca_file else {}
        self._client = Redis.from_pool(
            BlockingConnectionPool.from_url(
                where.url,
                max_connections=CONNECTIONS,
                password=_password(where),
                protocol=2,
                timeout=where.timeout,
                socket_timeout=where.timeout,
                socket_connect_timeout=where.timeout,
                retry=Retry(NoBackoff(), 0),
                **trust,
            )
        )
        self._scripts: dict[str, Any] = {}

    async def run(self, lua: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """What the script returns: a number, octets, None, or a list of them.  Raises `TransientError`."""
        if lua not in self._scripts:
            self._scripts[lua] = self._client.register_script(lua)
        return await self._in_time(lambda: self._scripts[lua](keys, arguments))

    async def check(self) -> None:
        """Raises `Unfit` for a Redis that could lose what it was told, `TransientError` when none answers."""
        facts = await self._in_time(self._client.info)
        version = str(facts.get("redis_version", ""))
        if tuple(int(each) for each in version.split(".")[:2] if each.isdigit()) < OLDEST:
            raise self.unfit(f"its version is {version or 'unknown'}: 6.2 is the oldest that we use")
        if facts.get("role") != "master":
            raise self.unfit("it is a replica: name the primary")
        if not facts.get("run_id") or not facts.get("master_replid"):
            raise self.unfit("INFO shows no run_id or master_replid: use Redis itself, not a proxy before it")
        policy = facts.get("maxmemory_policy")
        if facts.get("maxmemory") and policy != "noeviction":
            raise self.unfit(
                f"maxmemory-policy is {policy}, which throws nonces and limits away when memory is short: "
                "set it to noeviction"
            )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _in_time(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        if self._clock.monotonic() < self._silent_until:
            raise self._away("silent", "it was silent a moment ago")
        try:
            async with asyncio.timeout(self._timeout):
                found = await ask()
        except (TimeoutError, exceptions.TimeoutError) as error:
            self._silent_until = self._clock.monotonic() + PAUSE
            raise self._away("timeout", f"no answer within {self._timeout} s") from error
        except (exceptions.RedisError, OSError) as error:
            # It may be a replica by now: a new connection looks its name up again.
            await self._client.connection_pool.disconnect(inuse_connections=False)
            if isinstance(error, DENIED) or isinstance(error.__cause__, DENIED):
                raise self.unfit(f"{error}; see redis.password_file, redis.url's user, its ACL") from error
            raise self._away("error", str(error)) from error
        CALLS.labels("ok").inc()
        return found

    def _away(self, outcome: str, why: str) -> TransientError:
        CALLS.labels(outcome).inc()
        return TransientError(f"redis.url = {self.name}: {why}")

    def unfit(self, why: str) -> Unfit:
        """What to raise when it answers but must not be used."""
        CALLS.labels("unfit").inc()
        return Unfit(f"redis.url = {self.name}: {why}")


def _password(where: settings.Redis) -> str | None:
    if not where.password_file:
        return None
    try:
        password = Path(where.password_file).read_text().strip()
    except OSError as error:
        raise wrong(
            "redis.password_file", where.password_file, f"{error.strerror}; let the app's user read it"
        ) from error
    if not password:
        raise wrong("redis.password_file", where.password_file, "it is empty: write the password into it")
    return password
