"""The log list as browsers publish it (JSON, version 3): which logs there are, whose, and in what state.

Read from a file that the operator keeps new, checked against its signature with a public key from the
settings, by the vault for itself, too.  A list that cannot be read leaves the one before in force.

Must never: fetch anything; use a log whose id is not the hash of its key.

Chrome's log_list_schema.json; RFC 6962 section 3.2 (LogID); static-ct-api (tiled_logs).
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from core.clock import Clock
from core.errors import ConfigurationError, TransientError
from core.requirements import DAY, Limit, limit
from core.settings import Ct, Rules

LOOK_EVERY = 60
"""Seconds between two looks at the file."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_log = logging.getLogger(__name__)


class LogState(StrEnum):
    """The word of the list about a log; only a *usable* one is asked (docs/adr/0010)."""

    PENDING = "pending"
    QUALIFIED = "qualified"
    USABLE = "usable"
    READONLY = "readonly"
    RETIRED = "retired"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Log:
    """One log, or one shard of it.

    `since` is when it entered its `state`, POSIX seconds; `interval` the notAfter that it takes, end
    exclusive, None for any; `url` has no last slash; `tiled` tells a static-ct log from an RFC 6962 one.
    """

    id: bytes
    operator: str
    name: str
    url: str
    tiled: bool
    state: LogState
    since: int
    interval: tuple[int, int] | None
    key: PublicKey = field(compare=False, repr=False)

    def takes(self, not_after: int, now: int) -> bool:
        """Whether it may be asked at `now` for a certificate that ends at `not_after`."""
        in_shard = self.interval is None or self.interval[0] <= not_after < self.interval[1]
        return self.state is LogState.USABLE and self.since <= now and in_shard


@dataclass(frozen=True, slots=True)
class LogList:
    """A list of `at`, POSIX seconds."""

    at: int
    logs: tuple[Log, ...]


class LogLists:
    """The newest good list of the files in the settings."""

    def __init__(self, settings: Ct, clock: Clock) -> None:
        """Begins without a list when there is no good one: revocation must not wait for it."""
        self._settings = settings
        self._clock = clock
        self._looked = clock.monotonic()
        self._seen: tuple[int, ...] | None = None
        self._current: LogList | None = None
        self._why = ""
        self._look()

    def current(self) -> LogList:
        """The list in force; a newer file is taken up within a minute.  `TransientError` without any."""
        at = self._clock.monotonic()
        if at - self._looked >= LOOK_EVERY:
            self._looked = at
            self._look()
        if self._current is None:
            raise TransientError(f"there is no log list, and nothing is issued without: {self._why}")
        return self._current

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        try:
            found = load(self._settings)
            if self._current is not None and found.at < self._current.at:
                raise ConfigurationError("it is older than the list in force: put the newest there")
        except ConfigurationError as error:
            # The files may be halfway through their replacement: the next look decides.
            self._why = str(error)
            _log.error("the log list is not taken up: %s", error)
            return
        self._seen, self._current = stamp, found
        _log.info(
            "log list of %s: %d logs", datetime.fromtimestamp(found.at, UTC).isoformat(), len(found.logs)
        )

    def _stamp(self) -> tuple[int, ...]:
        paths = (self._settings.log_list, self._settings.log_list_signature)
        return tuple(Path(path).stat().st_mtime_ns if path and Path(path).exists() else 0 for path in paths)


def load(settings: Ct) -> LogList:
    """Read and check the list that the settings name.  Raises `ConfigurationError`."""
    octets = _read("ct.log_list", settings.log_list)
    if settings.log_list_key:
        signature = _read("ct.log_list_signature", settings.log_list_signature)
        try:
            _verify(_read("ct.log_list_key", settings.log_list_key), signature, octets)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
            raise ConfigurationError(
                f"{settings.log_list} is not signed with ct.log_list_key ({error or 'another signature'}): "
                "fetch list and signature again, or see who changed them"
            ) from error
    try:
        return parse(octets)
    except ValueError as error:
        raise ConfigurationError(f"{settings.log_list} is no log list of version 3: {error}") from error


