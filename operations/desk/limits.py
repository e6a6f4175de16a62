"""`acme-server limits`: exceptions from rate limits, and how an account stands, through the running app.

Must never: change an exception without a word in the audit log; take one that the buckets cannot count.

RFC 8555 section 6.6; docs/adr/0022.
"""

from __future__ import annotations

from dataclasses import dataclass

from acme_server.context import Context
from acme_server.registration import rates, standing
from acme_server.registration.rates import Limit
from acme_server.store import accounts, bindings, overrides
from acme_server.store.overrides import Override
from core import caller
from core.data_directory import DataDirectory
from core.database import Rows, Transaction
from core.ephemeral import LONGEST_PERIOD, MOST_COUNT
from core.errors import Refused
from core.rpc import Method, RpcServer
from operations.desk import local_api

OF_ACCOUNTS = tuple(
    each for each in Limit if each not in (Limit.NEW_ACCOUNT_ADDRESS, Limit.NEW_ACCOUNT_BINDING)
)
"""What can be excepted for an account, or for all accounts of a binding key."""

OF_BINDINGS = (*OF_ACCOUNTS, Limit.NEW_ACCOUNT_BINDING)
"""What can be excepted for a binding key."""

MAX_NOTE = 200
"""Characters."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """All exceptions."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """By subject and limit."""

    found: tuple[Override, ...]


@dataclass(frozen=True, slots=True)
class SetRequest:
    """`subject` is "account:ID" or "binding:KID"; `count` 0 is no limit; `period` in seconds, 0 as set."""

    subject: str
    limit: str
    count: int
    period: int
    note: str
    actor: str


@dataclass(frozen=True, slots=True)
class ClearRequest:
    """The exception of `limit`, or all of the subject where that is ""."""

    subject: str
    limit: str
    actor: str


@dataclass(frozen=True, slots=True)
class ShowRequest:
    """How `account` (its id) stands, with an order of `names` in view where there are any."""

    account: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One limit: how many remain, and in POSIX seconds when one more is free and when all are."""

    limit: str
    detail: str
    count: int
    period: int
    remaining: int
    frees_at: int
    full_at: int
    override: str


@dataclass(frozen=True, slots=True)
class Shown:
    """The account's limits; `refusal` is the sentence that newOrder would answer with, "" for none."""

    account_url: str
    lines: tuple[Line, ...]
    refusal: str


LIST = Method("limits-list", ListRequest, Overrides)
SET = Method("limits-set", SetRequest, Override)
CLEAR = Method("limits-clear", ClearRequest, Overrides)
SHOW = Method("limits-show", ShowRequest, Shown)


def serve(answering: RpcServer, context: Context) -> None:
    """Add the app's side to the operator's socket."""
    database = context.database

    async def list_(_: ListRequest) -> Overrides:
        return Overrides(tuple(await database.read(overrides.all_of_them)))

    async def set_(request: SetRequest) -> Override:
        return await database.write(lambda tx: _set(tx, request, context))

    async def clear(request: ClearRequest) -> Overrides:
        return Overrides(tuple(await database.write(lambda tx: _clear(tx, request))))

    async def show(request: ShowRequest) -> Shown:
        account = await database.read(lambda rows: accounts.by_id(rows, request.account))
        if account is None:
            raise _unknown(f"account {request.account}")
        found = await standing.of_account(context, account.id, request.names)
        lines = [
            Line(
                claim.limit,
                rates.state(claim, bucket),
                claim.spend.rate.count,
                claim.spend.rate.period,
                bucket.remain,
                bucket.frees_at,
                bucket.full_at,
                claim.override,
            )
            for claim, bucket in found.buckets
        ]
        bounds = context.settings.limits
        for each in found.back_offs:
            free = max(0, bounds.failures_free - each.failed)
            at = each.frees_at
            lines.append(Line("failures", each.sentence, bounds.failures_free, 0, free, at, at, ""))
        return Shown(account.url, tuple(lines), "" if found.refusal is None else found.refusal.detail)

    answering.add(LIST, list_)
    answering.add(SET, set_)
    answering.add(CLEAR, clear)
    answering.add(SHOW, show)


def list_all(data: DataDirectory) -> tuple[Override, ...]:
    """The command line's side.  Raises `Refused`, or `TransientError` when no app runs here."""
    return local_api.call(data, LIST, ListRequest()).found


def set_override(
    data: DataDirectory, subject: str, limit: str, count: int, period: int, note: str
) -> Override:
    """The command line's side: what is in force now.  Raises as `list_all`."""
    return local_api.call(data, SET, SetRequest(subject, limit, count, period, note, caller.claimed()))


def clear(data: DataDirectory, subject: str, limit: str) -> tuple[Override, ...]:
    """The command line's side: what has ended.  Raises as `list_all`."""
    return local_api.call(data, CLEAR, ClearRequest(subject, limit, caller.claimed())).found


def show(data: DataDirectory, account: str, names: tuple[str, ...]) -> Shown:
    """The command line's side.  Raises as `list_all`."""
    return local_api.call(data, SHOW, ShowRequest(account, names))


def _set(tx: Transaction, request: SetRequest, context: Context) -> Override:
    possible = _must_be_there(tx, request.subject)
    if request.limit not in possible:
        raise Refused("limits.limit", f"{request.limit} has no exceptions here: name {', '.join(possible)}")
    period = request.period or rates.Rates(context.settings.limits).rate(Limit(request.limit))[1]
    if not 0 <= request.count <= MOST_COUNT or not 0 < period <= LONGEST_PERIOD:
        raise Refused(
            "limits.count",
            f"a count is 0 (no limit) to {MOST_COUNT}, a period 1 to {LONGEST_PERIOD} s (a year)",
        )
    note = request.note.strip()
    if not note or len(note) > MAX_NOTE or not note.isprintable():
        raise Refused("limits.note", f"a note says why, in 1 to {MAX_NOTE} characters")
    override = Override(request.subject, request.limit, request.count, period, note)
    overrides.put(tx, override)
    tx.audit(
        "limit.override-set",
        f"operator {request.actor}",
        {
            "subject": override.subject,
            "limit": override.limit,
            "count": override.count,
            "period": override.period,
            "note": note,
        },
    )
    return override


def _clear(tx: Transaction, request: ClearRequest) -> list[Override]:
    ending = [
        each
        for each in overrides.all_of_them(tx)
        if each.subject == request.subject and request.limit in ("", each.limit)
    ]
    if not ending:
        raise Refused("limits.none", f"{request.subject} has no such exception: `acme-server limits list`")
    for each in ending:
        overrides.remove(tx, each.subject, each.limit)
        tx.audit(
            "limit.override-cleared",
            f"operator {request.actor}",
            {"subject": each.subject, "limit": each.limit, "count": each.count, "period": each.period},
        )
    return ending


def _must_be_there(rows: Rows, subject: str) -> tuple[Limit, ...]:
    """The limits that the subject can have exceptions from.  Raises `Refused`."""
    kind, _, which = subject.partition(":")
    if kind == "account" and accounts.by_id(rows, which) is not None:
        return OF_ACCOUNTS
    if kind == "binding" and bindings.by_kid(rows, which) is not None:
        return OF_BINDINGS
    raise _unknown(subject.replace(":", " ", 1))


def _unknown(what: str) -> Refused:
    return Refused(
        "limits.unknown",
        f"there is no {what}: the access and audit logs name accounts, `acme-server eab list` binding keys",
    )
