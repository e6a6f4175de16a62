"""A hosting provider's fleet before the real front: weeks of its renewals, and an incident in the middle.

What decides when to renew is the example's own code (examples/fleet/schedule.py).  All of the front behind
its HTTP library is real, with the database, the limits, ARI and external account binding; the perspectives
and the signature are not, and the clock is turned by hand, half an hour at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from multidict import CIMultiDict

from acme_server import app
from acme_server.answers import Answers
from acme_server.http import Request
from acme_server.registration import incident as rules
from acme_server.registration.binding_secret import BindingSecret
from acme_server.store import bindings, incidents
from acme_server.store.bindings import BindingKey
from acme_server.store.incidents import Incident
from acme_server.store.selection import Selection
from core.database import Transaction
from core.settings import ExternalAccount, Settings
from examples.fleet.schedule import Certificate, Schedule
from signer.drawing import Approved
from tests.support.acme_client import JOSE, AcmeClient, Answer, b64, cert_id, csr, ec_key, jwk
from tests.support.acme_front import BASE, BINDING_SECRET, Front, running

HOUR, DAY = 3600, 86400
TICK = 1800

LIFE = 90 * DAY
TWO_THIRDS = 60 * DAY
"""Into its life a certificate is renewed if the CA never says when."""

AT_ONCE = 50
"""Renewals that the provider begins in one tick: what a fleet that was switched off would begin with."""

FAIL_FIRST = 100
"""One site in so many cannot be reached when it is first tried."""

KEY = ec_key()


def strict(settings: Settings) -> Settings:
    """Binding is required, and limits are so low that the fleet would fail at once without ARI.

    Retry-After is longer than by default, which saves the test half a million questions.
    """
    limits = replace(settings.limits, new_order_account=100, certificate_domain=100)
    renewal = replace(settings.renewal, retry_after=12 * HOUR, retry_after_incident=12 * HOUR)
    acme = replace(settings.acme, external_account=ExternalAccount.REQUIRED)
    return replace(settings, acme=acme, limits=limits, renewal=renewal)


class Direct(AcmeClient):
    """A client that hands its requests to the front without a network."""

    def __init__(self, answers: Answers, seen: Counter[int], known: AcmeClient | None = None) -> None:
        super().__init__(None, BASE, known.key if known else None)  # type: ignore[arg-type]
        self.kid = known.kid if known else None
        self._answers = answers
        self._seen = seen

    async def get(self, path: str, method: str = "GET") -> Answer:
        return await self._ask(method, path, {}, b"")

    async def send(self, url: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        return await self._ask("POST", url, headers or JOSE, json.dumps(body).encode())

    async def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
        target = url.removeprefix(BASE)
        response = await self._answers.answer(
            Request(method, target, CIMultiDict(headers), body, "192.0.2.1")
        )
        self._seen[response.status] += 1
        shown = CIMultiDict(response.headers)
        self._nonce = shown.get("Replay-Nonce")
        return Answer(response.status, shown, response.body)


@dataclass(slots=True)
class Story:
    """What happened; times are POSIX seconds."""

    chosen: list[int] = field(default_factory=list)
    """When renewals were to begin, to the second; second tries are left out."""
    usual: list[int] = field(default_factory=list)
    early: list[int] = field(default_factory=list)
    """When they were done, at the next tick: those of the first certificates, and those of the incident."""
    failed: int = 0
    requests: Counter[int] = field(default_factory=Counter)
    """By the hour."""
    statuses: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Fleet:
    """`size` sites of one account, all certified on the first day."""

    front: Front
    answers: Answers
    account: Direct
    schedule: Schedule
    story: Story
    size: int
    _in_use: dict[str, tuple[str, int]] = field(default_factory=dict)
    """What the sites moved in with."""

    @property
    def now(self) -> int:
        return self.front.clock.now()

    def begin(self, at: int) -> None:
        """Weeks later the provider starts its scheduler."""
        self.front.clock.at = at
        for name, (named, otherwise) in self._in_use.items():
            self.schedule.add(name, named, otherwise, at)

    async def until(self, end: int) -> None:
        """Turn the clock until `end`; at each tick do what is due."""
        while self.front.clock.at < end:
            self.front.clock.at += TICK
            before = self.story.statuses.total()
            await self._ask(self.schedule.questions(self.now))
            await self._renew(self.schedule.renewals(self.now, AT_ONCE))
            self.story.requests[self.now // HOUR] += self.story.statuses.total() - before

    async def incident(self, issued_from: int, renew_by: int) -> None:
        """Whatever was issued since `issued_from` must be replaced."""
        opened = Incident("0f1ee700", "a fault of validation", "", renew_by, self.now, "test", 0, None)
        await self.front.database.write(lambda tx: rules.begin(tx, opened))
        chosen, after, until = Selection(account_url=self.account.kid or "", issued_from=issued_from), 0, 0
        while True:

            def page(tx: Transaction, after: int = after, until: int = until) -> rules.Page:
                return rules.choose(tx, opened.id, chosen, after, until, "test")

            done = await self.front.database.write(page)
            after, until = done.after, done.until
            if after >= until:
                return

    def fates(self) -> Counter[str]:
        """Of the incident's certificates."""
        rows, found, last = self.front.database.reader, Counter[str](), b""
        while page := list(incidents.fates(rows, "0f1ee700", last, 2000, self.now)):
            found.update(str(fate) for _, fate in page)
            last = page[-1][0]
        return found

    async def close_incident(self) -> None:
        """The windows are the usual ones again."""
        await self.front.database.write(lambda tx: rules.end(tx, "0f1ee700", "test"))

    def planned(self) -> list[int]:
        """When the next renewals will be, as the schedule has chosen in the new certificates' windows."""
        return [each.renew_at for each in self.schedule if each.window is not None]

    async def certify(self, spread: int) -> None:
        """The fleet moved in within `spread` seconds: its certificates are put into the register."""
        began, authority = self.now, _authority(self.front)
        public_key = KEY.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for first in range(0, self.size, 100):
            self.front.clock.at = began + spread * first // self.size
            names = [site(number) for number in range(first, min(first + 100, self.size))]
            issued = await asyncio.gather(
                *(
                    self.front.issuance.issue(
                        Approved(
                            name, self.account.kid or "", (name,), public_key, "tlsserver", None, None, ()
                        ),
                        lambda tx, id: None,
                    )
                    for name in names
                )
            )
            for name, id in zip(names, issued, strict=True):
                serial = bytes.fromhex(id.removeprefix("certificate-"))
                self._in_use[name] = f"{b64(authority)}.{b64(serial)}", self.now + TWO_THIRDS

    async def _ask(self, due: Sequence[Certificate]) -> None:
        for each in due:
            answer = await self.account.get(f"/acme/renewal-info/{each.cert_id}")
            if answer.status != 200:
                self.schedule.unanswered(each, self.now)
                continue
            window, wait = answer.body["suggestedWindow"], int(answer.headers["Retry-After"])
            self.schedule.answered(each, _time(window["start"]), _time(window["end"]), wait, self.now)

    async def _renew(self, due: Sequence[Certificate]) -> None:
        if not due:
            return
        for each in due:
            if not each.failures:
                self.story.chosen.append(each.renew_at)
        flows = [Flow(each, Direct(self.answers, self.story.statuses, self.account)) for each in due]
        for flow in flows:
            if self._reachable(flow.certificate):
                self.front.perspectives.pass_names.add(flow.certificate.name)
        await asyncio.gather(*(flow.order() for flow in flows))
        await self._jobs()
        await asyncio.gather(*(flow.finalize() for flow in flows))
        await self._jobs()
        await asyncio.gather(*(flow.fetch() for flow in flows))
        for flow in flows:
            self.front.perspectives.pass_names.discard(flow.certificate.name)
            if flow.issued is None:
                self.story.failed += 1
                self.schedule.failed(flow.certificate, self.now)
                continue
            first = self._in_use.pop(flow.certificate.name, None) is not None
            (self.story.usual if first else self.story.early).append(self.now)
            self.schedule.renewed(flow.certificate, cert_id(flow.issued), self.now + TWO_THIRDS, self.now)

    def _reachable(self, certificate: Certificate) -> bool:
        return certificate.failures > 0 or hash_of(certificate.cert_id) % FAIL_FIRST != 0

    async def _jobs(self) -> None:
        rows = self.front.database.reader.all("SELECT kind, subject FROM jobs ORDER BY id")
        await asyncio.gather(*(self.front.handlers[row["kind"]](row["subject"]) for row in rows))