def parse(octets: bytes) -> LogList:
    """Read a list; a log that cannot be used is left out and named in our log.  Raises ValueError."""
    try:
        document = _decoder.decode(octets)
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    logs = []
    for operator in document.operators:
        for tiled, each in _entries(operator):
            try:
                logs.append(_read_log(each, operator.name, tiled=tiled))
            except ValueError as error:
                _log.warning("log list: %s is left out: %s", each.description, error)
    if len({each.id for each in logs}) != len(logs):
        raise ValueError("one log stands in it twice")
    return LogList(_posix(document.log_list_timestamp), tuple(logs))


def must_be_young(found: LogList, rules: Rules, now: int) -> None:
    """Under public rules a list too old is no list.  Raises `TransientError` with the remedy."""
    age, most = now - found.at, limit(Limit.LOG_LIST_AGE, now)
    if age > most and rules is Rules.PUBLIC:
        raise TransientError(
            f"the log list is {age // DAY} days old and {most // DAY} are allowed: nothing is issued until "
            "ct.log_list and its signature are fetched again"
        )


class _Interval(msgspec.Struct):
    start_inclusive: datetime
    end_exclusive: datetime


class _Since(msgspec.Struct):
    timestamp: datetime


class _Entry(msgspec.Struct):
    log_id: str
    key: str
    description: str = ""
    url: str = ""
    submission_url: str = ""
    log_type: str = "prod"
    state: dict[str, _Since] = {}
    temporal_interval: _Interval | None = None


class _Operator(msgspec.Struct):
    name: str
    logs: list[_Entry] = []
    tiled_logs: list[_Entry] = []


class _Document(msgspec.Struct):
    log_list_timestamp: datetime
    operators: list[_Operator]


_decoder = msgspec.json.Decoder(_Document)


def _entries(operator: _Operator) -> Iterator[tuple[bool, _Entry]]:
    yield from ((False, each) for each in operator.logs)
    yield from ((True, each) for each in operator.tiled_logs)


def _read_log(entry: _Entry, operator: str, *, tiled: bool) -> Log:
    spki = base64.b64decode(entry.key, validate=True)
    id = base64.b64decode(entry.log_id, validate=True)
    if hashlib.sha256(spki).digest() != id:
        raise ValueError("its id is not the hash of its key")
    try:
        key = load_der_public_key(spki)
    except UnsupportedAlgorithm as error:
        raise ValueError("its key is of a kind that is not known here") from error
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("its key is neither ECDSA nor RSA")
    if entry.log_type != "prod":
        raise ValueError("it is a log for tests")
    if len(entry.state) != 1:
        raise ValueError("it has not just one state")
    ((state, since),) = entry.state.items()
    url = (entry.submission_url if tiled else entry.url).rstrip("/")
    _must_be_safe(url)
    interval = entry.temporal_interval
    return Log(
        id=id,
        operator=operator,
        name=entry.description or url,
        url=url,
        tiled=tiled,
        state=LogState(state),
        since=_posix(since.timestamp),
        interval=(_posix(interval.start_inclusive), _posix(interval.end_exclusive)) if interval else None,
        key=key,
    )


def _must_be_safe(url: str) -> None:
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no URL of a log")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"{url} is not https")


def _verify(key_pem: bytes, signature: bytes, octets: bytes) -> None:
    """SHA-256 with RSA PKCS #1 v1.5, as Chrome's list is signed, or with ECDSA."""
    key = load_pem_public_key(key_pem)
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, octets, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, octets, ec.ECDSA(hashes.SHA256()))
    else:
        raise ValueError("ct.log_list_key is neither RSA nor ECDSA")


def _read(setting: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{setting} = {path!r}: {error.strerror}: put the file there") from error


def _posix(at: datetime) -> int:
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return int(at.timestamp())
