"""Publishes a new manifest: when a file that it names has changed, and in time before the last one is old.

Runs in the app.  The vault signs; while it is locked the last manifest stays, and its nextUpdate tells a
reader how old it may become.  The order of writing is what a reader relies on: lists before the manifest
that names them, `manifest.json` before `manifest.jws`, which holds the same octets and their signature.

A CRL is replaced in its place, as its URL stands in certificates.  So between a CRL and the manifest that
names it a reader finds one with a higher number than his manifest says, and asks for the manifest again.

Must never: take a number again; put an older manifest in the place of a newer one.

BR 2.2, 2.3; docs/adr/0037.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
from prometheus_client import Gauge

from core import audit, gaps, revocations
from core.clock import Clock
from core.errors import CaError, TransientError
from core.metrics import REGISTRY
from core.reader import Reader
from core.settings import Settings
from repo_static import roster
from repo_static.manifest import document, signature
from repo_static.manifest.days import Book, Days
from repo_static.manifest.lists import iso
from repo_static.rendering import base_url
from repo_static.store import NotPublished, Store

NAME, SIGNED = "manifest.json", "manifest.jws"

LOOK_EVERY = 5.0
"""Seconds between two looks at the tree: a thousand shards are a thousand stat(2), 2 ms."""

RETRY_AFTER = 30.0
"""Seconds until a manifest that could not be made is tried again: each try may cost a number."""

SMALL = 4 * 2**20
"""Octets of a day's list that grows with every manifest; a larger one grows with `manifest_refresh`."""

FRESH_UNTIL = Gauge(
    "acme_manifest_next_update_seconds",
    "nextUpdate of the repository's manifest, POSIX seconds.",
    registry=REGISTRY,
)

_log = logging.getLogger(__name__)


class Hierarchy(Protocol):
    """The certificates that the vault holds (`signer.api.Description` has them)."""

    @property
    def root(self) -> bytes: ...
    @property
    def issuers(self) -> Sequence[roster.Issuer]: ...


class Activation(Protocol):
    """Whether the vault can sign (`signer.api.ActivationState`)."""

    @property
    def locked(self) -> bool: ...


class ManifestSigner(Protocol):
    """What we need of the vault (`signer.client.Vault` has it)."""

    async def activation(self) -> Activation: ...

    async def describe(self) -> Hierarchy: ...

    async def sign_manifest(self, payload: bytes) -> bytes: ...


class _Previous(msgspec.Struct):
    """What we need of the last manifest."""

    sequence: int
    this_update: datetime
    next_update: datetime
    days: Days
    digest: str = ""


@dataclass(frozen=True, slots=True)
class _Made:
    """A manifest to be signed."""

    sequence: int
    payload: bytes
    version: int
    """The revocation version that it was made from."""


