"""What a handler is given and what it gives back.  Neither knows HTTP's library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from acme_server.jws import PublicKey
from acme_server.objects import Account
from acme_server.problems import malformed


@dataclass(frozen=True, slots=True)
class Signed:
    """A request with signature, URL and nonce verified.  `payload` None is a POST-as-GET (section 6.3).

    `body` is the request as it came in: a proof for those who do not believe us.  `remote` is the client's
    address in its canonical text form.
    """

    body: bytes
    key: PublicKey
    url: str
    payload: dict[str, Any] | None
    path: Mapping[str, str]
    query: Mapping[str, str]
    remote: str

    @property
    def members(self) -> dict[str, Any]:
        """The payload's members.  Raises `Problem` for a POST-as-GET."""
        if self.payload is None:
            raise malformed("this resource needs a JSON object as payload, not the empty POST-as-GET")
        return self.payload


@dataclass(frozen=True, slots=True)
class ByAccount(Signed):
    """Signed with the current key of a valid account."""

    account: Account


@dataclass(frozen=True, slots=True)
class ByKey(Signed):
    """Signed with the key that it carries (`jwk`)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.  `content` is JSON-encodable, or octets of `content_type`; None sends nothing.

    `links` are (relation, URL); rel="index" is added to every answer.
    """

    status: int = 200
    content: Any = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()


def text(members: Mapping[str, Any], name: str) -> str:
    """The member as a string.  Raises `Problem`."""
    value = members.get(name)
    if not isinstance(value, str):
        raise malformed(f"{name} must be there and be a string")
    return value


def flag(members: Mapping[str, Any], name: str) -> bool:
    """The optional member as a boolean.  Raises `Problem`."""
    value = members.get(name, False)
    if not isinstance(value, bool):
        raise malformed(f"{name} must be true or false")
    return value


def array(members: Mapping[str, Any], name: str) -> list[Any]:
    """The member as an array.  Raises `Problem`."""
    value = members.get(name)
    if not isinstance(value, list):
        raise malformed(f"{name} must be there and be an array")
    return value
