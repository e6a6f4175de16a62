"""What a perspective sees the DNS with: an Unbound of its own, or the resolvers that the settings name.

BR 3.2.2.9 (no result or cache shared between perspectives), 3.2.2.8.1 (DNSSEC); docs/adr/0016.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.randomness import Randomness
from core.settings import Rules, Settings
from validation.dns import anchors, unbound
from validation.dns.held_port import HOST
from validation.dns.own_unbound import OwnUnbound
from validation.dns.resolver import Resolver, StubResolver, Upstream, upstreams
from validation.dns.resolver_rules import Unreadable, examine, require_listening

ANCHOR_FILE = "root.key"
DEFAULT_PROGRAM = "/usr/sbin/unbound"
CHECKCONF = "unbound-checkconf"
"""Unbound's own reader of configurations, beside it."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def opened(
    settings: Settings, data: DataDirectory, code: str, randomness: Randomness
) -> AsyncIterator[Resolver]:
    """The resolver of the perspective `code`, as long as the context lasts; `str` of it says which.

    Raises `ConfigurationError` when it cannot be had or the rules forbid it.
    """
    if not settings.validation.unbound:
        yield _named(settings, randomness)
        return
    directory = data.perspective(code) / "unbound"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    instance = _prepared(settings, directory)

    def configuration(port: int) -> str:
        return unbound.configuration(replace(instance, port=port))

    own = OwnUnbound(required(settings), directory, configuration, randomness)
    await own.start()
    keeping = asyncio.create_task(own.keep())
    try:
        yield own
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await own.stop()


def check(settings: Settings) -> None:
    """Require of the resolver what a perspective will require at its start.  Raises `ConfigurationError`."""
    if settings.validation.unbound:
        with TemporaryDirectory() as directory:
            _prepared(settings, Path(directory))
    elif settings.validation.resolver_config:
        _examine_theirs(settings)
    elif settings.validation.resolvers:
        upstreams(settings.validation.resolvers, settings.ca.rules)


def _prepared(settings: Settings, directory: Path) -> unbound.Instance:
    """What an Unbound in `directory` needs, written there and examined.  Raises `ConfigurationError`."""
    instance = instance_of(settings, directory)
    # A copy, as the operator's text is one: what was examined is what is used, at every start.
    lines = anchors.read(Path(settings.validation.trust_anchor))
    instance.anchor.write_text("\n".join(lines) + "\n", encoding="ascii")
    examined = directory / "examined.conf"
    examined.write_text(unbound.configuration(instance), encoding="utf-8")
    checkconf = required(settings).with_name(CHECKCONF)
    _examine(settings, examined, "validation.unbound_include", checkconf)
    return instance


def _examine_theirs(settings: Settings) -> None:
    file = Path(settings.validation.resolver_config)
    checkconf = Path(shutil.which(CHECKCONF, path=f"{os.defpath}:/usr/sbin:/usr/local/sbin") or CHECKCONF)
    _examine(settings, file, "validation.resolver_config", checkconf)
    asked = upstreams(settings.validation.resolvers, settings.ca.rules)
    require_listening(file, asked, checkconf)


def _named(settings: Settings, randomness: Randomness) -> StubResolver:
    """The resolvers that the settings name, or the system's.  Raises `ConfigurationError`."""
    addresses = upstreams(settings.validation.resolvers, settings.ca.rules)
    resolver = StubResolver(addresses, randomness)
    if settings.validation.resolver_config:
        _examine_theirs(settings)
    else:
        _log.warning("names are asked of %s; whether that validates DNSSEC nobody has examined", resolver)
    return resolver


def _examine(settings: Settings, file: Path, setting: str, checkconf: Path) -> None:
    """Public rules bind; private ones may be looser, and say so.  Raises `ConfigurationError`."""
    try:
        examine(file, setting, checkconf, production=settings.deployment.production)
    except Unreadable as error:
        # The file is ours where it holds a copy of the operator's text, which is what there is to mend.
        theirs = settings.validation.unbound_include or str(file)
        raise ConfigurationError(f"{setting}: {str(error).replace(str(file), theirs)}") from error
    except ConfigurationError as error:
        if settings.ca.rules is Rules.PUBLIC:
            raise
        _log.warning("private rules allow a resolver that public rules refuse: %s", error)
    else:
        _log.info("the resolver validates DNSSEC: %s loosens nothing", file)


def printed(settings: Settings) -> str:
    """unbound.conf for an Unbound that the operator runs himself, at the first of `resolvers` or port 53.

    Raises `ConfigurationError`.
    """
    validation = settings.validation
    first = Upstream.parse(validation.resolvers[0] if validation.resolvers else HOST)
    program = replace(settings, validation=replace(validation, unbound=validation.unbound or DEFAULT_PROGRAM))
    instance = instance_of(program, Path("/etc/unbound"))
    return unbound.configuration(
        replace(
            instance, host=first.host, port=first.port, anchor=Path(validation.trust_anchor), user="unbound"
        )
    )


def required(settings: Settings) -> Path:
    """The Unbound that the settings name.  Raises `ConfigurationError` when it is not there."""
    program = Path(settings.validation.unbound)
    if not program.is_absolute() or shutil.which(program) is None:
        raise ConfigurationError(
            f"validation.unbound: there is no program {program}; run scripts/system-packages run, or write "
            "the whole path of yours"
        )
    return program


def instance_of(settings: Settings, directory: Path) -> unbound.Instance:
    """An Unbound in `directory` by the settings, its port still open.  Raises `ConfigurationError`."""
    validation = settings.validation
    shown = subprocess.run(
        [required(settings), "-V"], capture_output=True, text=True, check=False, timeout=10
    )
    return unbound.Instance(
        version=unbound.version(shown.stdout),
        directory=directory,
        host=HOST,
        port=0,
        anchor=directory / ANCHOR_FILE,
        allowed=tuple(ip_network(network) for network in validation.allowed_networks),
        extra=_text(validation.unbound_include),
    )


def _text(include: str) -> str:
    if not include:
        return ""
    try:
        return Path(include).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(
            f"validation.unbound_include: cannot read {include} ({reason}); mend it"
        ) from error
