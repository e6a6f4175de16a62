"""What an answer of renewalInfo costs the front, by itself and over HTTP (docs/adr/0025).

usage: python -m bench.renewal_info [CERTIFICATES]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from acme_server import app
from acme_server.cert_id import CertId, read
from acme_server.http import Request
from core.database import Transaction
from tests.support.acme_client import cert_id
from tests.support.acme_front import Front, running

CERTIFICATES = 10_000
ASKED = 20_000
CONNECTIONS = 16
PIPELINED = 8
SECONDS = 5.0


async def certificates(front: Front, count: int) -> list[str]:
    """The paths of some of `count` certificates, in no order: copies of one with other serial numbers."""
    _, leaf = await front.issued(await front.subscriber(), "www.example.com")

    def fill(tx: Transaction) -> None:
        row = tx.one("SELECT * FROM certificates")
        assert row is not None
        columns = row.keys()
        statement = (
            f"INSERT INTO certificates ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        )
        for number in range(count - 1):
            own = {"id": f"copy-{number}", "serial": b"\x10" + os.urandom(15), "request_id": None}
            tx.execute(statement, [own.get(column, row[column]) for column in columns])

    await front.database.write(fill)
    key_id = read(cert_id(leaf)).key_id
    rows = front.database.reader.all("SELECT serial FROM certificates ORDER BY random() LIMIT ?", (ASKED,))
    return [f"/acme/renewal-info/{CertId(key_id, row['serial'])}" for row in rows]


async def by_itself(front: Front, paths: list[str]) -> float:
    """Microseconds of an answer, without HTTP."""
    answers = app.build(front.context)
    requests = [Request("GET", path, {}, b"", "127.0.0.1") for path in paths]
    began = time.process_time()
    for request in requests:
        assert (await answers.answer(request)).status == 200
    return (time.process_time() - began) / len(requests) * 1e6


async def over_http(front: Front, paths: list[str]) -> float:
    """Answers a second; client and server share one core, so the server alone makes more."""
    requests = [f"GET {path} HTTP/1.1\r\nHost: ca.test\r\n\r\n".encode() for path in paths]
    until, done = time.perf_counter() + SECONDS, 0

    async def ask(at: int) -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", int(front.at.rpartition(":")[2]))
        while time.perf_counter() < until:
            writer.write(b"".join(requests[(at + number) % len(requests)] for number in range(PIPELINED)))
            for _ in range(PIPELINED):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
            done, at = done + PIPELINED, at + PIPELINED
        writer.close()

    await asyncio.gather(*(ask(number * 1000) for number in range(CONNECTIONS)))
    return done / SECONDS


async def main(count: int) -> None:
    """Measure and tell."""
    with tempfile.TemporaryDirectory() as directory:
        async with running(Path(directory), lambda settings: settings) as front:
            paths = await certificates(front, count)
            alone, served = await by_itself(front, paths), await over_http(front, paths)
    print(f"{count} certificates: {alone:.0f} us by itself; {served:.0f}/s over HTTP, the client included")


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else CERTIFICATES))
