"""The vault as a process: hardened, opened in the right order, serving one Unix socket.

The order of the start matters.  The lint pool is forked before the token is opened, because a child of a
process that called C_Initialize may not use the module (PKCS#11 section 2.3) and would share its memory; the
journal is read before the first signature; the token proves itself before the socket is there.

Must never: import the web, SQL or DNS; write a PIN or a key anywhere; dump core.

CPS 6.2, 6.5; BR 6.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import HaltIssuance
from core.evidence import key_id
from core.randomness import Randomness
from core.rpc import Allow, Peer, RpcServer
from core.settings import Settings
from signer import api
from signer.api import IssuerState
from signer.vault import hierarchy as hierarchies
from signer.vault import modules
from signer.vault.evidence import PinnedPerspective, Verifier
from signer.vault.journal import Journal, Kind
from signer.vault.keys import Key
from signer.vault.lifetimes import Life
from signer.vault.lint import LintPool
from signer.vault.responders import Responders
from signer.vault.seal import Hierarchy
from signer.vault.service import Service
from signer.vault.signing import IssuingKey, Signer
from signer.vault.token import Cryptoki, TokenThreads

APP, STATUS = "app", "status"
"""The two processes that have business here."""

CALLERS: dict[str, frozenset[str]] = {
    api.DESCRIBE.name: frozenset({APP, STATUS}),
    api.PREPARE.name: frozenset({APP}),
    api.PREPARE_FINAL.name: frozenset({APP}),
    api.ISSUE.name: frozenset({APP}),
    api.RECALL.name: frozenset({APP}),
    api.LOCAL_SERVICE.name: frozenset({APP}),
    api.SIGN_OCSP.name: frozenset({APP, STATUS}),
    api.SIGN_CRL.name: frozenset({APP}),
    api.JOURNAL.name: frozenset({APP}),
}
"""Who may call what, when each process has a user of its own."""

_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 1 << 14
_log = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    data: DataDirectory,
    clock: Clock,
    randomness: Randomness,
    ready: Callable[[], None],
    *,
    roles: Mapping[int, str] | None = None,
) -> None:
    """Run the vault until cancelled.  `roles` maps the uid of each isolated process to its role.

    Raises: `ConfigurationError` when it cannot start as configured, `HaltIssuance` when it must not.
    """
    harden()
    hierarchy = hierarchies.load(data, settings)
    async with contextlib.AsyncExitStack() as opened:
        lint = LintPool(settings.vault.lint_workers, settings.ca.rules)
        opened.callback(lint.close)
        lint.start()
        journal = Journal(data.journal, clock)
        opened.callback(journal.close)
        module = modules.configured(settings, data.tokens / "issuing", data.vault / "softhsm2.conf")
        tokens = TokenThreads(
            Cryptoki(module),
            hierarchy.issuing_token,
            hierarchies.read_pin(settings, data),
            settings.vault.threads,
            timeout=settings.vault.token_timeout,
            pin_again=lambda: hierarchies.read_pin(settings, data),
        )
        opened.callback(tokens.close)
        issuers = _issuing_keys(settings, hierarchy, tokens)
        signer = Signer(tokens, journal)
        responders = Responders(settings, issuers, tokens, signer, journal, lint, clock, randomness)
        keys = [*(by.key for by in issuers.values()), *responders.keys]
        tokens.self_test(keys)
        await journal.append(Kind.START)
        await hierarchies.must_not_be_older(journal, hierarchy, data.hierarchy)
        await responders.renew()
        renewing = asyncio.create_task(responders.run())
        opened.push_async_callback(_cancel, renewing)
        service = Service(
            settings,
            hierarchy,
            issuers,
            _own_keys(hierarchy, keys),
            signer,
            responders,
            journal,
            lint,
            _verifier(settings, hierarchy),
            clock,
            randomness,
        )

        async def record_refusal(peer: Peer, method: str) -> None:
            await journal.append(Kind.REFUSED, issuance_id=f"uid {peer.uid}: {method}")

        rpc = RpcServer(policy(roles or {}, os.getuid()), record_refusal)
        _add_methods(rpc, service)
        data.vault_socket.parent.mkdir(parents=True, exist_ok=True)
        await rpc.listen(data.vault_socket)
        opened.push_async_callback(rpc.close)
        _log.info(
            "vault: %d issuing keys, %d perspectives, journal at %d, %s rules",
            len(issuers),
            len(hierarchy.perspectives),
            journal.sequence,
            hierarchy.rules,
        )
        ready()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await signer.close()
            await journal.append(Kind.STOP)


def policy(roles: Mapping[int, str], own_uid: int) -> Allow:
    """Who may call: by `CALLERS` when processes have users of their own, else only our own user."""

    def allow(peer: Peer, method: str) -> bool:
        if not roles:
            return peer.uid == own_uid
        return roles.get(peer.uid) in CALLERS.get(method, frozenset())

    return allow


def harden() -> None:
    """No core dump, no ptrace by the same user, no page of ours on the swap device if we may say so."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if not _may_lock_memory() or libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        _log.warning("vault: memory is not locked; see that the machine has no swap, or raise RLIMIT_MEMLOCK")


