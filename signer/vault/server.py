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
import logging
import os
from collections.abc import Callable, Mapping

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from core.blocklist import Blocklist
from core.clock import Clock, keep_time
from core.data_directory import DataDirectory
from core.errors import HaltIssuance
from core.evidence import key_id
from core.randomness import Randomness
from core.rpc import Allow, Peer, RpcServer
from core.settings import Settings
from signer import api
from signer.api import IssuerState
from signer.ocsp_batch import SIGN_OCSP_BATCH
from signer.vault.hardening import harden
from signer.vault.judgement.blocked import RefusedKeys
from signer.vault.judgement.evidence import PinnedPerspective, Verifier
from signer.vault.lint.pool import LintPool
from signer.vault.people import approval
from signer.vault.people.activation import Activation
from signer.vault.people.lock import Lock
from signer.vault.people.reopening import Reopening
from signer.vault.record.journal import Journal, Kind
from signer.vault.sealed import hierarchy as hierarchies
from signer.vault.sealed import watch as seal_watch
from signer.vault.sealed.lifetimes import Life
from signer.vault.sealed.seal import Hierarchy, SealedToken, TokenRole
from signer.vault.service import Service
from signer.vault.signing import IssuingKey, Signer
from signer.vault.status.manifests import Manifests
from signer.vault.status.responders import Responders
from signer.vault.tokens import modules, wrapping
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.custody import Custody
from signer.vault.tokens.keys import Key
from signer.vault.tokens.token import TokenThreads

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
    api.SIGN_OCSP_LIST.name: frozenset({APP, STATUS}),
    SIGN_OCSP_BATCH.name: frozenset({APP, STATUS}),
    api.HOLD_CRL_BLOCKS.name: frozenset({APP}),
    api.SIGN_CRL.name: frozenset({APP}),
    api.SIGN_MANIFEST.name: frozenset({APP}),
    api.BLOCK_KEY.name: frozenset({APP}),
    api.JOURNAL.name: frozenset({APP}),
    api.ACTIVATION.name: frozenset({APP}),
}
"""Who may call what, when each process has a user of its own."""

OPERATOR = frozenset(
    method.name for method in (api.ACTIVATION, api.ACTIVATE, api.DEACTIVATE, api.HALT, api.RESUME)
)
"""What root may call, too, at the command line (and our own user, where all processes are one user's).  Who
may open and close the token is another matter: people sign for that."""

ROOT_UID = 0

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
    harden(settings)
    sealed = data.hierarchy.read_bytes() if hierarchies.exists(data) else b""
    hierarchy = hierarchies.load(data, settings)
    hierarchies.must_have_people(settings, hierarchy)
    token = hierarchy.token(TokenRole.ISSUING)
    approval.must_be_approved(settings, token.facts, modules.HABITS[settings.vault.module_kind])
    async with contextlib.AsyncExitStack() as opened:
        lint = LintPool(settings.vault.lint_workers, settings.ca.rules, zlint=settings.vault.zlint)
        opened.callback(lint.close)
        lint.start()
        journal = Journal(data.journal, clock)
        opened.callback(journal.close)
        blocklist = Blocklist(settings.ca.blocklist)
        opened.callback(blocklist.close)
        for duty in (blocklist.follow(), keep_time(clock)):
            opened.push_async_callback(_cancel, asyncio.create_task(duty))
        issuers = _issuing_keys(settings, hierarchy)
        signer = Signer(None, journal)
        responders = Responders(settings, issuers, signer, journal, lint, clock, randomness)
        manifests = Manifests(settings, hierarchy, signer, journal, clock)
        own_keys = _own_keys(hierarchy, issuers, responders)

        def open_token(pin: bytearray) -> TokenThreads:
            tokens = _logged_in(settings, data, token, pin)
            try:
                _must_hold(settings, hierarchy, issuers, tokens)
                responders.take(tokens.keeper)
                manifests.take(tokens.keeper)
                vaults_own = [*responders.keys, *manifests.keys]
                tokens.self_test([*(by.key for by in issuers.values()), *vaults_own])
            except BaseException:
                tokens.close()
                raise
            own_keys.update(key.spki for key in vaults_own)
            return tokens

        lock = Lock(open_token, signer, responders)
        opened.push_async_callback(lock.close, "the vault is stopping: ask again when it is back")
        activation = Activation(token.activation, token.serial, lock, journal, clock, randomness)
        signer.on_lost_login = activation.login_lost
        if token.activation is None:
            reopening = Reopening(lock, lambda: hierarchies.read_pin(settings, data))
            opened.push_async_callback(reopening.close)
            signer.on_lost_login = reopening.lost
        await journal.append(Kind.START)
        await hierarchies.must_not_be_older(journal, hierarchy, data.hierarchy)
        if token.activation is None:
            # The token proves itself before the socket is there.
            await lock.open(bytearray(hierarchies.read_pin(settings, data), "utf-8"))
            activation.opened()
        else:
            await lock.close(activation.locked_message)
        renewing = asyncio.create_task(responders.run())
        opened.push_async_callback(_cancel, renewing)
        service = Service(
            settings,
            hierarchy,
            issuers,
            RefusedKeys(own_keys, journal, blocklist),
            signer,
            responders,
            journal,
            lint,
            _verifier(settings, hierarchy),
            clock,
            randomness,
        )
        opened.push_async_callback(service.sampler.close)

        async def record_refusal(peer: Peer, method: str) -> None:
            await journal.append(Kind.REFUSED, issuance_id=f"uid {peer.uid}: {method}")

        rpc = RpcServer(policy(roles or {}, os.getuid()), record_refusal)
        _add_methods(rpc, service, manifests, activation)
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
        _say_how_it_opens(lock, activation)
        ready()
        try:
            await seal_watch.until_sealed_anew(data.hierarchy, sealed)
        finally:
            await signer.close()
            await journal.append(Kind.STOP)


