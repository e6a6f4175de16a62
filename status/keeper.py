"""The keeper: the one process that signs OCSP answers ahead, renews them, and writes the index.

It finds all that it has to do in the register, and writes nothing but the index and the word about itself
(`run/keeper.json`).  While the vault is locked or away, what is published stays, and it tries again with
back-off, louder as the first nextUpdate comes near.  After a crash it goes on where it was.

Must never: let an answer pass its nextUpdate in silence.

BR 4.9.10; requirements 2.67; docs/adr/0033.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from functools import partial

from core import register_mark
from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import CaError, ConfigurationError
from core.randomness import Randomness
from core.reader import OtherRegister, SteadyReader
from core.settings import Settings
from signer.client import Vault
from status import keeper_state
from status.keeper_state import KeeperState
from status.ocsp import exported
from status.ocsp.exported import Exported
from status.ocsp.index.writer import Writer
from status.ocsp.keeping import Batches, Pause
from status.ocsp.news import News
from status.ocsp.rounds import Rounds
from status.ocsp.signing import AnswerSigner

LOOK_EVERY = 1.0
"""Seconds between two looks at the register: a revocation has its answer within two of them."""

REPORT_EVERY = 5.0
SWEEP_EVERY = 300.0
LONGEST_WAIT = 60.0
"""Seconds between two looks for something urgent."""

LONGEST_BACK_OFF = 10.0
"""Seconds between two tries while the vault is away: a try is one small call, and when people have opened the
vault what waits is signed well within a minute."""

_log = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    data: DataDirectory,
    clock: Clock,
    randomness: Randomness,
    ready: Callable[[], None],
) -> None:
    """Keep the index until cancelled; `ready()` is called once it is open.

    Raises `ConfigurationError`; `OtherRegister` when a backup was put in the place of the database.
    """
    with contextlib.closing(Keeper(settings, data, clock)) as keeper:
        ready()
        try:
            await keeper.run()
        except ExceptionGroup as group:
            other = group.subgroup(OtherRegister)
            raise (group if other is None else other.exceptions[0]) from None
        finally:
            await keeper.vault.close()


class Keeper:
    """The parts and their loops."""

    def __init__(
        self, settings: Settings, data: DataDirectory, clock: Clock, vault: Vault | None = None
    ) -> None:
        status = settings.status
        self.vault = Vault(data.vault_socket, owner=data.vault) if vault is None else vault
        self._clock = clock
        self._status = status
        self._path = data.keeper_state
        self._reader = SteadyReader(
            data.database,
            settings.database.busy_timeout,
            clock,
            partial(register_mark.heed, data.register_mark, clock),
        )
        self.writer = Writer(data.answers, clock)
        signer = AnswerSigner(self._reader, self.vault, clock, status.ocsp_validity)
        batches = Batches(signer, self.writer, clock, status.ocsp_refresh)
        self._exported: Exported | None = None
        if status.ocsp_files:
            self._exported = Exported(data.ocsp_files, self.writer.index, clock)
        else:
            exported.remove(data.ocsp_files)
        change = self._exported.changed if self._exported else lambda gone, made: None
        self.news = News(self._reader, batches, self.writer, clock, change)
        self.rounds = Rounds(self._reader, batches, signer, self.writer, clock, status, self._pause, change)
        self._troubles: dict[str, str] = {}

    async def run(self) -> None:
        """For ever."""
        if self._exported:
            self._exported.begin()
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._repeat("news", self._look, asyncio.sleep))
            loops.create_task(self._repeat("rounds", self._turn, self._pause))
            loops.create_task(self._report())
            if self._exported:
                loops.create_task(self._sweep(self._exported))

    def state(self) -> KeeperState:
        """How the answers are."""
        now, segments = self._clock.latest(), self.writer.catalogue.segments
        listed = [each for each in segments if each.records]
        return KeeperState(
            at=now,
            answers=sum(each.records for each in segments) + self.writer.index.tail_records,
            segments=len(segments),
            oldest=min((each.made_at for each in listed), default=now),
            until=min((each.until for each in listed if each.until), default=0),
            overdue=self.rounds.overdue(now),
            refused=self.rounds.refused(),
            waiting=self.news.behind,
            signed=self.rounds.signed,
            trouble="; ".join(self._troubles.values()),
        )

    def close(self) -> None:
        self.writer.close()
        self._reader.close()

    async def _look(self) -> float:
        await self.news.look()
        return LOOK_EVERY

    async def _turn(self) -> float:
        return min(await self.rounds.turn(), LONGEST_WAIT)

    async def _pause(self, seconds: float) -> None:
        """Wait, or until something is urgent."""
        until = self._clock.monotonic() + seconds
        await asyncio.sleep(0)
        while (left := until - self._clock.monotonic()) > 0 and not self.rounds.is_urgent():
            await asyncio.sleep(min(left, LOOK_EVERY))

    async def _repeat(
        self, name: str, step: Callable[[], Coroutine[None, None, float]], pause: Pause
    ) -> None:
        wait = LOOK_EVERY
        while True:
            try:
                after = await step()
                self._troubles.pop(name, None)
                wait = LOOK_EVERY
                await pause(after)
            except ConfigurationError:
                raise
            except CaError as error:
                wait = min(wait * 2, LONGEST_BACK_OFF)
                if self._troubles.get(name) != str(error):
                    _log.warning("%s: %s; tried again", name, error)
                self._troubles[name] = str(error)
                await asyncio.sleep(wait)

    async def _report(self) -> None:
        said = ""
        while True:
            state: KeeperState | None = None
            with contextlib.suppress(CaError):  # a clock that stepped back: the other loops say so
                state = self.state()
            if state is not None:
                keeper_state.write(self._path, state)
                alarm = state.alarm(self._status, state.at)
                if alarm and alarm.partition(":")[0] != said:
                    _log.critical("%s", alarm)
                said = alarm.partition(":")[0]
            await asyncio.sleep(REPORT_EVERY)

    async def _sweep(self, files: Exported) -> None:
        while True:
            files.sweep()
            await asyncio.sleep(SWEEP_EVERY)
