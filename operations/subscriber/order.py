"""From an order to its certificate: RFC 8555 section 7.4, as any subscriber goes through it.

Whoever calls says how a challenge is answered (`Answering`); the first of his methods that the
server offers is taken.

Must never: wait longer than it was told to; leave an answer to a challenge behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from josepy import b64

from core.clock import Clock
from core.errors import CaError, TransientError
from operations.subscriber.client import AcmeClient, AcmeRefused, retry_after

PATIENCE = 300
"""Seconds for one order: validation from all perspectives and CT logs take a few, retries a minute."""

LONGEST_PAUSE = 15
"""Seconds between two polls at most, whatever Retry-After says: people watch the first certificate come."""

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Pause = Callable[[float], Awaitable[object]]


class NotIssued(CaError):
    """The order ended without a certificate; the message has the server's words."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is ordered.  `not_after` in POSIX seconds, None for the profile's own; "" leaves the rest out."""

    name: str
    profile: str = ""
    not_after: int | None = None
    replaces: str = ""

    def payload(self) -> dict[str, Any]:
        """The members of newOrder."""
        members: dict[str, Any] = {"identifiers": [{"type": "dns", "value": self.name}]}
        if self.profile:
            members["profile"] = self.profile
        if self.not_after is not None:
            members["notAfter"] = datetime.fromtimestamp(self.not_after, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self.replaces:
            members["replaces"] = self.replaces
        return members


class Answering(Protocol):
    """How challenges are answered."""

    @property
    def methods(self) -> Sequence[str]:
        """Challenge types that can be answered, the preferred first."""

    def answered(
        self, method: str, name: str, token: str, key_authorization: str
    ) -> AbstractAsyncContextManager[None]:
        """While this is entered the challenge is answered."""


class Orders:
    """Obtains certificates for one account."""

    def __init__(
        self, client: AcmeClient, answering: Answering, clock: Clock, pause: Pause = asyncio.sleep
    ) -> None:
        self._client = client
        self._answering = answering
        self._clock = clock
        self._pause = pause

    async def obtain(self, wish: Wish, key: PrivateKey) -> str:
        """The certificate and its chain (PEM) for a new order.

        Raises `NotIssued` when the server says no, `AcmeRefused`, and `TransientError` when it is away or
        took longer than `PATIENCE`.
        """
        deadline = self._clock.monotonic() + PATIENCE
        try:
            url, order = await self._client.new_order(wish.payload())
        except AcmeRefused as error:
            if not wish.replaces or error.word not in ("alreadyReplaced", "malformed", "unauthorized"):
                raise
            # Replaced already, or by an account that is gone: then it is an order like any other.
            url, order = await self._client.new_order(Wish(wish.name, wish.profile, wish.not_after).payload())
        for authorization in _urls(order, "authorizations"):
            await self._authorize(authorization, deadline)
        order = await self._until(url, deadline, ("pending",))
        if order.get("status") == "ready":
            csr = _b64_csr(key, wish.name)
            finalize = _url(order, "finalize")
            await self._client.post(finalize, {"csr": csr}, "finalize")
        order = await self._until(url, deadline, ("ready", "processing"))
        reply = await self._client.post(_url(order, "certificate"), None, "the certificate")
        return reply.octets.decode("ascii", "replace")

    async def _authorize(self, url: str, deadline: float) -> None:
        authorization = (await self._client.post(url, None, "authorization")).body
        if authorization.get("status") == "valid":
            return
        method, challenge = self._choose(authorization)
        name = str(authorization.get("identifier", {}).get("value", ""))
        token = str(challenge.get("token", ""))
        words = f"{token}.{self._client.thumbprint}"
        async with self._answering.answered(method, name, token, words):
            await self._client.post(_url(challenge, "url"), {}, "challenge")
            ended = await self._until(url, deadline, ("pending",), fatal=False)
        if ended.get("status") != "valid":
            raise NotIssued(f"{method} for {name} failed: {_why(ended)}")

    def _choose(self, authorization: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        offered = {str(each.get("type")): each for each in _objects(authorization, "challenges")}
        for method in self._answering.methods:
            if method in offered:
                return method, offered[method]
        raise NotIssued(
            f"the CA offers {', '.join(offered) or 'no challenge'}, and here only "
            f"{', '.join(self._answering.methods)} can be answered"
        )

    async def _until(
        self, url: str, deadline: float, passing: Sequence[str], *, fatal: bool = True
    ) -> dict[str, Any]:
        """The object at `url` once its status is none of `passing`; `fatal`: an invalid one raises."""
        while True:
            reply = await self._client.post(url, None, "poll")
            found = reply.body
            if found.get("status") not in passing:
                if fatal and found.get("status") == "invalid":
                    raise NotIssued(f"the order ended without a certificate: {_why(found)}")
                return found
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise TransientError(f"{url} is still {found.get('status')} after {PATIENCE} s")
            await self._pause(min(retry_after(reply.headers, 1, LONGEST_PAUSE), left))


def _b64_csr(key: PrivateKey, name: str) -> str:
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    csr = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return b64.b64encode(csr.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)).decode()


def _objects(of: dict[str, Any], member: str) -> list[dict[str, Any]]:
    found = of.get(member)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _urls(of: dict[str, Any], member: str) -> list[str]:
    found = of.get(member)
    return [each for each in found if isinstance(each, str)][:10] if isinstance(found, list) else []


def _url(of: dict[str, Any], member: str) -> str:
    found = of.get(member)
    if not isinstance(found, str):
        raise TransientError(f"the ACME server's answer names no {member}")
    return found


def _why(ended: dict[str, Any]) -> str:
    """The server's words on what went wrong."""
    errors = [ended.get("error"), *(each.get("error") for each in _objects(ended, "challenges"))]
    told = [str(each.get("detail", each.get("type", "")))[:500] for each in errors if isinstance(each, dict)]
    return "; ".join(told) or "no reason was given"
