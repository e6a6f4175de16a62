"""renewalInfo: when to renew a certificate (RFC 9773 section 4).  Anyone may ask, and a cache may answer.

Must never: wait for anything but one look into the database; no nonce, no writer, no vault, no Redis.
"""

from __future__ import annotations

from collections.abc import Mapping

from acme_server import cert_id, resources
from acme_server.context import Context
from acme_server.exchange import Reply
from acme_server.problems import not_found
from acme_server.store import renewals
from core.settings import Renewal

STALE = 86400
"""Seconds that a cache may go on with an old answer when we cannot be reached (RFC 5861 section 4)."""


async def show(context: Context, path: Mapping[str, str]) -> Reply:
    """The RenewalInfo object of a certificate."""
    named, settings = cert_id.read(path["certid"]), context.settings.renewal
    found = await context.database.read(lambda reader: renewals.find(reader, named, settings))
    if found is None:
        raise not_found("certificate")
    return Reply(
        content=resources.renewal_info(found.window, found.explanation_url),
        headers=_headers(settings, incidents=found.incidents),
    )


def _headers(settings: Renewal, *, incidents: bool) -> dict[str, str]:
    # Any open incident makes all clients ask sooner: the next certificate that it takes in may be theirs.
    retry_after = settings.retry_after_incident if incidents else settings.retry_after
    return {
        "Retry-After": str(retry_after),
        "Cache-Control": f"public, max-age={settings.max_age}, stale-if-error={STALE}",
    }
