"""What RFC 8555 section 7.1 calls resources, as the server holds them.

Times are POSIX seconds, UTC.  A row keeps the last state that an act gave it; what time alone has done to
it is worked out on reading (`status_at`), so no row is wrong because a clean-up came late.
"""

from __future__ import annotations

from dataclasses import dataclass

from acme_server.states import (
    AUTHORIZATION,
    ORDER,
    AccountStatus,
    AuthorizationStatus,
    ChallengeStatus,
    Event,
    OrderStatus,
)
from core.identifiers import type_of
from core.outcome import Outcome


def identifier(name: str) -> dict[str, str]:
    """`name` as the identifier of an order."""
    return {"type": type_of(name), "value": name}


@dataclass(frozen=True, slots=True)
class Account:
    """RFC 8555 section 7.1.2.  `url` is stable for ever: CAA records and DNS labels name it.

    `binding` is the externalAccountBinding that it was made with (JSON), `binding_kid` the key that signed
    it; both None for an account without.
    """

    id: str
    url: str
    status: AccountStatus
    contact: tuple[str, ...]
    terms_version: str | None
    created_at: int
    binding_kid: str | None = None
    binding: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """RFC 8555 section 7.1.3.  `names` are dNSNames as the certificate will carry them, with "*.", and
    addresses in their canonical form.

    `applicant` is what the subscriber signed at finalize (msgpack of `signer.api.Applicant`).  `not_before`
    and `not_after` are what was asked for, None for the profile's own; `replaces` names the certificate
    that this order renews as the client did (RFC 9773 section 5), `predecessor` is its id in the register,
    and `renewal` tells whether it does so in the certificate's window, and so meets no rate limit.
    """

    id: str
    account_id: str
    status: OrderStatus
    names: tuple[str, ...]
    profile: str
    expires: int
    created_at: int
    error: str | None
    csr: bytes | None
    certificate_id: str | None
    applicant: bytes | None = None
    not_before: int | None = None
    not_after: int | None = None
    replaces: str | None = None
    renewal: bool = False
    predecessor: str | None = None

    def status_at(self, now: int) -> OrderStatus:
        """The status, with what time alone has done."""
        if self.expires <= now and ORDER.allows(self.status, Event.TIME_OUT):
            return ORDER.move(self.status, Event.TIME_OUT)
        return self.status


@dataclass(frozen=True, slots=True)
class Authorization:
    """RFC 8555 section 7.1.4.

    `value` never has the "*." of a wildcard; `wildcard` tells.  `method`, `adn`, `oldest_datum` and `attempt`
    (its sequence in the record of attempts) are set by the validation that passed (BR 5.4.1).
    """

    id: str
    account_id: str
    status: AuthorizationStatus
    value: str
    wildcard: bool
    expires: int
    method: str | None
    adn: str | None
    oldest_datum: int | None
    attempt: int | None

    @property
    def name(self) -> str:
        """The identifier as the certificate will carry it."""
        return f"*.{self.value}" if self.wildcard else self.value

    def status_at(self, now: int) -> AuthorizationStatus:
        """The status, with what time alone has done."""
        if self.expires <= now and AUTHORIZATION.allows(self.status, Event.TIME_OUT):
            return AUTHORIZATION.move(self.status, Event.TIME_OUT)
        return self.status


@dataclass(frozen=True, slots=True)
class Challenge:
    """RFC 8555 section 7.1.5.  `token` is "" for a method without one (dns-persist-01).

    `attempts` counts validations that could not be decided.
    """

    id: str
    authorization_id: str
    type: str
    status: ChallengeStatus
    token: str
    validated: int | None
    error: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One fan-out to the perspectives, whatever it showed (BR 5.4.1).

    A validation has a `challenge_id`, a CAA recheck an `order_id`.  `adn` is the Authorization Domain Name,
    `oldest_datum` the time of the oldest statement, None without any; `outcome` says the rest.
    """

    sequence: int
    outcome: Outcome
    authorization_id: str
    challenge_id: str | None
    order_id: str | None
    name: str
    method: str
    adn: str
    oldest_datum: int | None
