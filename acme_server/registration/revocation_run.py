"""Revokes a set of certificates for one cause, page by page, until nothing is left.

The run is a row and its certificates are rows; a job works on them in transactions of a bounded size, so
the CA serves everybody between two of them, and a crash at any instant loses no page that was committed and
repeats none.  What a person decided goes on without the person.

Where the cause is a validation that should not be relied upon, the authorizations that rest on it end first:
else the next order would be built on it, and clients order again at once.

Must never: revoke what was not chosen; miss what was being signed when it began; give the reason
keyCompromise to certificates whose keys nobody has any evidence of; stop half-way in silence.

BR 4.2.1, 4.9.1.1, 4.9.5, 5.7.1.2 (mass revocation), 7.2.2; CPS 5.7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial

from acme_server.registration import compromise
from acme_server.registration.deactivate import revoke_authorization
from acme_server.store import authorizations, revocation_runs, selection
from acme_server.store.revocation_runs import Outcome, Phase, Run
from acme_server.store.selection import Selection
from core import jobs, revocations
from core.causes import PROVING, RULES, Cause
from core.database import Database, Transaction
from core.errors import Refused, TransientError

KIND = "revocation-run"

PAGE = 200
"""Certificates in one transaction: some fifty milliseconds in which nobody else writes."""

MAX_NOTE = 1000
"""Characters of the note, which stands beside each revocation."""


def begin(tx: Transaction, run: Run) -> Run:
    """Write the run; one with a selection starts at once.  Raises `Refused`; nothing changes then."""
    _must_be_reasonable(run)
    if run.selection is None:
        run = replace(run, phase=Phase.GATHERING, cursor=0, until=0)
    else:
        newest = selection.extent(tx, run.selection)
        run = replace(run, phase=Phase.SELECTING, cursor=0, until=min(run.until or newest, newest))
    revocation_runs.insert(tx, run)
    tx.audit(
        "revocation-run",
        f"operator {run.began_by}",
        {
            "run": run.id,
            "cause": run.cause,
            "clause": RULES[run.cause].clause,
            "reason": run.reason,
            "note": run.note,
            "selection": None if run.selection is None else _told(run.selection),
            "learned_at": run.learned_at,
            "revoke_by": run.revoke_by,
        },
    )
    if run.selection is not None:
        jobs.add(tx, KIND, run.id)
    return run


def name(tx: Transaction, run_id: str, serials: Sequence[bytes]) -> tuple[bytes, ...]:
    """Add certificates to a run that is gathering; those serial numbers that were never issued here.

    Raises `Refused`.
    """
    _gathering(tx, run_id)
    known = [each for each in serials if revocations.status_of(tx, each) is not None]
    revocation_runs.add(tx, run_id, known)
    return tuple(sorted(set(serials) - set(known)))


def start(tx: Transaction, run_id: str) -> None:
    """All certificates are named: from here on the job works.  Raises `Refused`."""
    run = _gathering(tx, run_id)
    if not revocation_runs.left(tx, run_id, 1):
        raise Refused("revocation.nothing", "no certificate was named: there is nothing to revoke")
    revocation_runs.started(tx, run_id)
    tx.audit(
        "revocation-run-started",
        f"operator {run.began_by}",
        {"run": run_id, "certificates": revocation_runs.counts(tx, run_id).total},
    )
    jobs.add(tx, KIND, run_id)


class RevocationRun:
    """Handler of the jobs of kind "revocation-run"; the subject is the run's id."""

    def __init__(self, database: Database, on_page: Callable[[], None]) -> None:
        """`on_page` hears of each page that is durable: the CRL updater and the vault have to."""
        self._database = database
        self._on_page = on_page

    async def __call__(self, run_id: str) -> None:
        """Work until the run has ended.

        Raises `TransientError` while the rest of its certificates are being signed.
        """
        run = revocation_runs.by_id(self._database.reader, run_id)
        assert run is not None
        if (
            run.phase is Phase.SELECTING  # not again each time that what is being signed is waited for
            and run.cause is Cause.UNRELIABLE_VALIDATION
            and run.selection is not None
        ):
            await self._end_authorizations(run, run.selection)
        while not await self._database.write(lambda tx: _advance(tx, run_id), at_any_time=True):
            self._on_page()

    async def _end_authorizations(self, run: Run, chosen: Selection) -> None:
        """Those without a certificate yet, too.  A crash begins it again, and ends none twice."""
        after, until = 0, selection.newest_authorization(self._database.reader)
        while after < until:
            page = partial(_distrust, run=run, chosen=chosen, after=after, until=until)
            after = await self._database.write(page, at_any_time=True)


