"""Erases what reporters of problems wrote, a time after their reports were closed.

What was reported on, proofs, times and decisions stay for the archive's ten years (CP/CPS 5.5.2): they are
what a revocation rests on.  A name, a telephone number and a story are needed until nobody asks any more.
After a restore from a backup the same loop erases again what the backup brought back.

Must never: touch a report that is open; put what it erases anywhere.

BR 5.4.3, 5.5.2; CP/CPS 5.5.2, 9.4; APPI art. 22, GDPR art. 5 (1) (e).
"""

from __future__ import annotations

import logging

from core import report_rows
from core.database import Database, Transaction
from core.loops import for_ever

EVERY = 3600.0
"""Seconds between two looks."""

AT_ONCE = 100
"""Reports in one transaction."""

_ACTOR = "system"
_log = logging.getLogger(__name__)


class Erasure:
    """`keep` is settings.repository.report_personal_data, in seconds."""

    def __init__(self, database: Database, keep: int) -> None:
        self._database = database
        self._keep = keep

    async def run(self) -> None:
        """Look for ever."""
        await for_ever(self.look, EVERY, _log, "personal data of closed problem reports is not erased")

    async def look(self) -> int:
        """Erase what is due; of how many reports.  Raises as `Database.write`."""
        erased = 0
        while True:
            count = await self._database.write(self._unit)
            erased += count
            if count < AT_ONCE:
                break
        if erased:
            _log.info("contact and words of %d closed problem reports are erased", erased)
        return erased

    def _unit(self, tx: Transaction) -> int:
        numbers = report_rows.erase(tx, tx.now - self._keep, AT_ONCE)
        for number in numbers:
            report_rows.add_event(tx, number, _ACTOR, "erased")
            tx.audit("problem-report-erased", _ACTOR, {"number": number})
        return len(numbers)
