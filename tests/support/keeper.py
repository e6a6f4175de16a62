"""The two halves of the OCSP keeper beside a house of tests/status, without its loops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cryptography.x509 import ocsp

from core.database import Reader
from status.ocsp.index.index import Index
from status.ocsp.index.writer import Writer
from status.ocsp.keeping import Batches
from status.ocsp.news import News
from status.ocsp.request import read
from status.ocsp.responder import Responder
from status.ocsp.rounds import Rounds
from status.ocsp.signing import AnswerSigner
from tests.support.software_vault import DAY


@dataclass
class Kept:
    """A house with a keeper, and its workers that read the index."""

    house: Any
    serials: int = 4
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        house, status = self.house, self.house.settings.status
        house.vault.renew_responders(house.clock.now() + 14 * DAY)
        self.reader = Reader(house.data.database)
        self.writer = Writer(house.data.answers, house.clock, tail_records=16)
        signer = AnswerSigner(self.reader, house.vault, house.clock, status.ocsp_validity)
        batches = Batches(signer, self.writer, house.clock, status.ocsp_refresh)
        self.news = News(self.reader, batches, self.writer, house.clock)
        self.rounds = Rounds(
            self.reader, batches, signer, self.writer, house.clock, status, self._pause, serials=self.serials
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def work(self) -> None:
        """Look, and make all visits that are due now."""
        await self.news.look()
        for _ in range(200):
            if await self.rounds.turn() > 0:
                return
        raise AssertionError("the rounds find no end")

    def stop(self) -> None:
        self.writer.close()
        self.reader.close()

    def ready(self, serial: bytes, issuer_id: str = "ec1", hash_name: str = "sha256") -> Any:
        """What lies ready for a worker that starts now, or None."""
        house, status = self.house, self.house.settings.status
        worker = Responder(
            house.reader,
            house.vault,
            house.clock,
            validity=status.ocsp_validity,
            refresh=status.ocsp_refresh,
            index=Index(house.data.answers, house.clock, every=0),
        )
        [asked] = read(house.request(serial, issuer_id, hash_name))
        answer = worker.at_hand(asked)
        return None if answer is None else ocsp.load_der_ocsp_response(answer.der)