def _may_lock_memory() -> bool:
    """Under a limit, locking would make later allocations fail instead of protecting them."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(status["CapEff"], 16) & _CAP_IPC_LOCK)


def _issuing_keys(settings: Settings, hierarchy: Hierarchy, tokens: TokenThreads) -> dict[str, IssuingKey]:
    """The sealed issuers and their keys; the key in the token must be the one in the certificate."""
    found = {}
    for sealed in hierarchy.issuers:
        if sealed.state is IssuerState.DESTROYED:
            continue
        issuer = hierarchies.authority(settings, sealed.id, sealed.certificate)
        key = tokens.keeper.find(sealed.label)
        if issuer.public_key != key.public_key:
            raise HaltIssuance(
                f"the key {sealed.label!r} in the token is not the one in the certificate of {sealed.id}: "
                "this is another data directory's token"
            )
        found[sealed.id] = IssuingKey(issuer, key, sealed.use, Life(sealed.state, sealed.since, sealed.until))
    return found


def _own_keys(hierarchy: Hierarchy, keys: Iterable[Key]) -> frozenset[bytes]:
    """The SubjectPublicKeyInfos of the CA itself: root, issuers, responders, perspectives."""
    root = x509.load_der_x509_certificate(hierarchy.root).public_key()
    return frozenset(
        [root.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)]
        + [key.spki for key in keys]
        + [perspective.public_key for perspective in hierarchy.perspectives]
    )


def _verifier(settings: Settings, hierarchy: Hierarchy) -> Verifier:
    pinned = {}
    for sealed in hierarchy.perspectives:
        public_key = load_der_public_key(sealed.public_key)
        assert isinstance(public_key, ec.EllipticCurvePublicKey)  # the seal was made over such a key
        pinned[key_id(public_key)] = PinnedPerspective(
            sealed.code, sealed.region, sealed.latitude, sealed.longitude, public_key
        )
    return Verifier(pinned, settings.ca.rules, settings.ca.local_names)


def _add_methods(rpc: RpcServer, service: Service) -> None:
    rpc.add(api.DESCRIBE, service.describe)
    rpc.add(api.PREPARE, service.prepare)
    rpc.add(api.PREPARE_FINAL, service.prepare_final)
    rpc.add(api.ISSUE, service.issue)
    rpc.add(api.RECALL, service.recall)
    rpc.add(api.LOCAL_SERVICE, service.local_service)
    rpc.add(api.SIGN_OCSP, service.sign_ocsp)
    rpc.add(api.SIGN_CRL, service.sign_crl)
    rpc.add(api.JOURNAL, service.journal)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
