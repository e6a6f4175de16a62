"""The process of the test sites: an account, some certificates, a TLS port, and no access to the database.

Must never: stop the CA: whatever fails here is said in the log and tried again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp

from core import sites
from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.randomness import Randomness
from core.settings import Settings
from core.sites import Site
from operations.sites import pages
from operations.sites.keeper import Keeper
from operations.sites.shelf import SHOWN, Shelf
from operations.subscriber.account import binding
from operations.subscriber.client import AcmeClient
from operations.subscriber.front import Front
from operations.subscriber.local_names import connector
from operations.subscriber.order import Orders

_log = logging.getLogger(__name__)


class Shown:
    """What visitors get: for each host its TLS context and page."""

    def __init__(self, shelf: Shelf, settings: Settings) -> None:
        self._shelf = shelf
        self._settings = settings
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._pages: dict[str, bytes] = {}

    def refresh(self, site: Site) -> None:
        """Show what lies on the shelf for `site` now."""
        held = self._shelf.held(site.name, SHOWN)
        if held is None:
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(held.path)
        except (OSError, ssl.SSLError) as error:
            _log.error("%s cannot be shown: %s: %s", site.name, held.path, error)
            return
        self._pages[site.name] = pages.page(site, held, self._settings)
        self._contexts[site.name] = context

    def context(self, host: str) -> ssl.SSLContext | None:
        return self._contexts.get(host)

    async def serve(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await pages.answer(self._pages[host], reader, writer)


async def serve(
    settings: Settings,
    data: DataDirectory,
    clock: Clock,
    randomness: Randomness,
    ready: Callable[[], None],
) -> None:
    """Serve until cancelled; `ready` is called once the port is open, whatever certificates there are."""
    shelf = Shelf(data.sites)
    shown = Shown(shelf, settings)
    all_sites = sites.sites(settings)
    for site in all_sites:
        shown.refresh(site)
    front = Front(shown.context, shown.serve, clock)
    try:
        await front.listen(settings.test_sites.listen)
    except OSError as error:
        raise ConfigurationError(f"test_sites.listen: {error}: free the port, or name another") from error
    http = aiohttp.ClientSession(connector=connector(trust(data.trust_anchor)))
    try:
        ready()
        directory = f"{settings.acme.base_url}/directory"
        client = AcmeClient(http, directory, shelf.account.key(), shelf.account.url)
        keeper = Keeper(
            client,
            Orders(client, front, clock),
            shelf,
            settings.test_sites,
            clock,
            randomness,
            shown.refresh,
            lambda: binding(settings.test_sites.binding_file, "test_sites.binding_file"),
        )
        _log.info("test sites on %s", ", ".join(settings.test_sites.listen))
        async with asyncio.TaskGroup() as keeping:
            for site in all_sites:
                keeping.create_task(keeper.keep(site))
    finally:
        await http.close()
        await front.close()


def trust(anchor: Path) -> ssl.SSLContext:
    """Of the ACME directory: its certificate comes from us or, behind a proxy, from whom the world trusts."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(anchor)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the trust anchor {anchor} cannot be read: {error}") from error
    return context
