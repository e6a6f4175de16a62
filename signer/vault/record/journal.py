"""The vault's own record of every use of a CA key: hash-chained lines in one file that only grows.

An *intent* is durable before the key is used, its *result* before anybody hears of it; so after a crash the
journal alone decides what became of an issuance (the crash rule, docs/issuance.md).  One line is one JSON
object with the fields of `signer.api.JournalEntry` in their order, octets in base64; chain.py says how they
are chained.

Must never: change or drop a complete line; answer before fdatasync(2) came back.

BR 4.3.1.2 (linting), 5.4.1 (key use is logged), 7.1.2.7 (serial numbers are unique); CPS 5.4.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from array import array
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.clock import Clock
from core.durable import sync_directory
from core.errors import HaltIssuance
from signer.api import JournalEntry, LintRecord, Recalled
from signer.vault.record import chain

_PROGRESS_EVERY = 200_000
"""Lines between two lines of progress at start: about two seconds of reading."""

_ORDER = 16
"""Octets of an order's hash that are kept in memory."""

_log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What an entry tells of.

    An intent carries the to-be-signed bytes, its result the certificate, both what the linters said.
    `CRL_INTENT` and `CRL` carry only the SHA-256 of theirs, as a CRL may be large and is published anyway;
    their issuance id is "crl:<issuer>:<shard>:<number>".
    """

    START = "start"
    STOP = "stop"
    TORN = "torn"  # a last line without its end was cut off at start; `tbs` keeps it
    INTENT = "intent"
    RESULT = "result"
    PRECERTIFICATE_INTENT = "precertificate-intent"
    PRECERTIFICATE = "precertificate"
    RESPONDER_INTENT = "ocsp-responder-intent"
    RESPONDER = "ocsp-responder"
    CRL_INTENT = "crl-intent"
    CRL = "crl"
    HIERARCHY = (
        "hierarchy"  # the vault started with it; "hierarchy:<sequence>", `tbs` its digest, and its root
    )
    MANIFEST = "manifest"  # "manifest:<sequence>", `tbs` the SHA-256 of what is signed next
    BLOCKED_KEY = "blocked-key"  # never certified again; `tbs` is the SHA-256 of its SubjectPublicKeyInfo
    REFUSED = "refused-access"  # a caller without business here, or a person refused: who and what
    ACTIVATE = "activate"  # the token was opened; here and in the next three the issuance id says by whom
    DEACTIVATE = "deactivate"
    HALT = "halt"  # ... and why: from here to the next `resume` no subscriber is issued a certificate
    RESUME = "resume"


_INTENTS = frozenset({Kind.INTENT, Kind.RESPONDER_INTENT, Kind.CRL_INTENT})
"""But for the precertificate's, which is followed by the certificate's own of the same issuance."""
_DATED = frozenset({Kind.INTENT, Kind.PRECERTIFICATE_INTENT, Kind.RESPONDER_INTENT})
"""Not begun by a clock that stepped back."""
_RESULTS = frozenset({Kind.RESULT, Kind.RESPONDER, Kind.CRL})


class _Turn(NamedTuple):
    """What one turn of an event loop appended: the lines, and who waits until they are durable."""

    loop: asyncio.AbstractEventLoop
    lines: list[bytes]
    waiting: list[asyncio.Future[None]]


class Journal:
    """The open journal.  One event loop appends; one thread writes, with one fdatasync for all that waits."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._head = chain.GENESIS
        self._offsets = array("Q")  # of entry number index + 1
        self._end = 0
        self._durable = 0  # the number of the last entry on disk: nothing beyond it is told to anybody
        self._outcomes: dict[str, int] = {}  # issuance id -> sequence of its result, 0 while there is none
        self._precertificates: dict[str, int] = {}  # the same, for precertificates
        self._serials: set[bytes] = set()
        self._answered: set[bytes] = set()  # orders that have their certificate, by the front of their hash
        self._crl_numbers: dict[tuple[str, int], int] = {}
        self._responders: dict[str, int] = {}  # issuer id -> sequence of its newest responder's result
        self._hierarchy = (0, b"")
        self._manifest = 0
        self._root = b""
        self._halt: JournalEntry | None = None
        self._blocked: dict[bytes, int] = {}  # SHA-256 of a key -> sequence of its first entry
        self._failure: OSError | None = None
        self._turn: _Turn | None = None
        self._queue: queue.SimpleQueue[_Turn | None] = queue.SimpleQueue()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            torn = self._read_all()
        except BaseException:
            os.close(self._file)
            raise
        self._durable = self.sequence
        sync_directory(path.parent)
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()
        if torn:
            _log.warning("journal: a last line of %d octets without its end was cut off", len(torn))
            self._append(Kind.TORN, tbs=torn)

    @property
    def sequence(self) -> int:
        """The number of the last entry; 0 when there is none."""
        return len(self._offsets)

    def has_serial(self, serial: bytes) -> bool:
        """Whether an intent with this serial number exists, under whatever issuer."""
        return serial in self._serials

    def has_intent(self, issuance_id: str) -> bool:
        """Whether this issuance was begun."""
        return issuance_id in self._outcomes or issuance_id in self._precertificates

    def has_certificate_intent(self, issuance_id: str) -> bool:
        """Whether its certificate (not only its precertificate) was begun."""
        return issuance_id in self._outcomes

    def has_certificate_of(self, order: bytes) -> bool:
        """Whether a certificate was signed for this order (SHA-256); from the call on that appends it."""
        return order[:_ORDER] in self._answered

    def precertificate(self, issuance_id: str) -> JournalEntry | None:
        """The result that holds the precertificate of an issuance, once it is durable."""
        return self._result(self._precertificates.get(issuance_id))

    def last_crl_number(self, issuer_id: str, shard: int) -> int:
        """The highest CRL number that was ever intended in this scope; 0 when none was."""
        return self._crl_numbers.get((issuer_id, shard), 0)

    def crl_shards(self, issuer_id: str) -> int:
        """How many CRLs this issuer has had at the least; 0 when none was ever intended."""
        return 1 + max((shard for id, shard in self._crl_numbers if id == issuer_id), default=-1)

    @property
    def last_manifest(self) -> int:
        """The number of the newest manifest of the repository; 0 before the first."""
        return self._manifest

    def last_responder(self, issuer_id: str) -> bytes | None:
        """The newest OCSP responder certificate made for this issuer."""
        sequence = self._responders.get(issuer_id)
        return self._entry(sequence).certificate if sequence else None

    @property
    def hierarchy(self) -> tuple[int, bytes]:
        """The sequence and the digest of the newest hierarchy that the vault started with; (0, b"")."""
        return self._hierarchy

    @property
    def root(self) -> bytes:
        """The root certificate (DER) of the hierarchies that the vault started with; b"" before the first."""
        return self._root

    @property
    def halt(self) -> JournalEntry | None:
        """Why issuance is halted, None when it is not: in force from the call to `append` on."""
        return self._halt

    @property
    def last(self) -> JournalEntry | None:
        """The last entry that is durable."""
        return self._entry(self._durable) if self._durable else None

    def is_blocked(self, spki_sha256: bytes) -> bool:
        """Whether the key was blocked; from the call on that blocks it, before that is durable."""
        return spki_sha256 in self._blocked

    def is_durably_blocked(self, spki_sha256: bytes) -> bool:
        """Whether a restart would still know."""
        return 0 < self._blocked.get(spki_sha256, 0) <= self._durable

    def recall(self, issuance_id: str) -> Recalled:
        """What became of an issuance; a result that is not durable yet is none."""
        result = self._result(self._outcomes.get(issuance_id))
        precertificate = self.precertificate(issuance_id)
        return Recalled(
            intent=self.has_intent(issuance_id),
            certificate=None if result is None else result.certificate,
            lint=None if result is None else result.lint,
            precertificate=None if precertificate is None else precertificate.certificate,
            followed=precertificate is not None and self.has_certificate_intent(issuance_id),
        )

    def page(self, after: int, limit: int) -> tuple[JournalEntry, ...]:
        """The entries numbered after + 1 to after + limit, as far as they are durable."""
        last = min(after + limit, self._durable)
        return tuple(self._entry(sequence) for sequence in range(max(after, 0) + 1, last + 1))

    async def append(
        self,
        kind: Kind,
        *,
        issuance_id: str = "",
        issuer_id: str = "",
        serial: bytes = b"",
        tbs: bytes = b"",
        certificate: bytes = b"",
        lint: LintRecord | None = None,
        order: bytes = b"",
    ) -> None:
        """Append an entry; returns when it is durable.

        A serial number and an issuance id count as used from the call on, so two callers cannot both begin.
        Raises `HaltIssuance` when the disk failed: nothing is appended any more.
        """
        await self._append(kind, issuance_id, issuer_id, serial, tbs, certificate, lint, order)

    def _append(
        self,
        kind: Kind,
        issuance_id: str = "",
        issuer_id: str = "",
        serial: bytes = b"",
        tbs: bytes = b"",
        certificate: bytes = b"",
        lint: LintRecord | None = None,
        order: bytes = b"",
    ) -> asyncio.Future[None]:
        if self._failure is not None:
            raise _halted(self._path, self._failure)
        # What is not the beginning of a certificate goes on: CRLs, people's acts, results that are owed.
        at = self._clock.now() if kind in _DATED else self._clock.latest()
        entry = JournalEntry(
            self.sequence + 1, at, kind, issuance_id, issuer_id, serial, tbs, certificate, lint, order
        )
        line, self._head = chain.seal(entry, self._head)
        self._index(entry, self._end)
        self._end += len(line)
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        # What one turn of the loop appends is handed over together: each wake-up of the thread costs more
        # than the entry itself.
        if self._turn is not None and self._turn.loop is not loop:
            self._hand_over()
        if self._turn is None:
            self._turn = _Turn(loop, [], [])
            loop.call_soon(self._hand_over)
        self._turn.lines.append(line)
        self._turn.waiting.append(durable)
        return durable

    def close(self) -> None:
        """Write what waits and close the file."""
        self._hand_over()
        self._queue.put(None)
        self._thread.join()
        os.close(self._file)

    def _hand_over(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            self._queue.put(turn)

    def _write_all(self) -> None:
        stopping = False
        while not stopping:
            turns = [self._queue.get()]
            while not self._queue.empty():
                turns.append(self._queue.get())
            stopping = None in turns
            written = [turn for turn in turns if turn is not None]
            lines = [line for turn in written for line in turn.lines]
            if lines and self._failure is None:
                try:
                    chain.write_fully(self._file, b"".join(lines))
                    os.fdatasync(self._file)
                    self._durable += len(lines)
                except OSError as error:
                    # After a failed fsync the kernel may have dropped the pages: no retry can be trusted.
                    self._failure = error
            for turn in written:
                _settle_in_its_loop(turn, self._path, self._failure)

    def _read_all(self) -> bytes:
        """Check the chain, build the index; the torn last line, which is cut off."""
        head = chain.GENESIS
        with open(self._path, "rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._file, self._end)
                    os.fsync(self._file)
                    self._head = head
                    return line
                try:
                    entry = _decoder.decode(line)
                except msgspec.MsgspecError as error:
                    raise _broken(self._path, self.sequence + 1, str(error)) from error
                head = chain.digest(line, head)
                if not line.endswith(chain.end(head)) or entry.sequence != self.sequence + 1:
                    raise _broken(self._path, self.sequence + 1, "its hash or its number is wrong")
                self._clock.observe(entry.at)
                self._index(entry, self._end)
                self._end += len(line)
                if self.sequence % _PROGRESS_EVERY == 0:
                    _log.info("journal: %d entries read", self.sequence)
        self._head = head
        return b""

    def _index(self, entry: JournalEntry, offset: int) -> None:
        self._offsets.append(offset)
        if entry.kind == Kind.PRECERTIFICATE_INTENT:
            self._precertificates[entry.issuance_id] = 0
            self._serials.add(entry.serial)
        elif entry.kind == Kind.PRECERTIFICATE:
            self._precertificates[entry.issuance_id] = entry.sequence
        elif entry.kind in _INTENTS:
            self._outcomes[entry.issuance_id] = 0
            if entry.kind == Kind.CRL_INTENT:
                _, issuer_id, shard, number = entry.issuance_id.split(":")
                scope = issuer_id, int(shard)
                self._crl_numbers[scope] = max(int(number), self._crl_numbers.get(scope, 0))
            else:
                self._serials.add(entry.serial)
        elif entry.kind in (Kind.HALT, Kind.RESUME):
            self._halt = entry if entry.kind == Kind.HALT else None
        elif entry.kind in _RESULTS:
            self._outcomes[entry.issuance_id] = entry.sequence
            if entry.order:
                self._answered.add(entry.order[:_ORDER])
            if entry.kind == Kind.RESPONDER:
                self._responders[entry.issuer_id] = entry.sequence
        elif entry.kind == Kind.HIERARCHY:
            self._hierarchy = (int(entry.issuance_id.partition(":")[2]), entry.tbs)
            self._root = entry.certificate or self._root
        elif entry.kind == Kind.MANIFEST:
            self._manifest = int(entry.issuance_id.partition(":")[2])
        elif entry.kind == Kind.BLOCKED_KEY:
            self._blocked.setdefault(entry.tbs, entry.sequence)

    def _result(self, sequence: int | None) -> JournalEntry | None:
        return self._entry(sequence) if sequence and sequence <= self._durable else None

    def _entry(self, sequence: int) -> JournalEntry:
        start = self._offsets[sequence - 1]
        end = self._offsets[sequence] if sequence < self.sequence else self._end
        line = os.pread(self._file, end - start, start)
        try:
            return _decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise _broken(self._path, sequence, str(error)) from error


def crl_issuance_id(issuer_id: str, shard: int, number: int) -> str:
    """How the journal names a CRL."""
    return f"crl:{issuer_id}:{shard}:{number}"


_decoder = msgspec.json.Decoder(JournalEntry)


def _settle_in_its_loop(turn: _Turn, path: Path, error: OSError | None) -> None:
    try:
        turn.loop.call_soon_threadsafe(_settle, turn, path, error)
    except RuntimeError:
        _log.debug("journal: the loop is gone, as at shutdown")


def _settle(turn: _Turn, path: Path, error: OSError | None) -> None:
    for durable in turn.waiting:
        if durable.done():
            continue
        if error is None:
            durable.set_result(None)
        else:
            durable.set_exception(_halted(path, error))


def _broken(path: Path, sequence: int, reason: str) -> HaltIssuance:
    return HaltIssuance(
        f"{path}: entry {sequence} breaks the chain: {reason}. Nothing is signed. Keep the file as evidence, "
        "find out who changed it, and restore the journal from a backup"
    )


def _halted(path: Path, error: OSError) -> HaltIssuance:
    return HaltIssuance(f"{path} cannot be written ({error}): nothing is signed until the disk is in order")
