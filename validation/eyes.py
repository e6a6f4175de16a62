"""What a perspective sees the DNS with: an Unbound of its own, or the resolvers that the settings name.

BR 3.2.2.9 (no result or cache shared between perspectives), 3.2.2.8.1 (DNSSEC); docs/adr/0016.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.randomness import Randomness
from core.settings import Rules, Settings
from validation import anchors, unbound
from validation.own_unbound import HOST, OwnUnbound
from validation.resolver import Resolver, StubResolver, Upstream, upstreams

ANCHOR_FILE = "root.key"
DEFAULT_PROGRAM = "/usr/sbin/unbound"

_log = logging.getLogger(__name__)


@asynccontextmanager
async def opened(
    settings: Settings, data: DataDirectory, code: str, randomness: Randomness
) -> AsyncIterator[Resolver]:
    """The resolver of the perspective `code`, as long as the context lasts; `str` of it says which.

    Raises `ConfigurationError` when it cannot be had or the rules forbid it.
    """
    if not settings.validation.unbound:
        addresses = upstreams(settings.validation.resolvers, settings.ca.rules)
        resolver = StubResolver(addresses, randomness)
        if settings.ca.rules is Rules.PRIVATE:
            _log.warning(
                "private rules: names are asked of %s; whether that validates DNSSEC nobody has examined",
                resolver,
            )
        yield resolver
        return
    program = required(settings)
    directory = data.perspective(code) / "unbound"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    instance = instance_of(settings, directory)
    lines = anchors.read(Path(settings.validation.trust_anchor))
    if settings.ca.rules is Rules.PUBLIC and settings.deployment.production:
        anchors.require_root(lines, settings.validation.trust_anchor)
    # A copy, so that what was examined is what is used.
    instance.anchor.write_text("\n".join(lines) + "\n", encoding="ascii")

    def configuration(port: int) -> str:
        return unbound.configuration(replace(instance, port=port))

    own = OwnUnbound(program, directory, configuration, randomness)
    await own.start()
    keeping = asyncio.create_task(own.keep())
    try:
        yield own
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await own.stop()


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
    include = Path(validation.unbound_include) if validation.unbound_include else None
    if include is not None and not (include.is_absolute() and include.is_file()):
        raise ConfigurationError(
            f"validation.unbound_include: there is no file {include}; write its whole path"
        )
    return unbound.Instance(
        version=unbound.version(shown.stdout),
        directory=directory,
        host=HOST,
        port=0,
        anchor=directory / ANCHOR_FILE,
        allowed=tuple(ip_network(network) for network in validation.allowed_networks),
        include=include,
    )
