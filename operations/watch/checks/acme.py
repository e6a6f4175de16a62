"""The ACME server as a client meets it first: directory, nonces, renewal information.

RFC 8555 sections 7.1.1, 7.2; RFC 9773; Chrome's policy 1.3.3.1.1 (what must be offered).
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from cryptography import x509

from operations.subscriber.client import cert_id
from operations.watch.fetch import Fetcher, must_be_quick
from operations.watch.finding import Wrong

RESOURCES = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo")
_SERVER = "see the ACME server's log, and what stands in front of it"


async def directory(fetcher: Fetcher, url: str) -> dict[str, Any]:
    """The directory, with everything that a client needs.  Raises `Wrong`."""
    got = await fetcher.get(url)
    try:
        found = json.loads(got.octets)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Wrong("the directory is no JSON object", _SERVER)
    missing = [each for each in RESOURCES if not isinstance(found.get(each), str)]
    if missing:
        raise Wrong(f"the directory has no {', '.join(missing)}", _SERVER)
    must_be_quick(got, url)
    return found


async def nonces(fetcher: Fetcher, url: str) -> str:
    """Two nonces, fresh and different.  Raises `Wrong`."""
    found = []
    for _ in range(2):
        got = await fetcher.ask("HEAD", url, fit=(200, 204))
        if "no-store" not in got.headers.get("Cache-Control", ""):
            raise Wrong("newNonce may be cached: it has no Cache-Control: no-store", _SERVER)
        found.append(got.headers.get("Replay-Nonce", ""))
    if not all(found):
        raise Wrong("newNonce gives no Replay-Nonce", _SERVER)
    if found[0] == found[1]:
        raise Wrong("newNonce gave the same nonce twice", "a cache in front keeps what it must not")
    return "two fresh nonces"


async def renewal_info(
    fetcher: Fetcher, base: str, leaf: x509.Certificate, now: int, *, revoked: bool
) -> str:
    """ARI of a certificate: a window, before its end; in the past for a `revoked` one.  Raises `Wrong`."""
    got = await fetcher.get(f"{base}/{cert_id(leaf)}")
    try:
        window = json.loads(got.octets)["suggestedWindow"]
        start, end = (datetime.fromisoformat(str(window[each])).timestamp() for each in ("start", "end"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Wrong("renewalInfo has no window that can be read", _SERVER) from error
    if not got.headers.get("Retry-After", "").isdigit():
        raise Wrong("renewalInfo has no Retry-After, which clients take for an error", _SERVER)
    if not start < end or (not revoked and end > leaf.not_valid_after_utc.timestamp()):
        raise Wrong("renewalInfo's window is empty, or ends after the certificate", "see [renewal]")
    if revoked and start > now:
        raise Wrong("renewalInfo of a revoked certificate lies in the future", _SERVER)
    when = datetime.fromtimestamp(start, tz=leaf.not_valid_after_utc.tzinfo)
    return f"renewal from {when:%Y-%m-%d %H:%M} UTC"
