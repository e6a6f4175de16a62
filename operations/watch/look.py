"""One look at everything, in an order in which each step knows what it needs.

Must never: let one check's failure, or a fault of its own, hide another's.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from cryptography.hazmat.primitives.serialization import Encoding

from core.clock import Clock
from core.randomness import Randomness
from operations.watch.checks import acme, crl, documents, manifest, ocsp, sites
from operations.watch.checks.crl import ReadCrl
from operations.watch.fetch import PATIENCE, Fetcher
from operations.watch.finding import Finding, State, Wrong, plain
from operations.watch.kept import Kept, keep
from operations.watch.limits import REVOCATION_SEEN, about
from operations.watch.memory import Memory
from operations.watch.scope import Anchor, Issuer, Scope, SiteListed, discover

AT_ONCE = 8
"""CRLs that are read at once: a stranger is a guest."""

MANY = 10
"""Followed entries that may leave a CRL for good reasons at once, unless they are half of all."""

_LOST = "a revocation is lost: halt, and reconcile the register (docs/revocation.md)"

_STATUS = "see the status process and what is cached in front of it"

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked at.  `repository` and `directory` are URLs; `addresses` maps a host to where it is.

    `patience` in seconds, for one answer; `manifest_key` a thumbprint (RFC 7638), "" for any key.
    """

    repository: str
    anchor: Anchor
    directory: str = ""
    samples: int = 20
    addresses: dict[str, str] = field(default_factory=dict)
    patience: float = PATIENCE
    manifest_key: str = ""


