"""One worker of what bench.status measures: `python -m bench.status_lab KIND LOOP PORT DIRECTORY`.

KIND is "product" (status/http and the responder, as the status process runs them) or a server alone, with its
answers in a dict: "protocol" (status/http), "application" (aiohttp's Application, the oracle of the tests),
"low-level" (aiohttp's web.Server with nothing but OCSP behind it).  All of them answer about the certificates
of one register in DIRECTORY, which `prepare` has made.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import uvloop
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from core import certificates
from core.addresses import Blocks
from core.certificates import Reservation
from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.database import Reader
from core.issuers import Issuer, put_issuer
from core.settings import Settings
from signer.api import OcspRequest
from status import app
from status.http import handed
from status.http.front import Front
from status.ocsp import representation
from status.ocsp import request as ocsp_request
from status.ocsp.answer import Answer
from status.ocsp.index.files import Kept
from status.ocsp.index.index import Index
from status.ocsp.index.records import taken_apart
from status.ocsp.index.writer import Writer
from status.ocsp.request import CertId
from status.ocsp.responder import Responder
from tests.support.database import opened
from tests.support.software_vault import SoftwareVault

ASKED = 1000
"""Certificates that the load asks about, in turn."""

DAY = 86400


def responder(data: DataDirectory, vault: SoftwareVault, clock: SystemClock) -> Responder:
    """The product's own, over the register in `data`."""
    status = Settings().status
    return Responder(
        Reader(data.database),
        vault,
        clock,
        validity=status.ocsp_validity,
        refresh=status.ocsp_refresh,
        index=Index(data.answers, clock),
    )


class Ready:
    """A responder that costs nothing."""

    def __init__(self, answers: Mapping[CertId, Answer]) -> None:
        self.at_hand = answers.get
        self._answers = answers

    async def answer(self, der: bytes, asker: str | None = None) -> Answer:
        return self._answers[ocsp_request.read(der)[0]]


async def prepare(directory: Path) -> list[bytes]:
    """A register with `ASKED` certificates and an index of their answers; the DER requests about them."""
    clock, data = SystemClock(), DataDirectory(directory)
    vault = SoftwareVault(responder_not_after=clock.now() + 30 * DAY)
    data.repository.mkdir()
    info = next(each for each in vault.description().issuers if each.id == "ec1")
    requests = []
    async with opened(directory, clock) as database:  # type: ignore[arg-type]
        issuer = Issuer(info.id, str(info.use), info.algorithm, info.certificate, b"", 1)
        await database.write(lambda tx: put_issuer(tx, issuer))
        for number in range(ASKED):
            serial = (0x4C0FFEE0_00000000_00000000_00000000 + number).to_bytes(16, "big")
            now = clock.now()
            row = Reservation(
                serial.hex(), serial, "ec1", 0, None, None, "tlsserver", ("a.example",), serial * 2, now,
                now + 90 * DAY, {},
            )  # fmt: skip
            await database.write(lambda tx, row=row: certificates.reserve(tx, row))  # type: ignore[misc]
            await database.write(
                lambda tx, row=row: certificates.store(
                    tx, row.id, row.serial, row.not_before, bytes(32), None
                )  # type: ignore[misc]
            )
            built = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
                info.name_sha1, info.key_sha1, int.from_bytes(serial), hashes.SHA1()
            )
            requests.append(built.build().public_bytes(Encoding.DER))
    writer = Writer(data.answers, clock)
    writer.append([await _signed(vault, clock, ocsp_request.read(each)[0]) for each in requests])
    writer.close()
    (directory / "requests.json").write_text(json.dumps([each.hex() for each in requests]))
    return requests


async def _signed(vault: SoftwareVault, clock: SystemClock, asked: CertId) -> Kept:
    now = clock.now()
    wanted = OcspRequest("ec1", asked.serial, asked.hash_name, now, now + 4 * DAY, None, None)
    return taken_apart((await vault.sign_ocsp(wanted)).der, wanted, 0)


async def serve(kind: str, port: int, directory: Path) -> None:
    """Answer until SIGTERM; says "ready" when it does."""
    clock, data = SystemClock(), DataDirectory(directory)
    vault = SoftwareVault(responder_not_after=clock.now() + 30 * DAY)
    real = responder(data, vault, clock)
    requests = [bytes.fromhex(each) for each in json.loads((directory / "requests.json").read_text())]
    ready = {asked: real.at_hand(asked) for asked in (ocsp_request.read(each)[0] for each in requests)}
    if not all(answer is not None and answer.etag for answer in ready.values()):
        raise RuntimeError("not all answers lie ready")
    answers = real if kind == "product" else cast(Responder, Ready(cast(dict[CertId, Answer], ready)))
    loop = asyncio.get_running_loop()
    bound = handed.listening(f"127.0.0.1:{port}", shared=True)
    runner = web.AppRunner(app.build(answers, data.repository, clock), access_log=None)
    await runner.setup()
    assert runner.server is not None
    if kind in ("product", "protocol"):
        front = Front(answers, handed.handler(runner), Settings().limits, Blocks(), clock, app.MAX_AGE)
        keeping = asyncio.create_task(front.look())
        await loop.create_server(front, sock=bound, backlog=1024)
    elif kind == "application":
        keeping = None
        await loop.create_server(runner.server, sock=bound, backlog=1024)
    else:
        keeping = None
        await loop.create_server(_low_level(answers, clock), sock=bound, backlog=1024)
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    del keeping


def _low_level(answers: Responder, clock: SystemClock) -> web.Server:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            der = await request.read()
        else:
            der = ocsp_request.of_path(request.raw_path.removeprefix("/ocsp/"))
        answer = answers.at_hand(ocsp_request.read(der)[0]) or await answers.answer(der)
        fields = representation.fields(answer, clock.now(), app.MAX_AGE)
        return web.Response(body=answer.der, headers=fields)

    return web.Server(handle, access_log=None)  # type: ignore[arg-type]


def main() -> None:
    kind, loop, port, directory = sys.argv[1:]
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(kind, int(port), Path(directory)))


if __name__ == "__main__":
    main()
