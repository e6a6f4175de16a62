"""`acme-server reconcile`: what a restored register lacks, brought by people through the running app.

Must never: open the CA without a name and a reason in the audit log.

CPS 5.7.2, 5.7.4.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from core import caller, gaps
from core.data_directory import DataDirectory
from core.database import Database, Rows
from core.durable import sync_directory
from core.errors import HaltIssuance, Refused, TransientError
from core.rpc import Method, RpcServer
from operations.desk import local_api
from signer.api import Nothing
from signer.issuance import Issuance
from status.restored.register import RestoredRegister, forgotten

MAX_REASON = 1000
"""Characters."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A gap, for a person; `revokes` counts the certificates that accepting it would revoke now."""

    subject: str
    missing: str
    remedy: str
    found_at: int
    revokes: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is missing; nothing: the CA is open."""

    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Brought:
    """A "crl", an "ocsp" answer or a "certificate" in DER; a signed "manifest"; or a "list" that one names.

    `name` is the list's path below the repository, `key` the thumbprint of the key that signs manifests.
    """

    kind: str
    der: bytes
    name: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class PutBack:
    """How many revocations were entered, or given their reason, CRL numbers counted as used, and certificates
    entered or completed; `wanted` names the lists to bring next."""

    revocations: int
    numbers: int
    certificates: int = 0
    wanted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """What a person says; `reason` stays in the audit log."""

    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The gaps that were closed, and how many certificates were revoked for it."""

    subjects: tuple[str, ...]
    revoked: int


STANDING = Method("register-standing", Nothing, Standing)
BRING = Method("register-bring", Brought, PutBack)
BEGIN = Method("register-begin", Word, Nothing)
ACCEPT = Method("register-accept", Word, Accepted)


def serve(
    answering: RpcServer,
    database: Database,
    register: RestoredRegister,
    issuance: Issuance,
    revoked: Callable[[], None],
) -> None:
    """Add the app's side to the operator's socket; `revoked` is called when revocations were entered."""

    async def standing(request: Nothing) -> Standing:
        return await database.read(_standing)

    async def bring(request: Brought) -> PutBack:
        brought = register.brought
        if request.kind == "crl":
            taken = await brought.crl(request.der)
        elif request.kind == "ocsp":
            taken = await brought.answer(request.der)
        elif request.kind == "certificate":
            taken = await brought.certificate(request.der)
        elif request.kind == "manifest":
            taken = await brought.manifest(request.der, request.key)
        elif request.kind == "list":
            taken = await brought.list(request.name, request.der)
        else:
            raise Refused("register.kind", f"{request.kind!r} is nothing that the register learns from")
        revoked()
        return PutBack(taken.revocations, taken.numbers, taken.certificates, taken.wanted)

    async def begin(request: Word) -> Nothing:
        at = await database.write(lambda tx: tx.now, at_any_time=True)
        await register.begin(f"operator {request.actor}", at)
        return Nothing()

    async def accept(request: Word) -> Accepted:
        reason = request.reason.strip()
        if not reason or len(reason) > MAX_REASON:
            raise Refused("register.reason", f"say on what it rests, in 1 to {MAX_REASON} characters")
        subjects, count = await register.accept(reason, f"operator {request.actor}")
        if gaps.JOURNAL in subjects:
            try:
                await issuance.reconcile()
            except HaltIssuance as halt:
                raise Refused("register.journal", str(halt)) from halt
        revoked()
        return Accepted(tuple(subjects), count)

    answering.add(STANDING, standing)
    answering.add(BRING, bring)
    answering.add(BEGIN, begin)
    answering.add(ACCEPT, accept)


def _standing(rows: Rows) -> Standing:
    return Standing(
        tuple(
            Missing(
                gap.subject,
                gap.missing,
                gap.remedy,
                gap.found_at,
                forgotten(rows) if gap.subject == gaps.CERTIFICATES else 0,
            )
            for gap in gaps.are_open(rows)
        )
    )


def missing(data: DataDirectory) -> tuple[Missing, ...]:
    """The command line's side: what is missing.

    Raises `TransientError` when no app runs here; so does every function below, and `Refused`.
    """
    return local_api.call(data, STANDING, Nothing()).missing


def bring(data: DataDirectory, kind: str, der: bytes, *, name: str = "", key: str = "") -> PutBack:
    """Hand over what `Brought` tells of."""
    return local_api.call(data, BRING, Brought(kind, der, name, key))


def accept(data: DataDirectory, reason: str) -> Accepted:
    """Answer for what is missing."""
    return local_api.call(data, ACCEPT, Word(reason, caller.claimed()))


def begin(data: DataDirectory) -> bool:
    """Close the CA: at once where it runs (True), else at its next start."""
    if data.app_socket.exists():
        try:
            local_api.call(data, BEGIN, Word("", caller.claimed()))
        except TransientError:
            mark(data, "")
        else:
            return True
    else:
        mark(data, "")
    return False


def mark(data: DataDirectory, who: str) -> None:
    """Have the CA closed from its next start on; `who` says so, "" for a person."""
    data.audit.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(data.restored, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.write(descriptor, who.encode())
    os.fsync(descriptor)
    os.close(descriptor)
    sync_directory(data.restored.parent)
