"""Takes problem reports from the status process's spool into the register, and acts on what is proven.

The report's row, its audit record and all that follows from a proven compromise are one transaction; the file
goes after it, so a crash in between repeats nothing and loses nothing.  The app checks each proof itself: the
web process that wrote the file is believed in nothing.

Must never: act on a mere word; remove a file whose report is not committed.

BR 4.9.1.1, 4.9.3, 4.9.5, 4.9.12; requirements 1.04, 2.60.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from acme_server.registration import compromise
from core import key_proofs, report_rows, revocations
from core.causes import Cause
from core.database import Database, Transaction
from core.errors import CaError, Refused
from core.key_proofs import NoProof
from core.loops import for_ever
from core.problem_reports import Filed
from core.report_spool import Spool
from status.restored import outside, put_back

EVERY = 1.0
"""Seconds between two looks at a directory that is nearly always empty: some microseconds each."""

ACTOR = "problem report page"

_log = logging.getLogger(__name__)


class Intake:
    """`ca` is the repository's base URL, which challenges name; the wakers are called after the commit."""

    def __init__(
        self,
        directory: Path,
        database: Database,
        ca: str,
        on_revocation: Callable[[], None],
        wake_jobs: Callable[[], None],
    ) -> None:
        self._spool = Spool(directory)
        self._database = database
        self._ca = ca
        self._on_revocation = on_revocation
        self._wake_jobs = wake_jobs

    async def run(self) -> None:
        """Take up for ever."""
        await for_ever(self.look, EVERY, _log, "problem reports wait in the spool")

    async def look(self) -> int:
        """Take up all that waits; how many reports were new.  Raises as `Database.write`; OSError."""
        new = 0
        for number in self._spool.waiting():
            try:
                filed = self._spool.read(number)
            except CaError as error:
                _log.critical("%s", error)
                self._spool.set_aside(number)
                continue
            if filed is None:
                continue
            new += await self._take(filed)
            self._spool.remove(number)
        return new

    async def _take(self, filed: Filed) -> bool:
        # A clock that stepped back keeps no report waiting, and no revocation (BR 4.9.3).
        taken = await self._database.write(lambda tx: take_up(tx, filed, self._ca), at_any_time=True)
        if taken:
            _log.warning("problem report %s: acme-server reports show %s", filed.number, filed.number)
        if filed.proof is not None:
            self._on_revocation()
            self._wake_jobs()
        return taken


def take_up(tx: Transaction, filed: Filed, ca: str) -> bool:
    """The report, and what follows from its proof; False when the register has it already."""
    # Nor is it believed that the clocks begin later than now.
    filed = replace(filed, received_at=min(filed.received_at, tx.now))
    if not report_rows.insert(tx, filed, actor=ACTOR):
        return False
    if filed.proof is None:
        return True
    try:
        key_proofs.check(filed.proof, ca)
    except NoProof as error:
        # The page had checked it: somebody else wrote the file, or the base URL has changed since.
        report_rows.add_event(tx, filed.number, ACTOR, "no-proof", str(error))
        tx.audit("problem-report-no-proof", ACTOR, {"number": filed.number})
        return True
    spki_sha256 = hashlib.sha256(filed.proof.spki).digest()
    cause = f"key compromise proven by problem report {filed.number} ({filed.proof.form})"
    for der in filed.certified:
        _bring_in(tx, der, filed.proof.spki, cause)
    found = compromise.prove(tx, spki_sha256, cause, actor=ACTOR)
    report_rows.prove(tx, filed.number, spki_sha256)
    report_rows.decide(tx, filed.number, Cause.KEY_COMPROMISE, "")
    note = f"{len(found.revoked)} revoked, {len(found.upgraded)} given the reason keyCompromise"
    report_rows.add_event(tx, filed.number, ACTOR, "proven", f"{filed.proof.form}: {note}")
    tx.audit(
        "problem-report-proven",
        ACTOR,
        {
            "number": filed.number,
            "form": filed.proof.form,
            "spki_sha256": spki_sha256.hex(),
            "revoked": [each.hex() for each in found.revoked],
            "upgraded": [each.hex() for each in found.upgraded],
        },
    )
    return True


def _bring_in(tx: Transaction, der: bytes, spki: bytes, cause: str) -> None:
    """A certificate with the proven key, of which the register may know the serial number alone, or nothing.

    So it is with what was put back after a restore.  It counts if one of our issuers signed it.
    """
    try:
        said, its_key = outside.certificate(tx, der, tx.now)
    except Refused:
        return
    if its_key != spki or said.until < tx.now:
        return
    if revocations.status_of(tx, said.serial) is None:
        put_back.put_back(tx, said, cause)
    put_back.learn_key(tx, said.serial, hashlib.sha256(spki).digest())