def policy(roles: Mapping[int, str], own_uid: int) -> Allow:
    """Who may call: by `CALLERS` when processes have users of their own, else only our own user."""

    def allow(peer: Peer, method: str) -> bool:
        if method in OPERATOR and peer.uid == ROOT_UID:
            return True
        if not roles:
            return peer.uid == own_uid
        return roles.get(peer.uid) in CALLERS.get(method, frozenset())

    return allow


def _say_how_it_opens(lock: Lock, activation: Activation) -> None:
    if lock.is_open:
        _log.warning("vault: NOT CONFORMING: PIN in a file (BR 6.2.8, CPS 6.2.8); for trials only")
    else:
        _log.critical("vault: LOCKED: %s", activation.locked_message)


def _issuing_keys(settings: Settings, hierarchy: Hierarchy) -> dict[str, IssuingKey]:
    """The sealed issuers and their keys as the certificates tell of them; `_must_hold` asks the token."""
    found = {}
    for sealed in hierarchy.issuers:
        if sealed.state is IssuerState.DESTROYED:
            continue
        issuer = hierarchies.authority(settings, sealed.id, sealed.certificate)
        key = Key(sealed.label, sealed.algorithm, issuer.public_key)
        found[sealed.id] = IssuingKey(issuer, key, sealed.use, Life(sealed.state, sealed.since, sealed.until))
    return found


def _logged_in(settings: Settings, data: DataDirectory, token: SealedToken, pin: bytearray) -> TokenThreads:
    module = modules.configured(settings, data.tokens / "issuing", data.vault / "softhsm2.conf")
    cryptoki = Cryptoki(module)
    try:
        approval.must_be_the_recorded(settings, token.facts, cryptoki.facts(token.serial))
        return TokenThreads(
            cryptoki,
            token.serial,
            pin,
            settings.vault.threads,
            timeout=settings.vault.token_timeout,
        )
    except BaseException:
        # The next try initialises the module anew.
        cryptoki.close()
        raise


def _must_hold(
    settings: Settings, hierarchy: Hierarchy, issuers: Mapping[str, IssuingKey], tokens: TokenThreads
) -> None:
    """The keys in the token must be those in the certificates, in their custody.  Raises `HaltIssuance`."""
    custodies = {sealed.id: sealed.custody for sealed in hierarchy.issuers if sealed.id in issuers}
    if settings.deployment.production and Custody.WRAPPED in custodies.values():
        wrapping.must_enforce_trust(tokens.keeper.raw)
    for id, by in issuers.items():
        if tokens.keeper.find(by.key.label, custodies[id]).public_key != by.key.public_key:
            raise HaltIssuance(
                f"the key {by.key.label!r} in the token is not the one in the certificate of {id}: "
                "this is another data directory's token"
            )


def _own_keys(hierarchy: Hierarchy, issuers: Mapping[str, IssuingKey], responders: Responders) -> set[bytes]:
    """The SubjectPublicKeyInfos of the CA itself: root, issuers, responders, perspectives."""
    root = x509.load_der_x509_certificate(hierarchy.root).public_key()
    return {
        root.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        *(by.key.spki for by in issuers.values()),
        *(responder.key.spki for _, responder in responders.all()),
        *(perspective.public_key for perspective in hierarchy.perspectives),
    }


def _verifier(settings: Settings, hierarchy: Hierarchy) -> Verifier:
    pinned = {}
    for sealed in hierarchy.perspectives:
        public_key = load_der_public_key(sealed.public_key)
        assert isinstance(public_key, ec.EllipticCurvePublicKey)  # the seal was made over such a key
        pinned[key_id(public_key)] = PinnedPerspective(
            sealed.code, sealed.region, sealed.latitude, sealed.longitude, public_key
        )
    validation = settings.validation
    return Verifier(
        pinned,
        settings.ca.rules,
        settings.ca.local_names,
        validation.methods,
        persist_plain=validation.persist_plain,
    )


def _add_methods(rpc: RpcServer, service: Service, manifests: Manifests, activation: Activation) -> None:
    rpc.add(api.DESCRIBE, service.describe)
    rpc.add(api.PREPARE, service.prepare)
    rpc.add(api.PREPARE_FINAL, service.prepare_final)
    rpc.add(api.ISSUE, service.issue)
    rpc.add(api.RECALL, service.recall)
    rpc.add(api.LOCAL_SERVICE, service.local_service)
    rpc.add(api.SIGN_OCSP, service.status.sign_ocsp)
    rpc.add(api.SIGN_OCSP_LIST, service.status.sign_ocsp_list)
    rpc.add(SIGN_OCSP_BATCH, service.status.sign_ocsp_batch)
    rpc.add(api.HOLD_CRL_BLOCKS, service.status.hold_crl_blocks)
    rpc.add(api.SIGN_CRL, service.status.sign_crl)
    rpc.add(api.SIGN_MANIFEST, manifests.sign)
    rpc.add(api.BLOCK_KEY, service.block_key)
    rpc.add(api.JOURNAL, service.journal)
    rpc.add(api.ACTIVATION, activation.state)
    rpc.add(api.ACTIVATE, activation.activate)
    rpc.add(api.DEACTIVATE, activation.deactivate)
    rpc.add(api.HALT, activation.halt)
    rpc.add(api.RESUME, activation.resume)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
