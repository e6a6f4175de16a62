"""The issuance cycle outside of the vault, steps (3) to (8) of docs/issuance.md.

An approved request becomes a certificate in the register, or nothing.  The register's row is there before the
vault is asked (3), and the vault's journal decides after a crash (settlement.py).  So a call may be repeated
at any time, and at most one certificate of a request is ever given to `finish`.  With Certificate
Transparency a precertificate comes first (5), and waits in the register until the logs have answered (6).

Must never: know orders; hold a transaction open while the vault is asked; use a serial number twice.

RFC 8555 section 7.4; BR 4.3.1, 4.9.9, 7.1.2.7; CPS 4.3.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from core import certificates, gaps, jobs, precertificates, revocations
from core.certificates import Certificate, State
from core.clock import Clock
from core.database import Database, Transaction
from core.errors import CaError, HaltIssuance, Refused, TransientError
from core.randomness import Randomness
from core.settings import Settings
from signer import steps
from signer.api import Description, FinalRequest, Issued, LeafRequest, Prepared
from signer.client import Vault
from signer.ct import finals
from signer.drawing import Approved, Drawing, reserve
from signer.reconciliation import Reconciliation
from signer.settlement import settle
from signer.standby import Standby

__all__ = ["Approved", "Finish", "Issuance", "Logs"]

RECONCILE_EVERY = 60
"""Seconds between two anchors of the vault's journal in the audit log: what is cut off behind the last one is
not missed.  A responder that the vault renewed is in the register as soon."""

Finish = Callable[[Transaction, str], None]

_log = logging.getLogger(__name__)


class Logs(Protocol):
    """What the cycle needs of signer.ct.submission.Logs."""

    def must_be_possible(self, not_before: int, not_after: int) -> None:
        """Raise `TransientError` when SCTs are not to be had now: the log list, or logs that failed."""

    async def collect(self, precertificate: bytes, chain: Sequence[bytes], since: int) -> tuple[bytes, ...]:
        """Verified, encoded SCTs not older than `since`; enough of them, or `TransientError`."""


class Issuance:
    """Carries approved requests through the vault into the register."""

    def __init__(
        self,
        vault: Vault,
        database: Database,
        settings: Settings,
        clock: Clock,
        randomness: Randomness,
        logs: Logs | None = None,
        heed: Callable[[Description], None] = lambda description: None,
        permit: Callable[[int], None] = lambda now: None,
    ) -> None:
        """`logs` where certificates carry SCTs, as the vault's own settings must say too.

        `heed` hears what the vault says of itself before anything is issued under it.  `permit` raises
        `HaltIssuance` where the CA's own rules let nothing be begun now.
        """
        self._vault = vault
        self._database = database
        self._settings = settings
        self._clock = clock
        self._drawing = Drawing(settings, clock, randomness)
        self._logs = logs
        self._heed = heed
        self._permit = permit
        self._description: Description | None = None
        self._under_way: set[str] = set()
        self._reconciling = asyncio.Lock()
        self._halt: HaltIssuance | None = None
        self._standby = Standby(vault)
        self._reconciliation = Reconciliation(vault, database, settings)

    async def issue(self, approved: Approved, finish: Finish) -> str:
        """Issue a certificate; its id in the register.

        `finish(tx, id)` runs in the very transaction that stores the certificate; it may run once more for
        the same id when a call is repeated.  Raises `Refused` when the vault said no (nothing was signed);
        `TransientError` and `HaltIssuance` when it is not known or not possible now: call again.
        """
        self._must_agree()
        for row in certificates.by_request(self._database.reader, approved.request_id):
            if self._is_open(row):
                row = await self._settle(row)
            if row.state is State.ISSUED:
                await self._database.write(partial(_finish, finish=finish, id=row.id))
                return row.id
            if precertificates.is_open(self._database.reader, row):
                if self._logs is not None:
                    return await self._follow(row, finish)
                await self._give_up(row.id, "Certificate Transparency was turned off")
        return await self._begin(approved, finish)

    async def withdraw(
        self, request_id: str, delivered: str | None, finish: Callable[[Transaction], None]
    ) -> None:
        """The request has ended: what was issued for it, and is not the `delivered` id, is revoked.

        Nobody was given such a certificate, so nobody else would ever revoke it.  `finish(tx)` runs in the
        transaction of that.  May be repeated.  Raises as `issue`.
        """
        self._must_agree()
        for row in certificates.by_request(self._database.reader, request_id):
            if self._is_open(row):
                await self._settle(row)

        def unit(tx: Transaction) -> None:
            for row in certificates.by_request(tx, request_id):
                precertificates.give_up(tx, row.id, _SPARE)
                spare = row.state is State.ISSUED and row.id != delivered
                if spare and revocations.of(tx, row.serial) is None:
                    revocations.revoke(tx, row.serial, revocations.UNSPECIFIED, _SPARE)
            finish(tx)

        await self._database.write(unit)

    async def chain_of(self, issuer_id: str) -> tuple[bytes, ...]:
        """The certificates of an issuer up to the root, in DER, its own first."""
        for issuer in (await self._describe()).issuers:
            if issuer.id == issuer_id:
                return issuer.chain
        raise TransientError(f"the vault does not tell of issuing CA {issuer_id} (any more)")

    @property
    def halted(self) -> str:
        """Why nothing is issued until a person has acted; "" when nothing is wrong."""
        try:
            self._must_agree()
        except HaltIssuance as halt:
            return str(halt)
        return ""

    async def reconcile(self) -> None:
        """Bring register and journal together; at start before any job runs, and every now and then.

        The issuers are put into the register, rows left *reserved* by a crash are settled, serial numbers
        that only the journal knows are entered, and the journal's head is anchored in the audit log.
        Raises `HaltIssuance` when the journal is not the one that was anchored: nothing is issued then until
        a later reconciliation succeeds.
        """
        async with self._reconciling:
            try:
                await self._reconcile()
            except HaltIssuance as halt:
                self._halt = halt
                raise
            self._halt = None

    async def run(self) -> None:
        """Reconcile from time to time, until cancelled."""
        while True:
            await asyncio.sleep(RECONCILE_EVERY)
            await self._try_to_reconcile()

    async def local_service(self, serial: bytes, public_key: bytes) -> Issued:
        """A TLS certificate for our own directory, entered in the register like every other.

        While journal and register disagree it is entered later: the directory is where subscribers revoke.
        """
        issued = await self._vault.local_service(serial, public_key)
        await self._try_to_reconcile()
        return issued

    async def _try_to_reconcile(self) -> None:
        try:
            await self.reconcile()
        except TransientError as error:
            _log.warning("the vault's journal is not followed now: %s", error)
        except CaError as error:
            _log.critical("register and vault journal disagree: %s", error)

    async def _reconcile(self) -> None:
        await self.refresh()
        # First whether it is the journal that we know: one that was cut would say "no intent" of serial
        # numbers that were used.
        await self._reconciliation.follow_journal()
        for id in self._reconciliation.reserved():
            row = certificates.by_id(self._database.reader, id)
            if row is not None and row.state is State.RESERVED and id not in self._under_way:
                await self._settle(row)

    def _must_agree(self) -> None:
        if self._halt is not None:
            raise HaltIssuance(f"register and vault journal disagree: {self._halt}")
        gaps.must_be_none(self._database.reader)

    async def _begin(self, approved: Approved, finish: Finish) -> str:
        self._permit(self._clock.now())
        await self._standby.must_be_able()
        description = await self._describe()
        if description.ct is not (self._logs is not None):
            raise HaltIssuance("vault and app were started with different [ct] settings: start both again")
        request = self._drawing.request(approved, description)
        if self._logs is not None:
            # No row and no precertificate while the logs could not be asked anyway.
            self._logs.must_be_possible(request.not_before, request.not_after)
        # No reconciliation may take our reserved row for one that a crash left behind.
        self._under_way.add(request.issuance_id)
        reservation = self._drawing.reservation(approved, request, description)
        try:
            await self._database.write(partial(reserve, reservation=reservation))
            steps.reached("3 reserved", request.issuance_id)
            return await self._sign(request, finish)
        finally:
            self._under_way.discard(request.issuance_id)

    async def _sign(self, request: LeafRequest, finish: Finish) -> str:
        id = request.issuance_id
        try:
            prepared = await self._vault.prepare(request)  # (4)
            steps.reached("4 prepared", id)
            issued = await self._vault.issue(prepared.token)  # (5), without CT (8)
        except Refused as refused:
            # Whatever the vault refused, its journal knows whether the key was used.
            settled = await self._settle(self._row(id))
            if refused.code in _ISSUER_CHANGED:
                # A ceremony or a date came between: the next try asks which issuing CA signs now.
                self._description = None
                raise TransientError(f"{refused}: once more") from refused
            if refused.code == "token.unknown" or settled.state is not State.ABANDONED:
                raise _once_more(refused) from refused
            raise
        except (TransientError, HaltIssuance):
            self._standby.doubt()
            raise
        if not prepared.precertificate:
            return await self._store(id, prepared, issued, finish)
        steps.reached("5 issued", id)
        await self._database.write(
            lambda tx: precertificates.store(tx, id, issued.certificate, prepared.tbs_sha256, prepared.lint)
        )
        steps.reached("5 stored", id)
        return await self._follow(self._row(id), finish)

    async def _follow(self, row: Certificate, finish: Finish) -> str:
        """(6) to (8): the certificate of a precertificate that is in the register."""
        id = row.id
        assert self._logs is not None
        assert row.precertificate is not None
        chain = await self.chain_of(row.issuer_id)
        scts = await self._logs.collect(row.precertificate, chain, row.created_at)  # (6)
        steps.reached("6 collected", id)
        if not precertificates.is_open(self._database.reader, self._row(id)):
            raise TransientError(f"the precertificate {id} was revoked while logs were asked: once more")
        try:
            prepared = await self._vault.prepare_final(FinalRequest(id, scts))  # (7)
            steps.reached("7 prepared", id)
            issued = await self._vault.issue(prepared.token)  # (8)
        except Refused as refused:
            await self._settle(self._row(id))
            kind = refused.code.partition(".")[0]
            if kind in _ANOTHER_SERIAL:
                self._description = None
                await self._give_up(id, str(refused))
            elif kind not in _SAME_SERIAL:
                raise
            raise _once_more(refused) from refused
        return await self._store(id, prepared, issued, finish)

    async def _store(self, id: str, prepared: Prepared, issued: Issued, finish: Finish) -> str:
        steps.reached("8 issued", id)
        now = self._clock.now()

        def store(tx: Transaction) -> None:
            certificates.store(tx, id, issued.certificate, now, prepared.tbs_sha256, prepared.lint)
            if self._logs is not None:
                jobs.add(tx, finals.KIND, id)  # (9)
            finish(tx, id)

        await self._database.write(store)
        steps.reached("8 stored", id)
        return id

    async def _settle(self, row: Certificate) -> Certificate:
        """The crash rule: move a row to where the vault's journal says it belongs."""
        recalled = await self._vault.recall(row.id)
        now = self._clock.latest()
        # At any time: nothing is begun by it, and what counts as lost is to be revoked at any hour.
        await self._database.write(lambda tx: settle(tx, row.id, recalled, now), at_any_time=True)
        settled = self._row(row.id)
        _log.info("issuance %s is settled by the vault's journal: %s", row.id, settled.state)
        return settled

    async def _give_up(self, id: str, why: str) -> None:
        await self._database.write(lambda tx: precertificates.give_up(tx, id, why))

    def _is_open(self, row: Certificate) -> bool:
        """Whether only the vault knows how far this came."""
        return row.state is State.RESERVED or precertificates.is_open(self._database.reader, row)

    def _row(self, id: str) -> Certificate:
        row = certificates.by_id(self._database.reader, id)
        assert row is not None
        return row

    async def _describe(self) -> Description:
        return self._description or await self.refresh()

    async def refresh(self) -> Description:
        """Ask the vault what it is now: after a ceremony there may be issuers that nobody here knows.

        Raises as `Vault.describe`.
        """
        description = await self._vault.describe()
        await self._reconciliation.put_issuers(description)
        self._heed(description)
        self._description = description
        return description


def _finish(tx: Transaction, finish: Finish, id: str) -> None:
    finish(tx, id)


_ANOTHER_SERIAL = frozenset({"precertificate", "issuer"})
_SAME_SERIAL = frozenset({"token", "scts", "issuance"})
"""Refusals of a precertificate's certificate that are no verdict on the request, by what helps."""

_SPARE = "delivered to nobody: its order had ended"
_ISSUER_CHANGED = frozenset({"issuer.state", "issuer.since", "issuer.until", "issuer.ended"})


def _once_more(refused: Refused) -> TransientError:
    return TransientError(f"the vault lost what it had prepared, or it was too late ({refused}): once more")