@dataclass(slots=True)
class Flow:
    """One renewal, from newOrder to the certificate; `issued` None when it failed."""

    certificate: Certificate
    client: Direct
    url: str = ""
    issued: x509.Certificate | None = None
    _order: Any = None

    async def order(self) -> None:
        """newOrder with `replaces`, and the challenge."""
        placed = await self.client.order(self.certificate.name, replaces=self.certificate.cert_id)
        if placed.status != 201:
            return
        self.url, self._order = placed.headers["Location"], placed.body
        authorization = await self.client.post(self._order["authorizations"][0])
        if authorization.body["status"] == "pending":
            await self.client.post(authorization.body["challenges"][0]["url"], {})

    async def finalize(self) -> None:
        """If it was validated."""
        if self.url:
            request = csr(KEY, [self.certificate.name])
            await self.client.post(self._order["finalize"], {"csr": b64(request)})

    async def fetch(self) -> None:
        """The certificate, if there is one."""
        if not self.url:
            return
        order = await self.client.post(self.url)
        if order.body["status"] == "valid":
            chain = await self.client.post(order.body["certificate"])
            self.issued = x509.load_pem_x509_certificates(chain.octets)[0]


@dataclass(frozen=True, slots=True)
class Told:
    """The whole story; times are POSIX seconds.  `planned` is when the next renewals are to be."""

    began: int
    opened: int
    renew_by: int
    story: Story
    fates: Counter[str]
    planned: list[int]