class ManifestUpdater:
    """Keeps the manifest true.  Make one in the app."""

    def __init__(
        self, database: Path, vault: ManifestSigner, settings: Settings, store: Store, clock: Clock
    ) -> None:
        self._database = database
        self._vault = vault
        self._settings = settings
        self._store = store
        self._clock = clock
        self._tree = document.Tree(store)
        self._book = Book(store, base_url(settings))
        self._seen: object = None
        self._woken = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def wake(self) -> None:
        """Something has changed that no file tells of: the state or the days of an issuer."""
        self._seen = None
        self._woken.set()

    async def run(self) -> None:
        """Look at the tree from time to time and publish what is due, for ever."""
        while True:
            pause = LOOK_EVERY
            try:
                await self.update()
            except TransientError as error:
                _log.warning("no new manifest now: %s", error)
                pause = RETRY_AFTER
            except CaError as error:
                _log.error("no new manifest: %s", error)
                pause = RETRY_AFTER
            except Exception:
                _log.exception("no new manifest")
                pause = RETRY_AFTER
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            self._woken.clear()

    async def update(self, force: bool = False) -> bool:
        """Publish a manifest if one is due, or with `force` in any case; whether one was published.

        Raises what the vault raised, or `NotPublished`; the last one stays then.
        """
        async with self._one_at_a_time:
            mark = self._mark()
            last = self._last()
            now = self._clock.latest()
            if not force and mark == self._seen and last is not None and not self._is_due(last, now):
                return False
            if (await self._vault.activation()).locked:
                raise TransientError("nothing is signed until people run `acme-server activate`")
            hierarchy = await self._vault.describe()
            made = await asyncio.to_thread(self._make, hierarchy, last, now)
            jws = await self._vault.sign_manifest(made.payload)
            signed = signature.read(jws)
            if signed.payload != made.payload:
                raise NotPublished("the vault signed another manifest than ours: nothing was published")
            pins = self._settings.repository.manifest_pins
            if trouble := signature.unsigned(pins, signed.thumbprints):
                raise NotPublished(f"{trouble}; the last manifest stays")
            self._publish(made, jws)
            self._seen = mark
            FRESH_UNTIL.set(now + self._settings.repository.manifest_validity)
            _log.info("manifest %d published, signed by %s", made.sequence, ", ".join(signed.thumbprints))
            return True

    def _mark(self) -> object:
        """Changes with every file that a manifest names."""
        return tuple(
            (name, self._store.mark(name))
            for directory in ("crl", "issuers", "cps", "terms")
            for name in self._store.names(directory)
        )

    def _is_due(self, last: _Previous, now: int) -> bool:
        return (
            not last.days.complete
            or now >= last.this_update.timestamp() + self._settings.repository.manifest_refresh
        )

    def _last(self) -> _Previous | None:
        """The manifest that is public; None when there is none that we can go on from."""
        content = self._store.read(NAME)
        if content is None:
            return None
        try:
            last = msgspec.json.decode(content, type=_Previous)
        except msgspec.MsgspecError as error:
            _log.error("%s is not ours (%s): all that it says is written anew", NAME, error)
            return None
        last.digest = hashlib.sha256(content).hexdigest()
        return last

    def _make(self, hierarchy: Hierarchy, last: _Previous | None, now: int) -> _Made:
        """In a thread of its own: hashes, and rows by the ten thousand."""
        rows = Reader(self._database, self._settings.database.busy_timeout)
        try:
            gaps.must_be_none(rows)  # a restored register would take back what the last one told
            # Before the files are read: they hold at least what had happened by then.
            head, version = audit.head(rows), revocations.version(rows)
            days = self._days(rows, last, now)
            said = document.build(self._tree, rows, hierarchy.issuers, hierarchy.root, self._settings)
        finally:
            rows.close()
        # Seconds since 1970, or one more than the last: it rises also when the last one is lost.
        sequence = now if last is None else max(now, last.sequence + 1)
        manifest: dict[str, Any] = {
            "sequence": sequence,
            "this_update": iso(now),
            "next_update": iso(now + self._settings.repository.manifest_validity),
            "previous": None if last is None else {"sequence": last.sequence, "sha256": last.digest},
            **said,
            "days": days,
            "register": {
                "revocation_version": version,
                "audit": {"sequence": head.sequence, "hash": head.hash.hex()},
            },
        }
        return _Made(sequence, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n", version)

    def _days(self, rows: Reader, last: _Previous | None, now: int) -> Days:
        days = None if last is None else last.days
        if (
            days is not None
            and days.complete
            and days.position.at + self._settings.repository.manifest_refresh > now
        ):
            largest = max(days.open.issued.list.size, days.open.revoked.list.size)
            if largest > SMALL:
                return days
        return self._book.bring_up(rows, days, now)

    def _publish(self, made: _Made, jws: bytes) -> None:
        def newer(published: bytes | None) -> None:
            if published is None:
                return
            with contextlib.suppress(msgspec.MsgspecError):
                public = msgspec.json.decode(published, type=_Numbered)
                if public.sequence >= made.sequence:
                    raise NotPublished(f"{NAME}: number {made.sequence} is not above the published one")
                if public.register.revocation_version > made.version:
                    raise NotPublished(
                        f"{NAME}: made from revocation version {made.version}, but one of version "
                        f"{public.register.revocation_version} is public"
                    )

        self._store.replace(NAME, made.payload, newer)
        self._store.replace(SIGNED, jws)


class _Register(msgspec.Struct):
    revocation_version: int = 0


class _Numbered(msgspec.Struct):
    sequence: int
    register: _Register = msgspec.field(default_factory=_Register)
