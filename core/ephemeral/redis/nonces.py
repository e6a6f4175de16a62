"""Nonces that many fronts share, each used once whatever Redis has lost.

A nonce is epoch || block || number, closed with a key that each front derives from the epoch and a secret
that is not in Redis (`seal`, `secret`).  A front takes a
block of numbers at a time, so giving a nonce out asks nobody; a block is a bitmap in Redis, whose bits say
which numbers came back.  All nonces that wait are used in one step.

What Redis has lost must not make a used nonce fresh.  A block that is lost refuses all its nonces, since it
must be there.  Bits that are lost (the last second before a crash, what a replica had not yet when it was
promoted) end the **epoch**: it is bound to the very process and history that it began in (`run_id`,
`master_replid`), which each step compares before it looks at a bit.  Bits that were put back under a living
process (a restored snapshot of its machine) are seen by whoever remembers a later count of uses.

Must never: accept a nonce twice; ask a second time when an answer was lost; tell Redis a secret.

RFC 8555 sections 6.5 and 7.2.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Counter

from core.clock import Clock
from core.ephemeral.redis.secret import NonceSecret
from core.ephemeral.redis.server import Server
from core.ephemeral.redis.standing import epoch_key, other_secret
from core.ephemeral.seal import Seal, decoded
from core.errors import HaltIssuance, TransientError
from core.metrics import REGISTRY
from core.randomness import Randomness

EPOCH_OCTETS = 8
BLOCK_OCTETS = 8
NUMBER_OCTETS = 2
BODY_OCTETS = EPOCH_OCTETS + BLOCK_OCTETS + NUMBER_OCTETS

BLOCK_NONCES = 1 << 16
"""Nonces of a block, 8 KiB in Redis: one step of Redis for so many that are given out."""

BLOCK_IN_USE = 3600
"""Seconds for which a front gives out of one block."""

GOOD_FOR = 86400
"""Seconds, at least, that a nonce stays good: a client may wait a day for its DNS."""

CONFIRMED_FOR = 5
"""Seconds, at most, since Redis said that the epoch goes on when a nonce of it is given out: an idle front
asks first, lest a client get one that a restart at night has ended.  More than a held poll lasts."""

BATCH = 512
"""Nonces used in one step of Redis: about a millisecond of its one thread."""

NONCES = Counter(
    "acme_nonces", "Nonces that came back to Redis, by outcome.", ("outcome",), registry=REGISTRY
)
EPOCHS = Counter("acme_nonce_epochs", "Epochs of nonces that this process has seen begin.", registry=REGISTRY)

_log = logging.getLogger(__name__)

# KEYS[1] is the epoch.  ARGV[1] is an epoch that the caller knows, ARGV[2] a count of uses that it has seen.
_EPOCH = """
local function fact(section, name)
  return string.match(redis.call('INFO', section), name .. ':(%w+)')
end
local here = fact('server', 'run_id') .. fact('replication', 'master_replid')
local id, began, uses, closed_by = unpack(redis.call('HMGET', KEYS[1], 'id', 'began', 'uses', 'fingerprint'))
local lives = began == here and not (id == ARGV[1] and tonumber(uses or -1) < tonumber(ARGV[2]))
"""

# ARGV[3] is the id of an epoch to begin if none lives, ARGV[4] the fingerprint of the caller's secret,
# ARGV[5] the time.  KEYS[2], if given, is a block to make, of ARGV[6] bits, for ARGV[7] seconds.  Returns the
# fingerprint that stands there, if only beside an epoch that has ended, and nothing more when it is another
# than the caller's; else the epoch's id and count of uses, too.
_JOIN = (
    _EPOCH
    + """
if closed_by and closed_by ~= ARGV[4] then return {closed_by} end
if not (lives and closed_by) then
  id, closed_by, uses = ARGV[3], ARGV[4], 0
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'id', id, 'began', here, 'uses', uses)
  redis.call('HSET', KEYS[1], 'fingerprint', closed_by, 'since', ARGV[5])
