"""`replaces` in newOrder: which certificate an order renews, and whether it may (RFC 9773 section 5).

A certificate is replaced by one order that is not invalid.  Whoever asks for that very order again, before it
was finalized, gets it again: a client that lost the answer, or broke off, would else fail at every renewal
from then on.  Once it was finalized it is bound to a key that only its first client knows, so the answer is
alreadyReplaced.

Must never: let two orders replace one certificate; tell of a certificate more than it shows to everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

from acme_server.objects import Account, Order
from acme_server.problems import ErrorType, malformed, refusal, unauthorized
from acme_server.registration.new_order import Wanted
from acme_server.states import OrderStatus
from acme_server.store import orders, renewals
from acme_server.store.renewals import Renewable
from acme_server.urls import Urls
from core.database import Rows
from core.errors import Problem
from core.settings import Settings

FREE_TRIES = 5
"""Orders that replace one certificate and meet no rate limit.  Those that fail free the certificate again, so
that without an end here a client could place and break orders for ever."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """An order may replace the certificate `predecessor` (its id in the register).

    `again` is the order that does so already, and is the one that is asked for; None: a new one may.
    `in_time` means that no rate limit holds it up.
    """

    predecessor: str
    again: Order | None
    in_time: bool


def find(rows: Rows, account: Account, wanted: Wanted, settings: Settings, now: int) -> Replacement | None:
    """What the order replaces, None for a new certificate.  Raises `Problem`."""
    if wanted.replaces is None:
        return None
    certificate = renewals.find(rows, wanted.replaces, settings.renewal)
    if certificate is None:
        raise malformed(
            "replaces names no certificate of ours; leave it out, or take it from the certificate in use"
        )
    if certificate.account_url != account.url:
        raise unauthorized(
            "the certificate that replaces names was issued to another account; leave replaces out"
        )
    if not set(wanted.names) & set(certificate.names):
        raise malformed(
            "the order has no identifier of the certificate that replaces names; leave it out for a new one"
        )
    standing = orders.replacing(rows, certificate.id, now)
    if standing is not None and not _same(standing, wanted, now):
        raise _already(standing, settings)
    in_time = _in_time(certificate, wanted, now) and orders.tries(rows, certificate.id) < FREE_TRIES
    return Replacement(certificate.id, standing, in_time)


def _same(order: Order, wanted: Wanted, now: int) -> bool:
    """Whether `order` is what is asked for, and still open to whoever asks."""
    return (
        order.status_at(now) in (OrderStatus.PENDING, OrderStatus.READY)
        and set(order.names) == set(wanted.names)
        and (order.profile, order.not_before, order.not_after)
        == (wanted.profile, wanted.not_before, wanted.not_after)
    )


def _in_time(certificate: Renewable, wanted: Wanted, now: int) -> bool:
    """Inside of the window, soon before it or after it, while the certificate lives, for its names or fewer.

    A certificate that its holder revoked is no reason, nor is one whose life its holder chose: either would
    make windows, and orders without limits, at will.
    """
    own_life = certificate.urgent or not certificate.chosen_life
    return (
        own_life
        and certificate.free_from <= now <= certificate.not_after
        and set(wanted.names) <= set(certificate.names)
    )


def _already(order: Order, settings: Settings) -> Problem:
    url = Urls(settings).order(order.id)
    return refusal(
        ErrorType.ALREADY_REPLACED,
        f"the certificate is replaced already, by the order {url}; go on with it, or leave replaces out",
        headers={"Location": url},
    )
