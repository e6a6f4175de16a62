"""A vault of memory with a software key, for tests of what the register holds however a cycle ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cryptography import x509

from core import certificates
from core.certificates import State
from core.clock import FakeClock
from core.database import Database, Transaction
from core.errors import Refused
from core.randomness import SystemRandomness
from core.settings import Settings
from signer import api
from signer.api import KeyUse
from signer.issuance import Approved, Issuance, Logs
from signer.vault.templates import ca_certificates, leaf, precertificates
from tests.support.database import NOW
from tests.support.software_ca import leaf_request, private_key, profile, sign, software_ca, spki

Fault = Callable[[], None]
LINT = api.LintRecord(("lint 1",), ("warning odd",), "public leaf")


def _fail(error: Exception) -> Fault:
    def fail() -> None:
        raise error

    return fail


ACTIVE = api.ActivationState("token", False, 2, 3, NOW, b"")


@dataclass
class MemoryVault:
    """The vault's words with a software key; a fault can be laid before or after each of them."""

    faults: dict[str, list[Fault]] = field(default_factory=dict)
    entries: list[api.JournalEntry] = field(default_factory=list)
    prepared: dict[str, tuple[api.LeafRequest, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ct: bool = False
    state: api.ActivationState = ACTIVE

    async def describe(self) -> api.Description:
        self._pass("describe")
        infos = tuple(
            api.IssuerInfo(
                id,
                KeyUse.ISSUING,
                algorithm,
                software_ca(algorithm).certificate,
                (software_ca(algorithm).certificate, software_ca(algorithm).root),
                b"",
                b"",
                b"",
                b"",
            )
            for id, algorithm in (("rsa-1", "rsa-2048"), ("ec-1", "ec-p256"))
        )
        return api.Description("public", b"", infos, (), (), "lint 1", len(self.entries), ct=self.ct)

    async def activation(self) -> api.ActivationState:
        self._pass("activation")
        return self.state

    async def prepare(self, request: api.LeafRequest) -> api.Prepared:
        self._pass("prepare")
        tbs = leaf.build_tbs(software_ca("ec-p256").issuer, replace(profile(), ct=self.ct), request)
        return self._keep(request, tbs, precertificate=self.ct)

    async def prepare_final(self, request: api.FinalRequest) -> api.Prepared:
        self._pass("prepare-final")
        (signed,) = self._entries(request.issuance_id, "precertificate")
        tbs = precertificates.final_tbs(signed.certificate, request.scts)
        wanted = leaf_request(
            issuance_id=request.issuance_id, issuer_id=signed.issuer_id, serial=signed.serial
        )
        return self._keep(wanted, tbs, precertificate=False)

    async def issue(self, token: str) -> api.Issued:
        self._pass("issue")
        if token not in self.prepared:
            raise Refused("token.unknown", "gone")
        request, tbs = self.prepared.pop(token)
        poisoned = precertificates.POISON in tbs
        intent, result = ("precertificate-intent", "precertificate") if poisoned else ("intent", "result")
        self._append(intent, request, tbs=tbs)
        self._pass(intent)
        ca = software_ca("ec-p256")
        certificate = leaf.assemble(tbs, ca.issuer.algorithm.identifier, sign(ca.key, tbs))
        self._append(result, request, certificate=certificate)
        self._pass(result)
        return api.Issued(certificate)

    async def recall(self, issuance_id: str) -> api.Recalled:
        self._pass("recall")
        mine = [entry for entry in self.entries if entry.issuance_id == issuance_id]
        results = [entry.certificate for entry in mine if entry.kind == "result"]
        first = [entry.certificate for entry in mine if entry.kind == "precertificate"]
        return api.Recalled(
            bool(mine),
            results[0] if results else None,
            LINT if results else None,
            first[0] if first else None,
            bool(first) and any(entry.kind == "intent" for entry in mine),
        )

    async def journal(self, after: int, limit: int = 1000) -> api.Journal:
        self._pass("journal")
        return api.Journal(tuple(self.entries[after : after + min(limit, 3)]))

    async def local_service(self, serial: bytes, public_key: bytes) -> api.Issued:
        request = leaf_request(
            issuance_id=f"local-service:{serial.hex()}",
            issuer_id="ec-1",
            serial=serial,
            profile="local-service",
            names=("localhost", "::1"),
            public_key=public_key,
        )
        ca = software_ca("ec-p256")
        tbs = leaf.build_tbs(ca.issuer, profile(name="local-service"), request)
        certificate = leaf.assemble(tbs, ca.issuer.algorithm.identifier, sign(ca.key, tbs))
        self._append("intent", request, tbs=tbs)
        self._append("result", request, certificate=certificate)
        return api.Issued(certificate)

    def responder(self) -> None:
        """Make an OCSP responder, as the vault does by itself."""
        ca, serial = software_ca("ec-p256"), b"\x41" * 16
        certificate = ca_certificates.ocsp_responder(
            ca.certificate,
            ca.key,
            private_key("ec-p256", 9).public_key(),
            ca_certificates.Subject("JP", "Acme Trust", "OCSP Responder"),
            serial,
            NOW,
            lifetime=30 * 86400,
        )
        tbs = x509.load_der_x509_certificate(certificate).tbs_certificate_bytes
        request = leaf_request(issuance_id="ocsp-responder:ec-1:41", issuer_id="ec-1", serial=serial)
        self._append("ocsp-responder-intent", request, tbs=tbs)
        self._append("ocsp-responder", request, certificate=certificate)

    def fault(self, where: str, error: Exception) -> None:
        """Raise `error` the next time that `where` is passed."""
        self.faults.setdefault(where, []).append(_fail(error))

    def _keep(self, request: api.LeafRequest, tbs: bytes, *, precertificate: bool) -> api.Prepared:
        token = f"token-{len(self.asked)}"
        self.prepared[token] = (request, tbs)
        return api.Prepared(token, hashlib.sha256(tbs).digest(), LINT, precertificate)

    def _entries(self, issuance_id: str, kind: str) -> list[api.JournalEntry]:
        return [each for each in self.entries if (each.issuance_id, each.kind) == (issuance_id, kind)]

    def _pass(self, where: str) -> None:
        self.asked.append(where)
        if self.faults.get(where):
            self.faults[where].pop(0)()

    def _append(
        self, kind: str, request: api.LeafRequest, tbs: bytes = b"", certificate: bytes = b""
    ) -> None:
        number = len(self.entries) + 1
        self.entries.append(
            api.JournalEntry(
                number,
                NOW,
                kind,
                request.issuance_id,
                request.issuer_id,
                request.serial,
                tbs,
                certificate,
                LINT,
                hash=hashlib.sha256(b"%d" % number).digest(),
            )
        )


SETTINGS = Settings()

APPROVED = Approved(
    request_id="order-1",
    account_url="https://ca.acme-ca.com/acme/account/1",
    names=("www.acme-shop.com",),
    public_key=spki(private_key("ec-p256")),
    profile="tlsserver",
    not_before=None,
    not_after=None,
    evidence=(),
)


class Finished:
    """A `finish` that remembers in the transaction's database what it was given, as the caller's would."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def __call__(self, tx: Transaction, id: str) -> None:
        self.ids.append(id)
        found = certificates.by_id(tx, id)
        assert found is not None
        assert found.state is State.ISSUED


def states(database: Database, request_id: str = "order-1") -> list[str]:
    """What became of the request's serial numbers, the oldest first."""
    return [row.state.value for row in certificates.by_request(database.reader, request_id)]


def issuance_with(
    vault: MemoryVault, database: Database, settings: Settings = SETTINGS, logs: Logs | None = None
) -> Issuance:
    """The issuance of a process that has just started."""
    return Issuance(vault, database, settings, FakeClock(NOW), SystemRandomness(), logs)  # type: ignore[arg-type]
