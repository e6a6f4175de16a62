"""The ACME front with everything real but its two neighbours: the perspectives and the issuance.

Both are hostile unless a test says otherwise: nothing validates, and nothing is issued for an order that was
not approved.  Jobs run when the test says so, by the very rows that the handlers wrote.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from acme_server import app
from acme_server.changes import Changes
from acme_server.context import Context, Foreseer
from acme_server.registration.binding_secret import BindingSecret
from acme_server.server import Server
from acme_server.urls import Urls
from core import blocked_keys, certificates, issuers, jobs
from core.clock import FakeClock
from core.database import Database, Transaction
from core.ephemeral import Buckets, Nonces
from core.ephemeral.memory import MemoryNonces
from core.ephemeral.memory_buckets import MemoryBuckets
from core.errors import Refused, TransientError
from core.evidence import CaaSeen, ControlSeen, PerspectiveKey, Result, Statement
from core.forwarded import Addresses
from core.high_risk import HighRisk
from core.outcome import Outcome, Seen, View
from core.randomness import SystemRandomness, token
from core.settings import Settings
from signer.issuance import Approved
from tests.support import database as databases
from tests.support.acme_client import (
    AcmeClient,
    Answer,
    PrivateKey,
    b64,
    csr,
    ec_key,
    general_name,
    thumbprint,
)
from validation.mpic.conclusion import tally
from validation.mpic.foresight import Foresight

BASE = "https://ca.test:14000"
ISSUER = "ec-1"
BINDING_SECRET = b"the secret of external accounts, in tests"
ISSUER_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test issuer")])


class FakePerspectives:
    """Fails every name that was not put into `pass_names`; `undecided` names have no verdict.

    They fail with `problem`.  `fault` is raised instead; `meanwhile` happens while the perspectives look;
    `others` are more of them; `good_until` is the persistUntil of records.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.pass_names: set[str] = set()
        self.undecided: set[str] = set()
        self.caa_forbids: set[str] = set()
        self.asked: list[tuple[str, ...]] = []
        self.problem = "connection"
        self.fault: Exception | None = None
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self.others: tuple[View, ...] = ()
        self.good_until = 0
        self._clock = clock
        self._key = PerspectiveKey(ec.generate_private_key(ec.SECP256R1()))

    async def check(
        self,
        name: str,
        account_url: str,
        method: str,
        token: str,
        thumbprint: str,
        older: Sequence[str] = (),
    ) -> Outcome:
        self.asked.append((name, account_url, method, token, thumbprint, *older))
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.fault is not None:
            raise self.fault
        seen = Seen(Result.PASS)
        if name in self.undecided:
            seen = Seen(Result.INDETERMINATE, "serverInternal", "the resolver is away")
        elif name not in self.pass_names:
            seen = Seen(Result.FAIL, self.problem, f"{name}: connection refused")
        return self._outcome(name, account_url, method, seen, Seen(Result.PASS))

    async def recheck_caa(self, name: str, account_url: str, caa_method: str) -> Outcome:
        self.asked.append((name, account_url, "", caa_method))
        if self.meanwhile is not None:
            await self.meanwhile()
        seen = Seen(Result.PASS)
        if name in self.undecided:
            seen = Seen(Result.INDETERMINATE, "dns", "the resolver is away")
        elif name in self.caa_forbids:
            seen = Seen(Result.FAIL, "caa", f"CAA of {name} does not name us")
        return self._outcome(name, account_url, caa_method, None, seen)

    def _outcome(self, name: str, account_url: str, method: str, control: Seen | None, caa: Seen) -> Outcome:
        """One perspective, "local", saw this."""
        now, base = self._clock.now(), name.removeprefix("*.")
        attempt = f"attempt-{len(self.asked)}"
        shown = control and ControlSeen(
            method, base, control.result, control.problem, control.detail, good_until=self.good_until
        )
        permitted = CaaSeen(caa.result, problem=caa.problem, detail=caa.detail, method=method)
        statement = Statement("local", name, account_url, attempt, now, shown, permitted, 3)
        worst = caa if control is None or control.result is Result.PASS else control
        views = (View("local", control, caa, 3), *self.others)
        return Outcome(
            attempt,
            worst.result,
            worst.problem,
            worst.detail,
            (self._key.sign(statement),),
            views,
            "" if control is None else tally(views, "control"),
            tally(views, "caa"),
            now,
            5,
        )


