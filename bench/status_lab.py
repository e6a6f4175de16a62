"""One worker of what bench.status measures: `python -m bench.status_lab KIND LOOP PORT DIRECTORY`.

KIND is "product" (status/http and the responder, as the status process runs them) or a server alone, with its
answers in a dict: "protocol" (status/http), "application" (aiohttp's Application, the oracle of the tests),
"low-level" (aiohttp's web.Server with nothing but OCSP behind it).  All of them answer about the certificates
of one register in DIRECTORY, which `prepare` has made.

The answers lie in segments, as those of a running CA do.  One of them is signed, the signatures of the others
are made up: nothing that is measured looks at them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import uvloop
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from core import certificates
from core.addresses import Blocks
from core.answerable import Place
from core.certificates import Reservation
from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.database import Transaction
from core.issuers import Issuer, put_issuer
from core.reader import PatientReader
from core.settings import Settings
from signer.api import OcspRequest
from status import app
from status.http import handed
from status.http.front import Front
from status.ocsp import representation
from status.ocsp import request as ocsp_request
from status.ocsp.answer import Answer
from status.ocsp.index.index import Index
from status.ocsp.index.records import key_of, start_of, taken_apart
from status.ocsp.index.writer import Piece, Writer
from status.ocsp.request import CertId
from status.ocsp.responder import Responder
from tests.support.database import opened
from tests.support.software_vault import SoftwareVault

HOT, WIDE = 1_000, 100_000
"""Certificates in the register, all of which the load asks about."""

DAY = 86400
_SERIALS = 8192
"""Of a segment, as the keeper has them."""


def responder(data: DataDirectory, vault: SoftwareVault, clock: SystemClock) -> Responder:
    """The product's own, over the register in `data`."""
    status = Settings().status
    return Responder(
        PatientReader(data.database, 5, clock),
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
        self.seen = ()

    def look(self) -> None: ...

    async def answer(self, der: bytes, asker: str | None = None) -> Answer:
        return self._answers[ocsp_request.read(der)[0]]


async def prepare(directory: Path, count: int = HOT) -> list[bytes]:
    """A register with `count` certificates and an index of their answers; the DER requests about them."""
    clock, data, chance = SystemClock(), DataDirectory(directory), random.Random(1)
    vault = SoftwareVault(responder_not_after=clock.now() + 30 * DAY)
    data.repository.mkdir(parents=True)
    info = next(each for each in vault.description().issuers if each.id == "ec1")
    serials = sorted(b"\x01" + chance.randbytes(16) for _ in range(count))
    async with opened(directory, clock) as database:  # type: ignore[arg-type]
        issuer = Issuer(info.id, str(info.use), info.algorithm, info.certificate, b"", 1)
        await database.write(lambda tx: put_issuer(tx, issuer))
        for at in range(0, count, _SERIALS):
            await database.write(lambda tx, at=at: _issue(tx, serials[at : at + _SERIALS]))  # type: ignore[misc]
    now = clock.now()
    wanted = OcspRequest("ec1", serials[0], "sha1", now, now + 4 * DAY, None, None)
    frame, record = taken_apart((await vault.sign_ocsp(wanted)).der, wanted, 0)
    writer = Writer(data.answers, clock)
    for number, at in enumerate(range(0, count, _SERIALS)):
        answers = [
            (frame, record._replace(key=key_of(serial, "sha1"), signature=chance.randbytes(71)))
            for serial in serials[at : at + _SERIALS]
        ]
        following = serials[at + _SERIALS :][:1]
        rest = start_of(following[0]) if following else None
        writer.replace(number, Piece(answers, now, Place(0, "", 0), 0, rest))
    writer.close()
    whole = (
        ocsp.OCSPRequestBuilder()
        .add_certificate_by_hash(
            info.name_sha1, info.key_sha1, int.from_bytes(serials[0], "big"), hashes.SHA1()
        )
        .build()
        .public_bytes(Encoding.DER)
    )
    requests = [whole.replace(serials[0], serial) for serial in chance.sample(serials, count)]
    (directory / "requests.json").write_text(json.dumps([each.hex() for each in requests[:HOT]]))
    return requests


def _issue(tx: Transaction, serials: Sequence[bytes]) -> None:
    for serial in serials:
        row = Reservation(
            serial.hex(), serial, "ec1", 0, None, None, "tlsserver", ("a.example",), serial * 2, tx.now,
            tx.now + 90 * DAY, {},
        )  # fmt: skip
        certificates.reserve(tx, row)
        certificates.store(tx, row.id, row.serial, row.not_before, bytes(32), None)


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