class Looking:
    """One look; `findings` grow while it goes on, `scope` is there once the repository was read.

    `believe` is told of the scope: from then on the anchor may vouch for TLS, too.
    """

    def __init__(
        self, wanted: Wanted, fetcher: Fetcher, memory: Memory, clock: Clock, randomness: Randomness
    ) -> None:
        self.wanted = wanted
        self.fetcher = fetcher
        self.memory = memory
        self.clock = clock
        self.findings: list[Finding] = []
        self.scope: Scope | None = None
        self._salt = randomness.octets(16)
        self.believe: Callable[[Scope], None] = lambda scope: None
        self._unassigned = int.from_bytes(randomness.octets(16))
        self.crls: dict[str, ReadCrl] = {}
        self.kept: Kept | None = None
        """Where the newest files are kept."""

    async def run(
        self, check: str, subject: str, asked: Callable[[], Awaitable[_T]], words: Callable[[_T], str] = str
    ) -> _T | None:
        """Make one finding; what was found, None when it is wrong."""
        began = self.clock.monotonic()
        found: _T | None = None
        state, seen, remedy = State.OK, "", ""
        try:
            found = await asked()
            seen = words(found)
        except Wrong as wrong:
            state, seen, remedy = wrong.state, wrong.seen, wrong.remedy
        except Exception as error:  # a fault of ours is said, and the others go on
            _log.exception("%s of %s", check, subject)
            state, seen = State.FAIL, f"the check itself failed: {type(error).__name__}: {error}"
            remedy = "report this as a fault of acme-server watch"
        seconds = self.clock.monotonic() - began
        self.findings.append(Finding(check, subject, state, plain(seen, 400), remedy, seconds))
        return found

    async def everything(self) -> None:
        """All but the canary."""
        self.scope = await self.run(
            "repository",
            self.wanted.repository,
            partial(
                discover, self.fetcher, self.wanted.repository, self.wanted.anchor, self.wanted.manifest_key
            ),
            lambda scope: (
                f"{len(scope.issuers) - 1} issuers under the pinned anchor, {len(scope.sites)} test sites"
            ),
        )
        scope = self.scope
        if scope is None:
            return
        self.believe(scope)
        register = partial(_soon, manifest.register, scope.manifest, self.memory)
        if await self.run("register", scope.repository, register) is None:
            self.kept = None  # what was kept is what such a register lacks
        await self._documents(scope)
        await self._crls(scope)
        await self._manifest(scope)
        await self._ocsp(scope)
        valid = await self._sites(scope)
        await self._acme(scope, valid)

    async def _documents(self, scope: Scope) -> None:
        for url in scope.documents:
            await self.run("page", url, partial(documents.page, self.fetcher, url))
        top = f"{scope.repository}/"
        await self.run("read-only", top, partial(documents.read_only, self.fetcher, top))
        for issuer in scope.issuers:
            await self.run("issuer", issuer.id, partial(documents.issuer_life, issuer, self.clock.now()))
            if issuer.answered:
                await self.run("chain", issuer.id, partial(documents.chains, self.fetcher, scope, issuer))

    async def _crls(self, scope: Scope) -> None:
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(issuer: Issuer, url: str) -> None:
            async with at_once:
                await self.run("crl", url, partial(self._crl, issuer, url))

        await asyncio.gather(*(one(each, url) for each in scope.issuers for url in each.crls))
        for each in scope.issuers:
            if not each.crls:
                self.findings.append(
                    Finding(
                        "crl", each.id, State.FAIL, "no CRL is listed for it", "see why none was published"
                    )
                )

    async def _crl(self, issuer: Issuer, url: str) -> str:
        return crl.judge(await self.read_crl(issuer, url), self.clock.now())

    async def read_crl(self, issuer: Issuer, url: str) -> ReadCrl:
        """The CRL as it is now, which forgot nothing that was seen before.  Raises `Wrong`."""
        found = await crl.read(self.fetcher, url, issuer, self.clock.now())
        before = self.memory.crls.get(url)
        gone = crl.compare(found, self.memory)
        self.crls[url] = found
        await self._explain(issuer, gone, len(before.serials) if before else 0)
        if self.kept is not None:
            self.kept.put(f"crl/{url.rpartition('/')[2]}", found.crl.public_bytes(Encoding.DER))
        return found

    async def _explain(self, issuer: Issuer, gone: list[int], followed: int) -> None:
        """Entries leave a CRL when their certificates have expired, and for no other reason (BR 4.10.1)."""
        now = self.clock.now()
        if len(gone) > max(MANY, followed // 2):
            raise Wrong(f"{len(gone)} of {followed} entries that were followed left at once", _LOST)
        for serial in gone:
            ends = self.memory.ends.get(f"{issuer.id}:{serial:x}")
            if ends is not None and ends < now:
                continue
            what = f"serial {serial:x} left the CRL"
            if ends is not None:
                raise Wrong(f"{what} {about(ends - now)} before its certificate's end", _LOST)
            if issuer.answered and self.scope is not None:
                said = await ocsp.ask(self.fetcher, self.scope.ocsp, issuer, serial, now)
                if said.status == "good":
                    raise Wrong(f"{what}, and OCSP says that it is good", _LOST)

    async def _manifest(self, scope: Scope) -> None:
        said, url = scope.manifest, f"{scope.repository}/{manifest.SIGNED}"
        now = self.clock.now()
        fresh = await self.run("manifest", url, partial(_soon, manifest.fresh, said, self.memory, now))
        if self.kept is not None and fresh is not None:
            await self.run("kept", url, partial(keep, self.kept, self.fetcher, said))
        await self.run(
            "manifest", manifest.NAME, partial(manifest.unsigned, self.fetcher, scope.repository, said)
        )
        await self.run("manifest-files", url, partial(manifest.files, self.fetcher, said))
        await self.run("manifest-crls", url, partial(_soon, manifest.crls, said, self.crls))
        for kind in ("issued", "revoked"):
            await self.run(
                "manifest-list", kind, partial(self._listing, scope, kind), lambda each: f"{len(each)} lines"
            )

    async def _listing(self, scope: Scope, kind: str) -> list[manifest.Line]:
        """Today's list: OCSP knows what is on it, and the CRLs have what was revoked."""
        found = await manifest.lines(self.fetcher, scope.manifest, kind)
        issuers = {each.id: each for each in scope.issuers if each.answered}
        lines = {line.serial: line for line in found if line.issuer in issuers}
        for serial in self._sample(set(lines)):
            line = lines[serial]
            issuer = issuers[line.issuer]
            if line.ends:
                self.memory.know(issuer.id, serial, line.ends)
            said = await ocsp.ask(self.fetcher, scope.ocsp, issuer, serial, self.clock.now())
            old = self.clock.now() - line.at > REVOCATION_SEEN
            if said.status not in ("good", "revoked") and not (line.ends and line.ends < self.clock.now()):
                raise Wrong(f"serial {serial:x} was {kind} today, and OCSP says {said.words}", _STATUS)
            if kind == "revoked" and said.status != "revoked":
                raise Wrong(f"serial {serial:x} was revoked today, and OCSP says {said.words}", _STATUS)
            read = all(url in self.crls for url in issuer.crls)
            if kind == "revoked" and read and old and self.listed(issuer, serial) is None:
                raise Wrong(f"serial {serial:x} was revoked an hour ago, and is on no CRL", _STATUS)
        return found

    async def _ocsp(self, scope: Scope) -> None:
        for issuer in scope.issuers:
            if not issuer.answered:
                continue
            await self.run("ocsp-unassigned", issuer.id, partial(self._never_issued, scope, issuer))
            serials = {serial for url in issuer.crls if url in self.crls for serial in self.crls[url].serials}
            for serial in self._sample(serials):
                subject = f"{issuer.id} {serial:x}"
                await self.run("ocsp-and-crl", subject, partial(self._agree, scope, issuer, serial))

    def _sample(self, serials: set[int]) -> list[int]:
        """Others at each look."""
        salted = sorted(serials, key=lambda serial: hashlib.sha256(self._salt + b"%x" % serial).digest())
        return salted[: self.wanted.samples]

    async def _never_issued(self, scope: Scope, issuer: Issuer) -> str:
        said = await ocsp.ask(self.fetcher, scope.ocsp, issuer, self._unassigned, self.clock.now())
        if said.status == "good":
            raise Wrong("a serial that nobody issued is called good (BR 4.9.10)", "stop this responder")
        return f"a serial that nobody issued is {said.status}"

    async def _agree(self, scope: Scope, issuer: Issuer, serial: int) -> str:
        """A serial of the CRL: OCSP says the same of it."""
        said = await ocsp.ask(self.fetcher, scope.ocsp, issuer, serial, self.clock.now())
        entry = self.listed(issuer, serial)
        assert entry is not None
        if said.status == ocsp.UNAUTHORIZED:
            raise Wrong("it is on the CRL, and OCSP does not know it", "see the status process", State.WARN)
        if said.status != "revoked":
            raise Wrong(
                f"it is on the CRL, and OCSP says {said.words}", "purge OCSP's caches; see status.log"
            )
        if (said.reason, said.revoked_at) != (entry.reason, entry.revoked_at):
            raise Wrong(
                f"CRL and OCSP differ: {entry.reason or 'no reason'} at {entry.revoked_at}, "
                f"{said.reason or 'no reason'} at {said.revoked_at}",
                "one of them is older: see their caches",
                State.WARN,
            )
        return said.words

    def listed(self, issuer: Issuer, serial: int) -> crl.Entry | None:
        """Its entry on one of the CRLs that were read."""
        for url in issuer.crls:
            if url in self.crls and (entry := self.crls[url].entry(serial)) is not None:
                return entry
        return None

    async def _sites(self, scope: Scope) -> dict[str, sites.Shown]:
        found: dict[str, sites.Shown] = {}
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(site: SiteListed) -> None:
            async with at_once:
                shown = await self.run(
                    f"site-{site.status}", site.url, partial(self._site, scope, site), lambda pair: pair[1]
                )
            if shown is not None:
                found.setdefault(site.status, shown[0])

        await asyncio.gather(*map(one, scope.sites))
        return found

    async def _site(self, scope: Scope, site: SiteListed) -> tuple[sites.Shown, str]:
        now = self.clock.now()
        shown = await sites.visit(site, scope, self.wanted.addresses, self.fetcher.patience)
        words = sites.judge(site, shown, now)
        issuer, serial = scope.issuer_of(shown.leaf), shown.leaf.serial_number
        self.memory.know(issuer.id, serial, int(shown.leaf.not_valid_after_utc.timestamp()))
        said = await ocsp.ask(self.fetcher, scope.ocsp, issuer, serial, now)
        if site.status != "expired" or said.status != ocsp.UNAUTHORIZED:
            sites.must_be(site, said.status, "OCSP")
        on_crl = self.listed(issuer, serial) is not None
        # A CRL that was read before the site's certificate was revoked cannot have it.
        read = all(url in self.crls for url in issuer.crls)
        if read and (site.status != "revoked" or now - said.revoked_at > REVOCATION_SEEN or on_crl):
            sites.must_be(site, "revoked" if on_crl else "good", "the CRL")
        return shown, f"{words}; OCSP says {said.words}"

    async def _acme(self, scope: Scope, shown: dict[str, sites.Shown]) -> None:
        url = self.wanted.directory or scope.acme_directory
        found = await self.run(
            "acme-directory",
            url,
            partial(acme.directory, self.fetcher, url),
            lambda each: f"{len(each)} members",
        )
        if found is None:
            return
        new_nonce, renewal_info = str(found["newNonce"]), str(found["renewalInfo"])
        await self.run("acme-nonces", new_nonce, partial(acme.nonces, self.fetcher, new_nonce))
        for status in ("valid", "revoked"):
            if status in shown:
                leaf, revoked = shown[status].leaf, status == "revoked"
                asked = partial(
                    acme.renewal_info, self.fetcher, renewal_info, leaf, self.clock.now(), revoked=revoked
                )
                await self.run("acme-renewal-info", f"{status} {leaf.serial_number:x}", asked)


async def _soon(judge: Callable[..., _T], *asked: object) -> _T:
    """What needs no waiting, for `run`."""
    return judge(*asked)
