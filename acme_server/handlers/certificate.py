"""Certificate download (RFC 8555 section 7.4.2): the certificate first, then its issuers without the root.

Where the issuer has several chains, each has a URL of its own, and every answer links to the others.
"""

from __future__ import annotations

import base64

from acme_server.authentication import must_be_owner
from acme_server.context import Context
from acme_server.exchange import ByAccount, Reply
from acme_server.problems import not_found
from core import certificates

CONTENT_TYPE = "application/pem-certificate-chain"

_ALTERNATES = frozenset("123456789")


async def show(context: Context, request: ByAccount) -> Reply:
    """The chain in PEM, to the account that it was issued to."""
    wanted = request.path["id"]
    found = await context.database.read(lambda reader: certificates.by_id(reader, wanted))
    if found is None or found.certificate is None or found.account_url is None:
        raise not_found("certificate")
    must_be_owner(request, context.urls.account_id(found.account_url) or "", "certificate")
    chains = context.chains[found.issuer_id]
    chosen = _number(request.path.get("chain"))
    if chosen >= len(chains):
        raise not_found("chain")
    others = [number for number in range(len(chains)) if number != chosen]
    return Reply(
        content=_pem(found.certificate) + chains[chosen],
        content_type=CONTENT_TYPE,
        links=tuple(("alternate", context.urls.certificate(wanted, number)) for number in others),
    )


def _number(segment: str | None) -> int:
    """Which chain a URL asks for: the default has none, the alternates have one digit from 1."""
    if segment is None:
        return 0
    if segment not in _ALTERNATES:
        raise not_found("chain")
    return int(segment)


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n"
