"""The server of OCSP before a real responder, register and index, asked in memory."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

from cryptography.x509 import ocsp

from core.addresses import Blocks
from core.settings import Limits
from status.http.front import Front
from tests.support.wire import Pipe, settle


class Served:
    """A front before a real responder, register and index."""

    def __init__(self, house: Any) -> None:
        self.house = house
        self.keeper: Any = None
        self.front = Front(
            house.responder,
            lambda gone: asyncio.Protocol(),
            Limits(),
            Blocks(),
            house.clock,
            3600,
        )

    async def raw(self, serial: bytes) -> bytes:
        """The response to a POST, on a connection of its own."""
        body = self.house.request(serial)
        pipe = Pipe(self.front())
        pipe.send(
            b"POST /ocsp HTTP/1.1\r\nHost: ca.example\r\nContent-Type: application/ocsp-request\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        await settle()
        written = pipe.written
        pipe.close()
        await settle()
        return written

    async def word(self, serial: bytes) -> str:
        """ "GOOD", "REVOKED", or the error."""
        found = ocsp.load_der_ocsp_response((await self.raw(serial)).partition(b"\r\n\r\n")[2])
        if found.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return found.response_status.name
        return found.certificate_status.name

    def revoke_at_once(self, serial: bytes) -> None:
        """Another process commits while this one does something."""
        other = sqlite3.connect(self.house.data.database)
        other.execute("PRAGMA wal_autocheckpoint = 0")  # or the writer sees that it is not alone
        with other:
            other.execute(
                "INSERT INTO revocations (serial, issuer_id, crl_shard, not_after, revoked_at, reason, cause,"
                " version, changed_at) SELECT serial, issuer_id, crl_shard, not_after, ?, 0, 'a test',"
                " (SELECT coalesce(MAX(version), 0) + 1 FROM revocations), ? FROM certificates"
                " WHERE serial = ?",
                (self.house.clock.latest(), self.house.clock.latest(), serial),
            )
        other.close()