end
if KEYS[2] then
  redis.call('SETBIT', KEYS[2], ARGV[6] - 1, 0)
  redis.call('EXPIRE', KEYS[2], ARGV[7])
end
return {closed_by, id, tonumber(uses)}
"""
)

# KEYS[1 + i] is the block of nonce i, ARGV[2 + i] its number.  Returns nothing when the epoch ARGV[1] has
# ended; else the count of uses, and 1 for each nonce that was fresh.
_USE = (
    _EPOCH
    + """
if not lives or id ~= ARGV[1] then return nil end
local fresh = {redis.call('HINCRBY', KEYS[1], 'uses', #KEYS - 1)}
for i = 2, #KEYS do
  fresh[i] = 0
  if redis.call('EXISTS', KEYS[i]) == 1 and redis.call('SETBIT', KEYS[i], ARGV[i + 1], 1) == 0 then
    fresh[i] = 1
  end
end
return fresh
"""
)


@dataclass(slots=True)
class _Epoch:
    """`uses` is the highest count that was seen; `confirmed` is when, by the monotonic clock."""

    id: bytes
    seal: Seal
    uses: int
    confirmed: float


@dataclass(slots=True)
class _Block:
    """The numbers that this front gives out, until `ends` by the monotonic clock."""

    id: bytes
    ends: float
    given: int = 0


class RedisNonces:
    """`Nonces` of all fronts that have the same Redis and prefix.  For one event loop."""

    def __init__(
        self,
        server: Server,
        prefix: str,
        secret: NonceSecret,
        clock: Clock,
        randomness: Randomness,
        *,
        block_nonces: int = BLOCK_NONCES,
    ) -> None:
        self._server = server
        self._prefix = prefix
        self._key = epoch_key(prefix)
        self._secret = secret
        self._clock = clock
        self._randomness = randomness
        self._block_nonces = block_nonces
        self._epoch: _Epoch | None = None
        self._block: _Block | None = None
        self._joining = asyncio.Lock()
        self._waiting: list[tuple[bytes, asyncio.Future[bool]]] = []
        self._using: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Be able to give nonces out.  Raises `Unfit` when this Redis must not be used, `TransientError`."""
        await self._made_ready()

    async def issue(self) -> str:
        """A fresh nonce (46 base64url characters).  Raises `TransientError`."""
        epoch, block = self._ready() or await self._made_ready()
        number, block.given = block.given, block.given + 1
        return epoch.seal.close(epoch.id + block.id + number.to_bytes(NUMBER_OCTETS, "big"))

    async def consume(self, nonce: str) -> bool:
        """True the first time that a nonce of the epoch comes back.  Raises `TransientError`."""
        octets = decoded(nonce, BODY_OCTETS)
        if octets is None or (self._is_of_epoch(octets) and self._opened(octets) is None):
            NONCES.labels("forged").inc()
            return False
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((octets, answer))
        if self._using is None or self._using.done():
            self._using = asyncio.create_task(self._use_waiting())
        fresh = await answer
        NONCES.labels("fresh" if fresh else "refused").inc()
        return fresh

    async def _use_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                fresh = await self._use([octets for octets, _ in batch])
            except Exception as error:
                if self._epoch is not None:
                    self._epoch.confirmed = -math.inf  # it may have ended: ask before one is given out
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for (_, answer), each in zip(batch, fresh, strict=True):
                    if not answer.done():  # done: who asked has gone
                        answer.set_result(each)

    async def _use(self, nonces: Sequence[bytes]) -> list[bool]:
        """Which of them were fresh."""
        if not all(map(self._is_of_epoch, nonces)):
            await self._join()  # another front may have seen a new one begin
        opened = [self._opened(each) for each in nonces]
        bodies = [each for each in opened if each is not None]
        fresh = iter(await self._use_bodies(bodies) if bodies else [])
        return [body is not None and next(fresh) for body in opened]

    async def _use_bodies(self, bodies: Sequence[bytes]) -> list[bool]:
        epoch, now = self._epoch, self._clock.monotonic()
        assert epoch is not None
        blocks = [self._block_key(each[EPOCH_OCTETS:-NUMBER_OCTETS]) for each in bodies]
        numbers = [int.from_bytes(each[-NUMBER_OCTETS:], "big") for each in bodies]
        answer = await self._server.run(_USE, [self._key, *blocks], [epoch.id, epoch.uses, *numbers])
        if answer is None:
            await self._join()  # so that the refusal brings a nonce that is good
            return [False] * len(bodies)
        epoch.uses, epoch.confirmed = max(epoch.uses, answer[0]), max(epoch.confirmed, now)
        return [each == 1 for each in answer[1:]]

    def _ready(self) -> tuple[_Epoch, _Block] | None:
        """What to make a nonce from; None when Redis has to be asked first."""
        epoch, block, now = self._epoch, self._block, self._clock.monotonic()
        if epoch is None or block is None or not self._lasts(block, now):
            return None
        return None if now - epoch.confirmed > CONFIRMED_FOR else (epoch, block)

    async def _made_ready(self) -> tuple[_Epoch, _Block]:
        for _ in range(3):  # a block that was made before a new epoch is not used in it
            await self._join()
            if ready := self._ready():
                return ready
        raise TransientError(f"{self._server.name}: its epochs end faster than a nonce is made")

    def _lasts(self, block: _Block, now: float) -> bool:
        return block.given < self._block_nonces and now < block.ends

    async def _join(self) -> None:
        """Learn which epoch there is, or begin one, and take a block if there is none to give out from."""
        asked = self._clock.monotonic()
        async with self._joining:
            if self._epoch is not None and self._epoch.confirmed > asked and self._ready():
                return  # while we waited another task has asked
            now = self._clock.monotonic()
            block = None
            if self._block is None or not self._lasts(self._block, now):
                await self._server.check()
                block = _Block(self._randomness.octets(BLOCK_OCTETS), now + BLOCK_IN_USE)
            known = self._epoch
            theirs, *found = await self._server.run(
                _JOIN,
                [self._key] + ([self._block_key(block.id)] if block else []),
                [
                    known.id if known else b"",
                    known.uses if known else 0,
                    self._randomness.octets(EPOCH_OCTETS),
                    self._secret.fingerprint,
                    self._time(),
                    self._block_nonces,
                    BLOCK_IN_USE + GOOD_FOR,
                ],
            )
            if not found:
                if known is not None:
                    known.confirmed = -math.inf  # give out no more of it
                raise other_secret(self._server, self._prefix, theirs, self._secret)
            id_, uses = found
            if known is None or id_ != known.id:
                self._block = None
                self._epoch = _Epoch(id_, Seal(self._secret.key(id_), BODY_OCTETS), uses, now)
                if known is not None:
                    EPOCHS.inc()
                    _log.warning(
                        "%s may have lost data: nonces given out before are refused", self._server.name
                    )
            else:
                known.uses, known.confirmed = max(known.uses, uses), now
            if block is not None:
                self._block = block

    def _time(self) -> int:
        """For people.  A time of day that has stepped back stops issuance, not the nonces of revocations."""
        try:
            return self._clock.now()
        except HaltIssuance:
            return 0

    def _is_of_epoch(self, octets: bytes) -> bool:
        return self._epoch is not None and octets[:EPOCH_OCTETS] == self._epoch.id

    def _opened(self, octets: bytes) -> bytes | None:
        """The body of a nonce of the epoch that is closed with its key."""
        if self._epoch is None or not self._is_of_epoch(octets):
            return None
        return self._epoch.seal.verified(octets)

    def _block_key(self, block: bytes) -> str:
        return f"{self._key.removesuffix('epoch')}{block.hex()}"