class FakeForeseer:
    """Has no place for anybody, unless a test gives it an `inner` one that looks."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.inner: Foreseer | None = None

    async def look(
        self, name: str, account_url: str, methods: Sequence[str], thumbprints: Sequence[str]
    ) -> Foresight:
        self.asked.append((name, account_url, *methods))
        if self.inner is None:
            raise TransientError("busy")
        return await self.inner.look(name, account_url, methods, thumbprints)


class FakeIssuance:
    """Signs with a key of its own and stores in the real register; `fault` is raised instead when set."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.fault: Exception | None = None
        self.approved: list[Approved] = []
        self.withdrawn: list[tuple[str, str | None]] = []
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._database = database
        self._clock = clock
        self._serials = itertools.count(0x2000)
        self.chain_der = b""

    async def prepare(self) -> bytes:
        """Put the issuer into the register, if it has none; its chain in PEM."""
        known = issuers.issuer_by_id(self._database.reader, ISSUER)
        if known is not None:
            return known.chain
        certificate = self._certificate(b"\x01", ISSUER_NAME, self.key.public_key(), 365)
        chain = certificate.public_bytes(serialization.Encoding.PEM)
        self.chain_der = certificate.public_bytes(serialization.Encoding.DER)
        issuer = issuers.Issuer(ISSUER, "issuing", "ec-p256", self.chain_der, chain, 1)
        await self._database.write(lambda tx: issuers.put_issuer(tx, issuer))
        return chain

    async def withdraw(
        self, request_id: str, delivered: str | None, finish: Callable[[Transaction], None]
    ) -> None:
        if self.fault is not None and not isinstance(self.fault, Refused):
            raise self.fault
        self.withdrawn.append((request_id, delivered))
        await self._database.write(finish)

    async def issue(self, approved: Approved, finish: Callable[[Transaction, str], None]) -> str:
        self.approved.append(approved)
        if self.fault is not None:
            raise self.fault
        serial = next(self._serials).to_bytes(2, "big")
        public_key = serialization.load_der_public_key(approved.public_key)
        name = x509.SubjectAlternativeName([general_name(each) for each in approved.names])
        certificate = self._certificate(serial, x509.Name([]), public_key, 90, name)
        issued = f"certificate-{serial.hex()}"
        reservation = certificates.Reservation(
            id=issued,
            serial=serial,
            issuer_id=ISSUER,
            crl_shard=0,
            request_id=approved.request_id,
            account_url=approved.account_url,
            profile=approved.profile,
            names=approved.names,
            spki_sha256=hashlib.sha256(approved.public_key).digest(),
            not_before=self._clock.now(),
            not_after=self._clock.now() + 90 * 86400,
            versions={},
        )
        der = certificate.public_bytes(serialization.Encoding.DER)

        def unit(tx: Transaction) -> None:
            certificates.reserve(tx, reservation)
            certificates.store(tx, issued, der, tx.now, hashlib.sha256(der).digest(), [])
            finish(tx, issued)

        await self._database.write(unit)
        return issued

    def _certificate(
        self, serial: bytes, subject: x509.Name, key: Any, days: int, name: x509.ExtensionType | None = None
    ) -> x509.Certificate:
        now = datetime.datetime.fromtimestamp(self._clock.now(), datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ISSUER_NAME)
            .public_key(key)
            .serial_number(int.from_bytes(serial, "big"))
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=days))
        )
        key_id = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)
        if name is not None:
            builder = builder.add_extension(name, critical=True).add_extension(authority, critical=False)
        else:
            builder = builder.add_extension(key_id, critical=False)
        return builder.sign(self.key, hashes.SHA256())