async def tell(directory: Path, size: int, seed: int = 7) -> Told:
    """Two months after it moved in, the fleet renews; what it got since day 54 must go within five days."""
    async with moved_in(directory, size, seed) as fleet:
        began = fleet.now
        fleet.begin(began + DAY * 107 // 2)
        opened = began + DAY * 117 // 2
        await fleet.until(opened)
        renew_by = opened + 5 * DAY
        await fleet.incident(began + 54 * DAY, renew_by)
        await fleet.until(renew_by)
        fates = fleet.fates()
        await fleet.close_incident()
        await fleet.until(began + DAY * 131 // 2)
        return Told(began, opened, renew_by, fleet.story, fates, fleet.planned())


@asynccontextmanager
async def moved_in(directory: Path, size: int, seed: int) -> AsyncIterator[Fleet]:
    """A fleet with its account, whose certificates were all issued within three hours."""
    async with running(directory, strict) as front:
        answers, story = app.build(front.context), Story()
        account = Direct(answers, story.statuses)
        secret, now = BindingSecret(BINDING_SECRET), front.clock.now()
        row = BindingKey("provider", "A hosting provider", False, 0, secret.fingerprint, now, None, None)
        await front.database.write(lambda tx: bindings.insert(tx, row))
        made = await account.register(externalAccountBinding=_binding(account, secret.key("provider")))
        assert made.status == 201, made.body
        fleet = Fleet(front, answers, account, Schedule(random.Random(seed).random), story, size)
        await fleet.certify(3 * HOUR)
        yield fleet


def site(number: int) -> str:
    """All sites are below one registered domain, the provider's."""
    return f"site-{number:04}.hosting.example"


def hash_of(text: str) -> int:
    """The same number in each run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _authority(front: Front) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(front.issuance.key.public_key()).digest


def _binding(client: AcmeClient, key: bytes) -> dict[str, str]:
    protected = {"alg": "HS256", "kid": "provider", "url": f"{BASE}/acme/new-account"}
    head, body = (b64(json.dumps(each).encode()) for each in (protected, jwk(client.key)))
    mac = hmac.digest(key, f"{head}.{body}".encode(), hashlib.sha256)
    return {"protected": head, "payload": body, "signature": b64(mac)}


def _time(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