def _distrust(tx: Transaction, run: Run, chosen: Selection, after: int, until: int) -> int:
    """One page of authorizations; where to go on."""
    found, last = selection.authorizations(tx, chosen, after, until, tx.now)
    _revoke_authorizations(tx, run, found)
    return last


def _revoke_authorizations(tx: Transaction, run: Run, ids: Sequence[str]) -> None:
    for each in ids:
        found = authorizations.by_id(tx, each)
        assert found is not None
        revoke_authorization(tx, found, run.told, actor=f"operator {run.began_by}")


def _advance(tx: Transaction, run_id: str) -> bool:
    """One page; whether the run has ended."""
    run = revocation_runs.by_id(tx, run_id)
    assert run is not None
    if run.phase is Phase.SELECTING:
        assert run.selection is not None
        found = selection.page(tx, run.selection, run.cursor, run.until, tx.now)
        # What is revoked may still get the reason keyCompromise, and its key be blocked.
        others = found.revoked + found.expired if run.cause in PROVING else ()
        revocation_runs.add(tx, run_id, found.serials + others + found.signing)
        revocation_runs.selected(tx, run, found.after)
        return False
    serials = revocation_runs.left(tx, run_id, PAGE)
    if serials:
        outcomes = {serial: _revoke(tx, run, serial) for serial in serials}
        for serial in (each for each, outcome in outcomes.items() if outcome is None):
            revocation_runs.forget(tx, run_id, serial)
        known = {serial: outcome for serial, outcome in outcomes.items() if outcome is not None}
        revocation_runs.done(tx, run_id, known)
        return False
    signing = revocation_runs.counts(tx, run_id).left
    if signing:
        raise TransientError(f"run {run_id}: {signing} certificates are being signed, and are waited for")
    revocation_runs.ended(tx, run_id)
    counts = revocation_runs.counts(tx, run_id)
    tx.audit("revocation-run-ended", f"operator {run.began_by}", {"run": run_id, **asdict(counts)})
    jobs.done(tx, KIND, run_id)
    return True


def _revoke(tx: Transaction, run: Run, serial: bytes) -> Outcome | None:
    """What became of it; None when it was given up before it was signed."""
    actor = f"operator {run.began_by}"
    before = revocations.status_of(tx, serial)
    if before is None:
        return None
    if run.cause is Cause.UNRELIABLE_VALIDATION:
        chosen = run.selection or Selection()
        _revoke_authorizations(tx, run, selection.unreliable(tx, chosen, serial, tx.now))
    try:
        if run.cause in PROVING:
            # The CA's own finding: it may come after another reason, and it binds.
            compromise.prove_of_certificate(tx, serial, run.told, actor=actor)
        elif before.not_after < tx.now:
            return Outcome.EXPIRED
        else:
            revocations.revoke(tx, serial, run.reason, run.told, actor=actor)
    except revocations.AlreadyRevoked:
        return Outcome.ALREADY
    return Outcome.REVOKED if before.revocation is None else Outcome.UPGRADED


def _gathering(tx: Transaction, run_id: str) -> Run:
    run = revocation_runs.by_id(tx, run_id)
    if run is None or run.phase is not Phase.GATHERING:
        raise Refused("revocation.run", "this run is not gathering serial numbers: begin a new one")
    return run


def _must_be_reasonable(run: Run) -> None:
    if len(run.note) > MAX_NOTE or not (run.note + run.began_by).isprintable():
        raise Refused("revocation.note", f"a note says who asked and why, in {MAX_NOTE} characters at most")
    chosen = run.selection
    if chosen is None:
        return
    if chosen.open:
        raise Refused("revocation.selection", "nothing is chosen: name serial numbers, an account, a key ...")
    if run.cause is Cause.KEY_COMPROMISE and not chosen.spki_sha256:
        raise Refused(
            "revocation.cause",
            "evidence that a key is compromised is evidence of that key: name the key or serial numbers; of a"
            " flawed way to make keys the cause is computable-key or exposed-key",
        )
    if run.cause in PROVING and chosen.only_issuer:
        raise Refused(
            "revocation.cause",
            "keyCompromise says that the subscribers' keys are compromised, and blocks them for ever; when"
            " the issuing CA's key is, the cause is cps-requires",
        )


def _told(chosen: Selection) -> dict[str, str | int]:
    return {key: value for key, value in asdict(chosen).items() if value not in ("", None)}
