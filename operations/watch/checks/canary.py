"""A certificate obtained from end to end, looked at as a relying party would, and revoked again.

RFC 8555; BR 4.9.10, 6.3.2, 7.1.2.7; RFC 6962 section 3.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from core.clock import Clock
from core.errors import CaError
from operations.subscriber.client import AcmeClient
from operations.subscriber.order import Orders, Wish
from operations.watch.finding import Wrong
from operations.watch.limits import DAY, HOUR, about
from operations.watch.scope import Issuer, Scope

LOOK_AGAIN = 1.0
"""Seconds between two looks for what must become public."""

SUPERSEDED = 4
_LONGEST = 200 * DAY
"""BR 6.3.2 at the time of writing; the CA itself keeps a table of dates."""

_T = TypeVar("_T", bound=x509.ExtensionType)
_SEE = "see the order in the CA's log, and what lint and profile say"


@dataclass(frozen=True, slots=True)
class Issued:
    """The canary's certificate and its issuer."""

    leaf: x509.Certificate
    issuer: Issuer


async def issue(orders: Orders, scope: Scope, name: str, scts: int, now: int) -> Issued:
    """A certificate for `name`, which is as it should be.  Raises `Wrong`."""
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        text = await orders.obtain(Wish(name), key)
        chain = x509.load_pem_x509_certificates(text.encode())
    except CaError as error:
        raise Wrong(
            f"no certificate: {error}", "see the ACME server's log, and the canary's name and port"
        ) from error
    except ValueError as error:
        raise Wrong("the downloaded chain cannot be read", _SEE) from error
    leaf = chain[0]
    issuer = scope.issuer_of(leaf)
    _must_be_right(leaf, name, key.public_key(), scope, scts, now)
    return Issued(leaf, issuer)


async def revoke(client: AcmeClient, issued: Issued) -> str:
    """Revoked by its account.  Raises `Wrong`."""
    try:
        await client.revoke(issued.leaf, SUPERSEDED)
    except CaError as error:
        raise Wrong(f"the revocation was refused: {error}", "see the ACME server's log") from error
    return f"serial {issued.leaf.serial_number:x}"


async def becomes(what: str, wanted: Callable[[], Awaitable[bool]], patience: float, clock: Clock) -> str:
    """Wait until `wanted`.  Raises `Wrong` when it takes longer than `patience` seconds."""
    began = clock.monotonic()
    while not await wanted():
        if clock.monotonic() - began > patience:
            raise Wrong(f"{what}: not within {about(patience)}", "see status.crl_delay, and caches in front")
        await asyncio.sleep(LOOK_AGAIN)
    return f"{what} after {about(clock.monotonic() - began)}"


def _must_be_right(
    leaf: x509.Certificate, name: str, key: ec.EllipticCurvePublicKey, scope: Scope, scts: int, now: int
) -> None:
    """What a relying party, or a linter in a hurry, would see."""
    serial = f"serial {leaf.serial_number:x}"
    found = _extension(leaf, x509.SubjectAlternativeName, serial)
    if found.get_values_for_type(x509.DNSName) != [name]:
        raise Wrong(f"{serial} has other names than {name}", _SEE)
    if _spki(leaf.public_key()) != _spki(key):
        raise Wrong(f"{serial} has another key than its CSR", _SEE)
    begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if not now - 48 * HOUR <= begins <= now + 300 or not now < ends or ends - begins >= _LONGEST:
        raise Wrong(f"{serial} is valid from {leaf.not_valid_before_utc} to {leaf.not_valid_after_utc}", _SEE)
    if leaf.serial_number.bit_length() < 64:
        raise Wrong(f"{serial} has fewer than 64 bits (BR 7.1)", _SEE)
    if ExtendedKeyUsageOID.SERVER_AUTH not in _extension(leaf, x509.ExtendedKeyUsage, serial):
        raise Wrong(f"{serial} is not for TLS servers", _SEE)
    logged = len(_extension(leaf, x509.PrecertificateSignedCertificateTimestamps, serial)) if scts else 0
    if logged < scts:
        raise Wrong(f"{serial} has {logged} SCTs, and should have {scts}", "see [ct] and its log list")
    for url in _urls(leaf):
        if not url.startswith(f"{scope.repository}/"):
            raise Wrong(
                f"{serial} names {url}, which is not below {scope.repository}", "see repository.base_url"
            )


def _extension(leaf: x509.Certificate, kind: type[_T], serial: str) -> _T:
    try:
        return leaf.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        raise Wrong(f"{serial} has no {kind.oid._name}", _SEE) from None


def _urls(leaf: x509.Certificate) -> list[str]:
    found = []
    for each in leaf.extensions:
        if isinstance(each.value, x509.AuthorityInformationAccess):
            found += [str(one.access_location.value) for one in each.value]
        elif isinstance(each.value, x509.CRLDistributionPoints):
            found += [str(name.value) for point in each.value for name in point.full_name or ()]
    return found


def _spki(key: object) -> bytes:
    assert hasattr(key, "public_bytes")
    octets: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return octets
