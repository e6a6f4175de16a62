"""`acme-server eab`: the keys of external accounts, made, listed and withdrawn through the running app.

A secret leaves once, in the answer to who made the key, and is stored nowhere
(acme_server/registration/binding_secret.py).

Must never: show the secret of a key that is there already; withdraw without a word in the audit log.

RFC 8555 section 7.3.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from acme_server import jws
from acme_server.registration.binding_secret import BindingSecret
from acme_server.registration.deactivate import revoke_account
from acme_server.store import accounts, bindings
from acme_server.store.bindings import BindingKey
from acme_server.urls import Urls
from core import caller
from core.clock import Clock
from core.data_directory import DataDirectory
from core.database import Database, Rows, Transaction
from core.errors import Refused
from core.randomness import Randomness, token
from core.rpc import Method, RpcServer
from core.settings import Settings
from operations.desk import local_api

PAGE = 200
"""Keys in one answer of the list."""

ENDED_AT_ONCE = 20
"""Accounts that end in one transaction: each may have a thousand open orders, and subscribers wait."""

MAX_LABEL = 200
"""Characters."""


@dataclass(frozen=True, slots=True)
class AddRequest:
    """A key for whom `label` names; `expires_at` in POSIX seconds, None for never."""

    label: str
    reusable: bool
    expires_at: int | None
    actor: str


@dataclass(frozen=True, slots=True)
class Added:
    """`key` is the MAC key in base64url.  `asked` is what acme.external_account says to the running CA, and
    `directory` the URL that it is reached by.
    """

    kid: str
    key: str
    asked: str
    directory: str

    def __repr__(self) -> str:
        return f"Added(kid={self.kid!r})"


@dataclass(frozen=True, slots=True)
class ListRequest:
    """The keys after the key `after`; None for the first."""

    after: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A key, its state, and how many of the accounts made with it are valid."""

    key: BindingKey
    state: str
    accounts: int


@dataclass(frozen=True, slots=True)
class Page:
    """Fewer than `PAGE` keys: the last page."""

    keys: tuple[Listed, ...]


@dataclass(frozen=True, slots=True)
class WithdrawRequest:
    """The key makes no account from now on; with `end_accounts` some of its accounts end, too."""

    kid: str
    end_accounts: bool
    actor: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Whether it was withdrawn only now; how many accounts ended in this call, and how many are left."""

    newly: bool
    ended: int
    left: int


ADD = Method("eab-add", AddRequest, Added)
LIST = Method("eab-list", ListRequest, Page)
WITHDRAW = Method("eab-withdraw", WithdrawRequest, Withdrawn)


def lost(rows: Rows, fingerprint: str, now: int) -> str:
    """What to do about keys of another secret than the one of `fingerprint`; "" when there are none."""
    orphans = bindings.orphans(rows, fingerprint, now)
    if not orphans:
        return ""
    return (
        f"{orphans} keys of external accounts were derived from another secret and make no account: put the "
        "old one back (acme.binding_secret_file), or withdraw them and hand out new ones (acme-server eab)"
    )


def serve(
    answering: RpcServer,
    database: Database,
    clock: Clock,
    secret: BindingSecret,
    settings: Settings,
    randomness: Randomness,
) -> None:
    """Add the app's side to the operator's socket."""

    async def add(request: AddRequest) -> Added:
        label = request.label.strip()
        if not label or len(label) > MAX_LABEL or not label.isprintable():
            raise Refused("eab.label", f"a label says whose the key is, in 1 to {MAX_LABEL} characters")
        if request.expires_at is not None and request.expires_at <= clock.now():
            raise Refused("eab.expires", "this day is over: name one to come")
        kid, key = _draw(secret, randomness)

        def unit(tx: Transaction) -> None:
            row = BindingKey(
                kid, label, request.reusable, 0, secret.fingerprint, tx.now, request.expires_at, None
            )
            bindings.insert(tx, row)
            tx.audit(
                "binding.added",
                f"operator {request.actor}",
                {"kid": kid, "label": label, "reusable": row.reusable, "expires_at": row.expires_at},
            )

        await database.write(unit)
        return Added(kid, key, settings.acme.external_account, Urls(settings).directory)

    async def page(request: ListRequest) -> Page:
        def read() -> tuple[Listed, ...]:
            now, rows = clock.now(), database.reader
            return tuple(
                Listed(key, key.state_at(now), bindings.valid_accounts(rows, key.kid))
                for key in bindings.page(rows, request.after, PAGE)
            )

        return Page(read())

    async def withdraw(request: WithdrawRequest) -> Withdrawn:
        return await database.write(lambda tx: _withdraw(tx, request))

    answering.add(ADD, add)
    answering.add(LIST, page)
    answering.add(WITHDRAW, withdraw)


def add(data: DataDirectory, label: str, reusable: bool, expires_at: int | None) -> Added:
    """The command line's side.  Raises `Refused`, or `TransientError` when no app runs here."""
    return local_api.call(data, ADD, AddRequest(label, reusable, expires_at, caller.claimed()))


def list_all(data: DataDirectory) -> list[Listed]:
    """The command line's side: all keys, the oldest first.  Raises as `add`."""
    found: list[Listed] = []
    while True:
        page = local_api.call(data, LIST, ListRequest(found[-1].key.kid if found else None))
        found += page.keys
        if len(page.keys) < PAGE:
            return found


def withdraw(
    data: DataDirectory, kid: str, end_accounts: bool, progress: Callable[[int, int], None]
) -> tuple[bool, int]:
    """The command line's side: whether it was withdrawn only now, and how many accounts ended.

    `progress` hears how many ended so far and how many are left.  Raises as `add`; called again it goes on.
    """
    newly, ended = False, 0
    while True:
        request = WithdrawRequest(kid, end_accounts, caller.claimed())
        done = local_api.call(data, WITHDRAW, request)
        newly, ended = newly or done.newly, ended + done.ended
        if not done.left or not end_accounts:
            return newly, ended
        progress(ended, done.left)


def _withdraw(tx: Transaction, request: WithdrawRequest) -> Withdrawn:
    key = bindings.by_kid(tx, request.kid)
    if key is None:
        raise Refused("eab.unknown", f"there is no key {request.kid}: `acme-server eab list` shows them all")
    actor = f"operator {request.actor}"
    newly = bindings.withdraw(tx, key.kid)
    if newly:
        tx.audit("binding.withdrawn", actor, {"kid": key.kid, "label": key.label})
    ending = accounts.valid_of_binding(tx, key.kid, ENDED_AT_ONCE) if request.end_accounts else []
    for account in ending:
        revoke_account(tx, account, f"the key {key.kid} of {key.label} was withdrawn", actor=actor)
    return Withdrawn(newly, len(ending), bindings.valid_accounts(tx, key.kid))


def _draw(secret: BindingSecret, randomness: Randomness) -> tuple[str, str]:
    """A new kid and its key; neither begins with "-", which command lines take for an option."""
    while True:
        kid = token(randomness)
        key = jws.encode_base64url(secret.key(kid))
        if "-" not in (kid[0], key[0]):
            return kid, key
