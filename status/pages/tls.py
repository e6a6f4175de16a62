"""Reports and receipts by TLS alone, where `repository.report_url` says at which URL.

The status process speaks HTTP, as CRLs and OCSP ask for; a proxy in front of it has the certificate.  What
came to that proxy by TLS is its word, and is believed from `acme.trusted_proxies` alone.

Must never: read a report that came in the clear.

RFC 9110 section 4.2.2; APPI art. 23, GDPR art. 32 (personal data on its way).
"""

from __future__ import annotations

from aiohttp import web

from core.addresses import canonical
from core.forwarded import Addresses
from core.settings import Settings


class Tls:
    """How requests of one worker have come."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.repository.report_url
        self._addresses = Addresses(settings.acme)

    def instead(self, request: web.Request) -> str:
        """Where the same page is by TLS; "" for a request that came so, or need not."""
        peer = canonical(request.remote or "")
        if not self._url or self._addresses.came_by_tls(peer, request.headers):
            return ""
        return f"{self._url}{request.rel_url}"

    def redirect(self, request: web.Request) -> web.Response | None:
        """The answer to a GET that did not come so, else None."""
        url = self.instead(request)
        if not url:
            return None
        return web.Response(status=307, headers={"Location": url, "Cache-Control": "no-store"})
