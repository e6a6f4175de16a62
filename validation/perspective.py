"""The perspective process: answers CHECK and HEALTH on its socket, with a key and eyes of its own.

On a host of its own it answers its coordinator by mutual TLS besides (remote_server.py).  Stateless: no
database, no CA key, its own resolvers.  The first perspective of the CA's settings is the primary; the others
run the same code elsewhere.  BR 3.2.2.9.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.evidence import PerspectiveKey, StatementSigner
from core.identifiers import normalise_dns
from core.randomness import Randomness
from core.registered_domain import registered_domain
from core.rpc import RpcServer
from core.settings import Rules, Settings
from validation.addresses import AddressPolicy
from validation.api import CHECK, HEALTH, PREFLIGHT, Health, HealthRequest
from validation.challenge import Tools
from validation.checker import Checker
from validation.dns import canary, eyes
from validation.dns.canary import Canary
from validation.dns.resolver import LocalNames, Resolver
from validation.hosts.dialer import GuardedDialer
from validation.hosts.redirects import Ports
from validation.keys import load_private_key, public_key_octets
from validation.limiter import Limiter
from validation.methods import CHECKS
from validation.mpic.mutual_tls import COORDINATOR, Identity, host_name
from validation.preflight import Scout

_log = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    data: DataDirectory,
    code: str,
    clock: Clock,
    randomness: Randomness,
    ready: Callable[[], None],
) -> None:
    """Serves the perspective `code` until cancelled; calls `ready` once it listens.

    Raises `ConfigurationError` before that when key, resolvers or networks cannot be used.
    """
    codes = [perspective.code for perspective in settings.validation.perspectives]
    if code not in codes:
        raise ConfigurationError(
            f"no perspective {code!r} in validation.perspectives; add it or name another"
        )
    private_key = load_private_key(data.perspective(code), passphrase_file(settings))
    identity = Identity(data.channel(code), server=True) if settings.mpic.listen else None
    if identity is not None:
        identity.must_name(host_name(code, settings.mpic.zone))
    region = settings.validation.perspectives[codes.index(code)].region
    async with contextlib.AsyncExitStack() as closing:
        resolver = await closing.enter_async_context(eyes.opened(settings, data, code, randomness))
        bird = canary.of(settings, resolver, clock, randomness)
        if bird is not None:
            await bird.start(wait=settings.ca.rules is Rules.PUBLIC)
            closing.callback(asyncio.create_task(bird.keep()).cancel)
        checker = make_checker(settings, code, PerspectiveKey(private_key), resolver, clock, bird)
        closing.push_async_callback(checker.close)
        public_key = public_key_octets(private_key)

        def health() -> Health:
            ends = identity.ends if identity is not None else 0
            trouble = bird.trouble if bird is not None else ""
            return Health(code, public_key, (str(resolver),), region, ends, settings.mpic.gateway, trouble)

        async def answer(request: HealthRequest) -> Health:
            return health()

        server = RpcServer()
        server.add(CHECK, checker.check)
        scout = make_scout(settings, code, resolver, clock, bird)
        if scout is not None:
            server.add(PREFLIGHT, scout.preview)
        server.add(HEALTH, answer)
        data.run.mkdir(parents=True, exist_ok=True)
        await server.listen(data.perspective_socket(code))
        closing.push_async_callback(server.close)
        if identity is not None:
            # Here alone: a perspective of the CA's own machine has no web server in its memory.
            from validation.mpic.remote_server import Doors, open_doors

            coordinator = host_name(COORDINATOR, settings.mpic.zone)
            doors = Doors(checker, scout, settings.ca.caa_identities, coordinator, health, clock)
            await closing.enter_async_context(
                open_doors(doors, settings.mpic.listen, identity, settings.mpic.connections, clock)
            )
        _log.info("perspective %s serves; resolver: %s", code, resolver)
        ready()
        await asyncio.get_running_loop().create_future()


def make_checker(
    settings: Settings,
    code: str,
    signer: StatementSigner,
    resolver: Resolver,
    clock: Clock,
    bird: Canary | None = None,
) -> Checker:
    """The checker by the settings.  Raises `ConfigurationError`."""
    validation = settings.validation
    unknown = sorted(set(validation.methods) - set(CHECKS))
    if unknown:
        raise ConfigurationError(
            f"validation.methods: {', '.join(unknown)} is not known; choose from {', '.join(CHECKS)}"
        )
    public = settings.ca.rules == Rules.PUBLIC
    if public and settings.deployment.production and validation.allowed_networks:
        raise ConfigurationError(
            "validation.allowed_networks: a public CA in production reaches public addresses only; empty it"
        )
    kind = _through_gateway(settings.mpic.gateway) if settings.mpic.gateway else Checker
    return kind(
        code=code,
        signer=signer,
        tools=make_tools(settings, resolver),
        limiter=Limiter(validation.concurrency, registered_domain),
        identities=identities(settings),
        enabled=frozenset(validation.methods),
        clock=clock,
        public=public,
        canary=bird,
    )


def make_scout(
    settings: Settings, code: str, resolver: Resolver, clock: Clock, bird: Canary | None = None
) -> Scout | None:
    """What looks beforehand; None where a stock Open MPIC service looks, which knows of no such thing."""
    if settings.mpic.gateway:
        return None
    return Scout(
        code,
        make_tools(settings, resolver),
        identities(settings),
        frozenset(settings.validation.methods),
        clock,
        public=settings.ca.rules is Rules.PUBLIC,
        canary=bird,
    )


def make_tools(settings: Settings, resolver: Resolver) -> Tools:
    """What the methods look with.  Raises `ConfigurationError`."""
    public, validation = settings.ca.rules is Rules.PUBLIC, settings.validation
    local_names = () if public else settings.ca.local_names

    def host_rule(host: str) -> str:
        return normalise_dns(host, public=public, local_names=local_names)

    return Tools(
        resolver=LocalNames(resolver, local_names),
        dialer=GuardedDialer(),
        policy=AddressPolicy.parse(validation.allowed_networks, validation.barred_networks),
        ports=Ports(validation.http_port, validation.https_port, validation.tls_alpn_port),
        host_rule=host_rule,
        local_names=local_names,
        identities=identities(settings),
        persist_plain=validation.persist_plain,
    )


def identities(settings: Settings) -> frozenset[str]:
    """Our CAA issuer domain names, in lower case."""
    return frozenset(identity.lower() for identity in settings.ca.caa_identities)


def _through_gateway(url: str) -> Callable[..., Checker]:
    from validation.mpic import gateway
    from validation.mpic.peer import Peer

    return partial(gateway.Gateway, Peer(url, gateway.SECONDS))


def passphrase_file(settings: Settings) -> Path | None:
    """Where the passphrase lies when not beside the key."""
    named = settings.validation.key_passphrase_file
    return Path(named) if named else None
