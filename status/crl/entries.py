"""The entries of CRLs, encoded once, in blocks; read again where the register has changed.

A scope's serial numbers are cut into ranges of some thousand entries.  A revocation changes the block of its
range, which is then read from the register anew; all others are joined as they are.  Once in a while all are
read anew, so that nothing depends on this memory for longer (docs/adr/0035).

Must never: hold an entry that the register does not say, or forget one that it does.

RFC 5280 sections 5.1.2.6, 5.3.1; BR 4.10.1 (an entry stays until once on a CRL after expiry), 7.2.2.
"""

from __future__ import annotations

import asyncio
import hashlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from core import der, revocations
from core.database import Reader
from status.crl import parts
from status.crl.kept import Kept
from status.crl.scopes import Published, Scope

BLOCK = 1024
"""Entries, at most twice as many: 45 kB to read and to sign anew for one revocation."""

_TOP = b"\xff" * 21
"""Above every serial number: they have at most 20 octets."""


@dataclass(frozen=True, slots=True)
class Block:
    """Entries in DER, side by side, by serial number; `bound` is the last serial number of its range."""

    octets: bytes
    sha256: bytes
    count: int
    bound: bytes


@dataclass(slots=True)
class Entries:
    """All entries of one scope, as of revocation version `version`; `whole_at` is when all were read."""

    blocks: list[Block] = field(default_factory=list)
    version: int = 0
    whole_at: int = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(block.count for block in self.blocks)

    @property
    def octets(self) -> int:
        """How long they are."""
        return sum(len(block.octets) for block in self.blocks)

    async def renewed(
        self, reader: Reader, scope: Scope, last: Published | None, now: int, *, whole: bool
    ) -> AsyncIterator[Block]:
        """Read what changed, or with `whole` all; the blocks that were read, as they come.

        When the last one has come, all revocations up to `version` are in the blocks.
        """
        # The version before the entries: what commits in between is read twice and never missed.
        version = revocations.version(reader)
        bounds = [block.bound for block in self.blocks[:-1]] + [_TOP]
        if whole or not self.version:
            stale = set(range(len(bounds)))
        else:
            stale = {bisect_left(bounds, serial) for serial in _changed(reader, scope, self.version)}
        blocks: list[Block] = []
        low = b""
        for index, bound in enumerate(bounds):
            if index in stale:
                async for block in _read(reader, scope, low, bound, last):
                    blocks.append(block)
                    yield block
            elif self.blocks:  # there were none, and still are none
                blocks.append(self.blocks[index])
            low = bound
        self.blocks, self.version = blocks, version
        if len(stale) == len(bounds):
            self.whole_at = now


async def _read(
    reader: Reader, scope: Scope, low: bytes, high: bytes, last: Published | None
) -> AsyncIterator[Block]:
    """The entries of serial numbers above `low` up to `high`, in blocks."""
    # An entry stays until it has once been on a CRL issued after the certificate expired (BR 4.10.1):
    # whatever had not expired at the last CRL is on this one, and whatever the last one did not yet have.
    unexpired_at, version = (0, 0) if last is None else (last.this_update, last.revocation_version)
    while True:
        rows = reader.plain(_SQL, (scope.issuer_id, scope.shard, low, high, unexpired_at, version, 2 * BLOCK))
        if len(rows) < 2 * BLOCK:
            if rows:
                yield _block(rows, high)
            return
        for page in (rows[:BLOCK], rows[BLOCK:]):
            low = page[-1][0]
            yield _block(page, low)
        await asyncio.sleep(0)  # the front goes on meanwhile


_SQL = (
    "SELECT serial, revoked_at, reason FROM revocations WHERE issuer_id = ? AND crl_shard = ?"
    " AND serial > ? AND serial <= ? AND (not_after >= ? OR version > ?) ORDER BY serial LIMIT ?"
)


def _changed(reader: Reader, scope: Scope, version: int) -> list[bytes]:
    # Whatever changes a row makes it unpublished (a trigger holds that), until a CRL with it is public.  So
    # few are looked at, and not all that were revoked in other shards since, or ever in this one.
    found = reader.plain(
        "SELECT serial FROM revocations"
        " WHERE issuer_id = ? AND crl_shard = ? AND published_at IS NULL AND version > ?",
        (scope.issuer_id, scope.shard, version),
    )
    return [serial for (serial,) in found]


def _block(rows: list[parts.Entry], bound: bytes) -> Block:
    octets = encoded(rows)
    parts.must_say(octets, rows)
    return Block(octets, hashlib.sha256(octets).digest(), len(rows), bound)


def encoded(rows: Iterable[parts.Entry]) -> bytes:
    """Entries of (serial number, time of revocation in POSIX seconds, reason code or 0), side by side."""
    made: list[bytes] = []
    for serial, revoked_at, reason in rows:
        minute = revoked_at // 60
        date, extension = _DATES[minute // _MINUTES], _REASONS[reason]
        header = _HEADERS[len(serial)][len(date) + _TIME_OF_DAY + len(extension)]
        made += (header, serial, date, _HOURS[minute % _MINUTES], _SECONDS[revoked_at % 60], extension)
    return b"".join(made)


def _date(day: int) -> bytes:
    """Tag, length and date of a Time."""
    return der.time(day * _MINUTES * 60)[:-_TIME_OF_DAY]


def _headers(serial: int) -> Kept[int, bytes]:
    """SEQUENCE and INTEGER with their lengths, for so many octets of serial number, by those of the rest."""
    integer = der.header(der.INTEGER, serial)
    return Kept(lambda rest: der.header(der.SEQUENCE, len(integer) + serial + rest) + integer)


# Each entry is put together from what stands in small tables, which the processor keeps near: a table of all
# seconds of a day is too large for that, and costs more than two of hours with minutes and of seconds.
_MINUTES = 24 * 60
_TIME_OF_DAY = len(b"hhmmssZ")
_DATES = Kept(_date)
_HEADERS = Kept(_headers)
_HOURS = tuple(b"%02d%02d" % divmod(minute, 60) for minute in range(_MINUTES))
_SECONDS = tuple(b"%02dZ" % second for second in range(60))

# CRLReason unspecified (0) is said by leaving the extension out (RFC 5280 section 5.3.1).
_REASONS = {
    reason: der.sequence(der.extension("2.5.29.21", der.enumerated(reason))) if reason else b""
    for reason in sorted(revocations.REASONS)
}
