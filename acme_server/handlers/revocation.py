"""revokeCert (RFC 8555 section 7.6)."""

from __future__ import annotations

from acme_server import jws
from acme_server.context import Context
from acme_server.exchange import ByAccount, ByKey, Reply, text
from acme_server.registration import revocation
from core.database import Transaction


async def revoke(context: Context, request: ByAccount | ByKey) -> Reply:
    """Revoke a certificate; the answer is sent once the revocation is durable."""
    der = jws.decode_base64url(text(request.members, "certificate"), "certificate")
    reason = revocation.reason(request.members.get("reason"))
    serial = revocation.serial_of(der)

    def unit(tx: Transaction) -> None:
        revocation.revoke(tx, der, serial, reason, request)

    await context.database.write(unit, at_any_time=True)  # BR 4.9.3: 24x7
    context.wake_jobs()  # the vault may have to hear of a compromised key
    context.on_revocation()
    return Reply()
