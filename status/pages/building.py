"""All pages of the status process, put together.

RFC 9110.  Each page is an object with `add_to(router)`.
"""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from core.clock import Clock
from core.data_directory import DataDirectory
from core.database import Reader
from core.forwarded import Addresses
from core.randomness import Randomness
from core.report_spool import Spool
from core.settings import Settings
from repo_static.rendering import base_url
from status.ocsp.responder import Responder
from status.pages import secret as secrets_
from status.pages.bounds import Bounds
from status.pages.certificate import CertificatePage
from status.pages.challenge import Challenges
from status.pages.log_names import LogNames
from status.pages.lookup import Lookup
from status.pages.published import Published
from status.pages.receipt import Receipts
from status.pages.report import ReportPage
from status.pages.tls import Tls


class Page(Protocol):
    """Something with routes."""

    def add_to(self, router: web.UrlDispatcher) -> None: ...


def pages(
    settings: Settings,
    data: DataDirectory,
    reader: Reader,
    responder: Responder,
    clock: Clock,
    randomness: Randomness,
) -> tuple[Page, ...]:
    """The pages of one worker.  Raises `ConfigurationError` when the secret cannot be read."""
    secret = secrets_.load(data.status, randomness)
    data.reports.mkdir(parents=True, exist_ok=True, mode=0o700)
    spool = Spool(data.reports)
    bounds = Bounds(Addresses(settings.acme), clock)
    tls = Tls(settings)
    receipts = Receipts(settings, secret, spool, lambda: reader, tls, clock)
    challenges = Challenges(secret, base_url(settings), clock)
    lookup = Lookup(responder, reader, Published(data.repository), LogNames(settings.ct, clock), clock)
    return (
        CertificatePage(settings, lookup, bounds),
        ReportPage(settings, spool, challenges, receipts, bounds, tls, clock, randomness),
        receipts,
    )