@dataclass(slots=True)
class Front:
    """The running front and the handles that a test turns."""

    http: ClientSession
    at: str
    context: Context
    clock: FakeClock
    database: Database
    perspectives: FakePerspectives
    issuance: FakeIssuance
    foreseer: FakeForeseer
    handlers: Any
    access: list[str] = field(default_factory=list)
    vault_told: list[str] = field(default_factory=list)
    wakes: list[str] = field(default_factory=list)
    raised: list[Exception] = field(default_factory=list)

    def client(self, key: PrivateKey | None = None) -> AcmeClient:
        """A client without an account."""
        return AcmeClient(self.http, BASE, key, at=self.at)

    async def subscriber(self, key: PrivateKey | None = None) -> AcmeClient:
        """A client with an account."""
        client = self.client(key)
        answer = await client.register()
        assert answer.status in (200, 201), answer.body
        return client

    async def run_jobs(self) -> None:
        """Run every job that waits, once; what a handler raises to be tried again is kept in `raised`."""
        for row in self.database.reader.all("SELECT kind, subject FROM jobs ORDER BY id"):
            try:
                await self.handlers[row["kind"]](row["subject"])
            except TransientError as error:
                self.raised.append(error)

    def counts(self) -> dict[str, int]:
        """Rows in every table: what a refusal must leave as it was."""
        reader = self.database.reader
        tables = reader.all(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        return {
            each["name"]: reader.all(f"SELECT COUNT(*) AS n FROM {each['name']}")[0]["n"] for each in tables
        }

    def audit(self, kind: str) -> list[Any]:
        """The audit records of a kind."""
        return self.database.reader.all("SELECT * FROM audit WHERE kind = ? ORDER BY sequence", (kind,))

    async def authorized(self, client: AcmeClient, *names: str) -> Answer:
        """A new order, all of whose names are validated by the first method that is offered."""
        self.perspectives.pass_names.update(names)
        order = await client.order(*names)
        assert order.status == 201, order.body
        for url in order.body["authorizations"]:
            authorization = await client.post(url)
            if authorization.body["status"] == "pending":
                await client.post(authorization.body["challenges"][0]["url"], {})
        await self.run_jobs()
        return await client.post(order.headers["Location"])

    async def issued(
        self, client: AcmeClient, *names: str, key: PrivateKey | None = None
    ) -> tuple[Answer, x509.Certificate]:
        """The order, valid, and its certificate."""
        order = await self.authorized(client, *names)
        url = order.headers["Location"]
        request = csr(key or ec_key(), names)
        accepted = await client.post(order.body["finalize"], {"csr": b64(request)})
        assert accepted.status == 200, accepted.body
        await self.run_jobs()
        order = await client.post(url)
        chain = await client.post(order.body["certificate"])
        return order, x509.load_pem_x509_certificates(chain.octets)[0]


@asynccontextmanager
async def running(
    directory: Path,
    change: Callable[[Settings], Settings] = lambda s: s,
    buckets: Buckets | None = None,
    nonces: Callable[[FakeClock], Nonces] | None = None,
) -> AsyncIterator[Front]:
    """A front with an empty database below `directory`; `change` turns the settings."""
    clock = FakeClock(databases.NOW)
    settings = Settings()
    settings = change(replace(settings, acme=replace(settings.acme, base_url=BASE, hold=0)))
    randomness = SystemRandomness()
    wakes: list[str] = []
    changes = Changes()
    async with databases.opened(directory, clock) as database:
        perspectives = FakePerspectives(clock)
        issuance, foreseer = FakeIssuance(database, clock), FakeForeseer()
        context = Context(
            settings=settings,
            database=database,
            clock=clock,
            randomness=randomness,
            nonces=nonces(clock) if nonces else MemoryNonces(randomness, token(randomness)),
            buckets=MemoryBuckets() if buckets is None else buckets,
            foreseer=foreseer,
            urls=Urls(settings),
            changes=changes,
            chains={ISSUER: [await issuance.prepare()]},
            wake_jobs=lambda: wakes.append("jobs"),
            on_revocation=lambda: wakes.append("revocation"),
            binding_secret=BindingSecret(BINDING_SECRET),
            high_risk=HighRisk(settings.ca.high_risk),
        )
        told: list[str] = []

        async def tell_vault(subject: str) -> None:
            told.append(subject)
            await database.write(lambda tx: jobs.done(tx, blocked_keys.KIND, subject))

        handlers = {
            **app.job_handlers(database, settings, clock, perspectives, issuance, changes),
            blocked_keys.KIND: tell_vault,
        }
        lines: list[str] = []
        server = Server(
            app.build(context),
            ["127.0.0.1:0"],
            None,
            settings.limits,
            clock,
            lines.append,
            Addresses(settings.acme),
        )
        await server.start()
        at = f"http://127.0.0.1:{server.ports[0]}"
        try:
            async with ClientSession() as http:
                front = Front(
                    http, at, context, clock, database, perspectives, issuance, foreseer, handlers, lines
                )
                front.wakes, front.vault_told = wakes, told
                yield front
        finally:
            await server.close()


__all__ = ["BASE", "Front", "running", "thumbprint"]
